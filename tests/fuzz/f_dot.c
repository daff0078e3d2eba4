/* SPDX-License-Identifier: MIT */
/* f_dot.c - any octets in any chunks through the dot sink: what a client un-stuffs is the message
 * with CRLF line ends, and nothing in it looks like the end before the end (F-01 to F-06, F-09).
 *
 * Input: octet 0 chooses what is done, octet 1 the chunks, the rest is the message.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "session/dot.h"
#include "session/session.h"
#include "session/top.h"
#include "tests/fake/canned.h"
#include "tests/transcript/normal.h"

enum { IS_ANNOUNCED = 2, IS_TOP = 4, IS_CUT = 8, IS_LARGE = 0x81 };

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

#define LAW(holds_)                                                                                \
	do {                                                                                       \
		if (!(holds_))                                                                     \
			abort();                                                                   \
	} while (0)

static void put_all(struct sink *sink, const char *message, size_t len, unsigned chunks)
{
	uint32_t seed = chunks;

	for (size_t at = 0; at < len;) {
		seed = seed * 1664525u + 1013904223u;
		size_t n = chunks < 64 ? 1 + chunks : 1 + (seed >> 16) % (chunks * 300);
		if (n > len - at)
			n = len - at;
		LAW(sink->put(sink, message + at, n).kind == ERR_NONE);
		at += n;
	}
}

/* The message from the input: as it is, or repeated until it does not fit what a session holds. */
static char *message_of(const uint8_t *octets, size_t len, bool is_large, size_t *out_len)
{
	size_t times = is_large && len ? SESSION_HOLD * 5 / 4 / len + 1 : 1;
	char *message = malloc(times * len + 1);

	LAW(message);
	for (size_t i = 0; i < times && len; i++)
		memcpy(message + i * len, octets, len);
	*out_len = times * len;
	return message;
}

static void check(struct canned *client, const struct buf *wanted, bool is_cut)
{
	const char *output = buf_data(&client->output);
	size_t len = buf_len(&client->output);
	const char *body = len ? memchr(output, '\n', len) : NULL;

	if (!body) {
		LAW(is_cut && !len);
		return;
	}
	body++;
	LAW(!strncmp(output, "+OK", 3));
	len -= (size_t)(body - output);
	if (!is_cut)
		LAW(normal_is_reply(body, len, buf_data(wanted), buf_len(wanted)));
	else
		LAW(normal_is_begun(body, len, buf_data(wanted), buf_len(wanted)));
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct buf wanted;
	struct canned client;
	struct dot dot;
	struct top top;
	size_t size;

	if (len < 2)
		return 0;
	unsigned what = octets[0], chunks = octets[1];
	bool is_large =
		(what & IS_LARGE) == IS_LARGE; /* seldom: it takes a thousand times longer */
	if (is_large)
		chunks |= 64;
	char *message = message_of(octets + 2, len - 2, is_large, &size);
	buf_init(&wanted, 16 << 20);
	canned_init(&client, ERR_CLIENT, "", 0);
	dot_init(&dot, &client.stream, !(what & IS_TOP), size);
	if (what & IS_TOP) {
		top_init(&top, &dot.sink, what >> 4);
		LAW(normal_top(&wanted, message, size, what >> 4));
		put_all(&top.sink, message, size, chunks);
		LAW(top_finish(&top).kind == ERR_NONE);
	} else {
		LAW(normal_put(&wanted, message, size));
		if (what & IS_ANNOUNCED)
			dot.sink.announced_octets = size;
		put_all(&dot.sink, message, size, chunks);
	}
	if (!(what & IS_CUT)) {
		LAW(dot_finish(&dot).kind == ERR_NONE);
		LAW(dot.octets == buf_len(&wanted));
	}
	LAW(stream_flush(&client.stream).kind == ERR_NONE);
	check(&client, &wanted, what & IS_CUT);
	dot_fini(&dot);
	canned_fini(&client);
	buf_fini(&wanted);
	free(message);
	return 0;
}
