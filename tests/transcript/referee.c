/* SPDX-License-Identifier: MIT */
/* referee.c - walks along what was said and what was heard, side by side.
 *
 * It believes replies (a message is marked if DELE was answered by +OK) and checks that they agree
 * with each other and with what the store has in the end.
 */
#include "tests/transcript/referee.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "tests/transcript/normal.h"

enum { FIRST_LINE_MAX = 512, STRIKES = 20 };

struct walk {
	const struct game *game;
	size_t in, out;                   /* where we are */
	const struct memory_message **by; /* owned; by[n - 1] is message n */
	bool *is_marked;                  /* owned */
	size_t count;
	bool is_in, has_quit, is_over; /* logged in; QUIT read there; no more replies are due */
	bool is_lost;                  /* the output ended where it may: what followed is unknown */
	unsigned strikes;
	enum { QUIT_UNHEARD, QUIT_DONE, QUIT_FAILED } quit;
	const char *wrong;
};

struct words {
	char text[300]; /* the line, NUL ended, cut */
	size_t len;     /* of the whole line */
	size_t verb;
	char *arg[2]; /* NULL: none */
};

static void break_law(struct walk *walk, const char *law)
{
	if (!walk->wrong)
		walk->wrong = law;
	walk->is_over = true;
}

/* The next whole line of the input; false: there is none. */
static bool next_words(struct walk *walk, struct words *out)
{
	const char *line = walk->game->input + walk->in;
	size_t left = walk->game->input_len - walk->in;
	const char *lf = left ? memchr(line, '\n', left) : NULL;

	if (!lf)
		return false;
	*out = (struct words){.len = (size_t)(lf - line)};
	walk->in += out->len + 1;
	if (out->len && line[out->len - 1] == '\r')
		out->len--;
	size_t kept = out->len < sizeof out->text - 1 ? out->len : sizeof out->text - 1;
	memcpy(out->text, line, kept);
	while (kept && (out->text[kept - 1] == ' ' || out->text[kept - 1] == '\t'))
		out->text[--kept] = '\0';
	out->verb = strcspn(out->text, " ");
	char *at = out->text + out->verb;
	for (size_t i = 0; i < 2 && *at; i++) {
		*at++ = '\0';
		out->arg[i] = at;
		at += strcspn(at, " ");
	}
	return true;
}

static bool is_verb(const struct words *words, const char *verb)
{
	return text_same(words->text, verb) && strlen(words->text) == words->verb;
}

/* The next first line of the output, with its end; NULL: none is left. */
static const char *next_reply(struct walk *walk, size_t *len)
{
	const char *reply = walk->game->output + walk->out;
	size_t left = walk->game->output_len - walk->out;
	const char *lf = left ? memchr(reply, '\n', left) : NULL;

	if (!lf) {
		if (left && !walk->game->is_broken)
			break_law(walk, "a first line was not sent whole");
		walk->is_lost = walk->is_over = true;
		return NULL;
	}
	*len = (size_t)(lf - reply) + 1;
	walk->out += *len;
	bool is_good = *len >= 4 && *len <= FIRST_LINE_MAX && reply[*len - 2] == '\r';
	for (size_t i = 0; i + 2 < *len; i++)
		is_good &= reply[i] >= 0x20 && reply[i] <= 0x7e;
	bool is_ok =
		is_good && *len >= 5 && !memcmp(reply, "+OK", 3) && (reply[3] == ' ' || *len == 5);
	bool is_err = is_good && *len > 6 && !memcmp(reply, "-ERR ", 5);
	bool is_challenge = is_good && !memcmp(reply, "+ ", 2);
	if (!is_ok && !is_err && !is_challenge)
		break_law(walk, "a first line is not well-formed");
	const char *bracket = memchr(reply, '[', *len);
	if (bracket && !(is_err && bracket == reply + 5))
		break_law(walk, "a bracket that is no response code");
	return reply;
}

/* The body of a multi-line reply is text, whole, or it is the end of everything. */
static void take_body(struct walk *walk, const struct buf *text)
{
	const char *body = walk->game->output + walk->out;
	size_t left = walk->game->output_len - walk->out;
	size_t len = left ? normal_reply_len(body, left) : 0;

	if (len && !normal_is_reply(body, len, buf_data(text), buf_len(text)))
		break_law(walk, "a reply ended in its dot and was not right");
	if (!len && left && !normal_is_begun(body, left, buf_data(text), buf_len(text)))
		break_law(walk, "a reply broke off and had been wrong before");
	walk->out += len;
	if (!len)
		walk->is_lost = walk->is_over = true;
}

