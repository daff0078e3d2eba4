/* SPDX-License-Identifier: MIT */
/* statedir.c - the state directory of the configuration.
 *
 * One daemon a directory: two of them would not know of each other's locks. The directory itself is
 * locked, with flock(2), which needs no file, works where nothing can be written, and ends with the
 * process. Subcommands share the directory with a daemon, as LMDB allows.
 */
#include "proxy/statedir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/mem.h"

#define FAULT(config_, faults_, format_, ...)                                                      \
	faults_add((faults_), (config_)->file, (config_)->state_line, "state = %s: " format_,      \
		   (config_)->state, __VA_ARGS__)

void statedir_make(const struct config *config, struct faults *faults)
{
	if (!config->state || mkdir(config->state, 0700) == 0 || errno == EEXIST)
		return;
	FAULT(config, faults, "cannot be made: %s%s", strerror(errno),
	      errno == ENOENT ? "; the directory above it must exist" : "");
}

/* Whether it is a directory that nobody else could put files into. */
static bool is_safe(const struct config *config, struct faults *faults)
{
	struct stat status;
	const char *wrong = NULL;

	if (stat(config->state, &status) < 0)
		wrong = strerror(errno);
	else if (!S_ISDIR(status.st_mode))
		wrong = "not a directory";
	else if (status.st_mode & (S_IWGRP | S_IWOTH))
		wrong = "others can write to it: chmod 0700";
	if (wrong)
		FAULT(config, faults, "%s", wrong);
	return !wrong;
}

static int take(const struct config *config, struct faults *faults)
{
	int fd = open(config->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (fd >= 0 && errno == EWOULDBLOCK)
		FAULT(config, faults, "%s",
		      "another popgate serves with it; each needs a state of its own");
	else
		FAULT(config, faults, "cannot be %s: %s", fd < 0 ? "opened" : "locked",
		      strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static void tell(const struct config *config, struct err err, const struct notice *why,
		 struct faults *faults)
{
	const char *hint = "";

	if (err.code == EACCES || err.code == EPERM)
		hint = "; all in it must belong to the user that serves";
	else if (err.code == EBADMSG)
		hint = "; see \"a damaged state\" in operations.md";
	else if (err.code == ENOSPC || err.code == EDQUOT)
		hint = "; make room first";
	FAULT(config, faults, "%s%s", why->text, hint);
}

void statedir_open(const struct config *config, const struct log *log, struct faults *faults,
		   struct state_store **out, int *lock)
{
	struct notice why = {""};

	*out = NULL;
	*lock = -1;
	if (!config->state || !is_safe(config, faults))
		return;
	*lock = take(config, faults);
	if (*lock < 0)
		return;
	struct err err = state_lmdb_open(config->state, log, &why, out);
	if (!err.kind)
		return;
	tell(config, err, &why, faults);
	statedir_leave(*lock);
	*lock = -1;
}

void statedir_leave(int lock)
{
	if (lock >= 0)
		close(lock);
}

/* --- check -------------------------------------------------------------------------------- */

/* The directory above is where it would be made. */
static void check_parent(const struct config *config, bool is_given, struct faults *faults)
{
	char *parent = text_dup(config->state);
	size_t len = strlen(parent);
	struct stat status;

	while (len > 1 && parent[len - 1] == '/')
		parent[--len] = '\0';
	char *slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent] = '\0';
	const char *above = slash ? parent : ".";
	if (stat(above, &status) < 0 || (!is_given && access(above, W_OK | X_OK) < 0))
		FAULT(config, faults, "there is no such directory, and it cannot be made in %s: %s",
		      above, strerror(errno));
	free(parent);
}

void statedir_check(const struct config *config, bool is_given, struct faults *faults)
{
	struct notice why = {""};
	struct state_store *store;
	struct stat status;

	if (!config->state)
		return;
	if (stat(config->state, &status) < 0 && errno == ENOENT) {
		check_parent(config, is_given, faults);
		return;
	}
	/* What root still owns will be handed over, but is closed to us until then. */
	bool is_to_be_given = is_given && status.st_uid != geteuid();
	if (!is_safe(config, faults) || (is_to_be_given && access(config->state, X_OK) < 0))
		return;
	char *file = text_printf_dup("%s/data.mdb", config->state);
	if (!is_to_be_given && access(config->state, W_OK | X_OK) < 0)
		FAULT(config, faults, "cannot be written to: %s", strerror(errno));
	else if (access(file, R_OK | W_OK) < 0 && errno != ENOENT)
		FAULT(config, faults, "%s cannot be read and written: %s", file, strerror(errno));
	else if (access(file, F_OK) == 0) {
		struct err err = state_lmdb_open(config->state, NULL, &why, &store);
		if (err.kind)
			tell(config, err, &why, faults);
		else
			store->ops->close(store);
	}
	free(file);
}
