/* SPDX-License-Identifier: MIT */
/* transaction.h - the handlers of the TRANSACTION state (RFC 1939 section 5). All but RETR and TOP
 * answer from the snapshot alone, whatever has become of the store. */
#ifndef POPGATE_TRANSACTION_H
#define POPGATE_TRANSACTION_H

#include "proxy/base/err.h"
#include "session/command.h"
#include "session/session.h"

struct err cmd_stat(struct session *, const struct args *) MUST_USE;
struct err cmd_list(struct session *, const struct args *) MUST_USE;
struct err cmd_uidl(struct session *, const struct args *) MUST_USE;
struct err cmd_retr(struct session *, const struct args *) MUST_USE;
struct err cmd_top(struct session *, const struct args *) MUST_USE;
struct err cmd_dele(struct session *, const struct args *) MUST_USE;
struct err cmd_noop(struct session *, const struct args *) MUST_USE;
struct err cmd_rset(struct session *, const struct args *) MUST_USE;

#endif
