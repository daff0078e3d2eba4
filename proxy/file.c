/* SPDX-License-Identifier: MIT */
/* file.c - a regular file, read whole. */
#include "proxy/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/base/mem.h"

/* Reads until the end or until `room` octets are there; -1 and errno on failure. */
static ssize_t read_all(int fd, char *into, size_t room)
{
	size_t len = 0;

	while (len < room) {
		ssize_t got = read(fd, into + len, room - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (!got)
			break;
		len += (size_t)got;
	}
	return (ssize_t)len;
}

/* A map of a million lines is 100 MB: in pages of 4 KiB, faulting them in costs more than reading
 * them, and each lookup two TLB misses more. */
static char *allocate(size_t room)
{
	const size_t huge = 2 * 1024 * 1024;

	if (room < 4 * huge || room > SIZE_MAX - huge)
		return malloc(room);
	char *text = aligned_alloc(huge, (room + huge - 1) & ~(huge - 1));
	if (text)
		(void)madvise(text, room, MADV_HUGEPAGE); /* without it is only slower */
	return text;
}

static char *read_open(int fd, size_t max, struct stat *status, size_t *len, const char **reason)
{
	if (fstat(fd, status) < 0) {
		*reason = strerror(errno);
		return NULL;
	}
	if (!S_ISREG(status->st_mode)) {
		*reason = "not a regular file";
		return NULL;
	}
	if (status->st_size < 0 || (size_t)status->st_size > max) {
		*reason = "too large";
		return NULL;
	}
	/* Two more than its size: one shows that the file grew meanwhile, one is for the NUL. */
	size_t room = (size_t)status->st_size + 2;
	char *text = allocate(room);
	if (!text) {
		*reason = "too large for the memory there is";
		return NULL;
	}
	ssize_t got = read_all(fd, text, room - 1);
	if (got < 0 || (size_t)got == room - 1) {
		*reason = got < 0 ? strerror(errno) : "changed while it was read";
		mem_wipe(text, room);
		free(text);
		return NULL;
	}
	text[got] = '\0';
	*len = (size_t)got;
	return text;
}

char *file_read_dup(const char *path, size_t max, struct stat *status, size_t *len,
		    const char **reason)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		*reason = strerror(errno);
		return NULL;
	}
	char *text = read_open(fd, max, status, len, reason);
	close(fd);
	return text;
}
