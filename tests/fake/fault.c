/* SPDX-License-Identifier: MIT */
/* fault.c - a store that wraps another one and fails when it is told to. */
#include "tests/fake/fault.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

struct fault_upstream {
	struct upstream up;
	struct upstream *inner; /* owned */
	struct fault *fault;
};

struct fault_sink {
	struct sink sink;
	struct sink *inner;
	struct fault *fault;
	size_t octets; /* of this fetch so far */
};

static struct err fail(struct fault *fault)
{
	fault->failed++;
	return (struct err){fault->kind, 0, "made to fail"};
}

/* Counts a call; whether it is the one. */
static bool is_due(struct fault *fault)
{
	return ++fault->calls == fault->fail_call;
}

static struct err fault_open(const struct env *env, const struct log *log,
			     const struct upstream_conf *conf, const struct login *login,
			     struct notice *why, struct upstream **out)
{
	struct fault *fault = (struct fault *)(uintptr_t)conf->ops;
	struct upstream_conf inner_conf = *conf;
	struct upstream *inner;
	bool due = is_due(fault);

	*out = NULL;
	if (due && !fault->is_late)
		return fail(fault);
	inner_conf.ops = fault->inner;
	TRY(fault->inner->open(env, log, &inner_conf, login, why, &inner));
	if (due) {
		fault->inner->close(inner, NULL, NULL, NULL);
		return fail(fault);
	}
	struct fault_upstream *self = mem_alloc(sizeof *self);
	self->up = *inner;
	self->up.ops = &fault->ops;
	self->inner = inner;
	self->fault = fault;
	fault->opens++;
	*out = &self->up;
	return OK;
}

static struct err fault_list(struct upstream *up, struct maildrop *drop)
{
	struct fault_upstream *self = (struct fault_upstream *)up;
	bool due = is_due(self->fault);

	if (due && !self->fault->is_late)
		return fail(self->fault);
	TRY(self->fault->inner->list(self->inner, drop));
	return due ? fail(self->fault) : OK;
}

static struct err fault_put(struct sink *sink, const void *octets, size_t len)
{
	struct fault_sink *self = (struct fault_sink *)sink;
	struct fault *fault = self->fault;

	if (++fault->puts == fault->fail_put)
		return fail(fault);
	self->inner->announced_octets = sink->announced_octets;
	if (fault->fail_octet && self->octets + len >= fault->fail_octet) {
		size_t good = fault->fail_octet - 1 - self->octets;
		if (good)
			TRY(self->inner->put(self->inner, octets, good));
		return fail(fault);
	}
	self->octets += len;
	return self->inner->put(self->inner, octets, len);
}

static struct err fault_fetch(struct upstream *up, const struct maildrop *drop,
			      const struct message *msg, const struct part *part, struct sink *sink)
{
	struct fault_upstream *self = (struct fault_upstream *)up;
	bool due = is_due(self->fault);
	struct fault_sink between = {.sink = {fault_put, 0}, .inner = sink, .fault = self->fault};

	if (due && !self->fault->is_late)
		return fail(self->fault);
	TRY(self->fault->inner->fetch(self->inner, drop, msg, part, &between.sink));
	return due ? fail(self->fault) : OK;
}

static struct err fault_update(struct upstream *up, const struct maildrop *drop)
{
	struct fault_upstream *self = (struct fault_upstream *)up;
	bool due = is_due(self->fault);

	if (due && !self->fault->is_late)
		return fail(self->fault);
	TRY(self->fault->inner->update(self->inner, drop));
	return due ? fail(self->fault) : OK;
}

static void fault_close(struct upstream *up, const struct maildrop *drop,
			bool (*is_wanted)(const void *arg), const void *arg)
{
	struct fault_upstream *self = (struct fault_upstream *)up;

	self->fault->closes++;
	self->fault->inner->close(self->inner, drop, is_wanted, arg);
	free(self);
}

static void fault_retrieved(struct upstream *up, const struct message *msg)
{
	struct fault_upstream *self = (struct fault_upstream *)up;

	if (self->fault->inner->retrieved)
		self->fault->inner->retrieved(self->inner, msg);
}

static void fault_nudge(struct upstream *up)
{
	struct fault_upstream *self = (struct fault_upstream *)up;

	if (self->fault->inner->nudge)
		self->fault->inner->nudge(self->inner);
}

void fault_init(struct fault *fault, const struct upstream_ops *inner)
{
	*fault = (struct fault){
		.ops = {.name = "fault",
			.open = fault_open,
			.list = fault_list,
			.fetch = fault_fetch,
			.update = fault_update,
			.retrieved = fault_retrieved,
			.nudge = fault_nudge,
			.close = fault_close},
		.inner = inner,
		.kind = ERR_UPSTREAM,
	};
}
