/* SPDX-License-Identifier: MIT */
/* imap_search.c - which UIDs there are, and which bear a flag.
 *
 * A reply to SEARCH is one line, and a line has a ceiling (WIRE_LINE): where it could be longer, and
 * the server knows no ESEARCH, which tells ranges, it is asked for in spans of known UIDs. */
#include "upstream/imap_listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum { SPAN = 20000 /* messages that one reply may name */ };

void uids_fini(struct uids *uids)
{
	free(uids->at);
	*uids = (struct uids){NULL, 0, 0};
}

void uids_add(struct uids *uids, uint32_t uid)
{
	if (uids->count == uids->room) {
		uids->room = uids->room * 2 + 64;
		uids->at = mem_resize(uids->at, uids->room, sizeof *uids->at);
	}
	uids->at[uids->count++] = uid;
}

static int by_number(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;

	return (one > two) - (one < two);
}

size_t uids_sort(struct uids *uids)
{
	size_t kept = 0, i = 1;

	while (i < uids->count && uids->at[i - 1] <= uids->at[i])
		i++;
	if (i < uids->count)
		qsort(uids->at, uids->count, sizeof *uids->at, by_number);
	for (i = 0; i < uids->count; i++)
		if (!kept || uids->at[kept - 1] != uids->at[i])
			uids->at[kept++] = uids->at[i];
	size_t twice = uids->count - kept;
	uids->count = kept;
	return twice;
}

bool uids_have(const struct uids *uids, uint32_t uid)
{
	return uids->count && bsearch(&uid, uids->at, uids->count, sizeof uid, by_number);
}

struct finding {
	struct uids *out;
	size_t most; /* so many at most: what names more lies */
	bool is_wrong;
};

static void take_found(void *arg, uint32_t low, uint32_t high)
{
	struct finding *finding = arg;

	if (!low || high < low || high - low >= finding->most - finding->out->count) {
		finding->is_wrong = true;
		return;
	}
	for (uint32_t n = high - low + 1; n; n--)
		uids_add(finding->out, low++);
}

static struct err ask(struct imap *imap, const char *command, struct finding *finding)
{
	struct imap_client *client = &imap->client;

	imap_wire_expect_found(client->wire, take_found, finding);
	struct err err = imap_command(client, PHASE_LIST, "%s", command);
	bool has_found = imap_client_is_alive(client) && imap_wire_has_found(client->wire);
	imap_wire_expect_found(client->wire, NULL, NULL);
	TRY(err);
	const struct wire_status *status = imap_wire_status(client->wire);
	if (!has_found || finding->is_wrong || !strcmp(status->code, "MESSAGELIMIT"))
		return ERR(ERR_UPSTREAM, 0, "the mail server's search is not complete");
	imap_client_trim(client);
	return OK;
}

struct err imap_search(struct imap *imap, const struct ledger *ledger, const char *key,
		       struct uids *out)
{
	uint32_t exists = imap_wire_exists(imap->client.wire);
	struct finding finding = {.out = out, .most = (size_t)exists + SPAN};
	char command[100];
	uint32_t from = 1;

	out->count = 0;
	if (exists > MAILDROP_MESSAGES)
		return ERR(ERR_UPSTREAM, E2BIG, "too many messages");
	if (exists <= SPAN || imap->client.caps & (CAP_ESEARCH | CAP_IMAP4REV2)) {
		snprintf(command, sizeof command, "UID SEARCH %s%s",
			 exists <= SPAN ? "" : "RETURN (ALL) ", key);
		TRY(ask(imap, command, &finding));
		(void)uids_sort(out);
		return OK;
	}
	for (size_t row = SPAN; row < ledger->count; row += SPAN) {
		uint32_t to = ledger->rows[row].uid - 1;
		snprintf(command, sizeof command, "UID SEARCH UID %u:%u %s", from, to, key);
		TRY(ask(imap, command, &finding));
		from = to + 1;
	}
	snprintf(command, sizeof command, "UID SEARCH UID %u:* %s", from, key);
	TRY(ask(imap, command, &finding));
	(void)uids_sort(out);
	return OK;
}
