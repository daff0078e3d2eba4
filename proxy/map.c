/* SPDX-License-Identifier: MIT */
/* map.c - the attributes there are, lookup, and the life of a map.
 *
 * How a map lies in memory is told in map_parts.h. After map_load() nothing in it changes, so that
 * any thread may look up in it; the count of its holders is the one thing that is written.
 */
#include "proxy/map.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/map_parts.h"
#include "proxy/verify.h"

/* --- attributes --------------------------------------------------------------------------- */

struct attribute {
	const char *name;
	enum map_expansion expansion;
	bool is_secret; /* its value is never shown */
};

static const struct attribute attributes[MAP_ATTRIBUTES] = {
	[MAP_UPSTREAM] = {"upstream", MAP_EXPANDED, false},
	[MAP_LOGIN] = {"login", MAP_EXPANDED, false},
	[MAP_LOCAL] = {"local", MAP_SECRET, true},
	[MAP_PASSWORD] = {"password", MAP_SECRET, true},
	[MAP_PASSWORD_FILE] = {"password_file", MAP_REFUSED, false},
	[MAP_PASSWORD_CRED] = {"password_cred", MAP_REFUSED, false},
	[MAP_PASSWORD_CMD] = {"password_cmd", MAP_REFUSED, false},
	[MAP_OAUTH] = {"oauth", MAP_REFUSED, false},
	[MAP_DELETE] = {"delete", MAP_VERBATIM, false},
	[MAP_SEEN] = {"seen", MAP_VERBATIM, false},
	[MAP_ORDER] = {"order", MAP_VERBATIM, false},
	[MAP_NEWEST] = {"newest", MAP_VERBATIM, false},
	[MAP_UIDL] = {"uidl", MAP_VERBATIM, false},
	[MAP_DELETE_AFTER] = {"delete_after", MAP_VERBATIM, false},
	[MAP_KEEP_NEWEST] = {"keep_newest", MAP_VERBATIM, false},
	[MAP_SIZES] = {"sizes", MAP_VERBATIM, false},
	[MAP_LOCK] = {"lock", MAP_VERBATIM, false},
	[MAP_UIDVALIDITY] = {"uidvalidity", MAP_VERBATIM, false},
	[MAP_POISON] = {"poison", MAP_VERBATIM, false},
	[MAP_QUIRKS] = {"quirks", MAP_VERBATIM, false},
	[MAP_CONNECTIONS] = {"connections", MAP_VERBATIM, false},
	[MAP_CREATE] = {"create", MAP_VERBATIM, false},
	[MAP_NO_UIDPLUS] = {"no_uidplus", MAP_VERBATIM, false},
	[MAP_ALLOW] = {"allow", MAP_VERBATIM, false},
	[MAP_LISTENER] = {"listener", MAP_REFUSED, false},
	[MAP_REJECT] = {"reject", MAP_EXPANDED, false},
	[MAP_CA] = {"ca", MAP_REFUSED, false},
	[MAP_PIN] = {"pin", MAP_VERBATIM, false},
	[MAP_AUTH] = {"auth", MAP_REFUSED, false},
	[MAP_CERT] = {"cert", MAP_REFUSED, false},
	[MAP_KEY] = {"key", MAP_REFUSED, false},
	[MAP_MASTER] = {"master", MAP_REFUSED, false},
	[MAP_SOURCE] = {"source", MAP_VERBATIM, false},
	[MAP_VIA] = {"via", MAP_VERBATIM, false},
	[MAP_INSECURE] = {"insecure", MAP_VERBATIM, false},
	[MAP_USE] = {"use", MAP_REFUSED, false},
};

int map_attribute_find(const char *name, size_t len)
{
	for (int i = 0; i < MAP_ATTRIBUTES; i++)
		if (len && *attributes[i].name == *name && strlen(attributes[i].name) == len &&
		    !memcmp(attributes[i].name, name, len))
			return i;
	return -1;
}

enum map_expansion map_attribute_expansion(enum map_attribute attribute)
{
	return attributes[attribute].expansion;
}

const char *map_attribute_name(enum map_attribute attribute)
{
	return attributes[attribute].name;
}

bool map_attribute_is_secret(enum map_attribute attribute)
{
	return attributes[attribute].is_secret;
}

/* --- names -------------------------------------------------------------------------------- */

