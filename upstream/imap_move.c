/* SPDX-License-Identifier: MIT */
/* imap_move.c - deletions that lead to another folder (D-13): its name, making it, and COPY.
 *
 * MOVE does no harm if it is said twice: what went is no longer there to go. COPY does: the reply may
 * be lost when the copy was made. So where that may have happened the target is searched for a message
 * of the same Message-ID and size before it is copied again (H-06). A message without a Message-ID is
 * copied again: two copies are better than none. */
#include "upstream/imap_remove.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/imap_name.h"

enum {
	DOUBTS = 50,      /* messages that are looked for in one flight */
	FOUND = 8,        /* messages of one Message-ID that are looked at */
	ASKED_AGAIN = 2,  /* times that a header is asked for that was not told */
	PATIENCE = 3,     /* replays, until a refused search means that there is no copy */
	ID_OCTETS = 250,  /* a Message-ID longer than this is not searched for */
	NAME_MOST = 4096, /* a quoted folder name, octets */
};

char *move_target_words(const struct removal *removal)
{
	struct buf words;
	char *out = NULL;

	buf_init(&words, NAME_MOST);
	if (imap_quote_name(&words, removal->target))
		out = mem_dup(buf_data(&words), buf_len(&words));
	buf_fini(&words);
	return out;
}

static bool is_same_folder(const char *a, const char *b)
{
	return strcmp(a, b) == 0 || (text_same(a, "INBOX") && text_same(b, "INBOX"));
}

struct err move_find_target(struct removal *removal)
{
	struct imap *imap = removal->imap;
	bool is_trash = removal->way == DELETE_TRASH;

	if (removal->target)
		return OK;
	struct err err =
		imap_folder_named(imap, is_trash ? "\\Trash" : removal->folder, &removal->target);
	/* No folder says that it is the trash: where one may be made there is none yet. */
	if (err.kind == ERR_POLICY && is_trash && removal->may_create &&
	    imap_client_is_alive(&imap->client))
		err = imap_folder_named(imap, "Trash", &removal->target);
	TRY(err);
	char *words = move_target_words(removal);
	if (!words)
		err = ERR(ERR_POLICY, 0, "the name of the folder to move to cannot be sent");
	else if (is_same_folder(removal->target, imap->folder))
		err = ERR(ERR_POLICY, 0, "messages cannot be moved to where they are");
	free(words);
	if (err.kind) {
		free(removal->target);
		removal->target = NULL;
	}
	return err;
}

bool move_make_target(struct removal *removal)
{
	struct imap *imap = removal->imap;

	if (!removal->may_create || removal_must_stop(removal))
		return false;
	removal->may_create = false;
	char *words = move_target_words(removal);
	struct err err = imap_command(&imap->client, PHASE_UPDATE, "CREATE %s", words);
	free(words);
	if (err.kind)
		log_err(imap->log, LEVEL_WARN, "imap-create-failed", err);
	else
		LOG(imap->log, LEVEL_NOTE, "imap-created", log_text("folder", removal->target));
	return !err.kind;
}

/* --- was it copied already? --- */

struct doubt {
	uint64_t octets;
	char *id;     /* owned; NULL: it has none that can be searched for */
	bool is_told; /* its header came */
	bool is_open; /* the target was not searched for good */
	bool is_copied;
	uint32_t found[FOUND]; /* UIDs in the target that have the same Message-ID */
	size_t found_len, sizes_told;
	int tag;
};

struct doubts {
	const struct chunk *chunk;
	struct doubt *list; /* owned: one for each of the chunk */
};

/* The value of Message-ID among header lines, unfolded and without blanks around it; owned, or NULL. */
static char *message_id_of(const char *header, size_t len)
{
	static const char name[] = "message-id:";
	const char *end = header + len, *at = header;
	char id[ID_OCTETS + 1] = "";
	size_t used = 0;

	while (at < end && !((size_t)(end - at) >= sizeof name - 1 &&
			     text_same_n(at, sizeof name - 1, name, sizeof name - 1))) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		at = lf ? lf + 1 : end;
	}
	for (at += at < end ? sizeof name - 1 : 0; at < end && *at != '>'; at++) {
		bool is_fold = *at == '\r' || *at == '\n' || *at == ' ' || *at == '\t';
		if (is_fold)
			continue;
		if (used == ID_OCTETS - 1)
			return NULL;
		id[used++] = *at;
	}
	/* Between "<" and ">" only: what else stands there servers keep each in its way. */
	if (at == end || used < 2 || id[0] != '<')
		return NULL;
	id[used++] = '>';
	id[used] = '\0';
	return imap_is_quotable(id) && strlen(id) == used ? text_dup(id) : NULL;
}

