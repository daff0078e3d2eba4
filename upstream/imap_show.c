/* SPDX-License-Identifier: MIT */
/* imap_show.c - from what is known to what a client sees: which messages, under which UIDLs, of
 * which sizes. */
#include "upstream/imap_listing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/imap_poison.h"

enum {
	UNKNOWN_OCTETS = 1024, /* the size of a message whose size nobody tells */
	TURN = 4096,           /* rows handed on until other sessions get their turn */
};

bool listing_is_visible(const struct listing *listing, const struct ledger_row *row)
{
	const struct imap *imap = listing->imap;

	if (row->marks & (LEDGER_HIDDEN | LEDGER_PENDING | LEDGER_DELETED))
		return false;
	if (imap_poison_of(imap, row) == POISON_IS_HIDDEN)
		return false;
	if (listing->has_seen && !uids_have(&listing->seen, row->uid))
		return false;
	return !uids_have(&listing->promised, row->uid);
}

struct uidl_parts listing_parts(const struct ledger *ledger, const struct ledger_row *row)
{
	const char *id = ledger_text(ledger, row->id);
	enum ledger_source source = ledger->head.source;

	return (struct uidl_parts){
		.uidvalidity = ledger->head.uidvalidity,
		.uid = row->uid,
		.gm_msgid = id && source == LEDGER_GM_MSGID ? id : "",
		.email_id = id && source == LEDGER_EMAILID ? id : "",
	};
}

bool listing_format_holds(const struct imap *imap, const struct ledger_head *head)
{
	const struct uidl_format *format = imap->conf.uidl;

	if (!format || uidl_is_stable(format))
		return false;
	if (format->needs_gm_msgid || format->needs_email_id)
		return true;
	/* The generation grows when a UIDVALIDITY may come again. */
	return format->needs_uidvalidity ? !head->generation : head->epoch <= 1;
}

/* --- names that must be told apart (E-03) ----------------------------------------------------- */

/* A name that a row has or would have. */
struct claim {
	uint32_t text; /* offset in the texts of the claims */
	uint32_t row;
	enum { IS_GIVEN, IS_WANTED } kind; /* remembered; or by the format, to be had if free */
};

struct claims {
	struct claim *all; /* owned */
	size_t count;
	struct buf texts;
};

static bool add_claim(struct claims *claims, const char *text, size_t row, int kind)
{
	size_t at = buf_len(&claims->texts);

	if (at > UINT32_MAX || !buf_put(&claims->texts, text, strlen(text) + 1))
		return false;
	claims->all[claims->count++] = (struct claim){(uint32_t)at, (uint32_t)row, kind};
	return true;
}

/* Each row's claims: its given name; what the format makes of it. A row with a given name keeps
 * others from the name that it would have had: the name may have been its twin's. */
static struct err make_claims(const struct listing *listing, struct claims *claims)
{
	const struct ledger *ledger = &listing->ledger;
	const struct uidl_format *format = listing->imap->conf.uidl;
	char uidl[UIDL_MAX + 1];

	for (size_t i = 0; i < ledger->count; i++) {
		const struct ledger_row *row = &ledger->rows[i];
		struct uidl_parts parts = listing_parts(ledger, row);
		const char *name = ledger_text(ledger, row->name);
		bool is_made = uidl_format_write(format, &parts, uidl);
		if (!is_made && !name && listing_is_visible(listing, row))
			return ERR(ERR_UPSTREAM, 0, "a message has no id to be named by");
		if ((name && !add_claim(claims, name, i, IS_GIVEN)) ||
		    (is_made && !add_claim(claims, uidl, i, name ? IS_GIVEN : IS_WANTED)))
			return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	}
	return OK;
}

