/* SPDX-License-Identifier: MIT */
/* imap_update.c - UPDATE: what becomes of each message at QUIT, by the policies of the map.
 *
 * What is to be removed is written into the journal first, where there is one, and is on disk before
 * the first command that deletes; without that nothing is deleted (D-09). From then on a failure of the
 * server is none for the client: what is left in the journal is hidden and done later. What a server
 * refuses for good is taken out of it again, and the client hears -ERR (Table 1). The work ends in time
 * for the client's answer (D-10). */
#include "upstream/imap_remove.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/imap_name.h"
#include "upstream/ledger.h"

enum {
	UPDATE_MS = 45000, /* all removing, where a journal keeps what is left */
	RECONNECT_MS =
		5000, /* later than this no new connection is made: it may take 50 s (H-03) */
};

/* UIDs of one fate, ascending. */
struct uid_list {
	uint32_t *at; /* owned */
	size_t count;
};

struct plan {
	struct uid_list hide;     /* LEDGER_HIDDEN, nothing upstream */
	struct uid_list postpone; /* and LEDGER_PENDING: still among the newest (keep_newest=) */
	struct uid_list remove;
};

static void plan_fini(struct plan *plan)
{
	free(plan->hide.at);
	free(plan->postpone.at);
	free(plan->remove.at);
}

/* D-16, H-09: a message whose place a stub took is never removed, however often the stub was read. */
static bool goes(const struct imap *imap, const struct message *msg)
{
	bool is_due = msg->marks & MARK_DUE ||
		      (msg->marks & MARK_RETRIEVED && !imap->conf.delete_after_s);

	if (imap->conf.delete_policy == DELETE_NEVER)
		return false;
	return message_is_deleted(msg) || (is_due && !(msg->marks & MARK_STUB));
}

/* The lowest UID among the newest `keep` messages of the mailbox, those that wait included. All are among
 * them if there are no more; with 0 none is. */
static uint64_t newest_from(const struct imap *imap, const struct maildrop *maildrop, size_t keep)
{
	size_t shown = maildrop->total, waiting = imap->pending_len;
	uint64_t uid = keep ? 1 : UINT64_MAX;

	if (keep > shown + waiting)
		return uid;
	for (; keep; keep--) {
		size_t at = maildrop->newest_first ? maildrop->total - shown : shown - 1;
		uint32_t next = shown ? maildrop->messages[at].uid : 0;
		if (waiting && imap->pending[waiting - 1] > next)
			uid = imap->pending[--waiting];
		else {
			uid = next;
			shown--;
		}
	}
	return uid;
}

static void add(struct uid_list *list, uint32_t uid)
{
	list->at[list->count++] = uid;
}

static void make_plan(const struct imap *imap, const struct maildrop *maildrop, struct plan *plan)
{
	const struct upstream_conf *conf = &imap->conf;
	bool is_hidden_only = conf->delete_policy == DELETE_HIDE;
	uint64_t kept_from = newest_from(imap, maildrop, conf->keep_newest);
	bool removes = !is_hidden_only && conf->delete_policy != DELETE_NEVER;
	size_t room = maildrop->total + imap->pending_len + 1, waiting = 0;

	plan->hide.at = mem_resize(NULL, room, sizeof *plan->hide.at);
	plan->postpone.at = mem_resize(NULL, room, sizeof *plan->postpone.at);
	plan->remove.at = mem_resize(NULL, room, sizeof *plan->remove.at);
	for (size_t i = 0; i < maildrop->total; i++) {
		const struct message *msg =
			&maildrop->messages[maildrop->newest_first ? maildrop->total - 1 - i : i];
		while (removes && waiting < imap->pending_len &&
		       imap->pending[waiting] < msg->uid && imap->pending[waiting] < kept_from)
			add(&plan->remove, imap->pending[waiting++]);
		if (!goes(imap, msg))
			continue;
		if (is_hidden_only || msg->marks & MARK_STUB)
			add(&plan->hide, msg->uid);
		else if (conf->keep_newest && msg->uid >= kept_from)
			add(&plan->postpone, msg->uid);
		else
			add(&plan->remove, msg->uid);
	}
	while (removes && waiting < imap->pending_len && imap->pending[waiting] < kept_from)
		add(&plan->remove, imap->pending[waiting++]);
}

