/* SPDX-License-Identifier: MIT */
/* upstream.h - the contract that every store keeps.
 *
 * A store is where the mail really is: an IMAP server, a Maildir. A session opens it once, lists it
 * once, fetches from it, and lets it remove the marked messages in UPDATE. Calls come one at a time
 * and may wait. Arguments are borrowed for the call. The maildrop belongs to the session; a driver
 * only fills it.
 *
 * What the kinds of errors mean here: ERR_UPSTREAM is a fault that may pass, ERR_POLICY one that an
 * operator or the provider must mend; after either, later calls are allowed (the driver reconnects
 * if it must and can, H-04) and STAT, LIST and UIDL go on from the snapshot.
 */
#ifndef POPGATE_UPSTREAM_H
#define POPGATE_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/sink.h"
#include "upstream/maildrop.h"

struct upstream;
struct upstream_ops;

enum upstream_tls { UPSTREAM_CLEAR, UPSTREAM_STARTTLS, UPSTREAM_TLS };
/* What QUIT does with what DELE marked (D-12). DELETE_DEFAULT: expunge, or trash where expunging does
 * not delete (D-14). DELETE_HIDE needs state. */
enum delete_policy {
	DELETE_DEFAULT,
	DELETE_EXPUNGE,
	DELETE_TRASH,   /* to the folder with the attribute \Trash */
	DELETE_ARCHIVE, /* to conf.archive */
	DELETE_FLAG,    /* \Deleted, no more */
	DELETE_HIDE,    /* nothing upstream: no POP3 session shows it again */
	DELETE_NEVER,
};
enum seen_policy { SEEN_NEVER, SEEN_ON_RETR, SEEN_ON_QUIT };                        /* C-19 */
enum uidvalidity_policy { UIDVALIDITY_MATCH, UIDVALIDITY_NEW, UIDVALIDITY_REFUSE }; /* E-04 */
enum poison_policy { POISON_PLACEHOLDER, POISON_HIDE, POISON_ERROR };               /* H-09 */

struct state_store;
struct health;
struct imap_memos;
struct imap_warm;
struct imap_quirks;
struct uidl_format;

#define DELETE_AFTER_NEVER UINT64_MAX

/* Which mailbox, after all expansions of the map. Strings are borrowed: they live as long as the
 * session's account. */
struct upstream_conf {
	const struct upstream_ops *ops;
	/* imap */
	const char *host;
	unsigned port;
	enum upstream_tls tls;
	struct tls_policy tls_policy;
	const char *source; /* local address to connect from, or NULL */
	const char
		*auth; /* the mechanisms to choose from, in order, comma separated, as in the map's
			     auth=; NULL: the best there is (J-08) */
	const char *folder; /* UTF-8, as in the map, but "INBOX" however that is written there */
	/* maildir */
	const char *path; /* absolute */
	/* both */
	const char *name;          /* the canonical POP3 name: under it lies what `state` keeps */
	struct state_store *state; /* NULL: nothing outlives the process */
	struct health *health;     /* NULL: nobody is ever in trouble */
	struct imap_memos *memos;  /* NULL: each login learns all anew (M-02) */
	struct imap_warm *warm;    /* NULL: no mailbox stays open behind its session (M-09) */
	enum delete_policy delete_policy;
	const char *archive; /* DELETE_ARCHIVE: the folder, UTF-8 as in the map */
	bool may_create;     /* a missing target folder is created (D-13) */
	bool may_unflag; /* without UIDPLUS, others' \Deleted is taken off for an EXPUNGE and set
				again (D-06); else nothing is expunged while there is any */
	enum seen_policy seen_policy;
	enum poison_policy poison_policy;
	enum uidvalidity_policy uidvalidity_policy;
	/* Seconds after which a retrieved message is deleted as if by DELE, at the QUIT of a later
	 * session; 0: at the QUIT of the one that retrieved it (D-16); DELETE_AFTER_NEVER. */
	uint64_t delete_after_s;
	uint32_t keep_newest; /* so many of the newest are hidden when deleted and removed only once
				 they are no longer among them; 0: none */
	uint32_t newest;      /* only so many of the newest are shown, behind an edge that never
				 slides back; 0: all */
	bool newest_first;    /* message 1 is the newest (order=newest) */
	bool measure_sizes; /* sizes=exact: unknown ones are measured before the first LIST (F-07) */
	bool is_shared;     /* lock=shared: several sessions at once (G-05) */
	const struct uidl_format *uidl;   /* uidl=; NULL: stable (E-07) */
	const struct imap_quirks *quirks; /* quirks=; NULL: chosen by what the server says */
	unsigned connections; /* of the account at once (L-06); 0: by what is known of the server */
};

enum login_kind {
	LOGIN_PASSWORD,
	LOGIN_TOKEN,       /* an OAuth 2.0 access token: XOAUTH2 or OAUTHBEARER */
	LOGIN_CERTIFICATE, /* EXTERNAL, by the client certificate of tls_policy */
	LOGIN_RELAY,       /* the client's own SCRAM exchange, step by step (J-07) */
};

