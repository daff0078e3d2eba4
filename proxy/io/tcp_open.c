/* SPDX-License-Identifier: MIT */
/* tcp_open.c - how a tcp stream comes to be: its handle, its socket options, its peer. */
#include "proxy/io/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/io/tcp_own.h"

static void tcp_describe(const struct stream *stream, struct buf *out)
{
	const struct tcp *tcp = (const struct tcp *)stream;
	char name[64] = "?";
	bool is_six = tcp->peer.any.sa_family == AF_INET6;

	if (is_six)
		uv_ip6_name(&tcp->peer.in6, name, sizeof name);
	else
		uv_ip4_name(&tcp->peer.in, name, sizeof name);
	(void)!buf_printf(out, "address: %s%s%s:%u\n", is_six ? "[" : "", name, is_six ? "]" : "",
			  ntohs(is_six ? tcp->peer.in6.sin6_port : tcp->peer.in.sin_port));
}

static bool tcp_is_quiet(const struct stream *stream)
{
	const struct tcp *tcp = (const struct tcp *)stream;
	char octet;

	return !tcp->broken && !tcp->is_closed &&
	       recv(tcp_fd(tcp), &octet, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

struct err tcp_new(struct fibers *fibers, enum err_kind kind, size_t in_max, size_t out_max,
		   struct tcp **out)
{
	struct tcp *tcp = mem_alloc(sizeof *tcp);

	*out = NULL;
	stream_init(&tcp->stream, &tcp_ops, kind, in_max, out_max);
	tcp->stream.describe = tcp_describe;
	tcp->stream.is_quiet = tcp_is_quiet;
	tcp->unacked_ms = UNACKED_MS;
	tcp->fibers = fibers;
	int failed = uv_tcp_init(fibers->loop, &tcp->handle);
	if (failed) {
		free(tcp);
		return (struct err){kind, -failed, "no socket"};
	}
	uv_timer_init(fibers->loop, &tcp->timer);
	tcp->handle.data = tcp->timer.data = tcp->request.data = tcp;
	*out = tcp;
	return OK;
}

int tcp_fd(const struct tcp *tcp)
{
	uv_os_fd_t fd;

	return uv_fileno((const uv_handle_t *)&tcp->handle, &fd) ? -1 : fd;
}

static void peer_set(struct tcp *tcp, const struct sockaddr_storage *peer)
{
	memcpy(&tcp->peer, peer, sizeof tcp->peer);
	/* An IPv4 client of an IPv6 socket is an IPv4 client. */
	if (peer->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&tcp->peer.in6.sin6_addr)) {
		struct sockaddr_in in = {.sin_family = AF_INET,
					 .sin_port = tcp->peer.in6.sin6_port};
		memcpy(&in.sin_addr, tcp->peer.in6.sin6_addr.s6_addr + 12, 4);
		memset(&tcp->peer, 0, sizeof tcp->peer);
		tcp->peer.in = in;
	}
}

static void set_option(int fd, int level, int name, int value)
{
	/* A connection that died meanwhile refuses; its first read will say so. */
	(void)setsockopt(fd, level, name, &value, sizeof value);
}

/* By hand: libuv has values of its own for two of these, and each call of the kernel is felt where
 * sessions are short. */
void tcp_set_options(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPINTVL
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, ALIVE_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, ALIVE_PROBE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, ALIVE_PROBES);
#endif
#ifdef TCP_USER_TIMEOUT
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS);
#endif
}

void tcp_connected(struct tcp *tcp)
{
	struct sockaddr_storage peer;
	int len = sizeof peer;

	if (!uv_tcp_getpeername(&tcp->handle, (struct sockaddr *)&peer, &len))
		peer_set(tcp, &peer);
	tcp_set_options(tcp_fd(tcp));
}

struct err tcp_accept(struct fibers *fibers, int listener, size_t in_max, size_t out_max,
		      struct stream **out)
{
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof peer;
	struct tcp *tcp;

	*out = NULL;
	int fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return (struct err){ERR_CLIENT, errno, "cannot accept"};
	struct err err = tcp_new(fibers, ERR_CLIENT, in_max, out_max, &tcp);
	if (err.kind) {
		close(fd);
		return err;
	}
	int failed = uv_tcp_open(&tcp->handle, fd);
	if (failed) {
		close(fd);
		stream_close(&tcp->stream);
		return (struct err){ERR_CLIENT, -failed, "cannot accept"};
	}
	peer_set(tcp, &peer);
	*out = &tcp->stream;
	return OK;
}

void tcp_peer(const struct stream *stream, struct sockaddr_storage *out)
{
	const struct tcp *tcp = (const struct tcp *)stream;

	memset(out, 0, sizeof *out);
	memcpy(out, &tcp->peer, sizeof tcp->peer);
}

void tcp_address_text(const struct sockaddr_storage *address, char *out, size_t size)
{
	char name[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

	if (address->ss_family == AF_INET) {
		uv_ip4_name(in, name, sizeof name);
		snprintf(out, size, "%s:%u", name, ntohs(in->sin_port));
	} else if (address->ss_family == AF_INET6) {
		uv_ip6_name(in6, name, sizeof name);
		snprintf(out, size, "[%s]:%u", name, ntohs(in6->sin6_port));
	} else {
		snprintf(out, size, "?");
	}
}
