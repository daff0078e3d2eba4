/* SPDX-License-Identifier: MIT */
/* t_tcp.c - streams over real sockets on loopback: order, ends, stalls, aborts, dialling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/io/offload.h"
#include "proxy/io/tcp.h"
#include "proxy/io/tcp_own.h"
#include "tests/fake/loop.h"

enum { BIG = 24 * 1024 * 1024 };

/* What a test's fibers tell each other. */
struct scene {
	int fd; /* the raw peer */
	struct stream *stream;
	size_t sent, received;
	unsigned turns;
	bool is_over;
};

static struct scene *scene_of(struct bench *bench)
{
	return bench->arg;
}

static unsigned char octet_at(size_t place)
{
	return (unsigned char)(place * 31 + (place >> 11));
}

static char *big_text(void)
{
	char *text = malloc(BIG);

	for (size_t i = 0; i < BIG; i++)
		text[i] = (char)octet_at(i);
	return text;
}

static struct err read_some(struct stream *stream, char *into, size_t max, size_t *got)
{
	return stream->ops->read(stream, into, max, got);
}

static void raw_reset(int fd)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(fd);
}

/* --- order, options, ends --- */

static void meets_line(void *arg)
{
	struct bench *bench = arg;
	int fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	struct sockaddr_storage peer;
	char text[64], got[64] = "";
	const char *line;
	size_t len;
	int value = 0;
	socklen_t size = sizeof value;

	tcp_peer(stream, &peer);
	tcp_address_text(&peer, text, sizeof text);
	CHECK(bench, !strncmp(text, "127.0.0.1:", 10) && strlen(text) > 10);
	int own = tcp_fd((struct tcp *)stream);
	CHECK(bench, !getsockopt(own, IPPROTO_TCP, TCP_NODELAY, &value, &size) && value);
	CHECK(bench, !getsockopt(own, SOL_SOCKET, SO_KEEPALIVE, &value, &size) && value);
	CHECK(bench, !getsockopt(own, IPPROTO_TCP, TCP_KEEPIDLE, &value, &size) && value == 60);
	CHECK(bench, !getsockopt(own, IPPROTO_TCP, TCP_KEEPINTVL, &value, &size) && value == 15);
	CHECK(bench, !getsockopt(own, IPPROTO_TCP, TCP_KEEPCNT, &value, &size) && value == 4);
	CHECK(bench,
	      !getsockopt(own, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &size) && value == 120000);

	CHECK(bench, write(fd, "USER a\r\nPASS b\r\nQUI", 19) == 19);
	CHECK(bench,
	      !stream_line(stream, &line, &len).kind && len == 6 && !memcmp(line, "USER a", 6));
	CHECK(bench, !stream_printf(stream, "+OK one\r\n").kind);
	CHECK(bench,
	      !stream_line(stream, &line, &len).kind && len == 6 && !memcmp(line, "PASS b", 6));
	CHECK(bench, recv(fd, got, sizeof got, MSG_DONTWAIT) < 0); /* coalesced, not yet said */
	CHECK(bench, !stream_printf(stream, "+OK two\r\n").kind);
	stream_limit(stream, 20, 0);
	CHECK(bench, stream_line(stream, &line, &len).code == ETIMEDOUT);
	CHECK(bench, recv(fd, got, sizeof got, MSG_DONTWAIT) == 18);
	CHECK(bench, !memcmp(got, "+OK one\r\n+OK two\r\n", 18));
	stream_close(stream);
	CHECK(bench, recv(fd, got, sizeof got, 0) == 0);
	close(fd);
}

static void t_lines_and_options(void **state)
{
	bench_spawn(*state, meets_line);
	bench_run(*state);
}

static void meets_half_close(void *arg)
{
	struct bench *bench = arg;
	int fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	char text[16];
	size_t got;

	CHECK(bench, write(fd, "abc", 3) == 3);
	shutdown(fd, SHUT_WR);
	CHECK(bench, !read_some(stream, text, sizeof text, &got).kind && got == 3);
	for (int i = 0; i < 3; i++) {
		got = 9;
		CHECK(bench, !read_some(stream, text, sizeof text, &got).kind && got == 0);
	}
	CHECK(bench, !stream_put(stream, "still", 5).kind && !stream_flush(stream).kind);
	CHECK(bench, recv(fd, text, sizeof text, 0) == 5);
	stream_close(stream);
	close(fd);
}

