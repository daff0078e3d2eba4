/* SPDX-License-Identifier: MIT */
/* server.c - listeners, the connections that came by them, and the end of both. */
#include "proxy/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/io/tcp.h"
#include "proxy/listener_tls.h"
#include "proxy/map_policy.h"
#include "proxy/server_own.h"
#include "session/authorization.h"

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

static void connection_link(struct server *server, struct connection *connection)
{
	connection->next = server->connections;
	connection->link = &server->connections;
	if (connection->next)
		connection->next->link = &connection->next;
	server->connections = connection;
	server->active++;
	server->served++;
}

/* The drain is over when nobody works any more, a reload on the pool and the chores included. */
void server_stop_if_idle(struct server *server)
{
	if (server->is_draining && !server->active && !server->is_reloading && !server->chores)
		uv_stop(&server->worker->loop);
}

static void connection_end(struct connection *connection)
{
	struct server *server = connection->listener->server;

	*connection->link = connection->next;
	if (connection->next)
		connection->next->link = connection->link;
	server->active--;
	free(connection);
	server_stop_if_idle(server);
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

static void connection_run(void *arg)
{
	struct connection *connection = arg;
	struct listener *listener = connection->listener;
	struct server *server = listener->server;
	struct worker *worker = server->worker;
	struct session *session = &connection->session;
	struct stream *client = connection->plain;
	uint32_t id;
	char peer[64];

	fiber_set_owner(worker->fibers.current, connection);
	worker->world.env.ops->random(&worker->world.env, &id, sizeof id);
	tcp_address_text(&connection->peer, peer, sizeof peer);
	session->log.target = worker->log.target;
	snprintf(session->log.tag, sizeof session->log.tag,
		 "sid=%08" PRIX32 " peer=%s listener=%.32s", id, peer, listener->conf->name);
	if (server->active > server->config->max_sessions) {
		LOG(&session->log, LEVEL_WARN, "too-many-connections",
		    log_number("max_sessions", server->config->max_sessions));
		refuse(connection);
		connection_end(connection);
		return;
	}
	if (listener->conf->tls == LISTENER_IMPLICIT) {
		/* A moment, so that an octet now and then wins nobody any time. */
		uint64_t now = worker->world.env.ops->now(&worker->world.env);
		stream_limit(client, 0, now + listener->session.handshake_ms);
		struct err err = worker->world.env.ops->serve_tls(
			&worker->world.env, connection->plain, listener->tls, &client);
		if (err.kind) {
			log_err(&session->log, LEVEL_NOTE, "tls-failed", err);
			connection_end(connection);
			return;
		}
		session->is_tls = true;
	}
	gate_init(&connection->gate, &worker->map, listener->conf->name, &connection->peer);
	connection->gate.state = worker->state;
	connection->gate.health = worker->health;
	connection->gate.memos = worker->memos;
	connection->gate.guard = server->guard;
	connection->gate.exchange_key = server->exchange_key;
	connection->gate.ways = listener->conf->ways;
	connection->gate.tokens = worker->tokens;
	connection->gate.profiles = &worker->profiles;
	session->env = &worker->world.env;
	session->conf = &listener->session;
	session->accounts = &connection->gate.accounts;
	session->locks = worker->locks;
	session->is_hurried = &server->is_draining;
	session->is_cleartext_allowed = may_send_cleartext(listener->conf, &connection->peer);
	session_run(session, client);
	connection_end(connection);
}

static void on_came(void *owner, struct stream *stream)
{
	struct listener *listener = owner;
	struct server *server = listener->server;
	struct worker *worker = server->worker;

	struct connection *connection = mem_alloc(sizeof *connection);
	connection->listener = listener;
	connection->plain = stream;
	tcp_peer(stream, &connection->peer);
	connection_link(server, connection);
	struct err err = fiber_spawn(&worker->fibers, connection_run, connection);
	if (err.kind) {
		log_err(&worker->log, LEVEL_ALARM, "no-fiber", err);
		stream_close(stream);
		connection_end(connection);
	}
}

static void on_short(void *owner, int code)
{
	const struct listener *listener = owner;

	LOG(&listener->server->worker->log, LEVEL_ALARM, "accept-failed",
	    log_text("listener", listener->conf->name),
	    log_number("code", (uint64_t)(unsigned)code), log_text("what", strerror(code)));
}

static const struct door_ops door_ops = {on_came, on_short};

/* --- the map ------------------------------------------------------------------------------ */

struct map_checking {
	const struct config *config;
	struct faults *faults;
	enum map_attribute attribute; /* that is looked at */
	const struct oauth_profiles *profiles;
};

/* Some policies remember what they did: without a state directory they would forget it. */
static void check_needs_state(void *arg, const char *value, const char *file, int line)
{
	const struct map_checking *checking = arg;
	const char *what = map_policy_needs_state(checking->attribute, value);

	if (what)
		faults_add(checking->faults, file, line,
			   "%s needs a state directory: set state= in %s", what,
			   checking->config->file);
}

static void check_listener_name(void *arg, const char *value, const char *file, int line)
{
	const struct map_checking *checking = arg;
	const struct config *config = checking->config;

	for (size_t i = 0; i < config->listener_count; i++)
		if (!strcmp(config->listeners[i].name, value))
			return;
	faults_add(checking->faults, file, line, "listener=%s: there is no [listener %s] in %s",
		   value, value, config->file);
}

static void check_profile(void *arg, const char *value, const char *file, int line)
{
	const struct map_checking *checking = arg;
	const struct config *config = checking->config;

	if (!oauth_profiles_find(checking->profiles, value))
		faults_add(checking->faults, file, line, "oauth=%s: there is no [oauth %s] in %s",
			   value, value, config->file);
	if (!config->state || (!config->token_key && !config->token_key_cred))
		faults_add(checking->faults, file, line,
			   "oauth=%s needs a place for tokens: set state and token_key in %s",
			   value, config->file);
}

void server_check_oauth(const struct config *config, const struct oauth_profiles *profiles,
			const struct map *map, struct faults *faults)
{
	struct map_checking checking = {.config = config, .faults = faults, .profiles = profiles};

	map_each(map, MAP_OAUTH, check_profile, &checking);
}

void server_check_map(const struct config *config, const struct map *map, struct faults *faults)
{
	struct map_checking checking = {.config = config, .faults = faults};

	map_each(map, MAP_LISTENER, check_listener_name, &checking);
	for (int i = 0; i < MAP_ATTRIBUTES && !config->state; i++) {
		checking.attribute = (enum map_attribute)i;
		if (map_is_policy(checking.attribute))
			map_each(map, checking.attribute, check_needs_state, &checking);
	}
}

/* --- start -------------------------------------------------------------------------------- */

void listener_use_tls(struct listener *listener, struct tls_server_conf *tls)
{
	tls_server_conf_release(listener->tls);
	listener->tls = tls;
	listener->session.tls_identity = listener->conf->tls == LISTENER_STARTTLS ? tls : NULL;
}

static struct tls_server_conf *listener_self_signed(const struct listener_conf *conf,
						    const struct config *config,
						    struct faults *faults)
{
	struct tls_server_conf *tls;
	struct err err = tls_server_conf_new_selfsigned(&tls);

	if (err.kind)
		faults_add(faults, config->file, conf->line, "[listener %s]: %s", conf->name,
			   err.what);
	return tls;
}

static void listener_init(struct listener *listener, struct server *server,
			  const struct listener_conf *conf, bool self_signed, struct faults *faults)
{
	const struct config *config = server->config;
	struct tls_server_conf *tls;

	*listener = (struct listener){.server = server, .conf = conf};
	session_conf_init(&listener->session);
	listener->session.idle_ms = config->idle_ms;
	listener->session.stall_ms = config->stall_ms;
	listener->session.authorization_ms = config->authorization_ms;
	listener->session.failure_ms = config->failure_ms;
	listener->session.failures = config->failures;
	if (self_signed)
		tls = listener_self_signed(conf, config, faults);
	else
		tls = listener_tls_load(config, conf, server->tickets, faults);
	listener_use_tls(listener, tls);
	if (tls && conf->tls_min < 12)
		LOG(&server->worker->log, LEVEL_WARN, "legacy-tls",
		    log_text("listener", conf->name),
		    log_text("tls_min", conf->tls_min == 10 ? "1.0" : "1.1"));
	listener->doors = mem_alloc(conf->address_count * sizeof *listener->doors);
	for (size_t i = 0; i < conf->address_count; i++) {
		char text[64];
		int failed =
			door_open(&listener->doors[i], &server->worker->fibers, &conf->addresses[i],
				  &door_ops, listener, SESSION_IN_MAX, SESSION_OUT_MAX);
		tcp_address_text(&conf->addresses[i], text, sizeof text);
		if (failed)
			faults_add(faults, config->file, conf->line,
				   "[listener %s]: cannot listen on %s: %s", conf->name, text,
				   strerror(failed));
	}
}

void server_guard_conf(const struct config *config, struct guard_conf *out)
{
	*out = (struct guard_conf){
		.trusted = &config->trusted,
		.block_after = config->block_after,
		.window_ms = config->block_window_ms,
		.block_ms = config->block_ms,
		.delay_ms = config->failure_ms,
		.delay_max_ms = FAILURE_MAX_MS,
		.refused_ms = config->refused_ms,
		.upstream_refusals = config->upstream_refusals,
	};
}

void server_init(struct server *server, struct worker *worker, const struct config *config,
		 bool self_signed, struct faults *faults)
{
	struct guard_conf guard;

	*server = (struct server){.worker = worker, .config = config};
	uv_timer_init(&worker->loop, &server->drain);
	server->drain.data = server;
	server_guard_conf(config, &guard);
	server->guard = guard_new(&worker->world.env, &guard);
	worker->world.env.ops->random(&worker->world.env, server->exchange_key, EXCHANGE_KEY);
	server->tickets = tls_tickets_new(&worker->world.env);
	server->listeners = mem_alloc(config->listener_count * sizeof *server->listeners);
	for (size_t i = 0; i < config->listener_count; i++)
		listener_init(&server->listeners[i], server, &config->listeners[i], self_signed,
			      faults);
}

/* --- chores ------------------------------------------------------------------------------- */

static void on_chores_end(void *arg)
{
	struct server *server = arg;

	server->chores = NULL;
	server_stop_if_idle(server);
}

void server_begin_chores(struct server *server)
{
	if (server->worker->state && server->config->replay_ms)
		server->chores = chores_begin(server->worker, server->config->replay_ms,
					      on_chores_end, server);
}

/* --- end ---------------------------------------------------------------------------------- */

static void close_listeners(struct server *server)
{
	for (size_t i = 0; i < server->config->listener_count; i++) {
		struct listener *listener = &server->listeners[i];
		for (size_t k = 0; k < listener->conf->address_count; k++)
			door_close(&listener->doors[k]);
	}
}

static void on_last_moment(uv_timer_t *timer)
{
	struct server *server = timer->data;

	LOG(&server->worker->log, LEVEL_ALARM, "drain-incomplete",
	    log_number("sessions", server->active));
	uv_stop(timer->loop);
}

/* Cutting is aborting the client's stream: the session unwinds by ordinary returns, and no UPDATE
 * begins. Where a handshake holds the stream, there is no other than the plain one. */
static void connection_cut(struct connection *connection)
{
	const struct session *session = &connection->session;

	if (session->state == UPDATE)
		return;
	if (session->client)
		stream_abort(session->client);
	else if (session->state != CLOSED)
		stream_abort(connection->plain);
}

static void cut_all(uv_timer_t *timer)
{
	struct server *server = timer->data;
	struct connection *connection = server->connections;

	for (; connection; connection = connection->next)
		connection_cut(connection);
	/* What chores leave undone is on disk, and the next process goes on with it. */
	if (!server->active && !server->is_reloading)
		uv_stop(timer->loop);
	uv_timer_start(&server->drain, on_last_moment, SERVER_UPDATE_MS, 0);
}

void server_drain(struct server *server)
{
	if (server->is_draining) {
		cut_all(&server->drain);
		return;
	}
	server->is_draining = true;
	LOG(&server->worker->log, LEVEL_NOTE, "draining", log_number("sessions", server->active));
	close_listeners(server);
	chores_end(server->chores);
	uv_timer_start(&server->drain, cut_all, server->config->drain_ms, 0);
	server_stop_if_idle(server);
}

void server_fini(struct server *server)
{
	close_listeners(server);
	uv_close((uv_handle_t *)&server->drain, NULL);
	uv_run(&server->worker->loop, UV_RUN_NOWAIT); /* libuv lets go of what was closed */
	for (size_t i = 0; i < server->config->listener_count; i++) {
		tls_server_conf_release(server->listeners[i].tls);
		free(server->listeners[i].doors);
	}
	free(server->listeners);
	tls_tickets_free(server->tickets);
	guard_free(server->guard);
}
