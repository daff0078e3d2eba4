/* SPDX-License-Identifier: MIT */
/* imap_warm.h - open mailboxes that outlive their sessions, so that the next poll finds its folder selected
 * (M-09 to M-11).
 *
 * imap_close() parks a mailbox here instead of logging out; imap_open() takes it when the same entry is
 * opened again with the same secret, and asks by one NOOP whether it still lives and what is new. A
 * server that has IDLE is in IDLE meanwhile: if nothing has come from it, and it has proved lately
 * that it lives, nothing is asked at all.
 *
 * A POP3 name has one parked mailbox at most, and that belongs to one login. Of the secret only a keyed hash
 * is kept (B-21). One pool a worker; it lives in memory, and a reload empties it.
 */
#ifndef POPGATE_IMAP_WARM_H
#define POPGATE_IMAP_WARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/log.h"

struct imap;
struct imap_warm;
struct login;
struct upstream_conf;

struct imap_warm_conf {
	uint64_t keep_ms;  /* how long a mailbox is kept; 0: not at all */
	uint64_t fresh_ms; /* how old the newest sign of life may be for nothing to be asked */
	uint64_t
		proof_ms; /* how long a client's own secret counts without the server's word (B-21) */
	size_t most;   /* mailboxes at once: those that were used longest ago go within a moment */
	size_t octets; /* of memory for what is known of their messages, all together */
};

/* Both are borrowed: they outlive the pool. */
struct imap_warm *imap_warm_new(const struct env *, const struct log *,
				const struct imap_warm_conf *);
/* Counts connections together with another worker's pool from now on; nothing was opened yet. */
void imap_warm_share(struct imap_warm *, const struct imap_warm *host);
struct imap_budget;
struct imap_budget *imap_warm_budget(const struct imap_warm *); /* borrowed; NULL for NULL */
void imap_warm_free(struct imap_warm *); /* NULL is fine; nothing is parked any more */
void imap_warm_configure(struct imap_warm *, const struct imap_warm_conf *);

/* The mailbox of this entry and login, if it is here; the caller's from then on, with `conf`, `login` and
 * `log` in place of those it had; it has to be asked whether it lives. NULL: there is none, or the
 * secret is another. A NULL pool has none. */
struct imap *imap_warm_take(struct imap_warm *, const struct upstream_conf *, const struct login *,
			    const struct log *);

/* Parks a mailbox whose session is over: true: it is the pool's. `is_pure`: the session has changed nothing
 * of what is known, so that this holds for the next one. Does not wait. */
bool imap_warm_park(struct imap_warm *, struct imap *, bool is_pure);

/* A mailbox was opened anew: from when on its secret counts, and what is parked for it is closed.
 * Waits. */
void imap_warm_opened(struct imap_warm *, struct imap *);

/* None is taken any more, all are due for their end, and those of sessions that last on will not be parked.
 * Does not wait. */
void imap_warm_drop(struct imap_warm *);

/* The account is in trouble (H-07): what is parked for this name is not taken any more. Does not wait. */
void imap_warm_doubt(struct imap_warm *, const struct upstream_conf *);

/* Closes one of that account (imap_budget.h), if there is any. Waits. */
bool imap_warm_close_one(struct imap_warm *, const char *account);

/* What there is to do for the parked: IDLE begun two seconds after the session, renewed every fresh_ms; a
 * NOOP every four minutes where there is none; the end after keep_ms (H-11). due() gives them one
 * after the other, each for which something is due once, then NULL; after that it begins anew. Until
 * tend() has come back nobody else gets the mailbox. tend() waits. */
struct parked;
struct parked *imap_warm_due(struct imap_warm *);
void imap_warm_tend(struct imap_warm *, struct parked *);

size_t imap_warm_count(const struct imap_warm *);

#endif
