/* SPDX-License-Identifier: MIT */
/* t_lru.c - rows under keys: found again, zero at birth, and who is forgotten when it is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "proxy/base/lru.h"

static void test_rows(void **state)
{
	struct lru *lru = lru_new(sizeof(uint64_t), 10);

	(void)state;
	assert_null(lru_find(lru, "a"));
	uint64_t *row = lru_touch(lru, "a");
	assert_int_equal(*row, 0);
	*row = 7;
	assert_ptr_equal(lru_find(lru, "a"), row);
	assert_ptr_equal(lru_touch(lru, "a"), row);
	assert_int_equal(*row, 7);
	assert_null(lru_find(lru, "b"));
	assert_int_equal(*(uint64_t *)lru_touch(lru, ""), 0);
	assert_int_equal(lru_count(lru), 2);
	lru_drop(lru, "a");
	lru_drop(lru, "never there");
	assert_null(lru_find(lru, "a"));
	assert_int_equal(*(uint64_t *)lru_touch(lru, "a"), 0);
	lru_free(lru);
	lru_free(NULL);
}

static void test_full(void **state)
{
	struct lru *lru = lru_new(sizeof(int), 5000);
	char key[16];

	(void)state;
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof key, "key %d", i);
		*(int *)lru_touch(lru, key) = i;
	}
	assert_int_equal(*(int *)lru_touch(lru, "key 0"), 0); /* used: key 1 is the oldest now */
	lru_touch(lru, "one more");
	assert_int_equal(lru_count(lru), 5000);
	assert_null(lru_find(lru, "key 1"));
	assert_non_null(lru_find(lru, "key 0"));
	for (int i = 2; i < 5000; i++) {
		snprintf(key, sizeof key, "key %d", i);
		assert_int_equal(*(int *)lru_find(lru, key), i);
	}
	lru_free(lru);
}

/* Finding is not using. */
static void test_find_keeps_order(void **state)
{
	struct lru *lru = lru_new(1, 2);

	(void)state;
	lru_touch(lru, "a");
	lru_touch(lru, "b");
	assert_non_null(lru_find(lru, "a"));
	lru_touch(lru, "c");
	assert_null(lru_find(lru, "a"));
	assert_non_null(lru_find(lru, "b"));
	lru_free(lru);
}

static void test_oldest(void **state)
{
	struct lru *lru = lru_new(1, 10);

	(void)state;
	assert_null(lru_oldest(lru));
	lru_touch(lru, "a");
	lru_touch(lru, "b");
	lru_touch(lru, "c");
	assert_string_equal(lru_oldest(lru), "a");
	lru_touch(lru, "a");
	assert_string_equal(lru_oldest(lru), "b");
	lru_drop(lru, lru_oldest(lru));
	assert_string_equal(lru_oldest(lru), "c");
	lru_drop(lru, "c");
	lru_drop(lru, "a");
	assert_null(lru_oldest(lru));
	lru_free(lru);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_find_keeps_order),
		cmocka_unit_test(test_oldest),
	};

	return cmocka_run_group_tests_name("lru", tests, NULL, NULL);
}
