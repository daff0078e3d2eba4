/* SPDX-License-Identifier: MIT */
/* post.c - letters to a worker. libuv may make one call of several wake-ups: each call reads all that
 * lies there. */
#include "proxy/post.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

struct letter {
	struct letter *next;
	void (*read)(void *arg);
	void *arg;
};

static struct letter *take_all(struct post *post)
{
	uv_mutex_lock(&post->lock);
	struct letter *first = post->first;
	post->first = NULL;
	post->last = &post->first;
	uv_mutex_unlock(&post->lock);
	return first;
}

static void on_letters(uv_async_t *async)
{
	struct letter *letter = take_all(async->data);

	while (letter) {
		struct letter *next = letter->next;
		letter->read(letter->arg);
		free(letter);
		letter = next;
	}
}

void post_init(struct post *post, uv_loop_t *loop)
{
	*post = (struct post){.last = &post->first};
	if (uv_mutex_init(&post->lock) || uv_async_init(loop, &post->async, on_letters))
		abort();
	post->async.data = post;
}

void post_send(struct post *post, void (*read)(void *arg), void *arg)
{
	struct letter *letter = mem_alloc(sizeof *letter);

	letter->read = read;
	letter->arg = arg;
	uv_mutex_lock(&post->lock);
	*post->last = letter;
	post->last = &letter->next;
	uv_mutex_unlock(&post->lock);
	uv_async_send(&post->async);
}

void post_close(struct post *post)
{
	struct letter *letter = take_all(post);

	uv_close((uv_handle_t *)&post->async, NULL);
	uv_mutex_destroy(&post->lock);
	while (letter) {
		struct letter *next = letter->next;
		free(letter);
		letter = next;
	}
}
