/* SPDX-License-Identifier: MIT */
/* buf.c - a growable buffer with a ceiling given at birth.
 *
 * Invariant: from <= to <= cap, to - from <= max; from == to == 0 whenever the buffer was emptied,
 * so that a buffer that is drained as fast as it is filled never moves its contents.
 */
#include "proxy/base/buf.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum { BUF_FIRST = 256 }; /* octets of the first store */

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){.max = max};
}

void buf_fini(struct buf *buf)
{
	if (buf->is_secret)
		mem_wipe(buf->store, buf->cap);
	free(buf->store);
	*buf = (struct buf){.max = buf->max, .is_secret = buf->is_secret};
}

void buf_wipe(struct buf *buf)
{
	if (!buf->is_secret)
		mem_wipe(buf->store, buf->cap);
	buf_fini(buf);
}

/* realloc() would leave the old store behind as it was. */
static char *resize(const struct buf *buf, size_t cap)
{
	if (!buf->is_secret)
		return realloc(buf->store, cap);
	char *store = malloc(cap);
	if (store && buf->store) {
		memcpy(store, buf->store, buf->to);
		mem_wipe(buf->store, buf->cap);
		free(buf->store);
	}
	return store;
}

char *buf_room(struct buf *buf, size_t want)
{
	size_t len = buf_len(buf);

	if (want > buf->max || len > buf->max - want)
		return NULL;
	if (want > buf->cap - buf->to && buf->from) {
		memmove(buf->store, buf_data(buf), len);
		buf->from = 0;
		buf->to = len;
	}
	if (want > buf->cap - buf->to) {
		size_t cap = buf->cap ? buf->cap : BUF_FIRST;
		while (cap - len < want)
			cap = cap > SIZE_MAX / 2 ? len + want : cap * 2;
		if (cap > buf->max)
			cap = buf->max;
		char *store = resize(buf, cap);
		if (!store)
			return NULL;
		buf->store = store;
		buf->cap = cap;
	}
	return buf->store + buf->to;
}

void buf_added(struct buf *buf, size_t len)
{
	assert(len <= buf->cap - buf->to);
	buf->to += len;
}

bool buf_put(struct buf *buf, const void *octets, size_t len)
{
	if (!len)
		return true;
	char *room = buf_room(buf, len);
	if (!room)
		return false;
	memcpy(room, octets, len);
	buf_added(buf, len);
	return true;
}

bool buf_vprintf(struct buf *buf, const char *format, va_list ap)
{
	char small[256], *text = small;
	va_list again;

	va_copy(again, ap);
	int len = vsnprintf(small, sizeof small, format, ap);
	bool done = len >= 0 && (size_t)len <= buf->max;
	if (done && (size_t)len >= sizeof small) {
		/* Not in place: the NUL may be the octet too many. */
		text = malloc((size_t)len + 1);
		if (text)
			vsnprintf(text, (size_t)len + 1, format, again);
	}
	done = done && text && buf_put(buf, text, (size_t)len);
	va_end(again);
	if (buf->is_secret) {
		mem_wipe(small, sizeof small);
		if (text && text != small)
			mem_wipe(text, (size_t)len);
	}
	if (text != small)
		free(text);
	return done;
}

bool buf_printf(struct buf *buf, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	bool done = buf_vprintf(buf, format, ap);
	va_end(ap);
	return done;
}

void buf_drop(struct buf *buf, size_t len)
{
	assert(len <= buf_len(buf));
	buf->from += len;
	if (buf->from == buf->to)
		buf->from = buf->to = 0;
}

void buf_trim(struct buf *buf)
{
	if (!buf_len(buf))
		buf_fini(buf);
}
