/* SPDX-License-Identifier: MIT */
/* imap_seen.c - what is said to the server while the client has its turn: that it has read a message,
 * and that we are still there. Neither may hold the client up, and no failure is told to it. */
#include "upstream/imap.h"

enum { NUDGE_MS = 10000 };

void imap_seen_settle(struct imap *imap)
{
	struct imap_client *client = &imap->client;
	int tag = imap->seen_tag;

	imap->seen_tag = 0;
	if (!tag || !imap_client_is_alive(client))
		return;
	struct err err = imap_receive(client, PHASE_UPDATE, tag);
	if (!err.kind)
		err = imap_outcome(client, PHASE_UPDATE);
	if (err.kind)
		log_err(imap->log, LEVEL_NOTE, "imap-seen-failed", err);
	imap_client_trim(client);
}

void imap_retrieved(struct upstream *upstream, const struct message *msg)
{
	struct imap *imap = (struct imap *)upstream;
	struct imap_client *client = &imap->client;

	if (imap->conf.seen_policy != SEEN_ON_RETR || msg->marks & MARK_STUB)
		return;
	imap_seen_settle(imap);
	if (!imap_client_is_alive(client) || imap->is_void || imap->is_folder_read_only)
		return;
	struct err err =
		imap_send(client, &imap->seen_tag, "UID STORE %u +FLAGS.SILENT (\\Seen)", msg->uid);
	/* It leaves now: its answer will be here by the time that the client has asked for more. */
	if (!err.kind && mailstream_flush(client->im->imap_stream) == -1)
		imap_client_kill(client);
	if (err.kind || !imap_client_is_alive(client)) {
		imap->seen_tag = 0;
		LOG(imap->log, LEVEL_NOTE, "imap-seen-failed");
	}
}

void imap_nudge(struct upstream *upstream)
{
	struct imap *imap = (struct imap *)upstream;
	struct imap_client *client = &imap->client;

	imap_seen_settle(imap);
	if (!imap_client_is_alive(client))
		return;
	client->until_ms = imap->env->ops->now(imap->env) + NUDGE_MS;
	struct err err = imap_command(client, PHASE_UPDATE, "NOOP");
	client->until_ms = 0;
	if (err.kind)
		log_err(imap->log, LEVEL_NOTE, "imap-nudge-failed", err);
	imap_client_trim(client);
}
