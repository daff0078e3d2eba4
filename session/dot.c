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

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "session/session.h"

enum {
	STATUS = 48,   /* room in front for the longest status line, octets */
	TAIL = 64,     /* octets held back while streaming (F-09) */
	SLICE = 16384, /* octets taken from the store's chunk at a time */
	BATCH = 65536, /* octets worth a write while streaming: four TLS records */
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

/* Copies one slice into `to`, normalised and stuffed; returns the end of what was written, at most
 * twice the length. Runs without anything to change are copied whole. */
static char *stuff(struct dot *dot, char *to, const char *at, const char *end)
{
	const char *run = at; /* not copied yet */

	while (at < end) {
		if (dot->bol && *at == '.') {
			memcpy(to, run, (size_t)(at - run));
			to += at - run;
			*to++ = '.';
			run = at;
		}
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		if (!lf) {
			dot->bol = false;
			dot->after_cr = end[-1] == '\r';
			break;
		}
		if (!(lf > at ? lf[-1] == '\r' : dot->after_cr)) {
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

static struct err send_all_but(struct dot *dot, size_t keep)
{
	size_t len = buf_len(&dot->hold);

	if (len <= keep)
		return OK;
	struct err err = stream_put(dot->client, buf_data(&dot->hold), len - keep);
	buf_drop(&dot->hold, len - keep);
	return err;
}

/* Whether it is time for a write: enough for one, and too much to wait for the end. */
static bool is_batch(const struct dot *dot)
{
	bool is_large = dot->is_started || dot->octets > SESSION_HOLD ||
			dot->sink.announced_octets > SESSION_HOLD;

	return is_large && buf_len(&dot->hold) >= BATCH;
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
			TRY(send_all_but(dot, TAIL));
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
	return send_all_but(dot, 0);
}