static uint64_t size_of(const struct memory_message *msg)
{
	return msg->listed ? msg->listed
			   : memory_size(msg->octets,
					 msg->len || !msg->octets ? msg->len : strlen(msg->octets));
}

/* The number of a message that exists and is not marked; 0: none. */
static size_t number_in(const struct walk *walk, const char *text)
{
	uint64_t n;

	if (!text || !text_number(text, strcspn(text, " "), walk->count, &n) || !n ||
	    walk->is_marked[n - 1])
		return 0;
	return (size_t)n;
}

static void judge_message(struct walk *walk, const struct words *words)
{
	size_t n = number_in(walk, words->arg[0]);
	bool is_top = is_verb(words, "TOP");
	uint64_t lines = 0;
	struct buf text;

	if (!n ||
	    (is_top && !text_number(words->arg[1], strlen(words->arg[1]), UINT64_MAX, &lines))) {
		break_law(walk, "+OK for no message");
		return;
	}
	const struct memory_message *msg = walk->by[n - 1];
	size_t len = msg->len || !msg->octets ? msg->len : strlen(msg->octets);
	buf_init(&text, 64 << 20);
	bool done = is_top ? normal_top(&text, msg->octets, len, lines)
			   : normal_put(&text, msg->octets, len);
	if (!done)
		abort();
	take_body(walk, &text);
	buf_fini(&text);
}

static void judge_listing(struct walk *walk, const struct words *words)
{
	bool is_uidl = is_verb(words, "UIDL");
	struct buf text;
	bool done = true;

	buf_init(&text, 64 << 20);
	for (size_t i = 0; i < walk->count && done; i++) {
		const struct memory_message *msg = walk->by[i];
		if (walk->is_marked[i])
			continue;
		if (!is_uidl)
			done = buf_printf(&text, "%zu %" PRIu64 "\r\n", i + 1, size_of(msg));
		else if (msg->name)
			done = buf_printf(&text, "%zu %s\r\n", i + 1, msg->name);
		else
			done = buf_printf(&text, "%zu %s.%" PRIu32 "\r\n", i + 1, memory_prefix,
					  msg->uid);
	}
	if (!done)
		abort();
	take_body(walk, &text);
	buf_fini(&text);
}

static void judge_stat(struct walk *walk, const char *reply, size_t len)
{
	uint64_t octets = 0;
	size_t count = 0;
	char wanted[64];

	for (size_t i = 0; i < walk->count; i++)
		if (!walk->is_marked[i]) {
			count++;
			octets += size_of(walk->by[i]);
		}
	int size = snprintf(wanted, sizeof wanted, "+OK %zu %" PRIu64 "\r\n", count, octets);
	if ((size_t)size != len || memcmp(wanted, reply, len))
		break_law(walk, "STAT told something else than there is");
}

/* CAPA and AUTH: any lines. */
static void skip_body(struct walk *walk)
{
	size_t left = walk->game->output_len - walk->out;
	size_t len = left ? normal_reply_len(walk->game->output + walk->out, left) : 0;

	walk->out += len;
	if (!len)
		walk->is_lost = walk->is_over = true;
	if (!len && !walk->game->is_broken)
		break_law(walk, "a listing broke off");
}

/* What +OK to a command of TRANSACTION brings with it. */
static void judge_ok(struct walk *walk, const struct words *words, const char *reply, size_t len)
{
	bool is_listing = is_verb(words, "LIST") || is_verb(words, "UIDL");

	if (is_verb(words, "RETR") || is_verb(words, "TOP")) {
		judge_message(walk, words);
	} else if (is_listing && !words->arg[0]) {
		judge_listing(walk, words);
	} else if (is_verb(words, "STAT")) {
		judge_stat(walk, reply, len);
	} else if (is_verb(words, "DELE")) {
		size_t n = number_in(walk, words->arg[0]);
		if (n)
			walk->is_marked[n - 1] = true;
		else
			break_law(walk, "+OK to DELE of no message");
	} else if (is_verb(words, "RSET")) {
		memset(walk->is_marked, 0, walk->count * sizeof *walk->is_marked);
	}
}

