/* SPDX-License-Identifier: MIT */
/* lru.h - rows under text keys, of which a full table forgets the least recently used.
 *
 *	struct lru *lru = lru_new(sizeof(struct row), 20000);
 *	struct row *row = lru_touch(lru, "mail.example.org:993");
 */
#ifndef POPGATE_LRU_H
#define POPGATE_LRU_H

#include <stddef.h>

struct lru;

/* A table of at most `max` rows of `size` octets. The caller frees it with lru_free(). */
struct lru *lru_new(size_t size, size_t max);
void lru_free(struct lru *); /* NULL is fine */

/* The row under a key, NULL if there is none. Borrowed: until it is dropped, by lru_drop() or to make
 * room for another. */
void *lru_find(const struct lru *, const char *key);
/* The row, now the most recently used; made of zeros if there was none. Borrowed likewise. */
void *lru_touch(struct lru *, const char *key);
void lru_drop(struct lru *, const char *key);
/* The key of the row that was used least recently, NULL if there is none; borrowed likewise. */
const char *lru_oldest(const struct lru *);
size_t lru_count(const struct lru *);

#endif
