/* SPDX-License-Identifier: MIT */
/* enrol.c - `popgate enrol NAME`: somebody lets popgate into a mailbox.
 *
 * By default with a device code (RFC 8628): the provider gives a short code, whoever owns the mailbox
 * enters it in any browser anywhere, and popgate asks until that is done. With --browser by an
 * authorization code and PKCE (RFC 7636): a browser on this machine, or one that is tunnelled to it,
 * brings the answer. What comes of either is a refresh token, which is stored encrypted.
 */
#include "proxy/enrol.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/map.h"
#include "proxy/privilege.h"
#include "proxy/token_place.h"
#include "proxy/worker.h"

enum {
	DONE = 0,
	FAILED = 1,
	USAGE = 2,
	SLOWER_S = 5, /* RFC 8628 section 3.5: slow_down */
	PAUSE_MAX_S = 60,
	RANDOM = 32,     /* octets of a verifier or state */
	RANDOM_MAX = 64, /* the same as text */
};

struct enrol {
	const char *asked; /* NAME as it was given */
	bool is_browser;
	struct config *config;
	struct map *map;
	struct map_target target;
	char *name; /* canonical */
	const struct oauth_profile *profile;
	struct token_place place;
	struct worker worker;
	const struct env *env;
	struct oauth_reply reply;
	struct notice why;
	struct err err;
	bool is_run;
};

static bool fail(const char *what, const char *why)
{
	char text[sizeof((struct notice *)0)->text];

	text_printable(text, sizeof text, why ? why : "", why ? strlen(why) : 0, true);
	fprintf(stderr, "popgate: enrol: %s%s%s\n", what, *text ? ": " : "", text);
	return false;
}

static const char *parse(struct enrol *enrol, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--browser"))
			enrol->is_browser = true;
		else if (*argv[i] == '-')
			return "no such option";
		else if (enrol->asked)
			return "one NAME only";
		else
			enrol->asked = argv[i];
	}
	return enrol->asked ? NULL : "NAME is missing";
}

/* --- what is needed ----------------------------------------------------------------------- */

static bool find_target(struct enrol *enrol)
{
	struct faults faults = {0};
	struct notice why = {""};

	enrol->name = map_canonical_dup(enrol->asked);
	if (!enrol->name)
		return fail("a name is 1 to 255 octets without control characters", NULL);
	enrol->map = map_load(enrol->config->map, config_has_client_ca(enrol->config), &faults);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	if (!enrol->map)
		return false;
	const struct map_entry *entry = map_find(enrol->map, enrol->name);
	if (!entry)
		return fail(enrol->asked, "no such name in the map");
	if (map_target(enrol->map, entry, enrol->name, &why, &enrol->target).kind)
		return fail(enrol->asked, why.text);
	if (!enrol->target.oauth)
		return fail(enrol->asked, "its map entry has no oauth=");
	return true;
}

static bool find_profile(struct enrol *enrol)
{
	const struct oauth_section *section =
		oauth_profiles_find(enrol->config->profiles, enrol->target.oauth);

	if (!section)
		return fail(enrol->target.oauth, "the configuration has no such [oauth] section");
	enrol->profile = &section->profile;
	if (enrol->profile->grant != OAUTH_REFRESH)
		return fail(enrol->profile->name,
			    "a profile of this grant needs no enrolment: popgate probe tries it");
	if (enrol->is_browser && !enrol->profile->authorize_url)
		return fail(enrol->profile->name, "the profile has no authorize_url");
	if (!enrol->is_browser && !enrol->profile->device_url)
		return fail(enrol->profile->name, "the profile has no device_url: use --browser");
	return true;
}

static bool prepare(struct enrol *enrol, const char *config_file)
{
	struct faults faults = {0};
	const struct log log = {.target = &log_to_stderr};

	enrol->config = config_load(config_file, &faults);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	if (!enrol->config || !find_target(enrol) || !find_profile(enrol) ||
	    !token_place_begin(&enrol->place, enrol->config, "enrol"))
		return false;
	struct err err =
		privilege_drop(&log, enrol->config->user, enrol->config->state, &enrol->why);
	if (err.kind)
		return fail(err.what, enrol->why.text);
	return token_place_open(&enrol->place, enrol->config, "enrol");
}

/* --- asking the provider ------------------------------------------------------------------ */

