/* SPDX-License-Identifier: MIT */
/* token_record.h - what the state holds of a grant. For token.c and token_list.c alone.
 *
 * The key in the state is "token", TAB, the map key, TAB, the profile, and for a service account, which
 * is one grant for many logins, TAB and a hash of the login; the value is sealed for that key.
 */
#ifndef POPGATE_TOKEN_RECORD_H
#define POPGATE_TOKEN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "upstream/seal.h"
#include "upstream/state.h"

#define TOKEN_PREFIX "token\t"

enum { TOKEN_TROUBLE = 255 }; /* octets of the words of a failure */

/* Moments are seconds since 1970, 0: never. */
struct token_record {
	uint64_t grant;     /* a number by chance: which enrolment this is of */
	char *refresh;      /* owned, secret; "": there is none */
	char *access;       /* owned, secret; "": none yet */
	uint64_t granted_s; /* enrolled */
	uint64_t got_s;     /* when the provider gave the access token */
	uint64_t renew_s;   /* from when on it is renewed */
	uint64_t expires_s;
	uint64_t forced_s; /* the first renewal, of `forced`, because a server refused it */
	uint64_t forced;
	uint64_t held_s;    /* before this the provider is not asked */
	uint64_t trouble_s; /* the last failure since got_s */
	char trouble[TOKEN_TROUBLE + 1];
};

/* An empty record, which owns two empty strings. */
struct token_record token_record_new(void);
void token_record_fini(struct token_record *); /* wipes; a zeroed struct is fine */
struct token_record token_record_dup(const struct token_record *);

/* ERR_POLICY if that is too long for a key of the state. `hash_of`: NULL, or the login. */
struct err token_record_name(const char *map_key, const char *profile, const char *hash_of,
			     char out[STATE_KEY + 1]) MUST_USE;

/* What was sealed, read strictly. As seal_get(). On an error *out is empty. */
struct err token_record_open(const struct token_key *, const char *name, const void *sealed,
			     size_t len, struct token_record *out) MUST_USE;

/* Reads from the state. *version 0: there is none, and *out is empty. The caller ends *out in any
 * case. */
struct err token_record_get(struct state_store *, const struct env *, const struct token_key *,
			    const char *name, struct token_record *out, uint64_t *version) MUST_USE;

/* Writes it, if the state's version still is `was`. */
struct err token_record_put(struct state_store *, const struct env *, const struct token_key *,
			    const char *name, const struct token_record *, uint64_t was,
			    bool *is_stale) MUST_USE;

#endif
