/* SPDX-License-Identifier: MIT */
/* imap_known.c - the listing from what the ledger knows and what the server says has changed (M-07).
 *
 * UIDVALIDITY, UIDNEXT and EXISTS as they were: nothing came and nothing went, and no FETCH is
 * needed. Otherwise new messages are asked for by UID, what is gone is found by a search, and so
 * is what others have marked \Deleted, unless HIGHESTMODSEQ says that no flag has changed.
 *
 * The server is a witness: whenever its numbers do not fit together everything is listed. */
#include "upstream/imap_listing.h"

#include <stdlib.h>

/* A message may have come in a session in which the server did not say that it has ids. */
static bool has_all_ids(const struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->count; i++)
		if (!ledger->rows[i].id)
			return false;
	return true;
}

/* Whether the ledger can be built on at all. */
static bool is_fit(const struct listing *listing)
{
	const struct ledger *ledger = &listing->ledger;
	const struct imap *imap = listing->imap;
	unsigned traits = imap->quirks ? imap->quirks->traits : 0;
	uint32_t exists = imap_wire_exists(imap->client.wire);

	if (listing->is_window || (traits & QUIRK_SIZES_CHANGE) || exists > MAILDROP_MESSAGES)
		return false;
	if (!ledger->count && exists)
		return false;
	if (listing->strong != LEDGER_NONE &&
	    (ledger->head.source != listing->strong || !has_all_ids(ledger)))
		return false;
	/* UIDNEXT at or below a UID is no UIDNEXT (C-05). */
	return !ledger->count || !listing->uidnext ||
	       ledger->rows[ledger->count - 1].uid < listing->uidnext;
}

/* Asks for UIDs. *is_sound is false if the server lives and could not say. */
static struct err search(struct listing *listing, const char *key, struct uids *found,
			 bool *is_sound)
{
	struct imap *imap = listing->imap;
	struct err err = imap_search(imap, &listing->ledger, key, found);

	*is_sound = !err.kind;
	return err.kind && imap_client_is_alive(&imap->client) ? OK : err;
}

/* Whether a search fits what we know: nothing below the newest message that we do not know, and as
 * many as there are. `top` is the highest UID known. */
static bool is_plausible(const struct listing *listing, const struct uids *found, uint32_t top,
			 uint32_t exists, uint32_t expunged)
{
	const struct ledger *ledger = &listing->ledger;
	size_t row = 0;

	if (found->count + expunged < exists)
		return false;
	for (size_t i = 0; i < found->count; i++) {
		uint32_t uid = found->at[i];
		while (row < ledger->count && ledger->rows[row].uid < uid)
			row++;
		if (row < ledger->count && ledger->rows[row].uid == uid)
			continue;
		/* What came after the SELECT is for the next session. */
		if (uid <= top || uid < listing->uidnext || !listing->uidnext)
			return false;
	}
	return true;
}

/* Takes out of the ledger what is gone. */
static struct err find_survivors(struct listing *listing, bool *is_sound)
{
	struct imap_wire *wire = listing->imap->client.wire;
	struct ledger *ledger = &listing->ledger;
	uint32_t top = ledger->count ? ledger->rows[ledger->count - 1].uid : 0;
	uint32_t exists = imap_wire_exists(wire), expunges = imap_wire_expunges(wire);
	struct uids found = {NULL, 0, 0};

	struct err err = search(listing, "ALL", &found, is_sound);
	if (!err.kind && *is_sound) {
		expunges = imap_wire_expunges(wire) - expunges;
		*is_sound = is_plausible(listing, &found, top, exists, expunges);
	}
	if (!err.kind && *is_sound)
		listing_retain(listing, &found);
	uids_fini(&found);
	return err;
}

/* What others have marked, or marked no more. */
static struct err find_deleted(struct listing *listing, bool *is_sound)
{
	struct ledger *ledger = &listing->ledger;
	struct uids found = {NULL, 0, 0};

	struct err err = search(listing, "DELETED", &found, is_sound);
	for (size_t i = 0; !err.kind && *is_sound && i < ledger->count; i++) {
		struct ledger_row *row = &ledger->rows[i];
		bool is_deleted = uids_have(&found, row->uid);
		if (is_deleted == !!(row->marks & LEDGER_DELETED))
			continue;
		row->marks ^= LEDGER_DELETED;
		ledger_touch(ledger, row->uid);
		listing->is_changed = true;
	}
	uids_fini(&found);
	return err;
}

struct err listing_known(struct listing *listing, bool *is_known)
{
	struct ledger *ledger = &listing->ledger;
	const struct ledger_head *head = &ledger->head;
	struct imap_wire *wire = listing->imap->client.wire;
	size_t old = ledger->count, news = 0;

	*is_known = false;
	if (!is_fit(listing))
		return OK;
	bool has_same_flags =
		head->is_whole &&
		(listing->is_watched ||
		 (listing->highestmodseq && listing->highestmodseq == head->highestmodseq));
	bool has_no_news =
		head->is_whole &&
		(!listing->arrived || (listing->uidnext && listing->uidnext == head->uidnext));
	uint32_t exists = imap_wire_exists(wire);
	if (!has_no_news && imap_wire_exists(wire)) {
		uint32_t top = old ? ledger->rows[old - 1].uid : 0;
		if (top == UINT32_MAX)
			return OK;
		TRY(listing_from(listing, top + 1, &news));
		if (listing->is_odd || listing->is_window)
			return OK;
	}
	/* A number that has changed since SELECT told UIDNEXT counts messages that nobody has told
	 * of, and where one came and one went (it may be we who removed it) it is the same
	 * again; and as many must have been told as UIDs were given, or one that is gone could
	 * stand for one that is new. */
	bool has_uidnexts = listing->uidnext && head->uidnext;
	bool all_told = imap_wire_exists(wire) == exists &&
			listing->imap->selected_exists == exists &&
			(listing->arrived >= 0 ? (uint64_t)listing->arrived == news
			 : has_uidnexts        ? listing->uidnext - head->uidnext == news
					       : !news);
	bool fits = head->is_whole && all_told && !listing->is_silent &&
		    imap_wire_exists(wire) == old + news &&
		    imap_wire_expunges(wire) == listing->imap->selected_expunges;
	*is_known = true;
	if (!fits) {
		/* A folder that is suddenly empty is asked twice. */
		if (!imap_wire_exists(wire))
			TRY(imap_command(&listing->imap->client, PHASE_LIST, "NOOP"));
		TRY(find_survivors(listing, is_known));
	}
	if (*is_known && ledger->count && !has_same_flags)
		TRY(find_deleted(listing, is_known));
	return OK;
}
