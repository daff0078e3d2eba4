/* SPDX-License-Identifier: MIT */
/* imap_run_login.c - whom a case logs in as, and what its client and its token's provider say. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/unit/imap_run.h"

/* The client at the other end of a relay: its next answer, "" for an empty one, "!" to cancel. */
static struct err answer(void *arg, const void *challenge, size_t len, struct buf *out)
{
	struct run *run = arg;
	const char *text = run->answers[run->asked < 3 ? run->asked : 3];

	bool is_put = buf_put(&run->heard, challenge, len) && buf_put(&run->heard, "|", 1);
	assert(is_put);
	run->asked++;
	if (!text)
		return ERR(ERR_CLIENT, 88, "the client is gone");
	if (!strcmp(text, "!"))
		return ERR(ERR_REFUSED, 0, "the client cancelled");
	is_put = buf_put(out, text, strlen(text));
	assert(is_put);
	return OK;
}

static struct err renew(struct login *login, const struct env *env, bool was_refused)
{
	struct run *run = login->renewer;

	(void)env;
	run->renewals[was_refused]++;
	if (!strcmp(run->renewed, "!"))
		return ERR(ERR_UPSTREAM, 0, "the provider is not there");
	text_wipe_free(login->password);
	login->password = text_dup(run->renewed);
	return OK;
}

struct login run_login(struct run *run)
{
	struct login login = {
		.user = run->words[0],
		.password = run->words[1],
		.is_stored = run->is_stored,
		.kind = run->kind,
		.master = run->master,
		.mechanism = run->mechanism,
		.initial = run->initial,
		.renewer = run,
	};

	if (run->kind == LOGIN_RELAY) {
		login.ask = answer;
		login.arg = run;
	}
	if (run->renewed)
		login.renew = renew;
	return login;
}

static bool set_kind(struct run *run, const char *value)
{
	static const char *const kinds[] = {"password", "token", "certificate", "relay"};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(value, kinds[i]))
			run->kind = (enum login_kind)i;
	return true;
}

bool run_set_login(struct run *run, const char *word, char *kept)
{
	if (!strcmp(word, "kind"))
		return set_kind(run, kept);
	if (!strcmp(word, "auth"))
		run->conf.auth = kept;
	else if (!strcmp(word, "master"))
		run->master = kept;
	else if (!strcmp(word, "renew"))
		run->renewed = kept;
	else if (!strcmp(word, "mechanism"))
		run->mechanism = kept;
	else if (!strcmp(word, "initial"))
		run->initial = kept;
	else if (!strcmp(word, "answer") && run->answer_count < 3)
		run->answers[run->answer_count++] = kept;
	else
		return false;
	return true;
}

bool run_check_login(struct run *run, const char *word, const char *rest)
{
	char log[4096];
	size_t len =
		buf_len(&run->logged) < sizeof log - 1 ? buf_len(&run->logged) : sizeof log - 1;

	memcpy(log, len ? buf_data(&run->logged) : "", len);
	log[len] = '\0';
	if (!strncmp(word, "asked ", 6))
		return strlen(rest) == buf_len(&run->heard) &&
		       (!*rest || !memcmp(rest, buf_data(&run->heard), strlen(rest)));
	if (!strncmp(word, "renewed ", 8))
		return run->renewals[0] == (unsigned)(rest[0] - '0') &&
		       run->renewals[1] == (unsigned)(rest[2] - '0');
	if (!strncmp(word, "logged ", 7))
		return strstr(log, rest) != NULL;
	return !strncmp(word, "unlogged ", 9) && !strstr(log, rest);
}

static void keep_line(struct log_target *target, enum log_level level, const char *line, size_t len)
{
	struct run *run = (struct run *)((char *)target - offsetof(struct run, target));

	(void)level;
	(void)!buf_put(&run->logged, line, len);
}

void run_login_init(struct run *run)
{
	buf_init(&run->heard, 1 << 16);
	buf_init(&run->logged, 1 << 20);
	run->target = (struct log_target){.least = LEVEL_DEBUG, .write = keep_line};
	run->log.target = &run->target;
}

void run_login_fini(struct run *run)
{
	buf_fini(&run->heard);
	buf_fini(&run->logged);
}
