/* SPDX-License-Identifier: MIT */
/* heard.h - a doorman over a canned stream, and all that it tells, without libetpan. */
#ifndef POPGATE_HEARD_H
#define POPGATE_HEARD_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/buf.h"
#include "proxy/base/log.h"
#include "tests/fake/canned.h"
#include "upstream/imap_wire.h"

struct heard {
	struct canned canned;
	struct imap_wire *wire;
	struct buf octets; /* told so far; 512 MiB at most */
	struct buf items;  /* what heard_item() and heard_found() were told; 64 KiB at most */
	bool has_lost;     /* it was told more than that */
	unsigned bodies;   /* announced by heard_body() */
	struct wire_body body;
	bool kills; /* heard_body() kills the wire */
};

/* Tag 1 is expected; items and numbers found are, by heard_item() and heard_found(). `in` is
 * borrowed. */
void heard_init(struct heard *, const void *in, size_t len, const struct log *);

/* Closes and frees; returns whether the stream had been closed. */
bool heard_fini(struct heard *);

/* For imap_wire_expect_body(). */
void heard_body(void *heard, const struct wire_body *);

/* For imap_wire_expect_items(), imap_wire_expect_found(). */
void heard_item(void *heard, const struct wire_item *);
void heard_found(void *heard, uint32_t low, uint32_t high);

/* What they told so far as a string, borrowed: "1 uid 7 size 12 flags deleted seen body nil email
 * M1 gm 5 header "%41";" for each item, without what it did not tell; "found 1;found 3-5;". */
const char *heard_items(struct heard *);

/* Reads at most `max` octets once, at most 65536. Returns how many; -1: the wire is dead. */
ssize_t heard_once(struct heard *, size_t max);

/* Reads until the wire is dead. False: something came that must not come then. */
bool heard_all(struct heard *, size_t max);

/* What was told as a string, borrowed. */
const char *heard_text(struct heard *);

/* What imap_wire_error() says in words, "" if nothing. */
const char *heard_rule(const struct heard *);

#endif
