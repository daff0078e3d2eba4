/* SPDX-License-Identifier: MIT */
/* imap_auth.h - how we prove to an IMAP server who we are: which mechanism, and what is said.
 *
 * A mechanism serves a kind of login (struct login), is announced by a capability, and is run by one
 * function. Which one is taken is told in imap_auth.c at its table. For imap_login.c and the mechanisms.
 */
#ifndef POPGATE_IMAP_AUTH_H
#define POPGATE_IMAP_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/buf.h"
#include "upstream/imap_login.h"

/* Refuses, before any connection is made, a credential that cannot be sent (B-17), or a relay whose
 * client does not claim the very name that the map gives it upstream (J-07, J-11). */
struct err imap_auth_check(const struct login *) MUST_USE;

/* Chooses and runs a mechanism. OK: the server has let us in, and proved what the mechanism has it
 * prove. ERR_POLICY with client->is_unserved: none of the server's serves, by auth= or at all. Secrets
 * are shown in clear only if the connection shall be clear and the server has not forbidden it (B-14,
 * B-16). */
struct err imap_auth_log_in(struct imap_client *, const struct upstream_conf *,
			    const struct login *) MUST_USE;

/* What the server offers, for people: names with blanks between. */
void imap_auth_offers(const struct imap_client *, char *out, size_t size);

/* --- for the mechanisms --- */

struct imap_mechanism;

/* A login that is under way. */
struct imap_exchange {
	struct imap_client *client;
	const struct upstream_conf *conf;
	const struct login *login;
	const struct imap_mechanism *mechanism;
	const char *sasl; /* its name on the wire */
	bool is_plus;     /* SCRAM-...-PLUS */
	bool has_ir;      /* SASL-IR */
	bool may_follow; /* other commands, in the same flight: nothing but the outcome will come */
	bool is_done;    /* the tagged reply has come */
	int tag;
	struct buf challenge; /* decoded; wiped at the end as `answer` is */
	struct buf answer;    /* what we say next, not yet encoded */
};

/* Sends AUTHENTICATE and, in the same line or when the server is ready for it, `answer`. Then, as
 * imap_auth_answer() does, reads on to a challenge, which is decoded, or to the end, which makes is_done
 * true. A challenge that is not base64 is answered by "*" (J-09): ERR_UPSTREAM. */
struct err imap_auth_begin(struct imap_exchange *) MUST_USE;
struct err imap_auth_answer(struct imap_exchange *) MUST_USE;

/* Says "*" instead of an answer, reads the reply, whatever it is, and returns `err`. */
struct err imap_auth_cancel(struct imap_exchange *, struct err);

/* The mechanisms, each from an empty exchange to its end: OK means that the tagged reply has come. */
struct err imap_auth_scram(struct imap_exchange *) MUST_USE; /* imap_auth_scram.c */
struct err imap_auth_token(struct imap_exchange *) MUST_USE; /* imap_auth_token.c */
struct err imap_auth_relay(struct imap_exchange *) MUST_USE; /* imap_auth_relay.c */

/* imap_auth_relay.c. Whether the client's first message can be handed on, and is for login->user. */
struct err imap_auth_relay_check(const struct login *) MUST_USE;

#endif
