/* SPDX-License-Identifier: MIT */
/* imap_poison.c - messages that a server never delivers: who they are, and what stands for them. */
#include "upstream/imap_poison.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum {
	FIELD = 200, /* octets of a header field that the placeholder quotes */
	LINE = 72,   /* octets of a line of blanks */
};

enum imap_poison imap_poison_of(const struct imap *imap, const struct ledger_row *row)
{
	bool is_slow = imap->quirks && (imap->quirks->traits & QUIRK_SLOW_POISON);

	if (row->failures < POISON_SESSIONS)
		return POISON_IS_NOT;
	uint64_t wall = is_slow ? imap->env->ops->wall(imap->env) : 0;
	if (is_slow && (wall < row->failed_at || wall - row->failed_at < POISON_AGE_S))
		return POISON_IS_NOT;
	switch (imap->conf.poison_policy) {
	case POISON_PLACEHOLDER:
		return POISON_IS_STUB;
	case POISON_HIDE:
		return POISON_IS_HIDDEN;
	case POISON_ERROR:
		break;
	}
	return POISON_IS_NOT;
}

void imap_poison_note(struct imap *imap, uint32_t uid, struct err err)
{
	bool is_slow = imap->quirks && (imap->quirks->traits & QUIRK_SLOW_POISON);

	if (!imap->has_ledger || imap->failed_len == POISON_NOTED ||
	    (err.code == EAGAIN && !is_slow))
		return;
	for (size_t i = 0; i < imap->failed_len; i++)
		if (imap->failed[i] == uid)
			return;
	imap->failed = mem_resize(imap->failed, imap->failed_len + 1, sizeof *imap->failed);
	imap->failed[imap->failed_len++] = uid;
	LOG(imap->log, LEVEL_WARN, "imap-message-failed", log_number("uid", uid),
	    log_text("why", err.what));
}

bool imap_poison_is_stub(const char *octets, size_t len)
{
	static const char words[] =
		"Retrieval using the IMAP4 protocol failed for the following message";

	return memmem(octets, len, words, sizeof words - 1) != NULL;
}

/* --- the placeholder ------------------------------------------------------------------------ */

struct quoted {
	uint32_t uid;
	char from[FIELD + 1], subject[FIELD + 1]; /* printable; "": not known */
};

/* Copies the body of one header field, printable and in one line. */
static void take_field(char *to, const char *name, const char *header, size_t len)
{
	const char *at = header, *end = header + len;
	size_t name_len = strlen(name), used = 0;

	while (at < end) {
		bool is_it =
			(size_t)(end - at) > name_len && text_same_n(at, name_len, name, name_len);
		if (is_it)
			break;
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		at = lf ? lf + 1 : end;
	}
	at += at < end ? name_len : 0;
	for (; at < end && used < FIELD; at++) {
		bool is_folded = at + 1 < end && (at[1] == ' ' || at[1] == '\t');
		if (*at == '\n' && !is_folded)
			break;
		if (*at == '\r' || *at == '\n' || (!used && (*at == ' ' || *at == '\t')))
			continue;
		to[used++] = *at == '\t' ? ' ' : *at >= ' ' && *at <= '~' ? *at : '?';
	}
	to[used] = '\0';
}

static void take_quoted(void *arg, const struct wire_item *item)
{
	struct quoted *quoted = arg;

	if (!item->has_uid || item->uid != quoted->uid || !item->header)
		return;
	take_field(quoted->from, "From:", item->header, item->header_len);
	take_field(quoted->subject, "Subject:", item->header, item->header_len);
}

/* What can be had of the message's header; nothing is an answer too. */
static void ask_header(struct imap *imap, struct quoted *quoted)
{
	struct imap_client *client = &imap->client;
	struct err err = imap_ready(imap, NULL);

	if (err.kind)
		return;
	imap_wire_expect_items(client->wire, take_quoted, quoted);
	err = imap_command(client, PHASE_LIST,
			   "UID FETCH %u (UID BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])",
			   quoted->uid);
	imap_wire_expect_items(client->wire, NULL, NULL);
	imap_client_trim(client);
	if (err.kind)
		log_err(imap->log, LEVEL_NOTE, "imap-placeholder-without-header", err);
}

/* Lines of blanks up to the one length that all placeholders have. */
static void fill_up(char *text, size_t len)
{
	while (len < POISON_OCTETS) {
		size_t left = POISON_OCTETS - len;
		size_t line = left <= LINE ? left : left < LINE + 2 ? left - 2 : LINE;
		memset(text + len, ' ', line);
		text[len + line - 2] = '\r';
		text[len + line - 1] = '\n';
		len += line;
	}
	text[len] = '\0';
}

static char *compose(const struct imap *imap, const struct quoted *quoted)
{
	char *text = mem_alloc(POISON_OCTETS + 1);
	char *all = text_printf_dup(
		"From: Mail gateway <postmaster@localhost>\r\n"
		"Subject: A message that cannot be delivered\r\n"
		"Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
		"Message-ID: <%llu.%u@placeholder.invalid>\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=us-ascii\r\n"
		"\r\n"
		"The mail server has this message and does not deliver it, whatever the\r\n"
		"gateway tries. This note stands in its place.\r\n"
		"\r\n"
		"Its number (UID) there: %u\r\n"
		"From:    %s\r\n"
		"Subject: %s\r\n"
		"\r\n"
		"The message stays on the mail server: deleting this note hides it from\r\n"
		"mail programs that use POP3, and does no more.\r\n",
		(unsigned long long)imap->uidvalidity, quoted->uid, quoted->uid,
		*quoted->from ? quoted->from : "(not known)",
		*quoted->subject ? quoted->subject : "(not known)");
	size_t len = strlen(all);

	if (len > POISON_OCTETS - 2)
		len = POISON_OCTETS - 2;
	memcpy(text, all, len);
	free(all);
	fill_up(text, len);
	return text;
}

struct err imap_poison_put(struct imap *imap, uint32_t uid, const struct part *part,
			   struct sink *sink)
{
	/* TOP and RETR say the same, whatever the server says to each. */
	if (!imap->stub || imap->stub_uid != uid) {
		struct quoted quoted = {.uid = uid};
		ask_header(imap, &quoted);
		free(imap->stub);
		imap->stub = compose(imap, &quoted);
		imap->stub_uid = uid;
	}
	uint64_t from = part->from < POISON_OCTETS ? part->from : POISON_OCTETS;
	uint64_t octets = POISON_OCTETS - from;
	if (part->octets && part->octets < octets)
		octets = part->octets;
	sink->announced_octets = octets;
	return octets ? sink->put(sink, imap->stub + from, (size_t)octets) : OK;
}
