/* SPDX-License-Identifier: MIT */
/* recent.c - a table of fixed size that remembers what was last.
 *
 * Rows stand in an array, row 0 unused, so that 0 can mean "none". `heads` are the chains of a hash
 * table over them; a second, doubly linked list has them by age, and row 0 stands for its two ends.
 * Dropped rows form a chain of free ones.
 */
#include "proxy/recent.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

struct recent {
	uint32_t max, used; /* rows; that were ever handed out */
	uint32_t free;      /* first of the dropped ones */
	uint32_t *heads;    /* `max` */
	struct recent_row *rows;
};

struct recent *recent_new(uint32_t max)
{
	struct recent *recent = mem_alloc(sizeof *recent);

	recent->max = max;
	recent->heads = mem_alloc(max * sizeof *recent->heads);
	recent->rows = mem_alloc(((size_t)max + 1) * sizeof *recent->rows);
	return recent;
}

void recent_free(struct recent *recent)
{
	if (!recent)
		return;
	free(recent->heads);
	free(recent->rows);
	free(recent);
}

static uint32_t *head_of(struct recent *recent, const unsigned char key[RECENT_KEY])
{
	uint32_t hash;

	memcpy(&hash, key, sizeof hash);
	return &recent->heads[hash % recent->max];
}

/* Where the number of the row stands, or where it would. */
static uint32_t *place_of(struct recent *recent, const unsigned char key[RECENT_KEY])
{
	uint32_t *at = head_of(recent, key);

	while (*at && memcmp(recent->rows[*at].key, key, RECENT_KEY) != 0)
		at = &recent->rows[*at].next;
	return at;
}

static void age_take(struct recent *recent, uint32_t nth)
{
	const struct recent_row *row = &recent->rows[nth];

	recent->rows[row->older].newer = row->newer;
	recent->rows[row->newer].older = row->older;
}

static void age_put_newest(struct recent *recent, uint32_t nth)
{
	struct recent_row *ends = &recent->rows[0], *row = &recent->rows[nth];

	row->newer = 0;
	row->older = ends->older;
	recent->rows[ends->older].newer = nth;
	ends->older = nth;
}

struct recent_row *recent_find(struct recent *recent, const unsigned char key[RECENT_KEY])
{
	uint32_t nth = *place_of(recent, key);

	return nth ? &recent->rows[nth] : NULL;
}

void recent_drop(struct recent *recent, const unsigned char key[RECENT_KEY])
{
	uint32_t *place = place_of(recent, key), nth = *place;

	if (!nth)
		return;
	*place = recent->rows[nth].next;
	age_take(recent, nth);
	recent->rows[nth] = (struct recent_row){.next = recent->free};
	recent->free = nth;
}

/* A row that belongs to nobody. */
static uint32_t row_new(struct recent *recent)
{
	if (!recent->free && recent->used == recent->max) {
		unsigned char oldest[RECENT_KEY];
		memcpy(oldest, recent->rows[recent->rows[0].newer].key, RECENT_KEY);
		recent_drop(recent, oldest);
	}
	if (!recent->free)
		return ++recent->used;
	uint32_t nth = recent->free;
	recent->free = recent->rows[nth].next;
	return nth;
}

struct recent_row *recent_touch(struct recent *recent, const unsigned char key[RECENT_KEY])
{
	uint32_t nth = *place_of(recent, key);

	if (nth) {
		age_take(recent, nth);
	} else {
		nth = row_new(recent);
		uint32_t *head = head_of(recent, key);
		recent->rows[nth] = (struct recent_row){.next = *head};
		memcpy(recent->rows[nth].key, key, RECENT_KEY);
		*head = nth;
	}
	age_put_newest(recent, nth);
	return &recent->rows[nth];
}
