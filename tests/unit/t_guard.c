/* SPDX-License-Identifier: MIT */
/* t_guard.c - guessing from one place and from many, and a good user beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "proxy/guard.h"
#include "proxy/recent.h"
#include "tests/fake/world.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

struct post {
	struct fake_world world;
	struct network_list trusted;
	struct guard_conf conf;
	struct guard *guard;
};

static void post_init(struct post *post)
{
	*post = (struct post){.conf = {
				      .trusted = &post->trusted,
				      .block_after = 20,
				      .window_ms = 10 * MINUTE,
				      .block_ms = 10 * MINUTE,
				      .delay_ms = 2 * SECOND,
				      .delay_max_ms = 15 * SECOND,
				      .refused_ms = MINUTE,
				      .upstream_refusals = 60,
			      }};
	fake_world_init(&post->world);
	post->world.now_ms = 1000000;
	assert_true(network_list_add(&post->trusted, "127.0.0.0/8", 11));
	post->guard = guard_new(&post->world.env, &post->conf);
}

static void post_fini(struct post *post)
{
	guard_free(post->guard);
	network_list_fini(&post->trusted);
}

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_in *four = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&storage;

	if (strchr(text, ':')) {
		six->sin6_family = AF_INET6;
		assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
	} else {
		four->sin_family = AF_INET;
		assert_int_equal(inet_pton(AF_INET, text, &four->sin_addr), 1);
	}
	return storage;
}

static struct sockaddr_storage nth_address(unsigned n)
{
	char text[32];

	snprintf(text, sizeof text, "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
	return address(text);
}

/* A login that fails: 0 if it was blocked before anybody looked, else 1. *delay may be NULL. */
static unsigned guess_from(struct post *post, const struct sockaddr_storage *peer,
			   const char *account, uint64_t *delay)
{
	struct guard_claim claim = {peer, account, true};
	enum guard_verdict verdict = guard_ask(post->guard, &post->world.env, &claim);
	uint64_t ms = guard_failed(post->guard, &post->world.env, &claim);

	if (delay)
		*delay = ms;
	return verdict == GUARD_FREE;
}

static unsigned guess(struct post *post, const char *peer, const char *account, uint64_t *delay)
{
	struct sockaddr_storage from = address(peer);

	return guess_from(post, &from, account, delay);
}

static bool is_blocked(struct post *post, const char *peer, const char *account)
{
	struct sockaddr_storage from = address(peer);
	struct guard_claim claim = {&from, account, true};

	return guard_ask(post->guard, &post->world.env, &claim) == GUARD_BLOCKED;
}

static void succeed(struct post *post, const char *peer, const char *account)
{
	struct sockaddr_storage from = address(peer);
	struct guard_claim claim = {&from, account, true};

	guard_succeeded(post->guard, &post->world.env, &claim, NULL);
}

static void t_delay_grows(void **state)
{
	static const unsigned seconds[] = {2, 4, 8, 15, 15};
	struct post post;
	uint64_t delay;

	(void)state;
	post_init(&post);
	for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
		guess(&post, "192.0.2.1", "joe", &delay);
		assert_int_equal(delay, seconds[i] * SECOND);
	}
	guess(&post, "192.0.2.2", "ann", &delay); /* somebody else */
	assert_int_equal(delay, 2 * SECOND);
	post.world.now_ms += 20 * MINUTE;
	guess(&post, "192.0.2.1", "joe", &delay);
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
		struct sockaddr_storage one = nth_address(i), two = nth_address(1000 + i);
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
		looked_at += guess(&post, "192.0.2.1", account, NULL);
		post.world.now_ms += 100;
	}
	assert_int_equal(looked_at, 20);
	assert_true(is_blocked(&post, "192.0.2.1", "never tried"));
	assert_false(is_blocked(&post, "192.0.2.2", "user1"));
	/* It ends when it was to end, although he never stopped. */
	post.world.now_ms += 10 * MINUTE - 98 * SECOND;
	assert_false(is_blocked(&post, "192.0.2.1", "user1"));
	post_fini(&post);
}

