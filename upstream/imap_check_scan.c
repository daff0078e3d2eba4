/* SPDX-License-Identifier: MIT */
/* imap_check_scan.c - the words of the doorman's grammar: read from a fragment, put for libetpan. */
#include "upstream/imap_check.h"

#include <errno.h>
#include <string.h>

enum {
	CAPABILITIES = 1000,      /* most of them in a line: each costs libetpan some 100 octets */
	KEPT_CAPABILITIES = 8192, /* octets of them that are kept for us (H-12) */
};

struct scan scan_atom(struct scan *scan)
{
	struct scan atom = *scan;

	while (scan->at < scan->end && *scan->at != ' ' && *scan->at != '(' && *scan->at != ')' &&
	       *scan->at != '"')
		scan->at++;
	atom.end = scan->at;
	return atom;
}

bool scan_quoted(struct scan *scan, struct scan *text)
{
	text->at = ++scan->at;
	for (; scan->at < scan->end; scan->at++) {
		if (*scan->at == '"') {
			text->end = scan->at++;
			return true;
		}
		if (*scan->at == '\\' && scan->at + 1 < scan->end)
			scan->at++;
	}
	return false;
}

bool scan_literal(struct scan *scan, uint64_t *octets)
{
	struct scan here = *scan;

	scan_char(&here, '~');
	if (!scan_char(&here, '{'))
		return false;
	struct scan digits = here;
	while (here.at < here.end && *here.at >= '0' && *here.at <= '9')
		here.at++;
	digits.end = here.at;
	scan_char(&here, '+');
	if (!scan_len(&digits) || !scan_char(&here, '}'))
		return false;
	scan_blanks(&here);
	if (here.at < here.end)
		return false;
	if (!text_number(digits.at, scan_len(&digits), UINT64_MAX, octets))
		*octets = UINT64_MAX; /* beyond any limit */
	*scan = here;
	return true;
}

bool scan_number64(struct scan text, uint64_t *number)
{
	return text_number(text.at, scan_len(&text), INT64_MAX, number);
}

bool scan_number(struct scan text, uint32_t *number)
{
	uint64_t value;

	if (!text_number(text.at, scan_len(&text), UINT32_MAX, &value))
		return false;
	*number = (uint32_t)value;
	return true;
}

void scan_keep(char *into, size_t size, struct scan text)
{
	size_t len = scan_len(&text) < size ? scan_len(&text) : size - 1;

	memcpy(into, text.at, len);
	into[len] = '\0';
}

void check_put_slowly(struct check *check, const char *octets, size_t len)
{
	if (!buf_put(&check->out, octets, len) && !check->err.kind)
		check->err = ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
}

void check_put_text(struct check *check, const char *text)
{
	check_put(check, text, strlen(text));
}

void check_put_scan(struct check *check, struct scan scan)
{
	check_put(check, scan.at, scan_len(&scan));
}

void check_put_number(struct check *check, uint64_t number)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	check_put(check, digits + at, sizeof digits - at);
}

void check_take_back(struct check *check, size_t len)
{
	check->out.to = check->out.from + len;
}

enum check_next check_refuse(struct check *check, const char *rule)
{
	check->err = (struct err){ERR_UPSTREAM, EPROTO, rule};
	return CHECK_DEAD;
}

int check_flags(struct check *check, struct scan *scan, const char *const *known)
{
	const char *between = "";
	struct scan quoted;
	int good = 0;

	if (!scan_char(scan, '('))
		return -1;
	check_put(check, "(", 1);
	for (scan_blanks(scan); !scan_char(scan, ')'); scan_blanks(scan)) {
		if (scan->at == scan->end || *scan->at == '(')
			return -1;
		if (*scan->at == '"') { /* some server quotes its keywords */
			if (!scan_quoted(scan, &quoted))
				return -1;
			continue;
		}
		struct scan flag = scan_atom(scan);
		for (size_t i = 0; *flag.at == '\\' && known[i]; i++) {
			if (!scan_is(flag, known[i]))
				continue;
			check_put_text(check, between);
			check_put_text(check, known[i]);
			between = " ";
			good++;
		}
	}
	check_put(check, ")", 1);
	return good;
}

bool check_capabilities(struct check *check, struct scan list)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-+_.=/:";
	size_t before = buf_len(&check->out);
	unsigned count = 0;

	while (list.at < list.end && count < CAPABILITIES) {
		struct scan word = list;
		while (list.at < list.end && *list.at != ' ')
			list.at++;
		word.end = list.at;
		scan_blanks(&list);
		bool is_plain = scan_len(&word) && !scan_is(word, "AUTH=");
		for (const char *at = word.at; is_plain && at < word.end; at++)
			is_plain = *at && strchr(plain, *at);
		if (!is_plain)
			continue;
		check_put(check, " ", 1);
		check_put_scan(check, word);
		count++;
	}
	size_t len = buf_len(&check->out) - before;
	if (count && len)
		check_set_words(&check->capabilities, buf_data(&check->out) + before + 1, len - 1,
				KEPT_CAPABILITIES);
	return count;
}
