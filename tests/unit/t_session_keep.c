/* SPDX-License-Identifier: MIT */
/* t_session_keep.c - what a session does for those that come after it: it keeps the upstream alive,
 * gives way to a new login, tells the store what it has learned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/session_rig.h"

/* A client that is silent at octet `at` of its words until `until_ms`. */
struct silence {
	struct rig *rig;
	size_t at;
	uint64_t until_ms;
	void (*on_wait)(struct rig *); /* called in each wait, may be NULL */
};
static struct stream_ops silent_ops;
static const struct stream_ops *canned_ops;
static struct silence silence;

static struct err silent_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct canned *canned = (struct canned *)stream;
	struct fake_world *world = &silence.rig->world;

	*got = 0;
	while (canned->at == silence.at && world->now_ms < silence.until_ms) {
		if (silence.on_wait)
			silence.on_wait(silence.rig);
		if (canned->is_aborted)
			return ERR(ERR_CLIENT, ECANCELED, "connection was ended");
		uint64_t wake = canned->until_ms && canned->until_ms < silence.until_ms
					? canned->until_ms
					: silence.until_ms;
		world->now_ms = wake;
		if (wake == canned->until_ms)
			return ERR(ERR_CLIENT, ETIMEDOUT, "no octets in time");
	}
	return canned_ops->read(stream, into, max, got);
}

/* The client says `first`, nothing for `silent_ms`, then `second`. */
static const char *run(struct rig *rig, const char *first, uint64_t silent_ms,
		       void (*on_wait)(struct rig *))
{
	silence = (struct silence){rig, strlen(first), rig->world.now_ms + silent_ms, on_wait};
	canned_ops = rig->client.stream.ops;
	silent_ops = *canned_ops;
	silent_ops.read = silent_read;
	rig->client.stream.ops = &silent_ops;
	rig->client.stops = &silence.at;
	rig->client.stop_count = 1;
	return rig_run(rig);
}

