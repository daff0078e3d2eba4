/* SPDX-License-Identifier: MIT */
/* pipeline.c - a look at the lines that wait. */
#include "session/pipeline.h"

#include <string.h>

#include "proxy/base/text.h"
#include "session/command.h"
#include "session/transaction.h"

enum { LINE = 64, LINES_MOST = 256 }; /* octets of a line that is understood; lines looked at */

/* What the lines so far come to. */
struct look {
	const struct session *session;
	size_t count, deleted;
	struct announced list[PIPELINE_MOST];
	const struct message *gone[PIPELINE_MOST]; /* by a DELE among them */
};

struct part pipeline_top(const struct message *msg, uint64_t lines)
{
	/* No line is shorter than an octet: then the whole message is wanted, in one go. */
	if (lines >= msg->octets && !(msg->marks & MARK_INEXACT))
		return (struct part){0, 0};
	return (struct part){0, TOP_FIRST};
}

static bool is_in(const struct look *look, const struct message *msg)
{
	for (size_t i = 0; i < look->count; i++)
		if (look->list[i].message == msg)
			return true;
	for (size_t i = 0; i < look->deleted; i++)
		if (look->gone[i] == msg)
			return true;
	return false;
}

/* A message that can be fetched once that line has come; NULL: none, or it is on the list. */
static const struct message *message_of(const struct look *look, const char *number)
{
	const struct message *msg;
	uint64_t n;

	if (!text_number(number, strlen(number), UINT64_MAX, &n) || !n)
		return NULL;
	msg = maildrop_get(&look->session->drop, n);
	return msg && !is_in(look, msg) ? msg : NULL;
}

static bool add_deletion(struct look *look, const char *number)
{
	const struct message *msg;
	uint64_t n;

	if (look->deleted == PIPELINE_MOST ||
	    !text_number(number, strlen(number), UINT64_MAX, &n) || !n)
		return false;
	msg = maildrop_get(&look->session->drop, n);
	if (msg)
		look->gone[look->deleted++] = msg;
	return true;
}

/* One line, NUL ended, which is cut up. False: the list ends. */
static bool add_line(struct look *look, char *line, size_t len)
{
	const struct command *row;
	const struct message *msg;
	struct part part = {0, 0};
	struct args args;
	uint64_t lines;

	if (command_parse(TRANSACTION, line, len, &row, &args).kind)
		return false;
	if (row->run == cmd_noop)
		return true;
	if (row->run == cmd_dele)
		return add_deletion(look, args.word[0]);
	if (row->run != cmd_retr && row->run != cmd_top)
		return false;
	msg = message_of(look, args.word[0]);
	if (!msg || look->count == PIPELINE_MOST)
		return false;
	if (row->run == cmd_top) {
		if (!text_number(args.word[1], strlen(args.word[1]), UINT64_MAX, &lines))
			return false;
		part = pipeline_top(msg, lines);
	}
	look->list[look->count++] = (struct announced){msg, part};
	return true;
}

static void look_at(struct look *look, const char *at, size_t len)
{
	char line[LINE + 1];
	const char *lf;

	for (size_t i = 0; i < LINES_MOST && len && (lf = memchr(at, '\n', len)); i++) {
		size_t used = (size_t)(lf - at) + 1, text = used - 1;
		if (text && at[text - 1] == '\r')
			text--;
		if (text > LINE)
			return;
		memcpy(line, at, text);
		line[text] = '\0';
		if (!add_line(look, line, text))
			return;
		at += used;
		len -= used;
	}
}

void pipeline_announce(struct session *session)
{
	struct upstream *upstream = session->upstream;
	const struct buf *in = &session->client->in;
	struct look look;

	if (!upstream->ops->announce)
		return;
	look.session = session;
	look.count = look.deleted = 0;
	if (buf_len(in))
		look_at(&look, buf_data(in), buf_len(in));
	upstream->ops->announce(upstream, &session->drop, look.list, look.count);
}
