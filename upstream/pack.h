/* SPDX-License-Identifier: MIT */
/* pack.h - numbers and texts in few octets, for what is kept in the state; read back strictly.
 *
 * A number is a base-128 varint: seven bits an octet, lowest first, bit 7 set in all but the last,
 * in the shortest form. A text is its length as a number and its octets.
 */
#ifndef POPGATE_PACK_H
#define POPGATE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"

/* Each appends; false if the buffer takes no more. */
bool pack_octet(struct buf *, unsigned octet) __attribute__((warn_unused_result));
bool pack_number(struct buf *, uint64_t) __attribute__((warn_unused_result));
bool pack_text(struct buf *, const char *text) __attribute__((warn_unused_result));

/* A cursor over packed octets. Whatever is odd (the end too early, a number too high or not in its
 * shortest form, a text with a NUL) sets is_bad for good; what is read after that is 0 or empty. */
struct unpack {
	const unsigned char *at, *end;
	bool is_bad;
};

struct unpack unpack_begin(const void *octets, size_t len);
unsigned unpack_octet(struct unpack *);
uint64_t unpack_number(struct unpack *, uint64_t max);
/* A text of `min` to `max` octets, borrowed, not NUL ended; NULL if bad. */
const char *unpack_text(struct unpack *, size_t min, size_t max, size_t *len);
/* Whether everything was read and nothing was odd. */
bool unpack_is_whole(const struct unpack *);

#endif
