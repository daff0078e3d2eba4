/* SPDX-License-Identifier: MIT */
/* imap_quirks.h - the table of servers' oddities (N-01).
 *
 * A row is chosen by what the server says of itself after login (capabilities, ID, greeting), or
 * named in the map (quirks=). A wrong guess may cost speed, never truth: whatever a row says is only
 * a better first attempt, or a shortcut not taken.
 */
#ifndef POPGATE_IMAP_QUIRKS_H
#define POPGATE_IMAP_QUIRKS_H

#include <stdbool.h>
#include <stddef.h>

enum imap_quirk {
	/* Shows a part of the folder, so that EXISTS and UIDNEXT prove nothing, and a UID that
	 * SEARCH does not find may still be there (M-08). */
	QUIRK_WINDOW = 1,
	QUIRK_SELECT_ONLY = 2,     /* EXAMINE does not keep UIDVALIDITY (N-12) */
	QUIRK_ID_FIRST = 4,        /* wants ID before SELECT (N-15) */
	QUIRK_SIZES_CHANGE = 8,    /* sizes and bodies are rendered anew: sizes are asked for each
				    time, and a measured one counts only beside the same size (N-04) */
	QUIRK_NO_UID_EXPUNGE = 16, /* announces UIDPLUS or not, but does not do it (N-13) */
	QUIRK_TRASH = 32, /* expunging archives: delete= is trash unless the map says (D-14) */
	QUIRK_STUBS = 64, /* sends a stub in place of what it cannot render (N-05) */
	QUIRK_SLOW_POISON = 128, /* [UNAVAILABLE] that never ends for single messages (N-09) */
	QUIRK_BASE_ITEMS = 256,  /* an unknown FETCH item fails the whole command (N-13) */
	QUIRK_NO_ENABLE = 512,   /* ENABLE says OK and enables nothing, or breaks (N-10) */
	/* Makes up a short body for a message that another client has removed, until it is asked to
	 * look. */
	QUIRK_GHOSTS = 1024,
	QUIRK_STEPS = 2048, /* loses what comes behind a login before it was answered (M-04) */
};

struct imap_quirks {
	const char *name; /* "gmail"; what quirks= says and the log shows */
	unsigned traits;  /* enum imap_quirk */
	size_t line;      /* longest command line, octets with CRLF (N-16) */
	/* How it is known; NULL: not by this. Case-blind. */
	const char *capability; /* an atom among its capabilities */
	const char *id;         /* begins the value of "name" or "vendor" in its ID */
	const char *greeting;   /* stands somewhere in its greeting */
};

/* The row for a server. `capabilities`: the atoms separated by blanks; `id`: name and vendor of its
 * ID reply, a blank between, "" if it has none. Always gives one: "generic" at last. */
const struct imap_quirks *imap_quirks_choose(const char *capabilities, const char *id,
					     const char *greeting);

/* The row of that name, NULL if there is none. */
const struct imap_quirks *imap_quirks_named(const char *name);

/* The row number n, from 0 on, NULL behind the last: for manuals, checks and tests. Rows of one name
 * stand together and differ only in how they are known. */
const struct imap_quirks *imap_quirks_at(size_t n);

/* One trait for people; NULL: there is no such bit. */
const char *imap_quirk_words(enum imap_quirk);

#endif
