/* SPDX-License-Identifier: MIT */
/* privilege.h - what the process may do: descriptors, core dumps, and the user it becomes. */
#ifndef POPGATE_PRIVILEGE_H
#define POPGATE_PRIVILEGE_H

#include "proxy/base/err.h"
#include "proxy/base/log.h"

/* No core dumps, for they would hold passwords (B-22); as many descriptors as the hard limit gives.
 * Warns if `sessions` sessions with two descriptors each do not fit. */
void privilege_limits(const struct log *, unsigned sessions);

/* Started as root with a `user`: hands the directory `state` (NULL: none) over to it, then becomes
 * it, groups included,
 * for good. Not root, or `user` NULL: stays, with a warning if that is root. On failure `why` says
 * what could not be done, and nothing may be served. */
struct err privilege_drop(const struct log *, const char *user, const char *state,
			  struct notice *why) MUST_USE;

#endif
