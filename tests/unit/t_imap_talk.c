/* SPDX-License-Identifier: MIT */
/* t_imap_talk.c - whole sessions through the doorman and libetpan: good ones in pieces and cut, the
 * replies that crash libetpan, and odd ones that it must bear. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <libetpan/libetpan.h>

#include "tests/fake/canned.h"
#include "tests/fake/flow.h"
#include "tests/fake/talk.h"

/* A step's words are what the server says to it; NULL: what a good one says. */
static const char *const good[TALK_STEPS] = {
	"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] "
	"Dovecot (Debian) ready.\r\n",
	"1 OK [CAPABILITY IMAP4rev1 SASL-IR UIDPLUS CONDSTORE] Logged in\r\n",
	"* CAPABILITY IMAP4rev1 UIDPLUS SPECIAL-USE AUTH=PLAIN\r\n2 OK Capability completed.\r\n",
	"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
	"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags.\r\n"
	"* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 1] First unseen.\r\n"
	"* OK [UIDVALIDITY 1700000000] UIDs valid\r\n* OK [UIDNEXT 8] Predicted next UID\r\n"
	"* OK [HIGHESTMODSEQ 12] Highest\r\n3 OK [READ-WRITE] Select completed.\r\n",
	"* 1 FETCH (UID 4 RFC822.SIZE 100 FLAGS ())\r\n"
	"* 2 FETCH (UID 5 RFC822.SIZE 200 FLAGS (\\Seen $Junk))\r\n"
	"* 3 FETCH (UID 7 FLAGS (\\Deleted \\Recent) RFC822.SIZE 12)\r\n4 OK Fetch completed.\r\n",
	"* LIST (\\HasNoChildren \\Trash) \"/\" Trash\r\n* LIST (\\Noselect) NIL {5}\r\nx\"y\\z\r\n"
	"5 OK List completed.\r\n",
	"* SEARCH 4 5 7\r\n6 OK Search completed.\r\n",
	"* 3 FETCH (UID 7 BODY[] {12}\r\nSubject: x\r\n FLAGS (\\Seen))\r\n7 OK Fetch.\r\n",
	"8 OK Store completed.\r\n",
	"* 3 EXPUNGE\r\n9 OK Expunge completed.\r\n",
	"* BYE Logging out\r\n10 OK Logout completed.\r\n",
};

static void talk_with(struct talk *talk, enum talk_step step, const char *words, size_t chunk)
{
	struct canned canned;
	struct buf all;

	buf_init(&all, 1 << 20);
	for (enum talk_step i = 0; i < TALK_STEPS; i++)
		assert_true(buf_printf(&all, "%s", i == step ? words : good[i]));
	canned_init(&canned, ERR_UPSTREAM, buf_data(&all), buf_len(&all));
	canned.chunk = chunk;
	talk_run(talk, &canned.stream, 1000);
	assert_true(canned.is_closed);
	canned_fini(&canned);
	buf_fini(&all);
}

static void test_good_session(void **state)
{
	(void)state;
	for (size_t chunk = 0; chunk < 100; chunk++) {
		struct talk talk;

		talk_with(&talk, TALK_STEPS, NULL, chunk);
		assert_int_equal(talk.done, TALK_STEPS);
		assert_int_equal(talk.capabilities, 4);
		assert_int_equal(talk.wire_exists, 2); /* 3, less the one expunged */
		assert_int_equal(talk.messages, 4);
		assert_int_equal(talk.message[1].uid, 5);
		assert_int_equal(talk.message[1].octets, 200);
		assert_true(talk.message[1].has_flags && !talk.message[1].is_deleted);
		assert_true(talk.message[2].has_flags && talk.message[2].is_deleted);
		assert_int_equal(talk.folders, 2);
		assert_string_equal(talk.folder, "x\"y\\z");
		assert_int_equal(talk.found, 3);
		assert_true(talk.has_found);
		assert_int_equal(talk.selected.uidvalidity, 1700000000);
		assert_int_equal(talk.selected.uidnext, 8);
		assert_int_equal(talk.selected.highestmodseq, 12);
		assert_false(talk.has_lied);
		assert_int_equal(talk.message[3].uid, 7);
		assert_true(talk.message[3].has_body && !talk.message[3].is_nil);
		assert_int_equal(talk.bodies, 1);
		assert_int_equal(talk.last.octets, 12);
		assert_int_equal(talk.body_octets, 12);
		assert_memory_equal(talk.body, "Subject: x\r\n", 12);
		assert_int_equal(talk.expunges, 1);
		assert_string_equal(talk.bye.text, "Logging out");
		assert_string_equal(talk.status.text, "Logout completed.");
		assert_int_equal(talk.err.kind, ERR_NONE);
	}
}

