/* SPDX-License-Identifier: MIT */
/* tcp.c - a stream over uv_tcp_t.
 *
 * Reading. libuv stays armed between reads: epoll_ctl(2) for each read would cost as much as the
 * read. libuv reads straight into the buffer of the fiber that waits. If octets come while nobody
 * waits they stay in the kernel, whose window closes in time: that is all our flow control. libuv
 * is then told that there is no buffer, and disarmed when that happens twice without a read between
 * (level-triggered epoll would spin). Where more octets are likely, because the last read filled
 * its buffer or libuv found some unasked, the next read first tries recv(2) itself.
 *
 * Writing. uv_try_write, and for what is left one uv_write that is waited for.
 *
 * A turn. The running fiber may move TURN_MAX octets, over all its streams; then it goes to the end
 * of the queue (L-09).
 *
 * Invariants: at most one fiber uses a stream at a time; `sleeper` is that fiber while it waits.
 * `into` is not NULL exactly while a read waits and is not decided. `is_writing` is true exactly
 * while libuv holds `request`, and the writer does not return before it is false: the octets are
 * the writer's. The struct is freed when libuv has let go of both handles.
 */
#include "proxy/io/tcp.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/sockios.h>
#endif

#include "proxy/base/mem.h"
#include "proxy/io/tcp_own.h"

enum {
	TURN_MAX = 64 * 1024,   /* octets */
	LINGER_MAX = 64 * 1024, /* octets thrown away before a close */
	LOOKS = 8,              /* at a peer that takes nothing, until it has stalled */
};

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

static struct err fail(const struct tcp *tcp, int code)
{
	const char *what = "connection lost";

	if (code == ETIMEDOUT)
		what = "the peer takes too long";
	else if (code == ECANCELED)
		what = "connection was ended";
	else if (code == ENOMEM)
		what = "out of memory";
	return (struct err){tcp->stream.kind, code, what};
}

static void wake(struct tcp *tcp)
{
	if (tcp->sleeper)
		fiber_wake(tcp->fibers, tcp->sleeper);
}

static void tcp_free(struct tcp *tcp)
{
	stream_fini(&tcp->stream);
	free(tcp);
}

static void on_closed(uv_handle_t *handle)
{
	struct tcp *tcp = handle->data;

	if (--tcp->closing)
		return;
	if (tcp->is_orphan)
		tcp_free(tcp);
	else
		wake(tcp);
}

void tcp_let_go(struct tcp *tcp)
{
	if (tcp->is_closed)
		return;
	tcp->is_closed = true;
	tcp->is_armed = false;
	tcp->closing = 2;
	uv_close((uv_handle_t *)&tcp->handle, on_closed);
	uv_close((uv_handle_t *)&tcp->timer, on_closed);
}

static void decide_read(struct tcp *tcp, int result, size_t got)
{
	tcp->result = result;
	tcp->got = got;
	tcp->into = NULL;
	wake(tcp);
}

/* Octets that neither libuv nor the kernel have got rid of: what shrinks while the peer takes
 * something. */
static size_t octets_unsent(const struct tcp *tcp)
{
	size_t unsent = uv_stream_get_write_queue_size((const uv_stream_t *)&tcp->handle);
#ifdef SIOCOUTQ
	int queued = 0;

	if (!ioctl(tcp_fd(tcp), SIOCOUTQ, &queued) && queued > 0)
		unsent += (size_t)queued;
#endif
	return unsent;
}

static void timer_start(struct tcp *tcp);

static void on_timer(uv_timer_t *timer)
{
	struct tcp *tcp = timer->data;
	uint64_t now = now_ms();

	/* libuv counts from when its loop last looked at the clock: that may be early. */
	if (now < tcp->deadline_ms) {
		uv_timer_start(timer, on_timer, tcp->deadline_ms - now, 0);
		return;
	}
	if (tcp->into) {
		decide_read(tcp, UV_ETIMEDOUT, 0);
		return;
	}
	if (!tcp->is_writing)
		return;
	/* The kernel says "writable" only when a good part of its buffer is free. A slow peer that
	 * takes octets all the time is not a stalled one. */
	size_t unsent = octets_unsent(tcp);
	if (unsent < tcp->unsent) {
		tcp->unsent = unsent;
		tcp->moved_ms = now;
	}
	bool is_over = tcp->until_ms && now >= tcp->until_ms;
	if (!is_over && (!tcp->wait_ms || now - tcp->moved_ms < tcp->wait_ms)) {
		timer_start(tcp);
		return;
	}
	tcp->broken = ETIMEDOUT;
	tcp_let_go(tcp);
}

