/* SPDX-License-Identifier: MIT */
/* t_identity.c - golden digests: a change here makes every client download everything again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "upstream/identity.h"

/* Made with: printf 'HOST\0LOGIN\0FOLDER\0' | openssl dgst -sha256 -binary | base32 */
static void test_golden(void **state)
{
	static const struct {
		const char *host, *login, *folder, *tag;
	} cases[] = {
		{"imap.example.com", "joe", "INBOX", "6zyk5gcrrf"},
		{"IMAP.Example.COM", "joe", "INBOX", "6zyk5gcrrf"},
		{"a", "b", "c", "cprcqvt6qj"},
		{"a", "bc", "", "mwpw4v2cte"},
	};
	char tag[IDENTITY_TAG + 1];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		identity_tag(tag, cases[i].host, cases[i].login, cases[i].folder, 0);
		assert_string_equal(tag, cases[i].tag);
	}
}

/* Logins and folders have case, and where one part ends matters. */
static void test_different(void **state)
{
	static const char *const parts[][3] = {
		{"h", "joe", "INBOX"}, {"h", "Joe", "INBOX"}, {"h", "joe", "Inbox"},
		{"h", "jo", "eINBOX"}, {"hj", "oe", "INBOX"}, {"h", "", "joeINBOX"},
	};
	char tags[sizeof parts / sizeof *parts][IDENTITY_TAG + 1];

	(void)state;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		identity_tag(tags[i], parts[i][0], parts[i][1], parts[i][2], 0);
		assert_int_equal(strlen(tags[i]), IDENTITY_TAG);
		assert_int_equal(strspn(tags[i], "abcdefghijklmnopqrstuvwxyz234567"), IDENTITY_TAG);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(tags[i], tags[k]);
	}
}

static void test_names(void **state)
{
	char out[35];

	(void)state;
	identity_of_name(out, "x");
	assert_string_equal(out, "h.fvyrmqvxe2yeialcpsu7xlbs6xefgd5r");
	identity_of_name(out, "");
	assert_string_equal(out, "h.4oymiquy7qobjgx36tejs35zeqt24qpe");
}

/* A generation of its own for each time that UIDs began anew (E-02). */
static void test_generations(void **state)
{
	char tags[3][IDENTITY_TAG + 1];

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		identity_tag(tags[i], "imap.example.com", "joe", "INBOX", i);
	assert_string_equal(tags[0], "6zyk5gcrrf");
	/* printf 'imap.example.com\0joe\0INBOX\0001\0' | openssl dgst -sha256 -binary | base32 */
	assert_string_equal(tags[1], "kobgnlzqbo");
	assert_string_not_equal(tags[1], tags[2]);
}

static void test_places(void **state)
{
	char one[IDENTITY_PLACE + 1], other[IDENTITY_PLACE + 1];
	static const struct {
		const char *host;
		unsigned port;
		const char *login, *folder;
	} others[] = {
		{"h", 993, "joe", "INBOX"}, {"h", 143, "Joe", "INBOX"}, {"h", 143, "joe", "Inbox"},
		{"h1", 43, "joe", "INBOX"}, {"h", 143, "jo", "eINBOX"}, {"h", 14, "3joe", "INBOX"},
	};

	(void)state;
	/* printf 'h\000143\0joe\0INBOX\0' | openssl dgst -sha256 -binary | base32 */
	identity_place(one, "h", 143, "joe", "INBOX");
	assert_string_equal(one, "vzenblwkmnlzifok5q2yhkryxr");
	identity_place(other, "H", 143, "joe", "INBOX");
	assert_string_equal(one, other);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		identity_place(other, others[i].host, others[i].port, others[i].login,
			       others[i].folder);
		assert_string_not_equal(one, other);
	}
}

/* --- the header of one mail as servers render it (E-05) ----------------------------------- */

static const char plain[] = "Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
			    "Message-ID: <1@example.com>\r\n"
			    "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
			    "From: =?utf-8?q?J=C3=B6?= <joe@example.com>\r\n"
			    "To: you@example.com\r\n"
			    "Subject: a long subject that some server folds, bl\xc3\xa4h\r\n"
			    "\r\n";