/* A session cut after any octet ends in a clean error, and no call says that it went well. */
static void test_cuts(void **state)
{
	struct buf all;

	(void)state;
	buf_init(&all, 1 << 20);
	for (enum talk_step i = 0; i < TALK_STEPS; i++)
		assert_true(buf_printf(&all, "%s", good[i]));
	for (size_t cut = 0; cut < buf_len(&all); cut++) {
		struct canned canned;
		struct talk talk;

		canned_init(&canned, ERR_UPSTREAM, buf_data(&all), cut);
		talk_run(&talk, &canned.stream, 1000);
		assert_int_equal(talk.err.kind, ERR_UPSTREAM);
		assert_true(talk.done < TALK_STEPS);
		canned_fini(&canned);
	}
	buf_fini(&all);
}

/* The replies that crash, hang or mislead libetpan 1.9.4 by itself. */
static void test_killers(void **state)
{
	static const struct {
		enum talk_step step;
		const char *words;
		unsigned done; /* steps that go well */
	} cases[] = {
		{TALK_SELECT, "* NO [ALERT]\r\n* NO [PARSE]\r\n3 OK [ALERT]\r\n", 11},
		{TALK_SELECT, "* NO [ALERT]\r\n3 NO [PARSE]\r\n", 3},
		{TALK_SELECT, "* OK [PERMANENTFLAGS (%)] x\r\n3 OK [PERMANENTFLAGS (x] y\r\n", 11},
		{TALK_CONNECT, "* OK [BADCHARSET (\"x\")] hello\r\n", 11},
		{TALK_CONNECT, "* OK [PERMANENTFLAGS (\\Seen \\Draft \\*)] hello\r\n", 11},
		{TALK_CAPABILITY, "2 OK done\r\n", 11},
		{TALK_CAPABILITY, "* CAPABILITY\r\n2 OK [CAPABILITY ]\r\n", 11},
		{TALK_BODY_ONE, "* 3 FETCH (UID 7 BODY[] {100000}\r\nabc", 7},
		{TALK_BODY_ONE, "* 3 FETCH (BODY[] {0}\r\n)\r\n* 3 FETCH (BODY[] {0}\r\n)\r\n", 7},
		{TALK_STORE, "* 3 FETCH (BODY[] {0}\r\n)\r\n", 8},
		{TALK_SELECT, "* NAMESPACE ((\"\" \"\")) NIL NIL\r\n3 OK x\r\n", 11},
		{TALK_LIST, "* STATUS x ()\r\n4 OK x\r\n", 11},
		{TALK_LIST, "* OK x {10}\r\n4 OK x {10}\r\n", 11},
		{TALK_CONNECT, "* BYE [ALERT]\r\n", 0},
		{TALK_CONNECT, "* PREAUTH x\r\n", 1},
	};
	struct talk talk;
	char deep[20000];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		/* What follows a cut body is not a good session. */
		const char *words = cases[i].words;
		talk_with(&talk, cases[i].step, words, 0);
		if (cases[i].done == 3)
			assert_int_equal(talk.results[TALK_SELECT], MAILIMAP_ERROR_SELECT);
		else if (talk.done != cases[i].done)
			fail_msg("%s: %u steps", words, talk.done);
	}
	snprintf(deep, sizeof deep, "* 1 FETCH (BODYSTRUCTURE ");
	memset(deep + strlen(deep), '(', sizeof deep - 30);
	deep[sizeof deep - 3] = '\n';
	deep[sizeof deep - 2] = '\0';
	for (char *at = deep; *at; at++)
		if (*at < ' ' && *at != '\n')
			*at = '(';
	talk_with(&talk, TALK_LIST, deep, 0);
	assert_int_equal(talk.done, 4);
	assert_string_equal(talk.err.what, "lists are nested too deeply");
}

struct odd {
	enum talk_step step;
	const char *words;
	unsigned messages; /* in all */
	uint32_t uid;
	uint64_t size;
};

