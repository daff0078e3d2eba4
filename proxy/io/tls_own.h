/* SPDX-License-Identifier: MIT */
/* tls_own.h - what tlsconf.c tells tls.c alone. */
#ifndef POPGATE_TLS_OWN_H
#define POPGATE_TLS_OWN_H

#include <openssl/ssl.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/io/tlsconf.h"

/* The context for the next client; borrowed: the SSL that is made of it keeps what it needs.
 * Renews the ticket keys when their time has come (B-12). */
SSL_CTX *tls_server_context(struct tls_server_conf *);

/* The context for one CA file (NULL: OpenSSL's default store); borrowed as above. ERR_POLICY: the
 * file cannot be read or holds no certificate. */
struct err tls_client_context(struct tls_client_conf *, const char *ca_file,
			      SSL_CTX **out) MUST_USE;

/* tls_describe.c. Lines "key: value": version, cipher, the peer's certificate. */
void tls_describe_session(const SSL *, struct buf *out);

#endif
