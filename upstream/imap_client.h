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
#include "upstream/health.h"
#include "upstream/imap_memo.h"
#include "upstream/imap_quirks.h"
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
	CAP_MOVE = 1 << 10,
	CAP_CONDSTORE = 1 << 11,
	CAP_OBJECTID = 1 << 12,
	CAP_GMAIL = 1 << 13, /* X-GM-EXT-1 */
	CAP_ESEARCH = 1 << 14,
	CAP_ENABLE = 1 << 15,
	CAP_ID = 1 << 16,
	CAP_UIDONLY = 1 << 17,
	CAP_UNSELECT = 1 << 18,
	CAP_IDLE = 1 << 19,
	CAP_MESSAGELIMIT = 1 << 20, /* MESSAGELIMIT=n */
	CAP_AUTH_EXTERNAL = 1 << 21,
	CAP_AUTH_XOAUTH2 = 1 << 22,
	CAP_AUTH_OAUTHBEARER = 1 << 23,
	CAP_AUTH_SCRAM_1 = 1 << 24,
	CAP_AUTH_SCRAM_1_PLUS = 1 << 25,
	CAP_AUTH_SCRAM_256 = 1 << 26,
	CAP_AUTH_SCRAM_256_PLUS = 1 << 27,
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
	PHASE_POLL,   /* a mailbox that was kept open: does it live (M-10)? */
	PHASE_FLIGHT, /* SELECT behind a login that has succeeded: does it listen at all (M-04)? */
	PHASES
};

struct imap_client;

/* A command that may leave in one write with the login, to a server that is known (M-02). */
struct imap_flight {
	/* Puts the command (without tag and CRLF) into `line`, as client->caps and client->quirks want
	 * it; they are those of the last time. False: it cannot be told before the login. */
	bool (*put)(void *arg, struct imap_client *, struct buf *line);
	void *arg;
	int tag;              /* of the command while it is under way; 0: it has to be sent */
	char next[IMAP_NEXT]; /* and a line behind it, which will most likely be wanted; "": none */
};

struct imap_client {
	const struct env *env;  /* borrowed: outlives the client */
	const struct log *log;  /* borrowed: likewise */
	struct imap_wire *wire; /* owned; NULL: not connected */
	mailimap *im;           /* owned; NULL: not connected */
	unsigned caps;          /* enum imap_cap */
	unsigned offered;       /* those of before the login */
	unsigned enabled;       /* those that are enabled now (RFC 5161) */
	/* Never NULL once logged in. What ID says is known, and may change the row, when the first
	 * command after the login has been received. */
	const struct imap_quirks *quirks;
	const struct imap_quirks *given; /* quirks= of the map, or NULL */
	uint64_t until_ms;               /* no phase lasts beyond this moment; 0: no such bound */
	const char *secret; /* borrowed while we log in, else NULL: what no log may show */
	bool is_stored;     /* of the login: whose fault a refusal is (B-07) */
	bool is_rev2;       /* IMAP4rev2 is enabled, for there is no IMAP4rev1: folder names are
				   UTF-8 on the wire (RFC 9051 section 5.1) */
	bool is_greeted;    /* from now on trouble is the account's */
	bool is_refused;    /* the login was, and its secret is stored */
	bool is_unserved;   /* there is no mechanism for it */
	bool is_throttled;  /* the server has asked us to slow down, with an OK or without */
	int id_tag;         /* of an ID that is under way; 0: none */
	int idle_tag,
		done_tag; /* of an IDLE that stands; of one that was told to end (imap_idle.h) */
	uint64_t spent_ms[PHASES]; /* time that went by in each phase */
	/* Where to report, and what: see imap_client_report(). */
	struct health *health;    /* borrowed, or NULL */
	struct imap_memos *memos; /* borrowed, or NULL */
	struct imap_memo memo;    /* of this server, as it was known when the login began (M-02) */
	bool is_known;            /* there was one, and the server still says the same of itself */
	struct imap_flight *flight; /* borrowed: what may leave with the login; or NULL */
	bool has_flown;             /* something has left with it */
	bool is_deaf; /* and the server has lost its way in that: in steps now, and, if it is in step with
			 those, for a week */
	int caps_tag, enable_tag; /* of a CAPABILITY and an ENABLE that have; 0: none */
	/* The line behind SELECT while it is under way and nobody has asked for it, and its tag; 0: none.
	 * imap_send() of the same line takes it for sent; before any other its answer is thrown away. */
	int next_tag;
	char next[IMAP_NEXT];
	bool is_listing;        /* the folder is selected, and no listing has ended since */
	char first[IMAP_NEXT];  /* the first line since then; "": none, or a longer one */
	unsigned opening_trips; /* round trips until the greeting was there */
	const char *host;       /* borrowed */
	unsigned port;
	char *account;          /* owned: what tells accounts of a host apart */
	struct imap_warm *warm; /* borrowed; with `seat`: whose budget counts us (imap_budget.h) */
	char *seat;             /* owned: the account there; NULL: we are not counted */
	bool is_knocking;       /* nobody has proved yet to be the account's owner */
	bool is_asked;          /* health_ask() let us go, and nothing was reported yet */
};

