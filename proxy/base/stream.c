/* SPDX-License-Identifier: MIT */
/* stream.c - what all streams share: the line reader and the coalescing of replies. */
#include "proxy/base/stream.h"

#include <errno.h>
#include <string.h>

enum { READ_ONCE = 2048 }; /* octets asked of the layer below for a line */

void stream_init(struct stream *stream, const struct stream_ops *ops, enum err_kind kind,
		 size_t in_max, size_t out_max)
{
	stream->ops = ops;
	stream->kind = kind;
	stream->is_aborted = false;
	stream->describe = NULL;
	buf_init(&stream->in, in_max);
	buf_init(&stream->out, out_max);
	stream->in.is_secret = stream->out.is_secret = true;
}

void stream_fini(struct stream *stream)
{
	buf_wipe(&stream->in);
	buf_wipe(&stream->out);
}

/* Commands that are already here must not outlive an abort: a session that was ended may not read
 * its QUIT. */
static struct err alive(const struct stream *stream)
{
	return stream->is_aborted ? (struct err){stream->kind, ECANCELED, "connection was ended"}
				  : OK;
}

struct err stream_flush(struct stream *stream)
{
	size_t len = buf_len(&stream->out);

	TRY(alive(stream));
	if (!len)
		return OK;
	struct err err = stream->ops->write(stream, buf_data(&stream->out), len);
	buf_drop(&stream->out, len);
	return err;
}

/* Makes `in` longer by what the layer below has; *got 0: the peer has ended. */
static struct err fill(struct stream *stream, size_t *got)
{
	size_t room_left = stream->in.max - buf_len(&stream->in);
	size_t want = room_left < READ_ONCE ? room_left : READ_ONCE;

	*got = 0;
	TRY(stream_flush(stream));
	buf_trim(&stream->out);
	char *room = buf_room(&stream->in, want);
	if (!room)
		return (struct err){stream->kind, ENOMEM, "out of memory"};
	TRY(stream->ops->read(stream, room, want, got));
	buf_added(&stream->in, *got);
	return OK;
}

static struct err at_end(const struct stream *stream)
{
	return (struct err){stream->kind, ENODATA, "end of input"};
}

/* Drops octets up to and with the next LF: the rest of a line that was too long. */
static struct err skip_line(struct stream *stream)
{
	size_t skipped = 0;

	for (;;) {
		size_t len = buf_len(&stream->in), got;
		const char *lf = len ? memchr(buf_data(&stream->in), '\n', len) : NULL;
		if (lf) {
			buf_drop(&stream->in, (size_t)(lf - buf_data(&stream->in)) + 1);
			return ERR(ERR_REFUSED, E2BIG, "line too long");
		}
		skipped += len;
		buf_drop(&stream->in, len);
		if (skipped >= 2 * stream->in.max)
			return (struct err){stream->kind, EOVERFLOW, "endless line"};
		TRY(fill(stream, &got));
		if (!got)
			return at_end(stream);
	}
}

struct err stream_await(struct stream *stream)
{
	size_t got;

	TRY(alive(stream));
	if (buf_len(&stream->in))
		return OK;
	buf_trim(&stream->in);
	TRY(fill(stream, &got));
	return got ? OK : at_end(stream);
}

struct err stream_line(struct stream *stream, const char **line, size_t *len)
{
	size_t looked = 0; /* octets of `in` known to hold no LF */

	TRY(alive(stream));
	for (;;) {
		size_t have = buf_len(&stream->in), got;
		const char *data = buf_data(&stream->in);
		const char *lf = have > looked ? memchr(data + looked, '\n', have - looked) : NULL;
		if (lf) {
			size_t whole = (size_t)(lf - data) + 1;
			*line = data;
			*len = whole - 1;
			if (*len && data[*len - 1] == '\r')
				(*len)--;
			/* The octets stay where they are until `in` is next written to. */
			buf_drop(&stream->in, whole);
			return OK;
		}
		looked = have;
		if (have == stream->in.max)
			return skip_line(stream);
		if (!have)
			buf_trim(&stream->in);
		TRY(fill(stream, &got));
		if (!got) {
			buf_drop(&stream->in, buf_len(&stream->in));
			return at_end(stream);
		}
	}
}

bool stream_has_line(const struct stream *stream)
{
	size_t len = buf_len(&stream->in);

	return len && memchr(buf_data(&stream->in), '\n', len);
}

struct err stream_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	size_t have = buf_len(&stream->in);

	*got = 0;
	TRY(alive(stream));
	if (have) {
		*got = have < max ? have : max;
		memcpy(into, buf_data(&stream->in), *got);
		buf_drop(&stream->in, *got);
		return OK;
	}
	TRY(stream_flush(stream));
	return stream->ops->read(stream, into, max, got);
}

struct err stream_put(struct stream *stream, const void *octets, size_t len)
{
	TRY(alive(stream));
	if (buf_put(&stream->out, octets, len))
		return OK;
	TRY(stream_flush(stream));
	/* What fills a whole buffer gains nothing from being copied into one. */
	if (len < stream->out.max && buf_put(&stream->out, octets, len))
		return OK;
	return stream->ops->write(stream, octets, len);
}

struct err stream_vprintf(struct stream *stream, const char *format, va_list ap)
{
	va_list again;

	TRY(alive(stream));
	va_copy(again, ap);
	struct err err = OK;
	if (!buf_vprintf(&stream->out, format, ap)) {
		err = stream_flush(stream);
		if (!err.kind && !buf_vprintf(&stream->out, format, again))
			err = (struct err){stream->kind, ENOMEM, "out of memory"};
	}
	va_end(again);
	return err;
}

struct err stream_printf(struct stream *stream, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	struct err err = stream_vprintf(stream, format, ap);
	va_end(ap);
	return err;
}
