/* SPDX-License-Identifier: MIT */
/* stream.h - bytes both ways behind a vtable, with a line reader, coalesced replies and deadlines.
 *
 * A call may wait. Where it waits is the driver's secret: tcp.c parks a fiber, a test's stream
 * returns at once.
 *
 *  - What is written is kept in `out` until there is a reason to send it: `out` is full,
 * stream_flush(), or the next wait for the peer. So pipelined replies leave together, and we never
 * wait for a peer with words unsaid.
 *  - The end of the peer's octets is not an error: a read gives 0. It then gives 0 for ever.
 *  - After abort() every call fails at once; a call that waits at that time comes back failing.
 * Only close() remains.
 *  - A stream is born with the kind its failures carry: ERR_CLIENT towards POP3 clients,
 * ERR_UPSTREAM towards servers.
 */
#ifndef POPGATE_STREAM_H
#define POPGATE_STREAM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"

struct stream;

enum stream_binding {
	BINDING_TLS_EXPORTER,         /* RFC 9266, TLS 1.3 */
	BINDING_TLS_UNIQUE,           /* RFC 5929 section 3, TLS 1.2 and below */
	BINDING_TLS_SERVER_END_POINT, /* RFC 5929 section 4: hash of the server's certificate */
};

struct stream_ops {
	/* Waits for at least one octet, puts at most `max` into `into`, *got says how many; 0 is
	 * the end of the peer's side. */
	struct err (*read)(struct stream *, void *into, size_t max, size_t *got) MUST_USE;
	/* Returns when all `len` octets are taken by the layer below. */
	struct err (*write)(struct stream *, const void *octets, size_t len) MUST_USE;
	/* From now on a single wait lasts at most `wait_ms`, and no wait lasts beyond `until_ms`
	 * (env->now time); 0: no limit. A wait cut short fails with code ETIMEDOUT. */
	void (*limit)(struct stream *, uint64_t wait_ms, uint64_t until_ms);
	/* May be called by anyone at any time between birth and close(), any number of times; does
	 * not wait. */
	void (*abort)(struct stream *);
	/* Says goodbye if the layer has words for that (TLS close_notify), waits for the layer to
	 * let go, frees the stream. */
	void (*close)(struct stream *);
};

struct stream {
	const struct stream_ops *ops;
	enum err_kind kind; /* what its failures are */
	bool is_aborted;    /* by stream_abort(): nothing more is taken from `in` */
	struct buf in;      /* read from below and not yet taken */
	struct buf out;     /* put and not yet written below */
	/* For `popgate probe`: appends lines "key: value" about the connection, those of the layer
	 * below first; what does not fit is left out. NULL: nothing to tell. */
	void (*describe)(const struct stream *, struct buf *);
	/* Whether nothing has come from below that was not read: no octet, no end, no fault. Does not
	 * wait. NULL: that cannot be told. */
	bool (*is_quiet)(const struct stream *);
	/* Appends the channel binding data of the TLS below, which ties an authentication to the very
	 * connection (RFC 5056): what no one in between can have too. NULL: there is none. */
	bool (*binding)(const struct stream *, enum stream_binding, struct buf *);
};

/* What a driver does first in its own constructor. `in_max` bounds the longest line, `out_max` what
 * is coalesced; octets. */
void stream_init(struct stream *, const struct stream_ops *, enum err_kind, size_t in_max,
		 size_t out_max);

/* What a driver does last in close(). Wipes both buffers: a password may have passed through them.
 */
void stream_fini(struct stream *);

/* Waits for a line that ends in LF. *line (borrowed: until the next call on the stream) has no LF
 * and no CR before it, is not NUL ended and may hold any octet; *len is its length. Flushes first.
 * Errors: ERR_REFUSED code E2BIG for a line longer than `in_max` octets, which is dropped up to its
 * LF (one such error a line, A-04); the stream's kind with code ENODATA when the peer has ended, an
 * unfinished line before that is dropped, EOVERFLOW when 2 * in_max octets held no LF, and
 * whatever the driver says. */
struct err stream_line(struct stream *, const char **line, size_t *len) MUST_USE;

/* Waits until at least one octet of the next line is pending, if none is. Flushes first. The end of
 * the peer is an error as in stream_line(). */
struct err stream_await(struct stream *) MUST_USE;

/* Whether a complete line or any octet is already here: no call below. */
bool stream_has_line(const struct stream *);
static inline size_t stream_pending(const struct stream *stream)
{
	return buf_len(&stream->in);
}

/* Reads up to `max` octets, those in `in` first. Flushes first if it must wait. 0 octets: the peer
 * has ended. */
struct err stream_read(struct stream *, void *into, size_t max, size_t *got) MUST_USE;

/* Puts octets, or text as printf(3) makes it (at most out_max octets of text a call), in line for
 * the peer. */
struct err stream_put(struct stream *, const void *octets, size_t len) MUST_USE;
struct err stream_printf(struct stream *, const char *format, ...)
	__attribute__((format(printf, 2, 3))) MUST_USE;
struct err stream_vprintf(struct stream *, const char *format, va_list)
	__attribute__((format(printf, 2, 0))) MUST_USE;
struct err stream_flush(struct stream *) MUST_USE;

static inline void stream_limit(struct stream *stream, uint64_t wait_ms, uint64_t until_ms)
{
	stream->ops->limit(stream, wait_ms, until_ms);
}

static inline void stream_describe(const struct stream *stream, struct buf *out)
{
	if (stream && stream->describe)
		stream->describe(stream, out);
}

/* Whether there is certainly nothing to be read now, without waiting for it. */
static inline bool stream_is_quiet(const struct stream *stream)
{
	return stream && !stream->is_aborted && !stream_pending(stream) && stream->is_quiet &&
	       stream->is_quiet(stream);
}

/* False if there is no such binding; nothing is appended then. */
static inline bool stream_bind(const struct stream *stream, enum stream_binding kind,
			       struct buf *out)
{
	return stream && stream->binding && stream->binding(stream, kind, out);
}

static inline void stream_abort(struct stream *stream)
{
	if (!stream)
		return;
	stream->is_aborted = true;
	stream->ops->abort(stream);
}

static inline void stream_close(struct stream *stream)
{
	if (stream)
		stream->ops->close(stream);
}

#endif
