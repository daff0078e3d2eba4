/* SPDX-License-Identifier: MIT */
/* dot.h - the sink at whose other end the client reads a message: status line, normalised and
 * dot-stuffed body, the final dot (F-01 to F-09, F-13). */
#ifndef POPGATE_DOT_H
#define POPGATE_DOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/sink.h"
#include "proxy/base/stream.h"

struct dot {
	struct sink sink;      /* first: hand out &dot.sink */
	struct stream *client; /* borrowed: for the life of the dot */
	struct buf hold; /* stuffed octets that have not left, behind room for a status line */
	uint64_t guess_octets; /* for the status line when neither we nor the store know better */
	uint64_t octets;       /* normalised octets so far: line ends are CRLF, no stuffing */
	bool has_count;        /* "+OK <n> octets", not "+OK" alone */
	bool is_started;       /* the status line has left */
	bool bol;              /* the next octet begins a line */
	bool after_cr;         /* the last octet was CR */
};

/* A dot for one reply. With `has_count` the status line tells octets: exactly, for a message that
 * was held whole; else what the store announced, else `guess_octets`. */
void dot_init(struct dot *, struct stream *client, bool has_count, uint64_t guess_octets);

/* The message is known to be whole: sends what is left, its last line end if it lacks one, and the
 * dot, the end of the body and the dot in one write. */
struct err dot_finish(struct dot *) MUST_USE;

/* Whether +OK has left: then no -ERR may follow, only silence (F-09). put() itself fails with
 * ERR_UPSTREAM if memory is out, else with the client stream's kind. */
static inline bool dot_started(const struct dot *dot)
{
	return dot->is_started;
}

void dot_fini(struct dot *); /* frees what was held; a zeroed struct is fine */

#endif