static void t_half_close(void **state)
{
	bench_spawn(*state, meets_half_close);
	bench_run(*state);
}

/* Without a descriptor left, who comes waits outside, and the loop is not kept busy (L-11). */
static void meets_shortage(void *arg)
{
	struct bench *bench = arg;
	struct rlimit was, few;

	CHECK(bench, !getrlimit(RLIMIT_NOFILE, &was));
	int fd = bench_connect(bench);
	few = was;
	few.rlim_cur = 3;
	CHECK(bench, !setrlimit(RLIMIT_NOFILE, &few));
	fiber_sleep(&bench->fibers, 3 * DOOR_PAUSE_MS);
	CHECK(bench, !bench->accepted);
	CHECK(bench, bench->shortages == 1 && bench->shortage == EMFILE);
	CHECK(bench, !setrlimit(RLIMIT_NOFILE, &was));
	struct stream *stream = bench_accept(bench);
	stream_close(stream);
	close(fd);

	/* The next shortage is news again. */
	fd = bench_connect(bench);
	CHECK(bench, !setrlimit(RLIMIT_NOFILE, &few));
	fiber_sleep(&bench->fibers, 20);
	CHECK(bench, bench->shortages == 2);
	CHECK(bench, !setrlimit(RLIMIT_NOFILE, &was));
	stream_close(bench_accept(bench));
	close(fd);
}

static void t_no_descriptor_left(void **state)
{
	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);
	bench_spawn(*state, meets_shortage);
	bench_run(*state);
	getrusage(RUSAGE_SELF, &after);
	long spent_ms = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
			 before.ru_stime.tv_sec) *
				1000 +
			(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
			 before.ru_stime.tv_usec) /
				1000;
	assert_in_range(spent_ms, 0, DOOR_PAUSE_MS);
}

static void meets_exact_end(void *arg)
{
	struct bench *bench = arg;
	int fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	char text[4];
	size_t got;

	/* A read that fills its buffer makes the next one look for itself: it finds the end. */
	CHECK(bench, write(fd, "abcdefgh", 8) == 8);
	close(fd);
	CHECK(bench, !read_some(stream, text, 4, &got).kind && got == 4);
	CHECK(bench, !read_some(stream, text, 4, &got).kind && got == 4);
	CHECK(bench, !memcmp(text, "efgh", 4));
	CHECK(bench, !read_some(stream, text, 4, &got).kind && got == 0);
	CHECK(bench, !read_some(stream, text, 4, &got).kind && got == 0);
	stream_close(stream);
}

static void t_end_after_full_reads(void **state)
{
	bench_spawn(*state, meets_exact_end);
	bench_run(*state);
}

static void resets_later(void *arg)
{
	struct bench *bench = arg;

	fiber_sleep(&bench->fibers, 20);
	raw_reset(scene_of(bench)->fd);
}

static void meets_reset(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	char text[16];
	size_t got;

	scene->fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	bench_spawn(bench, resets_later);
	struct err err = read_some(stream, text, sizeof text, &got);
	CHECK(bench, err.kind == ERR_CLIENT && err.code == ECONNRESET && got == 0);
	err = stream->ops->write(stream, "x", 1);
	CHECK(bench, err.kind == ERR_CLIENT);
	err = read_some(stream, text, sizeof text, &got);
	CHECK(bench, err.kind == ERR_CLIENT);
	stream_close(stream);
}

static void t_reset(void **state)
{
	struct bench *bench = *state;
	struct scene scene = {0};

	bench->arg = &scene;
	bench_spawn(bench, meets_reset);
	bench_run(bench);
}

/* What the client sent behind its QUIT must not turn our last words into a reset. */
static void closes_with_unread(void *arg)
{
	struct bench *bench = arg;
	int fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	char got[16];
	size_t len;
	const char *line;

	CHECK(bench, write(fd, "QUIT\r\n", 6) == 6);
	CHECK(bench, !stream_line(stream, &line, &len).kind);
	CHECK(bench, write(fd, "NOOP\r\nNOOP\r\n", 12) == 12);
	CHECK(bench, !stream_printf(stream, "+OK bye\r\n").kind && !stream_flush(stream).kind);
	stream_close(stream);
	CHECK(bench, recv(fd, got, sizeof got, 0) == 9);
	CHECK(bench, recv(fd, got, sizeof got, 0) == 0);
	close(fd);
}

