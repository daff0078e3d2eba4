/* SPDX-License-Identifier: MIT */
/* t_state.c - what every state promises: values under keys, versions, all changes or none. One table
 * of cases, run over the one in memory and over LMDB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/state_memory.h"
#include "tests/unit/state_rig.h"

/* --- a table: one line a call, one state a case ------------------------------------------- */

/* In `was`: the version that the key got in the step that is so many lines above. */
#define SINCE(lines_) (UINT64_MAX - 1000 + (lines_))

enum verb { END, PUT, ERASE, GET, WALK, PAIR };

struct step {
	enum verb verb;
	const char *key;   /* PAIR: two keys, separated by a blank; WALK: prefixes, by "|" */
	const char *value; /* to be put; expected of GET; keys of WALK separated by blanks */
	uint64_t was;
	bool is_stale;
};

struct row {
	const char *name;
	struct step steps[12];
};

static const struct row rows[] = {
	{"nothing is there",
	 {{GET, "a", NULL, 0, false},
	  {WALK, "", "", 0, false},
	  {ERASE, "a", NULL, STATE_ANY, false}}},
	{"a value comes back",
	 {{PUT, "a", "one", 0, false}, {GET, "a", "one", 0, false}, {WALK, "", "a", 0, false}}},
	{"an empty value is a value",
	 {{PUT, "a", "", 0, false}, {GET, "a", "", 0, false}, {WALK, "", "a", 0, false}}},
	{"0 means: not there",
	 {{PUT, "a", "one", 0, false}, {PUT, "a", "two", 0, true}, {GET, "a", "one", 0, false}}},
	{"a version that holds",
	 {{PUT, "a", "one", 0, false},
	  {PUT, "a", "two", SINCE(1), false},
	  {GET, "a", "two", 0, false}}},
	{"a version that no longer holds",
	 {{PUT, "a", "one", 0, false},
	  {PUT, "a", "two", STATE_ANY, false},
	  {PUT, "a", "three", SINCE(2), true},
	  {GET, "a", "two", 0, false}}},
	{"erased under its version",
	 {{PUT, "a", "one", 0, false},
	  {ERASE, "a", NULL, SINCE(1), false},
	  {GET, "a", NULL, 0, false},
	  {WALK, "", "", 0, false}}},
	{"not erased under another",
	 {{PUT, "a", "one", 0, false},
	  {PUT, "a", "two", STATE_ANY, false},
	  {ERASE, "a", NULL, SINCE(2), true},
	  {GET, "a", "two", 0, false}}},
	{"versions grow over an erasure",
	 {{PUT, "a", "one", 0, false},
	  {ERASE, "a", NULL, STATE_ANY, false},
	  {PUT, "a", "one", 0, false},
	  {PUT, "a", "two", SINCE(3), true},
	  {GET, "a", "one", 0, false}}},
	{"all or nothing",
	 {{PUT, "b", "one", 0, false},
	  {PAIR, "a b", "two", 0, true},
	  {GET, "a", NULL, 0, false},
	  {GET, "b", "one", 0, false}}},
	{"all together",
	 {{PAIR, "a b", "two", 0, false},
	  {GET, "a", "two", 0, false},
	  {GET, "b", "two", 0, false}}},
	{"walks ascend by octets and keep to the prefix",
	 {{PUT, "a\tz", "1", 0, false},
	  {PUT, "a\t\xc3\xa4", "2", 0, false},
	  {PUT, "a\tZ", "3", 0, false},
	  {PUT, "a", "4", 0, false},
	  {PUT, "b\t1", "5", 0, false},
	  {PUT, "aa\t1", "6", 0, false},
	  {WALK, "a\t", "a\tZ a\tz a\t\xc3\xa4", 0, false},
	  {WALK, "a", "a a\tZ a\tz a\t\xc3\xa4 aa\t1", 0, false},
	  {WALK, "c", "", 0, false},
	  {WALK, "", "a a\tZ a\tz a\t\xc3\xa4 aa\t1 b\t1", 0, false}}},
	{"several ranges in the order in which they are given",
	 {{PUT, "a\t1", "1", 0, false},
	  {PUT, "b\t", "2", 0, false},
	  {PUT, "b\t2", "3", 0, false},
	  {PUT, "c", "4", 0, false},
	  {WALK, "b\t|a\t", "b\t b\t2 a\t1", 0, false},
	  {WALK, "d|c", "c", 0, false},
	  {WALK, "c|d", "c", 0, false},
	  {WALK, "b\t|b", "b\t b\t2 b\t b\t2", 0, false}}},
};
enum { ROWS = sizeof rows / sizeof *rows };

struct walking {
	char keys[512];
	size_t left; /* visits until it wants no more */
	uint64_t last;
};

static bool visit_key(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct walking *walking = arg;

	assert_true(len == 0 || value);
	assert_true(version > 0 && version < STATE_ANY);
	snprintf(walking->keys + strlen(walking->keys),
		 sizeof walking->keys - strlen(walking->keys), "%s%s", *walking->keys ? " " : "",
		 key);
	walking->last = version;
	return --walking->left > 0;
}

