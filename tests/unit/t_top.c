/* SPDX-License-Identifier: MIT */
/* t_top.c - the line-counting filter, at every split, and TOP of everything against RETR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "session/dot.h"
#include "session/top.h"
#include "tests/fake/canned.h"

struct keeper {
	struct sink sink;
	struct buf octets;
	enum err_kind fail;
};

static struct err keep(struct sink *sink, const void *octets, size_t len)
{
	struct keeper *keeper = (struct keeper *)sink;

	assert_true(len > 0);
	if (keeper->fail)
		return (struct err){keeper->fail, 42, "told to"};
	assert_true(buf_put(&keeper->octets, octets, len));
	return OK;
}

#define H "A: b\r\nC: d\r\n"
static const struct {
	const char *message;
	uint64_t lines;
	const char *want;
	bool is_done;
} cases[] = {
	{H "\r\none\r\ntwo\r\n", 0, H "\r\n", true},
	{H "\r\none\r\ntwo\r\n", 1, H "\r\none\r\n", true},
	{H "\r\none\r\ntwo\r\n", 2, H "\r\none\r\ntwo\r\n", true},
	{H "\r\none\r\ntwo\r\n", 3, H "\r\none\r\ntwo\r\n", false},
	{H "\r\none\r\ntwo", 2, H "\r\none\r\ntwo", false},
	{H "\r\none\r\ntwo", UINT64_MAX, H "\r\none\r\ntwo", false},
	{"A: b\n\none\ntwo\n", 1, "A: b\n\none\n", true},
	{"A: b\n\r\none\r\n", 0, "A: b\n\r\n", true},
	{"A: b\r\n\none\r\n", 0, "A: b\r\n\n", true},
	/* a blank line in the body is a line */
	{"A: b\r\n\r\n\r\n\r\nx\r\n", 2, "A: b\r\n\r\n\r\n\r\n", true},
	/* no header at all */
	{"\r\nbody\r\n", 0, "\r\n", true},
	{"\nbody\r\n", 1, "\nbody\r\n", true},
	/* CR CR LF is no blank line, nor is CR alone, a blank or NUL-free look-alike */
	{"A: b\r\n\r\r\nC: d\r\n\r\nx\r\n", 0, "A: b\r\n\r\r\nC: d\r\n\r\n", true},
	{"A: b\r\r\r\nC: d\r\n\r\nx\r\n", 0, "A: b\r\r\r\nC: d\r\n\r\n", true},
	{"A: b\r\n \r\n\r\nx\r\n", 0, "A: b\r\n \r\n\r\n", true},
	/* the separator is missing: it comes anyway (C-12) */
	{"A: b\r\n", 0, "A: b\r\n\r\n", false},
	{"A: b\n", 5, "A: b\n\r\n", false},
	{"A: b", 0, "A: b\r\n\r\n", false},
	{"", 0, "\r\n", false},
	{"A: b\r\n.\r\n", 3, "A: b\r\n.\r\n\r\n", false},
};

static void run(size_t i, size_t first, size_t step)
{
	struct keeper keeper = {.sink = {keep, 0}};
	struct top top;
	size_t len = strlen(cases[i].message);

	buf_init(&keeper.octets, 65536);
	top_init(&top, &keeper.sink, cases[i].lines);
	for (size_t at = 0; at < len;) {
		size_t n = at ? step : first;
		if (n > len - at)
			n = len - at;
		assert_int_equal(top.sink.put(&top.sink, cases[i].message + at, n).kind, ERR_NONE);
		at += n;
	}
	assert_int_equal(top.taken, len);
	assert_int_equal(top.is_done, cases[i].is_done);
	assert_int_equal(top_finish(&top).kind, ERR_NONE);
	assert_int_equal(buf_len(&keeper.octets), strlen(cases[i].want));
	assert_memory_equal(buf_data(&keeper.octets), cases[i].want, strlen(cases[i].want));
	buf_fini(&keeper.octets);
}

static void test_cases_at_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t first = 1; first <= strlen(cases[i].message) + 1; first++)
			for (size_t step = 1; step <= 3; step++)
				run(i, first, step);
}

/* TOP n 99999999 is what fetchmail says for RETR n. */
static void test_all_lines_is_retr(void **state)
{
	static const char *const messages[] = {H "\r\n.\r\n..\r\n.x\r\n",
					       H "\n.\n\n.",
					       H "\r\n",
					       "\r\n.",
					       H "\r\nno end",
					       H "\r\nb\r",
					       H "\r\n\r.\r\r\n.\n"};

	(void)state;
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		struct canned retr, part;
		struct dot a, b;
		struct top top;

		canned_init(&retr, ERR_CLIENT, "", 0);
		canned_init(&part, ERR_CLIENT, "", 0);
		dot_init(&a, &retr.stream, false, 0);
		dot_init(&b, &part.stream, false, 0);
		top_init(&top, &b.sink, 99999999);
		for (size_t k = 0; k < strlen(messages[i]); k++) {
			assert_int_equal(a.sink.put(&a.sink, messages[i] + k, 1).kind, ERR_NONE);
			assert_int_equal(top.sink.put(&top.sink, messages[i] + k, 1).kind,
					 ERR_NONE);
		}
		assert_int_equal(top_finish(&top).kind, ERR_NONE);
		assert_int_equal(dot_finish(&a).kind, ERR_NONE);
		assert_int_equal(dot_finish(&b).kind, ERR_NONE);
		assert_int_equal(stream_flush(&retr.stream).kind, ERR_NONE);
		assert_int_equal(stream_flush(&part.stream).kind, ERR_NONE);
		assert_string_equal(canned_output(&part), canned_output(&retr));
		dot_fini(&a);
		dot_fini(&b);
		canned_fini(&retr);
		canned_fini(&part);
	}
}

static void test_errors_come_back(void **state)
{
	struct keeper keeper = {.sink = {keep, 0}, .fail = ERR_CLIENT};
	struct top top;

	(void)state;
	top_init(&top, &keeper.sink, 1);
	struct err err = top.sink.put(&top.sink, "a", 1);
	assert_int_equal(err.kind, ERR_CLIENT);
	assert_int_equal(err.code, 42);
	/* What is swallowed bothers nobody. */
	top_init(&top, &keeper.sink, 0);
	keeper.fail = ERR_NONE;
	buf_init(&keeper.octets, 100);
	assert_int_equal(top.sink.put(&top.sink, "\r\n", 2).kind, ERR_NONE);
	keeper.fail = ERR_CLIENT;
	assert_int_equal(top.sink.put(&top.sink, "body", 4).kind, ERR_NONE);
	assert_int_equal(top.taken, 6);
	buf_fini(&keeper.octets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases_at_every_split),
		cmocka_unit_test(test_all_lines_is_retr),
		cmocka_unit_test(test_errors_come_back),
	};
	return cmocka_run_group_tests_name("top", tests, NULL, NULL);
}
