/* SPDX-License-Identifier: MIT */
/* loop.h - for tests of proxy/io: a loop, its fibers, and a listener on loopback whose connections a
 * fiber can wait for. cmocka's assertions jump and must not leave a fiber: use CHECK there. */
#ifndef POPGATE_FAKE_LOOP_H
#define POPGATE_FAKE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/stream.h"
#include "proxy/io/door.h"
#include "proxy/io/fiber.h"

struct bench {
	uv_loop_t loop;
	struct fibers fibers;
	struct door door;
	unsigned port; /* on 127.0.0.1; 0: not listening */
	struct stream *accepted;
	unsigned shortages; /* times that the door said so, and the last errno */
	int shortage;
	const char *failed; /* the first CHECK that did not hold */
	int failed_line;
	void *arg; /* the test's own */
};

/* A cmocka setup and teardown; *state is the bench. */
int bench_set_up(void **state);
int bench_tear_down(void **state);

/* From a fiber: the next connection as a stream. */
struct stream *bench_accept(struct bench *);

/* A plain blocking socket connected to the listener; the test closes it. */
int bench_connect(const struct bench *);

/* A fiber more, which gets the bench. */
void bench_spawn(struct bench *, void (*run)(void *));

/* Runs the loop to its end and asserts that every CHECK held and every fiber ended. */
void bench_run(struct bench *);

uint64_t bench_now_ms(void);

/* Notes a failure and goes on; the value is whether it held. */
bool bench_check(struct bench *, bool held, const char *what, int line);
#define CHECK(bench_, held_) bench_check((bench_), (held_), #held_, __LINE__)

#endif
