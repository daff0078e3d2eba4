/* SPDX-License-Identifier: MIT */
/* lru.c - rows under text keys. A node stands in a hash table and in a list by use; its key follows
 * the row. */
#include "proxy/base/lru.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum { BUCKETS = 4096 };

struct node {
	struct node *next;          /* in its bucket */
	struct node *newer, *older; /* by use */
	max_align_t row[];          /* and behind it the key, NUL ended */
};

struct lru {
	struct node *buckets[BUCKETS];
	struct node *newest, *oldest;
	size_t size, max, count;
};

struct lru *lru_new(size_t size, size_t max)
{
	struct lru *lru = mem_alloc(sizeof *lru);

	lru->size = size;
	lru->max = max;
	return lru;
}

static char *key_of(const struct lru *lru, struct node *node)
{
	return (char *)node->row + lru->size;
}

static size_t bucket_of(const char *key)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *key; key++)
		hash = (hash ^ (unsigned char)*key) * 16777619u;
	return hash % BUCKETS;
}

static void unlink_use(struct lru *lru, struct node *node)
{
	*(node->newer ? &node->newer->older : &lru->newest) = node->older;
	*(node->older ? &node->older->newer : &lru->oldest) = node->newer;
}

static void use(struct lru *lru, struct node *node)
{
	node->newer = NULL;
	node->older = lru->newest;
	*(node->older ? &node->older->newer : &lru->oldest) = node;
	lru->newest = node;
}

static void drop(struct lru *lru, struct node *node)
{
	struct node **at = &lru->buckets[bucket_of(key_of(lru, node))];

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	unlink_use(lru, node);
	lru->count--;
	free(node);
}

void lru_free(struct lru *lru)
{
	while (lru && lru->newest)
		drop(lru, lru->newest);
	free(lru);
}

static struct node *find(const struct lru *lru, const char *key)
{
	struct node *node = lru->buckets[bucket_of(key)];

	while (node && strcmp(key_of(lru, node), key) != 0)
		node = node->next;
	return node;
}

void *lru_find(const struct lru *lru, const char *key)
{
	struct node *node = find(lru, key);

	return node ? node->row : NULL;
}

void *lru_touch(struct lru *lru, const char *key)
{
	struct node *node = find(lru, key);

	if (node) {
		unlink_use(lru, node);
		use(lru, node);
		return node->row;
	}
	if (lru->count >= lru->max)
		drop(lru, lru->oldest);
	size_t size = strlen(key) + 1;
	node = mem_alloc(sizeof *node + lru->size + size);
	memcpy(key_of(lru, node), key, size);
	struct node **bucket = &lru->buckets[bucket_of(key)];
	node->next = *bucket;
	*bucket = node;
	use(lru, node);
	lru->count++;
	return node->row;
}

void lru_drop(struct lru *lru, const char *key)
{
	struct node *node = find(lru, key);

	if (node)
		drop(lru, node);
}

const char *lru_oldest(const struct lru *lru)
{
	return lru->oldest ? key_of(lru, lru->oldest) : NULL;
}

size_t lru_count(const struct lru *lru)
{
	return lru->count;
}