static void t_close_is_not_a_reset(void **state)
{
	bench_spawn(*state, closes_with_unread);
	bench_run(*state);
}

/* --- flow --- */

static void raw_sender(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	char *text = big_text();

	while (scene->sent < BIG) {
		ssize_t count =
			send(scene->fd, text + scene->sent, BIG - scene->sent, MSG_DONTWAIT);
		if (count > 0)
			scene->sent += (size_t)count;
		else
			fiber_sleep(&bench->fibers, 1);
	}
	shutdown(scene->fd, SHUT_WR);
	free(text);
}

static void on_turn(uv_prepare_t *prepare)
{
	(*(unsigned *)prepare->data)++;
}

static void slow_receiver(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	static char into[16384];
	size_t got = 1;

	CHECK(bench, !read_some(scene->stream, into, 100, &got).kind);
	scene->received = got;
	fiber_sleep(&bench->fibers, 300);
	size_t stopped_at = scene->sent;
	CHECK(bench, stopped_at < BIG);
	unsigned turns = scene->turns;
	fiber_sleep(&bench->fibers, 300);
	CHECK(bench, scene->sent == stopped_at);
	/* The sender's naps and our own turn the loop; unread octets must not. */
	CHECK(bench, scene->turns - turns < 1000);
	bool is_same = true;
	for (size_t i = 0; i < scene->received; i++)
		is_same = is_same && (unsigned char)into[i] == octet_at(i);
	while (got) {
		if (!CHECK(bench, !read_some(scene->stream, into, sizeof into, &got).kind))
			break;
		for (size_t i = 0; i < got; i++)
			is_same =
				is_same && (unsigned char)into[i] == octet_at(scene->received + i);
		scene->received += got;
	}
	CHECK(bench, is_same && scene->received == BIG);
	scene->is_over = true;
}

static void back_pressure(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	uv_prepare_t prepare;

	scene->fd = bench_connect(bench);
	scene->stream = bench_accept(bench);
	uv_prepare_init(&bench->loop, &prepare);
	prepare.data = &scene->turns;
	uv_prepare_start(&prepare, on_turn);
	bench_spawn(bench, raw_sender);
	bench_spawn(bench, slow_receiver);
	while (!scene->is_over)
		fiber_sleep(&bench->fibers, 5);
	stream_close(scene->stream);
	close(scene->fd);
	uv_close((uv_handle_t *)&prepare, NULL);
	fiber_sleep(&bench->fibers, 1);
}

static void t_slow_receiver_stops_the_sender(void **state)
{
	struct bench *bench = *state;
	struct scene scene = {0};

	bench->arg = &scene;
	bench_spawn(bench, back_pressure);
	bench_run(bench);
}

static void raw_receiver(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	static char into[65536];
	bool is_same = true;

	fiber_sleep(&bench->fibers, 200);
	CHECK(bench, !scene->is_over); /* the writer waits for us */
	while (scene->received < BIG) {
		ssize_t count = recv(scene->fd, into, sizeof into, MSG_DONTWAIT);
		if (count == 0)
			break;
		for (ssize_t i = 0; i < count; i++)
			is_same = is_same &&
				  (unsigned char)into[i] == octet_at(scene->received + (size_t)i);
		if (count > 0)
			scene->received += (size_t)count;
		else
			fiber_sleep(&bench->fibers, 1);
	}
	CHECK(bench, is_same && scene->received == BIG);
}

static void big_write(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	char *text = big_text();

	scene->fd = bench_connect(bench);
	scene->stream = bench_accept(bench);
	bench_spawn(bench, raw_receiver);
	CHECK(bench, !scene->stream->ops->write(scene->stream, text, BIG).kind);
	scene->is_over = true;
	free(text);
	stream_close(scene->stream);
	while (scene->received < BIG)
		fiber_sleep(&bench->fibers, 5);
	close(scene->fd);
}

static void t_big_write(void **state)
{
	struct bench *bench = *state;
	struct scene scene = {0};

	bench->arg = &scene;
	bench_spawn(bench, big_write);
	bench_run(bench);
}

/* While one fiber reads a full socket, another gets its turns. */
static void counts_turns(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);

	while (!scene->is_over) {
		size_t before = scene->received;
		fiber_yield(&bench->fibers);
		CHECK(bench, scene->received - before <= 64 * 1024 + 4096);
		scene->turns += scene->received > before;
	}
}

