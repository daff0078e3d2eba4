/* SPDX-License-Identifier: MIT */
/* station.h - one worker's part in the server: its doors, the connections that are served there.
 *
 * All stations have the same listeners, and whoever is free accepts. A connection stays where it came in
 * until its client has said whose mailbox it wants; then it moves to the station where that mailbox lives
 * (place.h), and with the next claim perhaps to another. All that is here is touched by its own thread
 * alone; others send letters (post.h).
 */
#ifndef POPGATE_STATION_H
#define POPGATE_STATION_H

#include <uv.h>

#include "proxy/account.h"
#include "proxy/chores.h"
#include "proxy/config.h"
#include "proxy/io/door.h"
#include "proxy/keeper.h"
#include "proxy/post.h"
#include "proxy/worker.h"
#include "session/session.h"

struct server;
struct station;

/* A [listener] section at work. */
struct listener {
	struct station *station;
	const struct listener_conf *conf; /* borrowed from the config */
	struct session_conf session;      /* what its sessions obey */
	struct tls_server_conf *tls;      /* held; NULL: no TLS here */
	struct door *doors;               /* owned array, one an address of `conf` */
};

struct connection {
	struct session session; /* zero until the fiber has begun it */
	struct gate gate;
	struct listener *listener; /* of the station where it is */
	struct stream *plain; /* as accepted; the session's, or its TLS's, until that is CLOSED */
	struct sockaddr_storage peer;
	struct connection *next, **link;
};

struct station {
	struct server *server; /* borrowed, as the next */
	struct worker *worker;
	unsigned number;            /* as in server->stations */
	struct post post;           /* for letters to it */
	struct listener *listeners; /* owned array, one a section */
	struct connection *connections;
	struct chores_fiber *chores; /* NULL: none, or over */
	struct keeper *keeper;       /* likewise */
	bool is_draining;
	bool is_cut; /* who comes now is cut at once */
	uv_thread_t thread;
};

/* Makes the listeners' TLS and binds every address. Everything that fails is added to `faults` with
 * file and line of its section. `self_signed`: listeners that name no certificate get one made now. */
void station_init_first(struct station *, bool self_signed, struct faults *);
/* Shares what the first has. */
void station_init_next(struct station *, struct station *first, struct faults *);

/* Begins what is done without a client, if there is a state and the configuration wants it. */
void station_begin_chores(struct station *);
/* Begins to keep mailboxes open between sessions, its share of them. */
void station_begin_keeping(struct station *);

/* These are letters; `arg` is the station. No more connections and no new chores; all connections but
 * those in UPDATE are ended; the loop ends. */
void station_drain(void *arg);
void station_cut(void *arg);
void station_stop(void *arg);

/* Takes it over, in place of what the listener had; NULL: no TLS. */
void listener_use_tls(struct listener *, struct tls_server_conf *);

/* Closes what is left; the loop has ended, and is run once more here. */
void station_fini(struct station *);

/* --- connection.c --- */

extern const struct door_ops connection_door; /* its owner is a listener */

/* Cutting is aborting the client's stream: the session unwinds by ordinary returns, and no UPDATE
 * begins. */
void connection_cut(struct connection *);

#endif
