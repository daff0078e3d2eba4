/* SPDX-License-Identifier: MIT */
/* imap_check_fetch.c - the doorman's grammar of FETCH replies.
 *
 * What the items tell is gathered in `item` and told when the reply has ended; libetpan hears of a
 * body alone, and of a reply without one nothing. A literal may stand in any item, so the reading
 * may pause at any place where a literal may begin: `item` and `depth` are all that it must
 * remember then.
 */
#include "upstream/imap_check.h"

#include <errno.h>

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static enum check_next skip_literal(struct check *check, uint64_t octets)
{
	if (octets > WIRE_LITERAL)
		return check_refuse(check, "a literal that was not asked for is too long");
	check->literal = octets;
	return CHECK_SKIP;
}

/* Reads on until the parentheses that are open are closed. */
static enum check_next skip_list(struct check *check, struct scan *scan)
{
	struct scan quoted;
	uint64_t octets;

	while (check->depth) {
		if (scan->at == scan->end)
			return check_refuse(check, "a list has no end");
		switch (*scan->at) {
		case '(':
			if (++check->depth > WIRE_DEPTH)
				return check_refuse(check, "lists are nested too deeply");
			scan->at++;
			break;
		case ')':
			check->depth--;
			scan->at++;
			break;
		case '"':
			if (!scan_quoted(scan, &quoted))
				return check_refuse(check, "a quoted string has no end");
			break;
		case '~':
		case '{':
			if (scan_literal(scan, &octets))
				return skip_literal(check, octets);
			scan->at++;
			break;
		default:
			scan->at++;
		}
	}
	return CHECK_LINE;
}

static enum check_next skip_value(struct check *check, struct scan *scan)
{
	struct scan quoted;
	uint64_t octets;

	if (scan_char(scan, '(')) {
		check->depth = 1;
		return skip_list(check, scan);
	}
	if (scan->at < scan->end && *scan->at == '"') {
		if (!scan_quoted(scan, &quoted))
			return check_refuse(check, "a quoted string has no end");
		return CHECK_LINE;
	}
	if (scan_literal(scan, &octets))
		return skip_literal(check, octets);
	scan_atom(scan);
	return CHECK_LINE;
}

static enum check_next fetch_uid(struct check *check, struct scan *scan)
{
	struct scan value = scan_atom(scan);
	uint32_t uid;

	if (!scan_number(value, &uid) || !uid)
		return check_refuse(check, "a UID is no number from 1 to 4294967295");
	check->item.has_uid = true;
	check->item.uid = uid;
	return CHECK_LINE;
}

static enum check_next fetch_size(struct check *check, struct scan *scan)
{
	struct scan before = *scan, value = scan_atom(scan);
	uint32_t size;

	bool is_number = scan_number(value, &size);
	check->item.has_octets = is_number && size;
	check->item.octets = is_number ? size : 0;
	if (is_number)
		return CHECK_LINE;
	if (!scan_len(&value))
		return skip_value(check, scan);
	/* The name of the next item is no value: this one is missing (N-14). */
	if (is_letter(*value.at) && !scan_is(value, "NIL"))
		*scan = before;
	return CHECK_LINE;
}

static enum check_next fetch_flags(struct check *check, struct scan *scan)
{
	static const char *const deleted[] = {"\\Deleted", NULL};
	size_t before = buf_len(&check->out);

	if (scan->at == scan->end || *scan->at != '(')
		return skip_value(check, scan);
	int count = check_flags(check, scan, deleted);
	check_take_back(check, before);
	if (count < 0)
		return check_refuse(check, "a list of flags has no end");
	check->item.has_flags = true;
	check->item.is_deleted = count > 0;
	return CHECK_LINE;
}