static void takes_turns(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	static char into[4096], filling[256 * 1024];
	size_t got;

	scene->fd = bench_connect(bench);
	scene->stream = bench_accept(bench);
	size_t sent = 0;
	for (ssize_t count; (count = send(scene->fd, filling, sizeof filling, MSG_DONTWAIT)) > 0;)
		sent += (size_t)count;
	shutdown(scene->fd, SHUT_WR);
	CHECK(bench, sent > 400000);
	bench_spawn(bench, counts_turns);
	do {
		CHECK(bench, !read_some(scene->stream, into, sizeof into, &got).kind);
		scene->received += got;
	} while (got);
	CHECK(bench, scene->received == sent);
	CHECK(bench, scene->turns >= sent / (64 * 1024 + 4096));
	scene->is_over = true;
	stream_close(scene->stream);
	close(scene->fd);
}

static void t_turns(void **state)
{
	struct bench *bench = *state;
	struct scene scene = {0};

	bench->arg = &scene;
	bench_spawn(bench, takes_turns);
	bench_run(bench);
}

/* --- limits and aborts --- */

static void writes_later(void *arg)
{
	struct bench *bench = arg;

	fiber_sleep(&bench->fibers, 1000);
	CHECK(bench, write(scene_of(bench)->fd, "late", 4) == 4);
}

static void read_limits(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	char text[16];
	size_t got;

	scene->fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	bench_spawn(bench, writes_later);
	uint64_t begin = bench_now_ms();
	stream_limit(stream, 40, 0);
	struct err err = read_some(stream, text, sizeof text, &got);
	CHECK(bench, err.kind == ERR_CLIENT && err.code == ETIMEDOUT);
	CHECK(bench, bench_now_ms() - begin >= 40 && bench_now_ms() - begin < 9000);
	stream_limit(stream, 10000, begin + 80);
	err = read_some(stream, text, sizeof text, &got);
	CHECK(bench, err.code == ETIMEDOUT && bench_now_ms() - begin >= 80);
	err = read_some(stream, text, sizeof text, &got); /* a moment that has passed */
	CHECK(bench, err.code == ETIMEDOUT && bench_now_ms() - begin < 9000);
	stream_limit(stream, 0, 0);
	CHECK(bench, !read_some(stream, text, sizeof text, &got).kind && got == 4);
	stream_close(stream);
	close(scene->fd);
}

static void t_read_limits(void **state)
{
	struct bench *bench = *state;
	struct scene scene = {0};

	bench->arg = &scene;
	bench_spawn(bench, read_limits);
	bench_run(bench);
}

static void write_limit(void *arg)
{
	struct bench *bench = arg;
	int fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	char *text = big_text(), into[4];
	size_t got;

	stream_limit(stream, 150, 0);
	uint64_t begin = bench_now_ms();
	struct err err = stream->ops->write(stream, text, BIG);
	free(text);
	CHECK(bench, err.kind == ERR_CLIENT && err.code == ETIMEDOUT);
	CHECK(bench, bench_now_ms() - begin >= 150 && bench_now_ms() - begin < 3000);
	CHECK(bench, stream->ops->write(stream, "x", 1).kind == ERR_CLIENT);
	CHECK(bench, read_some(stream, into, 4, &got).kind == ERR_CLIENT);
	stream_close(stream);
	close(fd);
}

static void t_write_limit(void **state)
{
	bench_spawn(*state, write_limit);
	bench_run(*state);
}

/* Reads a little now and then: so little that the kernel does not call the socket writable. */
static void sips(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	static char into[65536];

	for (int i = 0; i < 60; i++) {
		fiber_sleep(&bench->fibers, 30);
		ssize_t count = recv(scene->fd, into, sizeof into, MSG_DONTWAIT);
		scene->received += count > 0 ? (size_t)count : 0;
	}
	CHECK(bench, scene->received > 0);
	scene->is_over = true;
	stream_abort(scene->stream);
}

