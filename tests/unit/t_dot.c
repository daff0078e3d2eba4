/* SPDX-License-Identifier: MIT */
/* t_dot.c - the dot sink against a slow and obvious model, at every split, and its promises about
 * when octets leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/base/mem.h"
#include "session/dot.h"
#include "session/session.h"
#include "tests/fake/canned.h"

/* The model: one octet at a time, first line ends, then dots. Gives the reply's body with its
 * terminator; *octets is the normalised length. */
static char *model(const char *raw, size_t len, size_t *out_len, size_t *octets)
{
	char *normal = mem_alloc(2 * len + 3), *out = mem_alloc(4 * len + 16);
	size_t n = 0, m = 0;

	for (size_t i = 0; i < len; i++) {
		if (raw[i] == '\n' && (!i || raw[i - 1] != '\r'))
			normal[n++] = '\r';
		normal[n++] = raw[i];
	}
	if (n && (n < 2 || normal[n - 2] != '\r' || normal[n - 1] != '\n')) {
		normal[n++] = '\r';
		normal[n++] = '\n';
	}
	for (size_t i = 0; i < n; i++) {
		if (normal[i] == '.' &&
		    (!i || (i >= 2 && normal[i - 2] == '\r' && normal[i - 1] == '\n')))
			out[m++] = '.';
		out[m++] = normal[i];
	}
	memcpy(out + m, ".\r\n", 3);
	*out_len = m + 3;
	*octets = n;
	free(normal);
	return out;
}

/* Puts raw in pieces: `first` octets, then `step` at a time. */
static void feed(struct dot *dot, const char *raw, size_t len, size_t first, size_t step)
{
	for (size_t at = 0; at < len;) {
		size_t n = at ? step : first;
		if (n > len - at)
			n = len - at;
		assert_int_equal(dot->sink.put(&dot->sink, raw + at, n).kind, ERR_NONE);
		at += n;
	}
}

static void expect(const char *raw, size_t len, size_t first, size_t step)
{
	struct canned canned;
	struct dot dot;
	size_t want_len, octets;
	char status[64], *want = model(raw, len, &want_len, &octets);

	canned_init(&canned, ERR_CLIENT, "", 0);
	dot_init(&dot, &canned.stream, true, 7);
	feed(&dot, raw, len, first, step);
	assert_false(dot_started(&dot));
	assert_int_equal(dot_finish(&dot).kind, ERR_NONE);
	assert_true(dot_started(&dot));
	assert_int_equal(dot.octets, octets);
	assert_int_equal(stream_flush(&canned.stream).kind, ERR_NONE);
	size_t head = (size_t)snprintf(status, sizeof status, "+OK %zu octets\r\n", octets);
	assert_int_equal(buf_len(&canned.output), head + want_len);
	assert_memory_equal(buf_data(&canned.output), status, head);
	assert_memory_equal(buf_data(&canned.output) + head, want, want_len);
	assert_int_equal(canned.writes, 1);
	dot_fini(&dot);
	canned_fini(&canned);
	free(want);
}

static const struct {
	const char *raw;
	size_t len;
} patterns[] = {
#define P(text)                                                                                    \
	{                                                                                          \
		text, sizeof text - 1                                                              \
	}
	P(""),
	P("."),
	P(".."),
	P("..."),
	P("\r"),
	P("\n"),
	P("\r\n"),
	P("\n\n"),
	P("\r\r"),
	P("\r\r\n"),
	P("\r\n\r\n"),
	P("\n\r"),
	P("\n\r\n"),
	P(".\r\n"),
	P(".\n"),
	P(".\r"),
	P("\n."),
	P("\n.\n"),
	P("\r.\r"),
	P("\r\n."),
	P("\r\n.\r\n"),
	P("\r\n.\n"),
	P("\r\r\n."),
	P("\r\r\n.\r\r\n."),
	P("a\n.\n+OK fake\n"),
	P("a\r.\r"),
	P("a\r\n.\n"),
	P("a\r\n.\r\n+OK fake\r\n"),
	P("a"),
	P("a\r"),
	P("a\n"),
	P("a\r\n"),
	P("a."),
	P("a\r\nb"),
	P("a\r\nb\r\n.c\r\n..d\r\n"),
	P("\n\n.\n\n.."),
	P(".x\r\n"),
	P("x\0y\n\0.\n.\0\n"),
	P("\0"),
	P("\0\n."),
	P("\xff\xfe\n.\x80\r\n"),
	P("\n.\r.\n\r.\r\n.\r"),
	P("....\n....\n"),
	P("\r\n\r\n.\r\n\r\n"),
#undef P
};

