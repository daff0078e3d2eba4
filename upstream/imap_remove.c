/* SPDX-License-Identifier: MIT */
/* imap_remove.c - flights of commands that take messages out of the selected folder.
 *
 * A flight is one or two chunks: for each UID FETCH, STORE and UID EXPUNGE (or UID MOVE). If the EXPUNGEs
 * that come name each of them that is all (imap_remove_sight.c); else a second flight asks by UID SEARCH
 * for the same UIDs (D-04, D-08), and what that does not find is gone, whoever took it. Where the server
 * shows only a part of the folder that proves nothing; there a search in front says what was in sight
 * before, and as many EXPUNGEs must come (M-08).
 *
 * CLOSE is never sent, and EXPUNGE without UIDs only where nobody else's \Deleted is in the folder (D-06,
 * D-07). */
#include "upstream/imap_remove.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/imap_name.h"

enum {
	FLIGHT = 2, /* chunks at once (D-05) */
	REMOVAL_DONE = REMOVAL_GONE | REMOVAL_REFUSED | REMOVAL_TRIED,
};

static size_t count_in(const struct removal *removal, const struct chunk *chunk, unsigned mark)
{
	size_t count = 0;

	for (size_t i = 0; i < chunk->count; i++)
		count += (removal->marks[chunk->at[i]] & mark) != 0;
	return count;
}

static bool is_settled(const struct removal *removal, const struct chunk *chunk)
{
	return count_in(removal, chunk, REMOVAL_GONE) == chunk->count;
}

bool removal_must_stop(const struct removal *removal)
{
	const struct imap *imap = removal->imap;
	bool is_late = removal->until_ms && imap->env->ops->now(imap->env) >= removal->until_ms;

	if (is_late || !imap_client_is_alive(&imap->client))
		return true;
	/* The UIDs that are left are somebody else's (D-11). */
	return imap_wire_folder(imap->client.wire)->uidvalidity != imap->uidvalidity;
}

static bool has_window(const struct removal *removal)
{
	return removal->imap->quirks && removal->imap->quirks->traits & QUIRK_WINDOW;
}

/* Whether a reply means that the server wants fewer messages at once: from now on it gets fewer. */
static bool is_limited(struct removal *removal, const struct chunk *chunk)
{
	const struct wire_status *status = imap_wire_status(removal->imap->client.wire);
	unsigned long most = strtoul(status->code_args, NULL, 10);

	if (strcmp(status->code, "MESSAGELIMIT") != 0 || most < 1 || most >= chunk->count)
		return false;
	if (most < removal->most)
		removal->most = most;
	return true;
}

static bool leads_away(const struct removal *removal)
{
	return removal->way == DELETE_TRASH || removal->way == DELETE_ARCHIVE;
}

/* Whether a refusal means that the target is not there (D-13). */
static bool names_missing(const struct removal *removal)
{
	const char *code = imap_wire_status(removal->imap->client.wire)->code;

	return strcmp(code, "TRYCREATE") == 0 || strcmp(code, "NONEXISTENT") == 0;
}

void chunk_take_outcome(struct removal *removal, struct chunk *chunk)
{
	if (is_limited(removal, chunk)) {
		chunk->is_limited = true;
		return;
	}
	struct err err = imap_outcome(&removal->imap->client, PHASE_UPDATE);
	if (err.kind && leads_away(removal) && names_missing(removal)) {
		chunk->is_missing = true;
		err = ERR(ERR_POLICY, 0, "the folder to move to is missing");
	}
	if (!chunk->err.kind)
		chunk->err = err;
}

void chunk_give_up(struct removal *removal, const struct chunk *chunk, struct err err)
{
	chunk_unmark(removal, chunk, REMOVAL_TRIED);
	for (size_t i = 0; i < chunk->count; i++)
		if (!(removal->marks[chunk->at[i]] & REMOVAL_GONE))
			removal->marks[chunk->at[i]] |=
				err.kind == ERR_POLICY ? REMOVAL_REFUSED : REMOVAL_TRIED;
	if (!removal->err.kind || err.kind == ERR_POLICY)
		removal->err = err;
}

/* --- asking what is still there --- */

struct found {
	struct removal *removal;
	const struct chunk *chunk;
	unsigned mark;
};

