/* SPDX-License-Identifier: MIT */
/* imap_ahead.h - reading ahead: messages are asked for before the client asks (M-12).
 *
 * Two things tell what will be wanted. The client may have said so already, and its lines wait in our
 * input: announce(). Or it goes through the maildrop in order, RETR by RETR or TOP by TOP: then the
 * window of what is asked for ahead grows with each guess that was right, 1, 2, 4, ... Either way there is
 * a limit to what is under way beyond the one that is read, and it waits in the socket (imap_queue.h): no
 * memory of ours is spent, and a client that goes elsewhere costs no more than that. What is larger than
 * AHEAD_OCTETS is not read ahead, nor is anything behind it. What is larger than QUEUE_LARGE is asked
 * for when all before it has been read, so that it cannot come too early.
 *
 * Only over a connection whose first body reply has told its UID before the octets, so that whatever
 * comes has an owner; never where a server makes up bodies, and not again in a session in which the
 * server has answered BAD or asked for patience, was silent, or has hung up twice. One that has sent more in an order of its own than can
 * be held is asked for no more than that from then on.
 *
 * What was read ahead is not retrieved: no \Seen, no mark, no header is heard, until the client has it
 * (C-19, D-16).
 */
#ifndef POPGATE_IMAP_AHEAD_H
#define POPGATE_IMAP_AHEAD_H

#include "upstream/imap_queue.h"

struct announced;
struct upstream;

enum {
	AHEAD_OCTETS = 1 << 20, /* of all messages that are guessed, the one that is read apart */
	AHEAD_ASKED = 4 << 20,  /* of all, where the client has asked for them */
	AHEAD_MOST = 256,       /* of them */
	AHEAD_LOSSES = 2,       /* of connections on which more than one command was under way */
};

struct imap_ahead {
	bool is_off;            /* for the rest of the session */
	bool is_narrow;         /* likewise no more than can be held (QUEUE_HELD) */
	bool is_off_for_parts;  /* the server sends whole messages in their place */
	bool has_begun;         /* the client has fetched something */
	unsigned losses;        /* see AHEAD_LOSSES */
	unsigned window;        /* messages to be guessed; 0: the client is not going in order */
	size_t last;            /* index of the message that was fetched last */
	uint64_t from, octets;  /* and the part of it, as in struct want */
	struct want *announced; /* owned */
	size_t announced_count;
};

/* See struct upstream_ops. */
void imap_announce(struct upstream *, const struct maildrop *, const struct announced *,
		   size_t count);

/* The client fetches `want`: notes whether it goes in order. `is_hit`: it was under way. */
void imap_ahead_note(struct imap *, const struct maildrop *, const struct want *, bool is_hit);

/* Puts in line what will be wanted behind `want`, as far as it may be. A connection that is lost in that
 * shows itself at the next imap_queue_take(). */
void imap_ahead_fill(struct imap *, const struct maildrop *, const struct want *);

/* The same at once, if nothing is under way: behind `want`, which has come; it was the first, and has shown
 * what the server can, or the next one is large. */
void imap_ahead_begin(struct imap *, const struct maildrop *, const struct want *);

/* From now on nothing else is under way: replies that are due are read and thrown away, if at most
 * QUEUE_WASTE octets, else the connection is lost, and imap_ready() makes another (F-15); one that
 * nothing can replace is read in any case. Whoever says
 * something over the connection without imap_ready() calls this first; imap_ready() does. */
void imap_ahead_drop(struct imap *);

void imap_ahead_fini(struct imap *);

#endif
