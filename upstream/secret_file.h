/* SPDX-License-Identifier: MIT */
/* secret_file.h - a small file that holds a secret: a key, a client secret. Blocks: call it on the
 * pool. */
#ifndef POPGATE_SECRET_FILE_H
#define POPGATE_SECRET_FILE_H

#include <sys/stat.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"

/* Appends all of a regular file to `out`, which should be is_secret and whose ceiling is the most
 * that is read. *status is of the file that was opened. ERR_POLICY, with the reason in `why`: it
 * cannot be read, is no file, or is too large. */
struct err secret_file_read(const char *path, struct stat *status, struct notice *why,
			    struct buf *out) MUST_USE;

/* The same, and ERR_POLICY if others may read it, or group or others write it. */
struct err secret_file_read_private(const char *path, struct notice *why, struct buf *out) MUST_USE;

#endif