static void t_pair_is_blocked(void **state)
{
	struct post post;
	unsigned looked_at = 0;

	(void)state;
	post_init(&post);
	for (unsigned i = 0; i < 15; i++)
		looked_at += guess(&post, "192.0.2.1", "joe", NULL);
	assert_int_equal(looked_at, 10);
	assert_true(is_blocked(&post, "192.0.2.1", "joe"));
	assert_false(is_blocked(&post, "192.0.2.1", "ann"));
	assert_false(is_blocked(&post, "192.0.2.9", "joe"));
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
		looked_at += guess(&post, "192.0.2.1", account, NULL);
		post.world.now_ms += 35 * SECOND; /* 17.1 in ten minutes */
	}
	assert_int_equal(looked_at, 200);
	looked_at = 0;
	for (unsigned i = 0; i < 30; i++) {
		snprintf(account, sizeof account, "user%u", i);
		looked_at += guess(&post, "192.0.2.1", account, NULL);
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
		looked_at += guess(&post, peer, "joe", NULL);
	}
	assert_int_equal(looked_at, 10);
	assert_false(is_blocked(&post, "2001:db8:0:8::1", "joe"));
	for (unsigned i = 0; i < 30; i++)
		guess(&post, i % 2 ? "192.0.2.1" : "::ffff:192.0.2.1", "ann", NULL);
	assert_true(is_blocked(&post, "192.0.2.1", "ann"));
	assert_true(is_blocked(&post, "::ffff:192.0.2.1", "ann"));
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
	succeed(&post, "192.0.2.1", "joe");
	for (unsigned i = 0; i < 1000; i++) {
		struct sockaddr_storage from = nth_address(i);
		assert_int_equal(guess_from(&post, &from, "joe", &delay), 1);
		assert_int_equal(delay, i < 3 ? 2 * SECOND << i : 15 * SECOND);
		post.world.now_ms += 100;
	}
	assert_false(is_blocked(&post, "192.0.2.1", "joe"));
	guess(&post, "192.0.2.1", "joe", &delay);
	assert_int_equal(delay, 2 * SECOND);
	assert_false(is_blocked(&post, "198.51.100.1", "joe"));
	guess(&post, "198.51.100.1", "joe", &delay);
	assert_int_equal(delay, 15 * SECOND);
	guess(&post, "198.51.100.2", "ann", &delay); /* another account */
	assert_int_equal(delay, 2 * SECOND);
	post_fini(&post);
}

/* Behind one address: a guesser, and somebody who has read his mail there today. */
static void t_good_user_behind_a_bad_address(void **state)
{
	struct post post;

	(void)state;
	post_init(&post);
	succeed(&post, "192.0.2.1", "ann");
	for (unsigned i = 0; i < 25; i++)
		guess(&post, "192.0.2.1", i % 2 ? "joe" : "eve", NULL);
	assert_true(is_blocked(&post, "192.0.2.1", "bob"));
	assert_false(is_blocked(&post, "192.0.2.1", "ann"));
	/* But it is no way to guess at her: */
	for (unsigned i = 0; i < 25; i++)
		guess(&post, "192.0.2.1", "ann", NULL);
	assert_true(is_blocked(&post, "192.0.2.1", "ann"));
	post.world.now_ms += 25 * HOUR;
	for (unsigned i = 0; i < 25; i++)
		guess(&post, "192.0.2.1", i % 2 ? "joe" : "eve", NULL);
	assert_true(is_blocked(&post, "192.0.2.1", "ann")); /* a day later she is as good as new */
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
		looked_at += guess(&post, "192.0.2.1", account, NULL);
		succeed(&post, "192.0.2.1", "mallory");
	}
	assert_int_equal(looked_at, 20);
	/* One's own mistakes are forgotten with the login. */
	for (unsigned i = 0; i < 9; i++)
		guess(&post, "192.0.2.2", "joe", NULL);
	succeed(&post, "192.0.2.2", "joe");
	for (unsigned i = 0; i < 9; i++)
		guess(&post, "192.0.2.2", "joe", NULL);
	assert_false(is_blocked(&post, "192.0.2.2", "joe"));
	post_fini(&post);
}

/* Of many claims made at once those after the block do not count, right or not: asking a second time
 * tells. */
