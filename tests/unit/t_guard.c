/* SPDX-License-Identifier: MIT */
/* t_guard.c - delays and blocks: who is slowed, who is kept out, for how long, and who is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/guard_rig.h"

static void t_delay_grows(void **state)
{
	static const unsigned seconds[] = {2, 4, 8, 15, 15};
	struct post post;
	uint64_t delay;

	(void)state;
	post_init(&post);
	for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
		post_guess(&post, "192.0.2.1", "joe", &delay);
		assert_int_equal(delay, seconds[i] * SECOND);
	}
	post_guess(&post, "192.0.2.2", "ann", &delay); /* somebody else */
	assert_int_equal(delay, 2 * SECOND);
	post.world.now_ms += 20 * MINUTE;
	post_guess(&post, "192.0.2.1", "joe", &delay);
	assert_int_equal(delay, 2 * SECOND);
	post_fini(&post);
}

/* A known name and an unknown one are slowed alike: the delay tells nothing (B-05). */
static void t_delay_tells_nothing(void **state)
{
	struct post post;

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 8; i++) {
		struct sockaddr_storage one = post_nth_address(i), two = post_nth_address(1000 + i);
		struct guard_claim known = {&one, "joe", true}, unknown = {&two, "eve", false};
		assert_int_equal(guard_failed(post.guard, &post.world.env, &known),
				 guard_failed(post.guard, &post.world.env, &unknown));
	}
	post_fini(&post);
}

static void t_address_is_blocked(void **state)
{
	struct post post;
	char account[16];
	unsigned looked_at = 0;

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 1000; i++) { /* a name each */
		snprintf(account, sizeof account, "user%u", i);
		looked_at += post_guess(&post, "192.0.2.1", account, NULL);
		post.world.now_ms += 100;
	}
	assert_int_equal(looked_at, 20);
	assert_true(post_is_blocked(&post, "192.0.2.1", "never tried"));
	assert_false(post_is_blocked(&post, "192.0.2.2", "user1"));
	/* It ends when it was to end, although he never stopped. */
	post.world.now_ms += 10 * MINUTE - 98 * SECOND;
	assert_false(post_is_blocked(&post, "192.0.2.1", "user1"));
	post_fini(&post);
}

static void t_pair_is_blocked(void **state)
{
	struct post post;
	unsigned looked_at = 0;

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 15; i++)
		looked_at += post_guess(&post, "192.0.2.1", "joe", NULL);
	assert_int_equal(looked_at, 10);
	assert_true(post_is_blocked(&post, "192.0.2.1", "joe"));
	assert_false(post_is_blocked(&post, "192.0.2.1", "ann"));
	assert_false(post_is_blocked(&post, "192.0.2.9", "joe"));
	post_fini(&post);
}

/* Slowly, so that never twenty fall into ten minutes; and a bit faster. */
static void t_window_slides(void **state)
{
	struct post post;
	char account[16];
	unsigned looked_at = 0;

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(account, sizeof account, "user%u", i);
		looked_at += post_guess(&post, "192.0.2.1", account, NULL);
		post.world.now_ms += 35 * SECOND; /* 17.1 in ten minutes */
	}
	assert_int_equal(looked_at, 200);
	looked_at = 0;
	for (unsigned i = 0; i < 30; i++) {
		snprintf(account, sizeof account, "user%u", i);
		looked_at += post_guess(&post, "192.0.2.1", account, NULL);
		post.world.now_ms += 25 * SECOND; /* 24 */
	}
	assert_in_range(looked_at, 1, 29);
	post_fini(&post);
}

static void t_a_household_is_one(void **state)
{
	struct post post;
	char peer[64];
	unsigned looked_at = 0;

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(peer, sizeof peer, "2001:db8:0:7::%x", i + 1);
		looked_at += post_guess(&post, peer, "joe", NULL);
	}
	assert_int_equal(looked_at, 10);
	assert_false(post_is_blocked(&post, "2001:db8:0:8::1", "joe"));
	for (unsigned i = 0; i < 30; i++)
		post_guess(&post, i % 2 ? "192.0.2.1" : "::ffff:192.0.2.1", "ann", NULL);
	assert_true(post_is_blocked(&post, "192.0.2.1", "ann"));
	assert_true(post_is_blocked(&post, "::ffff:192.0.2.1", "ann"));
	post_fini(&post);
}

/* A thousand addresses guess at one account. Its owner, at home where he always was, notices nothing,
 * and neither does he at a new place, but that his own mistakes are answered slowly there. */
static void t_guessing_from_everywhere(void **state)
{
	struct post post;
	uint64_t delay;

	(void)state;
	post_init(&post);
	post_succeed(&post, "192.0.2.1", "joe");
	for (unsigned i = 0; i < 1000; i++) {
		struct sockaddr_storage from = post_nth_address(i);
		assert_int_equal(post_guess_from(&post, &from, "joe", &delay), 1);
		assert_int_equal(delay, i < 3 ? 2 * SECOND << i : 15 * SECOND);
		post.world.now_ms += 100;
	}
	assert_false(post_is_blocked(&post, "192.0.2.1", "joe"));
	post_guess(&post, "192.0.2.1", "joe", &delay);
	assert_int_equal(delay, 2 * SECOND);
	assert_false(post_is_blocked(&post, "198.51.100.1", "joe"));
	post_guess(&post, "198.51.100.1", "joe", &delay);
	assert_int_equal(delay, 15 * SECOND);
	post_guess(&post, "198.51.100.2", "ann", &delay); /* another account */
	assert_int_equal(delay, 2 * SECOND);
	post_fini(&post);
}

