/* SPDX-License-Identifier: MIT */
/* t_session_mail.c - sessions that fetch and remove, with stores that fail at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/session_rig.h"

static char *large(size_t octets)
{
	char *text = mem_alloc(octets + 1);

	for (size_t i = 0; i < octets; i++)
		text[i] = "Subject: large\r\n\r\n"[i % 18];
	return text;
}

/* Before +OK an error is an -ERR; behind it there is silence and no dot (F-09). */
static void test_fetch_fails(void **state)
{
	char *text = large(300000);
	struct rig rig;

	(void)state;
	/* Small: at whatever octet. */
	for (size_t octet = 1; octet <= 32; octet++) {
		rig_init(&rig, IN "RETR 1\r\nSTAT\r\n");
		rig.fault.fail_octet = octet;
		assert_string_equal(rig_run(&rig),
				    HELLO "-ERR [SYS/TEMP] made to fail\r\n+OK 3 93\r\n");
		rig_fini(&rig);
	}
	/* Whole but not OK in the end. */
	rig_init(&rig, IN "RETR 1\r\nTOP 1 1\r\n");
	rig.fault.fail_call = 3;
	rig.fault.is_late = true;
	assert_string_equal(rig_run(&rig), HELLO "-ERR [SYS/TEMP] made to fail\r\n+OK\r\n"
						 "Subject: one\r\n\r\n..\r\n.\r\n");
	rig_fini(&rig);
	/* Large: what has left has left. DELE before it is void. */
	for (size_t octet = 140000; octet <= 300000; octet += 80000) {
		rig_init(&rig, IN "DELE 3\r\nRETR 1\r\nQUIT\r\n");
		rig.messages[0].octets = text;
		rig.fault.fail_octet = octet;
		const char *hears = rig_run(&rig);
		assert_non_null(strstr(hears, "+OK 300000 octets\r\nSubject: large\r\n"));
		size_t len = strlen(hears);
		assert_true(len > 16384 && len < octet + 200);
		assert_null(strstr(hears, "\r\n.\r\n"));
		assert_null(strstr(hears, "-ERR"));
		assert_null(strstr(hears, "removed"));
		assert_true(rig.client.is_aborted);
		assert_int_equal(rig_removed(&rig), 0);
		assert_int_equal(rig.store.updates, 0);
		rig_fini(&rig);
	}
	free(text);
}

static void test_message_errors(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, IN "RETR 1\r\nRETR 2\r\nRETR 3\r\nTOP 1 0\r\nTOP 3 0\r\nSTAT\r\n" BYE);
	rig.messages[0].refuse = ERR_MESSAGE;
	rig.messages[1].refuse = ERR_POLICY;
	/* Empty, but listed with 39 octets: not an empty mail (F-10). */
	rig.messages[2].octets = "";
	rig.messages[2].listed = 39;
	assert_string_equal(rig_run(&rig), HELLO
			    "-ERR no such message\r\n-ERR [SYS/PERM] message cannot be fetched\r\n"
			    "-ERR [SYS/TEMP] the message came empty\r\n-ERR no such message\r\n"
			    "-ERR [SYS/TEMP] the message came empty\r\n+OK 3 93\r\n+OK bye\r\n");
	for (int i = 0; i < 3; i++)
		assert_false(rig.messages[i].is_seen);
	rig_fini(&rig);

	/* A store that suddenly dislikes the credential does not make the client ask for it. */
	static const struct {
		enum err_kind kind;
		const char *code;
	} kinds[] = {{ERR_LOGIN, "[SYS/PERM]"}, {ERR_IN_USE, "[SYS/TEMP]"}};
	for (int i = 0; i < 2; i++) {
		char want[512];
		snprintf(want, sizeof want, HELLO "-ERR %s made to fail\r\n", kinds[i].code);
		rig_init(&rig, IN "RETR 1\r\n");
		rig.fault.kind = kinds[i].kind;
		rig.fault.fail_call = 3;
		assert_string_equal(rig_run(&rig), want);
		rig_fini(&rig);
	}
}

