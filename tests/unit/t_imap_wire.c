/* SPDX-License-Identifier: MIT */
/* t_imap_wire.c - the doorman's hands: turns, facts, failures, TLS, what is logged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libetpan/mailstream_low.h>

#include "proxy/base/mem.h"
#include "tests/fake/flow.h"
#include "tests/fake/heard.h"
#include "tests/fake/world.h"

#define HELLO "* OK hello\r\n"

static void test_facts(void **state)
{
	static const char in[] = HELLO
		"* 3 EXISTS\r\n* NO [ALERT] disk nearly full \r\n* 2 EXPUNGE\r\n* 1 EXPUNGE\r\n"
		"* VANISHED 1\r\n* 9 FETCH (BODY[]<20> {3}\r\nabc)\r\n* 8 FETCH (FLAGS ())\r\n"
		"* BYE [UNAVAILABLE] see you\r\n"
		"1 NO [copyuid 1 (a]) 2] no [more] \xff\r\n";
	struct heard heard;

	(void)state;
	heard_init(&heard, in, sizeof in - 1, NULL);
	imap_wire_expect_body(heard.wire, 3, heard_body, &heard);
	assert_true(heard_all(&heard, 4096));
	assert_int_equal(imap_wire_exists(heard.wire), 0); /* 3, less 2 expunged and 1 vanished */
	assert_int_equal(imap_wire_expunges(heard.wire), 3);
	assert_true(imap_wire_vanished(heard.wire));
	assert_string_equal(imap_wire_alert(heard.wire), "disk nearly full");
	assert_int_equal(imap_wire_bye(heard.wire)->outcome, WIRE_BYE);
	assert_string_equal(imap_wire_bye(heard.wire)->code, "UNAVAILABLE");
	assert_string_equal(imap_wire_bye(heard.wire)->text, "see you");
	const struct wire_status *status = imap_wire_status(heard.wire);
	assert_int_equal(status->outcome, WIRE_NO);
	assert_string_equal(status->code, "COPYUID");
	assert_string_equal(status->code_args, "1 (a]) 2");
	assert_string_equal(status->text, "no [more] \xff");
	assert_int_equal(heard.bodies, 1);
	assert_int_equal(heard.body.octets, 3);
	assert_true(heard.body.has_origin);
	assert_int_equal(heard.body.origin, 20);
	assert_string_equal(heard_items(&heard), "9 body;8 flags;");
	assert_string_equal(heard_rule(&heard), "the mail server said goodbye");
	assert_true(heard_fini(&heard));
}

/* H-05: a BYE counts when its turn comes; what stands before it counts first. */
static void test_bye(void **state)
{
	static const char in[] =
		HELLO "* 1 FETCH (UID 7)\r\n1 OK done\r\n* BYE [UNAVAILABLE] later\r\n";
	static const char within[] =
		HELLO "* 1 FETCH (UID 7)\r\n* BYE Session expired\r\n* 2 FETCH (UID 8)\r\n";
	struct heard heard;

	(void)state;
	heard_init(&heard, in, sizeof in - 1, NULL);
	assert_int_equal(heard_once(&heard, 100), 8);
	assert_int_equal(heard_once(&heard, 100), 8);
	assert_int_equal(imap_wire_status(heard.wire)->outcome, WIRE_OK);
	assert_int_equal(imap_wire_bye(heard.wire)->outcome, WIRE_NONE);
	assert_string_equal(heard_items(&heard), "1 uid 7;");
	imap_wire_expect_tag(heard.wire, "2");
	assert_true(heard_all(&heard, 100));
	assert_string_equal(imap_wire_bye(heard.wire)->code, "UNAVAILABLE");
	assert_string_equal(imap_wire_bye(heard.wire)->text, "later");
	assert_string_equal(imap_wire_status(heard.wire)->text, "done");
	assert_string_equal(heard_rule(&heard), "the mail server said goodbye");
	assert_true(heard_fini(&heard));
	heard_init(&heard, within, sizeof within - 1, NULL);
	assert_true(heard_all(&heard, 100));
	assert_string_equal(heard_items(&heard), "1 uid 7;2 uid 8;");
	assert_string_equal(imap_wire_bye(heard.wire)->text, "Session expired");
	assert_string_equal(heard_rule(&heard), "the mail server said goodbye");
	assert_true(heard_fini(&heard));
}

