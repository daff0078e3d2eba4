/* SPDX-License-Identifier: MIT */
/* imap_queue.c - commands under way, and whose octets are whose.
 *
 * libetpan reads up to one tagged reply; of what comes until then the doorman tells whose it is. A body
 * that tells no UID before its octets, while several are due, is nobody's until its reply ends.
 */
#include "upstream/imap_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/imap.h"
#include "upstream/imap_login.h"

enum { ROOM = 4, SPARE = 2 << 20 /* octets thrown away while something is wanted */ };

/* One imap_queue_take(). No command is sent while it lasts, so nothing in the queue moves. */
struct receiving {
	struct imap *imap;
	struct imap_reader *reader; /* NULL: nobody wants it */
	struct queued *current;     /* that is wanted */
	struct queued *into;        /* whose body began last; NULL: none has */
	struct queued nameless;     /* it, while its UID is not known */
	bool is_wrong; /* a body under a UID that is not in line, twice, or where none belongs */
};

struct want imap_want(const struct message *msg, const struct part *part)
{
	uint64_t left = msg->octets > part->from ? msg->octets - part->from : 0;
	uint64_t octets = part->octets ? part->octets : UINT64_MAX;

	return (struct want){msg->uid, part->from, octets, left < octets ? left : octets};
}

void queued_fini(struct queued *queued)
{
	free(queued->held);
	free(queued->status);
	*queued = (struct queued){0};
}

void imap_queue_fini(struct imap *imap)
{
	struct imap_queue *queue = &imap->queue;

	for (size_t i = 0; i < queue->count; i++)
		queued_fini(&queue->at[i]);
	free(queue->at);
	*queue = (struct imap_queue){.fitness = queue->fitness};
}

/* --- what is in line ---------------------------------------------------------------------------- */

static struct queued *find(const struct imap_queue *queue, uint32_t uid)
{
	for (size_t i = 0; uid && i < queue->count; i++)
		if (queue->at[i].want.uid == uid)
			return &queue->at[i];
	return NULL;
}

bool imap_queue_has(const struct imap *imap, uint32_t uid)
{
	return find(&imap->queue, uid) != NULL;
}

size_t imap_queue_fetches(const struct imap *imap, uint32_t uid, uint64_t *octets)
{
	const struct imap_queue *queue = &imap->queue;
	size_t count = 0;

	*octets = 0;
	for (size_t i = 0; i < queue->count; i++) {
		const struct want *want = &queue->at[i].want;
		if (!want->uid || want->uid == uid)
			continue;
		*octets += want->size;
		count++;
	}
	return count;
}

/* Octets of it that are yet to be read: none, once its tagged reply was. */
static uint64_t due_of(const struct queued *queued)
{
	return queued->status ? 0 : queued->want.size;
}

/* FETCHes whose body may yet begin. */
static size_t count_open(const struct imap_queue *queue)
{
	size_t open = 0;

	for (size_t i = 0; i < queue->count; i++) {
		const struct queued *queued = &queue->at[i];
		open += queued->want.uid && !queued->has_begun && !queued->is_closed &&
			!queued->status;
	}
	return open;
}

static void append(struct imap_queue *queue, int tag, const struct want *want)
{
	if (queue->count == queue->room) {
		queue->room = queue->room ? 2 * queue->room : ROOM;
		queue->at = mem_resize(queue->at, queue->room, sizeof *queue->at);
	}
	queue->at[queue->count++] = (struct queued){.tag = tag, .want = *want};
}

static void take_out(struct imap_queue *queue, struct queued *queued, struct queued *out)
{
	*out = *queued;
	if (out->held)
		queue->held -= (size_t)out->octets;
	size_t behind = (size_t)(queue->at + --queue->count - queued);
	memmove(queued, queued + 1, behind * sizeof *queued);
	if (queue->count)
		return;
	free(queue->at);
	queue->at = NULL;
	queue->room = 0;
}

