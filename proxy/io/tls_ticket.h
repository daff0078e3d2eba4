/* SPDX-License-Identifier: MIT */
/* tls_ticket.h - the keys of session tickets, by which clients resume TLS without a new handshake
 * (RFC 5077, RFC 8446 section 4.6.1, B-12).
 *
 * A ticket is encrypted with the newest key. Keys are replaced every TICKET_PERIOD_MS and good for one
 * period more, then they are wiped: who gets hold of the process's memory reads no older resumption
 * secrets. One struct serves all listeners and outlives their reloads; a listener accepts its own
 * tickets alone (see tlsconf.h).
 */
#ifndef POPGATE_TLS_TICKET_H
#define POPGATE_TLS_TICKET_H

#include <openssl/ssl.h>

#include "proxy/base/env.h"

enum { TICKET_PERIOD_MS = 12 * 3600 * 1000 };

struct tls_tickets;
/* `env` is borrowed, for its clock and chance. May be used by several loops at once. */
struct tls_tickets *tls_tickets_new(const struct env *);
void tls_tickets_free(struct tls_tickets *); /* NULL is fine */

/* Has the context give tickets and take them, none older than one period; NULL: neither. The tickets
 * must outlive every connection of the context. */
void tls_tickets_serve(struct tls_tickets *, SSL_CTX *);

#endif