static const char *const renderings[] = {
	/* The four fields alone, as BODY.PEEK[HEADER.FIELDS (...)] gives them, in another order. */
	"Subject: a long subject that some server folds, bl\xc3\xa4h\r\n"
	"From: =?utf-8?q?J=C3=B6?= <joe@example.com>\r\n"
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
	"Message-ID: <1@example.com>\r\n"
	"\r\n",
	/* No blank line at the end. */
	"Message-ID: <1@example.com>\r\n"
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
	"From: =?utf-8?q?J=C3=B6?= <joe@example.com>\r\n"
	"Subject: a long subject that some server folds, bl\xc3\xa4h",
	/* Folded, unfolded, with tabs; names in other cases; a blank before the colon. */
	"MESSAGE-ID:\r\n <1@example.com>\r\n"
	"date:Mon,  1 Jan 2024\t00:00:00 +0000 \r\n"
	"From : =?utf-8?q?J=C3=B6?=\r\n\t<joe@example.com>\r\n"
	"Subject: a long subject\r\n that some server folds,\r\n\t bl\xc3\xa4h  \r\n"
	"\r\n",
	/* Added: Status, X-UID, X-UIDL, X-Keywords, Content-Length, Return-Path; a body behind. */
	"Return-Path: <joe@example.com>\r\n"
	"X-Mozilla-Status: 0001\r\n"
	"Status: RO\r\n"
	"X-UID: 12\r\n"
	"X-UIDL: abc\r\n"
	"X-Keywords: \r\n \r\n"
	"X-Message-Flag: Follow up\r\n"
	"Content-Length: 100\r\n"
	"Message-ID: <1@example.com>\r\n"
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
	"From: =?utf-8?q?J=C3=B6?= <joe@example.com>\r\n"
	"Subject: a long subject that some server folds, bl\xc3\xa4h\r\n"
	"\r\n"
	"Subject: not of the header\r\n",
	/* 8-bit octets gone. */
	"Message-ID: <1@example.com>\r\n"
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
	"From: =?utf-8?q?J=C3=B6?= <joe@example.com>\r\n"
	"Subject: a long subject that some server folds, bl??h\r\n"
	"\r\n",
	/* LF alone; CR alone; CR CR LF. */
	"Message-ID: <1@example.com>\n"
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\n"
	"From: =?utf-8?q?J=C3=B6?= <joe@example.com>\n"
	"Subject: a long subject that some\n server folds, bl\xc3\xa4h\n"
	"\n"
	"Date: body\n",
	"Message-ID: <1@example.com>\r"
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r"
	"From: =?utf-8?q?J=C3=B6?= <joe@example.com>\r"
	"Subject: a long subject that some server folds, bl\xc3\xa4h\r"
	"\r"
	"Date: body\r",
	"Message-ID: <1@example.com>\r\r\n"
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\r\n"
	"From: =?utf-8?q?J=C3=B6?= <joe@example.com>\r\r\n"
	"Subject: a long subject that some server folds, bl\xc3\xa4h\r\r\n"
	"\r\r\n"
	"Date: body\r\r\n",
	/* A line that is no field, and one whose name is none. */
	">From joe Mon Jan 1 00:00:00 2024\r\n"
	"this is no field\r\n"
	"Message-ID: <1@example.com>\r\n"
	"Bad Name: x\r\n"
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
	"From: =?utf-8?q?J=C3=B6?= <joe@example.com>\r\n"
	"Subject: a long subject that some server folds, bl\xc3\xa4h\r\n"
	"\r\n",
};

static const char *const others[] = {
	/* Each of the four matters, and what stands twice. */
	"Message-ID: <2@example.com>\r\nDate: x\r\nFrom: y\r\nSubject: z\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x2\r\nFrom: y\r\nSubject: z\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\nFrom: y2\r\nSubject: z\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\nFrom: y\r\nSubject: z2\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\nFrom: y\r\nSubject: z\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\nFrom: y\r\nSubject: z\r\nSubject: z\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\nSubject: z\r\nFrom: y\r\nSubject: z2\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\nSubject: z2\r\nFrom: y\r\nSubject: z\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\nFrom: y\r\nSubject: Z\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\nFrom: y\r\n\r\n",
	"Message-ID: <1@example.com>\r\nDate: x\r\n\r\n",
	"Message-ID: <1@example.com>\r\n\r\n",
	"Date: x\r\n\r\n",
	"Message-ID: x\r\n\r\n",
	"Message-ID: <1@example.com>\r\nFrom: date:x\r\n\r\n",
};

static void test_headers_alike(void **state)
{
	char one[IDENTITY_HASH + 1], other[IDENTITY_HASH + 1];

	(void)state;
	assert_true(identity_of_header(one, plain, sizeof plain - 1));
	assert_int_equal(strspn(one, "abcdefghijklmnopqrstuvwxyz234567"), IDENTITY_HASH);
	/* It is kept for ever: openssl dgst -sha256 over the four lines that identity.h tells. */
	assert_string_equal(one, "bulj2utx2qjgvzqca5izvvidnk");
	for (size_t i = 0; i < sizeof renderings / sizeof *renderings; i++) {
		assert_true(identity_of_header(other, renderings[i], strlen(renderings[i])));
		assert_string_equal(one, other);
	}
}

static void test_headers_different(void **state)
{
	char hashes[sizeof others / sizeof *others + 1][IDENTITY_HASH + 1];

	(void)state;
	assert_true(identity_of_header(hashes[0], plain, sizeof plain - 1));
	for (size_t i = 1; i < sizeof hashes / sizeof *hashes; i++) {
		assert_true(identity_of_header(hashes[i], others[i - 1], strlen(others[i - 1])));
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(hashes[i], hashes[k]);
	}
}

/* Without a Message-ID and a Date nothing is recognised: drafts and spam look alike. */
static void test_headers_without(void **state)
{
	static const char *const cases[] = {
		"",
		"\r\n",
		"\r\nMessage-ID: <1@example.com>\r\n",
		"From: x\r\nSubject: y\r\n\r\n",
		"Message-ID:\r\nDate: \r\n\t\r\nSubject: y\r\n\r\n",
		"Message-IDx: 1\r\n",
		" Message-ID: folded onto nothing\r\n",
		"X: y\r\n Date: folded\r\n",
		"Date",
		"\xff\xfe",
	};
	char out[IDENTITY_HASH + 1];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		memset(out, 'x', sizeof out);
		assert_false(identity_of_header(out, cases[i], strlen(cases[i])));
		assert_string_equal(out, "");
	}
	assert_true(identity_of_header(out, "Date: x", 7));
	/* NUL and the like are octets as others. */
	assert_true(identity_of_header(out, "Date: \0x\r\n", 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_different),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_headers_alike),
		cmocka_unit_test(test_headers_different),
		cmocka_unit_test(test_headers_without),
	};

	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
