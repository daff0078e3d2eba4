/* SPDX-License-Identifier: MIT */
/* tlsconf.h - certificates, protocol versions and their reload: everything about TLS that outlives
 * a connection. */
#ifndef POPGATE_TLSCONF_H
#define POPGATE_TLSCONF_H

#include <stddef.h>

#include "proxy/base/err.h"

/* Towards POP3 clients: one certificate chain with its key, and a least version. Counted: a reload
 * makes a new one, and sessions keep what they started with. */
struct tls_server_conf;

/* Reads both PEM files and checks that they belong together. `min_version`: 10, 11, 12, 13 for
 * TLS 1.0 ... 1.3; 10 and 11 also lower the security level, which OpenSSL 3 demands (B-12). ALPN:
 * "pop3" if offered, an alert if only others are. On failure *out is NULL and `why` says in
 * OpenSSL's words what is wrong with which file. */
struct err tls_server_conf_new(const char *cert_file, const char *key_file, int min_version,
			       struct notice *why, struct tls_server_conf **out) MUST_USE;
/* The same with a key and certificate (P-256, self-signed, a year, for localhost and 127.0.0.1)
 * made on the spot. */
struct err tls_server_conf_new_selfsigned(struct tls_server_conf **out) MUST_USE;
struct tls_server_conf *tls_server_conf_hold(struct tls_server_conf *);
void tls_server_conf_release(struct tls_server_conf *); /* NULL is fine */

/* Towards IMAP servers: TLS 1.2 and above, peer verified. Keeps one SSL_CTX per CA file, made at
 * first use. */
struct tls_client_conf;
struct tls_client_conf *tls_client_conf_new(void);
void tls_client_conf_free(struct tls_client_conf *); /* NULL is fine */

#endif
