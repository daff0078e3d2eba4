/* SPDX-License-Identifier: MIT */
/* grant.c - the login of a map entry with oauth=. */
#include "proxy/grant.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

/* Copies, for the login may be renewed when the map is another one. */
struct grant {
	struct tokens *tokens;           /* borrowed: of the process */
	struct oauth_profiles *profiles; /* held: `profile` is one of them */
	const struct oauth_profile *profile;
	char *key, *subject;
};

void grant_free(struct grant *grant)
{
	if (!grant)
		return;
	oauth_profiles_release(grant->profiles);
	free(grant->key);
	free(grant->subject);
	free(grant);
}

static struct err renew(struct login *login, const struct env *env, bool was_refused)
{
	const struct grant *grant = login->renewer;
	struct notice why = {""};
	char *token;

	TRY(tokens_get(grant->tokens, env, grant->profile, grant->key, grant->subject,
		       was_refused ? login->password : NULL, &why, &token));
	text_wipe_free(login->password);
	login->password = token;
	return OK;
}

struct err grant_login(struct tokens *tokens, struct oauth_profiles *profiles,
		       const struct env *env, const struct map_target *target, struct login *login,
		       struct notice *why, struct grant **out)
{
	const struct oauth_section *section = oauth_profiles_find(profiles, target->oauth);

	*out = NULL;
	if (!tokens || !section) {
		snprintf(why->text, sizeof why->text, "%s",
			 section ? "oauth= needs state and token_key in the configuration"
				 : "the configuration has no such [oauth] section");
		return ERR(ERR_POLICY, 0, "there is no token for the mailbox");
	}
	/* A reload may take them from whoever gave them while the token server is asked. */
	profiles = oauth_profiles_hold(profiles);
	struct err err = tokens_get(tokens, env, &section->profile, target->key, target->login,
				    NULL, why, &login->password);
	if (err.kind) {
		oauth_profiles_release(profiles);
		return err;
	}
	struct grant *grant = mem_alloc(sizeof *grant);
	*grant = (struct grant){.tokens = tokens,
				.profiles = profiles,
				.profile = &section->profile,
				.key = text_dup(target->key),
				.subject = text_dup(target->login)};
	login->kind = LOGIN_TOKEN;
	login->is_stored = true;
	login->renew = renew;
	login->renewer = grant;
	*out = grant;
	return OK;
}
