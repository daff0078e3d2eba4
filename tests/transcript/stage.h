/* SPDX-License-Identifier: MIT */
/* stage.h - one performance of a script: a session between the script's client and a store in
 * memory, in one of the ways of sending, with whatever faults the caller adds in between.
 *
 *	stage_init(&stage, script, WAY_OCTETS);
 *	stage.fault.fail_call = 3;
 *	stage_run(&stage);
 *	... stage_compare(&stage) or stage_check(&stage) ...
 *	stage_fini(&stage);
 */
#ifndef POPGATE_STAGE_H
#define POPGATE_STAGE_H

#include "session/session.h"
#include "tests/fake/canned.h"
#include "tests/fake/fault.h"
#include "tests/fake/memory.h"
#include "tests/fake/world.h"
#include "tests/transcript/script.h"

struct stage {
	const struct script *script; /* borrowed */
	enum script_way way;
	struct fake_world world;
	struct canned client;
	struct memory_message messages[SCRIPT_MESSAGES]; /* what the run does to them */
	struct memory store;
	struct fault fault; /* around the store */
	struct fake_accounts accounts;
	struct lock_table *locks;
	struct lock *held; /* by the other session of @locked */
	struct session_conf conf;
	struct session session;
	size_t stops[SCRIPT_TURNS];
	bool is_free;     /* set by a caller whose faults lead away from the script */
	bool has_waited;  /* for more than the script's client says */
	char wrong[1024]; /* the first thing that went wrong, in words; empty: nothing */
};

void stage_init(struct stage *, const struct script *, enum script_way);
void stage_run(struct stage *);

/* Whether the run was the script's, to the octet, and left what it says; else `wrong` says why. */
bool stage_compare(struct stage *);

/* Whether the session gave everything back: the store closed, the account freed, the maildrop free,
 * the client's stream closed; else `wrong` says what it kept. */
bool stage_check(struct stage *);

void stage_fini(struct stage *);

#endif
