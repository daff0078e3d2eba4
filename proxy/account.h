/* SPDX-License-Identifier: MIT */
/* account.h - the roof's answer to session/account.h: the map says which mailbox, local secrets are
 * proved here, secrets for the upstream are read here. */
#ifndef POPGATE_PROXY_ACCOUNT_H
#define POPGATE_PROXY_ACCOUNT_H

#include <sys/socket.h>

#include "proxy/exchange.h"
#include "proxy/guard.h"
#include "proxy/map.h"
#include "proxy/place.h"
#include "session/account.h"

/* One per connection. */
struct gate {
	struct accounts accounts;     /* first: hand out &gate.accounts */
	struct map *const *map;       /* borrowed: where the current map is found at each login */
	const char *listener;         /* borrowed: the listener's name, for listener= */
	struct sockaddr_storage peer; /* the kernel's word, for allow= */
	unsigned ways; /* of enum login_way: those that the listener lets in; all after
					 gate_init() */
	/* Borrowed, for the accounts' upstreams; NULL until set after gate_init(). */
	struct state_store *state;
	struct health *health;
	struct imap_memos *memos;
	struct imap_warm *warm;
	struct guard *guard; /* NULL: nobody is slowed or blocked */
	const unsigned char
		*exchange_key; /* EXCHANGE_KEY octets, the same for all connections; NULL:
					      all zero */
	struct headroom *headroom; /* NULL: see proof.h */
	struct tokens *tokens;     /* NULL: oauth= cannot be served */
	struct oauth_profiles *const *profiles; /* where the current ones are found at each login */
	/* Where this session is served, and among how many places; NULL: there is one. */
	const struct places *places;
	unsigned here;
	/* What is_elsewhere() has found, for the prove() that follows: where the mailbox lives, by which
	 * map; prove() goes by the same map, and lets go of it. */
	unsigned goal;
	struct map *placed; /* held; NULL: nobody has asked */
	bool cannot_move;   /* it cannot be reached: prove() refuses for now */
	/* The newest claim: whom it is counted for, whether the map has an entry for it, and whether
	 * an upstream was to judge it. */
	char claimed[256];
	bool is_listed, was_asked;
};

void gate_init(struct gate *, struct map *const *map, const char *listener,
	       const struct sockaddr_storage *peer);

void gate_fini(struct gate *);

/* The account of a name (canonical) as if a client had proved it, for work in the background; freed
 * as any other. ERR_LOGIN, with the reason in `why`: it is not in the map, or not any more, or is
 * rejected there. ERR_REFUSED: the secret for its upstream is the client's. Otherwise as prove(). */
struct err account_unattended(struct gate *, const struct env *, const struct log *,
			      const char *name, struct notice *why, struct account **out) MUST_USE;

#endif
