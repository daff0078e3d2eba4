/* SPDX-License-Identifier: MIT */
/* imap_table.c - what FETCH tells of many messages.
 *
 * The replies may come in any order, split, repeated, and between others (C-03), and those to several
 * commands under way may come mixed (M-05): they are gathered in a table by message sequence number. An
 * EXPUNGE shifts the numbers (RFC 9051 section 7.5.1, and UID FETCH may be answered with one): what was
 * told before keeps its UID and is no longer known by its number. Some servers send no number (RFC 9586)
 * or one beyond all messages (N-06): such replies stand for themselves, by UID.
 *
 * When a command has been answered the UIDs that it asked for are taken out; what was told of others
 * waits for its own command. */
#include "upstream/imap_listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	SPARE_ROWS = 1024,                /* messages that may come in while we list */
	ROUNDS = MAILDROP_MESSAGES / 100, /* parts of a listing that a server may cut it into */
	TEXTS_MAX = 1 << 30,
};

static void take_row(void *arg, const struct wire_item *item);

bool imap_table_begin(struct table *table, const struct imap *imap, enum ledger_source source)
{
	struct imap_wire *wire = imap->client.wire;
	size_t room = (size_t)imap_wire_exists(wire) + SPARE_ROWS;

	/* Zeroed memory that nobody touches costs nothing: a server that lies about EXISTS gains
	 * little. */
	*table = (struct table){.wire = wire,
				.rows = calloc(room, sizeof *table->rows),
				.room = room,
				.low = room,
				.source = imap->has_no_ids ? LEDGER_NONE : source};
	buf_init(&table->texts, TEXTS_MAX);
	imap_wire_expect_items(wire, take_row, table);
	return table->rows != NULL;
}

void imap_table_end(struct table *table)
{
	imap_wire_expect_items(table->wire, NULL, NULL);
	free(table->rows);
	free(table->loose);
	free(table->taken);
	buf_fini(&table->texts);
}

/* The row of a reply that has no number to go by; NULL if there can be no more. */
static struct told *loose_row(struct table *table, uint32_t uid)
{
	/* The parts of one reply mostly come one after the other. */
	for (size_t i = table->loose_len, near = 0; i && near < 4; i--, near++)
		if (table->loose[i - 1].uid == uid)
			return &table->loose[i - 1];
	if (table->loose_len == table->loose_room) {
		size_t room = table->loose_room * 2 + 256;
		struct told *loose = table->loose_len < MAILDROP_MESSAGES
					     ? reallocarray(table->loose, room, sizeof *loose)
					     : NULL;
		if (!loose)
			return NULL;
		table->loose = loose;
		table->loose_room = room;
	}
	table->loose[table->loose_len] = (struct told){
		.uid = uid, .is_loose = true, .round = imap_wire_expunges(table->wire)};
	return &table->loose[table->loose_len++];
}

/* The numbers have shifted since a row was told: from now on it goes by its UID, and its place is
 * free. What was told of a number without a UID nobody can assign any more. */
static bool make_way(struct table *table, struct told *row)
{
	struct told was = *row;

	if (was.uid) {
		struct told *loose = loose_row(table, was.uid);
		if (!loose)
			return false;
		*loose = was;
		loose->is_loose = true; /* and it keeps its round */
		table->is_shifted = true;
	}
	*row = (struct told){.uid = 0};
	return true;
}

static struct told *row_of(struct table *table, const struct wire_item *item)
{
	if (!item->number || item->number > table->room) {
		/* Only a line that names a message is missed. */
		struct told *row = item->has_uid ? loose_row(table, item->uid) : NULL;
		table->is_wrong |= item->has_uid && !row;
		return row;
	}
	struct told *row = &table->rows[item->number - 1];
	uint32_t round = imap_wire_expunges(table->wire);
	if (row->round != round && !make_way(table, row)) {
		table->is_wrong = true;
		return NULL;
	}
	row->round = round;
	if (item->has_uid && row->uid && row->uid != item->uid) {
		table->is_wrong = true;
		return NULL;
	}
	if (item->has_uid)
		row->uid = item->uid;
	if (item->number > table->top)
		table->top = item->number;
	if (item->number <= table->low)
		table->low = item->number - 1;
	return row;
}

static void take_id(struct table *table, struct told *row, const char *id)
{
	if (!*id || row->id)
		return;
	size_t at = buf_len(&table->texts) ? buf_len(&table->texts) : 1;
	bool is_kept = (buf_len(&table->texts) || buf_put(&table->texts, "", 1)) &&
		       buf_put(&table->texts, id, strlen(id) + 1);
	if (is_kept)
		row->id = (uint32_t)at;
	else
		table->is_wrong = true;
}

/* Takes one FETCH reply. Called by the doorman for each, ours or unsolicited. */
static void take_row(void *arg, const struct wire_item *item)
{
	struct table *table = arg;
	struct told *row = row_of(table, item);

	table->has_named |= item->has_uid;
	if (!row)
		return;
	if (item->has_octets)
		row->octets = item->octets;
	if (item->has_flags) {
		row->has_flags = true;
		row->is_deleted = item->is_deleted;
	}
	if (table->source == LEDGER_EMAILID)
		take_id(table, row, item->email_id);
	if (table->source == LEDGER_GM_MSGID)
		take_id(table, row, item->gm_msgid);
}

