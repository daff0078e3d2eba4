/* SPDX-License-Identifier: MIT */
/* t_state_rows.c - the rows of state_lmdb_recent.c alone: as of which transaction each is known, what
 * a commit under way does to them, and which go when there is no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/state_lmdb.h"

static bool visit(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct buf *shown = arg;

	return buf_printf(shown, "%s=%.*s/%u ", key, (int)len, (const char *)value,
			  (unsigned)version);
}

/* Notes a range of one entry, none if `value` is NULL, as a walk of transaction `as_of` does. */
static void note_value(struct state_recent *recent, const char *prefix, const void *value,
		       size_t len, uint64_t as_of)
{
	struct state_note note;
	struct buf shown;

	buf_init(&shown, SIZE_MAX);
	const struct state_range range = {prefix, visit, &shown};
	const struct state_range noted = state_note_begin(&note, &range);
	assert_string_equal(noted.prefix, prefix);
	if (value)
		assert_true(noted.visit(noted.arg, prefix, value, len, as_of));
	state_note_end(&note, recent, as_of);
	buf_fini(&shown);
}

static bool is_there(struct state_recent *recent, const char *prefix, uint64_t newest)
{
	struct buf shown;

	buf_init(&shown, SIZE_MAX);
	const struct state_range range = {prefix, visit, &shown};
	bool is_known = state_recent_walk(recent, newest, &range, 1);
	if (!is_known)
		assert_int_equal(buf_len(&shown), 0);
	buf_fini(&shown);
	return is_known;
}

/* What happens to the rows, in words: "read P N" is a walk of prefix P in transaction N that was
 * not answered from memory; "write K" a batch that begins, "done N" its end. "known P N" and
 * "unknown P N" are what must then be so. A prefix is written with a dot for its tab. */
static void test_rules(void **state)
{
	static const char *const cases[] = {
		"unknown a. 0; unknown a. 5",
		"read a. 5; known a. 5; unknown a. 6; unknown a. 4; unknown b. 5",
		/* Only whole parts of keys. */
		"read a 5; unknown a 5; read a.b 5; unknown a.b 5; read a.b. 5; known a.b. 5",
		/* A walk that failed. */
		"read a. 0; unknown a. 0; unknown a. 5",
		/* All are of one transaction. */
		"read a. 5; read b. 6; known b. 6; unknown a. 6; unknown a. 5",
		"read a. 5; read b. 4; known a. 5; unknown b. 5; unknown b. 4",
		/* What is written goes, all else is as it was. */
		"read a. 5; read b. 5; write a.; done 6; known b. 6; unknown a. 6; unknown b. 5",
		"read a. 5; read a.b. 5; read a.c. 5; write a.b.d; done 6; unknown a. 6; "
		"unknown a.b. 6; known a.c. 6",
		"read a. 5; read aa. 5; write aa.b; done 6; known a. 6; unknown aa. 6",
		"read a. 5; write ab; done 6; known a. 6",
		/* Somebody else has written before us. */
		"read a. 5; write b.; done 7; unknown a. 7; unknown a. 5; read a. 7; known a. 7",
		/* While we write. */
		"read a. 5; write b.; known a. 5; unknown a. 6; done 6; known a. 6",
		"read a. 5; write b.; read c. 5; read b. 5; unknown b. 5; known c. 5; done 6; "
		"known a. 6; known c. 6; unknown b. 6",
		"read a. 5; write b.c.d; read b. 5; read b.c. 5; read b.d. 5; done 6; unknown b. "
		"6; "
		"unknown b.c. 6; known b.d. 6",
		"read a. 5; write b.; read b. 6; read c. 6; unknown b. 6; done 6; known a. 6; "
		"unknown b. 6; unknown c. 6",
		"write b.; read a. 5; unknown a. 5; done 6; unknown a. 6; unknown a. 5",
		/* A walk that began before the commit and ends behind it. */
		"read a. 5; write b.; done 6; read b. 5; unknown b. 6; unknown b. 5; known a. 6",
		/* A commit that fails. */
		"read a. 5; read b. 5; write a.; done 0; unknown a. 5; known b. 5; read a. 5; "
		"known a. 5",
		"read a. 5; read b. 5; write a.; done 0; unknown b. 6; read b. 6; known b. 6",
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct state_recent *recent = state_recent_new();
		struct state_change changes[2] = {{.key = "other"}};
		struct state_write last = {.changes = changes, .count = 1};
		struct state_write first = {.changes = changes, .count = 2, .next = &last};
		char steps[400], written[16], *rest = steps, *step;
		snprintf(steps, sizeof steps, "%s", cases[i]);
		while ((step = strsep(&rest, ";"))) {
			char verb[16] = "", prefix[16] = "";
			unsigned id = 0;
			sscanf(step, "%15s %15s %u", verb, prefix, &id);
			for (char *dot = prefix; (dot = strchr(dot, '.'));)
				*dot = '\t';
			if (strcmp(verb, "read") == 0) {
				note_value(recent, prefix, "x", 1, id);
			} else if (strcmp(verb, "write") == 0) {
				snprintf(written, sizeof written, "%s", prefix);
				changes[1].key = written;
				state_recent_begin_write(recent, &first, NULL);
			} else if (strcmp(verb, "done") == 0) {
				state_recent_end_write(recent, strtoul(prefix, NULL, 10));
			} else if (is_there(recent, prefix, id) != (strcmp(verb, "known") == 0)) {
				fail_msg("%s: not so:%s", cases[i], step);
			}
		}
		state_recent_free(recent);
	}
}