static void take_found(void *arg, uint32_t low, uint32_t high)
{
	const struct found *found = arg;
	const struct chunk *chunk = found->chunk;
	size_t i = uid_at_or_above(chunk->uids, chunk->count, low);

	for (; i < chunk->count && chunk->uids[i] <= high; i++)
		found->removal->marks[chunk->at[i]] |= (uint8_t)found->mark;
}

/* Sent behind others whose answers are still to come. */
static struct err receive(struct removal *removal, int tag)
{
	if (removal->early)
		return early_receive(removal->early, PHASE_UPDATE, tag);
	return imap_receive(&removal->imap->client, PHASE_UPDATE, tag);
}

/* Receives a UID SEARCH for the chunk. */
static struct err receive_search(struct removal *removal, struct chunk *chunk, int tag,
				 unsigned mark)
{
	struct imap_client *client = &removal->imap->client;
	struct found found = {removal, chunk, mark};

	chunk_unmark(removal, chunk, mark);
	imap_wire_expect_found(client->wire, take_found, &found);
	struct err err = receive(removal, tag);
	chunk->is_known =
		!err.kind && imap_wire_has_found(client->wire) && imap_was(client, WIRE_OK);
	imap_wire_expect_found(client->wire, NULL, NULL);
	imap_client_trim(client);
	return err;
}

/* What a definitive search means: not found is gone. */
static void settle(struct removal *removal, const struct chunk *chunk, unsigned needs)
{
	for (size_t i = 0; i < chunk->count; i++) {
		uint8_t *marks = &removal->marks[chunk->at[i]];
		if (!(*marks & REMOVAL_FOUND) && (*marks & needs) == needs)
			*marks |= REMOVAL_GONE;
	}
}

struct err chunk_search(struct removal *removal, struct chunk *chunk, const char *key)
{
	static const struct err silent = {ERR_UPSTREAM, 0,
					  "the mail server does not say what is left"};
	struct imap_client *client = &removal->imap->client;
	int tag;

	TRY(imap_command(client, PHASE_UPDATE, "NOOP"));
	TRY(imap_send(client, &tag, "UID SEARCH UID %s%s", chunk->set, key));
	TRY(receive_search(removal, chunk, tag, REMOVAL_FOUND));
	if (!chunk->is_known) {
		TRY(imap_outcome(client, PHASE_UPDATE));
		return silent;
	}
	/* What is not in sight may be there; but what was flagged was, as with DELETE_FLAG. */
	if (has_window(removal) && !*key)
		return count_in(removal, chunk, REMOVAL_FOUND) == chunk->count ? OK : silent;
	settle(removal, chunk, 0);
	return OK;
}

/* --- one flight --- */

static struct err send_move(struct removal *removal, struct chunk *chunk)
{
	char *words = move_target_words(removal);
	struct err err = imap_send(&removal->imap->client, &chunk->first, "UID MOVE %s %s",
				   chunk->set, words);

	free(words);
	return err;
}

/* Should the STORE fail, UID EXPUNGE removes nothing but what is in the set and \Deleted. */
static struct err send_chunk(struct removal *removal, struct chunk *chunk, bool is_move)
{
	struct imap_client *client = &removal->imap->client;
	const char *set = chunk->set;

	chunk->before = chunk->second = chunk->search = 0;
	if (has_window(removal))
		TRY(imap_send(client, &chunk->before, "UID SEARCH UID %s", set));
	if (is_move) {
		TRY(send_move(removal, chunk));
	} else {
		TRY(imap_send(client, &chunk->first, "UID STORE %s +FLAGS.SILENT (\\Deleted)",
			      set));
		if (removal->way != DELETE_FLAG)
			TRY(imap_send(client, &chunk->second, "UID EXPUNGE %s", set));
	}
	return OK;
}

/* Whether the EXPUNGEs alone can prove a flight. */
static bool can_see(const struct removal *removal)
{
	return removal->way != DELETE_FLAG && !has_window(removal);
}

static struct err send_sight(struct removal *removal, struct chunk *chunk)
{
	chunk->sight = 0;
	if (!can_see(removal))
		return OK;
	return imap_send(&removal->imap->client, &chunk->sight, "UID FETCH %s (UID)", chunk->set);
}

/* Whatever it says: what was told of numbers was told. */
static struct err receive_sight(struct removal *removal, const struct chunk *chunk)
{
	return chunk->sight ? receive(removal, chunk->sight) : OK;
}

