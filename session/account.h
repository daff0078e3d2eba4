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

/* A client's claim, complete but not proved. Borrowed for the call. NUL ended, and no NUL inside
 * (J-04). */
struct credential {
	const char *name;     /* as the client gave it: 1 to 255 octets, none of them a control;
				 making it canonical (B-03) is the business of prove() */
	const char *password; /* octets as the client gave them */
};

/* The answer: how to open the mailbox. Owned by the session, freed by accounts->free, which wipes
 * the secrets. */
struct account {
	char *name; /* the canonical POP3 name, for the log */
	struct upstream_conf upstream;
	struct login login;
	bool is_proved; /* by a local secret; otherwise the upstream's login is the proof
			   (pass-through) */
};

struct accounts;
struct accounts_ops {
	/* Looks the name up, proves the password where the map has a local secret, reads the secret
	 * of the upstream. May wait. ERR_LOGIN, alike in words and time, for an unknown name, a
	 * wrong password, a network or listener that is not allowed (B-05). ERR_POLICY with the
	 * text in `why`: the map's reject=. ERR_UPSTREAM: a secret or the map cannot be read now.
	 */
	struct err (*prove)(struct accounts *, const struct env *, const struct log *,
			    const struct credential *, struct notice *why,
			    struct account **out) MUST_USE;
	void (*free)(struct account *); /* NULL is fine */
};
/* One per connection: the implementation knows the client's address and its listener. */
struct accounts {
	const struct accounts_ops *ops;
};

#endif
