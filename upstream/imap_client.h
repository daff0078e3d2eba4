/* SPDX-License-Identifier: MIT */
/* imap_client.h - one connection to an IMAP server: made, secured, logged in, and commands over it.
 *
 * All commands are written here and go out through one door; libetpan reads the replies, over the
 * doorman (imap_wire.h). Nothing is ever sent before the greeting, and no credential before TLS
 * stands unless the map wants the connection clear (B-14).
 *
 * After an error of imap_receive() or imap_command() the connection may be lost: ask
 * imap_client_is_alive(). A NO or BAD leaves it in step.
 */
#ifndef POPGATE_IMAP_CLIENT_H
#define POPGATE_IMAP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <libetpan/libetpan.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "upstream/imap_wire.h"
#include "upstream/upstream.h"

/* What a server said it can. Those it said before the login are never asked after it (B-24). */
enum imap_cap {
	CAP_KNOWN = 1, /* it was told or asked at all */
	CAP_IMAP4REV1 = 2,
	CAP_IMAP4REV2 = 4,
	CAP_STARTTLS = 8,
	CAP_LOGINDISABLED = 16,
	CAP_AUTH_PLAIN = 32,
	CAP_SASL_IR = 64,
	CAP_UIDPLUS = 128,
	CAP_SPECIAL_USE = 256,
	CAP_LIST_EXTENDED = 512,
};

/* What we wait for: each phase has its deadlines (H-03), and Table 1 its meaning of a NO. */
enum imap_phase {
	PHASE_CONNECT,
	PHASE_TLS,
	PHASE_GREETING,
	PHASE_LOGIN,
	PHASE_SELECT,
	PHASE_LIST,
	PHASE_BODY,
	PHASE_UPDATE,
	PHASE_LEAVE,
};

struct imap_client {
	const struct env *env;  /* borrowed: outlives the client */
	const struct log *log;  /* borrowed: likewise */
	struct imap_wire *wire; /* owned; NULL: not connected */
	mailimap *im;           /* owned; NULL: not connected */
	unsigned caps;          /* enum imap_cap */
	uint64_t until_ms;      /* no phase lasts beyond this moment; 0: no such bound */
	bool is_courier;        /* by its greeting (N-12) */
	const char *secret;     /* borrowed while we log in, else NULL: what no log may show */
	bool is_stored;         /* of the login: whose fault a refusal is (B-07) */
};

/* Refuses, before any connection is made, a credential that cannot be sent (B-17). */
struct err imap_client_check(const struct login *) MUST_USE;

/* Connects, secures, reads the greeting, logs in, learns the capabilities. `client` is filled from
 * zero but for `until_ms`. On failure nothing is left open, and `why` may hold the server's own
 * words. */
struct err imap_client_open(struct imap_client *, const struct env *, const struct log *,
			    const struct upstream_conf *, const struct login *,
			    struct notice *why) MUST_USE;

/* The server's own words about a failure, its [ALERT], else its BYE, into `why` (or NULL). */
void imap_client_why(const struct imap_client *, struct notice *why);

/* Sends LOGOUT if the connection lives, does not wait for its answer, frees. A zeroed client is
 * fine. */
void imap_client_close(struct imap_client *);

/* From now on the connection is lost: it is out of step. */
void imap_client_kill(struct imap_client *);
static inline bool imap_client_is_alive(const struct imap_client *client)
{
	return client->wire && !imap_wire_is_dead(client->wire);
}

/* Puts a command (without tag and CRLF, at most 8,000 octets) in line; it leaves with the next
 * imap_receive(). Several may be sent before the first is received (M-05). *tag names it. */
struct err imap_send(struct imap_client *, int *tag, const char *format, ...)
	__attribute__((format(printf, 3, 4))) MUST_USE;

/* Reads up to the tagged reply of `tag`: commands are received in the order they were sent. OK: it
 * came, whatever it says; imap_wire_status() has it. Untagged data is in client->im until the next
 * call. */
struct err imap_receive(struct imap_client *, enum imap_phase, int tag) MUST_USE;

/* What the newest tagged reply means in this phase, by Table 1. */
struct err imap_outcome(const struct imap_client *, enum imap_phase) MUST_USE;

/* imap_send(), imap_receive() and imap_outcome() in one. */
struct err imap_command(struct imap_client *, enum imap_phase, const char *format, ...)
	__attribute__((format(printf, 3, 4))) MUST_USE;

/* Whether the newest tagged reply was this outcome. */
static inline bool imap_was(const struct imap_client *client, enum wire_outcome outcome)
{
	return imap_wire_status(client->wire)->outcome == outcome;
}

/* Gives back what libetpan keeps of the last replies: untagged data is gone after this. */
void imap_client_trim(struct imap_client *);

#endif
