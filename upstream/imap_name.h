/* SPDX-License-Identifier: MIT */
/* imap_name.h - how names, strings and sets of UIDs are written for an IMAP server.
 *
 * One encoder for all that comes from outside: whatever leaves here is printable ASCII, or, for names
 * of folders of revision 2, UTF-8 without control characters, so that no name or password can end a
 * command and begin another (B-17).
 */
#ifndef POPGATE_IMAP_NAME_H
#define POPGATE_IMAP_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"

enum {
	UID_SET_OCTETS = 7900,   /* the longest set that any server is sent, octets */
	UID_SET_MESSAGES = 1000, /* the most messages in one set (D-05) */
};

/* Whether imap_quote() can write it: octets 0x20 to 0x7E only. */
bool imap_is_quotable(const char *text);

/* Whether it holds CR or LF, which no IMAP string that we send may. */
bool imap_has_line_end(const char *text);

/* Appends `text`, which imap_is_quotable(), as a quoted string. False if it is not, or if the
 * buffer's ceiling forbids it. */
bool imap_quote(struct buf *, const char *text) __attribute__((warn_unused_result));

/* The same for a folder's name as it goes over the wire: also UTF-8 (RFC 9051 section 9, QUOTED-CHAR),
 * without control characters. False for anything else. Only a server with IMAP4rev2 enabled
 * understands more than ASCII. */
bool imap_quote_name(struct buf *, const char *name) __attribute__((warn_unused_result));

/* Whether imap_quote_name() can write it. */
bool imap_is_name(const char *name);

/* Appends a folder's name, UTF-8 as in the map, with each "/" as `delimiter`; 0 leaves it: the name
 * for a server with IMAP4rev2 enabled (RFC 9051 section 5.1). Not quoted. False as the next. */
bool imap_name_put(struct buf *, const char *name, char delimiter)
	__attribute__((warn_unused_result));

/* Appends a folder's name, UTF-8 as in the map, as modified UTF-7 (RFC 3501 section 5.1.3), each
 * "/" as `delimiter`; 0 leaves it. Not quoted. False if the name is not UTF-8, holds a control
 * character, or does not fit. */
bool imap_name_encode(struct buf *, const char *name, char delimiter)
	__attribute__((warn_unused_result));

/* The index of the first of the ascending `uids` that is `uid` or above; `count` if there is none. */
size_t uid_at_or_above(const uint32_t *uids, size_t count, uint32_t uid);

/* Writes sets of UIDs for commands (RFC 3501 section 9, sequence-set), ascending, a part at a time.
 *
 * A range spans only UIDs of the set itself, never a gap: what stands in a gap may be there after all
 * (a folder of which the server shows a part, a message that is hidden), and a deletion must not reach
 * it (D-05). So no UID of UIDNEXT or above is ever named either. */
struct uid_set {
	const uint32_t *uids; /* borrowed; ascending, no two equal */
	size_t count;
	size_t most;   /* messages in one part; UID_SET_MESSAGES at most */
	size_t octets; /* of one part, at most UID_SET_OCTETS, at least 21: a range */
	size_t at;     /* the next one to be written; starts at 0 */
};

/* How many octets a set may have if the whole line, command and CRLF included, may have `line` (N-16). */
size_t uid_set_octets(size_t line);

/* Writes the next part into `out`, which has room for `octets` + 1, NUL ended. Returns how many messages
 * it names; 0: there are no more. */
size_t uid_set_next(struct uid_set *, char *out);

#endif
