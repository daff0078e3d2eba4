/* SPDX-License-Identifier: MIT */
/* seal.h - what lies in the state and nobody but popgate may read: AES-256-GCM under one key (B-22).
 *
 * A sealed value is an octet that says the format, a nonce of 96 bits, new and random at each write,
 * the ciphertext, and a tag of 128 bits. The key under which the value lies in the state, and the
 * format, are authenticated with it: a value that was put elsewhere, or changed in one bit, does not
 * open. With random nonces one key is good for 2^32 writes (NIST SP 800-38D section 8.3): at one a
 * second, for 136 years.
 */
#ifndef POPGATE_SEAL_H
#define POPGATE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/base/buf.h"
#include "proxy/base/env.h"
#include "proxy/base/err.h"

enum {
	TOKEN_KEY = 32,           /* octets of the key */
	SEAL_EXTRA = 1 + 12 + 16, /* octets that a sealed value is longer than a plain one */
};

struct token_key; /* in memory that is locked, left out of core dumps, and wiped at the end */

struct err token_key_new(const unsigned char octets[TOKEN_KEY], struct token_key **out) MUST_USE;
void token_key_free(struct token_key *); /* NULL is fine */

/* Reads a key from a file: 32 octets as they are, or as 64 hexadecimal digits, or as base64, the last
 * two with or without a line end. Blocks. ERR_POLICY, with the reason in `why`: it cannot be read, is
 * no key, belongs neither to root nor to us nor to `owner`, or others can read or anybody but its
 * owner write it; with `is_credential` the group may read, as systemd has it under an access control
 * list. Never tells what is in it. */
struct err token_key_read(const char *file, uid_t owner, bool is_credential, struct notice *why,
			  struct token_key **out) MUST_USE;

/* Seals `len` octets for the place `name`, appended to `out`. ERR_UPSTREAM: memory is out, or `out`
 * takes no more. */
struct err seal_put(const struct token_key *, const struct env *, const char *name,
		    const void *plain, size_t len, struct buf *out) MUST_USE;

/* The inverse, appended to `out`, which should be is_secret. ERR_POLICY with the code EBADMSG, and
 * nothing appended: another key, another place, a changed bit, or a format that we do not know. */
struct err seal_get(const struct token_key *, const char *name, const void *sealed, size_t len,
		    struct buf *out) MUST_USE;

#endif
