/* SPDX-License-Identifier: MIT */
/* imap_ids.c - what messages are recognised by after their UIDs have changed (E-04, E-05).
 *
 * Strong ids come with the listing. Where a server has none, the hash of a few header fields stands
 * in, learned in chunks; several chunks are under way at once, for each costs a round trip. */
#include "upstream/imap_listing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	CHUNK = 200,
	FLIGHT = 4,     /* chunks under way */
	PASSES = 3,     /* times that all are asked for where it is now or never */
	SET = 200 * 11, /* octets of a chunk's set */
	ITEMS = 120,    /* octets of the command around the set, at most */
};

enum ledger_source imap_strong_source(const struct imap *imap)
{
	const struct uidl_format *format = imap->conf.uidl;
	bool has_gm = imap->client.caps & CAP_GMAIL, has_email = imap->client.caps & CAP_OBJECTID;

	if (imap->has_no_ids || (imap->quirks && imap->quirks->traits & QUIRK_BASE_ITEMS))
		return LEDGER_NONE;
	if (!imap->conf.state && !(format && (format->needs_gm_msgid || format->needs_email_id)))
		return LEDGER_NONE;
	if (format && format->needs_gm_msgid)
		has_email = false;
	if (has_email)
		return LEDGER_EMAILID;
	if (format && format->needs_email_id)
		has_gm = false;
	return has_gm ? LEDGER_GM_MSGID : LEDGER_NONE;
}

/* --- header hashes ------------------------------------------------------------------------ */

struct learning {
	struct imap *imap;
	struct ledger *ledger;
	const struct ids_budget *budget;
	uint64_t octets; /* of headers that came */
	size_t told;     /* such headers; some have no octets */
	size_t learned;
	uint32_t good; /* a UID whose header came; 0: none yet */
	size_t again;  /* the first row that must be asked for once more; SIZE_MAX: none */
	bool is_full;
};

bool imap_set_unlike(struct ledger *ledger, struct ledger_row *row)
{
	char id[32];

	snprintf(id, sizeof id, "?%u.%u", ledger->head.epoch, row->uid);
	return ledger_set_id(ledger, row, id);
}

static void take_header(void *arg, const struct wire_item *item)
{
	struct learning *learning = arg;
	struct ledger *ledger = learning->ledger;
	char hash[IDENTITY_HASH + 1];

	struct ledger_row *row = item->has_uid ? ledger_find(ledger, item->uid) : NULL;
	if (!row || !item->header)
		return;
	learning->octets += item->header_len;
	learning->told++;
	learning->good = item->uid;
	if (item->has_octets && !row->octets) {
		row->octets = item->octets;
		ledger_touch(ledger, row->uid);
	}
	if (row->id)
		return;
	bool is_set = identity_of_header(hash, item->header, item->header_len)
			      ? ledger_set_id(ledger, row, hash)
			      : imap_set_unlike(ledger, row);
	learning->is_full |= !is_set;
	learning->learned += is_set;
}

/* One chunk: rows `first` to `end` as they were when it was sent; only those without an id count. */
struct chunk {
	size_t first, end;
	size_t count; /* messages asked for */
	int tag;
};

static bool is_wanting(const struct learning *learning, size_t at)
{
	const struct ledger_row *row = &learning->ledger->rows[at];
	const struct ids_budget *budget = learning->budget;
	bool is_window = learning->imap->quirks->traits & QUIRK_WINDOW;

	if (row->id)
		return false;
	const struct message *msg = budget->shown ? maildrop_find(budget->shown, row->uid) : NULL;
	if (msg && message_is_deleted(msg) && budget->without_deleted)
		return false;
	/* What a window does not show now is not there to be asked for. */
	return msg || !budget->shown || !is_window ||
	       (row->marks & (LEDGER_HIDDEN | LEDGER_PENDING));
}

/* Writes the set of the next chunk; consecutive rows without an id are a range, for what stands
 * between them is no message. */
static struct chunk next_chunk(const struct learning *learning, size_t at, size_t most, char *set,
			       size_t room)
{
	const struct ledger *ledger = learning->ledger;
	struct chunk chunk = {.first = at};
	size_t len = 0, count = 0;

	set[0] = '\0';
	while (at < ledger->count && count < CHUNK) {
		size_t first = at;
		if (!is_wanting(learning, at)) {
			at++;
			continue;
		}
		while (at + 1 < ledger->count && is_wanting(learning, at + 1) &&
		       count + (at - first) + 1 < CHUNK)
			at++;
		char part[32];
		uint32_t low = ledger->rows[first].uid, high = ledger->rows[at].uid;
		int wrote = low == high ? snprintf(part, sizeof part, "%s%u", len ? "," : "", low)
					: snprintf(part, sizeof part, "%s%u:%u", len ? "," : "",
						   low, high);
		if (len + (size_t)wrote >= room || len + (size_t)wrote > most) {
			at = first;
			break;
		}
		memcpy(set + len, part, (size_t)wrote + 1);
		len += (size_t)wrote;
		count += at - first + 1;
		at++;
	}
	chunk.end = at;
	chunk.count = count;
	return chunk;
}

static struct err send_chunk(struct imap *imap, struct chunk *chunk, const char *set)
{
	return imap_send(&imap->client, &chunk->tag,
			 "UID FETCH %s (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE "
			 "FROM SUBJECT)])",
			 set);
}

enum answer {
	ANSWERED,
	PARTLY, /* there is more: [MESSAGELIMIT] (RFC 9738) */
	REFUSED,
	PASSING, /* refused, and the server says that it will pass */
};

/* The answer to a chunk; an error only if the connection is lost. */
static struct err receive_chunk(struct learning *learning, const struct chunk *chunk,
				enum answer *answer)
{
	struct imap_client *client = &learning->imap->client;

