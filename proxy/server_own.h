/* SPDX-License-Identifier: MIT */
/* server_own.h - what server*.c, station.c and connection.c share. */
#ifndef POPGATE_SERVER_OWN_H
#define POPGATE_SERVER_OWN_H

#include "proxy/guard.h"
#include "proxy/server.h"

/* Reasons for the process to go on: each station's open doors, each connection, also while it moves, the
 * chores of each station, a token server that is asked, a reload. When the last one leaves, which cannot be
 * before a drain, all loops are stopped. From any thread. */
void server_join(struct server *);
void server_leave(struct server *);

/* Its network list is borrowed from the config. */
void server_guard_conf(const struct config *, struct guard_conf *out);

#endif
