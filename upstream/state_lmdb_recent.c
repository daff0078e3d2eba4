/* SPDX-License-Identifier: MIT */
/* state_lmdb_recent.c - small ranges that were walked lately, for who walks them again.
 *
 * A login reads journal and ledger of one name; most often nothing has changed since the last one, and
 * the trip to the pool costs more than the read. A row is a range that was walked to its end; all rows
 * hold as of one transaction, `as_of`. Whoever sees another one as the newest reads the file: so what
 * other processes write is seen at once. What this process writes drops the rows that it touches before
 * it commits, and takes the others along to the new transaction.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/base/lru.h"
#include "proxy/base/mem.h"
#include "upstream/state_lmdb.h"

enum {
	ROW_OCTETS = 8 << 10,
	ALL_OCTETS = 8 << 20, /* of all rows */
	ROW_COSTS = 128,      /* octets of a row beside what it holds, about */
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
	struct lru *rows;     /* of struct row, by prefix */
	size_t octets;
	uint64_t as_of;
	unsigned writers; /* who are about to commit */
};

struct state_recent *state_recent_new(void)
{
	struct state_recent *recent = mem_alloc(sizeof *recent);

	pthread_mutex_init(&recent->lock, NULL);
	recent->rows = lru_new(sizeof(struct row), SIZE_MAX);
	return recent;
}

static void drop(struct state_recent *recent, const char *prefix)
{
	struct row *row = lru_find(recent->rows, prefix);

	if (!row)
		return;
	recent->octets -= row->len + ROW_COSTS;
	free(row->octets);
	lru_drop(recent->rows, prefix);
}

static void drop_all(struct state_recent *recent)
{
	while (lru_count(recent->rows))
		drop(recent, lru_oldest(recent->rows));
}

void state_recent_free(struct state_recent *recent)
{
	drop_all(recent);
	lru_free(recent->rows);
	pthread_mutex_destroy(&recent->lock);
	free(recent);
}

/* --- from memory -------------------------------------------------------------------------- */

static void visit_row(const struct row *row, const struct state_range *range)
{
	const char *at = row->octets, *end = at + row->len;
	bool goes_on = true;

	while (at != end && goes_on) {
		struct entry entry;
		memcpy(&entry, at, sizeof entry);
		const char *key = at + sizeof entry, *value = key + entry.key_len + 1;
		goes_on = range->visit(range->arg, key, value, entry.len, entry.version);
		at = value + entry.len;
	}
}

bool state_recent_walk(struct state_recent *recent, uint64_t newest,
		       const struct state_range *ranges, size_t count)
{
	size_t there = 0;

	pthread_mutex_lock(&recent->lock);
	while (newest == recent->as_of && there < count &&
	       lru_find(recent->rows, ranges[there].prefix))
		there++;
	bool is_there = newest == recent->as_of && there == count;
	for (size_t i = 0; is_there && i < count; i++)
		visit_row(lru_touch(recent->rows, ranges[i].prefix), &ranges[i]);
	pthread_mutex_unlock(&recent->lock);
	return is_there;
}

/* --- what is walked ----------------------------------------------------------------------- */

/* Only whole parts of keys: what a key that is written belongs to is then found from the key. */
static bool is_separated(const char *prefix)
{
	size_t len = strlen(prefix);

	return len && prefix[len - 1] == '\t';
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
	*note = (struct state_note){.range = range, .is_whole = is_separated(range->prefix)};
	buf_init(&note->octets, ROW_OCTETS);
	return (struct state_range){range->prefix, visit_and_note, note};
}

static void keep(struct state_recent *recent, struct state_note *note)
{
	size_t len = buf_len(&note->octets);
	char *octets = len ? malloc(len) : NULL;

	drop(recent, note->range->prefix);
	if (len && !octets)
		return;
	if (len)
		memcpy(octets, buf_data(&note->octets), len);
	while (recent->octets + len + ROW_COSTS > ALL_OCTETS)
		drop(recent, lru_oldest(recent->rows));
	struct row *row = lru_touch(recent->rows, note->range->prefix);
	*row = (struct row){octets, len};
	recent->octets += len + ROW_COSTS;
}

void state_note_end(struct state_note *note, struct state_recent *recent, uint64_t as_of)
{
	pthread_mutex_lock(&recent->lock);
	/* Who is about to commit has dropped rows already, and must not find them again. */
	bool is_kept = note->is_whole && as_of >= recent->as_of && as_of && !recent->writers;
	if (is_kept && as_of > recent->as_of)
		drop_all(recent);
	if (is_kept) {
		recent->as_of = as_of;
		keep(recent, note);
	}
	pthread_mutex_unlock(&recent->lock);
	buf_fini(&note->octets);
}

/* --- what is written ---------------------------------------------------------------------- */

void state_recent_begin_write(struct state_recent *recent)
{
	pthread_mutex_lock(&recent->lock);
	recent->writers++;
	pthread_mutex_unlock(&recent->lock);
}

void state_recent_forget(struct state_recent *recent, const char *key)
{
	char prefix[STATE_KEY + 1];
	size_t len = strlen(key);

	if (len > STATE_KEY)
		return;
	pthread_mutex_lock(&recent->lock);
	for (size_t i = 0; i < len; i++) {
		prefix[i] = key[i];
		prefix[i + 1] = '\0';
		if (key[i] == '\t')
			drop(recent, prefix);
	}
	pthread_mutex_unlock(&recent->lock);
}

void state_recent_end_write(struct state_recent *recent, uint64_t committed)
{
	pthread_mutex_lock(&recent->lock);
	recent->writers--;
	if (committed && committed != recent->as_of + 1)
		drop_all(recent);
	if (committed)
		recent->as_of = committed;
	pthread_mutex_unlock(&recent->lock);
}
