/* SPDX-License-Identifier: MIT */
/* imap_login.h - what imap_client.c, imap_login.c, imap_auth*.c, imap_caps.c and imap_outcome.c share,
 * and nobody else needs. */
#ifndef POPGATE_IMAP_LOGIN_H
#define POPGATE_IMAP_LOGIN_H

#include "proxy/base/buf.h"
#include "upstream/imap_client.h"

/* The bounds of a phase that begins now: the moment it must end by (`until_ms` if that is sooner, 0
 * if nothing bounds it), and the longest single wait. */
uint64_t imap_until(const struct env *, enum imap_phase, uint64_t until_ms);
uint64_t imap_wait(enum imap_phase);
void imap_limit(struct imap_client *, enum imap_phase);

/* Why the connection is lost; `code` if the layer below has no number for it. */
struct err imap_lost(const struct imap_client *, int code) MUST_USE;

/* imap_send() of a line that holds a secret: no copy of it stays behind but the caller's. */
struct err imap_send_line(struct imap_client *, int *tag, const struct buf *line) MUST_USE;

/* The two halves of imap_receive(): sends what is in line and reads a first line; reads on from
 * there to the tagged reply. Between them that line stands in im->imap_stream_buffer. */
struct err imap_await(struct imap_client *, enum imap_phase, int tag) MUST_USE;
struct err imap_parse(struct imap_client *, int tag) MUST_USE;

/* The end of a connection without a word, to anybody. */
void imap_drop(struct imap_client *);

/* --- imap_caps.c --- */

/* Nothing was told, as far as we remember. */
void imap_caps_forget(struct imap_client *);
/* Before the login: asks for the capabilities unless they were told. A server that tells none has
 * none. */
struct err imap_caps_learn(struct imap_client *) MUST_USE;
/* After the login: capabilities, ID, the row of quirks, revision 2. `had_id`: ID was announced before
 * the login. */
struct err imap_caps_settle(struct imap_client *, bool had_id) MUST_USE;
/* Receives the reply to the ID that is under way. */
struct err imap_caps_take_id(struct imap_client *, enum imap_phase) MUST_USE;

/* What libetpan has collected of capabilities, if it has, into client->caps. */
void imap_caps_take(struct imap_client *);
/* Puts an ID in line. */
struct err imap_caps_send_id(struct imap_client *) MUST_USE;
/* Capabilities that are worth enabling, going by client->caps and quirks. */
unsigned imap_caps_wanted(const struct imap_client *);
/* Puts an ENABLE of these in line; *tag is 0 if there is none of them (RFC 5161). */
struct err imap_caps_send_enable(struct imap_client *, unsigned caps, int *tag) MUST_USE;
/* Takes its answer, if `tag` is not 0: client->enabled and is_rev2. What would have been worth enabling
 * and is not enabled is as good as not there. */
struct err imap_caps_take_enable(struct imap_client *, int tag) MUST_USE;

/* --- imap_flight.c --- */

/* After the greeting: is this server known? */
void imap_flight_recall(struct imap_client *, const struct upstream_conf *);
/* Behind a login that has been put in line, and that nothing but its outcome can answer: puts what may
 * follow in line. */
void imap_flight_send(struct imap_client *);
/* After a login that succeeded. *is_settled: capabilities and quirks are those of the last time, and
 * whatever has left with the login holds; otherwise all is to be asked for. */
struct err imap_flight_land(struct imap_client *, bool *is_settled) MUST_USE;
/* The folder is selected: what was learned is noted for the next time, and with client->is_deaf that steps
 * are to be taken for a week. Takes client->flight back. */
void imap_flight_note(struct imap_client *, const struct upstream_conf *);
/* Behind a command that asks an open mailbox for news: the line with which its listing begins, if that is
 * the same each time. */
void imap_flight_follow(struct imap_client *, const struct upstream_conf *, const struct login *);
/* A line that is to be sent: *tag is not 0 if that has left with the login already. Otherwise, if another
 * one has, its answer is read and thrown away first. */
struct err imap_flight_take(struct imap_client *, const struct buf *line, int *tag) MUST_USE;
/* A listing has ended well: what it began with is noted, and nothing is under way any more. */
void imap_flight_listed(struct imap_client *, const struct upstream_conf *, const struct login *);
/* The connection was lost over a flight: in steps the next time, unless the server said why. */
void imap_flight_lost(struct imap_client *);

/* --- imap_outcome.c --- */

/* What a tagged reply or a BYE tells of the state of the account or the server (H-05, H-08). */
enum imap_trouble { TROUBLE_NONE, TROUBLE_PASSING, TROUBLE_THROTTLED };
enum imap_trouble imap_trouble_of(const struct wire_status *);

/* What it means that a credential is refused (B-07). */
struct err imap_login_refused(struct imap_client *);

/* Whether the login went well and yet nothing can be done (N-07). */
bool imap_is_half_login(const struct wire_status *);

/* Remembers if the newest tagged reply asks us to slow down. */
void imap_note_throttle(struct imap_client *, enum imap_phase);

#endif
