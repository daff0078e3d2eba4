/* SPDX-License-Identifier: MIT */
/* map_check.c - what no single value of the map can show: that use= leads somewhere, that each
 * name has a mailbox, and above all who proves what.
 *
 * The three rules of proof. A secret for the upstream that stands in the map must not be lent to
 * whoever connects: it needs local=; popgate's own certificate, where auth=external, is one. A local
 * store asks nobody: it needs local=. And after local= the client's password is no longer the
 * upstream's: an IMAP upstream needs a secret of its own. Where clients have certificates these are as
 * good as a local=.
 */
#include <string.h>

#include "proxy/base/text.h"
#include "proxy/map_parts.h"
#include "proxy/map_policy.h"
#include "proxy/verify.h"
#include "upstream/imap_auth_list.h"

static const enum map_attribute stored[] = {MAP_PASSWORD, MAP_PASSWORD_FILE, MAP_PASSWORD_CRED,
					    MAP_PASSWORD_CMD, MAP_OAUTH};
enum { STORED = sizeof stored / sizeof *stored };

static void fault_profile(const struct map *map, const struct map_entry *entry,
			  const struct map_pair *use, struct faults *faults)
{
	const char *nearest = NULL;
	unsigned best = 3;
	char shown[40];

	/* Nobody will read the suggestions of errors that are only counted. */
	for (size_t i = 0; i < map->entry_count && faults->count < FAULTS_MAX; i++) {
		const struct map_entry *other = &map->entries[i];
		unsigned distance =
			other->kind == MAP_PROFILE ? text_distance(other->key, use->value) : 3;
		if (distance < best) {
			best = distance;
			nearest = other->key;
		}
	}
	text_printable(shown, sizeof shown, use->value, strlen(use->value), true);
	faults_add(faults, map->files[entry->file].name, use->line,
		   nearest ? "use=%s: there is no such %%profile: did you mean \"%s\"?"
			   : "use=%s: there is no such %%profile",
		   shown, nearest);
}

/* Joins an entry with its profile. */
static void check_use(const struct map *map, struct map_entry *entry, struct faults *faults)
{
	const char *at = map_pairs(entry);

	for (unsigned i = 0; i < entry->attributes; i++) {
		struct map_pair pair = map_pair_at(entry, at);
		at = pair.next;
		if (pair.attribute != MAP_USE)
			continue;
		entry->profile = map_lookup(map, MAP_PROFILE, pair.value, strlen(pair.value));
		if (!entry->profile && !entry->is_broken) {
			fault_profile(map, entry, &pair, faults);
			entry->is_broken = true;
		}
	}
}

/* Whether the certificate alone opens the upstream. */
static bool is_external(const struct map_values *values)
{
	return values->of[MAP_AUTH] && imap_auth_names(values->of[MAP_AUTH], "external");
}

/* How popgate proves who it is. */
static const char *auth_refusal(const struct map *map, const struct map_values *values,
				const struct map_url *url)
{
	bool is_proved = values->of[MAP_LOCAL] || map->has_client_ca;
	const char *auth = values->of[MAP_AUTH], *master = values->of[MAP_MASTER];
	bool has_password = false;

	for (size_t i = 0; i < STORED; i++)
		has_password |= stored[i] != MAP_OAUTH && values->of[stored[i]];
	if (!values->of[MAP_CERT] != !values->of[MAP_KEY])
		return values->of[MAP_CERT] ? "cert= without key=" : "key= without cert=";
	if (is_external(values) && (!values->of[MAP_CERT] || url->tls == UPSTREAM_CLEAR))
		return "auth=external needs cert=, key= and TLS";
	if (is_external(values) && !is_proved)
		return "auth=external without local=: popgate's certificate would open that "
		       "mailbox "
		       "for anyone";
	if (master && !(has_password && is_proved))
		return "master= needs local= and the master's password (password_file=, "
		       "password_cred=, password_cmd=, password=)";
	if (!auth)
		return NULL;
	if (values->of[MAP_OAUTH] && !imap_auth_serves(auth, LOGIN_TOKEN, false))
		return "oauth= needs xoauth2 or oauthbearer in auth=";
	if (has_password && !is_external(values) &&
	    !imap_auth_serves(auth, LOGIN_PASSWORD, master != NULL))
		return master ? "master= needs plain or one of scram in auth="
			      : "auth= names no mechanism that takes a password";
	return NULL;
}

bool map_is_passed_through(const struct map_values *values)
{
	bool is_ours = values->of[MAP_LOCAL] || is_external(values);
	struct map_url url;

	for (size_t i = 0; i < STORED; i++)
		is_ours |= values->of[stored[i]] != NULL;
	return !is_ours && values->of[MAP_UPSTREAM] &&
	       !map_url_parse(values->of[MAP_UPSTREAM], &url) && url.store == MAP_STORE_IMAP;
}

struct roll {
	struct local_list list;
	const char *wrong;
};

