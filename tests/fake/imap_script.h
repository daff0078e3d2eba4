/* SPDX-License-Identifier: MIT */
/* imap_script.h - an IMAP server that follows a script, as a stream without threads.
 *
 * A script is text, a line a step:
 *
 *	S: text         the server says text and CRLF
 *	S= text         the server says text, nothing behind it
 *	L: text         the server says a literal: {n} CRLF text
 *	L* n            the server says a literal of n octets, lines of digits
 *	C: text         the client must now say a tag, text, CRLF; "..." at the end: anything more
 *	C+ text         the client must now say text and CRLF, no tag
 *	@cut            the connection is lost (reset)
 *	@end            the server closes its side
 *	@stall          the server says nothing: the wait times out
 *	@dial           the connection is over; the next steps belong to the next one
 *	@refuse         the next dial is refused
 *	@from           counting of octets for `cut` begins here
 *	@greet @login   a greeting; a greeting and a LOGIN as joe, secret
 *	@select n [u]   SELECT "INBOX" with n messages and UIDVALIDITY u (9)
 *	@list n         the listing of n messages: UIDs 1 to n, 100 octets each
 *
 * "$" at the begin of what the server says is the tag of the client's newest command, "$<" of the
 * one before, "$<<" of the one before that, up to seven. Text knows the escapes \r \n \0 \\ and
 * \xHH. Empty lines and lines that begin with
 * "#" are skipped. A line that begins with ">" or "?" belongs to the test: the server stops there
 * until imap_script_note() has taken it.
 *
 * LOGOUT needs no step. Whatever else differs from the script is a failure: the first is kept in
 * words, and the connection is lost.
 */
#ifndef POPGATE_IMAP_SCRIPT_H
#define POPGATE_IMAP_SCRIPT_H

#include "proxy/base/buf.h"
#include "tests/fake/world.h"

struct script_stream;

struct imap_script {
	struct fake_world world; /* hand out &script.world.env; its dials come here */
	char *text;              /* owned: the script, its shorthands written out */
	const char *at;          /* the next step */
	size_t chunk;            /* most octets that one read gives; 0: all there are */
	size_t cut;  /* octets after @from at which the connection is lost; SIZE_MAX: never */
	size_t said; /* octets since @from */
	bool is_counting;
	struct buf pending; /* said and not yet read */
	struct buf heard;   /* told to us in this connection and not yet compared */
	struct buf sent;    /* all that we were ever told */
	char tags[8][24];   /* of the newest command, the one before, ... */
	struct buf limits;  /* "wait:until ", milliseconds from now, each time they changed */
	uint64_t wait_ms, until_ms;   /* the newest */
	struct script_stream *stream; /* the connection that lives, or NULL */
	char failure[512];            /* "": none yet */
};

void imap_script_init(struct imap_script *, const char *text);
void imap_script_fini(struct imap_script *);

/* The next line of the test's own, without its line end, in `out`; false at the end of the script.
 * Steps that stand before it and were not taken are a failure. */
bool imap_script_note(struct imap_script *, char *out, size_t size);

/* All that the client said, a string, borrowed until the next call. */
const char *imap_script_sent(struct imap_script *);

/* The deadlines that were set, in their order, likewise. */
const char *imap_script_limits(struct imap_script *);

/* Appends text, its escapes resolved. */
void imap_script_unescape(struct buf *, const char *text, size_t len);

#endif
