/* SPDX-License-Identifier: MIT */
/* authorization.h - the handlers of the AUTHORIZATION state (RFC 1939 section 4, RFC 2595, RFC
 * 5034), and the way out of it. */
#ifndef POPGATE_AUTHORIZATION_H
#define POPGATE_AUTHORIZATION_H

#include <stdbool.h>

#include "proxy/base/err.h"
#include "session/account.h"
#include "session/command.h"
#include "session/session.h"

enum {
	NAME_MAX_OCTETS = 255,  /* of a user name (B-03) */
	FAILURE_MAX_MS = 15000, /* longest wait before a refusal is told (B-08) */
};

struct err cmd_user(struct session *, const struct args *) MUST_USE;
struct err cmd_pass(struct session *, const struct args *) MUST_USE;
struct err cmd_apop(struct session *, const struct args *) MUST_USE;
struct err cmd_auth(struct session *, const struct args *) MUST_USE;
struct err cmd_stls(struct session *, const struct args *) MUST_USE;
struct err cmd_bye(struct session *, const struct args *) MUST_USE;

/* What of this state may be announced and done now (B-09, A-19): a password without protection of
 * its own; some mechanism; STLS. */
bool authorization_may_login_plain(const struct session *);
bool authorization_has_mechanisms(const struct session *);
bool authorization_may_start_tls(const struct session *);

/* The ways to log in that are open here and now (A-19, J-03): enum login_way. */
unsigned authorization_ways(const struct session *);

/* Makes the greeting's challenge for APOP (RFC 1939 section 7), if APOP is one of them. */
void authorization_stamp(struct session *);

/* Proves the claim, opens, locks and lists the maildrop, enters TRANSACTION and says +OK (B-04). On
 * failure everything is given back and the state stays; a refused credential (ERR_LOGIN) has then
 * been counted and waited for (B-08). If the mailbox is served elsewhere: OK, nothing is said, and
 * session->parked has a copy of the claim, with the mechanism of AUTH it came by, or NULL. */
struct sasl_mechanism;
struct err authorization_enter(struct session *, const struct credential *,
			       const struct sasl_mechanism *) MUST_USE;

/* The same for the claim that is parked, here; then what AUTH does behind it. */
struct err authorization_go_on(struct session *) MUST_USE;

/* Gives back what a login has taken: lock, upstream, snapshot, account. Nothing taken is fine. */
void authorization_leave(struct session *);

#endif
