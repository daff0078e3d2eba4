/* SPDX-License-Identifier: MIT */
/* world.h - everything around the sessions of a soak: the model server, the state, the other clients of
 * the mailbox, chance, trouble, and the book of promises.
 *
 * A world has a seed, and with it all that will ever happen in it. Sessions run one after another, and
 * now and then one runs to its end in the middle of another's; foreign changes come before any command
 * of any of them. A crash is told to the session as the loss of everything at once: from that moment
 * nothing that it does reaches server, state or client, which is all that kill -9 can mean to them.
 */
#ifndef POPGATE_SOAK_WORLD_H
#define POPGATE_SOAK_WORLD_H

#include "tests/fake/imap_server.h"
#include "tests/fake/state_memory.h"
#include "tests/soak/brittle.h"
#include "tests/soak/promise.h"
#include "tests/soak/stand.h"

enum { WORLD_DEPTH = 2, WORLD_MAILS = 400 };

struct bot;

/* Which mail a UID has meant. */
struct world_uid {
	uint64_t uidvalidity, id;
	uint32_t uid;
};

struct world_figures {
	unsigned sessions, crashes, logins, refusals; /* refused logins */
	unsigned mails, gone, failed;                 /* RETR and TOP: whole, told gone, refused */
	unsigned quits, promises; /* QUITs that were answered with +OK, and the DELEs in them */
	unsigned faults, renumberings;
};

struct world {
	struct imap_server server;
	struct promise promise;
	struct state_memory memory;
	struct brittle state; /* over the memory, or over LMDB */
	const char *lmdb;     /* borrowed: the directory of the latter; NULL: none */
	struct stand stand;
	struct log_target log;
	struct log warm_log; /* of mailboxes that stay open */
	uint64_t chance;
	struct imap_family family; /* of the server, perhaps with more traits */
	struct server_folder *inbox;
	struct world_uid *uids; /* owned */
	size_t uid_count, uid_room;
	bool is_restored;      /* UIDs will be given a second time */
	unsigned restored_for; /* names that have logged in since, a bit each */
	uint64_t twins[8];     /* mails that have a twin of equal octets */
	size_t twin_count;
	uint64_t newest_id
		[PROMISE_NAMES]; /* mails that there were when the name was last listed to */

	/* Of this world. */
	bool has_state;
	bool has_forgotten;      /* some listing may not have been written down */
	bool may_lie;            /* replies may lack a line, or say OK for nothing */
	bool has_poison;         /* some mails do not come */
	bool has_warm, has_idle; /* mailboxes stay open behind their sessions (M-09) */
	bool has_health;         /* failures are counted (H-07) */
	bool is_loud;            /* print the log and the dialogue with the server */

	/* Of this session. */
	struct bot *bots[WORLD_DEPTH]; /* the outer and the inner one */
	unsigned depth;
	bool is_calm; /* nothing goes wrong and nobody else is there */
	bool is_dead; /* the process has crashed */
	unsigned fault_odds, event_odds, nested_odds; /* one in so many commands; 0: none */
	unsigned crash_at;                            /* commands until then; 0: never */

	struct world_figures figures;
	char failure[512]; /* the first rule that was broken; "": none */
};

/* `lmdb`: an empty directory for a real state directory, or NULL: the state is in memory. */
void world_init(struct world *, uint64_t seed, const char *lmdb, bool is_loud);
void world_fini(struct world *);

/* One session with its own trouble. Stops at the first failure. */
void world_session(struct world *);

enum { WELL_MS = 20 * 60 * 1000 }; /* so long after trouble nobody remembers it */

/* world_warm.c. Mailboxes stay open from now on, if the world has that; their connections are gone, and
 * others stay from now on; what is due for them is done; none stay any more. */
void world_begin_warm(struct world *);
void world_lose_warm(struct world *);
void world_tend_warm(struct world *);
void world_end_warm(struct world *);

/* Time passes, everything is well again, every name logs in: what was promised must be true now. */
void world_settle(struct world *);

/* A session of `name` (below PROMISE_NAMES) by a client of this kind, under the trouble that is set. */
void world_run(struct world *, unsigned name, unsigned kind);

uint32_t world_chance(struct world *, uint32_t below); /* a number below */
bool world_odds(struct world *, unsigned one_in);      /* 0: never */

__attribute__((format(printf, 2, 3))) void world_fail(struct world *, const char *format, ...);

/* --loud: a line on stderr, behind what server and clients have said so far. */
__attribute__((format(printf, 2, 3))) void world_say(struct world *, const char *format, ...);
void world_flush(struct world *);

/* The mail that the UID means or meant under UIDVALIDITY; 0: none. */
uint64_t world_mail(const struct world *, uint64_t uidvalidity, uint32_t uid);

bool world_has_twin(const struct world *, uint64_t id);
bool world_is_twin(const struct world *, uint64_t id, uint64_t other); /* or the same */

/* foreign.c: what other clients of the mailbox do. */
uint64_t world_deliver(struct world *);
void world_event(struct world *, const char *command);
/* INBOX is about to be examined: some servers tell another UIDVALIDITY then. */
void world_examined(struct world *);

#endif
