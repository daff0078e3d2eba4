/* SPDX-License-Identifier: MIT */
/* imap_script.c - an IMAP server that follows a script. */
#include "tests/fake/imap_script.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum {
	MOST = 64 << 20, /* octets a script may say, and be told */
	TAGS = sizeof((struct imap_script *)NULL)->tags /
	       sizeof *((struct imap_script *)NULL)->tags,
};

struct script_stream {
	struct stream stream; /* first */
	struct imap_script *script;
	bool is_lost;
};

struct line {
	const char *at;
	size_t len;
};

static void put(struct buf *buf, const void *octets, size_t len)
{
	bool is_good = buf_put(buf, octets, len);

	assert(is_good);
}

static struct line line_at(const char *at)
{
	return (struct line){at, strcspn(at, "\n")};
}

static const char *behind(struct line line)
{
	return line.at + line.len + (line.at[line.len] == '\n');
}

static bool begins(struct line line, const char *word)
{
	return line.len >= strlen(word) && memcmp(line.at, word, strlen(word)) == 0;
}

/* The next step, or the test's own line, comments skipped; len 0: the end. */
static struct line next_line(struct imap_script *script)
{
	for (;;) {
		struct line line = line_at(script->at);
		if (!*line.at || (line.len && *line.at != '#'))
			return line;
		script->at = behind(line);
	}
}

static void fail(struct imap_script *script, const char *what, struct line want, struct line got)
{
	if (*script->failure)
		return;
	snprintf(script->failure, sizeof script->failure, "%s: \"%.*s\" \"%.*s\"", what,
		 (int)want.len, want.at, (int)got.len, got.at);
}

void imap_script_unescape(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (c == '\\' && i + 1 < len) {
			c = text[++i];
			if (c == 'x' && i + 2 < len) {
				char hex[3] = {text[i + 1], text[i + 2], '\0'};
				c = (char)strtoul(hex, NULL, 16);
				i += 2;
			} else {
				c = c == 'r' ? '\r' : c == 'n' ? '\n' : c == '0' ? '\0' : c;
			}
		}
		put(out, &c, 1);
	}
}

static void say_literal(struct imap_script *script, struct line line)
{
	struct buf text;
	char head[32];

	buf_init(&text, MOST);
	if (line.at[1] == '*') {
		size_t left = strtoul(line.at + 2, NULL, 10);
		while (left) {
			size_t some = left < 12 ? left : 12;
			put(&text, "0123456789\r\n", some);
			left -= some;
		}
	} else {
		imap_script_unescape(&text, line.at + 3, line.len - 3);
	}
	snprintf(head, sizeof head, "{%zu}\r\n", buf_len(&text));
	put(&script->pending, head, strlen(head));
	if (buf_len(&text))
		put(&script->pending, buf_data(&text), buf_len(&text));
	buf_fini(&text);
}

static void say(struct imap_script *script, struct line line)
{
	const char *text = line.at + 2 + (line.len > 2);
	size_t len = (size_t)(line.at + line.len - text);
	const char *tag = NULL;

	if (len && *text == '$') {
		size_t age = 0;
		while (age + 1 < len && age < TAGS - 1 && text[age + 1] == '<')
			age++;
		tag = script->tags[age];
		text += 1 + age;
		len -= 1 + age;
		put(&script->pending, tag, strlen(tag));
	}
	imap_script_unescape(&script->pending, text, len);
	if (line.at[1] == ':')
		put(&script->pending, "\r\n", 2);
}

/* Compares what the client said with a C step. False: it said something else, or nothing. */
static bool hear(struct imap_script *script, struct line step)
{
	size_t have = buf_len(&script->heard);
	char *said = buf_data(&script->heard), *lf = have ? memchr(said, '\n', have) : NULL;
	struct line want = {step.at + 3, step.len > 3 ? step.len - 3 : 0};
	struct line got = {said, lf ? (size_t)(lf - said) : have};

	if (!lf || lf == said || lf[-1] != '\r') {
		fail(script, "the client waits without saying", step, got);
		return false;
	}
	got.len--;
	if (step.at[1] == ':') {
		size_t tag_len = 0;
		while (tag_len < got.len && got.at[tag_len] != ' ')
			tag_len++;
		memmove(script->tags[1], script->tags[0], (TAGS - 1) * sizeof script->tags[0]);
		snprintf(script->tags[0], sizeof script->tags[0], "%.*s", (int)tag_len, got.at);
		got.at += tag_len + 1;
		got.len -= tag_len < got.len ? tag_len + 1 : got.len;
	}
	bool is_open = want.len >= 3 && memcmp(want.at + want.len - 3, "...", 3) == 0;
	if (is_open)
		want.len -= 3;
	bool is_same = (is_open ? got.len >= want.len : got.len == want.len) &&
		       memcmp(got.at, want.at, want.len) == 0;
	if (!is_same)
		fail(script, "the client said another thing", want, got);
	buf_drop(&script->heard, (size_t)(lf - said) + 1);
	return is_same;
}

