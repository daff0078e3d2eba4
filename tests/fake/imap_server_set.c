/* SPDX-License-Identifier: MIT */
/* imap_server_set.c - the words of a command, and sets of UIDs. */
#include "tests/fake/imap_server_own.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/text.h"

static void skip_blanks(struct words *words)
{
	while (words->at < words->end && *words->at == ' ')
		words->at++;
}

bool words_end(struct words *words)
{
	skip_blanks(words);
	return words->at == words->end;
}

struct cut {
	char *out;
	size_t size, len;
};

static void keep(struct cut *cut, char c)
{
	if (cut->len + 1 < cut->size)
		cut->out[cut->len++] = c;
}

/* A quoted string; `at` stands behind its first quote. */
static void take_quoted(struct words *words, struct cut *cut)
{
	while (words->at < words->end && *words->at != '"') {
		if (*words->at == '\\' && words->at + 1 < words->end)
			words->at++;
		keep(cut, *words->at++);
	}
	if (words->at < words->end)
		words->at++;
}

/* {n} CRLF octets, or false. */
static bool take_literal(struct words *words, struct cut *cut)
{
	char *behind;
	size_t len = strtoul(words->at + 1, &behind, 10);

	if (*behind == '+')
		behind++;
	if (behind[0] != '}' || words->end - behind < 3 || (size_t)(words->end - behind - 3) < len)
		return false;
	words->at = behind + 3;
	for (; len; len--)
		keep(cut, *words->at++);
	return true;
}

static void take_plain(struct words *words, struct cut *cut)
{
	int depth = 0;
	bool is_quoted = false;

	for (; words->at < words->end; words->at++) {
		char c = *words->at;
		if (c == '"')
			is_quoted = !is_quoted;
		if (!is_quoted && c == ' ' && !depth)
			break;
		if (!is_quoted && (c == '(' || c == '['))
			depth++;
		if (!is_quoted && (c == ')' || c == ']') && --depth < 0)
			break;
		keep(cut, c);
	}
}

bool words_next(struct words *words, char *out, size_t size)
{
	struct cut cut = {out, size, 0};
	bool is_there = !words_end(words);

	if (is_there && *words->at == '"') {
		words->at++;
		take_quoted(words, &cut);
	} else if (is_there && *words->at == '{') {
		is_there = take_literal(words, &cut);
	} else if (is_there) {
		take_plain(words, &cut);
	}
	out[cut.len] = '\0';
	return is_there;
}

bool words_take(struct words *words, const char *word)
{
	struct words ahead = *words;
	char next[SERVER_WORD];

	if (!words_next(&ahead, next, sizeof next) || !text_same(next, word))
		return false;
	*words = ahead;
	return true;
}

/* One number of a set; false at anything else. */
static bool number_of(const char **at, uint32_t top, uint32_t *number)
{
	char *behind;

	if (**at == '*') {
		*number = top;
		++*at;
		return true;
	}
	if (**at < '1' || **at > '9')
		return false;
	*number = (uint32_t)strtoul(*at, &behind, 10);
	*at = behind;
	return true;
}

/* One range of a set, in the order that it was written. */
static bool range_of(const char **at, uint32_t top, uint32_t *from, uint32_t *to)
{
	if (!number_of(at, top, from))
		return false;
	*to = *from;
	if (**at != ':')
		return true;
	++*at;
	return number_of(at, top, to);
}

bool set_has(const char *set, uint32_t uid, uint32_t top)
{
	uint32_t from, to;

	while (range_of(&set, top, &from, &to)) {
		if ((from <= uid && uid <= to) || (to <= uid && uid <= from))
			return true;
		if (*set++ != ',')
			break;
	}
	return false;
}

bool set_is_good(const struct imap_server *server, const char *set)
{
	uint32_t from, to;

	while (range_of(&set, UINT32_MAX, &from, &to)) {
		if (from > to && server_has(server, SERVER_ASCENDING))
			return false;
		if (!*set)
			return true;
		if (*set++ != ',')
			break;
	}
	return false;
}
