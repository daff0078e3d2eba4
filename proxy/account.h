/* SPDX-License-Identifier: MIT */
/* account.h - the roof's answer to session/account.h: the map says which mailbox, local secrets are
 * proved here, secrets for the upstream are read here. */
#ifndef POPGATE_PROXY_ACCOUNT_H
#define POPGATE_PROXY_ACCOUNT_H

#include <sys/socket.h>

#include "proxy/map.h"
#include "session/account.h"

/* One per connection. */
struct gate {
	struct accounts accounts;     /* first: hand out &gate.accounts */
	struct map *const *map;       /* borrowed: where the current map is found at each login */
	const char *listener;         /* borrowed: the listener's name, for listener= */
	struct sockaddr_storage peer; /* the kernel's word, for allow= */
};

void gate_init(struct gate *, struct map *const *map, const char *listener,
	       const struct sockaddr_storage *peer);

#endif
