/* SPDX-License-Identifier: MIT */
/* token.c - an access token for a login.
 *
 * The state is the only memory: each login reads its grant from there, so what another process has
 * enrolled or renewed is seen at once, and no table of tokens grows here. What is in memory is a slot
 * a grant, for as long as somebody works with it. Who finds a slot busy waits and looks again every
 * 50 ms, as for a maildrop's lock, and shares what came out.
 */
#include "upstream/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/token_own.h"

enum {
	LOOK_MS = 50,
	ENOUGH_S = 60, /* so long a token must live to be given out when it cannot be renewed */
	CLOCK_S = 300, /* a token from further in the future was dated by a wrong clock */
};

/* --- a token that can be given out -------------------------------------------------------- */

static bool is_usable(const struct token_call *call, const struct token_record *record)
{
	return *record->access && !token_same(call->refused, record->access);
}

/* It need not be renewed yet. */
static bool is_fresh(const struct token_call *call, const struct token_record *record)
{
	uint64_t now_s = call->env->ops->wall(call->env);

	return is_usable(call, record) && now_s < record->renew_s &&
	       record->got_s <= now_s + CLOCK_S;
}

/* It ought to be renewed, but would still do. */
static bool is_alive(const struct token_call *call, const struct token_record *record)
{
	uint64_t now_s = call->env->ops->wall(call->env);

	return is_usable(call, record) && now_s + ENOUGH_S < record->expires_s &&
	       record->got_s <= now_s + CLOCK_S;
}

/* --- reading ------------------------------------------------------------------------------ */

/* Reads the grant, or what is newer than the state and need not be in it first. */
static struct err load(const struct token_call *call, struct token_record *out, uint64_t *version)
{
	const struct tokens *tokens = call->tokens;
	struct token_slot *slot = call->slot;
	struct err err =
		token_record_get(tokens->state, call->env, tokens->key, slot->name, out, version);

	if (err.code == EBADMSG) {
		TOKEN_WHY(call->why, "%s", err.what);
		if (token_slot_tell(tokens, slot, call->env->ops->now(call->env)))
			LOG(tokens->log, LEVEL_ALARM, "token-unreadable",
			    log_text("user", call->key), log_text("profile", call->profile->name),
			    log_text("why", err.what),
			    log_text("hint", "is token_key the one it was enrolled with?"));
		return ERR(ERR_POLICY, EBADMSG, "the token of the mailbox cannot be read");
	}
	token_lock(tokens);
	if (!err.kind && slot->has_unsaved && !slot->is_rotated && *version == slot->base) {
		token_record_fini(out);
		*out = token_record_dup(&slot->unsaved);
	}
	token_unlock(tokens);
	return err;
}

/* Gives *out if there is a fresh one; for who has `waited` one that would still do. */
static struct err peek(const struct token_call *call, bool waited, char **out)
{
	struct token_record record;
	uint64_t version;

	struct err err = load(call, &record, &version);
	if (!err.kind && (is_fresh(call, &record) || (waited && is_alive(call, &record))))
		*out = text_dup(record.access);
	token_record_fini(&record);
	return err;
}

/* --- renewing ----------------------------------------------------------------------------- */

/* With the slot to ourselves: what was seen before may have changed since. */
static struct err renew(const struct token_call *call, char **out)
{
	struct token_record record;
	uint64_t version;
	struct err unsaved = OK;
	bool is_rotated;

	if (token_slot_has_unsaved(call->tokens, call->slot, &is_rotated))
		unsaved = token_slot_settle(call->tokens, call->env, call->slot);
	struct err err = load(call, &record, &version);
	if (!err.kind && token_slot_has_unsaved(call->tokens, call->slot, &is_rotated) &&
	    is_rotated) {
		TOKEN_WHY(call->why, "a renewed token cannot be stored: %s", unsaved.what);
		err = ERR(ERR_UPSTREAM, unsaved.code, "the token of the mailbox cannot be stored");
	} else if (!err.kind && !is_fresh(call, &record)) {
		err = token_refresh(call, &record, version);
	}
	if (err.kind == ERR_UPSTREAM && is_alive(call, &record))
		err = OK; /* what was wrong has been logged */
	if (!err.kind && is_usable(call, &record))
		*out = text_dup(record.access);
	else if (!err.kind)
		err = ERR(ERR_UPSTREAM, 0, "the token of the mailbox has just changed");
	token_record_fini(&record);
	return err;
}

