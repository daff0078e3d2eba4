/* SPDX-License-Identifier: MIT */
/* t_session_move.c - a session that is set down with a claim and picked up again says what any other
 * says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "session/parked.h"
#include "tests/unit/session_rig.h"

static bool always(struct accounts *accounts, const struct credential *claim)
{
	(void)accounts;
	assert_non_null(claim->name);
	return true;
}

/* Runs it in pieces; how many moves there were. */
static unsigned run_in_pieces(struct rig *rig)
{
	struct lock_table *locks[2] = {rig->session.locks, lock_table_new()};
	unsigned moves = 0;

	bool is_parked = session_run(&rig->session, &rig->client.stream);
	while (is_parked) {
		assert_int_equal(rig->session.state, AUTHORIZATION);
		assert_non_null(rig->session.parked);
		assert_null(rig->session.account);
		assert_false(rig->client.is_closed);
		moves++;
		rig->session.locks = locks[moves % 2];
		is_parked = session_go_on(&rig->session);
	}
	assert_int_equal(rig->session.state, CLOSED);
	assert_null(rig->session.parked);
	assert_true(rig->client.is_closed);
	assert_int_equal(rig->store.opens, rig->store.closes);
	assert_int_equal(rig->accounts.given, rig->accounts.freed);
	rig->log.text[rig->log.len] = '\0';
	assert_null(strstr(rig->log.text, "secret"));
	lock_table_free(locks[0]);
	lock_table_free(locks[1]);
	return moves;
}

static void t_says_the_same(void **unused)
{
	static const struct {
		const char *input;
		unsigned moves;
	} cases[] = {
		{IN "STAT\r\nRETR 1\r\nDELE 2\r\n" BYE, 1},
		{"USER joe\r\nPASS wrong\r\n" IN BYE, 2},
		{"USER none\r\nPASS x\r\nUSER joe\r\nPASS x\r\nNOOP\r\n" BYE, 2},
		{"PASS secret\r\n" IN BYE, 1},
		{"USER shut\r\nPASS x\r\n" BYE, 1},
		{"USER trouble\r\nPASS x\r\n" IN BYE, 2},
		{"AUTH PLAIN AGpvZQBzZWNyZXQ=\r\nSTAT\r\n" BYE, 1},
		{"AUTH PLAIN\r\nAGpvZQB3cm9uZw==\r\nAUTH PLAIN\r\nAGpvZQBzZWNyZXQ=\r\n" BYE, 2},
		{"AUTH LOGIN\r\nam9l\r\nc2VjcmV0\r\nLIST\r\n" BYE, 1},
		{"AUTH LOGIN\r\n*\r\n" IN BYE, 1},
		{IN, 1}, /* the client vanishes */
		{"USER joe\r\nPASS x\r\nUSER joe\r\nPASS x\r\nUSER joe\r\nPASS x\r\n" IN, 3},
		{BYE, 0},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig plain, moved;
		rig_init(&plain, cases[i].input);
		rig_init(&moved, cases[i].input);
		struct accounts_ops ops = *moved.accounts.accounts.ops;
		ops.is_elsewhere = always;
		moved.accounts.accounts.ops = &ops;
		const char *expected = rig_run(&plain);
		assert_int_equal(run_in_pieces(&moved), cases[i].moves);
		assert_string_equal(canned_output(&moved.client), expected);
		assert_int_equal(rig_removed(&moved), rig_removed(&plain));
		assert_int_equal(moved.world.now_ms, plain.world.now_ms);
		rig_fini(&plain);
		rig_fini(&moved);
	}
}

static void t_is_left_lying(void **unused)
{
	struct rig rig;

	(void)unused;
	rig_init(&rig, IN BYE);
	struct accounts_ops ops = *rig.accounts.accounts.ops;
	ops.is_elsewhere = always;
	rig.accounts.accounts.ops = &ops;
	assert_true(session_run(&rig.session, &rig.client.stream));
	assert_string_equal(rig.session.parked->claim.password, "secret");
	stream_abort(rig.session.client);
	session_abandon(&rig.session);
	assert_int_equal(rig.session.state, CLOSED);
	assert_null(rig.session.parked);
	assert_true(rig.client.is_closed);
	assert_int_equal(rig.accounts.given, 0);
	lock_table_free(rig.session.locks);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t_says_the_same),
		cmocka_unit_test(t_is_left_lying),
	};

	return cmocka_run_group_tests_name("session_move", tests, NULL, NULL);
}
