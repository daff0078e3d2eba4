/* SPDX-License-Identifier: MIT */
/* t_log.c - one line per event, that no peer can forge and no secret can enter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/log.h"

struct kept {
	struct log_target target; /* first */
	char line[2048];
	size_t len;
	unsigned lines;
	enum log_level level;
};

static void keep(struct log_target *target, enum log_level level, const char *line, size_t len)
{
	struct kept *kept = (struct kept *)target;

	assert_true(len < sizeof kept->line);
	memcpy(kept->line, line, len);
	kept->line[len] = '\0';
	kept->len = len;
	kept->lines++;
	kept->level = level;
	assert_ptr_equal(memchr(line, '\n', len), line + len - 1);
}

#define BEGIN(kept_, log_)                                                                         \
	struct kept kept_ = {.target = {keep, LEVEL_NOTE}};                                        \
	struct log log_ = {.target = &kept_.target, .tag = "sid=8F3A2C"}

static void test_line(void **state)
{
	(void)state;
	BEGIN(kept, log);
	LOG(&log, LEVEL_NOTE, "login", log_text("user", "joe"), log_number("messages", 12),
	    log_secret("password"));
	assert_string_equal(kept.line, "event=login level=note sid=8F3A2C user=joe messages=12 "
				       "password=***\n");
	LOG(&log, LEVEL_ALARM, "full");
	assert_string_equal(kept.line, "event=full level=alarm sid=8F3A2C\n");
	assert_int_equal(kept.level, LEVEL_ALARM);
	log.tag[0] = '\0';
	LOG(&log, LEVEL_WARN, "x", log_number("n", UINT64_MAX));
	assert_string_equal(kept.line, "event=x level=warn n=18446744073709551615\n");
}

static void test_levels(void **state)
{
	(void)state;
	BEGIN(kept, log);
	LOG(&log, LEVEL_DEBUG, "quiet");
	assert_int_equal(kept.lines, 0);
	kept.target.least = LEVEL_DEBUG;
	LOG(&log, LEVEL_DEBUG, "loud");
	assert_int_equal(kept.lines, 1);
	struct log silent = {.target = NULL};
	LOG(&silent, LEVEL_ALARM, "nobody");
	LOG((struct log *)NULL, LEVEL_ALARM, "nobody");
	assert_int_equal(kept.lines, 1);
}

static void test_escapes(void **state)
{
	static const char *const pairs[][2] = {
		{"", "\"\""},
		{"a b", "\"a b\""},
		{"a=b", "\"a=b\""},
		{"say \"hi\"", "\"say \\\"hi\\\"\""},
		{"back\\slash", "\"back\\\\slash\""},
		{"joe\nevent=login level=note user=eve",
		 "\"joe\\x0aevent=login level=note user=eve\""},
		{"\r\x1b[2J\x7f", "\"\\x0d\\x1b[2J\\x7f\""},
		{"p\xc3\xa4", "\"p\\xc3\\xa4\""},
		{"joe@example.com", "joe@example.com"},
	};
	char expected[256];

	(void)state;
	BEGIN(kept, log);
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		LOG(&log, LEVEL_NOTE, "e", log_text("v", pairs[i][0]));
		snprintf(expected, sizeof expected, "event=e level=note sid=8F3A2C v=%s\n",
			 pairs[i][1]);
		assert_string_equal(kept.line, expected);
	}
	LOG(&log, LEVEL_NOTE, "e", log_text("v", NULL));
	assert_string_equal(kept.line, "event=e level=note sid=8F3A2C v=\"\"\n");
}

/* Whatever the lengths, a line has at most 1,024 octets, and one that was cut says so. */
static void test_cut(void **state)
{
	char text[1200];

	(void)state;
	BEGIN(kept, log);
	for (size_t len = 0; len < sizeof text - 1; len++) {
		memset(text, len % 2 ? 'x' : '\n', len);
		text[len] = '\0';
		LOG(&log, LEVEL_NOTE, "e", log_text("v", text), log_text("w", "end"));
		assert_true(kept.len <= 1024);
		bool cut = !strstr(kept.line, " w=end\n");
		assert_int_equal(cut, !strcmp(kept.line + kept.len - 4, "...\n"));
		assert_int_equal(cut, len % 2 ? len > 981 : len * 4 + 2 > 981);
	}
}

static void test_err(void **state)
{
	(void)state;
	BEGIN(kept, log);
	log_err(&log, LEVEL_WARN, "open", ERR(ERR_IN_USE, 16, "busy"));
	assert_string_equal(kept.line,
			    "event=open level=warn sid=8F3A2C kind=in-use code=16 what=busy\n");
	log_err(&log, LEVEL_WARN, "open", ERR(ERR_CLIENT, 0, "gone"));
	assert_non_null(strstr(kept.line, "kind=client"));
	log_err(&log, LEVEL_WARN, "open", OK);
	assert_non_null(strstr(kept.line, "kind=none code=0 what=\"\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),    cmocka_unit_test(test_levels),
		cmocka_unit_test(test_escapes), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_err),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
