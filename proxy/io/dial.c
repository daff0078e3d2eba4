/* SPDX-License-Identifier: MIT */
/* dial.c - a connection to a host: its addresses by libuv's pool, then several at once (RFC 8305).
 *
 * Families take turns, the resolver's first choice first. The next address is tried 250 ms after
 * the last, or at once when that has failed. The first that connects wins, the others are closed.
 * One limit covers it all. A lookup that outlives the limit cannot be stopped once a thread has it,
 * so it lives on its own and frees itself.
 *
 * Invariant: struct dial is on the heap and is freed when libuv holds nothing that points to it.
 */
#include "proxy/io/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/io/tcp_own.h"

enum {
	STAGGER_MS = 250, /* RFC 8305 section 5 */
	DIAL_IN_MAX = 64 * 1024,
	DIAL_OUT_MAX = 16 * 1024,
};

struct attempt {
	uv_connect_t request;
	struct tcp *tcp; /* owned until it wins; NULL: not begun, or failed and closed */
	struct dial *dial;
	int result; /* libuv's word */
	bool is_decided;
};

struct dial {
	struct fibers *fibers; /* borrowed */
	struct fiber *fiber;   /* who waits */
	uv_timer_t timer;
	bool is_timer_closed;
	uint64_t until_ms;
	struct tcp_addresses to;
	struct attempt attempts[TCP_ADDRESSES_MAX];
	size_t begun;  /* of attempts */
	int last_code; /* why the last attempt failed */
};

struct lookup {
	uv_getaddrinfo_t request;
	struct dial *dial; /* NULL: given up */
	struct addrinfo *found;
	int result;
	bool is_done;
};

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

static void on_timer(uv_timer_t *timer)
{
	struct dial *dial = timer->data;

	fiber_wake(dial->fibers, dial->fiber);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct dial *dial = handle->data;

	dial->is_timer_closed = true;
	fiber_wake(dial->fibers, dial->fiber);
}

/* Until something happens, but not beyond `until_ms`. */
static void dial_wait(struct dial *dial, uint64_t until_ms, const char *label)
{
	uint64_t now = now_ms();

	if (until_ms <= now)
		return;
	uv_update_time(dial->fibers->loop);
	uv_timer_start(&dial->timer, on_timer, until_ms - now, 0);
	fiber_wait(dial->fibers, label);
	uv_timer_stop(&dial->timer);
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct lookup *lookup = request->data;

	if (!lookup->dial) {
		uv_freeaddrinfo(found);
		free(lookup);
		return;
	}
	lookup->result = status;
	lookup->found = found;
	lookup->is_done = true;
	fiber_wake(lookup->dial->fibers, lookup->dial->fiber);
}

/* Takes what `source`'s family allows, families in turn, each in the resolver's order. */
static void take_addresses(struct dial *dial, const struct addrinfo *found, int only_family)
{
	const struct addrinfo *next[2] = {found, found};
	int families[2] = {found ? found->ai_family : AF_INET, AF_INET6};

	if (families[0] == AF_INET6)
		families[1] = AF_INET;
	for (int turn = 0; (next[0] || next[1]) && dial->to.count < TCP_ADDRESSES_MAX;
	     turn = !turn) {
		const struct addrinfo *one = next[turn];
		while (one && (one->ai_family != families[turn] ||
			       (only_family && one->ai_family != only_family)))
			one = one->ai_next;
		next[turn] = one ? one->ai_next : NULL;
		if (one)
			memcpy(&dial->to.each[dial->to.count++], one->ai_addr, one->ai_addrlen);
	}
}

static struct err resolve_name(struct dial *dial, const char *host, const char *service,
			       int only_family)
{
	struct lookup *lookup = mem_alloc(sizeof *lookup);
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

	lookup->dial = dial;
	lookup->request.data = lookup;
	int failed = uv_getaddrinfo(dial->fibers->loop, &lookup->request, on_found, host, service,
				    &hints);
	if (failed) {
		free(lookup);
		return (struct err){ERR_UPSTREAM, -failed, "cannot look up the upstream host"};
	}
	while (!lookup->is_done && now_ms() < dial->until_ms)
		dial_wait(dial, dial->until_ms, "resolve");
	if (!lookup->is_done) {
		lookup->dial = NULL;
		uv_cancel((uv_req_t *)&lookup->request);
		return ERR(ERR_UPSTREAM, ETIMEDOUT, "no answer about the upstream host's name");
	}
	failed = lookup->result;
	if (!failed)
		take_addresses(dial, lookup->found, only_family);
	uv_freeaddrinfo(lookup->found);
	free(lookup);
	return failed ? (struct err){ERR_UPSTREAM, -failed, "the upstream host's name is unknown"}
		      : OK;
}

/* A literal address needs no thread. */
static struct addrinfo *literal(const char *host, const char *service)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found = NULL;

	return getaddrinfo(host, service, &hints, &found) ? NULL : found;
}

static struct err resolve(struct dial *dial, const char *host, unsigned port, int only_family)
{
	char service[16];

