/* SPDX-License-Identifier: MIT */
/* import_client.c - what three clients have noted of a POP3 server.
 *
 * fetchmail keeps "user@host UIDL" lines in .fetchids; the UIDL itself may hold "@" and the user
 * too, so the first blank ends the account. getmail keeps one file an account, each line a UIDL, a
 * NUL and the time. Thunderbird keeps popstate.dat: comments with "#", a line "*host user" for each
 * account, and for each message a letter (k kept, d to be deleted, b too big, f to be fetched), the
 * UIDL and the time.
 *
 * Accounts are named user@host here, for all three.
 */
#include "proxy/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

bool import_add(struct import_list *list, const char *uidl, size_t len)
{
	if (list->count == MAILDROP_MESSAGES)
		return false;
	if (list->count == list->room) {
		list->room = list->room * 2 + 64;
		list->all = mem_resize(list->all, list->room, sizeof *list->all);
	}
	list->all[list->count++] = (struct import_old){.uidl = mem_dup(uidl, len)};
	return true;
}

void import_fini(struct import_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->all[i].uidl);
	free(list->all);
	*list = (struct import_list){0};
}

/* --- lines -------------------------------------------------------------------------------- */

/* A piece of the text, not NUL ended. */
struct piece {
	const char *at;
	size_t len;
};

/* The next line without its end; false at the end of the text. */
static bool next_line(struct piece *rest, struct piece *line)
{
	if (!rest->len)
		return false;
	const char *lf = memchr(rest->at, '\n', rest->len);
	size_t len = lf ? (size_t)(lf - rest->at) : rest->len;
	*line = (struct piece){rest->at, len};
	rest->at += len + (lf != NULL);
	rest->len -= len + (lf != NULL);
	while (line->len && line->at[line->len - 1] == '\r')
		line->len--;
	return true;
}

static bool is_blank(char octet)
{
	return octet == ' ' || octet == '\t';
}

/* The next word of a line; empty at its end. */
static struct piece next_word(struct piece *line)
{
	while (line->len && is_blank(*line->at)) {
		line->at++;
		line->len--;
	}
	struct piece word = {line->at, 0};
	while (line->len && !is_blank(*line->at)) {
		line->at++;
		line->len--;
		word.len++;
	}
	return word;
}

/* --- accounts ----------------------------------------------------------------------------- */

/* What is read of a file: the UIDLs of one account, and which accounts there are. */
struct reading {
	const char *wanted;   /* NULL: whichever it is */
	char current[600];    /* the account that lines belong to */
	struct notice others; /* names of accounts, as many as fit */
	char first[600];
	bool is_several, is_found;
	struct import_list *out;
};

static void enter(struct reading *reading, const char *account)
{
	size_t len = strlen(reading->others.text);

	snprintf(reading->current, sizeof reading->current, "%s", account);
	if (!*reading->first)
		snprintf(reading->first, sizeof reading->first, "%s", account);
	if (!text_same(reading->first, account))
		reading->is_several = true;
	if (!strstr(reading->others.text, account))
		snprintf(reading->others.text + len, sizeof reading->others.text - len, "%s%s",
			 len ? ", " : "", account);
	reading->is_found =
		reading->is_found || !reading->wanted || text_same(reading->wanted, account);
}

static bool take(struct reading *reading, struct piece uidl)
{
	if (!uidl.len || (reading->wanted && !text_same(reading->wanted, reading->current)))
		return true;
	return import_add(reading->out, uidl.at, uidl.len);
}

/* --- the three ---------------------------------------------------------------------------- */

static bool read_fetchids(struct reading *reading, struct piece line)
{
	char account[600];
	struct piece who = next_word(&line), uidl = next_word(&line);

	if (!who.len || *who.at == '#')
		return true;
	if (!memchr(who.at, '@', who.len) || !uidl.len || next_word(&line).len ||
	    who.len >= sizeof account)
		return false;
	snprintf(account, sizeof account, "%.*s", (int)who.len, who.at);
	if (!text_same(account, reading->current))
		enter(reading, account);
	return take(reading, uidl);
}

static bool read_getmail(struct reading *reading, struct piece line)
{
	uint64_t when;
	const char *nul = line.len ? memchr(line.at, '\0', line.len) : NULL;

	if (!line.len)
		return true;
	if (!nul)
		return false;
	size_t len = (size_t)(nul - line.at);
	if (!len || !text_number(nul + 1, line.len - len - 1, UINT64_MAX, &when))
		return false;
	return take(reading, (struct piece){line.at, len});
}

/* "%40" is "@": Thunderbird escapes names of its own making. */
static void unescape(char *text)
{
	for (char *at = strstr(text, "%40"); at; at = strstr(at, "%40")) {
		*at++ = '@';
		memmove(at, at + 2, strlen(at + 2) + 1);
	}
}

static bool read_popstate(struct reading *reading, struct piece line)
{
	char account[600];
	struct piece word = next_word(&line), next = next_word(&line);

	if (!word.len || *word.at == '#')
		return true;
	if (*word.at == '*') {
		if (word.len < 2 || !next.len || word.len + next.len >= sizeof account)
			return false;
		snprintf(account, sizeof account, "%.*s@%.*s", (int)next.len, next.at,
			 (int)word.len - 1, word.at + 1);
		unescape(account);
		enter(reading, account);
		return true;
	}
	if (word.len != 1 || !strchr("kdbf", *word.at) || !next.len || !*reading->current)
		return false;
	return take(reading, next);
}

bool import_read_file(enum import_file kind, const char *text, size_t len, const char *account,
		      struct import_list *out, struct notice *why)
{
	static bool (*const readers[])(struct reading *, struct piece) = {
		[IMPORT_FETCHIDS] = read_fetchids,
		[IMPORT_GETMAIL] = read_getmail,
		[IMPORT_POPSTATE] = read_popstate,
	};
	struct reading reading = {.wanted = kind == IMPORT_GETMAIL ? NULL : account, .out = out};
	struct piece rest = {text, len}, line;
	unsigned number = 0;
	bool is_good = true;

	*out = (struct import_list){0};
	while (is_good && next_line(&rest, &line)) {
		number++;
		bool is_text = kind == IMPORT_GETMAIL || !memchr(line.at, '\0', line.len);
		is_good = is_text && readers[kind](&reading, line);
	}
	if (!is_good)
		snprintf(why->text, sizeof why->text, "line %u is not of such a file", number);
	else if (!reading.wanted && reading.is_several)
		snprintf(why->text, sizeof why->text,
			 "several accounts, choose one by --account: %.180s", reading.others.text);
	else if (reading.wanted && !reading.is_found)
		snprintf(why->text, sizeof why->text, "no such account, there are: %.180s",
			 reading.others.text);
	else
		return true;
	import_fini(out);
	return false;
}
