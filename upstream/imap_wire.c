/* SPDX-License-Identifier: MIT */
/* imap_wire.c - the doorman's hands: octets from the stream, cut into fragments, checked, handed on.
 *
 * Raw octets wait in `in` until a fragment is whole; what imap_check.c made of it waits in check.out
 * until libetpan reads it. A body goes from the stream into libetpan's own buffer and is not looked
 * at. After a reply that may end libetpan's turn nothing further is read from `in` before libetpan
 * asks again: by then it is known what is expected next.
 */
#include "upstream/imap_wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libetpan/mailstream_low.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "upstream/imap_check.h"

struct imap_wire {
	struct stream *stream; /* NULL: lost on the way to TLS */
	mailstream_low *low;   /* NULL: libetpan freed it */
	const struct log *log;
	struct buf in;
	size_t looked; /* octets of `in` known to hold no LF */
	struct check check;
	enum check_next next; /* what the octets in `in` are */
	uint64_t left;        /* of a literal, octets */
	uint64_t part;        /* of these, what libetpan knows to follow, if it is a body */
	uint64_t reply;       /* octets since the last tagged reply, bodies apart */
	bool is_dead, has_spoken, is_reading;
	unsigned round_trips;
	uint64_t wait_ms, until_ms;
	struct err err;
};

static void die(struct imap_wire *wire, struct err err)
{
	if (wire->is_dead)
		return;
	wire->is_dead = true;
	wire->err = err;
	wire->next = CHECK_DEAD;
}

/* Reads up to `max` octets, at least one, or dies. */
static size_t read_stream(struct imap_wire *wire, void *into, size_t max)
{
	size_t got = 0;

	if (wire->has_spoken && !stream_pending(wire->stream)) {
		wire->round_trips++;
		wire->has_spoken = false;
	}
	wire->is_reading = true;
	struct err err = stream_read(wire->stream, into, max, &got);
	wire->is_reading = false;
	if (err.kind)
		die(wire, err);
	else if (!got && wire->check.bye.outcome == WIRE_BYE)
		die(wire, ERR(ERR_UPSTREAM, ENODATA, "the mail server said goodbye"));
	else if (!got)
		die(wire, ERR(ERR_UPSTREAM, ENODATA, "the mail server closed the connection"));
	return wire->is_dead ? 0 : got;
}

static void fill(struct imap_wire *wire)
{
	char *room = buf_room(&wire->in, WIRE_READ);

	if (!room) {
		die(wire, ERR(ERR_UPSTREAM, ENOMEM, "out of memory"));
		return;
	}
	size_t got = read_stream(wire, room, WIRE_READ);
	buf_added(&wire->in, got);
}

static void count(struct imap_wire *wire, size_t octets)
{
	wire->reply += octets;
	if (wire->reply > WIRE_REPLY)
		die(wire, ERR(ERR_UPSTREAM, EPROTO, "a reply does not end"));
}

/* Checks the next fragment; false: it is not all here. */
static bool take_fragment(struct imap_wire *wire)
{
	const char *line = buf_data(&wire->in);
	size_t have = buf_len(&wire->in);
	const char *lf =
		have > wire->looked ? memchr(line + wire->looked, '\n', have - wire->looked) : NULL;

	if (!lf && have > WIRE_LINE)
		die(wire, ERR(ERR_UPSTREAM, EPROTO, "a line is too long"));
	wire->looked = have;
	if (!lf)
		return wire->is_dead;
	size_t len = (size_t)(lf - line);
	wire->looked = 0;
	enum check_next next = check_fragment(&wire->check, line, len);
	size_t used = wire->check.used ? wire->check.used : len + 1;
	buf_drop(&wire->in, used);
	if (next == CHECK_DEAD)
		die(wire, wire->check.err);
	if (wire->is_dead) /* on_body may have killed us */
		return true;
	wire->next = next;
	wire->left = wire->check.literal;
	wire->part = wire->check.part;
	wire->check.literal = 0;
	count(wire, used);
	return true;
}

/* Takes what is here of a literal that libetpan does not get as it is; false: none of it is here. */
static bool take_literal(struct imap_wire *wire)
{
	size_t len = buf_len(&wire->in);

	if (len > wire->left)
		len = (size_t)wire->left;
	if (!len && wire->left)
		return false;
	wire->left -= len;
	if (wire->next == CHECK_QUOTE)
		(void)check_name(&wire->check, buf_data(&wire->in), len, !wire->left);
	if (wire->next == CHECK_QUOTE)
		wire->check.kept += len;
	if (wire->next == CHECK_KEEP)
		check_keep(&wire->check, buf_data(&wire->in), len);
	if (wire->check.err.kind)
		die(wire, wire->check.err);
	buf_drop(&wire->in, len);
	count(wire, len);
	if (!wire->left && !wire->is_dead)
		wire->next = CHECK_LINE;
	return true;
}

