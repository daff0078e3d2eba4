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

enum check_next check_skip(struct check *check, uint64_t octets)
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
				return check_skip(check, octets);
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
		return check_skip(check, octets);
	scan_atom(scan);
	return CHECK_LINE;
}

static enum check_next fetch_uid(struct check *check, struct scan *scan)
{
	struct scan value = *scan;
	uint32_t uid;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	value.end = scan->at;
	bool is_closed = scan->at == scan->end || *scan->at == ' ' || *scan->at == ')';
	/* "UID 7MODSEQ (5)": Zimbra (N-11). */
	if (!is_closed && is_letter(*scan->at))
		check_odd(check, ODD_UID);
	else if (!is_closed)
		return check_refuse(check, "a UID is no number from 1 to 4294967295");
	if (!scan_number(value, &uid) || !uid)
		return check_refuse(check, "a UID is no number from 1 to 4294967295");
	if (!check->item.number && uid != check->item.uid)
		return check_refuse(check, "a UIDFETCH reply has two UIDs");
	check->item.has_uid = true;
	check->item.uid = uid;
	return CHECK_LINE;
}

static enum check_next fetch_size(struct check *check, struct scan *scan)
{
	struct scan before = *scan, value = scan_atom(scan);
	uint64_t size;

	bool is_number = scan_number64(value, &size);
	check->item.has_octets = is_number && size;
	check->item.octets = is_number ? size : 0;
	if (!check->item.has_octets)
		check_odd(check, ODD_SIZE);
	if (is_number)
		return CHECK_LINE;
	if (!scan_len(&value))
		return skip_value(check, scan);
	/* The name of the next item is no value: this one is missing (N-14). */
	if (is_letter(*value.at) && !scan_is(value, "NIL"))
		*scan = before;
	return CHECK_LINE;
}

/* (M1f2) or NIL; what is none of them counts as not told. */
static enum check_next fetch_email_id(struct check *check, struct scan *scan)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_";
	struct scan here = *scan;

	check->item.email_id[0] = '\0';
	if (!scan_char(&here, '('))
		return skip_value(check, scan);
	scan_blanks(&here);
	struct scan id = scan_atom(&here);
	scan_blanks(&here);
	bool is_good = scan_len(&id) && scan_len(&id) < sizeof check->item.email_id &&
		       here.at < here.end && *here.at == ')';
	for (const char *at = id.at; is_good && at < id.end; at++)
		is_good = *at && strchr(plain, *at);
	if (is_good)
		scan_keep(check->item.email_id, sizeof check->item.email_id, id);
	return skip_value(check, scan);
}

static enum check_next fetch_gm_msgid(struct check *check, struct scan *scan)
{
	struct scan here = *scan, id = scan_atom(&here);
	uint64_t number;

	check->item.gm_msgid[0] = '\0';
	if (text_number(id.at, scan_len(&id), UINT64_MAX, &number) && number &&
	    scan_len(&id) < sizeof check->item.gm_msgid)
		scan_keep(check->item.gm_msgid, sizeof check->item.gm_msgid, id);
	return skip_value(check, scan);
}

static enum check_next fetch_flags(struct check *check, struct scan *scan)
{
	static const char *const deleted[] = {"\\Deleted", NULL};
	static const char *const seen[] = {"\\Seen", NULL};
	struct scan again = *scan;
	size_t before = buf_len(&check->out);

	if (scan->at == scan->end || *scan->at != '(')
		return skip_value(check, scan);
	int count = check_flags(check, scan, deleted);
	check_take_back(check, before);
	if (count < 0)
		return check_refuse(check, "a list of flags has no end");
	check->item.is_seen = check_flags(check, &again, seen) > 0;
	check_take_back(check, before);
	check->item.has_flags = true;
	check->item.is_deleted = count > 0;
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

/* HEADER, HEADER.FIELDS (...). */
static bool is_header_section(struct scan section)
{
	static const char fields[] = "HEADER.FIELDS";
	size_t len = sizeof fields - 1;

	if (scan_len(&section) > len && (section.at[len] == ' ' || section.at[len] == '('))
		section.end = section.at + len;
	return scan_is(section, "HEADER") || scan_is(section, fields);
}

/* BODY[, BINARY[ and whatever else has a section. `scan` stands behind the bracket. */
static enum check_next fetch_section(struct check *check, struct scan *scan, struct scan name)
{
	struct scan section, origin;
	uint64_t from = 0;

