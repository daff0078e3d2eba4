/* SPDX-License-Identifier: MIT */
/* stand.h - what stands around one POP3 session of a soak: any name and password, and one upstream. */
#ifndef POPGATE_SOAK_STAND_H
#define POPGATE_SOAK_STAND_H

#include "session/session.h"
#include "tests/soak/client.h"

struct stand {
	const struct env *env;
	struct upstream_conf conf; /* of every account; its name is the client's */
	struct lock_table *locks;  /* owned: dies with the process */
	struct log_target *log;
};

/* An account on the model server's INBOX, nothing kept, defaults otherwise. */
void stand_init(struct stand *, const struct env *, struct log_target *);
void stand_fini(struct stand *);

/* The process has ended, and another one begins. */
void stand_restart(struct stand *);

/* Runs a session from greeting to end. `session` is zero but for its log's tag; it can be looked at by
 * the client while it runs. */
void stand_run(struct stand *, struct session *, struct pop_client *);

#endif