/* H-11: a NOOP upstream every four minutes while the client thinks, and nothing else changes. */
static void test_nudges(void **state)
{
	static const struct {
		uint64_t silent_ms, nudge_ms;
		unsigned nudges;
		bool is_alive; /* when it speaks again */
	} cases[] = {
		{239000, 240000, 0, true},  {240000, 240000, 1, true},   {599000, 240000, 2, true},
		{601000, 240000, 2, false}, {3600000, 100000, 5, false}, {599000, 0, 0, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		rig_init(&rig, IN "STAT\r\nNOOP\r\n" BYE);
		rig.conf.nudge_ms = cases[i].nudge_ms;
		const char *hears = run(&rig, IN "STAT\r\n", cases[i].silent_ms, NULL);
		assert_string_equal(hears, cases[i].is_alive ? HELLO
						   "+OK 3 93\r\n+OK\r\n+OK bye\r\n"
							     : HELLO "+OK 3 93\r\n");
		assert_int_equal(rig.store.nudges, cases[i].nudges);
		rig_fini(&rig);
	}
}

static enum err_kind rival_gets;
static const char *rival_name;

/* A second login of the same maildrop while the first client is silent. */
static void rival(struct rig *rig)
{
	struct lock_holder holder = {.name = rival_name};
	struct lock *lock;

	rival_gets =
		lock_take(rig->session.locks, &rig->world.env, "memory", &holder, 0, 0, &lock).kind;
	lock_release(lock);
}

/* G-06: who is silent for long, with nothing to lose, makes room for a login of the same name. */
static void test_eviction(void **state)
{
	static const struct {
		const char *says, *name;
		uint64_t silent_ms, takeover_ms;
		bool is_evicted;
	} cases[] = {
		{IN, "joe", 121000, 120000, true},
		{IN, "joe", 119000, 120000, false},
		{IN, "joe", 300000, 0, false},
		{IN, "jane", 300000, 120000, false}, /* another name of the same store */
		{IN "DELE 1\r\n", "joe", 300000, 120000, false},
		{IN "DELE 1\r\nRSET\r\n", "joe", 300000, 120000, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		char says[128];
		snprintf(says, sizeof says, "%sSTAT\r\n" BYE, cases[i].says);
		rig_init(&rig, says);
		rig.conf.takeover_ms = cases[i].takeover_ms;
		/* The wait is cut in two by a nudge, so that the rival comes in the middle of it. */
		rig.conf.nudge_ms = cases[i].silent_ms - 500;
		rival_name = cases[i].name;
		run(&rig, cases[i].says, cases[i].silent_ms, rival);
		assert_int_equal(rival_gets, ERR_IN_USE); /* it has had no time to go */
		assert_int_equal(rig.store.updates, !cases[i].is_evicted);
		assert_int_equal(strstr(rig.log.text, "evicted") != NULL, cases[i].is_evicted);
		assert_int_equal(rig.client.is_aborted, cases[i].is_evicted);
		if (cases[i].is_evicted)
			assert_int_equal(rig_removed(&rig), 0);
		rig_fini(&rig);
	}
}

/* F-07: what RETR counted reaches the store, however the session ends; TOP and what broke do not. */
static void test_measures(void **state)
{
	static const struct {
		const char *says;
		uint64_t listed, measured[2];
		size_t fail_octet;
	} cases[] = {
		{IN "RETR 1\r\n" BYE, 0, {32, 0}, 0},
		{IN "RETR 2\r\nRETR 1\r\n", 0, {32, 22}, 0},
		{IN "RETR 2\r\nRSET\r\n" BYE, 0, {0, 22}, 0},
		{IN "RETR 1\r\n" BYE, 5, {32, 0}, 0},
		{IN "RETR 1\r\n" BYE, 5000000000, {0, 0}, 0}, /* wrong beyond remembering */
		{IN "TOP 1 1\r\n" BYE, 0, {0, 0}, 0},
		{IN "RETR 1\r\n" BYE, 0, {0, 0}, 7},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		rig_init(&rig, cases[i].says);
		rig.messages[0].listed = cases[i].listed;
		rig.fault.fail_octet = cases[i].fail_octet;
		rig_run(&rig);
		assert_int_equal(rig.messages[0].measured, cases[i].measured[0]);
		assert_int_equal(rig.messages[1].measured, cases[i].measured[1]);
		rig_fini(&rig);
	}
}

/* C-19: on-retr tells the store at once, but only of what arrived. */
static void test_seen_on_retr(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, IN "RETR 1\r\nTOP 2 0\r\n");
	rig.accounts.conf.seen_policy = SEEN_ON_RETR;
	rig_run(&rig);
	assert_true(rig.messages[0].is_seen);
	assert_false(rig.messages[1].is_seen);
	rig_fini(&rig);
	rig_init(&rig, IN "RETR 1\r\n");
	rig.accounts.conf.seen_policy = SEEN_ON_RETR;
	rig.fault.fail_octet = 5;
	rig_run(&rig);
	assert_false(rig.messages[0].is_seen);
	rig_fini(&rig);
}

/* G-08: a store that still has something to learn is told that somebody waits, or that the end is
 * near. */
static void test_hurry(void **state)
{
	struct rig rig;
	bool is_draining = false;

	(void)state;
	for (int i = 0; i < 2; i++) {
		rig_init(&rig, IN BYE);
		is_draining = i;
		rig.session.is_hurried = &is_draining;
		rig_run(&rig);
		assert_int_equal(rig.store.was_wanted, is_draining);
		rig_fini(&rig);
	}
}

/* RFC 2449 section 6.7: what is deleted without a DELE is announced, once it is known for whom. */
static void test_expire(void **state)
{
	static const struct {
		uint64_t after_s;
		const char *line;
	} cases[] = {
		{0, "EXPIRE 0\r\n"},
		{14 * 86400, "EXPIRE 14\r\n"},
		{86399, "EXPIRE 0\r\n"},
		{DELETE_AFTER_NEVER, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		rig_init(&rig, "CAPA\r\n" IN "CAPA\r\n" BYE);
		rig.accounts.conf.delete_after_s = cases[i].after_s;
		const char *hears = rig_run(&rig), *in = strstr(hears, "maildrop has");
		assert_non_null(in);
		assert_int_equal(strstr(hears, "EXPIRE") && strstr(hears, "EXPIRE") < in, false);
		assert_int_equal(strstr(in, "EXPIRE") != NULL, cases[i].line != NULL);
		if (cases[i].line)
			assert_non_null(strstr(in, cases[i].line));
		rig_fini(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nudges),   cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_measures), cmocka_unit_test(test_seen_on_retr),
		cmocka_unit_test(test_hurry),    cmocka_unit_test(test_expire),
	};

	return cmocka_run_group_tests_name("session-keep", tests, NULL, NULL);
}