static void take_header(void *arg, const struct wire_item *item)
{
	struct doubts *doubts = arg;
	const struct chunk *chunk = doubts->chunk;
	size_t i = item->has_uid ? uid_at_or_above(chunk->uids, chunk->count, item->uid)
				 : chunk->count;

	if (i == chunk->count || chunk->uids[i] != item->uid)
		return;
	if (item->has_octets)
		doubts->list[i].octets = item->octets;
	doubts->list[i].is_told |= item->header != NULL;
	if (item->header && !doubts->list[i].id)
		doubts->list[i].id = message_id_of(item->header, item->header_len);
}

static struct err ask_headers(struct removal *removal, struct doubts *doubts, const char *set)
{
	struct imap_client *client = &removal->imap->client;

	imap_wire_expect_items(client->wire, take_header, doubts);
	struct err err = imap_command(
		client, PHASE_UPDATE,
		"UID FETCH %s (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", set);
	imap_wire_expect_items(client->wire, NULL, NULL);
	imap_client_trim(client);
	return imap_client_is_alive(client) ? OK : err;
}

/* What is not told with the others is asked for by itself: one bad message may fail the whole set, and
 * a reply may be lost. */
static struct err learn_doubts(struct removal *removal, struct doubts *doubts)
{
	const struct chunk *chunk = doubts->chunk;
	char set[16];

	TRY(ask_headers(removal, doubts, chunk->set));
	for (size_t i = 0; i < chunk->count; i++) {
		for (int times = 0; !doubts->list[i].is_told && times < ASKED_AGAIN; times++) {
			snprintf(set, sizeof set, "%u", chunk->uids[i]);
			TRY(ask_headers(removal, doubts, set));
		}
	}
	return OK;
}

static void take_found(void *arg, uint32_t low, uint32_t high)
{
	struct doubt *doubt = arg;

	for (; low <= high && doubt->found_len < FOUND; low++)
		doubt->found[doubt->found_len++] = low;
}

/* Whether a refusal to look into the target is the last word: a folder that is not there has no copies,
 * and a server that never lets anybody look must not keep the message for ever. */
static bool is_final(const struct removal *removal, struct err err)
{
	const char *code = imap_wire_status(removal->imap->client.wire)->code;

	if (strcmp(code, "TRYCREATE") == 0 || strcmp(code, "NONEXISTENT") == 0)
		return true;
	return err.code != EAGAIN && removal->journal && removal->journal->tries >= PATIENCE;
}

/* Receives what the target has of one. A search by size would be one command less, but servers that tell
 * estimated sizes search for others. */
static struct err receive_found(struct removal *removal, struct doubt *doubt)
{
	struct imap_client *client = &removal->imap->client;

	imap_wire_expect_found(client->wire, take_found, doubt);
	struct err err = imap_receive(client, PHASE_UPDATE, doubt->tag);
	bool has_found = !err.kind && imap_wire_has_found(client->wire);
	imap_wire_expect_found(client->wire, NULL, NULL);
	TRY(err);
	err = imap_outcome(client, PHASE_UPDATE);
	doubt->is_open = err.kind ? !is_final(removal, err) : !has_found;
	if (err.kind)
		doubt->found_len = 0;
	return OK;
}

static void take_size(void *arg, const struct wire_item *item)
{
	struct doubt *doubt = arg;

	if (!item->has_uid || !item->has_octets)
		return;
	for (size_t i = 0; i < doubt->found_len; i++)
		if (doubt->found[i] == item->uid) {
			doubt->sizes_told++;
			doubt->is_copied |= item->octets == doubt->octets;
		}
}

/* The same Message-ID is not the same message: its size is compared, where sizes stay the same. */
static struct err compare_found(struct removal *removal, struct doubt *doubt)
{
	struct imap *imap = removal->imap;
	char set[FOUND * 11 + 1];
	size_t len = 0;

	if (imap->quirks && imap->quirks->traits & QUIRK_SIZES_CHANGE) {
		doubt->is_copied = true;
		return OK;
	}
	for (size_t i = 0; i < doubt->found_len; i++)
		len += (size_t)snprintf(set + len, sizeof set - len, "%s%u", len ? "," : "",
					doubt->found[i]);
	imap_wire_expect_items(imap->client.wire, take_size, doubt);
	struct err err =
		imap_command(&imap->client, PHASE_UPDATE, "UID FETCH %s (UID RFC822.SIZE)", set);
	imap_wire_expect_items(imap->client.wire, NULL, NULL);
	if (!imap_client_is_alive(&imap->client))
		return err;
	doubt->is_open = !doubt->is_copied && (err.kind ? !is_final(removal, err)
							: doubt->sizes_told < doubt->found_len);
	return OK;
}

/* Searches the target, which is selected, for each: what is there is copied. */
static struct err search_target(struct removal *removal, const struct doubts *doubts)
{
	struct imap_client *client = &removal->imap->client;

