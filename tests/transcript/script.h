/* SPDX-License-Identifier: MIT */
/* script.h - golden conversations: what a client says, what it must hear, and what must be left in
 * the maildrop afterwards. One file a conversation, one line a thing:
 *
 *	# any comment; the first one says what the file shows
 *
 * Before the first word:
 *	@drop uid=41 size=238          a message made up to that many octets (with CRLF line ends)
 *	@drop uid=57 body=a: b\n\nc    or of these octets as they stand
 *	@drop uid=60                   or of the lines that follow, CRLF after each:
 *	| Subject: x
 *	|
 *	| .a line
 *	       further: name=ID (its own UIDL), listed=N (the size that the listing tells), hidden
 *	       (another client has marked it deleted), refuse=KIND (fetching it fails so)
 *	@user joe                      who may log in: by the store's password (pass-through)
 *	@user joe local=pw stored=pw2  by a password proved here; the store is opened with pw2
 *	@user joe reject=TEXT          refused by the map, to the end of the line
 *	       Without any @user there is one: joe
 *	@password secret               what the store accepts; "secret" if nothing is said
 *	@read-only  @keep  @unseen     the store is read only; delete=never; seen=never
 *	@secure                        the connection has TLS from its first octet
 *	@refuse-clear                  no login without TLS
 *	@certificate                   STLS is possible
 *	@locked                        another session holds the maildrop
 *	@every-way                     all there are to log in are offered; a user's password stands for
 *	                               a digest or a token; SCRAM is led as tests/fake/memory.h tells
 *	@fail N KIND [late]            the store's N-th call fails (open, list, fetch, update in the
 *	                               order they are made), late: after having been done
 *	@alert TEXT                    the store's words about a failed login
 *	@only written octets packet    which ways of sending it the file is meant for; all if not said
 *
 * The conversation:
 *	C: LIST 1                      the client sends this and CRLF; C: lines without S: between
 *	                               them leave in one packet
 *	S: +OK 1 238                   the server says exactly this and CRLF
 *	S: +OK...                      this and anything more to the end of the line
 *	S: xx...\c                     this and anything more, but no line end ever
 *	@tls                           here the TLS handshake is done, and no packet spans it
 *	@close                         here the server has closed: it waits for nothing more
 *	@lost                          the client's connection is cut here; without this the client
 *	                               half-closes (FIN) when it has said everything
 *
 * Afterwards:
 *	@left 41 57 (or: none)         the messages that are still there, by uid
 *	@seen 41 (or: none)            those of them marked as seen
 *	@opens N                       how often the store was opened
 *	@slept MS                      how long the client was made to wait for refused logins, in all
 *
 * In C:, S:, body= and | lines: \r \n \t \0 \\ \{ \xHH; {TEXT*N} is TEXT N times; {uidl 41} is the
 * UIDL of a message; a \c at the end of the line leaves its CRLF out. KIND is one of refused,
 * message, login, in-use, policy, upstream, client.
 */
#ifndef POPGATE_SCRIPT_H
#define POPGATE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fake/memory.h"

enum {
	SCRIPT_MESSAGES = 64,
	SCRIPT_USERS = 8,
	SCRIPT_TURNS = 256,
	SCRIPT_LINES = 2048,
	SCRIPT_OCTETS = 4 << 20, /* of each text */
};

enum script_way { WAY_WRITTEN, WAY_OCTETS, WAY_PACKET, WAYS };

struct script_line {
	char *text; /* owned, with its CRLF */
	size_t len;
	bool is_prefix; /* anything may follow to the end of the line */
	bool is_broken; /* and that line has no end: it is the last octets of all */
};

/* Up to here the client has spoken, and then it waits. */
struct script_turn {
	size_t octets; /* of the input */
	size_t lines;  /* that the client has heard before it spoke up to here */
	bool is_tls;   /* a packet never goes on behind this */
};

struct script_uids {
	bool is_said;
	size_t count;
	uint32_t uids[SCRIPT_MESSAGES];
};

struct script {
	char path[512];
	struct memory_message messages[SCRIPT_MESSAGES]; /* their octets are owned */
	size_t message_count;
	struct fake_user users[SCRIPT_USERS]; /* their strings are owned */
	size_t user_count;
	char *password, *alert; /* owned; alert may be NULL */
	bool is_read_only, is_kept, is_unseen;
	bool is_secure, is_clear_refused, has_certificate, is_locked, has_every_way;
	size_t fail_call;
	enum err_kind fail_kind;
	bool is_fail_late;
	bool ways[WAYS];

	struct buf input;
	struct script_turn turns[SCRIPT_TURNS];
	size_t turn_count;
	struct script_line lines[SCRIPT_LINES];
	size_t line_count;
	bool is_closed, is_lost;

	struct script_uids left, seen;
	int64_t opens, slept_ms; /* -1: not said */
};

/* Reads a file. On failure says on stderr "PATH:LINE: what is wrong" and gives NULL. The caller
 * frees the result. */
struct script *script_read(const char *path);
void script_free(struct script *); /* NULL is fine */

#endif
