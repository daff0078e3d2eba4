/* SPDX-License-Identifier: MIT */
/* box.h - a real Maildir for tests, made afresh for each and removed behind it, and a sink that keeps
 * what it gets. For cmocka: whatever goes wrong fails the test. */
#ifndef POPGATE_FAKE_BOX_H
#define POPGATE_FAKE_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "tests/fake/world.h"
#include "upstream/upstream.h"

struct box {
	char path[64]; /* of the Maildir */
	struct fake_world world;
	struct log log;
	struct upstream_conf conf; /* a test may change it before box_open() */
	struct upstream *up;       /* NULL: not open */
	struct maildrop drop;
};

/* Set-up and tear-down of cmocka: *state is the box. */
int box_set_up(void **state);
int box_tear_down(void **state);

/* The path of a name in the Maildir. Borrowed until four more calls. */
const char *box_path(const struct box *, const char *name);
void box_write(const struct box *, const char *name, const void *octets, size_t len);
void box_write_text(const struct box *, const char *name, const char *text);
bool box_has(const struct box *, const char *name);
/* Makes the folders look as if nobody had touched them for long. */
void box_settle(const struct box *);

struct err box_open(struct box *);
void box_close(struct box *);
/* Opens and lists, which must go well. */
void box_list(struct box *);
/* Deletes one message more and does the update. */
struct err box_delete(struct box *, uint64_t number);

/* Keeps what it gets, does something after the first put, or fails. */
struct keeper {
	struct sink sink; /* first */
	struct buf got;
	unsigned puts;
	struct err answer; /* of each put */
	void (*after_first)(void *arg);
	void *arg;
};
void keeper_init(struct keeper *); /* the caller ends `got` */

struct err box_fetch(struct box *, uint64_t number, struct part, struct keeper *);

#endif
