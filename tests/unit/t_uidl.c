/* SPDX-License-Identifier: MIT */
/* t_uidl.c - UIDLs of other servers: golden strings. A change here makes clients of a mailbox that
 * moved download everything again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "upstream/uidl.h"

static void test_golden(void **state)
{
	static const struct {
		const char *format;
		uint64_t uidvalidity;
		uint32_t uid;
		const char *uidl;
	} cases[] = {
		{"dovecot", 0x4f2b3c21, 0xa1, "000000a14f2b3c21"},
		{"dovecot:%08Xu%08Xv", 0x4f2b3c21, 0xa1, "000000a14f2b3c21"},
		{"dovecot:%{uid | hex(8)}%{uidvalidity | hex(8)}", 0x4f2b3c21, 0xa1,
		 "000000a14f2b3c21"},
		{"dovecot:%{uid|hex(8)}.%{uidvalidity}", 7, 161, "000000a1.7"},
		{"dovecot:%Xu-%Xv", 255, 161, "a1-ff"},
		{"dovecot:%{ uid | hex }", 7, 161, "a1"},
		{"dovecot:%v-%u", 1234567890, 12, "1234567890-12"},
		{"dovecot:%u.%v", 1234567890, 12, "12.1234567890"},
		{"dovecot:%v.%u", 1234567890, 12, "1234567890.12"},
		{"dovecot:UID%u-%v", 1234567890, 12, "UID12-1234567890"},
		{"dovecot:%010u.%05v", 3, 12, "0000000012.00003"},
		{"dovecot:%10u", 3, 12, "12"},
		{"dovecot:%8Xu", 3, 171, "ab"},
		{"dovecot:100%%%u", 3, 12, "100%12"},
		{"dovecot:%u%v", 34, 12, "1234"},
		{"dovecot", 0x123456789a, 0xffffffff, "ffffffff123456789a"},
		{"cyrus", 1234567890, 12, "1234567890.12"},
		{"cyrus:cyrus", 1234567890, 12, "1234567890.12"},
		{"cyrus:val.uid", 1234567890, 12, "1234567890.12"},
		{"cyrus:uidonly", 1234567890, 12, "12"},
		{"cyrus:uid", 1234567890, 12, "12"},
		{"cyrus:dovecot", 0x4f2b3c21, 0xa1, "000000a14f2b3c21"},
		{"cyrus:courier", 1234567890, 12, "1234567890-12"},
		{"courier", 200, 2, "UID2-200"},
		{"uw", 0x4f2b3c21, 0xa1, "4f2b3c21000000a1"},
	};
	char out[UIDL_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct uidl_format format;
		struct uidl_parts parts = {cases[i].uidvalidity, cases[i].uid, "", ""}, back;
		assert_null(uidl_format_parse(cases[i].format, &format));
		assert_false(uidl_is_stable(&format));
		assert_false(format.needs_gm_msgid || format.needs_email_id);
		assert_true(uidl_format_write(&format, &parts, out));
		assert_string_equal(out, cases[i].uidl);
		bool is_readable =
			strcmp(cases[i].format, "dovecot:%u%v") != 0 && strlen(cases[i].uidl) <= 16;
		if (!is_readable)
			continue;
		assert_true(uidl_format_read(&format, out, &back));
		assert_int_equal(back.uid, parts.uid);
		assert_true(back.uidvalidity == (format.needs_uidvalidity ? parts.uidvalidity : 0));
	}
}

static void test_ids_of_the_server(void **state)
{
	char long_id[256], out[UIDL_MAX + 1], other[UIDL_MAX + 1];
	struct uidl_format gmail, emailid;
	struct uidl_parts parts = {7, 12, "", ""};

	(void)state;
	assert_null(uidl_format_parse("gmail", &gmail));
	assert_true(gmail.needs_gm_msgid && !gmail.needs_email_id && !gmail.needs_uidvalidity);
	assert_false(uidl_format_write(&gmail, &parts, out));
	parts.gm_msgid = "1278455344230334865";
	assert_true(uidl_format_write(&gmail, &parts, out));
	assert_string_equal(out, "GmailId11bdfc5cae0c8191");
	parts.gm_msgid = "255";
	assert_true(uidl_format_write(&gmail, &parts, out));
	assert_string_equal(out, "GmailId00000000000000ff");
	parts.gm_msgid = "no number";
	assert_false(uidl_format_write(&gmail, &parts, out));

	assert_null(uidl_format_parse("emailid", &emailid));
	assert_true(emailid.needs_email_id && !emailid.needs_gm_msgid);
	assert_false(uidl_format_write(&emailid, &parts, out));
	parts.email_id = "M6d99ac3275bb4e";
	assert_true(uidl_format_write(&emailid, &parts, out));
	assert_string_equal(out, "M6d99ac3275bb4e");

	/* The longest that RFC 8474 allows: not to be cut, for then two might become one. */
	memset(long_id, 'a', 255);
	long_id[255] = '\0';
	parts.email_id = long_id;
	assert_true(uidl_format_write(&emailid, &parts, out));
	assert_int_equal(strlen(out), 34);
	assert_memory_equal(out, "h.", 2);
	long_id[254] = 'b';
	assert_true(uidl_format_write(&emailid, &parts, other));
	assert_string_not_equal(out, other);
	parts.email_id = "not <good>";
	assert_true(uidl_format_write(&emailid, &parts, out));
	assert_memory_equal(out, "h.", 2);
}

