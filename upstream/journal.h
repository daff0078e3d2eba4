/* SPDX-License-Identifier: MIT */
/* journal.h - deletions that were promised and are not yet done (D-09).
 *
 * A record is written and on disk before the first command that deletes, and shrinks as removals are
 * verified. What it holds is hidden from sessions until it is really gone; whoever opens the mailbox
 * next, or the background, does it. One record an UPDATE, or several with neighbouring numbers if it is
 * large (some 260,000 deletions):
 *
 *	journal TAB name TAB number            the number as 16 lower-case hexadecimal digits
 */
#ifndef POPGATE_JOURNAL_H
#define POPGATE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "upstream/identity.h"
#include "upstream/state.h"

struct journal_entry {
	uint32_t uid;
	uint64_t octets; /* RFC822.SIZE if known, else 0: not compared at replay */
	/* identity_of_header() if the session learned it and the ledger has it not yet; else "". Should
	 * the UIDs change before it is done, the message is recognised by it (E-04). */
	char id[IDENTITY_HASH + 1];
};

/* A record. Strings are owned. */
struct journal {
	uint64_t number; /* 0: not written yet */
	size_t parts;    /* records from `number` on that it was written as; 0: one */
	char place[IDENTITY_PLACE + 1]; /* identity_place() of the mailbox it is about */
	char *where;                    /* "login@host:port/folder", for alarms */
	uint64_t uidvalidity;
	char *mode;     /* delete= as in the map: "expunge", "trash", "archive:Old" */
	uint64_t since; /* wall clock, s: when it was promised */
	uint32_t tries; /* replays that failed */
	struct journal_entry *entries; /* owned; ascending by UID */
	size_t count;
};

void journal_fini(struct journal *); /* a zeroed struct is fine */

/* Writes a new record (number 0: it gets one) or what is left of one (entries that are done taken
 * out by the caller; count 0 erases it). OK: it is on disk. */
struct err journal_write(struct state_store *, const struct env *, const char *name,
			 struct journal *) MUST_USE;

/* All records of a name, oldest first, as an owned array, freed by journal_free(). EBADMSG if one
 * cannot be read: then nobody may show the mailbox, for what was promised is not known. */
struct err journal_read(struct state_store *, const struct env *, const char *name,
			struct journal **out, size_t *count) MUST_USE;
/* The same as part of a walk that reads other things too: begin() makes `range`, which holds until
 * end() has been called with what the walk returned. end() is called in any case, once begin() was
 * OK, and returns what journal_read() would. */
struct journal_reading {
	char prefix[STATE_KEY + 1];
	struct journal *journals; /* owned */
	size_t count;
	uint64_t highest; /* number */
	bool is_bad, is_count_only;
};
struct err journal_read_begin(struct journal_reading *, const char *name,
			      struct state_range *range) MUST_USE;
struct err journal_read_end(struct journal_reading *, struct err walked, struct journal **out,
			    size_t *count) MUST_USE;
void journal_free(struct journal *, size_t count); /* NULL is fine */

/* The names that have records, each once, ascending, as an owned array of owned strings. */
struct err journal_names(struct state_store *, const struct env *, char ***out,
			 size_t *count) MUST_USE;
void journal_names_free(char **, size_t count); /* NULL is fine */

#endif
