/* SPDX-License-Identifier: MIT */
/* exchange.h - the server's side of SCRAM (RFC 5802, RFC 7677), by GNU SASL, from the client's first
 * message to its last. */
#ifndef POPGATE_EXCHANGE_H
#define POPGATE_EXCHANGE_H

#include <stdbool.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/local.h"
#include "session/account.h"
#include "upstream/state.h"

enum { EXCHANGE_KEY = 32 }; /* octets */

/* Leads the exchange of a claim (kind CREDENTIAL_EXCHANGE). The first secret that can answer it counts:
 * {plain}, or {scram-sha-256} for SCRAM-SHA-256 and -PLUS. Without one, or with `locals` NULL for a name
 * that nobody has, it is led all the same, with a salt made of `name` and `key`, so that a name has the
 * same one each time, and fails at the proof (J-05). `rounds`: of SCRAM-SHA-256 where the secret does
 * not tell. `is_plus_offered`: a client that says it could bind the channel, and was not offered it, has
 * been lied to on the way: it is refused.
 * OK: proved, and the client has taken our own proof; *which is the secret's place in the list.
 * ERR_LOGIN: the proof is wrong, with the reason in `why`; ERR_REFUSED, ERR_CLIENT: as of claim->ask.
 * ERR_UPSTREAM: memory is out. Waits. */
struct err exchange_scram(const struct env *, const struct credential *claim, const char *name,
			  const struct local_list *locals, const unsigned char key[EXCHANGE_KEY],
			  int rounds, bool is_plus_offered, struct notice *why,
			  int *which) MUST_USE;

/* `key` was made by chance: it becomes the one that is in the state, or else is put there (all processes
 * with one state have one key, also after a restart). Blocks: before anything is served. If the state
 * cannot be read or written, which is logged, the key is good until this process ends.
 * (exchange_key.c) */
void exchange_key_settle(struct state_store *, const struct log *, unsigned char key[EXCHANGE_KEY]);

#endif
