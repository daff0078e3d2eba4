/* SPDX-License-Identifier: MIT */
/* bot.h - one POP3 client of a soak: says what its kind says, and holds each reply against the truth. */
#ifndef POPGATE_SOAK_BOT_H
#define POPGATE_SOAK_BOT_H

#include "tests/soak/world.h"

enum bot_kind {
	BOT_ANY,    /* whatever comes to its mind */
	BOT_KEEPER, /* leaves mail on the server: UIDL, fetches, deletes one now and then */
	BOT_MOVER,  /* fetches all, deletes all */
	BOT_POLLER, /* STAT and QUIT */
	BOT_KINDS,
};

/* What must be seen of a mail in the listing of this session. */
enum bot_show {
	SHOW_ANY,
	SHOW_MUST,
	SHOW_PROMISED, /* never: its deletion was promised */
	SHOW_DELETED,  /* never: it is marked \Deleted */
	SHOW_GONE,     /* never: it is not there */
};

struct bot_message {
	uint64_t id;
	uint64_t octets; /* as first told; UINT64_MAX: not yet */
	char *uidl;      /* owned; NULL: not yet told */
	bool is_marked, is_stub;
	bool has_come; /* whole, by RETR */
};

struct bot {
	struct world *world;
	struct session *session; /* borrowed: tells which mail a number is */
	struct pop_client client;
	unsigned name;
	enum bot_kind kind;
	unsigned left;    /* commands until it ends */
	size_t at;        /* message that KEEPER and MOVER are at */
	char command[64]; /* said and not yet answered; "": none, or the greeting */
	bool is_in, is_quitting, has_quit, has_answer, is_refused;
	uint64_t uidvalidity;         /* of the listing */
	struct bot_message *messages; /* owned */
	size_t count;
	unsigned char show[WORLD_MAILS]; /* enum bot_show by id */
};

void bot_init(struct bot *, struct world *, struct session *, unsigned name, enum bot_kind);
void bot_fini(struct bot *);

/* The session has ended: what its QUIT amounts to goes into the book. */
void bot_end(struct bot *);

/* bot_check.c: the reply to bot->command, against the truth. */
void bot_check(struct bot *, const char *reply, size_t len);
/* What must be shown to whoever logs in now. */
void bot_expect(struct bot *);

#endif
