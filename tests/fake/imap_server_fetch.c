/* SPDX-License-Identifier: MIT */
/* imap_server_fetch.c - the model server's FETCH. */
#include "tests/fake/imap_server_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum { SET = 65536, SIZE_MORE = 100 };

enum section { SECTION_NONE, SECTION_WHOLE, SECTION_HEADER, SECTION_FIELDS };

/* What a FETCH asks for. */
struct wants {
	bool uid, flags, size, modseq, email_id, gm_msgid, is_seen, is_part, is_rfc822;
	enum section section;
	char label[SERVER_WORD];  /* "BODY[...]" as in the reply, without the origin */
	char fields[SERVER_WORD]; /* blank before and behind each name */
	uint64_t from, octets;
	uint64_t since; /* CHANGEDSINCE; 0: none */
};

/* The text of "[...]" and what follows it. */
static bool want_section(struct wants *wants, const char *text)
{
	const char *close = strchr(text, ']');
	size_t len = close ? (size_t)(close - text) : 0;
	char *behind;

	if (!close || wants->section)
		return false;
	snprintf(wants->label, sizeof wants->label, "BODY[%.*s]", (int)len, text);
	if (!len) {
		wants->section = SECTION_WHOLE;
	} else if (text_same_n(text, len, "HEADER", 6)) {
		wants->section = SECTION_HEADER;
	} else if (len > 15 && text_same_n(text, 15, "HEADER.FIELDS (", 15)) {
		wants->section = SECTION_FIELDS;
		snprintf(wants->fields, sizeof wants->fields, " %.*s ", (int)(len - 16), text + 15);
	} else {
		return false;
	}
	if (close[1] != '<')
		return !close[1];
	wants->is_part = true;
	wants->from = strtoull(close + 2, &behind, 10);
	if (*behind != '.')
		return false;
	wants->octets = strtoull(behind + 1, &behind, 10);
	return !strcmp(behind, ">") && wants->octets;
}

static bool want_item(const struct server_connection *conn, struct wants *wants, const char *item)
{
	if (text_same(item, "UID"))
		wants->uid = true;
	else if (text_same(item, "FLAGS"))
		wants->flags = true;
	else if (text_same(item, "RFC822.SIZE"))
		wants->size = true;
	else if (text_same(item, "MODSEQ") && server_can(conn, "CONDSTORE"))
		wants->modseq = true;
	else if (text_same(item, "EMAILID") && server_can(conn, "OBJECTID"))
		wants->email_id = true;
	else if (text_same(item, "X-GM-MSGID") && server_can(conn, "X-GM-EXT-1"))
		wants->gm_msgid = true;
	else if (text_same(item, "RFC822"))
		wants->is_rfc822 = wants->is_seen = true;
	else if (text_same_n(item, strnlen(item, 10), "BODY.PEEK[", 10))
		return want_section(wants, item + 10);
	else if (text_same_n(item, strnlen(item, 5), "BODY[", 5))
		return (wants->is_seen = true) && want_section(wants, item + 5);
	else
		return false;
	return true;
}

static bool want_all(const struct server_connection *conn, struct wants *wants, struct words *words)
{
	char list[SERVER_WORD], item[SERVER_WORD];
	char *from = list;

	if (!words_next(words, list, sizeof list))
		return false;
	if (*list == '(') {
		from++;
		list[strlen(list) - 1] = '\0';
	}
	struct words items = {from, from + strlen(from)};
	while (words_next(&items, item, sizeof item))
		if (!want_item(conn, wants, item))
			return false;
	if (words_end(words))
		return true;
	if (!words_next(words, list, sizeof list) || !server_can(conn, "CONDSTORE") ||
	    strncmp(list, "(CHANGEDSINCE ", 14) != 0)
		return false;
	wants->since = strtoull(list + 14, NULL, 10);
	wants->modseq = true;
	return true;
}

/* Whether a field of a header is among those that were asked for. */
static bool is_wanted(const struct wants *wants, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	char name[128], low[SERVER_WORD];

	if (wants->section == SECTION_HEADER)
		return true;
	if (!colon || colon - line > 100)
		return false;
	snprintf(name, sizeof name, " %.*s ", (int)(colon - line), line);
	snprintf(low, sizeof low, "%s", wants->fields);
	text_lower(name);
	text_lower(low);
	return strstr(low, name) != NULL;
}

