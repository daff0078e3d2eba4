/* SPDX-License-Identifier: MIT */
/* imap_promise.h - what a QUIT promises, and by what the promise outlives a change of all UIDs.
 *
 * A promised deletion is written into the journal before anything is deleted (D-09). Should it wait
 * there while UIDVALIDITY changes, its message must be recognised under its new UID, by the strong id
 * that the listing brought or by the hash of a few header fields (E-04). Those hashes are learned when a
 * session has ended, but of new messages that the session deletes nothing is learned then. So it listens:
 * the header goes by in front of each message that is fetched. imap_heard.c remembers what it said.
 */
#ifndef POPGATE_IMAP_PROMISE_H
#define POPGATE_IMAP_PROMISE_H

#include "proxy/base/sink.h"
#include "upstream/imap.h"
#include "upstream/journal.h"

/* UIDs of one fate, ascending. */
struct uid_list {
	uint32_t *at; /* owned */
	size_t count;
};

/* A sink in front of another: hands everything on and keeps the first header. */
struct listener {
	struct sink sink;  /* first */
	struct sink *next; /* borrowed */
	char *head;        /* owned: octets from the message's first on; NULL: nobody wants them */
	size_t len;
	bool is_whole; /* the header's end is among them */
};

/* imap_heard.c. Begins to listen if `uid` is one that cannot be recognised yet and `part` begins at its
 * first octet; `next` gets all octets in any case. */
void listener_init(struct listener *, const struct imap *, uint32_t uid, const struct part *part,
		   struct sink *next);
/* What was heard is remembered if the transfer was `is_good`. */
void listener_fini(struct listener *, struct imap *, uint32_t uid, bool is_good);

/* imap_heard.c. identity_of_header() of a message, NULL if this session has not heard it. Borrowed. */
const char *imap_heard_id(const struct imap *, uint32_t uid);

/* imap_heard.c. Asks for the headers of those in `list` that cannot be recognised yet and were not heard:
 * one flight, if they are few, before `until_ms`. What fails is not learned. */
void imap_hear_marked(struct imap *, const struct uid_list *list, uint64_t until_ms);

/* imap_promise.c. Writes down what is promised, of `list`, whose order it keeps. Only then may anything be
 * deleted. The journal is the caller's to end. */
struct err imap_promise(struct imap *, const struct maildrop *, const struct uid_list *list,
			struct journal *) MUST_USE;

/* imap_promise.c. Removes what waited (LEDGER_PENDING) and waits no more, for enough newer messages have
 * come (keep_newest=) or all UIDs have changed: promised anew, and done as far as time permits; the rest
 * is for the next replay. Called by imap_list() at its end. imap->pending is what still waits. */
void imap_remove_pending(struct imap *, const struct maildrop *, uint64_t until_ms);

#endif
