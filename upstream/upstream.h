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
enum delete_policy { DELETE_EXPUNGE, DELETE_NEVER };
enum seen_policy { SEEN_NEVER, SEEN_ON_QUIT };

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
	const char *folder; /* UTF-8, as in the map; "INBOX" */
	/* maildir */
	const char *path; /* absolute */
	/* both */
	enum delete_policy delete_policy;
	enum seen_policy seen_policy;
};

/* Whom to log in as. Strings are owned; login_fini() wipes them (B-22). */
struct login {
	char *user;     /* NULL for a local store */
	char *password; /* NULL for a local store */
	bool is_stored; /* the secret is the map's own: its refusal is no fault of the client's
			   (B-07) */
};
void login_fini(struct login *); /* a zeroed struct is fine */

/* A part of a message: `octets` octets from `from` on, or as many as there are. {0, 0} is the whole
 * message. */
struct part {
	uint64_t from, octets;
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
	/* Put a part of a message into the sink, as stored, not dot-stuffed, and return OK only if
	 * the part is known to be whole (F-09). A sink's error ends the fetch and comes back
	 * unchanged. ERR_MESSAGE: this one is gone, the rest is well. */
	struct err (*fetch)(struct upstream *, const struct maildrop *, const struct message *,
			    const struct part *, struct sink *) MUST_USE;
	/* Remove exactly the marked messages, all or as many as could be; never one that another
	 * client marked. OK only if each is really gone. Then, if the conf says SEEN_ON_QUIT, set
	 * \Seen on the retrieved ones that stay; failing that is only logged (C-19). With nothing
	 * to do nothing is sent (D-15). */
	struct err (*update)(struct upstream *, const struct maildrop *) MUST_USE;
	/* Leaves and frees; NULL is not allowed. */
	void (*close)(struct upstream *);
};

/* What every store's own struct begins with, valid from open() on. */
struct upstream {
	const struct upstream_ops *ops;
	bool is_read_only; /* DELE is to be refused (C-02) */
	/* Names the store for the lock (G-05): equal for two sessions exactly if they open the same
	 * mailbox. */
	char identity[128];
};

extern const struct upstream_ops imap_ops;
extern const struct upstream_ops maildir_ops;

#endif
