/* SPDX-License-Identifier: MIT */
/* imap_all.c - the listing of everything, or of everything above a UID: what the server tells of
 * each message goes into the ledger's rows, and is believed when it is whole (C-05). */
#include "upstream/imap_early.h"
#include "upstream/imap_listing.h"

#include <errno.h>
#include <string.h>

enum {
	PASSES = 2,    /* the listing, and one more try for a gap (C-05) */
	LARGE = 20000, /* messages: above, they are listed in windows (M-15) */
	WINDOW = 5000, /* messages that a window is meant to hold */
	FLIGHT = 4,    /* windows under way at once */
	PART_MS = 1000,
	ID_TRIES = 3, /* times that ids are asked for until a server is said to have none */
	TURN = 4096,  /* rows worked on until other sessions get their turn */
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
	if (table->source == LEDGER_NONE || !table->count || listing->imap->has_no_ids)
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
		if (!take_one(listing, table, &table->taken[i]))
			return false;
	}
	return true;
}

/* --- windows -------------------------------------------------------------------------------- */

struct window {
	uint32_t from, to; /* UINT32_MAX: "*" */
	uint32_t width;    /* as it was then */
	int tag;
};

/* One walk over the UIDs from `from` on, in windows, of which some are under way at once (M-15). */
struct walk {
	uint32_t from;
	size_t expected; /* about so many messages */
	struct uids *seen;
	size_t top;     /* the highest message sequence number told */
	bool has_named; /* a UID was told at all, if only one that was not asked for */
	bool is_wrong, is_shifted;
	/* While it goes on. */
	struct table table;
	struct early early;
	struct window windows[FLIGHT]; /* sent and not yet received, in order */
	size_t flying, most;           /* so many there are; at most */
	uint32_t next, width;          /* the next window */
	bool is_all_sent;
	int tries;        /* of ids that were refused */
	uint64_t save_ms; /* moment from which on what came is kept */
};

/* A long listing may be cut off: what came is kept, and the next login goes on behind it (M-15). That
 * takes the disk's time, so it is done now and then, and where a listing fails. */
