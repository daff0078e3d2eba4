/* SPDX-License-Identifier: MIT */
/* parked.h - a complete claim that waits to be proved elsewhere: a copy of all that a credential only
 * borrows. */
#ifndef POPGATE_PARKED_H
#define POPGATE_PARKED_H

#include "session/account.h"
#include "session/sasl.h"

struct parked {
	struct credential claim;                /* its strings but `mechanism` are ours */
	const struct sasl_mechanism *mechanism; /* of AUTH; NULL: PASS or APOP */
};

/* `client` and `arg` of the credential stay borrowed. */
struct parked *parked_new(const struct credential *, const struct sasl_mechanism *);
/* Wipes it. NULL is fine. */
void parked_free(struct parked *);

#endif