/* Each reply is heard alone: what is expected of the next one is not known before it was read. */
static void test_turns(void **state)
{
	static const char in[] = HELLO "1 OK a\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\n2 OK b\r\n";
	struct heard heard;
	char octets[100];

	(void)state;
	heard_init(&heard, in, sizeof in - 1, NULL);
	mailstream_low *low = imap_wire_low(heard.wire);
	assert_int_equal(low->driver->mailstream_read(low, octets, 100), 8);
	assert_int_equal(imap_wire_round_trips(heard.wire), 0);
	assert_int_equal(low->driver->mailstream_write(low, "1 NOOP\r\n", 8), 8);
	assert_int_equal(low->driver->mailstream_read(low, octets, 100), 8);
	assert_memory_equal(octets, "1 OK .\r\n", 8);
	assert_string_equal(imap_wire_status(heard.wire)->text, "a");
	imap_wire_expect_tag(heard.wire, "2");
	imap_wire_expect_body(heard.wire, 3, heard_body, &heard);
	assert_true(heard_all(&heard, 4096));
	assert_int_equal(heard.bodies, 1);
	assert_string_equal(imap_wire_status(heard.wire)->text, "b");
	/* No call below had to wait after we wrote but the one that found the end. */
	assert_string_equal(canned_output(&heard.canned), "1 NOOP\r\n");
	assert_true(heard_fini(&heard));
}

static void test_round_trips(void **state)
{
	static const char in[] = HELLO "1 OK a\r\n2 OK b\r\n";
	struct heard heard;
	char octets[100];

	(void)state;
	heard_init(&heard, in, sizeof in - 1, NULL);
	heard.canned.chunk = 4; /* two reads a reply, one of them a round trip */
	mailstream_low *low = imap_wire_low(heard.wire);
	assert_int_equal(low->driver->mailstream_read(low, octets, 100), 8);
	for (unsigned i = 1; i <= 2; i++) {
		imap_wire_expect_tag(heard.wire, i == 1 ? "1" : "2");
		assert_int_equal(low->driver->mailstream_write(low, "x", 1), 1);
		assert_int_equal(low->driver->mailstream_write(low, "y", 1), 1);
		assert_int_equal(low->driver->mailstream_read(low, octets, 100), 8);
		assert_int_equal(imap_wire_round_trips(heard.wire), i);
	}
	assert_string_equal(canned_output(&heard.canned), "xyxy");
	assert_true(heard_fini(&heard));
}

static void test_kill(void **state)
{
	static const char in[] = HELLO "* 1 FETCH (BODY[] {3}\r\nabc)\r\n";
	struct heard heard;

	(void)state;
	heard_init(&heard, in, sizeof in - 1, NULL);
	heard.kills = true;
	imap_wire_expect_body(heard.wire, 100, heard_body, &heard);
	assert_int_equal(imap_wire_error(heard.wire).kind, ERR_NONE);
	assert_true(heard_all(&heard, 4096));
	assert_int_equal(heard.bodies, 1);
	assert_null(strstr(heard_text(&heard), "abc"));
	assert_int_equal(imap_wire_error(heard.wire).code, ECANCELED);
	assert_true(heard_fini(&heard));
}

/* The stream's own failures are told as they are. */
static void test_lost(void **state)
{
	static const char in[] = HELLO "1 OK a\r\n";
	struct heard heard;

	(void)state;
	heard_init(&heard, in, sizeof in - 1, NULL);
	heard.canned.cut = strlen(HELLO) + 3;
	assert_true(heard_all(&heard, 4096));
	assert_int_equal(imap_wire_error(heard.wire).code, ECONNRESET);
	assert_true(heard_fini(&heard));
	heard_init(&heard, in, sizeof in - 1, NULL);
	heard.canned.fail_write = 1;
	mailstream_low *low = imap_wire_low(heard.wire);
	assert_int_equal(low->driver->mailstream_write(low, "x", 1), -1);
	assert_int_equal(imap_wire_error(heard.wire).code, ECONNRESET);
	imap_wire_limit(heard.wire, 5, 6);
	assert_int_equal(heard.canned.wait_ms, 5);
	assert_true(heard_fini(&heard));
}