static void save_part(struct listing *listing)
{
	bool is_stale;

	if (!listing->has_state || listing->is_begun || !listing->is_changed)
		return;
	/* Nobody knows which of the rows are of the folder as it was (D-11). */
	const struct imap *imap = listing->imap;
	if (imap_wire_folder(imap->client.wire)->uidvalidity != imap->uidvalidity)
		return;
	listing->ledger.head.is_whole = false;
	struct err err = listing_save(listing, &is_stale);
	if (err.kind)
		log_err(imap->log, LEVEL_WARN, "ledger-not-saved", err);
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

/* What has been answered says how far apart the UIDs lie; what is under way is not waited for. */
static void adapt(struct walk *walk, const struct window *window)
{
	size_t count = walk->table.count;

	if (window->width != walk->width)
		return;
	if (count > 2 * WINDOW && walk->width > 1)
		walk->width /= 2;
	else if (count < WINDOW / 4 && walk->width < UINT32_MAX / 4)
		walk->width *= 2;
}

static struct err send_window(struct listing *listing, struct walk *walk)
{
	struct window *window = &walk->windows[walk->flying];
	uint32_t from = walk->next, width = walk->width;
	bool is_last = width > UINT32_MAX - from || walk->seen->count >= walk->expected ||
		       (listing->uidnext && from + width >= listing->uidnext);

	*window = (struct window){from, is_last ? UINT32_MAX : from + width - 1, width, 0};
	TRY(imap_table_ask(listing->imap, &walk->table, from, window->to, &window->tag));
	early_announce(&walk->early, window->tag);
	walk->flying++;
	walk->next = window->to + 1;
	walk->is_all_sent = is_last;
	return OK;
}

/* The windows behind one whose answer was not what it should be are answered, and asked for again, one at
 * a time. */
static struct err step_back(struct walk *walk)
{
	struct err err = OK;

	for (size_t i = 0; i < walk->flying && !err.kind; i++)
		err = early_receive(&walk->early, PHASE_LIST, walk->windows[i].tag);
	if (walk->flying)
		walk->next = walk->windows[0].from;
	walk->is_all_sent &= !walk->flying;
	walk->flying = 0;
	walk->most = 1;
	return err;
}

/* Whether the server does not know the items for ids: it is asked without them. A server that has
 * announced them is not believed at once: should UIDs have changed, all that it was known by is lost with
 * them (N-13). */
static bool is_refused(struct listing *listing, struct walk *walk)
{
	struct imap *imap = listing->imap;

	if (walk->table.source == LEDGER_NONE || !imap_client_is_alive(&imap->client) ||
	    !imap_was(&imap->client, WIRE_BAD))
		return false;
	if (++walk->tries < ID_TRIES)
		return true;
	LOG(imap->log, LEVEL_NOTE, "imap-no-ids");
	imap->has_no_ids = true;
	walk->table.source = LEDGER_NONE;
	return true;
}

/* Takes the answer to the window that was sent first. */
static struct err receive_window(struct listing *listing, struct walk *walk, bool *is_done)
{
	struct imap *imap = listing->imap;
	struct window window = walk->windows[0];
	uint32_t limit;

	*is_done = false;
	memmove(walk->windows, walk->windows + 1, --walk->flying * sizeof window);
	struct err err = imap_table_receive(&walk->early, &walk->table, window.tag, &limit);
	if (err.kind && is_refused(listing, walk)) {
		TRY(step_back(walk));
		walk->next = window.from;
		walk->is_all_sent = false;
		return OK;
	}
	TRY(err);
	if (limit) {
		TRY(step_back(walk));
		TRY(imap_table_rest(imap, &walk->early, &walk->table, window.from, window.to,
				    limit));
	}
	TRY(imap_table_take(&walk->table, window.from, window.to));
	adapt(walk, &window);
	*is_done = true;
	return OK;
}

static struct err take_window(struct listing *listing, struct walk *walk)
{
	const struct env *env = listing->imap->env;
	const struct table *table = &walk->table;
	bool is_done;

	TRY(receive_window(listing, walk, &is_done));
	if (!is_done)
		return OK;
	for (size_t i = 0; i < table->count; i++)
		uids_add(walk->seen, table->taken[i].uid);
	if (!listing_take(listing, table))
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	if ((walk->flying || !walk->is_all_sent) && env->ops->now(env) >= walk->save_ms) {
		save_part(listing);
		walk->save_ms = env->ops->now(env) + PART_MS;
	}
	return OK;
}

static void begin_walk(const struct listing *listing, struct walk *walk)
{
	const struct imap *imap = listing->imap;
	bool is_cut = listing->is_window || imap->client.caps & CAP_MESSAGELIMIT;

	walk->next = walk->from;
	walk->width = first_width(listing, walk);
	walk->most = is_cut ? 1 : FLIGHT;
	walk->save_ms = imap->env->ops->now(imap->env) + PART_MS;
}

static struct err list_walk(struct listing *listing, struct walk *walk)
{
	struct table *table = &walk->table;
	struct err err = OK;

	begin_walk(listing, walk);
	size_t room = listing->ledger.count + walk->expected;
	if (room <= MAILDROP_MESSAGES)
		(void)ledger_reserve(&listing->ledger, room); /* it grows if need be */
	early_begin(&walk->early, &listing->imap->client);
	if (!imap_table_begin(table, listing->imap, listing->strong))
		err = ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	while (!err.kind && (walk->flying || !walk->is_all_sent)) {
		if (!walk->is_all_sent && walk->flying < walk->most)
			err = send_window(listing, walk);
		else
			err = take_window(listing, walk);
	}
	if (err.kind)
		save_part(listing);
	/* Nothing stays under way: the next command's answer would be taken for it. */
	if (err.kind && imap_client_is_alive(&listing->imap->client)) {
		struct err lost = step_back(walk);
		(void)lost.kind; /* the connection's, and the next command hears of it */
	}
	walk->is_wrong = table->is_wrong;
	walk->is_shifted = table->is_shifted;
	walk->has_named = table->has_named;
	walk->top = table->top;
	listing->is_window |= table->is_limited;
	imap_table_end(table);
	early_end(&walk->early);
	return err;
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
	listing->is_silent = !walk.has_named;
	*count = seen.count;
	uids_fini(&seen);
	return err;
}
