/* SPDX-License-Identifier: MIT */
/* serve.c - from files, or from nothing, to a running server. */
#include "proxy/serve.h"

#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/privilege.h"
#include "proxy/server.h"
#include "proxy/statedir.h"
#include "proxy/status.h"

enum {
	SIGNALS = 4,
	SPARE_OCTETS = 64 << 20, /* freed memory that stays ours, of all workers */
};

struct serving {
	struct worker *workers; /* owned array; the first is this thread's */
	unsigned count;
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
		uv_signal_init(&serving->workers->loop, &serving->signals[i]);
		serving->signals[i].data = serving;
		uv_signal_start(&serving->signals[i], on_signal, numbers[i]);
	}
}

static void close_signals(struct serving *serving)
{
	for (size_t i = 0; i < SIGNALS; i++)
		uv_close((uv_handle_t *)&serving->signals[i], NULL);
}

/* Before the first thread: libuv reads its pool's size once, and the allocator is global. */
static void prepare_process(const struct config *config, unsigned workers)
{
	char threads[16];

	snprintf(threads, sizeof threads, "%u", config->threads);
	setenv("UV_THREADPOOL_SIZE", threads, 1);
	/* One arena for each worker and one for the pool: more would only keep more. */
	mallopt(M_ARENA_MAX, (int)workers + 1);
	/* A large mailbox takes the memory that another has left: fresh pages are half of the CPU of
	 * listing it again. */
	mallopt(M_MMAP_THRESHOLD, SPARE_OCTETS / 2);
	mallopt(M_TRIM_THRESHOLD, SPARE_OCTETS / (int)workers);
	if (!oauth_begin())
		fputs("popgate: libcurl cannot work: no token will be renewed\n", stderr);
	if (config->log_syslog)
		openlog("popgate", LOG_PID, LOG_MAIL);
}

/* Sockets as who we were started as, files as who we become. All that is wrong goes to `faults`. */
static void prepare(struct serving *serving, const struct config *config, bool self_signed,
		    struct faults *faults)
{
	struct worker *worker = serving->workers;
	struct notice why = {""};

	privilege_limits(&worker->log, config->max_sessions);
	server_init(&serving->server, worker, serving->count, config, self_signed, faults);
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
	if (worker->state)
		exchange_key_settle(worker->state, &worker->log, serving->server.exchange_key);
	worker->profiles = oauth_profiles_hold(config->profiles);
	worker_open_tokens(worker);
	if (worker->tokens && config->threads / 2 < TOKENS_AT_ONCE)
		tokens_limit(worker->tokens, config->threads / 2);
	for (unsigned i = 1; i < serving->count; i++)
		worker_be_guest(&serving->workers[i], worker);
}

static bool run(struct serving *serving, const struct config *config, const char *url)
{
	const struct log *log = &serving->workers->log;
	int failed = server_start(&serving->server);

	if (failed)
		fprintf(stderr, "popgate: %s: workers = %u: no thread for one more: %s\n",
			config->file, serving->count, strerror(failed));
	if (failed) {
		server_join_threads(&serving->server);
		return false;
	}
	if (url)
		fprintf(stderr,
			"popgate: POP3 on 127.0.0.1:1110 (STLS with a certificate made "
			"just now) for %s\n"
			"popgate: log in with the name and password of that server; ^C "
			"ends\n",
			url);
	LOG(log, LEVEL_NOTE, "serving", log_number("listeners", config->listener_count),
	    log_number("entries", map_count(serving->workers->map)),
	    log_text("state", config->state ? config->state : "none"),
	    log_number("workers", serving->count));
	worker_run(serving->workers);
	server_join_threads(&serving->server);
	LOG(log, LEVEL_NOTE, "stopped", log_number("served", atomic_load(&serving->server.served)));
	return true;
}

/* As many as CPUs that we may use, unless the configuration says it. */
static unsigned count_workers(const struct config *config)
{
	cpu_set_t set;
	unsigned cpus = 1;

	if (config->workers)
		return config->workers;
	if (!sched_getaffinity(0, sizeof set, &set))
		cpus = (unsigned)CPU_COUNT(&set);
	return cpus < WORKERS_MAX ? cpus : WORKERS_MAX;
}

static void make_workers(struct serving *serving, const struct config *config, struct map *map)
{
	struct log_target *target = config->log_syslog ? &log_to_syslog : &log_to_stderr;

	serving->workers = mem_alloc(serving->count * sizeof *serving->workers);
	for (unsigned i = 0; i < serving->count; i++)
		worker_init(&serving->workers[i], i ? map_hold(map) : map, target);
}

static size_t count_fibers(const struct serving *serving)
{
	size_t count = 0;

	for (unsigned i = 0; i < serving->count; i++)
		count += serving->workers[i].fibers.alive;
	return count;
}

/* Runs until a signal ends it. Takes the map over. `url`: NULL but for command_url(). */
static int serve(const struct config *config, struct map *map, const char *url)
{
	struct serving *serving = calloc(1, sizeof *serving);
	struct faults faults = {0};

	if (!serving)
		return 1;
	serving->state_lock = -1;
	serving->count = count_workers(config);
	prepare_process(config, serving->count);
	make_workers(serving, config, map);
	prepare(serving, config, url != NULL, &faults);
	int status = faults.count ? 1 : 0;
	if (faults.count)
		faults_print(&faults, stderr);
	else if (!run(serving, config, url))
		status = 1;
	/* Fibers that the last moment cut short cannot be unwound, and the pool may still work for
	 * them, with libraries that exit(3) would take away: the kernel tidies up. */
	if (count_fibers(serving))
		_exit(atomic_load(&serving->server.active) ? 1 : status);
	close_signals(serving);
	server_fini(&serving->server);
	for (unsigned i = serving->count; i > 0; i--) /* the guests first */
		worker_fini(&serving->workers[i - 1]);
	free(serving->workers);
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
	static const char text[] = "[popgate]\n"
				   "workers = 1\n"
				   "[listener url]\n"
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
