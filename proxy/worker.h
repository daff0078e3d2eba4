/* SPDX-License-Identifier: MIT */
/* worker.h - one loop and everything that hangs off it: fibers, the outside world, the maildrops
 * that are held, the servers in trouble, the state directory, the map that is in force. Nothing is
 * kept outside. */
#ifndef POPGATE_WORKER_H
#define POPGATE_WORKER_H

#include <uv.h>

#include "proxy/base/log.h"
#include "proxy/config_oauth.h"
#include "proxy/io/fiber.h"
#include "proxy/io/tlsconf.h"
#include "proxy/io/world.h"
#include "proxy/map.h"
#include "upstream/health.h"
#include "upstream/imap_memo.h"
#include "upstream/imap_warm.h"
#include "upstream/lock.h"
#include "upstream/state.h"
#include "upstream/token.h"

struct worker {
	uv_loop_t loop;
	struct fibers fibers;
	struct world world;
	struct tls_client_conf *tls_client; /* owned */
	struct lock_table *locks;           /* owned */
	struct health *health;              /* owned */
	struct imap_memos *memos;           /* owned */
	struct imap_warm *warm;             /* owned; keeps nothing until keeper_begin() */
	bool is_guest; /* state, token_key and tokens are another worker's, and outlive this */
	struct state_store *state;       /* owned; set after worker_init(); NULL: nothing is kept */
	struct token_key *token_key;     /* owned; as `state`; NULL: tokens cannot be kept */
	struct tokens *tokens;           /* owned; as `state`; NULL: no oauth= can be served */
	struct map *map;                 /* held; replaced by a reload */
	struct oauth_profiles *profiles; /* held, replaced by a reload; NULL: there are none */
	struct log log;                  /* what is said outside of any session */
};

/* Takes the map over. Dies if libuv has no loop for us: nothing can be served then. */
void worker_init(struct worker *, struct map *, struct log_target *);
/* Gives a worker what `host` has of those that all workers share, the profiles included. */
void worker_be_guest(struct worker *, const struct worker *host);
/* After a reload: takes over a map and, if it is not NULL, profiles, and forgets what it has of the files
 * that they name. On the loop's own thread. */
void worker_renew(struct worker *, struct map *, struct oauth_profiles *);
/* Runs the loop until nothing is left that could happen. */
void worker_run(struct worker *);
/* Makes `tokens` if there are a state and a key. */
void worker_open_tokens(struct worker *);
/* After worker_run(): no fiber is alive. */
void worker_fini(struct worker *);

#endif
