/* SPDX-License-Identifier: MIT */
/* imap_login.h - what imap_client.c and imap_login.c share, and nobody else needs. */
#ifndef POPGATE_IMAP_LOGIN_H
#define POPGATE_IMAP_LOGIN_H

#include "proxy/base/buf.h"
#include "upstream/imap_client.h"

/* The bounds of a phase that begins now: the moment it must end by (`until_ms` if that is sooner, 0
 * if nothing bounds it), and the longest single wait. */
uint64_t imap_until(const struct env *, enum imap_phase, uint64_t until_ms);
uint64_t imap_wait(enum imap_phase);
void imap_limit(struct imap_client *, enum imap_phase);

/* Why the connection is lost; `code` if the layer below has no number for it. */
struct err imap_lost(const struct imap_client *, int code) MUST_USE;

/* imap_send() of a line that holds a secret: no copy of it stays behind but the caller's. */
struct err imap_send_line(struct imap_client *, int *tag, const struct buf *line) MUST_USE;

/* The two halves of imap_receive(): sends what is in line and reads a first line; reads on from
 * there to the tagged reply. Between them that line stands in im->imap_stream_buffer. */
struct err imap_await(struct imap_client *, enum imap_phase, int tag) MUST_USE;
struct err imap_parse(struct imap_client *, int tag) MUST_USE;

#endif
