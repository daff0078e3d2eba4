/* SPDX-License-Identifier: MIT */
/* t_imap_poison.c - messages that a server never delivers: when that is believed, what is counted, and
 * what a stub looks like. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/fake/world.h"
#include "upstream/imap_poison.h"

enum { DAY_S = 86400, NOW_S = 1700000000 };

/* As far as imap_poison.c looks at one. */
static void imap_init(struct imap *imap, struct fake_world *world, const struct log *log,
		      const char *quirks)
{
	fake_world_init(world);
	world->wall_s = NOW_S;
	world->now_ms = 0;
	*imap = (struct imap){.env = &world->env,
			      .log = log,
			      .has_ledger = true,
			      .quirks = imap_quirks_named(quirks)};
	assert_non_null(imap->quirks);
}

/* H-09, N-09: three sessions; where "not now" may mean never, a day as well, by the ledger's clock. */
static void test_when(void **state)
{
	static const struct {
		const char *quirks;
		unsigned failures;
		int64_t age_s; /* of the first failure */
		bool is_poison;
	} cases[] = {
		{"generic", 0, 0, false},         {"generic", 2, 10 * DAY_S, false},
		{"generic", 3, 0, true},          {"generic", 255, 0, true},
		{"yahoo", 2, 10 * DAY_S, false},  {"yahoo", 3, 0, false},
		{"yahoo", 3, DAY_S - 1, false},   {"yahoo", 3, DAY_S, true},
		{"yahoo", 200, DAY_S - 1, false}, {"yahoo", 200, 2 * DAY_S, true},
		{"yahoo", 3, -1, false}, /* a clock that went back */
	};
	static const struct {
		enum poison_policy policy;
		enum imap_poison is;
	} ways[] = {
		{POISON_PLACEHOLDER, POISON_IS_STUB},
		{POISON_HIDE, POISON_IS_HIDDEN},
		{POISON_ERROR, POISON_IS_NOT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
			struct fake_world world;
			struct imap imap;
			struct ledger_row row = {
				.uid = 1,
				.failures = (uint8_t)cases[i].failures,
				.failed_at = (uint32_t)(NOW_S - cases[i].age_s),
			};
			imap_init(&imap, &world, NULL, cases[i].quirks);
			imap.conf.poison_policy = ways[k].policy;
			assert_int_equal(imap_poison_of(&imap, &row),
					 cases[i].is_poison ? ways[k].is : POISON_IS_NOT);
		}
}

/* What passes by itself is not counted, but for those who say so of what never passes; each message once
 * a session, and only so many. */
static void test_what_is_counted(void **state)
{
	const struct err passing = ERR(ERR_UPSTREAM, EAGAIN, "not now"),
			 other = ERR(ERR_UPSTREAM, 0, "cannot read it");
	struct log log = {.target = NULL};
	struct fake_world world;
	struct imap imap;

	(void)state;
	imap_init(&imap, &world, &log, "generic");
	imap_poison_note(&imap, 1, passing);
	assert_int_equal(imap.failed_len, 0);
	imap_poison_note(&imap, 1, other);
	imap_poison_note(&imap, 2, other);
	imap_poison_note(&imap, 1, other);
	assert_int_equal(imap.failed_len, 2);
	for (uint32_t uid = 1; uid < 1000; uid++)
		imap_poison_note(&imap, uid, other);
	assert_int_equal(imap.failed_len, POISON_NOTED);
	free(imap.failed);

	imap_init(&imap, &world, &log, "yahoo");
	imap_poison_note(&imap, 1, passing);
	assert_int_equal(imap.failed_len, 1);
	assert_int_equal(imap.failed[0], 1);
	free(imap.failed);

	/* where nothing is remembered nothing is counted */
	imap_init(&imap, &world, &log, "generic");
	imap.has_ledger = false;
	imap_poison_note(&imap, 1, other);
	assert_int_equal(imap.failed_len, 0);
}

static void test_stub(void **state)
{
	static const char stub[] =
		"Subject: x\r\n\r\nRetrieval using the IMAP4 protocol failed for "
		"the following message: 7\r\n";
	static const char other[] =
		"Subject: x\r\n\r\nRetrieval using the IMAP4 protocol went well";

	(void)state;
	assert_true(imap_poison_is_stub(stub, sizeof stub - 1));
	assert_false(imap_poison_is_stub(other, sizeof other - 1));
	assert_false(imap_poison_is_stub(stub, 60)); /* cut */
	assert_false(imap_poison_is_stub(stub, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_when),
		cmocka_unit_test(test_what_is_counted),
		cmocka_unit_test(test_stub),
	};

	return cmocka_run_group_tests_name("imap_poison", tests, NULL, NULL);
}
