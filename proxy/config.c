/* SPDX-License-Identifier: MIT */
/* config.c - reads popgate.conf.
 *
 * The file is an INI file: [sections] of `key = value` lines. Reading is this file's first half: it
 * cuts lines into a heading or a key and a value, and finds the key in the table below. What a value
 * may be is in config_value.c. After the last line the whole is checked for what no single line can
 * show. Reading never stops at an error: the operator gets them all at once.
 */
#include "proxy/config.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/config_value.h"
#include "proxy/file.h"

enum { CONFIG_MAX = 1024 * 1024 }; /* octets of a file */

enum section { SECTION_NONE, SECTION_POPGATE, SECTION_LISTENER, SECTION_UNKNOWN };

struct key {
	enum section section;
	const char *name;
	struct value_form form;
	size_t at; /* offset of its field in struct config or struct listener_conf */
};

#define SECOND UINT64_C(1000)
#define DAY (86400 * SECOND)
#define IN_CONFIG(field_) offsetof(struct config, field_)
#define IN_LISTENER(field_) offsetof(struct listener_conf, field_)

static const struct key keys[] = {
	{SECTION_POPGATE, "map", {VALUE_TEXT, 0, 0}, IN_CONFIG(map)},
	{SECTION_POPGATE, "state", {VALUE_TEXT, 0, 0}, IN_CONFIG(state)},
	{SECTION_POPGATE, "log", {VALUE_LOG, 0, 0}, IN_CONFIG(log_syslog)},
	{SECTION_POPGATE, "user", {VALUE_TEXT, 0, 0}, IN_CONFIG(user)},
	{SECTION_POPGATE, "cert", {VALUE_TEXT, 0, 0}, IN_CONFIG(cert)},
	{SECTION_POPGATE, "key", {VALUE_TEXT, 0, 0}, IN_CONFIG(key)},
	{SECTION_POPGATE, "control", {VALUE_TEXT, 0, 0}, IN_CONFIG(control)},
	{SECTION_POPGATE, "trusted", {VALUE_NETWORKS, 0, 0}, IN_CONFIG(trusted)},
	{SECTION_POPGATE, "max_sessions", {VALUE_COUNT, 1, 1000000}, IN_CONFIG(max_sessions)},
	{SECTION_POPGATE, "threads", {VALUE_COUNT, 1, 1024}, IN_CONFIG(threads)},
	/* RFC 1939 section 3: an autologout timer lasts at least ten minutes. */
	{SECTION_POPGATE, "idle", {VALUE_TIME, 600 * SECOND, DAY}, IN_CONFIG(idle_ms)},
	{SECTION_POPGATE, "stall", {VALUE_TIME, 60 * SECOND, DAY}, IN_CONFIG(stall_ms)},
	{SECTION_POPGATE,
	 "authorization",
	 {VALUE_TIME, 10 * SECOND, DAY},
	 IN_CONFIG(authorization_ms)},
	{SECTION_POPGATE, "failure_delay", {VALUE_TIME, 0, 15 * SECOND}, IN_CONFIG(failure_ms)},
	{SECTION_POPGATE, "failures", {VALUE_COUNT, 1, 100}, IN_CONFIG(failures)},
	{SECTION_POPGATE, "drain", {VALUE_TIME, 0, DAY}, IN_CONFIG(drain_ms)},
	{SECTION_POPGATE, "replay", {VALUE_TIME, 0, DAY}, IN_CONFIG(replay_ms)},
	{SECTION_LISTENER, "address", {VALUE_ADDRESSES, 0, 0}, 0},
	{SECTION_LISTENER, "tls", {VALUE_TLS, 0, 0}, IN_LISTENER(tls)},
	{SECTION_LISTENER, "cert", {VALUE_TEXT, 0, 0}, IN_LISTENER(cert)},
	{SECTION_LISTENER, "key", {VALUE_TEXT, 0, 0}, IN_LISTENER(key)},
	{SECTION_LISTENER, "cleartext", {VALUE_CLEARTEXT, 0, 0}, 0},
	{SECTION_LISTENER, "tls_min", {VALUE_TLS_MIN, 0, 0}, IN_LISTENER(tls_min)},
	{SECTION_LISTENER, "client_ca", {VALUE_UNSUPPORTED, 0, 0}, 0},
};
enum { KEYS = sizeof keys / sizeof *keys };

