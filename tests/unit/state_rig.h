/* SPDX-License-Identifier: MIT */
/* state_rig.h - state directories for tests: made, filled, opened, looked at. */
#ifndef POPGATE_STATE_RIG_H
#define POPGATE_STATE_RIG_H

#include "tests/fake/world.h"
#include "upstream/state.h"

struct rig {
	struct fake_world world;
	char path[64];             /* a new directory in /tmp */
	struct state_store *store; /* NULL while it is closed */
	struct notice why;
	struct err err; /* of the last rig_open() */
};

/* Makes the directory and nothing in it. */
void rig_init(struct rig *);
/* Closes the store and removes the directory with all that is in it. */
void rig_fini(struct rig *);

/* Whether it could be opened; `store`, `err` and `why` say more. */
bool rig_open(struct rig *);
void rig_close(struct rig *);

/* The path of a file in the directory; valid until the next call but one. */
const char *rig_file(const struct rig *, const char *name);

/* Writes one value without a condition. The error. */
struct err rig_put(struct rig *, const char *key, const void *value, size_t len);
struct err rig_put_text(struct rig *, const char *key, const char *value);
struct err rig_erase(struct rig *, const char *key);

/* Reads a value as text, cut to fit; "" and version 0 if there is none. The error. */
struct err rig_get(struct rig *, const char *key, char *out, size_t size, uint64_t *version);

/* Some hundreds of keys with values of all sizes, changed and erased now and then, in so many
 * transactions: with 40, pages of every kind, and free ones. The same each time. */
void rig_fill(struct rig *, unsigned transactions);
/* A sum over all keys, values and versions; *count of them. The error of the walk. */
struct err rig_sum(struct rig *, uint64_t *sum, size_t *count);

/* Runs test(arg) in a child: its status as of waitpid(2). */
int rig_child(int (*test)(void *arg), void *arg);

#endif
