/* SPDX-License-Identifier: MIT */
/* imap_server_reply.c - what a connection of the model server is told: news, data, outcomes. */
#include "tests/fake/imap_server_own.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

static void put(struct buf *buf, const void *octets, size_t len)
{
	bool is_good = !len || buf_put(buf, octets, len);

	assert(is_good);
}

bool server_can(const struct server_connection *conn, const char *capability)
{
	const struct imap_family *family = conn->server->family;
	const char *at = conn->is_in ? family->after : family->before;

	for (; *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");
		if (text_same_n(at, len, capability, strlen(capability)))
			return true;
		at += len;
	}
	return false;
}

/* --- the view --------------------------------------------------------------------------------- */

static void view_add(struct server_connection *conn, const struct server_message *msg)
{
	if (conn->view_count == conn->view_room) {
		conn->view_room = conn->view_room * 2 + 16;
		conn->view = mem_resize(conn->view, conn->view_room, sizeof *conn->view);
	}
	conn->view[conn->view_count++] = (struct seen_message){msg->uid, msg->flags & FLAG_KNOWN};
}

void view_take(struct server_connection *conn)
{
	const struct server_folder *folder = conn->folder;
	size_t window = conn->server->window, first = 0;

	if (window && folder->count > window && !conn->is_uidonly &&
	    !server_has(conn->server, SERVER_LIMIT))
		first = folder->count - window;
	conn->view_count = 0;
	for (size_t i = first; i < folder->count; i++)
		view_add(conn, &folder->messages[i]);
	conn->told = folder->changes;
}

struct seen_message *view_find(const struct server_connection *conn, uint32_t uid)
{
	for (size_t i = 0; i < conn->view_count; i++)
		if (conn->view[i].uid == uid)
			return &conn->view[i];
	return NULL;
}

void view_remove(struct server_connection *conn, uint32_t uid)
{
	struct seen_message *seen = view_find(conn, uid);

	if (!seen)
		return;
	conn->view_count--;
	memmove(seen, seen + 1, (size_t)(conn->view + conn->view_count - seen) * sizeof *seen);
}

static void tell_gone(struct server_connection *conn)
{
	size_t removed = 0;

	for (size_t i = 0; i < conn->view_count;) {
		uint32_t uid = conn->view[i].uid;
		if (server_find(conn->folder, uid)) {
			i++;
			continue;
		}
		if (conn->is_uidonly)
			tell(conn, "* VANISHED %u", uid);
		else
			tell(conn, "* %zu EXPUNGE",
			     i + 1 +
				     (server_has(conn->server, SERVER_WRONG_NUMBERS) ? removed
										     : 0));
		removed++;
		view_remove(conn, uid);
	}
}

void tell_flags(struct server_connection *conn, const struct server_message *msg)
{
	struct seen_message *seen = view_find(conn, msg->uid);
	bool names_uid = conn->is_uidonly || imap_server_chance(conn->server, 2);
	char uid[24] = "";

	if (names_uid)
		snprintf(uid, sizeof uid, "UID %u ", msg->uid);
	tell(conn, "* %zu %s (%sFLAGS (%s%s%s))",
	     conn->is_uidonly ? msg->uid : (size_t)(seen - conn->view) + 1,
	     conn->is_uidonly ? "UIDFETCH" : "FETCH", uid, msg->flags & FLAG_SEEN ? "\\Seen " : "",
	     msg->flags & FLAG_ANSWERED ? "\\Answered " : "",
	     msg->flags & FLAG_DELETED ? "\\Deleted" : "$Old");
	seen->flags = msg->flags & FLAG_KNOWN;
}

void tell_news(struct server_connection *conn, bool may_expunge)
{
	const struct server_folder *folder = conn->folder;
	bool has_new = false;

	if (!folder || conn->told == folder->changes)
		return;
	if (may_expunge)
		tell_gone(conn);
	for (size_t i = 0; i < folder->count; i++) {
		const struct server_message *msg = &folder->messages[i];
		const struct seen_message *seen = view_find(conn, msg->uid);
		if (!seen && msg->uid > view_top(conn)) {
			view_add(conn, msg);
			has_new = true;
		} else if (seen && seen->flags != (msg->flags & FLAG_KNOWN)) {
			tell_flags(conn, msg);
		}
	}
	if (has_new)
		tell(conn, "* %zu EXISTS", conn->view_count);
	if (may_expunge)
		conn->told = folder->changes;
}

/* --- lines ------------------------------------------------------------------------------------ */

