/* SPDX-License-Identifier: MIT */
/* imap_remove_run.c - in what order messages are taken out: by MOVE, by COPY and EXPUNGE, with UIDs or,
 * where the server cannot, without (D-06), and once more over a new connection (H-06). */
#include "upstream/imap_remove.h"

#include <stdlib.h>

#include "upstream/imap_name.h"

static const struct err not_done = {ERR_UPSTREAM, 0, "some messages were not removed"};

void removal_shrink_journal(struct removal *removal)
{
	struct journal *journal = removal->journal;
	unsigned done = REMOVAL_GONE | (removal->keeps_refused ? 0 : REMOVAL_REFUSED);
	size_t kept = 0, at = 0;

	if (!journal)
		return;
	for (size_t i = 0; i < journal->count; i++) {
		while (at < removal->count && removal->uids[at] < journal->entries[i].uid)
			at++;
		bool is_ours = at < removal->count && removal->uids[at] == journal->entries[i].uid;
		if (!is_ours || !(removal->marks[at] & done))
			journal->entries[kept++] = journal->entries[i];
	}
	if (kept == journal->count)
		return;
	journal->count = kept;
	const struct imap *imap = removal->imap;
	struct err err = journal_write(imap->conf.state, imap->env, imap->conf.name, journal);
	/* Whoever replays it finds that they are gone. */
	if (err.kind)
		log_err(imap->log, LEVEL_WARN, "journal-not-shrunk", err);
}

/* --- without UID EXPUNGE --- */

enum { DONE = REMOVAL_GONE | REMOVAL_REFUSED | REMOVAL_TRIED };

struct census {
	const struct removal *removal;
	unsigned with; /* marks of those that are to go now: the others have no copy yet */
	uint64_t all, ours;
};

static bool is_to_go(const struct removal *removal, size_t i, unsigned with)
{
	return (removal->marks[i] & with) == with && !(removal->marks[i] & DONE);
}

static void take_deleted(void *arg, uint32_t low, uint32_t high)
{
	struct census *census = arg;
	const struct removal *removal = census->removal;
	size_t i = uid_at_or_above(removal->uids, removal->count, low);

	census->all += (uint64_t)high - low + 1;
	for (; i < removal->count && removal->uids[i] <= high; i++)
		census->ours += is_to_go(removal, i, census->with);
}

/* Whether no message but ours is \Deleted. */
static struct err ask_alone(struct removal *removal, unsigned with, bool *is_alone)
{
	struct imap_client *client = &removal->imap->client;
	struct census census = {.removal = removal, .with = with};

	imap_wire_expect_found(client->wire, take_deleted, &census);
	struct err err = imap_command(client, PHASE_UPDATE, "UID SEARCH DELETED");
	bool has_found = imap_wire_has_found(client->wire);
	imap_wire_expect_found(client->wire, NULL, NULL);
	imap_client_trim(client);
	TRY(err);
	if (!has_found)
		return ERR(ERR_UPSTREAM, 0, "the mail server does not say what is deleted");
	*is_alone = census.all == census.ours;
	LOG(removal->imap->log, LEVEL_NOTE,
	    *is_alone ? "imap-expunge-without-uids" : "imap-flag-only",
	    log_number("deleted", census.all), log_number("ours", census.ours));
	return OK;
}

/* One command for each chunk that is still to be done, and a search behind it. */
static struct err each_chunk(struct removal *removal, unsigned with, const char *key, bool stores)
{
	struct imap_client *client = &removal->imap->client;
	struct chunk chunk;
	struct err err = OK;

	chunk_init(&chunk);
	while (!err.kind && removal_next(removal, &chunk, with, DONE)) {
		chunk_mark(removal, &chunk, REMOVAL_TRIED);
		err = stores ? imap_command(client, PHASE_UPDATE,
					    "UID STORE %s +FLAGS.SILENT (\\Deleted)", chunk.set)
			     : chunk_search(removal, &chunk, key);
		imap_client_trim(client);
	}
	chunk_fini(&chunk);
	for (size_t i = 0; i < removal->count; i++)
		removal->marks[i] &= (uint8_t)~REMOVAL_TRIED;
	return err;
}

/* Flags ours; EXPUNGE only while nobody else's \Deleted would go with them. Otherwise ours keep the
 * flag: hidden from the next session on, removed by whoever expunges. */
static struct err expunge_alone(struct removal *removal, unsigned with, bool is_alone)
{
	bool is_alone_still = false;

	TRY(each_chunk(removal, with, "", true));
	if (is_alone)
		TRY(ask_alone(removal, with, &is_alone_still));
	if (!is_alone_still)
		return each_chunk(removal, with, " UNDELETED", false);
	TRY(imap_command(&removal->imap->client, PHASE_UPDATE, "EXPUNGE"));
	return each_chunk(removal, with, "", false);
}

static struct err remove_safely(struct removal *removal, unsigned with)
{
	struct unflagged others;
	bool is_alone;
	size_t to_go = 0;

