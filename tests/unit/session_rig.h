/* SPDX-License-Identifier: MIT */
/* session_rig.h - all that one session lives in: a canned client, a store in an array behind a
 * wrapper that can fail, five users, a clock that is wound.
 *
 * After every session the books are checked: what was opened is closed, what was given out is back,
 * no lock is held, and no password is in the log.
 */
#ifndef POPGATE_SESSION_RIG_H
#define POPGATE_SESSION_RIG_H

#include "proxy/base/mem.h"
#include "session/session.h"
#include "tests/fake/canned.h"
#include "tests/fake/fault.h"
#include "tests/fake/memory.h"
#include "tests/fake/world.h"

#define GREETING "+OK POP3 ready\r\n"
#define IN "USER joe\r\nPASS secret\r\n"
#define HELLO GREETING "+OK send PASS\r\n+OK maildrop has 3 messages (93 octets)\r\n"
#define BYE "QUIT\r\n"
#define BAD_STATE "-ERR command not valid in this state\r\n"
#define AUTH_ERR "-ERR [AUTH] login refused\r\n"
#define NEEDS_TLS "-ERR no login without TLS on this connection\r\n"
#define CAPA "+OK capability list follows\r\n"
#define CAPA_END "RESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n.\r\n"

enum { LOG_ROOM = 16384 };
struct log_keeper {
	struct log_target target;
	char text[LOG_ROOM];
	size_t len;
};

struct rig {
	struct fake_world world;
	struct memory_message messages[3]; /* of 32, 22 and 39 octets */
	struct fake_user users[4];
	struct memory store;
	struct fault fault;
	struct fake_accounts accounts;
	struct session_conf conf;
	struct session session;
	struct canned client;
	struct log_keeper log;
};

/* A session about to hear `input` (borrowed), in clear, with leave to log in so. Users: joe (local,
 * "secret"), pass (through), shut (rejected), trouble (accounts fail). */
void rig_init(struct rig *, const char *input);

/* Runs it and checks the books; gives what the client heard, borrowed. */
const char *rig_run(struct rig *);
void rig_fini(struct rig *);

/* Bit i is set if message i + 1 is gone from the store. */
unsigned rig_removed(const struct rig *);

/* A first line without its CRLF is +OK or -ERR, printable, short, and has "[" only where a code may
 * stand. */
void rig_check_line(const char *line, size_t len);

#endif
