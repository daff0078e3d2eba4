/* SPDX-License-Identifier: MIT */
/* canned.h - a stream whose peer said everything beforehand. What it is told can be read; what is
 * written is kept. */
#ifndef POPGATE_CANNED_H
#define POPGATE_CANNED_H

#include "proxy/base/stream.h"

struct canned {
	struct stream stream; /* first: hand out &canned.stream */
	const char *input;    /* borrowed */
	size_t input_len, at;
	size_t chunk; /* most octets that one read gives; 0: all there is */
	size_t cut;   /* octets after which the connection is lost; SIZE_MAX: never, it ends */
	const size_t *stops; /* borrowed: ascending offsets that no read goes beyond */
	size_t stop_count;
	void (*on_read)(struct canned *, void *arg); /* before each read; may be NULL */
	void *arg;
	size_t fail_write;    /* the n-th write (1 ...) and all later ones fail; 0: none */
	struct buf output;    /* everything written; 64 MiB at most */
	size_t reads, writes; /* calls */
	size_t last_write;    /* octets of the last write */
	bool is_closed, is_aborted;
	uint64_t wait_ms, until_ms; /* as last set by limit() */
};

/* Failures carry `kind`. in_max 65536, out_max 16384 octets. close() only notes that it was called.
 */
void canned_init(struct canned *, enum err_kind kind, const void *input, size_t len);
void canned_fini(struct canned *);

/* Puts a NUL behind the output and gives it as a string, borrowed. */
const char *canned_output(struct canned *);

#endif
