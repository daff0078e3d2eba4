/* SPDX-License-Identifier: MIT */
/* door.h - a listening socket. Whoever comes is accepted at once and handed on as a stream. Several
 * loops may keep the same door open: whoever is free first accepts.
 *
 * When there is no descriptor or memory for another connection, those who wait stay in the kernel's
 * queue, and the door looks again every DOOR_PAUSE_MS (L-11).
 */
#ifndef POPGATE_DOOR_H
#define POPGATE_DOOR_H

#include <sys/socket.h>

#include "proxy/base/stream.h"
#include "proxy/io/fiber.h"

enum { DOOR_PAUSE_MS = 200 };

struct door_ops {
	/* Takes the stream over. Not in a fiber. */
	void (*came)(void *owner, struct stream *);
	/* Nobody can be accepted for now; `code` is the errno. Once for each shortage. */
	void (*short_of)(void *owner, int code);
};

struct door {
	const struct door_ops *ops;
	void *owner;           /* borrowed; what ops get */
	struct fibers *fibers; /* borrowed */
	size_t in_max, out_max;
	uv_poll_t poll;
	uv_timer_t pause;
	int fd;    /* -1: closed */
	int burst; /* connections accepted until others get their turn */
	bool is_short;
};

/* Listens on `address`. `in_max`, `out_max`: octets, of the streams, see stream_init(). Gives 0, or
 * the errno with nothing left to close. */
int door_open(struct door *, struct fibers *, const struct sockaddr_storage *address,
	      const struct door_ops *, void *owner, size_t in_max, size_t out_max);

/* The same socket once more, for another loop and with another owner; at most one thread touches either
 * struct. From now on both accept few connections at a time, so that others get their share. As
 * door_open(). Before the loop of either runs. */
int door_open_also(struct door *, struct door *first, struct fibers *, void *owner);

/* Nobody comes any more by this one. A door that is closed, or that did not open, may be closed again. The struct must
 * stay until the loop has run once more. */
void door_close(struct door *);

#endif
