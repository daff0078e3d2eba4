/* SPDX-License-Identifier: MIT */
/* ledger.h - what popgate knows for ever of a mailbox's messages: one row a UID.
 *
 * A ledger belongs to a POP3 name. Its head says which mailbox it is about (place), how that looked
 * when it was last listed, and where UIDLs come from; its rows hold sizes, strong ids and given UIDLs.
 * In the state it lies as a head and as pages of rows, 512 UIDs each, so that a change of one
 * message of 100,000 rewrites one page:
 *
 *	ledger TAB name TAB                    the head
 *	ledger TAB name TAB epoch TAB page     both numbers as 8 lower-case hexadecimal digits
 *
 * The epoch grows when UIDs begin to mean something else: UIDVALIDITY has changed, or UIDNEXT went
 * down (E-09), or the map entry was pointed elsewhere (E-02, E-08). Rows of an older epoch are what
 * messages are recognised by (E-04); when that is done they are erased.
 *
 * UIDLs. A row without a given name has "<tag>.<uidvalidity>.<uid>", where tag =
 * identity_tag(host, login, folder, generation). Generation is 0 until that form could name two
 * messages: it grows whenever UIDs start anew at a UIDVALIDITY that is not above all before. So in
 * the default case losing the ledger changes no UIDL (E-08).
 */
#ifndef POPGATE_LEDGER_H
#define POPGATE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "upstream/identity.h"
#include "upstream/state.h"

enum { LEDGER_PAGE = 512 }; /* UIDs a page: page number = uid / 512 */

/* Where the strong ids of a ledger's rows come from (E-04). Ids of different sources are never
 * compared. */
enum ledger_source {
	LEDGER_NONE,
	LEDGER_EMAILID,  /* RFC 8474 */
	LEDGER_GM_MSGID, /* X-GM-MSGID, decimal */
	LEDGER_HEADER,   /* header_hash(), always together with the size */
};

enum ledger_mark {
	LEDGER_HIDDEN = 1,  /* never shown again: delete=hide, or a promise of deletion (D-12) */
	LEDGER_PENDING = 2, /* hidden, to be removed once it is no longer among the newest
			       (keep_newest=) */
	LEDGER_DELETED = 4, /* it bore \Deleted when it was last listed (C-04) */
	LEDGER_STUB = 8,    /* the server cannot deliver it: shown as a placeholder (H-09) */
};

struct ledger_row {
	uint64_t octets;       /* RFC822.SIZE as told; 0: never told */
	uint64_t exact;        /* octets measured in a whole transfer (F-07); 0: not yet */
	uint32_t retrieved_at; /* ledger_date(): first whole RETR that a QUIT confirmed; 0: never */
	uint32_t failed_at;    /* ledger_date(): its first failure in a row (H-09) */
	uint32_t uid;          /* 1 or more */
	uint32_t id;           /* offset in `texts`: its strong id; 0: not learned */
	uint32_t name;         /* offset in `texts`: its given UIDL; 0: the default form */
	uint8_t marks;         /* enum ledger_mark */
	uint8_t failures;      /* sessions in a row in which it could not be fetched */
};

_Static_assert(sizeof(struct ledger_row) == 40, "100,000 rows are read at a login");

/* The wall clock's seconds, as rows keep them: until 2106. */
static inline uint32_t ledger_date(uint64_t wall)
{
	return wall < UINT32_MAX ? (uint32_t)wall : UINT32_MAX;
}

/* What a head says. Strings are NUL ended. */
struct ledger_head {
	char place[IDENTITY_PLACE + 1]; /* identity_place() of what was listed; "": nothing yet */
	char tag[IDENTITY_TAG + 1]; /* of this epoch's default UIDLs: they outlive the place that
				       it was made of. "": not set yet */
	uint32_t generation;
	uint32_t epoch;
	uint64_t uidvalidity, uidvalidity_max; /* of this epoch; the highest one ever */
	uint32_t uidnext;       /* the highest one ever told in this epoch; 0: none */
	uint32_t exists;        /* when it was last listed whole */
	uint64_t highestmodseq; /* likewise; 0: none */
	bool is_whole;          /* the rows are all messages that there were then */
	uint8_t source;         /* enum ledger_source of this epoch's ids */
	uint32_t edge;          /* newest=: no UID below it is shown, whatever happens */
};

struct ledger {
	char *name; /* owned: the POP3 name, canonical */
	struct ledger_head head;
	uint64_t version;        /* of the head in the state; 0: there is none yet */
	struct ledger_row *rows; /* owned; ascending by UID */
	size_t count, room;
	struct buf texts; /* NUL ended ids and names; octet 0 stands for "none" */
	uint32_t *dirty;  /* owned: pages that differ from the state, ascending */
	size_t dirty_count, dirty_room;
	uint64_t elsewhere; /* rows of this epoch in the state that are not in `rows` */
	bool has_leavings;  /* rows of earlier epochs lay there when it was loaded: to be swept */
	bool is_begun;      /* by ledger_begin_epoch(), and not saved since */
};

void ledger_init(struct ledger *, const char *name); /* name is copied */
void ledger_fini(struct ledger *);                   /* a zeroed struct is fine */

