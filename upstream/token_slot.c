/* SPDX-License-Identifier: MIT */
/* token_slot.c - grants that are at work, and those that the state could not take. */
#include "upstream/token_own.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

struct tokens *tokens_new(struct state_store *state, const struct token_key *key,
			  const struct oauth_transport *transport, const struct log *log)
{
	struct tokens *tokens = mem_alloc(sizeof *tokens);

	*tokens = (struct tokens){.state = state,
				  .key = key,
				  .transport = transport,
				  .log = log,
				  .at_once = TOKENS_AT_ONCE};
	pthread_mutex_init(&tokens->lock, NULL);
	return tokens;
}

void tokens_stay(struct tokens *tokens, const struct token_stay *stay)
{
	tokens->stay = *stay;
}

void tokens_limit(struct tokens *tokens, unsigned at_once)
{
	tokens->at_once = at_once ? at_once : 1;
}

void token_lock(const struct tokens *tokens)
{
	pthread_mutex_lock((pthread_mutex_t *)(uintptr_t)&tokens->lock);
}

void token_unlock(const struct tokens *tokens)
{
	pthread_mutex_unlock((pthread_mutex_t *)(uintptr_t)&tokens->lock);
}

static void slot_free(struct token_slot *slot)
{
	token_record_fini(&slot->unsaved);
	free(slot);
}

void tokens_free(struct tokens *tokens)
{
	if (!tokens)
		return;
	while (tokens->slots) {
		struct token_slot *slot = tokens->slots;
		assert(!slot->users);
		tokens->slots = slot->next;
		slot_free(slot);
	}
	while (tokens->endpoints) {
		struct token_endpoint *endpoint = tokens->endpoints;
		tokens->endpoints = endpoint->next;
		free(endpoint);
	}
	pthread_mutex_destroy(&tokens->lock);
	free(tokens);
}

struct token_slot *token_slot_hold(struct tokens *tokens, const char *name)
{
	size_t size = strlen(name) + 1;

	token_lock(tokens);
	struct token_slot *slot = tokens->slots;
	while (slot && strcmp(slot->name, name) != 0)
		slot = slot->next;
	if (!slot) {
		slot = mem_alloc(sizeof *slot + size);
		memcpy(slot->name, name, size);
		slot->next = tokens->slots;
		tokens->slots = slot;
	}
	slot->users++;
	token_unlock(tokens);
	return slot;
}

static void drop(struct tokens *tokens, struct token_slot *slot, uint64_t now_ms)
{
	bool is_told = slot->told_ms && now_ms - slot->told_ms < TOKENS_HELD_S * UINT64_C(1000);

	if (--slot->users || slot->has_unsaved || is_told)
		return;
	struct token_slot **at = &tokens->slots;
	while (*at != slot)
		at = &(*at)->next;
	*at = slot->next;
	slot_free(slot);
}

void token_slot_drop(struct tokens *tokens, struct token_slot *slot, uint64_t now_ms)
{
	token_lock(tokens);
	drop(tokens, slot, now_ms);
	token_unlock(tokens);
}

bool token_slot_has_unsaved(const struct tokens *tokens, const struct token_slot *slot,
			    bool *is_rotated)
{
	token_lock(tokens);
	bool has_unsaved = slot->has_unsaved;
	*is_rotated = slot->is_rotated;
	token_unlock(tokens);
	return has_unsaved;
}

bool token_slot_tell(const struct tokens *tokens, struct token_slot *slot, uint64_t now_ms)
{
	token_lock(tokens);
	bool is_news = !slot->told_ms;
	if (is_news)
		slot->told_ms = now_ms;
	token_unlock(tokens);
	return is_news;
}

void token_slot_keep(const struct tokens *tokens, struct token_slot *slot,
		     const struct token_record *record, bool is_rotated, uint64_t base)
{
	struct token_record copy = token_record_dup(record);

	token_lock(tokens);
	token_record_fini(&slot->unsaved);
	slot->unsaved = copy;
	slot->has_unsaved = true;
	slot->is_rotated = is_rotated;
	slot->base = base;
	token_unlock(tokens);
}

void token_slot_forget(const struct tokens *tokens, struct token_slot *slot)
{
	token_lock(tokens);
	token_record_fini(&slot->unsaved);
	slot->has_unsaved = slot->is_rotated = false;
	token_unlock(tokens);
}

/* Another process may have written meanwhile: a new enrolment counts more than what we have, another
 * refresh of the same grant if it is younger, and that somebody has removed it. */
static bool is_overtaken(const struct token_slot *slot, const struct token_record *stored,
			 uint64_t version)
{
	if (version == slot->base)
		return false;
	if (!version)
		return true;
	return stored->grant != slot->unsaved.grant || stored->got_s > slot->unsaved.got_s;
}

/* Only who has made the slot busy changes what is unsaved, so here it is read without the lock. */
struct err token_slot_settle(struct tokens *tokens, const struct env *env, struct token_slot *slot)
{
	struct token_record stored;
	uint64_t version;
	bool is_stale = false;

	struct err err =
		token_record_get(tokens->state, env, tokens->key, slot->name, &stored, &version);
	if (!err.kind && is_overtaken(slot, &stored, version)) {
		token_slot_forget(tokens, slot);
	} else if (!err.kind) {
		err = token_record_put(tokens->state, env, tokens->key, slot->name, &slot->unsaved,
				       version, &is_stale);
		if (!err.kind && is_stale)
			err = ERR(ERR_UPSTREAM, 0, "the stored token changes all the time");
		if (!err.kind) {
			token_slot_forget(tokens, slot);
			LOG(tokens->log, LEVEL_NOTE, "token-stored-late");
		}
	}
	token_record_fini(&stored);
	return err;
}

/* One that has not been tried in this pass, made busy. */
static struct token_slot *take_late(struct tokens *tokens, unsigned pass)
{
	token_lock(tokens);
	struct token_slot *slot = tokens->slots;
	while (slot && (!slot->has_unsaved || slot->is_busy || slot->pass >= pass))
		slot = slot->next;
	if (slot) {
		slot->pass = pass;
		slot->users++;
		slot->is_busy = true;
	}
	token_unlock(tokens);
	return slot;
}

void tokens_store_late(struct tokens *tokens, const struct env *env)
{
	struct token_slot *slot;

	token_lock(tokens);
	unsigned pass = ++tokens->pass;
	token_unlock(tokens);
	while ((slot = take_late(tokens, pass))) {
		struct err err = token_slot_settle(tokens, env, slot);
		if (err.kind && slot->is_rotated)
			log_err(tokens->log, LEVEL_ALARM, "token-not-stored", err);
		token_lock(tokens);
		slot->err = OK; /* who waits may look for himself */
		slot->is_busy = false;
		slot->flight++;
		drop(tokens, slot, env->ops->now(env));
		token_unlock(tokens);
	}
}
