/* SPDX-License-Identifier: MIT */
/* probe.c - `popgate probe NAME`: opens a maildrop as a session would, tells what is there and what
 * would be done with it, and changes nothing.
 *
 * The folder is opened with policies that write nothing, and without state: neither is anything
 * remembered, nor does what is remembered hide a message. What the map says would be done is told by
 * the store itself (upstream_ops.describe).
 */
#include "proxy/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/ask.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/config.h"
#include "proxy/map.h"
#include "proxy/privilege.h"
#include "proxy/secret.h"
#include "proxy/token_place.h"
#include "proxy/worker.h"

enum {
	DONE = 0,
	FAILED = 1,
	USAGE = 2,
	SHOWN = 5,            /* UIDLs */
	WORDS_MAX = 64 << 10, /* octets that a store may tell */
};

struct probe {
	const char *asked; /* NAME as it was given */
	bool is_stdin;
	struct config *config;
	struct map *map;
	struct map_target target;
	char *name; /* canonical */
	struct login login;
	struct token_place place; /* of the token, if it is one */
	struct worker worker;
	struct maildrop maildrop;
	struct buf words; /* what the store told */
	struct notice why;
	struct err err;
	bool is_run, is_listed;
};

static int usage(const char *wrong)
{
	fprintf(stderr,
		"popgate: probe: %s\nusage: popgate [-c FILE] probe [--password-stdin] NAME\n",
		wrong);
	return USAGE;
}

static bool fail(const char *what, const char *why)
{
	fprintf(stderr, "popgate: probe: %s%s%s\n", what, why && *why ? ": " : "", why ? why : "");
	return false;
}

static const char *parse(struct probe *probe, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--password-stdin"))
			probe->is_stdin = true;
		else if (*argv[i] == '-')
			return "no such option";
		else if (probe->asked)
			return "one NAME only";
		else
			probe->asked = argv[i];
	}
	return probe->asked ? NULL : "NAME is missing";
}

/* --- what is needed ----------------------------------------------------------------------- */

static bool find_target(struct probe *probe)
{
	struct faults faults = {0};
	struct notice why = {""};

	probe->name = map_canonical_dup(probe->asked);
	if (!probe->name)
		return fail("a name is 1 to 255 octets without control characters", NULL);
	probe->map = map_load(probe->config->map, config_has_client_ca(probe->config), &faults);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	if (!probe->map)
		return false;
	const struct map_entry *entry = map_find(probe->map, probe->name);
	if (!entry)
		return fail(probe->asked, "no such name in the map");
	if (map_target(probe->map, entry, probe->name, &why, &probe->target).kind)
		return fail(probe->asked, why.text);
	if (probe->target.reject)
		return fail("the map rejects this name", probe->target.reject);
	return true;
}

/* The map's secret, or the one that a client would send. */
static bool read_password(struct probe *probe)
{
	struct ask ask = {""};

	if (!probe->target.login)
		return true;
	probe->login.user = text_dup(probe->target.login);
	if (probe->target.oauth)
		return token_place_open(&probe->place, probe->config, "probe");
	if (!probe->target.is_passed_through) {
		struct err err = secret_read(&probe->target, &probe->why, &probe->login.password);
		probe->login.is_stored = true;
		return !err.kind || fail(err.what, probe->why.text);
	}
	bool is_read = probe->is_stdin ? ask_line(&ask) : ask_hidden("Password: ", &ask);
	if (is_read)
		probe->login.password = text_dup(ask.text);
	mem_wipe(&ask, sizeof ask);
	if (!is_read && probe->is_stdin)
		return fail("a password is missing on standard input", NULL);
	return is_read || fail("no password from a terminal", "use --password-stdin");
}

static bool prepare(struct probe *probe, const char *config_file)
{
	struct faults faults = {0};
	const struct log log = {.target = &log_to_stderr};

	probe->config = config_load(config_file, &faults);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	if (!probe->config || !find_target(probe))
		return false;
	if (probe->target.oauth && !token_place_begin(&probe->place, probe->config, "probe"))
		return false;
	/* What the daemon may not read must not be read here either. */
	struct err err = privilege_drop(&log, probe->config->user, NULL, &probe->why);
	if (err.kind)
		return fail(err.what, probe->why.text);
	return read_password(probe);
}

/* --- the work ----------------------------------------------------------------------------- */

static bool is_wanted_now(const void *arg)
{
	(void)arg;
	return true;
}

static struct err work(struct probe *probe)
{
	struct upstream_conf conf = probe->target.upstream;
	struct upstream *upstream;

