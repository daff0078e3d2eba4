/* SPDX-License-Identifier: MIT */
/* sasl_message.h - the messages of mechanisms that say all in one: read strictly, or not at all.
 *
 * Each takes `len` octets with a NUL behind them, and gives a name and a secret, owned by the caller,
 * who wipes both. False: no such message; then both are NULL. */
#ifndef POPGATE_SASL_MESSAGE_H
#define POPGATE_SASL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

/* RFC 4616: [authzid] NUL authcid NUL passwd. To act for another is not permitted to anyone (J-04). */
bool sasl_message_plain(const char *octets, size_t len, char **name, char **password);

/* "user=" name ^A "auth=Bearer " token ^A ^A, as Google and Microsoft have it (J-06). */
bool sasl_message_xoauth2(const char *octets, size_t len, char **name, char **token);

/* RFC 7628 section 3.1: "n,a=" name "," ^A key "=" value ^A ... ^A. Host and port are not looked at: a
 * bearer token is not bound to them. The name is "" if there is none. */
bool sasl_message_oauthbearer(const char *octets, size_t len, char **name, char **token);

/* RFC 4422 appendix A: the name to act as, or nothing. The secret is "". */
bool sasl_message_external(const char *octets, size_t len, char **name, char **secret);

/* RFC 2195 section 2: name, blank, 32 hexadecimal digits. The name may hold blanks. */
bool sasl_message_cram(const char *octets, size_t len, char **name, char **digest);

/* RFC 5802 section 7, client-first-message: the name alone; the secret is "". An authzid must be the
 * same name (J-04). */
bool sasl_message_scram(const char *octets, size_t len, char **name, char **secret);

#endif