/* Reads head and rows of the current epoch. A name without a ledger: OK, version 0, no rows.
 * EBADMSG if what lies there makes no sense; then the ledger is empty and safe to throw away. */
struct err ledger_load(struct ledger *, struct state_store *, const struct env *) MUST_USE;
/* The same as part of a walk that reads other things too: begin() makes `range`, which holds until
 * end() has been called with what the walk returned. end() is called in any case, once begin() was
 * OK, and returns what ledger_load() would. */
struct ledger_loading {
	struct ledger *ledger;
	char prefix[STATE_KEY + 1];
	uint64_t expected; /* rows, by the head */
	uint32_t next;     /* the lowest page that may come */
	bool is_bad, is_full;
};
struct err ledger_load_begin(struct ledger_loading *, struct ledger *,
			     struct state_range *range) MUST_USE;
struct err ledger_load_end(struct ledger_loading *, struct err walked) MUST_USE;
/* Reads the head alone: some hundred octets, for the poll of an unchanged mailbox to decide. Rows are
 * not to be touched then; ledger_save() writes the head, and the rows stay. */
struct err ledger_load_head(struct ledger *, struct state_store *, const struct env *) MUST_USE;

/* Room for so many rows in all, so that a large ledger need not grow step by step; false: memory is
 * out. */
bool ledger_reserve(struct ledger *, size_t count);
/* The row of a UID, NULL if there is none. Borrowed until a row is added or removed. */
struct ledger_row *ledger_find(const struct ledger *, uint32_t uid);
/* The row of a UID, made if need be, its page dirty. NULL: memory is out. Ascending order is cheap. */
struct ledger_row *ledger_row(struct ledger *, uint32_t uid);
void ledger_remove(struct ledger *, uint32_t uid); /* no row is fine; many: ledger_retain() */
/* Removes all rows that `keep` does not want, in one pass. Returns how many. */
size_t ledger_retain(struct ledger *, bool (*keep)(void *arg, const struct ledger_row *),
		     void *arg);
/* Both copy; false if memory is out or text does not fit: id 1 to 255 octets, name a UIDL (E-01). */
bool ledger_set_id(struct ledger *, struct ledger_row *, const char *id);
bool ledger_set_name(struct ledger *, struct ledger_row *, const char *name);
const char *ledger_text(const struct ledger *, uint32_t offset); /* NULL for 0; borrowed */
void ledger_touch(struct ledger *, uint32_t uid); /* its page is dirty: a row was changed by hand */

/* The UIDL of a row: its name, or the default form with `tag`. `out` holds UIDL_MAX + 1 octets. */
void ledger_uidl(const struct ledger *, const struct ledger_row *, const char *tag, char *out);

/* Writes head and dirty pages, in one. *is_stale: somebody else has written the head meanwhile;
 * nothing was changed: load again, or let it be. Saved, the ledger can be changed and saved again. */
struct err ledger_save(struct ledger *, struct state_store *, const struct env *,
		       bool *is_stale) MUST_USE;

/* A change of single rows by whoever does not hold the whole ledger: loads the pages of `uids`
 * (ascending), calls `change` for each row that exists there, saves, and does so again if another
 * was faster. Changes nothing, and is OK, if the epoch is no longer `epoch`. */
struct err ledger_change(struct state_store *, const struct env *, const char *name, uint32_t epoch,
			 const uint32_t *uids, size_t count,
			 void (*change)(void *arg, struct ledger *, struct ledger_row *),
			 void *arg) MUST_USE;

/* Begins a new epoch in `fresh` (initialised, empty, same name) after `old` (loaded): place,
 * uidvalidity, generation, epoch and the maxima are set; rows are for the caller to add. */
void ledger_begin_epoch(struct ledger *fresh, const struct ledger *old, const char *place,
			uint64_t uidvalidity);

/* How many messages were recognised. */
struct ledger_matching {
	size_t matched;   /* rows of `fresh` that got the UIDL, sizes and marks of an old one */
	size_t ambiguous; /* rows of `fresh` left as new: equal ids, but not as many on both sides */
	size_t unknown;   /* rows of `fresh` left as new: no old row has their id */
	size_t lost;      /* old rows that nothing matched */
};

/* Recognises the messages of `old` in `fresh`, whose rows have ids of the same source (E-04): equal
 * ids, with LEDGER_HEADER equal sizes too, in equal number on both sides are paired in order of
 * UIDs; unequal ones are not guessed. A paired row gets the old row's UIDL as its name (old_tag is
 * what the old default form was made with), exact size, marks but LEDGER_DELETED, retrieved_at and
 * failures. The edge
 * moves to the lowest UID whose partner was at or above the old one; without any, it stays above
 * nothing (0). Writes nothing. */
struct err ledger_match(struct ledger *fresh, const struct ledger *old, const char *old_tag,
			struct ledger_matching *out) MUST_USE;

/* Erases the rows of every epoch before `epoch` of a name. */
struct err ledger_sweep(struct state_store *, const struct env *, const char *name,
			uint32_t epoch) MUST_USE;

#endif
