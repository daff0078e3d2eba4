/* SPDX-License-Identifier: MIT */
/* token_place.h - where tokens are kept, for a subcommand: the key, read as who we are, and the state,
 * opened as `user`. What fails is told on stderr. */
#ifndef POPGATE_TOKEN_PLACE_H
#define POPGATE_TOKEN_PLACE_H

#include <stdbool.h>

#include "proxy/base/log.h"
#include "proxy/config.h"
#include "proxy/grant.h"
#include "upstream/state.h"
#include "upstream/token.h"

struct token_place {
	struct token_key *key;
	struct state_store *state;
	struct tokens *tokens;
	struct grant *grant;
	struct log log;
};

/* Before the drop to `user`: the key, which there must be, and the state directory, made if missing. */
bool token_place_begin(struct token_place *, const struct config *, const char *command);
/* After it: the rest. */
bool token_place_open(struct token_place *, const struct config *, const char *command);
/* A login with the token of `target`, which has an oauth=, as grant_login(). Ends with the place. */
struct err token_place_login(struct token_place *, const struct config *, const struct env *,
			     const struct map_target *, struct login *,
			     struct notice *why) MUST_USE;
void token_place_close(struct token_place *); /* a zeroed struct is fine; no call is under way */

#endif
