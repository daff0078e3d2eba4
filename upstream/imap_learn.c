/* SPDX-License-Identifier: MIT */
/* imap_learn.c - what a session leaves behind in the ledger when its client has gone: sizes that
 * were measured, what was retrieved, what could not be had, and what messages will be recognised by.
 *
 * Nobody waits for any of it. What fails here is tried again by a later session. */
#include "upstream/imap_listing.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

enum {
	LEARN_MS = 10000,        /* of a session's end, at most */
	LEARN_OCTETS = 4 << 20,  /* of headers */
	MEASURED_AT_ONCE = 1000, /* messages measured at a session's end */
};

/* A size measured after the client had gone. */
struct measured {
	uint32_t uid;
	uint64_t octets;
};

struct leaving {
	struct imap *imap;
	const struct maildrop *maildrop;
	uint64_t wall;
	struct measured *measured; /* owned; ascending by UID */
	size_t measured_len;
};

/* --- what the session has seen ------------------------------------------------------------------ */

static bool has_failed(const struct imap *imap, uint32_t uid)
{
	for (size_t i = 0; i < imap->failed_len; i++)
		if (imap->failed[i] == uid)
			return true;
	return false;
}

static int by_uid(const void *a, const void *b)
{
	uint32_t one = ((const struct measured *)a)->uid, two = ((const struct measured *)b)->uid;

	return (one > two) - (one < two);
}

static void change_row(void *arg, struct ledger *ledger, struct ledger_row *row)
{
	const struct leaving *leaving = arg;
	const struct imap *imap = leaving->imap;
	const struct message *msg = maildrop_find(leaving->maildrop, row->uid);
	const struct measured key = {.uid = row->uid};
	const struct measured *later = leaving->measured_len
					       ? bsearch(&key, leaving->measured,
							 leaving->measured_len, sizeof key, by_uid)
					       : NULL;

	(void)ledger;
	if (later)
		row->exact = later->octets;
	if (msg && (msg->marks & MARK_MEASURED)) {
		row->exact = maildrop_measured(leaving->maildrop, msg);
		row->failures = 0;
		row->failed_at = 0;
	} else if (has_failed(imap, row->uid)) {
		if (row->failures < UINT8_MAX)
			row->failures++;
		if (!row->failed_at)
			row->failed_at = ledger_date(leaving->wall);
	}
	if (msg && imap->is_quit && (msg->marks & MARK_RETRIEVED) && !row->retrieved_at)
		row->retrieved_at = ledger_date(leaving->wall);
}

/* Whether the session knows something of the message that the ledger may not. */
static bool is_news(const struct imap *imap, const struct maildrop *drop, const struct message *msg)
{
	bool is_kept = !(message_is_deleted(msg) && imap->is_quit);
	bool is_measured =
		(msg->marks & MARK_MEASURED) &&
		(!(msg->marks & MARK_EXACT) || maildrop_measured(drop, msg) != msg->octets);
	bool is_dated = imap->is_quit && (msg->marks & MARK_RETRIEVED) &&
			!(msg->marks & MARK_STUB) &&
			imap->conf.delete_after_s != DELETE_AFTER_NEVER;

	return is_kept && (is_measured || is_dated);
}

static void keep_news(struct leaving *leaving)
{
	struct imap *imap = leaving->imap;
	const struct maildrop *maildrop = leaving->maildrop;
	struct uids uids = {NULL, 0, 0};

	for (size_t i = 0; i < maildrop->total; i++)
		if (is_news(imap, maildrop, &maildrop->messages[i]))
			uids_add(&uids, maildrop->messages[i].uid);
	for (size_t i = 0; i < imap->failed_len; i++)
		uids_add(&uids, imap->failed[i]);
	for (size_t i = 0; i < leaving->measured_len; i++)
		uids_add(&uids, leaving->measured[i].uid);
	(void)uids_sort(&uids);
	struct err err = OK;
	if (uids.count)
		err = ledger_change(imap->conf.state, imap->env, imap->conf.name, imap->epoch,
				    uids.at, uids.count, change_row, leaving);
	if (err.kind)
		log_err(imap->log, LEVEL_WARN, "ledger-not-saved", err);
	uids_fini(&uids);
}

