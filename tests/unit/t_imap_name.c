/* SPDX-License-Identifier: MIT */
/* t_imap_name.c - names, strings and sets of UIDs on their way to an IMAP server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "upstream/imap_name.h"

static void check_text(const struct buf *buf, const char *want)
{
	assert_int_equal(buf_len(buf), strlen(want));
	assert_memory_equal(buf_data(buf), want, strlen(want));
}

static void test_quote(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} cases[] = {
		{"", "\"\""},
		{"INBOX", "\"INBOX\""},
		{"a\"b\\c", "\"a\\\"b\\\\c\""},
		{"{3} %*()", "\"{3} %*()\""},
		{"a\r\n1 DELETE x", NULL},
		{"a\nb", NULL},
		{"a\tb", NULL},
		{"p\xc3\xa4ss", NULL},
		{"\x7f", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf buf;
		buf_init(&buf, 100);
		assert_int_equal(imap_quote(&buf, cases[i].text), cases[i].want != NULL);
		assert_int_equal(imap_is_quotable(cases[i].text), cases[i].want != NULL);
		if (cases[i].want)
			check_text(&buf, cases[i].want);
		buf_fini(&buf);
	}
}

static void test_quote_ceiling(void **state)
{
	struct buf buf;

	(void)state;
	for (size_t max = 1; max < 6; max++) {
		buf_init(&buf, max);
		assert_int_equal(imap_quote(&buf, "a\"b"), false);
		buf_fini(&buf);
	}
	buf_init(&buf, 6);
	assert_true(imap_quote(&buf, "a\"b"));
	buf_fini(&buf);
}

static void test_name(void **state)
{
	static const struct {
		const char *name;
		char delimiter;
		const char *want;
	} cases[] = {
		{"Sent", 0, "Sent"},
		{"a/b/c", '.', "a.b.c"},
		{"a/b", 0, "a/b"},
		{"a.b", '/', "a.b"},
		{"R&D", 0, "R&-D"},
		{"&", 0, "&-"},
		{"Gel\xc3\xb6scht & weg", 0, "Gel&APY-scht &- weg"},
		/* RFC 3501 section 5.1.3 */
		{"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", '/',
		 "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
		{"\xd0\xaf\xd1\x89\xd0\xb8\xd0\xba", 0, "&BC8ESQQ4BDo-"},
		{"\xf0\x9f\x93\xa7", 0, "&2D3c5w-"},
		{"\xc3\xa4-\xc3\xa4", 0, "&AOQ--&AOQ-"},
		{"\xc3\xa4/\xc3\xa4", '.', "&AOQ-.&AOQ-"},
		{"a\"b\\c%d*e", 0, "a\"b\\c%d*e"},
		{"a\nb", 0, NULL},
		{"a\x7f", 0, NULL},
		{"\xc2\x85", 0, NULL},         /* a control of Latin 1 */
		{"\xff", 0, NULL},             /* no UTF-8 */
		{"\xc3", 0, NULL},             /* cut off */
		{"\xc0\xaf", 0, NULL},         /* overlong "/" */
		{"\xed\xa0\x80", 0, NULL},     /* a surrogate */
		{"\xf4\x90\x80\x80", 0, NULL}, /* above U+10FFFF */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf buf;
		buf_init(&buf, 200);
		bool done = imap_name_encode(&buf, cases[i].name, cases[i].delimiter);
		assert_int_equal(done, cases[i].want != NULL);
		if (done)
			check_text(&buf, cases[i].want);
		buf_fini(&buf);
	}
}

/* RFC 9051: the same names for revision 2, as they are but for the delimiter; quoted, and nothing else
 * than names. */
