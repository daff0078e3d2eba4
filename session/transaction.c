/* SPDX-License-Identifier: MIT */
/* transaction.c - what a client may do with its maildrop.
 *
 * An error before +OK is an honest -ERR and the session goes on. Behind the first octet of a body
 * there are no words left for an error: whatever we said would be read as mail. So we hang up
 * without the final dot, and the client knows that it has not got the message (F-09).
 */
#include "session/transaction.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proxy/base/text.h"
#include "session/dot.h"
#include "session/pipeline.h"
#include "session/reply.h"
#include "session/top.h"

enum {
	LIST_TURN = 1000, /* lines of a listing until other sessions get their turn */
	LIST_LINE = 128,  /* most octets of such a line, with its end */
	LIST_PART = 2048, /* octets of lines that are handed on at once */
};

/* A message number: any other text is malformed, a number without a message is not. */
static struct err find(struct session *session, const char *number, struct message **out)
{
	uint64_t n;

	*out = NULL;
	if (!text_number(number, strlen(number), UINT64_MAX, &n) || !n)
		return ERR(ERR_REFUSED, EINVAL, "not a message number");
	*out = maildrop_get(&session->drop, n);
	return *out ? OK : ERR(ERR_MESSAGE, 0, "no such message");
}

static size_t number_of(const struct session *session, const struct message *msg)
{
	return (size_t)(msg - session->drop.messages) + 1;
}

struct err cmd_stat(struct session *session, const struct args *args)
{
	(void)args;
	return reply_ok(session, "%zu %" PRIu64, session->drop.count, session->drop.octets);
}

static struct err say_totals(struct session *session, const char *prefix)
{
	return reply_ok(session, "%s%zu messages (%" PRIu64 " octets)", prefix, session->drop.count,
			session->drop.octets);
}

/* One line of a listing, without its end and without a NUL. Returns its length. */
typedef size_t line_format(const struct session *, const struct message *, char out[LIST_LINE]);

static size_t format_size(const struct session *session, const struct message *msg,
			  char out[LIST_LINE])
{
	size_t len = text_decimal(out, number_of(session, msg));

	out[len++] = ' ';
	return len + text_decimal(out + len, msg->octets);
}

static size_t format_uidl(const struct session *session, const struct message *msg,
			  char out[LIST_LINE])
{
	size_t len = text_decimal(out, number_of(session, msg));

	out[len++] = ' ';
	return len + maildrop_uidl(&session->drop, msg, out + len);
}

static struct err list_one(struct session *session, const char *number, line_format *format)
{
	struct message *msg;
	char line[LIST_LINE];

	TRY(find(session, number, &msg));
	return reply_ok(session, "%.*s", (int)format(session, msg, line), line);
}

/* All lines and the dot, which leaves together with the last of them. No line begins with a
 * dot: nothing to stuff. */
static struct err list_all(struct session *session, line_format *format)
{
	const struct maildrop *drop = &session->drop;
	char lines[LIST_PART + 3];
	size_t len = 0;

	for (size_t i = 0; i < drop->total; i++) {
		/* A socket that takes everything never makes us wait: wait of our own accord. */
		if (i && i % LIST_TURN == 0)
			session->env->ops->sleep(session->env, 0);
		if (message_is_deleted(&drop->messages[i]))
			continue;
		if (len > LIST_PART - LIST_LINE) {
			TRY(stream_put(session->client, lines, len));
			len = 0;
		}
		len += format(session, &drop->messages[i], lines + len);
		memcpy(lines + len, "\r\n", 2);
		len += 2;
	}
	memcpy(lines + len, ".\r\n", 3);
	return stream_put(session->client, lines, len + 3);
}

struct err cmd_list(struct session *session, const struct args *args)
{
	if (args->count)
		return list_one(session, args->word[0], format_size);
	TRY(say_totals(session, ""));
	return list_all(session, format_size);
}

struct err cmd_uidl(struct session *session, const struct args *args)
{
	if (args->count)
		return list_one(session, args->word[0], format_uidl);
	TRY(reply_ok(session, "%s", ""));
	return list_all(session, format_uidl);
}

/* The last word on a body: the dot, an -ERR if nothing has left yet, or silence. `taken` octets
 * came from the store. */
