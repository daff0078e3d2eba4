/* SPDX-License-Identifier: MIT */
/* maildrop.h - the snapshot of one session: messages, sizes, UIDLs, deletion marks and their
 * totals.
 *
 * Filled once by a store between maildrop_init() and maildrop_seal(); after that numbers, sizes and
 * UIDLs never change (G-01), only marks do. POP3's message number n is messages[n - 1]. Memory: 16
 * octets a message, its name if the store gave one, and 8 octets for each that came with another size
 * than was shown (L-07).
 *
 * Invariants after seal: messages ascend by uid, or descend if newest_first; no two have the same
 * UIDL; `count` and `octets` cover exactly the messages without a deletion mark.
 */
#ifndef POPGATE_MAILDROP_H
#define POPGATE_MAILDROP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"

enum {
	UIDL_MAX = 70,                /* octets, RFC 1939 section 7 */
	MAILDROP_MESSAGES = 10000000, /* the most a snapshot holds */
};

enum message_mark {
	MARK_DELETED = 1,   /* DELE */
	MARK_RETRIEVED = 2, /* RETR ended in its dot (C-19) */
	MARK_INEXACT = 4,   /* the size is a guess (C-06) */
	MARK_MEASURED = 8,  /* it came whole, and its octets were counted: maildrop_measured() */
	MARK_EXACT = 16,    /* the size that is shown was measured once (F-07) */
	MARK_DUE = 32,      /* to be deleted at QUIT without a DELE (delete_after=) */
	MARK_STUB = 64,     /* a placeholder stands for it: DELE hides it, no more (H-09) */
};

/* The largest size of a message: 72 petabytes. */
#define MESSAGE_OCTETS ((UINT64_C(1) << 56) - 1)

struct message {
	uint64_t octets : 56; /* with CRLF line ends, without dot-stuffing */
	uint8_t marks;        /* enum message_mark */
	uint32_t uid;         /* the store's own number; IMAP: the UID. Unique in the maildrop */
	uint32_t name;        /* offset of the store's own name in `names`, 0: none. Maildir: the
				 base name */
};
_Static_assert(sizeof(struct message) == 16, "a maildrop of a million messages takes 16 MB");

/* The message with that uid has so many octets more, or less, than are shown. */
struct measure {
	uint32_t uid;
	int32_t more;
};

struct maildrop {
	struct message *messages; /* owned */
	size_t total, room;       /* messages in the array; allocated */
	struct measure *measures; /* owned, ascending by uid */
	size_t measured, measures_room;
	struct buf names;      /* NUL ended strings; octet 0 stands for "none" */
	char prefix[UIDL_MAX]; /* UIDL of a message without a name: prefix, ".", uid */
	size_t count;          /* without those marked deleted */
	uint64_t octets;       /* their sum */
	size_t marked;         /* those marked deleted */
	bool newest_first;     /* set by a store before the seal: the highest uid is number 1 */
};

void maildrop_init(struct maildrop *);
void maildrop_fini(struct maildrop *); /* a zeroed struct is fine */

/* For stores. So many messages are about to be added: a large maildrop need not grow step by step. */
void maildrop_reserve(struct maildrop *, size_t count);

/* For stores. Adds a message; `name` (or NULL) is copied; with a name the name is the UIDL, so it
 * must be 1 to 70 octets of 0x21-0x7E (E-01), else ERR_UPSTREAM. ERR_UPSTREAM too beyond
 * MAILDROP_MESSAGES or MESSAGE_OCTETS, or when memory is out. */
struct err maildrop_add(struct maildrop *, uint32_t uid, uint64_t octets, const char *name,
			unsigned marks) MUST_USE;

/* For stores. Ends the filling: sorts by uid, sums up, gives back what is not needed. ERR_UPSTREAM if two messages have the same
 * uid or the same UIDL (C-05, E-03). */
struct err maildrop_seal(struct maildrop *) MUST_USE;

/* Message `number` (1 ... total), NULL if there is none or it is marked deleted. Borrowed from the
 * maildrop. */
struct message *maildrop_get(const struct maildrop *, uint64_t number);

/* The store's own name of a message, NULL if it has none. Borrowed from the maildrop. */
const char *maildrop_name(const struct maildrop *, const struct message *);

/* Writes the UIDL, NUL ended. Returns its length. */
size_t maildrop_uidl(const struct maildrop *, const struct message *, char out[UIDL_MAX + 1]);

static inline bool message_is_deleted(const struct message *msg)
{
	return msg->marks & MARK_DELETED;
}

/* Marks a message that maildrop_get() gave as deleted. */
void maildrop_delete(struct maildrop *, struct message *);

/* The message came whole and has really `octets` octets (F-07). What is shown does not change (G-01);
 * a store remembers it for the next session: MARK_MEASURED, and maildrop_measured(). Nothing if it is
 * off by 2 GiB or more. */
void maildrop_measure(struct maildrop *, struct message *, uint64_t octets);
/* Octets that a message really has if it was measured, else those that are shown. */
uint64_t maildrop_measured(const struct maildrop *, const struct message *);

/* The message with that uid, NULL if there is none. For stores. */
struct message *maildrop_find(const struct maildrop *, uint32_t uid);

/* RSET: takes all deletion marks and all marks of retrieval back (C-15). */
void maildrop_reset(struct maildrop *);

#endif