struct asking {
	struct enrol *enrol;
	struct oauth_question question;
	struct err err;
};

static void work_asking(void *arg)
{
	struct asking *asking = arg;
	struct enrol *enrol = asking->enrol;

	asking->err = oauth_ask(enrol->profile, &oauth_http, &asking->question, &enrol->why,
				&enrol->reply);
}

/* The reply before is forgotten. */
static struct err ask(struct enrol *enrol, const struct oauth_question *question)
{
	struct asking asking = {enrol, *question, OK};

	oauth_reply_fini(&enrol->reply);
	enrol->why = (struct notice){""};
	enrol->env->ops->offload(enrol->env, work_asking, &asking);
	return asking.err;
}

/* --- by device code ----------------------------------------------------------------------- */

static void tell_code(const struct enrol *enrol)
{
	const struct oauth_reply *reply = &enrol->reply;

	printf("To let popgate open the mailbox of %s:\n\n", enrol->name);
	printf("  1. open      %s\n", reply->url);
	printf("  2. enter     %s\n", reply->user_code);
	printf("  3. log in as %s, and agree\n\n", enrol->target.login);
	if (reply->url_complete)
		printf("or open this, which holds the code: %s\n\n", reply->url_complete);
	printf("Waiting; the code is good for %u minutes.\n",
	       (unsigned)((reply->lifetime_s + 59) / 60));
	fflush(stdout);
}

/* Asks until the user has answered. A provider that cannot be reached is asked less often, and not
 * given up before the code has expired. */
static struct err poll_device(struct enrol *enrol, const char *device_code, uint64_t interval_s,
			      uint64_t lifetime_s)
{
	const struct env *env = enrol->env;
	const struct oauth_question question = {.what = OAUTH_ASK_DEVICE_TOKEN,
						.secret = device_code};
	uint64_t until_ms = env->ops->now(env) + lifetime_s * 1000;

	for (;;) {
		env->ops->sleep(env, interval_s * 1000);
		struct err err = ask(enrol, &question);
		enum oauth_trouble trouble = enrol->reply.trouble;
		if (trouble == OAUTH_FINE || (err.kind && trouble != OAUTH_PASSING))
			return err;
		if (env->ops->now(env) >= until_ms)
			return ERR(ERR_POLICY, 0, "the code has expired, and nobody agreed");
		if (trouble == OAUTH_SLOW_DOWN)
			interval_s += SLOWER_S;
		else if (trouble == OAUTH_PASSING)
			interval_s *= 2;
		if (interval_s > PAUSE_MAX_S)
			interval_s = PAUSE_MAX_S;
	}
}

static struct err by_device(struct enrol *enrol)
{
	const struct oauth_question question = {.what = OAUTH_ASK_DEVICE};

	TRY(ask(enrol, &question));
	tell_code(enrol);
	char *device_code = text_dup(enrol->reply.device_code);
	struct err err =
		poll_device(enrol, device_code, enrol->reply.interval_s, enrol->reply.lifetime_s);
	text_wipe_free(device_code);
	return err;
}

/* --- by browser --------------------------------------------------------------------------- */

struct browsing {
	int fd;
	unsigned port;
	char *redirect, *code;
	char state[RANDOM_MAX], verifier[RANDOM_MAX];
	struct notice *why;
	struct err err;
};

static void work_awaiting(void *arg)
{
	struct browsing *browsing = arg;

	browsing->err = enrol_await(browsing->fd, browsing->state, ENROL_BROWSER_S * UINT64_C(1000),
				    browsing->why, &browsing->code);
}

/* Text that nobody can guess, as RFC 7636 section 4.1 makes a verifier. */
static void make_random(const struct env *env, char out[RANDOM_MAX])
{
	unsigned char octets[RANDOM];
	struct buf text;

	env->ops->random(env, octets, sizeof octets);
	buf_init(&text, RANDOM_MAX);
	text.is_secret = true;
	if (!oauth_put_base64url(&text, octets, sizeof octets) || !buf_put(&text, "", 1))
		abort(); /* 44 octets fit */
	memcpy(out, buf_data(&text), buf_len(&text));
	buf_wipe(&text);
	mem_wipe(octets, sizeof octets);
}

