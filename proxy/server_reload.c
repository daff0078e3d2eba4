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
						  : server->worker->profiles,
				   reload->map, &reload->faults);
	for (size_t i = 0; i < server->config->listener_count; i++)
		reload->tls[i] = listener_tls_load(server->config, &server->config->listeners[i],
						   server->tickets, &reload->faults);
}

static void use_config(struct server *server, const struct config *config)
{
	struct worker *worker = server->worker;
	struct guard_conf conf;

	oauth_profiles_release(worker->profiles);
	worker->profiles = oauth_profiles_hold(config->profiles);
	server_guard_conf(config, &conf);
	guard_configure(server->guard, &conf);
	for (size_t i = 0; i < server->config->listener_count; i++) {
		server->listeners[i].session.failure_ms = config->failure_ms;
		server->listeners[i].session.failures = config->failures;
	}
}

static void reload_run(void *arg)
{
	struct server *server = arg;
	struct worker *worker = server->worker;
	struct reload reload = {.server = server};

	reload.tls = mem_alloc(server->config->listener_count * sizeof *reload.tls);
	worker->world.env.ops->offload(&worker->world.env, work_reload, &reload);
	bool is_good = !reload.faults.count;
	if (is_good) {
		map_release(worker->map);
		worker->map = reload.map;
		if (reload.config)
			use_config(server, reload.config);
		/* What it keeps of CA files is read anew at their next use. */
		tls_client_conf_free(worker->tls_client);
		worker->tls_client = worker->world.client = tls_client_conf_new();
		LOG(&worker->log, LEVEL_NOTE, "reloaded",
		    log_number("entries", map_count(worker->map)));
	} else {
		map_release(reload.map);
		size_t kept = reload.faults.count < FAULTS_MAX ? reload.faults.count : FAULTS_MAX;
		for (size_t i = 0; i < kept; i++)
			LOG(&worker->log, LEVEL_ALARM, "reload-failed",
			    log_text("why", reload.faults.lines[i]));
	}
	for (size_t i = 0; i < server->config->listener_count; i++) {
		if (is_good)
			listener_use_tls(&server->listeners[i], reload.tls[i]);
		else
			tls_server_conf_release(reload.tls[i]);
	}
	if (reload.is_config_closed)
		LOG(&worker->log, LEVEL_WARN, "config-not-read",
		    log_text("file", server->config->file), log_text("why", "permission denied"),
		    log_text("hint", "what it says is as it was at the start"));
	config_free(reload.config);
	faults_fini(&reload.faults);
	free(reload.tls);
	server->is_reloading = false;
	server_stop_if_idle(server);
	if (server->is_reload_due)
		server_reload(server);
}

void server_reload(struct server *server)
{
	server->is_reload_due = server->is_reloading;
	if (server->is_reloading || server->is_draining || !server->config->map)
		return;
	server->is_reloading = true;
	struct err err = fiber_spawn(&server->worker->fibers, reload_run, server);
	if (err.kind) {
		server->is_reloading = false;
		log_err(&server->worker->log, LEVEL_ALARM, "reload-failed", err);
	}
}
