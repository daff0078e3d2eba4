/* SPDX-License-Identifier: MIT */
/* map_read.c - reads a map and what it includes, line by line, in place.
 *
 * `to` follows `at` through the text: what is kept is written over what has been read. A word is
 * therefore ended with its NUL only after the octet that ended it has been looked at. An error costs
 * its entry; reading goes on behind it, so that all errors are told at once.
 */
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/map_parts.h"
#include "proxy/verify.h"

struct reader {
	struct map *map;
	struct faults *faults;
	const struct map_chain *chain; /* NULL: a text, not a file */
	const char *file;
	uint16_t file_index;
	char *at, *end; /* what is still to be read; *end may be written */
	char *to;       /* where the next octet to keep goes; never behind `at` */
	int line;
	bool has_secret;
};

#define FAULT(reader_, line_, ...)                                                                 \
	faults_add((reader_)->faults, (reader_)->file, (line_), __VA_ARGS__)

/* --- words -------------------------------------------------------------------------------- */

static bool is_blank(const struct reader *reader, const char *at)
{
	return *at == ' ' || *at == '\t' ||
	       (*at == '\r' && (at + 1 == reader->end || at[1] == '\n'));
}

static bool is_word_end(const struct reader *reader, const char *at)
{
	return at == reader->end || *at == '\n' || is_blank(reader, at);
}

static void skip_line(struct reader *reader)
{
	char *lf = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));

	reader->at = lf ? lf : reader->end;
}

/* Goes to the next word of this entry, over comments, empty lines and to the lines that continue
 * it. False: there is none; `at` is then at the begin of a line or at the end. */
static bool next_word(struct reader *reader)
{
	while (reader->at < reader->end) {
		if (is_blank(reader, reader->at)) {
			reader->at++;
		} else if (*reader->at == '#') {
			skip_line(reader);
		} else if (*reader->at != '\n') {
			return true;
		} else {
			reader->at++;
			reader->line++;
			if (reader->at == reader->end ||
			    (!is_blank(reader, reader->at) && *reader->at != '#' &&
			     *reader->at != '\n'))
				return false;
		}
	}
	return false;
}

