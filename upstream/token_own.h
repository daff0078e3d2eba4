/* SPDX-License-Identifier: MIT */
/* token_own.h - what token.c, token_ask.c, token_slot.c and token_list.c share, and nobody else needs. */
#ifndef POPGATE_TOKEN_OWN_H
#define POPGATE_TOKEN_OWN_H

#include <pthread.h>

#include "upstream/token.h"
#include "upstream/token_record.h"

/* A grant that somebody works with, or that is not in the state as it should be. All but the name is read
 * and written with tokens->lock. */
struct token_slot {
	struct token_slot *next;
	unsigned users;  /* calls that hold it */
	bool is_busy;    /* one of them changes it; the others wait */
	uint64_t flight; /* how many such changes have ended */
	struct err err;  /* how the last of them ended */
	struct notice why;
	bool has_unsaved; /* `unsaved` is newer than the state, which could not be written */
	bool is_rotated;  /* it has a refresh token that is nowhere else */
	struct token_record unsaved;
	uint64_t base;    /* the version in the state that it was made from */
	uint64_t told_ms; /* when it was said aloud that nobody has enrolled it; 0: not lately */
	unsigned pass;    /* of tokens_store_late(): the newest that has tried it */
	char name[];      /* in the state */
};

/* A token_url where nobody answered. */
struct token_endpoint {
	struct token_endpoint *next;
	uint64_t until_ms; /* nobody asks before */
	char url[];
};

struct tokens {
	struct state_store *state;
	const struct token_key *key;
	const struct oauth_transport *transport;
	const struct log *log;
	struct token_stay stay;
	pthread_mutex_t lock; /* for what follows; nobody waits for anything else while he has it */
	struct token_slot *slots;
	struct token_endpoint *endpoints;
	unsigned asking, at_once; /* requests under way; and that may be */
	unsigned pass;
};

/* One tokens_get(). Borrowed. */
struct token_call {
	struct tokens *tokens;
	const struct env *env;
	const struct oauth_profile *profile;
	const char *key, *subject, *refused;
	struct notice *why;
	struct token_slot *slot;
};

#define TOKEN_WHY(why_, ...) snprintf((why_)->text, sizeof(why_)->text, __VA_ARGS__)

/* --- token_slot.c --- */

void token_lock(const struct tokens *);
void token_unlock(const struct tokens *);

struct token_slot *token_slot_hold(struct tokens *, const char *name);
void token_slot_drop(struct tokens *, struct token_slot *, uint64_t now_ms);
/* Keeps a copy of a record that could not be stored over version `base`. */
void token_slot_keep(const struct tokens *, struct token_slot *, const struct token_record *,
		     bool is_rotated, uint64_t base);
/* Forgets that copy: what is in the state is newer. */
void token_slot_forget(const struct tokens *, struct token_slot *);
/* Whether it has such a copy; *is_rotated as it was kept. */
bool token_slot_has_unsaved(const struct tokens *, const struct token_slot *, bool *is_rotated);
/* Whether it was not said aloud lately that something is wrong with the grant; from now on it was. */
bool token_slot_tell(const struct tokens *, struct token_slot *, uint64_t now_ms);
/* Stores what was kept, if it still counts. Busy slots only. An error: it is still kept. */
struct err token_slot_settle(struct tokens *, const struct env *, struct token_slot *) MUST_USE;

/* --- token_ask.c --- */

/* Gets a new access token into `record`, which was read as `version`, and stores it. On failure
 * `record` still has the old access token. */
struct err token_refresh(const struct token_call *, struct token_record *record,
			 uint64_t version) MUST_USE;
/* Sets access token, refresh token and moments from a reply. */
void token_record_take(struct token_record *, const struct env *, const struct oauth_reply *);
bool token_same(const char *a, const char *b); /* in constant time; NULL is like nothing */

#endif
