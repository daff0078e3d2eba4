/* SPDX-License-Identifier: MIT */
/* world.h - the outside world for tests: a clock that is wound, a thread pool that works at once,
 * dials that a test answers. */
#ifndef POPGATE_FAKE_WORLD_H
#define POPGATE_FAKE_WORLD_H

#include "proxy/base/env.h"

struct fake_world {
	struct env env;              /* first: hand out &world.env */
	uint64_t now_ms;             /* sleep() moves it on */
	uint64_t wall_s;             /* wall(), when now_ms is 0 */
	uint64_t slept_ms;           /* all sleeps together */
	void (*on_sleep)(void *arg); /* called in each sleep, may be NULL */
	/* Answers a dial; NULL: every dial fails with ERR_UPSTREAM ECONNREFUSED. */
	struct err (*dial)(void *arg, const char *host, unsigned port, struct stream **out);
	void *arg;             /* of both */
	struct err secure_err; /* what secure() and serve_tls() answer; OK: they hand the plain
				  stream back */
	unsigned dials, secures, offloads;
	uint64_t seed; /* of random(): the same each run */
};

void fake_world_init(struct fake_world *);

#endif