/* Behind one address: a guesser, and somebody who has read his mail there today. */
static void t_good_user_behind_a_bad_address(void **state)
{
	struct post post;

	(void)state;
	post_init(&post);
	post_succeed(&post, "192.0.2.1", "ann");
	for (unsigned i = 0; i < 25; i++)
		post_guess(&post, "192.0.2.1", i % 2 ? "joe" : "eve", NULL);
	assert_true(post_is_blocked(&post, "192.0.2.1", "bob"));
	assert_false(post_is_blocked(&post, "192.0.2.1", "ann"));
	/* But it is no way to guess at her: */
	for (unsigned i = 0; i < 25; i++)
		post_guess(&post, "192.0.2.1", "ann", NULL);
	assert_true(post_is_blocked(&post, "192.0.2.1", "ann"));
	post.world.now_ms += 25 * HOUR;
	for (unsigned i = 0; i < 25; i++)
		post_guess(&post, "192.0.2.1", i % 2 ? "joe" : "eve", NULL);
	assert_true(
		post_is_blocked(&post, "192.0.2.1", "ann")); /* a day later she is as good as new */
	post_fini(&post);
}

/* Who has an account of his own cannot wash away by it what he does to others. */
static void t_own_logins_wash_nothing(void **state)
{
	struct post post;
	unsigned looked_at = 0;
	char account[16];

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(account, sizeof account, "user%u", i);
		looked_at += post_guess(&post, "192.0.2.1", account, NULL);
		post_succeed(&post, "192.0.2.1", "mallory");
	}
	assert_int_equal(looked_at, 20);
	/* One's own mistakes are forgotten with the login. */
	for (unsigned i = 0; i < 9; i++)
		post_guess(&post, "192.0.2.2", "joe", NULL);
	post_succeed(&post, "192.0.2.2", "joe");
	for (unsigned i = 0; i < 9; i++)
		post_guess(&post, "192.0.2.2", "joe", NULL);
	assert_false(post_is_blocked(&post, "192.0.2.2", "joe"));
	post_fini(&post);
}

/* Of many claims made at once those after the block do not count, right or not: asking a second time
 * tells. */
static void t_all_at_once(void **state)
{
	struct post post;
	struct sockaddr_storage from = post_address("192.0.2.1");
	struct guard_claim claim = {&from, "joe", true};
	unsigned heard = 0;

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(guard_ask(post.guard, &post.world.env, &claim), GUARD_FREE);
	for (unsigned i = 0; i < 500; i++) {
		heard += guard_ask(post.guard, &post.world.env, &claim) == GUARD_FREE;
		guard_failed(post.guard, &post.world.env, &claim);
	}
	assert_int_equal(heard, 10);
	post_fini(&post);
}

static void t_trusted(void **state)
{
	struct post post;
	uint64_t delay;

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(post_guess(&post, "127.0.0.1", "joe", &delay), 1);
		assert_int_equal(delay, 0);
	}
	/* A reload takes the trust away; the list was copied. */
	network_list_fini(&post.trusted);
	post.trusted = (struct network_list){0};
	guard_configure(post.guard, &post.conf);
	for (unsigned i = 0; i < 20; i++)
		post_guess(&post, "127.0.0.1", "joe", &delay);
	assert_true(post_is_blocked(&post, "127.0.0.1", "joe"));
	post.conf.block_after = 0;
	guard_configure(post.guard, &post.conf);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(post_guess(&post, "192.0.2.1", "joe", NULL), 1);
	post_fini(&post);
}

/* More than fits: what is old goes, what is new stays, and nothing grows or breaks. */
static void t_flood(void **state)
{
	struct post post;
	char name[32];

	(void)state;
	post_init(&post);
	post_succeed(&post, "192.0.2.1", "joe");
	for (unsigned i = 0; i < 10; i++)
		post_guess(&post, "192.0.2.7", "ann", NULL);
	for (unsigned i = 0; i < 100000; i++) {
		struct sockaddr_storage from = post_nth_address(i);
		struct guard_claim claim = {&from, name, false};
		snprintf(name, sizeof name, "stranger%u", i);
		guard_failed(post.guard, &post.world.env, &claim);
	}
	assert_false(post_is_blocked(&post, "192.0.2.7", "ann")); /* forgotten */
	for (unsigned i = 0; i < 10; i++)
		post_guess(&post, "192.0.2.8", "ann", NULL);
	assert_true(post_is_blocked(&post, "192.0.2.8", "ann"));
	for (unsigned i = 0; i < 25; i++) /* failures do not push out who has succeeded */
		post_guess(&post, "192.0.2.1", i % 2 ? "eve" : "bob", NULL);
	assert_true(post_is_blocked(&post, "192.0.2.1", "kim"));
	assert_false(post_is_blocked(&post, "192.0.2.1", "joe"));
	post_fini(&post);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t_delay_grows),
		cmocka_unit_test(t_delay_tells_nothing),
		cmocka_unit_test(t_address_is_blocked),
		cmocka_unit_test(t_pair_is_blocked),
		cmocka_unit_test(t_window_slides),
		cmocka_unit_test(t_a_household_is_one),
		cmocka_unit_test(t_guessing_from_everywhere),
		cmocka_unit_test(t_good_user_behind_a_bad_address),
		cmocka_unit_test(t_own_logins_wash_nothing),
		cmocka_unit_test(t_all_at_once),
		cmocka_unit_test(t_trusted),
		cmocka_unit_test(t_flood),
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
