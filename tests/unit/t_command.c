/* SPDX-License-Identifier: MIT */
/* t_command.c - lines against the command table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "proxy/base/mem.h"
#include "session/command.h"

#define A AUTHORIZATION
#define T TRANSACTION

struct line_case {
	enum state state;
	const char *line;
	size_t len;
	const char *verb; /* NULL: refused */
	int count;
	const char *first, *second;
};
#define L(text) text, sizeof text - 1
static const struct line_case cases[] = {
	{T, L("STAT"), "STAT", 0, NULL, NULL},
	{T, L("stat"), "STAT", 0, NULL, NULL},
	{T, L("sTaT"), "STAT", 0, NULL, NULL},
	{T, L("STAT "), "STAT", 0, NULL, NULL},
	{T, L("STAT \t "), "STAT", 0, NULL, NULL},
	{T, L("NOOP\t"), "NOOP", 0, NULL, NULL},
	{T, L("STAT x"), NULL, 0, NULL, NULL},
	{T, L(" STAT"), NULL, 0, NULL, NULL},
	{T, L("STATX"), NULL, 0, NULL, NULL},
	{T, L("STA"), NULL, 0, NULL, NULL},
	{T, L(""), NULL, 0, NULL, NULL},
	{T, L(" "), NULL, 0, NULL, NULL},
	{T, L("\t"), NULL, 0, NULL, NULL},
	{T, L("LIST"), "LIST", 0, NULL, NULL},
	{T, L("LIST 1"), "LIST", 1, "1", NULL},
	{T, L("LIST 1 "), "LIST", 1, "1", NULL},
	{T, L("LIST 1\t"), "LIST", 1, "1", NULL},
	{T, L("LIST  1"), NULL, 0, NULL, NULL},
	{T, L("LIST\t1"), NULL, 0, NULL, NULL},
	{T, L("LIST 1 2"), NULL, 0, NULL, NULL},
	{T, L("UIDL 7"), "UIDL", 1, "7", NULL},
	{T, L("RETR"), NULL, 0, NULL, NULL},
	{T, L("RETR "), NULL, 0, NULL, NULL},
	{T, L("RETR 1"), "RETR", 1, "1", NULL},
	{T, L("DELE 1 2"), NULL, 0, NULL, NULL},
	{T, L("TOP 1"), NULL, 0, NULL, NULL},
	{T, L("TOP 1 0"), "TOP", 2, "1", "0"},
	{T, L("top 1 99999999 "), "TOP", 2, "1", "99999999"},
	{T, L("TOP 1  0"), NULL, 0, NULL, NULL},
	{T, L("TOP 1 0 0"), NULL, 0, NULL, NULL},
	{T, L("DELE 1\0"), NULL, 0, NULL, NULL},
	{T, L("DELE 1\0 2"), NULL, 0, NULL, NULL},
	{T, L("STAT\0"), NULL, 0, NULL, NULL},
	{T, L("STAT\rDELE 1"), NULL, 0, NULL, NULL},
	{T, L("STAT\r"), NULL, 0, NULL, NULL},
	{T, L("LIST \xe9"), NULL, 0, NULL, NULL},
	{T, L("NOOP\x1b"), NULL, 0, NULL, NULL},
	{T, L("NOOP \x7f"), NULL, 0, NULL, NULL},
	{T, L("USER joe"), NULL, 0, NULL, NULL},
	{T, L("PASS x"), NULL, 0, NULL, NULL},
	{T, L("AUTH"), NULL, 0, NULL, NULL},
	{T, L("STLS"), NULL, 0, NULL, NULL},
	{T, L("QUIT"), "QUIT", 0, NULL, NULL},
	{T, L("CAPA"), "CAPA", 0, NULL, NULL},
	{T, L("LAST"), NULL, 0, NULL, NULL},
	{T, L("XTND XMIT"), NULL, 0, NULL, NULL},
	{A, L("STAT"), NULL, 0, NULL, NULL},
	{A, L("NOOP"), NULL, 0, NULL, NULL},
	{A, L("CAPA"), "CAPA", 0, NULL, NULL},
	{A, L("QUIT "), "QUIT", 0, NULL, NULL},
	{A, L("QUIT now"), NULL, 0, NULL, NULL},
	{A, L("STLS"), "STLS", 0, NULL, NULL},
	{A, L("STLS 1"), NULL, 0, NULL, NULL},
	{A, L("USER"), NULL, 0, NULL, NULL},
	{A, L("USER "), NULL, 0, NULL, NULL},
	{A, L("USER joe@example.net"), "USER", 1, "joe@example.net", NULL},
	{A, L("USER joe doe"), "USER", 1, "joe doe", NULL},
	{A, L("USER j\xf6"), NULL, 0, NULL, NULL},
	{A, L("USER a\tb"), NULL, 0, NULL, NULL},
	{A, L("PASS"), NULL, 0, NULL, NULL},
	{A, L("PASS "), NULL, 0, NULL, NULL},
	{A, L("PASS   p w\t "), "PASS", 1, "  p w\t ", NULL},
	{A, L("PASS p\xc3\xa4ss"), "PASS", 1, "p\xc3\xa4ss", NULL},
	{A, L("PASS  "), "PASS", 1, " ", NULL},
	{A, L("PASS\tx"), NULL, 0, NULL, NULL},
	{A, L("PASS a\0b"), NULL, 0, NULL, NULL},
	{A, L("PASS a\rb"), NULL, 0, NULL, NULL},
	{A, L("PASS a\x01"), NULL, 0, NULL, NULL},
	{A, L("AUTH"), "AUTH", 0, NULL, NULL},
	{A, L("AUTH PLAIN"), "AUTH", 1, "PLAIN", NULL},
	{A, L("AUTH PLAIN ="), "AUTH", 2, "PLAIN", "="},
	{A, L("auth plain AGE="), "AUTH", 2, "plain", "AGE="},
	{A, L("AUTH PLAIN AGE= "), NULL, 0, NULL, NULL},
	{A, L("AUTH PLAIN A B"), NULL, 0, NULL, NULL},
};