/* The header of a mail, or those of its fields that were asked for, owned. */
static char *header_of(const struct server_connection *conn, const struct wants *wants,
		       const struct server_mail *mail, size_t *len)
{
	char *out = mem_alloc(mail->len + 3);
	bool is_in = false;
	size_t at = 0;

	*len = 0;
	while (at < mail->len) {
		const char *line = mail->octets + at, *lf = memchr(line, '\n', mail->len - at);
		size_t end = lf ? (size_t)(lf - line) + 1 : mail->len - at;
		if (*line == '\n' || *line == '\r')
			break;
		is_in = *line == ' ' || *line == '\t' ? is_in : is_wanted(wants, line, end);
		if (is_in) {
			memcpy(out + *len, line, end);
			*len += end;
		}
		at += end;
	}
	memcpy(out + *len, "\r\n", 2);
	*len += 2;
	for (size_t i = 0; i < *len && server_has(conn->server, SERVER_HEADER_DIFFERS); i++)
		if ((unsigned char)out[i] > 0x7e)
			out[i] = '?';
	return out;
}

static void put(struct server_connection *conn, const char *text)
{
	tell_more(conn, text, strlen(text));
}

static void put_text(struct server_connection *conn, const struct wants *wants, const char *text,
		     size_t len)
{
	bool is_cut = wants->is_part && !server_has(conn->server, SERVER_PARTIAL_WHOLE);
	size_t from = is_cut ? (size_t)wants->from : 0, octets = len;
	char head[SERVER_WORD + 64], origin[32] = "";

	from = from < len ? from : len;
	octets = len - from;
	if (is_cut && octets > wants->octets)
		octets = (size_t)wants->octets;
	if (is_cut)
		snprintf(origin, sizeof origin, "<%llu>", (unsigned long long)wants->from);
	snprintf(head, sizeof head, " %s%s {%zu}\r\n", wants->label, origin, octets);
	put(conn, head);
	tell_more(conn, text + from, octets);
}

static void put_body(struct server_connection *conn, const struct wants *wants,
		     const struct server_mail *mail)
{
	size_t len = mail->len;
	char *header = NULL;

	if (mail->oddity == ODD_NIL || mail->oddity == ODD_EMPTY) {
		put(conn, " ");
		put(conn, wants->label);
		put(conn, mail->oddity == ODD_NIL ? " NIL" : " \"\"");
		return;
	}
	if (mail->oddity == ODD_STUB) {
		put_text(conn, wants, imap_server_stub, strlen(imap_server_stub));
		return;
	}
	if (wants->section != SECTION_WHOLE)
		header = header_of(conn, wants, mail, &len);
	put_text(conn, wants, header ? header : mail->octets, len);
	free(header);
}

static void put_number(struct server_connection *conn, const char *format, unsigned long long n)
{
	char item[64];

	snprintf(item, sizeof item, format, n);
	put(conn, item);
}

static uint64_t size_of(const struct server_connection *conn, const struct server_mail *mail)
{
	if (server_has(conn->server, SERVER_SIZES_DIFFER))
		return mail->len + SIZE_MORE + mail->id % 7;
	return mail->len;
}

/* One FETCH reply. */
static void fetch_one(struct server_connection *conn, const struct wants *wants,
		      struct server_message *msg, size_t number)
{
	bool size_first = server_has(conn->server, SERVER_SIZE_FIRST);
	const struct server_mail *mail = msg->mail;

	if (wants->is_seen)
		msg->flags |= FLAG_SEEN;
	tell_begin(conn);
	put_number(conn, "* %llu", conn->is_uidonly ? msg->uid : number);
	put(conn, conn->is_uidonly ? " UIDFETCH (X-NONE NIL" : " FETCH (X-NONE NIL");
	if (wants->size && size_first)
		put_number(conn, " RFC822.SIZE %llu", size_of(conn, mail));
	if (!conn->is_uidonly && !conn->server->tells_uid_last)
		put_number(conn, " UID %llu", msg->uid);
	if (wants->size && !size_first)
		put_number(conn, " RFC822.SIZE %llu", size_of(conn, mail));
	if (wants->modseq)
		put_number(conn, " MODSEQ (%llu)", msg->modseq);
	if (wants->email_id)
		put_number(conn, " EMAILID (M%llu)", mail->id);
	if (wants->gm_msgid)
		put_number(conn, " X-GM-MSGID %llu", 1278455344230334865ull + mail->id);
	if (wants->flags)
		put(conn, msg->flags & FLAG_DELETED ? " FLAGS (\\Seen \\Deleted)"
			  : msg->flags & FLAG_SEEN  ? " FLAGS (\\Seen)"
						    : " FLAGS ()");
	if (wants->section)
		put_body(conn, wants, mail);
	if (wants->is_rfc822) {
		put_number(conn, " RFC822 {%llu}\r\n", mail->len);
		tell_more(conn, mail->octets, mail->len);
	}
	if (!conn->is_uidonly && conn->server->tells_uid_last)
		put_number(conn, " UID %llu", msg->uid);
	put(conn, ")\r\n");
}