static void test_patterns_at_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
		for (size_t first = 0; first <= patterns[i].len; first++)
			for (size_t step = 1; step <= 4 && step <= patterns[i].len + 1; step++)
				expect(patterns[i].raw, patterns[i].len, first ? first : step,
				       step);
}

/* Every text of up to 7 octets over the four that matter. */
static void test_all_short_texts(void **state)
{
	static const char alphabet[] = "\r\n.a";
	char text[7];

	(void)state;
	for (size_t len = 1; len <= sizeof text; len++)
		for (unsigned code = 0; code < 1u << (2 * len); code++) {
			for (size_t i = 0; i < len; i++)
				text[i] = alphabet[code >> (2 * i) & 3];
			expect(text, len, len, 1);
			expect(text, len, 1 + code % len, 1 + code % 3);
		}
}

/* What needs work, at every place of a text that is gone over in blocks: as a whole, and cut in two
 * there. */
static void test_odd_at_every_place(void **state)
{
	static const char *const odd[] = {"\n", "\n.", "\r\n.",       "\r\n\n",
					  "\r", ".",   "\r\r\n.\r\n."};
	enum { LINE = 37, WHOLE = 300 };
	char text[WHOLE];

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
		for (size_t at = 0; at + strlen(odd[i]) <= WHOLE; at++) {
			for (size_t k = 0; k < WHOLE; k++)
				text[k] = k % LINE == LINE - 2   ? '\r'
					  : k % LINE == LINE - 1 ? '\n'
								 : 'a';
			memcpy(text + at, odd[i], strlen(odd[i]));
			expect(text, WHOLE, WHOLE, 1);
			expect(text, WHOLE, at ? at : 1, WHOLE);
			expect(text, WHOLE, at + 1, WHOLE);
		}
}

static char *many(const char *piece, size_t len, size_t total)
{
	char *text = mem_alloc(total + 1);

	for (size_t i = 0; i < total; i++)
		text[i] = piece[i % len];
	return text;
}

/* Worst growth, right up to the size that is still held. */
static void test_held_whole(void **state)
{
	static const char *const pieces[] = {".\r\n", ".", "\r", "ab\r\n", ".\n", "\n"};

	(void)state;
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		size_t piece = strlen(pieces[i]);
		/* Line ends may double what counts; the last line may need its own. */
		size_t fits = SESSION_HOLD - 2;
		if (strchr(pieces[i], '\n') && !strchr(pieces[i], '\r'))
			fits = SESSION_HOLD * piece / (piece + 1) - 2;
		char *text = many(pieces[i], piece, fits);
		expect(text, fits, fits, 1);
		expect(text, fits, 1, 4097);
		free(text);
	}
}

/* Larger ones: leave early, in large writes, same octets, the end in one write with the dot. */
static void test_streamed(void **state)
{
	static const char *const pieces[] = {"0123456789\r\n", ".\n", "\n", "x", ".\r\n", "\r"};
	static const size_t steps[] = {100, 8192, 16384, 65536, 1 << 20};

	(void)state;
	for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++)
		for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
			size_t len = (1 << 20) + 17 * k, want_len, octets;
			char *text = many(pieces[k], strlen(pieces[k]), len);
			char *want = model(text, len, &want_len, &octets);
			struct canned canned;
			struct dot dot;

			canned_init(&canned, ERR_CLIENT, "", 0);
			dot_init(&dot, &canned.stream, true, 4711);
			feed(&dot, text, len, steps[i], steps[i]);
			assert_true(dot_started(&dot));
			/* What was written so far lacks at least the last octets. */
			assert_int_equal(stream_flush(&canned.stream).kind, ERR_NONE);
			size_t head = strlen("+OK 4711 octets\r\n");
			assert_true(buf_len(&canned.output) >= SESSION_HOLD);
			assert_true(buf_len(&canned.output) <= head + want_len - 3 - 60);
			assert_int_equal(dot_finish(&dot).kind, ERR_NONE);
			assert_int_equal(stream_flush(&canned.stream).kind, ERR_NONE);
			assert_true(canned.last_write >= 6);
			assert_memory_equal(buf_data(&canned.output), "+OK 4711 octets\r\n", head);
			assert_int_equal(buf_len(&canned.output), head + want_len);
			assert_memory_equal(buf_data(&canned.output) + head, want, want_len);
			assert_true(canned.writes <= want_len / 32000 + 2);
			assert_true(dot.hold.cap <= 256 * 1024);
			dot_fini(&dot);
			canned_fini(&canned);
			free(text);
			free(want);
		}
}

