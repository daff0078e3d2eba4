/* SPDX-License-Identifier: MIT */
/* secret.h - the password with which popgate logs in upstream, from where the map says it is. */
#ifndef POPGATE_SECRET_H
#define POPGATE_SECRET_H

#include "proxy/base/err.h"
#include "proxy/map.h"

enum {
	SECRET_MAX = 4096,     /* octets of a password */
	SECRET_COMMAND_S = 10, /* seconds a password_cmd= may take */
};

/* Reads password=, password_file= (its first line; refused if others can read the file),
 * password_cred= (the same, in $CREDENTIALS_DIRECTORY) or password_cmd= (no shell: words split at
 * blanks, the first line of its output). Blocking: call by env->offload. On success *out is owned
 * by the caller, who wipes it. ERR_POLICY: an operator must mend it; ERR_UPSTREAM: it may pass. On
 * failure *out is NULL and `why` says what is wrong, for the log alone; never the secret. */
struct err secret_read(const struct map_target *, struct notice *why, char **out) MUST_USE;

/* The last of these alone, with another limit than SECRET_COMMAND_S. */
struct err secret_command(const char *command, unsigned limit_s, struct notice *why,
			  char **out) MUST_USE;

#endif
