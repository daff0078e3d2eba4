/* SPDX-License-Identifier: MIT */
/* import_match.c - which old UIDL belongs to which message.
 *
 * A wrong UIDL makes a client believe that it has a message which it never saw: worse than a second
 * download. So all that is not certain is left alone, and told.
 */
#include "proxy/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum { NEAR_OCTETS = 2048, NEAR_PART = 8 };

/* --- what need not be looked for ---------------------------------------------------------- */

static int by_uidl(const void *a_, const void *b_)
{
	const struct import_old *const *a = a_, *const *b = b_;

	return strcmp((*a)->uidl, (*b)->uidl);
}

static struct import_old **sorted_olds(const struct import_list *list)
{
	struct import_old **sorted = mem_alloc((list->count + 1) * sizeof *sorted);

	for (size_t i = 0; i < list->count; i++)
		sorted[i] = &list->all[i];
	qsort(sorted, list->count, sizeof *sorted, by_uidl);
	return sorted;
}

static struct import_old *find_uidl(struct import_old **sorted, size_t count, const char *uidl)
{
	struct import_old key = {.uidl = (char *)(uintptr_t)uidl}, *at = &key;
	struct import_old **found = bsearch(&at, sorted, count, sizeof *sorted, by_uidl);

	return found ? *found : NULL;
}

static bool is_uidl(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x21 || text[i] > 0x7e)
			return false;
	return len >= 1 && len <= UIDL_MAX;
}

void import_sieve(struct import_list *list, const struct import_row *rows, size_t count)
{
	struct import_old **sorted = sorted_olds(list);

	for (size_t i = 0; i < list->count; i++)
		if (!is_uidl(sorted[i]->uidl))
			sorted[i]->fate = IMPORT_UNFIT;
	for (size_t i = 1; i < list->count; i++)
		if (strcmp(sorted[i]->uidl, sorted[i - 1]->uidl) == 0)
			sorted[i]->fate = sorted[i - 1]->fate = IMPORT_UNFIT;
	for (size_t i = 0; i < count; i++) {
		struct import_old *old = find_uidl(sorted, list->count, rows[i].shown);
		if (!old || old->fate == IMPORT_UNFIT)
			continue;
		old->fate = IMPORT_ALREADY;
		old->uid = rows[i].uid;
	}
	free(sorted);
}

/* --- by header and size ------------------------------------------------------------------- */

/* A message of either side. */
struct candidate {
	const char *hash;
	uint64_t octets;
	size_t index; /* in its list, which is in order of numbers or UIDs */
	bool is_done;
};

static int by_hash(const struct candidate *a, const struct candidate *b)
{
	return strcmp(a->hash, b->hash);
}

static int by_hash_and_size(const struct candidate *a, const struct candidate *b)
{
	int order = by_hash(a, b);

	return order ? order : (a->octets > b->octets) - (a->octets < b->octets);
}

static int by_all(const void *a_, const void *b_)
{
	const struct candidate *a = a_, *b = b_;
	int order = by_hash_and_size(a, b);

	return order ? order : (a->index > b->index) - (a->index < b->index);
}

static int by_hash_and_index(const void *a_, const void *b_)
{
	const struct candidate *a = a_, *b = b_;
	int order = by_hash(a, b);

	return order ? order : (a->index > b->index) - (a->index < b->index);
}

static bool is_near(uint64_t a, uint64_t b)
{
	uint64_t less = a < b ? a : b, more = a < b ? b : a;

	return !less || more - less <= NEAR_OCTETS + more / NEAR_PART;
}

/* Both sides while they are matched. */
struct sides {
	struct import_list *list;
	const struct import_row *rows;
	struct candidate *olds, *news; /* owned */
	size_t old_count, new_count;
};

static void drop_done(struct candidate *all, size_t *count)
{
	size_t kept = 0;

	for (size_t i = 0; i < *count; i++)
		if (!all[i].is_done)
			all[kept++] = all[i];
	*count = kept;
}

static size_t group(const struct candidate *first, size_t count,
		    int (*compare)(const struct candidate *, const struct candidate *))
{
	size_t len = 0;

	while (len < count && compare(first, first + len) == 0)
		len++;
	return len;
}

