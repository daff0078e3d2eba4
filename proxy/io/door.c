/* SPDX-License-Identifier: MIT */
/* door.c - accept(2) by hand, over uv_poll_t.
 *
 * uv_listen() has a loop that ends when accept(2) says that nobody is left. Out of descriptors it
 * throws connections away by means of a spare one; but a thread of the pool may take the spare, and
 * then the loop calls back with EMFILE for ever, while no session can end and give a descriptor
 * back.
 */
#include "proxy/io/door.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "proxy/io/tcp.h"

enum {
	BACKLOG = 1024, /* connections the kernel keeps for us */
	BURST = 128,    /* accepted until others get their turn */
	SHARE = 4, /* the same where another loop may be idle: a handshake costs milliseconds */
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct door *door)
{
	uv_poll_start(&door->poll, UV_READABLE, on_ready);
}

static void on_pause_over(uv_timer_t *timer)
{
	watch(timer->data);
}

static void pause_for(struct door *door, int code)
{
	uv_poll_stop(&door->poll);
	uv_timer_start(&door->pause, on_pause_over, DOOR_PAUSE_MS, 0);
	if (!door->is_short)
		door->ops->short_of(door->owner, code);
	door->is_short = true;
}

/* What happened to one connection, and not to us (accept(2), "Error handling"). */
static bool is_its_own(int code)
{
	return code == ECONNABORTED || code == EPROTO || code == EINTR || code == EPERM ||
	       code == ENETDOWN || code == ENOPROTOOPT || code == EHOSTDOWN || code == ENONET ||
	       code == EHOSTUNREACH || code == EOPNOTSUPP || code == ENETUNREACH;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct door *door = poll->data;
	struct stream *stream;

	(void)status;
	(void)events;
	for (int i = 0; i < door->burst && door->fd >= 0; i++) {
		struct err err =
			tcp_accept(door->fibers, door->fd, door->in_max, door->out_max, &stream);
		if (err.code == EAGAIN || err.code == EWOULDBLOCK) {
			door->is_short = false;
			return;
		}
		if (!err.kind) {
			door->ops->came(door->owner, stream);
		} else if (!is_its_own(err.code)) {
			pause_for(door, err.code);
			return;
		}
	}
}

static int listen_on(const struct sockaddr_storage *address, int *fd)
{
	bool is_six = address->ss_family == AF_INET6;
	socklen_t len = is_six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int yes = 1;

	*fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return errno;
	tcp_set_options(*fd);
	if (!setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) &&
	    (!is_six || !setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes)) &&
	    !bind(*fd, (const struct sockaddr *)address, len) && !listen(*fd, BACKLOG))
		return 0;
	int code = errno;
	close(*fd);
	return code;
}

/* Watches the socket, which is ours from now on, if it is to be. */
static int open_on(struct door *door, int fd)
{
	int failed = uv_poll_init(door->fibers->loop, &door->poll, fd);

	if (failed) {
		close(fd);
		return -failed;
	}
	uv_timer_init(door->fibers->loop, &door->pause);
	door->poll.data = door->pause.data = door;
	door->fd = fd;
	watch(door);
	return 0;
}

int door_open(struct door *door, struct fibers *fibers, const struct sockaddr_storage *address,
	      const struct door_ops *ops, void *owner, size_t in_max, size_t out_max)
{
	*door = (struct door){.ops = ops,
			      .owner = owner,
			      .fibers = fibers,
			      .in_max = in_max,
			      .out_max = out_max,
			      .fd = -1,
			      .burst = BURST};
	int fd, code = listen_on(address, &fd);

	return code ? code : open_on(door, fd);
}

int door_open_also(struct door *door, struct door *first, struct fibers *fibers, void *owner)
{
	*door = (struct door){.ops = first->ops,
			      .owner = owner,
			      .fibers = fibers,
			      .in_max = first->in_max,
			      .out_max = first->out_max,
			      .fd = -1,
			      .burst = SHARE};
	/* A descriptor of its own, so that each can close when it likes. */
	int fd = fcntl(first->fd, F_DUPFD_CLOEXEC, 0);

	first->burst = SHARE;
	return fd < 0 ? errno : open_on(door, fd);
}

void door_close(struct door *door)
{
	if (door->fd < 0)
		return;
	uv_close((uv_handle_t *)&door->poll, NULL);
	uv_close((uv_handle_t *)&door->pause, NULL);
	close(door->fd);
	door->fd = -1;
}