static void slow_is_not_stalled(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	char *text = big_text();
	int size = 16384;

	scene->fd = bench_connect(bench);
	scene->stream = bench_accept(bench);
	setsockopt(scene->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	size = 8 * 1024 * 1024;
	setsockopt(tcp_fd((struct tcp *)scene->stream), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	stream_limit(scene->stream, 1000, 0);
	bench_spawn(bench, sips);
	struct err err = scene->stream->ops->write(scene->stream, text, BIG);
	free(text);
	CHECK(bench, scene->is_over && err.code == ECANCELED);
	stream_close(scene->stream);
	scene->stream = NULL;
	close(scene->fd);
}

static void t_slow_is_not_stalled(void **state)
{
	struct bench *bench = *state;
	struct scene scene = {0};

	bench->arg = &scene;
	bench_spawn(bench, slow_is_not_stalled);
	bench_run(bench);
}

/* The last thing it does, a third of the limit after the write began. */
static void sips_once(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	static char into[65536];

	fiber_sleep(&bench->fibers, 300);
	for (int i = 0; i < 8; i++) {
		ssize_t count = recv(scene->fd, into, sizeof into, MSG_DONTWAIT);
		scene->received += count > 0 ? (size_t)count : 0;
	}
	CHECK(bench, scene->received > 0);
}

/* A peer that stopped has stalled since its last octet, and is not given the time twice. */
static void stalls_after_a_sip(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	char *text = big_text();
	int size = 65536;

	scene->fd = bench_connect(bench);
	scene->stream = bench_accept(bench);
	setsockopt(scene->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	size = 8 * 1024 * 1024;
	setsockopt(tcp_fd((struct tcp *)scene->stream), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	stream_limit(scene->stream, 1000, 0);
	bench_spawn(bench, sips_once);
	uint64_t begin = bench_now_ms();
	struct err err = scene->stream->ops->write(scene->stream, text, BIG);
	uint64_t taken = bench_now_ms() - begin;
	free(text);
	CHECK(bench, err.code == ETIMEDOUT);
	CHECK(bench, taken >= 1250);
	stream_close(scene->stream);
	scene->stream = NULL;
	close(scene->fd);
}

static void t_stalls_after_a_sip(void **state)
{
	struct bench *bench = *state;
	struct scene scene = {0};

	bench->arg = &scene;
	bench_spawn(bench, stalls_after_a_sip);
	bench_run(bench);
}

static void aborts_later(void *arg)
{
	struct bench *bench = arg;

	fiber_sleep(&bench->fibers, 30);
	stream_abort(scene_of(bench)->stream);
	stream_abort(scene_of(bench)->stream);
}

static void abort_in_read(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	char text[16];
	size_t got;

	scene->fd = bench_connect(bench);
	scene->stream = bench_accept(bench);
	bench_spawn(bench, aborts_later);
	struct err err = read_some(scene->stream, text, sizeof text, &got);
	CHECK(bench, err.kind == ERR_CLIENT && err.code == ECANCELED && got == 0);
	CHECK(bench, scene->stream->ops->write(scene->stream, "x", 1).code == ECANCELED);
	CHECK(bench, read_some(scene->stream, text, sizeof text, &got).code == ECANCELED);
	stream_close(scene->stream);
	CHECK(bench, recv(scene->fd, text, sizeof text, 0) == 0);
	close(scene->fd);
}

static void abort_in_write(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	char *text = big_text();

	scene->fd = bench_connect(bench);
	scene->stream = bench_accept(bench);
	bench_spawn(bench, aborts_later);
	struct err err = scene->stream->ops->write(scene->stream, text, BIG);
	free(text); /* libuv must not look at it any more */
	CHECK(bench, err.kind == ERR_CLIENT && err.code == ECANCELED);
	stream_close(scene->stream);
	close(scene->fd);
}

static void t_abort(void **state)
{
	struct bench *bench = *state;
	struct scene scene = {0};

	bench->arg = &scene;
	bench_spawn(bench, abort_in_read);
	bench_run(bench);
	bench_spawn(bench, abort_in_write);
	bench_run(bench);
}

/* Where no fiber runs a close frees later. */
static void on_tick(uv_timer_t *timer)
{
	struct bench *bench = timer->data;

	if (!bench->accepted)
		return;
	stream_close(bench->accepted);
	bench->accepted = NULL;
	uv_close((uv_handle_t *)timer, NULL);
}

static void t_close_outside_a_fiber(void **state)
{
	struct bench *bench = *state;
	uv_timer_t timer;
	char text[4];

	int fd = bench_connect(bench);
	uv_timer_init(&bench->loop, &timer);
	timer.data = bench;
	uv_timer_start(&timer, on_tick, 1, 1);
	bench_run(bench);
	assert_int_equal(recv(fd, text, sizeof text, 0), 0);
	close(fd);
}

/* --- dialling --- */

static void dials(void *arg)
{
	struct bench *bench = arg;
	struct stream *out, *in;
	struct sockaddr_storage peer;
	char text[64], got[8];
	size_t len;

	CHECK(bench,
	      !tcp_dial(&bench->fibers, "127.0.0.1", bench->port, "127.0.0.2", 2000, &out).kind);
	in = bench_accept(bench);
	tcp_peer(in, &peer);
	tcp_address_text(&peer, text, sizeof text);
	CHECK(bench, !strncmp(text, "127.0.0.2:", 10));
	CHECK(bench, out->kind == ERR_UPSTREAM && out->in.max == 65536 && out->out.max == 16384);
	CHECK(bench, !stream_put(out, "hello", 5).kind && !stream_flush(out).kind);
	CHECK(bench, !read_some(in, got, sizeof got, &len).kind && len == 5);
	stream_close(in);
	CHECK(bench, !read_some(out, got, sizeof got, &len).kind && len == 0);
	stream_close(out);
	/* A name: ::1, where nobody listens, must not hinder. */
	if (CHECK(bench,
		  !tcp_dial(&bench->fibers, "localhost", bench->port, NULL, 5000, &out).kind))
		stream_close(out);
	stream_close(bench_accept(bench));
}

static void t_dial(void **state)
{
	bench_spawn(*state, dials);
	bench_run(*state);
}

static unsigned closed_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&address, len) ||
	    getsockname(fd, (struct sockaddr *)&address, &len))
		abort();
	close(fd);
	return ntohs(address.sin_port);
}

/* Listens and never answers: its queue is full. Fills fds[3]. */
static unsigned silent_port(int *fds)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (fds[0] < 0 || bind(fds[0], (struct sockaddr *)&address, len) || listen(fds[0], 0) ||
	    getsockname(fds[0], (struct sockaddr *)&address, &len))
		abort();
	for (int i = 1; i < 3; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		int failed = connect(fds[i], (struct sockaddr *)&address, len);
		if (failed && errno != EINPROGRESS)
			abort();
	}
	return ntohs(address.sin_port);
}

