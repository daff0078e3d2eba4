/* SPDX-License-Identifier: MIT */
/* lock.c - one session a maildrop at a time.
 *
 * A lock is an entry in its worker's table and nothing else: no file, no process to ask. Who waits
 * looks again every 50 ms; holders give back so seldom, and waiters are so few, that waking them
 * one by one would be more code and no gain.
 */
#include "upstream/lock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum {
	BUCKETS = 1024,
	LOOK_MS = 50,      /* between two looks at a lock that is held */
	FIRST_LOOK_MS = 5, /* the same in the first 50 ms: mostly a session that is just ending */
};

struct lock {
	struct lock *next;        /* in its bucket */
	struct lock_table *table; /* borrowed: outlives all locks */
	struct lock_holder holder;
	bool is_in_update;
	bool is_evicted; /* it was told to go */
	char identity[]; /* NUL ended */
};

/* Somebody who waits; lives as long as lock_take() runs. */
struct waiter {
	const char *identity; /* borrowed */
	struct waiter *next;
};

struct lock_table {
	struct lock *buckets[BUCKETS];
	struct waiter *waiters;
};

struct lock_table *lock_table_new(void)
{
	return mem_alloc(sizeof(struct lock_table));
}

void lock_table_free(struct lock_table *table)
{
	for (size_t i = 0; table && i < BUCKETS; i++)
		assert(!table->buckets[i]);
	free(table);
}

static struct lock **bucket_of(struct lock_table *table, const char *identity)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *identity; identity++)
		hash = (hash ^ (unsigned char)*identity) * 16777619u;
	return &table->buckets[hash % BUCKETS];
}

static struct lock *find(struct lock *lock, const char *identity)
{
	while (lock && strcmp(lock->identity, identity))
		lock = lock->next;
	return lock;
}

/* The first one behind `lock` that does not let `who` in; NULL: none. */
static struct lock *find_rival(struct lock *lock, const char *identity,
			       const struct lock_holder *who)
{
	while ((lock = find(lock, identity)) && lock->holder.is_shared && who->is_shared)
		lock = lock->next;
	return lock;
}

/* An idle holder of the same name goes: most likely it is the client that asks again, behind a
 * connection that broke without a word (G-06). What is done without a client goes for any. */
static void evict_if_idle(struct lock *rival, const struct lock_holder *who)
{
	const struct lock_holder *holder = &rival->holder;

	if (rival->is_evicted || who->is_background || !holder->is_idle ||
	    (!holder->is_background && strcmp(holder->name, who->name) != 0) ||
	    !holder->is_idle(holder->arg))
		return;
	rival->is_evicted = true;
	holder->evict(holder->arg);
}

/* Waits once for a rival to let go; ERR_IN_USE if the time is up. */
static struct err wait_for(struct lock *rival, const struct env *env, uint64_t waited_ms,
			   uint64_t wait_ms, uint64_t update_wait_ms)
{
	uint64_t limit_ms = wait_ms;

	if (rival->is_in_update && update_wait_ms > wait_ms)
		limit_ms = update_wait_ms;
	if (waited_ms >= limit_ms)
		return ERR(ERR_IN_USE, EBUSY, "maildrop is in use by another session");
	uint64_t left_ms = limit_ms - waited_ms;
	uint64_t look_ms = waited_ms < LOOK_MS ? FIRST_LOOK_MS : LOOK_MS;
	env->ops->sleep(env, left_ms < look_ms ? left_ms : look_ms);
	return OK;
}

struct err lock_take(struct lock_table *table, const struct env *env, const char *identity,
		     const struct lock_holder *who, uint64_t wait_ms, uint64_t update_wait_ms,
		     struct lock **out)
{
	struct lock **bucket = bucket_of(table, identity);
	uint64_t since_ms = env->ops->now(env);
	struct waiter *waiter = mem_alloc(sizeof *waiter);
	struct err err = OK;
	struct lock *rival;

	*out = NULL;
	*waiter = (struct waiter){.identity = identity, .next = table->waiters};
	table->waiters = waiter;
	while (!err.kind && (rival = find_rival(*bucket, identity, who))) {
		evict_if_idle(rival, who);
		err = wait_for(rival, env, env->ops->now(env) - since_ms, wait_ms, update_wait_ms);
	}
	struct waiter **at = &table->waiters;
	while (*at != waiter)
		at = &(*at)->next;
	*at = waiter->next;
	free(waiter);
	if (err.kind)
		return err;
	size_t size = strlen(identity) + 1;
	struct lock *lock = mem_alloc(sizeof *lock + size);
	memcpy(lock->identity, identity, size);
	lock->table = table;
	lock->holder = *who;
	lock->next = *bucket;
	*bucket = lock;
	*out = lock;
	return OK;
}

void lock_in_update(struct lock *lock)
{
	lock->is_in_update = true;
}

bool lock_is_held_by(const struct lock_table *table, const char *name)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct lock *lock = table->buckets[i]; lock; lock = lock->next)
			if (strcmp(lock->holder.name, name) == 0)
				return true;
	return false;
}

bool lock_is_wanted(const struct lock *lock)
{
	const struct waiter *waiter = lock ? lock->table->waiters : NULL;

	while (waiter && strcmp(waiter->identity, lock->identity) != 0)
		waiter = waiter->next;
	return waiter != NULL;
}

void lock_release(struct lock *lock)
{
	if (!lock)
		return;
	struct lock **at = bucket_of(lock->table, lock->identity);
	while (*at != lock)
		at = &(*at)->next;
	*at = lock->next;
	free(lock);
}
