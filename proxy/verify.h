/* SPDX-License-Identifier: MIT */
/* verify.h - local passwords: {scheme}value of the map's local=, checked and made. Blocking: call
 * by env->offload. */
#ifndef POPGATE_VERIFY_H
#define POPGATE_VERIFY_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `local` has a scheme that this build knows and a value of its form; NULL if so, else a
 * literal that says why not. */
const char *verify_refusal(const char *local);

/* Whether `password` is the one of `local`. The time it takes depends on the scheme alone. */
bool verify_password(const char *local, const char *password);

/* As long as verify_password() would take for the default scheme, and false: for names that do not
 * exist (B-05). */
bool verify_dummy(const char *password);

/* Makes a value for the map: {yescrypt}..., or {scram-sha-256}iterations,salt,StoredKey,ServerKey
 * (base64). The caller wipes and frees it. NULL if the system's crypt(3) cannot. */
char *verify_make_dup(const char *password, bool scram);

#endif
