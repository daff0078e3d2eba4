/* SPDX-License-Identifier: MIT */
/* connection.c - the way of a connection: accepted, served, moved, ended.
 *
 * A fiber never leaves its thread. To move a connection its session is set down with the claim in its
 * hands, the fiber ends, and another one goes on at the other station. In between, the letter alone has
 * the connection.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/io/tcp.h"
#include "proxy/server.h"
#include "proxy/server_own.h"

enum {
	SAY_NO_MS = 5000, /* for a refusal to leave */
};

static bool may_send_cleartext(const struct listener_conf *conf,
			       const struct sockaddr_storage *peer)
{
	switch (conf->cleartext) {
	case CLEARTEXT_REQUIRE_TLS:
		return false;
	case CLEARTEXT_ALLOW_LOOPBACK:
		return network_is_loopback(peer);
	case CLEARTEXT_NETWORKS:
		return network_list_has(&conf->networks, peer);
	case CLEARTEXT_ALLOW:
		return true;
	}
	return false;
}

static void connection_link(struct connection *connection)
{
	struct station *station = connection->listener->station;

	connection->next = station->connections;
	connection->link = &station->connections;
	if (connection->next)
		connection->next->link = &connection->next;
	station->connections = connection;
}

static void connection_unlink(struct connection *connection)
{
	*connection->link = connection->next;
	if (connection->next)
		connection->next->link = connection->link;
}

static void connection_end(struct connection *connection)
{
	struct server *server = connection->listener->station->server;

	connection_unlink(connection);
	gate_fini(&connection->gate);
	free(connection);
	atomic_fetch_sub(&server->active, 1);
	server_leave(server);
}

/* Too many: one clean reply and a close; where TLS would come first, the close alone. */
static void refuse(struct connection *connection)
{
	struct stream *stream = connection->plain;

	stream_limit(stream, SAY_NO_MS, 0);
	if (connection->listener->conf->tls != LISTENER_IMPLICIT) {
		struct err err = stream_printf(stream, "-ERR [SYS/TEMP] too many connections\r\n");
		if (!err.kind)
			err = stream_flush(stream);
		(void)err.kind; /* it closes either way */
	}
	stream_close(stream);
}

/* Gives session and gate what is the station's where the connection is. */
static void connection_settle(struct connection *connection)
{
	struct listener *listener = connection->listener;
	struct station *station = listener->station;
	struct worker *worker = station->worker;
	struct session *session = &connection->session;
	struct gate *gate = &connection->gate;

	gate->map = &worker->map;
	gate->state = worker->state;
	gate->health = worker->health;
	gate->memos = worker->memos;
	gate->warm = worker->warm;
	gate->tokens = worker->tokens;
	gate->profiles = &worker->profiles;
	gate->here = station->number;
	session->env = &worker->world.env;
	session->conf = &listener->session;
	session->locks = worker->locks;
	session->is_hurried = &station->is_draining;
}

static void connection_begin(struct connection *connection)
{
	const struct listener *listener = connection->listener;
	struct server *server = listener->station->server;
	struct session *session = &connection->session;
	struct gate *gate = &connection->gate;

	gate_init(gate, &listener->station->worker->map, listener->conf->name, &connection->peer);
	gate->guard = server->guard;
	gate->exchange_key = server->exchange_key;
	gate->headroom = server->headroom;
	gate->places = &server->places;
	gate->ways = listener->conf->ways;
	connection_settle(connection);
	session->accounts = &gate->accounts;
	session->is_cleartext_allowed = may_send_cleartext(listener->conf, &connection->peer);
}

static void on_arrival(void *arg);

/* From a fiber, for a session that is parked: sends it to where its mailbox lives. False if it cannot
 * go. */
static bool connection_move(struct connection *connection)
{
	struct station *here = connection->listener->station;
	struct station *there = &here->server->stations[connection->gate.goal];
	struct err err = tcp_detach(connection->plain);

	if (err.kind) {
		log_err(&connection->session.log, LEVEL_WARN, "not-moved", err);
		return false;
	}
	connection_unlink(connection);
	fiber_set_owner(here->worker->fibers.current, NULL);
	connection->listener = &there->listeners[connection->listener - here->listeners];
	post_send(&there->post, on_arrival, connection);
	return true;
}

