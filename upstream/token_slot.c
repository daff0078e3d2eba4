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
	return tokens;
}

void tokens_limit(struct tokens *tokens, unsigned at_once)
{
	tokens->at_once = at_once ? at_once : 1;
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
	free(tokens);
}

struct token_slot *token_slot_hold(struct tokens *tokens, const char *name)
{
	size_t size = strlen(name) + 1;
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
	return slot;
}

void token_slot_drop(struct tokens *tokens, struct token_slot *slot, uint64_t now_ms)
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

void token_slot_keep(struct token_slot *slot, const struct token_record *record, bool is_rotated,
		     uint64_t base)
{
	struct token_record copy = token_record_dup(record);

	token_record_fini(&slot->unsaved);
	slot->unsaved = copy;
	slot->has_unsaved = true;
	slot->is_rotated = is_rotated;
	slot->base = base;
}

static void forget(struct token_slot *slot)
{
	token_record_fini(&slot->unsaved);
	slot->has_unsaved = slot->is_rotated = false;
}

/* Another process may have written meanwhile: a new enrolment counts more than what we have, another
 * refresh of the same grant if it is younger. */
static bool is_overtaken(const struct token_slot *slot, const struct token_record *stored,
			 uint64_t version)
{
	if (!version || version == slot->base)
		return false;
	return stored->grant != slot->unsaved.grant || stored->got_s > slot->unsaved.got_s;
}

struct err token_slot_settle(struct tokens *tokens, const struct env *env, struct token_slot *slot)
{
	struct token_record stored;
	uint64_t version;
	bool is_stale = false;

	struct err err =
		token_record_get(tokens->state, env, tokens->key, slot->name, &stored, &version);
	if (!err.kind && is_overtaken(slot, &stored, version)) {
		forget(slot);
	} else if (!err.kind) {
		err = token_record_put(tokens->state, env, tokens->key, slot->name, &slot->unsaved,
				       version, &is_stale);
		if (!err.kind && is_stale)
			err = ERR(ERR_UPSTREAM, 0, "the stored token changes all the time");
		if (!err.kind) {
			forget(slot);
			LOG(tokens->log, LEVEL_NOTE, "token-stored-late");
		}
	}
	token_record_fini(&stored);
	return err;
}

/* One that has not been tried in this pass. */
static struct token_slot *find_late(struct tokens *tokens)
{
	struct token_slot *slot = tokens->slots;

	while (slot && (!slot->has_unsaved || slot->is_busy || slot->pass == tokens->pass))
		slot = slot->next;
	return slot;
}

void tokens_store_late(struct tokens *tokens, const struct env *env)
{
	struct token_slot *slot;

	tokens->pass++;
	while ((slot = find_late(tokens))) {
		slot->pass = tokens->pass;
		slot->users++;
		slot->is_busy = true;
		struct err err = token_slot_settle(tokens, env, slot);
		if (err.kind && slot->is_rotated)
			log_err(tokens->log, LEVEL_ALARM, "token-not-stored", err);
		slot->err = OK; /* who waits may look for himself */
		slot->is_busy = false;
		slot->flight++;
		token_slot_drop(tokens, slot, env->ops->now(env));
	}
}
