/* SPDX-License-Identifier: MIT */
/* t_lock.c - one holder, and how long the next one waits for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/fake/world.h"
#include "upstream/lock.h"

struct held {
	struct fake_world world;
	struct lock_table *table;
	struct lock *lock;
	uint64_t release_ms, update_ms; /* world time; 0: never */
};

static void on_sleep(void *arg)
{
	struct held *held = arg;

	if (held->update_ms && held->world.now_ms >= held->update_ms && held->lock)
		lock_in_update(held->lock);
	if (held->release_ms && held->world.now_ms >= held->release_ms) {
		lock_release(held->lock);
		held->lock = NULL;
	}
}

static void held_init(struct held *held)
{
	*held = (struct held){.table = lock_table_new()};
	fake_world_init(&held->world);
	held->world.on_sleep = on_sleep;
	held->world.arg = held;
	assert_int_equal(lock_take(held->table, &held->world.env, "a",
				   &(struct lock_holder){.name = "joe"}, 0, 0, &held->lock)
				 .kind,
			 ERR_NONE);
	assert_non_null(held->lock);
}

static void held_fini(struct held *held)
{
	lock_release(held->lock);
	lock_table_free(held->table);
}

static void test_apart(void **state)
{
	struct held held;
	struct lock *b, *again;

	(void)state;
	held_init(&held);
	assert_int_equal(lock_take(held.table, &held.world.env, "b",
				   &(struct lock_holder){.name = "joe"}, 0, 0, &b)
				 .kind,
			 ERR_NONE);
	assert_int_equal(held.world.slept_ms, 0);
	assert_int_equal(lock_take(held.table, &held.world.env, "a",
				   &(struct lock_holder){.name = "joe"}, 0, 0, &again)
				 .kind,
			 ERR_IN_USE);
	assert_null(again);
	lock_release(held.lock);
	assert_int_equal(lock_take(held.table, &held.world.env, "a",
				   &(struct lock_holder){.name = "joe"}, 0, 0, &held.lock)
				 .kind,
			 ERR_NONE);
	lock_release(b);
	held_fini(&held);
	lock_release(NULL);
	lock_table_free(NULL);
}

static void test_waits(void **state)
{
	static const struct {
		uint64_t release_ms, update_ms, wait_ms, update_wait_ms;
		enum err_kind kind;
		uint64_t least_ms, most_ms;
	} cases[] = {
		/* held for ever */
		{0, 0, 0, 0, ERR_IN_USE, 0, 0},
		{0, 0, 2000, 30000, ERR_IN_USE, 2000, 2000},
		{0, 0, 2010, 30000, ERR_IN_USE, 2010, 2010},
		/* given back in time, or not */
		{1000, 0, 2000, 30000, ERR_NONE, 1000, 1050},
		{2500, 0, 2000, 30000, ERR_IN_USE, 2000, 2000},
		/* its holder is in UPDATE, from the start or later */
		{10000, 1, 2000, 30000, ERR_NONE, 10000, 10050},
		{10000, 1500, 2000, 30000, ERR_NONE, 10000, 10050},
		{0, 1, 2000, 30000, ERR_IN_USE, 30000, 30000},
		{10000, 3000, 2000, 30000, ERR_IN_USE, 2000, 2000},
		/* a wait for UPDATE that is shorter than the other is not a shorter wait */
		{1500, 1, 2000, 1000, ERR_NONE, 1500, 1550},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct held held;
		struct lock *lock;
		held_init(&held);
		if (cases[i].update_ms == 1)
			lock_in_update(held.lock);
		if (cases[i].update_ms)
			held.update_ms = held.world.now_ms + cases[i].update_ms;
		if (cases[i].release_ms)
			held.release_ms = held.world.now_ms + cases[i].release_ms;
		assert_int_equal(lock_take(held.table, &held.world.env, "a",
					   &(struct lock_holder){.name = "joe"}, cases[i].wait_ms,
					   cases[i].update_wait_ms, &lock)
					 .kind,
				 cases[i].kind);
		assert_true(held.world.slept_ms >= cases[i].least_ms);
		assert_true(held.world.slept_ms <= cases[i].most_ms);
		assert_int_equal(!lock, cases[i].kind != ERR_NONE);
		lock_release(lock);
		held_fini(&held);
	}
}

/* A lock that is taken anew is not in UPDATE because the one before was. */
static void test_update_is_forgotten(void **state)
{
	struct held held;
	struct lock *lock;

	(void)state;
	held_init(&held);
	lock_in_update(held.lock);
	lock_release(held.lock);
	assert_int_equal(lock_take(held.table, &held.world.env, "a",
				   &(struct lock_holder){.name = "joe"}, 0, 0, &held.lock)
				 .kind,
			 ERR_NONE);
	assert_int_equal(lock_take(held.table, &held.world.env, "a",
				   &(struct lock_holder){.name = "joe"}, 100, 30000, &lock)
				 .kind,
			 ERR_IN_USE);
	assert_int_equal(held.world.slept_ms, 100);
	held_fini(&held);
}

