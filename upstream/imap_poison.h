/* SPDX-License-Identifier: MIT */
/* imap_poison.h - messages that a server never delivers (H-09, N-05, N-09).
 *
 * To a client one -ERR to RETR is the end of the session, so one bad message keeps all that stand
 * behind it. Sessions in which a message could not be had are counted in the ledger, and after three
 * in a row the map's policy says what stands in its place. */
#ifndef POPGATE_IMAP_POISON_H
#define POPGATE_IMAP_POISON_H

#include "upstream/imap.h"
#include "upstream/ledger.h"

enum {
	POISON_SESSIONS = 3,
	POISON_AGE_S = 86400, /* and so long, where "unavailable" may mean for ever (N-09) */
	POISON_OCTETS = 2048, /* each placeholder, exactly */
	POISON_NOTED = 64,    /* messages a session whose failure is noted */
};

enum imap_poison { POISON_IS_NOT, POISON_IS_STUB, POISON_IS_HIDDEN };

/* What stands for the message, by the ledger and the policy. */
enum imap_poison imap_poison_of(const struct imap *, const struct ledger_row *);

/* A fetch has failed with `err`, the connection is in step: notes it, if it is a cause that does not
 * pass by itself. */
void imap_poison_note(struct imap *, uint32_t uid, struct err);

/* Whether a whole message is the stub that some servers send in place of one (N-05). */
bool imap_poison_is_stub(const char *octets, size_t len);

/* Puts the part of the placeholder into the sink. From and Subject are asked for. */
struct err imap_poison_put(struct imap *, uint32_t uid, const struct part *,
			   struct sink *) MUST_USE;

#endif
