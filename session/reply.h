/* SPDX-License-Identifier: MIT */
/* reply.h - the first line of every reply: `+OK`, `-ERR [CODE]`. At most 512 octets with CRLF,
 * printable ASCII, whatever the words came from. */
#ifndef POPGATE_REPLY_H
#define POPGATE_REPLY_H

#include "proxy/base/err.h"
#include "session/session.h"

/* Puts "+OK", a blank and the text in line for the client; an empty text gives "+OK" alone. */
struct err reply_ok(struct session *, const char *format, ...)
	__attribute__((format(printf, 2, 3))) MUST_USE;

/* The one function that turns an error into words (Table 1), with session->why behind them, which
 * it empties. [AUTH] has one fixed text. ERR_CLIENT is returned and nothing is said; after any
 * other kind the result is that of the writing. */
struct err reply_err(struct session *, struct err) MUST_USE;

/* What waits in line for the client leaves now: before every wait for anyone else. */
struct err reply_flush(struct session *) MUST_USE;

#endif