void tell_begin(struct server_connection *conn)
{
	if (conn->line_count == conn->line_room) {
		conn->line_room = conn->line_room * 2 + 16;
		conn->lines = mem_resize(conn->lines, conn->line_room, sizeof *conn->lines);
	}
	conn->lines[conn->line_count++] = buf_len(&conn->reply);
}

void tell_more(struct server_connection *conn, const void *octets, size_t len)
{
	put(&conn->reply, octets, len);
}

void tell(struct server_connection *conn, const char *format, ...)
{
	va_list args;

	tell_begin(conn);
	va_start(args, format);
	bool is_good = buf_vprintf(&conn->reply, format, args);
	va_end(args);
	assert(is_good);
	put(&conn->reply, "\r\n", 2);
}

static size_t line_end(const struct server_connection *conn, size_t n)
{
	return n + 1 < conn->line_count ? conn->lines[n + 1] : buf_len(&conn->reply);
}

static void put_line(struct server_connection *conn, size_t n)
{
	size_t from = conn->lines[n];

	put(&conn->pending, buf_data(&conn->reply) + from, line_end(conn, n) - from);
}

static bool is_fetch(const struct server_connection *conn, size_t n)
{
	const char *at = buf_data(&conn->reply) + conn->lines[n] + 2;

	while (*at >= '0' && *at <= '9')
		at++;
	return !strncmp(at, " FETCH ", 7) || !strncmp(at, " UIDFETCH ", 10);
}

/* Puts the first `count` lines in another order, if they are all FETCH replies: others change what
 * numbers mean. */
static void put_shuffled(struct server_connection *conn, size_t count)
{
	size_t *order = mem_alloc((count + 1) * sizeof *order);
	bool may_shuffle = true;

	for (size_t i = 0; i < count; i++) {
		order[i] = i;
		may_shuffle &= is_fetch(conn, i);
	}
	for (size_t i = count; may_shuffle && i > 1; i--) {
		size_t other = imap_server_chance(conn->server, (uint32_t)i), keep = order[i - 1];
		order[i - 1] = order[other];
		order[other] = keep;
	}
	for (size_t i = 0; i < count; i++)
		put_line(conn, order[i]);
	free(order);
}

/* Hands the reply on as the fault has it. */
static void deliver(struct server_connection *conn)
{
	struct imap_server *server = conn->server;
	size_t count = conn->line_count - 1, missing = conn->line_count;

	if (conn->fault == FAULT_STALL_DONE)
		conn->is_stalled = true;
	if (conn->fault == FAULT_CUT_DONE)
		conn->is_lost = true;
	if (conn->is_stalled || conn->is_lost)
		return;
	if (conn->fault == FAULT_LOSE && count)
		missing = imap_server_chance(server, (uint32_t)count);
	if (conn->fault == FAULT_SHUFFLE) {
		put_shuffled(conn, count);
		put_line(conn, count);
		return;
	}
	if (conn->fault == FAULT_CUT_MID) {
		size_t len = buf_len(&conn->reply);
		put(&conn->pending, buf_data(&conn->reply),
		    imap_server_chance(server, (uint32_t)len));
		conn->is_lost = true;
		return;
	}
	for (size_t i = 0; i < conn->line_count; i++)
		if (i != missing)
			put_line(conn, i);
}

void answer(struct server_connection *conn, const char *format, ...)
{
	struct imap_server *server = conn->server;
	bool is_ok = !strncmp(format, "OK", 2), is_done = conn->fault != FAULT_LIE;
	char text[SERVER_WORD];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (is_ok && is_done)
		tell_news(conn, true);
	if (is_ok && conn->has_stopped)
		snprintf(text, sizeof text, "NO it stopped half way");
	if (server_has(server, SERVER_CHATTY) && !imap_server_chance(server, 8))
		tell(conn, "* NO the disk is nearly full");
	if (server_has(server, SERVER_CHATTY) && !strcmp(text, "OK done"))
		text[2] = '\0';
	bool is_slow =
		is_ok && server_has(server, SERVER_THROTTLED) && !imap_server_chance(server, 8);
	tell(conn, "%s %s%s", conn->tag, text, is_slow ? " [THROTTLED]" : "");
	conn->has_stopped = false;
	deliver(conn);
}

bool stops_here(struct server_connection *conn)
{
	if (conn->fault == FAULT_HALF && imap_server_chance(conn->server, 2))
		conn->has_stopped = true;
	return conn->has_stopped;
}