static struct err end_body(struct session *session, struct dot *dot, const struct message *msg,
			   uint64_t taken, struct err err)
{
	/* Empty is not what the listing promised; the client would delete what it never saw
	 * (F-10). */
	if (!err.kind && !taken && msg->octets)
		err = ERR(ERR_UPSTREAM, ENODATA, "the message came empty");
	if (!err.kind)
		err = dot_finish(dot);
	/* Only what the kernel has taken may count as retrieved: a DELE and a QUIT may stand behind it
	 * in the client's own pipeline (D-16). */
	if (!err.kind)
		err = reply_flush(session);
	if (err.kind && err.kind != ERR_MESSAGE)
		log_err(&session->log, LEVEL_WARN, "fetch-failed", err);
	if (err.kind && dot_started(dot)) {
		stream_abort(session->client);
		err = ERR(ERR_CLIENT, err.code, "message not whole");
	}
	dot_fini(dot);
	return err;
}

struct err cmd_retr(struct session *session, const struct args *args)
{
	const struct part whole = {0, 0};
	struct upstream *upstream = session->upstream;
	struct message *msg;
	struct dot dot;

	TRY(find(session, args->word[0], &msg));
	TRY(reply_flush(session));
	pipeline_announce(session);
	dot_init(&dot, session->client, true, msg->octets);
	struct err err = upstream->ops->fetch(upstream, &session->drop, msg, &whole, &dot.sink);
	TRY(end_body(session, &dot, msg, dot.octets, err));
	msg->marks |= MARK_RETRIEVED;
	if (!(msg->marks & MARK_STUB))
		maildrop_measure(&session->drop, msg, dot.octets);
	if (upstream->ops->retrieved && session->account->upstream.seen_policy == SEEN_ON_RETR)
		upstream->ops->retrieved(upstream, msg);
	session->retrieved++;
	return OK;
}

/* Ranges of the octets that RETR would send, each twice as long as the one before, until the lines
 * are found or the message ends (C-13). */
static struct err fetch_top(struct session *session, const struct message *msg, uint64_t lines,
			    struct top *top)
{
	struct upstream *upstream = session->upstream;
	struct part part = pipeline_top(msg, lines);

	for (;;) {
		uint64_t before = top->taken;
		TRY(upstream->ops->fetch(upstream, &session->drop, msg, &part, &top->sink));
		if (top->is_done || !part.octets || top->taken - before != part.octets)
			return OK;
		part.from += part.octets;
		part.octets *= 2;
	}
}

struct err cmd_top(struct session *session, const struct args *args)
{
	struct message *msg;
	struct dot dot;
	struct top top;
	uint64_t lines;

	if (!text_number(args->word[1], strlen(args->word[1]), UINT64_MAX, &lines))
		return ERR(ERR_REFUSED, EINVAL, "not a number of lines");
	TRY(find(session, args->word[0], &msg));
	TRY(reply_flush(session));
	pipeline_announce(session);
	dot_init(&dot, session->client, false, 0);
	top_init(&top, &dot.sink, lines);
	struct err err = fetch_top(session, msg, lines, &top);
	if (!err.kind && (top.taken || !msg->octets))
		err = top_finish(&top);
	return end_body(session, &dot, msg, top.taken, err);
}

struct err cmd_dele(struct session *session, const struct args *args)
{
	struct message *msg;

	TRY(find(session, args->word[0], &msg));
	if (session->account->upstream.delete_policy == DELETE_NEVER)
		return ERR(ERR_POLICY, EPERM, "messages of this maildrop are not deleted");
	if (session->upstream->is_read_only)
		return ERR(ERR_POLICY, EROFS, "maildrop is read-only");
	size_t number = number_of(session, msg);
	maildrop_delete(&session->drop, msg);
	return reply_ok(session, "message %zu deleted", number);
}

struct err cmd_noop(struct session *session, const struct args *args)
{
	(void)args;
	return reply_ok(session, "%s", "");
}

struct err cmd_rset(struct session *session, const struct args *args)
{
	(void)args;
	maildrop_reset(&session->drop);
	return say_totals(session, "maildrop has ");
}
