/* SPDX-License-Identifier: MIT */
/* tls_own.h - what tls.c, tls_*.c and tlsconf*.c share, and nobody else needs. */
#ifndef POPGATE_TLS_OWN_H
#define POPGATE_TLS_OWN_H

#include <openssl/ssl.h>

#include "proxy/base/buf.h"
#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/io/tlsconf.h"

/* The context for the next client; borrowed: the conf is held until the handshake is over. */
SSL_CTX *tls_server_context(const struct tls_server_conf *);

/* After a call of OpenSSL that failed: its words about `file`. */
void tls_say_why(struct notice *, const char *file);

/* What both sides' contexts have in common. */
void tls_context_harden(SSL_CTX *);

/* The context for the CA, certificate and key of a policy, and the sessions that can be resumed in it;
 * references, which the caller gives back. Waits while the files are read, which is at their first use
 * alone. ERR_POLICY: a file cannot be read or does not hold what it should; both are NULL then. */
struct tls_sessions;
struct err tls_client_context(const struct env *, struct tls_client_conf *,
			      const struct tls_policy *, SSL_CTX **out,
			      struct tls_sessions **sessions) MUST_USE;

/* tls_resume.c. The sessions of one client context, which tells of its tickets from now on: at most four
 * for each of 256 hosts. Counted. Of one thread. */
struct tls_sessions *tls_sessions_new(SSL_CTX *);
struct tls_sessions *tls_sessions_hold(struct tls_sessions *);
void tls_sessions_release(struct tls_sessions *); /* NULL is fine */
/* Before a handshake with `host`: a session is offered if there is one, and what tickets come on `ssl` are
 * kept for this host. The caller frees it after the SSL. */
struct tls_visit;
struct tls_visit *tls_visit_new(struct tls_sessions *, SSL *, const char *host);
void tls_visit_free(struct tls_visit *); /* NULL is fine */
/* The handshake has failed: true: that may be because a session was offered, and none will be again. */
bool tls_visit_failed(struct tls_visit *);

/* tls_peer.c. Has the handshake insist on the host's name; false: it is none. */
bool tls_peer_expect(SSL *, const char *host);
/* After the handshake. ERR_POLICY: the key is not the pinned one. `pin` may be NULL. */
struct err tls_peer_check_pin(const SSL *, const char *pin) MUST_USE;
/* What a client's handshake failed of, by OpenSSL's `reason`. A bad certificate, the server's or ours,
 * or a server that speaks no TLS or none of our versions, is the operator's (B-13); all else may pass
 * (H-01) and stays `err`. */
struct err tls_peer_fault(const SSL *, struct err, int reason);
/* Whether a reason of OpenSSL's says that the server does not like our certificate. */
bool tls_is_refusal(int reason);

/* tls_binding.c. See stream_bind(). */
bool tls_bind_session(SSL *, enum stream_binding, struct buf *out);

/* tls_names.c. See tls_peer_names(). */
bool tls_names_visit(const SSL *, bool (*visit)(void *arg, const char *name), void *arg);

/* tls_describe.c. Lines "key: value": version, cipher, the peer's certificate. */
void tls_describe_session(const SSL *, struct buf *out);

#endif
