/* SPDX-License-Identifier: MIT */
/* sasl.h - SASL exchanges over a client's stream (RFC 5034, RFC 4422): from `AUTH mechanism` to a
 * name and a password. Knows nothing of sessions. */
#ifndef POPGATE_SASL_H
#define POPGATE_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/err.h"
#include "proxy/base/stream.h"

enum { SASL_LIST_MAX = 64 }; /* octets of a line of mechanisms: fetchmail's buffer */

/* What an exchange ends in. Owned; sasl_claim_fini() wipes it. */
struct sasl_claim {
	char *name;
	char *password;
};
void sasl_claim_fini(struct sasl_claim *); /* a zeroed struct is fine */

struct sasl_mechanism;

/* By name, case-blind; NULL: not implemented. */
const struct sasl_mechanism *sasl_find(const char *name, size_t len);

/* Whether the mechanism shows the password to whoever listens, so that it needs TLS (B-09). */
bool sasl_is_plaintext(const struct sasl_mechanism *);

/* The names of all mechanisms, or of those that are not plaintext, each with `before` in front and
 * `after` behind; NUL ended. Returns the length. */
size_t sasl_list(char out[SASL_LIST_MAX], bool with_plaintext, const char *before,
		 const char *after);

/* Runs the exchange to its end. `initial` is the initial response in base64, "=" an empty one, NULL
 * none (J-02). On failure *out is empty.
 * ERR_REFUSED: the client cancelled, or (code EINVAL) sent what is not canonical base64 (J-01), or
 * (E2BIG) an endless line. ERR_LOGIN: a message that no credential can have (J-04). Else the
 * stream's failure. */
struct err sasl_run(const struct sasl_mechanism *, struct stream *client, const char *initial,
		    struct sasl_claim *out) MUST_USE;

#endif
