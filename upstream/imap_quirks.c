/* SPDX-License-Identifier: MIT */
/* imap_quirks.c - the table of servers' oddities, one row a family.
 *
 * The first row of which any sign is there is taken. So those with a sign that nobody else has stand
 * above those known by a word of their greeting, and servers that others hide behind (Dovecot, Cyrus
 * and Courier are put in front of all sorts of stores) stand last. XAPPLEPUSHSERVICE is no sign:
 * iCloud has it, but so have QQ, NetEase, Fastmail and many a Dovecot.
 */
#include "upstream/imap_quirks.h"

#include <string.h>

#include "proxy/base/text.h"

enum { LINE_UNKNOWN = 1000, LINE_USUAL = 8000, LINE_COURIER = 16000, LINE_DOVECOT = 64000 };

#define EXCHANGE_TRAITS (QUIRK_SIZES_CHANGE | QUIRK_STUBS)
#define NETEASE_TRAITS (QUIRK_ID_FIRST | QUIRK_WINDOW)
#define YAHOO_TRAITS (QUIRK_WINDOW | QUIRK_SLOW_POISON)

/* A family that is known by more signs than a row holds has several, one below the other. */
static const struct imap_quirks rows[] = {
	{"gmail", QUIRK_WINDOW | QUIRK_TRASH, LINE_USUAL, "X-GM-EXT-1", "GImap", "Gimap ready"},
	{"yahoo", YAHOO_TRAITS, LINE_UNKNOWN, "XYMHIGHESTMODSEQ", "Yahoo", "IMAP4rev1 imapgate"},
	{"yahoo", YAHOO_TRAITS, LINE_UNKNOWN, NULL, "Y!IMAP", NULL},
	{"icloud", QUIRK_NO_ENABLE, LINE_USUAL, "XAPPLELITERAL", "iCloud", "iscream"},
	{"icloud", QUIRK_NO_ENABLE, LINE_USUAL, "X-APPLE-REMOTE-LINKS", NULL, NULL},
	{"netease", NETEASE_TRAITS, LINE_UNKNOWN, "X-CM-EXT-1", "Coremail", "Coremail System"},
	/* Office 365 names the machine behind its words, in brackets. */
	{"outlook", EXCHANGE_TRAITS, LINE_USUAL, NULL, NULL, "Exchange IMAP4 service is ready. ["},
	{"exchange", EXCHANGE_TRAITS, LINE_USUAL, NULL, "Microsoft.Exchange", "Microsoft Exchange"},
	{"qq", QUIRK_WINDOW, LINE_UNKNOWN, NULL, "QQMail", "QQMail"},
	{"yandex", 0, LINE_UNKNOWN, NULL, "Yandex", "Yandex IMAP4rev1"},
	{"proton", 0, LINE_USUAL, "XSTOP", "Proton", "Proton Mail Bridge"},
	{"proton", 0, LINE_USUAL, NULL, "gluon", "gluon session"},
	{"zimbra", 0, LINE_USUAL, NULL, "Zimbra", "Zimbra IMAP4rev1"},
	{"workmail", 0, LINE_USUAL, NULL, "Amazon WorkMail", "WorkMail"},
	{"fastmail", 0, LINE_USUAL, NULL, "Fastmail", "Fastmail"},
	{"hmailserver", QUIRK_NO_UID_EXPUNGE | QUIRK_BASE_ITEMS, LINE_UNKNOWN, NULL, "hMailServer",
	 "IMAPrev1"},
	{"mdaemon", QUIRK_BASE_ITEMS, LINE_UNKNOWN, NULL, "MDaemon", "IMAP4rev1 MDaemon"},
	{"kerio", QUIRK_BASE_ITEMS, LINE_UNKNOWN, NULL, "Kerio", "Kerio "},
	{"domino", 0, LINE_UNKNOWN, NULL, "Domino", "Domino IMAP4 Server"},
	{"uw", 0, LINE_UNKNOWN, NULL, NULL, "IMAP4rev1 200"},
	{"uw", 0, LINE_UNKNOWN, NULL, NULL, "Panda IMAP"},
	{"courier", QUIRK_SELECT_ONLY | QUIRK_GHOSTS | QUIRK_STEPS, LINE_COURIER, NULL, "Courier",
	 "Courier-IMAP"},
	{"cyrus", 0, LINE_USUAL, NULL, "Cyrus", "Cyrus IMAP"},
	{"dovecot", 0, LINE_DOVECOT, NULL, "Dovecot", "Dovecot"},
	{"generic", 0, LINE_UNKNOWN, NULL, NULL, NULL},
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	while (*list) {
		size_t at = strcspn(list, " ");
		if (text_same_n(list, at, word, len))
			return true;
		list += at + strspn(list + at, " ");
	}
	return false;
}

static bool has_part(const char *text, const char *part)
{
	size_t len = strlen(part);

	for (; *text; text++)
		if (text_same_n(text, strnlen(text, len), part, len))
			return true;
	return false;
}

/* `id` is name and vendor: either may begin with these words. */
static bool has_id(const char *id, const char *begin)
{
	size_t len = strlen(begin);

	for (const char *at = id; at; at = strchr(at, ' ')) {
		at += *at == ' ';
		if (text_same_n(at, strnlen(at, len), begin, len))
			return true;
	}
	return false;
}

const struct imap_quirks *imap_quirks_choose(const char *capabilities, const char *id,
					     const char *greeting)
{
	for (size_t i = 0; i < ROWS - 1; i++) {
		const struct imap_quirks *row = &rows[i];
		if ((row->capability && has_word(capabilities, row->capability)) ||
		    (row->id && has_id(id, row->id)) ||
		    (row->greeting && has_part(greeting, row->greeting)))
			return row;
	}
	return &rows[ROWS - 1];
}

const struct imap_quirks *imap_quirks_named(const char *name)
{
	for (size_t i = 0; i < ROWS; i++)
		if (text_same(rows[i].name, name))
			return &rows[i];
	return NULL;
}

const struct imap_quirks *imap_quirks_at(size_t n)
{
	return n < ROWS ? &rows[n] : NULL;
}

const char *imap_quirk_words(enum imap_quirk trait)
{
	static const struct {
		enum imap_quirk trait;
		const char *words;
	} words[] = {
		{QUIRK_WINDOW, "may show a part of the folder only"},
		{QUIRK_SELECT_ONLY, "forgets the UIDs of a folder that was only examined"},
		{QUIRK_ID_FIRST, "wants ID before SELECT"},
		{QUIRK_SIZES_CHANGE, "renders sizes and bodies anew"},
		{QUIRK_NO_UID_EXPUNGE, "has no UID EXPUNGE"},
		{QUIRK_TRASH, "expunging may archive"},
		{QUIRK_STUBS, "sends stubs for what it cannot render"},
		{QUIRK_SLOW_POISON, "calls permanent faults temporary"},
		{QUIRK_BASE_ITEMS, "knows the FETCH items of RFC 3501 only"},
		{QUIRK_NO_ENABLE, "ENABLE enables nothing"},
		{QUIRK_GHOSTS, "makes up a body for what others have removed"},
		{QUIRK_STEPS, "loses what comes together with a login"},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].trait == trait)
			return words[i].words;
	return NULL;
}
