/* SPDX-License-Identifier: MIT */
/* t_stream.c - the line reader in any segmentation, coalesced writes, ends and aborts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/canned.h"

enum { IN_MAX = 65536, OUT_MAX = 16384 };

static void expect_line(struct canned *canned, const char *text)
{
	const char *line;
	size_t len;

	assert_int_equal(stream_line(&canned->stream, &line, &len).kind, ERR_NONE);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(line, text, len);
}

static void expect_err(struct canned *canned, enum err_kind kind, int code)
{
	const char *line;
	size_t len;
	struct err err = stream_line(&canned->stream, &line, &len);

	assert_int_equal(err.kind, kind);
	assert_int_equal(err.code, code);
}

static void test_lines(void **state)
{
	static const char input[] = "USER joe\r\nNOOP\n\r\n\n\rSTAT\r\r\nLIST 1\r\nQUIT";

	(void)state;
	for (size_t chunk = 0; chunk < sizeof input; chunk++) {
		struct canned canned;
		canned_init(&canned, ERR_CLIENT, input, sizeof input - 1);
		canned.chunk = chunk;
		expect_line(&canned, "USER joe");
		expect_line(&canned, "NOOP");
		expect_line(&canned, "");
		expect_line(&canned, "");
		expect_line(&canned, "\rSTAT\r");
		expect_line(&canned, "LIST 1");
		expect_err(&canned, ERR_CLIENT, ENODATA); /* QUIT without LF is none */
		expect_err(&canned, ERR_CLIENT, ENODATA);
		assert_int_equal(stream_pending(&canned.stream), 0);
		canned_fini(&canned);
	}
}

static void test_octets(void **state)
{
	struct canned canned;
	const char *line;
	size_t len;

	(void)state;
	canned_init(&canned, ERR_CLIENT, "a\0b\xff\r\n", 6);
	assert_int_equal(stream_line(&canned.stream, &line, &len).kind, ERR_NONE);
	assert_int_equal(len, 4);
	assert_memory_equal(line, "a\0b\xff", 4);
	canned_fini(&canned);
}

/* a line of exactly the ceiling is good, a longer one is one error and the next is in step,
 * twice the ceiling and a read without LF is the end. */
static void test_long_lines(void **state)
{
	static const struct {
		size_t octets; /* with its LF */
		enum err_kind kind;
		int code;
	} cases[] = {
		{IN_MAX - 1, ERR_NONE, 0},        {IN_MAX, ERR_NONE, 0},
		{IN_MAX + 1, ERR_REFUSED, E2BIG}, {70000, ERR_REFUSED, E2BIG},
		{2 * IN_MAX, ERR_REFUSED, E2BIG}, {2 * IN_MAX + 2049, ERR_CLIENT, EOVERFLOW},
		{1000000, ERR_CLIENT, EOVERFLOW},
	};
	static const size_t chunks[] = {0, 1, 2047, 2048, 5000};

	(void)state;
	for (size_t i = 0; i < 5 * sizeof cases / sizeof *cases; i++) {
		size_t n = cases[i / 5].octets;
		char *input = malloc(n + 6);
		memset(input, 'x', n);
		memcpy(input + n - 1, "\nNOOP\r\n", 7);
		struct canned canned;
		canned_init(&canned, ERR_CLIENT, input, n + 6);
		canned.chunk = chunks[i % 5];
		if (cases[i / 5].kind) {
			expect_err(&canned, cases[i / 5].kind, cases[i / 5].code);
		} else {
			const char *line;
			size_t len;
			assert_int_equal(stream_line(&canned.stream, &line, &len).kind, ERR_NONE);
			assert_int_equal(len, n - 1);
		}
		if (cases[i / 5].kind != ERR_CLIENT)
			expect_line(&canned, "NOOP");
		assert_true(canned.stream.in.cap <= IN_MAX);
		canned_fini(&canned);
		free(input);
	}
}

/* replies to what came together leave together, and nothing is unsaid in a wait. */
static void test_coalesced(void **state)
{
	struct canned canned;

	(void)state;
	canned_init(&canned, ERR_CLIENT, "a\r\nb\r\nc\r\n", 9);
	expect_line(&canned, "a");
	assert_int_equal(stream_printf(&canned.stream, "+OK %d\r\n", 1).kind, ERR_NONE);
	assert_true(stream_has_line(&canned.stream));
	expect_line(&canned, "b");
	assert_int_equal(stream_put(&canned.stream, "+OK 2\r\n", 7).kind, ERR_NONE);
	assert_int_equal(canned.writes, 0);
	expect_line(&canned, "c");
	assert_false(stream_has_line(&canned.stream));
	expect_err(&canned, ERR_CLIENT, ENODATA);
	assert_int_equal(canned.writes, 1);
	assert_string_equal(canned_output(&canned), "+OK 1\r\n+OK 2\r\n");
	canned_fini(&canned);
}

