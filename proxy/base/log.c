/* SPDX-License-Identifier: MIT */
/* log.c - one logfmt line per event. */
#include "proxy/base/log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

struct line {
	char text[1024];
	size_t len;
	bool cut;
};

static void put(struct line *line, const char *text, size_t len)
{
	size_t room = sizeof line->text - 5 - line->len; /* for "...", LF and NUL */

	if (len > room) {
		len = room;
		line->cut = true;
	}
	memcpy(line->text + line->len, text, len);
	line->len += len;
}

static void put_text(struct line *line, const char *text)
{
	put(line, text, strlen(text));
}

static bool is_plain(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (*text <= ' ' || *text > '~' || *text == '"' || *text == '=' || *text == '\\')
			return false;
	return true;
}

static void put_value(struct line *line, const char *text)
{
	if (is_plain(text)) {
		put_text(line, text);
		return;
	}
	put_text(line, "\"");
	for (; *text && !line->cut; text++) {
		char escaped[8];
		if (*text == '"' || *text == '\\')
			snprintf(escaped, sizeof escaped, "\\%c", *text);
		else if (*text < ' ' || *text > '~')
			snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned char)*text);
		else
			snprintf(escaped, sizeof escaped, "%c", *text);
		put_text(line, escaped);
	}
	put_text(line, "\"");
}

static void put_field(struct line *line, const struct log_field *field)
{
	char number[24];

	put_text(line, " ");
	put_text(line, field->key);
	put_text(line, "=");
	switch (field->type) {
	case LOG_NUMBER:
		snprintf(number, sizeof number, "%" PRIu64, field->number);
		put_text(line, number);
		break;
	case LOG_SECRET:
		put_text(line, "***");
		break;
	case LOG_TEXT:
	case LOG_END:
		put_value(line, field->text);
		break;
	}
}

void log_write(const struct log *log, enum log_level level, const char *event,
	       const struct log_field *fields)
{
	static const char *const levels[] = {"debug", "note", "warn", "alarm"};
	struct line line = {.len = 0};

	if (!log || !log->target || level < log->target->least)
		return;
	put_text(&line, "event=");
	put_text(&line, event);
	put_text(&line, " level=");
	put_text(&line, levels[level]);
	if (*log->tag) {
		put_text(&line, " ");
		put_text(&line, log->tag);
	}
	for (; fields->type != LOG_END; fields++)
		put_field(&line, fields);
	if (line.cut) {
		memcpy(line.text + line.len, "...", 3);
		line.len += 3;
	}
	line.text[line.len++] = '\n';
	line.text[line.len] = '\0';
	log->target->write(log->target, level, line.text, line.len);
}

void log_err(const struct log *log, enum log_level level, const char *event, struct err err)
{
	static const char *const kinds[] = {
		"none", "refused", "message", "login", "in-use", "policy", "upstream", "client",
	};

	LOG(log, level, event, log_text("kind", kinds[err.kind]),
	    log_number("code", (uint64_t)(unsigned)err.code), log_text("what", err.what));
}

static void write_stderr(struct log_target *target, enum log_level level, const char *line,
			 size_t len)
{
	(void)target;
	(void)level;
	while (len) {
		ssize_t n = write(STDERR_FILENO, line, len);
		if (n <= 0)
			return; /* nobody reads our log: no reason to stop serving mail */
		line += n;
		len -= (size_t)n;
	}
}

static void write_syslog(struct log_target *target, enum log_level level, const char *line,
			 size_t len)
{
	static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ALERT};

	(void)target;
	syslog(priorities[level], "%.*s", (int)len - 1, line);
}

struct log_target log_to_stderr = {write_stderr, LEVEL_NOTE};
struct log_target log_to_syslog = {write_syslog, LEVEL_NOTE};
