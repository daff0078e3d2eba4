/* SPDX-License-Identifier: MIT */
/* token.h - OAuth 2.0 access tokens for the upstream, kept fresh (J-10).
 *
 * A grant is what somebody once allowed popgate to do in an account: the refresh token, or for client
 * credentials and service accounts the profile alone. It belongs to a map key and a profile, lies
 * encrypted in the state (seal.h), with the access token of the hour beside it, so that a restart
 * asks no provider, and is only written by `popgate enrol` and by a refresh.
 *
 * One refresh is under way per grant: whoever else needs the token waits for it, and shares its
 * failure. A token is renewed five minutes before it expires, and up to one more by chance, so that
 * many of them do not expire together; one that lives shorter than a quarter of an hour after two
 * thirds of its life; and once when a server has refused it.
 *
 * What is promised of a rotated refresh token: it is in the state before the access token that came
 * with it is used. Providers that let the old one live until then lose nothing by a crash. If the
 * state cannot be written, the new pair is kept in memory, with an alarm, and stored as soon as it can
 * be; until then the old access token serves as long as it lives, and then nobody is served.
 */
#ifndef POPGATE_TOKEN_H
#define POPGATE_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "upstream/oauth.h"
#include "upstream/seal.h"
#include "upstream/state.h"

enum {
	TOKENS_AT_ONCE = 8,    /* requests under way: half of the pool as it is by default */
	TOKENS_WAIT_S = 90,    /* the longest wait for somebody else's refresh, or for a place */
	TOKENS_HELD_S = 3600,  /* before a provider that has withdrawn a grant is asked again */
	TOKENS_REFUSED_S = 60, /* the same after any other refusal */
	TOKENS_FORCED =
		3, /* renewals of one grant in that time because a server refused its token */
	TOKENS_UNHEARD_S = 5, /* the same after nobody answered, for all grants of that token_url */
};

/* Of one process: refreshes under way, and what could not be stored yet. Several loops may use it: an
 * entry of the map that is for many names has one grant for all of them. */
struct tokens;

/* All are borrowed and outlive it. */
struct tokens *tokens_new(struct state_store *, const struct token_key *,
			  const struct oauth_transport *, const struct log *);
/* What a provider gives is lost if the process ends before it is stored, and what it was asked with may be
 * spent. So begin() is called before each question; false: the process ends, so it is not asked. end()
 * follows when what came is stored, or could not be. By whoever calls tokens_get(), on any thread. */
struct token_stay {
	bool (*begin)(void *arg);
	void (*end)(void *arg);
	void *arg;
};
/* Copied; before the first tokens_get(). */
void tokens_stay(struct tokens *, const struct token_stay *);
/* How many requests may be under way, 1 at least; TOKENS_AT_ONCE if it is never said. */
void tokens_limit(struct tokens *, unsigned at_once);
void tokens_free(struct tokens *); /* NULL is fine; no call is under way */

/* An access token for a map key by a profile, good for a minute or more (or for as long as the
 * provider gives any), as an owned string that the caller wipes. `subject` is the login upstream (the
 * "sub" of a service account's JWT). `refused` is the token that a server has just refused, or NULL:
 * it is never given out again.
 * ERR_POLICY: nobody has enrolled it, or the provider refuses, or the profile is wrong, or the state's
 * record does not open: an operator must act; one loud line is logged, and the provider is not asked
 * again before the grant has changed or TOKENS_HELD_S or TOKENS_REFUSED_S have passed. ERR_UPSTREAM:
 * the network, the provider or the state fails for now. `why` tells it in words for the log. Waits. */
struct err tokens_get(struct tokens *, const struct env *, const struct oauth_profile *,
		      const char *key, const char *subject, const char *refused, struct notice *why,
		      char **out) MUST_USE;

/* Stores the grant that an enrolment got, in place of whatever was there. A daemon that runs uses it
 * from its next login on. Waits. */
struct err tokens_enrol(struct tokens *, const struct env *, const struct oauth_profile *,
			const char *key, const struct oauth_reply *) MUST_USE;

/* Tries once more to store what could not be. Waits. */
void tokens_store_late(struct tokens *, const struct env *);

/* What is known of a grant, without its secrets. Moments are seconds since 1970, 0: never. */
struct token_facts {
	char *key, *profile; /* owned */
	bool is_shut;        /* the record does not open: the rest is not known */
	bool has_refresh, has_access;
	uint64_t granted_s; /* enrolled */
	uint64_t got_s;     /* the last refresh that succeeded */
	uint64_t expires_s; /* the access token */
	uint64_t held_s;    /* before this the provider is not asked; 0: nothing forbids it */
	uint64_t trouble_s; /* the last failure since that refresh */
	char *trouble;      /* owned: its words, printable; "": none */
};

/* Every grant in the state, ascending by key. The array and what is in it are freed by
 * token_facts_free(). Waits. */
struct err tokens_list(struct tokens *, const struct env *, struct token_facts **out,
		       size_t *count) MUST_USE;
void token_facts_free(struct token_facts *, size_t count);

/* Removes every grant of a map key from the state, also what cannot be read; the provider is not told.
 * A daemon that runs refuses from its next login on. `told` hears the profile of each, once all are
 * gone; *count of them. Waits. */
struct err tokens_forget(struct tokens *, const struct env *, const char *key,
			 void (*told)(void *arg, const char *profile), void *arg,
			 size_t *count) MUST_USE;

#endif
