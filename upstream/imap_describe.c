/* SPDX-License-Identifier: MIT */
/* imap_describe.c - an open IMAP mailbox in words, for whoever asks why it behaves as it does. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/text.h"
#include "upstream/imap.h"
#include "upstream/uidl.h"

/* A line; what the server said is made printable, whatever its length. */
static void put(struct buf *out, const char *key, const char *value)
{
	if (!buf_printf(out, "%s: ", key))
		return;
	for (; *value; value++) {
		char octet = *value;
		if (octet < ' ' || octet > '~')
			octet = '?';
		if (!buf_put(out, &octet, 1))
			return;
	}
	(void)!buf_put(out, "\n", 1);
}

static void put_number(struct buf *out, const char *key, uint64_t number)
{
	if (number)
		(void)!buf_printf(out, "%s: %" PRIu64 "\n", key, number);
	else
		put(out, key, "not told");
}

static void describe_server(const struct imap *imap, struct buf *out)
{
	const struct imap_client *client = &imap->client;
	const struct imap_quirks *quirks = imap->quirks;

	imap_wire_describe(client->wire, out);
	put(out, "greeting", imap_wire_greeting(client->wire));
	put(out, "capabilities", imap_wire_capabilities(client->wire));
	put(out, "id", *imap_wire_id(client->wire) ? imap_wire_id(client->wire) : "none");
	(void)!buf_printf(out, "quirks: %s, %s\n", quirks->name,
			  client->given ? "as the map says" : "by what the server says");
	for (unsigned bit = 1; bit; bit <<= 1)
		if (quirks->traits & bit)
			put(out, "quirk", imap_quirk_words((enum imap_quirk)bit));
	(void)!buf_printf(out, "longest command line: %zu octets\n", quirks->line);
}

static void describe_folder(const struct imap *imap, struct buf *out)
{
	const struct imap_client *client = &imap->client;
	const struct wire_folder *folder = imap_wire_folder(client->wire);

	put(out, "folder", imap->folder);
	put_number(out, "uidvalidity", folder->uidvalidity);
	put_number(out, "uidnext", folder->uidnext);
	(void)!buf_printf(out, "exists: %" PRIu32 "\n", imap_wire_exists(client->wire));
	if (folder->highestmodseq)
		(void)!buf_printf(out, "highestmodseq: %" PRIu64 "%s\n", folder->highestmodseq,
				  client->caps & CAP_CONDSTORE ? "" : ", not used: no CONDSTORE");
	else
		put(out, "highestmodseq", "not told");
}

/* What messages are recognised by when their UIDs have changed (E-04, E-05). */
static void describe_identity(const struct imap *imap, const struct upstream_conf *as,
			      struct buf *out)
{
	unsigned caps = imap->client.caps;
	const char *source = "a hash of their headers, with their sizes";

	if (as->uidl)
		(void)!buf_printf(out, "uidls: in the form %s\n", as->uidl->pattern);
	else
		put(out, "uidls", "popgate's own, of UIDVALIDITY and UID");
	if (!(imap->quirks->traits & QUIRK_BASE_ITEMS) && (caps & CAP_OBJECTID))
		source = "EMAILID";
	else if (!(imap->quirks->traits & QUIRK_BASE_ITEMS) && (caps & CAP_GMAIL))
		source = "X-GM-MSGID";
	if (as->uidvalidity_policy == UIDVALIDITY_MATCH)
		(void)!buf_printf(out, "if UIDs change: messages are recognised by %s\n", source);
	else if (as->uidvalidity_policy == UIDVALIDITY_NEW)
		put(out, "if UIDs change", "all messages are new");
	else
		put(out, "if UIDs change", "nobody may log in");
}

static bool has_uid_expunge(const struct imap *imap)
{
	return (imap->client.caps & CAP_UIDPLUS) && !(imap->quirks->traits & QUIRK_NO_UID_EXPUNGE);
}

static void describe_target(struct imap *imap, const char *folder, bool may_create, struct buf *out)
{
	const char *commands = imap->client.caps & CAP_MOVE ? "UID MOVE"
			       : has_uid_expunge(imap)      ? "UID COPY and UID EXPUNGE"
							    : "UID COPY and EXPUNGE";
	char *name;

	struct err err = imap_folder_named(imap, folder, &name);
	(void)!buf_printf(out, "delete: %s to %s\n", commands, folder);
	put(out, "delete target", name ? name : err.what);
	if (!name && may_create)
		put(out, "delete target", "it may be made");
	free(name);
}

static void describe_delete(struct imap *imap, const struct upstream_conf *as, struct buf *out)
{
	enum delete_policy policy = as->delete_policy;

	if (policy == DELETE_DEFAULT)
		policy = imap->quirks->traits & QUIRK_TRASH ? DELETE_TRASH : DELETE_EXPUNGE;
	switch (policy) {
	case DELETE_DEFAULT:
	case DELETE_EXPUNGE:
		put(out, "delete",
		    has_uid_expunge(imap) ? "UID EXPUNGE"
					  : "EXPUNGE, unless other messages bear \\Deleted");
		break;
	case DELETE_TRASH:
		describe_target(imap, "\\Trash", as->may_create, out);
		break;
	case DELETE_ARCHIVE:
		describe_target(imap, as->archive, as->may_create, out);
		break;
	case DELETE_FLAG:
		put(out, "delete", "the flag \\Deleted, no more");
		break;
	case DELETE_HIDE:
		put(out, "delete", "nothing is done on the server: popgate hides the message");
		break;
	case DELETE_NEVER:
		put(out, "delete", "DELE is refused");
		break;
	}
}

static void describe_cost(const struct imap *imap, struct buf *out)
{
	static const char *const names[PHASES] = {
		"connect", "tls", "greeting", "login", "select", "list",
	};

	(void)!buf_printf(out, "round trips: %u\n", imap_wire_round_trips(imap->client.wire));
	for (size_t i = 0; i < PHASES; i++)
		if (names[i])
			(void)!buf_printf(out, "time, %s: %" PRIu64 " ms\n", names[i],
					  imap->client.spent_ms[i]);
}

void imap_describe(struct upstream *upstream, const struct upstream_conf *as, struct buf *out)
{
	struct imap *imap = (struct imap *)upstream;

	if (!imap->client.wire || !imap->quirks)
		return;
	describe_server(imap, out);
	describe_folder(imap, out);
	describe_identity(imap, as, out);
	describe_cost(imap, out); /* before we add to it */
	describe_delete(imap, as, out);
}