	for (size_t i = 0; i < doubts->chunk->count; i++) {
		struct doubt *doubt = &doubts->list[i];
		struct buf id;
		if (!doubt->id || !doubt->octets)
			continue;
		buf_init(&id, 2 * ID_OCTETS + 2);
		bool is_good = imap_quote(&id, doubt->id);
		struct err err = is_good ? imap_send(client, &doubt->tag,
						     "UID SEARCH HEADER \"MESSAGE-ID\" %.*s",
						     (int)buf_len(&id), buf_data(&id))
					 : OK;
		buf_fini(&id);
		TRY(err);
	}
	for (size_t i = 0; i < doubts->chunk->count; i++)
		if (doubts->list[i].tag)
			TRY(receive_found(removal, &doubts->list[i]));
	for (size_t i = 0; i < doubts->chunk->count; i++) {
		struct doubt *doubt = &doubts->list[i];
		if (doubt->found_len)
			TRY(compare_found(removal, doubt));
		if (doubt->is_copied)
			removal->marks[doubts->chunk->at[i]] |= REMOVAL_COPIED;
	}
	return OK;
}

/* EXAMINE of the target, so that nothing can be changed there. */
static struct err examine_target(struct removal *removal)
{
	char *words = move_target_words(removal);
	struct err err = imap_command(&removal->imap->client, PHASE_UPDATE, "EXAMINE %s", words);

	free(words);
	return err;
}

/* Only a lost connection is an error. Whatever fails, nothing is selected but the source, or nothing. */
static struct err look_in_target(struct removal *removal, struct doubts *doubts)
{
	struct imap *imap = removal->imap;

	TRY(learn_doubts(removal, doubts));
	struct err err = examine_target(removal);
	bool is_open = err.kind && imap_client_is_alive(&imap->client) && !is_final(removal, err);
	for (size_t i = 0; i < doubts->chunk->count; i++)
		doubts->list[i].is_open = is_open;
	if (!err.kind)
		err = search_target(removal, doubts);
	if (imap_client_is_alive(&imap->client)) {
		err = imap_select(imap);
		imap->client.until_ms = removal->until_ms;
	}
	if (err.kind)
		imap_client_kill(&imap->client);
	return err;
}

static struct err clear_some(struct removal *removal, struct chunk *chunk)
{
	struct doubts doubts = {chunk, mem_alloc(chunk->count * sizeof *doubts.list)};
	struct err err = look_in_target(removal, &doubts);

	chunk_mark(removal, chunk, REMOVAL_TRIED);
	for (size_t i = 0; i < chunk->count; i++) {
		if (!err.kind && !doubts.list[i].is_open)
			removal->marks[chunk->at[i]] &= (uint8_t) ~(REMOVAL_DOUBT | REMOVAL_TRIED);
		free(doubts.list[i].id);
	}
	free(doubts.list);
	return err;
}

struct err move_clear_doubts(struct removal *removal)
{
	size_t most = removal->most;
	struct chunk chunk;
	struct err err = OK;

	chunk_init(&chunk);
	removal->most = most < DOUBTS ? most : DOUBTS;
	while (!err.kind && !removal_must_stop(removal) &&
	       removal_next(removal, &chunk, REMOVAL_DOUBT,
			    REMOVAL_GONE | REMOVAL_REFUSED | REMOVAL_TRIED))
		err = clear_some(removal, &chunk);
	removal->most = most;
	chunk_fini(&chunk);
	return err;
}

/* COPY of one chunk. Until its reply is here it is in doubt. */
static struct err copy_chunk(struct removal *removal, struct chunk *chunk)
{
	struct imap_client *client = &removal->imap->client;
	char *words = move_target_words(removal);

	chunk_mark(removal, chunk, REMOVAL_DOUBT);
	struct err err = imap_send(client, &chunk->first, "UID COPY %s %s", chunk->set, words);
	free(words);
	TRY(err);
	TRY(imap_receive(client, PHASE_UPDATE, chunk->first));
	chunk_unmark(removal, chunk, REMOVAL_DOUBT);
	chunk_take_outcome(removal, chunk);
	imap_client_trim(client);
	if (chunk->is_limited)
		return OK;
	if (!chunk->err.kind)
		chunk_mark(removal, chunk, REMOVAL_COPIED);
	else if (!chunk->is_missing || !move_make_target(removal))
		chunk_give_up(removal, chunk, chunk->err);
	return OK;
}

struct err move_copy_all(struct removal *removal)
{
	struct chunk chunk;

	chunk_init(&chunk);
	struct err err = OK;
	while (!err.kind && !removal_must_stop(removal) &&
	       removal_next(removal, &chunk, 0,
			    REMOVAL_GONE | REMOVAL_REFUSED | REMOVAL_TRIED | REMOVAL_COPIED |
				    REMOVAL_DOUBT))
		err = copy_chunk(removal, &chunk);
	chunk_fini(&chunk);
	return err;
}