static void begin_part(struct imap_wire *wire)
{
	wire->part = check_next_part(&wire->check, wire->left);
	if (wire->check.err.kind)
		die(wire, wire->check.err);
}

/* Works on what is in `in`, until it is used up or there is enough for libetpan. */
static void work(struct imap_wire *wire)
{
	bool has_more = true;

	while (has_more && buf_len(&wire->check.out) < WIRE_READ)
		switch (wire->next) {
		case CHECK_LINE:
			has_more = take_fragment(wire);
			break;
		case CHECK_SKIP:
		case CHECK_QUOTE:
		case CHECK_KEEP:
			has_more = take_literal(wire);
			break;
		case CHECK_PASS:
			has_more = !wire->left;
			if (!wire->left)
				wire->next = CHECK_LINE;
			else if (!wire->part)
				begin_part(wire);
			break;
		case CHECK_TURN:
		case CHECK_DEAD:
			has_more = false;
		}
}

/* A part of a body, straight to where libetpan wants it. */
static size_t pass(struct imap_wire *wire, void *into, size_t max)
{
	size_t len = buf_len(&wire->in);

	/* A long body pays for deeper reads; a short one shall not touch the pages of a stack. */
	if (max > WIRE_READ && wire->left <= WIRE_LARGE)
		max = WIRE_READ;
	if (max > wire->part)
		max = (size_t)wire->part;
	if (len) {
		len = len < max ? len : max;
		memcpy(into, buf_data(&wire->in), len);
		buf_drop(&wire->in, len);
	} else {
		buf_trim(&wire->in);
		len = read_stream(wire, into, max);
	}
	wire->left -= len;
	wire->part -= len;
	return len;
}

static size_t hand_over(struct imap_wire *wire, void *into, size_t max)
{
	struct buf *out = &wire->check.out;
	size_t len = buf_len(out) < max ? buf_len(out) : max;

	memcpy(into, buf_data(out), len);
	buf_drop(out, len);
	if (!buf_len(out) && wire->next == CHECK_TURN) {
		wire->next = CHECK_LINE;
		buf_trim(out);
		buf_trim(&wire->in);
		buf_fini(&wire->check.header);
	}
	return len;
}

static ssize_t low_read(mailstream_low *low, void *into, size_t max)
{
	struct imap_wire *wire = low->data;
	size_t got = 0;

	while (max && !got && !wire->is_dead) {
		if (!buf_len(&wire->check.out))
			work(wire);
		if (wire->is_dead)
			break;
		if (buf_len(&wire->check.out))
			got = hand_over(wire, into, max);
		else if (wire->next == CHECK_PASS)
			got = pass(wire, into, max);
		else
			fill(wire);
	}
	return got ? (ssize_t)got : -1;
}

static ssize_t low_write(mailstream_low *low, const void *octets, size_t len)
{
	struct imap_wire *wire = low->data;

	if (wire->is_dead)
		return -1;
	/* libetpan writes when its own buffer is full or must be flushed: nothing to wait for. */
	struct err err = stream_put(wire->stream, octets, len);
	if (!err.kind)
		err = stream_flush(wire->stream);
	if (err.kind) {
		die(wire, err);
		return -1;
	}
	wire->has_spoken = true;
	return (ssize_t)len;
}

static int low_close(mailstream_low *low)
{
	(void)low;
	return 0;
}

static int low_get_fd(mailstream_low *low)
{
	(void)low;
	return -1;
}

static void low_free(mailstream_low *low)
{
	struct imap_wire *wire = low->data;

	wire->low = NULL;
	free(low);
}

static const mailstream_low_driver driver = {
	.mailstream_read = low_read,
	.mailstream_write = low_write,
	.mailstream_close = low_close,
	.mailstream_get_fd = low_get_fd,
	.mailstream_free = low_free,
};

struct imap_wire *imap_wire_new(struct stream *stream, const struct log *log)
{
	struct imap_wire *wire = mem_alloc(sizeof *wire);

