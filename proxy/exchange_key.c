/* SPDX-License-Identifier: MIT */
/* exchange_key.c - the key that the salts of names without a secret are made of, over a restart.
 *
 * A name that is in the map shows the salt of its secret each time. If the others showed a new one after
 * each restart, they could be told apart by it.
 */
#include "proxy/exchange.h"

#include <errno.h>
#include <string.h>

#include "proxy/base/mem.h"

/* No map key is in it: who reads the state by prefixes does not meet it. */
#define PLACE "exchange-key"

enum { TRIES = 4 }; /* while other processes write too */

/* There is no loop yet, and so nothing that a wait could hold up. */
static void work_here(const struct env *env, void (*work)(void *), void *arg)
{
	(void)env;
	work(arg);
}

/* Takes what is there, else puts `key` there. *is_settled false: it has just changed. */
static struct err settle(struct state_store *state, const struct env *env,
			 unsigned char key[EXCHANGE_KEY], bool *is_settled)
{
	bool is_stale = false;
	uint64_t version = 0;
	struct buf stored;

	buf_init(&stored, 2 * EXCHANGE_KEY);
	stored.is_secret = true;
	struct err err = state->ops->get(state, env, PLACE, &stored, &version);
	bool is_there = !err.kind && version && buf_len(&stored) == EXCHANGE_KEY;
	if (is_there) {
		memcpy(key, buf_data(&stored), EXCHANGE_KEY);
	} else if (!err.kind) {
		const struct state_change change = {
			.key = PLACE, .value = key, .len = EXCHANGE_KEY, .was = version};
		err = state->ops->put(state, env, &change, 1, &is_stale);
	}
	*is_settled = !is_stale;
	buf_wipe(&stored);
	return err;
}

void exchange_key_settle(struct state_store *state, const struct log *log,
			 unsigned char key[EXCHANGE_KEY])
{
	const struct env_ops ops = {.offload = work_here};
	const struct env here = {&ops};
	bool is_settled = false;
	struct err err = OK;

	for (int i = 0; i < TRIES && !err.kind && !is_settled; i++)
		err = settle(state, &here, key, &is_settled);
	if (!err.kind && !is_settled)
		err = ERR(ERR_UPSTREAM, EBUSY, "it changes all the time");
	if (err.kind)
		log_err(log, LEVEL_WARN, "exchange-key-not-kept", err);
}
