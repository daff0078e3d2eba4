/* SPDX-License-Identifier: MIT */
/* imap_name.h - how names, strings and sets of UIDs are written for an IMAP server.
 *
 * One encoder for all that comes from outside: whatever leaves here is printable ASCII, so that no
 * name or password can end a command and begin another (B-17).
 */
#ifndef POPGATE_IMAP_NAME_H
#define POPGATE_IMAP_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "upstream/maildrop.h"

enum {
	/* The longest set in one command, octets: with the command around it the line stays below
	 * 1,000 (N-16). */
	UID_SET_OCTETS = 920,
	UID_SET_MESSAGES = 1000, /* the most messages in one set (D-05) */
};

/* Whether imap_quote() can write it: octets 0x20 to 0x7E only. */
bool imap_is_quotable(const char *text);

/* Whether it holds CR or LF, which no IMAP string that we send may. */
bool imap_has_line_end(const char *text);

/* Appends `text`, which imap_is_quotable(), as a quoted string. False if it is not, or if the
 * buffer's ceiling forbids it. */
bool imap_quote(struct buf *, const char *text) __attribute__((warn_unused_result));

/* Appends a folder's name, UTF-8 as in the map, as modified UTF-7 (RFC 3501 section 5.1.3), each
 * "/" as `delimiter`; 0 leaves it. Not quoted. False if the name is not UTF-8, holds a control
 * character, or does not fit. */
bool imap_name_encode(struct buf *, const char *name, char delimiter)
	__attribute__((warn_unused_result));

/* Writes sets of UIDs for commands (RFC 3501 section 9, sequence-set), ascending, a part at a time.
 *
 * A range spans only UIDs of the set and UIDs that no message has: it never covers a message of the
 * snapshot that was not chosen, nor one of `others` (D-05). */
struct uid_set {
	const struct maildrop *maildrop; /* borrowed, sealed */
	const uint32_t *others; /* borrowed; ascending UIDs of messages that exist and are not in
				   the snapshot */
	size_t others_len;
	bool (*is_chosen)(const struct message *);
	size_t at; /* the next message to look at; starts at 0 */
};

/* Writes the next part into `out`, emptied first: at most UID_SET_OCTETS octets, NUL ended, and
 * UID_SET_MESSAGES messages. Returns how many messages it names; 0: there are no more. */
size_t uid_set_next(struct uid_set *, char out[UID_SET_OCTETS + 1]);

#endif
