/* SPDX-License-Identifier: MIT */
/* heard.c - a doorman over a canned stream, without libetpan behind it. */
#include "tests/fake/heard.h"

#include <stdio.h>

#include <libetpan/mailstream_low.h>

void heard_init(struct heard *heard, const void *in, size_t len, const struct log *log)
{
	*heard = (struct heard){.bodies = 0};
	canned_init(&heard->canned, ERR_UPSTREAM, in, len);
	buf_init(&heard->octets, 512 << 20);
	buf_init(&heard->items, 65536);
	heard->wire = imap_wire_new(&heard->canned.stream, log);
	imap_wire_expect_tag(heard->wire, "1");
	imap_wire_expect_items(heard->wire, heard_item, heard);
}

bool heard_fini(struct heard *heard)
{
	imap_wire_free(heard->wire);
	bool is_closed = heard->canned.is_closed;
	buf_fini(&heard->octets);
	buf_fini(&heard->items);
	canned_fini(&heard->canned);
	return is_closed;
}

void heard_body(void *arg, const struct wire_body *body)
{
	struct heard *heard = arg;

	heard->bodies++;
	heard->body = *body;
	if (heard->kills)
		imap_wire_kill(heard->wire);
}

void heard_item(void *arg, const struct wire_item *item)
{
	struct heard *heard = arg;
	char uid[20] = "", size[20] = "";

	if (item->has_uid)
		snprintf(uid, sizeof uid, " uid %u", item->uid);
	if (item->has_octets)
		snprintf(size, sizeof size, " size %u", item->octets);
	heard->has_lost |=
		!buf_printf(&heard->items, "%u%s%s%s%s%s%s;", item->number, uid, size,
			    item->has_flags ? " flags" : "", item->is_deleted ? " deleted" : "",
			    item->has_body ? " body" : "", item->is_nil ? " nil" : "");
}

ssize_t heard_once(struct heard *heard, size_t max)
{
	mailstream_low *low = imap_wire_low(heard->wire);
	char octets[65536];
	ssize_t got = low->driver->mailstream_read(low, octets, max);

	if (got > 0 && !buf_put(&heard->octets, octets, (size_t)got))
		return -2;
	return got;
}

bool heard_all(struct heard *heard, size_t max)
{
	mailstream_low *low = imap_wire_low(heard->wire);
	ssize_t got;

	while ((got = heard_once(heard, max)) > 0)
		if ((size_t)got > max || got > WIRE_READ)
			return false;
	return got == -1 && imap_wire_is_dead(heard->wire) && heard_once(heard, max) == -1 &&
	       low->driver->mailstream_write(low, "x", 1) == -1;
}

static const char *text_of(struct buf *buf)
{
	char *room = buf_room(buf, 1);

	*room = '\0';
	return buf_data(buf);
}

const char *heard_text(struct heard *heard)
{
	return text_of(&heard->octets);
}

const char *heard_items(struct heard *heard)
{
	return heard->has_lost ? "too many" : text_of(&heard->items);
}

const char *heard_rule(const struct heard *heard)
{
	const char *rule = imap_wire_error(heard->wire).what;

	return rule ? rule : "";
}
