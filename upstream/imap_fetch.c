/* SPDX-License-Identifier: MIT */
/* imap_fetch.c - a message or a part of one, from the server into a sink.
 *
 * take_octets() gets each piece of the body as it comes in; a sink that waits makes libetpan wait, and so
 * the server: that is all the flow control. OK is said only when every octet that was announced came,
 * the FETCH closed with the right UID, and the tagged OK followed (F-09). Commands and replies go through
 * imap_queue.h, for the next messages may be under way already (imap_ahead.h).
 */
#include "upstream/imap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/imap_poison.h"
#include "upstream/imap_promise.h"

enum {
	SMALL = 512,  /* octets; a quoted string comes one octet at a time */
	STUB = 4096,  /* octets: no stub is longer (N-05) */
	GHOST = 1024, /* octets: nor is a made-up body */
};

struct transfer {
	struct imap_reader reader; /* first */
	struct imap *imap;
	struct sink *sink; /* borrowed */
	struct want want;
	uint64_t skip, room;  /* octets yet to be dropped; octets that may yet be put */
	uint64_t octets, got; /* of the body: announced; come */
	bool is_label_wrong;  /* another part than the one asked for */
	bool has_put;         /* the sink has seen octets */
	bool may_be_stub; /* the server sends stubs: a short message is looked at before it is put */
	char *held;       /* owned: that message, or NULL */
	size_t held_len;
	struct err err; /* the sink's: nobody wants the rest */
	size_t small_len;
	char small[SMALL];
};

/* The body begins. */
static void begin_body(struct imap_reader *reader, const struct queued *body)
{
	struct transfer *transfer = (struct transfer *)reader;
	const struct want *want = &transfer->want;
	uint64_t rest;

	transfer->octets = body->octets;
	transfer->room = want->octets;
	if (body->has_origin)
		transfer->is_label_wrong = body->origin != want->from;
	else
		transfer->skip = want->from; /* the whole message came instead (C-13) */
	if (!body->has_origin && want->octets != UINT64_MAX && body->octets > want->octets)
		transfer->imap->ahead.is_off_for_parts = true;
	rest = body->octets > transfer->skip ? body->octets - transfer->skip : 0;
	transfer->sink->announced_octets = rest < transfer->room ? rest : transfer->room;
	if (transfer->may_be_stub && !want->from && body->octets <= STUB)
		transfer->held = malloc(STUB);
}

static bool put(struct transfer *transfer, const char *octets, size_t len)
{
	if (!len)
		return true;
	if (transfer->held && len <= STUB - transfer->held_len) {
		memcpy(transfer->held + transfer->held_len, octets, len);
		transfer->held_len += len;
		return true;
	}
	transfer->has_put = true;
	transfer->err = transfer->sink->put(transfer->sink, octets, len);
	return !transfer->err.kind;
}

static bool put_small(struct transfer *transfer)
{
	size_t len = transfer->small_len;

	transfer->small_len = 0;
	return put(transfer, transfer->small, len);
}

/* The message is whole: what was held goes out, unless it is no message. */
static struct err put_rest(struct transfer *transfer)
{
	if (!put_small(transfer))
		return transfer->err;
	if (!transfer->held)
		return OK;
	if (imap_poison_is_stub(transfer->held, transfer->held_len))
		return ERR(ERR_UPSTREAM, ENODATA, "the mail server sent a stub for the message");
	char *held = transfer->held;
	transfer->held = NULL;
	(void)put(transfer, held, transfer->held_len);
	free(held);
	return transfer->err;
}

static bool put_part(struct transfer *transfer, const char *octets, size_t len)
{
	size_t drop = transfer->skip < len ? (size_t)transfer->skip : len;

	transfer->skip -= drop;
	octets += drop;
	len -= drop;
	if (len > transfer->room)
		len = (size_t)transfer->room;
	transfer->room -= len;
	if (len >= SMALL - transfer->small_len && !put_small(transfer))
		return false;
	if (len >= SMALL)
		return put(transfer, octets, len);
	memcpy(transfer->small + transfer->small_len, octets, len);
	transfer->small_len += len;
	return true;
}

/* The client has gone: the little that is left is read, for the connection can be used again (F-15). */
static bool may_read_on(struct transfer *transfer)
{
	struct imap *imap = transfer->imap;
	uint64_t now = imap->env->ops->now(imap->env), due;

	(void)imap_queue_fetches(imap, transfer->want.uid, &due);
	if (transfer->octets - transfer->got + due > QUEUE_WASTE || imap->is_bounded)
		return false;
	imap_wire_limit(imap->client.wire, QUEUE_SETTLE_MS, now + QUEUE_SETTLE_MS);
	return true;
}

