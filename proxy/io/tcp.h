/* SPDX-License-Identifier: MIT */
/* tcp.h - a stream over uv_tcp_t, and how one is made: accepted or dialled. TCP_NODELAY and
 * keep-alive always (A-11, G-06). */
#ifndef POPGATE_TCP_H
#define POPGATE_TCP_H

#include <stdint.h>

#include "proxy/base/stream.h"
#include "proxy/io/fiber.h"

/* Sets what every connection has: TCP_NODELAY, keep-alive, and how long octets may stay without
 * acknowledgement. What a listening socket accepts inherits it (tcp(7)). */
void tcp_set_options(int fd);

/* Accepts a connection of the socket `listener`, which does not block and has its options; door.c made
 * it and watches it. On failure
 * *out is NULL and the code an errno, EAGAIN if nobody is there. `in_max`, `out_max`: octets, see
 * stream_init(). Failures of the stream are ERR_CLIENT. Not from a fiber: does not wait. */
struct err tcp_accept(struct fibers *, int listener, size_t in_max, size_t out_max,
		      struct stream **out) MUST_USE;

/* See env->dial. From a fiber. Addresses of both families are tried in turn, the next one 250 ms
 * after the last (RFC 8305). ERR_UPSTREAM: no address, none answers, or the limit. */
struct err tcp_dial(struct fibers *, const char *host, unsigned port, const char *source,
		    uint64_t limit_ms, struct stream **out) MUST_USE;

/* From one loop to another, in two steps: the stream, with all it holds and with whatever stands upon it,
 * stays the same struct. First from a fiber that alone uses it, on the thread it is on: waits until libuv
 * has let go of it. Until the second step nobody may touch it but to close it or to read what it holds. An
 * error, ERR_CLIENT with EMFILE for instance, leaves it as it was. */
struct err tcp_detach(struct stream *) MUST_USE;
/* Then on the thread of `fibers`, which need not be in a fiber. What cannot be attached fails from then
 * on. */
void tcp_attach(struct stream *, struct fibers *);

/* The peer's address as text, "192.0.2.7:40112" or "[2001:db8::1]:40112"; `size` octets, 64 are
 * enough. */
struct sockaddr_storage;
void tcp_peer(const struct stream *, struct sockaddr_storage *out);
void tcp_address_text(const struct sockaddr_storage *, char *out, size_t size);

#endif