	if (!scan_section(scan, &section, &origin))
		return check_refuse(check, "a section has no end");
	bool has_origin = origin.at != section.end + 1;
	bool is_whole = scan_is(name, "BODY") && !scan_len(&section);
	scan_blanks(scan);
	if (is_whole && has_origin && !scan_number64(origin, &from))
		return check_refuse(check, "an origin is no number");
	if (is_whole) {
		check->body.has_origin = has_origin;
		check->body.origin = from;
		return check_body(check, scan);
	}
	if (scan_is(name, "BODY") && is_header_section(section) &&
	    (!has_origin || (scan_number64(origin, &from) && !from)))
		return check_header(check, scan);
	return skip_value(check, scan);
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
		return check_body(check, scan);
	}
	if (scan_is(name, "RFC822.HEADER"))
		return check_header(check, scan);
	if (scan_is(name, "EMAILID"))
		return fetch_email_id(check, scan);
	if (scan_is(name, "X-GM-MSGID"))
		return fetch_gm_msgid(check, scan);
	return skip_value(check, scan);
}

static enum check_next end_item(struct check *check)
{
	if (check->item.has_body && !check->item.is_nil)
		check_put(check, ")\r\n", 3);
	check->reply = REPLY_NONE;
	if (check->has_header) {
		const char *header = buf_data(&check->header);
		check->item.header = header ? header : "";
		check->item.header_len = buf_len(&check->header);
	}
	check_news(check);
	if (check->on_item)
		check->on_item(check->item_arg, &check->item);
	/* libetpan has not seen its octets yet, and the next body shall not begin before. */
	return check->is_quoted ? CHECK_TURN : CHECK_LINE;
}

/* Domino puts parentheses around items, and closes more than it opened (N-14). */
static enum check_next open_more(struct check *check, struct scan *scan)
{
	if (++check->open > WIRE_DEPTH)
		return check_refuse(check, "lists are nested too deeply");
	check_odd(check, ODD_OPENING);
	scan->at++;
	return CHECK_LINE;
}

enum check_next check_fetch_on(struct check *check, struct scan *scan)
{
	/* Else its length was wrong, and who knows what is missing. */
	if (check->is_after && scan->at < scan->end && *scan->at != ' ' && *scan->at != ')')
		return check_refuse(check, "a literal does not end where it should");
	enum check_next next = skip_list(check, scan);

	while (next == CHECK_LINE && check->open) {
		scan_blanks(scan);
		if (scan->at == scan->end)
			return check_refuse(check, "a FETCH reply has no end");
		if (scan_char(scan, ')'))
			check->open--;
		else if (*scan->at == '(')
			next = open_more(check, scan);
		else
			next = fetch_item(check, scan);
	}
	check->is_after = next == CHECK_PASS || next == CHECK_KEEP;
	if (next != CHECK_LINE)
		return next;
	if (scan->at < scan->end && *scan->at == ')')
		check_odd(check, ODD_CLOSING);
	while (scan->at < scan->end && (*scan->at == ')' || *scan->at == ' '))
		scan->at++;
	if (scan->at < scan->end)
		return check_refuse(check, "something follows a FETCH reply");
	return end_item(check);
}

enum check_next check_fetch(struct check *check, struct scan *scan, uint32_t number, bool is_uid)
{
	scan_blanks(scan);
	if (!scan_char(scan, '('))
		return check_refuse(check, "a FETCH reply without a list");
	check->reply = REPLY_FETCH;
	check->depth = 0;
	check->open = 1;
	check->is_after = false;
	check->has_header = check->is_quoted = false;
	check->item = (struct wire_item){.number = is_uid ? 0 : number};
	if (is_uid) {
		check->item.has_uid = true;
		check->item.uid = number;
	}
	return check_fetch_on(check, scan);
}