/* A piece of the body. False ends the transfer, and with it the connection. */
static bool take_octets(struct imap_reader *reader, const char *octets, size_t len)
{
	struct transfer *transfer = (struct transfer *)reader;

	if (transfer->is_label_wrong)
		return false;
	transfer->got += len;
	return transfer->err.kind || put_part(transfer, octets, len) || may_read_on(transfer);
}

/* Whether the server says so itself. */
static bool is_told_gone(const struct imap *imap)
{
	const struct wire_status *status = imap_wire_status(imap->client.wire);

	return status->outcome == WIRE_NO && strcmp(status->code, "EXPUNGEISSUED") == 0;
}

/* Nothing usable came, and the connection is in step: is the message gone (G-04)? Else `err`. */
static struct err gone_or(struct imap *imap, uint32_t uid, struct err err)
{
	bool is_gone = is_told_gone(imap);
	char set[16];
	size_t left;

	snprintf(set, sizeof set, "%u", uid);
	if (!is_gone) {
		struct err asked = imap_count_left(imap, set, &left);
		is_gone = !asked.kind && !left;
	}
	return is_gone ? ERR(ERR_MESSAGE, 0, "no such message") : err;
}

/* Whether a body without octets is an answer: the end of a message reached by parts, or a message
 * that is really empty. Otherwise it is a server in trouble, and the client would delete what it
 * never saw (F-10). */
static bool may_be_empty(const struct queued *reply, const struct message *msg)
{
	if (!reply->has_begun && reply->is_nil && reply->want.from < msg->octets)
		return false;
	return reply->want.from > 0 || msg->octets == 0;
}

/* A short body of another length than was told may be made up for a message that is gone (G-03): asked
 * by SEARCH, which a NOOP goes before, the server looks. */
static struct err check_ghost(struct imap *imap, const struct queued *reply,
			      const struct message *msg)
{
	bool has_ghosts = imap->quirks && (imap->quirks->traits & QUIRK_GHOSTS);
	char set[16];
	size_t left;

	if (!has_ghosts || reply->want.from || reply->octets > GHOST ||
	    reply->octets == msg->octets)
		return OK;
	snprintf(set, sizeof set, "%u", msg->uid);
	struct err asked = imap_count_left(imap, set, &left);
	return !asked.kind && !left ? ERR(ERR_MESSAGE, 0, "no such message") : OK;
}

/* What the reply amounts to, once it was read to its tagged line. */
static struct err judge(struct imap *imap, struct transfer *transfer, const struct queued *reply,
			const struct message *msg)
{
	struct imap_client *client = &imap->client;

	if (transfer->is_label_wrong) {
		imap_client_kill(client);
		return ERR(ERR_UPSTREAM, EPROTO, "the mail server sent another message");
	}
	struct err err = imap_outcome(client, PHASE_BODY);
	if (err.kind)
		return reply->got ? ERR(ERR_UPSTREAM, err.code, "the mail server gave up")
				  : gone_or(imap, msg->uid, err);
	if (reply->got != reply->octets || (reply->got && !reply->is_closed)) {
		imap_client_kill(client);
		return ERR(ERR_UPSTREAM, EPROTO, "the message is not whole");
	}
	if (reply->got) {
		TRY(check_ghost(imap, reply, msg));
		return put_rest(transfer);
	}
	if (reply->is_closed && may_be_empty(reply, msg))
		return OK;
	return gone_or(imap, msg->uid,
		       ERR(ERR_UPSTREAM, ENODATA, "the mail server sent no message"));
}

/* Whether the reply proves nothing, for the command was not alone: BAD may be meant for that (H-08), NO may be
 * a limit's, and octets that came before their turn are gone. Then it is asked for again, alone, and so are
 * all others. */
static bool is_for_nothing(struct imap *imap, const struct queued *reply, bool is_alone)
{
	bool is_bad = imap_was(&imap->client, WIRE_BAD);

	if (is_bad)
		imap->ahead.is_off = true;
	if (reply->is_spoilt)
		imap->ahead.is_narrow = true;
	bool is_no = imap_was(&imap->client, WIRE_NO) && !reply->got && !is_told_gone(imap);
	bool is_lost = imap_was(&imap->client, WIRE_OK) && reply->is_spoilt;

	return !is_alone && (is_bad || is_no || is_lost);
}

