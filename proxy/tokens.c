/* SPDX-License-Identifier: MIT */
/* tokens.c - `popgate tokens`: what became of each grant; and those of one mailbox removed. Never shows a
 * token. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include <jansson.h>

#include "proxy/base/mem.h"
#include "proxy/enrol.h"
#include "proxy/privilege.h"
#include "proxy/token_place.h"
#include "proxy/worker.h"

enum { DONE = 0, FAILED = 1, USAGE = 2, MOMENT = 32 };

struct listing {
	bool is_json;
	const char *forget; /* a key of the map; NULL: list them all */
	struct config *config;
	struct token_place place;
	struct worker worker;
	struct token_facts *all;
	size_t count;
	struct err err;
	bool is_run;
};

/* RFC 3339, UTC; "never". */
static const char *moment(uint64_t seconds, char out[MOMENT])
{
	time_t time = (time_t)seconds;
	struct tm tm;

	if (!seconds || !gmtime_r(&time, &tm) || !strftime(out, MOMENT, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return "never";
	return out;
}

static void print_text(const struct token_facts *facts)
{
	char expires[MOMENT], got[MOMENT], granted[MOMENT], trouble[MOMENT], held[MOMENT];

	printf("%s %s", facts->key, facts->profile);
	if (facts->is_shut) {
		puts(" unreadable: another token_key, or damage");
		return;
	}
	printf(" expires=%s refreshed=%s", moment(facts->expires_s, expires),
	       moment(facts->got_s, got));
	if (facts->granted_s)
		printf(" enrolled=%s", moment(facts->granted_s, granted));
	if (*facts->trouble)
		printf(" failed=%s error=\"%s\"", moment(facts->trouble_s, trouble),
		       facts->trouble);
	if (facts->held_s)
		printf(" not_before=%s", moment(facts->held_s, held));
	putchar('\n');
}

static void set_moment(json_t *object, const char *name, uint64_t seconds)
{
	char text[MOMENT];

	json_object_set_new(object, name,
			    seconds ? json_string(moment(seconds, text)) : json_null());
}

static json_t *make_json(const struct token_facts *facts)
{
	json_t *object = json_object();
	json_t *key = json_string(facts->key);

	/* What is no UTF-8 is shown without what is wrong in it. */
	json_object_set_new(object, "key", key ? key : json_null());
	json_object_set_new(object, "profile", json_string(facts->profile));
	json_object_set_new(object, "readable", json_boolean(!facts->is_shut));
	if (facts->is_shut)
		return object;
	set_moment(object, "expires", facts->expires_s);
	set_moment(object, "refreshed", facts->got_s);
	set_moment(object, "enrolled", facts->granted_s);
	set_moment(object, "failed", facts->trouble_s);
	json_object_set_new(object, "error",
			    *facts->trouble ? json_string(facts->trouble) : json_null());
	set_moment(object, "not_before", facts->held_s);
	return object;
}

static void print_json(const struct listing *listing)
{
	json_t *array = json_array();

	for (size_t i = 0; i < listing->count; i++)
		json_array_append_new(array, make_json(&listing->all[i]));
	json_dumpf(array, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(array);
}

static bool prepare(struct listing *listing, const char *config_file)
{
	struct faults faults = {0};
	struct notice why = {""};
	const struct log log = {.target = &log_to_stderr};

	/* What is wrong elsewhere does not keep anybody from looking. */
	listing->config = config_load_partly(config_file, &faults);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	if (!listing->config || !token_place_begin(&listing->place, listing->config, "tokens"))
		return false;
	struct err err = privilege_drop(&log, listing->config->user, listing->config->state, &why);
	if (err.kind) {
		fprintf(stderr, "popgate: tokens: %s: %s\n", err.what, why.text);
		return false;
	}
	if (listing->config->log_syslog)
		openlog("popgate", LOG_PID, LOG_MAIL);
	return token_place_open(&listing->place, listing->config, "tokens");
}

/* On the terminal for who asked, in the log for who asks later. */
static void tell_forgotten(void *arg, const char *profile)
{
	const struct listing *listing = arg;
	const struct log log = {.target = listing->config->log_syslog ? &log_to_syslog
								      : &log_to_stderr};

	LOG(&log, LEVEL_NOTE, "token-forgotten", log_text("user", listing->forget),
	    log_text("profile", profile));
	printf("Removed: %s %s\n", listing->forget, profile);
}

static void run(void *arg)
{
	struct listing *listing = arg;
	const struct env *env = &listing->worker.world.env;

	if (listing->forget)
		listing->err = tokens_forget(listing->place.tokens, env, listing->forget,
					     tell_forgotten, listing, &listing->count);
	else
		listing->err =
			tokens_list(listing->place.tokens, env, &listing->all, &listing->count);
	listing->is_run = true;
}

static int end_forgetting(const struct listing *listing)
{
	if (listing->count) {
		puts("A running popgate opens no mailbox by it from the next login on. What the "
		     "provider was\ntold is withdrawn there, by the mailbox's owner.");
		return DONE;
	}
	fprintf(stderr, "popgate: tokens: no token is stored for %s: popgate tokens lists them\n",
		listing->forget);
	return FAILED;
}

static int run_all(struct listing *listing)
{
	signal(SIGPIPE, SIG_IGN);
	worker_init(&listing->worker, NULL, &log_to_stderr);
	listing->err = fiber_spawn(&listing->worker.fibers, run, listing);
	if (!listing->err.kind) {
		worker_run(&listing->worker);
		if (!listing->is_run)
			listing->err = ERR(ERR_UPSTREAM, 0, "nothing was done");
	}
	worker_fini(&listing->worker);
	if (listing->err.kind) {
		fprintf(stderr, "popgate: tokens: %s\n", listing->err.what);
		return FAILED;
	}
	if (listing->forget)
		return end_forgetting(listing);
	if (listing->is_json)
		print_json(listing);
	for (size_t i = 0; i < listing->count && !listing->is_json; i++)
		print_text(&listing->all[i]);
	return DONE;
}

int command_tokens(const char *config_file, int argc, char **argv)
{
	struct listing listing = {.is_json = argc == 2 && !strcmp(argv[1], "--json")};
	int status = FAILED;

	if (argc == 3 && !strcmp(argv[1], "--forget"))
		listing.forget = argv[2];
	if (argc > 1 && !listing.is_json && !listing.forget) {
		fprintf(stderr, "usage: popgate [-c FILE] %s [--json | --forget KEY]\n", argv[0]);
		return USAGE;
	}
	if (prepare(&listing, config_file))
		status = run_all(&listing);
	token_facts_free(listing.all, listing.all ? listing.count : 0);
	token_place_close(&listing.place);
	config_free(listing.config);
	return status;
}
