/* SPDX-License-Identifier: MIT */
/* imap_remove.h - taking messages out of the folder that is selected, so that it is known of each
 * whether it is gone.
 *
 * A removal is a list of UIDs and a way. imap_remove.c does it in flights of commands: no reply that
 * says OK is believed alone, and what others remove meanwhile confuses nobody (D-08). What the EXPUNGEs
 * of a flight do not prove (imap_remove_sight.c) a UID SEARCH for the same UIDs tells behind it. imap_move.c are the ways that lead to another
 * folder (D-13). Who promises and who writes journals is not known here: imap_promise.c,
 * imap_update.c, imap_replay.c.
 */
#ifndef POPGATE_IMAP_REMOVE_H
#define POPGATE_IMAP_REMOVE_H

#include "upstream/imap.h"
#include "upstream/imap_early.h"
#include "upstream/journal.h"

enum removal_mark {
	REMOVAL_GONE = 1, /* it is done: the folder no longer has it, or \Deleted stands (flag) */
	REMOVAL_REFUSED = 2, /* the server will not, now or later */
	REMOVAL_TRIED = 4,   /* neither, by this connection */
	REMOVAL_COPIED = 8,  /* the target has it */
	REMOVAL_DOUBT = 16,  /* the target may have it: a reply to COPY was lost */
	REMOVAL_FOUND = 32,  /* the newest search found it */
	REMOVAL_BEFORE = 64, /* it was in sight before (QUIRK_WINDOW) */
};

struct removal {
	struct imap *imap;
	enum delete_policy way; /* EXPUNGE, TRASH, ARCHIVE or FLAG: see removal_way() */
	const char *folder;     /* TRASH, ARCHIVE: the target as in the map */
	uint32_t *uids;         /* owned: ascending */
	uint8_t *marks;         /* owned: enum removal_mark of each */
	size_t count;
	uint64_t until_ms;           /* nothing is begun after this moment; 0: no bound */
	uint64_t reconnect_until_ms; /* after a loss a new connection is made until then; 0: ever */
	struct journal *journal;     /* borrowed: shrinks with what is done; NULL: none */
	char *target;                /* owned: the target on the wire, once it is known */
	size_t most;                 /* messages in one command */
	bool may_create;             /* the target was not yet tried to be made */
	bool looks_first;            /* it may be done already: asks before anything is tried */
	bool keeps_refused;          /* what the server refuses stays in the journal too */
	struct err err;              /* the first failure of a single chunk */
	struct early *early;         /* borrowed: of the flight under way, or NULL */
};

/* What the conf means for this server (D-14): never DELETE_DEFAULT. */
enum delete_policy removal_way(const struct imap *);

/* `uids` becomes the removal's own. */
void removal_init(struct removal *, struct imap *, enum delete_policy way, const char *folder,
		  uint32_t *uids, size_t count);
void removal_fini(struct removal *); /* a zeroed struct is fine */

/* Does what can be done, over one new connection if the one there is breaks (H-06). OK: every one is
 * gone. Else some may still be there: REMOVAL_REFUSED those that this server, this folder or this target
 * will not let go (read-only; another folder now: imap->is_void), the rest may go another time. */
struct err removal_run(struct removal *) MUST_USE;

/* How many have none of the marks. */
size_t removal_count_without(const struct removal *, unsigned marks);

/* --- among imap_remove.c (flights), imap_remove_run.c (their order) and imap_move.c --- */

/* UIDs that one command names. */
struct chunk {
	uint32_t *uids; /* owned: room for UID_SET_MESSAGES */
	size_t *at;     /* owned: their places in the removal */
	size_t count;
	char *set;                                /* owned: the same as text */
	int sight, before, first, second, search; /* tags; 0: not sent */
	bool is_before_known;                     /* the search in front was answered for good */
	uint32_t expunges;                        /* told while its commands were answered */
	struct err err;                           /* the first refusal */
	bool is_known;                            /* the newest search was answered for good */
	bool is_limited;                          /* the server wants fewer at once (RFC 9738) */
	bool is_unknown; /* it does not know UID EXPUNGE, or MOVE (H-08, N-13) */
	bool is_missing; /* the target is not there */
};
void chunk_init(struct chunk *);
void chunk_fini(struct chunk *);

