/* SPDX-License-Identifier: MIT */
/* imap_ahead.c - what to ask for before it is asked for. */
#include "upstream/imap_ahead.h"

#include <stdlib.h>

#include "proxy/base/mem.h"
#include "upstream/imap.h"

enum { NO_AHEAD = QUIRK_GHOSTS | QUIRK_STEPS };

void imap_ahead_fini(struct imap *imap)
{
	free(imap->ahead.announced);
	imap->ahead = (struct imap_ahead){.is_off = false};
	imap_queue_fini(imap);
}

void imap_ahead_drop(struct imap *imap)
{
	uint64_t octets;

	if (imap_queue_fetches(imap, 0, &octets))
		imap->ahead.window = 0;
	/* A client's own proof cannot be given again, and UIDs that do not last end with the connection. */
	bool is_only = imap->login.kind == LOGIN_RELAY || imap->is_loose;
	imap_queue_settle(imap, is_only ? UINT64_MAX : QUEUE_WASTE);
}

void imap_announce(struct upstream *upstream, const struct maildrop *maildrop,
		   const struct announced *announced, size_t count)
{
	struct imap_ahead *ahead = &((struct imap *)upstream)->ahead;

	(void)maildrop;
	if (!count && !ahead->announced)
		return;
	free(ahead->announced);
	ahead->announced = count ? mem_resize(NULL, count, sizeof *ahead->announced) : NULL;
	ahead->announced_count = 0;
	for (size_t i = 0; i < count; i++)
		if (!(announced[i].message->marks & MARK_STUB))
			ahead->announced[ahead->announced_count++] =
				imap_want(announced[i].message, &announced[i].part);
}

/* --- guessing ----------------------------------------------------------------------------------- */

/* The index of the next message that is not marked, from `at` on; `total` if there is none. */
static size_t next_message(const struct maildrop *maildrop, size_t at, unsigned marks)
{
	while (at < maildrop->total && maildrop->messages[at].marks & marks)
		at++;
	return at;
}

static bool has_index(const struct maildrop *maildrop, uint32_t uid, size_t *index)
{
	const struct message *msg = maildrop_find(maildrop, uid);

	if (msg)
		*index = (size_t)(msg - maildrop->messages);
	return msg != NULL;
}

/* Whether `want` is what comes behind the last one; or the first that the client has not got, all of it,
 * at the begin of a session. */
static bool goes_on(const struct imap_ahead *ahead, const struct maildrop *maildrop,
		    const struct want *want, size_t index)
{
	if (!ahead->has_begun)
		return want->octets == UINT64_MAX &&
		       index == next_message(maildrop, 0, MARK_DELETED | MARK_RETRIEVED);
	return want->from == ahead->from && want->octets == ahead->octets &&
	       index == next_message(maildrop, ahead->last + 1, MARK_DELETED);
}

void imap_ahead_note(struct imap *imap, const struct maildrop *maildrop, const struct want *want,
		     bool is_hit)
{
	struct imap_ahead *ahead = &imap->ahead;
	size_t index;

	/* The next range of a TOP is no step. */
	if (want->from || !has_index(maildrop, want->uid, &index))
		return;
	if (!goes_on(ahead, maildrop, want, index))
		ahead->window = 0;
	else if (!is_hit || !ahead->window)
		ahead->window = 1;
	else if (ahead->window < AHEAD_MOST)
		ahead->window *= 2;
	ahead->has_begun = true;
	ahead->last = index;
	ahead->from = want->from;
	ahead->octets = want->octets;
}

/* --- asking ------------------------------------------------------------------------------------- */

/* The next range of a part comes before those that are in line, and they are held meanwhile. */
static uint64_t most_octets(const struct imap *imap, bool has_part, bool is_asked)
{
	if (imap->ahead.is_narrow || has_part)
		return QUEUE_HELD;
	return is_asked ? AHEAD_ASKED : AHEAD_OCTETS;
}

static bool is_part(const struct want *want)
{
	return want->octets != UINT64_MAX;
}