bool map_canonical(char *name)
{
	size_t len = strlen(name);

	if (!len || len > MAP_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	text_lower(name);
	char *percent = strchr(name, '@') ? NULL : strrchr(name, '%');
	if (percent && percent > name)
		*percent = '@';
	return true;
}

char *map_canonical_dup(const char *name)
{
	char *copy = text_dup(name);

	if (map_canonical(copy))
		return copy;
	free(copy);
	return NULL;
}

/* --- walking over an entry ---------------------------------------------------------------- */

const char *map_pairs(const struct map_entry *entry)
{
	return entry->key + strlen(entry->key) + 1;
}

struct map_pair map_pair_at(const struct map_entry *entry, const char *at)
{
	const unsigned char *head = (const unsigned char *)at;
	const char *value = at + MAP_HEAD;

	return (struct map_pair){
		.attribute = (enum map_attribute)head[0],
		.line = (int)(entry->line + ((unsigned)head[1] << 8 | head[2])),
		.value = value,
		.next = value + strlen(value) + 1,
	};
}

/* The values of one entry that are not set yet. */
static void values_add(const struct map_entry *entry, struct map_values *values)
{
	const char *at = map_pairs(entry);

	for (unsigned i = 0; i < entry->attributes; i++) {
		struct map_pair pair = map_pair_at(entry, at);
		if (!values->of[pair.attribute])
			values->of[pair.attribute] = pair.value;
		at = pair.next;
	}
}

void map_values_of(const struct map *map, const struct map_entry *entry, struct map_values *values)
{
	*values = (struct map_values){0};
	values_add(entry, values);
	if (entry->profile)
		values_add(&map->entries[entry->profile - 1], values);
	if (map->defaults)
		values_add(&map->entries[map->defaults - 1], values);
}

static size_t locals_in(const struct map *map, const struct map_entry *entry,
			void (*visit)(void *arg, const char *value, const char *file, int line),
			void *arg)
{
	const char *at = map_pairs(entry);
	size_t count = 0;

	for (unsigned i = 0; i < entry->attributes; i++) {
		struct map_pair pair = map_pair_at(entry, at);
		at = pair.next;
		if (pair.attribute != MAP_LOCAL)
			continue;
		visit(arg, pair.value, map->files[entry->file].name, pair.line);
		count++;
	}
	return count;
}

void map_each_local(const struct map *map, const struct map_entry *entry,
		    void (*visit)(void *arg, const char *value, const char *file, int line),
		    void *arg)
{
	size_t count = locals_in(map, entry, visit, arg);

	if (!count && entry->profile)
		count = locals_in(map, &map->entries[entry->profile - 1], visit, arg);
	if (!count && map->defaults)
		locals_in(map, &map->entries[map->defaults - 1], visit, arg);
}

static void add_local(void *arg, const char *value, const char *file, int line)
{
	struct local_list *list = arg;

	(void)file;
	(void)line;
	if (list->count < LOCAL_MAX)
		list->value[list->count++] = value;
}

void map_locals_of(const struct map *map, const struct map_entry *entry, struct local_list *out)
{
	out->count = 0;
	map_each_local(map, entry, add_local, out);
}

static const char *value_in(const struct map *map, uint32_t index, enum map_attribute attribute,
			    const char **file, int *line)
{
	const struct map_entry *entry = &map->entries[index];
	const char *at = map_pairs(entry);

	for (unsigned i = 0; i < entry->attributes; i++) {
		struct map_pair pair = map_pair_at(entry, at);
		if (pair.attribute == attribute) {
			if (file)
				*file = map->files[entry->file].name;
			if (line)
				*line = pair.line;
			return pair.value;
		}
		at = pair.next;
	}
	return NULL;
}

const char *map_value(const struct map *map, const struct map_entry *entry,
		      enum map_attribute attribute, const char **file, int *line)
{
	const char *value = value_in(map, (uint32_t)(entry - map->entries), attribute, file, line);

	if (!value && entry->profile)
		value = value_in(map, entry->profile - 1, attribute, file, line);
	if (!value && map->defaults)
		value = value_in(map, map->defaults - 1, attribute, file, line);
	return value;
}

void map_each(const struct map *map, enum map_attribute attribute,
	      void (*visit)(void *arg, const char *value, const char *file, int line), void *arg)
{
	for (size_t i = 0; i < map->entry_count; i++) {
		const char *file;
		int line;
		const char *value = value_in(map, (uint32_t)i, attribute, &file, &line);
		if (value)
			visit(arg, value, file, line);
	}
}

bool map_entry_is_exact(const struct map_entry *entry)
{
	return entry->kind == MAP_NAME;
}

const char *map_entry_key(const struct map_entry *entry)
{
	return entry->key;
}

void map_entry_place(const struct map *map, const struct map_entry *entry, const char **file,
		     int *line)
{
	*file = map->files[entry->file].name;
	*line = (int)entry->line;
}

/* --- lookup ------------------------------------------------------------------------------- */

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* FNV-1a, then mixed: which slots are taken is the operator's doing, not a client's, so no secret
 * is needed. */
static uint64_t hash(enum map_kind kind, const char *key, size_t len)
{
	uint64_t value = UINT64_C(14695981039346656037) ^ (uint64_t)kind;

	for (size_t i = 0; i < len; i++)
		value = (value ^ lower(key[i])) * UINT64_C(1099511628211);
	return value ^ value >> 29;
}

/* The slot where such a key is, or the free one where it would be put. */
static struct map_slot *slot_of(const struct map *map, enum map_kind kind, const char *key,
				size_t len, uint64_t hashed)
{
	size_t at = (size_t)hashed & (map->slot_count - 1);

	for (; map->slots[at].index; at = (at + 1) & (map->slot_count - 1)) {
		const struct map_entry *entry = &map->entries[map->slots[at].index - 1];
		if (map->slots[at].hash == hashed >> 32 && entry->kind == kind &&
		    text_same_n(entry->key, strlen(entry->key), key, len))
			break;
	}
	return &map->slots[at];
}

uint32_t map_lookup(const struct map *map, enum map_kind kind, const char *key, size_t len)
{
	return slot_of(map, kind, key, len, hash(kind, key, len))->index;
}

static void fault_twice(const struct map *map, const struct map_entry *entry,
			const struct map_entry *first, struct faults *faults)
{
	char shown[64];

	text_printable(shown, sizeof shown, entry->key, strlen(entry->key), true);
	faults_add(faults, map->files[entry->file].name, (int)entry->line,
		   "%s%s is given twice, first in %s:%u",
		   entry->kind == MAP_PROFILE ? "%profile " : "", shown,
		   map->files[first->file].name, first->line);
}

void map_index(struct map *map, struct faults *faults)
{
	map->slot_count = 8;
	while (map->slot_count < 2 * map->entry_count)
		map->slot_count *= 2;
	map->slots = mem_alloc(map->slot_count * sizeof *map->slots);
	for (size_t i = 0; i < map->entry_count; i++) {
		struct map_entry *entry = &map->entries[i];
		size_t len = strlen(entry->key);
		uint64_t hashed = hash(entry->kind, entry->key, len);
		struct map_slot *slot = slot_of(map, entry->kind, entry->key, len, hashed);
		if (slot->index) {
			fault_twice(map, entry, &map->entries[slot->index - 1], faults);
			entry->is_broken = true;
			continue;
		}
		*slot = (struct map_slot){(uint32_t)i + 1, (uint32_t)(hashed >> 32)};
		if (entry->kind == MAP_DEFAULTS)
			map->defaults = (uint32_t)i + 1;
		else if (entry->kind != MAP_PROFILE)
			map->name_count++;
	}
}

const struct map_entry *map_find(const struct map *map, const char *name)
{
	size_t len = strlen(name);
	const char *at = strrchr(name, '@');
	uint32_t found = map_lookup(map, MAP_NAME, name, len);

	if (!found && at && at > name)
		found = map_lookup(map, MAP_NAME, name, (size_t)(at - name));
	if (!found && at && at > name)
		found = map_lookup(map, MAP_DOMAIN, at, len - (size_t)(at - name));
	if (!found)
		found = map_lookup(map, MAP_ANY, "*", 1);
	return found ? &map->entries[found - 1] : NULL;
}

size_t map_count(const struct map *map)
{
	return map->name_count;
}

unsigned map_abilities(const struct map *map)
{
	return map->abilities;
}

int map_scram_rounds(const struct map *map)
{
	return map->scram_rounds ? map->scram_rounds : VERIFY_ROUNDS;
}

size_t map_file_count(const struct map *map)
{
	return map->file_count;
}

/* --- life --------------------------------------------------------------------------------- */

struct map *map_new(void)
{
	struct map *map = mem_alloc(sizeof *map);

	atomic_init(&map->holders, 1);
	return map;
}

struct map *map_hold(struct map *map)
{
	atomic_fetch_add(&map->holders, 1);
	return map;
}

void map_release(struct map *map)
{
	if (!map || atomic_fetch_sub(&map->holders, 1) > 1)
		return;
	for (size_t i = 0; i < map->file_count; i++) {
		mem_wipe(map->files[i].text, map->files[i].len);
		free(map->files[i].text);
		free(map->files[i].name);
	}
	free(map->files);
	free(map->entries);
	free(map->slots);
	free(map);
}

/* What was read becomes a map if nothing is wrong with it. */
static struct map *finish(struct map *map, size_t before, struct faults *faults)
{
	map_index(map, faults);
	map_check(map, faults);
	if (faults->count == before)
		return map;
	map_release(map);
	return NULL;
}

struct map *map_load(const char *file, bool has_client_ca, struct faults *faults)
{
	size_t before = faults->count;
	struct map *map = map_new();

	map->has_client_ca = has_client_ca;
	map_read_file(map, file, faults);
	return finish(map, before, faults);
}

struct map *map_parse(const char *file, const char *text, size_t len, struct faults *faults)
{
	size_t before = faults->count;
	struct map *map = map_new();

	map_read_text(map, file, text, len, faults);
	return finish(map, before, faults);
}

struct map *map_from_url(const char *url, struct faults *faults)
{
	static const char place[] = "URL:1: ";
	size_t len = strlen(url), count = 0;
	struct faults own = {0};
	char *text = mem_alloc(2 * len + 16);

	if (strchr(url, '\n'))
		url = ""; /* a second line would be a second entry */
	count += (size_t)sprintf(text, "* upstream=\"");
	for (; *url; url++) {
		if (*url == '"' || *url == '\\')
			text[count++] = '\\';
		text[count++] = *url;
	}
	text[count++] = '"';
	struct map *map = map_parse("URL", text, count, &own);
	for (size_t i = 0; i < own.count; i++)
		faults_add(faults, "URL", 0, "%s", own.lines[i] + strlen(place));
	faults_fini(&own);
	text_wipe_free(text);
	return map;
}