/* A wrong size upstream cuts and pads nothing (F-08); a really empty message is one. */
static void test_sizes_that_lie(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, IN "LIST 1\r\nRETR 1\r\nTOP 1 5\r\nRETR 2\r\nTOP 2 1\r\n");
	rig.messages[0].octets = "a: b\r\n\r\nx\r\n";
	rig.messages[0].listed = 4711;
	rig.messages[1].octets = "";
	rig.messages[1].len = 0;
	assert_string_equal(rig_run(&rig), GREETING
			    "+OK send PASS\r\n+OK maildrop has 3 messages (4750 octets)\r\n"
			    "+OK 1 4711\r\n+OK 11 octets\r\na: b\r\n\r\nx\r\n.\r\n"
			    "+OK\r\na: b\r\n\r\nx\r\n.\r\n"
			    "+OK 0 octets\r\n.\r\n+OK\r\n\r\n.\r\n");
	rig_fini(&rig);
}

/* TOP goes on in ranges until it has its lines, and has the same octets as RETR (C-13). */
static void test_top_in_ranges(void **state)
{
	enum { HEADER = 40000, BODY = 200000 };
	char *text = mem_alloc(HEADER + BODY + 8);

	(void)state;
	memset(text, 'h', HEADER);
	memcpy(text + HEADER, "\r\n\r\n", 4);
	for (size_t i = 0; i < BODY; i += 100)
		snprintf(text + HEADER + 4 + i, 101, "%098zu\r\n", i);
	/* CR and LF on either side of a range's border. */
	memcpy(text + 16383, "\r\n", 2);
	static const struct {
		const char *lines;
		unsigned fetches;
		size_t octets;
	} cases[] = {
		{"0", 2, HEADER + 4},
		{"91", 2, HEADER + 4 + 9100},
		{"92", 3, HEADER + 4 + 9200},
		{"1999", 4, HEADER + 4 + BODY - 100},
		{"2000", 4, HEADER + 4 + BODY},
		{"2001", 4, HEADER + 4 + BODY},
		{"99999999", 1, HEADER + 4 + BODY},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char says[128];
		struct rig rig;

		snprintf(says, sizeof says, IN "TOP 1 %s\r\n" BYE, cases[i].lines);
		rig_init(&rig, says);
		rig.messages[0].octets = text;
		rig.store.chunk = 1000 + i;
		const char *hears = strstr(rig_run(&rig), "octets)\r\n+OK\r\nhhhh");
		assert_non_null(hears);
		hears += strlen("octets)\r\n+OK\r\n");
		assert_memory_equal(hears, text, cases[i].octets);
		assert_string_equal(hears + cases[i].octets, ".\r\n+OK bye\r\n");
		assert_int_equal(rig.store.fetches, cases[i].fetches);
		assert_false(rig.messages[0].is_seen);
		rig_fini(&rig);
	}
	free(text);
}

/* \Seen is for what was RETRieved, not TOPped, and RSET takes it back (C-15, C-19). */
static void test_seen(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, IN "RETR 1\r\nTOP 2 99999\r\n" BYE);
	rig_run(&rig);
	assert_true(rig.messages[0].is_seen);
	assert_false(rig.messages[1].is_seen);
	assert_non_null(strstr(rig.log.text, "retrieved=1"));
	rig_fini(&rig);
	rig_init(&rig, IN "RETR 1\r\nRSET\r\n" BYE);
	rig_run(&rig);
	assert_false(rig.messages[0].is_seen);
	rig_fini(&rig);
}

static void test_read_only(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, IN "DELE 1\r\nDELE 9\r\nSTAT\r\n" BYE);
	rig.store.is_read_only = true;
	assert_string_equal(rig_run(&rig), HELLO
			    "-ERR [SYS/PERM] maildrop is read-only\r\n-ERR no such message\r\n"
			    "+OK 3 93\r\n+OK bye\r\n");
	rig_fini(&rig);
	rig_init(&rig, IN "DELE 1\r\n" BYE);
	rig.accounts.conf.delete_policy = DELETE_NEVER;
	assert_string_equal(
		rig_run(&rig),
		HELLO "-ERR [SYS/PERM] messages of this maildrop are not deleted\r\n+OK bye\r\n");
	rig_fini(&rig);
}

