/* SPDX-License-Identifier: MIT */
/* ask.h - a password from whoever runs a subcommand. */
#ifndef POPGATE_ASK_H
#define POPGATE_ASK_H

#include <stdbool.h>

enum { ASK_MAX = 511 /* octets of a password: crypt(3) takes no more */ };

/* One line, with room for what is too much of it. */
struct ask {
	char text[ASK_MAX + 3];
};

/* The next line of standard input without its end. False if there is none, or it is empty or too
 * long. */
bool ask_line(struct ask *);
/* Asks on the terminal, without echo. False as above, or if standard input is no terminal. */
bool ask_hidden(const char *prompt, struct ask *);

#endif
