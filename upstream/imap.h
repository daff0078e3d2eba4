/* SPDX-License-Identifier: MIT */
/* imap.h - one open mailbox on an IMAP server, as the files imap*.c share it. The world sees only
 * imap_ops (upstream.h).
 *
 * imap.c opens, reconnects and closes; imap_select.c finds and selects the folder; imap_list.c,
 * imap_fetch.c and imap_update.c do one operation each, over the commands of imap_client.h.
 *
 * After a loss the next operation connects once more and goes on with the same snapshot, provided
 * that UIDVALIDITY is still the same (H-04). Messages are named by UID only (M-05).
 */
#ifndef POPGATE_IMAP_H
#define POPGATE_IMAP_H

#include "upstream/identity.h"
#include "upstream/imap_ahead.h"
#include "upstream/imap_client.h"
#include "upstream/imap_quirks.h"
#include "upstream/upstream.h"

struct ledger;

/* What a message will be recognised by: identity_of_header(). */
struct heard {
	uint32_t uid;
	char id[IDENTITY_HASH + 1];
};

struct imap {
	struct upstream upstream; /* first */
	const struct env *env;    /* borrowed, both */
	const struct log *log;
	struct upstream_conf conf; /* its strings are borrowed: the account's */
	struct login login;        /* owned copy, for reconnecting; wiped at close (B-22) */
	struct imap_client client;
	const struct imap_quirks *quirks; /* of this server; never NULL once logged in */
	char *folder;                     /* owned: the name that was selected, as on the wire */
	bool is_folder_rev2;              /* which is UTF-8, not UTF-7 */
	bool is_selected;                 /* the folder was, once */
	/* When the newest SELECT told UIDNEXT: messages there were, EXPUNGEs there had been. */
	uint32_t selected_exists, selected_expunges;
	uint64_t uidvalidity;           /* of the snapshot; 0 only if is_loose */
	char place[IDENTITY_PLACE + 1]; /* identity_place() of what the conf names */
	/* What the listing found in the ledger: with has_ledger rows of this epoch may be changed. */
	bool has_ledger;
	uint32_t epoch;
	uint32_t *unlearned; /* owned: ascending UIDs of what could not be recognised yet (E-04) */
	size_t unlearned_len;
	/* Owned, few: ascending UIDs of what is shown with its measured size without MARK_EXACT, for it
	 * has failed since. */
	uint32_t *resized;
	size_t resized_len;
	struct heard *heard; /* owned: ascending by UID; what was learned of those (imap_heard.c) */
	size_t heard_len;
	bool has_unmeasured; /* sizes=exact: some are not yet */
	bool is_quit;        /* update() ran */
	bool is_loose;       /* UIDs do not outlive the connection (E-06): nothing is remembered */
	bool has_no_ids;     /* announced, and refused or not given: not asked for again (N-13) */
	uint32_t *failed;    /* owned: UIDs that could not be fetched (H-09), few */
	size_t failed_len;
	char *stub; /* owned: the placeholder of `stub_uid`, once one was fetched */
	uint32_t stub_uid;
	bool is_bounded;          /* client.until_ms stands; a lost connection is not made again */
	bool is_folder_read_only; /* nothing may be stored in it now */
	bool is_void; /* UIDVALIDITY changed or the login is refused now: the snapshot cannot be
			 gone on with */
	/* Owned: ascending UIDs of what is hidden with LEDGER_PENDING: promised deletions that UPDATE does
	 * when enough newer messages are there (keep_newest=). Filled by imap_list(), of the ledger. */
	uint32_t *pending;
	size_t pending_len;
	/* The lowest UID among the newest `keep_newest` messages, those that wait included and those that
	 * newest= does not show: what stands below may be removed. 0: all are among them; UINT64_MAX:
	 * there is no keep_newest=. */
	uint64_t kept_from;
	/* What the newest listing left: how the folder's numbers stood, and what they mean for the next one
	 * on the same connection; the ledger itself (owned), as long as nothing has changed it. */
	uint32_t listed_exists, listed_expunges, listed_flags;
	int64_t arrived; /* messages that have come since the listing; -1: nobody knows, for SELECT came later */
	uint64_t listed_modseq;
	struct ledger *kept;
	/* imap_warm.c's: */
	char *host;               /* owned: the client's, while no session lends it */
	unsigned char proof[32];  /* of the secret that the server accepted, keyed (B-21) */
	uint64_t proved_ms;       /* and when */
	uint64_t heard_ms;        /* when the server last gave a sign of life, if IDLE stands */
	uint64_t warm_generation; /* 0: never to be parked */
	uint64_t warm_turn;       /* which opening of its name it is */
	bool is_touched; /* by the session that is over: flags may be others than the ledger says */
	bool is_watched; /* since the listing no flag has changed, by what the server said */
	bool is_fresh;   /* taken, and so lately proved alive that IDLE's silence is an answer */
	struct imap_queue
		queue; /* FETCHes and STOREs of \Seen that were sent and not yet received */
	struct imap_ahead ahead;
};

