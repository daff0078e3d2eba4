/* SPDX-License-Identifier: MIT */
/* recent.h - a table of fixed size that remembers what was last: rows under keys of 16 octets, the
 * oldest makes room for the newest. Finding, adding and dropping take the same few steps at any size;
 * nothing is allocated after the birth. For guard.c. */
#ifndef POPGATE_RECENT_H
#define POPGATE_RECENT_H

#include <stdint.h>

enum { RECENT_KEY = 16 };

struct recent_row {
	unsigned char
		key[RECENT_KEY]; /* must be unpredictable to whoever causes rows: a keyed hash */
	/* The owner's, zero at first: */
	uint64_t since_ms, until_ms;
	uint32_t before, count;
	/* recent.c's: */
	uint32_t older, newer, next;
};

struct recent;

/* At most `max` rows, not 0; the caller frees it with recent_free(). */
struct recent *recent_new(uint32_t max);
void recent_free(struct recent *); /* NULL is fine */
/* The row, NULL if there is none. Valid until the next call of recent_touch() or recent_drop(). */
struct recent_row *recent_find(struct recent *, const unsigned char key[RECENT_KEY]);
/* The row, which is then the newest; a zeroed one if there was none. Valid as above. */
struct recent_row *recent_touch(struct recent *, const unsigned char key[RECENT_KEY]);
void recent_drop(struct recent *, const unsigned char key[RECENT_KEY]);

#endif
