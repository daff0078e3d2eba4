/* SPDX-License-Identifier: MIT */
/* t_recent.c - a table that forgets the oldest, against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "proxy/recent.h"

static void key_of(unsigned n, unsigned char key[RECENT_KEY])
{
	memset(key, 0, RECENT_KEY);
	memcpy(key + n % 2 * 8, &n, sizeof n); /* every other one into chain 0 */
}

static void t_recent(void **state)
{
	enum { MAX = 7, KEYS = 50 };
	struct recent *recent = recent_new(MAX);
	unsigned order[KEYS], count = 0, seed = 1; /* the model: newest last */
	unsigned char key[RECENT_KEY];

	(void)state;
	for (unsigned turn = 0; turn < 20000; turn++) {
		seed = seed * 1103515245 + 12345;
		unsigned n = seed >> 16 & 31, at = 0;
		bool is_drop = (seed >> 24) % 5 == 0;
		key_of(n, key);
		while (at < count && order[at] != n)
			at++;
		struct recent_row *row = recent_find(recent, key);
		assert_int_equal(row != NULL, at < count);
		if (row)
			assert_int_equal(row->count, n + 1);
		if (at < count)
			memmove(order + at, order + at + 1, (--count - at) * sizeof *order);
		if (is_drop) {
			recent_drop(recent, key);
			continue;
		}
		row = recent_touch(recent, key);
		assert_true(row->count == n + 1 || (row->count == 0 && !row->until_ms));
		row->count = n + 1;
		row->until_ms = 1;
		order[count++] = n;
		if (count > MAX)
			memmove(order, order + 1, --count * sizeof *order);
	}
	recent_free(recent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t_recent),
	};

	return cmocka_run_group_tests_name("recent", tests, NULL, NULL);
}
