/* SPDX-License-Identifier: MIT */
/* health.c - which servers and accounts are in trouble.
 *
 * A row is one host, or one account of a host. What is well has no row: a healthy night leaves the
 * table empty.
 */
#include "upstream/health.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "proxy/base/lru.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum {
	ROWS_MAX = 20000,
	HOST_FREE = 3,          /* failures of a host that cost nothing */
	PAUSE_MS = 1000,        /* the first pause; doubles */
	PAUSE_MAX_MS = 900000,  /* 15 min */
	THROTTLED_MS = 30000,   /* the first pause after [THROTTLED] and the like */
	CREDENTIAL_MS = 400000, /* after a refused secret of ours: 5 min at least, the jitter off */
	CREDENTIAL_MAX_MS = 3600000,
	TRIAL_MS = 120000, /* an attempt that has not ended by then is taken for lost */
};

struct row {
	uint64_t until_ms;  /* nothing is asked before that moment */
	uint64_t trial_ms;  /* when the one attempt after a pause began; 0: none is under way */
	unsigned failures;  /* in a row */
	bool is_credential; /* the last failure was a refused secret of ours */
};

struct health {
	struct lru *rows;
};

struct health *health_new(void)
{
	struct health *health = mem_alloc(sizeof *health);

	health->rows = lru_new(sizeof(struct row), ROWS_MAX);
	return health;
}

void health_free(struct health *health)
{
	if (health)
		lru_free(health->rows);
	free(health);
}

/* Both keys of an attempt; owned. */
static void keys_of(const char *host, unsigned port, const char *account, char **host_key,
		    char **account_key)
{
	char *lower = text_dup(host);

	text_lower(lower);
	*host_key = text_printf_dup("%s:%u", lower, port);
	*account_key = text_printf_dup("%s:%u\t%s", lower, port, account);
	free(lower);
}

static bool is_closed(const struct row *row, uint64_t now)
{
	if (!row || !row->until_ms)
		return false;
	if (now < row->until_ms)
		return true;
	return row->trial_ms && now - row->trial_ms < TRIAL_MS;
}

static void begin_trial(struct row *row, uint64_t now)
{
	if (row && row->until_ms)
		row->trial_ms = now ? now : 1;
}

struct err health_ask(struct health *health, const struct env *env, const char *host, unsigned port,
		      const char *account)
{
	char *host_key, *account_key;
	struct err err = OK;

	if (!health)
		return OK;
	uint64_t now = env->ops->now(env);
	keys_of(host, port, account, &host_key, &account_key);
	struct row *server = lru_find(health->rows, host_key);
	struct row *own = lru_find(health->rows, account_key);
	if (is_closed(own, now) && own->is_credential)
		err = ERR(ERR_POLICY, EACCES, "the mail server refuses the gateway's login");
	else if (is_closed(own, now))
		err = ERR(ERR_UPSTREAM, EBUSY, "the mail server had trouble with this mailbox");
	else if (is_closed(server, now))
		err = ERR(ERR_UPSTREAM, EBUSY, "the mail server is in trouble");
	if (!err.kind) {
		begin_trial(server, now);
		begin_trial(own, now);
	}
	free(host_key);
	free(account_key);
	return err;
}

/* first * 2^(n-1) for the n-th failure, at most `most`, less up to a quarter. */
static uint64_t pause_of(const struct env *env, uint64_t first, uint64_t most, unsigned n)
{
	uint64_t pause = first;
	uint32_t dice;

	while (--n && pause < most)
		pause *= 2;
	if (pause > most)
		pause = most;
	env->ops->random(env, &dice, sizeof dice);
	return pause - dice % (pause / 4 + 1);
}

static void fail(struct health *health, const struct env *env, const char *key,
		 enum health_event event)
{
	struct row *row = lru_touch(health->rows, key);
	uint64_t now = env->ops->now(env), pause = 0;

	/* Attempts that began side by side fail side by side: that is one failure. */
	if (!row->failures || now >= row->until_ms)
		row->failures++;
	row->trial_ms = 0;
	row->is_credential = event == HEALTH_CREDENTIAL;
	if (event == HEALTH_CREDENTIAL)
		pause = pause_of(env, CREDENTIAL_MS, CREDENTIAL_MAX_MS, row->failures);
	else if (event == HEALTH_THROTTLED)
		pause = pause_of(env, THROTTLED_MS, PAUSE_MAX_MS, row->failures);
	else if (event == HEALTH_FAILED)
		pause = pause_of(env, PAUSE_MS, PAUSE_MAX_MS, row->failures);
	else if (row->failures > HOST_FREE)
		pause = pause_of(env, PAUSE_MS, PAUSE_MAX_MS, row->failures - HOST_FREE);
	if (pause && now + pause > row->until_ms)
		row->until_ms = now + pause;
}

/* An attempt that brought no news: the next one may go through. */
static void end_trial(struct health *health, const char *key)
{
	struct row *row = lru_find(health->rows, key);

	if (row)
		row->trial_ms = 0;
}

void health_report(struct health *health, const struct env *env, const char *host, unsigned port,
		   const char *account, enum health_event event)
{
	char *host_key, *account_key;

	if (!health)
		return;
	keys_of(host, port, account, &host_key, &account_key);
	if (event == HEALTH_NO_GREETING) {
		fail(health, env, host_key, event);
		end_trial(health, account_key);
	} else {
		lru_drop(health->rows, host_key);
	}
	switch (event) {
	case HEALTH_GOOD:
		lru_drop(health->rows, account_key);
		break;
	case HEALTH_FAILED:
	case HEALTH_THROTTLED:
	case HEALTH_CREDENTIAL:
		fail(health, env, account_key, event);
		break;
	case HEALTH_GREETED:
	case HEALTH_CLIENT:
		end_trial(health, account_key);
		break;
	case HEALTH_NO_GREETING:
		break;
	}
	free(host_key);
	free(account_key);
}