static struct err browse(struct enrol *enrol, struct browsing *browsing)
{
	browsing->fd = enrol_listen(&browsing->redirect, &browsing->port);
	if (browsing->fd < 0)
		return ERR(ERR_UPSTREAM, errno, "no port for the browser to come back to");
	make_random(enrol->env, browsing->state);
	make_random(enrol->env, browsing->verifier);
	char *url = oauth_authorize_url_dup(enrol->profile, browsing->redirect, browsing->state,
					    browsing->verifier);
	if (!url)
		return ERR(ERR_POLICY, 0, "the profile's authorize_url or scope is too long");
	printf("To let popgate open the mailbox of %s, open this in a browser on this machine, log "
	       "in as %s, and agree:\n\n%s\n\n",
	       enrol->name, enrol->target.login, url);
	printf("The browser then comes back to 127.0.0.1 port %u; from another machine by\n"
	       "    ssh -L %u:127.0.0.1:%u THIS-MACHINE\n"
	       "Waiting for %d minutes.\n",
	       browsing->port, browsing->port, browsing->port, ENROL_BROWSER_S / 60);
	fflush(stdout);
	free(url);
	enrol->env->ops->offload(enrol->env, work_awaiting, browsing);
	TRY(browsing->err);
	const struct oauth_question question = {.what = OAUTH_ASK_CODE,
						.secret = browsing->code,
						.verifier = browsing->verifier,
						.redirect = browsing->redirect};
	return ask(enrol, &question);
}

static struct err by_browser(struct enrol *enrol)
{
	struct browsing browsing = {.fd = -1, .why = &enrol->why};
	struct err err = browse(enrol, &browsing);

	if (browsing.fd >= 0)
		close(browsing.fd);
	free(browsing.redirect);
	text_wipe_free(browsing.code);
	mem_wipe(&browsing, sizeof browsing);
	return err;
}

/* --- the whole ---------------------------------------------------------------------------- */

static struct err work(struct enrol *enrol)
{
	TRY(enrol->is_browser ? by_browser(enrol) : by_device(enrol));
	if (!enrol->reply.refresh) {
		snprintf(enrol->why.text, sizeof enrol->why.text,
			 "the scope may lack offline_access (Microsoft), or authorize_url "
			 "?access_type=offline&prompt=consent (Google)");
		return ERR(ERR_POLICY, 0, "the provider gave no refresh token");
	}
	return tokens_enrol(enrol->place.tokens, enrol->env, enrol->profile, enrol->target.key,
			    &enrol->reply);
}

static void run(void *arg)
{
	struct enrol *enrol = arg;

	enrol->env = &enrol->worker.world.env;
	enrol->err = work(enrol);
	enrol->is_run = true;
}

static int run_all(struct enrol *enrol)
{
	signal(SIGPIPE, SIG_IGN);
	worker_init(&enrol->worker, map_hold(enrol->map), &log_to_stderr);
	enrol->err = fiber_spawn(&enrol->worker.fibers, run, enrol);
	if (!enrol->err.kind) {
		worker_run(&enrol->worker);
		if (!enrol->is_run)
			enrol->err = ERR(ERR_UPSTREAM, 0, "nothing was done");
	}
	worker_fini(&enrol->worker);
	if (enrol->err.kind) {
		fail(enrol->err.what, enrol->why.text);
		return FAILED;
	}
	printf("Stored, for the map entry %s. A running popgate uses it from the next login on;\n"
	       "popgate probe %s tries it now.\n",
	       enrol->target.key, enrol->asked);
	return DONE;
}

static void enrol_free(struct enrol *enrol)
{
	oauth_reply_fini(&enrol->reply);
	token_place_close(&enrol->place);
	map_target_fini(&enrol->target);
	map_release(enrol->map);
	config_free(enrol->config);
	free(enrol->name);
	free(enrol);
}

int command_enrol(const char *config_file, int argc, char **argv)
{
	struct enrol *enrol = mem_alloc(sizeof *enrol);
	const char *wrong = parse(enrol, argc, argv);
	int status = FAILED;

	if (wrong) {
		fprintf(stderr,
			"popgate: enrol: %s\nusage: popgate [-c FILE] enrol [--browser] NAME\n",
			wrong);
		status = USAGE;
	} else if (prepare(enrol, config_file)) {
		status = run_all(enrol);
	}
	enrol_free(enrol);
	return status;
}
