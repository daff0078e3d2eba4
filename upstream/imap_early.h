/* SPDX-License-Identifier: MIT */
/* imap_early.h - commands under way together, whose tagged replies may come in any order (RFC 9051 section
 * 5.5): Dovecot tells that a UID MOVE failed before it ends the UID FETCH that stood in front of it. */
#ifndef POPGATE_IMAP_EARLY_H
#define POPGATE_IMAP_EARLY_H

#include "upstream/imap_client.h"

enum { EARLY_MOST = 10 }; /* commands under way at once */

struct early {
	struct imap_client *client; /* borrowed */
	struct {
		int tag;
		bool is_answered;
		struct wire_status status;
	} all[EARLY_MOST];
	size_t count;
};

/* From begin() to end(), on one connection, each command that is sent is announced, and received by
 * early_receive() alone: like imap_receive(), of a command that has been answered already too. Fewer are
 * announced than EARLY_MOST before the first is received. */
void early_begin(struct early *, struct imap_client *);
void early_end(struct early *);
void early_announce(struct early *, int tag);
struct err early_receive(struct early *, enum imap_phase, int tag) MUST_USE;

#endif
