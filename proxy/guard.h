/* SPDX-License-Identifier: MIT */
/* guard.h - what stands against guessing: who has failed lately, and how often (B-08, L-03).
 *
 * Refused logins are counted in sliding windows: by client address (an IPv6 address counts as its
 * /64), by address and account, and by account alone. Each refusal is answered later than the one
 * before. An address that has failed block_after times is blocked for block_ms; with one account it
 * is blocked after half as many. The third window, over all addresses, blocks nobody: it slows the
 * failures of that account, so that guessing from many places does not lock its owner out.
 *
 * An address from which the account has logged in lately is spared what others do: neither the third
 * window nor a block of its whole address, behind which a hundred other people may sit, concerns it.
 * Only its own failures with that account can block it. Addresses in `trusted` are spared all but the
 * memory of refused passwords; what a session does by itself remains.
 *
 * Whoever is blocked hears what a wrong password hears, as late, and nothing is asked for him
 * upstream. Attempts during a block do not prolong it: it would keep its victim out for as long as
 * some forgotten telephone goes on trying.
 *
 * In pass-through popgate must not be a tool to guess with at the provider: a password that the
 * upstream has refused is remembered for a minute and refused here; and each upstream host sees so
 * many refused logins a minute and no more. Beyond that, clients who have not logged in lately are
 * told to come later, never that their password is wrong: nobody has looked at it.
 *
 * All is in the memory of one process, in tables of fixed size (some 4 MB when full): the oldest is
 * forgotten first. Rows are found by a keyed hash; no name and no password is kept. Nothing here
 * waits, and each call takes the same few steps however much is remembered. Any thread may call: each
 * call holds one mutex for those few steps.
 */
#ifndef POPGATE_GUARD_H
#define POPGATE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proxy/base/env.h"
#include "proxy/network.h"

struct guard;

/* From [popgate] in popgate.conf. Times in milliseconds. */
struct guard_conf {
	const struct network_list *trusted; /* NULL: nobody */
	unsigned
		block_after; /* failures of one address within `window_ms` until it is blocked, half
				 as many with one account; 0: never */
	uint64_t window_ms, block_ms;
	uint64_t delay_ms,
		delay_max_ms;       /* after a first failure; doubles with each in the window */
	uint64_t refused_ms;        /* how long a refused password is remembered; 0: not at all */
	unsigned upstream_refusals; /* that one host may see in a minute; 0: any number */
};

struct guard *guard_new(const struct env *, const struct guard_conf *);
void guard_free(struct guard *); /* NULL is fine */
/* After a reload. Both copy `conf`, its network list included. What is counted stays. */
void guard_configure(struct guard *, const struct guard_conf *);

/* Who tries to log in. Borrowed for the call. */
struct guard_claim {
	const struct sockaddr_storage *peer;
	/* Never the name as it was typed, which has many forms: the key of the map entry; where the
	 * entry is for many ("*", "@domain"), or there is none, the canonical name; "" if it has no
	 * canonical form. */
	const char *account;
	bool is_listed; /* the map has an entry: what strangers try must not push out the rest */
};

enum guard_verdict { GUARD_FREE, GUARD_BLOCKED };
/* Before a claim is looked at, and again when it was found to be right: of a thousand claims that were
 * made in one moment those do not count that came after the block. */
enum guard_verdict guard_ask(struct guard *, const struct env *, const struct guard_claim *);
/* A claim was refused, for whatever reason: returns by how many ms its answer must be late. 0 to a
 * trusted address. One that is blocked is not counted, and is as late as the last before the block. */
uint64_t guard_failed(struct guard *, const struct env *, const struct guard_claim *);
/* A login succeeded: the account is well known at this address for a day, and its failures from
 * there are forgotten. Those of the whole address are not: whoever has an account of his own could
 * wash away what he does to others. `host`: the upstream that was asked for this after
 * guard_advise(); NULL: none. */
void guard_succeeded(struct guard *, const struct env *, const struct guard_claim *,
		     const char *host);

/* Before an upstream is asked, in pass-through, whether a password is right. One that is only told in
 * the exchange with the upstream is "", and is never remembered. */
enum guard_advice {
	GUARD_ASK = 0,
	GUARD_WRONG, /* it has refused this very password within refused_ms: ERR_LOGIN */
	GUARD_LATER, /* `host` may see no more refusals for now: ERR_UPSTREAM, never ERR_LOGIN */
};
enum guard_advice guard_advise(struct guard *, const struct env *, const struct guard_claim *,
			       const char *login, const char *password, const char *host);
/* It was asked, and has refused. */
void guard_refused_upstream(struct guard *, const struct env *, const struct guard_claim *,
			    const char *login, const char *password);

#endif
