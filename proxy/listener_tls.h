/* SPDX-License-Identifier: MIT */
/* listener_tls.h - what a [listener] section says about TLS, read from its files. */
#ifndef POPGATE_LISTENER_TLS_H
#define POPGATE_LISTENER_TLS_H

#include <stdbool.h>

#include "proxy/config.h"
#include "proxy/fault.h"
#include "proxy/io/tls_ticket.h"
#include "proxy/io/tlsconf.h"

/* NULL: there is no TLS here, or it cannot be had; then that is in `faults`, with the line where the
 * files are named. The caller releases it. `tickets` may be NULL. Blocking. */
struct tls_server_conf *listener_tls_load(const struct config *, const struct listener_conf *,
					  struct tls_tickets *tickets, struct faults *);

#endif