static int by_text(const void *a_, const void *b_, void *texts)
{
	const struct claim *a = a_, *b = b_;
	int order = strcmp((char *)texts + a->text, (char *)texts + b->text);

	if (order)
		return order;
	if (a->kind != b->kind)
		return a->kind == IS_GIVEN ? -1 : 1;
	return (a->row > b->row) - (a->row < b->row);
}

/* The first of equals has the name as it is, the others one that stays when the first goes. */
static bool tell_apart(struct listing *listing, const struct claims *claims)
{
	struct ledger *ledger = &listing->ledger;
	const char *texts = buf_data(&claims->texts);
	char uidl[UIDL_MAX + 1];

	for (size_t i = 1; i < claims->count; i++) {
		const struct claim *claim = &claims->all[i];
		if (claim->kind == IS_GIVEN ||
		    strcmp(texts + claim->text, texts + claim[-1].text) != 0)
			continue;
		struct ledger_row *row = &ledger->rows[claim->row];
		struct uidl_parts parts = listing_parts(ledger, row);
		uidl_suffixed(uidl, texts + claim->text, &parts);
		if (!ledger_set_name(ledger, row, uidl))
			return false;
		listing->is_changed = listing->is_at_risk = true;
	}
	return true;
}

static struct err settle_names(struct listing *listing)
{
	struct ledger *ledger = &listing->ledger;
	struct claims claims = {.all = calloc(2 * ledger->count + 1, sizeof *claims.all)};

	buf_init(&claims.texts, (size_t)1 << 31);
	struct err err = claims.all ? make_claims(listing, &claims)
				    : ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	if (!err.kind) {
		qsort_r(claims.all, claims.count, sizeof *claims.all, by_text,
			buf_data(&claims.texts));
		if (!tell_apart(listing, &claims))
			err = ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	}
	buf_fini(&claims.texts);
	free(claims.all);
	return err;
}

/* --- the edge ------------------------------------------------------------------------------- */

/* newest=: the lowest UID that is shown. It only grows, so that no old message comes back when a
 * newer one is deleted. */
static void settle_edge(struct listing *listing)
{
	struct ledger *ledger = &listing->ledger;
	size_t left = listing->imap->conf.newest;

	if (!left)
		return;
	for (size_t i = ledger->count; i; i--) {
		const struct ledger_row *row = &ledger->rows[i - 1];
		if (row->uid < ledger->head.edge)
			return;
		if (!listing_is_visible(listing, row) || --left)
			continue;
		if (row->uid > ledger->head.edge) {
			ledger->head.edge = row->uid;
			listing->is_changed = listing->is_at_risk = true;
		}
		return;
	}
}

/* Rows that a placeholder stands for, from now on or no longer (H-09). */
static void settle_stubs(struct listing *listing)
{
	struct ledger *ledger = &listing->ledger;

	for (size_t i = 0; i < ledger->count; i++) {
		struct ledger_row *row = &ledger->rows[i];
		bool is_stub = imap_poison_of(listing->imap, row) == POISON_IS_STUB;
		if (is_stub == !!(row->marks & LEDGER_STUB))
			continue;
		row->marks ^= LEDGER_STUB;
		ledger_touch(ledger, row->uid);
		listing->is_changed = true;
	}
}

struct err listing_settle(struct listing *listing)
{
	settle_stubs(listing);
	settle_edge(listing);
	return listing_format_holds(listing->imap, &listing->ledger.head) ? settle_names(listing)
									  : OK;
}

/* --- the maildrop ------------------------------------------------------------------------------ */

/* keep_newest=: see imap->kept_from. */
static uint64_t find_kept(const struct listing *listing)
{
	const struct ledger *ledger = &listing->ledger;
	size_t left = listing->imap->conf.keep_newest;

	if (!left)
		return UINT64_MAX;
	for (size_t i = ledger->count; i; i--) {
		const struct ledger_row *row = &ledger->rows[i - 1];
		bool is_there = !listing->has_seen || uids_have(&listing->seen, row->uid);
		bool waits = row->marks & LEDGER_PENDING && is_there &&
			     !uids_have(&listing->promised, row->uid);
		if ((waits || listing_is_visible(listing, row)) && !--left)
			return row->uid;
	}
	return 0;
}

