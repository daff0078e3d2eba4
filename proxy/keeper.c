/* SPDX-License-Identifier: MIT */
/* keeper.c - who looks after the mailboxes that stay open between sessions. */
#include "proxy/keeper.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

enum {
	LOOK_MS = 500,
	AT_ONCE = 64, /* mailboxes that are spoken to */
};

struct keeper {
	struct worker *worker; /* borrowed */
	struct fiber *fiber;   /* the one that looks */
	bool is_resting;
	uv_timer_t timer;
	unsigned active; /* fibers that tend */
	bool has_more;   /* due, perhaps, when one of them has ended */
	bool is_ending;
	void (*on_end)(void *arg);
	void *arg;
};

struct tending {
	struct keeper *keeper;
	struct parked *parked;
};

static void look(struct keeper *keeper);

/* Only out of its rest: where it tends a mailbox itself it waits for the server. */
static void wake(struct keeper *keeper)
{
	if (keeper->is_resting)
		fiber_wake(&keeper->worker->fibers, keeper->fiber);
}

static void tend(void *arg)
{
	struct tending tending = *(struct tending *)arg;
	struct keeper *keeper = tending.keeper;

	free(arg);
	imap_warm_tend(keeper->worker->warm, tending.parked);
	keeper->active--;
	if (keeper->has_more)
		look(keeper);
	if (keeper->is_ending)
		wake(keeper);
}

/* Gives what is due a fiber each, as many as there may be at once; who ends then looks for the rest. */
static void look(struct keeper *keeper)
{
	struct worker *worker = keeper->worker;

	keeper->has_more = true;
	while (keeper->active < AT_ONCE) {
		struct parked *parked = imap_warm_due(worker->warm);
		if (!parked) {
			keeper->has_more = false;
			return;
		}
		struct tending *tending = mem_alloc(sizeof *tending);
		*tending = (struct tending){keeper, parked};
		keeper->active++;
		struct err err = fiber_spawn(&worker->fibers, tend, tending);
		if (err.kind) { /* the others wait then */
			free(tending);
			imap_warm_tend(worker->warm, parked);
			keeper->active--;
		}
	}
}

static void on_time(uv_timer_t *timer)
{
	wake(timer->data);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void keeper_run(void *arg)
{
	struct keeper *keeper = arg;
	struct worker *worker = keeper->worker;

	keeper->fiber = worker->fibers.current;
	while (!keeper->is_ending || keeper->active || imap_warm_count(worker->warm)) {
		look(keeper);
		keeper->is_resting = true;
		fiber_wait(&worker->fibers, "keeper");
		keeper->is_resting = false;
	}
	keeper->on_end(keeper->arg);
	uv_close((uv_handle_t *)&keeper->timer, on_closed);
}

struct keeper *keeper_begin(struct worker *worker, const struct imap_warm_conf *conf,
			    void (*on_end)(void *arg), void *arg)
{
	struct keeper *keeper = mem_alloc(sizeof *keeper);

	*keeper = (struct keeper){.worker = worker, .on_end = on_end, .arg = arg};
	uv_timer_init(&worker->loop, &keeper->timer);
	keeper->timer.data = keeper;
	struct err err = fiber_spawn(&worker->fibers, keeper_run, keeper);
	if (err.kind) {
		log_err(&worker->log, LEVEL_ALARM, "no-fiber", err);
		uv_close((uv_handle_t *)&keeper->timer, on_closed);
		return NULL;
	}
	imap_warm_configure(worker->warm, conf);
	uv_timer_start(&keeper->timer, on_time, LOOK_MS, LOOK_MS);
	return keeper;
}

void keeper_end(struct keeper *keeper)
{
	static const struct imap_warm_conf nothing = {0};

	if (!keeper)
		return;
	keeper->is_ending = true;
	imap_warm_configure(keeper->worker->warm, &nothing);
	imap_warm_drop(keeper->worker->warm);
	wake(keeper);
}