static void secure_case(const char *in, struct err answer, const char *rule)
{
	struct fake_world world;
	struct tls_policy policy = {.host = "x"};
	struct heard heard;
	char octets[100];

	fake_world_init(&world);
	world.secure_err = answer;
	heard_init(&heard, in, strlen(in), NULL);
	mailstream_low *low = imap_wire_low(heard.wire);
	while (!imap_wire_status(heard.wire)->text[0] ||
	       strcmp(imap_wire_status(heard.wire)->text, "go") != 0)
		assert_true(low->driver->mailstream_read(low, octets, 100) > 0);
	imap_wire_limit(heard.wire, 7, 8);
	struct err err = imap_wire_secure(heard.wire, &world.env, &policy);
	if (rule) {
		assert_non_null(err.what);
		assert_non_null(strstr(err.what, rule));
		assert_true(imap_wire_is_dead(heard.wire));
		assert_int_equal(low->driver->mailstream_read(low, octets, 100), -1);
	} else {
		assert_int_equal(err.kind, ERR_NONE);
		assert_int_equal(imap_wire_status(heard.wire)->outcome, WIRE_NONE);
		assert_string_equal(imap_wire_alert(heard.wire), "");
		assert_string_equal(imap_wire_capabilities(heard.wire), "");
		assert_string_equal(imap_wire_id(heard.wire), "");
		assert_int_equal(imap_wire_folder(heard.wire)->uidvalidity, 0);
		assert_int_equal(heard.canned.wait_ms, 7);
	}
	assert_true(heard_fini(&heard));
}

/* What was allowed for one command is not for the next. */
static void test_body_once(void **state)
{
	static const char in[] = HELLO "1 OK a\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\n2 OK b\r\n";
	struct heard heard;

	(void)state;
	heard_init(&heard, in, sizeof in - 1, NULL);
	imap_wire_expect_body(heard.wire, 3, heard_body, &heard);
	assert_int_equal(heard_once(&heard, 100), 8);
	assert_int_equal(heard_once(&heard, 100), 8);
	imap_wire_expect_tag(heard.wire, "2");
	assert_true(heard_all(&heard, 100));
	assert_int_equal(heard.bodies, 0);
	assert_string_equal(heard_rule(&heard), "a message came that was not asked for");
	assert_true(heard_fini(&heard));
}

/* What the stream holds for itself counts as well. */
static void test_secure_pending(void **state)
{
	struct fake_world world;
	struct tls_policy policy = {.host = "x"};
	struct heard heard;

	(void)state;
	fake_world_init(&world);
	heard_init(&heard, "* OK x\r\n", 8, NULL);
	assert_int_equal(heard_once(&heard, 100), 8);
	assert_true(buf_put(&heard.canned.stream.in, "x", 1));
	assert_int_equal(imap_wire_secure(heard.wire, &world.env, &policy).kind, ERR_UPSTREAM);
	assert_int_equal(world.secures, 0);
	assert_true(heard_fini(&heard));
}

/* B-15: nothing that was said in clear counts behind TLS. */
static void test_secure(void **state)
{
	struct err bad = ERR(ERR_POLICY, 1, "bad certificate");

	(void)state;
	secure_case("* OK [ALERT] x\r\n* CAPABILITY X\r\n* ID (\"name\" \"x\")\r\n"
		    "* OK [UIDVALIDITY 5]\r\n1 OK go\r\n",
		    OK, NULL);
	secure_case("* OK x\r\n1 OK go\r\n", bad, "bad certificate");
	secure_case("* OK x\r\n1 OK go\r\n* CAPABILITY X\r\n", OK, "before TLS");
	secure_case("* OK x\r\n1 OK go\r\n ", OK, "before TLS");
}

/* A server that repeats what we say to it: our words are in no log (B-22). */
struct written {
	struct log_target target;
	struct buf lines;
};

static void write_line(struct log_target *target, enum log_level level, const char *line,
		       size_t len)
{
	(void)level;
	assert_true(buf_put(&((struct written *)target)->lines, line, len));
}