/* What a client is told of a row. */
static struct err show(const struct listing *listing, struct maildrop *maildrop,
		       const struct ledger_row *row, uint64_t wall)
{
	const struct imap *imap = listing->imap;
	const struct uidl_format *format = imap->conf.uidl;
	const char *name = ledger_text(&listing->ledger, row->name);
	uint64_t octets = row->exact ? row->exact : row->octets, after = imap->conf.delete_after_s;
	/* Of what has failed lately a success is news, though its size is known. */
	unsigned marks = row->exact && !row->failures ? MARK_EXACT : 0;
	char uidl[UIDL_MAX + 1];

	if (!name && listing_format_holds(imap, &listing->ledger.head)) {
		struct uidl_parts parts = listing_parts(&listing->ledger, row);
		if (!uidl_format_write(format, &parts, uidl))
			return ERR(ERR_UPSTREAM, 0, "a message has no id to be named by");
		name = uidl;
	}
	if (!octets || octets > MESSAGE_OCTETS) {
		octets = UNKNOWN_OCTETS;
		marks |= MARK_INEXACT;
	}
	if (imap_poison_of(imap, row) == POISON_IS_STUB) {
		octets = POISON_OCTETS;
		marks = MARK_STUB;
	} else if (row->retrieved_at && after != DELETE_AFTER_NEVER && wall >= row->retrieved_at &&
		   wall - row->retrieved_at >= after) {
		marks |= MARK_DUE;
	}
	return maildrop_add(maildrop, row->uid, octets, name, marks);
}

struct err listing_show(struct listing *listing, struct maildrop *maildrop)
{
	struct imap *imap = listing->imap;
	const struct ledger *ledger = &listing->ledger;
	uint64_t wall = imap->env->ops->wall(imap->env);
	uint32_t edge = imap->conf.newest ? ledger->head.edge : 0;
	struct uids pending = {NULL, 0, 0}, unlearned = {NULL, 0, 0}, resized = {NULL, 0, 0};
	struct err err = OK;

	imap->has_unmeasured = false;
	snprintf(maildrop->prefix, sizeof maildrop->prefix, "%s.%llu", ledger->head.tag,
		 (unsigned long long)ledger->head.uidvalidity);
	maildrop->newest_first = false;
	maildrop_reserve(maildrop, ledger->count);
	for (size_t i = 0; !err.kind && i < ledger->count; i++) {
		const struct ledger_row *row = &ledger->rows[i];
		if (i && i % TURN == 0)
			imap->env->ops->sleep(imap->env, 0);
		bool is_shown = row->uid >= edge && listing_is_visible(listing, row);
		bool is_there = !listing->has_seen || uids_have(&listing->seen, row->uid);
		if (is_there && !row->id && ledger->head.source == LEDGER_HEADER)
			uids_add(&unlearned, row->uid);
		imap->has_unmeasured |= is_shown && !row->exact;
		if (is_there && (row->marks & LEDGER_PENDING) &&
		    !uids_have(&listing->promised, row->uid))
			uids_add(&pending, row->uid);
		if (row->exact && row->failures)
			uids_add(&resized, row->uid);
		if (is_shown)
			err = show(listing, maildrop, row, wall);
	}
	free(imap->resized);
	imap->resized = resized.at;
	imap->resized_len = resized.count;
	free(imap->unlearned);
	imap->unlearned = unlearned.at;
	imap->unlearned_len = unlearned.count;
	free(imap->pending);
	imap->pending = pending.at;
	imap->pending_len = pending.count;
	imap->kept_from = find_kept(listing);
	maildrop->newest_first = imap->conf.newest_first;
	return err.kind ? err : maildrop_seal(maildrop);
}
