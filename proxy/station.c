/* SPDX-License-Identifier: MIT */
/* station.c - one worker's part in the server. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "proxy/base/mem.h"
#include "proxy/io/tcp.h"
#include "proxy/listener_tls.h"
#include "proxy/server.h"
#include "proxy/server_own.h"

enum {
	WARM_OCTETS =
		128 << 20, /* of memory for what is known of messages of mailboxes that stay open */
	DESCRIPTORS_WARM = 4, /* one in so many may be theirs */
};

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

/* All but TLS and doors. */
static void listeners_init(struct station *station)
{
	const struct config *config = station->server->config;

	post_init(&station->post, &station->worker->loop);
	station->listeners = mem_alloc(config->listener_count * sizeof *station->listeners);
	for (size_t i = 0; i < config->listener_count; i++) {
		struct listener *listener = &station->listeners[i];
		listener->station = station;
		listener->conf = &config->listeners[i];
		session_conf_init(&listener->session);
		listener->session.idle_ms = config->idle_ms;
		listener->session.stall_ms = config->stall_ms;
		listener->session.authorization_ms = config->authorization_ms;
		listener->session.failure_ms = config->failure_ms;
		listener->session.failures = config->failures;
		size_t count = listener->conf->address_count;
		listener->doors = mem_alloc(count * sizeof *listener->doors);
		for (size_t k = 0; k < count; k++)
			listener->doors[k].fd = -1;
	}
}

static void fault_of_door(const struct listener *listener, size_t nth, int failed,
			  struct faults *faults)
{
	const struct listener_conf *conf = listener->conf;
	char text[64];

	tcp_address_text(&conf->addresses[nth], text, sizeof text);
	faults_add(faults, listener->station->server->config->file, conf->line,
		   "[listener %s]: cannot listen on %s: %s", conf->name, text, strerror(failed));
}

static void listener_open(struct listener *listener, bool self_signed, struct faults *faults)
{
	struct station *station = listener->station;
	const struct config *config = station->server->config;
	const struct listener_conf *conf = listener->conf;
	struct tls_server_conf *tls;

	if (self_signed)
		tls = listener_self_signed(conf, config, faults);
	else
		tls = listener_tls_load(config, conf, station->server->tickets, faults);
	listener_use_tls(listener, tls);
	if (tls && conf->tls_min < 12)
		LOG(&station->worker->log, LEVEL_WARN, "legacy-tls",
		    log_text("listener", conf->name),
		    log_text("tls_min", conf->tls_min == 10 ? "1.0" : "1.1"));
	for (size_t i = 0; i < conf->address_count; i++) {
		int failed = door_open(&listener->doors[i], &station->worker->fibers,
				       &conf->addresses[i], &connection_door, listener,
				       SESSION_IN_MAX, SESSION_OUT_MAX);
		if (failed)
			fault_of_door(listener, i, failed, faults);
	}
}

void station_init_first(struct station *station, bool self_signed, struct faults *faults)
{
	listeners_init(station);
	for (size_t i = 0; i < station->server->config->listener_count; i++)
		listener_open(&station->listeners[i], self_signed, faults);
}

void station_init_next(struct station *station, struct station *first, struct faults *faults)
{
	listeners_init(station);
	for (size_t i = 0; i < station->server->config->listener_count; i++) {
		struct listener *listener = &station->listeners[i], *from = &first->listeners[i];
		if (from->tls)
			listener_use_tls(listener, tls_server_conf_hold(from->tls));
		for (size_t k = 0; k < listener->conf->address_count; k++) {
			if (from->doors[k].fd < 0)
				continue; /* that was told */
			int failed = door_open_also(&listener->doors[k], &from->doors[k],
						    &station->worker->fibers, listener);
			if (failed)
				fault_of_door(listener, k, failed, faults);
		}
	}
}

/* --- chores ------------------------------------------------------------------------------- */

static void on_chores_end(void *arg)
{
	struct station *station = arg;

	station->chores = NULL;
	/* Otherwise nobody waits for them any more. */
	if (!station->is_cut)
		server_leave(station->server);
}

void station_begin_chores(struct station *station)
{
	struct server *server = station->server;

	if (!station->worker->state || !server->config->replay_ms)
		return;
	station->chores = chores_begin(station->worker, &server->places, station->number,
				       server->config->replay_ms, on_chores_end, station);
	if (station->chores)
		server_join(server);
}

static void on_keeper_end(void *arg)
{
	struct station *station = arg;

	station->keeper = NULL;
	if (!station->is_cut)
		server_leave(station->server);
}

/* Each takes a descriptor, and sessions come first. */
static size_t most_warm(const struct server *server)
{
	struct rlimit files = {0, 0};
	size_t most = server->config->warm;

	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur / DESCRIPTORS_WARM < most)
		most = files.rlim_cur / DESCRIPTORS_WARM;
	return (most + server->places.count - 1) / server->places.count;
}

void station_begin_keeping(struct station *station)
{
	struct server *server = station->server;
	const struct config *config = server->config;
	const struct imap_warm_conf conf = {
		.keep_ms = config->keep_ms,
		.fresh_ms = config->fresh_ms,
		.proof_ms = config->warm_proof_ms,
		.most = most_warm(server),
		.octets = WARM_OCTETS / server->places.count,
	};

	if (!conf.keep_ms || !conf.most)
		return;
	station->keeper = keeper_begin(station->worker, &conf, on_keeper_end, station);
	if (station->keeper)
		server_join(server);
}

/* --- end ---------------------------------------------------------------------------------- */

static void close_doors(struct station *station)
{
	for (size_t i = 0; i < station->server->config->listener_count; i++) {
		struct listener *listener = &station->listeners[i];
		for (size_t k = 0; k < listener->conf->address_count; k++)
			door_close(&listener->doors[k]);
	}
}

void station_drain(void *arg)
{
	struct station *station = arg;

	station->is_draining = true;
	close_doors(station);
	chores_end(station->chores);
	keeper_end(station->keeper);
	server_leave(station->server);
}

void station_cut(void *arg)
{
	struct station *station = arg;
	struct connection *connection = station->connections;

	for (; connection; connection = connection->next)
		connection_cut(connection);
	/* What chores leave undone is on disk, and the next process goes on with it; but for a token that
	 * they have asked for: that is a reason of its own. */
	if (station->chores)
		server_leave(station->server);
	if (station->keeper)
		server_leave(station->server);
	station->is_cut = true;
}

void station_stop(void *arg)
{
	struct station *station = arg;

	uv_stop(&station->worker->loop);
}

void station_fini(struct station *station)
{
	close_doors(station);
	post_close(&station->post);
	uv_run(&station->worker->loop, UV_RUN_NOWAIT); /* libuv lets go of what was closed */
	for (size_t i = 0; i < station->server->config->listener_count; i++) {
		tls_server_conf_release(station->listeners[i].tls);
		free(station->listeners[i].doors);
	}
	free(station->listeners);
}
