/* SPDX-License-Identifier: MIT */
/* promise.h - what POP3 has promised to whom: the reference that the gateway is measured by.
 *
 * A mail is known by its id on the model server, whatever folders and UIDs it has been under. For each
 * POP3 name the book keeps which UIDL the mail was listed with, whether a QUIT has confirmed its
 * deletion, and whether that was answered with +OK.
 */
#ifndef POPGATE_SOAK_PROMISE_H
#define POPGATE_SOAK_PROMISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROMISE_NAMES = 2 };

struct promise_mail {
	bool was_shown;   /* in the last listing */
	uint64_t came_at; /* wall clock, s: first whole RETR that a QUIT confirmed; 0: never */
	char *uidl;       /* owned: what it was last listed with; NULL: may be any new one */
	bool is_learned;  /* a session without trouble has ended with it in the list: it can be
				recognised from now on */
	bool is_heard;    /* the session that it came whole to has deleted it: so can the promise */
	bool is_confirmed; /* DELE and QUIT: from now on it may be removed */
	bool is_promised;  /* and +OK was the answer: it must never be shown again */
	bool is_weak;      /* UIDs changed before it was learned: it need not be removed any more */
	bool is_renumbered;  /* likewise: it may even be shown again */
	bool is_failed;      /* a QUIT was answered with -ERR, or nobody heard the answer */
	bool is_hidden_only; /* a placeholder stood for it: hidden, not removed */
};

/* A UIDL that was given out, for ever. */
struct promise_given {
	char *uidl; /* owned */
	uint64_t id;
};

struct promise_name {
	struct promise_mail *mails; /* owned; by id */
	size_t room;
	struct promise_given *given; /* owned */
	size_t given_count, given_room;
};

struct promise {
	struct promise_name names[PROMISE_NAMES];
};

void promise_fini(struct promise *);

/* Borrowed until the next call. */
struct promise_mail *promise_of(struct promise *, unsigned name, uint64_t id);

/* The mail is listed with this UIDL. NULL, or the rule that this breaks. `is_old`: in a listing from
 * before all UIDs changed, which tells nothing about the next one. */
const char *promise_uidl(struct promise *, unsigned name, uint64_t id, const char *uidl,
			 bool is_old);

/* All UIDs mean something else now. What was not learned may get new UIDLs. */
void promise_renumbered(struct promise *);

/* Whether anybody has confirmed its deletion. */
bool promise_may_remove(struct promise *, uint64_t id);

#endif