/* With the slot busy by us. */
static struct err fly(const struct token_call *call, char **out)
{
	struct token_slot *slot = call->slot;
	struct err err = renew(call, out);

	token_lock(call->tokens);
	slot->err = err;
	slot->why = *call->why;
	slot->is_busy = false;
	slot->flight++;
	token_unlock(call->tokens);
	return err;
}

/* Makes the slot busy, or gives the flight that has done so. */
static bool take_off(const struct token_call *call, uint64_t *flight)
{
	struct token_slot *slot = call->slot;

	token_lock(call->tokens);
	bool is_ours = !slot->is_busy;
	slot->is_busy = true;
	*flight = slot->flight;
	token_unlock(call->tokens);
	return is_ours;
}

/* Whether a flight has ended, and how. */
static bool has_landed(const struct token_call *call, uint64_t flight, struct err *err)
{
	const struct token_slot *slot = call->slot;

	token_lock(call->tokens);
	bool is_over = slot->flight != flight;
	if (is_over) {
		*call->why = slot->why;
		*err = slot->err;
	}
	token_unlock(call->tokens);
	return is_over;
}

/* Waits until the one who is at it has done it; its failure is ours. */
static struct err wait_for(const struct token_call *call, uint64_t flight, uint64_t until_ms)
{
	const struct env *env = call->env;
	struct err err = OK;

	while (!has_landed(call, flight, &err)) {
		if (env->ops->now(env) >= until_ms) {
			TOKEN_WHY(call->why, "somebody else's refresh does not end");
			return ERR(ERR_UPSTREAM, ETIMEDOUT, "the token server is too slow");
		}
		env->ops->sleep(env, LOOK_MS);
	}
	return err;
}

static struct err get(const struct token_call *call, char **out)
{
	const struct env *env = call->env;
	uint64_t until_ms = env->ops->now(env) + TOKENS_WAIT_S * UINT64_C(1000), flight;

	for (bool waited = false;; waited = true) {
		TRY(peek(call, waited, out));
		if (*out)
			return OK;
		if (take_off(call, &flight))
			return fly(call, out);
		TRY(wait_for(call, flight, until_ms));
	}
}

/* --- the calls ---------------------------------------------------------------------------- */

static struct err name_of(const struct oauth_profile *profile, const char *key, const char *subject,
			  char name[STATE_KEY + 1])
{
	bool is_many = profile->grant == OAUTH_SERVICE_ACCOUNT;

	return token_record_name(key, profile->name, is_many ? subject : NULL, name);
}

struct err tokens_get(struct tokens *tokens, const struct env *env,
		      const struct oauth_profile *profile, const char *key, const char *subject,
		      const char *refused, struct notice *why, char **out)
{
	struct notice words = {""};
	struct token_call call = {tokens, env, profile, key, subject, refused, &words, NULL};
	char name[STATE_KEY + 1];

	*out = NULL;
	struct err err = name_of(profile, key, subject, name);
	if (!err.kind) {
		call.slot = token_slot_hold(tokens, name);
		err = get(&call, out);
		token_slot_drop(tokens, call.slot, env->ops->now(env));
	}
	if (err.kind)
		snprintf(why->text, sizeof why->text, "%s", *words.text ? words.text : err.what);
	return err;
}

struct err tokens_enrol(struct tokens *tokens, const struct env *env,
			const struct oauth_profile *profile, const char *key,
			const struct oauth_reply *reply)
{
	struct token_record record = token_record_new();
	char name[STATE_KEY + 1];
	bool is_stale;

	token_record_take(&record, env, reply);
	env->ops->random(env, &record.grant, sizeof record.grant);
	record.granted_s = record.got_s;
	struct err err = name_of(profile, key, NULL, name);
	if (!err.kind)
		err = token_record_put(tokens->state, env, tokens->key, name, &record, STATE_ANY,
				       &is_stale);
	token_record_fini(&record);
	return err;
}