	wire->stream = stream;
	wire->log = log;
	/* libetpan only ever reads the driver. */
	wire->low = mailstream_low_new(wire, (mailstream_low_driver *)&driver);
	if (!wire->low)
		die(wire, ERR(ERR_UPSTREAM, ENOMEM, "out of memory"));
	buf_init(&wire->in, WIRE_LINE + 2 * WIRE_READ);
	check_init(&wire->check, log);
	return wire;
}

mailstream_low *imap_wire_low(struct imap_wire *wire)
{
	return wire->low;
}

void imap_wire_free(struct imap_wire *wire)
{
	if (!wire)
		return;
	if (wire->low)
		mailstream_low_free(wire->low);
	stream_close(wire->stream);
	buf_fini(&wire->in);
	check_fini(&wire->check);
	free(wire);
}

void imap_wire_kill(struct imap_wire *wire)
{
	if (wire->is_reading)
		stream_abort(wire->stream);
	die(wire, ERR(ERR_UPSTREAM, ECANCELED, "the mail server was given up"));
}

struct check *imap_wire_check(const struct imap_wire *wire)
{
	return (struct check *)(uintptr_t)&wire->check;
}

bool imap_wire_is_dead(const struct imap_wire *wire)
{
	return wire->is_dead;
}

struct err imap_wire_error(const struct imap_wire *wire)
{
	return wire->err;
}

struct err imap_wire_secure(struct imap_wire *wire, const struct env *env,
			    const struct tls_policy *policy)
{
	struct stream *plain = wire->stream;

	if (!wire->is_dead &&
	    (buf_len(&wire->in) || buf_len(&wire->check.out) || stream_pending(plain)))
		die(wire, ERR(ERR_UPSTREAM, EPROTO, "the mail server spoke before TLS began"));
	if (wire->is_dead)
		return wire->err;
	wire->stream = NULL;
	struct err err = env->ops->secure(env, plain, policy, &wire->stream);
	if (err.kind) {
		wire->stream = NULL;
		die(wire, err);
		return err;
	}
	stream_limit(wire->stream, wire->wait_ms, wire->until_ms);
	check_forget(&wire->check);
	wire->has_spoken = false;
	return OK;
}

void imap_wire_limit(struct imap_wire *wire, uint64_t wait_ms, uint64_t until_ms)
{
	wire->wait_ms = wait_ms;
	wire->until_ms = until_ms;
	if (wire->stream)
		stream_limit(wire->stream, wait_ms, until_ms);
}

void imap_wire_expect_body(struct imap_wire *wire, uint64_t max_octets,
			   void (*on_body)(void *arg, const struct wire_body *), void *arg)
{
	wire->check.body_max = max_octets;
	wire->check.on_body = on_body;
	wire->check.arg = arg;
}

void imap_wire_expect_challenges(struct imap_wire *wire)
{
	buf_trim(&wire->in);
	wire->in.is_secret = true;
	wire->check.may_challenge = true;
}

const char *imap_wire_challenge(const struct imap_wire *wire, size_t *len)
{
	*len = buf_len(&wire->check.challenge);
	return *len ? buf_data(&wire->check.challenge) : "";
}

void imap_wire_forget_challenge(struct imap_wire *wire)
{
	buf_fini(&wire->check.challenge);
	buf_trim(&wire->in);
	wire->in.is_secret = buf_len(&wire->in) > 0;
}

void imap_wire_expect_items(struct imap_wire *wire,
			    void (*on_item)(void *arg, const struct wire_item *), void *arg)
{
	wire->check.on_item = on_item;
	wire->check.item_arg = arg;
}

void imap_wire_expect_tag(struct imap_wire *wire, const char *tag)
{
	snprintf(wire->check.tag, sizeof wire->check.tag, "%s", tag);
	wire->reply = 0;
}

bool imap_wire_is_quiet(const struct imap_wire *wire)
{
	return !wire->is_dead && !buf_len(&wire->in) && !buf_len(&wire->check.out) &&
	       stream_is_quiet(wire->stream);
}

void imap_wire_set_log(struct imap_wire *wire, const struct log *log)
{
	wire->log = log;
	wire->check.log = log;
}

unsigned imap_wire_round_trips(const struct imap_wire *wire)
{
	return wire->round_trips;
}

bool imap_wire_bind(const struct imap_wire *wire, enum stream_binding kind, struct buf *out)
{
	return stream_bind(wire->stream, kind, out);
}

void imap_wire_describe(const struct imap_wire *wire, struct buf *out)
{
	stream_describe(wire->stream, out);
}
