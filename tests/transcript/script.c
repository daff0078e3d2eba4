/* SPDX-License-Identifier: MIT */
/* script.c - reads golden conversations, line by line. */
#include "tests/transcript/script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

/* A file while it is read. Functions return what is wrong with a line, NULL if nothing is. */
struct reader {
	struct script *script;
	struct memory_message *message; /* that "|" lines belong to */
	struct buf body;
	bool speaks; /* the last C: or S: was C: */
};

static const char *const kinds[] = {"none",   "refused", "message",  "login",
				    "in-use", "policy",  "upstream", "client"};

static bool read_kind(const char *text, enum err_kind *out)
{
	for (unsigned i = 1; i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(text, kinds[i])) {
			*out = (enum err_kind)i;
			return true;
		}
	return false;
}

static bool read_number(const char *text, uint64_t max, uint64_t *out)
{
	return text_number(text, strlen(text), max, out);
}

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* One escape behind a backslash; gives how many characters it has, 0 if it is none. */
static size_t unescape_one(const char *at, char *out)
{
	static const char names[] = "rnt0\\{", octets[] = "\r\n\t\0\\{";
	const char *known = *at ? strchr(names, *at) : NULL;

	if (known) {
		*out = octets[known - names];
		return 1;
	}
	if (*at != 'x' || hex(at[1]) < 0 || hex(at[2]) < 0)
		return 0;
	*out = (char)(hex(at[1]) * 16 + hex(at[2]));
	return 3;
}

static bool unescape(const struct script *, const char *at, size_t len, struct buf *out);

/* What stands between braces: "uidl N" or "TEXT*N". */
static bool expand(const struct script *script, const char *at, size_t len, struct buf *out)
{
	const char *star = memrchr(at, '*', len);
	uint64_t n;

	if (len > 5 && !strncmp(at, "uidl ", 5) && text_number(at + 5, len - 5, UINT32_MAX, &n)) {
		for (size_t i = 0; i < script->message_count; i++)
			if (script->messages[i].uid == n && script->messages[i].name)
				return buf_printf(out, "%s", script->messages[i].name);
		return buf_printf(out, "%s.%u", memory_prefix, (unsigned)n);
	}
	if (!star || !text_number(star + 1, (size_t)(at + len - star) - 1, SCRIPT_OCTETS, &n))
		return false;
	struct buf text;
	buf_init(&text, SCRIPT_OCTETS);
	bool good = unescape(script, at, (size_t)(star - at), &text);
	while (good && n--)
		good = buf_put(out, buf_data(&text), buf_len(&text));
	buf_fini(&text);
	return good;
}

static bool unescape(const struct script *script, const char *at, size_t len, struct buf *out)
{
	const char *end = at + len;

	while (at < end) {
		char octet = *at++;
		if (octet == '\\') {
			size_t n = at < end ? unescape_one(at, &octet) : 0;
			if (!n)
				return false;
			at += n;
		} else if (octet == '{') {
			const char *close = memchr(at, '}', (size_t)(end - at));
			if (!close || !expand(script, at, (size_t)(close - at), out))
				return false;
			at = close + 1;
			continue;
		}
		if (!buf_put(out, &octet, 1))
			return false;
	}
	return true;
}

/* A whole line with its CRLF, unless it ends in \c. */
static const char *put_line(const struct script *script, const char *text, struct buf *out)
{
	size_t len = strlen(text);
	bool is_open = len >= 2 && !strcmp(text + len - 2, "\\c");

	if (!unescape(script, text, is_open ? len - 2 : len, out))
		return "not a good escape";
	return is_open || buf_put(out, "\r\n", 2) ? NULL : "too long";
}

static char *made_up(uint64_t size)
{
	static const char head[] = "Subject: x\r\n\r\n", line[] = "The quick brown fox jumps.\r\n";
	char *body = mem_alloc(size + 1);

	for (size_t i = 0; i < size; i++)
		body[i] = i < sizeof head - 1 ? head[i] : line[(i - sizeof head + 1) % 28];
	memcpy(body + size - 2, "\r\n", 2);
	return body;
}

static const char *read_attribute(struct reader *reader, char *word)
{
	struct memory_message *msg = reader->message;
	char *value = strchr(word, '=');
	uint64_t n = 0;

	if (!strcmp(word, "hidden")) {
		msg->is_hidden = true;
		return NULL;
	}
	if (!value)
		return "no such attribute of a message";
	*value++ = '\0';
	bool has_number = read_number(value, SCRIPT_OCTETS, &n);
	if (!strcmp(word, "uid") && has_number && n) {
		msg->uid = (uint32_t)n;
	} else if (!strcmp(word, "size") && n > 16) {
		msg->octets = made_up(n);
		msg->len = n;
	} else if (!strcmp(word, "listed") && has_number) {
		msg->listed = n;
	} else if (!strcmp(word, "name")) {
		msg->name = text_dup(value);
	} else if (strcmp(word, "refuse") || !read_kind(value, &msg->refuse)) {
		return "no such attribute of a message";
	}
	return NULL;
}

