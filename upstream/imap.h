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

#include "upstream/imap_client.h"
#include "upstream/upstream.h"

struct imap {
	struct upstream upstream; /* first */
	const struct env *env;    /* borrowed, both */
	const struct log *log;
	struct upstream_conf conf; /* its strings are borrowed: the account's */
	struct login login;        /* owned copy, for reconnecting; wiped at close (B-22) */
	struct imap_client client;
	char *folder;             /* owned: the name that was selected, as on the wire */
	uint32_t uidvalidity;     /* of the snapshot; 0: nothing was ever selected */
	bool is_folder_read_only; /* nothing may be stored in it now */
	bool is_void;     /* UIDVALIDITY changed or the login is refused now: the snapshot cannot be
			 gone on with */
	uint32_t *hidden; /* owned: ascending UIDs that others had marked \Deleted (C-04) */
	size_t hidden_len;
};

/* imap_select.c. Selects the folder that the conf names, or examines it where nothing will ever be
 * written (C-02); learns its name on the wire the first time. Sets uidvalidity and
 * is_folder_read_only. ERR_UPSTREAM if UIDVALIDITY is missing, 0 (E-06), or not the one from
 * before (D-11): then is_void. */
struct err imap_select(struct imap *) MUST_USE;

/* imap.c. Connects, logs in and selects if the connection is lost. OK: the folder is selected, and
 * it is the same as ever. *is_fresh (or NULL): a connection was made just now. */
struct err imap_ready(struct imap *, bool *is_fresh) MUST_USE;

/* imap.c. Asks the server which of the UIDs in `set` it still has (G-04, D-08): NOOP, then UID
 * SEARCH. *left is how many; on any error it is not known. */
struct err imap_count_left(struct imap *, const char *set, size_t *left) MUST_USE;

struct err imap_list(struct upstream *, struct maildrop *) MUST_USE;
struct err imap_fetch(struct upstream *, const struct maildrop *, const struct message *,
		      const struct part *, struct sink *) MUST_USE;
struct err imap_update(struct upstream *, const struct maildrop *) MUST_USE;

#endif
