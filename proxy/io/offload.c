/* SPDX-License-Identifier: MIT */
/* offload.c - a fiber waits while a thread of libuv's pool works, or while time passes.
 *
 * libuv's requests live on the heap, as everywhere, so that no thread and no callback ever touches
 * a fiber's stack.
 */
#include "proxy/io/offload.h"

#include <stdbool.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

struct job {
	uv_work_t request;
	struct fibers *fibers; /* borrowed */
	struct fiber *fiber;   /* who waits */
	void (*work)(void *);
	void *arg;
	bool is_done;
};

static void job_work(uv_work_t *request)
{
	struct job *job = request->data;

	job->work(job->arg);
}

static void job_done(uv_work_t *request, int status)
{
	struct job *job = request->data;

	(void)status; /* only a cancelled one has another than 0, and nobody cancels */
	job->is_done = true;
	fiber_wake(job->fibers, job->fiber);
}

void offload(struct fibers *fibers, void (*work)(void *), void *arg)
{
	struct job *job = mem_alloc(sizeof *job);

	*job = (struct job){.fibers = fibers, .fiber = fibers->current, .work = work, .arg = arg};
	job->request.data = job;
	uv_queue_work(fibers->loop, &job->request, job_work, job_done);
	while (!job->is_done)
		fiber_wait(fibers, "offload");
	free(job);
}

struct nap {
	uv_timer_t timer;
	struct fibers *fibers; /* borrowed */
	struct fiber *fiber;   /* who waits */
	bool is_over;
};

static void nap_over(uv_timer_t *timer)
{
	struct nap *nap = timer->data;

	nap->is_over = true;
	fiber_wake(nap->fibers, nap->fiber);
}

static void nap_free(uv_handle_t *handle)
{
	free(handle->data);
}

void fiber_sleep(struct fibers *fibers, uint64_t ms)
{
	struct nap *nap = mem_alloc(sizeof *nap);

	nap->fibers = fibers;
	nap->fiber = fibers->current;
	uv_timer_init(fibers->loop, &nap->timer);
	nap->timer.data = nap;
	/* libuv counts from the loop's idea of now, which is old after long work. */
	uv_update_time(fibers->loop);
	uv_timer_start(&nap->timer, nap_over, ms, 0);
	while (!nap->is_over)
		fiber_wait(fibers, "sleep");
	uv_close((uv_handle_t *)&nap->timer, nap_free);
}
