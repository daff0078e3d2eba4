/* SPDX-License-Identifier: MIT */
/* token_ask.c - when a provider is asked, and what is made of its answer. */
#include "upstream/token_own.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum {
	LOOK_MS = 50,
	EARLY_S = 300,  /* before it expires a token is renewed */
	JITTER_S = 60,  /* and so much earlier at most */
	SHORT_S = 900,  /* what lives shorter is renewed after two thirds */
	STORE_TRIES = 4 /* while other processes write too */
};

#define ALARM(call_, event_, ...)                                                                  \
	LOG((call_)->tokens->log, LEVEL_ALARM, event_, log_text("user", (call_)->key),             \
	    log_text("profile", (call_)->profile->name), __VA_ARGS__)

bool token_same(const char *a, const char *b)
{
	return a && b && text_same_secret(a, strlen(a), b, strlen(b));
}

/* --- whether to ask ----------------------------------------------------------------------- */

/* Whether those renewals that refusals asked for were just now. */
static bool is_in_window(const struct token_record *record, uint64_t now_s)
{
	return now_s >= record->forced_s && now_s - record->forced_s < TOKENS_REFUSED_S;
}

/* Everything that needs an operator, and that no request could change. */
static struct err check_grant(const struct token_call *call, const struct token_record *record)
{
	uint64_t now_s = call->env->ops->wall(call->env), now_ms = call->env->ops->now(call->env);

	if (call->profile->grant == OAUTH_REFRESH && !*record->refresh) {
		TOKEN_WHY(call->why, "nobody has enrolled it: popgate enrol");
		if (token_slot_tell(call->tokens, call->slot, now_ms))
			ALARM(call, "token-missing", log_text("hint", "popgate enrol"));
		return ERR(ERR_POLICY, 0, "access to the mailbox has not been granted yet");
	}
	/* A moment further off than any hold is long was set by a clock that was wrong. */
	if (now_s < record->held_s && record->held_s - now_s <= TOKENS_HELD_S) {
		TOKEN_WHY(call->why, "%.200s (asked again in %u s)", record->trouble,
			  (unsigned)(record->held_s - now_s));
		return ERR(ERR_POLICY, 0, "the provider gives no token for the mailbox");
	}
	if (token_same(call->refused, record->access) && is_in_window(record, now_s) &&
	    record->forced >= TOKENS_FORCED) {
		TOKEN_WHY(call->why, "the server refuses each token that is renewed for it");
		return ERR(ERR_POLICY, 0, "the server refuses the token of the mailbox");
	}
	return OK;
}

static struct token_endpoint *find_endpoint(const struct tokens *tokens, const char *url)
{
	struct token_endpoint *endpoint = tokens->endpoints;

	while (endpoint && strcmp(endpoint->url, url) != 0)
		endpoint = endpoint->next;
	return endpoint;
}

/* Nobody answered there: the next ones need not all find that out, each on a thread of the pool. */
static void avoid_endpoint(const struct token_call *call)
{
	const char *url = call->profile->token_url;

	token_lock(call->tokens);
	struct token_endpoint *endpoint = find_endpoint(call->tokens, url);
	if (!endpoint) {
		endpoint = mem_alloc(sizeof *endpoint + strlen(url) + 1);
		memcpy(endpoint->url, url, strlen(url) + 1);
		endpoint->next = call->tokens->endpoints;
		call->tokens->endpoints = endpoint;
	}
	endpoint->until_ms = call->env->ops->now(call->env) + TOKENS_UNHEARD_S * UINT64_C(1000);
	token_unlock(call->tokens);
}

/* One of the places, if there is one; false as well where nobody answered just now. */
static bool has_place(const struct token_call *call, uint64_t now_ms, bool *is_avoided)
{
	struct tokens *tokens = call->tokens;

	token_lock(tokens);
	const struct token_endpoint *endpoint = find_endpoint(tokens, call->profile->token_url);
	*is_avoided = endpoint && now_ms < endpoint->until_ms;
	bool is_taken = !*is_avoided && tokens->asking < tokens->at_once;
	tokens->asking += is_taken;
	token_unlock(tokens);
	return is_taken;
}

static void leave_place(struct tokens *tokens)
{
	token_lock(tokens);
	tokens->asking--;
	token_unlock(tokens);
}

/* Waits until a request may begin. */
static struct err take_place(const struct token_call *call)
{
	const struct env *env = call->env;
	uint64_t until_ms = env->ops->now(env) + TOKENS_WAIT_S * UINT64_C(1000);
	bool is_avoided;

