/* SPDX-License-Identifier: MIT */
/* state_lmdb_write.c - writes of several callers in one transaction.
 *
 * A commit costs two waits for the disk, however much is in it. So who wants to write stands in a
 * queue; one of those who wait on the pool, the leader, takes what stands there and commits it,
 * and the others wait for him. A request whose versions no longer hold is left out and fails
 * nobody else; if the transaction as a whole fails, each is tried alone, so that one that is too
 * large for the disk does not take the others with it.
 */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "upstream/state_lmdb.h"

enum {
	BATCH = 32 << 20,  /* octets of values in one transaction, beyond the first request */
	CHECK_EVERY = 256, /* commits between two looks for readers that were killed */
	GROW_TRIES = 16,
	SPARE = 64 * 1024, /* octets: a disk that has not more is full */
};

static MDB_val key_of(const char *key)
{
	return (MDB_val){strlen(key), (void *)(uintptr_t)key};
}

/* --- one request -------------------------------------------------------------------------- */

/* Whether the versions of a request hold; *code is LMDB's, or EBADMSG. */
static bool holds(const struct state_write *write, MDB_txn *txn, int *code)
{
	for (size_t i = 0; i < write->count; i++) {
		const struct state_change *change = &write->changes[i];
		MDB_val key = key_of(change->key), value;
		uint64_t version = 0;
		if (change->was == STATE_ANY)
			continue;
		*code = mdb_get(txn, write->lmdb->dbi, &key, &value);
		if (!*code && !state_value_read(key.mv_data, key.mv_size, value.mv_data,
						value.mv_size, &version))
			*code = EBADMSG;
		if (*code == MDB_NOTFOUND)
			*code = 0;
		if (*code || version != change->was)
			return false;
	}
	return true;
}

static int put_value(MDB_txn *txn, MDB_dbi dbi, const char *name, uint64_t version,
		     const void *octets, size_t len)
{
	MDB_val key = key_of(name), value = {STATE_HEAD + len, NULL};
	int code = mdb_put(txn, dbi, &key, &value, MDB_RESERVE);

	if (!code)
		state_value_make(value.mv_data, name, version, octets, len);
	return code;
}

static int apply(const struct state_write *write, MDB_txn *txn, uint64_t version)
{
	int code = 0;

	for (size_t i = 0; i < write->count && !code; i++) {
		const struct state_change *change = &write->changes[i];
		MDB_val key = key_of(change->key);
		if (change->value)
			code = put_value(txn, write->lmdb->dbi, change->key, version, change->value,
					 change->len);
		else
			code = mdb_del(txn, write->lmdb->dbi, &key, NULL);
		if (code == MDB_NOTFOUND)
			code = 0;
	}
	return code;
}

/* --- one transaction ---------------------------------------------------------------------- */

static int read_counter(struct state_lmdb *lmdb, MDB_txn *txn, uint64_t *version)
{
	MDB_val key = key_of(state_format_key), value;
	int code = mdb_get(txn, lmdb->dbi, &key, &value);

	if (!code &&
	    !state_value_read(key.mv_data, key.mv_size, value.mv_data, value.mv_size, version))
		code = EBADMSG;
	return code == MDB_NOTFOUND ? EBADMSG : code;
}

static int put_counter(MDB_txn *txn, MDB_dbi dbi, uint64_t version)
{
	return put_value(txn, dbi, state_format_key, version, state_format_text,
			 strlen(state_format_text));
}

/* Does all requests from `first` up to `end` in `txn`. With *is_changed false there is nothing to
 * commit. */
static int apply_all(struct state_lmdb *lmdb, struct state_write *first,
		     const struct state_write *end, MDB_txn *txn, bool *is_changed)
{
	uint64_t version;
	int code = read_counter(lmdb, txn, &version);

	*is_changed = false;

	for (struct state_write *write = first; write != end && !code; write = write->next) {
		int own = 0;
		bool is_good = holds(write, txn, &own);
		write->err = state_lmdb_err(own);
		write->is_stale = !is_good && !own;
		if (is_good)
			code = apply(write, txn, ++version);
		*is_changed |= is_good;
	}
	return code || !*is_changed ? code : put_counter(txn, lmdb->dbi, version);
}

/* LMDB calls a short write an I/O error, and a disk that is full makes just that. */
static int look_for_full(struct state_lmdb *lmdb, int code)
{
	struct statvfs room;

	if (code == EIO && !statvfs(lmdb->file, &room) &&
	    (uint64_t)room.f_bavail * room.f_frsize < SPARE)
		return ENOSPC;
	return code;
}

static int commit_batch(struct state_lmdb *lmdb, const struct state_write *first,
			const struct state_write *end, MDB_txn *txn)
{
	uint64_t id = mdb_txn_id(txn);

	state_recent_begin_write(lmdb->recent, first, end);
	int code = mdb_txn_commit(txn);
	state_recent_end_write(lmdb->recent, code ? 0 : id);
	return code;
}

