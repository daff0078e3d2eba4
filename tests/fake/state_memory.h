/* SPDX-License-Identifier: MIT */
/* state_memory.h - the state (upstream/state.h) over an array, that fails when it is told to and of
 * which a copy can be taken at any moment: what a crash would leave.
 *
 *	struct state_memory state;
 *	state_memory_init(&state);
 *	state.put_code = ENOSPC;                        (then hand out &state.store)
 *	state_memory_fini(&state);
 *
 * Like the real one each call waits once (env->offload) and then works in one go.
 */
#ifndef POPGATE_FAKE_STATE_MEMORY_H
#define POPGATE_FAKE_STATE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upstream/state.h"

struct state_memory_entry {
	char *key;   /* owned */
	char *value; /* owned; a NUL stands behind it */
	size_t len;
	uint64_t version;
};

struct state_memory {
	struct state_store store;           /* first: hand out &state.store */
	struct state_memory_entry *entries; /* owned; ascending by key; tests may damage values */
	size_t count;
	uint64_t last_version; /* the highest ever given */
	/* Faults; all may be changed at any time. */
	size_t fail_call;       /* the n-th call of all fails with fail_code; 0: none */
	int fail_code;          /* EIO if 0 */
	bool is_late;           /* a put that fails by fail_call is done nevertheless */
	int put_code;           /* each put fails so: ENOSPC, EROFS, EIO; 0: none */
	int read_code;          /* each get and walk fails so; 0: none */
	const char *broken_key; /* get of it, and a walk that meets it: EBADMSG; NULL: none */
	/* Called around each put that is not refused by a fault; `nth` counts them from 1. Either
	 * may be NULL, and may copy the state. */
	void (*before_put)(void *arg, struct state_memory *, size_t nth);
	void (*after_put)(void *arg, struct state_memory *, size_t nth);
	void *arg; /* of both */
	/* what happened */
	size_t calls, gets, walks, puts; /* tried; calls is their sum */
	size_t changes;                  /* puts that changed something: neither failed nor stale */
	size_t stales, failed, closes;
};

void state_memory_init(struct state_memory *);
void state_memory_fini(struct state_memory *); /* a zeroed struct is fine */

/* Makes `to` (not initialised) hold what `from` holds, without its faults and counts. */
void state_memory_copy(struct state_memory *to, const struct state_memory *from);

/* The entry of a key, NULL if there is none. Borrowed until the next put. */
struct state_memory_entry *state_memory_find(struct state_memory *, const char *key);

#endif
