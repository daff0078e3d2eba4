/* SPDX-License-Identifier: MIT */
/* t_token_keep.c - no refresh token that a provider has given gets lost: not one in a reply of no other
 * use, and none because the process ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/unit/token_rig.h"
#include "upstream/token_record.h"

/* --- a rotation that is all there is of use in a reply -------------------------------------- */

static void begin_odd(struct bench *bench, const char *odd)
{
	bench_begin(bench);
	bench_enrol(bench);
	bench->provider.mood = ODD;
	bench->provider.odd = odd;
	bench_pass(bench, 4000);
}

/* The next question is asked with that refresh token, also after a restart. */
static void expect_refresh(struct bench *bench, const char *form)
{
	bench_restart(bench);
	bench->provider.mood = GOOD;
	bench_pass(bench, 60);
	bench_expect(bench, NULL, bench->provider.asked == 1 ? "access-2" : "access-3", ERR_NONE);
	assert_non_null(strstr(bench->provider.last, form));
	bench_end(bench);
}

static void test_odd_replies(void **state)
{
	char *endless = mem_alloc(TOKEN_MAX + 64);
	const char *const odds[] = {
		"\"access_token\":\"a\",\"token_type\":\"mac\",",
		"\"access_token\":\"a\\r\\nb\",",
		"\"access_token\":\"\xc3\xa4\",",
		"\"access_token\":17,",
		"",
		endless,
	};
	struct bench bench;

	(void)state;
	strcpy(endless, "\"access_token\":\"");
	memset(endless + strlen(endless), 'a', TOKEN_MAX + 1);
	strcat(endless, "\",");
	for (size_t i = 0; i < sizeof odds / sizeof *odds; i++) {
		begin_odd(&bench, odds[i]);
		bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
		bench_pass(&bench, 60);
		bench_expect(&bench, NULL, NULL,
			     ERR_UPSTREAM); /* the same trouble, another token */
		assert_non_null(strstr(bench.provider.last, "refresh_token=refresh-1&"));
		expect_refresh(&bench, "refresh_token=refresh-2&");
	}
	free(endless);
}

static void test_odd_reply_and_full_disk(void **state)
{
	struct bench bench;

	(void)state;
	begin_odd(&bench, "");
	bench.state.put_code = ENOSPC;
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	assert_non_null(strstr(bench.lines, "token-not-stored"));
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	assert_int_equal(bench.provider.asked, 1);
	bench.state.put_code = 0;
	tokens_store_late(bench.tokens, &bench.world.env);
	expect_refresh(&bench, "refresh_token=refresh-1&");
}

static void write_meanwhile(struct provider *provider)
{
	struct bench *bench = provider->arg;
	struct token_record record;
	uint64_t version;
	bool is_stale;

	provider->on_answer = NULL;
	assert_int_equal(token_record_get(&bench->state.store, &bench->world.env, bench->key, NAME,
					  &record, &version)
				 .kind,
			 ERR_NONE);
	record.trouble_s++;
	assert_int_equal(token_record_put(&bench->state.store, &bench->world.env, bench->key, NAME,
					  &record, version, &is_stale)
				 .kind,
			 ERR_NONE);
	token_record_fini(&record);
}

/* Another process has written the same grant meanwhile, and knows nothing of the rotation. */
static void test_odd_reply_and_another_process(void **state)
{
	struct bench bench;

	(void)state;
	begin_odd(&bench, "");
	bench.provider.on_answer = write_meanwhile;
	bench.provider.arg = &bench;
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	expect_refresh(&bench, "refresh_token=refresh-1&");
}

/* What could not be stored before is older than what now could. */
static void test_odd_reply_after_full_disk(void **state)
{
	struct bench bench;

	(void)state;
	begin_odd(&bench, "");
	bench.provider.mood = GOOD;
	bench.state.put_code = ENOSPC;
	bench_expect(&bench, NULL, "access-1", ERR_NONE);
	bench.state.put_code = 0;
	bench.provider.mood = ODD;
	bench_pass(&bench, 4000);
	bench.state.fail_call = bench.state.calls + 3; /* two reads, then the late put */
	bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
	assert_int_equal(bench.state.failed, 2);
	tokens_store_late(bench.tokens, &bench.world.env);
	expect_refresh(&bench, "refresh_token=refresh-2&");
}

/* --- the end of the process --------------------------------------------------------------- */

struct host {
	struct state_memory *state;
	unsigned begun, ended;
	bool is_over;
	size_t changes; /* of the state, when the last one ended */
};

static bool begin_asking(void *arg)
{
	struct host *host = arg;

	host->begun += !host->is_over;
	return !host->is_over;
}

static void end_asking(void *arg)
{
	struct host *host = arg;

	host->ended++;
	host->changes = host->state->changes;
}

/* It is kept from ending until what came is stored, and what has ended asks nobody. */
static void test_stay(void **state)
{
	static const enum mood moods[] = {ROTATING, GOOD, ODD, WITHDRAWN};
	struct bench bench;

	(void)state;
	for (size_t i = 0; i < sizeof moods / sizeof *moods; i++) {
		begin_odd(&bench, "");
		bench.provider.mood = moods[i];
		struct host host = {.state = &bench.state};
		const struct token_stay stay = {begin_asking, end_asking, &host};
		tokens_stay(bench.tokens, &stay);
		size_t changes = bench.state.changes;
		struct notice why = {""};
		char *token;
		struct err err = tokens_get(bench.tokens, &bench.world.env, &bench.profile, "joe",
					    "joe", NULL, &why, &token);
		assert_int_equal(!err.kind, token != NULL);
		text_wipe_free(token);
		assert_int_equal(host.begun, 1);
		assert_int_equal(host.ended, 1);
		assert_int_equal(host.changes, changes + 1);
		host.is_over = true;
		bench_pass(&bench, 4000);
		bench_expect(&bench, NULL, NULL, ERR_UPSTREAM);
		assert_int_equal(host.ended, 1);
		assert_int_equal(bench.provider.asked, 1);
		host.is_over = false; /* its place is free again */
		tokens_limit(bench.tokens, 1);
		bench.provider.mood = GOOD;
		bench_expect(&bench, NULL, "access-2", ERR_NONE);
		bench_end(&bench);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_odd_replies),
		cmocka_unit_test(test_odd_reply_and_full_disk),
		cmocka_unit_test(test_odd_reply_and_another_process),
		cmocka_unit_test(test_odd_reply_after_full_disk),
		cmocka_unit_test(test_stay),
	};

	return cmocka_run_group_tests_name("token_keep", tests, NULL, NULL);
}