	for (;;) {
		uint64_t now_ms = env->ops->now(env);
		if (has_place(call, now_ms, &is_avoided))
			return OK;
		if (is_avoided) {
			TOKEN_WHY(call->why, "the token server did not answer just now");
			return ERR(ERR_UPSTREAM, EAGAIN, "the token server cannot be reached");
		}
		if (now_ms >= until_ms) {
			TOKEN_WHY(call->why, "too many wait for a token");
			return ERR(ERR_UPSTREAM, EBUSY, "the token server is too slow");
		}
		env->ops->sleep(env, LOOK_MS);
	}
}

/* False: the process has been let go. */
static bool begin(const struct tokens *tokens)
{
	return !tokens->stay.begin || tokens->stay.begin(tokens->stay.arg);
}

static void end(const struct tokens *tokens)
{
	if (tokens->stay.end)
		tokens->stay.end(tokens->stay.arg);
}

/* --- asking ------------------------------------------------------------------------------- */

struct asking {
	const struct token_call *call;
	struct oauth_question question;
	struct oauth_reply reply;
	struct err err;
};

static void work_asking(void *arg)
{
	struct asking *asking = arg;
	const struct token_call *call = asking->call;

	asking->err = oauth_ask(call->profile, call->tokens->transport, &asking->question,
				call->why, &asking->reply);
}

/* --- the answer --------------------------------------------------------------------------- */

static void replace(char **field, const char *by)
{
	text_wipe_free(*field);
	*field = text_dup(by);
}

void token_record_take(struct token_record *record, const struct env *env,
		       const struct oauth_reply *reply)
{
	uint64_t now_s = env->ops->wall(env), early_s = reply->lifetime_s / 3;
	unsigned chance = 0;

	env->ops->random(env, &chance, sizeof chance);
	if (reply->lifetime_s >= SHORT_S)
		early_s = EARLY_S + chance % (JITTER_S + 1);
	replace(&record->access, reply->access);
	if (reply->refresh)
		replace(&record->refresh, reply->refresh);
	record->got_s = now_s;
	record->expires_s = now_s + reply->lifetime_s;
	record->renew_s = record->expires_s - early_s;
	record->held_s = record->trouble_s = 0;
	memset(record->trouble, 0, sizeof record->trouble);
}

/* The alarm and what it takes that a new refresh token does not get lost. */
static struct err keep(const struct token_call *call, const struct token_record *record,
		       bool is_rotated, uint64_t version, struct err err)
{
	token_slot_keep(call->tokens, call->slot, record, is_rotated, version);
	ALARM(call, "token-not-stored", log_text("why", err.what),
	      log_number("code", (uint64_t)(unsigned)err.code),
	      log_text("hint", is_rotated ? "the new refresh token is in memory alone: mend the "
					    "state before popgate ends"
					  : "it will be asked for again after a restart"));
	if (!is_rotated)
		return OK;
	TOKEN_WHY(call->why, "a renewed token cannot be stored: %s", err.what);
	return ERR(ERR_UPSTREAM, err.code, "the token of the mailbox cannot be stored");
}

/* Puts it into the state. If somebody has enrolled the account meanwhile, `record` becomes theirs; what
 * was forgotten meanwhile stays so. */
static struct err store(const struct token_call *call, struct token_record *record, bool is_rotated,
			uint64_t version)
{
	const struct tokens *tokens = call->tokens;
	struct err err = OK;
	bool is_stale = true, was_there = version != 0;

	for (int i = 0; i < STORE_TRIES; i++) {
		struct token_record other;
		err = token_record_put(tokens->state, call->env, tokens->key, call->slot->name,
				       record, version, &is_stale);
		if (err.kind)
			return keep(call, record, is_rotated, version, err);
		if (!is_stale) {
			token_slot_forget(tokens, call->slot);
			return OK;
		}
		err = token_record_get(tokens->state, call->env, tokens->key, call->slot->name,
				       &other, &version);
		bool is_theirs = !err.kind && version && other.grant != record->grant;
		if (is_theirs) {
			token_record_fini(record);
			*record = other;
			return OK;
		}
		token_record_fini(&other);
		if (err.kind)
			return keep(call, record, is_rotated, version, err);
		if (!version && was_there) {
			TOKEN_WHY(call->why, "the grant was removed while it was renewed");
			return ERR(ERR_POLICY, 0, "access to the mailbox has been taken back");
		}
	}
	err = ERR(ERR_UPSTREAM, 0, "the stored token changes all the time");
	return keep(call, record, is_rotated, version, err);
}

