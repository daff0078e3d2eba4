/* SPDX-License-Identifier: MIT */
/* config.c - reads popgate.conf.
 *
 * The file is an INI file: [sections] of `key = value` lines. Reading is this file's first half: it
 * cuts lines into a heading or a key and a value, and finds the key in the table below. What a value
 * may be is in config_value.c. After the last line the whole is checked for what no single line can
 * show. Reading never stops at an error: the operator gets them all at once.
 */
#include "proxy/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/config_key.h"
#include "proxy/config_value.h"
#include "proxy/file.h"

enum { CONFIG_MAX = 1024 * 1024 }; /* octets of a file */

#define SECOND UINT64_C(1000)

struct reader {
	struct config *config;
	struct faults *faults;
	int line;
	enum section section;
	int popgate_line;            /* of the heading; 0: not seen */
	struct oauth_section *oauth; /* that is being read; borrowed */
	int seen[CONFIG_KEYS_MAX];   /* line of each key in the section that is being read */
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

static void key_unknown(struct reader *reader, const char *name)
{
	const struct config_key *nearest = config_key_nearest(reader->section, name);

	if (nearest)
		FAULT(reader, "unknown key \"%s\": did you mean \"%s\"?", name, nearest->name);
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
	const struct config_key *key = config_key_find(reader->section, name);
	if (!key) {
		key_unknown(reader, name);
		return;
	}
	int *seen = &reader->seen[key - config_keys];
	if (*seen) {
		FAULT(reader, "%s is given twice, first in line %d", name, *seen);
		return;
	}
	*seen = reader->line;
	struct listener_conf *listener =
		key->section == SECTION_LISTENER ? reader_listener(reader) : NULL;
	char *base = listener ? (char *)listener : (char *)reader->config;
	if (key->section == SECTION_OAUTH)
		base = (char *)reader->oauth;
	if (key->line_at)
		*(int *)(void *)(base + key->line_at) = reader->line;
	const char *wrong = value_clean(value);
	if (!wrong)
		wrong = config_value_set(&key->form, value, base + key->at, listener);
	if (wrong)
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
	config->listeners[config->listener_count++] = (struct listener_conf){
		.name = text_dup(name), .tls_min = 12, .ways = ~0u, .line = reader->line};
}

static void read_oauth(struct reader *reader, const char *name)
{
	struct oauth_profiles *profiles = reader->config->profiles;
	const struct oauth_section *other = oauth_profiles_find(profiles, name);

	if (!is_name(name)) {
		FAULT(reader, "[oauth NAME]: the name is 1 to 32 of a-z A-Z 0-9 . _ -");
	} else if (other) {
		FAULT(reader, "[oauth %s] is given twice, first in line %d", name, other->line);
	} else {
		reader->section = SECTION_OAUTH;
		reader->oauth = oauth_profiles_add(profiles, name, reader->line);
	}
}

static void read_heading(struct reader *reader, char *text)
{
	char *end = strchr(text, ']');
	char *behind = end ? skip_blanks(end + 1) : NULL;

	memset(reader->seen, 0, sizeof reader->seen);
	reader->section = SECTION_UNKNOWN;
	if (!end || (*behind && !is_comment(*behind))) {
		FAULT(reader,
		      "a heading is [popgate], [listener NAME] or [oauth NAME], alone on its line");
		return;
	}
	*end = '\0';
	char *name = skip_blanks(text + 1);
	cut_blanks(name);
	size_t len = strcspn(name, " \t");
	if (text_same_n(name, len, "listener", 8)) {
		read_listener(reader, skip_blanks(name + len));
	} else if (text_same_n(name, len, "oauth", 5)) {
		read_oauth(reader, skip_blanks(name + len));
	} else if (!text_same(name, "popgate")) {
		FAULT(reader,
		      "unknown section [%s]: there are [popgate], [listener NAME] and [oauth NAME]",
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
	text_wipe_free(line); /* it may be a client_secret */
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

/* Certificates and keys are named in pairs, and in one place: half of another's pair never fits. */
static void check_pairs(const struct config *config, const char *section,
			const struct file_list *cert, int cert_line, const struct file_list *key,
			int key_line, struct faults *faults)
{
	int line = cert_line > key_line ? cert_line : key_line;

	if (!cert->count != !key->count)
		faults_add(faults, config->file, line, "[%s] has cert or key, but not both",
			   section);
	else if (cert->count != key->count)
		faults_add(faults, config->file, line, "[%s]: cert names %zu files, key %zu",
			   section, cert->count, key->count);
}

static void check_listener(const struct config *config, const struct listener_conf *listener,
			   struct faults *faults)
{
	char section[64];

	snprintf(section, sizeof section, "listener %s", listener->name);
	if (!listener->address_count)
		faults_add(faults, config->file, listener->line, "[%s] has no address", section);
	if (listener->tls == LISTENER_NONE) {
		if (listener->client_ca)
			faults_add(faults, config->file, listener->client_ca_line,
				   "[%s]: client_ca needs TLS, and there is tls = none", section);
		return;
	}
	check_pairs(config, section, &listener->cert, listener->cert_line, &listener->key,
		    listener->key_line, faults);
	if (!listener->cert.count && !listener->key.count &&
	    (!config->cert.count || !config->key.count))
		faults_add(faults, config->file, listener->line,
			   "[%s] has no cert and key, nor has [popgate]; without "
			   "certificate it needs tls = none",
			   section);
}

static void check_whole(const struct config *config, struct faults *faults)
{
	if (!config->map)
		faults_add(faults, config->file, 0, "[popgate] has no map");
	check_pairs(config, "popgate", &config->cert, config->cert_line, &config->key,
		    config->key_line, faults);
	if (!config->listener_count)
		faults_add(faults, config->file, 0, "there is no [listener NAME]");
	for (size_t i = 0; i < config->listener_count; i++) {
		check_listener(config, &config->listeners[i], faults);
		check_addresses(config, i, faults);
	}
	config_oauth_check(config, faults);
}

static struct config *config_new(const char *file)
{
	struct config *config = mem_alloc(sizeof *config);

	*config = (struct config){
		.file = text_dup(file),
		.profiles = oauth_profiles_new(),
		.max_sessions = 10000,
		.keep_ms = 600 * SECOND,
		.fresh_ms = 60 * SECOND,
		.warm_proof_ms = 900 * SECOND,
		.warm = 10000,
		.threads = 16,
		.idle_ms = 600 * SECOND,
		.stall_ms = 120 * SECOND,
		.authorization_ms = 180 * SECOND,
		.failure_ms = 2 * SECOND,
		.drain_ms = 30 * SECOND,
		.replay_ms = 300 * SECOND,
		.failures = 3,
		.block_after = 20,
		.block_window_ms = 600 * SECOND,
		.block_ms = 600 * SECOND,
		.refused_ms = 60 * SECOND,
		.upstream_refusals = 60,
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
	if (config_oauth_has_secret(config) && status.st_mode & (S_IROTH | S_IWGRP | S_IWOTH))
		faults_add(
			faults, file, 0,
			"holds a client_secret, and others may read it, or group or others write "
			"it (mode %04o): 0640 is good",
			(unsigned)status.st_mode & 07777);
	mem_wipe(text, len);
	free(text);
	return config;
}

struct config *config_load(const char *file, struct faults *faults)
{
	size_t before = faults->count;
	struct config *config = config_load_partly(file, faults);

	return config ? unless_faulty(config, before, faults) : NULL;
}

bool config_has_client_ca(const struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++)
		if (config->listeners[i].client_ca)
			return true;
	return false;
}

void config_certificates(const struct config *config, const struct listener_conf *listener,
			 const struct file_list **cert, const struct file_list **key, int *line)
{
	bool is_own = listener->cert.count || listener->key.count;

	*cert = is_own ? &listener->cert : &config->cert;
	*key = is_own ? &listener->key : &config->key;
	*line = is_own ? listener->cert_line : config->cert_line;
}

static void free_files(struct file_list *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->all[i]);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->listener_count; i++) {
		struct listener_conf *listener = &config->listeners[i];
		free(listener->name);
		free(listener->addresses);
		free_files(&listener->cert);
		free_files(&listener->key);
		free(listener->client_ca);
		network_list_fini(&listener->networks);
	}
	free(config->listeners);
	free(config->file);
	free(config->map);
	free(config->state);
	free(config->user);
	free_files(&config->cert);
	free_files(&config->key);
	free(config->control);
	free(config->token_key);
	free(config->token_key_cred);
	oauth_profiles_release(config->profiles);
	network_list_fini(&config->trusted);
	free(config);
}
