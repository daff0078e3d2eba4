/* SPDX-License-Identifier: MIT */
/* t_buf.c - the ceiling, the growth and the emptying of a buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"

static void test_empty(void **state)
{
	struct buf zeroed = {.store = NULL}, buf;

	(void)state;
	buf_fini(&zeroed);
	buf_wipe(&zeroed);
	buf_init(&buf, 10);
	assert_null(buf_data(&buf));
	assert_int_equal(buf_len(&buf), 0);
	assert_true(buf_put(&buf, NULL, 0));
	assert_null(buf.store);
	buf_drop(&buf, 0);
	buf_trim(&buf);
	buf_fini(&buf);
}

static void test_ceiling(void **state)
{
	static const size_t maxima[] = {1, 2, 255, 256, 257, 1000, 65536};

	(void)state;
	for (size_t i = 0; i < sizeof maxima / sizeof *maxima; i++) {
		struct buf buf;
		size_t max = maxima[i];
		char *octets = calloc(1, max + 1);
		buf_init(&buf, max);
		assert_false(buf_put(&buf, octets, max + 1));
		assert_false(buf_put(&buf, octets, SIZE_MAX));
		assert_int_equal(buf_len(&buf), 0);
		assert_true(buf_put(&buf, octets, max));
		assert_false(buf_put(&buf, octets, 1));
		assert_null(buf_room(&buf, 1));
		assert_int_equal(buf_len(&buf), max);
		buf_drop(&buf, 1);
		assert_true(buf_put(&buf, octets, 1));
		assert_true(buf.cap <= max);
		free(octets);
		buf_fini(&buf);
		assert_true(buf_put(&buf, "x", 1)); /* usable again, with its ceiling */
		assert_int_equal(buf.max, max);
		buf_fini(&buf);
	}
}

/* Filled at the end and emptied from the front, against a plain counter. */
static void test_queue(void **state)
{
	struct buf buf;
	unsigned char in = 0, out = 0;
	size_t held = 0;

	(void)state;
	buf_init(&buf, 700);
	for (unsigned turn = 0; turn < 20000; turn++) {
		size_t n = turn * 7919 % 97, gone = turn * 104729 % 101;
		unsigned char octets[97];
		for (size_t k = 0; k < n; k++)
			octets[k] = (unsigned char)(in + k);
		bool fits = held + n <= 700;
		assert_int_equal(buf_put(&buf, octets, n), fits);
		if (fits) {
			in = (unsigned char)(in + n);
			held += n;
		}
		gone = gone < held ? gone : held;
		for (size_t k = 0; k < gone; k++)
			assert_int_equal((unsigned char)buf_data(&buf)[k],
					 (unsigned char)(out + k));
		out = (unsigned char)(out + gone);
		buf_drop(&buf, gone);
		held -= gone;
		assert_int_equal(buf_len(&buf), held);
	}
	buf_fini(&buf);
}

static void test_room(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 600);
	memcpy(buf_room(&buf, 300), "abc", 3);
	buf_added(&buf, 3);
	assert_int_equal(buf_len(&buf), 3);
	assert_memory_equal(buf_data(&buf), "abc", 3);
	assert_non_null(buf_room(&buf, 597));
	assert_null(buf_room(&buf, 598));
	assert_null(buf_room(&buf, SIZE_MAX));
	assert_memory_equal(buf_data(&buf), "abc", 3);
	buf_fini(&buf);
}

static void test_printf(void **state)
{
	struct buf buf;
	char text[400];

	(void)state;
	memset(text, 'x', sizeof text);
	text[399] = '\0';
	for (size_t len = 250; len < 260; len++) {
		buf_init(&buf, len); /* exactly full: the NUL of printf needs no room */
		assert_true(buf_printf(&buf, "%s", text + 399 - len));
		assert_int_equal(buf_len(&buf), len);
		assert_memory_equal(buf_data(&buf), text, len);
		assert_false(buf_printf(&buf, "y"));
		assert_true(buf_printf(&buf, "%s", ""));
		buf_fini(&buf);
		buf_init(&buf, len - 1);
		assert_false(buf_printf(&buf, "%s", text + 399 - len));
		assert_int_equal(buf_len(&buf), 0);
		buf_fini(&buf);
	}
	buf_init(&buf, 100);
	assert_true(buf_printf(&buf, "+OK %d", 1));
	assert_true(buf_printf(&buf, " %s", "messages"));
	assert_int_equal(buf_len(&buf), 14);
	assert_memory_equal(buf_data(&buf), "+OK 1 messages", 14);
	buf_fini(&buf);
}

static void test_trim(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 100);
	assert_true(buf_put(&buf, "ab", 2));
	buf_trim(&buf);
	assert_non_null(buf.store);
	buf_drop(&buf, 2);
	assert_non_null(buf.store);
	assert_int_equal(buf.to, 0);
	buf_trim(&buf);
	assert_null(buf.store);
	assert_int_equal(buf.cap, 0);
}

/* A secret buffer keeps its contents and its kind through growth, emptying and reuse. That the old
 * stores are clean only valgrind or a debugger could see. */
static void test_secret(void **state)
{
	struct buf buf;
	char chunk[100];

	(void)state;
	buf_init(&buf, 10000);
	buf.is_secret = true;
	memset(chunk, 's', sizeof chunk);
	for (unsigned i = 0; i < 100; i++)
		assert_true(buf_put(&buf, chunk, sizeof chunk));
	for (size_t i = 0; i < 10000; i++)
		assert_int_equal(buf_data(&buf)[i], 's');
	buf_drop(&buf, 10000);
	buf_trim(&buf);
	assert_true(buf.is_secret);
	assert_true(buf_printf(&buf, "%s", "pw"));
	assert_memory_equal(buf_data(&buf), "pw", 2);
	buf_wipe(&buf);
	assert_null(buf.store);
	assert_int_equal(buf.max, 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),  cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_queue),  cmocka_unit_test(test_room),
		cmocka_unit_test(test_printf), cmocka_unit_test(test_trim),
		cmocka_unit_test(test_secret),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
