/* SPDX-License-Identifier: MIT */
/* imap_list.c - the listing: which messages there are, their UIDs and sizes.
 *
 * A client that sees a message missing once forgets it and fetches it again later, so a listing is
 * whole or an error (C-05). The replies may come in any order, split, repeated, and between others
 * (C-03): they are gathered in a table by message sequence number, which nobody can shift while
 * the table has no conflict. */
#include "upstream/imap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/identity.h"

enum {
	PASSES = 2,            /* the listing, and one more try for a gap (C-05) */
	SINGLE_SIZES = 100,    /* how often a missing size is asked for by itself (C-06) */
	UNKNOWN_OCTETS = 1024, /* the size of a message whose size nobody tells */
	FILL_TURN = 4096,      /* rows handed on until other sessions get their turn */
	SPARE_ROWS = 1024,     /* messages that may come in while we list */
	ROUNDS = MAILDROP_MESSAGES / 100, /* parts of a listing that a server may cut it into */
};

struct row {
	uint32_t uid;    /* 0: not told */
	uint32_t octets; /* 0: not told */
	bool is_deleted;
};

struct table {
	struct row *rows; /* owned; rows[n - 1] is the message with sequence number n */
	size_t room;      /* rows there are */
	size_t told;      /* rows with a UID */
	size_t top;       /* the highest sequence number told */
	bool is_wrong;    /* something does not fit: two UIDs in a row, a number beyond reason */
};

/* Takes one FETCH reply. Called by the doorman for each, ours or unsolicited. */
static void take_row(void *arg, const struct wire_item *item)
{
	struct table *table = arg;

	if (item->number > table->room) {
		/* More messages than there can be: only a line that names one is missed. */
		table->is_wrong |= item->has_uid;
		return;
	}
	struct row *row = &table->rows[item->number - 1];
	if (item->has_uid && row->uid && row->uid != item->uid) {
		table->is_wrong = true;
		return;
	}
	if (item->has_uid && !row->uid) {
		row->uid = item->uid;
		table->told++;
	}
	if (item->number > table->top)
		table->top = item->number;
	if (item->has_octets)
		row->octets = item->octets;
	if (item->has_flags)
		row->is_deleted = item->is_deleted;
}

/* Reads the UID at the end of `[MESSAGELIMIT n uid]` (RFC 9738); 0 if there is none. */
static uint32_t limit_of(const struct wire_status *status)
{
	const char *last = strrchr(status->code_args, ' ');

	if (strcmp(status->code, "MESSAGELIMIT") != 0 || !last)
		return 0;
	unsigned long uid = strtoul(last, NULL, 10);
	return uid <= UINT32_MAX ? (uint32_t)uid : 0;
}

/* One UID FETCH of everything, in parts if the server answers in parts. */
static struct err gather(struct imap *imap, struct table *table)
{
	struct imap_client *client = &imap->client;
	uint32_t top = 0;
	struct err err;

	imap_wire_expect_items(client->wire, take_row, table);
	for (int round = 0;; round++) {
		if (top)
			err = imap_command(client, PHASE_LIST,
					   "UID FETCH 1:%u (UID RFC822.SIZE FLAGS)", top);
		else
			err = imap_command(client, PHASE_LIST,
					   "UID FETCH 1:* (UID RFC822.SIZE FLAGS)");
		if (err.kind)
			break;
		imap_client_trim(client);
		uint32_t next = limit_of(imap_wire_status(client->wire));
		if (next < 2 || round >= ROUNDS || (top && next - 1 >= top))
			break;
		top = next - 1;
	}
	imap_wire_expect_items(client->wire, NULL, NULL);
	return err;
}

/* Zeroed memory that nobody touches costs nothing: a server that lies about EXISTS gains little. */
static bool table_start(struct table *table, uint32_t exists)
{
	size_t room = (size_t)exists + SPARE_ROWS;

	free(table->rows);
	*table = (struct table){.rows = calloc(room, sizeof *table->rows), .room = room};
	return table->rows != NULL;
}

/* Whether nothing can be missing: as many UIDs as there were messages when we asked, or, on the
 * second look, as many as there were less those that were expunged meanwhile. */
static bool is_whole(const struct table *table, size_t exists, size_t expunged, bool is_last)
{
	if (table->is_wrong)
		return false;
	if (table->told >= exists)
		return true;
	return is_last && expunged && table->told == table->top && table->told + expunged >= exists;
}

static struct err gather_whole(struct imap *imap, struct table *table)
{
	struct imap_client *client = &imap->client;

