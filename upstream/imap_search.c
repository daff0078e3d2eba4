/* SPDX-License-Identifier: MIT */
/* imap_search.c - which UIDs there are, and which bear a flag.
 *
 * A reply to SEARCH is one line, and a line has a ceiling (WIRE_LINE): where it could be longer it is
 * asked for in spans of known UIDs. ESEARCH tells ranges, which is mostly short, but where UIDs lie
 * apart each message costs as much as ever: its spans are only as long as a line bears in any case. */
#include "upstream/imap_listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum {
	SPAN = 20000,     /* messages that one reply may name */
	LINE_REST = 4096, /* octets of a line for all but UIDs that are known */
};

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
	if (!has_found || finding->is_wrong)
		return ERR(ERR_UPSTREAM, 0, "the mail server's search is not complete");
	imap_client_trim(client);
	return OK;
}

/* Messages that one reply may name with ranges, should none stand beside another: each is its UID and a
 * comma. */
static size_t ranged_span(const struct ledger *ledger)
{
	uint32_t top = ledger->count ? ledger->rows[ledger->count - 1].uid : UINT32_MAX;
	size_t octets = 2;

	for (; top > 9; top /= 10)
		octets++;
	return (WIRE_LINE - LINE_REST) / octets;
}

struct err imap_search(struct imap *imap, const struct ledger *ledger, const char *key,
		       struct uids *out)
{
	uint32_t exists = imap_wire_exists(imap->client.wire);
	struct finding finding = {.out = out, .most = (size_t)exists + SPAN};
	bool is_ranged = exists > SPAN && imap->client.caps & (CAP_ESEARCH | CAP_IMAP4REV2);
	const char *form = is_ranged ? "RETURN (ALL) " : "";
	size_t span = is_ranged ? ranged_span(ledger) : SPAN;
	char command[100];
	uint32_t from = 1;

	out->count = 0;
	if (exists > MAILDROP_MESSAGES)
		return ERR(ERR_UPSTREAM, E2BIG, "too many messages");
	if (exists <= span) {
		snprintf(command, sizeof command, "UID SEARCH %s%s", form, key);
		TRY(ask(imap, command, &finding));
		(void)uids_sort(out);
		return OK;
	}
	for (size_t row = span; row < ledger->count; row += span) {
		uint32_t to = ledger->rows[row].uid - 1;
		snprintf(command, sizeof command, "UID SEARCH %sUID %u:%u %s", form, from, to, key);
		TRY(ask(imap, command, &finding));
		from = to + 1;
	}
	snprintf(command, sizeof command, "UID SEARCH %sUID %u:* %s", form, from, key);
	TRY(ask(imap, command, &finding));
	(void)uids_sort(out);
	return OK;
}
