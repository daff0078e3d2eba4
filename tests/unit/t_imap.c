/* SPDX-License-Identifier: MIT */
/* t_imap.c - the IMAP store before servers that are good, odd, broken and hostile.
 *
 * The cases are data: the .imap files in tests/imap. A file holds cases, each begun by "=== what it shows". In
 * a case, lines that begin with ">" are what the session does and what must come of it, "?" lines
 * are checks; all others are the server's script (tests/fake/imap_script.h), consumed by the
 * operation above them: tests/unit/imap_run.h.
 *
 * Each case runs with the server's octets all at once, one at a time, and in sevens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "tests/unit/imap_run.h"

static void test_case(void **state)
{
	static const size_t chunks[] = {0, 1, 7};

	bool is_whole = strstr(*state, "\n> whole\n") != NULL;
	for (size_t i = 0; i < (is_whole ? 1 : sizeof chunks / sizeof *chunks); i++) {
		struct run run;
		char problem_text[900];
		run_init(&run, *state, chunks[i]);
		run_notes(&run);
		memcpy(problem_text, run.problem, sizeof problem_text);
		run_fini(&run);
		if (*problem_text)
			fail_msg("in chunks of %zu: %s", chunks[i], problem_text);
	}
}

/* F-09: the reply to a FETCH is cut after each of its octets, and the store must never call the
 * message whole, nor after a cut give it twice. */
static void test_cut_everywhere(void **state)
{
	static const char script[] = "@login\n@select 1\n@list 1\n"
				     "C: UID FETCH 1 (UID BODY.PEEK[])\n@from\n"
				     "S= * 1 FETCH (UID 1 BODY[] \nL* 2000\nS: )\nS: $ OK done\n"
				     "@dial\n@refuse\n@dial\n@refuse\n";
	size_t whole = 0;

	(void)state;
	for (size_t cut = 0; cut < 2200; cut++) {
		struct run run;
		struct part part = {0, 0};
		run_init(&run, script, 0);
		run.script.cut = cut;
		run_open(&run, "open", "ok");
		assert_string_equal(run.problem, "");
		run_list(&run, "list", "ok", "1 100");
		assert_string_equal(run.problem, "");
		struct err err = imap_ops.fetch(run.upstream, &run.maildrop,
						&run.maildrop.messages[0], &part, &run.spoon.sink);
		whole += err.kind == ERR_NONE;
		if (err.kind)
			assert_int_equal(err.kind, ERR_UPSTREAM);
		else
			assert_int_equal(buf_len(&run.spoon.got), 2000);
		assert_true(buf_len(&run.spoon.got) <= 2000);
		run_fini(&run);
	}
	/* The reply has 25 + 8 + 2000 + 3 octets and the tagged line's 11: once that is out, it is
	 * whole. */
	assert_in_range(whole, 2200 - 2060, 2200 - 2040);
}

static void test_names(void **state)
{
	struct run run;
	char uidl[UIDL_MAX + 1];

	(void)state;
	run_init(&run, "@login\n@select 1 4294967295\n@list 1\n", 0);
	run_open(&run, "open", "ok");
	assert_string_equal(run.problem, "");
	run_list(&run, "list", "ok", "1 100");
	assert_string_equal(run.problem, "");
	maildrop_uidl(&run.maildrop, &run.maildrop.messages[0], uidl);
	assert_int_equal(strlen(uidl), 10 + 13);
	assert_string_equal(uidl + 10, ".4294967295.1");
	assert_string_equal(run.upstream->identity, "imap:imap.example.com:143:joe:INBOX");
	run_fini(&run);
}

struct cases {
	struct CMUnitTest *tests;
	size_t count;
};

static void add_case(struct cases *cases, const char *file, const char *text)
{
	size_t title_len = strcspn(text, "\n");
	const char *body = text + title_len;

	cases->tests = mem_resize(cases->tests, cases->count + 1, sizeof *cases->tests);
	cases->tests[cases->count++] = (struct CMUnitTest){
		.name = text_printf_dup("%s: %.*s", file, (int)title_len, text),
		.test_func = test_case,
		.initial_state = text_dup(body),
	};
}

static void add_file(struct cases *cases, const char *dir, const char *name)
{
	char *path = text_printf_dup("%s/%s", dir, name), *text = mem_alloc(1 << 20);
	FILE *file = fopen(path, "r");
	static const char mark[] = "\n=== ";

	assert(file);
	text[0] = '\n';
	size_t len = fread(text + 1, 1, (1 << 20) - 2, file);
	assert(len < (1 << 20) - 2);
	fclose(file);
	char *at = strstr(text, mark);
	while (at) {
		char *next = strstr(at + 1, mark);
		if (next)
			*next = '\0';
		add_case(cases, name, at + sizeof mark - 1);
		at = next ? next : NULL;
		if (next)
			*next = '\n';
	}
	free(text);
	free(path);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_files(struct cases *cases)
{
	const char *srcdir = getenv("srcdir");
	char *dir = text_printf_dup("%s/tests/imap", srcdir ? srcdir : "."), *names[100];
	DIR *handle = opendir(dir);
	size_t count = 0;

	assert(handle);
	for (struct dirent *entry = readdir(handle); entry; entry = readdir(handle)) {
		const char *dot = strrchr(entry->d_name, '.');
		if (dot && strcmp(dot, ".imap") == 0 && count < 100)
			names[count++] = text_dup(entry->d_name);
	}
	closedir(handle);
	qsort(names, count, sizeof *names, by_name);
	for (size_t i = 0; i < count; i++) {
		add_file(cases, dir, names[i]);
		free(names[i]);
	}
	free(dir);
}

int main(void)
{
	const struct CMUnitTest plain[] = {
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_names),
	};
	enum { PLAIN = sizeof plain / sizeof *plain };
	struct cases cases = {NULL, 0};
	add_files(&cases);
	assert(cases.count > 0);
	/* One group, for TAP has one plan. */
	cases.tests = mem_resize(cases.tests, cases.count + PLAIN, sizeof *cases.tests);
	memcpy(cases.tests + cases.count, plain, sizeof plain);
	int failed = _cmocka_run_group_tests("imap", cases.tests, cases.count + PLAIN, NULL, NULL);
	for (size_t i = 0; i < cases.count; i++) {
		free((char *)(uintptr_t)cases.tests[i].name);
		free(cases.tests[i].initial_state);
	}
	free(cases.tests);
	return failed;
}