/* Until the session is over, or lives elsewhere. */
static void connection_follow(struct connection *connection, bool is_parked)
{
	while (is_parked) {
		if (connection_move(connection))
			return;
		connection->gate.cannot_move = true;
		is_parked = session_go_on(&connection->session);
		connection->gate.cannot_move = false;
	}
	connection_end(connection);
}

static void run_on(void *arg)
{
	struct connection *connection = arg;

	fiber_set_owner(connection->listener->station->worker->fibers.current, connection);
	connection_follow(connection, session_go_on(&connection->session));
}

static void on_arrival(void *arg)
{
	struct connection *connection = arg;
	struct station *station = connection->listener->station;
	struct session *session = &connection->session;

	tcp_attach(connection->plain, &station->worker->fibers);
	connection_link(connection);
	connection_settle(connection);
	if (station->is_cut)
		connection_cut(connection);
	struct err err = fiber_spawn(&station->worker->fibers, run_on, connection);
	if (err.kind) {
		log_err(&station->worker->log, LEVEL_ALARM, "no-fiber", err);
		stream_abort(session->client);
		session_abandon(session);
		connection_end(connection);
	}
}

/* The client's stream, after the handshake of TLS if that comes first. */
static struct err connection_secure(struct connection *connection, struct stream **client)
{
	const struct listener *listener = connection->listener;
	const struct env *env = &listener->station->worker->world.env;

	*client = connection->plain;
	if (listener->conf->tls != LISTENER_IMPLICIT)
		return OK;
	/* A moment, so that an octet now and then wins nobody any time. */
	uint64_t now = env->ops->now(env);
	stream_limit(*client, 0, now + listener->session.handshake_ms);
	TRY(env->ops->serve_tls(env, connection->plain, listener->tls, client));
	connection->session.is_tls = true;
	return OK;
}

static void run(void *arg)
{
	struct connection *connection = arg;
	struct listener *listener = connection->listener;
	const struct server *server = listener->station->server;
	struct worker *worker = listener->station->worker;
	struct session *session = &connection->session;
	struct stream *client;
	uint32_t id;
	char peer[64];

	fiber_set_owner(worker->fibers.current, connection);
	worker->world.env.ops->random(&worker->world.env, &id, sizeof id);
	tcp_address_text(&connection->peer, peer, sizeof peer);
	session->log.target = worker->log.target;
	snprintf(session->log.tag, sizeof session->log.tag,
		 "sid=%08" PRIX32 " peer=%s listener=%.32s", id, peer, listener->conf->name);
	if (atomic_load(&server->active) > server->config->max_sessions) {
		LOG(&session->log, LEVEL_WARN, "too-many-connections",
		    log_number("max_sessions", server->config->max_sessions));
		refuse(connection);
		connection_end(connection);
		return;
	}
	struct err err = connection_secure(connection, &client);
	if (err.kind) {
		log_err(&session->log, LEVEL_NOTE, "tls-failed", err);
		connection_end(connection);
		return;
	}
	connection_begin(connection);
	connection_follow(connection, session_run(session, client));
}

static void on_came(void *owner, struct stream *stream)
{
	struct listener *listener = owner;
	struct worker *worker = listener->station->worker;
	struct server *server = listener->station->server;
	struct connection *connection = mem_alloc(sizeof *connection);

	connection->listener = listener;
	connection->plain = stream;
	tcp_peer(stream, &connection->peer);
	connection_link(connection);
	server_join(server);
	atomic_fetch_add(&server->active, 1);
	atomic_fetch_add(&server->served, 1);
	struct err err = fiber_spawn(&worker->fibers, run, connection);
	if (err.kind) {
		log_err(&worker->log, LEVEL_ALARM, "no-fiber", err);
		stream_close(stream);
		connection_end(connection);
	}
}

static void on_short(void *owner, int code)
{
	const struct listener *listener = owner;

	LOG(&listener->station->worker->log, LEVEL_ALARM, "accept-failed",
	    log_text("listener", listener->conf->name),
	    log_number("code", (uint64_t)(unsigned)code), log_text("what", strerror(code)));
	/* Clients come before what might be of use to them later. */
	imap_warm_drop(listener->station->worker->warm);
}

const struct door_ops connection_door = {on_came, on_short};

/* Where a handshake holds the stream, there is no other than the plain one. */
void connection_cut(struct connection *connection)
{
	const struct session *session = &connection->session;

	if (session->state == UPDATE)
		return;
	if (session->client)
		stream_abort(session->client);
	else if (session->state != CLOSED)
		stream_abort(connection->plain);
}
