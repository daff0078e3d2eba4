/* SPDX-License-Identifier: MIT */
/* tls_shop.h - certificates as files, a listener that shows them, and a client that meets it in memory. */
#ifndef POPGATE_TLS_SHOP_H
#define POPGATE_TLS_SHOP_H

#include <stdbool.h>
#include <stdio.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/io/tls_ticket.h"
#include "proxy/io/tlsconf.h"
#include "tests/fake/world.h"

enum { PATH = 128, DAY_S = 24 * 3600 };

struct shop {
	char dir[64];
	EVP_PKEY *authority_key;
	X509 *authority;
	struct fake_world world;
};

/* Set-up and end of a group of tests: *state is the shop, with a CA and pairs of it. */
int shop_open(void **state);
int shop_close(void **state);

/* `issuer` NULL: it is its own. */
X509 *shop_new_cert(const char *common_name, const char *names, EVP_PKEY *key, X509 *issuer,
		    EVP_PKEY *issuer_key, long days);
void shop_path(const struct shop *shop, char out[PATH], const char *name, const char *ending);
FILE *shop_create(const struct shop *shop, const char *name, const char *ending);
/* NAME.pem and NAME.key in the shop. */
X509 *shop_issue(const struct shop *shop, const char *name, bool is_rsa, const char *common_name,
		 const char *names, long days);
/* `names`: of pairs, separated by blanks. */
struct err shop_open_listener(struct shop *shop, const char *names, const char *client_ca,
			      int min_version, struct tls_tickets *tickets, struct notice *why,
			      struct tls_server_conf **out);
struct tls_server_conf *shop_listener(struct shop *shop, const char *names, const char *client_ca,
				      int min_version, struct tls_tickets *tickets);

/* What a client brings, and what came of it. */
struct client {
	const char *server_name; /* NULL: none */
	int version;             /* 0: any */
	const char *sigalgs, *ciphers;
	const char *pair;      /* of its certificate; NULL: none */
	const char *alpn;      /* in wire form */
	SSL_SESSION **session; /* in: to resume; out: for the next */
	/* out */
	bool is_done, is_resumed;
	char shown[64]; /* common name of the server's certificate */
	char names[256], chosen[16];
	bool has_cert;
};

/* The whole handshake, and an octet each way, which brings a TLS 1.3 client its tickets. */
bool shop_meet(struct shop *shop, struct tls_server_conf *conf, struct client *client);

#endif
