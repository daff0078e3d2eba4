/* SPDX-License-Identifier: MIT */
/* imap_listing.h - a listing under way, as the files that make it share it.
 *
 * Whatever a listing is made from, it ends as a ledger: loaded from the state, or empty where
 * nothing is remembered. imap_list.c leads. imap_all.c asks the server for everything, by the tables
 * of imap_table.c; imap_known.c only for what has changed, by the searches of imap_search.c.
 * imap_epoch.c recognises messages whose UIDs have changed, by ids that imap_ids.c learns.
 * imap_measure.c counts what messages really have; imap_show.c turns the rows into a maildrop.
 *
 * Nothing is taken out of the ledger before the listing is known to be whole: a row may hold a UIDL
 * that nobody could make again.
 */
#ifndef POPGATE_IMAP_LISTING_H
#define POPGATE_IMAP_LISTING_H

#include "proxy/base/buf.h"
#include "upstream/imap.h"
#include "upstream/imap_early.h"
#include "upstream/ledger.h"
#include "upstream/uidl.h"

/* UIDs in an array of its own. */
struct uids {
	uint32_t *at; /* owned */
	size_t count, room;
};

void uids_fini(struct uids *); /* a zeroed struct is fine */
void uids_add(struct uids *, uint32_t uid);
/* Ascending, each once. Returns how many were there twice. */
size_t uids_sort(struct uids *);
bool uids_have(const struct uids *, uint32_t uid); /* they are sorted */

struct listing {
	struct imap *imap;
	bool has_state;            /* this mailbox is remembered */
	struct ledger ledger;      /* what is known of the mailbox; at the end what there is */
	bool is_loaded;            /* it was read from the state */
	enum ledger_source strong; /* what the server can tell for ever of a message, else NONE */
	/* As told when the listing began; 0: not told. */
	uint32_t uidnext;
	uint64_t highestmodseq;
	struct uids promised; /* hidden: their deletion is written down */
	struct uids seen;     /* with has_seen: all that are there; else the ledger says it */
	bool has_seen;
	int64_t arrived; /* messages that have come since the last one; -1: not known */
	bool is_watched; /* flags are as the ledger has them: the server would have told of others */
	uint32_t flag_news; /* imap_wire_flag_news() when the listing began */
	bool is_window;     /* what the server shows is not all that there is (M-08) */
	bool is_begun;      /* a new epoch: nothing may be saved before its rows are recognised */
	bool is_odd;        /* the newest answer did not fit together */
	bool is_silent; /* it did not even name the last message, as "n:*" must (RFC 9051 section 9) */
	bool is_changed; /* the ledger is to be saved */
	bool is_at_risk; /* and nothing may be shown unless that succeeds (E-08) */
};

/* One message, as a FETCH told it. */
struct told {
	uint64_t octets; /* 0: not told */
	uint32_t uid;
	uint32_t id;    /* offset in the table's texts; 0: not told */
	uint32_t round; /* messages that had been expunged when its number was told */
	bool has_flags, is_deleted;
	bool is_loose; /* told without a believable number, and perhaps in parts */
};

/* What FETCH replies tell: by message sequence number while they come, by UID once they are taken. */
struct table {
	struct imap_wire *wire; /* borrowed */
	struct told *rows;      /* owned; what nobody has taken yet */
	size_t room, low, top; /* rows there are; where those told begin; the highest number told */
	struct told *loose;    /* owned: messages without a believable number */
	size_t loose_len, loose_room;
	struct buf texts;
	enum ledger_source source; /* what `id` is; who asks may change it */
	struct told *taken;        /* owned: what imap_table_take() took, ascending by UID */
	size_t count, taken_room;
	bool has_named;  /* a UID was told at all */
	bool is_wrong;   /* two UIDs under one number, or more than there can be */
	bool is_limited; /* the server cut an answer (RFC 9738) */
	bool is_shifted; /* a number was told of one message and then of another */
};

/* imap_table.c. Begins to gather what FETCH replies tell, over this connection, and ends; end() is called
 * in any case. False: memory is out. */
bool imap_table_begin(struct table *, const struct imap *, enum ledger_source source);
void imap_table_end(struct table *);

/* imap_table.c. Asks for UID, size, \Deleted and, by the table's source, strong ids of the UIDs `from` to
 * `to` (UINT32_MAX: "*", which always brings the last message, as IMAP has it). Several may be under way
 * (M-05). */
struct err imap_table_ask(struct imap *, const struct table *, uint32_t from, uint32_t to,
			  int *tag) MUST_USE;
/* imap_table.c. Takes the end of the answer to that. An error if it is a refusal, too. *limit: if not 0 it
 * is partial, and goes down to that UID (RFC 9738). */