/* Tells why it failed, and notes it in the record. */
static void note_failure(const struct token_call *call, const struct asking *asking,
			 struct token_record *record, bool *is_news)
{
	bool is_withdrawn = asking->reply.trouble == OAUTH_GRANT_IS_BAD;
	bool is_passing = asking->err.kind == ERR_UPSTREAM;
	char words[TOKEN_TROUBLE + 1];

	const char *raw = *call->why->text ? call->why->text : asking->err.what;
	text_printable(words, sizeof words, raw, strlen(raw), false);
	if (asking->reply.is_unheard)
		avoid_endpoint(call);
	if (is_passing)
		LOG(call->tokens->log, LEVEL_WARN, "token-unavailable", log_text("user", call->key),
		    log_text("profile", call->profile->name), log_text("why", words));
	else
		ALARM(call, "token-refused", log_text("why", words),
		      log_text("hint", is_withdrawn ? "popgate enrol" : "see operations.md"));
	*is_news = !is_passing || strcmp(words, record->trouble) != 0;
	memcpy(record->trouble, words, sizeof words);
	record->trouble_s = call->env->ops->wall(call->env);
	if (!is_passing)
		record->held_s =
			record->trouble_s + (is_withdrawn ? TOKENS_HELD_S : TOKENS_REFUSED_S);
}

/* Remembers why it failed, so that it is not tried again too soon, and can be looked up. That this is
 * not stored is no loss worth a word; but what was rotated must be. */
static struct err take_failure(const struct token_call *call, struct asking *asking,
			       struct token_record *record, uint64_t version)
{
	const struct tokens *tokens = call->tokens;
	char **refresh = &asking->reply.refresh;
	bool is_news, is_stale = false;

	note_failure(call, asking, record, &is_news);
	/* A provider that rotates has spent the old one, whatever else its reply is worth. */
	if (call->profile->grant == OAUTH_REFRESH && *refresh &&
	    !token_same(*refresh, record->refresh)) {
		replace(&record->refresh, *refresh);
		struct err err = store(call, record, true, version);
		return err.kind ? err : asking->err;
	}
	if (!is_news)
		return asking->err;
	struct err err = token_record_put(tokens->state, call->env, tokens->key, call->slot->name,
					  record, version, &is_stale);
	if (err.kind)
		token_slot_keep(tokens, call->slot, record, false, version);
	return asking->err;
}

static struct err take_reply(const struct token_call *call, struct oauth_reply *reply,
			     struct token_record *record, uint64_t version)
{
	bool is_forced = token_same(call->refused, record->access);
	bool is_again = token_same(call->refused, reply->access);
	struct token_record new = token_record_dup(record);

	if (call->profile->grant != OAUTH_REFRESH) {
		text_wipe_free(reply->refresh);
		reply->refresh = NULL;
	}
	bool is_rotated = reply->refresh && !token_same(reply->refresh, record->refresh);
	token_record_take(&new, call->env, reply);
	if (is_forced && is_in_window(&new, new.got_s)) {
		new.forced++;
	} else if (is_forced) {
		new.forced_s = new.got_s;
		new.forced = 1;
	}
	struct err err = store(call, &new, is_rotated, version);
	if (!err.kind && is_again) {
		TOKEN_WHY(call->why, "the token server gives the refused token again");
		ALARM(call, "token-refused", log_text("why", call->why->text));
		err = ERR(ERR_POLICY, 0, "the server refuses the token of the mailbox");
	}
	if (!err.kind) {
		struct token_record old = *record;
		*record = new;
		new = old;
		LOG(call->tokens->log, LEVEL_NOTE, "token-renewed", log_text("user", call->key),
		    log_text("profile", call->profile->name),
		    log_number("seconds", reply->lifetime_s));
	}
	token_record_fini(&new);
	return err;
}

struct err token_refresh(const struct token_call *call, struct token_record *record,
			 uint64_t version)
{
	struct asking asking = {.call = call};

	TRY(check_grant(call, record));
	TRY(take_place(call));
	if (!begin(call->tokens)) {
		leave_place(call->tokens);
		TOKEN_WHY(call->why, "popgate is ending");
		return ERR(ERR_UPSTREAM, ESHUTDOWN, "the token server is not asked any more");
	}
	asking.question = (struct oauth_question){
		.what = OAUTH_ASK_TOKEN,
		.secret = call->profile->grant == OAUTH_REFRESH ? record->refresh : NULL,
		.subject = call->subject,
		.wall_s = call->env->ops->wall(call->env)};
	call->env->ops->offload(call->env, work_asking, &asking);
	leave_place(call->tokens);
	struct err err = asking.err.kind ? take_failure(call, &asking, record, version)
					 : take_reply(call, &asking.reply, record, version);
	oauth_reply_fini(&asking.reply);
	end(call->tokens);
	return err;
}
