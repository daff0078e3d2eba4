/* SPDX-License-Identifier: MIT */
/* imap_replay.c - does what earlier sessions promised and could not do (D-09).
 *
 * A record is believed only if it is about this very mailbox: the same place, the same UIDVALIDITY,
 * messages of the same sizes. One that is not is thrown away with an alarm: rather a message shown
 * twice than a foreign one deleted. Where UIDVALIDITY has changed the promise is handed to the ledger,
 * which may recognise the messages under their new UIDs.
 *
 * Everything else that goes wrong leaves the record as it is, and its messages hidden. */
#include "upstream/imap_remove.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/imap_name.h"
#include "upstream/ledger.h"

enum {
	REPLAY_MS = 10000, /* all records of a login */
	OVERDUE_S = 86400, /* a promise older than this is an operator's business (D-10) */
};

static void discard(struct imap *imap, struct journal *record, const char *why)
{
	LOG(imap->log, LEVEL_ALARM, "journal-discarded", log_text("where", record->where),
	    log_text("why", why), log_number("messages", record->count));
	record->count = 0;
	struct err err = journal_write(imap->conf.state, imap->env, imap->conf.name, record);
	if (err.kind)
		log_err(imap->log, LEVEL_WARN, "journal-not-written", err);
}

static uint32_t *uids_of(const struct journal *record)
{
	uint32_t *uids = mem_resize(NULL, record->count + 1, sizeof *uids);

	for (size_t i = 0; i < record->count; i++)
		uids[i] = record->entries[i].uid;
	return uids;
}

/* What the session that promised it had learned, and the ledger has not, goes with it. */
static void set_pending(void *arg, struct ledger *ledger, struct ledger_row *row)
{
	const struct journal *record = arg;
	size_t low = 0, high = record->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (record->entries[mid].uid < row->uid)
			low = mid + 1;
		else
			high = mid;
	}
	const struct journal_entry *entry =
		low < record->count && record->entries[low].uid == row->uid ? &record->entries[low]
									    : NULL;
	if (entry && *entry->id && !row->id && ledger->head.source == LEDGER_HEADER)
		(void)ledger_set_id(ledger, row, entry->id); /* without it, as if never learned */
	if (entry && !row->octets)
		row->octets = entry->octets;
	row->marks |= LEDGER_HIDDEN | LEDGER_PENDING;
	ledger_touch(ledger, row->uid);
}

/* The rows of the old epoch keep the promise: whatever is recognised in the new one stays hidden, and
 * the listing that recognises it removes it. */
static struct err hand_to_ledger(struct imap *imap, struct journal *record)
{
	struct ledger ledger;

	ledger_init(&ledger, imap->conf.name);
	struct err err = ledger_load_head(&ledger, imap->conf.state, imap->env);
	if (!err.kind && ledger.head.uidvalidity == record->uidvalidity &&
	    strcmp(ledger.head.place, record->place) == 0) {
		uint32_t *uids = uids_of(record);
		err = ledger_change(imap->conf.state, imap->env, imap->conf.name, ledger.head.epoch,
				    uids, record->count, set_pending, record);
		free(uids);
	}
	ledger_fini(&ledger);
	return err;
}

struct sizes {
	const struct journal *record;
	uint32_t *uids; /* owned: those of the record, all ascending */
	bool *is_told;  /* owned: the same size was told, or there is none to compare */
	size_t told, differ;
};

static void take_size(void *arg, const struct wire_item *item)
{
	struct sizes *sizes = arg;
	const struct journal *record = sizes->record;

	if (!item->has_uid || !item->has_octets)
		return;
	size_t i = uid_at_or_above(sizes->uids, record->count, item->uid);
	if (i == record->count || sizes->uids[i] != item->uid)
		return;
	uint64_t promised = record->entries[i].octets;
	sizes->told += !sizes->is_told[i];
	sizes->is_told[i] = true;
	sizes->differ += promised && promised != item->octets;
}

/* Of a message that is there and whose size was not told nobody knows whether it is the one that was
 * promised: that is found out another time. */
static struct err check_untold(struct imap *imap, const struct sizes *sizes)
{
	size_t untold = 0, left;
	uint32_t *uids = uids_of(sizes->record);

	for (size_t i = 0; i < sizes->record->count; i++)
		if (!sizes->is_told[i])
			uids[untold++] = uids[i];
	struct uid_set set = {
		.uids = uids,
		.count = untold,
		.most = UID_SET_MESSAGES,
		.octets = uid_set_octets(imap->quirks ? imap->quirks->line : 1000),
	};
	char *text = mem_alloc(UID_SET_OCTETS + 1);
	struct err err = OK;
	while (!err.kind && uid_set_next(&set, text)) {
		err = imap_count_left(imap, text, &left);
		if (!err.kind && left)
			err = ERR(ERR_UPSTREAM, 0, "the mail server does not tell the sizes");
	}
	free(text);
	free(uids);
	return err;
}