	imap_wire_expect_items(client->wire, take_header, learning);
	struct err err = imap_receive(client, PHASE_LIST, chunk->tag);
	imap_wire_expect_items(client->wire, NULL, NULL);
	TRY(err);
	err = imap_outcome(client, PHASE_LIST);
	imap_client_trim(client);
	bool is_part = !strcmp(imap_wire_status(client->wire)->code, "MESSAGELIMIT");
	*answer =
		err.kind ? (err.code == EAGAIN ? PASSING : REFUSED) : (is_part ? PARTLY : ANSWERED);
	return OK;
}

static struct err ask_one(struct learning *learning, size_t row, enum answer *answer)
{
	struct chunk one = {row, row + 1, 1, 0};
	char set[16];

	snprintf(set, sizeof set, "%u", learning->ledger->rows[row].uid);
	TRY(send_chunk(learning->imap, &one, set));
	return receive_chunk(learning, &one, answer);
}

static bool may_go_on(const struct learning *learning, const struct ids_budget *budget)
{
	const struct env *env = learning->imap->env;

	return learning->octets < budget->octets &&
	       (!budget->until_ms || env->ops->now(env) < budget->until_ms) &&
	       !(budget->is_wanted && budget->is_wanted(budget->arg));
}

/* Chunks that are under way, oldest first. */
struct flight {
	struct chunk chunks[FLIGHT];
	size_t len;
};

/* A chunk that failed as a whole, message by message (N-05). Some servers say for ever of a message
 * that it is not available now (N-09): believed is that of the whole server, so once more is asked
 * for a message that it had. */
static struct err learn_singly(struct learning *learning, const struct chunk *chunk,
			       enum answer answer, const struct ids_budget *budget)
{
	struct ledger *ledger = learning->ledger;
	bool is_suspect = false;

	for (size_t i = chunk->first; i < chunk->end; i++) {
		if (!is_wanting(learning, i))
			continue;
		if (!may_go_on(learning, budget))
			return OK;
		if (chunk->count > 1)
			TRY(ask_one(learning, i, &answer));
		is_suspect |= answer == PASSING;
	}
	if (!is_suspect)
		return OK;
	size_t before = learning->told;
	const struct ledger_row *good = ledger_find(ledger, learning->good);
	if (good)
		TRY(ask_one(learning, (size_t)(good - ledger->rows), &answer));
	if (learning->told == before)
		return ERR(ERR_UPSTREAM, EAGAIN, "the mail server is not available");
	return OK;
}

static struct err land_one(struct learning *learning, struct flight *flight,
			   const struct ids_budget *budget)
{
	struct chunk chunk = flight->chunks[0];
	enum answer answer;

	flight->len--;
	memmove(flight->chunks, flight->chunks + 1, flight->len * sizeof chunk);
	size_t before = learning->learned;
	TRY(receive_chunk(learning, &chunk, &answer));
	if (answer == PARTLY && learning->learned > before && chunk.first < learning->again)
		learning->again = chunk.first;
	/* Messages that are never told may be all that its parts ever hold. */
	bool is_stuck = answer == PARTLY && learning->learned == before && chunk.count > 1;
	if (answer == ANSWERED || (answer == PARTLY && !is_stuck))
		return OK;
	/* What is under way must be heard before anything new is said. */
	while (flight->len)
		TRY(land_one(learning, flight, budget));
	return learn_singly(learning, &chunk, answer, budget);
}

static bool is_any_wanting(const struct learning *learning)
{
	for (size_t i = 0; i < learning->ledger->count; i++)
		if (is_wanting(learning, i))
			return true;
	return false;
}

/* One pass over all rows. */
static struct err learn_all(struct learning *learning, struct ids_budget *budget)
{
	struct imap *imap = learning->imap;
	size_t room = imap_client_room(&imap->client), count = learning->ledger->count, at = 0;
	size_t most = room > 2 * ITEMS ? room - ITEMS : ITEMS;
	struct flight flight = {.len = 0};
	struct err err = OK;

	while (!err.kind && !learning->is_full) {
		char set[SET];
		if (!flight.len && at >= count && learning->again < at) {
			at = learning->again;
			learning->again = SIZE_MAX;
		}
		bool is_room = flight.len < FLIGHT && at < count && may_go_on(learning, budget);
		if (is_room) {
			struct chunk chunk = next_chunk(learning, at, most, set, sizeof set);
			at = chunk.end;
			if (*set)
				err = send_chunk(imap, &chunk, set);
			if (*set && !err.kind)
				flight.chunks[flight.len++] = chunk;
		} else if (flight.len) {
			err = land_one(learning, &flight, budget);
		} else {
			break;
		}
	}
	/* Answers that nobody took would be taken for answers to something else. */
	if (flight.len)
		imap_client_kill(&imap->client);
	return err;
}

/* A line that got lost is told when it is asked for again; where UIDs have changed it is now or never. */
struct err imap_learn_headers(struct imap *imap, struct ledger *ledger, struct ids_budget *budget,
			      size_t *learned)
{
	struct learning learning = {
		.imap = imap, .ledger = ledger, .budget = budget, .again = SIZE_MAX};
	int passes = budget->shown ? 1 : PASSES;
	struct err err = OK;

	for (int pass = 0; pass < passes && !err.kind && !learning.is_full; pass++) {
		if (pass && !(may_go_on(&learning, budget) && is_any_wanting(&learning)))
			break;
		err = learn_all(&learning, budget);
	}
	*learned = learning.learned;
	return learning.is_full ? ERR(ERR_UPSTREAM, ENOMEM, "out of memory") : err;
}
