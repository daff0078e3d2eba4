/* SPDX-License-Identifier: MIT */
/* offload.h - a blocking call on libuv's pool while the fiber waits. */
#ifndef POPGATE_OFFLOAD_H
#define POPGATE_OFFLOAD_H

#include <stdint.h>

#include "proxy/io/fiber.h"

/* Runs work(arg) on a thread of the pool and returns when it has. Cannot be cut short. From a
 * fiber. */
void offload(struct fibers *, void (*work)(void *), void *arg);

/* Lets `ms` milliseconds pass. From a fiber. */
void fiber_sleep(struct fibers *, uint64_t ms);

#endif
