/* SPDX-License-Identifier: MIT */
/* imap_check_body.c - the doorman's grammar of what a FETCH item may bear: messages and headers.
 *
 * A message is handed to libetpan, in parts that it can count; a header is kept, and told with
 * the rest of its reply.
 */
#include "upstream/imap_check.h"

#include <errno.h>

static void put_part(struct check *check, uint64_t octets)
{
	check_put(check, "* ", 2);
	check_put_number(check, check->item.number ? check->item.number : check->item.uid);
	check_put_text(check, " FETCH (BODY[] {");
	check_put_number(check, octets);
	check_put(check, "}\r\n", 3);
}

uint64_t check_first_part(struct check *check, uint64_t left)
{
	uint64_t octets = left < WIRE_PART ? left : WIRE_PART;

	put_part(check, octets);
	return octets;
}

uint64_t check_next_part(struct check *check, uint64_t left)
{
	check_put(check, ")\r\n", 3);
	check->kept += 2 * WIRE_KEPT_LINE;
	return check_first_part(check, left);
}

/* Whether a body may come now: one in a reply, and as many replies with one as commands. */
static bool may_begin(const struct check *check)
{
	return check->body_max && (!check->item.has_body || check->item.is_nil);
}

/* A second body would be kept by libetpan beside the first, so one is all that a command gets. */
static void begin_body(struct check *check)
{
	check->body_max = 0;
	check->item.has_body = true;
	check->item.is_nil = false;
	check->part = check_first_part(check, check->body.octets);
	check->body.has_uid = check->item.has_uid;
	check->body.uid = check->item.uid;
	if (check->on_body)
		check->on_body(check->arg, &check->body);
}

static enum check_next quoted_body(struct check *check, struct scan text)
{
	check->body.octets = 0;
	for (const char *at = text.at; at < text.end; at++, check->body.octets++)
		if (*at == '\\' && at + 1 < text.end)
			at++;
	begin_body(check);
	for (const char *at = text.at; at < text.end; at++) {
		if (*at == '\\' && at + 1 < text.end)
			at++;
		check_put(check, at, 1);
	}
	return CHECK_LINE;
}

/* What some servers make of a literal: "{5}abcde", without the line break before its octets
 * (Domino); "{-1}" for what they cannot read (free.fr), told as NIL, no octet follows. */
static bool scan_odd_literal(struct check *check, struct scan *scan, uint64_t *octets, bool *is_nil)
{
	struct scan here = *scan;

	scan_char(&here, '~');
	if (!scan_char(&here, '{'))
		return false;
	*is_nil = scan_char(&here, '-');
	struct scan digits = here;
	while (here.at < here.end && *here.at >= '0' && *here.at <= '9')
		here.at++;
	digits.end = here.at;
	if (!scan_len(&digits) || !scan_char(&here, '}'))
		return false;
	*octets = 0;
	if (!*is_nil && !scan_number64(digits, octets))
		return false;
	/* Behind a blank they would begin with it or after it: nobody can tell, if there are any. */
	if (!*is_nil && (!scan_len(&here) || (*octets && *here.at == ' ')))
		return false;
	if (*is_nil)
		scan_blanks(&here);
	if (*is_nil && scan_len(&here))
		return false;
	check_odd(check, *is_nil ? ODD_NO_LENGTH : ODD_NO_BREAK);
	if (!*is_nil)
		check->used = (size_t)(here.at - check->fragment);
	*scan = here;
	return true;
}

static enum check_next literal_body(struct check *check, uint64_t octets)
{
	if (!may_begin(check))
		return check_refuse(check, "a message came that was not asked for");
	if (octets > check->body_max || octets > INT64_MAX) {
		check->err = ERR(ERR_POLICY, EFBIG, "the message is too large");
		return CHECK_DEAD;
	}
	check->body.octets = check->literal = octets;
	begin_body(check);
	return CHECK_PASS;
}

static enum check_next nil_body(struct check *check, enum check_next next)
{
	if (!check->item.has_body)
		check->item.has_body = check->item.is_nil = true;
	check->literal = 0;
	return next;
}

enum check_next check_body(struct check *check, struct scan *scan)
{
	struct scan value;
	uint64_t octets;
	bool is_nil = false;

	if (scan->at < scan->end && *scan->at == '"') {
		if (!scan_quoted(scan, &value))
			return check_refuse(check, "a quoted string has no end");
		if (!may_begin(check))
			return check_refuse(check, "a message came that was not asked for");
		check->is_quoted = true;
		return quoted_body(check, value);
	}
	if (scan_literal(scan, &octets) || scan_odd_literal(check, scan, &octets, &is_nil))
		return is_nil ? nil_body(check, CHECK_SKIP) : literal_body(check, octets);
	if (!scan_is(scan_atom(scan), "NIL"))
		return check_refuse(check, "a message is no string");
	return nil_body(check, CHECK_LINE);
}

void check_keep(struct check *check, const char *octets, size_t len)
{
	size_t room = WIRE_LITERAL - buf_len(&check->header);

	if (len > room)
		len = room;
	if (len && !buf_put(&check->header, octets, len))
		check->err = ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
}

static void keep_quoted(struct check *check, struct scan text)
{
	for (; text.at < text.end; text.at++) {
		if (*text.at == '\\' && text.at + 1 < text.end)
			text.at++;
		check_keep(check, text.at, 1);
	}
}

enum check_next check_header(struct check *check, struct scan *scan)
{
	struct scan value;
	uint64_t octets;
	bool is_nil = false;

	buf_drop(&check->header, buf_len(&check->header));
	check->has_header = false;
	if (scan->at < scan->end && *scan->at == '"') {
		if (!scan_quoted(scan, &value))
			return check_refuse(check, "a quoted string has no end");
		check->has_header = check->on_item != NULL;
		if (check->has_header)
			keep_quoted(check, value);
		return CHECK_LINE;
	}
	if (!scan_literal(scan, &octets) && !scan_odd_literal(check, scan, &octets, &is_nil)) {
		scan_atom(scan); /* NIL */
		return CHECK_LINE;
	}
	if (is_nil || !check->on_item)
		return check_skip(check, octets);
	check->has_header = true;
	check->literal = octets;
	return CHECK_KEEP;
}
