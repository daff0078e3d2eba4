/* SPDX-License-Identifier: MIT */
/* imap_check_found.c - the doorman's grammar of replies that are sets of numbers: SEARCH, ESEARCH,
 * VANISHED. */
#include "upstream/imap_check.h"

static void found(const struct check *check, uint32_t low, uint32_t high)
{
	if (check->on_found)
		check->on_found(check->found_arg, low, high);
}

enum check_next check_search(struct check *check, struct scan list)
{
	struct scan again;
	uint32_t number;

	scan_blanks(&list);
	again = list;
	/* What may follow in parentheses is a MODSEQ (RFC 7162). */
	for (; list.at < list.end && *list.at != '('; scan_blanks(&list)) {
		struct scan word = scan_atom(&list);
		if (!scan_number(word, &number) || !number)
			return check_refuse(check, "a SEARCH reply holds no number");
	}
	for (; again.at < list.at; scan_blanks(&again))
		if (scan_number(scan_atom(&again), &number))
			found(check, number, number);
	check->has_found = true;
	return CHECK_LINE;
}

/* Takes the next range off a set such as 1,5:7; false: there is none, or it is broken. */
static bool scan_range(struct scan *set, uint32_t *low, uint32_t *high)
{
	const char *end = memchr(set->at, ',', scan_len(set));
	struct scan first = {set->at, end ? end : set->end}, last;
	const char *colon = memchr(first.at, ':', scan_len(&first));

	last = (struct scan){colon ? colon + 1 : first.at, first.end};
	if (colon)
		first.end = colon;
	if (!scan_number(first, low) || !scan_number(last, high) || !*low || !*high)
		return false;
	if (*low > *high) {
		uint32_t swap = *low;
		*low = *high;
		*high = swap;
	}
	set->at = end ? end + 1 : set->end;
	return !end || set->at < set->end;
}

/* Whether (TAG "x") names the command under way. */
static bool is_ours(const struct check *check, struct scan *scan)
{
	struct scan tag;

	if (!scan_char(scan, '('))
		return true; /* it may be missing (RFC 4731) */
	bool is_tag = scan_is(scan_atom(scan), "TAG");
	scan_blanks(scan);
	if (scan->at < scan->end && *scan->at == '"') {
		if (!scan_quoted(scan, &tag))
			return false;
	} else {
		tag = scan_atom(scan);
	}
	scan_blanks(scan);
	return is_tag && scan_char(scan, ')') && scan_len(&tag) == strlen(check->tag) &&
	       !memcmp(tag.at, check->tag, scan_len(&tag));
}

/* Nothing is told of a set that is broken. */
static bool tell_all(const struct check *check, struct scan set)
{
	struct scan again = set;
	uint32_t low, high;

	if (!scan_len(&set))
		return false;
	while (scan_len(&set))
		if (!scan_range(&set, &low, &high))
			return false;
	while (scan_len(&again) && scan_range(&again, &low, &high))
		found(check, low, high);
	return true;
}

/* Takes a value off: an atom, or a list such as PARTIAL and RELEVANCY have, told as nothing. */
static bool scan_value(struct scan *scan, struct scan *value)
{
	unsigned depth = 0;

	scan_blanks(scan);
	*value = scan_atom(scan);
	if (scan_len(value) || scan->at == scan->end || *scan->at != '(')
		return scan_len(value) > 0;
	for (; scan->at < scan->end; scan->at++) {
		depth += *scan->at == '(';
		if (*scan->at == ')' && !--depth)
			return scan_char(scan, ')');
	}
	return false;
}

bool check_esearch(struct check *check, struct scan scan)
{
	bool has_all = false, has_more = false, is_good = true;
	struct scan value;
	uint32_t number;

	if (!is_ours(check, &scan))
		return true;
	for (scan_blanks(&scan); is_good && scan_len(&scan); scan_blanks(&scan)) {
		struct scan word = scan_atom(&scan);
		if (scan_is(word, "UID"))
			continue;
		is_good = scan_len(&word) && scan_value(&scan, &value);
		if (is_good && scan_is(word, "ALL")) {
			if (!tell_all(check, value)) {
				check_refuse(check, "an ESEARCH reply holds no set");
				return false;
			}
			has_all = true;
		} else if (is_good && !scan_is(word, "MODSEQ")) {
			bool is_none =
				scan_is(word, "COUNT") && scan_number(value, &number) && !number;
			has_more |= !is_none;
		}
	}
	/* One that tells only how many there are has not told which. */
	check->has_found |= is_good && (has_all || !has_more);
	return true;
}

void check_vanished(struct check *check, struct scan scan)
{
	static const char earlier[] = "(EARLIER)";
	size_t len = sizeof earlier - 1;
	uint32_t low, high;

	check->has_vanished = true;
	if (scan_len(&scan) >= len && text_same_n(scan.at, len, earlier, len))
		return; /* gone before we came: never among those counted */
	struct scan set = scan_atom(&scan), again = set;
	uint64_t gone = 0;
	bool is_good = scan_len(&set) > 0;
	while (is_good && scan_len(&set)) {
		is_good = scan_range(&set, &low, &high);
		if (is_good)
			gone += (uint64_t)high - low + 1;
	}
	if (!is_good) {
		check_odd(check, ODD_VANISHED);
		return;
	}
	while (check->on_gone && scan_len(&again) && scan_range(&again, &low, &high))
		check->on_gone(check->gone_arg, true, low, high);
	check->expunges += (uint32_t)(gone < UINT32_MAX ? gone : UINT32_MAX);
	check->exists -= (uint32_t)(gone < check->exists ? gone : check->exists);
}
