/* SPDX-License-Identifier: MIT */
/* guard_rig.h - a guard at its post, and those who come by. */
#ifndef POPGATE_GUARD_RIG_H
#define POPGATE_GUARD_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proxy/guard.h"
#include "tests/fake/world.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

struct post {
	struct fake_world world;
	struct network_list trusted;
	struct guard_conf conf;
	struct guard *guard;
};

void post_init(struct post *);
void post_fini(struct post *);

struct sockaddr_storage post_address(const char *text);
struct sockaddr_storage post_nth_address(unsigned n);

/* A login that fails: 0 if it was blocked before anybody looked, else 1. *delay may be NULL. */
unsigned post_guess_from(struct post *, const struct sockaddr_storage *peer, const char *account,
			 uint64_t *delay);
unsigned post_guess(struct post *, const char *peer, const char *account, uint64_t *delay);
bool post_is_blocked(struct post *, const char *peer, const char *account);
void post_succeed(struct post *, const char *peer, const char *account);

#endif