/* imap_select.c. Selects the folder that the conf names, or examines it where nothing will ever be
 * written (C-02); learns its name on the wire the first time. Sets uidvalidity, is_loose and
 * is_folder_read_only. ERR_UPSTREAM if UIDVALIDITY is missing, 0, or the UIDs do not last, unless
 * uidl= needs none of that (E-06), or if it is not the one from before (D-11): then is_void. */
struct err imap_select(struct imap *) MUST_USE;
/* For struct imap_flight, `arg` is the struct imap: the SELECT of the folder, if its name on the wire is
 * known without asking. imap_select() takes the answer. */
bool imap_select_put(void *arg, struct imap_client *, struct buf *line);

/* imap.c. Connects, logs in and selects if the connection is lost. OK: the folder is selected, and
 * it is the same as ever. *is_fresh (or NULL): a connection was made just now. */
struct err imap_ready(struct imap *, bool *is_fresh) MUST_USE;

/* imap.c. For imap_warm.c: a session's mailbox without the session, whose log, conf and login it forgets;
 * in the hands of the next one; and its end, which waits. */
void imap_suspend(struct imap *, const struct log *);
void imap_resume(struct imap *, const struct upstream_conf *, const struct login *,
		 const struct log *);
void imap_end(struct imap *);
/* imap_list.c. Takes the ledger over, or with NULL frees what was kept. */
void imap_keep(struct imap *, struct ledger *);

/* imap.c. Asks the server which of the UIDs in `set` it still has (G-04, D-08): NOOP, then UID
 * SEARCH. *left is how many; on any error it is not known. */
struct err imap_count_left(struct imap *, const char *set, size_t *left) MUST_USE;

/* imap_select.c. The name on the wire of another folder, as in the map ("Old/2020", "\Trash"); owned.
 * ERR_POLICY if it cannot be sent, or no folder has that use. Changes no selection. */
struct err imap_folder_named(struct imap *, const char *folder, char **out) MUST_USE;

/* imap_learn.c. What messages will be recognised by, for those not yet known (E-04), measured sizes
 * and failures of this session: on the connection that is there, in chunks, until `is_wanted`. */
void imap_learn(struct imap *, const struct maildrop *, bool (*is_wanted)(const void *arg),
		const void *arg);

/* imap_replay.c. Reads what is remembered of the mailbox, the journal and `ledger` (initialised with
 * conf.name), and does what earlier sessions promised and could not do (D-09), once its place,
 * UIDVALIDITY and sizes are found to be the same; called by imap_list() when the folder is selected,
 * before anything is listed, and only where there is a state. *hide: the UIDs, ascending, owned by the
 * caller, that are promised and still there. *is_loaded: `ledger` is as the state has it now; mostly it
 * is, for one walk reads it with the journal, and mostly nothing was promised. A failure to delete is
 * only logged; one to read the journal is an error. */
struct err imap_replay(struct imap *, struct ledger *ledger, bool *is_loaded, uint32_t **hide,
		       size_t *count) MUST_USE;

struct err imap_list(struct upstream *, struct maildrop *) MUST_USE;
struct err imap_fetch(struct upstream *, const struct maildrop *, const struct message *,
		      const struct part *, struct sink *) MUST_USE;
/* imap_fetch.c. The same for what the server itself has, whatever stands for it: of `msg` UID and
 * octets count. */
struct err imap_fetch_body(struct imap *, const struct message *msg, const struct part *,
			   struct sink *) MUST_USE;
struct err imap_update(struct upstream *, const struct maildrop *) MUST_USE;

/* imap_describe.c. For `popgate probe`. */
void imap_describe(struct upstream *, const struct upstream_conf *as, struct buf *);

/* imap_seen.c. SEEN_ON_RETR: \Seen for one message, if the connection lives. */
void imap_retrieved(struct upstream *, const struct message *);
/* imap_seen.c. A NOOP, if the connection lives (H-11): the session calls it when its client dawdles. */
void imap_nudge(struct upstream *);

#endif
