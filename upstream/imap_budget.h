/* SPDX-License-Identifier: MIT */
/* imap_budget.h - how many connections an account has at its server, all workers together (L-06).
 *
 * Providers count them, and shut out who has too many. Those of sessions count, of what is done without
 * a client, and those that stay open behind a session. A login beyond the budget first closes one that
 * stays open, else it waits for one to end, and is told [SYS/TEMP] if none does.
 */
#ifndef POPGATE_IMAP_BUDGET_H
#define POPGATE_IMAP_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "upstream/imap_client.h"

struct imap_budget;
struct imap_warm;

/* Several workers may hold one; each holder releases it. */
struct imap_budget *imap_budget_new(void);
struct imap_budget *imap_budget_hold(struct imap_budget *);
void imap_budget_release(struct imap_budget *); /* NULL is fine */

/* Counts one more connection of an account (any text that tells accounts apart), if it has fewer than
 * `most`. Else false, and for two seconds from `now_ms` on one that stays open is wanted. Does not wait. */
bool imap_budget_take(struct imap_budget *, const char *account, unsigned most, uint64_t now_ms);
void imap_budget_give(struct imap_budget *, const char *account);
bool imap_budget_is_wanted(struct imap_budget *, const char *account, uint64_t now_ms);

/* Who has not proved yet to be the account's owner knocks: that makes others who knock wait, for what
 * the owner says at once should not be too much at once, but is no connection that anybody lacks. With
 * `is_patient` a login under way counts like a connection. */
enum budget_room { BUDGET_ROOM, BUDGET_SOON, BUDGET_FULL };
enum budget_room imap_budget_knock(struct imap_budget *, const char *account, unsigned most,
				   uint64_t now_ms, bool is_patient);
void imap_budget_turn_away(struct imap_budget *, const char *account); /* it knocks no longer */

/* For imap_login.c: room for the connection that `client` is about to make, out of the budget of
 * conf.warm; without one there is no bound. Waits up to five seconds, for other logins under way up to
 * one; then ERR_UPSTREAM, EBUSY. A login whose secret is the client's own only knocks: once the server
 * has let it in, imap_budget_prove() finds it a place, or fails likewise. For imap_client.c: gives back
 * whatever there is. */
struct err imap_budget_enter(struct imap_client *, const struct upstream_conf *,
			     const struct login *) MUST_USE;
struct err imap_budget_prove(struct imap_client *, const struct upstream_conf *,
			     const struct login *) MUST_USE;
void imap_budget_leave(struct imap_client *);

#endif