/* Whether the flight has shown that all of the chunk is gone. */
static bool is_proved(struct removal *removal, struct chunk *chunk, struct sights *sights)
{
	if (!chunk->sight || chunk->err.kind || chunk->is_limited || chunk->is_unknown ||
	    !sights_prove(sights, chunk))
		return false;
	chunk_mark(removal, chunk, REMOVAL_GONE);
	chunk->is_known = true;
	return true;
}

/* Sent when STORE and EXPUNGE are answered: behind them in one flight Dovecot answers it first, with
 * what was there before (RFC 9051 section 5.5 lets it). */
static struct err send_search(struct removal *removal, struct chunk *chunk)
{
	return imap_send(&removal->imap->client, &chunk->search, "UID SEARCH UID %s%s", chunk->set,
			 removal->way == DELETE_FLAG ? " UNDELETED" : "");
}

static struct err receive_chunk(struct removal *removal, struct chunk *chunk, bool is_move)
{
	struct imap_client *client = &removal->imap->client;

	if (chunk->before) {
		TRY(receive_search(removal, chunk, chunk->before, REMOVAL_BEFORE));
		chunk->is_before_known = chunk->is_known;
	}
	uint32_t expunges = imap_wire_expunges(client->wire);
	TRY(receive(removal, chunk->first));
	chunk->is_unknown = is_move && imap_was(client, WIRE_BAD);
	chunk_take_outcome(removal, chunk);
	if (chunk->second) {
		TRY(receive(removal, chunk->second));
		chunk->is_unknown = imap_was(client, WIRE_BAD);
		chunk_take_outcome(removal, chunk);
	}
	chunk->expunges = imap_wire_expunges(client->wire) - expunges;
	return OK;
}

/* What is left of it, if it was asked for. */
static struct err receive_rest(struct removal *removal, struct chunk *chunk)
{
	struct imap_client *client = &removal->imap->client;

	if (!chunk->search)
		return OK;
	uint32_t expunges = imap_wire_expunges(client->wire);
	TRY(receive_search(removal, chunk, chunk->search, REMOVAL_FOUND));
	if (!chunk->is_known)
		return OK;
	if (!chunk->before || removal->way == DELETE_FLAG) {
		settle(removal, chunk, 0);
		return OK;
	}
	/* A window may slide off what was not removed: as many must have been told gone. */
	expunges = imap_wire_expunges(client->wire) - expunges + chunk->expunges;
	bool is_told = expunges + count_in(removal, chunk, REMOVAL_FOUND) >=
		       count_in(removal, chunk, REMOVAL_BEFORE);
	if (chunk->is_before_known && is_told && !chunk->err.kind)
		settle(removal, chunk, REMOVAL_BEFORE);
	return OK;
}

/* All said OK, and some are still there. Dovecot 2.3 may look for \Deleted before the STORE that it has
 * just answered is in its view: once more, by itself. What is there even then will not go. */
static struct err insist(struct removal *removal, struct chunk *chunk)
{
	struct imap_client *client = &removal->imap->client;

	if (chunk->second)
		TRY(imap_command(client, PHASE_UPDATE, "UID EXPUNGE %s", chunk->set));
	TRY(chunk_search(removal, chunk, removal->way == DELETE_FLAG ? " UNDELETED" : ""));
	if (is_settled(removal, chunk))
		return OK;
	LOG(removal->imap->log, LEVEL_WARN, "imap-not-removed",
	    log_number("left", count_in(removal, chunk, REMOVAL_FOUND)));
	return ERR(ERR_POLICY, 0, "the mail server keeps some of the messages");
}

/* What the answers to a chunk mean. Only a lost connection is an error. */
static struct err judge(struct removal *removal, struct chunk *chunk)
{
	struct err err = chunk->err;

	if (chunk->is_unknown) {
		chunk_unmark(removal, chunk, REMOVAL_TRIED);
		return OK;
	}
	/* So many it does not even look for at once: in smaller parts what is gone already does no harm. */
	if (!chunk->is_known && chunk->is_limited && !err.kind) {
		chunk_unmark(removal, chunk, REMOVAL_TRIED);
		return OK;
	}
	if (!chunk->is_known) {
		struct err asked = chunk_search(removal, chunk, "");
		/* Without an answer nobody knows: what may be gone is not refused. */
		err = asked.kind ? asked : err;
	}
	if (!is_settled(removal, chunk) && !err.kind && !chunk->is_limited)
		err = insist(removal, chunk);
	if (!imap_client_is_alive(&removal->imap->client))
		return err;
	if (chunk->is_limited && !err.kind)
		chunk_unmark(removal, chunk, REMOVAL_TRIED);
	else if (!is_settled(removal, chunk))
		chunk_give_up(removal, chunk, err);
	return OK;
}

