/* SPDX-License-Identifier: MIT */
/* imap_server_own.h - what the files imap_server*.c share, and nobody else needs. */
#ifndef POPGATE_IMAP_SERVER_OWN_H
#define POPGATE_IMAP_SERVER_OWN_H

#include "tests/fake/imap_server.h"

enum {
	SERVER_MOST = 256 << 20, /* octets a buffer may hold */
	SERVER_WORD = 1024,      /* the longest word but a set */
};

/* A message as a connection knows it. */
struct seen_message {
	uint32_t uid;
	unsigned flags; /* as told */
};

struct server_connection {
	struct stream stream; /* first */
	struct imap_server *server;
	unsigned number;
	bool is_lost, is_stalled, has_ended; /* reset; silent for ever; closed by the server */
	uint64_t wait_ms, until_ms;
	struct buf heard, pending; /* not yet obeyed; not yet taken */
	size_t flight;             /* octets of `heard` that came with what was obeyed last */

	bool is_in, has_id, was_bad, is_uidonly;
	bool awaits_password;         /* AUTHENTICATE has said "+" */
	struct server_folder *folder; /* NULL: none selected */
	bool is_read_only;
	struct seen_message *view; /* owned; view[n - 1] is number n */
	size_t view_count, view_room;
	uint64_t told; /* folder->changes that the view is of */

	/* The command that is obeyed now. */
	char tag[32];
	enum server_fault fault;
	struct buf reply; /* untagged lines, then the tagged one */
	size_t *lines;    /* owned: where each begins in `reply` */
	size_t line_count, line_room;
	unsigned fetches; /* that it has told */
	bool has_stopped; /* half way, for FAULT_HALF */
};

/* A text that is read from its front. */
struct words {
	const char *at, *end;
};

/* imap_server_set.c. Words of a command: an atom up to a blank or parenthesis at depth 0; a list or
 * section is one word. A string loses its quotes or its {n}. "" at the end. */
bool words_next(struct words *, char *out, size_t size);
bool words_take(struct words *, const char *word); /* if it comes next, case-blind */
bool words_end(struct words *);
/* Whether a UID is in a set, whose "*" is `top`. */
bool set_has(const char *set, uint32_t uid, uint32_t top);
bool set_is_good(const struct imap_server *, const char *set);

/* imap_server_reply.c. An untagged line; put() writes on in the newest line. */
void tell(struct server_connection *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void tell_more(struct server_connection *, const void *octets, size_t len);
void tell_begin(struct server_connection *);
void tell_flags(struct server_connection *, const struct server_message *);
/* What has changed since the view was told. */
void tell_news(struct server_connection *, bool may_expunge);
/* The view as the folder is now. */
void view_take(struct server_connection *);
void view_remove(struct server_connection *, uint32_t uid);
struct seen_message *view_find(const struct server_connection *, uint32_t uid);
static inline uint32_t view_top(const struct server_connection *conn)
{
	return conn->view_count ? conn->view[conn->view_count - 1].uid : 0;
}
/* The tagged line; what is in `reply` goes into `pending` as the fault has it. */
/* Whether the work on a set ends before its next message: FAULT_HALF has it. */
bool stops_here(struct server_connection *);
void answer(struct server_connection *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool server_can(const struct server_connection *, const char *capability);

/* imap_server_folder.c, imap_server_fetch.c, imap_server_change.c: the commands. `is_uid`: it came as
 * UID ... */
void do_select(struct server_connection *, struct words *, bool is_examine);
void do_list(struct server_connection *, struct words *);
void do_status(struct server_connection *, struct words *);
void do_create(struct server_connection *, struct words *);
void do_fetch(struct server_connection *, struct words *);
void do_store(struct server_connection *, struct words *);
void do_expunge(struct server_connection *, const char *set);
void do_copy(struct server_connection *, struct words *, bool is_move);
void do_search(struct server_connection *, struct words *);

/* imap_server_talk.c. Obeys the first command that was heard. */
void server_obey_first(struct server_connection *);

/* imap_server_mix.c. If the next commands are FETCHes of bodies, two or three: obeys them and answers in
 * the order that server->pick has. False: they are not, and nothing is done. */
bool server_mix(struct server_connection *);

/* imap_server.c. */
void server_crime(struct imap_server *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
struct server_message *server_append(struct imap_server *, struct server_folder *,
				     struct server_mail *);
/* Takes a message out of its folder and notes who did it. */
void server_remove(struct imap_server *, struct server_folder *, uint32_t uid, enum server_way way,
		   unsigned connection);
bool server_has(const struct imap_server *, unsigned trait);
struct err server_dial(void *arg, const char *host, unsigned port, struct stream **out);

#endif
