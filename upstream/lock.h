/* SPDX-License-Identifier: MIT */
/* lock.h - one session a maildrop at a time (G-01, G-05), in memory, so that it dies with its
 * holder (G-07). */
#ifndef POPGATE_LOCK_H
#define POPGATE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"

/* All maildrops that are held now. One table a worker. */
struct lock_table;
struct lock;

struct lock_table *lock_table_new(void);
void lock_table_free(struct lock_table *); /* nothing may be held; NULL is fine */

/* Who holds a lock, as far as another who wants it may know. */
struct lock_holder {
	const char *name;   /* the POP3 name, canonical; borrowed while it is held */
	bool is_shared;     /* several that say so may hold the maildrop together (lock=shared) */
	bool is_background; /* no session: it goes for whoever comes, of whatever name (G-08) */
	/* Whether the holder can be sent away now: idle for long, nothing marked, no reply under way
	 * (G-06). It then lets go soon, without UPDATE. */
	bool (*is_idle)(void *arg);
	void (*evict)(void *arg); /* must lead to lock_release() without any more from us */
	void *arg;
};

/* Holds the maildrop `identity` (copied) and gives the lock. While another holds it, waits up to
 * `wait_ms`, and longer, up to `update_wait_ms`, while the holder is in UPDATE (G-05, G-08). A holder
 * that is idle and of the same name, or of the background, is evicted (G-06). Then ERR_IN_USE. */
struct err lock_take(struct lock_table *, const struct env *, const char *identity,
		     const struct lock_holder *, uint64_t wait_ms, uint64_t update_wait_ms,
		     struct lock **out) MUST_USE;

/* The holder has entered UPDATE: worth waiting for. */
void lock_in_update(struct lock *);

/* Whether somebody of that name holds a maildrop. */
bool lock_is_held_by(const struct lock_table *, const char *name);

/* Whether somebody waits for it: background work gives way (G-08). NULL: nobody. */
bool lock_is_wanted(const struct lock *);

/* Gives the maildrop back; NULL is fine. */
void lock_release(struct lock *);

#endif
