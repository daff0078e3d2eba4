/* SPDX-License-Identifier: MIT */
/* tcp_move.c - a tcp stream goes from one loop to another.
 *
 * libuv has no way to take a handle off its loop but to close it. So the connection gets a second
 * descriptor, which outlives the handle, and a new handle around that on the other loop. libuv is told
 * by epoll's level whether octets wait, so that none is missed in between.
 */
#include "proxy/io/tcp.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/io/tcp_own.h"

struct err tcp_detach(struct stream *stream)
{
	struct tcp *tcp = (struct tcp *)stream;

	assert(!tcp->sleeper && !tcp->is_writing && !tcp->is_adrift);
	if (tcp->broken || tcp->is_closed)
		return (struct err){stream->kind, tcp->broken, "connection lost"};
	int fd = fcntl(tcp_fd(tcp), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return (struct err){stream->kind, errno, "no descriptor to move a connection"};
	tcp_let_go(tcp);
	tcp->sleeper = tcp->fibers->current;
	while (tcp->closing)
		fiber_wait(tcp->fibers, "move");
	tcp->sleeper = NULL;
	tcp->fibers = NULL;
	tcp->adrift_fd = fd;
	tcp->is_adrift = true;
	return OK;
}

void tcp_attach(struct stream *stream, struct fibers *fibers)
{
	struct tcp *tcp = (struct tcp *)stream;
	int failed;

	assert(tcp->is_adrift);
	tcp->is_adrift = false;
	tcp->is_closed = false;
	tcp->is_more_likely = true; /* nobody has looked for a while */
	tcp->fibers = fibers;
	uv_timer_init(fibers->loop, &tcp->timer);
	failed = uv_tcp_init(fibers->loop, &tcp->handle);
	assert(!failed); /* without flags it makes no socket and cannot fail */
	tcp->handle.data = tcp->timer.data = tcp->request.data = tcp;
	failed = uv_tcp_open(&tcp->handle, tcp->adrift_fd);
	if (!failed)
		return;
	close(tcp->adrift_fd);
	if (!tcp->broken)
		tcp->broken = -failed;
}
