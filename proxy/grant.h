/* SPDX-License-Identifier: MIT */
/* grant.h - the login of a map entry with oauth=: an access token, and how to get the next one. For
 * whoever opens a mailbox: sessions, chores, probe, import-uidl. */
#ifndef POPGATE_GRANT_H
#define POPGATE_GRANT_H

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/config_oauth.h"
#include "proxy/map.h"
#include "upstream/token.h"
#include "upstream/upstream.h"

/* What login.renewer points to; it must outlive the login. */
struct grant;

/* Puts an access token into `login`, whose user is set, and makes it one that can be renewed. May wait.
 * Errors as of tokens_get(), and ERR_POLICY where `tokens` is NULL or there is no such profile; `why`
 * is for the log alone. *out is NULL on an error. */
struct err grant_login(struct tokens *tokens, struct oauth_profiles *, const struct env *,
		       const struct map_target *, struct login *login, struct notice *why,
		       struct grant **out) MUST_USE;
void grant_free(struct grant *); /* NULL is fine */

#endif