struct err imap_queue_fetch(struct imap *imap, const struct want *want)
{
	struct imap_client *client = &imap->client;
	int tag;

	if (want->from > UINT32_MAX)
		return ERR(ERR_UPSTREAM, EOVERFLOW, "the message is too long for the mail server");
	if (!want->from && want->octets == UINT64_MAX)
		TRY(imap_send(client, &tag, "UID FETCH %u (UID BODY.PEEK[])", want->uid));
	else
		TRY(imap_send(client, &tag, "UID FETCH %u (UID BODY.PEEK[]<%llu.%llu>)", want->uid,
			      (unsigned long long)want->from,
			      (unsigned long long)(want->octets < UINT32_MAX ? want->octets
									     : UINT32_MAX)));
	append(&imap->queue, tag, want);
	return OK;
}

struct err imap_queue_seen(struct imap *imap, uint32_t uid)
{
	static const struct want nothing = {0, 0, 0, 0};
	int tag;

	TRY(imap_send(&imap->client, &tag, "UID STORE %u +FLAGS.SILENT (\\Seen)", uid));
	append(&imap->queue, tag, &nothing);
	return OK;
}

/* --- what comes --------------------------------------------------------------------------------- */

/* A body that is not wanted now. */
static void set_aside(struct receiving *receiving, struct queued *queued)
{
	struct imap_queue *queue = &receiving->imap->queue;
	bool is_wanted = !queue->is_settling && queued != receiving->current;

	if (is_wanted && queued->octets <= QUEUE_HELD - queue->held)
		queued->held = malloc((size_t)queued->octets + 1);
	if (queued->held)
		queue->held += (size_t)queued->octets;
	queued->is_spoilt = !queued->held;
}

/* Whose is a body without UID? */
static struct queued *unnamed(struct receiving *receiving)
{
	if (count_open(&receiving->imap->queue) == 1 && receiving->current->want.uid &&
	    !receiving->current->has_begun)
		return receiving->current;
	receiving->nameless = (struct queued){0};
	return &receiving->nameless;
}

static void begin_body(void *arg, const struct wire_body *body)
{
	struct receiving *receiving = arg;
	struct imap_queue *queue = &receiving->imap->queue;

	/* The first thing wrong ends it all; what is held for a body without a name is one body's. */
	if (receiving->is_wrong)
		return;
	if (queue->fitness == FITNESS_UNKNOWN)
		queue->fitness = body->has_uid ? FITNESS_GOOD : FITNESS_NONE;
	struct queued *of = body->has_uid ? find(queue, body->uid) : unnamed(receiving);
	if (!of || of->has_begun || of->is_closed || of->status) {
		receiving->is_wrong = true;
		receiving->into = NULL;
		return;
	}
	receiving->into = of;
	of->has_begun = true;
	of->octets = body->octets;
	of->has_origin = body->has_origin;
	of->origin = body->origin;
	if (of == receiving->current && receiving->reader)
		receiving->reader->begin(receiving->reader, of);
	else
		set_aside(receiving, of);
	if (count_open(queue) > (of == &receiving->nameless))
		imap_wire_expect_body(receiving->imap->client.wire, UINT64_MAX, begin_body, arg);
}

static bool take_octets(int type, struct mailimap_msg_att_body_section *section, const char *octets,
			size_t len, void *arg)
{
	struct receiving *receiving = arg;
	struct imap_queue *queue = &receiving->imap->queue;
	struct queued *into = receiving->into;
	bool is_whole_message =
		type == MAILIMAP_MSG_ATT_RFC822 ||
		(type == MAILIMAP_MSG_ATT_BODY_SECTION &&
		 (!section || !section->sec_section || !section->sec_section->sec_spec));

	if (receiving->is_wrong || !into || !is_whole_message || len > into->octets - into->got) {
		receiving->is_wrong = true;
		return false;
	}
	size_t at = (size_t)into->got;
	into->got += len;
	if (into->held) {
		memcpy(into->held + at, octets, len);
		return true;
	}
	if (!into->is_spoilt)
		return receiving->reader->take(receiving->reader, octets, len);
	bool may_go_on = len <= queue->waste;
	queue->waste -= may_go_on ? len : 0;
	return may_go_on;
}