static void close_three(const int *fds)
{
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void dials_in_vain(void *arg)
{
	struct bench *bench = arg;
	struct stream *out = (struct stream *)bench;
	struct fibers *fibers = &bench->fibers;
	int fds[3];

	struct err err = tcp_dial(fibers, "127.0.0.1", closed_port(), NULL, 2000, &out);
	CHECK(bench, err.kind == ERR_UPSTREAM && err.code == ECONNREFUSED && !out);
	uint64_t begin = bench_now_ms();
	unsigned port = silent_port(fds);
	err = tcp_dial(fibers, "127.0.0.1", port, NULL, 150, &out);
	CHECK(bench, err.kind == ERR_UPSTREAM && err.code == ETIMEDOUT && !out);
	CHECK(bench, bench_now_ms() - begin >= 150 && bench_now_ms() - begin < 30000);
	close_three(fds);
	err = tcp_dial(fibers, "a..b", 1, NULL, 5000, &out);
	CHECK(bench, err.kind == ERR_UPSTREAM && err.code != 0 && !out);
	/* The lookup outlives its dial. */
	err = tcp_dial(fibers, "localhost", 1, NULL, 0, &out);
	CHECK(bench, err.kind == ERR_UPSTREAM && err.code == ETIMEDOUT && !out);
	err = tcp_dial(fibers, "127.0.0.1", bench->port, "no address", 1000, &out);
	CHECK(bench, err.kind == ERR_UPSTREAM && err.code == EINVAL && !out);
	err = tcp_dial(fibers, "127.0.0.1", bench->port, "::1", 1000, &out);
	CHECK(bench, err.kind == ERR_UPSTREAM && err.code == EADDRNOTAVAIL && !out);
	err = tcp_dial(fibers, "127.0.0.1", bench->port, "192.0.2.1", 1000, &out);
	CHECK(bench, err.kind == ERR_UPSTREAM && err.code == EADDRNOTAVAIL && !out);
}

static void t_dial_fails(void **state)
{
	bench_spawn(*state, dials_in_vain);
	bench_run(*state);
}

/* Addresses by number: 0 is one where nobody answers, 1 one that refuses, 2 the good one. */
struct race {
	const char *to;
	uint64_t limit_ms, least_ms, most_ms;
	enum err_kind kind;
	int code;
	unsigned silent, refusing;
};

static void add_address(struct tcp_addresses *to, unsigned port)
{
	uv_ip4_addr("127.0.0.1", (int)port, (struct sockaddr_in *)&to->each[to->count++]);
}

static void races(void *arg)
{
	struct bench *bench = arg;
	const struct race *race = bench->arg;
	struct tcp_addresses to = {.count = 0};
	struct stream *out;

	for (const char *one = race->to; *one; one++)
		add_address(&to, *one == '0'   ? race->silent
				 : *one == '1' ? race->refusing
					       : bench->port);
	uint64_t begin = bench_now_ms();
	struct err err = tcp_race(&bench->fibers, &to, race->limit_ms, &out);
	uint64_t took = bench_now_ms() - begin;
	CHECK(bench, err.kind == race->kind && err.code == race->code);
	CHECK(bench, took >= race->least_ms && took < race->most_ms);
	if (!CHECK(bench, !out == (race->kind != ERR_NONE)) || !out)
		return;
	stream_close(bench_accept(bench));
	stream_close(out);
}

/* The first address never answers: the next gets its chance 250 ms later (H-03). */
static void t_happy_eyeballs(void **state)
{
	static const struct race races_to[] = {
		{"2", 5000, 0, 1500, ERR_NONE, 0, 0, 0},
		{"02", 5000, 250, 1500, ERR_NONE, 0, 0, 0},
		{"002", 5000, 500, 1500, ERR_NONE, 0, 0, 0},
		/* At once after one that refused: 250 ms each would be too long. */
		{"11111112", 5000, 0, 1500, ERR_NONE, 0, 0, 0},
		{"01111112", 5000, 250, 1500, ERR_NONE, 0, 0, 0},
		{"1111", 5000, 0, 700, ERR_UPSTREAM, ECONNREFUSED, 0, 0},
		{"01", 400, 400, 1500, ERR_UPSTREAM, ETIMEDOUT, 0, 0},
		{"02", 100, 100, 1500, ERR_UPSTREAM, ETIMEDOUT, 0, 0},
	};
	struct bench *bench = *state;
	int fds[3];
	unsigned silent = silent_port(fds);

	for (size_t i = 0; i < sizeof races_to / sizeof *races_to; i++) {
		struct race race = races_to[i];
		race.silent = silent;
		race.refusing = closed_port();
		bench->arg = &race;
		bench_spawn(bench, races);
		bench_run(bench);
	}
	close_three(fds);
}

static void t_address_text(void **state)
{
	static const struct {
		const char *address;
		int family;
		const char *text;
	} cases[] = {
		{"192.0.2.7", AF_INET, "192.0.2.7:40112"},
		{"2001:db8::1", AF_INET6, "[2001:db8::1]:40112"},
		{"", AF_UNIX, "?"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sockaddr_storage address = {0};
		char text[64];
		if (cases[i].family == AF_INET)
			uv_ip4_addr(cases[i].address, 40112, (struct sockaddr_in *)&address);
		if (cases[i].family == AF_INET6)
			uv_ip6_addr(cases[i].address, 40112, (struct sockaddr_in6 *)&address);
		tcp_address_text(&address, text, sizeof text);
		assert_string_equal(text, cases[i].text);
	}
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, bench_set_up, bench_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(t_lines_and_options),
		TEST(t_half_close),
		TEST(t_no_descriptor_left),
		TEST(t_end_after_full_reads),
		TEST(t_reset),
		TEST(t_close_is_not_a_reset),
		TEST(t_slow_receiver_stops_the_sender),
		TEST(t_big_write),
		TEST(t_turns),
		TEST(t_read_limits),
		TEST(t_write_limit),
		TEST(t_slow_is_not_stalled),
		TEST(t_stalls_after_a_sip),
		TEST(t_abort),
		TEST(t_close_outside_a_fiber),
		TEST(t_dial),
		TEST(t_dial_fails),
		TEST(t_happy_eyeballs),
		cmocka_unit_test(t_address_text),
	};
	return cmocka_run_group_tests_name("tcp", tests, NULL, NULL);
}
