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
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/commands.h"
#include "proxy/config.h"
#include "proxy/io/tlsconf.h"
#include "proxy/map.h"
#include "proxy/secret.h"
#include "proxy/server.h"
#include "proxy/statedir.h"

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
		const char *cert = listener->cert ? listener->cert : config->cert;
		const char *key = listener->cert ? listener->key : config->key;
		struct tls_server_conf *conf;
		struct notice why = {""};
		if (listener->tls == LISTENER_NONE || !cert || !key)
			continue; /* none is needed, or its lack has been told */
		struct err err = tls_server_conf_new(cert, key, listener->tls_min, &why, &conf);
		if (err.kind)
			faults_add(&check->faults, config->file, listener->line,
				   "[listener %s]: %s%s%s", listener->name, err.what,
				   *why.text ? ": " : "", why.text);
		tls_server_conf_release(conf);
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

static void check_ca(void *arg, const char *value, const char *file, int line)
{
	check_readable(arg, value, file, line);
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

/* `is_given`: serve, started as we are, would hand the state directory over to who we are now. */
static void check_files(struct check *check, bool is_given)
{
	const struct config *config = check->config;

	statedir_check(config, is_given, &check->faults);

	check_readable(check, config->cert, config->file, 0);
	check_readable(check, config->key, config->file, 0);
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct listener_conf *listener = &config->listeners[i];
		check_readable(check, listener->cert, config->file, listener->line);
		check_readable(check, listener->key, config->file, listener->line);
	}
	if (check->map) {
		map_each(check->map, MAP_CA, check_ca, check);
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
			map_release(map_load(own.config->map, &own.faults));
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
		faults_add(&check->faults, config->file, 0, "user = %s: there is no such user",
			   config->user);
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
		check.map = map = map_load(config->map, &check.faults);
	if (map)
		server_check_map(config, map, &check.faults);
	if (config) {
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