/* Follows the script until there is something to say. Returns 0, or the errno of a lost connection,
 * or -1: the server has closed. */
static int follow(struct imap_script *script)
{
	for (;;) {
		struct line step = next_line(script);
		bool has_said = buf_len(&script->pending) > 0;
		if (begins(step, "S:") || begins(step, "S=")) {
			say(script, step);
		} else if (begins(step, "L:") || begins(step, "L*")) {
			say_literal(script, step);
		} else if (has_said) {
			return 0;
		} else if (begins(step, "C:") || begins(step, "C+")) {
			if (!hear(script, step))
				return ECONNRESET;
		} else if (begins(step, "@from")) {
			script->is_counting = true;
			script->said = 0;
		} else if (begins(step, "@cut") || begins(step, "@stall") || begins(step, "@end")) {
			script->at = behind(step);
			return begins(step, "@cut")   ? ECONNRESET
			       : begins(step, "@end") ? -1
						      : ETIMEDOUT;
		} else {
			fail(script, "the client waits, but there is nothing to say before", step,
			     step);
			return ECONNRESET;
		}
		script->at = behind(step);
	}
}

static struct err lost(const struct script_stream *stream, int code)
{
	return (struct err){stream->stream.kind, code, "connection lost"};
}

static struct err script_read(struct stream *base, void *into, size_t max, size_t *got)
{
	struct script_stream *stream = (struct script_stream *)base;
	struct imap_script *script = stream->script;
	int code = stream->is_lost ? ECONNRESET : 0;

	*got = 0;
	if (!code && !buf_len(&script->pending))
		code = follow(script);
	if (!code && script->is_counting && script->said >= script->cut)
		code = ECONNRESET;
	if (code == -1)
		return OK;
	if (code) {
		stream->is_lost = true;
		buf_drop(&script->pending, buf_len(&script->pending));
		return lost(stream, code);
	}
	size_t len = buf_len(&script->pending);
	if (script->is_counting && len > script->cut - script->said)
		len = script->cut - script->said;
	if (script->chunk && len > script->chunk)
		len = script->chunk;
	if (len > max)
		len = max;
	memcpy(into, buf_data(&script->pending), len);
	buf_drop(&script->pending, len);
	if (script->is_counting)
		script->said += len;
	*got = len;
	return OK;
}

static struct err script_write(struct stream *base, const void *octets, size_t len)
{
	struct script_stream *stream = (struct script_stream *)base;

	if (stream->is_lost)
		return lost(stream, EPIPE);
	put(&stream->script->heard, octets, len);
	put(&stream->script->sent, octets, len);
	return OK;
}

static void script_limit(struct stream *base, uint64_t wait_ms, uint64_t until_ms)
{
	struct imap_script *script = ((struct script_stream *)base)->script;
	uint64_t until = until_ms ? until_ms - script->world.now_ms : 0;

	if (wait_ms == script->wait_ms && until == script->until_ms)
		return;
	script->wait_ms = wait_ms;
	script->until_ms = until;
	bool is_good = buf_printf(&script->limits, "%llu:%llu ", (unsigned long long)wait_ms,
				  (unsigned long long)until);
	assert(is_good);
}

static void script_abort(struct stream *base)
{
	((struct script_stream *)base)->is_lost = true;
}

/* What the client said that no step asked for: only LOGOUT may be left. */
static void check_rest(struct imap_script *script)
{
	size_t len = buf_len(&script->heard);
	const char *said = buf_data(&script->heard);

	if (len > 6 && !memcmp(said, "DONE\r\n", 6)) { /* an IDLE that stood to the end */
		said += 6;
		len -= 6;
	}
	struct line rest = {said, len}, none = {"", 0};
	const char *word = len ? memchr(said, ' ', len) : NULL;

	if (!len || (word && len - (size_t)(word - said) == 9 && !memcmp(word, " LOGOUT\r\n", 9)))
		return;
	fail(script, "the client said more than it should", none, rest);
}

/* Nothing that the server would say unasked, nor an end. */
static bool script_is_quiet(const struct stream *base)
{
	const struct script_stream *stream = (const struct script_stream *)base;
	struct line step = next_line(stream->script);

	return !stream->is_lost && !buf_len(&stream->script->pending) && !begins(step, "S") &&
	       !begins(step, "@cut") && !begins(step, "@end");
}

static void script_close(struct stream *base)
{
	struct script_stream *stream = (struct script_stream *)base;
	struct imap_script *script = stream->script;

	if (!stream->is_lost || !*script->failure)
		check_rest(script);
	buf_drop(&script->heard, buf_len(&script->heard));
	buf_drop(&script->pending, buf_len(&script->pending));
	script->is_counting = false;
	if (script->stream == stream)
		script->stream = NULL;
	stream_fini(base);
	free(stream);
}

