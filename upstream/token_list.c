/* SPDX-License-Identifier: MIT */
/* token_list.c - every grant in the state, told without its secrets. */
#include "upstream/token.h"

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

void token_facts_free(struct token_facts *all, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(all[i].key);
		free(all[i].profile);
		free(all[i].trouble);
	}
	free(all);
}
