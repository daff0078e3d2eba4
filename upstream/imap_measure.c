/* SPDX-License-Identifier: MIT */
/* imap_measure.c - how many octets messages really have (F-07): counted as RETR would send them. */
#include "upstream/imap_listing.h"

#include <string.h>

/* A sink that counts: line ends as CRLF, a last one if it is missing. */
struct counter {
	struct sink sink; /* first */
	uint64_t octets;
	bool after_cr, is_open; /* the last octet was CR; the last line has not ended */
};

static struct err count(struct sink *sink, const void *octets, size_t len)
{
	struct counter *counter = (struct counter *)sink;
	const char *at = octets, *end = at + len;

	if (!len)
		return OK;
	counter->octets += len;
	while (at < end) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		if (!lf)
			break;
		bool is_crlf = lf > (const char *)octets ? lf[-1] == '\r' : counter->after_cr;
		counter->octets += !is_crlf;
		at = lf + 1;
	}
	counter->is_open = end[-1] != '\n';
	counter->after_cr = end[-1] == '\r';
	return OK;
}

struct err imap_measure(struct imap *imap, uint32_t uid, uint64_t hint, uint64_t *octets)
{
	struct counter counter = {.sink = {count, 0}};
	const struct message msg = {.uid = uid, .octets = hint & MESSAGE_OCTETS};
	const struct part whole = {0, 0};

	TRY(imap_fetch_body(imap, &msg, &whole, &counter.sink));
	*octets = counter.octets + (counter.is_open ? 2 : 0);
	return OK;
}

void imap_measure_rows(struct listing *listing, uint64_t until_ms)
{
	struct imap *imap = listing->imap;
	struct ledger *ledger = &listing->ledger;
	uint64_t login_until = imap->client.until_ms;

	/* A body that is cut off costs the connection, and that is made again when it is needed. */
	if (login_until && login_until < until_ms)
		until_ms = login_until;
	imap->client.until_ms = until_ms;
	imap->is_bounded = true;
	for (size_t i = ledger->count; i && imap->env->ops->now(imap->env) < until_ms; i--) {
		struct ledger_row *row = &ledger->rows[i - 1];
		uint64_t octets;
		if (row->exact || !listing_is_visible(listing, row))
			continue;
		struct err err = imap_measure(imap, row->uid, row->octets, &octets);
		if (err.kind && !imap_client_is_alive(&imap->client))
			break;
		if (err.kind || !octets)
			continue;
		row->exact = octets;
		ledger_touch(ledger, row->uid);
		listing->is_changed = true;
	}
	imap->client.until_ms = login_until;
	imap->is_bounded = false;
}