struct err imap_table_receive(struct early *, struct table *, int tag, uint32_t *limit) MUST_USE;
/* imap_table.c. Asks for what is missing in such an answer; nothing else is under way. */
struct err imap_table_rest(struct imap *, struct early *, struct table *, uint32_t from,
			   uint32_t to, uint32_t limit) MUST_USE;
/* imap_table.c. Takes the rows of UIDs `from` to `to` out: table->taken. ERR_UPSTREAM if two messages have
 * one UID. */
struct err imap_table_take(struct table *, uint32_t from, uint32_t to) MUST_USE;

/* imap_all.c. Puts what was taken into the ledger. False: memory is out. */
bool listing_take(struct listing *, const struct table *);

/* imap_all.c. Everything, in windows of UIDs if there is much of it (M-15), believed if it is whole
 * (C-05); then what is no longer there is taken out of the ledger, unless the server only shows a
 * window. */
struct err listing_all(struct listing *) MUST_USE;

/* imap_all.c. Takes out of the ledger what is not among `seen`. */
void listing_retain(struct listing *, const struct uids *seen);

/* imap_all.c. New messages: those of UID `from` and above. *count: so many there were. */
struct err listing_from(struct listing *, uint32_t from, size_t *count) MUST_USE;

/* imap_known.c. Only what has changed (M-07). *is_known is false if the ledger does not know enough,
 * or if what the server says does not fit together: then everything must be listed. */
struct err listing_known(struct listing *, bool *is_known) MUST_USE;

/* imap_search.c. The UIDs that UID SEARCH finds for `key`, "ALL" or "DELETED", sorted. In several
 * commands if the reply could be too long. ERR_UPSTREAM also if there was no answer, or only part of
 * it. */
struct err imap_search(struct imap *, const struct ledger *, const char *key,
		       struct uids *out) MUST_USE;

/* imap_epoch.c. Whether the ledger is about this folder as it is now (E-02, E-04, E-09). */
bool listing_is_same_epoch(const struct listing *);
/* imap_epoch.c. Begins a new epoch, lists, recognises what can be, and saves. The ledger is the new
 * one. ERR_UPSTREAM if the policy is to refuse, or if it cannot be saved. */
struct err listing_new_epoch(struct listing *) MUST_USE;

/* imap_list.c. Saves; *is_stale as ledger_save(). */
struct err listing_save(struct listing *, bool *is_stale) MUST_USE;

/* imap_ids.c. What the server can tell for ever of each message, or NONE; `format` may want one. */
enum ledger_source imap_strong_source(const struct imap *);
/* imap_ids.c. An id that no message of another epoch will have. False: memory is out. */
bool imap_set_unlike(struct ledger *, struct ledger_row *) MUST_USE;
/* imap_ids.c. The header hashes of rows that have no id, until all have one or the budget is used up.
 * A message that has neither Message-ID nor Date gets an id that no other will ever have. Without
 * `shown` what is not told is asked for several times. An error: the connection is lost, or the server
 * says that it cannot just now. */
struct ids_budget {
	uint64_t octets;   /* of headers, left */
	uint64_t until_ms; /* moment; 0: none */
	bool (*is_wanted)(const void *arg);
	const void *arg;
	const struct maildrop *shown; /* or NULL */
	bool without_deleted;         /* nothing is learned of what is marked deleted in `shown` */
};
struct err imap_learn_headers(struct imap *, struct ledger *, struct ids_budget *,
			      size_t *learned) MUST_USE;

/* imap_measure.c. Octets of a message as RETR sends it, counted. */
struct err imap_measure(struct imap *, uint32_t uid, uint64_t hint, uint64_t *octets) MUST_USE;
/* imap_measure.c. sizes=exact: measures rows that are to be shown, newest first, until `until_ms`.
 * What cannot be measured stays as it is. */
void imap_measure_rows(struct listing *, uint64_t until_ms);

/* imap_show.c. Whether uidl= of the conf makes the UIDLs of rows that have no name of their own. Not
 * where it could give one a second time: numbers begin anew in every epoch, and a format may lack
 * what tells the epochs apart (E-01). There the default form stands in. */
bool listing_format_holds(const struct imap *, const struct ledger_head *);
/* imap_show.c. What a row's UIDL can be made of. */
struct uidl_parts listing_parts(const struct ledger *, const struct ledger_row *);
/* imap_show.c. Whether anybody may see the row at all: not hidden, promised, or \Deleted. */
bool listing_is_visible(const struct listing *, const struct ledger_row *);
/* imap_show.c. Names that must be given before anything is shown: twins (E-03); the edge of newest=.
 * Changes the ledger. */
struct err listing_settle(struct listing *) MUST_USE;
/* imap_show.c. The maildrop, sealed; imap->pending, and what is left to be learned. */
struct err listing_show(struct listing *, struct maildrop *) MUST_USE;

#endif
