/* SPDX-License-Identifier: MIT */
/* server_own.h - what server.c and server_reload.c share. */
#ifndef POPGATE_SERVER_OWN_H
#define POPGATE_SERVER_OWN_H

#include "proxy/guard.h"
#include "proxy/server.h"

/* Stops the loop if there is a drain and nobody works any more. */
void server_stop_if_idle(struct server *);

/* Takes it over, in place of what the listener had; NULL: no TLS. */
void listener_use_tls(struct listener *, struct tls_server_conf *);

/* Its network list is borrowed from the config. */
void server_guard_conf(const struct config *, struct guard_conf *out);

#endif
