/* SPDX-License-Identifier: MIT */
/* session.h - one POP3 session (RFC 1939): the loop, and the one place where an error becomes a
 * reply or a farewell.
 *
 *	                 connect
 *	                    |  greeting
 *	                    v
 *	            +---------------+   QUIT, end, limits     +--------+
 *	            | AUTHORIZATION | ----------------------> | CLOSED |
 *	            +---------------+                         +--------+
 *	                    |  PASS, AUTH                       ^    ^
 *	                    v                                   |    |
 *	            +---------------+   end, timer, limits      |    |
 *	            |  TRANSACTION  | --------------------------+    |
 *	            +---------------+                                |
 *	                    |  QUIT                                  |
 *	                    v                                        |
 *	            +---------------+   reply, in any case           |
 *	            |    UPDATE     | -------------------------------+
 *	            +---------------+
 *
 * Transitions and the function that performs each:
 *	connect       -> AUTHORIZATION   session_run
 *	AUTHORIZATION, parked            authorization_enter, if the mailbox is served elsewhere;
 *	                                 there session_go_on proves the claim and goes on
 *	AUTHORIZATION -> TRANSACTION     authorization_enter, for cmd_pass and cmd_auth: account
 *	                                 proved, maildrop open, locked and listed
 *	AUTHORIZATION -> CLOSED          cmd_bye; session_run on any end
 *	TRANSACTION   -> UPDATE          cmd_quit (the only way in, D-01)
 *	TRANSACTION   -> CLOSED          session_run on any end: nothing is removed
 *	UPDATE        -> CLOSED          cmd_quit, after update_run, whether or not the client is
 *	                                 still there (D-02)
 *
 * The transient states of a session (opening, sending, TLS handshake, SASL) are where its fiber is
 * parked: the program counter is that state, and input that comes meanwhile waits in the stream
 * (A-08, A-10).
 */
#ifndef POPGATE_SESSION_H
#define POPGATE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/log.h"
#include "proxy/base/stream.h"
#include "session/account.h"
#include "upstream/lock.h"
#include "upstream/maildrop.h"
#include "upstream/upstream.h"

enum state { AUTHORIZATION = 1, TRANSACTION = 2, UPDATE = 4, CLOSED = 8 };

enum {
	SESSION_IN_MAX = 65536,  /* longest line, octets */
	SESSION_OUT_MAX = 16384, /* replies coalesced, octets */
	SESSION_HOLD = 131072,   /* a message up to this many octets is held until whole (F-13) */
	SESSION_STAMP = 72,      /* a challenge in the form of a msg-id, with its NUL */
};

/* What the listener decides. Borrowed: lives as long as any session of it. */
struct session_conf {
	const char *banner;        /* text after +OK; printable, no "<", "[" */
	void *tls_identity;        /* certificates for env->serve_tls; NULL: no STLS */
	uint64_t idle_ms;          /* autologout in TRANSACTION, default 600,000 */
	uint64_t stall_ms;         /* a client that takes nothing, default 120,000 */
	uint64_t line_ms;          /* a begun line, a SASL exchange, default 60,000 */
	uint64_t handshake_ms;     /* TLS, default 30,000 */
	uint64_t authorization_ms; /* all of AUTHORIZATION, default 180,000 */
	uint64_t failure_ms; /* first delay after a refused login, doubles up to 15 s; default 2,000
				(B-08) */
	unsigned failures;   /* refused logins until we hang up, default 3 (B-08) */
	uint64_t lock_ms;    /* wait for a held maildrop, default 2,000 (G-05) */
	uint64_t lock_update_ms; /* while its holder is in UPDATE, default 30,000 (G-08) */
	uint64_t takeover_ms;    /* idle for so long a session gives way to a new login of the same
				    name, default 120,000; 0: never (G-06) */
	uint64_t nudge_ms; /* the upstream is kept alive every so often, default 240,000 (H-11) */
};

struct session {
	enum state state;
	const struct env *env;           /* borrowed */
	const struct session_conf *conf; /* borrowed */
	struct accounts *accounts;       /* borrowed */
	struct lock_table *locks;        /* borrowed */
	const bool *is_hurried;          /* borrowed, may be NULL: the program is about to end */
	struct log log;
	struct stream *client;     /* owned; replaced by STLS; NULL after a failed handshake */
	bool is_tls;               /* the client speaks TLS */
	bool is_cleartext_allowed; /* this peer may send a password without TLS (B-09) */

	/* AUTHORIZATION */
	char *name;          /* owned; set by USER, forgotten by all but PASS and CAPA (B-02) */
	unsigned failures;   /* refused logins */
	unsigned strikes;    /* bad commands in a row (L-04) */
	uint64_t since_ms;   /* env->now at the start */
	uint64_t claimed_ms; /* env->now when the newest claim was complete */
	char timestamp[SESSION_STAMP]; /* of the greeting, for APOP; "": there is no APOP */
	struct parked *parked; /* owned: the claim to be proved elsewhere; NULL: there is none */

	/* TRANSACTION, UPDATE */
	struct account *account;   /* owned */
	struct upstream *upstream; /* owned */
	struct lock *lock;         /* owned */
	struct maildrop drop;
	uint64_t waits_since_ms; /* env->now when the wait for the next command began; 0: none */
	bool is_evicted;         /* another login of the same name has taken the maildrop (G-06) */
	size_t retrieved;        /* RETRs that ended in their dot, for the log */
	size_t removed;          /* messages that UPDATE removed, for the log */

	struct notice why; /* words from outside for the next -ERR */
};

/* Defaults for all times and counts; banner "POP3 ready", no TLS. */
void session_conf_init(struct session_conf *);

/* Runs a session from greeting to end on `client`, which it takes over and closes. Fields of
 * `session` that a caller sets before: env, conf, accounts, locks, is_hurried, log, is_tls,
 * is_cleartext_allowed; all else zero. When it returns false everything the session owned has been
 * given back and the state is CLOSED.
 * True: the session is parked with a claim in its hands, because accounts->is_elsewhere said so; nothing
 * is unsaid in a way that would wait. The caller moves it, sets env, conf, accounts, locks and is_hurried
 * to what is there, and calls session_go_on(), or session_abandon(). */
bool session_run(struct session *, struct stream *client);

/* Proves the claim of a parked session, answers it, and goes on: in AUTHORIZATION after a refusal, else
 * in TRANSACTION. Returns as session_run() does: the next claim may be for another place. */
bool session_go_on(struct session *);

/* Ends a parked session, whose client's stream is aborted. Does not wait. */
void session_abandon(struct session *);

/* Asserts what must hold in each state; called between any two commands. */
void session_check(const struct session *);

#endif
