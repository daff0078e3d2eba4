/* SPDX-License-Identifier: MIT */
/* pipeline.h - what a client has asked for already (RFC 2449 section 6.6): its lines that wait, whole, in
 * our input, looked at and left where they are. */
#ifndef POPGATE_PIPELINE_H
#define POPGATE_PIPELINE_H

#include <stddef.h>

#include "session/session.h"

enum {
	PIPELINE_MOST = 256, /* messages that are announced at once */
	TOP_FIRST = 16384,  /* octets of the first range that TOP asks for (C-13) */
};

/* The first range of a TOP with so many lines. */
struct part pipeline_top(const struct message *, uint64_t lines);

/* Tells the store which messages the RETRs and TOPs behind the present command will fetch, in their order.
 * DELE and NOOP between them are gone over; any other line, an argument that is no number of a message, or
 * a message twice ends the list, for who knows what comes then. */
void pipeline_announce(struct session *);

#endif
