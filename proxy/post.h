/* SPDX-License-Identifier: MIT */
/* post.h - letters to a worker: calls that any thread asks for and the loop's own thread makes, in the
 * order in which they were sent. */
#ifndef POPGATE_POST_H
#define POPGATE_POST_H

#include <uv.h>

struct letter;
struct post {
	uv_async_t async;
	uv_mutex_t lock;
	struct letter *first, **last; /* not yet read */
};

/* Keeps the loop alive until post_close(). Dies if libuv refuses. */
void post_init(struct post *, uv_loop_t *);
/* Has read(arg) called by the loop, not in a fiber. From any thread. */
void post_send(struct post *, void (*read)(void *arg), void *arg);
/* When the loop has ended, which must run once more. Letters that nobody read are dropped. */
void post_close(struct post *);

#endif