/* The connection broke while the command was not alone. A server that loses what stands behind a command, or
 * hangs up on it, would do so with every second message. */
static void note_loss(struct imap *imap, struct err err)
{
	struct imap_ahead *ahead = &imap->ahead;

	if (++ahead->losses == AHEAD_LOSSES || err.code == ETIMEDOUT)
		ahead->is_off = true;
}

enum next { DONE, ONCE_MORE, ALONE };

/* Asks for it, unless it is under way, and reads it. */
static enum next attempt(struct imap *imap, const struct maildrop *maildrop,
			 const struct message *msg, struct transfer *transfer, struct err *err)
{
	struct imap_client *client = &imap->client;
	struct queued reply = {0};
	bool is_fresh = false, is_hit = imap_queue_reach(imap, &transfer->want);

	if (!is_hit && !imap_queue_can_wait(imap, &transfer->want)) {
		*err = imap_ready(imap, &is_fresh);
		if (err->kind)
			return DONE;
	}
	transfer->may_be_stub = imap->quirks && (imap->quirks->traits & QUIRK_STUBS);
	if (maildrop)
		imap_ahead_note(imap, maildrop, &transfer->want, is_hit);
	*err = is_hit ? OK : imap_queue_fetch(imap, &transfer->want);
	if (!err->kind && maildrop)
		imap_ahead_fill(imap, maildrop, &transfer->want);
	bool is_alone = !is_hit && imap->queue.count == 1;
	if (!err->kind)
		*err = imap_queue_take(imap, transfer->want.uid, &transfer->reader, &reply);
	if (transfer->err.kind)
		*err = transfer->err;
	bool is_heard = !err->kind;
	bool is_again = is_heard && !transfer->has_put && is_for_nothing(imap, &reply, is_alone);
	if (is_heard && !is_again)
		*err = judge(imap, transfer, &reply, msg);
	queued_fini(&reply);
	imap_client_trim(client);
	bool is_alive = imap_client_is_alive(client);
	if (is_heard && is_alive && err->kind && err->kind != ERR_MESSAGE && !transfer->err.kind)
		imap_poison_note(imap, msg->uid, *err);
	if (is_again) {
		imap_queue_settle(imap, UINT64_MAX);
		return ALONE;
	}
	/* Once more, if the connection broke and the sink knows of nothing (F-13). */
	bool is_over =
		!err->kind || err->kind == ERR_MESSAGE || is_fresh || transfer->has_put || is_alive;
	if (!is_over && !is_alone)
		note_loss(imap, *err);
	return is_over ? DONE : ONCE_MORE;
}

static struct err fetch(struct imap *imap, const struct maildrop *maildrop,
			const struct message *msg, const struct part *part, struct sink *sink)
{
	enum next next = DONE;
	unsigned losses = 0;
	struct err err;

	do {
		struct transfer transfer = {
			.reader = {begin_body, take_octets},
			.imap = imap,
			.sink = sink,
			.want = imap_want(msg, part),
		};
		next = attempt(imap, next == ALONE ? NULL : maildrop, msg, &transfer, &err);
		losses += next == ONCE_MORE;
		free(transfer.held);
	} while (next == ALONE || (next == ONCE_MORE && losses < 2));
	return err;
}

struct err imap_fetch_body(struct imap *imap, const struct message *msg, const struct part *part,
			   struct sink *sink)
{
	return fetch(imap, NULL, msg, part, sink);
}

struct err imap_fetch(struct upstream *upstream, const struct maildrop *maildrop,
		      const struct message *msg, const struct part *part, struct sink *sink)
{
	struct imap *imap = (struct imap *)upstream;
	const struct want want = imap_want(msg, part);
	struct listener listener;

	if (msg->marks & MARK_STUB) {
		imap_ahead_note(imap, maildrop, &want, false);
		return imap_poison_put(imap, msg->uid, part, sink);
	}
	listener_init(&listener, imap, msg->uid, part, sink);
	struct err err = fetch(imap, maildrop, msg, part, &listener.sink);
	sink->announced_octets = listener.sink.announced_octets;
	listener_fini(&listener, imap, msg->uid, !err.kind);
	if (!err.kind)
		imap_ahead_begin(imap, maildrop, &want);
	return err;
}
