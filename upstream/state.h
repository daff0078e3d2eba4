/* SPDX-License-Identifier: MIT */
/* state.h - what must outlive the process: values under keys, changed all together or not at all.
 *
 * Who uses it: ledger.c and journal.c. Who keeps it: state_lmdb.c in the state directory of one
 * node; the interface is what an engine shared by several nodes can do as well, so it knows
 * versions and no locks. All calls may wait; they do their work on the pool (env->offload), or at
 * once where that is possible without a wait.
 *
 * Errors are ERR_UPSTREAM, in words fit for a client, with an errno as code: ENOSPC, EROFS, EIO,
 * and EBADMSG where what was read is not what was written (a checksum or the format is wrong).
 * After an error nothing has been changed, or, if the disk failed in the last moment, all of it.
 */
#ifndef POPGATE_STATE_H
#define POPGATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

enum {
	STATE_KEY = 480,        /* longest key, octets, without its NUL */
	STATE_VALUE = 16 << 20, /* longest value, octets */
};

/* Matches whatever version there is, or none. */
#define STATE_ANY UINT64_MAX

/* One value to be written or erased. Keys are NUL ended text; parts of a key are separated by a tab,
 * which no POP3 name holds. */
struct state_change {
	const char *key;
	const void *value; /* NULL: erase; erasing what is not there is no error */
	size_t len;        /* octets of the value */
	uint64_t was;      /* the version that the value must have now; 0: it must not be there */
};

/* Keys to be visited: all that begin with `prefix`, ascending by octets. */
struct state_range {
	const char *prefix;
	/* Runs on the pool, or at once: it may touch nothing but `arg` and may not wait; key and
	 * value are borrowed for the call. False ends this range, without an error. */
	bool (*visit)(void *arg, const char *key, const void *value, size_t len, uint64_t version);
	void *arg;
};

struct state_store;
struct state_ops {
	const char *name; /* "lmdb" */
	/* Reads one value into `out`, emptied first. *version is 0 if there is none. */
	struct err (*get)(struct state_store *, const struct env *, const char *key,
			  struct buf *out, uint64_t *version) MUST_USE;
	/* Visits one range after another, all as of one moment. A trip to the pool costs more than
	 * what is read there: what belongs together is read in one walk. */
	struct err (*walk)(struct state_store *, const struct env *, const struct state_range *,
			   size_t count) MUST_USE;
	/* Makes all changes, or none. OK with *is_stale false: they would outlive a loss of power.
	 * OK with *is_stale true: some `was` no longer held, and nothing was changed. Versions only
	 * grow, also over an erasure. */
	struct err (*put)(struct state_store *, const struct env *,
			  const struct state_change *changes, size_t count,
			  bool *is_stale) MUST_USE;
	void (*close)(struct state_store *); /* no call is under way */
};

struct state_store {
	const struct state_ops *ops;
};

/* Opens the state directory `path`, which exists, and makes what is missing in it (files of 0600).
 * The whole of it is checked once: a file that LMDB does not take, a format of another version, a
 * checksum that is wrong is ERR_POLICY with the file and what is wrong in `why`. A directory that
 * can only be read is opened so: put() then gives EROFS. May block: called before anything is
 * served, or by a subcommand; several processes may have it open at once. */
struct err state_lmdb_open(const char *path, const struct log *, struct notice *why,
			   struct state_store **out) MUST_USE;

#endif
