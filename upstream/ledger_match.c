/* SPDX-License-Identifier: MIT */
/* ledger_match.c - messages recognised after their UIDs have changed (E-04).
 *
 * Both sides are sorted by what a message is recognised by, so that equal ones stand together, and
 * walked once side by side. A group with as many on either side is paired in order of UIDs: copies
 * of one mail are alike in everything that a client sees, so it does not matter which is which as
 * long as none gets two names. A group with more on one side than on the other is left alone: a
 * wrong name would hide a message from its client for ever, a new one costs a download.
 */
#include "upstream/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/maildrop.h"

/* One message of one side. */
struct candidate {
	const struct ledger *ledger; /* its texts move while names are given */
	uint32_t id;
	uint64_t octets; /* 0 where sizes are not compared */
	size_t row;      /* rows ascend by UID, so this does */
};

static int by_identity(const struct candidate *a, const struct candidate *b)
{
	int by_id = strcmp(ledger_text(a->ledger, a->id), ledger_text(b->ledger, b->id));

	if (by_id)
		return by_id;
	return (a->octets > b->octets) - (a->octets < b->octets);
}

static int by_identity_and_row(const void *a_, const void *b_)
{
	const struct candidate *a = a_, *b = b_;
	int order = by_identity(a, b);

	return order ? order : (a->row > b->row) - (a->row < b->row);
}

/* All rows that can be recognised, sorted. Owned; NULL if memory is out. */
static struct candidate *gather(const struct ledger *ledger, size_t *count)
{
	struct candidate *all = calloc(ledger->count + 1, sizeof *all);
	bool with_size = ledger->head.source == LEDGER_HEADER;

	*count = 0;
	for (size_t i = 0; all && i < ledger->count; i++) {
		const struct ledger_row *row = &ledger->rows[i];
		/* A header alone does not tell a message from its second edition. */
		if (!row->id || (with_size && !row->octets))
			continue;
		all[(*count)++] =
			(struct candidate){ledger, row->id, with_size ? row->octets : 0, i};
	}
	if (all)
		qsort(all, *count, sizeof *all, by_identity_and_row);
	return all;
}

/* How many from `first` on are alike. */
static size_t group(const struct candidate *first, size_t count)
{
	size_t len = 0;

	while (len < count && by_identity(first, first + len) == 0)
		len++;
	return len;
}

static bool pair(struct ledger *fresh, const struct ledger *old, const char *old_tag, size_t to,
		 size_t from)
{
	const struct ledger_row *was = &old->rows[from];
	struct ledger_row *row = &fresh->rows[to];
	char uidl[UIDL_MAX + 1];

	ledger_uidl(old, was, old_tag, uidl);
	if (!ledger_set_name(fresh, row, uidl))
		return false;
	row->exact = was->exact;
	/* Who bears \Deleted now was told with the new UIDs. */
	row->marks = (uint8_t)((was->marks & ~LEDGER_DELETED) | (row->marks & LEDGER_DELETED));
	row->retrieved_at = was->retrieved_at;
	row->failed_at = was->failed_at;
	row->failures = was->failures;
	ledger_touch(fresh, row->uid);
	if (old->head.edge && was->uid >= old->head.edge &&
	    (!fresh->head.edge || row->uid < fresh->head.edge))
		fresh->head.edge = row->uid;
	return true;
}

struct err ledger_match(struct ledger *fresh, const struct ledger *old, const char *old_tag,
			struct ledger_matching *out)
{
	size_t news = 0, olds = 0, n = 0, o = 0;
	bool is_done = true;
	bool is_same = fresh->head.source == old->head.source && old->head.source != LEDGER_NONE;

	*out = (struct ledger_matching){.unknown = fresh->count, .lost = old->count};
	fresh->head.edge = 0;
	if (!is_same)
		return OK;
	struct candidate *to = gather(fresh, &news), *from = gather(old, &olds);
	while (to && from && is_done && n < news && o < olds) {
		int order = by_identity(&to[n], &from[o]);
		size_t alike = order <= 0 ? group(to + n, news - n) : 0;
		size_t were = order >= 0 ? group(from + o, olds - o) : 0;
		if (order == 0 && alike != were) {
			out->ambiguous += alike;
			out->unknown -= alike;
		} else if (order == 0) {
			for (size_t i = 0; is_done && i < alike; i++)
				is_done = pair(fresh, old, old_tag, to[n + i].row, from[o + i].row);
			out->matched += alike;
			out->unknown -= alike;
			out->lost -= alike;
		}
		n += alike;
		o += were;
	}
	is_done = is_done && to && from;
	free(to);
	free(from);
	return is_done ? OK : ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
}
