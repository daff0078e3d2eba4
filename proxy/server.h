/* SPDX-License-Identifier: MIT */
/* server.h - the stations of all workers, what they share, and their end.
 *
 * A connection is accepted, gets a fiber, and is its session's until that ends. A drain stops
 * accepting, gives sessions some time, then cuts those that are not in UPDATE. What begins and
 * ends the whole, a reload and the signals are the main thread's business, which is the first worker.
 */
#ifndef POPGATE_SERVER_H
#define POPGATE_SERVER_H

#include <stdatomic.h>
#include <uv.h>

#include "proxy/config.h"
#include "proxy/exchange.h"
#include "proxy/guard.h"
#include "proxy/io/tls_ticket.h"
#include "proxy/place.h"
#include "proxy/station.h"
#include "proxy/worker.h"

struct server {
	const struct config *config; /* borrowed */
	struct station *stations;    /* owned array, one a worker; the first is the main thread's */
	unsigned started;            /* threads of further stations that run */
	uv_sem_t go;                 /* they begin when all are there, */
	bool is_void;                /* or end at once because one is missing */
	struct places places;
	atomic_size_t active;                     /* connections */
	atomic_uint_least64_t served;             /* connections since the start */
	atomic_size_t busy;                       /* reasons to go on: see server_join() */
	struct guard *guard;                      /* owned */
	struct headroom *headroom;                /* owned; of all logins */
	unsigned char exchange_key[EXCHANGE_KEY]; /* see proxy/exchange.h */
	struct tls_tickets *tickets;              /* owned; of all listeners */
	/* The main thread's own: */
	bool is_draining, is_cut;
	bool is_reloading;
	bool is_reload_due; /* asked for during a reload, which may have read what was before */
	uv_timer_t drain;
};

/* What only map and configuration together can show: that the listeners of the map exist. */
void server_check_map(const struct config *, const struct map *, struct faults *);

/* The same of oauth=: that its sections exist among `profiles`, and that there is a place for tokens. */
void server_check_oauth(const struct config *, const struct oauth_profiles *profiles,
			const struct map *, struct faults *);

/* Makes the listeners' TLS and binds every address. Everything that fails is added to `faults` with
 * file and line of its section. `self_signed`: listeners that name no certificate get one made now.
 * `workers`: `count` of them, borrowed. The first one's loop must be run by the caller's thread. */
void server_init(struct server *, struct worker *workers, unsigned count, const struct config *,
		 bool self_signed, struct faults *);

/* Starts a thread for each worker but the first, and begins what is done without a client, if there is
 * a state and the configuration wants it. An errno; then nobody has been served. */
int server_start(struct server *);
/* After the first worker's loop has ended: waits for the others' threads. */
void server_join_threads(struct server *);

/* Stops accepting. Sessions may end by themselves for config->drain_ms; then those not in UPDATE are
 * cut; UPDATE_MS later the loops are stopped in any case. A second call cuts at once. */
enum { SERVER_UPDATE_MS = 60000 };
void server_drain(struct server *);

/* Reads map and certificates again, and of popgate.conf the [oauth] sections and what guards against
 * guessing, off the loop. Any error keeps what was, and is logged with file and line. A call
 * during a reload is remembered: the newest files win. */
void server_reload(struct server *);

/* Closes what is left; the loops must have ended. */
void server_fini(struct server *);

#endif
