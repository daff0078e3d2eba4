/* SPDX-License-Identifier: MIT */
/* imap_fetch.c - a message or a part of one, from the server into a sink.
 *
 * libetpan calls take_octets() for each piece of the body as it comes in; a sink that waits makes
 * libetpan wait, and so the server: that is all the flow control. OK is said only when every octet
 * that was announced came, the FETCH closed with the right UID, and the tagged OK followed (F-09).
 * The doorman tells when the body begins and what its reply said; it may be ahead of libetpan, so
 * nothing is decided before the tagged reply.
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
	struct sink *sink; /* borrowed */
	uint32_t uid;
	uint64_t from, octets;   /* the part; octets UINT64_MAX: all */
	uint64_t skip, room;     /* octets yet to be dropped; octets that may yet be put */
	bool has_begun;          /* the body: there is one at most */
	uint64_t announced, got; /* octets of the body */
	bool is_label_wrong;     /* another part than the one asked for */
	bool is_closed;          /* the FETCH with our UID and the body ended */
	bool is_nil;
	bool is_wrong;    /* a body under another UID, or where none belongs */
	bool has_put;     /* the sink has seen octets */
	bool may_be_stub; /* the server sends stubs: a short message is looked at before it is put */
	char *held;       /* owned: that message, or NULL */
	size_t held_len;
	struct err err; /* the sink's */
	size_t small_len;
	char small[SMALL];
};

