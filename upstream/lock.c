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
	LOOK_MS = 50, /* between two looks at a lock that is held */
};

struct lock {
	struct lock *next;        /* in its bucket */
	struct lock_table *table; /* borrowed: outlives all locks */
	bool is_in_update;
	char identity[]; /* NUL ended */
};

struct lock_table {
	struct lock *buckets[BUCKETS];
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

struct err lock_take(struct lock_table *table, const struct env *env, const char *identity,
		     uint64_t wait_ms, uint64_t update_wait_ms, struct lock **out)
{
	struct lock **bucket = bucket_of(table, identity);
	uint64_t since_ms = env->ops->now(env);
	const struct lock *holder;

	*out = NULL;
	while ((holder = find(*bucket, identity))) {
		uint64_t waited_ms = env->ops->now(env) - since_ms;
		uint64_t limit_ms = wait_ms;
		if (holder->is_in_update && update_wait_ms > wait_ms)
			limit_ms = update_wait_ms;
		if (waited_ms >= limit_ms)
			return ERR(ERR_IN_USE, EBUSY, "maildrop is in use by another session");
		uint64_t left_ms = limit_ms - waited_ms;
		env->ops->sleep(env, left_ms < LOOK_MS ? left_ms : LOOK_MS);
	}
	size_t size = strlen(identity) + 1;
	struct lock *lock = mem_alloc(sizeof *lock + size);
	memcpy(lock->identity, identity, size);
	lock->table = table;
	lock->next = *bucket;
	*bucket = lock;
	*out = lock;
	return OK;
}

void lock_in_update(struct lock *lock)
{
	lock->is_in_update = true;
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