static void skip_entry(struct reader *reader)
{
	do
		skip_line(reader);
	while (next_word(reader));
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static bool is_plain(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f && c != '"' && c != '#';
}

/* Both copy a word to `to`, without a NUL, and stop behind it. NULL, or what is wrong. */
static const char *copy_quoted(struct reader *reader)
{
	char *at = reader->at + 1;

	for (; at < reader->end && *at != '"' && *at != '\n'; at++) {
		if (*at == '\\' && at + 1 < reader->end && (at[1] == '"' || at[1] == '\\'))
			at++;
		if (is_control(*at))
			return "a control character";
		*reader->to++ = *at;
	}
	if (at == reader->end || *at == '\n')
		return "the closing quote is missing";
	reader->at = at + 1;
	return is_word_end(reader, reader->at)
		       ? NULL
		       : "something stands directly behind the closing quote";
}

static const char *copy_plain(struct reader *reader)
{
	/* The NUL behind the text ends the last word. */
	size_t len = 0;

	while (is_plain(reader->at[len]))
		len++;
	memmove(reader->to, reader->at, len);
	reader->to += len;
	reader->at += len;
	if (is_word_end(reader, reader->at))
		return NULL;
	if (*reader->at == '"' || *reader->at == '#')
		return "what holds a \" or # must be quoted as a whole";
	return "a control character";
}

static const char *copy_word(struct reader *reader)
{
	if (reader->at < reader->end && *reader->at == '"')
		return copy_quoted(reader);
	return copy_plain(reader);
}

/* Ends the word that was copied and goes to the next. False: there is none. */
static bool end_word(struct reader *reader)
{
	bool more = next_word(reader);

	*reader->to++ = '\0';
	return more;
}

/* --- attributes --------------------------------------------------------------------------- */

static void fault_unknown(struct reader *reader, const char *name, size_t len)
{
	char word[32];
	const char *nearest = NULL;
	unsigned best = 3;

	text_printable(word, sizeof word, name, len, true);
	for (int i = 0; i < MAP_ATTRIBUTES; i++) {
		unsigned distance = text_distance(map_attribute_name((enum map_attribute)i), word);
		if (distance < best) {
			best = distance;
			nearest = map_attribute_name((enum map_attribute)i);
		}
	}
	if (nearest)
		FAULT(reader, reader->line, "unknown attribute \"%s\": did you mean \"%s\"?", word,
		      nearest);
	else
		FAULT(reader, reader->line, "unknown attribute \"%s\"", word);
}

enum { NO_PAIR = -2, UNKNOWN = -1 };

/* Which attribute begins here; `at` then stands behind its "=". NO_PAIR, UNKNOWN: that is told. */
static int read_attribute_name(struct reader *reader)
{
	const char *name = reader->at;
	size_t len = 0;

	while (!is_word_end(reader, name + len) && name[len] != '=')
		len++;
	if (is_word_end(reader, name + len)) {
		char word[32];
		text_printable(word, sizeof word, name, len, true);
		FAULT(reader, reader->line, "\"%s\" is not attribute=value", word);
		return NO_PAIR;
	}
	int attribute = map_attribute_find(name, len);
	if (attribute < 0)
		fault_unknown(reader, name, len);
	reader->at += len + 1;
	return attribute < 0 ? UNKNOWN : attribute;
}

static void check_value(struct reader *reader, enum map_attribute attribute, const char *value,
			int line, struct map_entry *entry)
{
	const char *name = map_attribute_name(attribute), *wrong = NULL;
	char shown[80];

	if (attribute == MAP_USE && (entry->kind == MAP_PROFILE || entry->kind == MAP_DEFAULTS))
		wrong = "belongs to a name, not to a profile or to %defaults";
	else
		wrong = map_value_refusal(attribute, value);
	if (attribute == MAP_PASSWORD ||
	    (attribute == MAP_LOCAL && verify_plain(local_secret(value))))
		reader->has_secret = true;
	if (!wrong)
		return;
	entry->is_broken = true;
	/* Of a local= only the scheme is fit to be shown. */
	size_t len = attribute == MAP_LOCAL ? strcspn(value, "}") + 1 : strlen(value);
	text_printable(shown, sizeof shown, value, len < strlen(value) ? len : strlen(value), true);
	/* Who writes a name into a URL may have written a password too. */
	bool is_secret = map_attribute_is_secret(attribute) ||
			 (attribute == MAP_UPSTREAM && strchr(value, '@'));
	if (wrong == map_unsupported)
		FAULT(reader, line, "%s=%s is not supported by this build", name, shown);
	else if (is_secret)
		FAULT(reader, line, "%s=: %s", name, wrong);
	else
		FAULT(reader, line, "%s=%s: %s", name, shown, wrong);
}

/* One attribute=value; *more: another one follows. False, told, if the rest is to be skipped. */
static bool read_pair(struct reader *reader, struct map_entry *entry, uint64_t *seen, bool *more)
{
	char *head = reader->to;
	int line = reader->line;
	size_t below = (size_t)line - entry->line;
	int attribute = read_attribute_name(reader);

	if (attribute == NO_PAIR)
		return false;
	if (below > MAP_LINES_MAX) {
		FAULT(reader, line, "more than %d lines continue one entry", MAP_LINES_MAX);
		return false;
	}
	/* An unknown name may be too short to give room for a head; nothing of it is kept. */
	reader->to += attribute == UNKNOWN ? 0 : MAP_HEAD;
	const char *wrong = copy_word(reader);
	bool is_known = attribute != UNKNOWN;
	if (!wrong && is_known && attribute != MAP_LOCAL && *seen & UINT64_C(1) << attribute)
		wrong = "given twice in one entry";
	if (wrong)
		FAULT(reader, line, "%s=: %s",
		      is_known ? map_attribute_name((enum map_attribute)attribute) : "", wrong);
	if (!wrong)
		*more = end_word(reader);
	if (wrong || !is_known) {
		/* The next pair, if reading goes on, takes this one's place. */
		reader->to = head;
		entry->is_broken = true;
		return !wrong;
	}
	*seen |= UINT64_C(1) << attribute;
	head[0] = (char)attribute;
	head[1] = (char)(below >> 8);
	head[2] = (char)(below & 0xff);
	entry->attributes++;
	check_value(reader, (enum map_attribute)attribute, head + MAP_HEAD, line, entry);
	return true;
}

static void read_pairs(struct reader *reader, struct map_entry *entry, bool more)
{
	uint64_t seen = 0;

	while (more)
		if (!read_pair(reader, entry, &seen, &more)) {
			entry->is_broken = true;
			skip_entry(reader);
			more = false;
		}
}

/* --- entries ------------------------------------------------------------------------------ */

static void read_entry(struct reader *reader, enum map_kind kind, char *key, int line, bool more)
{
	struct map *map = reader->map;

	if (map->entry_count == map->entry_room) {
		map->entry_room = map->entry_room ? map->entry_room + map->entry_room / 2 : 16;
		map->entries = mem_resize(map->entries, map->entry_room, sizeof *map->entries);
	}
	struct map_entry *entry = &map->entries[map->entry_count++];
	*entry = (struct map_entry){.key = key,
				    .line = (uint32_t)line,
				    .file = reader->file_index,
				    .kind = (uint8_t)kind};
	read_pairs(reader, entry, more);
}

static void read_name(struct reader *reader, char *key, bool is_quoted, int line, bool more)
{
	enum map_kind kind = is_quoted           ? MAP_NAME
			     : *key == '@'       ? MAP_DOMAIN
			     : !strcmp(key, "*") ? MAP_ANY
						 : MAP_NAME;
	const char *equals = is_quoted ? NULL : strchr(key, '=');
	const char *wrong = NULL;

	if (equals && map_attribute_find(key, (size_t)(equals - key)) >= 0)
		wrong = "a line begins with an attribute: a blank before it would make it continue "
			"the entry above";
	else if (kind == MAP_DOMAIN && (!key[1] || strlen(key) > MAP_NAME_MAX))
		wrong = "a key @domain has no domain, or one that is too long";
	else if (kind == MAP_NAME && !map_canonical(key))
		wrong = "a key is 1 to 255 octets";
	if (wrong) {
		FAULT(reader, line, "%s", wrong);
		if (more)
			skip_entry(reader);
		return;
	}
	text_lower(key);
	read_entry(reader, kind, key, line, more);
}

/* The word behind %profile and %include; NULL, told, if there is none. */
static char *read_argument(struct reader *reader, const char *directive, int line, bool *more)
{
	char *word = reader->to;
	const char *wrong = *more ? copy_word(reader) : "needs a word behind it";

	if (wrong) {
		FAULT(reader, line, "%s: %s", directive, wrong);
		if (*more)
			skip_entry(reader);
		return NULL;
	}
	*more = end_word(reader);
	return word;
}

static void read_directive(struct reader *reader, char *key, int line, bool more)
{
	if (!strcmp(key, "%defaults")) {
		read_entry(reader, MAP_DEFAULTS, key, line, more);
		return;
	}
	bool is_profile = !strcmp(key, "%profile");
	if (!is_profile && strcmp(key, "%include") != 0) {
		char shown[32];
		text_printable(shown, sizeof shown, key, strlen(key), true);
		FAULT(reader, line,
		      "unknown %s: there are %%defaults, %%profile NAME, %%include GLOB; a name "
		      "that begins with %% is quoted",
		      shown);
		if (more)
			skip_entry(reader);
		return;
	}
	char *word = read_argument(reader, key, line, &more);
	if (!word)
		return;
	if (is_profile) {
		text_lower(word);
		read_entry(reader, MAP_PROFILE, word, line, more);
		return;
	}
	if (more) {
		FAULT(reader, line, "%%include takes one pattern and nothing else");
		skip_entry(reader);
	}
	map_include(reader->map, reader->chain, word, reader->file, line, reader->faults);
}

static void read_key(struct reader *reader)
{
	char *key = reader->at;
	bool is_quoted = *key == '"';
	int line = reader->line;

	reader->to = key;
	const char *wrong = copy_word(reader);
	if (wrong) {
		FAULT(reader, line, "the key: %s", wrong);
		skip_entry(reader);
		return;
	}
	bool more = end_word(reader);
	if (!is_quoted && *key == '%')
		read_directive(reader, key, line, more);
	else
		read_name(reader, key, is_quoted, line, more);
}

static void read_all(struct reader *reader)
{
	if (reader->end - reader->at >= 3 && !memcmp(reader->at, "\xef\xbb\xbf", 3))
		reader->at += 3; /* what editors of another world put first */
	while (reader->at < reader->end) {
		bool is_indented = is_blank(reader, reader->at);
		if (!is_indented && *reader->at != '#' && *reader->at != '\n') {
			read_key(reader);
		} else if (next_word(reader)) {
			/* Only before the first entry: later ones take such lines themselves. */
			FAULT(reader, reader->line, "begins with a blank, but continues nothing");
			skip_entry(reader);
		}
	}
}

bool map_read_owned(struct map *map, const struct map_chain *chain, const char *file, char *text,
		    size_t len, struct faults *faults)
{
	map->files = mem_resize(map->files, map->file_count + 1, sizeof *map->files);
	struct map_file *own = &map->files[map->file_count++];
	*own = (struct map_file){text_dup(file), text, len};
	struct reader reader = {
		.map = map,
		.faults = faults,
		.chain = chain,
		.file = own->name,
		.file_index = (uint16_t)(map->file_count - 1),
		.at = text,
		.end = text + len,
		.to = text,
		.line = 1,
	};
	read_all(&reader);
	return reader.has_secret;
}
