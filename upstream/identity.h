/* SPDX-License-Identifier: MIT */
/* identity.h - which mailbox this is, in few characters that a restart does not change. */
#ifndef POPGATE_IDENTITY_H
#define POPGATE_IDENTITY_H

enum { IDENTITY_TAG = 10 }; /* characters */

/* The tag that begins each UIDL of a mailbox (E-02): the first 10 characters, base32 in lower case
 * (RFC 4648 section 6), of the SHA-256 over host (lowered), login and folder, NUL after each. `out`
 * is NUL ended. */
void identity_tag(char out[IDENTITY_TAG + 1], const char *host, const char *login,
		  const char *folder);

/* A UIDL for a name of the store's own that cannot be one itself (over 70 octets, or octets outside
 * [A-Za-z0-9._=,:+-]): "h." and 32 characters of base32 of its SHA-256 (E-07, K-04). `out` holds at
 * least 35 octets. */
void identity_of_name(char *out, const char *name);

#endif
