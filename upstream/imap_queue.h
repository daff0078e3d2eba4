/* SPDX-License-Identifier: MIT */
/* imap_queue.h - commands under way over the open folder: FETCHes of messages and parts, and the STOREs
 * of \Seen between them.
 *
 * Each was sent, and its reply stays in the socket until its turn comes: imap_queue_take() reads the
 * first in line, in the order in which they were sent, or one that is more urgent. A server may answer in another order (RFC 9051
 * section 5.5). Every body is tied to its command by its UID (G-02), and no UID is in line twice; what
 * comes before its turn is held if it is small, else thrown away, and its message is asked for again. So
 * the order of the replies never changes what a client gets.
 *
 * The queue belongs to one connection. Whoever sends anything else over it empties the queue before:
 * imap_queue_settle().
 */
#ifndef POPGATE_IMAP_QUEUE_H
#define POPGATE_IMAP_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/err.h"
#include "upstream/imap_wire.h"
#include "upstream/maildrop.h"

struct imap;
struct part;

enum {
	/* Octets. More are not read to be thrown away: the connection is (F-15). */
	QUEUE_WASTE = 256 << 10,
	/* A larger message stands behind no other. */
	QUEUE_LARGE = 128 << 10,
	/* Of bodies that came before their turn. Dovecot works at four commands at once: three. */
	QUEUE_HELD = 3 * QUEUE_LARGE,
	QUEUE_SETTLE_MS = 5000, /* no longer is read what nobody wants */
	QUEUE_MUST_MS = 30000,  /* nor this, where the connection is not to be lost for it */
};

/* What one FETCH is to bring. */
struct want {
	uint32_t uid;
	uint64_t from, octets; /* the part; octets UINT64_MAX: all there is */
	uint64_t size;         /* octets that will probably come */
};

/* A command under way, and what has come of its reply. */
struct queued {
	int tag;
	struct want want;     /* uid 0: a STORE */
	bool has_begun;       /* the body */
	bool has_origin;      /* labelled as a part */
	uint64_t origin;      /* of that part */
	uint64_t octets, got; /* of the body: announced; come */
	bool is_closed;       /* the FETCH reply with our UID and the body ended */
	bool is_nil;          /* the body was NIL */
	bool is_spoilt;       /* octets of it were thrown away */
	char *held;           /* owned: `got` octets that came before their turn; NULL: none */
	struct wire_status *status; /* owned: the tagged reply, if that came before its turn */
};

/* Who wants a body. */
struct imap_reader {
	/* The body begins: has_begun, has_origin, origin and octets are known. */
	void (*begin)(struct imap_reader *, const struct queued *);
	/* Octets of it; false ends the transfer, and with it the connection. */
	bool (*take)(struct imap_reader *, const char *octets, size_t len);
};

/* Whether a body reply on this connection has told the UID before the octets. */
enum imap_fitness { FITNESS_UNKNOWN, FITNESS_GOOD, FITNESS_NONE };

struct imap_queue {
	struct queued *at; /* owned, in the order sent; NULL while there is none */
	size_t count, room;
	size_t held;    /* octets */
	uint64_t waste; /* octets that may yet be thrown away */
	bool is_settling;
	enum imap_fitness fitness;
};

/* What a part of a message is to bring. */
struct want imap_want(const struct message *, const struct part *);

/* Puts a FETCH, or a STORE of \Seen, in line; it leaves with the next imap_queue_take() or a flush. The
 * connection must be in step, and the UID of a FETCH not in line. */
struct err imap_queue_fetch(struct imap *, const struct want *) MUST_USE;
struct err imap_queue_seen(struct imap *, uint32_t uid) MUST_USE;

/* Reads what is in line for a UID, or with 0 the first in line, up to its tagged reply; *out is what came,
 * for queued_fini() in any case. OK: imap_wire_status() has the tagged reply, and if it is spoilt the body
 * is to be asked for again. `reader` may be NULL: nothing of it is wanted. On an error the connection is
 * lost. */
struct err imap_queue_take(struct imap *, uint32_t uid, struct imap_reader *,
			   struct queued *out) MUST_USE;
void queued_fini(struct queued *);

/* If it is in line, takes what stands before it, so that it is the first. False: it is not, or that would
 * be too much, or the connection is not as it should be: call imap_ready(). */
bool imap_queue_reach(struct imap *, const struct want *);

/* Whether all that is in line can wait, held, while the next range of a message is asked for and read before
 * it. */
bool imap_queue_can_wait(const struct imap *, const struct want *);

/* Whether a UID is in line; the FETCHes in line and their octets, but for that of `uid`. */
bool imap_queue_has(const struct imap *, uint32_t uid);
size_t imap_queue_fetches(const struct imap *, uint32_t uid, uint64_t *octets);

/* Empties the queue: reads all replies and throws them away, or kills the connection if more than `most`
 * octets are due or it takes too long. With a STORE in line it is always read. */
void imap_queue_settle(struct imap *, uint64_t most);

/* Frees; nothing is sent or read. */
void imap_queue_fini(struct imap *);

#endif
