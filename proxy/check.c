/* SPDX-License-Identifier: MIT */
/* check.c - `popgate check`: everything that serve would find out, before it does.
 *
 * A reload happens after the drop to `user`; so what root can read proves nothing. Run as root, check
 * therefore forks, becomes that user for good, and reads map, keys and secrets as it.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/commands.h"
#include "proxy/config.h"
#include "proxy/listener_tls.h"
#include "proxy/map.h"
#include "proxy/secret.h"
#include "proxy/server.h"
#include "proxy/statedir.h"
#include "upstream/secret_file.h"

enum { SECRET_FILE_MAX = 65536 };

struct check {
	const struct config *config;
	const struct map *map; /* NULL: it has errors */
	struct faults faults;
};

/* --- certificates -------------------------------------------------------------------------- */

static void check_certificates(struct check *check)
{
	const struct config *config = check->config;

	for (size_t i = 0; i < config->listener_count; i++) {
		const struct listener_conf *listener = &config->listeners[i];
		const struct file_list *cert, *key;
		int line;
		config_certificates(config, listener, &cert, &key, &line);
		if (cert->count && cert->count == key->count) /* its lack has been told */
			tls_server_conf_release(
				listener_tls_load(config, listener, NULL, &check->faults));
	}
}

/* --- what must be readable ---------------------------------------------------------------- */

static void check_readable(struct check *check, const char *path, const char *file, int line)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;

	if (path && fd < 0)
		faults_add(&check->faults, file, line, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void check_list(struct check *check, const struct file_list *files, int line)
{
	for (size_t i = 0; i < files->count; i++)
		check_readable(check, files->all[i], check->config->file, line);
}

static void check_ca(void *arg, const char *value, const char *file, int line)
{
	check_readable(arg, value, file, line);
}

/* A key as a secret: not for others. */
static void check_key(void *arg, const char *value, const char *file, int line)
{
	struct check *check = arg;
	struct stat status;

	check_readable(check, value, file, line);
	if (!stat(value, &status) && (status.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)))
		faults_add(&check->faults, file, line,
			   "key=: %s: others may read it, or group or others write it", value);
}

static void check_secret(void *arg, const char *value, const char *file, int line)
{
	struct check *check = arg;
	struct map_target target = {.password_file = value};
	struct notice why = {""};
	char *secret;

	if (secret_read(&target, &why, &secret).kind)
		faults_add(&check->faults, file, line, "password_file=: %s", why.text);
	text_wipe_free(secret);
}

static void check_private(struct check *check, const char *what, const char *path, int line)
{
	struct notice why = {""};
	struct buf text;

	if (!path)
		return;
	buf_init(&text, SECRET_FILE_MAX);
	text.is_secret = true;
	if (secret_file_read_private(path, &why, &text).kind)
		faults_add(&check->faults, check->config->file, line, "%s: %s", what, why.text);
	buf_wipe(&text);
}

static void check_oauth(struct check *check)
{
	const struct oauth_profiles *profiles = check->config->profiles;

	for (size_t i = 0; i < oauth_profiles_count(profiles); i++) {
		const struct oauth_section *section = oauth_profiles_nth(profiles, i);
		const struct oauth_profile *profile = &section->profile;
		check_private(check, "client_secret_file", profile->client_secret_file,
			      section->line);
		check_private(check, "key_file", profile->key_file, section->line);
		check_readable(check, profile->ca_file, check->config->file, section->line);
	}
}

/* `is_given`: serve, started as we are, would hand the state directory over to who we are now. */
static void check_files(struct check *check, bool is_given)
{
	const struct config *config = check->config;

	statedir_check(config, is_given, &check->faults);
	check_oauth(check);

	check_list(check, &config->cert, config->cert_line);
	check_list(check, &config->key, config->key_line);
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct listener_conf *listener = &config->listeners[i];
		check_list(check, &listener->cert, listener->cert_line);
		check_list(check, &listener->key, listener->key_line);
		check_readable(check, listener->client_ca, config->file, listener->client_ca_line);
	}
	if (check->map) {
		map_each(check->map, MAP_CA, check_ca, check);
		map_each(check->map, MAP_CERT, check_ca, check);
		map_each(check->map, MAP_KEY, check_key, check);
		map_each(check->map, MAP_PASSWORD_FILE, check_secret, check);
	}
}

/* In a child: becomes the user, looks, and tells. Does not return. */
static void check_files_as(struct check *check, const struct passwd *user)
{
	struct check own = {.config = check->config, .map = check->map};

	if (initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 ||
	    setuid(user->pw_uid) < 0) {
		faults_add(&own.faults, check->config->file, 0, "cannot become user %s: %s",
			   user->pw_name, strerror(errno));
	} else {
		check_files(&own, true);
		/* Read again as a reload would: whole, and with the directories of its includes. */
		if (own.map)
			map_release(map_load(own.config->map, config_has_client_ca(own.config),
					     &own.faults));
		if (own.faults.count)
			fprintf(stderr, "popgate: what user %s cannot read:\n", user->pw_name);
	}
	faults_print(&own.faults, stderr);
	_exit(own.faults.count ? 1 : 0);
}

/* False if the child had something to tell, which it did. */
static bool check_user(struct check *check)
{
	const struct config *config = check->config;
	const struct passwd *user = config->user ? getpwnam(config->user) : NULL;
	int status = 0;

	if (config->user && !user)
		faults_add(&check->faults, config->file, config->user_line,
			   "user = %s: there is no such user", config->user);
	/* Not root, or no user to become: serve would read as who we are. */
	if (geteuid() != 0 || !user || user->pw_uid == 0) {
		check_files(check, false);
		return true;
	}
	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		check_files_as(check, user);
	if (child < 0 || waitpid(child, &status, 0) != child) {
		faults_add(&check->faults, config->file, 0, "cannot look as user %s: %s",
			   config->user, strerror(errno));
		return true;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int command_check(const char *config_file, int argc, char **argv)
{
	struct check check = {0};
	struct map *map = NULL;
	bool is_good = true;

	if (argc != 1) {
		fprintf(stderr, "popgate: %s takes no arguments\n", argv[0]);
		return 2;
	}
	struct config *config = config_load_partly(config_file, &check.faults);
	check.config = config;
	if (config && config->map)
		check.map = map =
			map_load(config->map, config_has_client_ca(config), &check.faults);
	if (map)
		server_check_map(config, map, &check.faults);
	if (map)
		server_check_oauth(config, config->profiles, map, &check.faults);
	if (config) {
		struct token_key *key; /* as who we are: serve reads it before it becomes `user` */
		config_oauth_key(config, &check.faults, &key);
		token_key_free(key);
		check_certificates(&check);
		is_good = check_user(&check);
	}
	faults_print(&check.faults, stderr);
	is_good = is_good && !check.faults.count;
	if (is_good)
		printf("%s: no error; listeners: %zu, map entries: %zu\n", config_file,
		       config->listener_count, map_count(map));
	map_release(map);
	config_free(config);
	faults_fini(&check.faults);
	return is_good ? 0 : 1;
}
