/* SPDX-License-Identifier: MIT */
/* t_fiber.c - switching, the order of the queue, wakes, pages. Built twice: with the assembly and
 * with ucontext. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/io/fiber.h"
#include "proxy/io/offload.h"

struct bench {
	uv_loop_t loop;
	struct fibers fibers;
	char order[64];
	size_t len;
	size_t ran;
	struct fiber *sleeper;
	double sums[4];
	uintptr_t deep; /* an address far down the stack */
	unsigned wakes;
};

struct part {
	struct bench *bench;
	int number;
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof *bench);

	uv_loop_init(&bench->loop);
	fibers_init(&bench->fibers, &bench->loop);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	fibers_fini(&bench->fibers);
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	int busy = uv_loop_close(&bench->loop);
	free(bench);
	return busy;
}

static void say(struct bench *bench, char c)
{
	if (bench->len < sizeof bench->order - 1)
		bench->order[bench->len++] = c;
}

static void spawn(struct bench *bench, void (*run)(void *), void *arg)
{
	struct err err = fiber_spawn(&bench->fibers, run, arg);
	assert_int_equal(err.kind, ERR_NONE);
}

static void run_all(struct bench *bench)
{
	assert_int_equal(uv_run(&bench->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(bench->fibers.alive, 0);
}

static void letters(void *arg)
{
	struct part *part = arg;

	for (int i = 0; i < 3; i++) {
		say(part->bench, (char)('a' + part->number));
		fiber_yield(&part->bench->fibers);
	}
}

static void t_yield_takes_turns(void **state)
{
	struct bench *bench = *state;
	struct part parts[3];

	for (int i = 0; i < 3; i++) {
		parts[i] = (struct part){bench, i};
		spawn(bench, letters, &parts[i]);
	}
	assert_int_equal(bench->len, 0); /* not before the loop turns */
	assert_int_equal(bench->fibers.alive, 3);
	run_all(bench);
	assert_string_equal(bench->order, "abcabcabc");
}

/* Values that live in registers across a switch, under a rounding mode of its own. */
static void numbers(void *arg)
{
	struct part *part = arg;
	static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
	int mode = modes[part->number];
	long a = part->number, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5;
	double x = part->number + 0.5, y = x * 2, z = x * 3;
	volatile double one = 1, three = 3;

	fesetround(mode);
	double third = one / three;
	for (int i = 0; i < 100; i++) {
		fiber_yield(&part->bench->fibers);
		a++, b++, c++, d++, e++, f++;
		x += 1, y += 2, z += 3;
		if (fegetround() != mode || one / three != third)
			return;
	}
	fesetround(FE_TONEAREST);
	if (a + b + c + d + e + f == 6 * part->number + 15 + 600 && x == part->number + 100.5)
		part->bench->sums[part->number] = x + y + z;
}

static void t_registers_survive(void **state)
{
	struct bench *bench = *state;
	struct part parts[4];

	for (int i = 0; i < 4; i++) {
		parts[i] = (struct part){bench, i};
		spawn(bench, numbers, &parts[i]);
	}
	run_all(bench);
	for (int i = 0; i < 4; i++)
		assert_true(bench->sums[i] == (i + 0.5) * 6 + 100 + 200 + 300);
	assert_int_equal(fegetround(), FE_TONEAREST);
}

static void count_and_wait(void *arg)
{
	struct bench *bench = arg;
	volatile char used[2000];

	memset((char *)used, 1, sizeof used);
	bench->ran++;
	fiber_wait(&bench->fibers, "many");
	bench->ran += used[sizeof used - 1];
}

static void wake_one(struct fiber *fiber, void *owner, void *arg)
{
	struct bench *bench = arg;

	(void)owner;
	assert_string_equal(fiber_label(fiber), "many");
	fiber_wake(&bench->fibers, fiber);
}

static void t_ten_thousand(void **state)
{
	struct bench *bench = *state;
	enum { MANY = 10000 };

	for (int i = 0; i < MANY; i++)
		spawn(bench, count_and_wait, bench);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	assert_int_equal(bench->ran, MANY);
	assert_int_equal(bench->fibers.alive, MANY);
	fiber_each(&bench->fibers, wake_one, bench);
	run_all(bench);
	assert_int_equal(bench->ran, 2 * MANY);
	assert_true(bench->fibers.idle_count > 0 && bench->fibers.idle_count <= 1024);
}

static void wakes_itself(void *arg)
{
	struct bench *bench = arg;

	fiber_wake(&bench->fibers, bench->fibers.current);
	fiber_wake(&bench->fibers, bench->fibers.current);
	fiber_wait(&bench->fibers, "first"); /* returns at once */
	say(bench, '1');
	bench->sleeper = bench->fibers.current;
	fiber_wait(&bench->fibers, "second"); /* two wakes were one */
	say(bench, '2');
}

static void t_wake_before_wait(void **state)
{
	struct bench *bench = *state;

	spawn(bench, wakes_itself, bench);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	assert_string_equal(bench->order, "1");
	assert_string_equal(fiber_label(bench->sleeper), "second");
	fiber_wake(&bench->fibers, bench->sleeper);
	run_all(bench);
	assert_string_equal(bench->order, "12");
}

static void waits_twice(void *arg)
{
	struct bench *bench = arg;

	bench->sleeper = bench->fibers.current;
	for (;;) {
		fiber_wait(&bench->fibers, "wake");
		if (++bench->wakes == 2)
			return;
	}
}

/* A wake of one that is ready already is kept until it waits again. */
static void t_wake_while_ready(void **state)
{
	struct bench *bench = *state;

	spawn(bench, waits_twice, bench);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	fiber_wake(&bench->fibers, bench->sleeper);
	fiber_wake(&bench->fibers, bench->sleeper);
	fiber_wake(&bench->fibers, bench->sleeper);
	run_all(bench);
	assert_int_equal(bench->wakes, 2);
}

static void never_waits(void *arg)
{
	struct bench *bench = arg;

	while (!bench->wakes) {
		bench->ran++;
		fiber_yield(&bench->fibers);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct bench *bench = timer->data;

	bench->wakes++;
	uv_close((uv_handle_t *)timer, NULL);
}

/* A fiber that only yields keeps the loop from sleeping, not from turning. */
static void t_yield_lets_the_loop_turn(void **state)
{
	struct bench *bench = *state;
	uv_timer_t timer;

	uv_timer_init(&bench->loop, &timer);
	timer.data = bench;
	uv_timer_start(&timer, on_timer, 20, 0);
	spawn(bench, never_waits, bench);
	run_all(bench);
	assert_true(bench->ran > 5);
}

static void spawner(void *arg)
{
	struct bench *bench = arg;

	say(bench, 's');
	if (++bench->ran < 3)
		spawn(bench, spawner, bench);
	say(bench, 'e');
}

static void t_spawn_from_a_fiber(void **state)
{
	struct bench *bench = *state;

	spawn(bench, spawner, bench);
	run_all(bench);
	assert_string_equal(bench->order, "sesese");
}

static __attribute__((noinline)) void touch_deep(struct bench *bench)
{
	volatile char frame[100 * 1024];

	for (size_t i = 0; i < sizeof frame; i += 512)
		frame[i] = 7;
	bench->deep = (uintptr_t)frame + 4096;
}

static void deep_then_waits(void *arg)
{
	struct bench *bench = arg;
	volatile int kept = 42;

	touch_deep(bench);
	bench->sleeper = bench->fibers.current;
	fiber_wait(&bench->fibers, "deep");
	if (kept == 42)
		say(bench, 'k');
}

static bool is_resident(uintptr_t address)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char resident = 0;
	void *start = (void *)(address / page * page);

	assert_int_equal(mincore(start, page, &resident), 0);
	return resident & 1;
}

static void t_parked_pages_are_given_back(void **state)
{
	struct bench *bench = *state;
	uv_timer_t timer;

	spawn(bench, deep_then_waits, bench);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	assert_true(is_resident(bench->deep));
	uv_timer_init(&bench->loop, &timer);
	timer.data = bench;
	uv_timer_start(&timer, on_timer, 2200, 0);
	uv_run(&bench->loop, UV_RUN_DEFAULT);
#ifdef FIBER_PAINT
	assert_true(fibers_deepest(&bench->fibers) > 100 * 1024);
	assert_true(fibers_deepest(&bench->fibers) < 120 * 1024);
#else
	assert_false(is_resident(bench->deep));
	assert_int_equal(fibers_deepest(&bench->fibers), 0);
#endif
	/* Nothing is left to sweep: the loop would sleep for ever now. */
	assert_false(uv_is_active((uv_handle_t *)&bench->fibers.sweep));
	fiber_wake(&bench->fibers, bench->sleeper);
	run_all(bench);
	assert_string_equal(bench->order, "k");
}

static void blocks(void *arg)
{
	struct bench *bench = arg;

	usleep(20000);
	bench->ran = 100;
}

static void offloads(void *arg)
{
	struct bench *bench = arg;

	offload(&bench->fibers, blocks, bench);
	if (bench->ran == 100)
		say(bench, 'o');
}

static void sleeps(void *arg)
{
	struct bench *bench = arg;
	uint64_t before = uv_hrtime();

	fiber_sleep(&bench->fibers, 50);
	if (uv_hrtime() - before >= 49 * 1000000)
		say(bench, 's');
}

static void t_offload_and_sleep(void **state)
{
	struct bench *bench = *state;

	spawn(bench, sleeps, bench);
	spawn(bench, offloads, bench);
	run_all(bench);
	assert_string_equal(bench->order, "os"); /* neither held the other up */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(t_yield_takes_turns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(t_registers_survive, set_up, tear_down),
		cmocka_unit_test_setup_teardown(t_ten_thousand, set_up, tear_down),
		cmocka_unit_test_setup_teardown(t_wake_before_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(t_wake_while_ready, set_up, tear_down),
		cmocka_unit_test_setup_teardown(t_yield_lets_the_loop_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(t_spawn_from_a_fiber, set_up, tear_down),
		cmocka_unit_test_setup_teardown(t_parked_pages_are_given_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(t_offload_and_sleep, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("fiber", tests, NULL, NULL);
}
