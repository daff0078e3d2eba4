/* SPDX-License-Identifier: MIT */
/* fiber.c - spawn, wait, wake; stacks and their pages.
 *
 * One mapping a fiber: a guard that faults, the stack, and at its top the struct fiber itself, so
 * that a fiber costs no second allocation. Ended fibers leave their mapping to the next: the first
 * few with their pages, more of them without, the rest are unmapped.
 *
 * Pages. A parked stack is dead below its saved pointer. A fiber that stays parked for a second
 * gives those pages back to the kernel, once: a session that waits for its client for minutes keeps
 * the two pages it stands on and not what its last message or handshake touched (L-10).
 *
 * Invariants: a fiber is PARKED, or READY and in the queue exactly once, or RUNNING and `current`.
 * `busy` is active exactly while the queue is not empty, so that libuv neither sleeps nor ends.
 */
#include "proxy/io/fiber.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/io/fiber_switch.h"

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#elif __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#endif

enum {
	WARM_STACKS = 64,   /* idle stacks that keep their pages */
	IDLE_STACKS = 1024, /* idle stacks that stay mapped */
	SWEEP_NS = 2000000, /* of a turn, at most: to give pages back costs 2 to 150 us a stack */
	SWEEP_PAUSE_MS = 10,
	SWEEP_MS = 1000, /* how often parked stacks are looked at, and how long they may rest */
	PAINT = 0xA5,
};

enum fiber_state { PARKED, READY, RUNNING, ENDED };

struct fiber {
	struct fiber *next, *previous; /* in fibers->all; `next` alone in idle_stacks */
	struct fiber *behind;          /* in the queue */
	void *sp;                      /* while it does not run */
	char *map;                     /* guard, then stack */
	void (*run)(void *);
	void *arg;
	struct fibers *fibers; /* borrowed */
	void *owner;           /* borrowed */
	const char *label;
	uint64_t since_ms;
	enum fiber_state state;
	bool is_woken; /* a wake is owed to the next fiber_wait() */
	bool is_swept; /* its dead pages were given back in this park */
	unsigned valgrind_id;
	void *tsan; /* ThreadSanitizer's idea of it, while it is alive */
};

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* A page may be 64 KiB. */
static size_t guard_size(void)
{
	return (FIBER_GUARD + page_size() - 1) / page_size() * page_size();
}

static char *stack_low(const struct fiber *fiber)
{
	return fiber->map + guard_size();
}

/* What the fiber may use: up to its own struct. */
static size_t stack_size(const struct fiber *fiber)
{
	return (size_t)((const char *)fiber - stack_low(fiber)) & ~(size_t)63;
}

static void stack_paint(struct fiber *fiber)
{
#ifdef FIBER_PAINT
	memset(stack_low(fiber), PAINT, stack_size(fiber));
#else
	(void)fiber;
#endif
}

static size_t stack_depth(const struct fiber *fiber)
{
	size_t clean = 0;
#ifdef FIBER_PAINT
	const unsigned char *low = (const unsigned char *)stack_low(fiber);

	while (clean < stack_size(fiber) && low[clean] == PAINT)
		clean++;
	return stack_size(fiber) - clean;
#else
	(void)fiber;
	return clean;
#endif
}

/* Painted stacks keep their pages: a page given back would come back without paint. */
static void pages_give_back(const struct fiber *fiber, const void *end)
{
#ifndef FIBER_PAINT
	size_t page = page_size();
	size_t len = (size_t)((const char *)end - stack_low(fiber)) / page * page;

	if ((const char *)end > stack_low(fiber) && len)
		madvise(stack_low(fiber), len, MADV_DONTNEED);
#else
	(void)fiber;
	(void)end;
#endif
}

static struct fiber *stack_map(void)
{
	size_t size = guard_size() + FIBER_STACK;
	char *map = mmap(NULL, size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	if (mprotect(map + guard_size(), FIBER_STACK, PROT_READ | PROT_WRITE)) {
		munmap(map, size);
		return NULL;
	}
	size_t own = (sizeof(struct fiber) + 63) & ~(size_t)63;
	struct fiber *fiber = (struct fiber *)(map + size - own);
	fiber->map = map;
#ifdef HAVE_VALGRIND_VALGRIND_H
	fiber->valgrind_id = VALGRIND_STACK_REGISTER(map + guard_size(), fiber);
#endif
	return fiber;
}

static void stack_unmap(struct fiber *fiber)
{
#ifdef HAVE_VALGRIND_VALGRIND_H
	VALGRIND_STACK_DEREGISTER(fiber->valgrind_id);
#endif
	munmap(fiber->map, guard_size() + FIBER_STACK);
}

static struct fiber *stack_take(struct fibers *fibers)
{
	struct fiber *fiber = fibers->idle_stacks;