static void set_marks(void *arg, struct ledger *ledger, struct ledger_row *row)
{
	const unsigned *marks = arg;

	if ((row->marks & *marks) == *marks)
		return;
	row->marks |= (uint8_t)*marks;
	ledger_touch(ledger, row->uid);
}

static struct err mark_rows(struct imap *imap, const struct uid_list *list, unsigned marks)
{
	const struct upstream_conf *conf = &imap->conf;

	if (!list->count)
		return OK;
	if (!conf->state)
		return ERR(ERR_POLICY, 0, "messages cannot be hidden here");
	if (!imap->has_ledger)
		return ERR(ERR_UPSTREAM, 0, "messages cannot be hidden now");
	return ledger_change(conf->state, imap->env, conf->name, imap->epoch, list->at, list->count,
			     set_marks, &marks);
}

/* --- the journal --- */

static char *mode_of(enum delete_policy way, const char *archive)
{
	if (way == DELETE_ARCHIVE)
		return text_printf_dup("archive:%s", archive);
	return text_dup(way == DELETE_TRASH ? "trash" : way == DELETE_FLAG ? "flag" : "expunge");
}

/* RFC822.SIZE as it was listed. What is shown may be what was measured instead: then the ledger knows. */
static void fill_sizes(struct imap *imap, const struct maildrop *maildrop, struct journal *journal)
{
	struct ledger ledger;
	bool is_loaded = false;

	if (imap->quirks && imap->quirks->traits & QUIRK_SIZES_CHANGE)
		return;
	ledger_init(&ledger, imap->conf.name);
	for (size_t i = 0; i < journal->count; i++) {
		struct journal_entry *entry = &journal->entries[i];
		const struct message *msg = maildrop_find(maildrop, entry->uid);
		if (msg && !(msg->marks & (MARK_EXACT | MARK_INEXACT))) {
			entry->octets = msg->octets;
			continue;
		}
		if (!imap->has_ledger || (msg && msg->marks & MARK_INEXACT))
			continue;
		if (!is_loaded && ledger_load(&ledger, imap->conf.state, imap->env).kind)
			break;
		is_loaded = true;
		const struct ledger_row *row = ledger_find(&ledger, entry->uid);
		if (row && ledger.head.epoch == imap->epoch)
			entry->octets = row->octets;
	}
	ledger_fini(&ledger);
}

/* Writes down what is promised. Only then may anything be deleted. */
static struct err promise(struct imap *imap, const struct maildrop *maildrop,
			  const struct uid_list *list, struct journal *journal)
{
	const struct upstream_conf *conf = &imap->conf;

	*journal = (struct journal){
		.where = text_printf_dup("%s@%s:%u/%s", imap->login.user, conf->host, conf->port,
					 conf->folder),
		.uidvalidity = imap->uidvalidity,
		.mode = mode_of(removal_way(imap), conf->archive),
		.since = imap->env->ops->wall(imap->env),
		.entries = mem_alloc(list->count * sizeof *journal->entries),
		.count = list->count,
	};
	memcpy(journal->place, imap->place, sizeof journal->place);
	for (size_t i = 0; i < list->count; i++)
		journal->entries[i].uid = list->at[i];
	fill_sizes(imap, maildrop, journal);
	struct err err = journal_write(conf->state, imap->env, conf->name, journal);
	if (!err.kind)
		return OK;
	log_err(imap->log, LEVEL_ALARM, "journal-not-written", err);
	return ERR(ERR_UPSTREAM, err.code, "the deletions cannot be written down");
}

/* Whether the server refused one that this session deletes: what waited from earlier ones is no
 * failure of this QUIT. */
static bool is_refused(const struct removal *removal, const struct maildrop *maildrop)
{
	for (size_t i = 0; i < removal->count; i++)
		if (removal->marks[i] & REMOVAL_REFUSED && !(removal->marks[i] & REMOVAL_GONE) &&
		    maildrop_find(maildrop, removal->uids[i]))
			return true;
	return false;
}

static struct err remove_uids(struct imap *imap, const struct maildrop *maildrop,
			      struct uid_list *list)
{
	const struct env *env = imap->env;
	struct journal journal = {0};
	struct removal removal;
	bool is_promised = false;
	struct err err = OK;

