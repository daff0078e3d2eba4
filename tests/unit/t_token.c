/* SPDX-License-Identifier: MIT */
/* t_token.c - grants and their tokens: who asks, how often, and what a failure of network or provider leaves
 * behind; and many at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "proxy/base/mem.h"
#include "proxy/worker.h"
#include "tests/unit/token_rig.h"

/* --- the way of a grant ------------------------------------------------------------------- */

static void test_not_enrolled(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	for (int i = 0; i < 5; i++)
		bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 0);
	assert_int_equal(bench.alarms, 1);
	assert_non_null(strstr(bench.lines, "token-missing"));
	bench_enrol(&bench);
	bench_expect(&bench, NULL, "access-0", ERR_NONE);
	bench_end(&bench);
}

static void test_serves_until_it_ages(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench_expect(&bench, NULL, "access-0", ERR_NONE);
	bench_restart(&bench);
	bench_pass(&bench, 3600 - 300 - 61); /* five minutes early, and one by chance */
	bench_expect(&bench, NULL, "access-0", ERR_NONE);
	assert_int_equal(bench.provider.asked, 0);
	bench_pass(&bench, 61);
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	assert_non_null(strstr(bench.provider.last, "refresh_token=refresh-0&"));
	bench_restart(&bench); /* the state is what remembers */
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	bench_end(&bench);
}

/* Of many grants enrolled in one moment not all are renewed in one moment. */
static void test_jitter(void **state)
{
	bool seen[64] = {false};
	unsigned moments = 0;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		struct bench bench;
		bench_begin(&bench);
		bench.world.seed = i * 7919 + 1;
		bench_enrol(&bench);
		bench_pass(&bench, 3600 - 300 - 61);
		unsigned waited = 0;
		while (!bench.provider.asked && waited < 62) {
			struct notice why = {""};
			char *token;
			bench_pass(&bench, 1);
			waited++;
			assert_int_equal(tokens_get(bench.tokens, &bench.world.env, &bench.profile,
						    "joe", "joe", NULL, &why, &token)
						 .kind,
					 ERR_NONE);
			text_wipe_free(token);
		}
		assert_int_equal(bench.provider.asked, 1);
		moments += !seen[waited];
		seen[waited] = true;
		bench_end(&bench);
	}
	assert_true(moments > 10);
}

static void test_short_lives(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench_pass(&bench, 4000);
	bench.provider.lifetime_s = 90;
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench_pass(&bench, 59);
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench_pass(&bench, 2);
	bench_expect(&bench, NULL, "access-2", ERR_NONE);
	bench_end(&bench);
}

static void test_refused_token(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench_expect(&bench, "access-0", "access-1", ERR_NONE);
	/* who was refused with the old one gets what somebody else has renewed */
	bench_expect(&bench, "access-0", "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	/* a server that refuses all of them does not make us ask for ever */
	bench_expect(&bench, "access-1", "access-2", ERR_NONE);
	bench_expect(&bench, "access-2", "access-3", ERR_NONE);
	for (int i = 0; i < 5; i++)
		bench_expect(&bench, "access-3", NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, TOKENS_FORCED);
	bench_pass(&bench, TOKENS_REFUSED_S);
	bench_expect(&bench, "access-3", "access-4", ERR_NONE);
	bench_end(&bench);
}

/* A refused token is never given out again, whatever the provider says. */
static void test_stubborn_provider(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = STUBBORN;
	for (int i = 0; i < 10; i++)
		bench_expect(&bench, "access-0", NULL, ERR_POLICY);
	assert_true(bench.provider.asked <= TOKENS_FORCED);
	bench_end(&bench);
}

static void test_withdrawn(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = WITHDRAWN;
	bench_pass(&bench, 4000);
	for (int i = 0; i < 5; i++)
		bench_expect(&bench, NULL, NULL, ERR_POLICY);
	bench_restart(&bench); /* which is no reason to ask again */
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 1);
	assert_int_equal(bench.alarms, 1);
	bench_pass(&bench, TOKENS_HELD_S - 1);
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 1);
	bench_pass(&bench, 1);
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 2);
	bench.provider.mood = GOOD;
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	bench_enrol(&bench); /* under our feet */
	bench_expect(&bench, NULL, "access-0", ERR_NONE);
	assert_int_equal(bench.provider.asked, 2);
	bench_end(&bench);
}

/* Not even where the state cannot take the mark. */
static void test_withdrawn_without_state(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = WITHDRAWN;
	bench.state.put_code = EROFS;
	bench_pass(&bench, 4000);
	for (int i = 0; i < 5; i++)
		bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 1);
	bench_end(&bench);
}

