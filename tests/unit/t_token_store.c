/* SPDX-License-Identifier: MIT */
/* t_token_store.c - what is stored of a grant and when: rotation, crashes, a state that fails, another key,
 * the list, and grants that are removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/unit/token_rig.h"

/* --- rotation ----------------------------------------------------------------------------- */

struct crash {
	struct bench *bench;
	struct state_memory before, after;
};

static void copy_before(void *arg, struct state_memory *state, size_t nth)
{
	struct crash *crash = arg;

	(void)nth;
	state_memory_fini(&crash->before);
	state_memory_copy(&crash->before, state);
}

static void copy_after(void *arg, struct state_memory *state, size_t nth)
{
	struct crash *crash = arg;

	(void)nth;
	state_memory_fini(&crash->after);
	state_memory_copy(&crash->after, state);
}

/* From the moment on when anybody can use the new access token, the new refresh token is in the state;
 * until then the old one is. */
static void test_rotation_and_crash(void **state)
{
	struct crash crash = {NULL};
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.before_put = copy_before;
	bench.state.after_put = copy_after;
	bench.state.arg = &crash;
	bench_pass(&bench, 4000);
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench.state.before_put = bench.state.after_put = NULL;
	struct tokens *dead = bench.tokens;
	bench.tokens =
		tokens_new(&crash.before.store, bench.key, &bench.provider.transport, &bench.log);
	bench_expect(&bench, NULL, "access-2", ERR_NONE);
	assert_non_null(strstr(bench.provider.last, "refresh_token=refresh-0&"));
	tokens_free(bench.tokens);
	bench.tokens =
		tokens_new(&crash.after.store, bench.key, &bench.provider.transport, &bench.log);
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench_pass(&bench, 4000);
	bench_expect(&bench, NULL, "access-3", ERR_NONE);
	assert_non_null(strstr(bench.provider.last, "refresh_token=refresh-1&"));
	tokens_free(bench.tokens);
	bench.tokens = dead;
	state_memory_fini(&crash.before);
	state_memory_fini(&crash.after);
	bench_end(&bench);
}

/* The state is full just then: the new pair stays in memory, is not used, is loud, and is stored later. */
static void test_rotation_and_full_disk(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.put_code = ENOSPC;
	bench_pass(&bench, 3600 - 200);
	bench_expect(&bench, NULL, "access-0", ERR_NONE); /* the old one lives yet */
	assert_int_equal(bench.alarms, 1);
	assert_non_null(strstr(bench.lines, "token-not-stored"));
	bench_pass(&bench, 200);
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	assert_int_equal(bench.provider.asked, 1); /* the one refresh is not thrown away */
	bench.state.put_code = 0;
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	bench_restart(&bench);
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench_end(&bench);
}

/* The same, stored by the chores. */
static void test_store_late(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.put_code = EIO;
	bench_pass(&bench, 4000);
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	tokens_store_late(bench.tokens, &bench.world.env);
	assert_int_equal(bench.alarms, 2);
	bench.state.put_code = 0;
	tokens_store_late(bench.tokens, &bench.world.env);
	size_t puts = bench.state.puts;
	tokens_store_late(bench.tokens, &bench.world.env);
	assert_int_equal(bench.state.puts, puts); /* nothing is left to do */
	bench_restart(&bench);
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	bench_end(&bench);
}