/* A group of equals: `olds` and `news` of them from `o` and `n` on. */
static void settle(struct sides *sides, size_t o, size_t olds, size_t n, size_t news, bool is_last)
{
	bool is_pair = olds == news;

	for (size_t i = 0; is_pair && i < olds; i++)
		is_pair = is_near(sides->olds[o + i].octets, sides->news[n + i].octets);
	for (size_t i = 0; i < olds; i++) {
		struct import_old *old = &sides->list->all[sides->olds[o + i].index];
		if (is_pair) {
			old->fate = IMPORT_MATCHED;
			old->uid = sides->rows[sides->news[n + i].index].uid;
			sides->olds[o + i].is_done = sides->news[n + i].is_done = true;
		} else if (is_last) {
			old->fate = IMPORT_AMBIGUOUS;
		}
	}
}

/* Walks both sides, sorted alike, side by side. */
static void pair(struct sides *sides,
		 int (*compare)(const struct candidate *, const struct candidate *), bool is_last)
{
	size_t o = 0, n = 0;

	while (o < sides->old_count && n < sides->new_count) {
		int order = compare(&sides->olds[o], &sides->news[n]);
		size_t olds =
			order <= 0 ? group(sides->olds + o, sides->old_count - o, compare) : 0;
		size_t news =
			order >= 0 ? group(sides->news + n, sides->new_count - n, compare) : 0;
		if (order == 0)
			settle(sides, o, olds, n, news, is_last);
		o += olds;
		n += news;
	}
	drop_done(sides->olds, &sides->old_count);
	drop_done(sides->news, &sides->new_count);
}

static int by_number(const void *a_, const void *b_)
{
	const uint64_t *a = a_, *b = b_;

	return (*a > *b) - (*a < *b);
}

/* Which rows have a UIDL of the old side, and so are nobody else's. Owned, one a row. */
static bool *find_taken(const struct import_list *list, const struct import_row *rows, size_t count)
{
	uint64_t *uids = mem_alloc((list->count + 1) * sizeof *uids);
	bool *is_taken = mem_alloc(count + 1);
	size_t taken = 0;

	for (size_t i = 0; i < list->count; i++)
		if (list->all[i].uid)
			uids[taken++] = list->all[i].uid;
	qsort(uids, taken, sizeof *uids, by_number);
	for (size_t i = 0; i < count; i++) {
		uint64_t uid = rows[i].uid;
		is_taken[i] = bsearch(&uid, uids, taken, sizeof *uids, by_number) != NULL;
	}
	free(uids);
	return is_taken;
}

static void gather(struct sides *sides, size_t rows, const bool *is_taken)
{
	sides->olds = mem_alloc((sides->list->count + 1) * sizeof *sides->olds);
	sides->news = mem_alloc((rows + 1) * sizeof *sides->news);
	for (size_t i = 0; i < sides->list->count; i++) {
		const struct import_old *old = &sides->list->all[i];
		if (old->fate == IMPORT_NOT_FOUND && *old->hash)
			sides->olds[sides->old_count++] =
				(struct candidate){old->hash, old->octets, i, false};
	}
	for (size_t i = 0; i < rows; i++)
		if (*sides->rows[i].hash && !is_taken[i])
			sides->news[sides->new_count++] = (struct candidate){
				sides->rows[i].hash, sides->rows[i].octets, i, false};
}

void import_match(struct import_list *list, const struct import_row *rows, size_t count)
{
	struct sides sides = {.list = list, .rows = rows};
	bool *is_taken = find_taken(list, rows, count);

	gather(&sides, count, is_taken);
	qsort(sides.olds, sides.old_count, sizeof *sides.olds, by_all);
	qsort(sides.news, sides.new_count, sizeof *sides.news, by_all);
	pair(&sides, by_hash_and_size, false);
	qsort(sides.olds, sides.old_count, sizeof *sides.olds, by_hash_and_index);
	qsort(sides.news, sides.new_count, sizeof *sides.news, by_hash_and_index);
	pair(&sides, by_hash, true);
	free(is_taken);
	free(sides.olds);
	free(sides.news);
}

/* --- by format ---------------------------------------------------------------------------- */

