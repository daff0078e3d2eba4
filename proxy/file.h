/* SPDX-License-Identifier: MIT */
/* file.h - a small or large regular file, read whole: configuration, map, secrets. Blocking. */
#ifndef POPGATE_FILE_H
#define POPGATE_FILE_H

#include <stddef.h>
#include <sys/stat.h>

/* Reads all of `path`, at most `max` octets; a NUL is put behind them. *status is of the file that
 * was opened, so permissions cannot change in between. Never waits for a FIFO or device: only
 * regular files are read. On failure NULL, and *reason says why (a literal, or strerror's). */
char *file_read_dup(const char *path, size_t max, struct stat *status, size_t *len,
		    const char **reason);

#endif
