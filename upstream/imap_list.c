/* SPDX-License-Identifier: MIT */
/* imap_list.c - the listing: which messages there are, their UIDs and sizes.
 *
 * A client that sees a message missing once forgets it and fetches it again later, so a listing is
 * whole or an error (C-05). What is remembered of the mailbox is asked after first: mostly the
 * server's few numbers say that nothing has changed. */
#include "upstream/imap_listing.h"
#include "upstream/imap_login.h"
#include "upstream/imap_promise.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

enum {
	TRIES = 2,          /* when another session writes to the ledger meanwhile */
	SINGLE_SIZES = 100, /* how often a missing size is asked for by itself (C-06) */
	MEASURE_MS = 20000, /* sizes=exact (F-07) */
	PENDING_MS = 10000, /* removals that had to wait */
	KEPT_ROWS = 4000,   /* of a ledger that stays in memory */
};

/* --- sizes that the listing did not tell ------------------------------------------------------ */

struct single {
	uint32_t uid;
	uint64_t octets;
};

static void take_single(void *arg, const struct wire_item *item)
{
	struct single *single = arg;

	if (item->has_uid && item->uid == single->uid && item->has_octets)
		single->octets = item->octets;
}

/* A message at a time: one that the server cannot read must not hide the others. Only a lost
 * connection is an error. `from`: what is below was asked for when it was new. */
static struct err ask_sizes(struct listing *listing, uint32_t from)
{
	struct imap_client *client = &listing->imap->client;
	struct ledger *ledger = &listing->ledger;
	unsigned asked = 0;

	for (size_t i = 0; i < ledger->count && asked < SINGLE_SIZES; i++) {
		struct ledger_row *row = &ledger->rows[i];
		if (row->uid < from || row->octets || !listing_is_visible(listing, row))
			continue;
		struct single single = {.uid = row->uid};
		asked++;
		imap_wire_expect_items(client->wire, take_single, &single);
		struct err err = imap_command(client, PHASE_LIST, "UID FETCH %u (UID RFC822.SIZE)",
					      row->uid);
		imap_wire_expect_items(client->wire, NULL, NULL);
		if (err.kind && !imap_client_is_alive(client))
			return err;
		if (!single.octets)
			continue;
		row->octets = single.octets;
		ledger_touch(ledger, row->uid);
		listing->is_changed = true;
	}
	return OK;
}

/* --- the whole ------------------------------------------------------------------------------ */

struct err listing_save(struct listing *listing, bool *is_stale)
{
	const struct imap *imap = listing->imap;

	return ledger_save(&listing->ledger, imap->conf.state, imap->env, is_stale);
}

static struct err load(struct listing *listing)
{
	struct imap *imap = listing->imap;

	if (!listing->has_state || listing->is_loaded)
		return OK;
	struct err err = ledger_load(&listing->ledger, imap->conf.state, imap->env);
	if (err.kind)
		log_err(imap->log, LEVEL_ALARM, "ledger-not-read", err);
	return err;
}

/* The UID that no message may have had yet. What came in while we listed stands above the UIDNEXT that
 * was told; a server that has more of that than can have come in tells a UIDNEXT that is none, and is
 * not taken at another word. */
static uint32_t uidnext_of(const struct listing *listing)
{
	const struct imap *imap = listing->imap;
	const struct ledger *ledger = &listing->ledger;
	uint64_t exists = imap_wire_exists(imap->client.wire);
	uint64_t gone = imap_wire_expunges(imap->client.wire) - imap->selected_expunges;
	uint32_t told = listing->uidnext;
	size_t above = 0;

	while (told && above < ledger->count && ledger->rows[ledger->count - 1 - above].uid >= told)
		above++;
	if (!above || exists + gone < imap->selected_exists + above)
		return told;
	uint32_t top = ledger->rows[ledger->count - 1].uid;
	return top < UINT32_MAX ? top + 1 : told;
}

/* What the ledger's head says at the end of a listing. */
static void end_head(struct listing *listing)
{
	struct ledger_head *head = &listing->ledger.head, was = *head;
	const struct imap *imap = listing->imap;

	if (head->source == LEDGER_NONE) {
		head->source = LEDGER_HEADER;
		listing->is_changed = true;
	}
	if (!*head->tag)
		identity_tag(head->tag, imap->conf.host, imap->login.user, imap->conf.folder,
			     head->generation);
	uint32_t uidnext = uidnext_of(listing);
	const struct ledger *ledger = &listing->ledger;
	/* A folder that stays selected tells none: it is above all UIDs. */
	uint32_t top = ledger->count ? ledger->rows[ledger->count - 1].uid : 0;
	if (!uidnext && head->uidnext && top >= head->uidnext && top < UINT32_MAX)
		uidnext = top + 1;
	if (uidnext > head->uidnext)
		head->uidnext = uidnext;
	head->highestmodseq = listing->highestmodseq;
	head->exists = (uint32_t)(listing->has_seen ? listing->seen.count : listing->ledger.count);
	head->is_whole = !listing->is_window;
	if (was.uidnext != head->uidnext || was.highestmodseq != head->highestmodseq ||
	    was.exists != head->exists || was.is_whole != head->is_whole || !*was.tag)
		listing->is_changed = true;
}