static void test_refused(void **state)
{
	static const struct {
		const char *value, *why;
	} cases[] = {
		{"dovecot:%m", "MD5"},
		{"dovecot:%f", "file"},
		{"dovecot:%g", "GUID"},
		{"dovecot:%{guid}", "GUID"},
		{"dovecot:%{md5}", "MD5"},
		{"dovecot:%{filename}", "file"},
		{"dovecot:%{user}", "%{uid}"},
		{"dovecot:%{uid | sha1}", "%{uid}"},
		{"dovecot:%{uid", "%{uid}"},
		{"dovecot:%d", "%u"},
		{"dovecot:%", "%u"},
		{"dovecot:%LUu", "%u"},
		{"dovecot:", "%u"},
		{"dovecot:%v", "same UIDL"},
		{"dovecot:hello", "same UIDL"},
		{"dovecot:%4u", "cuts"},
		{"dovecot:%4Xu", "cuts"},
		{"dovecot:%0999999999999u", "20"},
		{"dovecot:%u %v", "blanks"},
		{"dovecot:%u\t", "blanks"},
		{"dovecot:%u\xc3\xa4", "blanks"},
		{"dovecot:%020u%020u%020u%020u", "70"},
		{"dovecot:%u0123456789012345678901234567890123456789012345678901234567890123456789",
		 "long"},
		{"exchange", "import-uidl"},
		{"", "stable"},
		{"Dovecot", "stable"},
		{"cyrus:", "stable"},
		{"cyrus:md5", "stable"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct uidl_format format;
		const char *why = uidl_format_parse(cases[i].value, &format);
		assert_non_null(why);
		assert_non_null(strstr(why, cases[i].why));
		assert_true(uidl_is_stable(&format));
	}
}

static void test_stable(void **state)
{
	struct uidl_format format;
	char out[UIDL_MAX + 1];
	struct uidl_parts parts = {7, 12, "1", "x"}, back;

	(void)state;
	assert_null(uidl_format_parse("stable", &format));
	assert_true(uidl_is_stable(&format));
	assert_false(uidl_format_write(&format, &parts, out));
	assert_false(uidl_format_read(&format, "x", &back));
}

static void test_missing_parts(void **state)
{
	struct uidl_format format;
	char out[UIDL_MAX + 1];
	struct uidl_parts no_uid = {7, 0, "", ""}, no_validity = {0, 7, "", ""};

	(void)state;
	assert_null(uidl_format_parse("courier", &format));
	assert_false(uidl_format_write(&format, &no_uid, out));
	assert_false(uidl_format_write(&format, &no_validity, out));
	assert_null(uidl_format_parse("cyrus:uidonly", &format));
	assert_true(uidl_format_write(&format, &no_validity, out));
}

/* What is nearly of a format is not of it. */
static void test_not_of_the_format(void **state)
{
	static const struct {
		const char *format, *uidl;
	} cases[] = {
		{"dovecot", ""},
		{"dovecot", "000000a14f2b3c2"},
		{"dovecot", "000000A14F2B3C21"},
		{"dovecot", "000000a14f2b3c21x"},
		{"dovecot", "000000004f2b3c21"},
		{"dovecot", "000000a1.f2b3c21"},
		{"courier", "UID2-"},
		{"courier", "UID02-200"},
		{"courier", "uid2-200"},
		{"courier", "UID2-200-1"},
		{"courier", "UID4294967296-1"},
		{"courier", "UID1-18446744073709551616"},
		{"courier", "UID99999999999999999999999-1"},
		{"cyrus", "12"},
		{"cyrus:uidonly", "1.2"},
		{"dovecot:%u.%u", "1.2"},
		{"dovecot:%u%v", "1234"},
		{"gmail", "GmailId11bdfc5cae0c8191"},
		{"emailid", "M6d99ac3275bb4e"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct uidl_format format;
		struct uidl_parts parts;
		assert_null(uidl_format_parse(cases[i].format, &format));
		assert_false(uidl_format_read(&format, cases[i].uidl, &parts));
	}
}

/* E-01 for every format and the extremes of all that goes into it. */
static void test_always_a_uidl(void **state)
{
	static const char *const formats[] = {
		"dovecot",
		"dovecot:%v-%u",
		"dovecot:%020u.%020v",
		"dovecot:100%%%u",
		"cyrus",
		"cyrus:uidonly",
		"courier",
		"uw",
		"gmail",
		"emailid",
	};
	static const uint64_t validities[] = {1, 0xffffffff, UINT64_MAX};
	static const uint32_t uids[] = {1, 4294967295u};
	static const char *const ids[] = {"x", "a/b", "\xc3\xa4"};

	(void)state;
	for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
		for (size_t i = 0; i < 18; i++) {
			struct uidl_format format;
			struct uidl_parts parts = {validities[i / 6], uids[i % 2],
						   "18446744073709551615", ids[i % 3]};
			char out[UIDL_MAX + 1], twin[UIDL_MAX + 1];
			assert_null(uidl_format_parse(formats[f], &format));
			assert_true(uidl_format_write(&format, &parts, out));
			uidl_suffixed(twin, out, &parts);
			assert_string_not_equal(out, twin);
			for (const char *at = out; *at; at++)
				assert_true(*at >= 0x21 && *at <= 0x7e);
			for (const char *at = twin; *at; at++)
				assert_true(*at >= 0x21 && *at <= 0x7e);
			assert_in_range(strlen(out), 1, UIDL_MAX);
			assert_in_range(strlen(twin), 1, UIDL_MAX);
		}
}

/* E-03: bound to the message, not to its place among its twins. */
static void test_suffix(void **state)
{
	struct uidl_parts parts = {1234567890, 12, "", ""};
	char out[UIDL_MAX + 1], other[UIDL_MAX + 1], longest[UIDL_MAX + 1];

	(void)state;
	uidl_suffixed(out, "M6d99", &parts);
	assert_string_equal(out, "M6d99-1234567890.12");
	memset(longest, 'x', UIDL_MAX);
	longest[UIDL_MAX] = '\0';
	uidl_suffixed(out, longest, &parts);
	assert_int_equal(strlen(out), 34);
	parts.uid = 13;
	uidl_suffixed(other, longest, &parts);
	assert_string_not_equal(out, other);
	parts.uid = 12;
	uidl_suffixed(other, longest, &parts);
	assert_string_equal(out, other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),        cmocka_unit_test(test_ids_of_the_server),
		cmocka_unit_test(test_refused),       cmocka_unit_test(test_stable),
		cmocka_unit_test(test_missing_parts), cmocka_unit_test(test_not_of_the_format),
		cmocka_unit_test(test_always_a_uidl), cmocka_unit_test(test_suffix),
	};

	return cmocka_run_group_tests_name("uidl", tests, NULL, NULL);
}
