/* SPDX-License-Identifier: MIT */
/* verify.h - local passwords: {scheme}value, one of a map's local=, checked and made. Blocking: call
 * by env->offload; but for what only reads the value. */
#ifndef POPGATE_VERIFY_H
#define POPGATE_VERIFY_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `local` has a scheme that this build knows and a value of its form; NULL if so, else a
 * literal that says why not. */
const char *verify_refusal(const char *local);

/* Whether `password` is the one of `local`. {plain} costs nothing, all others on purpose much: who
 * tells a client so waits until a moment that does not depend on it (B-05). */
bool verify_password(const char *local, const char *password);

/* The secret of {plain}, borrowed; NULL: another scheme. Does not block. */
const char *verify_plain(const char *local);

/* What {scram-sha-256} holds, as it stands there: base64, NUL ended. False: another scheme. Does not
 * block. */
struct verify_scram {
	int rounds;
	char salt[96], stored[48], server[48];
};
bool verify_scram(const char *local, struct verify_scram *out);

/* As long as verify_password() would take for the default scheme, and false: for names that do not
 * exist (B-05). */
bool verify_dummy(const char *password);

/* What the one or the other takes of memory, in MiB, rounded up; what cannot be read of a hash's cost is
 * taken for much. They do not block. */
unsigned verify_mib(const char *local);
unsigned verify_dummy_mib(void);

enum { VERIFY_ROUNDS = 15000 }; /* of a new {scram-sha-256} (J-05) */

/* Makes a value for the map: {yescrypt}..., or {scram-sha-256}iterations,salt,StoredKey,ServerKey
 * (base64). The caller wipes and frees it. NULL if the system's crypt(3) cannot, or the password is
 * none that SCRAM can prepare (RFC 4013). */
char *verify_make_dup(const char *password, bool scram);

#endif
