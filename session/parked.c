/* SPDX-License-Identifier: MIT */
/* parked.c - a complete claim that waits to be proved elsewhere. */
#include "session/parked.h"

#include <stdint.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

struct parked *parked_new(const struct credential *claim, const struct sasl_mechanism *mechanism)
{
	struct parked *parked = mem_alloc(sizeof *parked);

	parked->claim = *claim;
	parked->claim.name = text_dup(claim->name);
	parked->claim.password = text_dup(claim->password);
	parked->claim.timestamp = text_dup(claim->timestamp);
	parked->claim.initial = text_dup(claim->initial);
	parked->mechanism = mechanism;
	return parked;
}

static void wipe(const char *text)
{
	text_wipe_free((char *)(uintptr_t)text);
}

void parked_free(struct parked *parked)
{
	if (!parked)
		return;
	wipe(parked->claim.name);
	wipe(parked->claim.password);
	wipe(parked->claim.timestamp);
	wipe(parked->claim.initial);
	free(parked);
}