static struct err parse(enum state state, const char *line, size_t len, char **copy,
			const struct command **row, struct args *args)
{
	*copy = mem_dup(line, len);
	return command_parse(state, *copy, len, row, args);
}

static void test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct line_case *c = &cases[i];
		const struct command *row;
		struct args args;
		char *copy;
		struct err err = parse(c->state, c->line, c->len, &copy, &row, &args);

		if (!c->verb) {
			if (err.kind != ERR_REFUSED)
				fail_msg("accepted: case %zu, %s", i, c->line);
			assert_null(row);
			assert_int_equal(err.code, EINVAL);
		} else {
			if (err.kind)
				fail_msg("refused: case %zu, %s", i, c->line);
			assert_string_equal(row->verb, c->verb);
			assert_true(row->states & c->state);
			assert_int_equal(args.count, c->count);
			if (c->first)
				assert_string_equal(args.word[0], c->first);
			if (c->second)
				assert_string_equal(args.word[1], c->second);
		}
		free(copy);
	}
}

/* With CRLF: 255, 1024 for names and passwords, 65536 for AUTH. */
static void test_lengths(void **state)
{
	static const struct {
		enum state state;
		const char *begin;
		size_t longest;
		char fill;
		bool is_good; /* at its longest */
	} limits[] = {
		{T, "STAT", 255, ' ', true},          {T, "LIST ", 255, '1', true},
		{A, "USER ", 1024, 'u', true},        {A, "PASS ", 1024, 'p', true},
		{A, "AUTH PLAIN ", 65536, 'A', true}, {A, "HUH ", 255, 'x', false},
		{A, "LIST ", 255, '1', false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		size_t most = limits[i].longest - 2;
		char *line = mem_alloc(most + 2), *copy;
		const struct command *row;
		struct args args;

		memset(line, limits[i].fill, most + 1);
		memcpy(line, limits[i].begin, strlen(limits[i].begin));
		struct err err = parse(limits[i].state, line, most, &copy, &row, &args);
		assert_int_equal(!err.kind, limits[i].is_good);
		if (err.kind)
			assert_int_equal(err.code, EINVAL);
		free(copy);
		err = parse(limits[i].state, line, most + 1, &copy, &row, &args);
		assert_int_equal(err.kind, ERR_REFUSED);
		assert_int_equal(err.code, E2BIG);
		free(copy);
		free(line);
	}
}

static void test_foreign(void **state)
{
	static const char *const foreign[] = {"GET / HTTP/1.1", "post /x",     "PUT x",   "HEAD /",
					      "OPTIONS *",      "CONNECT a:1", "EHLO me", "helo me",
					      "SSH-2.0-x",      "\x16\x03\x01"};
	static const char *const ours[] = {"", "GET", "QUIT", "USER GET ", "CAPA", "HELP", "STLS"};

	(void)state;
	for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
		assert_true(command_is_foreign(foreign[i], strlen(foreign[i])));
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		assert_false(command_is_foreign(ours[i], strlen(ours[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_foreign),
	};
	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