	for (int pass = 0; pass < PASSES; pass++) {
		if (pass)
			TRY(imap_command(client, PHASE_LIST, "NOOP"));
		uint32_t exists = imap_wire_exists(client->wire);
		uint32_t expunges = imap_wire_expunges(client->wire);
		if (exists > MAILDROP_MESSAGES)
			return ERR(ERR_UPSTREAM, E2BIG, "too many messages");
		if (!table_start(table, exists))
			return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
		if (!exists)
			return OK;
		TRY(gather(imap, table));
		expunges = imap_wire_expunges(client->wire) - expunges;
		if (is_whole(table, exists, expunges, pass == PASSES - 1))
			return OK;
		LOG(imap->log, LEVEL_WARN, "imap-list-short", log_number("exists", exists),
		    log_number("told", table->told), log_number("expunged", expunges));
	}
	return ERR(ERR_UPSTREAM, 0, "the mail server's listing is not complete");
}

static int by_uid(const void *a, const void *b)
{
	const struct row *one = a, *two = b;

	return one->uid < two->uid ? -1 : one->uid > two->uid;
}

struct single {
	uint32_t uid, octets;
};

static void take_single(void *arg, const struct wire_item *item)
{
	struct single *single = arg;

	if (item->has_uid && item->uid == single->uid && item->has_octets)
		single->octets = item->octets;
}

/* Asks for sizes that the listing did not tell, a message at a time: one that the server cannot
 * read must not hide the others. Only a lost connection is an error. */
static struct err ask_sizes(struct imap *imap, struct table *table)
{
	struct imap_client *client = &imap->client;
	unsigned asked = 0;

	for (size_t i = 0; i < table->top && asked < SINGLE_SIZES; i++) {
		struct row *row = &table->rows[i];
		if (!row->uid || row->octets || row->is_deleted)
			continue;
		struct single single = {.uid = row->uid};
		asked++;
		imap_wire_expect_items(client->wire, take_single, &single);
		struct err err = imap_command(client, PHASE_LIST, "UID FETCH %u (UID RFC822.SIZE)",
					      row->uid);
		imap_wire_expect_items(client->wire, NULL, NULL);
		if (err.kind && !imap_client_is_alive(client))
			return err;
		row->octets = single.octets;
	}
	return OK;
}

static bool is_ascending(const struct table *table)
{
	for (size_t i = 1; i < table->top; i++)
		if (table->rows[i - 1].uid > table->rows[i].uid)
			return false;
	return true;
}

/* Hands the rows to the maildrop and keeps the hidden ones' UIDs. */
static struct err fill(struct imap *imap, struct table *table, struct maildrop *maildrop)
{
	imap->hidden_len = 0;
	if (!is_ascending(table))
		qsort(table->rows, table->top, sizeof *table->rows, by_uid);
	for (size_t i = 0; i < table->top; i++) {
		const struct row *row = &table->rows[i];
		if (i && i % FILL_TURN == 0)
			imap->env->ops->sleep(imap->env, 0);
		if (!row->uid)
			continue;
		if (i && row->uid == row[-1].uid)
			return ERR(ERR_UPSTREAM, 0, "the mail server gave two messages one UID");
		if (row->is_deleted) {
			imap->hidden = mem_resize(imap->hidden, imap->hidden_len + 1,
						  sizeof *imap->hidden);
			imap->hidden[imap->hidden_len++] = row->uid;
			continue;
		}
		TRY(maildrop_add(maildrop, row->uid, row->octets ? row->octets : UNKNOWN_OCTETS,
				 NULL, row->octets ? 0 : MARK_INEXACT));
	}
	return OK;
}

static void set_prefix(const struct imap *imap, struct maildrop *maildrop)
{
	char tag[IDENTITY_TAG + 1];

	identity_tag(tag, imap->conf.host, imap->login.user, imap->conf.folder);
	snprintf(maildrop->prefix, sizeof maildrop->prefix, "%s.%u", tag, imap->uidvalidity);
}

struct err imap_list(struct upstream *upstream, struct maildrop *maildrop)
{
	struct imap *imap = (struct imap *)upstream;
	struct table table = {.rows = NULL};
	struct err err = OK;

	/* The deadline of the login still runs (H-03): imap_ready() would lift it. */
	if (!imap_client_is_alive(&imap->client))
		err = imap_ready(imap, NULL);
	set_prefix(imap, maildrop);
	if (!err.kind)
		err = gather_whole(imap, &table);
	if (!err.kind)
		err = ask_sizes(imap, &table);
	if (!err.kind)
		err = fill(imap, &table, maildrop);
	if (!err.kind)
		err = maildrop_seal(maildrop);
	free(table.rows);
	imap->client.until_ms = 0;
	if (imap->client.im)
		imap_client_trim(&imap->client);
	return err;
}