static void test_update(void **state)
{
	struct rig rig;

	(void)state;
	/* It failed, and the reply says so (D-03). */
	rig_init(&rig, IN "DELE 1\r\nDELE 2\r\n" BYE);
	rig.store.update_err = ERR(ERR_UPSTREAM, 0, "gone away");
	assert_string_equal(rig_run(&rig),
			    HELLO "+OK message 1 deleted\r\n+OK message 2 deleted\r\n"
				  "-ERR [SYS/TEMP] some deleted messages not removed\r\n");
	assert_non_null(strstr(rig.log.text, "event=update-failed"));
	rig_fini(&rig);
	rig_init(&rig, IN "DELE 1\r\n" BYE);
	rig.store.update_err = ERR(ERR_POLICY, 0, "not permitted");
	assert_string_equal(rig_run(&rig),
			    HELLO "+OK message 1 deleted\r\n"
				  "-ERR [SYS/PERM] some deleted messages not removed\r\n");
	rig_fini(&rig);
	/* The client is gone when QUIT is read: done all the same (D-02). */
	rig_init(&rig, IN "DELE 1\r\n" BYE);
	rig.client.fail_write = 2;
	rig_run(&rig);
	assert_int_equal(rig.client.writes >= 2, 1);
	assert_int_equal(rig_removed(&rig), 0); /* it was gone before the login: never got there */
	rig_fini(&rig);
	rig_init(&rig, IN "DELE 1\r\n" BYE);
	rig.client.fail_write = 3; /* that of QUIT */
	rig_run(&rig);
	assert_int_equal(rig.store.updates, 1);
	rig_fini(&rig);
}

/* A connection that is lost at any octet of what the client says: nothing removed but by a QUIT
 * that was whole. */
static void test_lost_anywhere(void **state)
{
	static const char says[] = IN "DELE 1\r\nRETR 2\r\nQUIT\r\n";

	(void)state;
	for (size_t cut = 0; cut <= strlen(says); cut++) {
		struct rig rig;

		rig_init(&rig, says);
		rig.client.cut = cut;
		rig_run(&rig);
		assert_int_equal(rig_removed(&rig), cut == strlen(says));
		rig_fini(&rig);
	}
}

/* While UPDATE runs, whoever wants the maildrop waits longer (G-08). */
static struct rig *updating;

static struct err update_with_a_waiter(struct upstream *up, const struct maildrop *drop)
{
	const struct env *env = &updating->world.env;
	uint64_t before_ms = updating->world.slept_ms;
	struct lock *lock;

	(void)drop;
	assert_int_equal(updating->session.state, UPDATE);
	assert_int_equal(lock_take(updating->session.locks, env, up->identity,
				   &(struct lock_holder){.name = "joe"}, 0, 300, &lock)
				 .kind,
			 ERR_IN_USE);
	assert_int_equal(updating->world.slept_ms - before_ms, 300);
	return OK;
}

static void test_waiting_for_update(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, IN BYE);
	rig.store.ops.update = update_with_a_waiter;
	updating = &rig;
	assert_string_equal(rig_run(&rig), HELLO "+OK bye\r\n");
	assert_int_equal(rig.world.slept_ms, 300);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetch_fails),
		cmocka_unit_test(test_message_errors),
		cmocka_unit_test(test_sizes_that_lie),
		cmocka_unit_test(test_top_in_ranges),
		cmocka_unit_test(test_seen),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_update),
		cmocka_unit_test(test_lost_anywhere),
		cmocka_unit_test(test_waiting_for_update),
	};
	return cmocka_run_group_tests_name("session-mail", tests, NULL, NULL);
}
