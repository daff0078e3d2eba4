/* SPDX-License-Identifier: MIT */
/* privilege.c - what the process may do. */
#include "proxy/privilege.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPARE_DESCRIPTORS = 64 }; /* listeners, libuv, files on the pool */

void privilege_limits(const struct log *log, unsigned sessions)
{
	struct rlimit none = {0, 0}, files;

	if (setrlimit(RLIMIT_CORE, &none))
		LOG(log, LEVEL_WARN, "core-dumps-on", log_text("why", strerror(errno)));
	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		LOG(log, LEVEL_WARN, "few-descriptors", log_text("why", strerror(errno)));
	if (files.rlim_cur / 2 < sessions + SPARE_DESCRIPTORS)
		LOG(log, LEVEL_WARN, "few-descriptors", log_number("limit", files.rlim_cur),
		    log_number("max_sessions", sessions),
		    log_text("hint",
			     "a session needs two: raise LimitNOFILE or lower max_sessions"));
}

static struct err failed(struct notice *why, const char *what, const char *name)
{
	snprintf(why->text, sizeof why->text, "%s %s: %s", what, name, strerror(errno));
	return ERR(ERR_POLICY, errno, "cannot drop privileges");
}

struct err privilege_drop(const struct log *log, const char *user, const char *state,
			  struct notice *why)
{
	if (geteuid() != 0)
		return OK;
	if (!user) {
		LOG(log, LEVEL_WARN, "runs-as-root",
		    log_text("hint", "set user = in the configuration"));
		return OK;
	}
	errno = 0;
	const struct passwd *passwd = getpwnam(user);
	if (!passwd) {
		if (!errno)
			errno = ENOENT;
		return failed(why, "user", user);
	}
	/* On a disk that can only be read it stays as it is: opening it will show whether that does. */
	if (state && chown(state, passwd->pw_uid, passwd->pw_gid) && errno != ENOENT &&
	    errno != EROFS)
		return failed(why, "handing over", state);
	if (initgroups(user, passwd->pw_gid) || setgid(passwd->pw_gid) || setuid(passwd->pw_uid))
		return failed(why, "becoming", user);
	/* A drop that can be taken back is none. */
	if (passwd->pw_uid != 0 && setuid(0) == 0)
		return ERR(ERR_POLICY, 0, "privileges came back");
	return OK;
}
