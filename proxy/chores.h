/* SPDX-License-Identifier: MIT */
/* chores.h - what is done without a client: deletions that were promised and could not be done then
 * (D-09, D-10), tokens that could not be stored then (J-10).
 *
 * From the start on, and every so often, the journal's names are gone through, one at a time. A name
 * whose secret lies in the map is opened as for a session; the listing does what the journal says
 * (imap_replay). A failure is tried again after twice the time, up to a day, and from then on each
 * is an alarm. Names whose secret is the client's wait for their client.
 */
#ifndef POPGATE_CHORES_H
#define POPGATE_CHORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/log.h"
#include "session/account.h"
#include "upstream/lock.h"
#include "upstream/state.h"
#include "upstream/token.h"

enum { CHORES_DAY_MS = 24 * 3600 * 1000 }; /* the longest pause, and between two equal alarms */

/* What is known of a name in the journal since the start. */
struct chore {
	char *name;        /* owned */
	uint64_t next_ms;  /* not before; env->now */
	uint64_t pause_ms; /* the last one; 0: nothing has failed */
	unsigned failures; /* in a row */
	bool is_there;     /* in this pass */
};

struct visit;
struct chores {
	const struct env *env; /* borrowed, all of them */
	const struct log *log;
	struct lock_table *locks;
	struct state_store *state;
	struct tokens *tokens; /* NULL: there are none to be stored late */
	/* The account of a name, as account_unattended() says it; freed by free_account. */
	struct err (*find)(void *arg, const char *name, struct notice *why, struct account **out);
	void (*free_account)(struct account *);
	/* Whether a name is for these chores to visit; NULL: every one is. Several workers share a
	 * journal. */
	bool (*is_ours)(void *arg, const char *name);
	void *arg;
	uint64_t every_ms;   /* from one pass to the next */
	bool is_ending;      /* give way at the next occasion */
	struct visit *visit; /* the one under way, or NULL */
	struct chore *all;   /* owned */
	size_t count;
};

/* Goes once through the journal. Waits. */
void chores_pass(struct chores *);
void chores_fini(struct chores *);

/* The same as a fiber of a worker with a state: a pass at once, then one every `every_ms`. on_end()
 * is called when it is over, after which it is gone. NULL, with an alarm in the log, if there is no
 * memory for it. */
struct worker;
struct places;
struct chores_fiber;
/* For the names that live at `here` of `places`. */
struct chores_fiber *chores_begin(struct worker *, const struct places *places, unsigned here,
				  uint64_t every_ms, void (*on_end)(void *arg), void *arg);
/* Asks it to end. A maildrop that is being listed is let go; one that is being opened has its
 * deadlines. NULL is fine. */
void chores_end(struct chores_fiber *);

#endif
