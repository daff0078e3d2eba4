/* SPDX-License-Identifier: MIT */
/* flow.c - a stream whose peer's octets are made while they are read. */
#include "tests/fake/flow.h"

#include <errno.h>
#include <string.h>

enum { PERIOD = 251, TABLE = 4 * PERIOD };

static void fill_table(char *table)
{
	for (int i = 0; i < TABLE; i++)
		table[i] = (char)(i % PERIOD);
}

static size_t take_text(const char *text, size_t *at, char *into, size_t max)
{
	size_t len = strlen(text) - *at;

	len = len < max ? len : max;
	memcpy(into, text + *at, len);
	*at += len;
	return len;
}

static struct err flow_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct flow *flow = (struct flow *)stream;
	uint64_t left = flow->octets - flow->at;
	char table[TABLE];

	*got = take_text(flow->before, &flow->before_at, into, max);
	if (*got)
		return OK;
	if (!left) {
		*got = take_text(flow->after, &flow->after_at, into, max);
		return OK;
	}
	fill_table(table);
	max = left < max ? (size_t)left : max;
	while (*got < max) {
		size_t from = (size_t)(flow->at % PERIOD);
		size_t len = max - *got < TABLE - from ? max - *got : TABLE - from;
		memcpy((char *)into + *got, table + from, len);
		*got += len;
		flow->at += len;
	}
	return OK;
}

static struct err flow_write(struct stream *stream, const void *octets, size_t len)
{
	(void)stream;
	(void)octets;
	(void)len;
	return OK;
}

static void flow_limit(struct stream *stream, uint64_t wait_ms, uint64_t until_ms)
{
	(void)stream;
	(void)wait_ms;
	(void)until_ms;
}

static void flow_abort(struct stream *stream)
{
	(void)stream;
}

static void flow_close(struct stream *stream)
{
	((struct flow *)stream)->is_closed = true;
	stream_fini(stream);
}

static const struct stream_ops flow_ops = {
	flow_read, flow_write, flow_limit, flow_abort, flow_close,
};

void flow_init(struct flow *flow, const char *before, uint64_t octets, const char *after)
{
	*flow = (struct flow){.before = before, .octets = octets, .after = after};
	stream_init(&flow->stream, &flow_ops, ERR_UPSTREAM, 65536, 16384);
}

bool flow_is(uint64_t at, const char *octets, size_t len)
{
	char table[TABLE];

	fill_table(table);
	while (len) {
		size_t from = (size_t)(at % PERIOD);
		size_t part = len < TABLE - from ? len : TABLE - from;
		if (memcmp(octets, table + from, part) != 0)
			return false;
		octets += part;
		at += part;
		len -= part;
	}
	return true;
}