struct reader {
	struct config *config;
	struct faults *faults;
	int line;
	enum section section;
	int popgate_line; /* of the heading; 0: not seen */
	int seen[KEYS];   /* line of each key in the section that is being read */
};

#define FAULT(reader_, ...)                                                                        \
	faults_add((reader_)->faults, (reader_)->config->file, (reader_)->line, __VA_ARGS__)

/* --- lines -------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_comment(char c)
{
	return c == '#' || c == ';';
}

static char *skip_blanks(char *text)
{
	while (is_blank(*text))
		text++;
	return text;
}

static void cut_blanks(char *text)
{
	size_t len = strlen(text);

	while (len && is_blank(text[len - 1]))
		len--;
	text[len] = '\0';
}

/* Takes the quotes off a value in place. Inside, \" and \\ stand for the second character. NULL if
 * that went well, else what is wrong. */
static const char *unquote(char *value)
{
	char *to = value, *from = value + 1;

	for (; *from && *from != '"'; from++) {
		if (*from == '\\' && (from[1] == '"' || from[1] == '\\'))
			from++;
		*to++ = *from;
	}
	if (!*from)
		return "the closing quote is missing";
	from = skip_blanks(from + 1);
	*to = '\0';
	return !*from || is_comment(*from) ? NULL : "something stands behind the closing quote";
}

/* Cuts the comment off, and the quotes. */
static const char *value_clean(char *value)
{
	if (*value == '"')
		return unquote(value);
	for (char *at = value; *at; at++)
		if (is_comment(*at) && (at == value || is_blank(at[-1]))) {
			*at = '\0';
			break;
		}
	cut_blanks(value);
	return *value ? NULL : "the value is missing";
}

static struct listener_conf *reader_listener(const struct reader *reader)
{
	return &reader->config->listeners[reader->config->listener_count - 1];
}

static const struct key *key_find(enum section section, const char *name)
{
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].section == section && !strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static void key_unknown(struct reader *reader, const char *name)
{
	const char *nearest = NULL;
	unsigned best = 3;

	for (size_t i = 0; i < KEYS; i++) {
		unsigned distance = text_distance(keys[i].name, name);
		if (keys[i].section == reader->section && distance < best) {
			best = distance;
			nearest = keys[i].name;
		}
	}
	if (nearest)
		FAULT(reader, "unknown key \"%s\": did you mean \"%s\"?", name, nearest);
	else
		FAULT(reader, "unknown key \"%s\" in this section", name);
}

static void read_pair(struct reader *reader, char *name, char *value)
{
	if (reader->section == SECTION_UNKNOWN)
		return;
	if (reader->section == SECTION_NONE) {
		FAULT(reader, "\"%s\" stands before any [section]", name);
		return;
	}
	const struct key *key = key_find(reader->section, name);
	if (!key) {
		key_unknown(reader, name);
		return;
	}
	int *seen = &reader->seen[key - keys];
	if (*seen) {
		FAULT(reader, "%s is given twice, first in line %d", name, *seen);
		return;
	}
	*seen = reader->line;
	if (key->at == IN_CONFIG(state) && key->section == SECTION_POPGATE)
		reader->config->state_line = reader->line;
	const char *wrong = value_clean(value);
	if (!wrong) {
		struct listener_conf *listener =
			key->section == SECTION_LISTENER ? reader_listener(reader) : NULL;
		char *base = listener ? (char *)listener : (char *)reader->config;
		wrong = config_value_set(&key->form, value, base + key->at, listener);
	}
	if (wrong == config_value_unsupported)
		FAULT(reader, "%s = %s is not supported by this build", name, value);
	else if (wrong)
		FAULT(reader, "%s: %s", name, wrong);
}