/* Whom to log in as. Strings are owned; login_fini() wipes them (B-22). */
struct login {
	char *user;     /* NULL for a local store */
	char *password; /* NULL for a local store; TOKEN: the token; CERTIFICATE, RELAY: "" */
	bool is_stored; /* the secret is the map's own: its refusal is no fault of the client's
			   (B-07) */
	enum login_kind kind;
	char *master; /* the name that the password is of, acting for `user` (J-11); NULL: `user` */
	/* RELAY: the mechanism ("SCRAM-SHA-256"), the client's first message, and how to hand it the
	 * server's (see struct credential, session/account.h); both borrowed, for open() alone: such
	 * a login cannot be done again, so a lost connection is not made again. */
	const char *mechanism, *initial;
	struct err (*ask)(void *arg, const void *challenge, size_t len, struct buf *answer);
	void *arg;
	/* TOKEN: gets another token into `password`, once after a refusal and when a connection is
	 * made again (J-10); NULL: there is none to be had. May wait. */
	struct err (*renew)(struct login *, const struct env *, bool was_refused);
	void *renewer; /* borrowed: lives as long as the account */
};
void login_fini(struct login *); /* a zeroed struct is fine */
/* A copy that owns its strings; a relay is not copied: its copy has no way to ask. */
struct login login_dup(const struct login *);

/* A part of a message: `octets` octets from `from` on, or as many as there are. {0, 0} is the whole
 * message. */
struct part {
	uint64_t from, octets;
};

/* What will be fetched. */
struct announced {
	const struct message *message;
	struct part part;
};

struct upstream_ops {
	const char *name; /* "imap", "maildir" */
	/* Log in and open the folder. On failure *out is NULL, nothing is left open, and `why` may
	 * hold the server's own words for people ([ALERT], B-07). ERR_LOGIN: the credential was
	 * refused. ERR_IN_USE: the server says so. */
	struct err (*open)(const struct env *, const struct log *, const struct upstream_conf *,
			   const struct login *, struct notice *why,
			   struct upstream **out) MUST_USE;
	/* Fill the snapshot and seal it: stable order, sizes in octets with CRLF, UIDLs unique and
	 * the same tomorrow. All or an error: never a part of the messages (C-05). */
	struct err (*list)(struct upstream *, struct maildrop *) MUST_USE;
	/* The client has asked already for these, in this order, behind what is fetched next: a store may
	 * begin to get them. Called before fetch(), which may or may not follow for each; a later call
	 * takes the place of an earlier one, `count` 0 included. Does not wait. May be NULL. */
	void (*announce)(struct upstream *, const struct maildrop *, const struct announced *,
			 size_t count);
	/* Put a part of a message into the sink, as stored, not dot-stuffed, and return OK only if
	 * the part is known to be whole (F-09). A sink's error ends the fetch and comes back
	 * unchanged. ERR_MESSAGE: this one is gone, the rest is well. */
	struct err (*fetch)(struct upstream *, const struct maildrop *, const struct message *,
			    const struct part *, struct sink *) MUST_USE;
	/* Remove exactly the marked messages, in the way of the delete policy, all or as many as
	 * could be; never one that another client marked. OK only if each is really gone, or its
	 * removal is written down so that it will be done and is not shown again (D-09). Then, if the
	 * conf says SEEN_ON_QUIT, set \Seen on the retrieved ones that stay; failing that is only
	 * logged (C-19). With nothing to do nothing is sent (D-15). */
	struct err (*update)(struct upstream *, const struct maildrop *) MUST_USE;
	/* The client has taken the last octet of a message: for SEEN_ON_RETR. May be NULL. */
	void (*retrieved)(struct upstream *, const struct message *);
	/* The client dawdles: keeps the connection alive, if that costs no wait worth speaking of
	 * (H-11). Failure is noted and not told. May be NULL. */
	void (*nudge)(struct upstream *);
	/* Keeps what the session has learned of the messages (measured sizes), leaves and frees.
	 * `maildrop` is NULL if there never was a listing; the upstream may not be. It may wait,
	 * also to learn what messages will be recognised by (E-04), until `is_wanted` (or NULL) says
	 * that somebody else waits for the mailbox. */
	void (*close)(struct upstream *, const struct maildrop *,
		      bool (*is_wanted)(const void *arg), const void *arg);
	/* Somebody else needs the mailbox (G-08): what is under way ends soon, with an error, and no
	 * connection is made again. Another fiber calls it, between open() and close(); it does not
	 * wait. May be NULL. */
	void (*cut)(struct upstream *);
	/* For `popgate probe`: appends lines "key: value" about the server, the folder, and what
	 * would be done under the policies of `as`, which need not be those it was opened with. May
	 * wait; changes nothing. What does not fit, or cannot be learned, is left out. May be NULL. */
	void (*describe)(struct upstream *, const struct upstream_conf *as, struct buf *out);
};

/* What every store's own struct begins with, valid from open() on. */
struct upstream {
	const struct upstream_ops *ops;
	bool is_read_only; /* DELE is to be refused (C-02) */
	/* Round trips to the server that open() and list() took, TCP, TLS and greeting included, for the
	 * log (M-01). Set by list(). */
	unsigned round_trips;
	bool is_warm; /* it stood open since an earlier session, and no login was needed */
	bool is_unasked; /* and nothing was asked: it had told in IDLE all that there was (M-11) */
	/* Names the store for the lock (G-05): equal for two sessions exactly if they open the same
	 * mailbox. */
	char identity[128];
};

extern const struct upstream_ops imap_ops;
extern const struct upstream_ops maildir_ops;

#endif