/* What is shown is what was noted, each range to its own visitor, in order. */
static void test_what_is_shown(void **state)
{
	struct state_recent *recent = state_recent_new();
	struct buf one, none, other;

	(void)state;
	buf_init(&one, 100);
	buf_init(&none, 100);
	buf_init(&other, 100);
	const struct state_range ranges[] = {
		{"b\t", visit, &one}, {"empty\t", visit, &none}, {"a\t", visit, &other}};
	note_value(recent, "a\t", "A", 1, 7);
	note_value(recent, "b\t", "", 0, 7);
	assert_false(state_recent_walk(recent, 7, ranges, 3));
	assert_int_equal(buf_len(&one), 0); /* nobody is visited in vain */
	note_value(recent, "empty\t", NULL, 0, 7);
	assert_true(state_recent_walk(recent, 7, ranges, 3));
	assert_memory_equal(buf_data(&one), "b\t=/7 ", buf_len(&one));
	assert_int_equal(buf_len(&none), 0);
	assert_memory_equal(buf_data(&other), "a\t=A/7 ", buf_len(&other));
	assert_int_equal(buf_len(&other), 7);
	buf_fini(&one);
	buf_fini(&none);
	buf_fini(&other);
	state_recent_free(recent);
}

enum { LONG = 400, LARGE = 8000, ALL = 8 << 20 };

/* The prefix of a row, `len` octets. */
static const char *name_row(char *prefix, size_t len, unsigned row)
{
	snprintf(prefix, LONG + 1, "%0*u\t", (int)len - 1, row);
	return prefix;
}

static const struct ceiling {
	size_t prefix, value; /* octets of each row */
	unsigned rows;        /* noted */
	size_t least, most;   /* of the last of them are known */
} ceilings[] = {
	{LONG, 0, 25000, 12000, ALL / LONG}, /* the prefix counts */
	{12, 0, 100000, 40000, ALL / 64},    /* and the row itself */
	{12, LARGE, 2000, 900, ALL / LARGE},
	{12, 8192, 200, 0, 0}, /* with its key it is too large */
};

static void look_at(const struct ceiling *ceiling, struct state_recent *recent, uint64_t as_of)
{
	static char value[8192];
	char prefix[LONG + 1];
	unsigned row;

	for (row = 0; row < ceiling->rows; row++) {
		note_value(recent, name_row(prefix, ceiling->prefix, row),
			   ceiling->value ? value : NULL, ceiling->value, as_of);
		/* What is used all the time does not go. */
		assert_int_equal(is_there(recent, name_row(prefix, ceiling->prefix, 0), as_of),
				 ceiling->most > 0);
	}
	while (row && is_there(recent, name_row(prefix, ceiling->prefix, row - 1), as_of))
		row--;
	assert_in_range(ceiling->rows - row, ceiling->least, ceiling->most);
}

/* Filled twice: what another transaction has made void gives its room back. */
static void test_ceilings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof ceilings / sizeof *ceilings; i++) {
		struct state_recent *recent = state_recent_new();
		look_at(&ceilings[i], recent, 9);
		look_at(&ceilings[i], recent, 10);
		state_recent_free(recent);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_what_is_shown),
		cmocka_unit_test(test_ceilings),
	};

	return cmocka_run_group_tests_name("state_rows", tests, NULL, NULL);
}