static void announce(struct removal *removal, const struct chunk *chunk)
{
	early_announce(removal->early, chunk->sight);
	early_announce(removal->early, chunk->before);
	early_announce(removal->early, chunk->first);
	early_announce(removal->early, chunk->second);
}

/* The commands and their answers; and where those do not prove what was done, a search is sent. */
static struct err fly_out(struct removal *removal, struct chunk *chunks, size_t count, bool is_move)
{
	struct sights sights;
	struct err err = OK;

	sights_begin(&sights, removal->imap->client.wire, chunks, count);
	for (size_t i = 0; i < count && !err.kind; i++)
		err = send_sight(removal, &chunks[i]);
	for (size_t i = 0; i < count && !err.kind; i++)
		err = send_chunk(removal, &chunks[i], is_move);
	for (size_t i = 0; i < count && !err.kind; i++)
		announce(removal, &chunks[i]);
	for (size_t i = 0; i < count && !err.kind; i++)
		err = receive_sight(removal, &chunks[i]);
	for (size_t i = 0; i < count && !err.kind; i++)
		err = receive_chunk(removal, &chunks[i], is_move);
	for (size_t i = 0; i < count && !err.kind; i++)
		if (!is_proved(removal, &chunks[i], &sights)) {
			err = send_search(removal, &chunks[i]);
			early_announce(removal->early, chunks[i].search);
		}
	sights_end(&sights);
	return err;
}

/* One flight. *count: chunks in it. Only a lost connection is an error. */
static struct err fly(struct removal *removal, struct chunk chunks[FLIGHT], bool is_move,
		      unsigned with, size_t *count)
{
	unsigned without = REMOVAL_DONE | (is_move ? REMOVAL_COPIED | REMOVAL_DOUBT : 0u);
	struct imap_client *client = &removal->imap->client;
	struct early early;
	struct err err = OK;

	*count = 0;
	while (*count < FLIGHT && removal_next(removal, &chunks[*count], with, without)) {
		chunk_mark(removal, &chunks[*count], REMOVAL_TRIED);
		++*count;
	}
	early_begin(&early, client);
	removal->early = &early;
	err = fly_out(removal, chunks, *count, is_move);
	for (size_t i = 0; i < *count && !err.kind; i++)
		err = receive_rest(removal, &chunks[i]);
	early_end(&early);
	removal->early = NULL;
	for (size_t i = 0; i < *count && !err.kind; i++)
		err = judge(removal, &chunks[i]);
	imap_client_trim(client);
	return err;
}

/* A MOVE may have failed because its target was missing: once it is made all is as before. */
static void try_again_with_target(struct removal *removal, const struct chunk *chunks, size_t count)
{
	bool is_missing = false;

	for (size_t i = 0; i < count; i++)
		is_missing |= chunks[i].is_missing;
	if (!is_missing || !move_make_target(removal))
		return;
	for (size_t i = 0; i < count; i++)
		if (chunks[i].is_missing)
			chunk_unmark(removal, &chunks[i], REMOVAL_TRIED | REMOVAL_REFUSED);
	removal->err = OK;
}

struct err removal_fly(struct removal *removal, bool is_move, unsigned with, bool *is_unknown)
{
	struct chunk chunks[FLIGHT];
	size_t count = 1;
	struct err err = OK;

	for (size_t i = 0; i < FLIGHT; i++)
		chunk_init(&chunks[i]);
	*is_unknown = false;
	while (count && !err.kind && !*is_unknown && !removal_must_stop(removal)) {
		err = fly(removal, chunks, is_move, with, &count);
		for (size_t i = 0; i < count && !err.kind; i++)
			*is_unknown |= chunks[i].is_unknown;
		if (!err.kind && count)
			try_again_with_target(removal, chunks, count);
		removal_shrink_journal(removal);
	}
	for (size_t i = 0; i < FLIGHT; i++)
		chunk_fini(&chunks[i]);
	return err;
}
