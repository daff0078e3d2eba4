/* SPDX-License-Identifier: MIT */
/* state_lmdb_page.h - how LMDB 0.9 (data version 1) lays a file out; for state_lmdb_head.c and
 * state_lmdb_check.c alone. Numbers lie in the machine's own order and size. */
#ifndef POPGATE_STATE_LMDB_PAGE_H
#define POPGATE_STATE_LMDB_PAGE_H

#include <string.h>

#include "upstream/state_lmdb.h"

enum {
	WORD = sizeof(size_t), /* LMDB's own unit */
	PAGE_HEAD = WORD + 8,
	DEPTH_MAX = 32,
	/* Flags of a page. */
	IS_BRANCH = 1,
	IS_LEAF = 2,
	IS_OVERFLOW = 4,
	IS_META = 8,
};

/* A tree as its meta page tells of it, or as it was found. */
struct tree {
	bool is_free; /* the tree of free pages: keys are numbers */
	unsigned depth;
	size_t branches, leaves, overflows, entries, root;
};

struct meta {
	size_t page_size, last, txn;
	struct tree trees[2];
};

static inline unsigned page_get16(const unsigned char *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

static inline uint32_t page_get32(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

static inline size_t page_get_word(const unsigned char *at)
{
	size_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

/* All octets or false; errno is 0 if the file ends before. */
bool page_read_at(int fd, void *into, size_t len, size_t from);

/* Reads both meta pages; *length is the file's. False if they cannot be relied on, with what is
 * wrong in `why`. The one with the higher `txn` counts. */
bool page_read_metas(int fd, struct notice *why, struct meta metas[2], size_t *length);

#endif
