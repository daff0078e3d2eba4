/* SPDX-License-Identifier: MIT */
/* loop.c - a loop, its fibers and a listener. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/io/offload.h"
#include "proxy/io/tcp.h"
#include "tests/fake/loop.h"

static void on_came(void *owner, struct stream *stream)
{
	struct bench *bench = owner;

	if (bench->accepted)
		abort();
	bench->accepted = stream;
}

static void on_short(void *owner, int code)
{
	struct bench *bench = owner;

	bench->shortages++;
	bench->shortage = code;
}

static const struct door_ops door_ops = {on_came, on_short};

int bench_set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof *bench);
	struct sockaddr_storage any = {.ss_family = AF_INET};
	struct sockaddr_in *address = (struct sockaddr_in *)&any;
	socklen_t len = sizeof any;

	/* As the program does; and no test may hang. */
	signal(SIGPIPE, SIG_IGN);
	alarm(120);
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	uv_loop_init(&bench->loop);
	fibers_init(&bench->fibers, &bench->loop);
	if (door_open(&bench->door, &bench->fibers, &any, &door_ops, bench, 2048, 16384) ||
	    getsockname(bench->door.fd, (struct sockaddr *)&any, &len))
		return -1;
	uv_unref((uv_handle_t *)&bench->door.poll);
	bench->port = ntohs(address->sin_port);
	*state = bench;
	return 0;
}

int bench_tear_down(void **state)
{
	struct bench *bench = *state;

	door_close(&bench->door);
	fibers_fini(&bench->fibers);
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	int busy = uv_loop_close(&bench->loop);
	free(bench);
	return busy;
}

struct stream *bench_accept(struct bench *bench)
{
	while (!bench->accepted)
		fiber_sleep(&bench->fibers, 1);
	struct stream *stream = bench->accepted;
	bench->accepted = NULL;
	return stream;
}

int bench_connect(const struct bench *bench)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)bench->port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address))
		abort();
	return fd;
}

void bench_spawn(struct bench *bench, void (*run)(void *))
{
	struct err err = fiber_spawn(&bench->fibers, run, bench);

	bench_check(bench, !err.kind, "fiber_spawn", 0);
}

void bench_run(struct bench *bench)
{
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	if (bench->failed)
		fail_msg("line %d: %s", bench->failed_line, bench->failed);
	assert_int_equal(bench->fibers.alive, 0);
}

uint64_t bench_now_ms(void)
{
	return uv_hrtime() / 1000000;
}

bool bench_check(struct bench *bench, bool held, const char *what, int line)
{
	if (!held && !bench->failed) {
		bench->failed = what;
		bench->failed_line = line;
	}
	return held;
}
