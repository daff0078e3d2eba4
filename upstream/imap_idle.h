/* SPDX-License-Identifier: MIT */
/* imap_idle.h - IDLE (RFC 2177) without anybody who listens: news waits in the socket until somebody asks.
 *
 * While client->idle_tag is not 0 the server may speak at any time and takes DONE alone; imap_send() says it
 * before the next command, in the same write, and imap_receive() takes the answer on the way.
 */
#ifndef POPGATE_IMAP_IDLE_H
#define POPGATE_IMAP_IDLE_H

#include "upstream/imap_client.h"

/* Begins it, or begins it anew: what the server has said meanwhile is read. A server that does not know it
 * is never asked again on this connection, and a NOOP stands for it. */
struct err imap_idle_begin(struct imap_client *) MUST_USE;

/* Whether IDLE stands and the server has said nothing since. Does not wait. */
bool imap_idle_is_quiet(const struct imap_client *);

/* For imap_client.c: puts DONE in line if it is due; takes the answer to it. */
struct err imap_idle_end(struct imap_client *) MUST_USE;
struct err imap_idle_take(struct imap_client *, enum imap_phase) MUST_USE;

#endif
