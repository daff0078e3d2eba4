/* SPDX-License-Identifier: MIT */
/* imap_flight.c - a login and what follows it in one flight, to a server that is known (M-02).
 *
 * Whoever says several things at once must know beforehand what the server can, and that it can listen:
 * both are remembered of the last login (imap_memo.h). A server that tells other capabilities than then
 * is asked anew, in steps; one that answers the flight with BAD, with silence or by hanging up is talked
 * to in steps for a week (M-04). Nothing is sent before the greeting, and nothing follows what may be
 * answered by a question (M-03).
 */
#include <stdio.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "upstream/imap_login.h"

enum {
	WEEK_MS = 7 * 24 * 3600 * 1000,
	NEXT_MOST = 5000, /* messages: the listing of more is not asked for unasked */
};

static bool may_fly(const struct imap_client *client)
{
	const struct imap_quirks *quirks = client->given ? client->given : client->memo.quirks;

	return client->is_known && client->flight && !client->is_deaf &&
	       !(quirks->traits & QUIRK_STEPS) &&
	       client->env->ops->now(client->env) >= client->memo.steps_until_ms;
}

void imap_flight_recall(struct imap_client *client, const struct upstream_conf *conf)
{
	const char *told = imap_wire_capabilities(client->wire);
	uint64_t print = imap_memo_print(imap_wire_greeting(client->wire), told);

	client->memo = imap_memo_get(client->memos, conf);
	/* In clear the server's own word is wanted each time: is the login allowed (B-16)? */
	client->is_known = client->memo.print == print && (client->given || client->memo.quirks) &&
			   (*told || conf->tls != UPSTREAM_CLEAR);
	client->memo.print = print;
}

void imap_flight_send(struct imap_client *client)
{
	struct buf line;
	int tag;

	if (!may_fly(client))
		return;
	client->has_flown = true;
	client->caps = client->memo.caps;
	client->quirks = client->given ? client->given : client->memo.quirks;
	struct err err = OK;
	if (!client->memo.tells_caps) {
		err = imap_send(client, &tag, "CAPABILITY");
		client->caps_tag = tag;
	}
	if (!err.kind && (client->caps & CAP_ID) && (client->quirks->traits & QUIRK_ID_FIRST))
		err = imap_caps_send_id(client);
	unsigned enabled = client->memo.enabled & imap_caps_wanted(client);
	if (!err.kind)
		err = imap_caps_send_enable(client, enabled, &client->enable_tag);
	client->is_rev2 = enabled & CAP_IMAP4REV2;
	buf_init(&line, imap_client_room(client));
	if (!err.kind && client->flight->put(client->flight->arg, client, &line))
		err = imap_send_line(client, &client->flight->tag, &line);
	buf_fini(&line);
	if (!err.kind && client->flight->tag && *client->flight->next) {
		err = imap_send(client, &client->next_tag, "%s", client->flight->next);
		strcpy(client->next, client->flight->next);
	}
	client->caps = 0; /* until they are told */
	(void)err.kind;   /* the connection is lost then, and the login hears of it */
}

/* *is_settled: the server tells the capabilities of the last time and has enabled the same again. */
static struct err settle(struct imap_client *client, int enable_tag, bool *is_settled)
{
	unsigned told = client->caps;

	*is_settled = false;
	if (!told || told != client->memo.caps)
		return enable_tag ? imap_receive(client, PHASE_LOGIN, enable_tag) : OK;
	client->quirks = client->given ? client->given : client->memo.quirks;
	unsigned enabled = client->memo.enabled & imap_caps_wanted(client);
	TRY(imap_caps_take_enable(client, enable_tag));
	*is_settled = client->enabled == enabled;
	if (!*is_settled)
		client->caps = told;
	return OK;
}

struct err imap_flight_land(struct imap_client *client, bool *is_settled)
{
	int tag = client->caps_tag, enable_tag = client->enable_tag;