size_t import_explain(struct import_list *list, const struct import_row *rows, size_t count,
		      const struct uidl_format *format, uint64_t uidvalidity, bool is_dry)
{
	struct import_old **sorted = sorted_olds(list);
	bool *is_taken = find_taken(list, rows, count);
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		char uidl[UIDL_MAX + 1];
		struct uidl_parts parts = {uidvalidity, rows[i].uid, "", ""};
		if (is_taken[i] || !uidl_format_write(format, &parts, uidl))
			continue;
		struct import_old *old = find_uidl(sorted, list->count, uidl);
		if (!old || old->fate != IMPORT_NOT_FOUND)
			continue;
		found++;
		if (is_dry)
			continue;
		old->fate = IMPORT_MATCHED;
		old->uid = rows[i].uid;
	}
	free(is_taken);
	free(sorted);
	return found;
}

uint64_t import_guess(const struct import_list *list, const struct uidl_format *format,
		      size_t *count)
{
	uint64_t *values = mem_alloc((list->count + 1) * sizeof *values), best = 0;
	size_t read = 0, run = 0;

	*count = 0;
	for (size_t i = 0; i < list->count; i++) {
		struct uidl_parts parts;
		if (list->all[i].fate == IMPORT_NOT_FOUND &&
		    uidl_format_read(format, list->all[i].uidl, &parts))
			values[read++] = parts.uidvalidity;
	}
	qsort(values, read, sizeof *values, by_number);
	for (size_t i = 0; i < read; i++) {
		run = i && values[i] == values[i - 1] ? run + 1 : 1;
		if (run > *count) {
			*count = run;
			best = values[i];
		}
	}
	free(values);
	return best;
}

/* --- into the ledger ---------------------------------------------------------------------- */

/* What is to be given, sorted by UIDL. */
struct gift {
	const char *uidl;
	size_t row;
};

static int by_gift(const void *a_, const void *b_)
{
	const struct gift *a = a_, *b = b_;

	return strcmp(a->uidl, b->uidl);
}

/* One pass over the rows that keep theirs: a gift that one of them has is taken back. Then its row
 * keeps its own, which may be another's gift: there is another pass. */
static bool take_back(const struct ledger *ledger, const char *tag, const struct gift *gifts,
		      size_t count, bool *is_given)
{
	bool is_again = false;

	for (size_t i = 0; i < ledger->count; i++) {
		char uidl[UIDL_MAX + 1];
		struct gift key = {uidl, 0};
		if (is_given[i])
			continue;
		ledger_uidl(ledger, &ledger->rows[i], tag, uidl);
		const struct gift *gift = bsearch(&key, gifts, count, sizeof *gifts, by_gift);
		if (!gift || !is_given[gift->row])
			continue;
		is_given[gift->row] = false;
		is_again = true;
	}
	return is_again;
}

/* Whether a UIDL is of the default form with that tag: it is, or will be, of the message with that
 * UID, and nobody else's. */
static bool is_default(const char *uidl, const char *tag)
{
	size_t len = strlen(tag);

	return strncmp(uidl, tag, len) == 0 && uidl[len] == '.';
}

struct err import_apply(const struct import_list *list, struct ledger *ledger, const char *tag,
			size_t *left_out)
{
	struct gift *gifts = mem_alloc((list->count + 1) * sizeof *gifts);
	bool *is_given = mem_alloc(ledger->count + 1), is_done = true;
	size_t count = 0;

	*left_out = 0;
	for (size_t i = 0; i < list->count; i++) {
		const struct import_old *old = &list->all[i];
		struct ledger_row *row =
			old->fate == IMPORT_MATCHED ? ledger_find(ledger, old->uid) : NULL;
		bool is_fit = row && !is_default(old->uidl, tag);
		*left_out += old->fate == IMPORT_MATCHED && !is_fit;
		if (is_fit) {
			gifts[count++] = (struct gift){old->uidl, (size_t)(row - ledger->rows)};
			is_given[row - ledger->rows] = true;
		}
	}
	qsort(gifts, count, sizeof *gifts, by_gift);
	while (take_back(ledger, tag, gifts, count, is_given))
		;
	for (size_t i = 0; is_done && i < count; i++) {
		*left_out += !is_given[gifts[i].row];
		if (is_given[gifts[i].row])
			is_done =
				ledger_set_name(ledger, &ledger->rows[gifts[i].row], gifts[i].uidl);
	}
	free(gifts);
	free(is_given);
	return is_done ? OK : ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
}
