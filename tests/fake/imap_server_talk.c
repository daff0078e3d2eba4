/* SPDX-License-Identifier: MIT */
/* imap_server_talk.c - a connection to the model server: octets, commands, what faults do to them. */
#include "tests/fake/imap_server_own.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum { SLOW_MS = 20000, SILENCE_MS = 86400000, SET = 65536 };

static void put(struct buf *buf, const void *octets, size_t len)
{
	bool is_good = !len || buf_put(buf, octets, len);

	assert(is_good);
}

static void trace(struct server_connection *conn, char who, const void *octets, size_t len)
{
	if (conn->server->traces && len)
		assert(buf_printf(&conn->server->trace, "%u%c %.*s", conn->number, who, (int)len,
				  (const char *)octets));
}

static void say(struct server_connection *conn, const char *text)
{
	put(&conn->pending, text, strlen(text));
}

static void lose(struct server_connection *conn)
{
	conn->is_lost = true;
	buf_drop(&conn->pending, buf_len(&conn->pending));
}

/* --- commands --------------------------------------------------------------------------------- */

static void do_capability(struct server_connection *conn)
{
	const struct imap_family *family = conn->server->family;

	tell(conn, "* CAPABILITY %s", conn->is_in ? family->after : family->before);
	answer(conn, "OK done");
}

static void do_login(struct server_connection *conn)
{
	conn->is_in = true;
	if (server_has(conn->server, SERVER_LABELS)) {
		tell(conn, "* CAPABILITY %s", conn->server->family->after);
		answer(conn, "OK joe authenticated (Success)");
	} else {
		answer(conn, "OK logged in");
	}
}

static void do_authenticate(struct server_connection *conn, struct words *words)
{
	char word[SERVER_WORD];

	if (!words_take(words, "PLAIN")) {
		answer(conn, "NO no such mechanism");
	} else if (words_next(words, word, sizeof word)) {
		do_login(conn);
	} else {
		conn->awaits_password = true;
		say(conn, "+ \r\n");
	}
}

static void do_id(struct server_connection *conn)
{
	const char *id = conn->server->family->id;

	if (!id) {
		answer(conn, "BAD unknown command");
		return;
	}
	conn->has_id = true;
	tell(conn, "* ID (%s)", id);
	answer(conn, "OK done");
}

static void do_enable(struct server_connection *conn, struct words *words)
{
	char word[SERVER_WORD], enabled[SERVER_WORD] = "";
	bool does = server_can(conn, "ENABLE") && !server_has(conn->server, SERVER_ENABLE_NOTHING);

	if (!server_can(conn, "ENABLE")) {
		answer(conn, "BAD unknown command");
		return;
	}
	while (does && words_next(words, word, 64)) {
		if (!server_can(conn, word) || strlen(enabled) + strlen(word) + 2 > sizeof enabled)
			continue;
		strcat(strcat(enabled, " "), word);
		conn->is_uidonly |= text_same(word, "UIDONLY");
	}
	if (does)
		tell(conn, "* ENABLED%s", enabled);
	answer(conn, "OK done");
}

static void do_close(struct server_connection *conn)
{
	server_crime(conn->server, "CLOSE");
	if (!conn->is_read_only)
		do_expunge(conn, NULL);
	else
		answer(conn, "OK closed");
	conn->folder = NULL;
}

static void do_logout(struct server_connection *conn)
{
	tell(conn, "* BYE see you");
	answer(conn, "OK done");
	conn->has_ended = true;
}

static void do_uid(struct server_connection *conn, struct words *words)
{
	char set[SET];

	if (conn->server->tells_early)
		tell_news(conn, true);
	if (words_take(words, "FETCH")) {
		do_fetch(conn, words);
	} else if (words_take(words, "STORE")) {
		do_store(conn, words);
	} else if (words_take(words, "COPY")) {
		do_copy(conn, words, false);
	} else if (words_take(words, "MOVE")) {
		do_copy(conn, words, true);
	} else if (words_take(words, "SEARCH")) {
		do_search(conn, words);
	} else if (words_take(words, "EXPUNGE") && words_next(words, set, sizeof set)) {
		if (server_has(conn->server, SERVER_NO_UID_EXPUNGE))
			answer(conn, "BAD No mail number specified");
		else if (!server_can(conn, "UIDPLUS") || !set_is_good(conn->server, set))
			answer(conn, "BAD not here");
		else
			do_expunge(conn, set);
	} else {
		answer(conn, "BAD unknown command");
	}
}

