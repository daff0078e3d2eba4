/* SPDX-License-Identifier: MIT */
/* openssl_peer.h - the other end of a TLS connection: plain OpenSSL over a blocking socket, to be run on a
 * thread of its own. */
#ifndef POPGATE_FAKE_OPENSSL_PEER_H
#define POPGATE_FAKE_OPENSSL_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

enum { BINDINGS = 3 };

/* Channel bindings by enum stream_binding; length 0: none. */
struct peer_bindings {
	unsigned char octets[BINDINGS][64];
	size_t len[BINDINGS];
};

struct openssl_peer {
	const char *ca, *cert, *key; /* PEM files; the last two are the server's */
	int fd;                      /* a listener's of a server, a client's connected one */
	bool is_server;
	int connections; /* that the server takes, one after the other */
	uint64_t options;
	int max_version;
	bool wants_cert;      /* of the client, by `ca` */
	bool is_averse;       /* it wants one, and breaks on a session */
	SSL_SESSION *session; /* of the client's last connection, to be resumed; owned */
	/* What it found. */
	bool is_resumed;
	struct peer_bindings bindings;
	char subject[100]; /* of the certificate at our end */
};

/* For pthread_create(). Says an octet, waits for one or the end, closes the connections. */
void *openssl_peer_run(void *peer);

/* A listening socket on 127.0.0.1. */
int openssl_peer_listen(unsigned *port);

#endif
