/* SPDX-License-Identifier: MIT */
/* imap_caps.c - what a server can do, who it says it is, and which row of oddities that makes.
 *
 * Capabilities of before the login say nothing about after it (B-24). ID travels with whatever else
 * has to be said: with CAPABILITY where that must be asked, else with the first command that comes
 * (M-13); imap_receive() takes its reply on the way.
 */
#include <stdio.h>
#include <string.h>

#include "proxy/base/text.h"
#include "upstream/imap_login.h"

static const struct {
	const char *name;
	unsigned cap;
} known[] = {
	{"IMAP4rev1", CAP_IMAP4REV1},
	{"IMAP4rev2", CAP_IMAP4REV2},
	{"STARTTLS", CAP_STARTTLS},
	{"LOGINDISABLED", CAP_LOGINDISABLED},
	{"SASL-IR", CAP_SASL_IR},
	{"UIDPLUS", CAP_UIDPLUS},
	{"SPECIAL-USE", CAP_SPECIAL_USE},
	{"LIST-EXTENDED", CAP_LIST_EXTENDED},
	{"MOVE", CAP_MOVE},
	{"CONDSTORE", CAP_CONDSTORE},
	{"QRESYNC", CAP_CONDSTORE}, /* RFC 7162 section 3.2.3 */
	{"OBJECTID", CAP_OBJECTID},
	{"X-GM-EXT-1", CAP_GMAIL},
	{"ESEARCH", CAP_ESEARCH},
	{"ENABLE", CAP_ENABLE},
	{"ID", CAP_ID},
	{"UIDONLY", CAP_UIDONLY},
	{"UNSELECT", CAP_UNSELECT},
	{"IDLE", CAP_IDLE},
};

static const struct {
	const char *name;
	unsigned cap;
} mechanisms[] = {
	{"PLAIN", CAP_AUTH_PLAIN},
	{"EXTERNAL", CAP_AUTH_EXTERNAL},
	{"XOAUTH2", CAP_AUTH_XOAUTH2},
	{"OAUTHBEARER", CAP_AUTH_OAUTHBEARER},
	{"SCRAM-SHA-1", CAP_AUTH_SCRAM_1},
	{"SCRAM-SHA-1-PLUS", CAP_AUTH_SCRAM_1_PLUS},
	{"SCRAM-SHA-256", CAP_AUTH_SCRAM_256},
	{"SCRAM-SHA-256-PLUS", CAP_AUTH_SCRAM_256_PLUS},
};

/* What belongs to revision 2 itself (RFC 9051 appendix E). */
#define REV2_CAPS                                                                                  \
	(CAP_UIDPLUS | CAP_MOVE | CAP_ESEARCH | CAP_ENABLE | CAP_UNSELECT | CAP_IDLE |             \
	 CAP_LIST_EXTENDED | CAP_SASL_IR)

static unsigned cap_of_mechanism(const char *name)
{
	for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++)
		if (text_same(name, mechanisms[i].name))
			return mechanisms[i].cap;
	return 0;
}

static unsigned cap_of(const struct mailimap_capability *capability)
{
	static const char limit[] = "MESSAGELIMIT=";
	const char *name = capability->cap_data.cap_name;

	if (!name)
		return 0;
	if (capability->cap_type == MAILIMAP_CAPABILITY_AUTH_TYPE)
		return cap_of_mechanism(name);
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (text_same(name, known[i].name))
			return known[i].cap;
	size_t len = sizeof limit - 1;
	return text_same_n(name, strnlen(name, len), limit, len) ? CAP_MESSAGELIMIT : 0;
}

void imap_caps_forget(struct imap_client *client)
{
	struct mailimap_connection_info *info = client->im->imap_connection_info;

	if (info && info->imap_capability)
		mailimap_capability_data_free(info->imap_capability);
	if (info)
		info->imap_capability = NULL;
	client->caps = 0;
}

/* Makes bits of what libetpan collected, if it did, and frees that. */
void imap_caps_take(struct imap_client *client)
{
	struct mailimap_connection_info *info = client->im->imap_connection_info;
	unsigned caps = CAP_KNOWN;

	if (!info || !info->imap_capability || !info->imap_capability->cap_list)
		return;
	for (clistiter *at = clist_begin(info->imap_capability->cap_list); at; at = clist_next(at))
		caps |= cap_of(clist_content(at));
	if ((caps & CAP_IMAP4REV2) && !(caps & CAP_IMAP4REV1))
		caps |= REV2_CAPS;
	imap_caps_forget(client);
	client->caps = caps;
}

struct err imap_caps_learn(struct imap_client *client)
{
	imap_caps_take(client);
	if (client->caps)
		return OK;
	TRY(imap_command(client, PHASE_GREETING, "CAPABILITY"));
	imap_caps_take(client);
	client->caps |= CAP_KNOWN;
	imap_client_trim(client);
	return OK;
}

static void choose(struct imap_client *client, bool is_last)
{
	const struct imap_wire *wire = client->wire;

	client->quirks = client->given
				 ? client->given
				 : imap_quirks_choose(imap_wire_capabilities(wire),
						      imap_wire_id(wire), imap_wire_greeting(wire));
	if (is_last)
		LOG(client->log, LEVEL_NOTE, "imap-quirks", log_text("row", client->quirks->name),
		    log_text("id", imap_wire_id(wire)));
}