/* Commands for a folder that is selected. */
static void obey_selected(struct server_connection *conn, struct words *words)
{
	if (!conn->folder) {
		answer(conn, "BAD no folder is selected");
	} else if (words_take(words, "UID")) {
		do_uid(conn, words);
	} else if (words_take(words, "EXPUNGE")) {
		do_expunge(conn, NULL);
	} else if (words_take(words, "CLOSE")) {
		do_close(conn);
	} else if (words_take(words, "UNSELECT") && server_can(conn, "UNSELECT")) {
		conn->folder = NULL;
		answer(conn, "OK done");
	} else {
		answer(conn, "BAD unknown command");
	}
}

static void obey_logged_in(struct server_connection *conn, struct words *words)
{
	if (words_take(words, "SELECT"))
		do_select(conn, words, false);
	else if (words_take(words, "EXAMINE"))
		do_select(conn, words, true);
	else if (words_take(words, "LIST"))
		do_list(conn, words);
	else if (words_take(words, "STATUS"))
		do_status(conn, words);
	else if (words_take(words, "CREATE"))
		do_create(conn, words);
	else if (words_take(words, "ENABLE"))
		do_enable(conn, words);
	else
		obey_selected(conn, words);
}

static void obey_words(struct server_connection *conn, struct words *words)
{
	if (words_take(words, "CAPABILITY"))
		do_capability(conn);
	else if (words_take(words, "NOOP"))
		answer(conn, "OK done");
	else if (words_take(words, "LOGOUT"))
		do_logout(conn);
	else if (words_take(words, "ID"))
		do_id(conn);
	else if (words_take(words, "LOGIN"))
		do_login(conn);
	else if (words_take(words, "AUTHENTICATE"))
		do_authenticate(conn, words);
	else if (!conn->is_in)
		answer(conn, "BAD log in first");
	else
		obey_logged_in(conn, words);
}

/* --- faults ----------------------------------------------------------------------------------- */

/* What a fault leaves undone. True: there is nothing more to do. */
static bool strike(struct server_connection *conn, const char *text)
{
	bool is_login = !strncmp(text, "LOGIN", 5) || !strncmp(text, "AUTHENTICATE", 12);
	bool is_coded = is_login || imap_server_chance(conn->server, 2);
	bool is_limit = server_has(conn->server, SERVER_LIMIT_BYE) && !is_login;
	enum server_fault fault = conn->fault;

	if (fault == FAULT_NO && is_limit) {
		conn->has_ended = true;
		answer(conn, "NO [LIMIT] Rate limit hit");
		say(conn, "* BYE Rate limit hit\r\n");
	} else if (fault == FAULT_NO) {
		answer(conn, is_coded ? "NO [UNAVAILABLE] not now" : "NO it failed");
	} else if (fault == FAULT_BAD) {
		answer(conn, "BAD it failed");
	} else if (fault == FAULT_LIE && !is_login) {
		answer(conn, "OK done");
	} else if (fault == FAULT_BYE) {
		conn->has_ended = true;
		say(conn, "* BYE the server goes down\r\n");
	} else if (fault == FAULT_CUT) {
		lose(conn);
	} else if (fault == FAULT_STALL) {
		conn->is_stalled = true;
	} else {
		if (fault == FAULT_SLOW)
			conn->server->world.now_ms += SLOW_MS;
		return false;
	}
	return true;
}

