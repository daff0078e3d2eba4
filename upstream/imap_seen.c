/* SPDX-License-Identifier: MIT */
/* imap_seen.c - what is said to the server while the client has its turn: that it has read a message,
 * and that we are still there. Neither may hold the client up, and no failure is told to it. */
#include "upstream/imap.h"

enum { NUDGE_MS = 10000 };

void imap_retrieved(struct upstream *upstream, const struct message *msg)
{
	struct imap *imap = (struct imap *)upstream;
	struct imap_client *client = &imap->client;
	uint64_t octets;

	if (imap->conf.seen_policy != SEEN_ON_RETR || msg->marks & MARK_STUB)
		return;
	/* Behind messages that are under way its answer comes after them, and is taken then. */
	if (!imap_queue_fetches(imap, 0, &octets))
		imap_ahead_drop(imap);
	if (!imap_client_is_alive(client) || imap->is_void || imap->is_folder_read_only)
		return;
	struct err err = imap_queue_seen(imap, msg->uid);
	/* It leaves now: its answer will be here by the time that the client has asked for more. */
	if (!err.kind && mailstream_flush(client->im->imap_stream) == -1)
		imap_client_kill(client);
	if (err.kind || !imap_client_is_alive(client))
		LOG(imap->log, LEVEL_NOTE, "imap-seen-failed");
}

void imap_nudge(struct upstream *upstream)
{
	struct imap *imap = (struct imap *)upstream;
	struct imap_client *client = &imap->client;

	imap_ahead_drop(imap);
	if (!imap_client_is_alive(client))
		return;
	client->until_ms = imap->env->ops->now(imap->env) + NUDGE_MS;
	struct err err = imap_command(client, PHASE_UPDATE, "NOOP");
	client->until_ms = 0;
	if (err.kind)
		log_err(imap->log, LEVEL_NOTE, "imap-nudge-failed", err);
	imap_client_trim(client);
}
