/* SPDX-License-Identifier: MIT */
/* token_rig.h - grants before a provider that is in some mood, and a state that a test can look into. */
#ifndef POPGATE_TOKEN_RIG_H
#define POPGATE_TOKEN_RIG_H

#include <stdbool.h>

#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/token.h"

#define NAME "token\tjoe\ttest" /* of the one grant, in the state */

enum mood { GOOD, ROTATING, ODD, WITHDRAWN, MISCONFIGURED, BROKEN, UNREACHABLE, STUBBORN };

struct provider {
	struct oauth_transport transport; /* first */
	enum mood mood;
	const char *odd; /* ODD: what stands before the refresh token */
	unsigned asked;
	const struct state_memory
		*crowded; /* answers once this was asked `gets` times; NULL: at once */
	size_t gets;
	unsigned lifetime_s; /* of the tokens */
	char last[256];      /* the newest form */
	void (*on_answer)(struct provider *);
	void *arg;
};

struct bench {
	struct fake_world world;
	struct state_memory state;
	struct provider provider;
	struct token_key *key;
	struct log_target target;
	struct log log;
	struct tokens *tokens;
	struct oauth_profile profile;
	char lines[16384];
	unsigned alarms;
};

/* One profile, "test", and nothing enrolled. */
void bench_begin(struct bench *);
/* Fails the test if a token stands in the log or, unsealed, in the state. */
void bench_end(struct bench *);
/* As another process, or the same after a restart. */
void bench_restart(struct bench *);
/* joe: access-0, refresh-0, for an hour. */
void bench_enrol(struct bench *);
/* A provider's on_answer, with the bench as its arg: somebody enrols joe anew, with access-enrolled. */
void bench_enrol_meanwhile(struct provider *);
void bench_pass(struct bench *, uint64_t seconds);
/* Asks for joe, and expects a token, or, for NULL, an error of that kind. */
void bench_expect(struct bench *, const char *refused, const char *token, enum err_kind);

#endif