static struct err transact(struct state_lmdb *lmdb, struct state_write *first,
			   const struct state_write *end)
{
	int code = MDB_MAP_FULL;
	bool is_changed;
	MDB_txn *txn;

	for (int tries = 0; code == MDB_MAP_FULL && tries < GROW_TRIES; tries++) {
		if (tries && !state_lmdb_grow(lmdb))
			break;
		TRY(state_lmdb_begin(lmdb, 0, &txn));
		code = apply_all(lmdb, first, end, txn, &is_changed);
		if (!code && is_changed) {
			code = commit_batch(lmdb, first, end, txn);
			txn = NULL;
		}
		state_lmdb_end(lmdb, txn);
	}
	return state_lmdb_err(look_for_full(lmdb, code));
}

/* Commits the requests from `first` up to `end`, and says in each what became of it. */
static void commit(struct state_lmdb *lmdb, struct state_write *first, struct state_write *end)
{
	struct err err = transact(lmdb, first, end);
	int dead;

	for (struct state_write *write = first; err.kind && write != end; write = write->next) {
		write->is_stale = false;
		write->err = first->next == end ? err : transact(lmdb, write, write->next);
		if (write->err.kind)
			write->is_stale = false;
	}
	if (++lmdb->commits % CHECK_EVERY == 0)
		(void)mdb_reader_check(lmdb->env, &dead);
}

/* --- the queue ---------------------------------------------------------------------------- */

/* Takes what stands in the queue, as much as a transaction may hold, and writes it. The lock is held
 * at both ends, and not while the disk works. */
static void lead(struct state_lmdb *lmdb)
{
	struct state_write *first = lmdb->first, *end = first;
	size_t octets = 0;

	while (end && (end == first || octets + end->octets <= BATCH)) {
		octets += end->octets;
		end = end->next;
	}
	lmdb->first = end;
	if (!end)
		lmdb->last = &lmdb->first;
	lmdb->is_led = true;
	pthread_mutex_unlock(&lmdb->queue_lock);
	commit(lmdb, first, end);
	pthread_mutex_lock(&lmdb->queue_lock);
	lmdb->is_led = false;
	while (first != end) {
		struct state_write *next = first->next;
		first->is_done = true; /* its caller may now be gone */
		first = next;
	}
	pthread_cond_broadcast(&lmdb->queue_moved);
}

static void work_put(void *arg)
{
	struct state_write *write = arg;
	struct state_lmdb *lmdb = write->lmdb;

	pthread_mutex_lock(&lmdb->queue_lock);
	*lmdb->last = write;
	lmdb->last = &write->next;
	while (!write->is_done) {
		if (lmdb->is_led)
			pthread_cond_wait(&lmdb->queue_moved, &lmdb->queue_lock);
		else
			lead(lmdb);
	}
	pthread_mutex_unlock(&lmdb->queue_lock);
}

static bool is_well_formed(const struct state_change *change)
{
	size_t len = strlen(change->key);

	return len && len <= STATE_KEY && *(const unsigned char *)change->key >= ' ' &&
	       (!change->value || change->len <= STATE_VALUE);
}

struct err state_lmdb_put(struct state_store *store, const struct env *env,
			  const struct state_change *changes, size_t count, bool *is_stale)
{
	struct state_lmdb *lmdb = (struct state_lmdb *)store;
	struct state_write write = {.lmdb = lmdb, .changes = changes, .count = count};

	*is_stale = false;
	for (size_t i = 0; i < count; i++) {
		if (!is_well_formed(&changes[i]))
			return ERR(ERR_UPSTREAM, E2BIG,
				   "too much for one of the gateway's records");
		write.octets += changes[i].value ? changes[i].len : 0;
	}
	if (!count)
		return OK;
	if (lmdb->is_read_only)
		write.err = state_lmdb_err(EROFS);
	else
		env->ops->offload(env, work_put, &write);
	state_lmdb_tell(lmdb, changes[0].key, write.err);
	*is_stale = write.is_stale;
	return write.err;
}

size_t state_lmdb_waiting(struct state_lmdb *lmdb)
{
	size_t count = 0;

	pthread_mutex_lock(&lmdb->queue_lock);
	for (const struct state_write *write = lmdb->first; write; write = write->next)
		count++;
	pthread_mutex_unlock(&lmdb->queue_lock);
	return count;
}

int state_lmdb_found(MDB_env *env)
{
	MDB_txn *txn;
	MDB_dbi dbi;

	int code = mdb_txn_begin(env, NULL, 0, &txn);
	if (code)
		return code;
	code = mdb_dbi_open(txn, NULL, 0, &dbi);
	if (!code)
		code = put_counter(txn, dbi, 0);
	if (!code)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return code;
}
