/* SPDX-License-Identifier: MIT */
/* server_reload.c - files read again while the server goes on. */
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/listener_tls.h"
#include "proxy/server_own.h"

/* What is read anew, on the pool: a map of a million lines takes a second. */
struct reload {
	struct server *server;
	struct config *config; /* NULL: `user` may not read it, or it has errors */
	bool is_config_closed; /* the former */
	struct map *map;
	struct tls_server_conf **tls; /* one a listener */
	struct faults faults;
	struct fiber *fiber; /* who waits for this: */
	unsigned waited_for; /* stations where it is not in force yet */
};

/* Of the configuration only the [oauth] sections and what guards against guessing are in force without
 * a restart; but an error in any line is told now rather than then. */
static void reload_config(struct reload *reload)
{
	const char *file = reload->server->config->file;

	reload->is_config_closed = access(file, R_OK) < 0;
	if (!reload->is_config_closed)
		reload->config = config_load(file, &reload->faults);
}

static void work_reload(void *arg)
{
	struct reload *reload = arg;
	struct server *server = reload->server;

	reload->map = map_load(server->config->map, config_has_client_ca(server->config),
			       &reload->faults);
	if (reload->map)
		server_check_map(server->config, reload->map, &reload->faults);
	reload_config(reload);
	if (reload->map && (reload->config || reload->is_config_closed))
		server_check_oauth(server->config,
				   reload->config ? reload->config->profiles
						  : server->stations->worker->profiles,
				   reload->map, &reload->faults);
	for (size_t i = 0; i < server->config->listener_count; i++)
		reload->tls[i] = listener_tls_load(server->config, &server->config->listeners[i],
						   server->tickets, &reload->faults);
}

/* What is read, in force at one station; by its own thread. */
static void use_at(struct station *station, const struct reload *reload)
{
	const struct config *config = reload->config;

	worker_renew(station->worker, map_hold(reload->map),
		     config ? oauth_profiles_hold(config->profiles) : NULL);
	for (size_t i = 0; i < station->server->config->listener_count; i++) {
		struct listener *listener = &station->listeners[i];
		struct tls_server_conf *tls = reload->tls[i];
		listener_use_tls(listener, tls ? tls_server_conf_hold(tls) : NULL);
		if (!config)
			continue;
		listener->session.failure_ms = config->failure_ms;
		listener->session.failures = config->failures;
	}
}

struct errand {
	struct reload *reload;
	struct station *station;
};

static void on_done(void *arg)
{
	struct reload *reload = arg;

	reload->waited_for--;
	fiber_wake(&reload->server->stations->worker->fibers, reload->fiber);
}

static void on_errand(void *arg)
{
	struct errand *errand = arg;
	struct reload *reload = errand->reload;

	use_at(errand->station, reload);
	free(errand);
	post_send(&reload->server->stations->post, on_done, reload);
}

/* Waits until it is in force everywhere. */
static void use_everywhere(struct reload *reload)
{
	struct server *server = reload->server;
	struct guard_conf conf;

	if (reload->config) {
		server_guard_conf(reload->config, &conf);
		guard_configure(server->guard, &conf);
	}
	use_at(server->stations, reload);
	reload->fiber = server->stations->worker->fibers.current;
	for (unsigned i = 1; i < server->places.count; i++) {
		struct errand *errand = mem_alloc(sizeof *errand);
		*errand = (struct errand){reload, &server->stations[i]};
		reload->waited_for++;
		post_send(&errand->station->post, on_errand, errand);
	}
	while (reload->waited_for)
		fiber_wait(&server->stations->worker->fibers, "reload");
}

static void reload_end(struct reload *reload)
{
	map_release(reload->map);
	for (size_t i = 0; i < reload->server->config->listener_count; i++)
		tls_server_conf_release(reload->tls[i]);
	config_free(reload->config);
	faults_fini(&reload->faults);
	free(reload->tls);
}

static void log_faults(const struct log *log, const struct faults *faults)
{
	size_t kept = faults->count < FAULTS_MAX ? faults->count : FAULTS_MAX;

	for (size_t i = 0; i < kept; i++)
		LOG(log, LEVEL_ALARM, "reload-failed", log_text("why", faults->lines[i]));
}

static void reload_run(void *arg)
{
	struct server *server = arg;
	const struct env *env = &server->stations->worker->world.env;
	const struct log *log = &server->stations->worker->log;
	struct reload reload = {.server = server};

	reload.tls = mem_alloc(server->config->listener_count * sizeof *reload.tls);
	env->ops->offload(env, work_reload, &reload);
	if (reload.faults.count) {
		log_faults(log, &reload.faults);
	} else {
		use_everywhere(&reload);
		LOG(log, LEVEL_NOTE, "reloaded", log_number("entries", map_count(reload.map)));
	}
	if (reload.is_config_closed)
		LOG(log, LEVEL_WARN, "config-not-read", log_text("file", server->config->file),
		    log_text("why", "permission denied"),
		    log_text("hint", "what it says is as it was at the start"));
	reload_end(&reload);
	server->is_reloading = false;
	server_leave(server);
	if (server->is_reload_due)
		server_reload(server);
}

void server_reload(struct server *server)
{
	struct worker *worker = server->stations->worker;

	server->is_reload_due = server->is_reloading;
	if (server->is_reloading || server->is_draining || !server->config->map)
		return;
	server->is_reloading = true;
	server_join(server);
	struct err err = fiber_spawn(&worker->fibers, reload_run, server);
	if (err.kind) {
		server->is_reloading = false;
		server_leave(server);
		log_err(&worker->log, LEVEL_ALARM, "reload-failed", err);
	}
}
