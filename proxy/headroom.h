/* SPDX-License-Identifier: MIT */
/* headroom.h - how much memory the hashing of passwords may take at one time, in the whole process.
 *
 * Such hashes take memory on purpose: up to 256 MiB for one {argon2id}. As many at once as there are
 * threads in the pool would be more than most machines have, and whoever can send logins decides how
 * many there are. So each is announced, and waits in the order of arrival until there is room: names
 * with dear secrets wait as long as those with cheap ones, or none (B-05).
 */
#ifndef POPGATE_HEADROOM_H
#define POPGATE_HEADROOM_H

#include "proxy/base/env.h"
#include "proxy/base/err.h"

enum {
	HEADROOM_MIB = 512,       /* what a server has */
	HEADROOM_WAIT_MS = 30000, /* the longest wait */
};

/* For all workers. */
struct headroom;
struct headroom *headroom_new(unsigned mib);
void headroom_free(struct headroom *); /* NULL is fine; nobody has or wants any */

/* Takes `mib`, which may be 0; what is more than all there is counts as all. Waits. ERR_UPSTREAM: there
 * was no room in HEADROOM_WAIT_MS, and nothing is taken. */
struct err headroom_take(struct headroom *, const struct env *, unsigned mib) MUST_USE;
void headroom_give(struct headroom *, unsigned mib); /* the same number */

#endif
