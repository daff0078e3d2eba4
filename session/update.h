/* SPDX-License-Identifier: MIT */
/* update.h - the UPDATE state (RFC 1939 section 6): the only place from which mail is removed. */
#ifndef POPGATE_UPDATE_H
#define POPGATE_UPDATE_H

#include "proxy/base/err.h"
#include "session/command.h"
#include "session/session.h"

/* QUIT in TRANSACTION: enters UPDATE, runs it, says what came of it, enters CLOSED, whether or not
 * the client is still there (D-01, D-02). */
struct err cmd_quit(struct session *, const struct args *) MUST_USE;

/* Lets the store remove what is marked. OK only if all of it is gone; else ERR_POLICY or
 * ERR_UPSTREAM, in words for the client (D-03). */
struct err update_run(struct session *) MUST_USE;

#endif
