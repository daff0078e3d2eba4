/* SPDX-License-Identifier: MIT */
/* config_oauth.c - the [oauth NAME] sections of popgate.conf, and the key that tokens are kept under. */
#include "proxy/config_oauth.h"

#include <pwd.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/config.h"

struct oauth_profiles {
	atomic_uint holders;
	struct oauth_section *all; /* owned */
	size_t count;
};

struct oauth_profiles *oauth_profiles_new(void)
{
	struct oauth_profiles *profiles = mem_alloc(sizeof *profiles);

	profiles->holders = 1;
	return profiles;
}

struct oauth_profiles *oauth_profiles_hold(struct oauth_profiles *profiles)
{
	if (profiles)
		atomic_fetch_add(&profiles->holders, 1);
	return profiles;
}

/* They were made by this file and by config_value.c, with malloc(3). */
static void drop(const char *text)
{
	text_wipe_free((char *)(uintptr_t)text);
}

void oauth_profiles_release(struct oauth_profiles *profiles)
{
	if (!profiles || atomic_fetch_sub(&profiles->holders, 1) != 1)
		return;
	for (size_t i = 0; i < profiles->count; i++) {
		const struct oauth_profile *profile = &profiles->all[i].profile;
		const char *const texts[] = {
			profile->name,          profile->token_url, profile->device_url,
			profile->authorize_url, profile->client_id, profile->client_secret,
			profile->scope,         profile->audience,  profile->client_secret_file,
			profile->key_file,      profile->issuer,    profile->ca_file};
		for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
			drop(texts[k]);
	}
	free(profiles->all);
	free(profiles);
}

struct oauth_section *oauth_profiles_add(struct oauth_profiles *profiles, const char *name,
					 int line)
{
	profiles->all = mem_resize(profiles->all, profiles->count + 1, sizeof *profiles->all);
	struct oauth_section *section = &profiles->all[profiles->count++];
	*section = (struct oauth_section){.profile.name = text_dup(name), .line = line};
	return section;
}

size_t oauth_profiles_count(const struct oauth_profiles *profiles)
{
	return profiles ? profiles->count : 0;
}

const struct oauth_section *oauth_profiles_nth(const struct oauth_profiles *profiles, size_t nth)
{
	return &profiles->all[nth];
}

const struct oauth_section *oauth_profiles_find(const struct oauth_profiles *profiles,
						const char *name)
{
	for (size_t i = 0; i < oauth_profiles_count(profiles); i++)
		if (!strcmp(profiles->all[i].profile.name, name))
			return &profiles->all[i];
	return NULL;
}

/* --- checks ------------------------------------------------------------------------------- */

static bool is_https(const char *url)
{
	static const char https[] = "https://";
	size_t len = strlen(https);

	return !url || (!strncmp(url, https, len) && url[len] && url[len] != '/' &&
			!strpbrk(url, " \t\"<>#"));
}

/* NULL, or what a profile lacks or has too much. */
static const char *profile_refusal(const struct oauth_profile *profile)
{
	if (!is_https(profile->token_url) || !is_https(profile->device_url) ||
	    !is_https(profile->authorize_url))
		return "token_url, device_url and authorize_url are https://HOST/PATH, without #";
	if (!profile->token_url)
		return "token_url is missing";
	if (profile->client_secret && profile->client_secret_file)
		return "client_secret and client_secret_file: which one is it?";
	if (profile->grant == OAUTH_SERVICE_ACCOUNT)
		return profile->key_file ? NULL : "grant = service-account needs key_file";
	if (!profile->client_id)
		return "client_id is missing";
	if (profile->key_file || profile->issuer)
		return "key_file and issuer are for grant = service-account";
	if (profile->grant == OAUTH_CLIENT_CREDENTIALS)
		return profile->client_secret || profile->client_secret_file
			       ? NULL
			       : "grant = client-credentials needs client_secret or "
				 "client_secret_file";
	if (!profile->device_url && !profile->authorize_url)
		return "device_url or authorize_url is needed: by what should anybody enrol?";
	return NULL;
}

void config_oauth_check(const struct config *config, struct faults *faults)
{
	for (size_t i = 0; i < oauth_profiles_count(config->profiles); i++) {
		const struct oauth_section *section = &config->profiles->all[i];
		const char *wrong = profile_refusal(&section->profile);
		if (wrong)
			faults_add(faults, config->file, section->line, "[oauth %s]: %s",
				   section->profile.name, wrong);
	}
	if (config->token_key && config->token_key_cred)
		faults_add(faults, config->file, config->token_key_line,
			   "token_key and token_key_cred: which one is it?");
}

bool config_oauth_has_secret(const struct config *config)
{
	for (size_t i = 0; i < oauth_profiles_count(config->profiles); i++)
		if (config->profiles->all[i].profile.client_secret)
			return true;
	return false;
}

/* --- the key ------------------------------------------------------------------------------ */

void config_oauth_key(const struct config *config, struct faults *faults, struct token_key **out)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	bool is_credential = config->token_key_cred != NULL;
	struct notice why = {""};
	uid_t owner = geteuid();

	*out = NULL;
	if (!config->token_key && !is_credential)
		return;
	if (is_credential && (!directory || !*directory)) {
		faults_add(faults, config->file, config->token_key_line,
			   "token_key_cred = %s: CREDENTIALS_DIRECTORY is not set",
			   config->token_key_cred);
		return;
	}
	const struct passwd *user = config->user ? getpwnam(config->user) : NULL;
	if (user)
		owner = user->pw_uid;
	char *path = is_credential ? text_printf_dup("%s/%s", directory, config->token_key_cred)
				   : text_dup(config->token_key);
	struct err err = token_key_read(path, owner, is_credential, &why, out);
	if (err.kind)
		faults_add(faults, config->file, config->token_key_line, "%s: %s", err.what,
			   why.text);
	free(path);
}
