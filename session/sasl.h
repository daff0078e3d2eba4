/* SPDX-License-Identifier: MIT */
/* sasl.h - SASL exchanges over a client's stream (RFC 5034, RFC 4422): from `AUTH mechanism` to a
 * claim. Knows nothing of sessions, nor of proofs: where a mechanism asks on and on, whoever proves
 * the claim leads it, by sasl_ask(). */
#ifndef POPGATE_SASL_H
#define POPGATE_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/stream.h"
#include "session/account.h"

enum {
	SASL_LIST_MAX = 192, /* octets of all names in a line, with what stands between */
	/* fetchmail reads CAPA in pieces of so many octets, and looks for names in each: what old
	 * clients need stands first in the list. */
	SASL_LIST_FIRST = 63,
	SASL_ANSWER_MAX = 49152, /* octets of a decoded response: 64 KiB of base64 */
};

/* What an exchange ends in. Owned; sasl_claim_fini() wipes it. */
struct sasl_claim {
	char *name;     /* "" if a certificate or a token tells it */
	char *password; /* or the token, or the digest; "" if there is none */
	char *initial;  /* CREDENTIAL_EXCHANGE: the client's first message; else NULL */
	enum credential_kind kind;
};
void sasl_claim_fini(struct sasl_claim *); /* a zeroed struct is fine */

struct sasl_mechanism;

/* By name, case-blind; NULL: there is no such one here. */
const struct sasl_mechanism *sasl_find(const char *name, size_t len);

const char *sasl_name(const struct sasl_mechanism *); /* as in the list */

/* Which of enum login_way it is. */
unsigned sasl_way(const struct sasl_mechanism *);

/* The ways that show a password or a token to whoever listens, so that they need TLS (B-09). */
unsigned sasl_plaintext_ways(void);

/* The names of the mechanisms among `ways`, each with `before` in front and `after` behind; NUL
 * ended. Returns the length. */
size_t sasl_list(char out[SASL_LIST_MAX], unsigned ways, const char *before, const char *after);

/* Runs the exchange until there is a claim. `initial` is the initial response in base64, "=" an
 * empty one, NULL none (J-02). `stamp` is a challenge that was never used before, in the form of a
 * msg-id (RFC 2195). On failure *out is empty but for its kind.
 * ERR_REFUSED: the client cancelled, or (code EINVAL) sent what is not canonical base64 (J-01) or an
 * initial response where the server begins (J-02), or (E2BIG) an endless line. ERR_LOGIN: a message
 * that no credential can have (J-04). Else the stream's failure. */
struct err sasl_run(const struct sasl_mechanism *, struct stream *client, const char *initial,
		    const char *stamp, struct sasl_claim *out) MUST_USE;

/* Sends `len` octets as a challenge and reads the response into `answer`, emptied first. Errors as of
 * sasl_run(). */
struct err sasl_ask(struct stream *client, const void *challenge, size_t len,
		    struct buf *answer) MUST_USE;

/* Tells a client whose claim was refused why, where its mechanism has words for that (J-06: XOAUTH2,
 * OAUTHBEARER), and takes its last line. The reply is still to come. */
struct err sasl_regret(const struct sasl_mechanism *, struct stream *client) MUST_USE;

#endif
