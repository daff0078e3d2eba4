/* SPDX-License-Identifier: MIT */
/* t_move.c - a tcp stream goes from one loop to another, on another thread, and loses nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/io/tcp.h"
#include "tests/fake/loop.h"

enum { ROUNDS = 200 };

/* A second loop with its thread, and what is between the two. */
struct other {
	uv_loop_t loop;
	struct fibers fibers;
	uv_async_t arrives, back;
	uv_thread_t thread;
	struct bench *bench;
	struct stream *stream;
	struct fiber *sleeper; /* on the first loop, until the stream is back */
	bool is_back;
	unsigned rounds;
	const char *failed;
};

static bool read_one(struct stream *stream, char expected)
{
	char got;
	size_t len;
	struct err err = stream_read(stream, &got, 1, &len);

	return !err.kind && len == 1 && got == expected;
}

/* Over there: reads an octet, answers, sends it back. */
static void serves(void *arg)
{
	struct other *other = arg;
	char octet = (char)('a' + other->rounds % 26);

	if (!read_one(other->stream, octet))
		other->failed = "the second thread reads something else";
	struct err err = stream_put(other->stream, &octet, 1);
	if (!err.kind)
		err = stream_flush(other->stream);
	if (!err.kind)
		err = tcp_detach(other->stream);
	if (err.kind)
		other->failed = err.what;
	uv_async_send(&other->back);
}

static void on_arrival(uv_async_t *async)
{
	struct other *other = async->data;

	if (!other->stream) {
		fibers_fini(&other->fibers);
		uv_close((uv_handle_t *)async, NULL);
		return;
	}
	tcp_attach(other->stream, &other->fibers);
	struct err err = fiber_spawn(&other->fibers, serves, other);
	if (err.kind)
		other->failed = err.what;
}

static void on_back(uv_async_t *async)
{
	struct other *other = async->data;

	other->is_back = true;
	fiber_wake(&other->bench->fibers, other->sleeper);
}

static void run_other(void *arg)
{
	struct other *other = arg;

	uv_run(&other->loop, UV_RUN_DEFAULT);
}

static void send_over(struct bench *bench, struct other *other)
{
	other->is_back = false;
	CHECK(bench, !tcp_detach(other->stream).kind);
	uv_async_send(&other->arrives);
	while (!other->is_back)
		fiber_wait(&bench->fibers, "back");
	tcp_attach(other->stream, &bench->fibers);
}

static void goes_to_and_fro(void *arg)
{
	struct bench *bench = arg;
	struct other *other = bench->arg;
	int fd = bench_connect(bench);
	char got;

	other->sleeper = bench->fibers.current;
	other->stream = bench_accept(bench);
	for (other->rounds = 0; other->rounds < ROUNDS; other->rounds++) {
		char octets[2] = {'-', (char)('a' + other->rounds % 26)};
		/* The first is read here; what came with it waits in the stream, or in the kernel. */
		CHECK(bench, write(fd, octets, 2) == 2);
		CHECK(bench, read_one(other->stream, '-'));
		send_over(bench, other);
		CHECK(bench, read(fd, &got, 1) == 1 && got == octets[1]);
	}
	close(fd);
	CHECK(bench, stream_await(other->stream).code == ENODATA);
	stream_close(other->stream);
	other->stream = NULL;
	uv_async_send(&other->arrives);
	uv_close((uv_handle_t *)&other->back, NULL);
}

static void t_to_and_fro(void **state)
{
	struct bench *bench = *state;
	struct other *other = calloc(1, sizeof *other);

	other->bench = bench;
	bench->arg = other;
	assert_int_equal(uv_loop_init(&other->loop), 0);
	fibers_init(&other->fibers, &other->loop);
	uv_async_init(&other->loop, &other->arrives, on_arrival);
	uv_async_init(&bench->loop, &other->back, on_back);
	other->arrives.data = other->back.data = other;
	assert_int_equal(uv_thread_create(&other->thread, run_other, other), 0);
	bench_spawn(bench, goes_to_and_fro);
	bench_run(bench);
	uv_thread_join(&other->thread);
	assert_null(other->failed);
	assert_int_equal(uv_loop_close(&other->loop), 0);
	free(other);
}

/* Between two loops it can be thrown away, which the peer notices. */
static void ends_adrift(void *arg)
{
	struct bench *bench = arg;
	int fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	char got;

	CHECK(bench, !tcp_detach(stream).kind);
	stream_close(stream);
	CHECK(bench, read(fd, &got, 1) == 0);
	close(fd);
}

static void t_ends_adrift(void **state)
{
	bench_spawn(*state, ends_adrift);
	bench_run(*state);
}

/* Aborted before: it stays where it is, and fails. */
static void stays(void *arg)
{
	struct bench *bench = arg;
	int fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);

	stream_abort(stream);
	CHECK(bench, tcp_detach(stream).kind == ERR_CLIENT);
	stream_close(stream);
	close(fd);
}

static void t_stays(void **state)
{
	bench_spawn(*state, stays);
	bench_run(*state);
}

/* Aborted by another fiber while libuv lets go: it arrives, and fails there. */
static void aborts(void *arg)
{
	struct bench *bench = arg;

	stream_abort(bench->arg);
}

static void arrives_broken(void *arg)
{
	struct bench *bench = arg;
	int fd = bench_connect(bench);
	struct stream *stream = bench_accept(bench);
	char octet;
	size_t got;

	bench->arg = stream;
	bench_spawn(bench, aborts);
	CHECK(bench, !tcp_detach(stream).kind);
	tcp_attach(stream, &bench->fibers);
	CHECK(bench, stream->ops->read(stream, &octet, 1, &got).code == ECANCELED);
	stream_close(stream);
	CHECK(bench, read(fd, &octet, 1) == 0);
	close(fd);
}

static void t_arrives_broken(void **state)
{
	bench_spawn(*state, arrives_broken);
	bench_run(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(t_to_and_fro, bench_set_up, bench_tear_down),
		cmocka_unit_test_setup_teardown(t_ends_adrift, bench_set_up, bench_tear_down),
		cmocka_unit_test_setup_teardown(t_stays, bench_set_up, bench_tear_down),
		cmocka_unit_test_setup_teardown(t_arrives_broken, bench_set_up, bench_tear_down),
	};

	return cmocka_run_group_tests_name("move", tests, NULL, NULL);
}