	if (probe->target.oauth)
		TRY(token_place_login(&probe->place, probe->config, &probe->worker.world.env,
				      &probe->target, &probe->login, &probe->why));
	conf.name = probe->name;
	conf.delete_policy = DELETE_NEVER;
	conf.seen_policy = SEEN_NEVER;
	conf.measure_sizes = false; /* it would fetch every message */
	TRY(conf.ops->open(&probe->worker.world.env, &probe->worker.log, &conf, &probe->login,
			   &probe->why, &upstream));
	struct err err = conf.ops->list(upstream, &probe->maildrop);
	probe->is_listed = !err.kind;
	if (conf.ops->describe)
		conf.ops->describe(upstream, &probe->target.upstream, &probe->words);
	conf.ops->close(upstream, NULL, is_wanted_now, NULL);
	return err;
}

static void run(void *arg)
{
	struct probe *probe = arg;

	probe->err = work(probe);
	probe->is_run = true;
}

/* --- the report --------------------------------------------------------------------------- */

static void report_target(const struct probe *probe)
{
	static const char *const schemes[] = {[UPSTREAM_CLEAR] = "imap",
					      [UPSTREAM_STARTTLS] = "imap+starttls",
					      [UPSTREAM_TLS] = "imaps"};
	const struct upstream_conf *conf = &probe->target.upstream;

	printf("name: %s\n", probe->name);
	printf("state: %s\n", probe->config->state
				      ? probe->config->state
				      : "none, so nothing is remembered between sessions");
	if (conf->path) {
		printf("upstream: %s:%s\n", conf->ops->name, conf->path);
		return;
	}
	bool is_six = strchr(conf->host, ':') != NULL;
	printf("upstream: %s://%s%s%s:%u/%s\n", schemes[conf->tls], is_six ? "[" : "", conf->host,
	       is_six ? "]" : "", conf->port, conf->folder);
	printf("login: %s, with %s\n", probe->target.login,
	       probe->target.oauth                ? "a token"
	       : !probe->target.is_passed_through ? "the map's secret"
						  : "the client's password");
}

static void report_messages(const struct maildrop *maildrop)
{
	bool is_inexact = false;

	for (size_t i = 0; i < maildrop->total; i++)
		is_inexact |= (maildrop->messages[i].marks & MARK_INEXACT) != 0;
	printf("messages: %zu\n", maildrop->count);
	printf("octets: %" PRIu64 "%s\n", maildrop->octets, is_inexact ? ", some guessed" : "");
	for (size_t i = 0; i < maildrop->total && i < SHOWN; i++) {
		char uidl[UIDL_MAX + 1];
		const struct message *message = &maildrop->messages[i];
		maildrop_uidl(maildrop, message, uidl);
		printf("uidl: %zu %s, %" PRIu64 " octets\n", i + 1, uidl, (uint64_t)message->octets);
	}
	if (maildrop->total > SHOWN)
		printf("uidl: %zu more\n", maildrop->total - SHOWN);
}

/* Why it failed, in words: ours, the system's, the server's. */
static void report_failure(const struct probe *probe)
{
	char words[sizeof probe->why.text];
	/* Beyond that are libuv's own numbers: of names that cannot be looked up. */
	bool is_local = probe->err.code > 0 && probe->err.code < 1000 &&
			probe->err.kind == ERR_UPSTREAM && probe->err.code != EAGAIN &&
			probe->err.code != EPROTO;

	text_printable(words, sizeof words, probe->why.text, strlen(probe->why.text), true);
	fprintf(stderr, "popgate: probe: %s%s%s%s%s%s\n", probe->err.what, is_local ? " (" : "",
		is_local ? strerror(probe->err.code) : "", is_local ? ")" : "", *words ? ": " : "",
		words);
}

static int run_all(struct probe *probe)
{
	signal(SIGPIPE, SIG_IGN);
	maildrop_init(&probe->maildrop);
	buf_init(&probe->words, WORDS_MAX);
	report_target(probe);
	fflush(stdout);
	worker_init(&probe->worker, map_hold(probe->map), &log_to_stderr);
	probe->err = fiber_spawn(&probe->worker.fibers, run, probe);
	if (!probe->err.kind) {
		worker_run(&probe->worker);
		if (!probe->is_run)
			probe->err = ERR(ERR_UPSTREAM, 0, "nothing was done");
	}
	worker_fini(&probe->worker);
	printf("%.*s", (int)buf_len(&probe->words),
	       buf_len(&probe->words) ? buf_data(&probe->words) : "");
	if (probe->is_listed)
		report_messages(&probe->maildrop);
	fflush(stdout);
	if (probe->err.kind)
		report_failure(probe);
	maildrop_fini(&probe->maildrop);
	buf_fini(&probe->words);
	return probe->err.kind ? FAILED : DONE;
}

int command_probe(const char *config_file, int argc, char **argv)
{
	struct probe *probe = mem_alloc(sizeof *probe);
	const char *wrong = parse(probe, argc, argv);
	int status = FAILED;

	if (wrong)
		status = usage(wrong);
	else if (prepare(probe, config_file))
		status = run_all(probe);
	login_fini(&probe->login);
	token_place_close(&probe->place);
	map_target_fini(&probe->target);
	map_release(probe->map);
	config_free(probe->config);
	free(probe->name);
	free(probe);
	return status;
}
