/* SPDX-License-Identifier: MIT */
/* secret_file.c - a small file that holds a secret. */
#include "upstream/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STEP = 4096 };

#define WHY(why_, ...) snprintf((why_)->text, sizeof(why_)->text, __VA_ARGS__)

/* NULL, or what is wrong. */
static const char *read_all(int fd, struct stat *status, struct buf *out)
{
	if (fstat(fd, status) < 0)
		return strerror(errno);
	if (!S_ISREG(status->st_mode))
		return "not a regular file";
	for (;;) {
		size_t left = out->max - buf_len(out);
		size_t want = left && left < STEP ? left : STEP;
		char *to = buf_room(out, want);
		if (!to)
			return "too large";
		ssize_t got = read(fd, to, want);
		if (got < 0 && errno != EINTR)
			return strerror(errno);
		if (got == 0)
			return NULL;
		if (got > 0)
			buf_added(out, (size_t)got);
	}
}

struct err secret_file_read(const char *path, struct stat *status, struct notice *why,
			    struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *wrong = fd < 0 ? strerror(errno) : read_all(fd, status, out);

	if (fd >= 0)
		close(fd);
	if (!wrong)
		return OK;
	WHY(why, "%s: %s", path, wrong);
	return ERR(ERR_POLICY, 0, "a secret cannot be read");
}

struct err secret_file_read_private(const char *path, struct notice *why, struct buf *out)
{
	struct stat status;

	TRY(secret_file_read(path, &status, why, out));
	if (!(status.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)))
		return OK;
	buf_wipe(out);
	WHY(why, "%s: others may read it, or group or others write it (mode %04o)", path,
	    (unsigned)status.st_mode & 07777);
	return ERR(ERR_POLICY, 0, "a secret cannot be used");
}
