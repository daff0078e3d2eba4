/* SPDX-License-Identifier: MIT */
/* imap_auth_list.h - what may stand behind the map's auth=: names of mechanisms with commas between, in
 * the order they are to be tried. For the map; what they mean is told in imap_auth.c. */
#ifndef POPGATE_IMAP_AUTH_LIST_H
#define POPGATE_IMAP_AUTH_LIST_H

#include <stdbool.h>

#include "upstream/upstream.h"

/* NULL if the list is good, else what is wrong with it (a literal). */
const char *imap_auth_refusal(const char *list);

/* Whether the list names the mechanism; case-blind. */
bool imap_auth_names(const char *list, const char *name);

/* Whether it names one that serves this kind of login; one that can act for another user, if
 * `for_other`. */
bool imap_auth_serves(const char *list, enum login_kind, bool for_other);

#endif