/* What came of the whole command. */
struct told {
	bool is_gone, is_refused, is_unavailable;
	uint32_t lowest; /* UID at which a limit stopped; 0: none did */
};

static bool is_bad(const struct server_mail *mail)
{
	return mail->oddity == ODD_REFUSED || mail->oddity == ODD_UNAVAILABLE;
}

/* Exchange: whether the whole set fails for one message in it. */
static bool set_fails(const struct server_connection *conn, const struct wants *wants,
		      const char *set)
{
	const struct server_folder *folder = conn->folder;

	if (!server_has(conn->server, SERVER_SET_FAILS) || !wants->section)
		return false;
	for (size_t i = 0; i < folder->count; i++)
		if (is_bad(folder->messages[i].mail) &&
		    set_has(set, folder->messages[i].uid, view_top(conn)))
			return true;
	return false;
}

static void fetch_message(struct server_connection *conn, const struct wants *wants, size_t at,
			  struct told *told)
{
	struct server_message *msg = server_find(conn->folder, conn->view[at].uid);
	bool is_body = wants->section || wants->is_rfc822;

	if (!msg) {
		told->is_gone = true;
		return;
	}
	if (msg->modseq <= wants->since && wants->since)
		return;
	if (is_body && is_bad(msg->mail)) {
		told->is_refused |= msg->mail->oddity == ODD_REFUSED;
		told->is_unavailable |= msg->mail->oddity == ODD_UNAVAILABLE;
		return;
	}
	if ((is_body && msg->mail->oddity == ODD_NO_DATA) ||
	    (wants->is_rfc822 && server_has(conn->server, SERVER_RFC822_EMPTY)))
		return;
	fetch_one(conn, wants, msg, at + 1);
}

/* The first place of the view that a command may tell: Yahoo does the newest `window` of a set. */
static size_t first_place(struct server_connection *conn, const char *set, struct told *told)
{
	size_t left = conn->server->window, at = conn->view_count;

	if (!server_has(conn->server, SERVER_LIMIT) || !left)
		return 0;
	while (at && left) {
		at--;
		if (set_has(set, conn->view[at].uid, view_top(conn)) && --left == 0)
			told->lowest = conn->view[at].uid;
	}
	return left ? 0 : at;
}

static void fetch_set(struct server_connection *conn, const struct wants *wants, const char *set,
		      struct told *told)
{
	if (server_has(conn->server, SERVER_ZERO_FETCH) && !imap_server_chance(conn->server, 3))
		tell(conn, "* 0 FETCH (FLAGS ())");
	for (size_t at = first_place(conn, set, told); at < conn->view_count; at++) {
		if (!set_has(set, conn->view[at].uid, view_top(conn)))
			continue;
		if (stops_here(conn))
			break;
		fetch_message(conn, wants, at, told);
	}
}

void do_fetch(struct server_connection *conn, struct words *words)
{
	struct imap_server *server = conn->server;
	struct wants wants = {.uid = true};
	struct told told = {0};
	char *set = mem_alloc(SET);

	if (!words_next(words, set, SET) || !set_is_good(server, set) ||
	    !want_all(conn, &wants, words)) {
		answer(conn, "BAD what is that?");
		goto out;
	}
	if (wants.is_seen)
		server_crime(server, "a FETCH that sets \\Seen");
	if (set_fails(conn, &wants, set)) {
		answer(conn, "NO The requested item could not be found.");
		goto out;
	}
	fetch_set(conn, &wants, set, &told);
	if (told.is_unavailable)
		answer(conn, "NO [UNAVAILABLE] UID FETCH Server error - Please try again later");
	else if (told.is_refused)
		answer(conn, "NO The requested item could not be found.");
	else if (told.is_gone && wants.section && server->says_issued)
		answer(conn, "NO [EXPUNGEISSUED] some of them are gone");
	else if (told.lowest)
		answer(conn, "OK [MESSAGELIMIT %zu %u] done", server->window, told.lowest);
	else
		answer(conn, "OK done");
out:
	free(set);
}
