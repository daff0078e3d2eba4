/* SPDX-License-Identifier: MIT */
/* normal.h - what a client must get for a message, said once more and differently: the reference
 * that the session's own code is measured by. Octet by octet, slow and plain. */
#ifndef POPGATE_NORMAL_H
#define POPGATE_NORMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"

/* Appends the message as a client sees it after un-stuffing: every LF has its CR, a message that
 * does not end in LF gets CRLF; all other octets as they are (F-01 to F-06). False: no memory. */
bool normal_put(struct buf *, const char *message, size_t len) __attribute__((warn_unused_result));

/* The same for TOP: header, blank line, `lines` lines. Without a blank line the whole message and
 * one (C-12). */
bool normal_top(struct buf *, const char *message, size_t len, uint64_t lines)
	__attribute__((warn_unused_result));

/* Whether what came after a status line is exactly this text dot-stuffed, with the final dot. Looks
 * with the eyes of a client that takes LF for a line end: an end before the end is not right. */
bool normal_is_reply(const char *reply, size_t reply_len, const char *text, size_t len);

/* Whether what came is a beginning of that and cannot pass for the whole. */
bool normal_is_begun(const char *reply, size_t reply_len, const char *text, size_t len);

/* Octets of the first reply in `reply` after its status line, with its final dot; 0 if it has not
 * ended. */
size_t normal_reply_len(const char *reply, size_t reply_len);

#endif
