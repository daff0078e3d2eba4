/* SPDX-License-Identifier: MIT */
/* import_new.c - the mailbox that UIDLs are brought over to, through the contract of all stores.
 *
 * It is opened and listed as for a POP3 session, so whatever a session would refuse or recognise is
 * refused or recognised here too, and the ledger is there afterwards.
 */
#include "proxy/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/maildrop.h"

enum {
	SHORT_PART = 8 << 10, /* octets in which most headers end */
	LONG_PART = 64 << 10, /* octets of a header that are looked at */
	TRIES = 20,           /* of a save that somebody else is faster at */
};

/* --- rows --------------------------------------------------------------------------------- */

static int by_uid(const void *a_, const void *b_)
{
	const struct import_row *a = a_, *b = b_;

	return (a->uid > b->uid) - (a->uid < b->uid);
}

static void make_rows(struct import_new *new)
{
	new->rows = mem_alloc((new->maildrop.total + 1) * sizeof *new->rows);
	new->count = new->maildrop.total;
	for (size_t i = 0; i < new->count; i++) {
		const struct message *message = &new->maildrop.messages[i];
		new->rows[i] = (struct import_row){.uid = message->uid, .octets = message->octets};
		maildrop_uidl(&new->maildrop, message, new->rows[i].shown);
	}
	qsort(new->rows, new->count, sizeof *new->rows, by_uid);
}

/* What the ledger knows of the rows: their size as the server told it, and their header's hash if
 * it recognises messages by that. */
static struct err ask_ledger(struct import_new *new)
{
	struct ledger ledger;

	ledger_init(&ledger, new->conf->name);
	struct err err = ledger_load(&ledger, new->conf->state, new->env);
	if (!err.kind && !ledger.version)
		err = ERR(ERR_POLICY, 0, "nothing is kept of this mailbox, so it has no UIDLs");
	new->epoch = ledger.head.epoch;
	new->uidvalidity = ledger.head.uidvalidity;
	for (size_t i = 0; !err.kind && i < new->count; i++) {
		struct import_row *row = &new->rows[i];
		const struct ledger_row *known = ledger_find(&ledger, row->uid);
		const char *id = known ? ledger_text(&ledger, known->id) : NULL;
		if (known && known->octets)
			row->octets = known->octets;
		if (id && ledger.head.source == LEDGER_HEADER && strlen(id) == IDENTITY_HASH)
			memcpy(row->hash, id, IDENTITY_HASH + 1);
	}
	ledger_fini(&ledger);
	return err;
}

struct err import_open(struct import_new *new, struct notice *why)
{
	maildrop_init(&new->maildrop);
	TRY(new->conf->ops->open(new->env, new->log, new->conf, new->login, why, &new->upstream));
	TRY(new->upstream->ops->list(new->upstream, &new->maildrop));
	make_rows(new);
	return ask_ledger(new);
}

/* --- headers ------------------------------------------------------------------------------ */

/* Keeps what comes, up to its ceiling. */
struct header_sink {
	struct sink sink;
	struct buf header;
};

static struct err header_put(struct sink *sink, const void *octets, size_t len)
{
	struct header_sink *into = (struct header_sink *)sink;
	size_t room = into->header.max - buf_len(&into->header);

	if (!buf_put(&into->header, octets, len < room ? len : room))
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	return OK;
}

/* Whether the header's end is among these octets, or the message's. */
static bool is_whole(const struct buf *header, uint64_t asked)
{
	const char *at = buf_data(header);
	size_t len = buf_len(header);

	return len < asked || memmem(at, len, "\n\r\n", 3) || memmem(at, len, "\n\n", 2);
}

static struct err look_at(struct import_new *new, struct import_row *row, uint64_t octets,
			  bool *is_done)
{
	struct header_sink into = {.sink = {.put = header_put}};
	struct part part = {0, octets};
	const struct message *message = maildrop_find(&new->maildrop, row->uid);

	*is_done = true;
	if (!message)
		return OK;
	buf_init(&into.header, LONG_PART);
	struct err err = new->upstream->ops->fetch(new->upstream, &new->maildrop, message, &part,
						   &into.sink);
	if (!err.kind) {
		*is_done = is_whole(&into.header, octets);
		identity_of_header(row->hash, buf_data(&into.header), buf_len(&into.header));
	}
	buf_fini(&into.header);
	return err.kind == ERR_MESSAGE ? OK : err;
}

struct err import_headers(struct import_new *new)
{
	for (size_t i = 0; i < new->count; i++) {
		bool is_done;
		if (*new->rows[i].hash)
			continue;
		TRY(look_at(new, &new->rows[i], SHORT_PART, &is_done));
		if (!is_done)
			TRY(look_at(new, &new->rows[i], LONG_PART, &is_done));
	}
	return OK;
}

/* --- the end ------------------------------------------------------------------------------ */

/* Nothing more is to be learned on this occasion. */
static bool is_wanted_now(const void *arg)
{
	(void)arg;
	return true;
}

void import_close(struct import_new *new)
{
	if (new->upstream)
		new->upstream->ops->close(new->upstream, new->rows ? &new->maildrop : NULL,
					  is_wanted_now, NULL);
	new->upstream = NULL;
}

void import_new_fini(struct import_new *new)
{
	import_close(new);
	maildrop_fini(&new->maildrop);
	free(new->rows);
	new->rows = NULL;
	new->count = 0;
}

static struct err write_once(const struct import_new *new, const struct import_list *list,
			     size_t *left_out, bool *is_stale)
{
	struct ledger ledger;
	char tag[IDENTITY_TAG + 1];

	*is_stale = false;
	ledger_init(&ledger, new->conf->name);
	struct err err = ledger_load(&ledger, new->conf->state, new->env);
	if (!err.kind && ledger.head.epoch != new->epoch)
		err = ERR(ERR_UPSTREAM, EAGAIN, "the mailbox's UIDs began anew meanwhile");
	if (!err.kind) {
		identity_tag(tag, new->conf->host, new->login->user, new->conf->folder,
			     ledger.head.generation);
		err = import_apply(list, &ledger, *ledger.head.tag ? ledger.head.tag : tag,
				   left_out);
	}
	if (!err.kind && ledger.dirty_count)
		err = ledger_save(&ledger, new->conf->state, new->env, is_stale);
	ledger_fini(&ledger);
	return err;
}

struct err import_write(const struct import_new *new, const struct import_list *list,
			size_t *left_out)
{
	bool is_stale = true;

	for (int tries = 0; is_stale && tries < TRIES; tries++)
		TRY(write_once(new, list, left_out, &is_stale));
	return is_stale ? ERR(ERR_UPSTREAM, EAGAIN, "what is kept of this mailbox keeps changing")
			: OK;
}
