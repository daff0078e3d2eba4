/* SPDX-License-Identifier: MIT */
/* t_guard_upstream.c - what the guard spares an upstream: passwords that were refused, and too many
 * refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/guard_rig.h"

static enum guard_advice advise(struct post *post, const char *peer, const char *account,
				const char *password)
{
	struct sockaddr_storage from = post_address(peer);
	struct guard_claim claim = {&from, account, true};

	return guard_advise(post->guard, &post->world.env, &claim, account, password, "imap.test");
}

static void refuse(struct post *post, const char *account, const char *password)
{
	struct sockaddr_storage from = post_address("192.0.2.1");
	struct guard_claim claim = {&from, account, true};

	guard_refused_upstream(post->guard, &post->world.env, &claim, account, password);
}

static void t_refused_passwords(void **state)
{
	struct post post;

	(void)state;
	post_init(&post);
	assert_int_equal(advise(&post, "192.0.2.1", "joe", "wrong"), GUARD_ASK);
	refuse(&post, "joe", "wrong");
	assert_int_equal(advise(&post, "192.0.2.1", "joe", "wrong"), GUARD_WRONG);
	assert_int_equal(advise(&post, "198.51.100.1", "joe", "wrong"), GUARD_WRONG);
	assert_int_equal(advise(&post, "127.0.0.1", "joe", "wrong"), GUARD_WRONG);
	assert_int_equal(advise(&post, "192.0.2.1", "joe", "wrong2"), GUARD_ASK);
	assert_int_equal(advise(&post, "192.0.2.1", "ann", "wrong"), GUARD_ASK);
	refuse(&post, "kim", ""); /* told in an exchange that we only hand on */
	assert_int_equal(advise(&post, "192.0.2.1", "kim", ""), GUARD_ASK);
	refuse(&post, "ab", "c");
	assert_int_equal(advise(&post, "192.0.2.1", "a", "bc"), GUARD_ASK);
	post.world.now_ms += MINUTE - 1;
	assert_int_equal(advise(&post, "192.0.2.1", "joe", "wrong"), GUARD_WRONG);
	post.world.now_ms += 1;
	assert_int_equal(advise(&post, "192.0.2.1", "joe", "wrong"), GUARD_ASK);
	post.conf.refused_ms = 0;
	guard_configure(post.guard, &post.conf);
	refuse(&post, "joe", "wrong");
	assert_int_equal(advise(&post, "192.0.2.1", "joe", "wrong"), GUARD_ASK);
	post_fini(&post);
}

/* An hour of guessing through us, by a new address each time: the host sees one a second after the first
 * minute's worth; who is at home where he logs in is asked for in any case. */
static void t_host_is_spared(void **state)
{
	struct post post;
	unsigned asked = 0;
	char password[16], peer[32];

	(void)state;
	post_init(&post);
	post_succeed(&post, "192.0.2.1", "ann");
	for (unsigned i = 0; i < 36000; i++) {
		snprintf(password, sizeof password, "%u", i);
		snprintf(peer, sizeof peer, "10.1.%u.%u", i >> 8, i & 255);
		if (advise(&post, peer, "joe", password) == GUARD_ASK)
			asked++;
		post.world.now_ms += 100;
	}
	assert_in_range(asked, 3600, 3660);
	while (advise(&post, "10.2.0.1", "joe", "x") == GUARD_ASK)
		asked++;
	assert_in_range(asked, 3600, 3661);
	assert_int_equal(advise(&post, "192.0.2.2", "ann", "right"), GUARD_LATER);
	assert_int_equal(advise(&post, "192.0.2.1", "ann", "right"), GUARD_ASK);
	assert_int_equal(advise(&post, "127.0.0.1", "joe", "x"), GUARD_ASK);
	/* However often one asks, time goes on. */
	post.conf.upstream_refusals = 1;
	guard_configure(post.guard, &post.conf);
	asked = 0;
	for (unsigned i = 0; i < 10 * MINUTE; i++) {
		asked += advise(&post, "10.2.0.1", "joe", "x") == GUARD_ASK;
		post.world.now_ms++;
	}
	assert_in_range(asked, 7, 11);
	post.conf.upstream_refusals = 0;
	guard_configure(post.guard, &post.conf);
	assert_int_equal(advise(&post, "192.0.2.2", "ann", "right"), GUARD_ASK);
	post_fini(&post);
}

/* A thousand people who come for the first time after a restart use up nothing. */
static void t_good_logins_use_up_nothing(void **state)
{
	struct post post;
	char name[32];

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 1000; i++) {
		struct sockaddr_storage from = post_nth_address(i);
		snprintf(name, sizeof name, "user%u", i);
		struct guard_claim claim = {&from, name, true};
		assert_int_equal(guard_advise(post.guard, &post.world.env, &claim, name, "right",
					      "imap.test"),
				 GUARD_ASK);
		guard_succeeded(post.guard, &post.world.env, &claim, "imap.test");
		/* Known, he took none, and gives none back. */
		guard_succeeded(post.guard, &post.world.env, &claim, "imap.test");
	}
	unsigned asked = 0;
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "wrong%u", i);
		asked += advise(&post, "203.0.113.1", "joe", name) == GUARD_ASK;
	}
	assert_int_equal(asked, 60);
	post_fini(&post);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t_refused_passwords),
		cmocka_unit_test(t_host_is_spared),
		cmocka_unit_test(t_good_logins_use_up_nothing),
	};

	return cmocka_run_group_tests_name("guard_upstream", tests, NULL, NULL);
}
