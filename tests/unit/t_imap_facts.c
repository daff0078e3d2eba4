/* SPDX-License-Identifier: MIT */
/* t_imap_facts.c - what the doorman keeps of what a server said: numbers found and gone, the
 * folder, names and extensions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/fake/heard.h"

#define HELLO "* OK hello\r\n"

/* Reads all of `in` behind a greeting. The caller has heard_fini() to call. */
static void hear(struct heard *heard, const char *in, struct buf *all)
{
	buf_init(all, 1 << 20);
	assert_true(buf_printf(all, HELLO "%s", in));
	heard_init(heard, buf_data(all), buf_len(all), NULL);
	assert_true(heard_all(heard, 4096));
}

static void test_vanished(void **state)
{
	static const struct {
		const char *in;
		uint32_t exists, expunges;
		bool has_vanished;
	} cases[] = {
		{"* 9 EXISTS\r\n", 9, 0, false},
		{"* 9 EXISTS\r\n* VANISHED 1,3:5\r\n", 5, 4, true},
		{"* 9 EXISTS\r\n* VANISHED 5:3\r\n* 1 EXPUNGE\r\n", 5, 4, true},
		{"* 9 EXISTS\r\n* VANISHED (EARLIER) 1:5\r\n", 9, 0, true},
		{"* 9 EXISTS\r\n* vanished (earlier) 1:5\r\n", 9, 0, true},
		{"* 9 EXISTS\r\n* VANISHED 1:4294967295\r\n", 0, UINT32_MAX, true},
		{"* 9 EXISTS\r\n* VANISHED\r\n* VANISHED x\r\n* VANISHED 1,\r\n", 9, 0, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct heard heard;
		struct buf all;

		hear(&heard, cases[i].in, &all);
		assert_int_equal(imap_wire_exists(heard.wire), cases[i].exists);
		assert_int_equal(imap_wire_expunges(heard.wire), cases[i].expunges);
		assert_int_equal(imap_wire_vanished(heard.wire), cases[i].has_vanished);
		assert_true(heard_fini(&heard));
		buf_fini(&all);
	}
}

static void test_folder(void **state)
{
	static const struct {
		const char *in;
		struct wire_folder want;
	} cases[] = {
		{"* OK x\r\n* FLAGS (\\Deleted)\r\n", {.uidvalidity = 0}},
		{"* OK [UIDVALIDITY 4294967296] x\r\n", {.uidvalidity = 4294967296}},
		{"* NO [uidvalidity 18446744073709551615]\r\n", {.uidvalidity = UINT64_MAX}},
		{"* OK [UIDVALIDITY 18446744073709551616] x\r\n", {.uidvalidity = 0}},
		{"* OK [UIDVALIDITY 7] x\r\n* OK [UIDVALIDITY -1] x\r\n", {.uidvalidity = 0}},
		{"* OK [UIDVALIDITY 7 ] x\r\n* BYE [UIDVALIDITY 8]\r\n", {.uidvalidity = 7}},
		{"* [UIDVALIDITY 7] x\r\n* BAD [UIDVALIDITY 8] x\r\n", {.uidvalidity = 7}},
		{"1 OK [UIDNEXT 8] x\r\n", {.uidnext = 8}},
		{"* OK [UIDNEXT 8] x\r\n* OK [UIDNEXT 4294967296] x\r\n", {.uidnext = 0}},
		{"* OK [HIGHESTMODSEQ 9223372036854775807]\r\n", {.highestmodseq = INT64_MAX}},
		{"* OK [HIGHESTMODSEQ 5] x\r\n* OK [NOMODSEQ] x\r\n", {.highestmodseq = 0}},
		{"* OK [HIGHESTMODSEQ 5] x\r\n* OK [HIGHESTMODSEQ -1] x\r\n", {.highestmodseq = 0}},
		{"* NO [UIDNOTSTICKY] x\r\n", {.is_uid_not_sticky = true}},
		{"* OK [PERMANENTFLAGS ()] x\r\n", {.has_permanent_flags = true}},
		{"* OK [PERMANENTFLAGS (\\seen \\*)] x\r\n",
		 {.has_permanent_flags = true, .may_see = true}},
		{"* OK [PERMANENTFLAGS (\\Deleted)] x\r\n* OK [PERMANENTFLAGS (\\Seen] x\r\n",
		 {.has_permanent_flags = true, .may_delete = true}},
		{"1 OK [READ-ONLY] x\r\n", {.is_read_only = true}},
		{"1 NO [READ-ONLY] x\r\n", {.is_read_only = true}},
		{"* OK [READ-ONLY] x\r\n* NO [READ-WRITE] x\r\n", {.is_read_only = true}},
		{"* OK [READ-ONLY] x\r\n1 OK [READ-WRITE] x\r\n", {.is_read_only = false}},
		{"* OK [READ-ONLY] x\r\n* OK [CLOSED] x\r\n* OK [UIDNEXT 3]\r\n", {.uidnext = 3}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct wire_folder *want = &cases[i].want, *got;
		struct heard heard;
		struct buf all;

		hear(&heard, cases[i].in, &all);
		got = imap_wire_folder(heard.wire);
		if (got->uidvalidity != want->uidvalidity || got->uidnext != want->uidnext ||
		    got->highestmodseq != want->highestmodseq ||
		    got->is_uid_not_sticky != want->is_uid_not_sticky ||
		    got->has_permanent_flags != want->has_permanent_flags ||
		    got->may_delete != want->may_delete || got->may_see != want->may_see ||
		    got->is_read_only != want->is_read_only)
			fail_msg("%s", cases[i].in);
		imap_wire_forget_folder(heard.wire);
		assert_int_equal(got->uidvalidity, 0);
		assert_false(got->is_read_only);
		assert_true(heard_fini(&heard));
		buf_fini(&all);
	}
}

static void test_words(void **state)
{
	struct heard heard;
	struct buf all;

	(void)state;
	hear(&heard,
	     "* CAPABILITY IMAP4rev1 (x)  UIDPLUS \r\n"
	     "* ID (\"Vendor\" \"D\\\"o\xc3\" \"x\" NIL \"name\" Dovecot \"z\" {1}\r\na)\r\n"
	     "* ENABLED QRESYNC  CONDSTORE \r\n* ENABLED condstore x\r\n* ENABLED\r\n",
	     &all);
	assert_string_equal(imap_wire_greeting(heard.wire), "hello");
	assert_string_equal(imap_wire_capabilities(heard.wire), "IMAP4rev1 UIDPLUS");
	assert_string_equal(imap_wire_id(heard.wire), "Dovecot D\\\"o?");
	assert_string_equal(imap_wire_enabled(heard.wire), "QRESYNC CONDSTORE x");
	assert_true(heard_fini(&heard));
	buf_fini(&all);
	hear(&heard,
	     "* ID NIL\r\n* ID\r\n* ID (\"name\r\n* ID (\"name\")\r\n1 OK [CAPABILITY A B]\r\n",
	     &all);
	assert_string_equal(imap_wire_id(heard.wire), "");
	assert_string_equal(imap_wire_capabilities(heard.wire), "A B");
	assert_string_equal(imap_wire_enabled(heard.wire), "");
	assert_true(heard_fini(&heard));
	buf_fini(&all);
}

/* Words longer than their places are cut where one ends. */
static void test_long_words(void **state)
{
	struct heard heard;
	struct buf in, all;

	(void)state;
	buf_init(&in, 1 << 20);
	assert_true(buf_printf(&in, "* CAPABILITY"));
	for (int i = 0; i < 900; i++)
		assert_true(buf_printf(&in, " X-NUMBER%d", i));
	assert_true(buf_printf(
		&in, "\r\n* ID (\"name\" \"%0400d\" \"vendor\" \"%0400d\")\r\n* ENABLED", 0, 0));
	for (int i = 0; i < 900; i++)
		assert_true(buf_printf(&in, " X-NUMBER%d", i));
	assert_true(buf_printf(&in, "\r\n%c", '\0'));
	hear(&heard, buf_data(&in), &all);
	const char *capabilities = imap_wire_capabilities(heard.wire);
	size_t len = strlen(capabilities);
	assert_in_range(len, 8180, 8192);
	assert_int_not_equal(capabilities[len - 1], ' ');
	assert_non_null(strstr(buf_data(&in), capabilities));
	assert_int_equal(strlen(imap_wire_id(heard.wire)), 255);
	assert_in_range(strlen(imap_wire_enabled(heard.wire)), 495, 512);
	assert_true(heard_fini(&heard));
	buf_fini(&all);
	buf_fini(&in);
}

static void test_found(void **state)
{
	static const struct {
		const char *in;
		bool has_found;
	} cases[] = {
		{"* SEARCH\r\n", true},
		{"* SEARCH 1\r\n", true},
		{"* ESEARCH (TAG \"1\") UID\r\n", true},
		{"* ESEARCH (TAG \"1\") UID COUNT 0\r\n", true},
		{"* ESEARCH (TAG \"1\") UID COUNT 2\r\n", false},
		{"* ESEARCH (TAG \"1\") UID COUNT 2 ALL 1,7\r\n", true},
		{"* ESEARCH (TAG \"1\") UID MIN 1\r\n", false},
		{"* ESEARCH (TAG \"1\") UID PARTIAL (1:2 1:2)\r\n", false},
		{"* ESEARCH (TAG \"1\") UID ALL 1 MODSEQ 5\r\n", true},
		{"* ESEARCH (TAG \"2\") UID ALL 1\r\n", false},
		{"1 OK x\r\n* 1 FETCH (UID 1)\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct heard heard;
		struct buf all;

		hear(&heard, cases[i].in, &all);
		if (imap_wire_has_found(heard.wire) != cases[i].has_found)
			fail_msg("%s", cases[i].in);
		imap_wire_expect_found(heard.wire, NULL, NULL);
		assert_false(imap_wire_has_found(heard.wire));
		assert_true(heard_fini(&heard));
		buf_fini(&all);
	}
}

/* RFC 9051 section 6.2.2: challenges while they are expected, and no word of them to libetpan. */
static void test_challenges(void **state)
{
	static const struct {
		const char *in, *text, *out, *rule;
	} cases[] = {
		{"+\r\n", "", "1 OK .\r\n", "closed"},
		{"+ \r\n", "", "1 OK .\r\n", "closed"},
		{"+ YWJj\r\n", "YWJj", "1 OK .\r\n", "closed"},
		{"+   YWJj  \r\n", "YWJj", "1 OK .\r\n", "closed"},
		{"+YWJj\r\n", "YWJj", "1 OK .\r\n", "closed"},
		{"+ [ALERT] go on {3}\r\n", "[ALERT] go on {3}", "1 OK .\r\n", "closed"},
		{"* 3 EXISTS\r\n+ YQ==\r\n+ Yg==\r\n", "Yg==", "1 OK .\r\n1 OK .\r\n", "closed"},
		{"+ YQ==\r\n1 OK x\r\n", "YQ==", "1 OK .\r\n1 OK .\r\n", "closed"},
		{"1 NO x\r\n+ YQ==\r\n", "", "1 NO .\r\n", "closed"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char in[200];
		struct heard heard;
		size_t len;
		snprintf(in, sizeof in, HELLO "%s", cases[i].in);
		heard_init(&heard, in, strlen(in), NULL);
		imap_wire_expect_challenges(heard.wire);
		assert_true(heard_all(&heard, 4096));
		const char *text = imap_wire_challenge(heard.wire, &len);
		assert_int_equal(len, strlen(cases[i].text));
		assert_memory_equal(text, cases[i].text, len);
		assert_string_equal(heard_text(&heard) + strlen("* OK .\r\n"), cases[i].out);
		assert_non_null(strstr(heard_rule(&heard), cases[i].rule));
		imap_wire_forget_challenge(heard.wire);
		(void)imap_wire_challenge(heard.wire, &len);
		assert_int_equal(len, 0);
		assert_true(heard_fini(&heard));
	}
}

/* J-09's ceiling, to the octet. */
static void test_long_challenges(void **state)
{
	static char in[WIRE_CHALLENGE + 100];

	(void)state;
	for (size_t over = 0; over < 2; over++) {
		struct heard heard;
		size_t len = (size_t)snprintf(in, sizeof in, HELLO "+ ");
		memset(in + len, 'A', WIRE_CHALLENGE + over);
		memcpy(in + len + WIRE_CHALLENGE + over, "\r\n", 2);
		heard_init(&heard, in, len + WIRE_CHALLENGE + over + 2, NULL);
		imap_wire_expect_challenges(heard.wire);
		assert_true(heard_all(&heard, 4096));
		assert_non_null(
			strstr(heard_rule(&heard), over ? "challenge is too long" : "closed"));
		(void)imap_wire_challenge(heard.wire, &len);
		assert_int_equal(len, over ? 0 : WIRE_CHALLENGE);
		assert_true(heard_fini(&heard));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vanished),        cmocka_unit_test(test_folder),
		cmocka_unit_test(test_words),           cmocka_unit_test(test_long_words),
		cmocka_unit_test(test_found),           cmocka_unit_test(test_challenges),
		cmocka_unit_test(test_long_challenges),
	};

	return cmocka_run_group_tests_name("imap_facts", tests, NULL, NULL);
}
