/* SPDX-License-Identifier: MIT */
/* token_list.c - every grant in the state, told without its secrets; and taken out again. */
#include "upstream/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/token_own.h"

/* What the walk takes away; it runs on the pool and waits for nothing. */
struct listing {
	const struct token_key *key;
	struct token_facts *all;
	size_t count, room;
};

static void tell(const struct token_record *record, struct token_facts *facts)
{
	facts->has_refresh = *record->refresh;
	facts->has_access = *record->access;
	facts->granted_s = record->granted_s;
	facts->got_s = record->got_s;
	facts->expires_s = record->expires_s;
	facts->held_s = record->held_s;
	facts->trouble_s = record->trouble_s;
	facts->trouble = text_dup(record->trouble);
}

static bool visit(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct listing *listing = arg;
	struct token_record record;
	const char *map_key = key + strlen(TOKEN_PREFIX);
	size_t map_key_len = strcspn(map_key, "\t");
	const char *profile = map_key + map_key_len + (map_key[map_key_len] != '\0');

	(void)version;
	if (listing->count == listing->room) {
		listing->room = listing->room ? listing->room * 2 : 64;
		listing->all = mem_resize(listing->all, listing->room, sizeof *listing->all);
	}
	struct token_facts *facts = &listing->all[listing->count++];
	*facts = (struct token_facts){.key = mem_dup(map_key, map_key_len),
				      .profile = mem_dup(profile, strcspn(profile, "\t"))};
	if (token_record_open(listing->key, key, value, len, &record).kind) {
		facts->is_shut = true;
		facts->trouble = text_dup("");
		return true;
	}
	tell(&record, facts);
	token_record_fini(&record);
	return true;
}

struct err tokens_list(struct tokens *tokens, const struct env *env, struct token_facts **out,
		       size_t *count)
{
	struct listing listing = {.key = tokens->key};
	const struct state_range all = {TOKEN_PREFIX, visit, &listing};
	struct err err = tokens->state->ops->walk(tokens->state, env, &all, 1);

	if (err.kind) {
		token_facts_free(listing.all, listing.count);
		listing = (struct listing){0};
	}
	*out = listing.all;
	*count = listing.count;
	return err;
}

/* --- taken out ---------------------------------------------------------------------------- */

enum { FORGET_TRIES = 4 }; /* while a daemon renews what is to be forgotten */

struct forgetting {
	struct state_change *changes; /* owned, and their keys */
	size_t count, room;
};

static bool visit_key(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct forgetting *forgetting = arg;

	(void)value;
	(void)len;
	if (forgetting->count == forgetting->room) {
		forgetting->room = forgetting->room ? forgetting->room * 2 : 8;
		forgetting->changes = mem_resize(forgetting->changes, forgetting->room,
						 sizeof *forgetting->changes);
	}
	forgetting->changes[forgetting->count++] =
		(struct state_change){.key = text_dup(key), .was = version};
	return true;
}

static void forgetting_fini(struct forgetting *forgetting)
{
	for (size_t i = 0; i < forgetting->count; i++)
		free((char *)(uintptr_t)forgetting->changes[i].key);
	free(forgetting->changes);
	*forgetting = (struct forgetting){0};
}

struct err tokens_forget(struct tokens *tokens, const struct env *env, const char *key,
			 void (*told)(void *arg, const char *profile), void *arg, size_t *count)
{
	struct state_store *state = tokens->state;
	struct forgetting forgetting = {0};
	char prefix[STATE_KEY + 1];
	bool is_stale = true;
	struct err err = OK;

	*count = 0;
	int len = snprintf(prefix, sizeof prefix, TOKEN_PREFIX "%s\t", key);
	if (!*key || len < 0 || len > STATE_KEY || strchr(key, '\t'))
		return ERR(ERR_POLICY, EINVAL, "no key of a map entry looks so");
	const struct state_range all = {prefix, visit_key, &forgetting};
	for (int i = 0; i < FORGET_TRIES && is_stale && !err.kind; i++) {
		forgetting_fini(&forgetting);
		err = state->ops->walk(state, env, &all, 1);
		if (!err.kind)
			err = state->ops->put(state, env, forgetting.changes, forgetting.count,
					      &is_stale);
	}
	if (!err.kind && is_stale)
		err = ERR(ERR_UPSTREAM, EBUSY, "the stored token changes all the time");
	for (size_t i = 0; i < forgetting.count && !err.kind; i++) {
		const char *profile = forgetting.changes[i].key + len;
		char *name = mem_dup(profile, strcspn(profile, "\t"));
		told(arg, name);
		free(name);
		++*count;
	}
	forgetting_fini(&forgetting);
	return err;
}

void token_facts_free(struct token_facts *all, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(all[i].key);
		free(all[i].profile);
		free(all[i].trouble);
	}
	free(all);
}
