/* SPDX-License-Identifier: MIT */
/* imap_heard.c - headers that went by in a session, so that what it deletes can be recognised (E-04).
 *
 * Only for messages that stay nameless otherwise: what the session leaves in the mailbox is asked for
 * in the way in which it will be asked for again (imap_ids.c), for some servers write the same header
 * differently in the message and by itself. */
#include "upstream/imap_promise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/imap_listing.h"

enum {
	HEAD_MOST = 64 << 10,  /* octets: no header is listened to for longer */
	HEARD_MOST = 20000,    /* messages of a session */
	ASKED_MOST = 1000,     /* messages whose headers are asked for at QUIT */
	ASKED_OCTETS = 1 << 20 /* of such headers */
};

/* The first place of the sorted `heard` whose UID is not below `uid`. */
static size_t place_of(const struct imap *imap, uint32_t uid)
{
	size_t low = 0, high = imap->heard_len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (imap->heard[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const char *imap_heard_id(const struct imap *imap, uint32_t uid)
{
	size_t at = place_of(imap, uid);

	return at < imap->heard_len && imap->heard[at].uid == uid ? imap->heard[at].id : NULL;
}

static void note(struct imap *imap, uint32_t uid, const char *id)
{
	size_t at = place_of(imap, uid);

	if (imap->heard_len == HEARD_MOST || imap_heard_id(imap, uid))
		return;
	imap->heard = mem_resize(imap->heard, imap->heard_len + 1, sizeof *imap->heard);
	memmove(imap->heard + at + 1, imap->heard + at,
		(imap->heard_len - at) * sizeof *imap->heard);
	imap->heard[at] = (struct heard){.uid = uid};
	snprintf(imap->heard[at].id, sizeof imap->heard[at].id, "%s", id);
	imap->heard_len++;
}

static bool is_wanted(const struct imap *imap, uint32_t uid)
{
	const struct uids unlearned = {imap->unlearned, imap->unlearned_len, 0};

	return uids_have(&unlearned, uid) && !imap_heard_id(imap, uid);
}

/* --- a message goes by ------------------------------------------------------------------------- */

/* Whether an empty line ends the header; its line ends are as the server has them. */
static bool has_end(const char *head, size_t len)
{
	const char *at = head, *end = head + len, *lf;

	while ((lf = memchr(at, '\n', (size_t)(end - at)))) {
		at = lf + 1;
		if (at < end && *at == '\r')
			at++;
		if (at < end && *at == '\n')
			return true;
	}
	return false;
}

static struct err listen(struct sink *sink, const void *octets, size_t len)
{
	struct listener *listener = (struct listener *)sink;
	size_t room = HEAD_MOST - listener->len, taken = len < room ? len : room;

	listener->next->announced_octets = sink->announced_octets;
	if (listener->head && !listener->is_whole && taken) {
		listener->head = mem_resize(listener->head, listener->len + taken, 1);
		/* A line end may lie on both sides of a joint. */
		size_t from = listener->len > 3 ? listener->len - 3 : 0;
		memcpy(listener->head + listener->len, octets, taken);
		listener->len += taken;
		listener->is_whole = has_end(listener->head + from, listener->len - from);
	}
	return listener->next->put(listener->next, octets, len);
}

void listener_init(struct listener *listener, const struct imap *imap, uint32_t uid,
		   const struct part *part, struct sink *next)
{
	bool listens = !part->from && is_wanted(imap, uid);

	*listener = (struct listener){
		.sink = {listen, next->announced_octets},
		.next = next,
		.head = listens ? mem_alloc(1) : NULL,
	};
}

void listener_fini(struct listener *listener, struct imap *imap, uint32_t uid, bool is_good)
{
	char id[IDENTITY_HASH + 1];

	if (listener->head && listener->is_whole && is_good &&
	    identity_of_header(id, listener->head, listener->len))
		note(imap, uid, id);
	free(listener->head);
}

/* --- the rest is asked for --------------------------------------------------------------------- */

/* Rows for those that are wanted; the ledger is used as a list only. False: there are none, or too many
 * for somebody who waits. */
static bool gather(const struct imap *imap, const struct uid_list *list, struct ledger *ledger)
{
	for (size_t i = 0; i < list->count && ledger->count <= ASKED_MOST; i++)
		if (is_wanted(imap, list->at[i]) && !ledger_row(ledger, list->at[i]))
			return false;
	return ledger->count && ledger->count <= ASKED_MOST;
}

void imap_hear_marked(struct imap *imap, const struct uid_list *list, uint64_t until_ms)
{
	struct ids_budget budget = {.octets = ASKED_OCTETS, .until_ms = until_ms};
	struct ledger ledger;
	size_t learned = 0;

	ledger_init(&ledger, imap->conf.name ? imap->conf.name : "");
	if (gather(imap, list, &ledger) && !imap_ready(imap, NULL).kind) {
		imap->client.until_ms = until_ms;
		struct err err = imap_learn_headers(imap, &ledger, &budget, &learned);
		imap->client.until_ms = 0;
		if (err.kind)
			log_err(imap->log, LEVEL_NOTE, "imap-learning-ended", err);
	}
	for (size_t i = 0; learned && i < ledger.count; i++) {
		const char *id = ledger_text(&ledger, ledger.rows[i].id);
		/* What has neither Message-ID nor Date got an id that is no hash. */
		if (id && *id != '?')
			note(imap, ledger.rows[i].uid, id);
	}
	ledger_fini(&ledger);
}
