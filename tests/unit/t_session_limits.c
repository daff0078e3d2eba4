/* SPDX-License-Identifier: MIT */
/* t_session_limits.c - how long a client may take, how long its lines may be, how often it may err.
 */
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

/* A stream that waits for ever once its words are out: the clock moves to its limit. */
struct waiting {
	struct rig *rig;
	uint64_t wait_ms, until_ms; /* of the read that had to wait */
};
static struct stream_ops waiting_ops;
static const struct stream_ops *canned_ops;

static struct err waiting_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct canned *canned = (struct canned *)stream;

	if (canned->at < canned->input_len)
		return canned_ops->read(stream, into, max, got);
	*got = 0;
	return ERR(ERR_CLIENT, ETIMEDOUT, "no octets in time");
}

static void let_wait(struct rig *rig)
{
	canned_ops = rig->client.stream.ops;
	waiting_ops = *canned_ops;
	waiting_ops.read = waiting_read;
	rig->client.stream.ops = &waiting_ops;
}

static void test_times(void **state)
{
	struct rig rig;

	(void)state;
	/* AUTHORIZATION: one moment for all of it. */
	rig_init(&rig, "CAPA\r\n");
	let_wait(&rig);
	rig_run(&rig);
	assert_int_equal(rig.client.until_ms, 0); /* limits for writing come behind every wait */
	assert_int_equal(rig.client.wait_ms, rig.conf.stall_ms);
	rig_fini(&rig);
	/* TRANSACTION: no words at the end, no UPDATE. */
	rig_init(&rig, IN "DELE 1\r\n");
	let_wait(&rig);
	assert_string_equal(rig_run(&rig), HELLO "+OK message 1 deleted\r\n");
	assert_int_equal(rig.store.updates, 0);
	rig_fini(&rig);
	/* Lines that are there already do not outrun the end of AUTHORIZATION: after two
	 * refusals, which take 2 s and 4 s, it is over though more lines wait. */
	rig_init(&rig, "USER joe\r\nPASS x\r\nUSER joe\r\nPASS x\r\n" IN);
	rig.conf.authorization_ms = 5000;
	assert_string_equal(rig_run(&rig),
			    GREETING "+OK send PASS\r\n" AUTH_ERR "+OK send PASS\r\n" AUTH_ERR);
	rig_fini(&rig);
}

/* What each wait for the client may last. */
static struct {
	uint64_t until[16];
	size_t count;
} waits;

static struct err noting_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct canned *canned = (struct canned *)stream;

	assert_true(waits.count < 16);
	waits.until[waits.count++] = canned->until_ms;
	return canned_ops->read(stream, into, max, got);
}

static void test_deadlines(void **state)
{
	static const char says[] = "USER joe\r\nPASS secret\r\nNOOP\r\nNO";
	struct rig rig;

	(void)state;
	rig_init(&rig, says);
	canned_ops = rig.client.stream.ops;
	waiting_ops = *canned_ops;
	waiting_ops.read = noting_read;
	rig.client.stream.ops = &waiting_ops;
	rig.client.chunk = 10; /* "USER joe\r\n", "PASS secre", "t\r\nNOOP\r\nN", "O" */
	waits.count = 0;
	uint64_t now = rig.world.now_ms;
	rig_run(&rig);
	assert_int_equal(waits.count, 5);
	assert_int_equal(waits.until[0], now + 180000);
	assert_int_equal(waits.until[1], now + 180000);
	assert_int_equal(waits.until[2], now + 60000); /* begun while we waited */
	assert_int_equal(waits.until[3], now + 60000); /* a begun line */
	rig_fini(&rig);

	rig_init(&rig, IN "NOOP\r\n");
	rig.conf.nudge_ms = 0; /* it would cut the wait in pieces */
	rig.client.stream.ops = &waiting_ops;
	waits.count = 0;
	rig_run(&rig);
	assert_int_equal(waits.count, 2);
	assert_int_equal(waits.until[1], now + 600000);
	rig_fini(&rig);

	/* A SASL exchange has its own. */
	rig_init(&rig, "AUTH PLAIN\r\n");
	rig.client.stream.ops = &waiting_ops;
	waits.count = 0;
	rig_run(&rig);
	assert_int_equal(waits.count, 2);
	assert_int_equal(waits.until[1], now + 60000);
	rig_fini(&rig);
}

static void test_strikes(void **state)
{
	char says[4096], *at;
	struct rig rig;

	(void)state;
	/* Ten in a row before login; probes do not count, a good command forgives. */
	for (int good = 0; good < 2; good++) {
		at = says;
		for (int i = 0; i < 9; i++)
			at += sprintf(at, "HUH\r\nAUTH GSSAPI\r\n");
		at += sprintf(at, good ? "CAPA\r\nHUH\r\n" BYE : "HUH\r\n" BYE);
		rig_init(&rig, says);
		assert_int_equal(!!strstr(rig_run(&rig), "+OK bye"), good);
		rig_fini(&rig);
	}
	/* Twenty after it. Messages that do not exist are no strikes. */
	for (int n = 19; n <= 20; n++) {
		at = says + sprintf(says, IN);
		for (int i = 0; i < n; i++)
			at += sprintf(at, "HUH\r\nRETR 7\r\n");
		sprintf(at, BYE);
		rig_init(&rig, says);
		assert_int_equal(!!strstr(rig_run(&rig), "+OK bye"), n < 20);
		rig_fini(&rig);
	}
	/* Those from before login are forgotten at login. */
	at = says;
	for (int i = 0; i < 9; i++)
		at += sprintf(at, "HUH\r\n");
	at += sprintf(at, IN);
	for (int i = 0; i < 19; i++)
		at += sprintf(at, "HUH\r\n");
	sprintf(at, BYE);
	rig_init(&rig, says);
	assert_non_null(strstr(rig_run(&rig), "+OK bye"));
	rig_fini(&rig);
}

/* Too long a line gets one -ERR, and the session stays in step. */
static void test_huge_lines(void **state)
{
	static const size_t lens[] = {300, 1500, 70000, 65535, 65536, 65537, 131000};
	char *says = mem_alloc(140000);

	(void)state;
	for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
		for (size_t chunk = 0; chunk <= 1000; chunk += 1000) {
			struct rig rig;
			size_t at = strlen(IN);

			memcpy(says, IN, at);
			memset(says + at, 'x', lens[i]);
			strcpy(says + at + lens[i], "\r\nNOOP\r\nUSER ");
			rig_init(&rig, says);
			rig.client.chunk = chunk;
			assert_string_equal(rig_run(&rig), HELLO "-ERR line too long\r\n+OK\r\n");
			rig_fini(&rig);
		}
	/* Without an end: closed. */
	struct rig rig;
	memset(says, 'x', 139000);
	says[139000] = '\0';
	rig_init(&rig, says);
	assert_string_equal(rig_run(&rig), GREETING);
	rig_fini(&rig);
	/* It also stands between USER and PASS. */
	memset(says, 'x', 70000);
	memcpy(says, "USER joe\r\n", 10);
	strcpy(says + 70000, "\r\nPASS secret\r\n");
	rig_init(&rig, says);
	assert_string_equal(rig_run(&rig),
			    GREETING "+OK send PASS\r\n-ERR line too long\r\n-ERR USER first\r\n");
	rig_fini(&rig);
	free(says);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_strikes),
		cmocka_unit_test(test_huge_lines),
	};
	return cmocka_run_group_tests_name("session-limits", tests, NULL, NULL);
}
