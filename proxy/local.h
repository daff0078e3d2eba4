/* SPDX-License-Identifier: MIT */
/* local.h - the local secrets of a map entry: local=[NAME:]{scheme}value, one for each of its devices,
 * and what a client may prove itself by. Blocking, where said: call by env->offload. */
#ifndef POPGATE_LOCAL_H
#define POPGATE_LOCAL_H

#include <stdbool.h>
#include <stddef.h>

enum {
	LOCAL_MAX = 16,      /* secrets an entry */
	LOCAL_NAME_MAX = 32, /* octets of a device's name */
};

/* In the order of the map; the values are borrowed from it. */
struct local_list {
	const char *value[LOCAL_MAX];
	size_t count;
};

/* NULL if the value is well-formed and this build knows its scheme, else why not (a literal). */
const char *local_value_refusal(const char *value);
/* The part from its "{" on. */
const char *local_secret(const char *value);
/* The octets of NAME, 0: it has none. */
size_t local_name_len(const char *value);

/* What kinds of claims a secret can answer (J-03). */
enum local_kind {
	LOCAL_PLAIN = 1,         /* {plain}: all */
	LOCAL_SCRAM_SHA_256 = 2, /* its own and passwords */
	LOCAL_OTHER = 4,         /* passwords alone */
};
unsigned local_kinds(const struct local_list *);

/* Which secret the password is of; -1: none. As slow for a list of {plain} as for one yescrypt.
 * Blocking. */
int local_find_password(const struct local_list *, const char *password);

/* How much memory that takes at one time, in MiB. Does not block. */
unsigned local_password_mib(const struct local_list *);

/* Which {plain} secret a digest is of, 32 hexadecimal digits; -1: none. APOP: MD5 over timestamp and
 * secret (RFC 1939 section 7); with `is_keyed` HMAC-MD5 of the timestamp by the secret (RFC 2195). */
int local_find_digest(const struct local_list *, bool is_keyed, const char *timestamp,
		      const char *digest);

#endif