static void test_log(void **state)
{
	struct written written = {.target = {write_line, LEVEL_DEBUG}};
	struct log log = {.target = &written.target, .tag = "sid=1"};
	static const char in[] =
		HELLO "* NO [ALERT] sorry\r\n* 1 FETCH (UID 7 BODY[] {6}\r\nsecret)\r\n"
		      "1 LOGIN joe sesame\r\n";
	struct heard heard;

	(void)state;
	buf_init(&written.lines, 65536);
	heard_init(&heard, in, sizeof in - 1, &log);
	imap_wire_expect_body(heard.wire, 100, NULL, NULL);
	assert_true(heard_all(&heard, 4096));
	assert_true(buf_put(&written.lines, "", 1));
	const char *lines = buf_data(&written.lines);
	assert_non_null(strstr(lines, "sorry"));
	assert_non_null(strstr(lines, "event=imap-refused"));
	assert_null(strstr(lines, "sesame"));
	assert_null(strstr(lines, "secret"));
	buf_fini(&written.lines);
	assert_true(heard_fini(&heard));
}

/* A server that warns without end does not fill the log. */
static void test_log_flood(void **state)
{
	struct written written = {.target = {write_line, LEVEL_NOTE}};
	struct log log = {.target = &written.target, .tag = "sid=1"};
	struct heard heard;
	struct buf in;

	(void)state;
	buf_init(&in, 65536);
	assert_true(buf_printf(&in, HELLO));
	for (int i = 0; i < 1000; i++)
		assert_true(buf_printf(&in, "* NO %d\r\n", i));
	buf_init(&written.lines, 2000);
	heard_init(&heard, buf_data(&in), buf_len(&in), &log);
	assert_true(heard_all(&heard, 4096));
	buf_fini(&written.lines);
	buf_fini(&in);
	assert_true(heard_fini(&heard));
}

/* What is odd is logged, each kind once (N-14); a message's octets never are. */
static void test_odd(void **state)
{
	static const char in[] =
		HELLO "* 1 FETCH (RFC822.SIZE -5)\r\n* 2 FETCH (RFC822.SIZE 0)\r\n"
		      "* OK [UIDVALIDITY 0]\r\n* 0 FETCH ()\r\n* 1 FETCH ((UID 7MODSEQ (1))))\r\n"
		      "* [X]\r\n* VANISHED x\r\n* LIST () NIL a b\r\n* 1 FETCH (BODY[HEADER] "
		      "{-1}\r\n)\r\n"
		      "* 1 FETCH (BODY[] {8}secret\r\n)\r\n";
	struct written written = {.target = {write_line, LEVEL_DEBUG}};
	struct log log = {.target = &written.target, .tag = "sid=1"};
	struct heard heard;
	unsigned count = 0;

	(void)state;
	buf_init(&written.lines, 65536);
	heard_init(&heard, in, sizeof in - 1, &log);
	imap_wire_expect_body(heard.wire, 100, NULL, NULL);
	assert_true(heard_all(&heard, 4096));
	assert_string_equal(heard_rule(&heard), "the mail server closed the connection");
	assert_true(buf_put(&written.lines, "", 1));
	const char *lines = buf_data(&written.lines);
	for (const char *at = lines; (at = strstr(at, "event=imap-odd")); at++)
		count++;
	assert_int_equal(count, 11);
	assert_null(strstr(lines, "secret"));
	buf_fini(&written.lines);
	assert_true(heard_fini(&heard));
}

enum { HEAD = 64 }; /* octets: more than what is said between two parts of a body */

/* What libetpan hears of a body: heads of FETCH replies, the octets between them. */
struct parts {
	uint64_t left, got; /* of this part; of the body */
	char head[HEAD];    /* up to its LF */
	size_t head_len;
	unsigned count;
	bool is_wrong;
};

static void take_head(struct parts *parts, char c)
{
	unsigned long long octets;

	assert_true(parts->head_len < HEAD - 1);
	parts->head[parts->head_len++] = c;
	if (c != '\n')
		return;
	parts->head[parts->head_len] = '\0';
	parts->head_len = 0;
	if (sscanf(parts->head, "* 3 FETCH (BODY[] {%llu}", &octets) != 1)
		return;
	parts->left = octets;
	parts->count++;
	parts->is_wrong |= octets > WIRE_PART;
}

