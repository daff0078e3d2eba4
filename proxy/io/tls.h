/* SPDX-License-Identifier: MIT */
/* tls.h - a stream over another stream: OpenSSL in both roles. The handshake is done when a stream
 * is given. */
#ifndef POPGATE_TLS_H
#define POPGATE_TLS_H

#include "proxy/base/env.h"
#include "proxy/base/stream.h"
#include "proxy/io/tlsconf.h"

/* See env->secure and env->serve_tls for ownership and errors. Any octet that the plain stream had
 * already read makes the handshake fail: nothing received in clear may count after TLS starts
 * (B-11, B-15). */
struct err tls_connect(const struct env *, struct tls_client_conf *, struct stream *plain,
		       const struct tls_policy *, struct stream **out) MUST_USE;
struct err tls_accept(struct tls_server_conf *, struct stream *plain, struct stream **out) MUST_USE;

/* The names in the certificate that the client of a tls_accept()ed stream has proved to hold, by a
 * CA of the listener's client_ca: rfc822Name and dNSName of subjectAltName in their order, then the
 * subject's emailAddress and commonName; those with NUL or control octets are left out. Calls `visit`
 * for each until it returns false. Returns whether there was a certificate at all; false as well for
 * a stream that is not TLS. */
bool tls_peer_names(const struct stream *, bool (*visit)(void *arg, const char *name), void *arg);

#endif
