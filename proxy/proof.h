/* SPDX-License-Identifier: MIT */
/* proof.h - whether a client is who it says, by what the map holds: one function for every kind of
 * claim. */
#ifndef POPGATE_PROOF_H
#define POPGATE_PROOF_H

#include "proxy/exchange.h"
#include "proxy/headroom.h"
#include "proxy/map.h"

struct proof {
	const struct env *env;
	const struct credential *claim;
	const char *name;                /* canonical; "" if it has no such form */
	const struct local_list *locals; /* NULL: there is no such name, or it is refused anyway */
	const unsigned char *key;        /* see exchange.h; NULL: all zero */
	int rounds; /* of SCRAM-SHA-256 where the secret does not tell: map_scram_rounds() */
	bool is_plus_offered;
	struct headroom *headroom; /* NULL: there is no end of memory */
};

/* The name that a claim is for, as the client gave it, owned: for a certificate without one, the first
 * of its names that is a key of the map, else the first that an entry for many serves, else the first. */
char *proof_name_dup(const struct map *, const struct credential *);

/* OK: proved; *which is the secret's place in `locals`, -1 for a certificate. ERR_LOGIN, with the reason
 * for the log in `why`: not so. Other errors as of claim->ask, and ERR_UPSTREAM. As slow where there is
 * nothing to compare with as where there is. Waits. */
struct err proof_of(const struct proof *, struct notice *why, int *which) MUST_USE;

#endif
