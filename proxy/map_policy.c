/* SPDX-License-Identifier: MIT */
/* map_policy.c - what becomes of mail: delete=, seen=, order= and their like.
 *
 * One reader of values, used when the map is checked and when a name is looked up, so that what was
 * accepted once is understood the same way later.
 */
#include "proxy/map_policy.h"

#include <string.h>

#include "proxy/base/text.h"
#include "upstream/imap_quirks.h"

enum {
	YEARS_S = 3650 * 86400,   /* the longest delete_after= */
	CONNECTIONS_MAX = 100000, /* of connections= */
};

void map_policy_init(struct upstream_conf *conf)
{
	conf->delete_policy = DELETE_DEFAULT;
	conf->seen_policy = SEEN_ON_QUIT;
	conf->delete_after_s = DELETE_AFTER_NEVER;
}

/* Attributes whose values are words. */
static const struct word {
	enum map_attribute attribute;
	const char *text;
	int value;
} words[] = {
	{MAP_DELETE, "expunge", DELETE_EXPUNGE},
	{MAP_DELETE, "trash", DELETE_TRASH},
	{MAP_DELETE, "flag", DELETE_FLAG},
	{MAP_DELETE, "hide", DELETE_HIDE},
	{MAP_DELETE, "never", DELETE_NEVER},
	{MAP_SEEN, "never", SEEN_NEVER},
	{MAP_SEEN, "on-retr", SEEN_ON_RETR},
	{MAP_SEEN, "on-quit", SEEN_ON_QUIT},
	{MAP_ORDER, "oldest", false},
	{MAP_ORDER, "newest", true},
	{MAP_SIZES, "hint", false},
	{MAP_SIZES, "exact", true},
	{MAP_LOCK, "exclusive", false},
	{MAP_LOCK, "shared", true},
	{MAP_CREATE, "no", false},
	{MAP_CREATE, "yes", true},
	{MAP_NO_UIDPLUS, "flag-only", false},
	{MAP_NO_UIDPLUS, "unflag-restore", true},
	{MAP_UIDVALIDITY, "match", UIDVALIDITY_MATCH},
	{MAP_UIDVALIDITY, "new-ids", UIDVALIDITY_NEW},
	{MAP_UIDVALIDITY, "refuse", UIDVALIDITY_REFUSE},
	{MAP_POISON, "placeholder", POISON_PLACEHOLDER},
	{MAP_POISON, "hide", POISON_HIDE},
	{MAP_POISON, "error", POISON_ERROR},
};

static const struct word *word_find(enum map_attribute attribute, const char *text)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].attribute == attribute && !strcmp(words[i].text, text))
			return &words[i];
	return NULL;
}

/* What is said of a value that is none of them. */
static const char *word_refusal(enum map_attribute attribute)
{
	switch (attribute) {
	case MAP_DELETE:
		return "none of expunge, trash, archive:FOLDER, flag, hide, never";
	case MAP_SEEN:
		return "none of never, on-retr, on-quit";
	case MAP_ORDER:
		return "neither oldest nor newest";
	case MAP_SIZES:
		return "neither hint nor exact";
	case MAP_LOCK:
		return "neither exclusive nor shared";
	case MAP_CREATE:
		return "neither yes nor no";
	case MAP_NO_UIDPLUS:
		return "neither flag-only nor unflag-restore";
	case MAP_UIDVALIDITY:
		return "none of match, new-ids, refuse";
	default:
		return "none of placeholder, hide, error";
	}
}

static const char *set_word(enum map_attribute attribute, const char *value,
			    struct upstream_conf *conf)
{
	const struct word *word = word_find(attribute, value);

	if (!word)
		return word_refusal(attribute);
	switch (attribute) {
	case MAP_DELETE:
		conf->delete_policy = (enum delete_policy)word->value;
		break;
	case MAP_SEEN:
		conf->seen_policy = (enum seen_policy)word->value;
		break;
	case MAP_ORDER:
		conf->newest_first = word->value;
		break;
	case MAP_SIZES:
		conf->measure_sizes = word->value;
		break;
	case MAP_LOCK:
		conf->is_shared = word->value;
		break;
	case MAP_CREATE:
		conf->may_create = word->value;
		break;
	case MAP_NO_UIDPLUS:
		conf->may_unflag = word->value;
		break;
	case MAP_UIDVALIDITY:
		conf->uidvalidity_policy = (enum uidvalidity_policy)word->value;
		break;
	default:
		conf->poison_policy = (enum poison_policy)word->value;
	}
	return NULL;
}

static const char *archive_of(const char *value)
{
	return !strncmp(value, "archive:", 8) && value[8] ? value + 8 : NULL;
}

static const char *set_delete(const char *value, struct upstream_conf *conf)
{
	const char *archive = archive_of(value);

	if (!archive)
		return set_word(MAP_DELETE, value, conf);
	if (!map_is_utf8(archive))
		return "FOLDER is not UTF-8";
	conf->delete_policy = DELETE_ARCHIVE;
	conf->archive = archive;
	return NULL;
}

