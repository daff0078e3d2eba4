/* SPDX-License-Identifier: MIT */
/* t_health.c - who is asked how often while things go wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "tests/fake/world.h"
#include "upstream/health.h"

enum { SECOND = 1000, MINUTE = 60000, HOUR = 3600000 };

struct bed {
	struct fake_world world;
	struct health *health;
};

static int set_up(void **state)
{
	static struct bed bed;

	fake_world_init(&bed.world);
	bed.health = health_new();
	*state = &bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	health_free(bed->health);
	return 0;
}

static enum err_kind ask(struct bed *bed, const char *host, const char *account)
{
	return health_ask(bed->health, &bed->world.env, host, 993, account).kind;
}

static void report(struct bed *bed, const char *host, const char *account, enum health_event event)
{
	health_report(bed->health, &bed->world.env, host, 993, account, event);
}

/* How often the server is asked while somebody polls for an hour and each attempt ends like this. */
static unsigned poll_hour(struct bed *bed, enum health_event event, uint64_t period)
{
	unsigned asked = 0;

	for (uint64_t t = 0; t < HOUR; t += period) {
		if (ask(bed, "imap.example.com", "joe") == ERR_NONE) {
			asked++;
			report(bed, "imap.example.com", "joe", event);
		}
		bed->world.now_ms += period;
	}
	return asked;
}

/* H-07: a stored secret that is refused locks no account. */
static void test_bad_stored_password(void **state)
{
	struct bed *bed = *state;
	unsigned asked = poll_hour(bed, HEALTH_CREDENTIAL, 30 * SECOND);

	assert_in_range(asked, 2, 12);
	assert_int_equal(ask(bed, "imap.example.com", "joe"), ERR_POLICY);
}

static void test_credential_waits_five_minutes(void **state)
{
	struct bed *bed = *state;

	for (uint64_t seed = 1; seed < 200; seed++) {
		bed->world.seed = seed;
		report(bed, "h", "joe", HEALTH_CREDENTIAL);
		bed->world.now_ms += 5 * MINUTE - 1;
		assert_int_equal(ask(bed, "h", "joe"), ERR_POLICY);
		bed->world.now_ms += 2 * MINUTE;
		assert_int_equal(ask(bed, "h", "joe"), ERR_NONE);
		report(bed, "h", "joe", HEALTH_GOOD);
	}
}

/* The client's own wrong password is no news: it is tried each time. */
static void test_client_password(void **state)
{
	assert_int_equal(poll_hour(*state, HEALTH_CLIENT, 30 * SECOND), 120);
}

static void test_pauses(void **state)
{
	static const struct {
		enum health_event event;
		unsigned least, most; /* attempts in an hour of asking each second */
	} cases[] = {
		{HEALTH_GOOD, 3600, 3600}, {HEALTH_GREETED, 3600, 3600}, {HEALTH_FAILED, 12, 18},
		{HEALTH_THROTTLED, 7, 10}, {HEALTH_NO_GREETING, 15, 21}, {HEALTH_CREDENTIAL, 3, 5},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		(void)tear_down(state);
		(void)set_up(state);
		unsigned asked = poll_hour(*state, cases[i].event, SECOND);
		if (asked < cases[i].least || asked > cases[i].most)
			fail_msg("event %d: asked %u times", cases[i].event, asked);
	}
}

/* Before a greeting it is the host's trouble; behind it the account's alone. */
static void test_whose_trouble(void **state)
{
	struct bed *bed = *state;

	report(bed, "h", "joe", HEALTH_FAILED);
	assert_int_equal(ask(bed, "h", "joe"), ERR_UPSTREAM);
	assert_int_equal(ask(bed, "h", "ann"), ERR_NONE);
	for (int i = 0; i < 3; i++) {
		report(bed, "h", "ann", HEALTH_NO_GREETING);
		assert_int_equal(ask(bed, "h", "bob"), ERR_NONE);
	}
	report(bed, "h", "ann", HEALTH_NO_GREETING);
	assert_int_equal(ask(bed, "H", "bob"), ERR_UPSTREAM);
	assert_int_equal(ask(bed, "other", "bob"), ERR_NONE);
	assert_int_equal(health_ask(bed->health, &bed->world.env, "h", 143, "bob").kind, ERR_NONE);
	/* One greeting and the host is well. */
	report(bed, "h", "ann", HEALTH_GREETED);
	assert_int_equal(ask(bed, "h", "bob"), ERR_NONE);
}

/* After the pause one goes ahead. */
static void test_one_at_a_time(void **state)
{
	struct bed *bed = *state;

	for (int i = 0; i < 4; i++)
		report(bed, "h", "joe", HEALTH_NO_GREETING);
	bed->world.now_ms += 2 * SECOND;
	assert_int_equal(ask(bed, "h", "joe"), ERR_NONE);
	assert_int_equal(ask(bed, "h", "ann"), ERR_UPSTREAM);
	report(bed, "h", "joe", HEALTH_NO_GREETING);
	assert_int_equal(ask(bed, "h", "ann"), ERR_UPSTREAM);
	bed->world.now_ms += 3 * SECOND;
	assert_int_equal(ask(bed, "h", "ann"), ERR_NONE);
	report(bed, "h", "ann", HEALTH_GOOD);
	assert_int_equal(ask(bed, "h", "ann"), ERR_NONE);
	assert_int_equal(ask(bed, "h", "joe"), ERR_NONE);
}

/* Who went ahead and was never heard of again blocks nobody for ever. */
static void test_lost_attempt(void **state)
{
	struct bed *bed = *state;

	report(bed, "h", "joe", HEALTH_FAILED);
	bed->world.now_ms += 2 * SECOND;
	assert_int_equal(ask(bed, "h", "joe"), ERR_NONE);
	assert_int_equal(ask(bed, "h", "joe"), ERR_UPSTREAM);
	bed->world.now_ms += 2 * MINUTE;
	assert_int_equal(ask(bed, "h", "joe"), ERR_NONE);
}

/* Twenty that began together fail together: that is one failure, not twenty. */
static void test_side_by_side(void **state)
{
	struct bed *bed = *state;

	for (int i = 0; i < 20; i++)
		report(bed, "h", "joe", HEALTH_FAILED);
	bed->world.now_ms += SECOND;
	assert_int_equal(ask(bed, "h", "joe"), ERR_NONE);
}

/* The table is bounded: the one that was in trouble longest ago is forgotten. */
static void test_bounded(void **state)
{
	struct bed *bed = *state;
	char name[32];

	report(bed, "h", "first", HEALTH_CREDENTIAL);
	for (int i = 0; i < 19999; i++) {
		snprintf(name, sizeof name, "user%d", i);
		report(bed, "h", name, HEALTH_CREDENTIAL);
	}
	assert_int_equal(ask(bed, "h", "first"), ERR_POLICY);
	report(bed, "h", "one more", HEALTH_CREDENTIAL);
	assert_int_equal(ask(bed, "h", "first"), ERR_NONE);
	assert_int_equal(ask(bed, "h", "user0"), ERR_POLICY);
	assert_int_equal(ask(bed, "h", "one more"), ERR_POLICY);
}

static void test_none(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(health_ask(NULL, &bed->world.env, "h", 1, "joe").kind, ERR_NONE);
	health_report(NULL, &bed->world.env, "h", 1, "joe", HEALTH_CREDENTIAL);
	health_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bad_stored_password, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_credential_waits_five_minutes, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_client_password, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pauses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_whose_trouble, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lost_attempt, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_side_by_side, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_none, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
