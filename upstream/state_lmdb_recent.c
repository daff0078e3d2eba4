/* SPDX-License-Identifier: MIT */
/* state_lmdb_recent.c - small ranges that were walked lately, and values that were read, for who does
 * so again.
 *
 * A login reads journal and ledger of one name; most often nothing has changed since the last one,
 * and the trip to the pool costs more than the read. A row is a range that was walked to its end;
 * all rows hold as of one transaction, `as_of`. Whoever sees another one as the newest reads the
 * file: so what other processes write is seen at once. What this process writes drops the rows that
 * it touches before it commits, and takes the others along to the new transaction; LMDB counts
 * transactions one by one, so with a gap before ours somebody else has written too.
 *
 * While a batch is being committed nobody knows yet whether it will be. Ranges that it touches are
 * not remembered meanwhile, all others are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/lru.h"
#include "proxy/base/mem.h"
#include "upstream/state_lmdb.h"

enum {
	ROW_OCTETS = 8 << 10,
	ALL_OCTETS = 8 << 20, /* of all rows */
	ROW_COSTS = 128,      /* octets of a row beside its prefix and what it holds, about */
};

struct row {
	char *octets; /* owned: entries, one after another */
	size_t len;
};

/* Before key, its NUL, and value. */
struct entry {
	uint64_t version;
	uint32_t key_len, len;
};

struct state_recent {
	pthread_mutex_t lock; /* of all below; nobody waits while it is held */
	struct lru *rows;     /* of struct row, by prefix; `octets` are their ceiling */
	size_t octets;
	uint64_t as_of;
	const struct state_write *first, *end; /* the batch that is being committed, borrowed */
};

struct state_recent *state_recent_new(void)
{
	struct state_recent *recent = mem_alloc(sizeof *recent);

	pthread_mutex_init(&recent->lock, NULL);
	recent->rows = lru_new(sizeof(struct row), SIZE_MAX);
	return recent;
}

static size_t cost_of(const char *prefix, size_t len)
{
	return ROW_COSTS + strlen(prefix) + len;
}

static void drop(struct state_recent *recent, const char *prefix)
{
	struct row *row = lru_find(recent->rows, prefix);

	if (!row)
		return;
	recent->octets -= cost_of(prefix, row->len);
	free(row->octets);
	lru_drop(recent->rows, prefix);
}

static void free_rows(struct lru *rows)
{
	const char *prefix;

	while (rows && (prefix = lru_oldest(rows))) {
		free(((struct row *)lru_find(rows, prefix))->octets);
		lru_drop(rows, prefix);
	}
	lru_free(rows);
}

/* Forgets all rows. They are handed over, for free_rows() when the lock is no longer held: there may
 * be many. NULL: there were none. */
static struct lru *take_all(struct state_recent *recent)
{
	struct lru *rows = recent->rows;

	if (!lru_count(rows))
		return NULL;
	recent->rows = lru_new(sizeof(struct row), SIZE_MAX);
	recent->octets = 0;
	return rows;
}

void state_recent_free(struct state_recent *recent)
{
	free_rows(recent->rows);
	pthread_mutex_destroy(&recent->lock);
	free(recent);
}

/* --- from memory -------------------------------------------------------------------------- */

/* A copy behind the others, its length before it. False if there is no such row. */
static bool copy_row(struct state_recent *recent, const char *prefix, struct buf *out)
{
	if (!lru_find(recent->rows, prefix))
		return false;
	const struct row *row = lru_touch(recent->rows, prefix);
	return buf_put(out, &row->len, sizeof row->len) &&
	       (!row->len || buf_put(out, row->octets, row->len));
}

/* Visits one copy; the place behind it. */
static const char *visit_copy(const char *at, const struct state_range *range)
{
	bool goes_on = true;
	size_t len;

	memcpy(&len, at, sizeof len);
	at += sizeof len;
	const char *end = at + len;
	while (at != end && goes_on) {
		struct entry entry;
		memcpy(&entry, at, sizeof entry);
		const char *key = at + sizeof entry, *value = key + entry.key_len + 1;
		goes_on = range->visit(range->arg, key, value, entry.len, entry.version);
		at = value + entry.len;
	}
	return end;
}

bool state_recent_walk(struct state_recent *recent, uint64_t newest,
		       const struct state_range *ranges, size_t count)
{
	struct buf copies;

	buf_init(&copies, count * (sizeof(size_t) + ROW_OCTETS));
	pthread_mutex_lock(&recent->lock);
	bool is_there = newest == recent->as_of;
	for (size_t i = 0; is_there && i < count; i++)
		is_there = copy_row(recent, ranges[i].prefix, &copies);
	pthread_mutex_unlock(&recent->lock);
	const char *at = buf_data(&copies);
	for (size_t i = 0; is_there && i < count; i++)
		at = visit_copy(at, &ranges[i]);
	buf_fini(&copies);
	return is_there;
}