	*is_settled = false;
	client->caps_tag = client->enable_tag = 0;
	if (!client->is_known)
		return OK;
	if (tag) {
		TRY(imap_receive(client, PHASE_LOGIN, tag));
		imap_caps_take(client);
	}
	TRY(settle(client, enable_tag, is_settled));
	if (*is_settled)
		return OK;
	client->is_known = client->is_rev2 = false;
	/* In steps what it tells is mostly asked for anew. */
	if (client->has_flown)
		LOG(client->log, LEVEL_NOTE, "imap-changed", log_text("host", client->host));
	if (!client->flight || !client->flight->tag)
		return OK;
	/* It was written for another server. */
	tag = client->flight->tag;
	client->flight->tag = 0;
	return imap_receive(client, PHASE_FLIGHT, tag);
}

void imap_flight_note(struct imap_client *client, const struct upstream_conf *conf)
{
	struct imap_memo *memo = &client->memo;

	client->flight = NULL;
	client->is_listing = true;
	*client->first = '\0';
	if (client->is_known && !client->is_deaf)
		return;
	memo->offered = client->offered;
	memo->enabled = client->enabled;
	if (!client->given)
		memo->quirks = client->quirks;
	if (client->is_deaf) {
		LOG(client->log, LEVEL_WARN, "imap-flight-failed", log_text("host", client->host),
		    log_number("days", 7));
		memo->steps_until_ms = client->env->ops->now(client->env) + WEEK_MS;
		client->is_deaf = false;
	}
	imap_memo_put(client->memos, conf, memo);
}

void imap_flight_lost(struct imap_client *client)
{
	/* Whoever says why it hangs up has listened. */
	client->is_deaf = imap_wire_bye(client->wire)->outcome != WIRE_BYE;
}

/* Whether a line is the same in each session in which it is needed at all. */
static bool is_constant(const char *line)
{
	static const char all[] = "UID FETCH 1:* (";

	return !strncmp(line, all, sizeof all - 1) || !strcmp(line, "UID SEARCH DELETED") ||
	       !strcmp(line, "UID SEARCH RETURN (ALL) DELETED");
}

void imap_flight_follow(struct imap_client *client, const struct upstream_conf *conf,
			const struct login *login)
{
	client->is_listing = false;
	imap_memo_next(client->memos, conf, login, client->next);
	if (*client->next) {
		struct err err = imap_send(client, &client->next_tag, "%s", client->next);
		(void)err.kind; /* the connection is lost then */
	}
	client->is_listing = true;
	*client->first = '\0';
}

struct err imap_flight_take(struct imap_client *client, const struct buf *line, int *tag)
{
	int next = client->next_tag;
	size_t len = buf_len(line);

	*tag = 0;
	if (client->is_listing && !*client->first && len < IMAP_NEXT)
		snprintf(client->first, IMAP_NEXT, "%.*s", (int)len, buf_data(line));
	if (!next)
		return OK;
	client->next_tag = 0;
	if (len == strlen(client->next) && !memcmp(buf_data(line), client->next, len)) {
		*tag = next;
		return OK;
	}
	/* Who has asked for something else is ready to listen already. */
	struct wire_listeners listeners = imap_wire_hush(client->wire);
	struct err err = imap_receive(client, PHASE_LIST, next);
	imap_wire_heed(client->wire, &listeners);
	return err;
}

void imap_flight_listed(struct imap_client *client, const struct upstream_conf *conf,
			const struct login *login)
{
	int next = client->next_tag;

	client->next_tag = 0;
	if (next && imap_client_is_alive(client)) {
		struct err err = imap_receive(client, PHASE_LIST, next);
		(void)err.kind; /* the connection is lost then, and the next command hears of it */
	}
	if (!client->is_listing || !imap_client_is_alive(client))
		return;
	client->is_listing = false;
	bool is_of_use = is_constant(client->first) && imap_wire_exists(client->wire) <= NEXT_MOST;
	imap_memo_put_next(client->memos, conf, login, is_of_use ? client->first : "");
}