static const struct stream_ops script_ops = {
	script_read, script_write, script_limit, script_abort, script_close,
};

static struct err script_dial(void *arg, const char *host, unsigned port, struct stream **out)
{
	struct imap_script *script = arg;
	struct line step = next_line(script);

	(void)host;
	(void)port;
	*out = NULL;
	if (script->world.dials > 1) {
		if (!begins(step, "@dial"))
			fail(script, "the client dials again before", step, step);
		script->at = behind(step);
		step = next_line(script);
	}
	if (*script->failure)
		return ERR(ERR_UPSTREAM, ECONNREFUSED, "connection refused");
	if (begins(step, "@refuse")) {
		script->at = behind(step);
		return ERR(ERR_UPSTREAM, ECONNREFUSED, "connection refused");
	}
	struct script_stream *stream = mem_alloc(sizeof *stream);
	stream_init(&stream->stream, &script_ops, ERR_UPSTREAM, 65536, 16384);
	stream->stream.is_quiet = script_is_quiet;
	stream->script = script;
	script->stream = stream;
	*out = &stream->stream;
	return OK;
}

/* Writes the shorthands out. */
static void expand(struct buf *out, struct line line)
{
	static const char greet[] = "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\n";
	static const char login[] = "C: LOGIN \"joe\" \"secret\"\n"
				    "S: $ OK [CAPABILITY IMAP4rev1 UIDPLUS] in\n";
	char text[512];
	unsigned count = 0, validity = 9;

	if (begins(line, "@greet") || begins(line, "@login")) {
		put(out, greet, strlen(greet));
		if (begins(line, "@login"))
			put(out, login, strlen(login));
	} else if (begins(line, "@select")) {
		sscanf(line.at, "@select %u %u", &count, &validity);
		snprintf(text, sizeof text,
			 "C: SELECT \"INBOX\"\nS: * %u EXISTS\n"
			 "S: * OK [PERMANENTFLAGS (\\\\Deleted \\\\Seen \\\\*)] flags\n"
			 "S: * OK [UIDVALIDITY %u] uids\nS: $ OK [READ-WRITE] selected\n",
			 count, validity);
		put(out, text, strlen(text));
	} else if (begins(line, "@list")) {
		sscanf(line.at, "@list %u", &count);
		snprintf(text, sizeof text, "C: UID FETCH 1:* (UID RFC822.SIZE FLAGS)\n");
		put(out, text, strlen(text));
		for (unsigned i = 1; i <= count; i++) {
			snprintf(text, sizeof text,
				 "S: * %u FETCH (UID %u RFC822.SIZE 100 FLAGS ())\n", i, i);
			put(out, text, strlen(text));
		}
		put(out, "S: $ OK listed\n", 15);
	} else {
		put(out, line.at, line.len);
		put(out, "\n", 1);
	}
}

void imap_script_init(struct imap_script *script, const char *text)
{
	struct buf all;

	*script = (struct imap_script){.cut = SIZE_MAX};
	fake_world_init(&script->world);
	script->world.dial = script_dial;
	script->world.arg = script;
	buf_init(&all, MOST);
	while (*text) {
		struct line line = line_at(text);
		expand(&all, line);
		text = behind(line);
	}
	script->text = mem_dup(buf_len(&all) ? buf_data(&all) : "", buf_len(&all));
	buf_fini(&all);
	script->at = script->text;
	buf_init(&script->pending, MOST);
	buf_init(&script->heard, MOST);
	buf_init(&script->sent, MOST);
	buf_init(&script->limits, MOST);
}

void imap_script_fini(struct imap_script *script)
{
	free(script->text);
	buf_fini(&script->pending);
	buf_fini(&script->heard);
	buf_fini(&script->sent);
	buf_fini(&script->limits);
}

bool imap_script_note(struct imap_script *script, char *out, size_t size)
{
	struct line line = next_line(script), none = {"", 0};
	bool is_step = line.len && *line.at != '>' && *line.at != '?';

	/* A script begins with what the first dial finds: no step is late before it. */
	if (is_step)
		fail(script, "the client left a step out", line, none);
	if (is_step || !line.len)
		return false;
	snprintf(out, size, "%.*s", (int)line.len, line.at);
	script->at = behind(line);
	return true;
}

static const char *text_of(struct buf *buf)
{
	char *room = buf_room(buf, 1);

	assert(room);
	*room = '\0';
	return buf_data(buf);
}

const char *imap_script_sent(struct imap_script *script)
{
	return text_of(&script->sent);
}

const char *imap_script_limits(struct imap_script *script)
{
	return text_of(&script->limits);
}