	snprintf(service, sizeof service, "%u", port);
	struct addrinfo *found = literal(host, service);
	if (found) {
		take_addresses(dial, found, only_family);
		freeaddrinfo(found);
	} else {
		TRY(resolve_name(dial, host, service, only_family));
	}
	return dial->to.count ? OK
			      : ERR(ERR_UPSTREAM, EADDRNOTAVAIL,
				    "the upstream host has no address of that family");
}

static void on_connect(uv_connect_t *request, int status)
{
	struct attempt *attempt = request->data;

	attempt->is_decided = true;
	attempt->result = status;
	fiber_wake(attempt->dial->fibers, attempt->dial->fiber);
}

/* Begins the next address. One that fails at once is decided at once. */
static void attempt_begin(struct dial *dial, const struct sockaddr *source)
{
	struct attempt *attempt = &dial->attempts[dial->begun];
	const struct sockaddr *address = (const struct sockaddr *)&dial->to.each[dial->begun];

	dial->begun++;
	attempt->dial = dial;
	attempt->request.data = attempt;
	struct err err =
		tcp_new(dial->fibers, ERR_UPSTREAM, DIAL_IN_MAX, DIAL_OUT_MAX, &attempt->tcp);
	attempt->result = -err.code;
	if (!err.kind && source)
		attempt->result = uv_tcp_bind(&attempt->tcp->handle, source, 0);
	if (!attempt->result)
		attempt->result = uv_tcp_connect(&attempt->request, &attempt->tcp->handle, address,
						 on_connect);
	attempt->is_decided = attempt->result != 0;
}

/* The first that connected, if any; counts those that are under way. */
static struct attempt *look(struct dial *dial, size_t *under_way)
{
	*under_way = 0;
	for (size_t i = 0; i < dial->begun; i++) {
		struct attempt *attempt = &dial->attempts[i];
		if (!attempt->is_decided)
			(*under_way)++;
		else if (!attempt->result)
			return attempt;
		else
			dial->last_code = -attempt->result;
	}
	return NULL;
}

static struct err race(struct dial *dial, const struct sockaddr *source, struct stream **out)
{
	uint64_t next_ms = 0;

	for (;;) {
		size_t under_way;
		struct attempt *winner = look(dial, &under_way);
		if (winner) {
			tcp_connected(winner->tcp);
			*out = &winner->tcp->stream;
			winner->tcp = NULL;
			return OK;
		}
		uint64_t now = now_ms();
		if (now >= dial->until_ms)
			return ERR(ERR_UPSTREAM, ETIMEDOUT, "the upstream host does not answer");
		bool is_more = dial->begun < dial->to.count;
		if (!under_way && !is_more)
			return (struct err){ERR_UPSTREAM, dial->last_code,
					    "cannot connect to the upstream host"};
		bool has_failed = dial->begun && dial->attempts[dial->begun - 1].is_decided;
		if (is_more && (!dial->begun || has_failed || now >= next_ms)) {
			attempt_begin(dial, source);
			next_ms = now + STAGGER_MS;
			continue;
		}
		dial_wait(dial, is_more && next_ms < dial->until_ms ? next_ms : dial->until_ms,
			  "connect");
	}
}

/* Closes who lost; libuv has called every callback when the last close returns. */
static void dial_free(struct dial *dial)
{
	for (size_t i = 0; i < dial->begun; i++)
		if (dial->attempts[i].tcp)
			stream_abort(&dial->attempts[i].tcp->stream);
	for (size_t i = 0; i < dial->begun; i++)
		if (dial->attempts[i].tcp)
			stream_close(&dial->attempts[i].tcp->stream);
	uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
	while (!dial->is_timer_closed)
		fiber_wait(dial->fibers, "connect");
	free(dial);
}

static struct dial *dial_new(struct fibers *fibers, uint64_t limit_ms)
{
	struct dial *dial = mem_alloc(sizeof *dial);

	dial->fibers = fibers;
	dial->fiber = fibers->current;
	dial->until_ms = now_ms() + limit_ms;
	uv_timer_init(fibers->loop, &dial->timer);
	dial->timer.data = dial;
	return dial;
}

struct err tcp_dial(struct fibers *fibers, const char *host, unsigned port, const char *source,
		    uint64_t limit_ms, struct stream **out)
{
	struct addrinfo *from = NULL;

	*out = NULL;
	if (source && !(from = literal(source, "0")))
		return ERR(ERR_UPSTREAM, EINVAL, "the source address is not an address");
	struct dial *dial = dial_new(fibers, limit_ms);
	struct err err = resolve(dial, host, port, from ? from->ai_family : 0);
	if (!err.kind)
		err = race(dial, from ? from->ai_addr : NULL, out);
	dial_free(dial);
	if (from)
		freeaddrinfo(from);
	return err;
}

struct err tcp_race(struct fibers *fibers, const struct tcp_addresses *to, uint64_t limit_ms,
		    struct stream **out)
{
	*out = NULL;
	struct dial *dial = dial_new(fibers, limit_ms);
	dial->to = *to;
	struct err err = race(dial, NULL, out);
	dial_free(dial);
	return err;
}
