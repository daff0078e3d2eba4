/* SPDX-License-Identifier: MIT */
/* sink.h - bytes one way: where a store puts a message. */
#ifndef POPGATE_SINK_H
#define POPGATE_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/base/err.h"

struct sink {
	/* Takes all `len` octets (0 < len) and returns when there is room for more: that wait is
	 * the flow control. An error ends the transfer; the caller of put() hands it on unchanged.
	 */
	struct err (*put)(struct sink *, const void *octets, size_t len) MUST_USE;
	/* How many octets the store announced for this transfer, set by the store before the first
	 * put(); 0: not known. A hint for the status line (F-08), never a reason to cut or pad. */
	uint64_t announced_octets;
};

#endif