	if (fiber) {
		fibers->idle_stacks = fiber->next;
		fibers->idle_count--;
	} else {
		fiber = stack_map();
	}
#ifdef FIBER_ASAN
	/* The fiber that was here before left its outermost frame without returning from it; that
	 * holds for addresses that were unmapped since, too. */
	if (fiber)
		__asan_unpoison_memory_region(stack_low(fiber), stack_size(fiber));
#endif
	return fiber;
}

static void stack_put_back(struct fibers *fibers, struct fiber *fiber)
{
	size_t depth = stack_depth(fiber);

	if (depth > fibers->deepest)
		fibers->deepest = depth;
	if (fibers->idle_count >= IDLE_STACKS) {
		stack_unmap(fiber);
		return;
	}
	if (fibers->idle_count >= WARM_STACKS)
		pages_give_back(fiber, fiber);
	fiber->next = fibers->idle_stacks;
	fibers->idle_stacks = fiber;
	fibers->idle_count++;
}

static void tsan_enter(struct fibers *fibers, struct fiber *fiber)
{
#ifdef FIBER_TSAN
	fibers->main_tsan = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(fiber->tsan, 0);
#else
	(void)fibers;
	(void)fiber;
#endif
}

static void tsan_begin(struct fiber *fiber)
{
#ifdef FIBER_TSAN
	fiber->tsan = __tsan_create_fiber(0);
#else
	(void)fiber;
#endif
}

static void tsan_end(struct fiber *fiber)
{
#ifdef FIBER_TSAN
	__tsan_destroy_fiber(fiber->tsan);
#else
	(void)fiber;
#endif
}

/* From a fiber to the loop's stack. `is_last`: it never comes back. */
static void leave(struct fiber *fiber, bool is_last)
{
	struct fibers *fibers = fiber->fibers;
#ifdef FIBER_ASAN
	void *fake = NULL;
	__sanitizer_start_switch_fiber(is_last ? NULL : &fake, fibers->main_low, fibers->main_size);
#else
	(void)is_last;
#endif
#ifdef FIBER_TSAN
	__tsan_switch_to_fiber(fibers->main_tsan, 0);
#endif
	switch_stack(&fiber->sp, fibers->main_sp);
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(fake, &fibers->main_low, &fibers->main_size);
#endif
}

/* The first frame of every fiber. */
static void fiber_main(void *arg)
{
	struct fiber *fiber = arg;
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(NULL, &fiber->fibers->main_low, &fiber->fibers->main_size);
#endif
	fiber->run(fiber->arg);
	fiber->state = ENDED;
	leave(fiber, true);
}

static void on_busy(uv_idle_t *idle)
{
	(void)idle;
}

static void enqueue(struct fibers *fibers, struct fiber *fiber)
{
	fiber->state = READY;
	fiber->behind = NULL;
	if (fibers->ready_last)
		fibers->ready_last->behind = fiber;
	else
		fibers->ready_first = fiber;
	fibers->ready_last = fiber;
	uv_idle_start(&fibers->busy, on_busy);
}

static void fiber_end(struct fibers *fibers, struct fiber *fiber)
{
	if (fiber->previous)
		fiber->previous->next = fiber->next;
	else
		fibers->all = fiber->next;
	if (fiber->next)
		fiber->next->previous = fiber->previous;
	fibers->alive--;
	tsan_end(fiber);
	stack_put_back(fibers, fiber);
}

static void resume(struct fibers *fibers, struct fiber *fiber)
{
	fibers->current = fiber;
	fibers->turn_octets = 0;
	fiber->state = RUNNING;
#ifdef FIBER_ASAN
	void *fake = NULL;
	__sanitizer_start_switch_fiber(&fake, stack_low(fiber), stack_size(fiber));
#endif
	tsan_enter(fibers, fiber);
	switch_stack(&fibers->main_sp, fiber->sp);
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	fibers->current = NULL;
	if (fiber->state == ENDED)
		fiber_end(fibers, fiber);
}

/* Runs who is ready now, and not who becomes ready meanwhile. */
static void drain(struct fibers *fibers)
{
	struct fiber *fiber = fibers->ready_first;

	assert(!fibers->current);
	fibers->ready_first = fibers->ready_last = NULL;
	while (fiber) {
		struct fiber *behind = fiber->behind;
		resume(fibers, fiber);
		fiber = behind;
	}
	if (!fibers->ready_first)
		uv_idle_stop(&fibers->busy);
}

static void on_prepare(uv_prepare_t *prepare)
{
	drain(prepare->data);
}

static void on_check(uv_check_t *check)
{
	drain(check->data);
}

static void on_sweep(uv_timer_t *timer)
{
	struct fibers *fibers = timer->data;
	uint64_t now = uv_now(fibers->loop);
	uint64_t end = uv_hrtime() + SWEEP_NS;
	size_t left = 0;
	bool is_cut = false;

	for (struct fiber *fiber = fibers->all; fiber && !is_cut; fiber = fiber->next) {
		if (fiber->state != PARKED || fiber->is_swept)
			continue;
		if (now - fiber->since_ms < SWEEP_MS) {
			left++;
			continue;
		}
		pages_give_back(fiber, (char *)fiber->sp - SWITCH_MARGIN);
		fiber->is_swept = true;
		is_cut = uv_hrtime() > end;
	}
	if (is_cut)
		uv_timer_start(timer, on_sweep, SWEEP_PAUSE_MS, SWEEP_MS);
	else if (!left)
		uv_timer_stop(timer);
}

void fibers_init(struct fibers *fibers, uv_loop_t *loop)
{
	memset(fibers, 0, sizeof *fibers);
	fibers->loop = loop;
	uv_prepare_init(loop, &fibers->prepare);
	uv_check_init(loop, &fibers->check);
	uv_idle_init(loop, &fibers->busy);
	uv_timer_init(loop, &fibers->sweep);
	fibers->prepare.data = fibers->check.data = fibers->sweep.data = fibers;
	uv_prepare_start(&fibers->prepare, on_prepare);
	uv_check_start(&fibers->check, on_check);
	/* They serve the loop and must not keep it alive; `busy` must. */
	uv_unref((uv_handle_t *)&fibers->prepare);
	uv_unref((uv_handle_t *)&fibers->check);
	uv_unref((uv_handle_t *)&fibers->sweep);
}

void fibers_fini(struct fibers *fibers)
{
	if (!fibers->loop)
		return;
	assert(!fibers->alive && !fibers->current);
	uv_close((uv_handle_t *)&fibers->prepare, NULL);
	uv_close((uv_handle_t *)&fibers->check, NULL);
	uv_close((uv_handle_t *)&fibers->busy, NULL);
	uv_close((uv_handle_t *)&fibers->sweep, NULL);
	while (fibers->idle_stacks) {
		struct fiber *fiber = fibers->idle_stacks;
		fibers->idle_stacks = fiber->next;
		stack_unmap(fiber);
	}
	fibers->idle_count = 0;
}

struct err fiber_spawn(struct fibers *fibers, void (*run)(void *), void *arg)
{
	struct fiber *fiber = stack_take(fibers);