struct err imap_caps_send_id(struct imap_client *client)
{
	return imap_send(client, &client->id_tag,
			 "ID (\"name\" \"popgate\" \"version\" \"" VERSION "\")");
}

struct err imap_caps_take_id(struct imap_client *client, enum imap_phase phase)
{
	int tag = client->id_tag;

	client->id_tag = 0;
	TRY(imap_await(client, phase, tag));
	TRY(imap_parse(client, tag));
	if (!imap_was(client, WIRE_OK))
		imap_client_forget(client, CAP_ID);
	choose(client, true);
	return OK;
}

/* CAPABILITY, and ID in the same flight for servers that knew it before the login. */
static struct err ask_both(struct imap_client *client, bool has_id)
{
	int tag;

	TRY(imap_send(client, &tag, "CAPABILITY"));
	if (has_id)
		TRY(imap_caps_send_id(client));
	TRY(imap_receive(client, PHASE_LOGIN, tag));
	TRY(imap_outcome(client, PHASE_GREETING));
	imap_caps_take(client);
	if (has_id)
		TRY(imap_caps_take_id(client, PHASE_LOGIN));
	client->caps |= CAP_KNOWN;
	return OK;
}

/* An OK alone proves nothing (N-10). */
static bool is_enabled(const struct imap_client *client, const char *extension)
{
	const char *at = imap_wire_enabled(client->wire);
	size_t len = strlen(extension);

	while (*at) {
		size_t word = strcspn(at, " ");
		if (text_same_n(at, word, extension, len))
			return true;
		at += word + strspn(at + word, " ");
	}
	return false;
}

static const struct {
	unsigned cap;
	const char *name;
} enabled[] = {{CAP_IMAP4REV2, "IMAP4rev2"}, {CAP_UIDONLY, "UIDONLY"}};

enum { ENABLED = sizeof enabled / sizeof *enabled };

/* Revision 2 only where there is no revision 1 (H-12). A server that shows a window of a folder to those
 * who count messages shows all of it to those who name them by UID, as we always do (N-08, RFC 9586). */
unsigned imap_caps_wanted(const struct imap_client *client)
{
	const unsigned revisions = CAP_IMAP4REV1 | CAP_IMAP4REV2,
		       uidonly = CAP_UIDONLY | CAP_ENABLE;
	unsigned traits = client->quirks->traits, found = 0;

	if (traits & QUIRK_NO_ENABLE)
		return 0;
	if ((client->caps & revisions) == CAP_IMAP4REV2)
		found |= CAP_IMAP4REV2;
	if (traits & QUIRK_WINDOW && (client->caps & uidonly) == uidonly)
		found |= CAP_UIDONLY;
	return found;
}

struct err imap_caps_send_enable(struct imap_client *client, unsigned caps, int *tag)
{
	char names[64] = "";
	size_t len = 0;

	*tag = 0;
	for (size_t i = 0; i < ENABLED; i++)
		if (caps & enabled[i].cap)
			len += (size_t)snprintf(names + len, sizeof names - len, " %s",
						enabled[i].name);
	return len ? imap_send(client, tag, "ENABLE%s", names) : OK;
}

struct err imap_caps_take_enable(struct imap_client *client, int tag)
{
	bool is_ok = false;

	if (tag) {
		TRY(imap_receive(client, PHASE_LOGIN, tag));
		is_ok = imap_was(client, WIRE_OK);
	}
	client->enabled = 0;
	for (size_t i = 0; is_ok && i < ENABLED; i++)
		if (is_enabled(client, enabled[i].name))
			client->enabled |= enabled[i].cap;
	client->is_rev2 = client->enabled & CAP_IMAP4REV2;
	unsigned missing = imap_caps_wanted(client) & ~client->enabled;
	if (missing & CAP_IMAP4REV2 && tag && !is_ok)
		imap_client_forget(client, CAP_ENABLE);
	if (missing & CAP_UIDONLY) /* it means the window */
		imap_client_forget(client, CAP_UIDONLY);
	return OK;
}

static struct err enable(struct imap_client *client)
{
	int tag;

	TRY(imap_caps_send_enable(client, imap_caps_wanted(client), &tag));
	return imap_caps_take_enable(client, tag);
}

struct err imap_caps_settle(struct imap_client *client, bool had_id)
{
	bool is_asked = false, is_settled;

	imap_caps_take(client);
	TRY(imap_flight_land(client, &is_settled));
	if (is_settled)
		return OK;
	client->memo.tells_caps = client->caps != 0;
	if (!client->caps) {
		TRY(ask_both(client, had_id));
		is_asked = had_id;
	}
	client->memo.caps = client->caps;
	if (!is_asked && (client->caps & CAP_ID))
		TRY(imap_caps_send_id(client));
	if (!is_asked)
		choose(client, !client->id_tag);
	if (client->id_tag && (client->quirks->traits & QUIRK_ID_FIRST))
		TRY(imap_caps_take_id(client, PHASE_LOGIN));
	TRY(enable(client));
	imap_client_trim(client);
	return OK;
}
