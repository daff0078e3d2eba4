/* SPDX-License-Identifier: MIT */
/* top.c - a filter that counts lines.
 *
 * A line ends in LF, as for the dot sink behind us; it is blank if nothing, or nothing but one CR,
 * stands before its LF. The filter looks at raw octets and changes none, so that a TOP that covers
 * the whole message is RETR, octet by octet.
 */
#include "session/top.h"

#include <string.h>

static struct err top_put(struct sink *sink, const void *octets, size_t len);

void top_init(struct top *top, struct sink *next, uint64_t lines)
{
	*top = (struct top){.sink = {top_put, 0}, .next = next, .lines = lines};
}

/* The line that has begun goes on with `len` octets, none of them LF. */
static void grow_line(struct top *top, const char *at, size_t len)
{
	if (!len)
		return;
	top->is_cr = !top->line_len && len == 1 && *at == '\r';
	top->line_len = top->line_len + len > 1 ? 2 : 1;
}

static void end_line(struct top *top)
{
	bool is_blank = !top->line_len || (top->line_len == 1 && top->is_cr);

	if (top->has_separator)
		top->lines--;
	else if (is_blank)
		top->has_separator = true;
	top->line_len = 0;
	top->is_done = top->has_separator && !top->lines;
}

static struct err top_put(struct sink *sink, const void *octets, size_t len)
{
	struct top *top = (struct top *)sink;
	const char *begin = octets, *at = begin, *end = begin + len;

	top->taken += len;
	while (at < end && !top->is_done) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		grow_line(top, at, (size_t)((lf ? lf : end) - at));
		if (lf)
			end_line(top);
		at = lf ? lf + 1 : end;
	}
	if (at == begin)
		return OK;
	return top->next->put(top->next, begin, (size_t)(at - begin));
}

struct err top_finish(struct top *top)
{
	if (top->has_separator)
		return OK;
	/* An unfinished header line needs its end first. */
	return top->line_len ? top->next->put(top->next, "\r\n\r\n", 4)
			     : top->next->put(top->next, "\r\n", 2);
}