/* A whole command of `len` octets, CRLF included. */
static void obey(struct server_connection *conn, const char *text, size_t len)
{
	struct imap_server *server = conn->server;
	struct words words = {text, text + len - 2};
	char *line;

	server->commands++;
	trace(conn, '>', text, len);
	buf_drop(&conn->reply, buf_len(&conn->reply));
	conn->line_count = 0;
	conn->fault = FAULT_NONE;
	if (conn->awaits_password) {
		conn->awaits_password = false;
		do_login(conn);
		return;
	}
	if (!words_next(&words, conn->tag, sizeof conn->tag))
		return;
	line = mem_dup(words.at + 1, (size_t)(words.end - words.at - (words.at < words.end)));
	if (server->on_command)
		conn->fault = server->on_command(server->arg, server, line);
	if (conn->has_ended) {
		say(conn, "* BYE the folder has been rebuilt\r\n");
	} else if (len > server->family->line && !memchr(text, '{', len)) {
		server_crime(server, "a line of %zu octets", len);
		answer(conn, "BAD the line is too long");
	} else if (!strike(conn, line)) {
		obey_words(conn, &words);
	}
	free(line);
}

/* The length of the first whole command that was heard, 0: there is none yet. Says "+" when a
 * literal is waited for. */
static size_t whole_command(struct server_connection *conn)
{
	const char *all = buf_data(&conn->heard);
	size_t have = buf_len(&conn->heard), at = 0;

	while (at < have) {
		const char *lf = memchr(all + at, '\n', have - at), *brace;
		if (!lf)
			return 0;
		size_t end = (size_t)(lf - all) + 1;
		brace = lf - all >= 3 && lf[-2] == '}' ? memrchr(all + at, '{', end - at) : NULL;
		if (!brace)
			return end;
		size_t literal = strtoul(brace + 1, NULL, 10);
		if (end == have && lf[-3] != '+' && literal)
			say(conn, "+ go on\r\n");
		at = end + literal;
	}
	return 0;
}

/* False: nothing was heard that is not obeyed. */
static bool obey_next(struct server_connection *conn)
{
	size_t len = whole_command(conn);

	if (!len || conn->is_lost || conn->is_stalled || conn->has_ended)
		return buf_len(&conn->pending) > 0;
	if (!conn->server->pick || !server_mix(conn))
		server_obey_first(conn);
	return true;
}

void server_obey_first(struct server_connection *conn)
{
	size_t len = whole_command(conn);

	if (len > conn->flight) {
		conn->server->flights++;
		conn->flight = buf_len(&conn->heard);
	}
	conn->flight -= len;
	char *text = mem_dup(buf_data(&conn->heard), len);
	buf_drop(&conn->heard, len);
	if (len > 1 && text[len - 2] == '\r')
		obey(conn, text, len);
	else
		server_crime(conn->server, "a line without CR");
	free(text);
}

/* --- the stream ------------------------------------------------------------------------------- */

static struct err broken(const struct server_connection *conn, int code)
{
	return (struct err){conn->stream.kind, code, "connection lost"};
}

/* The time passes that the client is ready to wait. */
static struct err stall(struct server_connection *conn)
{
	uint64_t now = conn->server->world.now_ms;
	uint64_t end = now + (conn->wait_ms ? conn->wait_ms : SILENCE_MS);

	if (conn->until_ms && conn->until_ms < end)
		end = conn->until_ms;
	if (end > now)
		conn->server->world.now_ms = end;
	return broken(conn, ETIMEDOUT);
}

static struct err server_read(struct stream *base, void *into, size_t max, size_t *got)
{
	struct server_connection *conn = (struct server_connection *)base;
	struct imap_server *server = conn->server;

	*got = 0;
	while (!conn->is_lost && !buf_len(&conn->pending) && !conn->has_ended)
		if (!obey_next(conn))
			return stall(conn);
	if (conn->is_lost && !buf_len(&conn->pending))
		return broken(conn, ECONNRESET);
	if (conn->until_ms && server->world.now_ms > conn->until_ms)
		return broken(conn, ETIMEDOUT);
	size_t len = buf_len(&conn->pending);
	len = len < max ? len : max;
	bool is_cut = server->cut_out != SIZE_MAX && server->cut_out <= len;
	if (is_cut)
		len = server->cut_out;
	if (len)
		memcpy(into, buf_data(&conn->pending), len);
	trace(conn, '<', into, len);
	buf_drop(&conn->pending, len);
	if (is_cut)
		lose(conn);
	if (server->cut_out != SIZE_MAX)
		server->cut_out = is_cut ? SIZE_MAX : server->cut_out - len;
	*got = len;
	return len || conn->has_ended ? OK : broken(conn, ECONNRESET);
}

