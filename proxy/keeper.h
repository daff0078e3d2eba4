/* SPDX-License-Identifier: MIT */
/* keeper.h - who looks after the mailboxes that stay open between sessions (upstream/imap_warm.h).
 *
 * One fiber a worker looks every half second for what is due, and gives each such mailbox a fiber of its
 * own, so that a slow server holds up nobody else.
 */
#ifndef POPGATE_KEEPER_H
#define POPGATE_KEEPER_H

#include "proxy/worker.h"

struct keeper;

/* Begins to keep, and to look after what is kept. on_end() is called when it is over, after which it is
 * gone. NULL, with an alarm in the log, if there is no memory for it: then nothing is kept. */
struct keeper *keeper_begin(struct worker *, const struct imap_warm_conf *,
			    void (*on_end)(void *arg), void *arg);

/* Nothing is kept any more; it ends when all mailboxes are closed. NULL is fine. */
void keeper_end(struct keeper *);

#endif
