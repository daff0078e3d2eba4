/* SPDX-License-Identifier: MIT */
/* command.c - the command table and the only reader of lines.
 *
 * A verb has a row or does not exist; a verb with two rows means two things in two states. No
 * handler looks at the state again.
 */
#include "session/command.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "session/authorization.h"
#include "session/reply.h"
#include "session/sasl.h"
#include "session/transaction.h"
#include "session/update.h"

enum { DAY_S = 86400 };
enum { GENERAL = 255, CREDENTIAL = 1024 }; /* longest lines with CRLF, octets */

static struct err cmd_capa(struct session *, const struct args *);

static const struct command commands[] = {
	{"CAPA", AUTHORIZATION | TRANSACTION, 0, 0, GENERAL, cmd_capa, 0, IS_TRIMMED | KEEPS_NAME,
	 NULL, NULL},
	{"USER", AUTHORIZATION, 1, REST, CREDENTIAL, cmd_user, 0, 0, "USER",
	 authorization_may_login_plain},
	{"PASS", AUTHORIZATION, 1, REST, CREDENTIAL, cmd_pass, TRANSACTION,
	 KEEPS_NAME | TAKES_BYTES, NULL, NULL},
	{"APOP", AUTHORIZATION, 2, 2, CREDENTIAL, cmd_apop, TRANSACTION, IS_TRIMMED, NULL, NULL},
	{"AUTH", AUTHORIZATION, 0, 2, SESSION_IN_MAX, cmd_auth, 0, 0, "SASL",
	 authorization_has_mechanisms},
	{"STLS", AUTHORIZATION, 0, 0, GENERAL, cmd_stls, 0, IS_TRIMMED, "STLS",
	 authorization_may_start_tls},
	{"QUIT", AUTHORIZATION, 0, 0, GENERAL, cmd_bye, CLOSED, IS_TRIMMED, NULL, NULL},
	{"STAT", TRANSACTION, 0, 0, GENERAL, cmd_stat, 0, IS_TRIMMED, NULL, NULL},
	{"LIST", TRANSACTION, 0, 1, GENERAL, cmd_list, 0, IS_TRIMMED, NULL, NULL},
	{"UIDL", TRANSACTION, 0, 1, GENERAL, cmd_uidl, 0, IS_TRIMMED, "UIDL", NULL},
	{"RETR", TRANSACTION, 1, 1, GENERAL, cmd_retr, 0, IS_TRIMMED, NULL, NULL},
	{"TOP", TRANSACTION, 2, 2, GENERAL, cmd_top, 0, IS_TRIMMED, "TOP", NULL},
	{"DELE", TRANSACTION, 1, 1, GENERAL, cmd_dele, 0, IS_TRIMMED, NULL, NULL},
	{"NOOP", TRANSACTION, 0, 0, GENERAL, cmd_noop, 0, IS_TRIMMED, NULL, NULL},
	{"RSET", TRANSACTION, 0, 0, GENERAL, cmd_rset, 0, IS_TRIMMED, NULL, NULL},
	{"QUIT", TRANSACTION, 0, 0, GENERAL, cmd_quit, CLOSED, IS_TRIMMED, NULL, NULL},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static struct err malformed(const char *what)
{
	return (struct err){ERR_REFUSED, EINVAL, what};
}

/* The row of a verb that is lawful now; *is_known: it is lawful somewhere. */
static const struct command *find(enum state state, const char *verb, size_t len, bool *is_known)
{
	*is_known = false;
	for (size_t i = 0; i < COMMANDS; i++) {
		const struct command *row = &commands[i];
		if (!text_same_n(row->verb, strlen(row->verb), verb, len))
			continue;
		*is_known = true;
		if (row->states & state)
			return row;
	}
	return NULL;
}

static bool has_only_allowed_octets(const char *at, size_t len, bool takes_bytes)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)at[i];
		bool is_special = c == '\t' || c > 0x7f;
		bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
		if (is_control || (is_special && !takes_bytes))
			return false;
	}
	return true;
}

