/* SPDX-License-Identifier: MIT */
/* tls_pair.h - the certificates of a listener, and which of them a client is shown (SNI, RFC 6066
 * section 3). For tlsconf.c.
 *
 * Of the certificates that are good for the name asked for, the first of each kind of key is shown: an
 * RSA and an ECDSA certificate of one name both serve, and the handshake settles on one. Exact names
 * go before wildcards. Who asks for no name, or for one that is unknown, is shown the first certificate
 * of all, or one of another kind of key that has a name in common with it. Nobody is turned away for
 * the name he used: POP3 clients are often pointed at an alias or an address.
 */
#ifndef POPGATE_TLS_PAIR_H
#define POPGATE_TLS_PAIR_H

#include <openssl/ssl.h>

#include "proxy/base/err.h"

struct tls_pairs;
/* Reads `count` PEM files of certificates (with their chains) and as many of keys. `context` says what
 * is good enough; it gets the default ones, and chooses by name if there are several. The pairs must
 * outlive every connection of the context. On failure *out is NULL, and `why` says in OpenSSL's words
 * what is wrong with which file. */
struct err tls_pairs_new(SSL_CTX *context, const char *const *certs, const char *const *keys,
			 size_t count, struct notice *why, struct tls_pairs **out) MUST_USE;
void tls_pairs_free(struct tls_pairs *); /* NULL is fine */

#endif
