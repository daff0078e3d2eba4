/* SPDX-License-Identifier: MIT */
/* imap_name.c - how names, strings and sets of UIDs are written for an IMAP server. */
#include "upstream/imap_name.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

bool imap_is_quotable(const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++)
		if (*at < 0x20 || *at > 0x7E)
			return false;
	return true;
}

bool imap_has_line_end(const char *text)
{
	return strpbrk(text, "\r\n") != NULL;
}

/* Reads one character, strictly: no overlong form, no surrogate, nothing above U+10FFFF. Returns
 * how many octets it took, 0 if it is none. */
static size_t utf8_get(const unsigned char *at, uint32_t *out)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = at[0] < 0x80   ? 1
		     : at[0] < 0xC0 ? 0
		     : at[0] < 0xE0 ? 2
		     : at[0] < 0xF0 ? 3
		     : at[0] < 0xF8 ? 4
				    : 0;

	if (len < 2) {
		*out = at[0];
		return len;
	}
	uint32_t value = at[0] & (0x7Fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xC0) != 0x80)
			return 0;
		value = value << 6 | (at[i] & 0x3Fu);
	}
	if (value < least[len] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
		return 0;
	*out = value;
	return len;
}

/* Takes one character of a folder's name; 0: it has no place there. */
static size_t name_get(const unsigned char *at, uint32_t *out)
{
	*out = 0;
	size_t len = utf8_get(at, out);
	bool is_control = *out < 0x20 || *out == 0x7F || (*out >= 0x80 && *out < 0xA0);

	return is_control ? 0 : len;
}

bool imap_is_name(const char *name)
{
	uint32_t value;
	size_t len = 1;

	for (; *name && len; name += len)
		len = name_get((const unsigned char *)name, &value);
	return len;
}

static bool quote(struct buf *out, const char *text)
{
	if (!buf_put(out, "\"", 1))
		return false;
	for (; *text; text++) {
		if ((*text == '"' || *text == '\\') && !buf_put(out, "\\", 1))
			return false;
		if (!buf_put(out, text, 1))
			return false;
	}
	return buf_put(out, "\"", 1);
}

bool imap_quote(struct buf *out, const char *text)
{
	return imap_is_quotable(text) && quote(out, text);
}

bool imap_quote_name(struct buf *out, const char *name)
{
	return imap_is_name(name) && quote(out, name);
}

bool imap_name_put(struct buf *out, const char *name, char delimiter)
{
	if (!imap_is_name(name))
		return false;
	for (; *name; name++)
		if (!buf_put(out, *name == '/' && delimiter ? &delimiter : name, 1))
			return false;
	return true;
}

/* The run of base64 inside a name: bits that wait for six of them to be there. */
struct run {
	bool is_open;
	uint32_t bits;
	unsigned count;
};

static bool run_put(struct buf *out, struct run *run, uint32_t unit)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

	if (!run->is_open && !buf_put(out, "&", 1))
		return false;
	run->is_open = true;
	run->bits = run->bits << 16 | unit;
	run->count += 16;
	while (run->count >= 6) {
		run->count -= 6;
		if (!buf_put(out, &digits[run->bits >> run->count & 63], 1))
			return false;
	}
	return true;
}

static bool run_end(struct buf *out, struct run *run)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
	bool is_good = true;

	if (!run->is_open)
		return true;
	if (run->count)
		is_good = buf_put(out, &digits[run->bits << (6 - run->count) & 63], 1);
	*run = (struct run){0};
	return is_good && buf_put(out, "-", 1);
}

/* A character that stands for itself, outside a run. */
static bool put_plain(struct buf *out, char c, char delimiter)
{
	if (c == '&')
		return buf_put(out, "&-", 2);
	if (c == '/' && delimiter)
		return buf_put(out, &delimiter, 1);
	return buf_put(out, &c, 1);
}

bool imap_name_encode(struct buf *out, const char *name, char delimiter)
{
	const unsigned char *at = (const unsigned char *)name;
	struct run run = {0};

	while (*at) {
		uint32_t value;
		size_t len = name_get(at, &value);
		bool is_good = len > 0;
		if (!is_good)
			return false;
		at += len;
		if (value < 0x7F)
			is_good = run_end(out, &run) && put_plain(out, (char)value, delimiter);
		else if (value < 0x10000)
			is_good = run_put(out, &run, value);
		else
			is_good = run_put(out, &run, 0xD800 + ((value - 0x10000) >> 10)) &&
				  run_put(out, &run, 0xDC00 + ((value - 0x10000) & 0x3FF));
		if (!is_good)
			return false;
	}
	return run_end(out, &run);
}

size_t uid_at_or_above(const uint32_t *uids, size_t count, uint32_t uid)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (uids[middle] < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t uid_set_octets(size_t line)
{
	enum { AROUND = 80, LEAST = 21 };
	size_t octets = line > AROUND + LEAST ? line - AROUND : LEAST;

	return octets < UID_SET_OCTETS ? octets : UID_SET_OCTETS;
}

/* How many UIDs from `at` on follow each other without a gap, `most` at most. */
static size_t run_length(const struct uid_set *set, size_t at, size_t most)
{
	size_t len = 1;

	while (len < most && at + len < set->count &&
	       set->uids[at + len] == set->uids[at + len - 1] + 1)
		len++;
	return len;
}

size_t uid_set_next(struct uid_set *set, char *out)
{
	size_t len = 0, count = 0;

	out[0] = '\0';
	while (set->at < set->count && count < set->most) {
		char range[32];
		const char *comma = len ? "," : "";
		size_t run = run_length(set, set->at, set->most - count);
		uint32_t first = set->uids[set->at], last = set->uids[set->at + run - 1];
		int made = run == 1 ? snprintf(range, sizeof range, "%s%u", comma, first)
				    : snprintf(range, sizeof range, "%s%u:%u", comma, first, last);
		assert(made > 0 && (size_t)made < sizeof range);
		if (len + (size_t)made > set->octets)
			break;
		memcpy(out + len, range, (size_t)made + 1);
		len += (size_t)made;
		count += run;
		set->at += run;
	}
	return count;
}
