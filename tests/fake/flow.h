/* SPDX-License-Identifier: MIT */
/* flow.h - a stream whose peer says some words, then any number of octets that are made while
 * they are read, then some more words: a message longer than the memory. What is written to it is
 * dropped. */
#ifndef POPGATE_FLOW_H
#define POPGATE_FLOW_H

#include "proxy/base/stream.h"

struct flow {
	struct stream stream;       /* first: hand out &flow.stream */
	const char *before, *after; /* borrowed */
	uint64_t octets, at;        /* octet n is n % 251 */
	size_t before_at, after_at;
	bool is_closed;
};

void flow_init(struct flow *, const char *before, uint64_t octets, const char *after);

/* Whether `len` octets are those that come behind the first `at`. */
bool flow_is(uint64_t at, const char *octets, size_t len);

#endif
