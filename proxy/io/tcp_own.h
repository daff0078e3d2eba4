/* SPDX-License-Identifier: MIT */
/* tcp_own.h - what tcp.c, tcp_open.c and dial.c share and nobody else may know. */
#ifndef POPGATE_TCP_OWN_H
#define POPGATE_TCP_OWN_H

#include <netinet/in.h>

#include "proxy/base/stream.h"
#include "proxy/io/fiber.h"

enum {
	ALIVE_IDLE_S = 60, /* G-06: first probe, seconds between probes, probes */
	ALIVE_PROBE_S = 15,
	ALIVE_PROBES = 4,
	UNACKED_MS = 120 * 1000, /* TCP_USER_TIMEOUT: 60 + 4 * 15 seconds */
};

struct tcp {
	struct stream stream;  /* first: a stream is cast to this */
	struct fibers *fibers; /* borrowed: lives as long as the worker */
	uv_tcp_t handle;
	uv_timer_t timer;
	uv_write_t request;
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} peer;
	struct fiber *sleeper;
	char *into;
	size_t max, got; /* octets: asked and delivered */
	int result;      /* libuv's word on the wait, 0 or a negative errno */
	int broken;      /* errno that all later calls fail with; 0: sound */
	uint64_t wait_ms, until_ms;
	uint64_t deadline_ms; /* of the running wait; 0: none */
	size_t unsent;        /* octets not yet acknowledged at moved_ms */
	uint64_t moved_ms;    /* when the peer was last seen to take something of this write */
	unsigned unasked;     /* times that libuv had octets and nobody wanted them */
	unsigned closing;     /* handles that libuv has not let go of */
	bool is_armed;        /* uv_read_start */
	bool is_more_likely;  /* recv(2) before a wait may give something */
	bool is_ended;        /* the peer's side */
	bool is_writing;
	bool is_orphan;      /* closed where no fiber could wait: freed by libuv's last callback */
	unsigned unacked_ms; /* TCP_USER_TIMEOUT, where there is one */
	bool is_closed;      /* uv_close was called */
	bool is_adrift;      /* between two loops: there are no handles, but `adrift_fd` */
	int adrift_fd;
};

extern const struct stream_ops tcp_ops;

/* The descriptor, or -1 when libuv has it no more. */
int tcp_fd(const struct tcp *);

/* A stream around a handle without a connection. Until it is connected only abort and close are for
 * it. An error of `kind` if libuv refuses. */
struct err tcp_new(struct fibers *, enum err_kind kind, size_t in_max, size_t out_max,
		   struct tcp **out) MUST_USE;

/* Gives both handles back to libuv, if that was not done; on_closed wakes `sleeper` when it has let go. A
 * write that is under way comes back with ECANCELED. */
void tcp_let_go(struct tcp *);

/* The connection that was dialled is there: sets its options and learns the peer's address. */
void tcp_connected(struct tcp *);

enum { TCP_ADDRESSES_MAX = 8 }; /* tried of one host */

struct tcp_addresses {
	struct sockaddr_storage each[TCP_ADDRESSES_MAX];
	size_t count;
};

/* tcp_dial() once the addresses are known, in their order: for its test, which cannot make a name
 * server answer. */
struct err tcp_race(struct fibers *, const struct tcp_addresses *, uint64_t limit_ms,
		    struct stream **out) MUST_USE;

#endif
