/* SPDX-License-Identifier: MIT */
/* server.c - the stations of all workers, what they share, and their end. */
#include "proxy/server.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/headroom.h"
#include "proxy/map_policy.h"
#include "proxy/server_own.h"
#include "session/authorization.h"

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

void server_init(struct server *server, struct worker *workers, unsigned count,
		 const struct config *config, bool self_signed, struct faults *faults)
{
	const struct env *env = &workers->world.env;
	struct guard_conf guard;

	*server = (struct server){.config = config, .places.count = count};
	if (uv_sem_init(&server->go, 0))
		abort();
	uv_timer_init(&workers->loop, &server->drain);
	server->drain.data = server;
	server_guard_conf(config, &guard);
	server->guard = guard_new(env, &guard);
	server->headroom = headroom_new(HEADROOM_MIB);
	env->ops->random(env, server->exchange_key, sizeof server->exchange_key);
	env->ops->random(env, server->places.key, sizeof server->places.key);
	server->tickets = tls_tickets_new(env);
	server->stations = mem_alloc(count * sizeof *server->stations);
	for (unsigned i = 0; i < count; i++) {
		struct station *station = &server->stations[i];
		*station = (struct station){.server = server, .worker = &workers[i], .number = i};
		server_join(server);
		if (!i)
			station_init_first(station, self_signed, faults);
		else
			station_init_next(station, server->stations, faults);
	}
}

/* As long as any other reason to go on is left. */
static bool begin_asking(void *arg)
{
	struct server *server = arg;
	size_t busy = atomic_load(&server->busy);

	while (busy && !atomic_compare_exchange_weak(&server->busy, &busy, busy + 1))
		;
	return busy != 0;
}

static void end_asking(void *arg)
{
	server_leave(arg);
}

static void run_station(void *arg)
{
	struct station *station = arg;

	uv_sem_wait(&station->server->go);
	if (station->server->is_void)
		return;
	station_begin_chores(station);
	station_begin_keeping(station);
	worker_run(station->worker);
}

int server_start(struct server *server)
{
	const struct token_stay stay = {begin_asking, end_asking, server};
	int failed = 0;

	if (server->stations->worker->tokens)
		tokens_stay(server->stations->worker->tokens, &stay);
	for (unsigned i = 1; i < server->places.count && !failed; i++) {
		struct station *station = &server->stations[i];
		failed = uv_thread_create(&station->thread, run_station, station);
		server->started += !failed;
	}
	server->is_void = failed;
	/* All serve, or none. */
	for (unsigned i = 0; i < server->started; i++)
		uv_sem_post(&server->go);
	if (!failed) {
		station_begin_chores(server->stations);
		station_begin_keeping(server->stations);
	}
	return -failed;
}

void server_join_threads(struct server *server)
{
	for (unsigned i = 1; i <= server->started; i++)
		uv_thread_join(&server->stations[i].thread);
	server->started = 0;
}

/* --- end ---------------------------------------------------------------------------------- */

static void tell_all(struct server *server, void (*read)(void *station))
{
	for (unsigned i = 0; i < server->places.count; i++)
		post_send(&server->stations[i].post, read, &server->stations[i]);
}

static void stop_all(void *arg)
{
	tell_all(arg, station_stop);
}

void server_join(struct server *server)
{
	atomic_fetch_add(&server->busy, 1);
}

void server_leave(struct server *server)
{
	if (atomic_fetch_sub(&server->busy, 1) == 1)
		post_send(&server->stations->post, stop_all, server);
}

static void on_last_moment(uv_timer_t *timer)
{
	struct server *server = timer->data;

	LOG(&server->stations->worker->log, LEVEL_ALARM, "drain-incomplete",
	    log_number("sessions", atomic_load(&server->active)));
	stop_all(server);
}

static void cut_all(uv_timer_t *timer)
{
	struct server *server = timer->data;

	if (server->is_cut)
		return;
	server->is_cut = true;
	tell_all(server, station_cut);
	uv_timer_start(&server->drain, on_last_moment, SERVER_UPDATE_MS, 0);
}

void server_drain(struct server *server)
{
	if (server->is_draining) {
		cut_all(&server->drain);
		return;
	}
	server->is_draining = true;
	LOG(&server->stations->worker->log, LEVEL_NOTE, "draining",
	    log_number("sessions", atomic_load(&server->active)));
	tell_all(server, station_drain);
	uv_timer_start(&server->drain, cut_all, server->config->drain_ms, 0);
}

void server_fini(struct server *server)
{
	uv_close((uv_handle_t *)&server->drain, NULL);
	for (unsigned i = 0; i < server->places.count; i++)
		station_fini(&server->stations[i]);
	free(server->stations);
	uv_sem_destroy(&server->go);
	tls_tickets_free(server->tickets);
	guard_free(server->guard);
	headroom_free(server->headroom);
	mem_wipe(server->exchange_key, sizeof server->exchange_key);
}