/* What could not be stored is nothing beside a grant that has been enrolled since. */
static void test_enrolled_before_stored(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.put_code = ENOSPC;
	bench_pass(&bench, 4000);
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench.state.put_code = 0;
	bench.provider.arg = &bench;
	bench_enrol_meanwhile(&bench.provider); /* as another process does */
	tokens_store_late(bench.tokens, &bench.world.env);
	bench_expect(&bench, NULL, "access-enrolled", ERR_NONE);
	bench_restart(&bench);
	bench_expect(&bench, NULL, "access-enrolled", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	bench_end(&bench);
}

/* Without rotation nothing can be lost, so nobody has to wait for the state. */
static void test_full_disk(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.state.put_code = ENOSPC;
	bench_pass(&bench, 4000);
	for (int i = 0; i < 5; i++)
		bench_expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	assert_int_equal(bench.alarms, 1);
	bench_end(&bench);
}

/* An operator enrols while a refresh of the old grant is under way: the new grant stays. */
static void test_enrolled_meanwhile(void **state)
{
	static const enum mood moods[] = {GOOD, ROTATING, WITHDRAWN, UNREACHABLE};

	(void)state;
	for (size_t i = 0; i < sizeof moods / sizeof *moods; i++) {
		struct bench bench;
		struct notice why = {""};
		char *token;
		bench_begin(&bench);
		bench_enrol(&bench);
		bench.provider.mood = moods[i];
		bench.provider.on_answer = bench_enrol_meanwhile;
		bench.provider.arg = &bench;
		bench_pass(&bench, 4000);
		struct err err = tokens_get(bench.tokens, &bench.world.env, &bench.profile, "joe",
					    "joe", NULL, &why, &token);
		(void)err.kind; /* of the old grant; what counts is what comes next */
		text_wipe_free(token);
		bench_restart(&bench);
		bench_expect(&bench, NULL, "access-enrolled", ERR_NONE);
		assert_int_equal(bench.provider.asked, 1);
		bench_end(&bench);
	}
}

/* --- the state and the key ---------------------------------------------------------------- */

static void test_another_key(void **state)
{
	static const unsigned char octets[TOKEN_KEY] = "another key of thirty-two octet";
	struct token_key *other, *good;
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	assert_int_equal(token_key_new(octets, &other).kind, ERR_NONE);
	good = bench.key;
	bench.key = other;
	bench_restart(&bench);
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.alarms, 1);
	assert_non_null(strstr(bench.lines, "token-unreadable"));
	assert_int_equal(bench.provider.asked, 0);
	bench.key = good;
	bench_restart(&bench);
	bench_expect(&bench, NULL, "access-0", ERR_NONE);
	token_key_free(other);
	bench_end(&bench);
}

static void test_state_unreadable(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.state.read_code = EIO;
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench.state.read_code = 0;
	bench_expect(&bench, NULL, "access-0", ERR_NONE);
	bench_end(&bench);
}

/* A clock that was years ahead when the token came, or is now. */
static void test_clock(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.world.wall_s -= 100000;
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench.provider.mood = WITHDRAWN;
	bench_expect(&bench, "access-1", NULL, ERR_POLICY);
	bench.world.wall_s -= 100000;
	bench.provider.mood = GOOD;
	bench_expect(&bench, NULL, "access-3", ERR_NONE);
	bench_end(&bench);
}

static void test_client_credentials(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	bench.profile.grant = OAUTH_CLIENT_CREDENTIALS;
	bench.provider.mood = ROTATING; /* the refresh token that some give is of no use */
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench_restart(&bench);
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	assert_non_null(strstr(bench.provider.last, "grant_type=client_credentials"));
	bench_pass(&bench, 4000);
	bench_expect(&bench, NULL, "access-2", ERR_NONE);
	bench_end(&bench);
}

static void test_list(void **state)
{
	struct bench bench;
	struct token_facts *all;
	size_t count;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench_pass(&bench, 4000);
	bench.provider.mood = WITHDRAWN;
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(tokens_list(bench.tokens, &bench.world.env, &all, &count).kind, ERR_NONE);
	assert_int_equal(count, 1);
	assert_string_equal(all->key, "joe");
	assert_string_equal(all->profile, "test");
	assert_true(all->has_refresh && !all->is_shut);
	assert_int_equal(all->expires_s, all->got_s + 3600);
	assert_int_equal(all->granted_s, all->got_s);
	assert_int_equal(all->trouble_s, all->got_s + 4000);
	assert_int_equal(all->held_s, all->trouble_s + TOKENS_HELD_S);
	assert_non_null(strstr(all->trouble, "invalid_grant"));
	token_facts_free(all, count);
	/* a record that was put in another one's place */
	struct state_memory_entry *entry = state_memory_find(&bench.state, NAME);
	memcpy(entry->key, "token\tbob\ttest", sizeof NAME);
	assert_int_equal(tokens_list(bench.tokens, &bench.world.env, &all, &count).kind, ERR_NONE);
	assert_int_equal(count, 1);
	assert_string_equal(all->key, "bob");
	assert_true(all->is_shut);
	token_facts_free(all, count);
	bench_end(&bench);
}

