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

/* Holds the maildrop `identity` (copied) and gives the lock. While another holds it, waits up to
 * `wait_ms`, and longer, up to `update_wait_ms`, while the holder is in UPDATE (G-05, G-08); then
 * ERR_IN_USE. */
struct err lock_take(struct lock_table *, const struct env *, const char *identity,
		     uint64_t wait_ms, uint64_t update_wait_ms, struct lock **out) MUST_USE;

/* The holder has entered UPDATE: worth waiting for. */
void lock_in_update(struct lock *);

/* Gives the maildrop back; NULL is fine. */
void lock_release(struct lock *);

#endif