static struct err find_out(struct listing *listing)
{
	struct ledger *ledger = &listing->ledger;
	uint32_t known = ledger->count ? ledger->rows[ledger->count - 1].uid : 0;
	bool is_known = false, was_whole = ledger->head.is_whole;

	if (!listing_is_same_epoch(listing)) {
		TRY(listing_new_epoch(listing));
		return ask_sizes(listing, 1);
	}
	TRY(listing_known(listing, &is_known));
	/* Of a listing that was cut off nothing was asked for by itself yet. */
	if (is_known && !was_whole)
		return ask_sizes(listing, 1);
	if (is_known)
		return known == UINT32_MAX ? OK : ask_sizes(listing, known + 1);
	TRY(listing_all(listing));
	return ask_sizes(listing, 1);
}

/* Saves what was found out. *is_stale: all again, for another has written to the ledger. */
static struct err keep(struct listing *listing, bool *is_stale)
{
	struct imap *imap = listing->imap;
	struct err err = OK;
	bool is_new_epoch = listing->is_begun;

	*is_stale = false;
	if (!listing->has_state)
		return OK;
	if (listing->is_changed)
		err = listing_save(listing, is_stale);
	imap->epoch = listing->ledger.head.epoch;
	imap->has_ledger = !err.kind && !*is_stale;
	if (err.kind) {
		log_err(imap->log, LEVEL_ALARM, "ledger-not-saved", err);
		return listing->is_at_risk ? err : OK;
	}
	if (*is_stale || !(is_new_epoch || listing->ledger.has_leavings))
		return OK;
	struct err swept = ledger_sweep(imap->conf.state, imap->env, imap->conf.name, imap->epoch);
	if (swept.kind)
		log_err(imap->log, LEVEL_WARN, "ledger-not-swept", swept);
	return OK;
}

static struct err list_once(struct listing *listing, struct maildrop *maildrop, bool is_last,
			    bool *is_stale)
{
	struct imap *imap = listing->imap;
	uint64_t until = imap->env->ops->now(imap->env) + MEASURE_MS;

	*is_stale = false;
	TRY(load(listing));
	TRY(find_out(listing));
	/* News of another UIDVALIDITY in the middle: nobody knows what was listed (D-11). */
	if (imap_wire_folder(imap->client.wire)->uidvalidity != imap->uidvalidity) {
		imap->is_void = true;
		return ERR(ERR_UPSTREAM, 0, "the folder is not the same as before");
	}
	if (imap->conf.measure_sizes)
		imap_measure_rows(listing, until);
	TRY(listing_settle(listing));
	end_head(listing);
	TRY(keep(listing, is_stale));
	if (*is_stale && !is_last)
		return OK;
	if (*is_stale && listing->is_at_risk)
		return ERR(ERR_UPSTREAM, EAGAIN, "the mailbox is being changed by another");
	*is_stale = false;
	return listing_show(listing, maildrop);
}

static void listing_fini(struct listing *listing)
{
	ledger_fini(&listing->ledger);
	uids_fini(&listing->seen);
}

/* Facts as they are now: what is told later may have been told of something later. */
static void begin(struct listing *listing, struct imap *imap, struct uids promised)
{
	const struct wire_folder *folder = imap_wire_folder(imap->client.wire);
	const char *name = imap->conf.name;

	*listing = (struct listing){
		.imap = imap,
		.has_state = imap->conf.state && name && !imap->is_loose,
		.strong = imap_strong_source(imap),
		.uidnext = folder->uidnext,
		/* Some tell it who do not have it (N-08). */
		.highestmodseq = imap->client.caps & CAP_CONDSTORE ? folder->highestmodseq : 0,
		.promised = promised,
		.is_watched = imap->is_watched,
		.flag_news = imap_wire_flag_news(imap->client.wire),
		.arrived = imap->arrived,
		.is_window = imap->quirks && (imap->quirks->traits & QUIRK_WINDOW),
	};
	ledger_init(&listing->ledger, name ? name : "");
}

void imap_keep(struct imap *imap, struct ledger *ledger)
{
	if (imap->kept)
		ledger_fini(imap->kept);
	free(imap->kept);
	imap->kept = NULL;
	if (!ledger)
		return;
	imap->kept = mem_alloc(sizeof *imap->kept);
	*imap->kept = *ledger;
	*ledger = (struct ledger){0};
}

/* For the next session on this connection. A ledger that others may change, or with promises beside it, is
 * read again. */