static void t_all_at_once(void **state)
{
	struct post post;
	struct sockaddr_storage from = address("192.0.2.1");
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
		assert_int_equal(guess(&post, "127.0.0.1", "joe", &delay), 1);
		assert_int_equal(delay, 0);
	}
	/* A reload takes the trust away; the list was copied. */
	network_list_fini(&post.trusted);
	post.trusted = (struct network_list){0};
	guard_configure(post.guard, &post.conf);
	for (unsigned i = 0; i < 20; i++)
		guess(&post, "127.0.0.1", "joe", &delay);
	assert_true(is_blocked(&post, "127.0.0.1", "joe"));
	post.conf.block_after = 0;
	guard_configure(post.guard, &post.conf);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(guess(&post, "192.0.2.1", "joe", NULL), 1);
	post_fini(&post);
}

static enum guard_advice advise(struct post *post, const char *peer, const char *account,
				const char *password)
{
	struct sockaddr_storage from = address(peer);
	struct guard_claim claim = {&from, account, true};

	return guard_advise(post->guard, &post->world.env, &claim, account, password, "imap.test");
}

static void refuse(struct post *post, const char *account, const char *password)
{
	struct sockaddr_storage from = address("192.0.2.1");
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
	succeed(&post, "192.0.2.1", "ann");
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
		struct sockaddr_storage from = nth_address(i);
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

/* More than fits: what is old goes, what is new stays, and nothing grows or breaks. */
static void t_flood(void **state)
{
	struct post post;
	char name[32];

	(void)state;
	post_init(&post);
	succeed(&post, "192.0.2.1", "joe");
	for (unsigned i = 0; i < 10; i++)
		guess(&post, "192.0.2.7", "ann", NULL);
	for (unsigned i = 0; i < 100000; i++) {
		struct sockaddr_storage from = nth_address(i);
		struct guard_claim claim = {&from, name, false};
		snprintf(name, sizeof name, "stranger%u", i);
		guard_failed(post.guard, &post.world.env, &claim);
	}
	assert_false(is_blocked(&post, "192.0.2.7", "ann")); /* forgotten */
	for (unsigned i = 0; i < 10; i++)
		guess(&post, "192.0.2.8", "ann", NULL);
	assert_true(is_blocked(&post, "192.0.2.8", "ann"));
	for (unsigned i = 0; i < 25; i++) /* failures do not push out who has succeeded */
		guess(&post, "192.0.2.1", i % 2 ? "eve" : "bob", NULL);
	assert_true(is_blocked(&post, "192.0.2.1", "kim"));
	assert_false(is_blocked(&post, "192.0.2.1", "joe"));
	post_fini(&post);
}

static void key_of(unsigned n, unsigned char key[RECENT_KEY])
{
	memset(key, 0, RECENT_KEY);
	memcpy(key + n % 2 * 8, &n, sizeof n); /* every other one into chain 0 */
}

static void t_recent(void **state)
{
	enum { MAX = 7, KEYS = 50 };
	struct recent *recent = recent_new(MAX);
	unsigned order[KEYS], count = 0, seed = 1; /* the model: newest last */
	unsigned char key[RECENT_KEY];

	(void)state;
	for (unsigned turn = 0; turn < 20000; turn++) {
		seed = seed * 1103515245 + 12345;
		unsigned n = seed >> 16 & 31, at = 0;
		bool is_drop = (seed >> 24) % 5 == 0;
		key_of(n, key);
		while (at < count && order[at] != n)
			at++;
		struct recent_row *row = recent_find(recent, key);
		assert_int_equal(row != NULL, at < count);
		if (row)
			assert_int_equal(row->count, n + 1);
		if (at < count)
			memmove(order + at, order + at + 1, (--count - at) * sizeof *order);
		if (is_drop) {
			recent_drop(recent, key);
			continue;
		}
		row = recent_touch(recent, key);
		assert_true(row->count == n + 1 || (row->count == 0 && !row->until_ms));
		row->count = n + 1;
		row->until_ms = 1;
		order[count++] = n;
		if (count > MAX)
			memmove(order, order + 1, --count * sizeof *order);
	}
	recent_free(recent);
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
		cmocka_unit_test(t_refused_passwords),
		cmocka_unit_test(t_host_is_spared),
		cmocka_unit_test(t_good_logins_use_up_nothing),
		cmocka_unit_test(t_flood),
		cmocka_unit_test(t_recent),
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