/* A second body would be kept by libetpan beside the first, so one is all that a command gets. */
static void begin_body(struct check *check)
{
	check->body_max = 0;
	check->item.has_body = true;
	check->item.is_nil = false;
	check_put(check, "* ", 2);
	check_put_number(check, check->item.number);
	check_put(check, " FETCH (BODY[]", 14);
	if (check->body.has_origin) {
		check_put(check, "<", 1);
		check_put_number(check, check->body.origin);
		check_put(check, ">", 1);
	}
	check_put(check, " {", 2);
	check_put_number(check, check->body.octets);
	check_put(check, "}\r\n", 3);
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

static enum check_next fetch_body(struct check *check, struct scan *scan)
{
	struct scan value;
	uint64_t octets;

	if (scan->at < scan->end && *scan->at == '"') {
		if (!scan_quoted(scan, &value))
			return check_refuse(check, "a quoted string has no end");
		if (!check->body_max)
			return check_refuse(check, "a message came that was not asked for");
		return quoted_body(check, value);
	}
	if (scan_literal(scan, &octets)) {
		if (!check->body_max)
			return check_refuse(check, "a message came that was not asked for");
		if (octets > check->body_max) {
			check->err = ERR(ERR_POLICY, EFBIG, "the message is too large");
			return CHECK_DEAD;
		}
		check->body.octets = check->literal = octets;
		begin_body(check);
		return CHECK_PASS;
	}
	if (!scan_is(scan_atom(scan), "NIL"))
		return check_refuse(check, "a message is no string");
	if (!check->item.has_body)
		check->item.has_body = check->item.is_nil = true;
	return CHECK_LINE;
}

/* What is between "[" and "]", and the origin behind it. */
static bool scan_section(struct scan *scan, struct scan *section, struct scan *origin)
{
	struct scan quoted;

	section->at = scan->at;
	while (scan->at < scan->end && *scan->at != ']')
		if (*scan->at == '"') {
			if (!scan_quoted(scan, &quoted))
				return false;
		} else {
			scan->at++;
		}
	section->end = scan->at;
	if (!scan_char(scan, ']'))
		return false;
	*origin = (struct scan){scan->at, scan->at};
	if (scan_char(scan, '<')) {
		origin->at = scan->at;
		while (scan->at < scan->end && *scan->at != '>')
			scan->at++;
		origin->end = scan->at;
		return scan_char(scan, '>');
	}
	return true;
}

/* BODY[, BINARY[ and whatever else has a section. `scan` stands behind the bracket. */
static enum check_next fetch_section(struct check *check, struct scan *scan, struct scan name)
{
	struct scan section, origin;
	uint32_t number;

	if (!scan_section(scan, &section, &origin))
		return check_refuse(check, "a section has no end");
	bool has_origin = origin.at != section.end + 1;
	scan_blanks(scan);
	if (!scan_is(name, "BODY") || scan_len(&section))
		return skip_value(check, scan);
	check->body.has_origin = has_origin;
	check->body.origin = 0;
	if (has_origin) {
		if (!scan_number(origin, &number))
			return check_refuse(check, "an origin is no number");
		check->body.origin = number;
	}
	return fetch_body(check, scan);
}

static struct scan scan_item_name(struct scan *scan)
{
	struct scan name = *scan;

	while (scan->at < scan->end) {
		char c = *scan->at;
		if (!is_letter(c) && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_')
			break;
		scan->at++;
	}
	name.end = scan->at;
	return name;
}

static enum check_next fetch_item(struct check *check, struct scan *scan)
{
	struct scan name = scan_item_name(scan);

	if (!scan_len(&name) || !is_letter(*name.at))
		return check_refuse(check, "a FETCH item has no name");
	if (scan_char(scan, '['))
		return fetch_section(check, scan, name);
	scan_blanks(scan);
	if (scan_is(name, "UID"))
		return fetch_uid(check, scan);
	if (scan_is(name, "RFC822.SIZE"))
		return fetch_size(check, scan);
	if (scan_is(name, "FLAGS"))
		return fetch_flags(check, scan);
	if (scan_is(name, "RFC822")) {
		check->body.has_origin = false;
		check->body.origin = 0;
		return fetch_body(check, scan);
	}
	return skip_value(check, scan);
}

enum check_next check_fetch_on(struct check *check, struct scan *scan)
{
	enum check_next next = skip_list(check, scan);

	while (next == CHECK_LINE) {
		scan_blanks(scan);
		if (scan->at == scan->end)
			return check_refuse(check, "a FETCH reply has no end");
		if (scan_char(scan, ')'))
			break;
		next = fetch_item(check, scan);
	}
	if (next != CHECK_LINE)
		return next;
	/* Domino closes more than it opened (N-14). */
	while (scan->at < scan->end && (*scan->at == ')' || *scan->at == ' '))
		scan->at++;
	if (scan->at < scan->end)
		return check_refuse(check, "something follows a FETCH reply");
	if (check->item.has_body && !check->item.is_nil)
		check_put(check, ")\r\n", 3);
	check->reply = REPLY_NONE;
	if (check->on_item)
		check->on_item(check->item_arg, &check->item);
	return CHECK_LINE;
}

enum check_next check_fetch(struct check *check, struct scan *scan, uint32_t number)
{
	scan_blanks(scan);
	if (!scan_char(scan, '('))
		return check_refuse(check, "a FETCH reply without a list");
	check->reply = REPLY_FETCH;
	check->depth = 0;
	check->item = (struct wire_item){.number = number};
	return check_fetch_on(check, scan);
}
