/* SPDX-License-Identifier: MIT */
/* top.h - header, blank line and the first lines of a body, cut from the octets that RETR would
 * send (C-12, C-13). */
#ifndef POPGATE_TOP_H
#define POPGATE_TOP_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/base/sink.h"

struct top {
	struct sink sink;   /* first: hand out &top.sink */
	struct sink *next;  /* borrowed: where the wanted part goes */
	uint64_t lines;     /* body lines still wanted */
	uint64_t taken;     /* octets that came in, wanted or not */
	bool has_separator; /* the blank line has come */
	bool is_done;       /* all that was wanted has passed */
	uint8_t line_len;   /* of the line that has begun: octets, counted up to 2 */
	bool is_cr;         /* its only octet is CR */
};

/* Passes on to `next` the header, the blank line, and `lines` lines of the body; swallows the
 * rest. */
void top_init(struct top *, struct sink *next, uint64_t lines);

/* The message has ended, or top->is_done. A message without a blank line gets one. */
struct err top_finish(struct top *) MUST_USE;

#endif
