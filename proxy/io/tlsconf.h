/* SPDX-License-Identifier: MIT */
/* tlsconf.h - certificates, protocol versions and their reload: everything about TLS that outlives
 * a connection. */
#ifndef POPGATE_TLSCONF_H
#define POPGATE_TLSCONF_H

#include <stddef.h>

#include "proxy/base/err.h"

/* Towards POP3 clients: what one listener shows and wants. Counted: a reload makes a new one, and
 * handshakes end with the one they began with. */
struct tls_server_conf;

struct tls_tickets; /* see tls_ticket.h */
struct tls_server_setup {
	const char *name; /* the listener's: a ticket of one is no good at another */
	const char *const *certs, *const *keys; /* PEM files, in pairs; see tls_pair.h */
	size_t count;
	/* PEM file of the CAs whose certificates clients may show, and of revocation lists if those are
	 * to be obeyed (then each CA needs one); NULL: clients are not asked. A client that shows none
	 * is let in; one that shows a bad one is not. */
	const char *client_ca;
	int min_version; /* 10, 11, 12, 13 for TLS 1.0 ... 1.3; 10 and 11 also lower the security
			    level of this listener, which OpenSSL 3 demands (B-12) */
	struct tls_tickets *tickets; /* borrowed, for longer than any connection; NULL: none */
};
/* Reads the files, and checks that they belong together. ALPN: "pop3" if offered, an alert if only
 * others are. On failure *out is NULL and `why` says in OpenSSL's words what is wrong with which file;
 * the code is EACCES if it is client_ca.
 * Nothing of `setup` but the tickets is kept. */
struct err tls_server_conf_new(const struct tls_server_setup *, struct notice *why,
			       struct tls_server_conf **out) MUST_USE;
/* The same with a key and certificate (P-256, self-signed, a year, for localhost and 127.0.0.1)
 * made on the spot. */
struct err tls_server_conf_new_selfsigned(struct tls_server_conf **out) MUST_USE;
struct tls_server_conf *tls_server_conf_hold(struct tls_server_conf *);
void tls_server_conf_release(struct tls_server_conf *); /* NULL is fine */

/* Towards IMAP servers: TLS 1.2 and above, peer verified. Keeps one SSL_CTX for each set of CA,
 * certificate and key files, made at first use on the pool. tls_connect() calls that are under way when
 * it is freed go on with it. */
struct tls_client_conf;
struct tls_client_conf *tls_client_conf_new(void);
void tls_client_conf_free(struct tls_client_conf *); /* NULL is fine */

#endif
