/* SPDX-License-Identifier: MIT */
/* fiber.h - straight-line code on one thread: spawn, wait, wake. No policy.
 *
 * A fiber is a function with a stack of its own, run by one thread and its libuv loop. It runs
 * until it waits; others run meanwhile. Woken fibers stand in a queue that is served once before
 * and once after each poll of the loop, each at most once a turn: a fiber that yields goes to the
 * end, so nobody starves (L-09).
 *
 * Invariant: `current` is NULL exactly while the loop's own stack runs. Only the loop's stack
 * resumes fibers.
 */
#ifndef POPGATE_FIBER_H
#define POPGATE_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/base/err.h"

enum {
	FIBER_STACK = 256 * 1024, /* octets mapped; libetpan has one frame of 64 KiB */
	FIBER_GUARD =
		80 * 1024, /* octets that fault below: more than that frame, which is not probed */
};

struct fiber;

/* All fibers of one thread. Lives in its worker; initialised with a running loop's address. */
struct fibers {
	uv_loop_t *loop;       /* borrowed */
	struct fiber *current; /* NULL: the loop's own stack */
	size_t alive;          /* fibers spawned and not yet returned: the census */
	/* the rest is fiber.c's own */
	struct fiber *all;
	struct fiber *ready_first, *ready_last;
	struct fiber *idle_stacks;
	size_t idle_count;
	void *main_sp;
	const void *main_low; /* the loop's own stack, learnt for AddressSanitizer */
	size_t main_size;
	void *main_tsan; /* ThreadSanitizer's idea of the loop's own stack */
	size_t turn_octets; /* moved by the current fiber since it was resumed: tcp.c's budget */
	size_t deepest;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t busy;
	uv_timer_t sweep;
};

void fibers_init(struct fibers *, uv_loop_t *);
/* Closes its handles; the loop must run once more before it is closed. No fiber may be alive. Frees
 * the stacks. */
void fibers_fini(struct fibers *);

/* Starts run(arg) on a new stack, the next time the queue is served. ERR_UPSTREAM if there is no
 * memory for a stack. */
struct err fiber_spawn(struct fibers *, void (*run)(void *), void *arg) MUST_USE;

/* Parks the current fiber until fiber_wake(). `label` (a literal) says what it waits for; SIGUSR1
 * shows it. A wake that came since the fiber last ran makes it return at once. */
void fiber_wait(struct fibers *, const char *label);

/* Makes a parked fiber ready; waking a ready or running one is remembered once. From any code on
 * the same thread. */
void fiber_wake(struct fibers *, struct fiber *);

/* To the end of the queue. */
void fiber_yield(struct fibers *);

/* What a parked fiber waits for, and since when (uv_now, ms). */
const char *fiber_label(const struct fiber *);
uint64_t fiber_since(const struct fiber *);

/* A name for one fiber's owner to find it again (borrowed; NULL at first), and a walk over all that
 * are alive. */
void fiber_set_owner(struct fiber *, void *owner);
void fiber_each(struct fibers *, void (*visit)(struct fiber *, void *owner, void *arg), void *arg);

/* The deepest any stack ever was, octets; 0 unless built with --enable-debug (painted stacks). */
size_t fibers_deepest(const struct fibers *);

#endif
