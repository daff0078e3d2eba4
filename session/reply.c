/* SPDX-License-Identifier: MIT */
/* reply.c - first lines, and the table from kinds of errors to response codes (RFC 2449 section 8,
 * RFC 3206). */
#include "session/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/text.h"

enum { LINE = 512 }; /* octets with CRLF, RFC 2449 section 4 */

static struct err put_line(struct session *session, char line[LINE + 1], size_t len)
{
	if (len > LINE - 2)
		len = LINE - 2;
	memcpy(line + len, "\r\n", 2);
	return stream_put(session->client, line, len + 2);
}

struct err reply_ok(struct session *session, const char *format, ...)
{
	char line[LINE + 1] = "+OK ";
	va_list ap;

	va_start(ap, format);
	int len = vsnprintf(line + 4, sizeof line - 4, format, ap);
	va_end(ap);
	return put_line(session, line, len > 0 ? (size_t)len + 4 : 3);
}

/* The response code with its blank; *kind becomes what it counts as in this state. */
static const char *code_of(const struct session *session, enum err_kind *kind)
{
	/* Once the maildrop is open neither the client's credential nor a lock is to blame. */
	if (session->state != AUTHORIZATION && *kind == ERR_LOGIN)
		*kind = ERR_POLICY;
	if (session->state != AUTHORIZATION && *kind == ERR_IN_USE)
		*kind = ERR_UPSTREAM;
	switch (*kind) {
	case ERR_LOGIN:
		return "[AUTH] ";
	case ERR_IN_USE:
		return "[IN-USE] ";
	case ERR_POLICY:
		return "[SYS/PERM] ";
	case ERR_UPSTREAM:
		return "[SYS/TEMP] ";
	default:
		return "";
	}
}

/* The session's number as the log's tag has it, so that a user's words lead to the lines there. */
static int reference(const struct session *session, const char **at)
{
	const char *sid = strstr(session->log.tag, "sid=");

	if (!sid)
		return 0;
	*at = sid + 4;
	return (int)strcspn(*at, " ");
}

struct err reply_err(struct session *session, struct err err)
{
	char line[LINE + 1], what[128], why[sizeof session->why.text];
	enum err_kind kind = err.kind;
	const char *code = code_of(session, &kind), *ref = "";
	int ref_len = 0;

	if (kind == ERR_CLIENT)
		return err;
	const char *words = err.what ? err.what : "refused";
	if (kind == ERR_MESSAGE)
		words = "no such message";
	if (kind == ERR_LOGIN) {
		words = "login refused";
		session->why.text[0] = '\0';
	}
	if (kind == ERR_POLICY || kind == ERR_UPSTREAM)
		ref_len = reference(session, &ref);
	text_printable(what, sizeof what, words, strlen(words), false);
	text_printable(why, sizeof why, session->why.text,
		       strnlen(session->why.text, sizeof session->why.text - 1), false);
	session->why.text[0] = '\0';
	int len = snprintf(line, sizeof line, "-ERR %s%s%s%s%s%.*s", code, what, *why ? ": " : "",
			   why, ref_len ? ", ref " : "", ref_len, ref);
	return put_line(session, line, (size_t)len);
}

struct err reply_flush(struct session *session)
{
	return stream_flush(session->client);
}
