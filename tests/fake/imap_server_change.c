/* SPDX-License-Identifier: MIT */
/* imap_server_change.c - the model server's STORE, EXPUNGE, COPY and MOVE, and SEARCH, by which a
 * client finds out what came of them. */
#include "tests/fake/imap_server_own.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum { SET = 65536 };

/* The UIDs of a set that the connection sees and that are still there, owned. */
static uint32_t *chosen(const struct server_connection *conn, const char *set, size_t *count)
{
	uint32_t *uids = mem_alloc((conn->view_count + 1) * sizeof *uids);

	*count = 0;
	for (size_t i = 0; i < conn->view_count; i++) {
		uint32_t uid = conn->view[i].uid;
		if ((!set || set_has(set, uid, view_top(conn))) && server_find(conn->folder, uid))
			uids[(*count)++] = uid;
	}
	return uids;
}

static bool may_remove(struct server_connection *conn, const struct server_message *msg)
{
	struct imap_server *server = conn->server;

	if (!server->may_remove || server->may_remove(server->arg, msg->mail->id))
		return true;
	server_crime(server, "UID %u, mail %llu, was deleted, which nobody had asked for", msg->uid,
		     (unsigned long long)msg->mail->id);
	return false;
}

static unsigned flags_of(const char *list)
{
	char low[SERVER_WORD];

	snprintf(low, sizeof low, "%s", list);
	text_lower(low);
	return (strstr(low, "\\deleted") ? FLAG_DELETED : 0u) |
	       (strstr(low, "\\seen") ? FLAG_SEEN : 0u) |
	       (strstr(low, "\\answered") ? FLAG_ANSWERED : 0u);
}

static void store_one(struct server_connection *conn, struct server_message *msg, char sign,
		      unsigned flags)
{
	if (sign == '-') {
		msg->flags &= ~flags;
		if (flags & FLAG_DELETED)
			msg->flags &= ~(unsigned)(FLAG_OURS | FLAG_THEIRS);
	} else {
		if (flags & FLAG_DELETED)
			may_remove(conn, msg);
		msg->flags |= flags | (flags & FLAG_DELETED ? FLAG_OURS : 0u);
	}
	msg->modseq = ++conn->folder->modseq;
	conn->folder->changes++;
}

void do_store(struct server_connection *conn, struct words *words)
{
	struct imap_server *server = conn->server;
	char *set = mem_alloc(SET), verb[64], list[SERVER_WORD];
	uint32_t *uids = NULL;
	size_t count = 0;

	if (!words_next(words, set, SET) || !words_next(words, verb, sizeof verb) ||
	    !words_next(words, list, sizeof list) || !set_is_good(server, set) ||
	    (*verb != '+' && *verb != '-') || !text_same_n(verb + 1, 5, "FLAGS", 5)) {
		answer(conn, "BAD what is that?");
		goto out;
	}
	if (conn->is_read_only) {
		answer(conn, "NO [READ-ONLY] nothing can be changed");
		goto out;
	}
	uids = chosen(conn, set, &count);
	for (size_t i = 0; i < count && !stops_here(conn); i++) {
		struct server_message *msg = server_find(conn->folder, uids[i]);
		store_one(conn, msg, *verb, flags_of(list));
		if (text_same(verb + 6, ".SILENT"))
			view_find(conn, uids[i])->flags = msg->flags & FLAG_KNOWN;
		if ((msg->flags & FLAG_DELETED) && server->is_auto_expunge)
			server_remove(server, conn->folder, uids[i], WAY_AUTO, conn->number);
	}
	answer(conn, "OK done");
out:
	free(uids);
	free(set);
}

void do_expunge(struct server_connection *conn, const char *set)
{
	size_t count;

	if (conn->is_read_only) {
		answer(conn, "NO [READ-ONLY] nothing can be changed");
		return;
	}
	uint32_t *uids = chosen(conn, set, &count);
	for (size_t i = 0; i < count; i++) {
		const struct server_message *msg = server_find(conn->folder, uids[i]);
		if (!(msg->flags & FLAG_DELETED))
			continue;
		if (stops_here(conn))
			break;
		server_remove(conn->server, conn->folder, uids[i], WAY_EXPUNGE, conn->number);
	}
	free(uids);
	answer(conn, "OK done");
}

/* Appends ",n" to a list of numbers. */
static void list_number(struct buf *list, uint32_t number)
{
	bool is_good = buf_printf(list, "%s%u", buf_len(list) ? "," : "", number);

	assert(is_good);
}

static void copy_one(struct server_connection *conn, struct server_folder *target, uint32_t uid,
		     bool is_move, struct buf lists[2])
{
	struct imap_server *server = conn->server;
	struct server_message *msg = server_find(conn->folder, uid);
	struct server_mail *mail = msg->mail;
	bool has_labels = server_has(server, SERVER_LABELS);
	bool is_trash = target->use && !strcmp(target->use, "\\Trash");
	bool goes = is_move || (has_labels && is_trash);

	if (goes)
		may_remove(conn, msg);
	if (!has_labels || !imap_server_copies(target, mail->id))
		server_append(server, target, mail);
	list_number(&lists[0], uid);
	list_number(&lists[1], target->uidnext - 1);
	if (goes)
		server_remove(server, conn->folder, uid, is_move ? WAY_MOVE : WAY_COPY,
			      conn->number);
}

/* The [COPYUID] of what was copied, a blank behind it; "" where the server tells none. */
static char *copyuid(const struct server_connection *conn, const struct server_folder *target,
		     struct buf lists[2], size_t count)
{
	if (!server_can(conn, "UIDPLUS") || !count)
		return text_dup("");
	if (server_has(conn->server, SERVER_COPYUID_EMPTY))
		return text_printf_dup("[COPYUID %llu  ] ",
				       (unsigned long long)target->uidvalidity);
	return text_printf_dup("[COPYUID %llu %.*s %.*s] ", (unsigned long long)target->uidvalidity,
			       (int)buf_len(&lists[0]), buf_data(&lists[0]),
			       (int)buf_len(&lists[1]), buf_data(&lists[1]));
}