static void test_big_puts(void **state)
{
	static const size_t sizes[] = {1, 100, OUT_MAX - 1, OUT_MAX, OUT_MAX + 1, 3 * OUT_MAX};
	char *octets = malloc(4 * OUT_MAX);

	(void)state;
	for (size_t i = 0; i < 4 * OUT_MAX; i++)
		octets[i] = (char)(i * 31 % 251);
	for (size_t a = 0; a < 6; a++)
		for (size_t b = 0; b < 6; b++) {
			struct canned canned;
			canned_init(&canned, ERR_CLIENT, "", 0);
			assert_int_equal(stream_put(&canned.stream, octets, sizes[a]).kind, 0);
			assert_int_equal(stream_put(&canned.stream, octets, sizes[b]).kind, 0);
			assert_int_equal(stream_put(&canned.stream, octets, 0).kind, 0);
			assert_true(buf_len(&canned.stream.out) <= OUT_MAX);
			assert_int_equal(stream_flush(&canned.stream).kind, 0);
			assert_int_equal(buf_len(&canned.output), sizes[a] + sizes[b]);
			assert_memory_equal(buf_data(&canned.output), octets, sizes[a]);
			assert_memory_equal(buf_data(&canned.output) + sizes[a], octets, sizes[b]);
			canned_fini(&canned);
		}
	octets[OUT_MAX] = '\0';
	memset(octets, 'x', OUT_MAX);
	struct canned canned;
	canned_init(&canned, ERR_CLIENT, "", 0);
	assert_int_equal(stream_put(&canned.stream, "y", 1).kind, ERR_NONE);
	assert_int_equal(stream_printf(&canned.stream, "%s", octets).kind, ERR_NONE);
	assert_int_equal(stream_printf(&canned.stream, "%sz", octets).kind, ERR_CLIENT);
	canned_fini(&canned);
	free(octets);
}

static void test_read(void **state)
{
	struct canned canned;
	char octets[8];
	size_t got;

	(void)state;
	canned_init(&canned, ERR_UPSTREAM, "a\r\nbcdefgh", 10);
	expect_line(&canned, "a");
	assert_int_equal(stream_pending(&canned.stream), 7);
	assert_int_equal(stream_put(&canned.stream, "x", 1).kind, ERR_NONE);
	assert_int_equal(stream_read(&canned.stream, octets, 3, &got).kind, ERR_NONE);
	assert_int_equal(got, 3);
	assert_memory_equal(octets, "bcd", 3);
	assert_int_equal(canned.writes, 0);
	assert_int_equal(stream_read(&canned.stream, octets, 8, &got).kind, ERR_NONE);
	assert_int_equal(got, 4);
	assert_int_equal(stream_read(&canned.stream, octets, 8, &got).kind, ERR_NONE);
	assert_int_equal(got, 0);
	assert_int_equal(canned.writes, 1);
	canned_fini(&canned);
}

static void test_failures(void **state)
{
	struct canned canned;

	(void)state;
	canned_init(&canned, ERR_UPSTREAM, "ab\r\ncd\r\n", 8);
	canned.cut = 6;
	expect_line(&canned, "ab");
	expect_err(&canned, ERR_UPSTREAM, ECONNRESET);
	canned_fini(&canned);

	canned_init(&canned, ERR_CLIENT, "ab\r\ncd\r\n", 8);
	canned.chunk = 4;
	canned.fail_write = 1;
	expect_line(&canned, "ab");
	assert_int_equal(stream_put(&canned.stream, "+OK\r\n", 5).kind, ERR_NONE);
	expect_err(&canned, ERR_CLIENT, ECONNRESET); /* the flush before the wait */
	assert_int_equal(buf_len(&canned.output), 0);
	canned_fini(&canned);
}

/* What was read before an abort is not given after it: a session that was ended finds no QUIT. */
static void test_abort(void **state)
{
	struct canned canned;
	char octets[4];
	size_t got = 1;

	(void)state;
	canned_init(&canned, ERR_CLIENT, "DELE 1\r\nQUIT\r\n", 14);
	expect_line(&canned, "DELE 1");
	assert_true(stream_has_line(&canned.stream));
	stream_abort(&canned.stream);
	stream_abort(NULL);
	assert_true(canned.is_aborted);
	expect_err(&canned, ERR_CLIENT, ECANCELED);
	assert_int_equal(stream_read(&canned.stream, octets, 4, &got).kind, ERR_CLIENT);
	assert_int_equal(got, 0);
	assert_int_equal(stream_put(&canned.stream, "x", 1).kind, ERR_CLIENT);
	assert_int_equal(stream_printf(&canned.stream, "x").kind, ERR_CLIENT);
	assert_int_equal(stream_flush(&canned.stream).kind, ERR_CLIENT);
	assert_int_equal(canned.writes, 0);
	stream_close(&canned.stream);
	stream_close(NULL);
	assert_true(canned.is_closed);
	canned_fini(&canned);
}

static void test_idle_holds_nothing(void **state)
{
	struct canned canned;

	(void)state;
	canned_init(&canned, ERR_CLIENT, "a\r\n", 3);
	expect_line(&canned, "a");
	assert_int_equal(stream_printf(&canned.stream, "+OK\r\n").kind, ERR_NONE);
	canned.input_len = 3;
	expect_err(&canned, ERR_CLIENT, ENODATA);
	assert_null(canned.stream.out.store);
	stream_limit(&canned.stream, 7, 9);
	assert_int_equal(canned.wait_ms, 7);
	assert_int_equal(canned.until_ms, 9);
	canned_fini(&canned);
}

static void test_await(void **state)
{
	struct canned canned;

	(void)state;
	canned_init(&canned, ERR_CLIENT, "ab\r\n", 4);
	canned.chunk = 1;
	for (int i = 0; i < 2; i++) { /* what is pending is enough */
		assert_int_equal(stream_await(&canned.stream).kind, ERR_NONE);
		assert_int_equal(stream_pending(&canned.stream), 1);
	}
	expect_line(&canned, "ab");
	struct err err = stream_await(&canned.stream);
	assert_int_equal(err.kind, ERR_CLIENT);
	assert_int_equal(err.code, ENODATA);
	canned_fini(&canned);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_octets),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_coalesced),
		cmocka_unit_test(test_big_puts),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_idle_holds_nothing),
		cmocka_unit_test(test_await),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