/* Odd but good (N-14 and others): the session goes on, and the last message of the step is this. */
static void test_odd_replies(void **state)
{
	static const struct odd cases[] = {
		{TALK_LIST, "* 1 FETCH (RFC822.SIZE 9.37e+06 UID 9)\r\n4 OK\r\n", 2, 9, 0},
		{TALK_LIST, "* 1 FETCH (RFC822.SIZE 4294967297 UID 9)\n4 OK x\n", 2, 9, 4294967297},
		{TALK_LIST, "* 900 FETCH (UID 9 RFC822.SIZE 5 EMAILID (M1)))\r\n4 ok \r\n", 2, 9,
		 5},
		{TALK_LIST,
		 "* 1 fetch (uid 9 rfc822.size 5 modseq (-1) flags (\\*)) \r\n4 OK x\r\n", 2, 9, 5},
		{TALK_LIST, "* 1 FETCH (ENVELOPE (\"x\" {3}\r\n)\"() UID 9)\r\n\r\n4 OK x\r\n", 2,
		 9, 0},
		{TALK_LIST, "* 0 FETCH (UID 1)\r\n* 1 FETCH (UID 9)\r\n* 7 EXPUNGE\r\n4 OK x\r\n",
		 2, 9, 0},
		{TALK_LIST, "\r\n* FOO bar\r\n* 5 FOO\r\n* 1 FETCH (UID 9)\r\n* OK\r\n4 OK x\r\n",
		 2, 9, 0},
		{TALK_LOGIN, "+ [BADCHARSET (\"x\")] hello\r\n1 OK x\r\n", 4, 7, 0},
		{TALK_LIST, "+ what\r\n* 1 FETCH (UID 9)\r\n4 OK x\r\n", 2, 9, 0},
		{TALK_LIST, "* ESEARCH (TAG \"4\") ALL 1\r\n* 1 FETCH (UID 9)\r\n4 OK x\r\n", 2, 9,
		 0},
		{TALK_SELECT, "* FLAGS ((x) y)\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 0]\r\n3 OK x\r\n",
		 4, 7, 0},
		{TALK_LOGIN, "* \xff\xfe\r\n1 OK \xff\xfe\r\n", 4, 7, 0},
		{TALK_CAPABILITY, "2 BAD what?\r\n", 4, 7, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk talk;

		talk_with(&talk, cases[i].step, cases[i].words, 0);
		if (talk.results[TALK_LOGOUT] != MAILIMAP_NO_ERROR)
			fail_msg("%s: %u steps, %s", cases[i].words, talk.done,
				 talk.err.what ? talk.err.what : "");
		assert_int_equal(talk.messages, cases[i].messages);
		if (cases[i].messages != 2)
			continue;
		assert_int_equal(talk.message[0].uid, cases[i].uid);
		assert_int_equal(talk.message[0].octets, cases[i].size);
		assert_int_equal(talk.message[0].has_octets, cases[i].size > 0);
	}
}

static void test_odd_bodies(void **state)
{
	static const struct {
		const char *words;
		unsigned bodies;
		const char *body;
	} cases[] = {
		{"* 3 FETCH (BODY[] \"From: \\\"x\\\"\" UID 7)\r\n7 OK x\r\n", 1, "From: \"x\""},
		{"* 3 FETCH (BODY[] \"\" UID 7)\r\n7 OK x\r\n", 1, ""},
		{"* 3 FETCH (BODY[] {0}\r\n UID 7)\r\n7 OK x\r\n", 1, ""},
		{"* 3 FETCH (BODY[] NIL UID 7)\r\n7 OK x\r\n", 0, ""},
		{"* 3 FETCH (UID 7 rfc822 ~{3}\r\nabc)\r\n7 OK x\r\n", 1, "abc"},
		{"* 3 FETCH (UID 7 BODY[]<0> {3}\r\nabc)\r\n7 OK x\r\n", 1, "abc"},
		{"7 OK x\r\n", 0, ""},
		{"7 NO x\r\n", 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk talk;

		talk_with(&talk, TALK_BODY_ONE, cases[i].words, 0);
		assert_int_equal(talk.results[TALK_LOGOUT], MAILIMAP_NO_ERROR);
		assert_int_equal(talk.bodies, cases[i].bodies);
		assert_int_equal(talk.body_octets, strlen(cases[i].body));
		assert_memory_equal(talk.body, cases[i].body, strlen(cases[i].body));
		assert_true(talk.body_calls <= 1);
		if (cases[i].bodies)
			assert_int_equal(talk.last.octets, strlen(cases[i].body));
		/* Three messages were listed before. */
		bool is_told = strstr(cases[i].words, "FETCH") != NULL;
		assert_int_equal(talk.messages, is_told ? 4 : 3);
		if (!is_told)
			continue;
		assert_int_equal(talk.message[3].uid, 7);
		assert_true(talk.message[3].has_body);
		assert_int_equal(talk.message[3].is_nil, !cases[i].bodies);
	}
}

/* libetpan counts in 32 bits, and yet no octet is lost or comes twice (F-12). */
static void test_huge_body(void **state)
{
	static const uint64_t octets = 4299999999; /* beyond 2^32 */
	struct talk talk;
	struct flow flow;
	struct buf before, after;

	(void)state;
	buf_init(&before, 65536);
	buf_init(&after, 65536);
	for (enum talk_step i = 0; i < TALK_BODY_ONE; i++)
		assert_true(buf_printf(&before, "%s", good[i]));
	assert_true(buf_printf(&before, "* 3 FETCH (UID 7 BODY[] {%llu}\r\n%c",
			       (unsigned long long)octets, '\0'));
	assert_true(buf_printf(&after, ")\r\n7 OK x\r\n%c", '\0'));
	flow_init(&flow, buf_data(&before), octets, buf_data(&after));
	talk_run(&talk, &flow.stream, UINT64_MAX);
	assert_true(flow.is_closed);
	assert_int_equal(talk.results[TALK_BODY_ONE], MAILIMAP_NO_ERROR);
	assert_int_equal(talk.bodies, 1);
	assert_int_equal(talk.last.octets, octets);
	assert_true(talk.body_octets == octets);
	assert_true(flow_is(0, talk.body, TALK_BODY));
	buf_fini(&before);
	buf_fini(&after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_session), cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_killers),      cmocka_unit_test(test_odd_replies),
		cmocka_unit_test(test_odd_bodies),   cmocka_unit_test(test_huge_body),
	};

	return cmocka_run_group_tests_name("imap_talk", tests, NULL, NULL);
}