static void note_listed(struct imap *imap, struct listing *listing)
{
	const struct imap_wire *wire = imap->client.wire;
	const struct ledger *ledger = &listing->ledger;
	bool is_sole = !imap->conf.is_shared && !listing->promised.count && !listing->is_window;

	/* Of one that came and one that went meanwhile the numbers say nothing. */
	bool was_still = imap_wire_exists(wire) == imap->selected_exists &&
			 imap_wire_expunges(wire) == imap->selected_expunges;
	bool is_whole = !listing->is_window && imap_wire_exists(wire) == ledger->count;
	/* Nor does a state that could not be written to know what was listed. */
	bool is_saved = !listing->has_state || imap->has_ledger;
	imap->arrived = was_still && is_whole && is_saved ? 0 : -1;
	imap->listed_exists = imap_wire_exists(wire);
	imap->listed_expunges = imap_wire_expunges(wire);
	/* What came in its midst may have come behind the search. */
	imap->listed_flags = listing->flag_news;
	imap->listed_modseq = ledger->head.highestmodseq;
	if (imap->conf.warm && is_sole && ledger->count <= KEPT_ROWS && !imap->arrived)
		imap_keep(imap, &listing->ledger);
}

/* `recalled` is taken over by the first try, if it was loaded. */
static struct err list_all_tries(struct imap *imap, struct maildrop *maildrop, struct uids promised,
				 struct ledger *recalled, bool is_loaded)
{
	struct err err = OK;
	bool is_stale = true;

	for (int i = 0; i < TRIES && is_stale; i++) {
		struct listing listing;
		begin(&listing, imap, promised);
		/* Flags that the replay set came behind it. */
		if (!is_loaded)
			listing.highestmodseq = 0;
		if (i)
			listing.is_watched = false;
		if (!i && is_loaded) {
			ledger_fini(&listing.ledger);
			listing.ledger = *recalled;
			listing.is_loaded = true;
			*recalled = (struct ledger){0};
		}
		err = list_once(&listing, maildrop, i == TRIES - 1, &is_stale);
		if (!err.kind && !is_stale)
			note_listed(imap, &listing);
		listing_fini(&listing);
		if (err.kind)
			break;
	}
	return err;
}

/* What waited is removed while the client waits, so not for long. */
static void remove_pending(struct imap *imap, const struct maildrop *maildrop)
{
	uint64_t until = imap->env->ops->now(imap->env) + PENDING_MS;
	uint64_t login_until = imap->client.until_ms;

	imap_remove_pending(imap, maildrop,
			    login_until && login_until < until ? login_until : until);
}

/* Others may have written to the ledger since, in this process or in another: what is kept holds only as
 * long as its version does. */
static bool is_kept_current(const struct imap *imap)
{
	struct ledger now;

	if (!imap->conf.state || !imap->conf.name)
		return true;
	ledger_init(&now, imap->conf.name);
	struct err err = ledger_load_head(&now, imap->conf.state, imap->env);
	bool is_current = !err.kind && now.version == imap->kept->version;
	ledger_fini(&now);
	return is_current;
}

struct err imap_list(struct upstream *upstream, struct maildrop *maildrop)
{
	struct imap *imap = (struct imap *)upstream;
	struct uids promised = {NULL, 0, 0};
	struct ledger recalled = {0};
	struct err err = OK;

	if (imap->kept && !is_kept_current(imap))
		imap_keep(imap, NULL);
	bool is_loaded = imap->kept != NULL;
	imap->is_watched &= is_loaded;
	/* The deadline of the login still runs (H-03): imap_ready() would lift it. */
	if (!imap_client_is_alive(&imap->client))
		err = imap_ready(imap, NULL);
	if (is_loaded) {
		recalled = *imap->kept;
		free(imap->kept);
		imap->kept = NULL;
	} else if (!err.kind && imap->conf.state && imap->conf.name && !imap->is_loose) {
		ledger_init(&recalled, imap->conf.name);
		err = imap_replay(imap, &recalled, &is_loaded, &promised.at, &promised.count);
	}
	/* What was promised may have been done over a connection that is lost by now. */
	if (!err.kind && !imap_client_is_alive(&imap->client))
		err = imap_ready(imap, NULL);
	if (!err.kind)
		err = list_all_tries(imap, maildrop, promised, &recalled, is_loaded);
	if (!err.kind && imap->pending_len) {
		imap_keep(imap, NULL); /* what it says of those may not hold any more */
		remove_pending(imap, maildrop);
	}
	ledger_fini(&recalled);
	uids_fini(&promised);
	imap->client.until_ms = 0;
	imap->is_watched = false;
	if (!err.kind)
		imap_flight_listed(&imap->client, &imap->conf, &imap->login);
	imap->upstream.round_trips = imap_client_round_trips(&imap->client);
	if (imap->client.im)
		imap_client_trim(&imap->client);
	return err;
}