static void test_misconfigured(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = MISCONFIGURED;
	bench_pass(&bench, 4000);
	for (int i = 0; i < 5; i++)
		bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 1);
	bench_pass(&bench, TOKENS_REFUSED_S);
	bench.provider.mood = GOOD;
	bench_expect(&bench, NULL, "access-2", ERR_NONE);
	bench_end(&bench);
}

static void test_network(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = UNREACHABLE;
	bench_pass(&bench, 3600 - 200); /* due, but alive */
	bench_expect(&bench, NULL, "access-0", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	bench_pass(&bench, 200); /* dead */
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM); /* at once: nobody answered just now */
	assert_int_equal(bench.provider.asked, 2);
	bench_pass(&bench, TOKENS_UNHEARD_S);
	bench.provider.mood = BROKEN;
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench.provider.mood = GOOD;
	bench_expect(&bench, NULL, "access-4", ERR_NONE);
	assert_int_equal(bench.alarms, 0);
	bench_end(&bench);
}

/* --- many at once ------------------------------------------------------------------------- */

enum { MANY = 50 };

struct crowd {
	struct worker worker;
	struct bench *bench;
	struct err errs[MANY];
	char *tokens[MANY];
	const char *refused; /* what a server has told all of them */
	unsigned next;
};

static void crowd_run(void *arg)
{
	struct crowd *crowd = arg;
	unsigned nth = crowd->next++;
	struct notice why = {""};

	crowd->errs[nth] =
		tokens_get(crowd->bench->tokens, &crowd->worker.world.env, &crowd->bench->profile,
			   "joe", "joe", crowd->refused, &why, &crowd->tokens[nth]);
}

static void run_crowd(struct crowd *crowd, struct bench *bench, const char *refused)
{
	memset(crowd, 0, sizeof *crowd);
	crowd->refused = refused;
	crowd->bench = bench;
	bench->provider.crowded = &bench->state;
	bench->provider.gets = bench->state.gets + MANY + 1;
	worker_init(&crowd->worker, NULL, &bench->target);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(fiber_spawn(&crowd->worker.fibers, crowd_run, crowd).kind,
				 ERR_NONE);
	worker_run(&crowd->worker);
	worker_fini(&crowd->worker);
}

/* All fifty have been refused with the same token. */
static void test_fifty_make_one(void **state)
{
	struct crowd crowd;
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench.world.wall_s = (uint64_t)time(NULL);
	bench_enrol(&bench);
	bench.provider.mood = ROTATING;
	run_crowd(&crowd, &bench, "access-0");
	assert_int_equal(bench.provider.asked, 1);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(crowd.errs[i].kind, ERR_NONE);
		assert_string_equal(crowd.tokens[i], "access-1");
		text_wipe_free(crowd.tokens[i]);
	}
	bench_end(&bench);
}

/* Who waited shares the failure: fifty clients do not wait for fifty time limits one after another. */
static void test_fifty_share_a_failure(void **state)
{
	static const struct {
		enum mood mood;
		enum err_kind kind;
	} cases[] = {{UNREACHABLE, ERR_UPSTREAM}, {BROKEN, ERR_UPSTREAM}, {WITHDRAWN, ERR_POLICY}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct crowd crowd;
		struct bench bench;
		bench_begin(&bench);
		bench.world.wall_s = (uint64_t)time(NULL);
		bench_enrol(&bench);
		bench.provider.mood = cases[i].mood;
		run_crowd(&crowd, &bench, "access-0");
		assert_int_equal(bench.provider.asked, 1);
		for (int k = 0; k < MANY; k++) {
			assert_int_equal(crowd.errs[k].kind, cases[i].kind);
			assert_null(crowd.tokens[k]);
		}
		bench_end(&bench);
	}
}

/* A token that ought to be renewed and cannot be serves those who waited, who do not ask one by one. */
static void test_fifty_and_an_old_token(void **state)
{
	struct crowd crowd;
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench.world.wall_s = (uint64_t)time(NULL) - (3600 - 200) - bench.world.now_ms / 1000;
	bench_enrol(&bench);
	bench.provider.mood = BROKEN;
	run_crowd(&crowd, &bench, NULL);
	assert_int_equal(bench.provider.asked, 1);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(crowd.errs[i].kind, ERR_NONE);
		assert_string_equal(crowd.tokens[i], "access-0");
		text_wipe_free(crowd.tokens[i]);
	}
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_enrolled),
		cmocka_unit_test(test_serves_until_it_ages),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_short_lives),
		cmocka_unit_test(test_refused_token),
		cmocka_unit_test(test_stubborn_provider),
		cmocka_unit_test(test_withdrawn),
		cmocka_unit_test(test_withdrawn_without_state),
		cmocka_unit_test(test_misconfigured),
		cmocka_unit_test(test_network),
		cmocka_unit_test(test_fifty_make_one),
		cmocka_unit_test(test_fifty_share_a_failure),
		cmocka_unit_test(test_fifty_and_an_old_token),
	};

	return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