/* Connects, secures, reads the greeting, logs in, learns the capabilities. `client` is filled from
 * zero but for `until_ms`. On failure nothing is left open, and `why` may hold the server's own
 * words.
 *
 * A stored token that is refused is renewed in `login`, once, and tried on a new connection (J-10).
 *
 * conf.health is asked first: where the server or the account is in trouble nothing is sent (H-07).
 * A failure is reported here. A success is reported by whoever selects the folder:
 * imap_client_report(client, HEALTH_GOOD), or HEALTH_FAILED if a logged in client cannot be used
 * (N-07). imap_client_close() makes up for what was not reported. */
struct err imap_client_open(struct imap_client *, const struct env *, const struct log *,
			    const struct upstream_conf *, struct login *,
			    struct notice *why) MUST_USE;

/* Which account it is, for conf.health; and that nothing more is to be told about it. */
void imap_client_name(struct imap_client *, const struct login *);
void imap_client_unname(struct imap_client *);

/* Tells conf.health about this server and account; nothing without one. */
void imap_client_report(struct imap_client *, enum health_event);

/* The server does not do what it announced (H-08, M-06): for this connection it never did. */
static inline void imap_client_forget(struct imap_client *client, unsigned caps)
{
	client->caps &= ~caps;
}

/* The server's own words about a failure, its [ALERT], else its BYE, into `why` (or NULL). */
void imap_client_why(const struct imap_client *, struct notice *why);

/* Sends LOGOUT if the connection lives, does not wait for its answer, frees. A zeroed client is
 * fine. */
void imap_client_close(struct imap_client *);

/* Round trips since the connection was begun: TCP, TLS and the greeting count one each (M-01), though a
 * full handshake of TLS 1.2 takes two. */
unsigned imap_client_round_trips(const struct imap_client *);

/* From now on the connection is lost: it is out of step. */
void imap_client_kill(struct imap_client *);
static inline bool imap_client_is_alive(const struct imap_client *client)
{
	return client->wire && !imap_wire_is_dead(client->wire);
}

/* Octets that a command may have, without tag and CRLF, so that its line is not too long for this
 * server (N-16). */
size_t imap_client_room(const struct imap_client *);

/* Puts a command (without tag and CRLF, at most imap_client_room() octets: E2BIG) in line; it leaves
 * with the next imap_receive(). Several may be sent before the first is received (M-05). *tag names
 * it. */
struct err imap_send(struct imap_client *, int *tag, const char *format, ...)
	__attribute__((format(printf, 3, 4))) MUST_USE;

/* Reads up to the tagged reply of `tag`: commands are received in the order they were sent. OK: it
 * came, whatever it says; imap_wire_status() has it. Untagged data is in client->im until the next
 * call. */
struct err imap_receive(struct imap_client *, enum imap_phase, int tag) MUST_USE;

/* What the newest tagged reply means in this phase, by Table 1. The code is EAGAIN where the server
 * says that it will pass; where it wants to be asked less `client` remembers that too. */
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
