/* SPDX-License-Identifier: MIT */
/* imap_update.c - UPDATE: what becomes of each message at QUIT, by the policies of the map.
 *
 * What is to be removed is written into the journal first, where there is one, and is on disk before
 * the first command that deletes; without that nothing is deleted (D-09). From then on a failure of the
 * server is none for the client: what is left in the journal is hidden and done later. What a server
 * refuses for good is taken out of it again, and the client hears -ERR (Table 1). The work ends in time
 * for the client's answer (D-10). */
#include "upstream/imap_promise.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/imap_name.h"
#include "upstream/imap_remove.h"
#include "upstream/ledger.h"

enum {
	UPDATE_MS = 45000, /* all removing, where a journal keeps what is left */
	HEAR_MS = 3000,    /* headers of what is removed, of it */
	RECONNECT_MS =
		5000, /* later than this no new connection is made: it may take 50 s (H-03) */
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

static void add(struct uid_list *list, uint32_t uid)
{
	list->at[list->count++] = uid;
}

static void make_plan(const struct imap *imap, const struct maildrop *maildrop, struct plan *plan)
{
	const struct upstream_conf *conf = &imap->conf;
	bool is_hidden_only = conf->delete_policy == DELETE_HIDE;
	uint64_t kept_from = imap->kept_from;
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

struct marking {
	const struct imap *imap;
	unsigned marks;
};

/* What is hidden must be recognised for as long as it is there. */
static void set_marks(void *arg, struct ledger *ledger, struct ledger_row *row)
{
	const struct marking *marking = arg;
	const char *id = row->id ? NULL : imap_heard_id(marking->imap, row->uid);

	if (id && ledger->head.source == LEDGER_HEADER)
		(void)ledger_set_id(ledger, row, id); /* later, if memory is out */
	if ((row->marks & marking->marks) == marking->marks)
		return;
	row->marks |= (uint8_t)marking->marks;
	ledger_touch(ledger, row->uid);
}

static struct err mark_rows(struct imap *imap, const struct uid_list *list, unsigned marks)
{
	const struct upstream_conf *conf = &imap->conf;
	struct marking marking = {imap, marks};

	if (!list->count)
		return OK;
	if (!conf->state)
		return ERR(ERR_POLICY, 0, "messages cannot be hidden here");
	if (!imap->has_ledger)
		return ERR(ERR_UPSTREAM, 0, "messages cannot be hidden now");
	return ledger_change(conf->state, imap->env, conf->name, imap->epoch, list->at, list->count,
			     set_marks, &marking);
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
		err = imap_promise(imap, maildrop, list, &journal);
		is_promised = !err.kind;
		removal.journal = &journal;
		removal.until_ms = began + UPDATE_MS;
		removal.reconnect_until_ms = began + RECONNECT_MS;
	}
	list->at = NULL; /* the removal's now */
	/* What waited may have been copied already before its UID changed. */
	for (size_t i = 0; i < removal.count; i++)
		if (!maildrop_find(maildrop, removal.uids[i]))
			removal.marks[i] |= REMOVAL_DOUBT;
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

/* Should all UIDs change before it is done, what is promised must be recognised. */
static void hear_all(struct imap *imap, const struct plan *plan, uint64_t began)
{
	const struct uid_list *lists[] = {&plan->hide, &plan->postpone, &plan->remove};

	if (!imap->conf.state || !imap->has_ledger)
		return;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (lists[i]->count && (imap_client_is_alive(&imap->client) || plan->remove.count))
			imap_hear_marked(imap, lists[i], began + HEAR_MS);
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
	hear_all(imap, &plan, began);
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