	if (!list->count)
		return OK;
	removal_init(&removal, imap, removal_way(imap), imap->conf.archive, list->at, list->count);
	uint64_t began = env->ops->now(env);
	if (imap->conf.state && !imap->is_loose) {
		err = promise(imap, maildrop, list, &journal);
		is_promised = !err.kind;
		removal.journal = &journal;
		removal.until_ms = began + UPDATE_MS;
		removal.reconnect_until_ms = began + RECONNECT_MS;
	}
	list->at = NULL; /* the removal's now */
	if (!err.kind)
		err = removal_run(&removal);
	if (err.kind && is_promised && !is_refused(&removal, maildrop)) {
		log_err(imap->log, LEVEL_WARN, "update-journalled", err);
		LOG(imap->log, LEVEL_NOTE, "journal", log_text("where", journal.where),
		    log_number("left", journal.count));
		err = OK;
	}
	removal_fini(&removal);
	journal_fini(&journal);
	return err;
}

/* --- \Seen, and all of it --- */

static struct err store_seen(struct imap *imap, const struct uid_list *list)
{
	const struct imap_quirks *quirks = imap->quirks;
	struct uid_set set = {
		.uids = list->at,
		.count = list->count,
		.most = UID_SET_MESSAGES,
		.octets = uid_set_octets(quirks ? quirks->line : 1000),
	};
	char *text = mem_alloc(UID_SET_OCTETS + 1);
	struct err err = OK;

	while (!err.kind && uid_set_next(&set, text)) {
		err = imap_command(&imap->client, PHASE_UPDATE,
				   "UID STORE %s +FLAGS.SILENT (\\Seen)", text);
		imap_client_trim(&imap->client);
	}
	free(text);
	return err;
}

/* Sets \Seen on what was retrieved and stays. It must not hold up the client's answer. */
static void mark_seen(struct imap *imap, const struct maildrop *maildrop, uint64_t began)
{
	const struct env *env = imap->env;
	struct uid_list list = {mem_resize(NULL, maildrop->total + 1, sizeof *list.at), 0};
	bool is_late = env->ops->now(env) - began > RECONNECT_MS;
	struct err err = OK;

	for (size_t i = 0; i < maildrop->total; i++) {
		const struct message *msg =
			&maildrop->messages[maildrop->newest_first ? maildrop->total - 1 - i : i];
		if (msg->marks & MARK_RETRIEVED && !(msg->marks & MARK_STUB) && !goes(imap, msg))
			add(&list, msg->uid);
	}
	if (list.count && is_late && !imap_client_is_alive(&imap->client)) {
		err = ERR(ERR_UPSTREAM, 0, "no time is left");
	} else if (list.count) {
		err = imap_ready(imap, NULL);
		imap->client.until_ms = imap->conf.state ? began + UPDATE_MS + RECONNECT_MS : 0;
		if (!err.kind && imap->is_folder_read_only)
			err = ERR(ERR_POLICY, 0, "the folder is read-only");
		if (!err.kind)
			err = store_seen(imap, &list);
		imap->client.until_ms = 0;
	}
	if (err.kind)
		log_err(imap->log, LEVEL_NOTE, "imap-seen-failed", err);
	free(list.at);
}

struct err imap_update(struct upstream *upstream, const struct maildrop *maildrop)
{
	struct imap *imap = (struct imap *)upstream;
	uint64_t began = imap->env->ops->now(imap->env);
	struct plan plan = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
	struct err err = OK, other;

	if (imap->conf.delete_policy == DELETE_NEVER && maildrop->marked)
		err = ERR(ERR_POLICY, 0, "nothing may be deleted here");
	make_plan(imap, maildrop, &plan);
	other = mark_rows(imap, &plan.hide, LEDGER_HIDDEN);
	err = err.kind ? err : other;
	other = mark_rows(imap, &plan.postpone, LEDGER_HIDDEN | LEDGER_PENDING);
	err = err.kind ? err : other;
	other = remove_uids(imap, maildrop, &plan.remove);
	err = err.kind ? err : other;
	plan_fini(&plan);
	if (imap->conf.seen_policy == SEEN_ON_QUIT)
		mark_seen(imap, maildrop, began);
	if (imap->client.im)
		imap_client_trim(&imap->client);
	return err;
}
