/* SPDX-License-Identifier: MIT */
/* imap_early.c - tagged replies that come before their turn are kept until then. */
#include "upstream/imap_early.h"

#include "upstream/imap_login.h"

static size_t place_of(const struct early *early, uint32_t tag)
{
	size_t at = 0;

	while (at < early->count && (uint32_t)early->all[at].tag != tag)
		at++;
	return at;
}

static bool take_early(void *arg, uint32_t tag, const struct wire_status *status)
{
	struct early *early = arg;
	size_t at = place_of(early, tag);

	if (at == early->count || early->all[at].is_answered)
		return false;
	early->all[at].is_answered = true;
	early->all[at].status = *status;
	return true;
}

void early_begin(struct early *early, struct imap_client *client)
{
	early->client = client;
	early->count = 0;
	if (client->wire)
		imap_wire_expect_others(client->wire, take_early, early);
}

void early_end(struct early *early)
{
	if (early->client->wire)
		imap_wire_expect_others(early->client->wire, NULL, NULL);
}

void early_announce(struct early *early, int tag)
{
	if (!tag || early->count == EARLY_MOST)
		return;
	early->all[early->count].tag = tag;
	early->all[early->count++].is_answered = false;
}

struct err early_receive(struct early *early, enum imap_phase phase, int tag)
{
	size_t at = place_of(early, (uint32_t)tag);
	bool is_answered = at < early->count && early->all[at].is_answered;
	struct wire_status status;

	if (is_answered)
		status = early->all[at].status;
	if (at < early->count)
		early->all[at] = early->all[--early->count];
	if (!is_answered)
		return imap_receive(early->client, phase, tag);
	if (!imap_client_is_alive(early->client))
		return imap_lost(early->client, 0);
	imap_wire_recall(early->client->wire, &status);
	imap_note_throttle(early->client, phase);
	return OK;
}