/* Reads the UID at the end of `[MESSAGELIMIT n uid]` (RFC 9738); 0 if there is none. */
static uint32_t limit_of(const struct wire_status *status)
{
	const char *last = strrchr(status->code_args, ' ');

	if (!last)
		return 0;
	unsigned long uid = strtoul(last, NULL, 10);
	return uid <= UINT32_MAX ? (uint32_t)uid : 0;
}

static const char *items_of(enum ledger_source source)
{
	switch (source) {
	case LEDGER_EMAILID:
		return "UID RFC822.SIZE FLAGS EMAILID";
	case LEDGER_GM_MSGID:
		return "UID RFC822.SIZE FLAGS X-GM-MSGID";
	case LEDGER_NONE:
	case LEDGER_HEADER:
		break;
	}
	return "UID RFC822.SIZE FLAGS";
}

struct err imap_table_ask(struct imap *imap, const struct table *table, uint32_t from, uint32_t to,
			  int *tag)
{
	const char *items = items_of(table->source);

	if (to == UINT32_MAX)
		return imap_send(&imap->client, tag, "UID FETCH %u:* (%s)", from, items);
	return imap_send(&imap->client, tag, "UID FETCH %u:%u (%s)", from, to, items);
}

struct err imap_table_receive(struct early *early, struct table *table, int tag, uint32_t *limit)
{
	struct imap_client *client = early->client;

	*limit = 0;
	TRY(early_receive(early, PHASE_LIST, tag));
	TRY(imap_outcome(client, PHASE_LIST));
	imap_client_trim(client);
	const struct wire_status *status = imap_wire_status(client->wire);
	if (!strcmp(status->code, "MESSAGELIMIT")) {
		table->is_limited = true;
		*limit = limit_of(status);
	}
	return OK;
}

/* The server answers from the end. */
struct err imap_table_rest(struct imap *imap, struct early *early, struct table *table,
			   uint32_t from, uint32_t to, uint32_t limit)
{
	for (int round = 0; limit >= 2 && limit - 1 < to && limit - 1 >= from; round++) {
		int tag;
		if (round >= ROUNDS)
			break;
		to = limit - 1;
		TRY(imap_table_ask(imap, table, from, to, &tag));
		TRY(imap_table_receive(early, table, tag, &limit));
	}
	return OK;
}

static int by_uid(const void *a, const void *b)
{
	const struct told *one = a, *two = b;

	if (one->uid == two->uid)
		return (one->round > two->round) - (one->round < two->round);
	return (one->uid > two->uid) - (one->uid < two->uid);
}

static bool is_ascending(const struct table *table)
{
	for (size_t i = 1; i < table->count; i++)
		if (by_uid(&table->taken[i - 1], &table->taken[i]) > 0)
			return false;
	return true;
}

/* What was told of one message in several replies without a number becomes one. False if two
 * messages that have numbers have one UID. */
static bool merge(struct table *table)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++) {
		const struct told *row = &table->taken[i];
		struct told *before = kept ? &table->taken[kept - 1] : NULL;
		if (!before || before->uid != row->uid) {
			table->taken[kept++] = *row;
			continue;
		}
		if (!before->is_loose && !row->is_loose && before->round == row->round)
			return false;
		before->octets = before->octets ? before->octets : row->octets;
		before->id = before->id ? before->id : row->id;
		bool is_newer = row->has_flags && row->round > before->round;
		if (!before->has_flags || is_newer) {
			before->has_flags = row->has_flags;
			before->is_deleted = row->is_deleted;
		}
		before->is_loose &= row->is_loose;
		before->round = row->round;
	}
	table->count = kept;
	return true;
}

static bool make_room(struct table *table)
{
	size_t most = table->loose_len + (table->top > table->low ? table->top - table->low : 0);

	if (most <= table->taken_room)
		return true;
	struct told *taken = reallocarray(table->taken, most, sizeof *taken);
	if (!taken)
		return false;
	table->taken = taken;
	table->taken_room = most;
	return true;
}

static bool is_in(const struct told *row, uint32_t from, uint32_t to)
{
	return row->uid && row->uid >= from && row->uid <= to;
}

struct err imap_table_take(struct table *table, uint32_t from, uint32_t to)
{
	size_t kept = 0, low = table->room;

	table->count = 0;
	if (!make_room(table))
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	for (size_t i = table->low; i < table->top; i++) {
		struct told *row = &table->rows[i];
		if (is_in(row, from, to)) {
			table->taken[table->count++] = *row;
			*row = (struct told){.uid = 0};
		} else if (row->uid && low == table->room) {
			low = i;
		}
	}
	table->low = low;
	for (size_t i = 0; i < table->loose_len; i++)
		if (is_in(&table->loose[i], from, to))
			table->taken[table->count++] = table->loose[i];
		else
			table->loose[kept++] = table->loose[i];
	table->loose_len = kept;
	if (!is_ascending(table))
		qsort(table->taken, table->count, sizeof *table->taken, by_uid);
	return merge(table) ? OK
			    : ERR(ERR_UPSTREAM, 0, "the mail server gave two messages one UID");
}
