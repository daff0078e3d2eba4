/* SPDX-License-Identifier: MIT */
/* imap_all.c - the listing of everything, or of everything above a UID: what the server tells of
 * each message goes into the ledger's rows, and is believed when it is whole (C-05). */
#include "upstream/imap_listing.h"

#include <errno.h>
#include <string.h>

enum {
	PASSES = 2,    /* the listing, and one more try for a gap (C-05) */
	LARGE = 20000, /* messages: above, they are listed in windows (M-15) */
	WINDOW = 5000, /* messages that a window is meant to hold */
	TURN = 4096,   /* rows worked on until other sessions get their turn */
};

/* --- from what was told to rows ------------------------------------------------------------- */

/* From now on the ledger's ids are of another kind; the old ones are worth nothing beside them. */
static void change_source(struct listing *listing, enum ledger_source source)
{
	struct ledger *ledger = &listing->ledger;

	for (size_t i = 0; i < ledger->count; i++) {
		if (!ledger->rows[i].id)
			continue;
		ledger->rows[i].id = 0;
		ledger_touch(ledger, ledger->rows[i].uid);
	}
	ledger->head.source = (uint8_t)source;
	listing->is_changed = true;
}

/* Ids that were announced and do not come are as good as none. */
static void check_ids(struct listing *listing, const struct table *table)
{
	if (table->source == LEDGER_NONE || !table->count)
		return;
	if (!buf_len(&table->texts)) {
		LOG(listing->imap->log, LEVEL_NOTE, "imap-ids-missing");
		listing->imap->has_no_ids = true;
	} else if (listing->ledger.head.source != table->source) {
		change_source(listing, table->source);
	}
}

static bool take_one(struct listing *listing, const struct table *table, const struct told *told)
{
	struct ledger *ledger = &listing->ledger;
	struct ledger_row *row = ledger_find(ledger, told->uid);
	bool is_new = !row;

	if (is_new)
		row = ledger_row(ledger, told->uid);
	if (!row)
		return false;
	bool was_deleted = row->marks & LEDGER_DELETED;
	bool is_deleted = told->has_flags ? told->is_deleted : was_deleted;
	bool has_other_size = told->octets && told->octets != row->octets;
	if (has_other_size) {
		/* What was measured was measured of other octets (N-04). */
		row->octets = told->octets;
		row->exact = 0;
	}
	if (is_deleted != was_deleted)
		row->marks ^= LEDGER_DELETED;
	bool is_changed = has_other_size || is_deleted != was_deleted;
	if (is_changed)
		ledger_touch(ledger, row->uid);
	if (told->id && ledger->head.source == table->source) {
		uint32_t had = row->id;
		if (!ledger_set_id(ledger, row, buf_data(&table->texts) + told->id))
			return false;
		is_changed |= row->id != had;
	}
	listing->is_changed |= is_new || is_changed;
	return true;
}

bool listing_take(struct listing *listing, const struct table *table)
{
	check_ids(listing, table);
	for (size_t i = 0; i < table->count; i++) {
		if (i && i % TURN == 0)
			listing->imap->env->ops->sleep(listing->imap->env, 0);
		if (!take_one(listing, table, &table->rows[i]))
			return false;
	}
	return true;
}

/* --- windows -------------------------------------------------------------------------------- */

/* One walk over the UIDs from `from` on. */
struct walk {
	uint32_t from;
	size_t expected; /* about so many messages */
	struct uids *seen;
	size_t top;  /* the highest message sequence number told */
	size_t told; /* messages, with those that were not asked for */
	bool is_wrong, is_shifted;
};

/* A long listing may be cut off: what came is kept, and the next login goes on behind it (M-15). */
static void save_part(struct listing *listing)
{
	bool is_stale;

	if (!listing->has_state || listing->is_begun || !listing->is_changed)
		return;
	listing->ledger.head.is_whole = false;
	struct err err = listing_save(listing, &is_stale);
	if (err.kind)
		log_err(listing->imap->log, LEVEL_WARN, "ledger-not-saved", err);
}

/* Drops what a window was not asked for: "n:*" always brings the last message. */
static void trim(struct table *table, uint32_t from, uint32_t to)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++)
		if (table->rows[i].uid >= from && table->rows[i].uid <= to)
			table->rows[kept++] = table->rows[i];
	table->count = kept;
}

static struct err list_window(struct listing *listing, struct walk *walk, uint32_t from,
			      uint32_t to, size_t *count)
{
	struct table table = {.rows = NULL};

	struct err err = imap_table_fetch(listing->imap, &table, listing->strong, from, to);
	if (!err.kind) {
		walk->told += table.count;
		trim(&table, from, to);
		for (size_t i = 0; i < table.count; i++)
			uids_add(walk->seen, table.rows[i].uid);
		walk->is_wrong |= table.is_wrong;
		walk->is_shifted |= table.is_shifted;
		if (table.top > walk->top)
			walk->top = table.top;
		listing->is_window |= table.is_limited;
		*count = table.count;
		if (!listing_take(listing, &table))
			err = ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	}
	imap_table_fini(&table);
	return err;
}

/* UIDs may lie far apart: the first width follows from the mean distance. */
static uint32_t first_width(const struct listing *listing, const struct walk *walk)
{
	uint64_t span = listing->uidnext > walk->from ? listing->uidnext - walk->from : 0;
	uint64_t width = span ? span / walk->expected * WINDOW : WINDOW;

	if (walk->expected <= LARGE)
		return UINT32_MAX;
	return width < WINDOW ? WINDOW : width > UINT32_MAX / 4 ? UINT32_MAX / 4 : (uint32_t)width;
}

