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
struct err tls_connect(struct tls_client_conf *, struct stream *plain, const struct tls_policy *,
		       struct stream **out) MUST_USE;
struct err tls_accept(struct tls_server_conf *, struct stream *plain, struct stream **out) MUST_USE;

#endif