static const char *set_count(const char *value, uint32_t *field)
{
	uint64_t count;

	if (!text_number(value, strlen(value), MAILDROP_MESSAGES, &count) || !count)
		return "not a number of messages above 0";
	*field = (uint32_t)count;
	return NULL;
}

static const char *set_connections(const char *value, struct upstream_conf *conf)
{
	uint64_t count;

	if (!text_number(value, strlen(value), CONNECTIONS_MAX, &count) || !count)
		return "not a number of connections from 1 to 100000";
	conf->connections = (unsigned)count;
	return NULL;
}

bool map_is_policy(enum map_attribute attribute)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].attribute == attribute)
			return true;
	return attribute == MAP_NEWEST || attribute == MAP_KEEP_NEWEST ||
	       attribute == MAP_DELETE_AFTER || attribute == MAP_UIDL || attribute == MAP_QUIRKS ||
	       attribute == MAP_CONNECTIONS;
}

const char *map_policy_set(enum map_attribute attribute, const char *value,
			   struct upstream_conf *conf, struct uidl_format *uidl)
{
	const char *wrong;

	switch (attribute) {
	case MAP_DELETE:
		return set_delete(value, conf);
	case MAP_NEWEST:
		return set_count(value, &conf->newest);
	case MAP_KEEP_NEWEST:
		return set_count(value, &conf->keep_newest);
	case MAP_DELETE_AFTER:
		return text_duration(value, strlen(value), YEARS_S, &conf->delete_after_s)
			       ? NULL
			       : "not a time like 0, 12h, 14d or 4w, ten years at most";
	case MAP_UIDL:
		wrong = uidl_format_parse(value, uidl);
		conf->uidl = wrong || uidl_is_stable(uidl) ? NULL : uidl;
		return wrong;
	case MAP_QUIRKS:
		conf->quirks = imap_quirks_named(value);
		return conf->quirks ? NULL : "no such row of quirks, see popgate.map(5)";
	case MAP_CONNECTIONS:
		return set_connections(value, conf);
	default:
		return set_word(attribute, value, conf);
	}
}

/* Attributes that need what only an IMAP server has, or what is kept of one. */
static const struct {
	enum map_attribute attribute;
	const char *why;
} imap_only[] = {
	{MAP_SIZES, "sizes= is for IMAP: the sizes of a local mailbox are always exact"},
	{MAP_UIDL, "uidl= is for IMAP: the UIDL of a local message is its file's name"},
	{MAP_UIDVALIDITY, "uidvalidity= is for IMAP"},
	{MAP_QUIRKS, "quirks= is for IMAP"},
	{MAP_CONNECTIONS, "connections= is for IMAP"},
	{MAP_POISON, "poison= is for IMAP"},
	{MAP_NO_UIDPLUS, "no_uidplus= is for IMAP"},
};

static const char *local_refusal(const struct map_values *values)
{
	for (size_t i = 0; i < sizeof imap_only / sizeof *imap_only; i++)
		if (values->of[imap_only[i].attribute])
			return imap_only[i].why;
	return NULL;
}

const char *map_policy_refusal(const struct map_values *values, const struct map_url *url)
{
	const char *delete = values->of[MAP_DELETE];
	bool is_never = delete &&!strcmp(delete, "never");

	if (is_never && values->of[MAP_DELETE_AFTER])
		return "delete_after= beside delete=never: which of them?";
	if (is_never && values->of[MAP_KEEP_NEWEST])
		return "keep_newest= beside delete=never: which of them?";
	if (url->store != MAP_STORE_IMAP)
		return local_refusal(values);
	const char *archive = delete ? archive_of(delete) : NULL;
	const char *folder = *url->rest ? url->rest : "INBOX";
	bool is_same = archive && (!strcmp(archive, folder) ||
				   (text_same(archive, "INBOX") && text_same(folder, "INBOX")));
	bool is_trash = delete &&!strcmp(delete, "trash") && text_same(folder, "\\Trash");
	if (is_same || is_trash)
		return "delete= would move messages into the folder that they are in";
	return NULL;
}

const char *map_policy_needs_state(enum map_attribute attribute, const char *value)
{
	struct uidl_format uidl;
	uint64_t seconds;

	switch (attribute) {
	case MAP_UIDL:
		/* Only the state tells that UIDs have begun anew (E-01). */
		return !uidl_format_parse(value, &uidl) && !uidl_is_stable(&uidl) &&
				       !uidl.needs_uidvalidity && !uidl.needs_gm_msgid &&
				       !uidl.needs_email_id
			       ? "uidl= without UIDVALIDITY"
			       : NULL;
	case MAP_NEWEST:
		return "newest=";
	case MAP_KEEP_NEWEST:
		return "keep_newest=";
	case MAP_DELETE:
		return strcmp(value, "hide") ? NULL : "delete=hide";
	case MAP_UIDVALIDITY:
		return strcmp(value, "refuse") ? NULL : "uidvalidity=refuse";
	case MAP_DELETE_AFTER:
		return text_duration(value, strlen(value), YEARS_S, &seconds) && seconds
			       ? "delete_after="
			       : NULL;
	default:
		return NULL;
	}
}