/* lock=shared: those that agree come in together, and one that does not waits for all of them. */
static void test_shared(void **state)
{
	struct lock_table *table = lock_table_new();
	struct lock_holder shared = {.name = "joe", .is_shared = true}, alone = {.name = "joe"};
	struct fake_world world;
	struct lock *a, *b, *c;

	(void)state;
	fake_world_init(&world);
	assert_int_equal(lock_take(table, &world.env, "m", &shared, 0, 0, &a).kind, ERR_NONE);
	assert_int_equal(lock_take(table, &world.env, "m", &shared, 0, 0, &b).kind, ERR_NONE);
	assert_int_equal(lock_take(table, &world.env, "m", &alone, 0, 0, &c).kind, ERR_IN_USE);
	lock_release(a);
	assert_int_equal(lock_take(table, &world.env, "m", &alone, 0, 0, &c).kind, ERR_IN_USE);
	lock_release(b);
	assert_int_equal(lock_take(table, &world.env, "m", &alone, 0, 0, &c).kind, ERR_NONE);
	assert_int_equal(lock_take(table, &world.env, "m", &shared, 0, 0, &a).kind, ERR_IN_USE);
	lock_release(c);
	lock_table_free(table);
}

/* A holder is asked to go once, and only by its own name (G-06); the background by any (G-08), but it
 * sends nobody away. */
struct guest {
	bool is_idle;
	unsigned evictions;
};

static bool guest_is_idle(void *arg)
{
	return ((struct guest *)arg)->is_idle;
}

static void guest_evict(void *arg)
{
	((struct guest *)arg)->evictions++;
}

static void test_eviction(void **state)
{
	static const struct {
		const char *name;
		bool is_idle, is_background, rivals_background;
		unsigned evictions;
	} cases[] = {
		{"joe", true, false, false, 1},  {"joe", false, false, false, 0},
		{"jane", true, false, false, 0}, {"jane", true, true, false, 1},
		{"jane", false, true, false, 0}, {"joe", true, false, true, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lock_table *table = lock_table_new();
		struct guest guest = {.is_idle = cases[i].is_idle};
		struct lock_holder holder = {.name = "joe",
					     .is_background = cases[i].is_background,
					     .is_idle = guest_is_idle,
					     .evict = guest_evict,
					     .arg = &guest};
		struct lock_holder rival = {.name = cases[i].name,
					    .is_background = cases[i].rivals_background};
		struct fake_world world;
		struct lock *held, *lock;
		fake_world_init(&world);
		assert_int_equal(lock_take(table, &world.env, "m", &holder, 0, 0, &held).kind,
				 ERR_NONE);
		assert_false(lock_is_wanted(held));
		assert_int_equal(lock_take(table, &world.env, "m", &rival, 500, 0, &lock).kind,
				 ERR_IN_USE);
		assert_int_equal(guest.evictions, cases[i].evictions);
		assert_false(lock_is_wanted(held));
		assert_true(lock_is_held_by(table, "joe"));
		assert_false(lock_is_held_by(table, "jane"));
		lock_release(held);
		assert_false(lock_is_held_by(table, "joe"));
		lock_table_free(table);
	}
}

/* Who waits is known to the holder, who then hurries (G-08). */
static void look_if_wanted(void *arg)
{
	struct held *held = arg;

	assert_true(lock_is_wanted(held->lock));
	held->update_ms++;
}

static void test_wanted(void **state)
{
	struct held held;
	struct lock *lock;

	(void)state;
	held_init(&held);
	held.world.on_sleep = look_if_wanted;
	assert_int_equal(lock_take(held.table, &held.world.env, "a",
				   &(struct lock_holder){.name = "joe"}, 100, 0, &lock)
				 .kind,
			 ERR_IN_USE);
	assert_true(held.update_ms > 0);
	assert_false(lock_is_wanted(held.lock));
	held_fini(&held);
}

/* More maildrops than buckets, given back in another order. */
static void test_many(void **state)
{
	enum { MANY = 5000 };
	static const size_t step = 7;
	struct lock_table *table = lock_table_new();
	struct fake_world world;
	struct lock *locks[MANY], *again;
	char name[32];

	(void)state;
	fake_world_init(&world);
	for (size_t i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "imap host %zu", i);
		assert_int_equal(lock_take(table, &world.env, name,
					   &(struct lock_holder){.name = "joe"}, 0, 0, &locks[i])
					 .kind,
				 ERR_NONE);
	}
	for (size_t i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "imap host %zu", i);
		assert_int_equal(lock_take(table, &world.env, name,
					   &(struct lock_holder){.name = "joe"}, 0, 0, &again)
					 .kind,
				 ERR_IN_USE);
	}
	for (size_t i = 0, at = 0; i < MANY; i++, at = (at + step) % MANY)
		lock_release(locks[at]);
	assert_int_equal(lock_take(table, &world.env, "imap host 1",
				   &(struct lock_holder){.name = "joe"}, 0, 0, &again)
				 .kind,
			 ERR_NONE);
	lock_release(again);
	lock_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apart),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_update_is_forgotten),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
