/* SPDX-License-Identifier: MIT */
/* t_imap_budget.c - how many connections an account has at its server, who waits, and who must go. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/world.h"
#include "upstream/imap_budget.h"
#include "upstream/imap_quirks.h"
#include "upstream/imap_warm.h"
#include "upstream/upstream.h"

struct rig {
	struct fake_world world;
	char said[600]; /* the newest line of the log */
	struct log_target target;
	struct log log;
	struct imap_warm *pools[2]; /* of two workers */
	struct upstream_conf conf;
	struct imap_client clients[20];
	char user[32];
};

static void keep_line(struct log_target *target, enum log_level level, const char *line, size_t len)
{
	struct rig *rig = (struct rig *)((char *)target - offsetof(struct rig, target));

	(void)level;
	snprintf(rig->said, sizeof rig->said, "%.*s", (int)len, line);
}

static void rig_init(struct rig *rig)
{
	static const struct imap_warm_conf conf = {600000, 60000, 900000, 10, 1 << 20};

	memset(rig, 0, sizeof *rig);
	fake_world_init(&rig->world);
	rig->target = (struct log_target){keep_line, LEVEL_DEBUG};
	rig->log = (struct log){.target = &rig->target};
	for (size_t i = 0; i < 2; i++)
		rig->pools[i] = imap_warm_new(&rig->world.env, &rig->log, &conf);
	imap_warm_share(rig->pools[1], rig->pools[0]);
	rig->conf = (struct upstream_conf){.ops = &imap_ops, .host = "mail.test", .port = 993};
	snprintf(rig->user, sizeof rig->user, "joe");
}

static void rig_fini(struct rig *rig)
{
	for (size_t i = 0; i < sizeof rig->clients / sizeof *rig->clients; i++)
		imap_budget_leave(&rig->clients[i]);
	imap_warm_free(rig->pools[0]);
	imap_warm_free(rig->pools[1]);
}

/* The n-th connection, made by one of the workers. */
static struct err begin(struct rig *rig, size_t n, unsigned worker, bool is_stored)
{
	const struct login login = {
		.user = rig->user, .password = (char[]){"x"}, .is_stored = is_stored};

	rig->clients[n] = (struct imap_client){.env = &rig->world.env, .log = &rig->log};
	rig->conf.warm = rig->pools[worker];
	return imap_budget_enter(&rig->clients[n], &rig->conf, &login);
}

static struct err enter(struct rig *rig, size_t n, unsigned worker)
{
	return begin(rig, n, worker, true);
}

/* The secret is the client's, and not proved yet. */
static struct err knock(struct rig *rig, size_t n)
{
	return begin(rig, n, 0, false);
}

static struct err prove(struct rig *rig, size_t n)
{
	const struct login login = {.user = rig->user, .password = (char[]){"x"}};

	return imap_budget_prove(&rig->clients[n], &rig->conf, &login);
}

/* How many there may be at once. */
static unsigned count_room(struct rig *rig)
{
	unsigned n = 0;

	while (n < 20 && !enter(rig, n, n % 2).kind)
		n++;
	for (unsigned i = 0; i < n; i++)
		imap_budget_leave(&rig->clients[i]);
	return n;
}

