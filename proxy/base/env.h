/* SPDX-License-Identifier: MIT */
/* env.h - the outside world as a handful of function pointers.
 *
 * Stores and sessions reach the network, the clock, the thread pool and chance only through here.
 * The roof hands them libuv and OpenSSL; tests hand them scripted streams and a clock that they
 * wind.
 */
#ifndef POPGATE_ENV_H
#define POPGATE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/err.h"
#include "proxy/base/stream.h"

/* What a server must prove to us (B-13). Strings are borrowed for the call. */
struct tls_policy {
	const char *host;    /* for SNI and for the name in the certificate; a literal address is
				compared as one */
	const char *ca_file; /* PEM; NULL: OpenSSL's default store */
	const char
		*pin; /* "sha256:" and base64 of the SHA-256 of the public key (SPKI); NULL: none */
	const char *cert_file, *key_file; /* PEM: what we prove ourselves with; NULL: nothing */
};

struct env;
struct env_ops {
	/* Connects by TCP to `host` (a name or a literal address) and `port`, trying all its
	 * addresses within `limit_ms`. `source` is the local address to come from, or NULL. The
	 * stream's failures are ERR_UPSTREAM. */
	struct err (*dial)(const struct env *, const char *host, unsigned port, const char *source,
			   uint64_t limit_ms, struct stream **out) MUST_USE;
	/* TLS as a client over `plain`, handshake included, under the limits of `plain`. Takes
	 * `plain` over in any case: on failure it is closed and *out is NULL. ERR_POLICY: the
	 * certificate is not good, or the server speaks no TLS that we do (B-13). ERR_UPSTREAM:
	 * anything else; with the code ESTALE it may go well over another connection, at once. */
	struct err (*secure)(const struct env *, struct stream *plain, const struct tls_policy *,
			     struct stream **out) MUST_USE;
	/* TLS as a server over `plain` with the certificates of `identity`; ownership as above.
	 * Failures are ERR_CLIENT. */
	struct err (*serve_tls)(const struct env *, struct stream *plain, void *identity,
				struct stream **out) MUST_USE;
	/* Runs work(arg) on a thread that may block, and returns when it has: the only way to a
	 * file or to crypt(3). */
	void (*offload)(const struct env *, void (*work)(void *), void *arg);
	void (*sleep)(const struct env *, uint64_t ms);
	/* Milliseconds from some fixed moment; never goes back. */
	uint64_t (*now)(const struct env *);
	/* Seconds since 1970, as far as the machine knows: what outlives the process is dated by it. */
	uint64_t (*wall)(const struct env *);
	/* Fills with octets fit for keys and nonces. */
	void (*random)(const struct env *, void *into, size_t len);
};

struct env {
	const struct env_ops *ops;
};

#endif