/* Asks for the sizes that were not told yet. *told: so many came. */
static struct err ask_sizes(struct imap *imap, struct sizes *sizes, size_t *told)
{
	const struct journal *record = sizes->record;
	uint32_t *uids = mem_resize(NULL, record->count + 1, sizeof *uids);
	char *text = mem_alloc(UID_SET_OCTETS + 1);
	size_t untold = 0;
	struct err err = OK;

	for (size_t i = 0; i < record->count; i++)
		if (!sizes->is_told[i])
			uids[untold++] = sizes->uids[i];
	struct uid_set set = {
		.uids = uids,
		.count = untold,
		.most = UID_SET_MESSAGES,
		.octets = uid_set_octets(imap->quirks ? imap->quirks->line : 1000),
	};
	*told = sizes->told;
	imap_wire_expect_items(imap->client.wire, take_size, sizes);
	while (!err.kind && uid_set_next(&set, text)) {
		err = imap_command(&imap->client, PHASE_LIST, "UID FETCH %s (UID RFC822.SIZE)",
				   text);
		imap_client_trim(&imap->client);
	}
	imap_wire_expect_items(imap->client.wire, NULL, NULL);
	*told = sizes->told - *told;
	free(text);
	free(uids);
	return err;
}

/* Whether the messages under these UIDs have the sizes of those that were promised. Some servers tell
 * only a part at once (RFC 9738), and what is gone is never told: asked is as long as any comes. */
static struct err compare_sizes(struct imap *imap, const struct journal *record, bool *is_same)
{
	struct sizes sizes = {.record = record, .uids = uids_of(record)};
	size_t told = 1;
	struct err err = OK;

	sizes.is_told = mem_alloc(record->count + 1);
	for (size_t i = 0; i < record->count; i++) {
		sizes.is_told[i] = !record->entries[i].octets;
		sizes.told += sizes.is_told[i];
	}
	while (!err.kind && told && !sizes.differ && sizes.told < record->count)
		err = ask_sizes(imap, &sizes, &told);
	*is_same = !sizes.differ;
	if (!err.kind && *is_same)
		err = check_untold(imap, &sizes);
	free(sizes.is_told);
	free(sizes.uids);
	return err;
}

/* The way that a record wants; false: nobody knows it. */
static bool way_of(const char *mode, enum delete_policy *way, const char **folder)
{
	*folder = NULL;
	if (strncmp(mode, "archive:", 8) == 0 && mode[8]) {
		*way = DELETE_ARCHIVE;
		*folder = mode + 8;
		return true;
	}
	*way = strcmp(mode, "trash") == 0  ? DELETE_TRASH
	       : strcmp(mode, "flag") == 0 ? DELETE_FLAG
					   : DELETE_EXPUNGE;
	return *way != DELETE_EXPUNGE || strcmp(mode, "expunge") == 0;
}

static struct err remove_record(struct imap *imap, struct journal *record, uint64_t until_ms)
{
	enum delete_policy way;
	const char *folder;
	struct removal removal;

	if (!way_of(record->mode, &way, &folder))
		return ERR(ERR_POLICY, 0, "the journal names an unknown way to delete");
	removal_init(&removal, imap, way, folder, uids_of(record), record->count);
	removal.journal = record;
	removal.looks_first = removal.keeps_refused = true;
	removal.until_ms = until_ms;
	removal.reconnect_until_ms = 1; /* never: the login needs its time */
	for (size_t i = 0; i < removal.count; i++)
		removal.marks[i] |= REMOVAL_DOUBT;
	struct err err = removal_run(&removal);
	removal_fini(&removal);
	return err;
}

/* What is left is tried again at the next login. */
static void put_off(struct imap *imap, struct journal *record, struct err err)
{
	const struct env *env = imap->env;
	uint64_t now = env->ops->wall(env);
	bool is_overdue = now > record->since && now - record->since > OVERDUE_S;

	log_err(imap->log, LEVEL_NOTE, "journal-replay-failed", err);
	LOG(imap->log, is_overdue || err.kind == ERR_POLICY ? LEVEL_ALARM : LEVEL_NOTE,
	    "journal-left", log_text("where", record->where), log_number("messages", record->count),
	    log_number("tries", record->tries + 1));
	record->tries++;
	err = journal_write(imap->conf.state, env, imap->conf.name, record);
	if (err.kind)
		log_err(imap->log, LEVEL_WARN, "journal-not-written", err);
}

static struct err replay(struct imap *imap, struct journal *record, uint64_t until_ms)
{
	bool is_same = true;

	if (!imap_client_is_alive(&imap->client) || imap->env->ops->now(imap->env) >= until_ms)
		return ERR(ERR_UPSTREAM, 0, "no time is left");
	if (imap->is_folder_read_only || imap->conf.delete_policy == DELETE_NEVER)
		return ERR(ERR_POLICY, 0, "nothing may be deleted here now");
	imap->client.until_ms = until_ms;
	if (!(imap->quirks && imap->quirks->traits & QUIRK_SIZES_CHANGE))
		TRY(compare_sizes(imap, record, &is_same));
	if (!is_same) {
		discard(imap, record, "messages of other sizes have these UIDs");
		return OK;
	}
	return remove_record(imap, record, until_ms);
}

