/* SPDX-License-Identifier: MIT */
/* command.h - the command table: what a line may be, when it is lawful, and who does it. */
#ifndef POPGATE_COMMAND_H
#define POPGATE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/err.h"
#include "session/session.h"

enum {
	ARGS_MAX = 2,
	REST = -1, /* one argument: all behind one blank, blanks and all */
};

/* The arguments of a line, NUL ended. Borrowed: they live as long as the handler runs, and are
 * wiped after it. */
struct args {
	int count;
	const char *word[ARGS_MAX];
};

enum command_trait {
	IS_TRIMMED = 1,  /* blanks and TABs at the end of the line are nothing */
	KEEPS_NAME = 2,  /* may stand between USER and PASS (B-02) */
	TAKES_BYTES = 4, /* the argument may hold TAB and octets above 0x7F */
};

struct command {
	const char *verb;
	unsigned states; /* where the verb is lawful: enum state */
	int min, max;    /* number of arguments, or REST */
	size_t longest;  /* longest line with its CRLF, octets */
	/* ERR_REFUSED with code EINVAL: the line is malformed, which counts as a strike (L-04). */
	struct err (*run)(struct session *, const struct args *);
	enum state next;  /* the state after success, where `run` has led; 0 keeps it */
	unsigned traits;  /* enum command_trait */
	const char *capa; /* its line in CAPA, NULL: none */
	bool (*is_announced)(const struct session *); /* in the present state; NULL: always */
};

/* Reads a line of `len` octets with a NUL behind it: finds the row, checks state, length, octets
 * and number of arguments. `line` is cut up in place. ERR_REFUSED (code EINVAL or E2BIG) with words
 * for the client, and *row NULL, if it is no command now. */
struct err command_parse(enum state, char *line, size_t len, const struct command **row,
			 struct args *out) MUST_USE;

/* Whether a line before login is the opening of another protocol. For TLS the first octet is
 * enough. */
bool command_is_foreign(const char *line, size_t len);

/* Forgets what USER said, as any line between USER and PASS does (B-02). */
void command_forget(struct session *);

/* Parses a copy of `line`, wipes the original (it may hold a password) and runs the command. Says
 * +OK itself; an error is for reply_err(). */
struct err command_dispatch(struct session *, const char *line, size_t len) MUST_USE;

#endif
