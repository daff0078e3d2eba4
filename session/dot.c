/* SPDX-License-Identifier: MIT */
/* dot.c - ends a multi-line reply so that no body can end it early.
 *
 * A line that begins with "." gets a second one; a lone LF gets its CR; the end is CRLF "." CRLF,
 * with the first CRLF only if the body lacked it. A lone CR is text like any other, and so is NUL.
 * Invariant: `bol` is true iff the last octet put out was LF or none was.
 *
 * Nothing leaves until the message is whole or larger than SESSION_HOLD: before that a fault is
 * still an honest -ERR. From then on octets leave in large writes, but for the last few: they wait
 * for the dot, and without it the client never sees an end that looks right.
 */
#include "session/dot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "session/session.h"

enum {
	STATUS = 48,   /* room in front for the longest status line, octets */
	TAIL = 64,     /* octets held back while streaming (F-09) */
	SLICE = 16384, /* octets taken from the store's chunk at a time */
	BATCH = 65536, /* octets of a write while streaming: four full TLS records */
	BLOCK = 64,    /* octets looked at in one go */
	/* Normalised octets grow by a third at most (".\r\n" becomes "..\r\n"); raw ones double. */
	HOLD = STATUS + SESSION_HOLD / 3 * 4 + 3 * SLICE,
};

static struct err dot_put(struct sink *sink, const void *octets, size_t len);

void dot_init(struct dot *dot, struct stream *client, bool has_count, uint64_t guess_octets)
{
	*dot = (struct dot){
		.sink = {dot_put, 0},
		.client = client,
		.guess_octets = guess_octets,
		.has_count = has_count,
		.bol = true,
	};
	buf_init(&dot->hold, HOLD);
}

void dot_fini(struct dot *dot)
{
	buf_fini(&dot->hold);
}

/* Where stuffed octets go: at least `want` octets, NULL if memory is out. */
static char *room(struct dot *dot, size_t want)
{
	if (!dot->is_started && !buf_len(&dot->hold)) {
		if (!buf_room(&dot->hold, STATUS + want))
			return NULL;
		buf_added(&dot->hold, STATUS);
	}
	return buf_room(&dot->hold, want);
}

/* Writes the status line in front of what is held, so that both leave in one write. */
static void start(struct dot *dot, uint64_t octets)
{
	char line[STATUS] = "+OK\r\n";
	size_t len = strlen(line);

	if (dot->has_count)
		len = (size_t)snprintf(line, sizeof line, "+OK %" PRIu64 " octets\r\n", octets);
	buf_drop(&dot->hold, STATUS - len);
	memcpy(buf_data(&dot->hold), line, len);
	dot->is_started = true;
}

/* Sixteen octets at once: the compiler finds the machine's instructions for them. */
typedef unsigned char lane __attribute__((vector_size(16)));

static lane lane_at(const char *at)
{
	lane found;

	memcpy(&found, at, sizeof found);
	return found;
}

static lane lane_of(unsigned char octet)
{
	return (lane){0} + octet;
}

/* Whether one of BLOCK octets is an LF without CR before it or with "." behind it. Looks at the octet
 * before them and the one behind as well. */
static bool has_work(const char *at)
{
	lane work = {0};
	uint64_t half[2];

	for (size_t i = 0; i < BLOCK; i += sizeof work) {
		lane is_lf = (lane)(lane_at(at + i) == lane_of('\n'));
		lane no_cr = (lane)(lane_at(at + i - 1) != lane_of('\r'));
		lane has_dot = (lane)(lane_at(at + i + 1) == lane_of('.'));
		work |= is_lf & (no_cr | has_dot);
	}
	static_assert(sizeof half == sizeof work, "two halves");
	memcpy(half, &work, sizeof half);
	return half[0] | half[1];
}

/* Goes over blocks with nothing to change. What is at the edges is left to the caller. */
static const char *skip_blocks(struct dot *dot, const char *at, const char *end)
{
	const char *from = at;

	if (*at == '\n')
		return at;
	at++;
	while (end - at > BLOCK && !has_work(at))
		at += BLOCK;
	if (at == from + 1)
		return from;
	dot->bol = at[-1] == '\n';
	dot->after_cr = at[-1] == '\r';
	return at;
}

/* Copies one slice into `to`, normalised and stuffed; returns the end of what was written, at most
 * twice the length. Runs without anything to change are copied whole. */
static char *stuff(struct dot *dot, char *to, const char *at, const char *end)
{
	const char *run = at; /* not copied yet */
	bool is_regular =
		true; /* the last line end was CRLF: more may be, and are gone over fast */

	while (at < end) {
		if (dot->bol && *at == '.') {
			memcpy(to, run, (size_t)(at - run));
			to += at - run;
			*to++ = '.';
			run = at;
		}
		if (is_regular)
			at = skip_blocks(dot, at, end);
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		if (!lf) {
			dot->bol = false;
			dot->after_cr = end[-1] == '\r';
			break;
		}
		is_regular = lf > at ? lf[-1] == '\r' : dot->after_cr;
		if (!is_regular) {
			memcpy(to, run, (size_t)(lf - run));
			to += lf - run;
			*to++ = '\r';
			dot->octets++;
			run = lf;
		}
		dot->bol = true;
		dot->after_cr = false;
		at = lf + 1;
	}
	memcpy(to, run, (size_t)(end - run));
	return to + (end - run);
}

static struct err write_out(struct dot *dot, size_t len)
{
	struct err err = stream_put(dot->client, buf_data(&dot->hold), len);

	buf_drop(&dot->hold, len);
	return err;
}

/* Whether it is time for a write: enough for one, and too much to wait for the end. */
static bool is_batch(const struct dot *dot)
{
	bool is_large = dot->is_started || dot->octets > SESSION_HOLD ||
			dot->sink.announced_octets > SESSION_HOLD;

	return is_large && buf_len(&dot->hold) >= BATCH + TAIL;
}

static struct err dot_put(struct sink *sink, const void *octets, size_t len)
{
	struct dot *dot = (struct dot *)sink;
	const char *at = octets;

	while (len) {
		size_t slice = len < SLICE ? len : SLICE;
		char *to = room(dot, 2 * slice);
		if (!to)
			return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
		char *end = stuff(dot, to, at, at + slice);
		buf_added(&dot->hold, (size_t)(end - to));
		dot->octets += slice;
		at += slice;
		len -= slice;
		if (is_batch(dot)) {
			if (!dot->is_started)
				start(dot, sink->announced_octets ? sink->announced_octets
								  : dot->guess_octets);
			while (buf_len(&dot->hold) >= BATCH + TAIL)
				TRY(write_out(dot, BATCH));
		}
	}
	return OK;
}

struct err dot_finish(struct dot *dot)
{
	static const char end[] = "\r\n.\r\n";
	size_t skip = dot->bol ? 2 : 0, len = strlen(end) - skip;
	char *to = room(dot, len);

	if (!to)
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	memcpy(to, end + skip, len);
	buf_added(&dot->hold, len);
	if (!dot->bol)
		dot->octets += 2;
	if (!dot->is_started)
		start(dot, dot->octets);
	return write_out(dot, buf_len(&dot->hold));
}