static void timer_start(struct tcp *tcp)
{
	uint64_t now = now_ms();
	uint64_t deadline = tcp->wait_ms ? now + tcp->wait_ms : 0;

	if (deadline && tcp->is_writing) {
		/* The moment of the last octet is known as well as we look for it. */
		uint64_t look = now + tcp->wait_ms / LOOKS + 1;
		deadline = tcp->moved_ms + tcp->wait_ms;
		deadline = look < deadline ? look : deadline;
	}
	if (tcp->until_ms && (!deadline || tcp->until_ms < deadline))
		deadline = tcp->until_ms;
	tcp->deadline_ms = deadline;
	if (deadline)
		uv_timer_start(&tcp->timer, on_timer, deadline > now ? deadline - now : 0, 0);
}

static void timer_stop(struct tcp *tcp)
{
	tcp->deadline_ms = 0;
	if (!tcp->is_closed)
		uv_timer_stop(&tcp->timer);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct tcp *tcp = handle->data;

	(void)suggested;
	*buf = uv_buf_init(tcp->into, tcp->into ? (unsigned)tcp->max : 0);
}

static void disarm(struct tcp *tcp)
{
	if (tcp->is_armed)
		uv_read_stop((uv_stream_t *)&tcp->handle);
	tcp->is_armed = false;
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buf)
{
	struct tcp *tcp = handle->data;

	(void)buf;
	if (count > 0) {
		tcp->is_more_likely = (size_t)count == tcp->max;
		decide_read(tcp, 0, (size_t)count);
	} else if (count == UV_ENOBUFS) {
		tcp->is_more_likely = true;
		if (++tcp->unasked > 1)
			disarm(tcp);
	} else if (count == UV_EOF) {
		tcp->is_ended = true;
		disarm(tcp);
		if (tcp->into)
			decide_read(tcp, 0, 0);
	} else if (count < 0) {
		tcp->broken = (int)-count;
		disarm(tcp);
		if (tcp->into)
			decide_read(tcp, (int)count, 0);
	}
}

static void take_turns(struct tcp *tcp)
{
	if (tcp->fibers->turn_octets >= TURN_MAX)
		fiber_yield(tcp->fibers);
}

/* recv(2) without libuv. True if that decided the read. */
static bool read_at_once(struct tcp *tcp, void *into, size_t max, size_t *got)
{
	ssize_t count;

	if (!tcp->is_more_likely)
		return false;
	do
		count = recv(tcp_fd(tcp), into, max, MSG_DONTWAIT);
	while (count < 0 && errno == EINTR);
	tcp->is_more_likely = count > 0 && (size_t)count == max;
	if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	tcp->unasked = 0;
	if (count < 0) {
		tcp->broken = errno;
	} else if (!count) {
		tcp->is_ended = true;
	} else {
		*got = (size_t)count;
		tcp->fibers->turn_octets += *got;
		return true;
	}
	disarm(tcp);
	return true;
}

static struct err wait_for_read(struct tcp *tcp, void *into, size_t max)
{
	tcp->unasked = 0;
	if (!tcp->is_armed) {
		int failed = uv_read_start((uv_stream_t *)&tcp->handle, on_room, on_read);
		if (failed)
			return fail(tcp, -failed);
		tcp->is_armed = true;
	}
	tcp->into = into;
	tcp->max = max;
	tcp->sleeper = tcp->fibers->current;
	timer_start(tcp);
	while (tcp->into)
		fiber_wait(tcp->fibers,
			   tcp->stream.kind == ERR_CLIENT ? "read client" : "read upstream");
	timer_stop(tcp);
	tcp->sleeper = NULL;
	tcp->fibers->turn_octets += tcp->got;
	return tcp->result ? fail(tcp, -tcp->result) : OK;
}

static struct err tcp_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct tcp *tcp = (struct tcp *)stream;

	*got = 0;
	assert(!tcp->sleeper && max);
	take_turns(tcp);
	if (tcp->broken)
		return fail(tcp, tcp->broken);
	if (tcp->is_ended)
		return OK;
	if (read_at_once(tcp, into, max, got))
		return tcp->broken ? fail(tcp, tcp->broken) : OK;
	tcp->got = 0;
	TRY(wait_for_read(tcp, into, max));
	*got = tcp->got;
	return OK;
}

static void on_written(uv_write_t *request, int status)
{
	struct tcp *tcp = request->data;

	tcp->is_writing = false;
	tcp->result = status;
	wake(tcp);
}

