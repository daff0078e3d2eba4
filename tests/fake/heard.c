/* SPDX-License-Identifier: MIT */
/* heard.c - a doorman over a canned stream, without libetpan behind it. */
#include "tests/fake/heard.h"

#include <stdarg.h>

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
	imap_wire_expect_found(heard->wire, heard_found, heard);
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

static void tell(struct heard *heard, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	heard->has_lost |= !buf_vprintf(&heard->items, format, ap);
	va_end(ap);
}

static void tell_header(struct heard *heard, const struct wire_item *item)
{
	tell(heard, " header \"");
	for (const char *at = item->header; at < item->header + item->header_len; at++)
		if (*at >= ' ' && *at < 127 && *at != '%')
			tell(heard, "%c", *at);
		else
			tell(heard, "%%%02X", (unsigned char)*at);
	tell(heard, "\"");
}

void heard_item(void *arg, const struct wire_item *item)
{
	struct heard *heard = arg;

	tell(heard, "%u", item->number);
	if (item->has_uid)
		tell(heard, " uid %u", item->uid);
	if (item->has_octets)
		tell(heard, " size %llu", (unsigned long long)item->octets);
	tell(heard, "%s%s%s%s%s", item->has_flags ? " flags" : "",
	     item->is_deleted ? " deleted" : "", item->is_seen ? " seen" : "",
	     item->has_body ? " body" : "", item->is_nil ? " nil" : "");
	if (item->email_id[0])
		tell(heard, " email %s", item->email_id);
	if (item->gm_msgid[0])
		tell(heard, " gm %s", item->gm_msgid);
	if (item->header)
		tell_header(heard, item);
	tell(heard, ";");
}

void heard_found(void *arg, uint32_t low, uint32_t high)
{
	struct heard *heard = arg;

	if (low == high)
		tell(heard, "found %u;", low);
	else
		tell(heard, "found %u-%u;", low, high);
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