/* Whether anything may be under way beside this. */
static bool may_ask(const struct imap *imap, const struct want *want)
{
	const struct imap_client *client = &imap->client;

	return !imap->ahead.is_off && imap->queue.fitness == FITNESS_GOOD && !imap->is_bounded &&
	       imap_client_is_alive(client) && !client->is_throttled &&
	       !(imap->quirks->traits & NO_AHEAD) && want->size <= AHEAD_OCTETS &&
	       !(is_part(want) && imap->ahead.is_off_for_parts);
}

/* How much is under way beyond the one that is read. */
struct load {
	uint32_t uid; /* of that */
	bool is_part; /* and its next range may be wanted */
	size_t count;
	uint64_t octets;
	bool is_asked; /* the client has done so */
};

/* Puts one more in line. False: that was all. */
static bool ask(struct imap *imap, struct load *load, const struct want *want)
{
	uint64_t most = most_octets(imap, load->is_part || is_part(want), load->is_asked);
	uint64_t left = most > load->octets ? most - load->octets : 0;

	/* What cannot be held if it comes too early does not leave too early. */
	if (want->size > QUEUE_LARGE && imap->queue.count)
		return false;
	if (load->count == AHEAD_MOST || want->size > left || !may_ask(imap, want) ||
	    imap_queue_has(imap, want->uid))
		return false;
	if (imap_queue_fetch(imap, want).kind)
		return false;
	load->count++;
	load->octets += want->size;
	return true;
}

/* What the client has announced, unless something else is in line. False: nothing more is to be asked. */
static bool ask_announced(struct imap *imap, struct load *load)
{
	const struct imap_queue *queue = &imap->queue;
	const struct imap_ahead *ahead = &imap->ahead;
	size_t at = 0;

	load->is_asked = true;
	for (size_t i = 0; i < queue->count && at < ahead->announced_count; i++) {
		const struct want *queued = &queue->at[i].want, *want = &ahead->announced[at];
		if (!queued->uid || queued->uid == load->uid)
			continue;
		if (queued->uid != want->uid || queued->octets != want->octets)
			return false;
		at++;
	}
	for (; at < ahead->announced_count; at++)
		if (!ask(imap, load, &ahead->announced[at]))
			return false;
	return true;
}

/* What follows the last one in line, until the window is full. */
static void ask_guessed(struct imap *imap, const struct maildrop *maildrop, struct load *load)
{
	const struct imap_queue *queue = &imap->queue;
	const struct imap_ahead *ahead = &imap->ahead;
	const struct part part = {ahead->from, ahead->octets == UINT64_MAX ? 0 : ahead->octets};
	uint32_t last = load->uid;
	size_t at;

	load->is_asked = false;
	for (size_t i = 0; i < queue->count; i++)
		last = queue->at[i].want.uid ? queue->at[i].want.uid : last;
	if (!has_index(maildrop, last, &at))
		return;
	while (load->count < ahead->window) {
		at = next_message(maildrop, at + 1, MARK_DELETED | MARK_STUB);
		if (at == maildrop->total)
			return;
		struct want want = imap_want(&maildrop->messages[at], &part);
		if (!ask(imap, load, &want))
			return;
	}
}

void imap_ahead_fill(struct imap *imap, const struct maildrop *maildrop, const struct want *want)
{
	const struct imap_ahead *ahead = &imap->ahead;
	struct load load = {.uid = want->uid, .is_part = is_part(want)};

	if (!may_ask(imap, want))
		return;
	load.count = imap_queue_fetches(imap, want->uid, &load.octets);
	/* Topped up when a quarter is used: several commands in a write, and the pipe stays full. */
	size_t count =
		ahead->announced_count > ahead->window ? ahead->announced_count : ahead->window;
	uint64_t octets = most_octets(imap, is_part(want), ahead->announced_count > 0);
	if (load.count > (count < AHEAD_MOST ? count : AHEAD_MOST) * 3 / 4 ||
	    load.octets > octets / 4 * 3)
		return;
	if (ask_announced(imap, &load))
		ask_guessed(imap, maildrop, &load);
}

void imap_ahead_begin(struct imap *imap, const struct maildrop *maildrop, const struct want *want)
{
	size_t before = imap->queue.count;
	uint64_t octets;

	if (imap_queue_fetches(imap, 0, &octets))
		return;
	imap_ahead_fill(imap, maildrop, want);
	if (imap->queue.count > before && mailstream_flush(imap->client.im->imap_stream) == -1)
		imap_client_kill(&imap->client);
}