/* --- what is walked ----------------------------------------------------------------------- */

/* A value, or whole parts of keys: what a key that is written belongs to is then found from the key. */
static bool is_findable(const char *prefix)
{
	size_t len = strlen(prefix);

	return *prefix == STATE_SINGLE || (len && prefix[len - 1] == '\t');
}

static bool visit_and_note(void *arg, const char *key, const void *value, size_t len,
			   uint64_t version)
{
	struct state_note *note = arg;
	const struct entry entry = {version, (uint32_t)strlen(key), (uint32_t)len};

	note->is_whole = note->is_whole && buf_put(&note->octets, &entry, sizeof entry) &&
			 buf_put(&note->octets, key, entry.key_len + 1) &&
			 (!len || buf_put(&note->octets, value, len));
	bool goes_on = note->range->visit(note->range->arg, key, value, len, version);
	note->is_whole &= goes_on;
	return goes_on;
}

struct state_range state_note_begin(struct state_note *note, const struct state_range *range)
{
	*note = (struct state_note){.range = range, .is_whole = is_findable(range->prefix)};
	buf_init(&note->octets, ROW_OCTETS);
	return (struct state_range){range->prefix, visit_and_note, note};
}

static void keep(struct state_recent *recent, const struct state_note *note)
{
	const char *prefix = note->range->prefix;
	size_t len = buf_len(&note->octets), cost = cost_of(prefix, len);
	char *octets = len ? malloc(len) : NULL;

	drop(recent, prefix);
	if (len && !octets)
		return;
	if (len)
		memcpy(octets, buf_data(&note->octets), len);
	while (recent->octets + cost > ALL_OCTETS)
		drop(recent, lru_oldest(recent->rows));
	struct row *row = lru_touch(recent->rows, prefix);
	*row = (struct row){octets, len};
	recent->octets += cost;
}

/* Whether the batch that is being committed changes anything in a range. */
static bool is_touched(const struct state_recent *recent, const char *prefix)
{
	bool is_single = *prefix == STATE_SINGLE;
	const char *text = prefix + is_single;
	size_t len = strlen(text) + is_single; /* with its NUL it is the whole key */

	for (const struct state_write *write = recent->first; write != recent->end;
	     write = write->next)
		for (size_t i = 0; i < write->count; i++)
			if (strncmp(write->changes[i].key, text, len) == 0)
				return true;
	return false;
}

/* While a batch is under way only what was read before it is kept: end() takes the rows one transaction
 * further, and must not find what is there already. */
static bool is_true(const struct state_recent *recent, const char *prefix, uint64_t as_of)
{
	if (recent->first)
		return as_of == recent->as_of && !is_touched(recent, prefix);
	return as_of >= recent->as_of;
}

void state_note_end(struct state_note *note, struct state_recent *recent, uint64_t as_of)
{
	struct lru *dropped = NULL;

	pthread_mutex_lock(&recent->lock);
	if (as_of && note->is_whole && is_true(recent, note->range->prefix, as_of)) {
		if (as_of > recent->as_of)
			dropped = take_all(recent);
		recent->as_of = as_of;
		keep(recent, note);
	}
	pthread_mutex_unlock(&recent->lock);
	free_rows(dropped);
	buf_fini(&note->octets);
}

/* --- what is written ---------------------------------------------------------------------- */

static void forget(struct state_recent *recent, const char *key)
{
	char prefix[STATE_KEY + 2];

	snprintf(prefix, sizeof prefix, "%c%s", STATE_SINGLE, key);
	pthread_mutex_lock(&recent->lock);
	drop(recent, prefix);
	for (size_t i = 0; key[i]; i++) {
		prefix[i] = key[i];
		prefix[i + 1] = '\0';
		if (key[i] == '\t')
			drop(recent, prefix);
	}
	pthread_mutex_unlock(&recent->lock);
}

void state_recent_begin_write(struct state_recent *recent, const struct state_write *first,
			      const struct state_write *end)
{
	pthread_mutex_lock(&recent->lock);
	recent->first = first;
	recent->end = end;
	pthread_mutex_unlock(&recent->lock);
	/* What it touches comes no more; the lock is not held for all of a large batch. */
	for (const struct state_write *write = first; write != end; write = write->next)
		for (size_t i = 0; i < write->count; i++)
			forget(recent, write->changes[i].key);
}

void state_recent_end_write(struct state_recent *recent, uint64_t committed)
{
	struct lru *dropped = NULL;

	pthread_mutex_lock(&recent->lock);
	recent->first = recent->end = NULL;
	if (committed && committed != recent->as_of + 1)
		dropped = take_all(recent);
	if (committed)
		recent->as_of = committed;
	pthread_mutex_unlock(&recent->lock);
	free_rows(dropped);
}