/* --- headings ----------------------------------------------------------------------------- */

static bool is_name(const char *text)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-";
	size_t len = strspn(text, good);

	return len && len <= 32 && !text[len];
}

static void read_listener(struct reader *reader, const char *name)
{
	struct config *config = reader->config;

	reader->section = SECTION_UNKNOWN; /* until the heading is known to be good */
	if (!is_name(name)) {
		FAULT(reader, "[listener NAME]: the name is 1 to 32 of a-z A-Z 0-9 . _ -");
		return;
	}
	for (size_t i = 0; i < config->listener_count; i++)
		if (!strcmp(config->listeners[i].name, name)) {
			FAULT(reader, "[listener %s] is given twice, first in line %d", name,
			      config->listeners[i].line);
			return;
		}
	reader->section = SECTION_LISTENER;
	config->listeners = mem_resize(config->listeners, config->listener_count + 1,
				       sizeof *config->listeners);
	config->listeners[config->listener_count++] =
		(struct listener_conf){.name = text_dup(name), .tls_min = 12, .line = reader->line};
}

static void read_heading(struct reader *reader, char *text)
{
	char *end = strchr(text, ']');
	char *behind = end ? skip_blanks(end + 1) : NULL;

	memset(reader->seen, 0, sizeof reader->seen);
	reader->section = SECTION_UNKNOWN;
	if (!end || (*behind && !is_comment(*behind))) {
		FAULT(reader, "a heading is [popgate] or [listener NAME], alone on its line");
		return;
	}
	*end = '\0';
	char *name = skip_blanks(text + 1);
	cut_blanks(name);
	size_t len = strcspn(name, " \t");
	if (text_same_n(name, len, "listener", 8)) {
		read_listener(reader, skip_blanks(name + len));
	} else if (!text_same(name, "popgate")) {
		FAULT(reader, "unknown section [%s]: there are [popgate] and [listener NAME]",
		      name);
	} else if (reader->popgate_line) {
		FAULT(reader, "[popgate] is given twice, first in line %d", reader->popgate_line);
	} else {
		reader->section = SECTION_POPGATE;
		reader->popgate_line = reader->line;
	}
}

static bool has_control(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 ? text[i] != '\t' : text[i] == 0x7f)
			return true;
	return false;
}

static void read_line(struct reader *reader, const char *octets, size_t len)
{
	if (len && octets[len - 1] == '\r')
		len--;
	if (has_control(octets, len)) {
		FAULT(reader, "a control character");
		return;
	}
	char *line = mem_dup(octets, len);
	char *text = skip_blanks(line);
	char *equals = strchr(text, '=');
	if (*text == '[') {
		read_heading(reader, text);
	} else if (!*text || is_comment(*text)) {
		/* nothing is said */
	} else if (!equals || equals == text) {
		FAULT(reader, "neither a [section] nor a key = value");
	} else {
		*equals = '\0';
		cut_blanks(text);
		read_pair(reader, text, skip_blanks(equals + 1));
	}
	free(line);
}

/* --- the whole ---------------------------------------------------------------------------- */

static void check_addresses(const struct config *config, size_t nth, struct faults *faults)
{
	const struct listener_conf *listener = &config->listeners[nth];

	for (size_t i = 0; i <= nth; i++) {
		const struct listener_conf *other = &config->listeners[i];
		for (size_t k = 0; k < listener->address_count; k++) {
			size_t end = i == nth ? k : other->address_count;
			if (config_address_in(&listener->addresses[k], other->addresses, end))
				faults_add(faults, config->file, listener->line,
					   "[listener %s]: address %zu is also in [listener %s]",
					   listener->name, k + 1, other->name);
		}
	}
}

