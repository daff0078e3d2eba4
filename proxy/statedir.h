/* SPDX-License-Identifier: MIT */
/* statedir.h - the state directory of the configuration: made, taken, opened. Errors name the line of
 * state =. Without that key nothing is done, and all is well. */
#ifndef POPGATE_STATEDIR_H
#define POPGATE_STATEDIR_H

#include "proxy/base/log.h"
#include "proxy/config.h"
#include "upstream/state.h"

/* Makes the directory, for its owner alone, if it is missing and its parent is there. Before the
 * drop to `user`, which hands it over. */
void statedir_make(const struct config *, struct faults *);

/* Takes the directory for one daemon and opens what is in it; after the drop. *lock is a descriptor
 * to be closed by statedir_leave(), -1 if there is none. On an error nothing is held. */
void statedir_open(const struct config *, const struct log *, struct faults *,
		   struct state_store **out, int *lock);
void statedir_leave(int lock);

/* What `serve` would say, as the user who asks: changes nothing but lock.mdb. `is_given`: the
 * directory would be handed over first. */
void statedir_check(const struct config *, bool is_given, struct faults *);

#endif
