/* SPDX-License-Identifier: MIT */
/* headroom.c - how much memory the hashing of passwords may take at one time.
 *
 * Who gives room back lets in those who have waited longest, as far as it reaches: nobody overtakes, so a
 * dear secret is not kept waiting by cheap ones. Who waits looks every 20 ms whether he was let in.
 */
#include "proxy/headroom.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

enum { LOOK_MS = 20 };

/* On the stack of who waits. */
struct guest {
	struct guest *next;
	unsigned mib;
	bool is_in;
};

struct headroom {
	pthread_mutex_t lock; /* for all of it; nobody waits for anything else while he has it */
	unsigned all, left;   /* MiB */
	struct guest *first, **last;
};

struct headroom *headroom_new(unsigned mib)
{
	struct headroom *headroom = mem_alloc(sizeof *headroom);

	*headroom = (struct headroom){.all = mib, .left = mib};
	headroom->last = &headroom->first;
	pthread_mutex_init(&headroom->lock, NULL);
	return headroom;
}

void headroom_free(struct headroom *headroom)
{
	if (!headroom)
		return;
	assert(!headroom->first && headroom->left == headroom->all);
	pthread_mutex_destroy(&headroom->lock);
	free(headroom);
}

static unsigned needed(const struct headroom *headroom, unsigned mib)
{
	return mib < headroom->all ? mib : headroom->all;
}

static void let_in(struct headroom *headroom)
{
	while (headroom->first && headroom->first->mib <= headroom->left) {
		struct guest *guest = headroom->first;
		headroom->first = guest->next;
		if (!guest->next)
			headroom->last = &headroom->first;
		headroom->left -= guest->mib;
		guest->is_in = true;
	}
}

static void come(struct headroom *headroom, struct guest *guest)
{
	pthread_mutex_lock(&headroom->lock);
	*headroom->last = guest;
	headroom->last = &guest->next;
	let_in(headroom);
	pthread_mutex_unlock(&headroom->lock);
}

/* With the lock held. */
static void go_away(struct headroom *headroom, struct guest *guest)
{
	struct guest **at = &headroom->first;

	while (*at != guest)
		at = &(*at)->next;
	*at = guest->next;
	if (!guest->next)
		headroom->last = at;
	let_in(headroom); /* there may be enough for the next */
}

/* Whether it is in, or has waited long enough and is gone. */
static bool is_over(struct headroom *headroom, struct guest *guest, bool is_late)
{
	pthread_mutex_lock(&headroom->lock);
	bool is_over = guest->is_in || is_late;
	if (!guest->is_in && is_late)
		go_away(headroom, guest);
	pthread_mutex_unlock(&headroom->lock);
	return is_over;
}

struct err headroom_take(struct headroom *headroom, const struct env *env, unsigned mib)
{
	uint64_t until_ms = env->ops->now(env) + HEADROOM_WAIT_MS;
	struct guest guest = {.mib = needed(headroom, mib)};

	come(headroom, &guest);
	while (!is_over(headroom, &guest, env->ops->now(env) >= until_ms))
		env->ops->sleep(env, LOOK_MS);
	if (guest.is_in)
		return OK;
	return ERR(ERR_UPSTREAM, EBUSY, "too many logins at once");
}

void headroom_give(struct headroom *headroom, unsigned mib)
{
	pthread_mutex_lock(&headroom->lock);
	headroom->left += needed(headroom, mib);
	let_in(headroom);
	pthread_mutex_unlock(&headroom->lock);
}
