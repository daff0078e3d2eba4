/* SPDX-License-Identifier: MIT */
/* account.h - what a session asks of the roof: who is this, and which mailbox stands behind the
 * name?
 *
 * The session knows neither map nor password schemes; the roof (proxy/account.c) implements this
 * vtable over both, tests implement it over an array.
 */
#ifndef POPGATE_ACCOUNT_H
#define POPGATE_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "upstream/upstream.h"

/* What a client brings to prove who it is. */
enum credential_kind {
	CREDENTIAL_PASSWORD,    /* PASS, PLAIN, LOGIN */
	CREDENTIAL_APOP,        /* a digest over the greeting's timestamp (RFC 1939 section 7) */
	CREDENTIAL_CRAM_MD5,    /* a digest over a challenge of that form (RFC 2195) */
	CREDENTIAL_TOKEN,       /* XOAUTH2, OAUTHBEARER (RFC 7628) */
	CREDENTIAL_CERTIFICATE, /* EXTERNAL: what it showed in the TLS handshake */
	CREDENTIAL_EXCHANGE,    /* SCRAM (RFC 5802): questions and answers, led by prove() or by the
				   upstream (J-07) */
};

/* A client's claim, not proved. Borrowed for the call. Strings are NUL ended, and no NUL inside
 * (J-04). */
struct credential {
	const char *name;     /* as the client gave it: 1 to 255 octets, none of them a control;
				 making it canonical (B-03) is the business of prove(). "" if the
				 certificate alone tells it, or a token */
	const char *password; /* octets as the client gave them; APOP, CRAM_MD5: the digest, 32
				 hexadecimal digits; TOKEN: the bearer token; else "" */
	enum credential_kind kind;
	const char *mechanism;       /* "PASS", "APOP", or the name of a SASL mechanism, for the log
					and for EXCHANGE */
	const char *timestamp;       /* APOP, CRAM_MD5: what the digest is over, with its <> */
	const struct stream *client; /* whose channel binding and certificate count; NULL: none */
	/* EXCHANGE: the client's first message, decoded, and how to ask on: `ask` sends `len` octets
	 * as a challenge and puts the client's answer, decoded, into `answer`, emptied first.
	 * ERR_REFUSED: the client cancelled, or sent what is not base64. */
	const char *initial;
	struct err (*ask)(void *arg, const void *challenge, size_t len, struct buf *answer);
	void *arg;
};

/* The answer: how to open the mailbox. Owned by the session, freed by accounts->free, which wipes
 * the secrets. */
struct account {
	char *name; /* the canonical POP3 name, for the log */
	struct upstream_conf upstream;
	struct login login;
	bool is_proved;     /* by a local secret; otherwise the upstream's login is the proof
			   (pass-through) */
	const char *device; /* which of several local secrets it was, as the map names it; "" if it
			       has no name. Borrowed: lives as long as the account */
};

/* The ways to log in that depend on what the map holds and on the connection, never on the user
 * (J-03); those that show a password are left out where it could be overheard, by the session. */
enum login_way {
	WAY_PLAIN = 1, /* USER and PASS, PLAIN */
	WAY_LOGIN = 2,
	WAY_APOP = 4,
	WAY_CRAM_MD5 = 8,
	WAY_SCRAM_SHA_1 = 16,
	WAY_SCRAM_SHA_1_PLUS = 32,
	WAY_SCRAM_SHA_256 = 64,
	WAY_SCRAM_SHA_256_PLUS = 128,
	WAY_XOAUTH2 = 256,
	WAY_OAUTHBEARER = 512,
	WAY_EXTERNAL = 1024,
};

struct accounts;
struct accounts_ops {
	/* Which of enum login_way can succeed for somebody, by this listener, over this stream. Does
	 * not wait. NULL: WAY_PLAIN | WAY_LOGIN. */
	unsigned (*ways)(const struct accounts *, const struct stream *client);
	/* Whether the mailbox that a claim is for is served elsewhere than this session is now: the
	 * session is then parked with the claim, and goes on there (see session_run()). Asked once
	 * for each claim, before prove(). Proves nothing, does not wait, and costs about the same for
	 * all names. NULL: never. */
	bool (*is_elsewhere)(struct accounts *, const struct credential *);
	/* Looks the name up, proves the password where the map has a local secret, reads the secret
	 * of the upstream. May wait. ERR_LOGIN, alike in words and time, for an unknown name, a
	 * wrong password, a network or listener that is not allowed (B-05). ERR_POLICY with the
	 * text in `why`: the map's reject=. ERR_UPSTREAM: a secret or the map cannot be read now.
	 */
	struct err (*prove)(struct accounts *, const struct env *, const struct log *,
			    const struct credential *, struct notice *why,
			    struct account **out) MUST_USE;
	void (*free)(struct account *); /* NULL is fine */
	/* What became of a claim, so that guessing gets slower (B-08, L-03): `account` is NULL if
	 * prove() refused; `err` is OK after a login that succeeded, ERR_LOGIN after a refused one;
	 * nothing else is told. Returns how many milliseconds after the claim was complete the answer
	 * may leave; 0 to a success. NULL: always 0. */
	uint64_t (*settle)(struct accounts *, const struct env *, const struct credential *,
			   const struct account *, struct err);
};
/* One per connection: the implementation knows the client's address and its listener. */
struct accounts {
	const struct accounts_ops *ops;
};

#endif
