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
		identity_tag(tag, cases[i].host, cases[i].login, cases[i].folder);
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
		identity_tag(tags[i], parts[i][0], parts[i][1], parts[i][2]);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_different),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