/* Ranges of `prefixes`, at most 4, all with one visitor. */
static struct err walk(struct state_store *store, const struct env *env, const char *prefixes,
		       struct walking *walking)
{
	struct state_range ranges[4];
	char copy[64], *at = copy;
	size_t count = 0;

	snprintf(copy, sizeof copy, "%s", prefixes);
	while (at && count < 4)
		ranges[count++] = (struct state_range){strsep(&at, "|"), visit_key, walking};
	return store->ops->walk(store, env, ranges, count);
}

static uint64_t get(struct state_store *store, const struct env *env, const char *key,
		    const char *expected)
{
	struct buf buf;
	uint64_t version = 77;

	buf_init(&buf, STATE_VALUE);
	assert_true(buf_put(&buf, "old", 3));
	assert_int_equal(store->ops->get(store, env, key, &buf, &version).kind, ERR_NONE);
	assert_true(!version == !expected);
	assert_int_equal(buf_len(&buf), expected ? strlen(expected) : 0);
	if (expected && *expected)
		assert_memory_equal(buf_data(&buf), expected, strlen(expected));
	buf_fini(&buf);
	return version;
}

static bool put(struct state_store *store, const struct env *env, const struct step *step,
		uint64_t was)
{
	char keys[128];
	struct state_change changes[2];
	size_t count = 0;
	bool is_stale = false;

	snprintf(keys, sizeof keys, "%s", step->key);
	for (char *key = step->verb == PAIR ? strtok(keys, " ") : keys; key;
	     key = step->verb == PAIR ? strtok(NULL, " ") : NULL)
		changes[count++] =
			(struct state_change){key, step->verb == ERASE ? NULL : step->value,
					      step->value ? strlen(step->value) : 0, was};
	assert_int_equal(store->ops->put(store, env, changes, count, &is_stale).kind, ERR_NONE);
	return is_stale;
}

static void run_row(const struct row *row, struct state_store *store, const struct env *env)
{
	uint64_t versions[12] = {0}, highest = 0;

	for (size_t i = 0; row->steps[i].verb != END; i++) {
		const struct step *step = &row->steps[i];
		struct walking walking = {"", 100, 0};
		uint64_t was = step->was;
		switch (step->verb) {
		case GET:
			get(store, env, step->key, step->value);
			break;
		case WALK:
			assert_int_equal(walk(store, env, step->key, &walking).kind, ERR_NONE);
			assert_string_equal(walking.keys, step->value);
			break;
		default:
			if (was >= SINCE(0) && was != STATE_ANY)
				was = versions[i - (was - SINCE(0))];
			assert_int_equal(put(store, env, step, was), step->is_stale);
			if (step->verb != PUT || step->is_stale)
				break;
			versions[i] = get(store, env, step->key, step->value);
			assert_true(versions[i] > highest);
			highest = versions[i];
		}
	}
}

static void test_memory(void **nothing)
{
	(void)nothing;
	for (size_t i = 0; i < ROWS; i++) {
		struct state_memory state;
		struct fake_world world;
		fake_world_init(&world);
		state_memory_init(&state);
		print_message("# %s\n", rows[i].name);
		run_row(&rows[i], &state.store, &world.env);
		state_memory_fini(&state);
	}
}

static void test_lmdb(void **nothing)
{
	(void)nothing;
	for (size_t i = 0; i < ROWS; i++) {
		struct rig rig;
		rig_init(&rig);
		assert_true(rig_open(&rig));
		print_message("# %s\n", rows[i].name);
		run_row(&rows[i], rig.store, &rig.world.env);
		/* The same is there after it was closed and opened. */
		uint64_t before, after;
		size_t count, again;
		assert_int_equal(rig_sum(&rig, &before, &count).kind, ERR_NONE);
		rig_close(&rig);
		assert_true(rig_open(&rig));
		assert_int_equal(rig_sum(&rig, &after, &again).kind, ERR_NONE);
		assert_true(before == after && count == again);
		rig_fini(&rig);
	}
}

/* --- what a table cannot say -------------------------------------------------------------- */

static void test_limits(void **nothing)
{
	struct rig rig;
	char key[STATE_KEY + 2], text[8];
	uint64_t version;

	(void)nothing;
	rig_init(&rig);
	assert_true(rig_open(&rig));
	memset(key, 'k', sizeof key);
	key[STATE_KEY] = '\0';
	assert_int_equal(rig_put_text(&rig, key, "fits").kind, ERR_NONE);
	assert_int_equal(rig_get(&rig, key, text, sizeof text, &version).kind, ERR_NONE);
	assert_string_equal(text, "fits");
	key[STATE_KEY] = 'k';
	key[STATE_KEY + 1] = '\0';
	assert_int_equal(rig_put_text(&rig, key, "x").code, E2BIG);
	assert_int_equal(rig_put_text(&rig, "", "x").code, E2BIG);
	assert_int_equal(rig_put_text(&rig, "\001format", "x").code, E2BIG);
	rig_fini(&rig);
}