static const char *read_drop(struct reader *reader, char *text)
{
	struct script *script = reader->script;

	if (script->message_count == SCRIPT_MESSAGES)
		return "too many messages";
	reader->message = &script->messages[script->message_count++];
	char *body = strstr(text, "body=");
	if (body)
		*body = '\0';
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		const char *wrong = read_attribute(reader, word);
		if (wrong)
			return wrong;
	}
	if (!reader->message->uid)
		return "a message needs a uid";
	return body && !unescape(script, body + 5, strlen(body + 5), &reader->body)
		       ? "not a good escape"
		       : NULL;
}

/* The message that "|" lines or body= gave octets to is complete. */
static void end_body(struct reader *reader)
{
	struct memory_message *msg = reader->message;

	if (msg && !msg->octets) {
		msg->len = buf_len(&reader->body);
		msg->octets = mem_dup(buf_data(&reader->body), msg->len);
	}
	buf_fini(&reader->body);
	reader->message = NULL;
}

static const char *read_user(struct script *script, char *text)
{
	if (script->user_count == SCRIPT_USERS)
		return "too many users";
	struct fake_user *user = &script->users[script->user_count++];
	char *reject = strstr(text, "reject=");
	if (reject) {
		user->reject = text_dup(reject + 7);
		*reject = '\0';
	}
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		if (!user->name) {
			user->name = text_dup(word);
		} else if (!strncmp(word, "local=", 6)) {
			user->is_local = true;
			user->password = text_dup(word + 6);
		} else if (!strncmp(word, "stored=", 7)) {
			user->stored = text_dup(word + 7);
		} else if (strncmp(word, "fail=", 5) || !read_kind(word + 5, &user->fail)) {
			return "no such attribute of a user";
		}
	}
	return user->name ? NULL : "a user needs a name";
}

static const char *read_uids(char *text, struct script_uids *out)
{
	uint64_t n;

	out->is_said = true;
	if (!strcmp(text, "none"))
		return NULL;
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		if (out->count == SCRIPT_MESSAGES || !read_number(word, UINT32_MAX, &n))
			return "not a list of uids";
		out->uids[out->count++] = (uint32_t)n;
	}
	return out->count ? NULL : "say none or name some";
}

static const char *read_fail(struct script *script, char *text)
{
	char *call = strtok(text, " "), *kind = strtok(NULL, " "), *late = strtok(NULL, " ");
	uint64_t n;

	if (!call || !kind || !read_number(call, 1000, &n) || !read_kind(kind, &script->fail_kind))
		return "say @fail N KIND";
	script->fail_call = n;
	script->is_fail_late = late && !strcmp(late, "late");
	return NULL;
}

static const char *read_ways(struct script *script, char *text)
{
	static const char *const names[] = {"written", "octets", "packet"};

	memset(script->ways, 0, sizeof script->ways);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		size_t i = 0;
		while (i < WAYS && strcmp(word, names[i]))
			i++;
		if (i == WAYS)
			return "no such way";
		script->ways[i] = true;
	}
	return NULL;
}

static const char *add_turn(struct script *script, bool is_tls)
{
	if (script->turn_count == SCRIPT_TURNS)
		return "too many turns";
	script->turns[script->turn_count++] =
		(struct script_turn){buf_len(&script->input), script->line_count, is_tls};
	return NULL;
}

static bool set_flag(struct script *script, const char *word)
{
	const struct {
		const char *word;
		bool *flag;
	} flags[] = {
		{"read-only", &script->is_read_only},
		{"keep", &script->is_kept},
		{"unseen", &script->is_unseen},
		{"secure", &script->is_secure},
		{"locked", &script->is_locked},
		{"certificate", &script->has_certificate},
		{"close", &script->is_closed},
		{"lost", &script->is_lost},
		{"refuse-clear", &script->is_clear_refused},
		{"every-way", &script->has_every_way},
	};

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (!strcmp(word, flags[i].word))
			return *flags[i].flag = true;
	return false;
}

static const char *read_count(const char *text, int64_t *out)
{
	uint64_t n;

	if (!read_number(text, INT64_MAX, &n))
		return "not a number";
	*out = (int64_t)n;
	return NULL;
}

static void replace(char **old, const char *text)
{
	free(*old);
	*old = text_dup(text);
}

