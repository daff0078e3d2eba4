/* SPDX-License-Identifier: MIT */
/* fault.h - a store that wraps another one and fails when it is told to.
 *
 *	struct fault fault;
 *	fault_init(&fault, &memory.ops);
 *	fault.fail_call = 3, fault.kind = ERR_UPSTREAM;     (then hand out &fault.ops)
 *
 * Streams that fail are canned.h's: `cut` and `fail_write`.
 */
#ifndef POPGATE_FAKE_FAULT_H
#define POPGATE_FAKE_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "upstream/upstream.h"

struct fault {
	/* First: hand out &fault.ops as upstream_conf.ops. open() finds the wrapper by it. */
	struct upstream_ops ops;
	const struct upstream_ops *inner; /* borrowed */
	enum err_kind kind;               /* of all failures */
	/* Which one fails; 0: none. Calls are counted over open, list, fetch and update, puts over
	 * all fetches. The others go well. */
	size_t fail_call;
	bool is_late;      /* the call is done, all octets are put, and then it fails */
	size_t fail_put;   /* before its octets are handed on */
	size_t fail_octet; /* in every fetch, before this octet of it (1 ...) is handed on */
	/* what happened */
	size_t calls, puts;
	size_t opens, closes; /* opens only those that went well */
	size_t failed;        /* failures given */
};

void fault_init(struct fault *, const struct upstream_ops *inner);

#endif
