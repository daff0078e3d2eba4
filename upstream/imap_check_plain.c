/* SPDX-License-Identifier: MIT */
/* imap_check_plain.c - the doorman's short way for the lines that a listing is made of:
 *
 *	* 12 FETCH (UID 3456 RFC822.SIZE 7890 FLAGS (\Seen))
 *
 * with these three items in any order, each once or not at all, and single blanks between. It is read in
 * one pass, by comparing octets; a line that is anything else, if only in its case, is left to the
 * general grammar (imap_check_fetch.c), which understands each of these lines in the same way. A listing
 * of 100,000 messages is as many such lines. */
#include "upstream/imap_check.h"

enum { SAFE_DIGITS = 18 /* any so many are below 2^63 */ };

static bool take(struct scan *scan, const char *word, size_t len)
{
	if (scan_len(scan) < len || memcmp(scan->at, word, len) != 0)
		return false;
	scan->at += len;
	return true;
}

#define TAKE(scan, word) take(scan, word, sizeof(word) - 1)

/* A number from 1 to `max`. */
static bool take_number(struct scan *scan, uint64_t max, uint64_t *out)
{
	const char *begin = scan->at;
	uint64_t number = 0;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9' &&
	       scan->at - begin <= SAFE_DIGITS)
		number = number * 10 + (uint64_t)(*scan->at++ - '0');
	*out = number;
	return number && number <= max && scan->at - begin <= SAFE_DIGITS;
}

/* Flags up to the closing parenthesis. */
static bool take_flags(struct scan *scan, struct wire_item *item)
{
	bool is_deleted = false, is_seen = false;

	if (item->has_flags)
		return false;
	while (scan->at < scan->end && *scan->at != ')') {
		struct scan flag = scan_atom(scan);
		if (!scan_len(&flag) && *scan->at != ' ')
			return false;
		if (scan_len(&flag) && *flag.at == '\\') {
			is_deleted |= scan_is(flag, "\\Deleted");
			is_seen |= scan_is(flag, "\\Seen");
		}
		scan_blanks(scan);
	}
	item->has_flags = true;
	item->is_deleted = is_deleted;
	item->is_seen = is_seen;
	return scan_char(scan, ')');
}

static bool take_item(struct scan *scan, struct wire_item *item)
{
	uint64_t number;

	if (TAKE(scan, "UID ")) {
		if (item->has_uid || !take_number(scan, UINT32_MAX, &number))
			return false;
		item->has_uid = true;
		item->uid = (uint32_t)number;
		return true;
	}
	if (TAKE(scan, "RFC822.SIZE ")) {
		if (item->has_octets || !take_number(scan, INT64_MAX, &item->octets))
			return false;
		item->has_octets = true;
		return true;
	}
	return TAKE(scan, "FLAGS (") && take_flags(scan, item);
}

/* The item is large, for its texts: what is to be empty is made empty one by one. */
static void begin_item(struct wire_item *item, uint32_t number)
{
	item->number = number;
	item->uid = 0;
	item->octets = 0;
	item->has_uid = item->has_octets = false;
	item->has_flags = item->is_deleted = item->is_seen = false;
	item->has_body = item->is_nil = false;
	item->email_id[0] = item->gm_msgid[0] = '\0';
	item->header = NULL;
	item->header_len = 0;
}

bool check_plain(struct check *check, struct scan scan)
{
	struct wire_item *item = &check->item;
	uint64_t number;

	if (!TAKE(&scan, "* ") || !take_number(&scan, UINT32_MAX, &number) ||
	    !TAKE(&scan, " FETCH ("))
		return false;
	begin_item(item, (uint32_t)number);
	do {
		if (!take_item(&scan, item))
			return false;
	} while (scan_char(&scan, ' '));
	if (!scan_char(&scan, ')') || scan.at < scan.end)
		return false;
	check_news(check);
	if (check->on_item)
		check->on_item(check->item_arg, item);
	return true;
}