/* The reply that has ended tells whose the body was. */
static void name_it(struct receiving *receiving, struct queued *of)
{
	struct queued *nameless = &receiving->nameless;

	if (of->has_begun) {
		receiving->is_wrong = true;
		return;
	}
	of->has_begun = true;
	of->has_origin = nameless->has_origin;
	of->origin = nameless->origin;
	of->octets = nameless->octets;
	of->got = nameless->got;
	of->is_spoilt = nameless->is_spoilt;
	of->held = nameless->held;
	nameless->held = NULL;
	receiving->into = of;
}

/* A FETCH reply has ended. Only those with a body count; others are news about flags. */
static void end_item(void *arg, const struct wire_item *item)
{
	struct receiving *receiving = arg;

	if (!item->has_body || receiving->is_wrong)
		return;
	struct queued *of = item->has_uid ? find(&receiving->imap->queue, item->uid) : NULL;
	if (of && !item->is_nil && receiving->into == &receiving->nameless)
		name_it(receiving, of);
	if (!of || of->is_closed || of->status || (!item->is_nil && of != receiving->into)) {
		receiving->is_wrong = true;
		return;
	}
	of->is_closed = true;
	of->is_nil = item->is_nil;
}

static bool take_other(void *arg, uint32_t tag, const struct wire_status *status)
{
	const struct receiving *receiving = arg;
	const struct imap_queue *queue = &receiving->imap->queue;

	for (size_t i = 0; i < queue->count; i++) {
		struct queued *queued = &queue->at[i];
		if ((uint32_t)queued->tag != tag || queued->status || queued == receiving->current)
			continue;
		queued->status = mem_alloc(sizeof *status);
		*queued->status = *status;
		return true;
	}
	return false;
}

static struct err receive(struct receiving *receiving)
{
	struct imap_client *client = &receiving->imap->client;
	const struct queued *current = receiving->current;
	enum imap_phase phase = current->want.uid ? PHASE_BODY : PHASE_UPDATE;

	if (current->status) {
		imap_wire_recall(client->wire, current->status);
		imap_note_throttle(client, phase);
		return OK;
	}
	mailimap_set_msg_body_handler(client->im, take_octets, receiving);
	if (count_open(&receiving->imap->queue))
		imap_wire_expect_body(client->wire, UINT64_MAX, begin_body, receiving);
	imap_wire_expect_items(client->wire, end_item, receiving);
	if (receiving->imap->queue.count > 1)
		imap_wire_expect_others(client->wire, take_other, receiving);
	struct err err = imap_receive(client, phase, current->tag);
	imap_wire_expect_others(client->wire, NULL, NULL);
	imap_wire_expect_items(client->wire, NULL, NULL);
	imap_wire_expect_body(client->wire, 0, NULL, NULL);
	mailimap_set_msg_body_handler(client->im, NULL, NULL);
	return err;
}

/* What came before its turn, now that it has come. */
static bool hand_on(struct imap_reader *reader, const struct queued *queued)
{
	reader->begin(reader, queued);
	return !queued->got || reader->take(reader, queued->held, (size_t)queued->got);
}

struct err imap_queue_take(struct imap *imap, uint32_t uid, struct imap_reader *reader,
			   struct queued *out)
{
	static const struct err other = {ERR_UPSTREAM, EPROTO,
					 "the mail server sent another message"};
	struct imap_queue *queue = &imap->queue;
	struct receiving receiving = {
		.imap = imap, .reader = reader, .current = uid ? find(queue, uid) : queue->at};