static void enroll(void *arg, const char *value, const char *file, int line)
{
	struct roll *roll = arg;
	struct local_list *list = &roll->list;
	size_t len = local_name_len(value);

	(void)file;
	(void)line;
	for (size_t i = 0; i < list->count && !roll->wrong; i++)
		if (text_same_n(list->value[i], local_name_len(list->value[i]), value, len))
			roll->wrong =
				len ? "two local= of the same name"
				    : "two local= without a name: NAME:{scheme}... tells which "
				      "device it is";
	if (list->count == LOCAL_MAX)
		roll->wrong = "more than 16 local=";
	else
		list->value[list->count++] = value;
}

/* One secret a device, each device once. */
static const char *locals_refusal(const struct map *map, const struct map_entry *entry)
{
	struct roll roll = {.wrong = NULL};

	map_each_local(map, entry, enroll, &roll);
	return roll.wrong;
}

/* Adds what an entry can answer. */
static void note_abilities(struct map *map, const struct map_entry *entry,
			   const struct map_values *values)
{
	const char *auth = values->of[MAP_AUTH];
	struct local_list locals;
	struct verify_scram scram;

	map_locals_of(map, entry, &locals);
	unsigned kinds = local_kinds(&locals);
	if (kinds & LOCAL_PLAIN)
		map->abilities |= MAP_HAS_PLAIN;
	if (kinds & LOCAL_SCRAM_SHA_256)
		map->abilities |= MAP_HAS_SCRAM_SHA_256;
	for (size_t i = 0; i < locals.count && !map->scram_rounds; i++)
		if (verify_scram(local_secret(locals.value[i]), &scram))
			map->scram_rounds = scram.rounds;
	if (!map_is_passed_through(values)) {
		map->abilities |= values->of[MAP_UPSTREAM] ? MAP_HAS_OWN : 0;
		return;
	}
	map->abilities |= MAP_HAS_PASS_THROUGH;
	if (auth && imap_auth_names(auth, "scram-sha-256"))
		map->abilities |= MAP_RELAYS_SCRAM_SHA_256;
	if (auth && imap_auth_names(auth, "scram-sha-1"))
		map->abilities |= MAP_RELAYS_SCRAM_SHA_1;
}

static const char *proof_refusal(const struct map *map, const struct map_values *values,
				 enum map_store store)
{
	bool is_proved = values->of[MAP_LOCAL] || map->has_client_ca;
	unsigned secrets = 0;

	for (size_t i = 0; i < STORED; i++)
		secrets += values->of[stored[i]] != NULL;
	if (secrets > 1)
		return "more than one of password=, password_file=, password_cred=, password_cmd=, "
		       "oauth=: which one is it?";
	if (store != MAP_STORE_IMAP && values->of[MAP_OAUTH])
		return "oauth= is for IMAP upstreams";
	if (secrets && !is_proved)
		return "a secret for the upstream without local=: anyone could open that mailbox";
	if (store != MAP_STORE_IMAP && !is_proved)
		return "a local store without local=: anyone could open that mailbox";
	if (store == MAP_STORE_IMAP && values->of[MAP_LOCAL] && !secrets && !is_external(values))
		return "local= without a secret for the upstream (oauth=, password_file=, "
		       "password_cred=, "
		       "password_cmd=, password=, auth=external): with what should popgate log in "
		       "there?";
	return NULL;
}

static const char *entry_refusal(const struct map *map, const struct map_entry *entry,
				 const struct map_values *values)
{
	struct map_url url;

	if (values->of[MAP_REJECT] && entry->kind != MAP_NAME)
		return "reject= is for exact keys only: here it would tell which names exist";
	if (!values->of[MAP_UPSTREAM])
		return values->of[MAP_REJECT] ? NULL
					      : "no upstream=, neither here nor in a "
						"profile or %defaults";
	if (map_url_parse(values->of[MAP_UPSTREAM], &url))
		return NULL; /* told where it stands */
	const char *insecure = values->of[MAP_INSECURE];
	if (url.store == MAP_STORE_IMAP && url.tls == UPSTREAM_CLEAR &&
	    !map_url_is_loopback(&url) && !(insecure && !strcmp(insecure, "yes")))
		return "imap:// would send passwords in clear over the network: use imaps:// or "
		       "imap+starttls://, or say insecure=yes";
	const char *wrong = map_policy_refusal(values, &url);
	if (!wrong && url.store == MAP_STORE_IMAP)
		wrong = auth_refusal(map, values, &url);
	if (!wrong)
		wrong = locals_refusal(map, entry);
	return wrong ? wrong : proof_refusal(map, values, url.store);
}

static bool is_sound(const struct map *map, const struct map_entry *entry)
{
	return !entry->is_broken &&
	       !(entry->profile && map->entries[entry->profile - 1].is_broken) &&
	       !(map->defaults && map->entries[map->defaults - 1].is_broken);
}

void map_check(struct map *map, struct faults *faults)
{
	struct map_values values;

	for (size_t i = 0; i < map->entry_count; i++) {
		struct map_entry *entry = &map->entries[i];
		if (entry->kind == MAP_PROFILE || entry->kind == MAP_DEFAULTS)
			continue;
		check_use(map, entry, faults);
		if (!is_sound(map, entry))
			continue;
		map_values_of(map, entry, &values);
		const char *wrong = entry_refusal(map, entry, &values);
		if (wrong)
			faults_add(faults, map->files[entry->file].name, (int)entry->line, "%s",
				   wrong);
		else
			note_abilities(map, entry, &values);
	}
}