	for (size_t i = 0; i < removal->count; i++)
		to_go += is_to_go(removal, i, with);
	if (!to_go)
		return OK;
	TRY(ask_alone(removal, with, &is_alone));
	if (is_alone || !removal->imap->conf.may_unflag)
		return expunge_alone(removal, with, is_alone);
	struct err err = unflag_others(removal, &others);
	if (!err.kind)
		err = expunge_alone(removal, with, true);
	unflag_restore(removal, &others);
	return err;
}

/* --- all of it --- */

static bool can_expunge_uids(const struct imap *imap)
{
	return imap->client.caps & CAP_UIDPLUS &&
	       !(imap->quirks && imap->quirks->traits & QUIRK_NO_UID_EXPUNGE);
}

static bool leads_away(const struct removal *removal)
{
	return removal->way == DELETE_TRASH || removal->way == DELETE_ARCHIVE;
}

/* Copies whose originals are still there. */
static size_t count_copied(const struct removal *removal)
{
	size_t count = 0;

	for (size_t i = 0; i < removal->count; i++)
		count += (removal->marks[i] & (REMOVAL_COPIED | REMOVAL_GONE)) == REMOVAL_COPIED;
	return count;
}

static struct err remove_all(struct removal *removal)
{
	struct imap *imap = removal->imap;
	bool is_unknown = false;
	unsigned with = 0;

	/* Also before MOVE: the connection that was lost may have had none. */
	if (leads_away(removal))
		TRY(move_clear_doubts(removal));
	if (leads_away(removal) && imap->client.caps & CAP_MOVE) {
		TRY(removal_fly(removal, true, 0, &is_unknown));
		if (!is_unknown && !count_copied(removal))
			return OK;
		if (is_unknown)
			imap_client_forget(&imap->client, CAP_MOVE);
	}
	if (leads_away(removal)) {
		with = REMOVAL_COPIED;
		if (!(imap->client.caps & CAP_MOVE))
			TRY(move_copy_all(removal));
	}
	if (removal->way == DELETE_FLAG || can_expunge_uids(imap)) {
		TRY(removal_fly(removal, false, with, &is_unknown));
		if (!is_unknown)
			return OK;
		imap_client_forget(&imap->client, CAP_UIDPLUS);
	}
	struct err err = removal_must_stop(removal) ? not_done : remove_safely(removal, with);
	removal_shrink_journal(removal);
	return err;
}

/* The connection broke in the middle: only the server knows how far it came (H-06). */
static struct err look_again(struct removal *removal)
{
	struct chunk chunk;
	struct err err = OK;

	chunk_init(&chunk);
	while (!err.kind && removal_next(removal, &chunk, 0, DONE)) {
		chunk_mark(removal, &chunk, REMOVAL_TRIED);
		err = chunk_search(removal, &chunk, "");
		/* Who cannot be asked is told again: every way but COPY does no harm twice. */
		if (imap_client_is_alive(&removal->imap->client))
			err = OK;
	}
	chunk_fini(&chunk);
	return err;
}

static void clear_tried(struct removal *removal)
{
	for (size_t i = 0; i < removal->count; i++)
		removal->marks[i] &= (uint8_t)~REMOVAL_TRIED;
}

/* Nothing that is left can be done here. */
static struct err refuse_all(struct removal *removal, struct err err)
{
	for (size_t i = 0; i < removal->count; i++)
		if (!(removal->marks[i] & REMOVAL_GONE))
			removal->marks[i] |= REMOVAL_REFUSED;
	removal_shrink_journal(removal);
	return err;
}

static struct err attempt(struct removal *removal, bool looks)
{
	struct imap *imap = removal->imap;
	struct err err = imap_ready(imap, NULL);

	if (imap->is_void && err.kind == ERR_UPSTREAM)
		return refuse_all(removal, err); /* another UIDVALIDITY (D-11) */
	TRY(err);
	imap->client.until_ms = removal->until_ms;
	if (imap->is_folder_read_only)
		return refuse_all(removal, ERR(ERR_POLICY, 0, "the folder is read-only"));
	if (looks) {
		TRY(look_again(removal));
		removal_shrink_journal(removal);
		clear_tried(removal);
	}
	if (!removal_count_without(removal, REMOVAL_GONE | REMOVAL_REFUSED))
		return OK;
	if (leads_away(removal))
		err = move_find_target(removal);
	if (err.kind == ERR_POLICY)
		return refuse_all(removal, err);
	return err.kind ? err : remove_all(removal);
}

struct err removal_run(struct removal *removal)
{
	struct imap *imap = removal->imap;
	struct err err = attempt(removal, removal->looks_first);

	if (err.kind && !imap_client_is_alive(&imap->client) && !imap->is_void &&
	    (!removal->reconnect_until_ms ||
	     imap->env->ops->now(imap->env) < removal->reconnect_until_ms)) {
		log_err(imap->log, LEVEL_WARN, "imap-update-lost", err);
		clear_tried(removal);
		err = attempt(removal, true);
	}
	imap->client.until_ms = 0;
	if (!removal_count_without(removal, REMOVAL_GONE))
		return OK;
	if (err.kind)
		return err;
	return removal->err.kind ? removal->err : not_done;
}
