/* SPDX-License-Identifier: MIT */
/* serve.c - from files, or from nothing, to a running server. */
#include "proxy/serve.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "proxy/privilege.h"
#include "proxy/server.h"
#include "proxy/statedir.h"
#include "proxy/status.h"

enum { SIGNALS = 4 };

struct serving {
	struct worker worker;
	struct server server;
	uv_signal_t signals[SIGNALS];
	int state_lock; /* a descriptor; -1: none */
};

static void on_signal(uv_signal_t *handle, int number)
{
	struct serving *serving = handle->data;

	switch (number) {
	case SIGHUP:
		server_reload(&serving->server);
		break;
	case SIGUSR1:
		status_log(&serving->server);
		break;
	default:
		server_drain(&serving->server);
	}
}

static void watch_signals(struct serving *serving)
{
	static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < SIGNALS; i++) {
		uv_signal_init(&serving->worker.loop, &serving->signals[i]);
		serving->signals[i].data = serving;
		uv_signal_start(&serving->signals[i], on_signal, numbers[i]);
	}
}

static void close_signals(struct serving *serving)
{
	for (size_t i = 0; i < SIGNALS; i++)
		uv_close((uv_handle_t *)&serving->signals[i], NULL);
}

/* Before the first thread: libuv reads its pool's size once; libetpan's list of extensions and the
 * allocator are global. */
static void prepare_process(const struct config *config)
{
	char threads[16];

	snprintf(threads, sizeof threads, "%u", config->threads);
	setenv("UV_THREADPOOL_SIZE", threads, 1);
	mallopt(M_ARENA_MAX, 2);
	if (!oauth_begin())
		fputs("popgate: libcurl cannot work: no token will be renewed\n", stderr);
	if (config->log_syslog)
		openlog("popgate", LOG_PID, LOG_MAIL);
}

/* Sockets as who we were started as, files as who we become. All that is wrong goes to `faults`. */
static void prepare(struct serving *serving, const struct config *config, bool self_signed,
		    struct faults *faults)
{
	struct worker *worker = &serving->worker;
	struct notice why = {""};

	privilege_limits(&worker->log, config->max_sessions);
	server_init(&serving->server, worker, config, self_signed, faults);
	watch_signals(serving);
	statedir_make(config, faults);
	if (faults->count)
		return;
	config_oauth_key(config, faults, &worker->token_key);
	if (faults->count)
		return;
	struct err err = privilege_drop(&worker->log, config->user, config->state, &why);
	if (err.kind)
		faults_add(faults, config->file, config->user_line, "%s: %s", err.what, why.text);
	else
		statedir_open(config, &worker->log, faults, &worker->state, &serving->state_lock);
	worker->profiles = oauth_profiles_hold(config->profiles);
	worker_open_tokens(worker);
	if (worker->tokens && config->threads / 2 < TOKENS_AT_ONCE)
		tokens_limit(worker->tokens, config->threads / 2);
}

static void run(struct serving *serving, const struct config *config, const char *url)
{
	const struct log *log = &serving->worker.log;

	if (url)
		fprintf(stderr,
			"popgate: POP3 on 127.0.0.1:1110 (STLS with a certificate made "
			"just now) for %s\n"
			"popgate: log in with the name and password of that server; ^C "
			"ends\n",
			url);
	LOG(log, LEVEL_NOTE, "serving", log_number("listeners", config->listener_count),
	    log_number("entries", map_count(serving->worker.map)),
	    log_text("state", config->state ? config->state : "none"));
	server_begin_chores(&serving->server);
	worker_run(&serving->worker);
	LOG(log, LEVEL_NOTE, "stopped", log_number("served", serving->server.served));
}

/* Runs until a signal ends it. Takes the map over. `url`: NULL but for command_url(). */
static int serve(const struct config *config, struct map *map, const char *url)
{
	struct serving *serving = calloc(1, sizeof *serving);
	struct faults faults = {0};

	if (!serving)
		return 1;
	serving->state_lock = -1;
	prepare_process(config);
	worker_init(&serving->worker, map, config->log_syslog ? &log_to_syslog : &log_to_stderr);
	prepare(serving, config, url != NULL, &faults);
	int status = faults.count ? 1 : 0;
	if (faults.count)
		faults_print(&faults, stderr);
	else
		run(serving, config, url);
	/* Fibers that the last moment cut short cannot be unwound, and the pool may still work for
	 * them, with libraries that exit(3) would take away: the kernel tidies up. */
	if (serving->worker.fibers.alive)
		_exit(serving->server.active ? 1 : status);
	close_signals(serving);
	server_fini(&serving->server);
	worker_fini(&serving->worker);
	statedir_leave(serving->state_lock);
	faults_fini(&faults);
	free(serving);
	return status;
}

int command_serve(const char *config_file, int argc, char **argv)
{
	struct faults faults = {0};
	int status = 1;

	if (argc != 1) {
		fprintf(stderr, "popgate: %s takes no arguments\n", argv[0]);
		return 2;
	}
	struct config *config = config_load(config_file, &faults);
	struct map *map =
		config ? map_load(config->map, config_has_client_ca(config), &faults) : NULL;
	if (map)
		server_check_map(config, map, &faults);
	if (map)
		server_check_oauth(config, config->profiles, map, &faults);
	if (map && !faults.count) {
		status = serve(config, map, NULL);
	} else {
		map_release(map);
		faults_print(&faults, stderr);
	}
	config_free(config);
	faults_fini(&faults);
	return status;
}

int command_url(const char *url)
{
	static const char text[] = "[listener url]\n"
				   "address = 127.0.0.1:1110\n"
				   "tls = starttls\n"
				   "cleartext = allow-loopback\n";
	struct faults faults = {0};
	int status = 1;

	struct map *map = map_from_url(url, &faults);
	struct config *config = map ? config_from_text(text, &faults) : NULL;
	if (config) {
		status = serve(config, map, url);
	} else {
		map_release(map);
		faults_print(&faults, stderr);
	}
	config_free(config);
	faults_fini(&faults);
	return status;
}