/* Why the UIDs of a record no longer mean what they meant; NULL: they do. */
static const char *stale_because(const struct imap *imap, const struct ledger_head *head,
				 const struct journal *record)
{
	const struct wire_folder *folder = imap_wire_folder(imap->client.wire);
	bool is_told = strcmp(head->place, imap->place) == 0 &&
		       head->uidvalidity == imap->uidvalidity && folder->uidnext;

	if (strcmp(record->place, imap->place) != 0)
		return "it is about another mailbox";
	if (record->uidvalidity != imap->uidvalidity)
		return "the folder's UIDVALIDITY has changed";
	if (is_told && folder->uidnext < head->uidnext)
		return "the folder's UIDs were given out again (UIDNEXT went down)";
	return NULL;
}

/* A record about another mailbox, or other UIDs. True: it is done with. An error: it must wait. */
static struct err check_record(struct imap *imap, const struct ledger_head *head,
			       struct journal *record, bool *is_done)
{
	const char *why = stale_because(imap, head, record);

	*is_done = why != NULL;
	if (!why)
		return OK;
	if (imap->conf.uidvalidity_policy == UIDVALIDITY_REFUSE)
		return ERR(ERR_UPSTREAM, 0, "the mailbox's UIDs have changed");
	if (imap->conf.uidvalidity_policy == UIDVALIDITY_MATCH)
		TRY(hand_to_ledger(imap, record));
	discard(imap, record, why);
	return OK;
}

/* Replays what can be, before `until_ms`. An error: nobody knows what must be hidden. */
static struct err replay_all(struct imap *imap, const struct ledger_head *head,
			     struct journal *records, size_t count, uint64_t until_ms)
{
	struct err err = OK;

	for (size_t i = 0; i < count && !err.kind; i++) {
		bool is_done;
		err = check_record(imap, head, &records[i], &is_done);
		if (err.kind || is_done)
			continue;
		struct err left = replay(imap, &records[i], until_ms);
		if (left.kind && records[i].count)
			put_off(imap, &records[i], left);
	}
	return err;
}

static int by_number(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;

	return (one > two) - (one < two);
}

/* All that is left, ascending, each once. */
static void collect(const struct journal *records, size_t count, uint32_t **hide, size_t *hidden)
{
	size_t room = 0, used = 0, kept = 0;

	for (size_t i = 0; i < count; i++)
		room += records[i].count;
	if (!room)
		return;
	uint32_t *all = mem_resize(NULL, room, sizeof *all);
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < records[i].count; k++)
			all[used++] = records[i].entries[k].uid;
	qsort(all, used, sizeof *all, by_number);
	for (size_t i = 0; i < used; i++)
		if (!kept || all[kept - 1] != all[i])
			all[kept++] = all[i];
	*hide = all;
	*hidden = kept;
}

/* Journal and ledger in one. A ledger that makes no sense tells nothing and is empty; the listing deals
 * with it. */
static struct err recall(struct imap *imap, struct ledger *ledger, bool *is_loaded,
			 struct journal **records, size_t *count)
{
	struct state_store *state = imap->conf.state;
	struct ledger_loading loading;
	struct journal_reading reading;
	struct state_range ranges[2];

	TRY(journal_read_begin(&reading, imap->conf.name, &ranges[0]));
	TRY(ledger_load_begin(&loading, ledger, &ranges[1]));
	struct err walked = state->ops->walk(state, imap->env, ranges, 2);
	struct err err = journal_read_end(&reading, walked, records, count);
	struct err loaded = ledger_load_end(&loading, walked);
	*is_loaded = !loaded.kind;
	if (err.kind || !loaded.kind || loaded.code == EBADMSG)
		return err;
	journal_free(*records, *count);
	return loaded;
}

struct err imap_replay(struct imap *imap, struct ledger *ledger, bool *is_loaded, uint32_t **hide,
		       size_t *count)
{
	const struct env *env = imap->env;
	uint64_t login_until_ms = imap->client.until_ms;
	uint64_t until_ms = env->ops->now(env) + REPLAY_MS;
	struct journal *records = NULL;
	size_t record_count = 0;

	*hide = NULL;
	*count = 0;
	TRY(recall(imap, ledger, is_loaded, &records, &record_count));
	if (!record_count)
		return OK;
	*is_loaded = false; /* what follows may change it */
	if (login_until_ms && login_until_ms < until_ms)
		until_ms = login_until_ms;
	struct err err = replay_all(imap, &ledger->head, records, record_count, until_ms);
	collect(records, record_count, hide, count);
	journal_free(records, record_count);
	/* The listing needs a connection, and whatever the removal broke must be mended before. */
	if (!err.kind && !imap_client_is_alive(&imap->client))
		err = imap_ready(imap, NULL);
	imap->client.until_ms = login_until_ms;
	if (err.kind) {
		free(*hide);
		*hide = NULL;
		*count = 0;
	}
	return err;
}
