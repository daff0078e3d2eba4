/* SPDX-License-Identifier: MIT */
/* log.h - one logfmt line per event, tagged with the session.
 *
 *	LOG(log, LEVEL_NOTE, "login", log_text("user", name), log_number("messages", count));
 *	event=login level=note sid=8F3A2C peer=192.0.2.7:40112 user=joe messages=12
 *
 * Values from outside are quoted and escaped, so that no peer can forge a line. A secret has a type
 * of its own and can only be printed as ***.
 */
#ifndef POPGATE_LOG_H
#define POPGATE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/base/err.h"

enum log_level { LEVEL_DEBUG, LEVEL_NOTE, LEVEL_WARN, LEVEL_ALARM };

enum log_type { LOG_END = 0, LOG_TEXT, LOG_NUMBER, LOG_SECRET };

struct log_field {
	enum log_type type;
	const char *key;
	const char *text;
	uint64_t number;
};

/* Where lines go. `write` gets one whole line with its LF. Shared by all sessions of a worker. */
struct log_target {
	void (*write)(struct log_target *, enum log_level, const char *line, size_t len);
	enum log_level least; /* what is below is not made at all */
};

/* Who speaks. `tag` is what all its lines carry: fields as they are printed, e.g. "sid=8F3A2C
 * peer=192.0.2.7:40112". */
struct log {
	struct log_target *target; /* borrowed: lives as long as the worker. NULL: silence */
	char tag[160];
};

static inline struct log_field log_text(const char *key, const char *text)
{
	return (struct log_field){LOG_TEXT, key, text ? text : "", 0};
}

static inline struct log_field log_number(const char *key, uint64_t number)
{
	return (struct log_field){LOG_NUMBER, key, NULL, number};
}

static inline struct log_field log_secret(const char *key)
{
	return (struct log_field){LOG_SECRET, key, NULL, 0};
}

static inline struct log_field log_end(void)
{
	return (struct log_field){LOG_END, NULL, NULL, 0};
}

/* At most 1,024 octets a line; what is longer is cut and ends in "...". `event` is a literal of
 * [a-z-]. */
void log_write(const struct log *, enum log_level, const char *event,
	       const struct log_field *fields);

#define LOG(log_, level_, ...) LOG_ENDED(log_, level_, __VA_ARGS__, log_end())
#define LOG_ENDED(log_, level_, event_, ...)                                                       \
	log_write((log_), (level_), (event_), (const struct log_field[]){__VA_ARGS__})

/* An error's three parts as fields: its kind by name, its code, its words. */
void log_err(const struct log *, enum log_level, const char *event, struct err);

/* Lines to stderr; lines to syslog(3) (the caller has called openlog()). Static: neither holds
 * anything. */
extern struct log_target log_to_stderr;
extern struct log_target log_to_syslog;

#endif
