/* SPDX-License-Identifier: MIT */
/* ledger_rig.h - a ledger over a state in memory, for the tests of both. */
#ifndef POPGATE_LEDGER_RIG_H
#define POPGATE_LEDGER_RIG_H

#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/ledger.h"

struct ledger_rig {
	struct fake_world world;
	struct state_memory memory;
	struct ledger ledger; /* of joe@example.com, like all here */
};

extern const char rig_place[]; /* where the mailbox is */

void ledger_rig_init(struct ledger_rig *);
void ledger_rig_fini(struct ledger_rig *);
const struct env *rig_env(struct ledger_rig *);

/* Initialises a ledger and loads it. */
struct err rig_load(struct ledger_rig *, struct ledger *) MUST_USE;
/* Saves; it must succeed, and nobody have been faster. */
void rig_save(struct ledger_rig *, struct ledger *);
/* The rig's ledger in its first epoch. */
void rig_begin(struct ledger_rig *);

/* Equal places, rows and texts. */
void assert_same_ledger(const struct ledger *, const struct ledger *);

#endif