static void check_listener(const struct config *config, const struct listener_conf *listener,
			   struct faults *faults)
{
	if (!listener->address_count)
		faults_add(faults, config->file, listener->line, "[listener %s] has no address",
			   listener->name);
	if (listener->tls == LISTENER_NONE)
		return;
	/* A pair is taken from one place: half of another's pair never fits. */
	if (!listener->cert != !listener->key)
		faults_add(faults, config->file, listener->line,
			   "[listener %s] has cert or key, but not both", listener->name);
	else if (!listener->cert && (!config->cert || !config->key))
		faults_add(faults, config->file, listener->line,
			   "[listener %s] has no cert and key, nor has [popgate]; without "
			   "certificate it needs tls = none",
			   listener->name);
}

static void check_whole(const struct config *config, struct faults *faults)
{
	if (!config->map)
		faults_add(faults, config->file, 0, "[popgate] has no map");
	if (!config->cert != !config->key)
		faults_add(faults, config->file, 0, "[popgate] has cert or key, but not both");
	if (!config->listener_count)
		faults_add(faults, config->file, 0, "there is no [listener NAME]");
	for (size_t i = 0; i < config->listener_count; i++) {
		check_listener(config, &config->listeners[i], faults);
		check_addresses(config, i, faults);
	}
}

static struct config *config_new(const char *file)
{
	struct config *config = mem_alloc(sizeof *config);

	*config = (struct config){
		.file = text_dup(file),
		.max_sessions = 10000,
		.threads = 16,
		.idle_ms = 600 * SECOND,
		.stall_ms = 120 * SECOND,
		.authorization_ms = 180 * SECOND,
		.failure_ms = 2 * SECOND,
		.drain_ms = 30 * SECOND,
		.replay_ms = 300 * SECOND,
		.failures = 3,
	};
	return config;
}

static struct config *read_text(const char *file, const char *text, size_t len,
				struct faults *faults)
{
	static const char loopback[] = "127.0.0.0/8, ::1";
	struct config *config = config_new(file);
	struct reader reader = {.config = config, .faults = faults};
	const char *end = text + len;

	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		text += 3; /* what editors of another world put first */
	while (text < end) {
		const char *lf = memchr(text, '\n', (size_t)(end - text));
		reader.line++;
		read_line(&reader, text, (size_t)((lf ? lf : end) - text));
		text = lf ? lf + 1 : end;
	}
	if (!config->trusted.count &&
	    !network_list_add(&config->trusted, loopback, strlen(loopback)))
		abort(); /* the literal above is well-formed */
	return config;
}

static struct config *unless_faulty(struct config *config, size_t before,
				    const struct faults *faults)
{
	if (faults->count == before)
		return config;
	config_free(config);
	return NULL;
}

struct config *config_parse(const char *file, const char *text, size_t len, struct faults *faults)
{
	size_t before = faults->count;
	struct config *config = read_text(file, text, len, faults);

	check_whole(config, faults);
	return unless_faulty(config, before, faults);
}

struct config *config_from_text(const char *text, struct faults *faults)
{
	size_t before = faults->count;

	return unless_faulty(read_text("URL", text, strlen(text), faults), before, faults);
}

struct config *config_load_partly(const char *file, struct faults *faults)
{
	const char *reason = NULL;
	struct stat status;
	size_t len;
	char *text = file_read_dup(file, CONFIG_MAX, &status, &len, &reason);

	if (!text) {
		faults_add(faults, file, 0, "%s", reason);
		return NULL;
	}
	struct config *config = read_text(file, text, len, faults);
	check_whole(config, faults);
	free(text);
	return config;
}

struct config *config_load(const char *file, struct faults *faults)
{
	size_t before = faults->count;
	struct config *config = config_load_partly(file, faults);

	return config ? unless_faulty(config, before, faults) : NULL;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->listener_count; i++) {
		struct listener_conf *listener = &config->listeners[i];
		free(listener->name);
		free(listener->addresses);
		free(listener->cert);
		free(listener->key);
		network_list_fini(&listener->networks);
	}
	free(config->listeners);
	free(config->file);
	free(config->map);
	free(config->state);
	free(config->user);
	free(config->cert);
	free(config->key);
	free(config->control);
	network_list_fini(&config->trusted);
	free(config);
}
