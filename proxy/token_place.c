/* SPDX-License-Identifier: MIT */
/* token_place.c - where tokens are kept, for a subcommand. */
#include "proxy/token_place.h"

#include <stdio.h>

#include "proxy/statedir.h"

/* Always false. */
static bool fail(const char *command, const char *what, const char *why)
{
	fprintf(stderr, "popgate: %s: %s: %s\n", command, what, why);
	return false;
}

bool token_place_begin(struct token_place *place, const struct config *config, const char *command)
{
	struct faults faults = {0};

	*place = (struct token_place){.log = {.target = &log_to_stderr}};
	if (!config->state)
		return fail(command, "no state directory", "set state= in the configuration");
	if (!config->token_key && !config->token_key_cred)
		return fail(command, "no key to encrypt tokens with",
			    "set token_key= in the configuration, see popgate.conf(5)");
	if (!oauth_begin())
		return fail(command, "libcurl", "it cannot work here");
	statedir_make(config, &faults);
	config_oauth_key(config, &faults, &place->key);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	return place->key != NULL;
}

bool token_place_open(struct token_place *place, const struct config *config, const char *command)
{
	struct notice why = {""};
	struct err err = state_lmdb_open(config->state, &place->log, &why, &place->state);

	if (err.kind)
		return fail(command, err.what, why.text);
	place->tokens = tokens_new(place->state, place->key, &oauth_http, &place->log);
	return true;
}

struct err token_place_login(struct token_place *place, const struct config *config,
			     const struct env *env, const struct map_target *target,
			     struct login *login, struct notice *why)
{
	return grant_login(place->tokens, config->profiles, env, target, login, why, &place->grant);
}

void token_place_close(struct token_place *place)
{
	grant_free(place->grant);
	tokens_free(place->tokens);
	token_key_free(place->key);
	if (place->state)
		place->state->ops->close(place->state);
	*place = (struct token_place){0};
}