/* The next UIDs that have all of `with` and none of `without`; false: there are none. */
bool removal_next(const struct removal *, struct chunk *, unsigned with, unsigned without);
void chunk_mark(struct removal *, const struct chunk *, unsigned marks);
void chunk_unmark(struct removal *, const struct chunk *, unsigned marks);
/* Takes the newest tagged reply into the chunk: is_limited, or its refusal if it is the first. */
void chunk_take_outcome(struct removal *, struct chunk *);
/* What could not be done: REMOVAL_REFUSED if that will not change, else REMOVAL_TRIED. */
void chunk_give_up(struct removal *, const struct chunk *, struct err);

/* imap_remove_sight.c. Which of the UIDs of some chunks are told gone, from begin() to end(); the replies to
 * UID FETCH say what their numbers are. The chunks' UIDs ascend, from one to the next as well. */
struct sight {
	uint32_t uid, number; /* 0: not known */
	bool is_gone;
};
struct sights {
	struct sight *at; /* owned: ascending by UID */
	size_t count;
	struct imap_wire *wire; /* borrowed */
	bool is_odd;            /* what was told does not fit */
};
void sights_begin(struct sights *, struct imap_wire *, const struct chunk *, size_t count);
void sights_end(struct sights *);
/* Whether all of a chunk have been told gone, and nothing else. */
bool sights_prove(struct sights *, const struct chunk *);

/* NOOP, so that the server looks (G-04), and UID SEARCH for the chunk, with `key` ("", " UNDELETED")
 * behind it: REMOVAL_FOUND, and what is not found is REMOVAL_GONE. An error if there was no answer for
 * good: a server that shows only a part of the folder has none. */
struct err chunk_search(struct removal *, struct chunk *, const char *key) MUST_USE;

/* Flights until nothing is tried any more that has all of the marks `with`; by MOVE, nothing of which the
 * target has or may have a copy. Only a lost connection is an error. *is_unknown: the server
 * does not know the command; nothing is lost by it. */
struct err removal_fly(struct removal *, bool is_move, unsigned with, bool *is_unknown) MUST_USE;
/* Takes what is done out of the journal, on disk. */
void removal_shrink_journal(struct removal *);

/* Whether it is time to stop, or the connection is lost, or the folder is not the same any more. */
bool removal_must_stop(const struct removal *);

/* imap_unflag.c. Takes \Deleted off all messages that are not of the removal, for an EXPUNGE without
 * UIDs, and remembers them in `others` (D-06). An error: some may be without the flag already. */
struct unflagged {
	const struct removal *removal; /* borrowed */
	uint32_t *uids;                /* owned: ascending */
	size_t count;
};
struct err unflag_others(struct removal *, struct unflagged *others) MUST_USE;
/* imap_unflag.c. Sets it again, over a new connection if need be, and frees; what cannot be set again is an
 * alarm that names the UIDs. */
void unflag_restore(struct removal *, struct unflagged *others);

/* imap_move.c. Finds the target's name. ERR_POLICY if it is the source. */
struct err move_find_target(struct removal *) MUST_USE;
/* imap_move.c. The argument of MOVE and COPY, quoted; owned by the caller. */
char *move_target_words(const struct removal *);
/* imap_move.c. The target is missing: true if it may be made, was not before, and now is. */
bool move_make_target(struct removal *);
/* imap_move.c. Looks for all that is in REMOVAL_DOUBT in the target, so that no second copy is made: it
 * becomes REMOVAL_COPIED, or is in doubt no longer, or stays so if the server does not say. An error if
 * it cannot say now. */
struct err move_clear_doubts(struct removal *) MUST_USE;
/* imap_move.c. COPY of all that is neither copied nor gone nor in doubt: REMOVAL_COPIED, or TRIED, or
 * REFUSED. Only a lost connection is an error. */
struct err move_copy_all(struct removal *) MUST_USE;

#endif