	if (!fiber)
		return ERR(ERR_UPSTREAM, ENOMEM, "no memory for another session");
	*fiber = (struct fiber){
		.next = fibers->all,
		.map = fiber->map,
		.valgrind_id = fiber->valgrind_id,
		.run = run,
		.arg = arg,
		.fibers = fibers,
		.label = "start",
		.since_ms = uv_now(fibers->loop),
	};
	if (fibers->all)
		fibers->all->previous = fiber;
	fibers->all = fiber;
	fibers->alive++;
	stack_paint(fiber);
	tsan_begin(fiber);
	fiber->sp = switch_make(stack_low(fiber), stack_size(fiber), fiber_main, fiber);
	enqueue(fibers, fiber);
	return OK;
}

void fiber_wait(struct fibers *fibers, const char *label)
{
	struct fiber *fiber = fibers->current;

	assert(fiber);
	if (fiber->is_woken) {
		fiber->is_woken = false;
		return;
	}
	fiber->state = PARKED;
	fiber->is_swept = false;
	fiber->label = label;
	fiber->since_ms = uv_now(fibers->loop);
	if (!uv_is_active((uv_handle_t *)&fibers->sweep))
		uv_timer_start(&fibers->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	leave(fiber, false);
	fiber->label = "run";
}

void fiber_wake(struct fibers *fibers, struct fiber *fiber)
{
	if (fiber->state == PARKED)
		enqueue(fibers, fiber);
	else
		fiber->is_woken = true;
}

void fiber_yield(struct fibers *fibers)
{
	struct fiber *fiber = fibers->current;

	assert(fiber);
	fiber->label = "yield";
	fiber->since_ms = uv_now(fibers->loop);
	enqueue(fibers, fiber);
	leave(fiber, false);
	fiber->label = "run";
}

const char *fiber_label(const struct fiber *fiber)
{
	return fiber->label;
}

uint64_t fiber_since(const struct fiber *fiber)
{
	return fiber->since_ms;
}

void fiber_set_owner(struct fiber *fiber, void *owner)
{
	fiber->owner = owner;
}

void fiber_each(struct fibers *fibers, void (*visit)(struct fiber *, void *owner, void *arg),
		void *arg)
{
	for (struct fiber *fiber = fibers->all, *next; fiber; fiber = next) {
		next = fiber->next;
		visit(fiber, fiber->owner, arg);
	}
}

size_t fibers_deepest(const struct fibers *fibers)
{
	size_t deepest = fibers->deepest;

	for (const struct fiber *fiber = fibers->all; fiber; fiber = fiber->next)
		if (stack_depth(fiber) > deepest)
			deepest = stack_depth(fiber);
	return deepest;
}