static struct err server_write(struct stream *base, const void *octets, size_t len)
{
	struct server_connection *conn = (struct server_connection *)base;
	struct imap_server *server = conn->server;

	if (conn->is_lost)
		return broken(conn, EPIPE);
	if (server->cut_in != SIZE_MAX && server->cut_in <= len) {
		put(&conn->heard, octets, server->cut_in);
		server->cut_in = SIZE_MAX;
		while (obey_next(conn))
			buf_drop(&conn->pending, buf_len(&conn->pending));
		lose(conn);
		return broken(conn, ECONNRESET);
	}
	if (server->cut_in != SIZE_MAX)
		server->cut_in -= len;
	put(&conn->heard, octets, len);
	return OK;
}

static void server_limit(struct stream *base, uint64_t wait_ms, uint64_t until_ms)
{
	struct server_connection *conn = (struct server_connection *)base;

	conn->wait_ms = wait_ms;
	conn->until_ms = until_ms;
}

static void server_abort(struct stream *base)
{
	lose((struct server_connection *)base);
}

/* What was sent before the client let go arrives all the same. */
static void server_close(struct stream *base)
{
	struct server_connection *conn = (struct server_connection *)base;
	struct imap_server *server = conn->server;

	while (!conn->is_lost && buf_len(&conn->heard) && obey_next(conn))
		buf_drop(&conn->pending, buf_len(&conn->pending));
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
		if (server->live[i] == conn)
			server->live[i] = NULL;
	buf_fini(&conn->heard);
	buf_fini(&conn->pending);
	buf_fini(&conn->reply);
	free(conn->lines);
	free(conn->view);
	stream_fini(base);
	free(conn);
}

static const struct stream_ops server_ops = {
	server_read, server_write, server_limit, server_abort, server_close,
};

static struct server_connection *connection_new(struct imap_server *server)
{
	struct server_connection *conn = mem_alloc(sizeof *conn);
	size_t at = 0;

	while (at < SERVER_CONNECTIONS && server->live[at])
		at++;
	assert(at < SERVER_CONNECTIONS);
	server->live[at] = conn;
	conn->server = server;
	conn->number = ++server->connections;
	stream_init(&conn->stream, &server_ops, ERR_UPSTREAM, 65536, 16384);
	buf_init(&conn->heard, SERVER_MOST);
	buf_init(&conn->pending, SERVER_MOST);
	buf_init(&conn->reply, SERVER_MOST);
	return conn;
}

struct err server_dial(void *arg, const char *host, unsigned port, struct stream **out)
{
	struct imap_server *server = arg;
	enum server_fault fault = FAULT_NONE;

	(void)host;
	(void)port;
	*out = NULL;
	if (server->on_command)
		fault = server->on_command(server->arg, server, "(dial)");
	if (fault == FAULT_CUT)
		return ERR(ERR_UPSTREAM, ECONNREFUSED, "connection refused");
	struct server_connection *conn = connection_new(server);
	conn->is_stalled = fault == FAULT_STALL;
	conn->has_ended = fault == FAULT_BYE || fault == FAULT_NO;
	if (conn->has_ended)
		say(conn, "* BYE Too many simultaneous connections\r\n");
	else if (fault == FAULT_BAD)
		say(conn, "HTTP/1.1 400 Bad Request\r\n");
	else if (!conn->is_stalled)
		say(conn, "* OK ");
	if (!conn->has_ended && !conn->is_stalled && fault != FAULT_BAD) {
		say(conn, server->family->greeting);
		say(conn, "\r\n");
	}
	*out = &conn->stream;
	return OK;
}
