/* SPDX-License-Identifier: MIT */
/* canned.c - a stream whose peer said everything beforehand. */
#include "tests/fake/canned.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static struct err lost(const struct canned *canned)
{
	return (struct err){canned->stream.kind, ECONNRESET, "connection lost"};
}

static struct err canned_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct canned *canned = (struct canned *)stream;
	size_t left = canned->input_len - canned->at;

	canned->reads++;
	if (canned->on_read)
		canned->on_read(canned, canned->arg);
	*got = 0;
	if (canned->is_aborted || canned->is_closed)
		return lost(canned);
	if (canned->cut != SIZE_MAX) {
		if (canned->at >= canned->cut)
			return lost(canned);
		if (left > canned->cut - canned->at)
			left = canned->cut - canned->at;
	}
	for (size_t i = 0; i < canned->stop_count; i++)
		if (canned->stops[i] > canned->at && left > canned->stops[i] - canned->at)
			left = canned->stops[i] - canned->at;
	if (canned->chunk && left > canned->chunk)
		left = canned->chunk;
	*got = left < max ? left : max;
	if (*got)
		memcpy(into, canned->input + canned->at, *got);
	canned->at += *got;
	return OK;
}

static struct err canned_write(struct stream *stream, const void *octets, size_t len)
{
	struct canned *canned = (struct canned *)stream;

	canned->writes++;
	canned->last_write = len;
	if (canned->is_aborted || canned->is_closed ||
	    (canned->fail_write && canned->writes >= canned->fail_write))
		return lost(canned);
	return buf_put(&canned->output, octets, len) ? OK : lost(canned);
}

static void canned_limit(struct stream *stream, uint64_t wait_ms, uint64_t until_ms)
{
	struct canned *canned = (struct canned *)stream;

	canned->wait_ms = wait_ms;
	canned->until_ms = until_ms;
}

static void canned_abort(struct stream *stream)
{
	((struct canned *)stream)->is_aborted = true;
}

static void canned_close(struct stream *stream)
{
	((struct canned *)stream)->is_closed = true;
	stream_fini(stream);
}

static const struct stream_ops canned_ops = {
	canned_read, canned_write, canned_limit, canned_abort, canned_close,
};

void canned_init(struct canned *canned, enum err_kind kind, const void *input, size_t len)
{
	*canned = (struct canned){.input = input, .input_len = len, .cut = SIZE_MAX};
	stream_init(&canned->stream, &canned_ops, kind, 65536, 16384);
	buf_init(&canned->output, 64 << 20);
}

void canned_fini(struct canned *canned)
{
	stream_fini(&canned->stream);
	buf_fini(&canned->output);
}

const char *canned_output(struct canned *canned)
{
	char *room = buf_room(&canned->output, 1);

	*room = '\0';
	return buf_data(&canned->output);
}
