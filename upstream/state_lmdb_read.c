/* SPDX-License-Identifier: MIT */
/* state_lmdb_read.c - values of a state directory read: one, or ranges of them in one transaction.
 *
 * A reader hinders nobody and waits for nobody but the disk. What it sees is checked before it is
 * handed on: nothing that was not once written there reaches a caller.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "upstream/state_lmdb.h"

struct reading {
	struct state_lmdb *lmdb;
	const char *key;
	struct state_range single; /* as which it is remembered */
	struct buf *out;
	uint64_t version;
	struct err err;
};

static bool visit_value(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct reading *reading = arg;

	(void)key;
	if (len && !buf_put(reading->out, value, len)) {
		reading->err = state_lmdb_err(ENOMEM);
		return false;
	}
	reading->version = version;
	return true;
}

static struct err get_value(const struct reading *reading, const struct state_range *noted,
			    MDB_txn *txn)
{
	MDB_val key = {strlen(reading->key), (void *)(uintptr_t)reading->key}, value;
	int code = mdb_get(txn, reading->lmdb->dbi, &key, &value);
	uint64_t version;

	if (code == MDB_NOTFOUND)
		return OK;
	if (code)
		return state_lmdb_err(code);
	if (!state_value_read(key.mv_data, key.mv_size, value.mv_data, value.mv_size, &version))
		return state_lmdb_err(EBADMSG);
	bool is_taken =
		noted->visit(noted->arg, reading->key, (const char *)value.mv_data + STATE_HEAD,
			     value.mv_size - STATE_HEAD, version);
	return is_taken ? OK : reading->err;
}

static void work_get(void *arg)
{
	struct reading *reading = arg;
	struct state_note note;
	MDB_txn *txn;

	reading->err = state_lmdb_begin(reading->lmdb, MDB_RDONLY, &txn);
	if (reading->err.kind)
		return;
	struct state_range noted = state_note_begin(&note, &reading->single);
	reading->err = get_value(reading, &noted, txn);
	state_note_end(&note, reading->lmdb->recent, reading->err.kind ? 0 : mdb_txn_id(txn));
	state_lmdb_end(reading->lmdb, txn);
}

struct err state_lmdb_get(struct state_store *store, const struct env *env, const char *key,
			  struct buf *out, uint64_t *version)
{
	struct reading reading = {.lmdb = (struct state_lmdb *)store, .key = key, .out = out};
	char name[STATE_KEY + 2];
	uint64_t newest;

	snprintf(name, sizeof name, "%c%s", STATE_SINGLE, key);
	reading.single = (struct state_range){name, visit_value, &reading};
	buf_drop(out, buf_len(out));
	if (!state_lmdb_newest(reading.lmdb, &newest) ||
	    !state_recent_walk(reading.lmdb->recent, newest, &reading.single, 1))
		env->ops->offload(env, work_get, &reading);
	*version = reading.version;
	if (reading.err.kind)
		state_lmdb_log(reading.lmdb, "read", reading.key, reading.err);
	return reading.err;
}

struct walking {
	struct state_lmdb *lmdb;
	const struct state_range *ranges;
	size_t count;
	uint64_t id; /* of the transaction */
	struct err err;
};

/* One entry of a range. *goes_on is false behind the last one. */
static struct err visit_entry(const struct state_range *range, const MDB_val *key,
			      const MDB_val *value, bool *goes_on)
{
	size_t prefix = strlen(range->prefix);
	char name[STATE_KEY + 1];
	uint64_t version;

	*goes_on = key->mv_size >= prefix && !memcmp(key->mv_data, range->prefix, prefix);
	if (!*goes_on)
		return OK;
	if (key->mv_size > STATE_KEY ||
	    !state_value_read(key->mv_data, key->mv_size, value->mv_data, value->mv_size, &version))
		return state_lmdb_err(EBADMSG);
	if (*(const unsigned char *)key->mv_data < ' ')
		return OK; /* our own */
	memcpy(name, key->mv_data, key->mv_size);
	name[key->mv_size] = '\0';
	*goes_on = range->visit(range->arg, name, (const char *)value->mv_data + STATE_HEAD,
				value->mv_size - STATE_HEAD, version);
	return OK;
}

static struct err walk_range(const struct state_range *range, MDB_cursor *cursor)
{
	MDB_val key = {strlen(range->prefix), (void *)(uintptr_t)range->prefix}, value;
	struct err err = OK;
	bool goes_on = true;

	int code = mdb_cursor_get(cursor, &key, &value, key.mv_size ? MDB_SET_RANGE : MDB_FIRST);
	while (!code && !err.kind && goes_on) {
		err = visit_entry(range, &key, &value, &goes_on);
		if (!err.kind && goes_on)
			code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	return err.kind || !code || code == MDB_NOTFOUND ? err : state_lmdb_err(code);
}

static struct err walk_noted(const struct walking *walking, const struct state_range *range,
			     MDB_cursor *cursor)
{
	struct state_note note;
	struct state_range noted = state_note_begin(&note, range);

	struct err err = walk_range(&noted, cursor);
	state_note_end(&note, walking->lmdb->recent, err.kind ? 0 : walking->id);
	return err;
}

static void work_walk(void *arg)
{
	struct walking *walking = arg;
	MDB_cursor *cursor;
	MDB_txn *txn;

	walking->err = state_lmdb_begin(walking->lmdb, MDB_RDONLY, &txn);
	if (walking->err.kind)
		return;
	int code = mdb_cursor_open(txn, walking->lmdb->dbi, &cursor);
	walking->err = state_lmdb_err(code);
	walking->id = mdb_txn_id(txn);
	for (size_t i = 0; !walking->err.kind && i < walking->count; i++)
		walking->err = walk_noted(walking, &walking->ranges[i], cursor);
	if (!code)
		mdb_cursor_close(cursor);
	state_lmdb_end(walking->lmdb, txn);
}

struct err state_lmdb_walk(struct state_store *store, const struct env *env,
			   const struct state_range *ranges, size_t count)
{
	struct state_lmdb *lmdb = (struct state_lmdb *)store;
	struct walking walking = {.lmdb = lmdb, .ranges = ranges, .count = count};
	uint64_t newest;

	if (state_lmdb_newest(lmdb, &newest) &&
	    state_recent_walk(lmdb->recent, newest, ranges, count))
		return OK;
	env->ops->offload(env, work_walk, &walking);
	if (walking.err.kind)
		state_lmdb_log(walking.lmdb, "read", ranges[0].prefix, walking.err);
	return walking.err;
}
