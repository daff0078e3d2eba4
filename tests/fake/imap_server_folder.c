/* SPDX-License-Identifier: MIT */
/* imap_server_folder.c - the model server's commands about folders. */
#include "tests/fake/imap_server_own.h"

#include <stdio.h>
#include <string.h>

#include "proxy/base/text.h"

static void tell_folder(struct server_connection *conn, bool is_examine)
{
	const struct imap_server *server = conn->server;
	struct server_folder *folder = conn->folder;
	uint64_t uidvalidity = folder->uidvalidity;

	/* Nothing is kept of a Maildir that was never opened for writing. */
	if (is_examine && !folder->was_selected && server_has(server, SERVER_EXAMINE_FORGETS))
		uidvalidity += server->commands;
	tell(conn, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)");
	tell(conn, "* %zu EXISTS", conn->view_count);
	tell(conn, "* 0 RECENT");
	tell(conn, "* OK [UIDVALIDITY %llu] UIDs valid", (unsigned long long)uidvalidity);
	if (!server_has(server, SERVER_NO_UIDNEXT))
		tell(conn, "* OK [UIDNEXT %u] next", folder->uidnext);
	tell(conn, "* OK [PERMANENTFLAGS (%s)] kept",
	     is_examine ? "" : "\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*");
	if (server_can(conn, "CONDSTORE") || server_has(server, SERVER_MODSEQ_ALWAYS))
		tell(conn, "* OK [HIGHESTMODSEQ %llu] mod", (unsigned long long)folder->modseq);
}

void do_select(struct server_connection *conn, struct words *words, bool is_examine)
{
	struct imap_server *server = conn->server;
	char name[SERVER_WORD], more[SERVER_WORD];

	conn->folder = NULL;
	if (server_has(server, SERVER_ID_FIRST) && !conn->has_id) {
		answer(conn, "NO SELECT Unsafe Login. Please contact kefu@188.com for help");
		return;
	}
	if (server_has(server, SERVER_BAD_ONCE) && !conn->was_bad && conn->number % 2) {
		conn->was_bad = true;
		answer(conn, "BAD User is authenticated but not connected.");
		return;
	}
	if (!words_next(words, name, sizeof name)) {
		answer(conn, "BAD no name");
		return;
	}
	if (words_next(words, more, sizeof more) && !server_can(conn, "CONDSTORE")) {
		answer(conn, "BAD not here");
		return;
	}
	struct server_folder *folder = imap_server_folder(server, name);
	if (!folder) {
		answer(conn, "NO [NONEXISTENT] no such folder");
		return;
	}
	conn->folder = folder;
	conn->is_read_only = is_examine;
	view_take(conn);
	tell_folder(conn, is_examine);
	folder->was_selected |= !is_examine;
	answer(conn, "OK [READ-%s] done", is_examine ? "ONLY" : "WRITE");
}

void do_list(struct server_connection *conn, struct words *words)
{
	bool has_use = server_can(conn, "SPECIAL-USE");
	bool is_special = words_take(words, "(SPECIAL-USE)");
	char reference[SERVER_WORD], pattern[SERVER_WORD];

	if ((is_special && !has_use) || !words_next(words, reference, sizeof reference) ||
	    words_end(words)) {
		answer(conn, "BAD not here");
		return;
	}
	words_next(words, pattern, sizeof pattern);
	bool is_all = !strcmp(pattern, "*") || !strcmp(pattern, "%");
	if (!*pattern)
		tell(conn, "* LIST (\\Noselect) \"/\" \"\"");
	for (size_t i = 0; i < conn->server->folder_count; i++) {
		const struct server_folder *folder = &conn->server->folders[i];
		bool is_used = has_use && folder->use;
		if ((is_special && !is_used) || (!is_all && !text_same(pattern, folder->name)))
			continue;
		tell(conn, "* LIST (\\HasNoChildren%s%s) \"/\" \"%s\"", is_used ? " " : "",
		     is_used ? folder->use : "", folder->name);
	}
	answer(conn, "OK done");
}

void do_status(struct server_connection *conn, struct words *words)
{
	char name[SERVER_WORD];
	struct server_folder *folder = NULL;

	if (words_next(words, name, sizeof name))
		folder = imap_server_folder(conn->server, name);
	if (!folder) {
		answer(conn, "NO [NONEXISTENT] no such folder");
		return;
	}
	tell(conn, "* STATUS \"%s\" (MESSAGES %zu UIDNEXT %u UIDVALIDITY %llu)", folder->name,
	     folder->count, folder->uidnext, (unsigned long long)folder->uidvalidity);
	answer(conn, "OK done");
}

void do_create(struct server_connection *conn, struct words *words)
{
	char name[SERVER_WORD];

	if (!words_next(words, name, sizeof name))
		answer(conn, "BAD no name");
	else if (imap_server_folder(conn->server, name))
		answer(conn, "NO [ALREADYEXISTS] it is there");
	else if (!imap_server_make(conn->server, name, NULL))
		answer(conn, "NO [LIMIT] too many folders");
	else
		answer(conn, "OK done");
}
