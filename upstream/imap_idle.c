/* SPDX-License-Identifier: MIT */
/* imap_idle.c - IDLE without anybody who listens. */
#include "upstream/imap_idle.h"

#include <errno.h>

#include "upstream/imap_login.h"

struct err imap_idle_begin(struct imap_client *client)
{
	int tag;

	TRY(imap_send(client, &tag, "IDLE"));
	TRY(imap_idle_take(client, PHASE_POLL)); /* of the one before */
	imap_wire_expect_challenges(client->wire);
	struct err err = imap_receive(client, PHASE_POLL, tag);
	bool is_idle = !err.kind && imap_was(client, WIRE_CONTINUE);
	imap_wire_forget_challenge(client->wire);
	TRY(err);
	if (is_idle) {
		client->idle_tag = tag;
		return OK;
	}
	imap_client_forget(client, CAP_IDLE);
	return imap_command(client, PHASE_POLL, "NOOP");
}

bool imap_idle_is_quiet(const struct imap_client *client)
{
	return client->idle_tag && imap_client_is_alive(client) && imap_wire_is_quiet(client->wire);
}

struct err imap_idle_end(struct imap_client *client)
{
	if (!client->idle_tag)
		return OK;
	client->done_tag = client->idle_tag;
	client->idle_tag = 0;
	if (mailstream_write(client->im->imap_stream, "DONE\r\n", 6) == 6)
		return OK;
	imap_client_kill(client);
	return imap_lost(client, EIO);
}

struct err imap_idle_take(struct imap_client *client, enum imap_phase phase)
{
	int tag = client->done_tag;

	client->done_tag = 0;
	if (!tag)
		return OK;
	uint64_t most = imap_wire_body_most(client->wire);
	TRY(imap_await(client, phase, tag));
	TRY(imap_parse(client, tag));
	imap_wire_body_again(client->wire, most);
	return OK;
}