/* --- taken out ---------------------------------------------------------------------------- */

struct told {
	unsigned count;
	char profiles[64]; /* each with a blank behind it */
};

static void tell(void *arg, const char *profile)
{
	struct told *told = arg;

	told->count++;
	strcat(strcat(told->profiles, profile), " ");
}

static struct err forget(struct bench *bench, const char *key, struct told *told)
{
	size_t count;

	*told = (struct told){0};
	struct err err = tokens_forget(bench->tokens, &bench->world.env, key, tell, told, &count);
	assert_int_equal(count, told->count);
	return err;
}

/* All of this key, readable or not, and of no other. */
static void test_forget(void **state)
{
	static const char *const others[] = {"", "jo", "joel", "jo\te", "joe\ttest"};
	struct bench bench;
	struct told told;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.profile.name = "more";
	bench_enrol(&bench);
	state_memory_find(&bench.state, "token\tjoe\tmore")->value[20] ^= 1;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_int_equal(forget(&bench, others[i], &told).kind * told.count, 0);
	assert_int_equal(bench.state.count, 2);
	bench.state.put_code = EROFS;
	assert_int_equal(forget(&bench, "joe", &told).kind, ERR_UPSTREAM);
	assert_int_equal(told.count, 0); /* nothing was, nothing is told */
	bench.state.put_code = 0;
	assert_int_equal(forget(&bench, "joe", &told).kind, ERR_NONE);
	assert_string_equal(told.profiles, "more test ");
	assert_int_equal(bench.state.count, 0);
	bench.profile.name = "test";
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(forget(&bench, "joe", &told).kind, ERR_NONE);
	assert_int_equal(told.count, 0);
	bench_end(&bench);
}

static void forget_meanwhile(struct provider *provider)
{
	struct told told;

	assert_int_equal(forget(provider->arg, "joe", &told).kind, ERR_NONE);
	assert_int_equal(told.count, 1);
}

/* What was under way then does not bring it back. */
static void test_forgotten_meanwhile(void **state)
{
	static const enum mood moods[] = {GOOD, ROTATING, WITHDRAWN};

	(void)state;
	for (size_t i = 0; i < sizeof moods / sizeof *moods; i++) {
		struct bench bench;
		bench_begin(&bench);
		bench_enrol(&bench);
		bench.provider.mood = moods[i];
		bench.provider.on_answer = forget_meanwhile;
		bench.provider.arg = &bench;
		bench_pass(&bench, 4000);
		bench_expect(&bench, NULL, NULL, ERR_POLICY);
		assert_int_equal(bench.state.count, 0);
		bench_end(&bench);
	}
}

/* Nor does what could not be stored. */
static void test_forgotten_before_stored(void **state)
{
	struct bench bench;
	struct told told;

	(void)state;
	bench_begin(&bench);
	bench_enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.put_code = ENOSPC;
	bench_pass(&bench, 4000);
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench.state.put_code = 0;
	assert_int_equal(forget(&bench, "joe", &told).kind, ERR_NONE);
	tokens_store_late(bench.tokens, &bench.world.env);
	assert_int_equal(bench.state.count, 0);
	bench_expect(&bench, NULL, NULL, ERR_POLICY);
	bench_end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rotation_and_crash),
		cmocka_unit_test(test_rotation_and_full_disk),
		cmocka_unit_test(test_store_late),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_enrolled_before_stored),
		cmocka_unit_test(test_enrolled_meanwhile),
		cmocka_unit_test(test_another_key),
		cmocka_unit_test(test_state_unreadable),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_client_credentials),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_forgotten_meanwhile),
		cmocka_unit_test(test_forgotten_before_stored),
	};

	return cmocka_run_group_tests_name("token_store", tests, NULL, NULL);
}
