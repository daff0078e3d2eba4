/* SPDX-License-Identifier: MIT */
/* enrol.h - `popgate enrol` and `popgate tokens`: how access to a mailbox is granted, and what became of
 * it. See popgate(8). */
#ifndef POPGATE_ENROL_H
#define POPGATE_ENROL_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/err.h"

/* `popgate enrol [--browser] NAME`; in enrol.c. */
int command_enrol(const char *config_file, int argc, char **argv);
/* `popgate tokens [--json | --forget KEY]`; in tokens.c. */
int command_tokens(const char *config_file, int argc, char **argv);

/* --- the browser's way back (enrol_browser.c) --- */

enum { ENROL_BROWSER_S = 600 }; /* how long a browser may take */

/* Listens on 127.0.0.1 (RFC 8252 section 7.3); *redirect is "http://127.0.0.1:PORT/", owned by the
 * caller. The descriptor, or -1. */
int enrol_listen(char **redirect, unsigned *port);

/* Waits for the one request that brings the answer: any other gets an error. Blocks: for the pool.
 * ERR_POLICY: the state differs, or the provider says no, with its words in `why`; ERR_UPSTREAM: nobody
 * came. *code is owned by the caller, who wipes it. */
struct err enrol_await(int fd, const char *state, uint64_t limit_ms, struct notice *why,
		       char **code) MUST_USE;

/* Takes the answer out of a request line, "GET /?code=...&state=... HTTP/1.1". ERR_REFUSED: it is none,
 * and another may follow. */
struct err enrol_parse(const char *line, const char *state, struct notice *why,
		       char **code) MUST_USE;

#endif