static void copy_set(struct server_connection *conn, struct server_folder *target, const char *set,
		     bool is_move)
{
	struct buf lists[2];
	size_t count, done = 0;
	uint32_t *uids = chosen(conn, set, &count);

	buf_init(&lists[0], SERVER_MOST);
	buf_init(&lists[1], SERVER_MOST);
	/* A COPY is done as a whole or not at all; a MOVE need not be. */
	bool has_none = !is_move && count && stops_here(conn);
	while (!has_none && done < count && !(is_move && stops_here(conn)))
		copy_one(conn, target, uids[done++], is_move, lists);
	char *code = copyuid(conn, target, lists, done);
	if (is_move && done)
		tell(conn, "* OK %smoved", code);
	answer(conn, "OK %sdone", is_move || strlen(code) > 900 ? "" : code);
	free(code);
	free(uids);
	buf_fini(&lists[0]);
	buf_fini(&lists[1]);
}

void do_copy(struct server_connection *conn, struct words *words, bool is_move)
{
	char *set = mem_alloc(SET), name[SERVER_WORD];
	struct server_folder *target;

	if ((is_move && !server_can(conn, "MOVE")) || !words_next(words, set, SET) ||
	    !words_next(words, name, sizeof name) || !set_is_good(conn->server, set))
		answer(conn, "BAD what is that?");
	else if (is_move && conn->is_read_only)
		answer(conn, "NO [READ-ONLY] nothing can be changed");
	else if (!(target = imap_server_folder(conn->server, name)))
		answer(conn, "NO [TRYCREATE] no such folder");
	else
		copy_set(conn, target, set, is_move);
	free(set);
}

/* --- SEARCH ----------------------------------------------------------------------------------- */

/* LARGER, SMALLER and HEADER, whose first word was taken. */
static bool meets_octets(const struct server_mail *mail, const char *key, struct words *words)
{
	char word[SERVER_WORD];
	const char *body = memmem(mail->octets, mail->len, "\r\n\r\n", 4);
	size_t header = body ? (size_t)(body - mail->octets) : mail->len;

	if (!words_next(words, word, sizeof word))
		return false;
	if (text_same(key, "LARGER"))
		return mail->len > strtoul(word, NULL, 10);
	if (text_same(key, "SMALLER"))
		return mail->len < strtoul(word, NULL, 10);
	return words_next(words, word, sizeof word) &&
	       memmem(mail->octets, header, word, strlen(word)) != NULL;
}

/* Whether a message meets the criteria; *is_good becomes false at one that is not known. */
static bool meets(const struct server_message *msg, uint32_t top, struct words words, bool *is_good)
{
	char *set = mem_alloc(SET);
	bool does = true;

	while (*is_good && words_next(&words, set, SET)) {
		bool is_not = text_same(set, "NOT") && words_next(&words, set, SET), holds;
		if (text_same(set, "ALL"))
			holds = true;
		else if (text_same(set, "DELETED") || text_same(set, "UNDELETED"))
			holds = !(msg->flags & FLAG_DELETED) == (*set == 'U');
		else if (text_same(set, "SEEN") || text_same(set, "UNSEEN"))
			holds = !(msg->flags & FLAG_SEEN) == (*set == 'U');
		else if (text_same(set, "UID") && words_next(&words, set, SET))
			holds = set_has(set, msg->uid, top);
		else if (text_same(set, "LARGER") || text_same(set, "SMALLER") ||
			 text_same(set, "HEADER"))
			holds = meets_octets(msg->mail, set, &words);
		else
			holds = *is_good = false;
		does &= holds != is_not;
	}
	free(set);
	return does;
}

static void tell_found(struct server_connection *conn, const uint32_t *uids, size_t count,
		       bool is_extended)
{
	tell_begin(conn);
	const char *head = "* SEARCH";
	char item[64];
	if (is_extended) {
		snprintf(item, sizeof item, "* ESEARCH (TAG \"%s\") UID%s", conn->tag,
			 count ? " ALL " : "");
		head = item;
	}
	tell_more(conn, head, strlen(head));
	for (size_t i = 0; i < count; i++) {
		size_t last = i;
		while (is_extended && last + 1 < count && uids[last + 1] == uids[last] + 1)
			last++;
		int len = snprintf(item, sizeof item, "%s%u", is_extended ? (i ? "," : "") : " ",
				   uids[i]);
		if (last > i)
			len += snprintf(item + len, sizeof item - (size_t)len, ":%u", uids[last]);
		tell_more(conn, item, (size_t)len);
		i = last;
	}
	tell_more(conn, "\r\n", 2);
}

void do_search(struct server_connection *conn, struct words *words)
{
	bool is_extended = words_take(words, "RETURN"), is_good = !words_end(words);
	char options[64];
	size_t count = 0, all;

	if (is_extended)
		is_good = server_can(conn, "ESEARCH") &&
			  words_next(words, options, sizeof options) && text_same(options, "(ALL)");
	uint32_t *uids = chosen(conn, NULL, &all);
	for (size_t i = 0; i < all && is_good; i++)
		if (meets(server_find(conn->folder, uids[i]), view_top(conn), *words, &is_good))
			uids[count++] = uids[i];
	if (is_good) {
		tell_found(conn, uids, count, is_extended);
		answer(conn, "OK done");
	} else {
		answer(conn, "BAD what is that?");
	}
	free(uids);
}
