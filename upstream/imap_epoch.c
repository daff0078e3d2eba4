/* SPDX-License-Identifier: MIT */
/* imap_epoch.c - the same messages under other UIDs: recognised, or honestly new (E-04).
 *
 * UIDs mean something else when UIDVALIDITY has changed, when UIDNEXT went down (a backup was
 * restored, E-09), and when the map entry points to another mailbox (E-02). Then everything is
 * listed, each message's id is learned from where the old ones came, and what can be told apart
 * keeps its UIDL. All this is on disk before a client sees any of it. */
#include "upstream/imap_listing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/uidl.h"

enum {
	EPOCH_MS = 300000, /* the client may be gone meanwhile: its next login finds it done */
	EPOCH_OCTETS = 1 << 30,
	UNTOLD =
		50, /* messages without a header that the server is asked for whether they are there */
};

bool listing_is_same_epoch(const struct listing *listing)
{
	const struct ledger_head *head = &listing->ledger.head;
	const struct imap *imap = listing->imap;

	return !strcmp(head->place, imap->place) && head->uidvalidity == imap->uidvalidity &&
	       !(listing->uidnext && listing->uidnext < head->uidnext);
}

static void log_change(const struct listing *listing, enum log_level level, const char *event)
{
	const struct ledger_head *head = &listing->ledger.head;
	const struct imap *imap = listing->imap;

	LOG(imap->log, level, event, log_text("name", imap->conf.name),
	    log_text("place", strcmp(head->place, imap->place) ? "another" : "same"),
	    log_number("uidvalidity_was", head->uidvalidity),
	    log_number("uidvalidity", imap->uidvalidity), log_number("uidnext_was", head->uidnext),
	    log_number("uidnext", listing->uidnext),
	    log_number("messages_known", listing->ledger.count));
}

/* Rows whose headers never came: of messages that have gone meanwhile, or that the server cannot read
 * (N-05). What is gone must not be shown as something new. */
static struct err settle_untold(struct listing *listing)
{
	struct ledger *ledger = &listing->ledger;
	char set[16];
	size_t left;

	for (size_t i = 0, asked = 0; i < ledger->count; i++) {
		struct ledger_row *row = &ledger->rows[i];
		if (row->id)
			continue;
		left = 1;
		snprintf(set, sizeof set, "%u", row->uid);
		if (asked++ < UNTOLD) {
			struct err err = imap_count_left(listing->imap, set, &left);
			if (err.kind && !imap_client_is_alive(&listing->imap->client))
				return err;
			left = err.kind ? 1 : left;
		}
		if (!left)
			ledger_remove(ledger, ledger->rows[i--].uid);
		else if (!imap_set_unlike(ledger, row))
			return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	}
	return OK;
}

/* The ids of all rows, from the source of the old ones. */
static struct err learn_ids(struct listing *listing)
{
	struct ids_budget budget = {.octets = EPOCH_OCTETS};
	size_t learned;

	if (listing->ledger.head.source != LEDGER_HEADER)
		return OK; /* they came with the listing */
	TRY(imap_learn_headers(listing->imap, &listing->ledger, &budget, &learned));
	return settle_untold(listing);
}

/* Ids are compared with ids of the same kind only, whatever else the server offers now. Those that it
 * once gave are asked for even if it does not announce them: its CAPABILITY may have been lost, and who
 * does not know them says so (N-13). */
static enum ledger_source source_like(const struct imap *imap, unsigned old)
{
	bool is_simple = imap->quirks && (imap->quirks->traits & QUIRK_BASE_ITEMS);

	return old == LEDGER_HEADER || is_simple ? LEDGER_NONE : (enum ledger_source)old;
}

static struct err list_and_match(struct listing *listing, const struct ledger *old,
				 const char *old_tag)
{
	struct imap *imap = listing->imap;
	struct ledger_matching matching = {.unknown = 0};
	bool will_match = imap->conf.uidvalidity_policy == UIDVALIDITY_MATCH && old->count;

	const struct uidl_format *format = imap->conf.uidl;
	bool needs_strong = format && (format->needs_gm_msgid || format->needs_email_id);

	if (will_match && !needs_strong && old->head.source != LEDGER_NONE)
		listing->strong = source_like(imap, old->head.source);
	TRY(listing_all(listing));
	if (will_match && old->head.source == LEDGER_HEADER &&
	    listing->ledger.head.source == LEDGER_NONE)
		listing->ledger.head.source = LEDGER_HEADER;
	if (!*old->head.place)
		return OK;
	matching.unknown = listing->ledger.count;
	matching.lost = old->count;
	if (will_match) {
		TRY(learn_ids(listing));
		TRY(ledger_match(&listing->ledger, old, old_tag, &matching));
	}
	LOG(imap->log, LEVEL_WARN, "imap-uids-matched", log_number("matched", matching.matched),
	    log_number("ambiguous", matching.ambiguous), log_number("unknown", matching.unknown),
	    log_number("lost", matching.lost));
	return OK;
}

/* With uidl= the old UIDLs were made of what the old epoch said; afterwards nobody could. */
static void name_by_format(const struct imap *imap, struct ledger *old)
{
	const struct uidl_format *format = imap->conf.uidl;
	char uidl[UIDL_MAX + 1];

	if (!listing_format_holds(imap, &old->head))
		return;
	for (size_t i = 0; i < old->count; i++) {
		struct ledger_row *row = &old->rows[i];
		struct uidl_parts parts = listing_parts(old, row);
		if (!row->name && uidl_format_write(format, &parts, uidl))
			(void)ledger_set_name(old, row, uidl);
	}
}

struct err listing_new_epoch(struct listing *listing)
{
	struct imap *imap = listing->imap;
	struct ledger old = listing->ledger;

	if (imap->conf.uidvalidity_policy == UIDVALIDITY_REFUSE && *old.head.place && old.count) {
		log_change(listing, LEVEL_ALARM, "imap-uids-changed-refused");
		return ERR(ERR_UPSTREAM, 0,
			   "the mailbox's UIDs have changed: the operator must act");
	}
	if (*old.head.place)
		log_change(listing, LEVEL_WARN, "imap-uids-changed");
	if (!*old.head.tag)
		identity_tag(old.head.tag, imap->conf.host, imap->login.user, imap->conf.folder,
			     old.head.generation);
	name_by_format(imap, &old);
	listing->ledger = (struct ledger){.name = NULL};
	ledger_init(&listing->ledger, old.name);
	ledger_begin_epoch(&listing->ledger, &old, imap->place, imap->uidvalidity);
	identity_tag(listing->ledger.head.tag, imap->conf.host, imap->login.user, imap->conf.folder,
		     listing->ledger.head.generation);
	listing->is_changed = true;
	/* What nobody has ever seen under another name can wait for its record. */
	listing->is_begun = listing->is_at_risk = *old.head.place != '\0';
	if (listing->is_begun)
		imap->client.until_ms = imap->env->ops->now(imap->env) + EPOCH_MS;
	struct err err = list_and_match(listing, &old, old.head.tag);
	ledger_fini(&old);
	return err;
}
