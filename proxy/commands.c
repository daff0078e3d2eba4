/* SPDX-License-Identifier: MIT */
/* commands.c - `popgate query` and `popgate passwd`. */
#include "proxy/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/ask.h"
#include "proxy/base/mem.h"
#include "proxy/config.h"
#include "proxy/map.h"
#include "proxy/verify.h"

enum { DONE = 0, FAILED = 1, USAGE = 2 };

/* --- query -------------------------------------------------------------------------------- */

/* A value as it could stand in the map; of a secret only whose it is and its scheme. */
static void print_value(enum map_attribute attribute, const char *value)
{
	size_t name = attribute == MAP_LOCAL ? local_name_len(value) : 0;
	const char *secret = name ? value + name + 1 : value;

	printf("%s=", map_attribute_name(attribute));
	if (map_attribute_is_secret(attribute)) {
		int scheme = *secret == '{' ? (int)strcspn(secret, "}") + 1 : 0;
		printf("%.*s***", (int)(secret - value) + scheme, value);
	} else if (!value[strcspn(value, " \"#")]) {
		fputs(value, stdout);
	} else {
		putchar('"');
		for (; *value; value++) {
			if (*value == '"' || *value == '\\')
				putchar('\\');
			putchar(*value);
		}
		putchar('"');
	}
}

static void print_local(void *arg, const char *value, const char *file, int line)
{
	(void)arg;
	print_value(MAP_LOCAL, value);
	printf("    %s:%d\n", file, line);
}

static void print_attributes(const struct map *map, const struct map_entry *entry)
{
	for (int i = 0; i < MAP_ATTRIBUTES; i++) {
		const char *file;
		int line;
		const char *value = map_value(map, entry, (enum map_attribute)i, &file, &line);
		if (!value)
			continue;
		if (i == MAP_LOCAL) {
			map_each_local(map, entry, print_local, NULL);
			continue;
		}
		print_value((enum map_attribute)i, value);
		printf("    %s:%d\n", file, line);
	}
}

/* What nobody set, and what it then is. */
static void print_defaults(const struct map *map, const struct map_entry *entry,
			   const struct map_target *target)
{
	static const struct {
		enum map_attribute attribute;
		const char *value;
	} defaults[] = {{MAP_DELETE, "expunge"}, {MAP_SEEN, "on-quit"}, {MAP_LOGIN, "%u"}};

	for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
		if (map_value(map, entry, defaults[i].attribute, NULL, NULL) ||
		    (defaults[i].attribute == MAP_LOGIN && !target->login))
			continue;
		print_value(defaults[i].attribute, defaults[i].value);
		puts("    default");
	}
}

static void print_upstream(const struct map_target *target)
{
	static const char *const schemes[] = {[UPSTREAM_CLEAR] = "imap",
					      [UPSTREAM_STARTTLS] = "imap+starttls",
					      [UPSTREAM_TLS] = "imaps"};
	const struct upstream_conf *conf = &target->upstream;

	if (target->reject)
		printf("# rejects: %s\n", target->reject);
	else if (conf->path)
		printf("# opens %s:%s\n", conf->ops->name, conf->path);
	else if (conf->host) {
		bool is_six = strchr(conf->host, ':') != NULL;
		printf("# opens %s://%s%s%s:%u/%s as %s, with %s\n", schemes[conf->tls],
		       is_six ? "[" : "", conf->host, is_six ? "]" : "", conf->port, conf->folder,
		       target->login,
		       target->oauth                ? "a token"
		       : !target->is_passed_through ? "the map's secret"
						    : "the client's password");
	}
}

static const char *how_found(const struct map_entry *entry, const char *name)
{
	const char *key = map_entry_key(entry);

	if (map_entry_is_exact(entry))
		return strcmp(key, name) == 0 ? "exact key" : "the part before @";
	return *key == '@' ? "its domain" : "what fits every name";
}

static int query(const struct map *map, const char *name)
{
	const struct map_entry *entry = map_find(map, name);
	struct map_target target;
	struct notice why = {""};
	const char *file;
	int line;

	if (!entry) {
		fprintf(stderr, "popgate: %s: no such name in the map\n", name);
		return FAILED;
	}
	map_entry_place(map, entry, &file, &line);
	printf("# %s is found by %s: %s    %s:%d\n", name, how_found(entry, name),
	       map_entry_key(entry), file, line);
	print_attributes(map, entry);
	if (map_target(map, entry, name, &why, &target).kind) {
		fprintf(stderr, "popgate: %s:%d: %s would be refused: %s\n", file, line, name,
			why.text);
		return FAILED;
	}
	print_defaults(map, entry, &target);
	print_upstream(&target);
	map_target_fini(&target);
	return DONE;
}

int command_query(const char *config_file, int argc, char **argv)
{
	struct faults faults = {0};
	int status = FAILED;

	if (argc != 2) {
		fprintf(stderr, "usage: popgate [-c FILE] %s NAME\n", argv[0]);
		return USAGE;
	}
	char *name = map_canonical_dup(argv[1]);
	if (!name) {
		fputs("popgate: a name is 1 to 255 octets without control characters\n", stderr);
		return FAILED;
	}
	/* Errors elsewhere in the configuration do not keep a map from being asked. */
	struct config *config = config_load_partly(config_file, &faults);
	struct map *map = config && config->map
				  ? map_load(config->map, config_has_client_ca(config), &faults)
				  : NULL;
	faults_print(&faults, stderr);
	if (map)
		status = query(map, name);
	map_release(map);
	config_free(config);
	faults_fini(&faults);
	free(name);
	return status;
}

/* --- passwd ------------------------------------------------------------------------------- */

/* The password, from the terminal or not; on false that is told, and nothing is kept. */
static bool read_password(struct ask *password)
{
	struct ask again = {""};
	bool is_terminal = isatty(STDIN_FILENO);

	bool is_read = is_terminal
			       ? ask_hidden("Password: ", password) && ask_hidden("Again: ", &again)
			       : ask_line(password);
	bool is_same = !is_terminal || strcmp(password->text, again.text) == 0;
	mem_wipe(&again, sizeof again);
	if (!is_read)
		fprintf(stderr, "popgate: a password of 1 to %d octets is expected\n", ASK_MAX);
	else if (!is_same)
		fputs("popgate: the two differ\n", stderr);
	return is_read && is_same;
}

int command_passwd(const char *config_file, int argc, char **argv)
{
	struct ask password = {""};
	bool is_scram = argc == 2 && !strcmp(argv[1], "--scram");

	(void)config_file; /* a value for any map */
	if (argc > 1 && !is_scram) {
		fprintf(stderr, "usage: popgate %s [--scram]\n", argv[0]);
		return USAGE;
	}
	bool is_read = read_password(&password);
	char *value = is_read ? verify_make_dup(password.text, is_scram) : NULL;
	mem_wipe(&password, sizeof password);
	if (is_read && !value)
		fputs("popgate: crypt(3) of this system cannot make such a value\n", stderr);
	if (!value)
		return FAILED;
	puts(value);
	text_wipe_free(value);
	return DONE;
}
