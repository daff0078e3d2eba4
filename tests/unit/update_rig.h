/* SPDX-License-Identifier: MIT */
/* update_rig.h - the IMAP store with a journal, over a model of a server that breaks when it is told to,
 * for tests of UPDATE. For cmocka: whatever goes wrong fails the test. */
#ifndef POPGATE_UPDATE_RIG_H
#define POPGATE_UPDATE_RIG_H

#include "tests/fake/imap_server.h"
#include "tests/fake/state_memory.h"
#include "upstream/upstream.h"

enum { MAILS = 8, MOST_MAILS = 64 };

struct stage {
	struct imap_server server;
	struct state_memory state;
	struct upstream_conf conf;
	struct log log;
	struct upstream *up;
	struct maildrop drop;
	bool may_go[MOST_MAILS + 1]; /* by mail id: a client has said DELE */
	enum server_fault fault;     /* of each command that begins with `struck` */
	const char *struck;          /* NULL: none */
	unsigned percent;            /* of commands that a random fault strikes */
	unsigned strikes;            /* that are still allowed */
	uint64_t journalled;         /* puts that were seen before the first deletion */
};

/* MAILS mails in INBOX, 1 and up, and the policy; nothing is open. */
void stage_set_up(struct stage *, const char *family, enum delete_policy);
void stage_tear_down(struct stage *); /* fails the test if the server saw a crime */
void stage_add_mails(struct stage *, unsigned from, unsigned to);

/* Opens and lists. */
struct err stage_begin(struct stage *);
void stage_must_begin(struct stage *);
void stage_end(struct stage *); /* without learning anything; a closed one is fine */
/* DELE of the mail under a UID of INBOX; UIDs are the ids as long as nobody renumbers. */
void stage_delete(struct stage *, uint32_t uid);
struct err stage_quit(struct stage *);

bool stage_in_inbox(struct stage *, uint64_t id);
size_t stage_in_trash(struct stage *, uint64_t id); /* copies */
size_t stage_journalled(struct stage *);            /* messages whose removal is promised */
/* Exactly what was deleted is gone, and with has_trash is in the trash once. */
void stage_check_all(struct stage *, unsigned mails, bool has_trash);

#endif