/* What the store announced is told, and a large announcement need not be held. */
static void test_announced(void **state)
{
	struct canned canned;
	struct dot dot;
	char *text = many("0123456789\r\n", 12, 100000);

	(void)state;
	canned_init(&canned, ERR_CLIENT, "", 0);
	dot_init(&dot, &canned.stream, true, 4711);
	dot.sink.announced_octets = 999999;
	feed(&dot, text, 80000, 80000, 1);
	assert_true(dot_started(&dot));
	assert_true(canned.writes >= 1);
	assert_memory_equal(canned_output(&canned), "+OK 999999 octets\r\n0123", 23);
	dot_fini(&dot);
	canned_fini(&canned);

	/* A small announcement changes nothing: the count is exact. */
	canned_init(&canned, ERR_CLIENT, "", 0);
	dot_init(&dot, &canned.stream, true, 4711);
	dot.sink.announced_octets = 5;
	feed(&dot, text, 100000, 100000, 1);
	assert_false(dot_started(&dot));
	assert_int_equal(dot_finish(&dot).kind, ERR_NONE);
	assert_int_equal(stream_flush(&canned.stream).kind, ERR_NONE);
	assert_memory_equal(canned_output(&canned), "+OK 100002 octets\r\n0123", 23);
	dot_fini(&dot);
	canned_fini(&canned);
	free(text);
}

static void test_without_count(void **state)
{
	struct canned canned;
	struct dot dot;

	(void)state;
	canned_init(&canned, ERR_CLIENT, "", 0);
	dot_init(&dot, &canned.stream, false, 0);
	feed(&dot, ".", 1, 1, 1);
	assert_int_equal(dot_finish(&dot).kind, ERR_NONE);
	assert_int_equal(stream_flush(&canned.stream).kind, ERR_NONE);
	assert_string_equal(canned_output(&canned), "+OK\r\n..\r\n.\r\n");
	dot_fini(&dot);
	canned_fini(&canned);
}

static void test_a_lost_client(void **state)
{
	struct canned canned;
	struct dot dot;
	char *text = many("x", 1, 300000);

	(void)state;
	canned_init(&canned, ERR_CLIENT, "", 0);
	canned.fail_write = 1;
	dot_init(&dot, &canned.stream, true, 300000);
	assert_int_equal(dot.sink.put(&dot.sink, text, 300000).kind, ERR_CLIENT);
	assert_true(dot_started(&dot));
	dot_fini(&dot);
	canned_fini(&canned);

	/* Given up before the end: nothing has left. */
	canned_init(&canned, ERR_CLIENT, "", 0);
	dot_init(&dot, &canned.stream, true, 300000);
	feed(&dot, text, 131072, 131072, 1);
	assert_false(dot_started(&dot));
	dot_fini(&dot);
	assert_int_equal(stream_flush(&canned.stream).kind, ERR_NONE);
	assert_int_equal(buf_len(&canned.output), 0);
	canned_fini(&canned);
	dot = (struct dot){0};
	dot_fini(&dot);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns_at_every_split),
		cmocka_unit_test(test_all_short_texts),
		cmocka_unit_test(test_odd_at_every_place),
		cmocka_unit_test(test_held_whole),
		cmocka_unit_test(test_streamed),
		cmocka_unit_test(test_announced),
		cmocka_unit_test(test_without_count),
		cmocka_unit_test(test_a_lost_client),
	};
	return cmocka_run_group_tests_name("dot", tests, NULL, NULL);
}