static void test_rooms(void **state)
{
	static const struct {
		const char *quirks;
		unsigned connections, want;
	} cases[] = {
		{NULL, 0, 3},       {"generic", 0, 3},   {"courier", 0, 3}, {"gmail", 0, 15},
		{"outlook", 0, 16}, {"exchange", 0, 16}, {"yahoo", 0, 5},   {"dovecot", 0, 10},
		{"gmail", 2, 2},    {NULL, 7, 7},        {NULL, 1, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		rig_init(&rig);
		rig.conf.quirks = cases[i].quirks ? imap_quirks_named(cases[i].quirks) : NULL;
		rig.conf.connections = cases[i].connections;
		assert_int_equal(count_room(&rig), cases[i].want);
		/* All was given back. */
		assert_int_equal(count_room(&rig), cases[i].want);
		rig_fini(&rig);
	}
}

static void test_what_is_learned_of_a_server_counts(void **state)
{
	struct imap_memos *memos = imap_memos_new();
	struct imap_memo memo = {.print = 1, .quirks = imap_quirks_named("yahoo")};
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.conf.memos = memos;
	assert_int_equal(count_room(&rig), 3);
	imap_memo_put(memos, &rig.conf, &memo);
	assert_int_equal(count_room(&rig), 5);
	rig_fini(&rig);
	imap_memos_free(memos);
}

static void test_others_are_others(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.conf.connections = 1;
	assert_int_equal(enter(&rig, 0, 0).kind, ERR_NONE);
	snprintf(rig.user, sizeof rig.user, "eve");
	assert_int_equal(enter(&rig, 1, 0).kind, ERR_NONE);
	rig.conf.port = 143;
	assert_int_equal(enter(&rig, 2, 0).kind, ERR_NONE);
	rig.conf.host = "mail2.test";
	assert_int_equal(enter(&rig, 3, 0).kind, ERR_NONE);
	rig.conf.host = "MAIL.Test";
	rig.conf.port = 993;
	assert_int_equal(enter(&rig, 4, 1).kind, ERR_UPSTREAM);
	rig_fini(&rig);
}

static void test_waits_and_gives_up(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.conf.connections = 1;
	assert_int_equal(enter(&rig, 0, 0).kind, ERR_NONE);
	assert_int_equal(rig.world.slept_ms, 0);
	struct err err = enter(&rig, 1, 1);
	assert_int_equal(err.kind, ERR_UPSTREAM);
	assert_int_equal(err.code, EBUSY);
	assert_int_equal(rig.world.slept_ms, 5000);
	assert_non_null(strstr(rig.said, "imap-connections-used-up"));
	assert_non_null(strstr(rig.said, "most=1"));
	imap_budget_leave(&rig.clients[1]); /* which was not counted */
	assert_int_equal(enter(&rig, 1, 0).kind, ERR_UPSTREAM);
	imap_budget_leave(&rig.clients[0]);
	assert_int_equal(enter(&rig, 1, 0).kind, ERR_NONE);
	rig_fini(&rig);
}

/* Who cannot prove to be the owner takes no place from the owner: a second is lost at most. */
static void test_strangers_keep_nobody_out(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.conf.connections = 2;
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(knock(&rig, i).kind, ERR_NONE);
	assert_int_equal(rig.world.slept_ms, 8 * 1000); /* the first two found room at once */
	uint64_t before_ms = rig.world.slept_ms;
	assert_int_equal(knock(&rig, 10).kind, ERR_NONE);
	assert_int_equal(rig.world.slept_ms - before_ms, 1000);
	assert_int_equal(prove(&rig, 10).kind, ERR_NONE);
	assert_int_equal(prove(&rig, 10).kind, ERR_NONE); /* that is once for all */
	assert_int_equal(enter(&rig, 11, 1).kind, ERR_NONE);
	assert_int_equal(rig.world.slept_ms - before_ms, 1000);
	/* The places are taken, by the owner now. */
	assert_int_equal(enter(&rig, 12, 1).code, EBUSY);
	assert_int_equal(knock(&rig, 12).code, EBUSY);
	assert_int_equal(prove(&rig, 9).code, EBUSY);
	imap_budget_leave(&rig.clients[10]);
	assert_int_equal(prove(&rig, 9).kind, ERR_NONE);
	/* All is given back: two find room at once. */
	for (size_t i = 0; i < 13; i++)
		imap_budget_leave(&rig.clients[i]);
	before_ms = rig.world.slept_ms;
	assert_int_equal(knock(&rig, 0).kind, ERR_NONE);
	assert_int_equal(knock(&rig, 1).kind, ERR_NONE);
	assert_int_equal(rig.world.slept_ms, before_ms);
	rig_fini(&rig);
}

static void leave_first(void *arg)
{
	struct rig *rig = arg;

	if (rig->world.slept_ms >= 1000)
		imap_budget_leave(&rig->clients[0]);
}

static void test_waits_for_an_end(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.conf.connections = 1;
	assert_int_equal(enter(&rig, 0, 0).kind, ERR_NONE);
	rig.world.on_sleep = leave_first;
	rig.world.arg = &rig;
	assert_int_equal(enter(&rig, 1, 1).kind, ERR_NONE);
	assert_int_equal(rig.world.slept_ms, 1000);
	rig_fini(&rig);
}

static void test_wanted(void **state)
{
	struct imap_budget *budget = imap_budget_new();

	(void)state;
	assert_false(imap_budget_is_wanted(budget, "a", 0));
	assert_true(imap_budget_take(budget, "a", 1, 0));
	assert_true(imap_budget_take(budget, "b", 1, 0));
	assert_false(imap_budget_is_wanted(budget, "a", 0));
	assert_false(imap_budget_take(budget, "a", 1, 0));
	assert_true(imap_budget_is_wanted(budget, "a", 0));
	assert_true(imap_budget_is_wanted(budget, "a", 2000));
	assert_false(imap_budget_is_wanted(budget, "b", 0));
	assert_false(imap_budget_is_wanted(budget, "a", 2001));
	imap_budget_give(budget, "a");
	assert_true(imap_budget_take(budget, "a", 1, 5000));
	imap_budget_release(budget);
}

static void test_nothing_is_counted_without_a_pool(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	struct imap_client client = {.env = &rig.world.env, .log = &rig.log};
	const struct login login = {.user = rig.user};
	rig.conf.connections = 1;
	for (int i = 0; i < 3; i++)
		assert_int_equal(imap_budget_enter(&client, &rig.conf, &login).kind, ERR_NONE);
	imap_budget_leave(&client);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rooms),
		cmocka_unit_test(test_what_is_learned_of_a_server_counts),
		cmocka_unit_test(test_others_are_others),
		cmocka_unit_test(test_strangers_keep_nobody_out),
		cmocka_unit_test(test_waits_and_gives_up),
		cmocka_unit_test(test_waits_for_an_end),
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_nothing_is_counted_without_a_pool),
	};

	return cmocka_run_group_tests_name("imap-budget", tests, NULL, NULL);
}
