/* SPDX-License-Identifier: MIT */
/* state_lmdb.h - one state directory, as the files state_lmdb*.c share it. The world sees only
 * state.h.
 *
 * state_lmdb.c opens; state_lmdb_read.c reads; state_lmdb_write.c gathers the writes of several
 * callers into one transaction; state_lmdb_recent.c knows what was read lately; state_lmdb_value.c
 * is how a value lies in the file; state_lmdb_head.c and state_lmdb_check.c look over a whole file
 * before LMDB may touch it.
 *
 * In the directory lie LMDB's two files: data.mdb, which is everything, and lock.mdb, which is made
 * anew when it is missing. Locks, and the order in which they are taken: `queue_lock` (who writes
 * next), then `map_lock` (held shared by every transaction, alone by whoever maps the file anew).
 * Both are waited for on the pool alone. The lock of state_lmdb_recent.c comes last: it is held for
 * moments, by any thread, and no other is taken and no visitor called under it.
 */
#ifndef POPGATE_STATE_LMDB_H
#define POPGATE_STATE_LMDB_H

#include <pthread.h>
#include <stdatomic.h>

#include <lmdb.h>

#include "upstream/state.h"

enum {
	STATE_HEAD = 17,      /* octets before each value in the file */
	STATE_FORMAT = 2,     /* the first of them; a change of anything in the file gets another */
	STATE_READERS = 1200, /* transactions that may read at once, all processes together */
};

/* The record that says which format this is. It is written in each transaction, so its version is
 * the highest that was ever given. Keys of users never begin with an octet below a blank. */
extern const char state_format_key[];
extern const char state_format_text[];

/* --- state_lmdb_value.c ------------------------------------------------------------------- */

/* Writes head and value: STATE_HEAD + len octets. */
void state_value_make(void *out, const char *key, uint64_t version, const void *value, size_t len);

/* False if what lies under `key` (`key_len` octets) is not what was once written there: another
 * format, or a checksum that is wrong. The value is what stands behind the head. */
bool state_value_read(const void *key, size_t key_len, const void *stored, size_t len,
		      uint64_t *version);

/* --- state_lmdb_head.c, state_lmdb_check.c ------------------------------------------------------ */

/* Whether LMDB can open the file `fd` without harm: it is long enough, and both of its first pages
 * make sense. What is wrong goes to `why`. */
bool state_check_head(int fd, struct notice *why);

/* Looks over every page that is in use and every value, by read(2), not through the map: so that
 * nothing in the file can lead LMDB astray, and an octet that cannot be read is an error and no
 * signal. Nobody may write meanwhile. Some 500 MB/s. */
bool state_check_all(int fd, struct notice *why);

/* --- state_lmdb.c ------------------------------------------------------------------------- */

/* A put() that waits. Those from one of them up to another, by `next`, are a batch: one transaction. */
struct state_write {
	struct state_lmdb *lmdb;
	const struct state_change *changes;
	size_t count, octets;
	struct state_write *next;
	bool is_stale, is_done;
	struct err err;
};

struct state_lmdb {
	struct state_store store; /* first */
	struct log log;           /* a copy: for what fails and for the end of it */
	char *file;               /* owned: the path of data.mdb */
	MDB_env *env;
	MDB_dbi dbi;
	bool is_read_only;
	atomic_uint_least64_t length; /* octets that the file has had at least */
	pthread_rwlock_t map_lock;
	pthread_mutex_t queue_lock;
	pthread_cond_t queue_moved;
	struct state_write *first, **last; /* who waits to be written */
	bool is_led;                       /* somebody is writing */
	unsigned commits;                  /* the leader's own: when to look for dead readers */
	struct state_recent *recent;       /* owned */
	atomic_int told; /* code of the failed write that the log knows of; 0: all is well */
};

/* What an LMDB code or errno means to users of the state. */
struct err state_lmdb_err(int code);

/* OK if the file is still the one that was opened and no shorter than it was: a page behind its end
 * would be a SIGBUS. */
struct err state_lmdb_look(struct state_lmdb *) MUST_USE;

/* Begins a transaction (MDB_RDONLY or 0) with map_lock held shared, whatever other processes have
 * done to the size of the map. Both end in state_lmdb_end(), with a transaction that was not
 * committed (it is aborted) or with NULL. */
struct err state_lmdb_begin(struct state_lmdb *, unsigned flags, MDB_txn **out) MUST_USE;
void state_lmdb_end(struct state_lmdb *, MDB_txn *);

/* The newest transaction of any process, if that can be told without a wait. False also where
 * state_lmdb_look() finds anything: whoever then begins a transaction gets the error. */
bool state_lmdb_newest(struct state_lmdb *, uint64_t *id);

/* Twice the room for the map; false at the ceiling. No transaction of the caller's is open. */
bool state_lmdb_grow(struct state_lmdb *);

/* A failure for the operator: `what` we were doing to the value under `key`. */
void state_lmdb_log(const struct state_lmdb *, const char *what, const char *key, struct err);
/* What became of a write: says once that they fail, and once that it is over. Not on the pool. */
void state_lmdb_tell(struct state_lmdb *, const char *key, struct err);

/* --- state_lmdb_recent.c ------------------------------------------------------------------- */

/* Ranges that were walked lately, and are walked again without a look into the file: whole parts of
 * keys (a prefix that ends with a tab), of at most 8 KiB each, 8 MiB in all. A value that was read by
 * itself is a range too: its prefix is its key behind STATE_SINGLE. Nothing here is wiped: no
 * password and no token lies in the state but sealed (seal.h). For any thread; none of these calls
 * waits. */
enum { STATE_SINGLE = '=' }; /* no key begins with it */
struct state_recent *state_recent_new(void);
void state_recent_free(struct state_recent *);

/* Visits the ranges if all are remembered as they are in the transaction `newest`; else false, and
 * nobody was visited. */
bool state_recent_walk(struct state_recent *, uint64_t newest, const struct state_range *,
		       size_t count);

/* A range that is walked is noted on the way: begin() gives the range to walk in place of `range`,
 * which is borrowed. end() remembers it, if it is small and was visited to its end, as it was in the
 * transaction `as_of`; 0: the walk failed. It is called in any case. */
struct state_note {
	const struct state_range *range;
	struct buf octets;
	bool is_whole;
};
struct state_range state_note_begin(struct state_note *, const struct state_range *range);
void state_note_end(struct state_note *, struct state_recent *, uint64_t as_of);

/* Around the commit of a batch, which is borrowed in between: begin() forgets what it touches, end()
 * gets the transaction that was committed, 0 if none was. One at a time. */
void state_recent_begin_write(struct state_recent *, const struct state_write *first,
			      const struct state_write *end);
void state_recent_end_write(struct state_recent *, uint64_t committed);

/* state_lmdb_read.c */
struct err state_lmdb_get(struct state_store *, const struct env *, const char *key,
			  struct buf *out, uint64_t *version) MUST_USE;
struct err state_lmdb_walk(struct state_store *, const struct env *, const struct state_range *,
			   size_t count) MUST_USE;

/* state_lmdb_write.c */
struct err state_lmdb_put(struct state_store *, const struct env *, const struct state_change *,
			  size_t count, bool *is_stale) MUST_USE;
/* How many wait for the next transaction. For tests: then it is known what stands in it. */
size_t state_lmdb_waiting(struct state_lmdb *);
/* Writes the format record, version 0, into an empty file. An LMDB code or errno. */
int state_lmdb_found(MDB_env *);

#endif
