/* SPDX-License-Identifier: MIT */
/* config_oauth.h - the [oauth NAME] sections of popgate.conf, and the key that tokens are kept under. */
#ifndef POPGATE_CONFIG_OAUTH_H
#define POPGATE_CONFIG_OAUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/err.h"
#include "proxy/fault.h"
#include "upstream/oauth.h"
#include "upstream/seal.h"

struct config;

struct oauth_section {
	struct oauth_profile profile; /* its strings are owned here, secrets wiped */
	int line;                     /* of the heading, for messages */
};

/* All sections of a configuration. Counted, for a session goes on with those that it began with when
 * others have been read; after the configuration was read they do not change. */
struct oauth_profiles;

struct oauth_profiles *oauth_profiles_new(void);
struct oauth_profiles *oauth_profiles_hold(struct oauth_profiles *);
void oauth_profiles_release(struct oauth_profiles *); /* NULL is fine */
/* The section is borrowed until the next one is added. */
struct oauth_section *oauth_profiles_add(struct oauth_profiles *, const char *name, int line);
size_t oauth_profiles_count(const struct oauth_profiles *);
/* NULL: there is none of that name, or `profiles` is NULL. */
const struct oauth_section *oauth_profiles_find(const struct oauth_profiles *, const char *name);
const struct oauth_section *oauth_profiles_nth(const struct oauth_profiles *, size_t);

/* What no single line shows: that each section has what its grant needs, that each URL is one and
 * https, that there is one key for tokens at most. */
void config_oauth_check(const struct config *, struct faults *);

/* Whether a client secret stands in the file itself, which others may then not read. */
bool config_oauth_has_secret(const struct config *);

/* Reads token_key= or token_key_cred=, as who we are now: before the drop to `user`, whose file it may
 * be as well. *out is NULL if the configuration has neither; then, or on an error, which is added to
 * `faults`, nothing is held. */
void config_oauth_key(const struct config *, struct faults *, struct token_key **out);

#endif
