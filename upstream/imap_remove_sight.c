/* SPDX-License-Identifier: MIT */
/* imap_remove_sight.c - which messages have gone, by the EXPUNGEs that were told.
 *
 * An EXPUNGE names a message by its number, and each moves the numbers above it down (RFC 9051 section
 * 7.5.1). A UID FETCH in front of the commands that remove tells under which number each of ours stands;
 * from there on the numbers are followed, whatever order the server works in: numbers mean what they
 * mean in the order in which replies come. So a flight of UID FETCH, UID STORE and UID EXPUNGE proves
 * by itself what it has done (D-08), in one round trip (M-01).
 *
 * Asking behind them in the same flight would prove nothing: Dovecot 2.3 answers a UID FETCH, a UID
 * SEARCH, also one behind a NOOP or CHECK, before it carries the UID EXPUNGE out.
 *
 * Believed is only what fits throughout: one message told that is not ours, or two of ours under one
 * number (some servers count wrongly, and others remove mail too), and the flight proves nothing; then
 * it is asked. */
#include "upstream/imap_remove.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

static struct sight *sight_of(struct sights *sights, uint32_t uid)
{
	size_t low = 0, high = sights->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (sights->at[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < sights->count && sights->at[low].uid == uid ? &sights->at[low] : NULL;
}

static void take_item(void *arg, const struct wire_item *item)
{
	struct sights *sights = arg;
	struct sight *sight = item->has_uid ? sight_of(sights, item->uid) : NULL;

	if (!sight)
		return;
	sights->is_odd |= sight->is_gone;
	sight->number = item->number;
}

/* An EXPUNGE. Messages without a number are not in sight. */
static void follow(struct sights *sights, uint32_t number)
{
	unsigned hits = 0;

	for (size_t i = 0; i < sights->count; i++) {
		struct sight *sight = &sights->at[i];
		if (sight->number == number) {
			sight->number = 0;
			sight->is_gone = true;
			hits++;
		} else if (sight->number > number) {
			sight->number--;
		}
	}
	sights->is_odd |= hits != 1;
}

static void take_gone(void *arg, bool is_uid, uint32_t low, uint32_t high)
{
	struct sights *sights = arg;

	if (!is_uid) {
		follow(sights, low);
		return;
	}
	size_t hits = 0;
	for (size_t i = 0; i < sights->count; i++) {
		struct sight *sight = &sights->at[i];
		if (sight->uid < low || sight->uid > high)
			continue;
		sights->is_odd |= sight->is_gone;
		sight->is_gone = true;
		sight->number = 0;
		hits++;
	}
	sights->is_odd |= hits != (size_t)(high - low) + 1;
}

void sights_begin(struct sights *sights, struct imap_wire *wire, const struct chunk *chunks,
		  size_t count)
{
	size_t room = 0;

	for (size_t i = 0; i < count; i++)
		room += chunks[i].count;
	*sights = (struct sights){.wire = wire, .at = mem_alloc((room + 1) * sizeof *sights->at)};
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < chunks[i].count; j++)
			sights->at[sights->count++] = (struct sight){.uid = chunks[i].uids[j]};
	imap_wire_expect_items(wire, take_item, sights);
	imap_wire_expect_gone(wire, take_gone, sights);
}

void sights_end(struct sights *sights)
{
	imap_wire_expect_items(sights->wire, NULL, NULL);
	imap_wire_expect_gone(sights->wire, NULL, NULL);
	free(sights->at);
	*sights = (struct sights){NULL};
}

bool sights_prove(struct sights *sights, const struct chunk *chunk)
{
	if (sights->is_odd)
		return false;
	for (size_t i = 0; i < chunk->count; i++)
		if (!sight_of(sights, chunk->uids[i])->is_gone)
			return false;
	return true;
}
