/* SPDX-License-Identifier: MIT */
/* imap_server_mix.c - the answers to several FETCHes, one through the other. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/fake/imap_server_own.h"

enum { MOST = 3 };

/* What one command is answered: its data, and its tagged line behind that. */
struct reply {
	char *text; /* owned */
	size_t data, len, said;
};

static bool is_body_fetch(const char *line, size_t len)
{
	return memmem(line, len, " UID FETCH ", 11) && memmem(line, len, "BODY.PEEK[", 10);
}

static size_t count_fetches(const struct server_connection *conn)
{
	const char *at = buf_data(&conn->heard), *end = at + buf_len(&conn->heard), *lf;
	size_t count = 0;

	while (count < MOST && at < end && (lf = memchr(at, '\n', (size_t)(end - at)))) {
		if (!is_body_fetch(at, (size_t)(lf - at)))
			break;
		at = lf + 1;
		count++;
	}
	return count;
}

static void say(struct server_connection *conn, const char *text, size_t len)
{
	bool is_good = !len || buf_put(&conn->pending, text, len);

	assert(is_good);
}

static struct reply take_reply(struct server_connection *conn)
{
	size_t len = buf_len(&conn->pending);
	struct reply reply = {.text = mem_dup(len ? buf_data(&conn->pending) : "", len),
			      .len = len};
	const char *lf = len > 1 ? memrchr(reply.text, '\n', len - 1) : NULL;

	reply.data = lf ? (size_t)(lf - reply.text) + 1 : 0;
	buf_drop(&conn->pending, len);
	return reply;
}

/* The next piece of the reply number `which` of those that are not told. */
static void say_piece(struct server_connection *conn, struct reply *replies, size_t which)
{
	struct reply *reply = replies;

	for (; reply->said == reply->len || which; reply++)
		which -= reply->said < reply->len;
	size_t end = reply->said < reply->data ? reply->data : reply->len;
	say(conn, reply->text + reply->said, end - reply->said);
	reply->said = end;
}

static uint32_t count_left(const struct reply *replies, size_t count)
{
	uint32_t left = 0;

	for (size_t i = 0; i < count; i++)
		left += replies[i].said < replies[i].len;
	return left;
}

bool server_mix(struct server_connection *conn)
{
	struct imap_server *server = conn->server;
	struct reply replies[MOST];
	size_t count = count_fetches(conn), got = 0;
	uint32_t left;

	if (count < 2)
		return false;
	bool is_well = true;
	while (is_well && got < count) {
		server_obey_first(conn);
		is_well = !conn->is_lost && !conn->is_stalled && !conn->has_ended;
		replies[got++] = take_reply(conn);
	}
	while ((left = count_left(replies, got)))
		say_piece(conn, replies, is_well ? server->pick(server->arg, left) : 0);
	for (size_t i = 0; i < got; i++)
		free(replies[i].text);
	return true;
}
