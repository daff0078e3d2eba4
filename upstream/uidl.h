/* SPDX-License-Identifier: MIT */
/* uidl.h - UIDLs in the form that another server gave them, for mailboxes that moved (E-07). */
#ifndef POPGATE_UIDL_H
#define POPGATE_UIDL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upstream/maildrop.h"

enum { UIDL_PATTERN = 64 }; /* longest pattern, octets */

/* What uidl= says. Without pointers: copied freely. */
struct uidl_format {
	char pattern[UIDL_PATTERN + 1]; /* "" for stable */
	bool needs_uidvalidity, needs_gm_msgid, needs_email_id;
};

/* What a UIDL can be made of. Strings are borrowed, "" if not known. */
struct uidl_parts {
	uint64_t uidvalidity;
	uint32_t uid;
	const char *gm_msgid; /* decimal */
	const char *email_id;
};

/* Reads a value of uidl=. NULL, or what is wrong with it (a literal). */
const char *uidl_format_parse(const char *value, struct uidl_format *out);

bool uidl_is_stable(const struct uidl_format *);

/* Writes the UIDL, 1 to 70 octets and a NUL. False if a part that it needs is not known. */
bool uidl_format_write(const struct uidl_format *, const struct uidl_parts *,
		       char out[UIDL_MAX + 1]);

/* The same UIDL with a suffix that no other message of the mailbox has, for the second and further
 * messages of equal name (E-03): bound to UIDVALIDITY and UID, so that it stays when a twin goes. */
void uidl_suffixed(char out[UIDL_MAX + 1], const char *uidl, const struct uidl_parts *);

/* Reads a UIDL of that format back: what of UIDVALIDITY and UID stands in it, 0 what does not. False
 * if it is not of that format, or if the format does not tell where its numbers end (%u%v), or if it
 * is made of other things (gmail, emailid). */
bool uidl_format_read(const struct uidl_format *, const char *uidl, struct uidl_parts *out);

#endif
