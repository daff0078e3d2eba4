/* SPDX-License-Identifier: MIT */
/* imap_memo.h - what a server has shown at the last login, so that the next one need not ask.
 *
 * A first login goes step by step: capabilities, login, ID, SELECT. What was learned is noted here, and
 * as long as the server says the same of itself before the login, the next one says all of it at once
 * (M-02). A server that loses its way in such a flight is talked to step by step for a week (M-04).
 * One table a worker, in memory; it forgets the least recently used of 4,000 servers.
 */
#ifndef POPGATE_IMAP_MEMO_H
#define POPGATE_IMAP_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/env.h"

struct imap_quirks;
struct imap_memos;
struct login;
struct upstream_conf;

struct imap_memo {
	uint64_t
		print; /* of its words before the login: imap_memo_print(); 0: nothing was learned */
	unsigned offered; /* enum imap_cap, before the login */
	unsigned caps;    /* and after it */
	unsigned enabled; /* those that it enabled (RFC 5161) */
	bool tells_caps;  /* unasked, with its OK to the login */
	const struct imap_quirks *quirks;
	uint64_t steps_until_ms; /* no flights before that moment (env->now); 0: they are welcome */
};

struct imap_memos *imap_memos_new(void);
void imap_memos_free(struct imap_memos *); /* NULL is fine */

/* What tells whether a server is the one that it was: the capabilities that it told unasked, or its
 * greeting if it told none. Never 0. */
uint64_t imap_memo_print(const char *greeting, const char *capabilities);

/* What is known of the server of `conf`; all zero if nothing is, or `memos` is NULL. */
struct imap_memo imap_memo_get(struct imap_memos *, const struct upstream_conf *);
void imap_memo_put(struct imap_memos *, const struct upstream_conf *, const struct imap_memo *);

/* Whether this very token was accepted by this server for this user before: only then does anything
 * follow it unasked, for a refusal is a question that swallows the next line (M-03). The token itself is
 * not kept. */
bool imap_memo_is_tried(struct imap_memos *, const struct upstream_conf *, const struct login *);
void imap_memo_tried(struct imap_memos *, const struct upstream_conf *, const struct login *);

/* The name on the wire of conf->folder, which had to be asked for; owned by the caller. NULL: nobody has
 * asked yet. Names longer than 255 octets are not kept. A NULL `name` is forgotten. */
char *imap_memo_folder(struct imap_memos *, const struct upstream_conf *, const struct login *);
void imap_memo_put_folder(struct imap_memos *, const struct upstream_conf *, const struct login *,
			  const char *name);

/* The line that twice in a row was the first one after SELECT in this mailbox, "" if there is none:
 * where a mailbox cannot be known to be unchanged its listing begins in the same way each time. Put with
 * "" where there was none, or one that was of use once. */
enum { IMAP_NEXT = 80 }; /* octets, with the NUL */
void imap_memo_next(struct imap_memos *, const struct upstream_conf *, const struct login *,
		    char out[IMAP_NEXT]);
void imap_memo_put_next(struct imap_memos *, const struct upstream_conf *, const struct login *,
			const char *line);

#endif