/* Answers to one line, challenges included. */
static void judge_line(struct walk *walk, const struct words *words)
{
	struct words answer;
	size_t len;
	const char *reply = next_reply(walk, &len);

	while (reply && !strncmp(reply, "+ ", 2)) {
		if (!is_verb(words, "AUTH"))
			break_law(walk, "a challenge that nobody asked for");
		if (!next_words(walk, &answer)) {
			walk->is_over = true;
			return;
		}
		reply = next_reply(walk, &len);
	}
	if (!reply)
		return;
	bool is_ok = reply[0] == '+';
	walk->strikes = is_ok ? 0 : walk->strikes + 1;
	if (is_verb(words, "QUIT") && (is_ok || walk->is_in)) {
		if (!words->arg[0] && (is_ok || memmem(reply, len, "not removed", 11))) {
			walk->quit = is_ok ? QUIT_DONE : QUIT_FAILED;
			walk->is_over = true;
		}
	} else if (is_ok &&
		   (is_verb(words, "CAPA") || (is_verb(words, "AUTH") && !words->arg[0]))) {
		skip_body(walk);
	} else if (is_ok && (is_verb(words, "PASS") || is_verb(words, "AUTH"))) {
		if (walk->is_in)
			break_law(walk, "+OK to a second login");
		walk->is_in = true;
	} else if (is_ok && walk->is_in) {
		judge_ok(walk, words, reply, len);
	}
}

static void check_removed(struct walk *walk)
{
	for (size_t i = 0; i < walk->count; i++) {
		const struct memory_message *msg = walk->by[i];
		if (msg->is_removed && !walk->has_quit)
			break_law(walk, "a message was removed without QUIT");
		if (msg->is_removed && !walk->is_marked[i])
			break_law(walk, "a message was removed that was not marked");
		if (!msg->is_removed && walk->is_marked[i] && walk->quit == QUIT_DONE)
			break_law(walk, "+OK to QUIT, and a marked message is still there");
	}
	for (size_t i = 0; i < walk->game->message_count; i++)
		if (walk->game->messages[i].is_hidden && walk->game->messages[i].is_removed)
			break_law(walk, "a message was removed that another client had marked");
}

/* The output has ended before the input: what remains unread of it may still have been executed if
 * the client could not hear it. Then DELE counts as heard. */
static void believe_the_rest(struct walk *walk)
{
	struct words words;
	uint64_t n;

	while (next_words(walk, &words)) {
		walk->has_quit |= is_verb(&words, "QUIT") && !words.arg[0];
		if (is_verb(&words, "DELE") && words.arg[0] && !words.arg[1] &&
		    text_number(words.arg[0], strlen(words.arg[0]), walk->count, &n) && n)
			walk->is_marked[n - 1] = true;
	}
}

static int by_uid(const void *a, const void *b)
{
	const struct memory_message *p = *(const struct memory_message *const *)a;
	const struct memory_message *q = *(const struct memory_message *const *)b;

	return (p->uid > q->uid) - (p->uid < q->uid);
}

static void walk_init(struct walk *walk, const struct game *game)
{
	*walk = (struct walk){.game = game};
	walk->by = mem_alloc(game->message_count * sizeof *walk->by);
	walk->is_marked = mem_alloc(game->message_count * sizeof *walk->is_marked);
	for (size_t i = 0; i < game->message_count; i++)
		if (!game->messages[i].is_hidden)
			walk->by[walk->count++] = &game->messages[i];
	qsort(walk->by, walk->count, sizeof *walk->by, by_uid);
}

/* Reasons for a session to end that are no failure: before login there are many. */
static bool may_end(const struct walk *walk)
{
	return walk->strikes >= STRIKES || !walk->is_in || walk->game->is_broken;
}

const char *referee(const struct game *game)
{
	struct words words;
	struct walk walk;
	size_t len;

	walk_init(&walk, game);
	next_reply(&walk, &len);
	bool has_greeting = !walk.is_over;
	while (!walk.is_over) {
		size_t out = walk.out;
		if (!next_words(&walk, &words))
			break;
		walk.has_quit |= is_verb(&words, "QUIT") && !words.arg[0] && walk.is_in;
		judge_line(&walk, &words);
		if (walk.is_lost && walk.out == out && !may_end(&walk))
			break_law(&walk, "a command got no reply");
	}
	/* The hello of TLS is refused at its first octet, of a line that may never end. */
	bool is_hello = walk.in < game->input_len && game->input[walk.in] == 0x16 && !walk.is_in;
	if (walk.out < game->output_len && !walk.is_lost && !is_hello)
		break_law(&walk, "something was said that no command asked for");
	if (!has_greeting && !game->is_broken)
		break_law(&walk, "no greeting");
	if (walk.is_lost && game->is_broken) {
		walk.in = 0;
		believe_the_rest(&walk);
	}
	check_removed(&walk);
	free(walk.by);
	free(walk.is_marked);
	return walk.wrong;
}
