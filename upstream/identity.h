/* SPDX-License-Identifier: MIT */
/* identity.h - which mailbox this is, and which message, in few characters that a restart does not
 * change. */
#ifndef POPGATE_IDENTITY_H
#define POPGATE_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	IDENTITY_TAG = 10,   /* characters */
	IDENTITY_PLACE = 26, /* characters: 130 bits */
	IDENTITY_HASH = 26,  /* characters */
};

/* The tag that begins each UIDL of a mailbox (E-02): the first 10 characters, base32 in lower case
 * (RFC 4648 section 6), of the SHA-256 over host (lowered), login and folder, NUL after each, and
 * for a generation above 0 its decimal digits and a NUL. `out` is NUL ended. */
void identity_tag(char out[IDENTITY_TAG + 1], const char *host, const char *login,
		  const char *folder, uint32_t generation);

/* Which mailbox a ledger is about: 26 characters of base32 over host (lowered), port, login and
 * folder. */
void identity_place(char out[IDENTITY_PLACE + 1], const char *host, unsigned port,
		    const char *login, const char *folder);

/* A UIDL for a name of the store's own that cannot be one itself (over 70 octets, or octets outside
 * [A-Za-z0-9._=,:+-]): "h." and 32 characters of base32 of its SHA-256 (E-07, K-04). `out` holds at
 * least 35 octets. */
void identity_of_name(char *out, const char *name);

/* What a message is recognised by where the server gives it no name for ever (E-05): 26 characters
 * of base32 of the SHA-256 over the header fields Message-ID, Date, From and Subject of `header`
 * (`len` octets, as a server gave them: whole header or these fields alone, any line ends, any
 * order), each as lower-case name, ":", and its body unfolded, blanks and tabs squeezed to one
 * blank and none at the ends, octets above 0x7e as "?". A field that stands twice counts as often,
 * in their order. Returns false, and "" in `out`, if neither a Message-ID nor a Date is there: such
 * messages are not recognised. */
bool identity_of_header(char out[IDENTITY_HASH + 1], const char *header, size_t len);

#endif