/* TCP_USER_TIMEOUT counts a closed window too: it must not be shorter than what we grant. */
static void outwait_kernel(struct tcp *tcp)
{
#ifdef TCP_USER_TIMEOUT
	if (tcp->wait_ms <= tcp->unacked_ms || tcp->wait_ms > INT_MAX)
		return;
	tcp->unacked_ms = (unsigned)tcp->wait_ms;
	setsockopt(tcp_fd(tcp), IPPROTO_TCP, TCP_USER_TIMEOUT, &tcp->unacked_ms,
		   sizeof tcp->unacked_ms);
#else
	(void)tcp;
#endif
}

static struct err wait_for_write(struct tcp *tcp, const char *octets, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)octets, (unsigned)len);
	int failed = uv_write(&tcp->request, (uv_stream_t *)&tcp->handle, &buf, 1, on_written);

	if (failed) {
		tcp->broken = -failed;
		return fail(tcp, -failed);
	}
	tcp->is_writing = true;
	outwait_kernel(tcp);
	tcp->unsent = octets_unsent(tcp);
	tcp->moved_ms = now_ms();
	tcp->sleeper = tcp->fibers->current;
	timer_start(tcp);
	while (tcp->is_writing)
		fiber_wait(tcp->fibers,
			   tcp->stream.kind == ERR_CLIENT ? "write client" : "write upstream");
	timer_stop(tcp);
	tcp->sleeper = NULL;
	if (tcp->result && !tcp->broken)
		tcp->broken = -tcp->result;
	return tcp->broken ? fail(tcp, tcp->broken) : OK;
}

static struct err tcp_write(struct stream *stream, const void *octets, size_t len)
{
	struct tcp *tcp = (struct tcp *)stream;
	const char *from = octets;
	enum { WRITE_ONCE = 1 << 30 }; /* libuv's lengths are unsigned int, its results int */

	assert(!tcp->sleeper);
	while (len) {
		take_turns(tcp);
		if (tcp->broken)
			return fail(tcp, tcp->broken);
		size_t part = len < WRITE_ONCE ? len : WRITE_ONCE;
		uv_buf_t buf = uv_buf_init((char *)from, (unsigned)part);
		int count = uv_try_write((uv_stream_t *)&tcp->handle, &buf, 1);
		if (count < 0 && count != UV_EAGAIN) {
			tcp->broken = -count;
			return fail(tcp, tcp->broken);
		}
		size_t done = count > 0 ? (size_t)count : 0;
		if (done < part)
			TRY(wait_for_write(tcp, from + done, part - done));
		tcp->fibers->turn_octets += done;
		from += part;
		len -= part;
	}
	return OK;
}

static void tcp_limit(struct stream *stream, uint64_t wait_ms, uint64_t until_ms)
{
	struct tcp *tcp = (struct tcp *)stream;

	tcp->wait_ms = wait_ms;
	tcp->until_ms = until_ms;
}

static void tcp_abort(struct stream *stream)
{
	struct tcp *tcp = (struct tcp *)stream;

	if (!tcp->broken)
		tcp->broken = ECANCELED;
	tcp_let_go(tcp);
	if (tcp->into)
		decide_read(tcp, UV_ECANCELED, 0);
}

/* Octets that we leave unread make close(2) send a reset, which may reach the peer before our last
 * reply and destroy it there. */
static void discard_unread(struct tcp *tcp)
{
	char trash[1024];
	int fd = tcp_fd(tcp);

	for (size_t all = 0; fd >= 0 && all < LINGER_MAX;) {
		ssize_t count = recv(fd, trash, sizeof trash, MSG_DONTWAIT);
		if (count <= 0)
			break;
		all += (size_t)count;
	}
}

static void tcp_close(struct stream *stream)
{
	struct tcp *tcp = (struct tcp *)stream;

	assert(!tcp->sleeper);
	if (tcp->is_adrift) {
		close(tcp->adrift_fd);
		tcp_free(tcp);
		return;
	}
	if (!tcp->is_closed)
		discard_unread(tcp);
	tcp_let_go(tcp);
	if (!tcp->fibers->current && tcp->closing) {
		tcp->is_orphan = true;
		return;
	}
	tcp->sleeper = tcp->fibers->current;
	while (tcp->closing)
		fiber_wait(tcp->fibers, "close");
	tcp_free(tcp);
}

const struct stream_ops tcp_ops = {
	.read = tcp_read,
	.write = tcp_write,
	.limit = tcp_limit,
	.abort = tcp_abort,
	.close = tcp_close,
};
