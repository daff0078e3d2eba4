/* SPDX-License-Identifier: MIT */
/* status.h - what the server tells its operator: one log line a session, for SIGUSR1. */
#ifndef POPGATE_STATUS_H
#define POPGATE_STATUS_H

#include "proxy/server.h"

/* Logs each session's user, state, what it waits for and how long (ms), and its worker, then
 * the sum. A parked stack is
 * invisible to gdb; this is where one sees it. */
void status_log(struct server *);

#endif