	*out = (struct queued){0};
	if (!imap_client_is_alive(&imap->client))
		return imap_lost(&imap->client, ENOTCONN);
	if (!queue->is_settling)
		queue->waste = SPARE;
	struct err err = receive(&receiving);
	if (receiving.nameless.held)
		queue->held -= (size_t)receiving.nameless.octets;
	free(receiving.nameless.held);
	take_out(queue, receiving.current, out);
	if (!err.kind && receiving.is_wrong)
		err = other;
	if (!err.kind && reader && out->held && !hand_on(reader, out))
		err = other;
	if (err.kind)
		imap_client_kill(&imap->client);
	return err;
}

/* --- what nobody wants -------------------------------------------------------------------------- */

/* Takes the first in line, whatever it is. False: the connection is lost. */
static bool skip(struct imap *imap)
{
	struct queued queued;
	bool is_store = !imap->queue.at[0].want.uid;
	struct err err = imap_queue_take(imap, 0, NULL, &queued);
	bool is_alive = !err.kind;

	if (is_store && is_alive)
		err = imap_outcome(&imap->client, PHASE_UPDATE);
	if (is_store && err.kind)
		log_err(imap->log, LEVEL_NOTE, "imap-seen-failed", err);
	queued_fini(&queued);
	imap_client_trim(&imap->client);
	return is_alive;
}

static bool is_sound(const struct imap *imap)
{
	return !imap->is_void && imap_client_is_alive(&imap->client) &&
	       imap_wire_folder(imap->client.wire)->uidvalidity == imap->uidvalidity;
}

bool imap_queue_can_wait(const struct imap *imap, const struct want *want)
{
	uint64_t octets;

	return want->from && is_sound(imap) && !imap_queue_has(imap, want->uid) &&
	       imap_queue_fetches(imap, 0, &octets) && octets <= QUEUE_HELD;
}

bool imap_queue_reach(struct imap *imap, const struct want *want)
{
	const struct imap_queue *queue = &imap->queue;
	const struct queued *found = find(queue, want->uid);
	uint64_t before = 0;

	if (!found || found->want.from != want->from || found->want.octets != want->octets ||
	    !is_sound(imap))
		return false;
	size_t left = (size_t)(found - queue->at);
	for (size_t i = 0; i < left; i++)
		before += due_of(&queue->at[i]);
	if (before > QUEUE_WASTE)
		return false;
	while (left)
		if (!skip(imap))
			return false;
		else
			left--;
	if (!imap->is_bounded)
		imap->client.until_ms = 0;
	return true;
}

/* The moment at which settling ends. */
static uint64_t settled_by(const struct imap *imap, uint64_t most)
{
	uint64_t until = imap->client.until_ms;
	uint64_t latest = imap->env->ops->now(imap->env) +
			  (most == UINT64_MAX ? QUEUE_MUST_MS : QUEUE_SETTLE_MS);

	return until && until < latest ? until : latest;
}

void imap_queue_settle(struct imap *imap, uint64_t most)
{
	struct imap_queue *queue = &imap->queue;
	struct imap_client *client = &imap->client;
	uint64_t until = client->until_ms, due = 0;
	size_t stores = 0;

	for (size_t i = 0; i < queue->count; i++) {
		due += due_of(&queue->at[i]);
		stores += !queue->at[i].want.uid;
	}
	/* A \Seen that was sent shall not be lost with the connection. */
	if (due > most && !stores)
		imap_client_kill(client);
	if (queue->count && imap_client_is_alive(client)) {
		/* Sizes are what was told, if anything was. */
		queue->waste = most == UINT64_MAX ? most : due + due / 2 + SPARE;
		queue->is_settling = true;
		client->until_ms = stores < queue->count ? settled_by(imap, most) : until;
		while (queue->count && skip(imap))
			;
		client->until_ms = until;
	}
	imap_queue_fini(imap);
	if (!imap_client_is_alive(client))
		queue->fitness = FITNESS_UNKNOWN;
}
