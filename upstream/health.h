/* SPDX-License-Identifier: MIT */
/* health.h - which servers and accounts are in trouble, so that nobody waits for them in vain and no
 * provider is hammered (H-07).
 *
 * Two tables in memory, by host and by account. A host counts only failures before a greeting;
 * whatever comes later counts against that account alone. After the n-th failure in a row nothing is
 * asked for 2^(n-1) s, at most 15 min, less a jitter of up to a quarter; a host is given three
 * failures for nothing. After the pause one attempt may go through; the others are still refused
 * until it has ended. One table a worker. Bounded: the least recently used of 20,000 rows goes.
 */
#ifndef POPGATE_HEALTH_H
#define POPGATE_HEALTH_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"

struct health;

enum health_event {
	HEALTH_GOOD,        /* logged in and selected: all is forgotten */
	HEALTH_NO_GREETING, /* the host: refused, timed out, no TLS, no greeting */
	HEALTH_GREETED,     /* the host is well; nothing of the account */
	HEALTH_FAILED,    /* the account: lost after the greeting, NO [UNAVAILABLE] and the like */
	HEALTH_THROTTLED, /* the account: [LIMIT], [THROTTLED], too many connections: from 30 s on */
	HEALTH_CREDENTIAL, /* the account's stored secret was refused: 5 min at least, then doubled
			      up to 1 h: locked accounts are worse than late mail */
	HEALTH_CLIENT,     /* the client's own password was refused: no news of anybody */
};

struct health *health_new(void);
void health_free(struct health *); /* NULL is fine */

/* May a connection be made now? Else ERR_UPSTREAM (ERR_POLICY after HEALTH_CREDENTIAL) at once. OK
 * must be followed by one health_report(). `account` is whatever tells accounts of a host apart. A
 * NULL health allows all. Never waits. */
struct err health_ask(struct health *, const struct env *, const char *host, unsigned port,
		      const char *account) MUST_USE;
void health_report(struct health *, const struct env *, const char *host, unsigned port,
		   const char *account, enum health_event);

#endif
