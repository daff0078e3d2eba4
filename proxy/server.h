/* SPDX-License-Identifier: MIT */
/* server.h - listeners, the connections that came by them, and the end of both.
 *
 * A connection is accepted, gets a fiber, and is its session's until that ends. A drain stops
 * accepting, gives sessions some time, then cuts those that are not in UPDATE.
 */
#ifndef POPGATE_SERVER_H
#define POPGATE_SERVER_H

#include <uv.h>

#include "proxy/account.h"
#include "proxy/chores.h"
#include "proxy/config.h"
#include "proxy/exchange.h"
#include "proxy/guard.h"
#include "proxy/io/door.h"
#include "proxy/io/tls_ticket.h"
#include "proxy/worker.h"
#include "session/session.h"

struct server;

/* A [listener] section at work. */
struct listener {
	struct server *server;
	const struct listener_conf *conf; /* borrowed from the config */
	struct session_conf session;      /* what its sessions obey */
	struct tls_server_conf *tls;      /* held; NULL: no TLS here */
	struct door *doors;               /* owned array, one an address of `conf` */
};

struct connection {
	struct session session; /* zero until the fiber has begun it */
	struct gate gate;
	struct listener *listener;
	struct stream *plain; /* as accepted; the session's, or its TLS's, until that is CLOSED */
	struct sockaddr_storage peer;
	struct connection *next, **link;
};

struct server {
	struct worker *worker;       /* borrowed */
	const struct config *config; /* borrowed */
	struct listener *listeners;  /* owned array, one a section */
	struct connection *connections;
	size_t active;   /* connections */
	uint64_t served; /* connections since the start */
	bool is_draining;
	bool is_reloading;
	bool is_reload_due; /* asked for during a reload, which may have read what was before */
	uv_timer_t drain;
	struct chores_fiber *chores;              /* NULL: none, or over */
	struct guard *guard;                      /* owned */
	unsigned char exchange_key[EXCHANGE_KEY]; /* see proxy/exchange.h */
	struct tls_tickets *tickets;              /* owned; of all listeners */
};

/* What only map and configuration together can show: that the listeners of the map exist. */
void server_check_map(const struct config *, const struct map *, struct faults *);

/* The same of oauth=: that its sections exist among `profiles`, and that there is a place for tokens. */
void server_check_oauth(const struct config *, const struct oauth_profiles *profiles,
			const struct map *, struct faults *);

/* Makes the listeners' TLS and binds every address. Everything that fails is added to `faults` with
 * file and line of its section. `self_signed`: listeners that name no certificate get one made now. */
void server_init(struct server *, struct worker *, const struct config *, bool self_signed,
		 struct faults *);

/* Begins what is done without a client, if there is a state and the configuration wants it. */
void server_begin_chores(struct server *);

/* Stops accepting. Sessions may end by themselves for config->drain_ms; then those not in UPDATE are
 * cut; UPDATE_MS later the loop is stopped in any case. A second call cuts at once. */
enum { SERVER_UPDATE_MS = 60000 };
void server_drain(struct server *);

/* Reads map and certificates again, and of popgate.conf the [oauth] sections and what guards against
 * guessing, off the loop. Any error keeps what was, and is logged with file and line. A call
 * during a reload is remembered: the newest files win. */
void server_reload(struct server *);

/* Closes what is left; the loop must have ended. */
void server_fini(struct server *);

#endif