static struct err list_walk(struct listing *listing, struct walk *walk)
{
	uint32_t from = walk->from, width = first_width(listing, walk);
	size_t count;

	for (;;) {
		bool is_last = width > UINT32_MAX - from || walk->seen->count >= walk->expected ||
			       (listing->uidnext && from + width >= listing->uidnext);
		uint32_t to = is_last ? UINT32_MAX : from + width - 1;
		TRY(list_window(listing, walk, from, to, &count));
		if (is_last)
			return OK;
		save_part(listing);
		from = to + 1;
		if (count > 2 * WINDOW && width > 1)
			width /= 2;
		else if (count < WINDOW / 4 && width < UINT32_MAX / 4)
			width *= 2;
	}
}

/* --- everything ----------------------------------------------------------------------------- */

/* How many must be told at least, by UIDNEXT: those that SELECT counted less those that have gone, and
 * what was told and has come since. 0: UIDNEXT says nothing, or what cannot be. */
static size_t least_told(const struct listing *listing)
{
	const struct imap *imap = listing->imap;
	const struct imap_wire *wire = imap->client.wire;
	size_t gone = imap_wire_expunges(wire) - imap->selected_expunges, news = 0;
	size_t before = imap->selected_exists, now = imap_wire_exists(wire) + gone;

	for (size_t i = listing->seen.count; i && listing->seen.at[i - 1] >= listing->uidnext; i--)
		news++;
	if (!listing->uidnext || before + news > now || before + news < gone)
		return 0;
	return before + news - gone;
}

/* Whether nothing can be missing: as many UIDs as there were messages when we asked, or, on the
 * second look, as many as there were less those that were expunged meanwhile. What came in since then
 * and was told too must not stand for what was not: `grown` is how many there are now. */
static bool is_whole(const struct walk *walk, bool is_window, size_t exists, size_t grown,
		     size_t expunged, bool is_last)
{
	size_t wanted = exists;

	if (walk->is_wrong)
		return false;
	/* Some that were told have gone since; in parts that is so again and again. */
	if (walk->is_shifted && !is_window && !is_last)
		return false;
	if (grown > exists && walk->top > exists)
		wanted = walk->top < grown ? walk->top : grown;
	if (walk->seen->count >= wanted)
		return true;
	return is_last && expunged && walk->seen->count == walk->top &&
	       walk->seen->count + expunged >= exists;
}

/* Rows ascend, and so do the UIDs seen: one pass. */
struct keeping {
	const struct uids *seen;
	size_t at;
};

static bool is_seen(void *arg, const struct ledger_row *row)
{
	struct keeping *keeping = arg;
	const struct uids *seen = keeping->seen;

	while (keeping->at < seen->count && seen->at[keeping->at] < row->uid)
		keeping->at++;
	return keeping->at < seen->count && seen->at[keeping->at] == row->uid;
}

void listing_retain(struct listing *listing, const struct uids *seen)
{
	struct keeping keeping = {seen, 0};

	if (ledger_retain(&listing->ledger, is_seen, &keeping))
		listing->is_changed = true;
}

static void end_all(struct listing *listing)
{
	listing->has_seen = listing->is_window;
	if (listing->is_window)
		return;
	listing_retain(listing, &listing->seen);
	uids_fini(&listing->seen);
}

struct err listing_all(struct listing *listing)
{
	struct imap *imap = listing->imap;
	struct imap_client *client = &imap->client;

	for (int pass = 0; pass < PASSES; pass++) {
		if (pass)
			TRY(imap_command(client, PHASE_LIST, "NOOP"));
		uint32_t exists = imap_wire_exists(client->wire);
		uint32_t expunges = imap_wire_expunges(client->wire);
		if (exists > MAILDROP_MESSAGES)
			return ERR(ERR_UPSTREAM, E2BIG, "too many messages");
		struct walk walk = {.from = 1, .expected = exists, .seen = &listing->seen};
		listing->seen.count = 0;
		if (exists)
			TRY(list_walk(listing, &walk));
		if (uids_sort(&listing->seen))
			return ERR(ERR_UPSTREAM, 0, "the mail server gave two messages one UID");
		expunges = imap_wire_expunges(client->wire) - expunges;
		bool is_short = listing->seen.count < least_told(listing);
		if (!is_short &&
		    is_whole(&walk, listing->is_window, exists, imap_wire_exists(client->wire),
			     expunges, pass == PASSES - 1)) {
			end_all(listing);
			return OK;
		}
		LOG(imap->log, LEVEL_WARN, "imap-list-short", log_number("exists", exists),
		    log_number("told", listing->seen.count), log_number("expunged", expunges));
	}
	return ERR(ERR_UPSTREAM, 0, "the mail server's listing is not complete");
}

struct err listing_from(struct listing *listing, uint32_t from, size_t *count)
{
	size_t known = listing->ledger.count, exists = imap_wire_exists(listing->imap->client.wire);
	struct uids seen = {NULL, 0, 0};
	struct walk walk = {
		.from = from, .expected = exists > known ? exists - known : 1, .seen = &seen};

	struct err err = list_walk(listing, &walk);
	listing->is_odd = walk.is_wrong;
	listing->is_silent = !walk.told;
	*count = seen.count;
	uids_fini(&seen);
	return err;
}
