/* SPDX-License-Identifier: MIT */
/* imap_unflag.c - EXPUNGE without UIDs although others have marked messages \Deleted: their flag is taken
 * off for that moment and set again (RFC 4315 section 2.1, D-06). Only where the map wants it: who looks
 * in that moment sees messages undeleted, and where the connection is lost for good in it they stay so.
 * They are never lost. */
#include "upstream/imap_remove.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "upstream/imap_name.h"

enum {
	MOST = 10000, /* messages of others: more of them are nobody's moment */
	LOGGED = 900, /* octets of UIDs in an alarm */
};

static void take_foreign(void *arg, uint32_t low, uint32_t high)
{
	struct unflagged *others = arg;
	const struct removal *removal = others->removal;
	size_t i = uid_at_or_above(removal->uids, removal->count, low);

	for (uint64_t uid = low; uid <= high && others->count <= MOST; uid++) {
		if (i < removal->count && removal->uids[i] == uid) {
			i++;
			continue;
		}
		others->uids = mem_resize(others->uids, others->count + 1, sizeof *others->uids);
		others->uids[others->count++] = (uint32_t)uid;
	}
}

static int upwards(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;

	return (one > two) - (one < two);
}

static struct err store(struct imap *imap, const struct unflagged *others, char sign)
{
	struct uid_set set = {
		.uids = others->uids,
		.count = others->count,
		.most = UID_SET_MESSAGES,
		.octets = uid_set_octets(imap->quirks ? imap->quirks->line : 1000),
	};
	char *text = mem_alloc(UID_SET_OCTETS + 1);
	struct err err = OK;

	while (!err.kind && uid_set_next(&set, text)) {
		err = imap_command(&imap->client, PHASE_UPDATE,
				   "UID STORE %s %cFLAGS.SILENT (\\Deleted)", text, sign);
		imap_client_trim(&imap->client);
	}
	free(text);
	return err;
}

struct err unflag_others(struct removal *removal, struct unflagged *others)
{
	struct imap *imap = removal->imap;
	struct imap_client *client = &imap->client;

	*others = (struct unflagged){.removal = removal};
	imap_wire_expect_found(client->wire, take_foreign, others);
	struct err err = imap_command(client, PHASE_UPDATE, "UID SEARCH DELETED");
	bool has_found = imap_wire_has_found(client->wire);
	imap_wire_expect_found(client->wire, NULL, NULL);
	imap_client_trim(client);
	TRY(err);
	if (!has_found || others->count > MOST) {
		others->count = 0;
		return ERR(ERR_UPSTREAM, 0, "the mail server does not say what is deleted");
	}
	if (others->count)
		qsort(others->uids, others->count, sizeof *others->uids, upwards);
	LOG(imap->log, LEVEL_WARN, "imap-unflagging", log_number("others", others->count));
	return store(imap, others, '-');
}

void unflag_restore(struct removal *removal, struct unflagged *others)
{
	struct imap *imap = removal->imap;
	char text[LOGGED + 1];
	struct err err = OK;

	if (others->count) {
		/* A connection that was lost may be made again for this alone. */
		imap->client.until_ms = 0;
		imap->is_bounded = false;
		err = imap_ready(imap, NULL);
		if (!err.kind)
			err = store(imap, others, '+');
		if (imap->client.wire)
			imap->client.until_ms = removal->until_ms;
	}
	if (err.kind) {
		struct uid_set set = {.uids = others->uids,
				      .count = others->count,
				      .most = UID_SET_MESSAGES,
				      .octets = LOGGED};
		log_err(imap->log, LEVEL_WARN, "imap-unflagged-error", err);
		while (uid_set_next(&set, text))
			LOG(imap->log, LEVEL_ALARM, "imap-unflagged-not-restored",
			    log_text("name", imap->conf.name), log_text("uids", text));
	}
	free(others->uids);
	*others = (struct unflagged){.removal = removal};
}
