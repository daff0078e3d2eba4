/* SPDX-License-Identifier: MIT */
/* buf.h - a growable buffer with a ceiling given at birth, filled at its end and emptied from its
 * front. */
#ifndef POPGATE_BUF_H
#define POPGATE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *store;     /* owned; NULL while nothing is held */
	size_t from, to; /* the contents are store[from..to) */
	size_t cap;      /* octets allocated */
	size_t max;      /* ceiling for to - from, in octets */
	bool is_secret;  /* overwrite every store before it is given back (B-22); may be set after
			    buf_init() while nothing is held */
};

/* An empty buffer that will never hold more than `max` octets. Allocates nothing yet. */
void buf_init(struct buf *, size_t max);

/* Frees the store; the buffer is empty and usable again. A zeroed struct is fine. */
void buf_fini(struct buf *);

/* As buf_fini, after overwriting the store. What the buffer outgrew before was overwritten only if
 * it is_secret. */
void buf_wipe(struct buf *);

static inline char *buf_data(const struct buf *buf)
{
	return buf->store ? buf->store + buf->from : NULL;
}

static inline size_t buf_len(const struct buf *buf)
{
	return buf->to - buf->from;
}

/* A place behind the contents for `want` octets (0 < want), or NULL if the ceiling forbids it or
 * memory is out. It holds until the next call; what was written there is claimed by buf_added(). */
char *buf_room(struct buf *, size_t want);
void buf_added(struct buf *, size_t len);

/* Appends; false, with nothing appended, if the ceiling forbids it or memory is out. */
bool buf_put(struct buf *, const void *octets, size_t len) __attribute__((warn_unused_result));
bool buf_vprintf(struct buf *, const char *format, va_list)
	__attribute__((format(printf, 2, 0), warn_unused_result));
bool buf_printf(struct buf *, const char *format, ...)
	__attribute__((format(printf, 2, 3), warn_unused_result));

/* Drops the first `len` octets (at most buf_len). The store stays. */
void buf_drop(struct buf *, size_t len);

/* Gives the store back if nothing is held: what an idle session does before it waits (L-10). */
void buf_trim(struct buf *);

#endif
