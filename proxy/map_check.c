/* SPDX-License-Identifier: MIT */
/* map_check.c - what no single value of the map can show: that use= leads somewhere, that each
 * name has a mailbox, and above all who proves what.
 *
 * The three rules of proof. A secret for the upstream that stands in the map must not be lent to
 * whoever connects: it needs local=. A local store asks nobody: it needs local=. And after local=
 * the client's password is no longer the upstream's: an IMAP upstream needs a secret of its own.
 */
#include <string.h>

#include "proxy/base/text.h"
#include "proxy/map_parts.h"
#include "proxy/map_policy.h"

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

static const char *proof_refusal(const struct map_values *values, enum map_store store)
{
	unsigned secrets = 0;

	for (size_t i = 0; i < STORED; i++)
		secrets += values->of[stored[i]] != NULL;
	if (secrets > 1)
		return "more than one of password=, password_file=, password_cred=, password_cmd=, "
		       "oauth=: which one is it?";
	if (secrets && !values->of[MAP_LOCAL])
		return "a secret for the upstream without local=: anyone could open that mailbox";
	if (store != MAP_STORE_IMAP && !values->of[MAP_LOCAL])
		return "a local store without local=: anyone could open that mailbox";
	if (store == MAP_STORE_IMAP && values->of[MAP_LOCAL] && !secrets)
		return "local= without a secret for the upstream (password_file=, password_cred=, "
		       "password_cmd=, password=): with what should popgate log in there?";
	return NULL;
}

static const char *entry_refusal(const struct map_entry *entry, const struct map_values *values)
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
	return wrong ? wrong : proof_refusal(values, url.store);
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
		const char *wrong = entry_refusal(entry, &values);
		if (wrong)
			faults_add(faults, map->files[entry->file].name, (int)entry->line, "%s",
				   wrong);
	}
}