static void test_name_of_revision_2(void **state)
{
	static const struct {
		const char *name;
		char delimiter;
		const char *want;
	} cases[] = {
		{"Sent", 0, "\"Sent\""},
		{"R&D/a", '.', "\"R&D.a\""},
		{"Gel\xc3\xb6scht/\xf0\x9f\x93\xa7", '/', "\"Gel\xc3\xb6scht/\xf0\x9f\x93\xa7\""},
		{"a\"b\\c", 0, "\"a\\\"b\\\\c\""},
		{"a\r\nb", 0, NULL},
		{"a\x7f", 0, NULL},
		{"\xc2\x85", 0, NULL},
		{"\xff", 0, NULL},
		{"\xc3", 0, NULL},
		{"\xc0\xaf", 0, NULL},
		{"\xed\xa0\x80", 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf name, words;
		buf_init(&name, 200);
		buf_init(&words, 200);
		bool done = imap_name_put(&name, cases[i].name, cases[i].delimiter);
		assert_int_equal(done, cases[i].want != NULL);
		assert_int_equal(imap_is_name(cases[i].name), done);
		assert_int_equal(imap_quote_name(&words, cases[i].name), done);
		buf_drop(&words, buf_len(&words));
		if (done) {
			assert_true(buf_put(&name, "", 1));
			assert_true(imap_quote_name(&words, buf_data(&name)));
			check_text(&words, cases[i].want);
		}
		buf_fini(&words);
		buf_fini(&name);
	}
}

/* Whether a set names the UID, read as a server would. */
static bool set_names(const char *set, uint32_t uid)
{
	while (*set) {
		char *end;
		unsigned long from = strtoul(set, &end, 10), to = from;
		if (*end == ':')
			to = strtoul(end + 1, &end, 10);
		assert_true(from <= to && (from < to || end[-1] != ':'));
		if (uid >= from && uid <= to)
			return true;
		set = end + (*end == ',');
	}
	return false;
}

/* Random UIDs, lines of all lengths: each is named exactly once, no other one ever, no part too long. */
static void test_sets(void **state)
{
	enum { UIDS = 4000 };
	static const size_t lines[] = {0, 100, 1000, 8000, 65536};
	static uint32_t uids[UIDS];
	static unsigned char named[UIDS + 1], is_chosen[UIDS + 1];
	static char text[UID_SET_OCTETS + 1];

	(void)state;
	srand(7);
	for (int round = 0; round < 20; round++) {
		size_t count = 0, here, chosen;
		for (uint32_t uid = 1; uid <= UIDS; uid++) {
			is_chosen[uid] = rand() % 20 < round;
			if (is_chosen[uid])
				uids[count++] = uid;
		}
		struct uid_set set = {uids, count, (size_t)(rand() % UID_SET_MESSAGES) + 1,
				      uid_set_octets(lines[round % 5]), 0};
		memset(named, 0, sizeof named);
		while ((chosen = uid_set_next(&set, text)) > 0) {
			here = 0;
			assert_true(strlen(text) <= set.octets && chosen <= set.most);
			for (uint32_t uid = 1; uid <= UIDS; uid++)
				if (set_names(text, uid)) {
					assert_true(is_chosen[uid]);
					named[uid]++;
					here++;
				}
			assert_int_equal(here, chosen);
			count -= chosen;
		}
		assert_int_equal(count, 0);
		for (uint32_t uid = 1; uid <= UIDS; uid++)
			assert_int_equal(named[uid], is_chosen[uid]);
		assert_string_equal(text, "");
	}
}

static void test_set_forms(void **state)
{
	static const uint32_t uids[] = {1, 2, 7, 4294967291u, 4294967294u, 4294967295u};
	struct uid_set set = {uids, 6, 1000, uid_set_octets(1000), 0};
	char text[UID_SET_OCTETS + 1];

	(void)state;
	assert_int_equal(uid_set_next(&set, text), 6);
	assert_string_equal(text, "1:2,7,4294967291,4294967294:4294967295");
	assert_int_equal(uid_set_next(&set, text), 0);
	assert_true(uid_set_octets(1000) < 1000 && uid_set_octets(0) >= 21);
	assert_int_equal(uid_set_octets(65536), UID_SET_OCTETS);
	assert_int_equal(uid_at_or_above(uids, 6, 3), 2);
	assert_int_equal(uid_at_or_above(uids, 6, 7), 2);
	assert_int_equal(uid_at_or_above(uids, 5, 4294967295u), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quote), cmocka_unit_test(test_quote_ceiling),
		cmocka_unit_test(test_name),  cmocka_unit_test(test_name_of_revision_2),
		cmocka_unit_test(test_sets),  cmocka_unit_test(test_set_forms),
	};
	return cmocka_run_group_tests_name("imap_name", tests, NULL, NULL);
}