static void take_heard(struct parts *parts, const char *octets, size_t len)
{
	while (len) {
		size_t part = parts->left < len ? (size_t)parts->left : len;
		if (!part) {
			take_head(parts, *octets++);
			len--;
			continue;
		}
		parts->is_wrong |= !flow_is(parts->got, octets, part);
		parts->got += part;
		parts->left -= part;
		octets += part;
		len -= part;
	}
}

static void note_body(void *arg, const struct wire_body *body)
{
	*(struct wire_body *)arg = *body;
}

static void note_item(void *arg, const struct wire_item *item)
{
	struct wire_item *first = arg;

	assert_int_equal(first->number, 0);
	*first = *item;
}

static void huge_case(uint64_t octets, unsigned parts_want)
{
	struct wire_body body = {.octets = 0};
	struct wire_item item = {.number = 0};
	struct parts parts = {.left = 0};
	struct flow flow;
	char before[100];
	char *into = mem_alloc(65536);
	ssize_t got;

	snprintf(before, sizeof before, HELLO "* 3 FETCH (UID 7 BODY[]<4294967296> {%llu}\r\n",
		 (unsigned long long)octets);
	flow_init(&flow, before, octets, " FLAGS (\\Seen))\r\n1 OK x\r\n");
	struct imap_wire *wire = imap_wire_new(&flow.stream, NULL);
	mailstream_low *low = imap_wire_low(wire);
	imap_wire_expect_tag(wire, "1");
	imap_wire_expect_body(wire, UINT64_MAX, note_body, &body);
	imap_wire_expect_items(wire, note_item, &item);
	while ((got = low->driver->mailstream_read(low, into, 65536)) > 0)
		take_heard(&parts, into, (size_t)got);
	assert_true(body.octets == octets && body.has_origin && body.origin == 4294967296);
	assert_true(parts.got == octets);
	assert_false(parts.is_wrong);
	assert_int_equal(parts.count, parts_want);
	assert_int_equal(parts.left, 0);
	assert_true(item.has_body && item.is_seen);
	assert_int_equal(imap_wire_status(wire)->outcome, WIRE_OK);
	imap_wire_free(wire);
	assert_true(flow.is_closed);
	free(into);
}

/* F-12: lengths of 64 bits, told to libetpan as parts that it can count. */
static void test_huge(void **state)
{
	(void)state;
	huge_case((uint64_t)WIRE_PART, 1);
	huge_case((uint64_t)WIRE_PART + 1, 2);
	huge_case(4 * (uint64_t)WIRE_PART + 70000, 5);
}

/* A length that no message can have is refused before an octet of it; one that can is not. */
static void test_huge_lengths(void **state)
{
	static const struct {
		const char *length, *rule;
		enum err_kind kind;
	} cases[] = {
		{"9223372036854775807", "the mail server closed the connection", ERR_UPSTREAM},
		{"9223372036854775808", "the message is too large", ERR_POLICY},
		{"18446744073709551615", "the message is too large", ERR_POLICY},
		{"18446744073709551616", "the message is too large", ERR_POLICY},
		{"99999999999999999999999999999999", "the message is too large", ERR_POLICY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct heard heard;
		char in[200];

		snprintf(in, sizeof in, HELLO "* 3 FETCH (BODY[] {%s}\r\nab", cases[i].length);
		heard_init(&heard, in, strlen(in), NULL);
		imap_wire_expect_body(heard.wire, UINT64_MAX, heard_body, &heard);
		assert_true(heard_all(&heard, 4096));
		assert_string_equal(heard_rule(&heard), cases[i].rule);
		assert_int_equal(imap_wire_error(heard.wire).kind, cases[i].kind);
		assert_int_equal(heard.bodies, cases[i].kind == ERR_UPSTREAM);
		assert_true(heard_fini(&heard));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),       cmocka_unit_test(test_turns),
		cmocka_unit_test(test_round_trips), cmocka_unit_test(test_kill),
		cmocka_unit_test(test_lost),        cmocka_unit_test(test_secure),
		cmocka_unit_test(test_body_once),   cmocka_unit_test(test_secure_pending),
		cmocka_unit_test(test_log),         cmocka_unit_test(test_log_flood),
		cmocka_unit_test(test_bye),         cmocka_unit_test(test_odd),
		cmocka_unit_test(test_huge),        cmocka_unit_test(test_huge_lengths),
	};

	return cmocka_run_group_tests_name("imap_wire", tests, NULL, NULL);
}