static void test_largest(void **nothing)
{
	struct rig rig;
	char *value = malloc(STATE_VALUE + 1);
	struct buf buf;
	uint64_t version;

	(void)nothing;
	rig_init(&rig);
	assert_true(rig_open(&rig));
	memset(value, 'v', STATE_VALUE + 1);
	assert_int_equal(rig_put(&rig, "big", value, STATE_VALUE + 1).code, E2BIG);
	assert_int_equal(rig_put(&rig, "big", value, STATE_VALUE).kind, ERR_NONE);
	buf_init(&buf, STATE_VALUE);
	rig_close(&rig);
	assert_true(rig_open(&rig));
	assert_int_equal(rig.store->ops->get(rig.store, &rig.world.env, "big", &buf, &version).kind,
			 ERR_NONE);
	assert_int_equal(buf_len(&buf), STATE_VALUE);
	assert_memory_equal(buf_data(&buf), value, STATE_VALUE);
	buf_fini(&buf);
	/* A buffer that is too small is an error, not half a value. */
	buf_init(&buf, 100);
	assert_int_equal(rig.store->ops->get(rig.store, &rig.world.env, "big", &buf, &version).code,
			 ENOMEM);
	assert_int_equal(buf_len(&buf), 0);
	buf_fini(&buf);
	rig_fini(&rig);
	free(value);
}

static void test_walk_ends_early(void **nothing)
{
	struct rig rig;
	struct walking first = {"", 2, 0}, second = {"", 1, 0};
	const struct state_range ranges[] = {{"", visit_key, &first}, {"b", visit_key, &second}};

	(void)nothing;
	rig_init(&rig);
	assert_true(rig_open(&rig));
	assert_int_equal(rig_put_text(&rig, "a", "1").kind, ERR_NONE);
	assert_int_equal(rig_put_text(&rig, "b", "2").kind, ERR_NONE);
	assert_int_equal(rig_put_text(&rig, "c", "3").kind, ERR_NONE);
	assert_int_equal(rig.store->ops->walk(rig.store, &rig.world.env, ranges, 2).kind, ERR_NONE);
	assert_string_equal(first.keys, "a b");
	assert_string_equal(second.keys, "b");
	rig_fini(&rig);
}

/* A counter in the file: versions grow although the file was closed and the key erased. */
static void test_versions_outlive(void **nothing)
{
	struct rig rig;
	char text[8];
	uint64_t first, second;

	(void)nothing;
	rig_init(&rig);
	assert_true(rig_open(&rig));
	assert_int_equal(rig_put_text(&rig, "a", "1").kind, ERR_NONE);
	assert_int_equal(rig_get(&rig, "a", text, sizeof text, &first).kind, ERR_NONE);
	assert_int_equal(rig_erase(&rig, "a").kind, ERR_NONE);
	rig_close(&rig);
	assert_true(rig_open(&rig));
	assert_int_equal(rig_put_text(&rig, "a", "1").kind, ERR_NONE);
	assert_int_equal(rig_get(&rig, "a", text, sizeof text, &second).kind, ERR_NONE);
	assert_true(second > first);
	rig_fini(&rig);
}

/* --- the fake's own faults ---------------------------------------------------------------- */

static void take_copy(void *arg, struct state_memory *state, size_t nth)
{
	if (nth == 2)
		state_memory_copy(arg, state);
}

static void test_fake(void **nothing)
{
	struct state_memory state, crashed;
	struct fake_world world;
	struct state_change change = {"a", "1", 1, STATE_ANY};
	struct walking walking = {"", 9, 0};
	struct buf buf;
	uint64_t version;
	bool is_stale;

	(void)nothing;
	fake_world_init(&world);
	state_memory_init(&state);
	buf_init(&buf, 100);
	struct state_store *store = &state.store;
	state.put_code = ENOSPC;
	assert_int_equal(store->ops->put(store, &world.env, &change, 1, &is_stale).code, ENOSPC);
	assert_null(state_memory_find(&state, "a"));
	state.put_code = 0;
	state.fail_call = 2, state.is_late = true;
	assert_int_equal(store->ops->put(store, &world.env, &change, 1, &is_stale).code, EIO);
	assert_non_null(state_memory_find(&state, "a"));
	state.before_put = take_copy, state.arg = &crashed;
	change.key = "b";
	assert_int_equal(store->ops->put(store, &world.env, &change, 1, &is_stale).kind, ERR_NONE);
	assert_int_equal(crashed.count, 1);
	assert_int_equal(state.count, 2);
	state.broken_key = "b";
	assert_int_equal(store->ops->get(store, &world.env, "b", &buf, &version).code, EBADMSG);
	assert_int_equal(store->ops->get(store, &world.env, "a", &buf, &version).kind, ERR_NONE);
	assert_int_equal(walk(store, &world.env, "", &walking).code, EBADMSG);
	state.read_code = EIO;
	assert_int_equal(store->ops->get(store, &world.env, "a", &buf, &version).code, EIO);
	assert_int_equal(state.failed, 5);
	buf_fini(&buf);
	state_memory_fini(&state);
	state_memory_fini(&crashed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_lmdb),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_walk_ends_early),
		cmocka_unit_test(test_versions_outlive),
		cmocka_unit_test(test_fake),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