static const char *read_directive(struct reader *reader, char *line)
{
	struct script *script = reader->script;
	char *text = line + strcspn(line, " ");

	if (*text)
		*text++ = '\0';
	end_body(reader);
	if (set_flag(script, line))
		return NULL;
	if (!strcmp(line, "tls")) {
		reader->speaks = false;
		return add_turn(script, true);
	}
	if (!strcmp(line, "drop"))
		return read_drop(reader, text);
	if (!strcmp(line, "user"))
		return read_user(script, text);
	if (!strcmp(line, "fail"))
		return read_fail(script, text);
	if (!strcmp(line, "only"))
		return read_ways(script, text);
	if (!strcmp(line, "left"))
		return read_uids(text, &script->left);
	if (!strcmp(line, "seen"))
		return read_uids(text, &script->seen);
	if (!strcmp(line, "opens"))
		return read_count(text, &script->opens);
	if (!strcmp(line, "slept"))
		return read_count(text, &script->slept_ms);
	if (!strcmp(line, "password"))
		return replace(&script->password, text), NULL;
	if (!strcmp(line, "alert"))
		return replace(&script->alert, text), NULL;
	return "no such directive";
}

static const char *read_heard(struct script *script, const char *text)
{
	struct buf line;
	size_t len = strlen(text);

	if (script->line_count == SCRIPT_LINES)
		return "too many lines";
	struct script_line *out = &script->lines[script->line_count++];
	out->is_broken = len >= 5 && !strcmp(text + len - 5, "...\\c");
	len -= out->is_broken ? 2 : 0;
	out->is_prefix = len >= 3 && !strncmp(text + len - 3, "...", 3);
	buf_init(&line, SCRIPT_OCTETS);
	const char *wrong = NULL;
	if (!out->is_prefix)
		wrong = put_line(script, text, &line);
	else if (!unescape(script, text, len - 3, &line))
		wrong = "not a good escape";
	out->len = buf_len(&line);
	out->text = mem_dup(buf_data(&line), out->len);
	buf_fini(&line);
	return wrong;
}

static const char *read_line(struct reader *reader, char *line)
{
	struct script *script = reader->script;
	bool is_said = !strncmp(line, "C:", 2), is_heard = !strncmp(line, "S:", 2);

	if (!*line || *line == '#')
		return NULL;
	if (*line == '@')
		return read_directive(reader, line + 1);
	if (*line == '|')
		return reader->message
			       ? put_line(script, line + 1 + (line[1] == ' '), &reader->body)
			       : "no message before this line";
	end_body(reader);
	if (!is_said && !is_heard)
		return "neither @, C:, S:, | nor #";
	const char *wrong = is_heard && reader->speaks ? add_turn(script, false) : NULL;
	if (wrong)
		return wrong;
	reader->speaks = is_said;
	line += 2 + (line[2] == ' ');
	return is_said ? put_line(script, line, &script->input) : read_heard(script, line);
}

static struct script *script_new(const char *path)
{
	struct script *script = mem_alloc(sizeof *script);

	snprintf(script->path, sizeof script->path, "%s", path);
	buf_init(&script->input, SCRIPT_OCTETS);
	memset(script->ways, 1, sizeof script->ways);
	script->password = text_dup("secret");
	script->opens = script->slept_ms = -1;
	return script;
}

struct script *script_read(const char *path)
{
	struct script *script = script_new(path);
	struct reader reader = {.script = script};
	FILE *file = fopen(path, "r");
	const char *wrong = file ? NULL : strerror(errno);
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int number = 0;

	buf_init(&reader.body, SCRIPT_OCTETS);
	while (!wrong && (len = getline(&line, &size, file)) >= 0) {
		number++;
		line[strcspn(line, "\n")] = '\0';
		wrong = read_line(&reader, line);
	}
	end_body(&reader);
	if (!wrong)
		wrong = add_turn(script, false);
	if (!script->user_count)
		script->users[script->user_count++].name = text_dup("joe");
	free(line);
	if (file)
		fclose(file);
	if (!wrong)
		return script;
	fprintf(stderr, "%s:%d: %s\n", path, number, wrong);
	script_free(script);
	return NULL;
}

static void let_go(const char *owned)
{
	free((void *)(uintptr_t)owned);
}

void script_free(struct script *script)
{
	if (!script)
		return;
	for (size_t i = 0; i < script->message_count; i++) {
		let_go(script->messages[i].octets);
		let_go(script->messages[i].name);
	}
	for (size_t i = 0; i < script->user_count; i++) {
		let_go(script->users[i].name);
		let_go(script->users[i].password);
		let_go(script->users[i].stored);
		let_go(script->users[i].reject);
	}
	for (size_t i = 0; i < script->line_count; i++)
		free(script->lines[i].text);
	free(script->password);
	free(script->alert);
	buf_fini(&script->input);
	free(script);
}
