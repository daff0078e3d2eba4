/* SPDX-License-Identifier: MIT */
/* normal.c - the reference for bodies, octet by octet. */
#include "tests/transcript/normal.h"

#include <string.h>

bool normal_put(struct buf *out, const char *message, size_t len)
{
	if (!len)
		return true;
	char *room = buf_room(out, 2 * len + 2), *to = room;
	if (!room)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (message[i] == '\n' && (!i || message[i - 1] != '\r'))
			*to++ = '\r';
		*to++ = message[i];
	}
	if (message[len - 1] != '\n') {
		*to++ = '\r';
		*to++ = '\n';
	}
	buf_added(out, (size_t)(to - room));
	return true;
}

bool normal_top(struct buf *out, const char *message, size_t len, uint64_t lines)
{
	bool in_body = false;
	size_t from = buf_len(out);

	if (!normal_put(out, message, len))
		return false;
	size_t at = from, end = buf_len(out);
	while (at < end && !(in_body && !lines)) {
		const char *line = buf_data(out) + at;
		size_t line_len = (size_t)((const char *)memchr(line, '\n', end - at) - line) + 1;
		if (in_body)
			lines--;
		else
			in_body = line_len == 2;
		at += line_len;
	}
	if (!in_body)
		return buf_put(out, "\r\n", 2);
	out->to = out->from + at;
	return true;
}

size_t normal_reply_len(const char *reply, size_t reply_len)
{
	size_t begin = 0;

	for (size_t i = 0; i < reply_len; i++) {
		if (reply[i] != '\n')
			continue;
		size_t len = i - begin;
		if (reply[begin] == '.' && (len == 1 || (len == 2 && reply[begin + 1] == '\r')))
			return i + 1;
		begin = i + 1;
	}
	return 0;
}

/* How many octets of `reply` agree with the stuffed text and its end; *whole: all of both do. */
static size_t agree(const char *reply, size_t reply_len, const char *text, size_t len, bool *whole)
{
	static const char end[] = ".\r\n";
	size_t at = 0;
	bool bol = true;

	*whole = false;
	for (size_t i = 0; i < len; i++) {
		if (bol && text[i] == '.') {
			if (at == reply_len || reply[at] != '.')
				return at;
			at++;
		}
		if (at == reply_len || reply[at] != text[i])
			return at;
		at++;
		bol = text[i] == '\n';
	}
	for (size_t i = 0; i < 3; i++, at++)
		if (at == reply_len || reply[at] != end[i])
			return at;
	*whole = at == reply_len;
	return at;
}

bool normal_is_reply(const char *reply, size_t reply_len, const char *text, size_t len)
{
	bool whole;

	agree(reply, reply_len, text, len, &whole);
	return whole && normal_reply_len(reply, reply_len) == reply_len;
}

bool normal_is_begun(const char *reply, size_t reply_len, const char *text, size_t len)
{
	bool whole;
	size_t same = agree(reply, reply_len, text, len, &whole);

	return same == reply_len && !whole && !normal_reply_len(reply, reply_len);
}