/* --- what can be learned now --------------------------------------------------------------------- */

/* The rest of sizes=exact (F-07): each is measured once. */
static void measure_rest(struct leaving *leaving, const struct ids_budget *budget)
{
	struct imap *imap = leaving->imap;
	const struct maildrop *maildrop = leaving->maildrop;

	for (size_t i = 0; i < maildrop->total && leaving->measured_len < MEASURED_AT_ONCE; i++) {
		const struct message *msg = &maildrop->messages[i];
		unsigned known = MARK_EXACT | MARK_MEASURED | MARK_STUB | MARK_DELETED;
		uint64_t octets;
		bool is_time = imap->env->ops->now(imap->env) < budget->until_ms &&
			       !(budget->is_wanted && budget->is_wanted(budget->arg));
		if (!is_time || !imap_client_is_alive(&imap->client))
			break;
		if (msg->marks & known)
			continue;
		struct err err = imap_measure(imap, msg->uid, msg->octets, &octets);
		if (err.kind || !octets)
			continue;
		leaving->measured = mem_resize(leaving->measured, leaving->measured_len + 1,
					       sizeof *leaving->measured);
		leaving->measured[leaving->measured_len++] = (struct measured){msg->uid, octets};
	}
	if (leaving->measured_len)
		qsort(leaving->measured, leaving->measured_len, sizeof *leaving->measured, by_uid);
}

/* What messages will be recognised by, should their UIDs change. */
static void learn_ids(struct leaving *leaving, struct ids_budget *budget)
{
	struct imap *imap = leaving->imap;
	struct ledger ledger;
	size_t learned = 0;
	bool is_stale = false;

	ledger_init(&ledger, imap->conf.name);
	struct err err = ledger_load(&ledger, imap->conf.state, imap->env);
	if (!err.kind && ledger.head.epoch == imap->epoch && ledger.head.source == LEDGER_HEADER) {
		err = imap_learn_headers(imap, &ledger, budget, &learned);
		if (err.kind)
			log_err(imap->log, LEVEL_NOTE, "imap-learning-ended", err);
		err = ledger.dirty_count
			      ? ledger_save(&ledger, imap->conf.state, imap->env, &is_stale)
			      : OK;
	}
	if (err.kind)
		log_err(imap->log, LEVEL_WARN, "ledger-not-saved", err);
	else if (learned)
		LOG(imap->log, LEVEL_DEBUG, "imap-learned", log_number("messages", learned));
	ledger_fini(&ledger);
}

void imap_learn(struct imap *imap, const struct maildrop *maildrop,
		bool (*is_wanted)(const void *arg), const void *arg)
{
	const struct env *env = imap->env;
	struct leaving leaving = {.imap = imap, .maildrop = maildrop, .wall = env->ops->wall(env)};
	/* What is only hidden must be recognised for as long as it is there. */
	bool is_gone =
		imap->is_quit && imap->conf.delete_policy != DELETE_HIDE && !imap->conf.keep_newest;
	struct ids_budget budget = {
		.octets = LEARN_OCTETS,
		.until_ms = env->ops->now(env) + LEARN_MS,
		.is_wanted = is_wanted,
		.arg = arg,
		.shown = maildrop,
		.without_deleted = is_gone,
	};
	bool is_any_left = !is_gone || maildrop->count;
	/* And for that a connection is made, if it was lost. */
	bool is_due = imap->is_quit && !is_gone && maildrop->marked && imap->unlearned_len;
	bool is_able = (imap_client_is_alive(&imap->client) || is_due) && !imap->is_void;

	if (is_able)
		is_able = !imap_ready(imap, NULL).kind;
	imap->client.until_ms = budget.until_ms;
	imap->is_bounded = true;
	if (is_able && imap->conf.measure_sizes && imap->has_unmeasured)
		measure_rest(&leaving, &budget);
	keep_news(&leaving);
	if (is_able && imap_client_is_alive(&imap->client) && imap->unlearned_len && is_any_left)
		learn_ids(&leaving, &budget);
	imap->is_bounded = false;
	free(leaving.measured);
}