/* The doorman tells: a body begins. */
static void begin_body(void *arg, const struct wire_body *body)
{
	struct transfer *transfer = arg;
	uint64_t rest;

	transfer->has_begun = true;
	transfer->announced = body->octets;
	transfer->room = transfer->octets;
	if (body->has_origin)
		transfer->is_label_wrong = body->origin != transfer->from;
	else
		transfer->skip = transfer->from; /* the whole message came instead (C-13) */
	rest = body->octets > transfer->skip ? body->octets - transfer->skip : 0;
	transfer->sink->announced_octets = rest < transfer->room ? rest : transfer->room;
	if (transfer->may_be_stub && !transfer->from && body->octets <= STUB)
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

/* A piece of the body. False ends the transfer, and with it the connection. */
static bool take_octets(int type, struct mailimap_msg_att_body_section *section, const char *octets,
			size_t len, void *arg)
{
	struct transfer *transfer = arg;
	bool is_whole_message =
		type == MAILIMAP_MSG_ATT_RFC822 ||
		(type == MAILIMAP_MSG_ATT_BODY_SECTION &&
		 (!section || !section->sec_section || !section->sec_section->sec_spec));

	if (!transfer->has_begun || transfer->is_label_wrong || !is_whole_message) {
		transfer->is_wrong = true;
		return false;
	}
	transfer->got += len;
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

/* A FETCH reply has ended. Only the one with our body counts; others are news about flags. */
static void end_item(void *arg, const struct wire_item *item)
{
	struct transfer *transfer = arg;

	if (!item->has_body)
		return;
	if (!item->has_uid || item->uid != transfer->uid || transfer->is_closed) {
		transfer->is_wrong = true;
		return;
	}
	transfer->is_closed = true;
	transfer->is_nil = item->is_nil;
}

static struct err send_fetch(struct imap_client *client, const struct transfer *transfer, int *tag)
{
	if (!transfer->from && transfer->octets == UINT64_MAX)
		return imap_send(client, tag, "UID FETCH %u (UID BODY.PEEK[])", transfer->uid);
	if (transfer->from > UINT32_MAX)
		return ERR(ERR_UPSTREAM, EOVERFLOW, "the message is too long for the mail server");
	return imap_send(client, tag, "UID FETCH %u (UID BODY.PEEK[]<%llu.%llu>)", transfer->uid,
			 (unsigned long long)transfer->from,
			 (unsigned long long)(transfer->octets < UINT32_MAX ? transfer->octets
									    : UINT32_MAX));
}

/* Sends the command and reads everything up to its tagged reply. */
static struct err run(struct imap_client *client, struct transfer *transfer)
{
	int tag;

	TRY(send_fetch(client, transfer, &tag));
	mailimap_set_msg_body_handler(client->im, take_octets, transfer);
	imap_wire_expect_body(client->wire, UINT64_MAX, begin_body, transfer);
	imap_wire_expect_items(client->wire, end_item, transfer);
	struct err err = imap_receive(client, PHASE_BODY, tag);
	imap_wire_expect_items(client->wire, NULL, NULL);
	imap_wire_expect_body(client->wire, 0, NULL, NULL);
	mailimap_set_msg_body_handler(client->im, NULL, NULL);
	return transfer->err.kind ? transfer->err : err;
}

/* Nothing usable came, and the connection is in step: is the message gone (G-04)? Else `err`. */
static struct err gone_or(struct imap *imap, uint32_t uid, struct err err)
{
	const struct wire_status *status = imap_wire_status(imap->client.wire);
	char set[16];
	size_t left;

	bool is_gone = status->outcome == WIRE_NO && strcmp(status->code, "EXPUNGEISSUED") == 0;
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
static bool may_be_empty(const struct transfer *transfer, const struct message *msg)
{
	if (!transfer->has_begun && transfer->is_nil && transfer->from < msg->octets)
		return false;
	return transfer->from > 0 || msg->octets == 0;
}

/* A short body of another length than was told may be made up for a message that is gone (G-03): asked
 * by SEARCH, which a NOOP goes before, the server looks. */
static struct err check_ghost(struct imap *imap, const struct transfer *transfer,
			      const struct message *msg)
{
	bool has_ghosts = imap->quirks && (imap->quirks->traits & QUIRK_GHOSTS);
	char set[16];
	size_t left;

	if (!has_ghosts || transfer->from || transfer->announced > GHOST ||
	    transfer->announced == msg->octets)
		return OK;
	snprintf(set, sizeof set, "%u", msg->uid);
	struct err asked = imap_count_left(imap, set, &left);
	return !asked.kind && !left ? ERR(ERR_MESSAGE, 0, "no such message") : OK;
}

/* What the reply amounts to, once it was read to its tagged line. */
static struct err judge(struct imap *imap, struct transfer *transfer, const struct message *msg)
{
	struct imap_client *client = &imap->client;

	if (transfer->is_wrong || transfer->is_label_wrong) {
		imap_client_kill(client);
		return ERR(ERR_UPSTREAM, EPROTO, "the mail server sent another message");
	}
	struct err err = imap_outcome(client, PHASE_BODY);
	if (err.kind)
		return transfer->got ? ERR(ERR_UPSTREAM, err.code, "the mail server gave up")
				     : gone_or(imap, msg->uid, err);
	if (transfer->got != transfer->announced || (transfer->got && !transfer->is_closed)) {
		imap_client_kill(client);
		return ERR(ERR_UPSTREAM, EPROTO, "the message is not whole");
	}
	if (transfer->got) {
		TRY(check_ghost(imap, transfer, msg));
		return put_rest(transfer);
	}
	if (transfer->is_closed && may_be_empty(transfer, msg))
		return OK;
	return gone_or(imap, msg->uid,
		       ERR(ERR_UPSTREAM, ENODATA, "the mail server sent no message"));
}

struct err imap_fetch_body(struct imap *imap, const struct message *msg, const struct part *part,
			   struct sink *sink)
{
	struct err err = OK;

	for (int attempt = 0; attempt < 2; attempt++) {
		struct transfer transfer = {
			.sink = sink,
			.uid = msg->uid,
			.from = part->from,
			.octets = part->octets ? part->octets : UINT64_MAX,
		};
		bool is_fresh;
		TRY(imap_ready(imap, &is_fresh));
		transfer.may_be_stub = imap->quirks && (imap->quirks->traits & QUIRK_STUBS);
		err = run(&imap->client, &transfer);
		bool is_heard = !err.kind;
		if (is_heard)
			err = judge(imap, &transfer, msg);
		free(transfer.held);
		imap_client_trim(&imap->client);
		bool is_alive = imap_client_is_alive(&imap->client);
		if (is_heard && is_alive && err.kind && err.kind != ERR_MESSAGE &&
		    !transfer.err.kind)
			imap_poison_note(imap, msg->uid, err);
		/* Once more, if the connection broke and the sink knows of nothing (F-13). */
		if (!err.kind || err.kind == ERR_MESSAGE || is_fresh || transfer.has_put ||
		    is_alive)
			return err;
	}
	return err;
}

struct err imap_fetch(struct upstream *upstream, const struct maildrop *maildrop,
		      const struct message *msg, const struct part *part, struct sink *sink)
{
	struct imap *imap = (struct imap *)upstream;
	struct listener listener;

	(void)maildrop;
	if (msg->marks & MARK_STUB)
		return imap_poison_put(imap, msg->uid, part, sink);
	listener_init(&listener, imap, msg->uid, part, sink);
	struct err err = imap_fetch_body(imap, msg, part, &listener.sink);
	sink->announced_octets = listener.sink.announced_octets;
	listener_fini(&listener, imap, msg->uid, !err.kind);
	return err;
}