/* Cuts `at` at single blanks into words; false if one is empty or there are too many. */
static bool split(char *at, struct args *out)
{
	while (at) {
		if (out->count == ARGS_MAX || !*at || *at == ' ')
			return false;
		out->word[out->count++] = at;
		at = strchr(at, ' ');
		if (at)
			*at++ = '\0';
	}
	return true;
}

struct err command_parse(enum state state, char *line, size_t len, const struct command **row,
			 struct args *out)
{
	bool is_known;

	*row = NULL;
	*out = (struct args){0};
	const char *blank = memchr(line, ' ', len), *tab = memchr(line, '\t', len);
	size_t verb = blank ? (size_t)(blank - line) : len;
	if (tab && (size_t)(tab - line) < verb)
		verb = (size_t)(tab - line);
	const struct command *found = find(state, line, verb, &is_known);
	if (len + 2 > (found ? found->longest : GENERAL))
		return ERR(ERR_REFUSED, E2BIG, "line too long");
	while (found && (found->traits & IS_TRIMMED) && len > verb &&
	       (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	line[len] = '\0';
	if (!has_only_allowed_octets(line, len, found && (found->traits & TAKES_BYTES)))
		return malformed("line has octets that no command may have");
	if (!found)
		return malformed(is_known ? "command not valid in this state" : "unknown command");
	char *rest = verb < len && line[verb] == ' ' ? line + verb + 1 : NULL;
	if (rest && found->max == REST) {
		out->word[0] = rest;
		out->count = *rest != '\0';
	} else if (rest ? !split(rest, out) : verb < len) {
		return malformed("arguments are separated by one blank");
	}
	if (out->count < found->min || (found->max != REST && out->count > found->max))
		return malformed("wrong number of arguments");
	*row = found;
	return OK;
}

bool command_is_foreign(const char *line, size_t len)
{
	static const char *const openings[] = {"GET ",     "POST ", "PUT ",  "HEAD ", "OPTIONS ",
					       "CONNECT ", "EHLO ", "HELO ", "SSH-",  "\x16"};

	for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
		size_t opening = strlen(openings[i]);
		if (len >= opening && text_same_n(line, opening, openings[i], opening))
			return true;
	}
	return false;
}

void command_forget(struct session *session)
{
	free(session->name);
	session->name = NULL;
}

static struct err run(struct session *session, char *line, size_t len)
{
	const struct command *row;
	struct args args;
	struct err err = command_parse(session->state, line, len, &row, &args);

	if (!row || !(row->traits & KEEPS_NAME))
		command_forget(session);
	if (err.kind)
		return err;
	err = row->run(session, &args);
	if (!err.kind && row->next && !session->parked)
		assert(session->state == row->next);
	return err;
}

struct err command_dispatch(struct session *session, const char *line, size_t len)
{
	char *copy = mem_dup(line, len);

	/* Taken, but its octets still lie in the stream's buffer (B-22). */
	mem_wipe((void *)(uintptr_t)line, len);
	struct err err = run(session, copy, len);
	mem_wipe(copy, len);
	free(copy);
	return err;
}

/* Table 3. Short lines, for fetchmail's buffer has 64 octets; of the mechanisms those that it
 * knows stand in front. */
static struct err cmd_capa(struct session *session, const struct args *args)
{
	char mechanisms[SASL_LIST_MAX];

	(void)args;
	sasl_list(mechanisms, authorization_ways(session), " ", "");
	TRY(reply_ok(session, "capability list follows"));
	for (size_t i = 0; i < COMMANDS; i++) {
		const struct command *row = &commands[i];
		if (!row->capa || (row->is_announced && !row->is_announced(session)))
			continue;
		TRY(stream_printf(session->client, "%s%s\r\n", row->capa,
				  row->run == cmd_auth ? mechanisms : ""));
	}
	uint64_t kept_s =
		session->account ? session->account->upstream.delete_after_s : DELETE_AFTER_NEVER;
	if (kept_s != DELETE_AFTER_NEVER)
		TRY(stream_printf(session->client, "EXPIRE %" PRIu64 "\r\n", kept_s / DAY_S));
	return stream_printf(session->client,
			     "RESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n.\r\n");
}
