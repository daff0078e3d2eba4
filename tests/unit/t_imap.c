/* SPDX-License-Identifier: MIT */
/* t_imap.c - the IMAP store before servers that are good, odd, broken and hostile.
 *
 * The cases are data: the .imap files in tests/imap. A file holds cases, each begun by "=== what it shows". In
 * a case, lines that begin with ">" are what the session does and what must come of it, "?" lines
 * are checks; all others are the server's script (tests/fake/imap_script.h), consumed by the
 * operation above them.
 *
 *	> conf key=value ...     before open: tls=clear|starttls|tls folder= delete=never
 *	                         seen=on-quit user= password= stored badcert; "%20" stands for a blank
 *	> open KIND              KIND is ok, refused, message, login, in-use, policy, upstream, client
 *	> list KIND [count octets]
 *	> fetch UID[:from+octets] KIND [text]     text: exactly what the sink got
 *	> sink n                 the sink fails after n octets, with ERR_CLIENT
 *	> delete UID, > retrieved UID
 *	> update KIND
 *	> close                  (else at the end of the case)
 *	> whole                  only with the server's octets all at once
 *	? never TEXT    ? sent TEXT    ? why TEXT    ? dials n    ? secures n    ? readonly yes|no
 *	? size UID octets [inexact]    ? announced n
 *	? limits WAIT:UNTIL ...        the deadlines set until now, milliseconds
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
#include "tests/fake/imap_script.h"
#include "upstream/upstream.h"

struct spoon {
	struct sink sink; /* first */
	struct buf got;
	size_t fail_at; /* SIZE_MAX: never */
	size_t puts;
};

static struct err spoon_put(struct sink *sink, const void *octets, size_t len)
{
	struct spoon *spoon = (struct spoon *)sink;

	spoon->puts++;
	assert(len > 0);
	if (buf_len(&spoon->got) + len > spoon->fail_at)
		return ERR(ERR_CLIENT, 77, "the client is gone");
	return buf_put(&spoon->got, octets, len) ? OK : ERR(ERR_REFUSED, 0, "spoon full");
}

struct run {
	struct imap_script script;
	struct log log;
	struct upstream_conf conf;
	char words[8][200]; /* what conf points to */
	size_t words_used;
	bool is_stored;
	struct upstream *upstream;
	struct maildrop maildrop;
	struct notice why;
	struct spoon spoon;
	char problem[900]; /* "": none */
};

static const char *const kinds[] = {"ok",     "refused", "message",  "login",
				    "in-use", "policy",  "upstream", "client"};

static void problem(struct run *run, const char *format, ...)
{
	va_list ap;

	if (*run->problem)
		return;
	va_start(ap, format);
	vsnprintf(run->problem, sizeof run->problem, format, ap);
	va_end(ap);
}

static void check_kind(struct run *run, const char *note, struct err err, const char *want)
{
	if (strcmp(kinds[err.kind], want) != 0)
		problem(run, "\"%s\": came to %s %d \"%s\"", note, kinds[err.kind], err.code,
			err.what ? err.what : "");
}

static char *keep_word(struct run *run, const char *value)
{
	char *to = run->words[run->words_used++], *out = to;

	assert(run->words_used <= 8 && strlen(value) < sizeof run->words[0]);
	for (; *value; value++) {
		if (*value == '%' && value[1] && value[2]) {
			char hex[3] = {value[1], value[2], '\0'};
			*to++ = (char)strtoul(hex, NULL, 16);
			value += 2;
		} else {
			*to++ = *value;
		}
	}
	*to = '\0';
	return out;
}

static struct login login_of(struct run *run)
{
	return (struct login){run->words[0], run->words[1], run->is_stored};
}

static void set_conf(struct run *run, char *words)
{
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
		char *value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		if (strcmp(word, "tls") == 0)
			run->conf.tls = strcmp(value, "tls") == 0        ? UPSTREAM_TLS
					: strcmp(value, "starttls") == 0 ? UPSTREAM_STARTTLS
									 : UPSTREAM_CLEAR;
		else if (strcmp(word, "folder") == 0)
			run->conf.folder = keep_word(run, value);
		else if (strcmp(word, "delete") == 0)
			run->conf.delete_policy = DELETE_NEVER;
		else if (strcmp(word, "seen") == 0)
			run->conf.seen_policy = SEEN_ON_QUIT;
		else if (strcmp(word, "badcert") == 0)
			run->script.world.secure_err = ERR(ERR_POLICY, 0, "bad certificate");
		else if (strcmp(word, "stored") == 0)
			run->is_stored = true;
		else if (strcmp(word, "user") == 0 || strcmp(word, "password") == 0)
			memcpy(run->words[word[0] == 'p'], keep_word(run, value), 200);
		else
			problem(run, "conf: what is %s?", word);
	}
}

static void do_open(struct run *run, const char *note, const char *kind)
{
	struct login login = login_of(run);
	struct err err = imap_ops.open(&run->script.world.env, &run->log, &run->conf, &login,
				       &run->why, &run->upstream);

	check_kind(run, note, err, kind);
	if (err.kind && run->upstream)
		problem(run, "open failed and left something open");
	if (err.kind && run->script.stream)
		problem(run, "open failed and left its connection open");
}

static void do_list(struct run *run, const char *note, const char *kind, const char *rest)
{
	unsigned long count, octets;
	struct err err = imap_ops.list(run->upstream, &run->maildrop);

	check_kind(run, note, err, kind);
	if (!err.kind && sscanf(rest, "%lu %lu", &count, &octets) == 2 &&
	    (run->maildrop.count != count || run->maildrop.octets != octets))
		problem(run, "\"%s\": %zu messages, %llu octets", note, run->maildrop.count,
			(unsigned long long)run->maildrop.octets);
}

static struct message *message_of(struct run *run, const char *uid)
{
	for (size_t i = 0; i < run->maildrop.total; i++)
		if (run->maildrop.messages[i].uid == strtoul(uid, NULL, 10))
			return &run->maildrop.messages[i];
	problem(run, "no message has the UID %s", uid);
	return NULL;
}

static void do_fetch(struct run *run, const char *note, char *which, const char *kind,
		     const char *text)
{
	unsigned long long from = 0, octets = 0;
	struct message *msg = message_of(run, which);
	char *colon = strchr(which, ':');
	struct buf want;

	if (!msg)
		return;
	if (colon)
		sscanf(colon, ":%llu+%llu", &from, &octets);
	struct part part = {from, octets};
	buf_drop(&run->spoon.got, buf_len(&run->spoon.got));
	struct err err =
		imap_ops.fetch(run->upstream, &run->maildrop, msg, &part, &run->spoon.sink);
	check_kind(run, note, err, kind);
	buf_init(&want, 1 << 20);
	imap_script_unescape(&want, text, strlen(text));
	bool is_same = buf_len(&want) == buf_len(&run->spoon.got) &&
		       (!buf_len(&want) ||
			memcmp(buf_data(&want), buf_data(&run->spoon.got), buf_len(&want)) == 0);
	if (*text && !is_same)
		problem(run, "\"%s\": the sink got \"%.*s\"", note, (int)buf_len(&run->spoon.got),
			buf_data(&run->spoon.got));
	buf_fini(&want);
}

/* A line that begins with ">". */
static void act(struct run *run, const char *note)
{
	char line[1000], none[] = "", *part[4] = {none, none, none, none}, *save = NULL;

	snprintf(line, sizeof line, "%s", note + 1);
	if (strncmp(line, " conf ", 6) == 0) {
		set_conf(run, line + 6);
		return;
	}
	part[0] = strtok_r(line, " ", &save);
	if (strcmp(part[0], "whole") == 0)
		return;
	for (int i = 1; i < 3 && save && *save; i++)
		part[i] = strtok_r(NULL, " ", &save);
	if (save)
		part[3] = save;
	if (strcmp(part[0], "open") == 0)
		do_open(run, note, part[1]);
	else if (!run->upstream)
		problem(run, "\"%s\": nothing is open", note);
	else if (strcmp(part[0], "list") == 0) {
		char rest[100];
		snprintf(rest, sizeof rest, "%s %s", part[2], part[3]);
		do_list(run, note, part[1], rest);
	} else if (strcmp(part[0], "fetch") == 0)
		do_fetch(run, note, part[1], part[2], part[3]);
	else if (strcmp(part[0], "sink") == 0)
		run->spoon.fail_at = strtoul(part[1], NULL, 10);
	else if (strcmp(part[0], "delete") == 0 && message_of(run, part[1]))
		maildrop_delete(&run->maildrop, message_of(run, part[1]));
	else if (strcmp(part[0], "retrieved") == 0 && message_of(run, part[1]))
		message_of(run, part[1])->marks |= MARK_RETRIEVED;
	else if (strcmp(part[0], "update") == 0)
		check_kind(run, note, imap_ops.update(run->upstream, &run->maildrop), part[1]);
	else if (strcmp(part[0], "close") == 0) {
		imap_ops.close(run->upstream);
		run->upstream = NULL;
	} else
		problem(run, "\"%s\": no such thing to do", note);
}

static void check_size(struct run *run, const char *note, const char *rest)
{
	struct message *msg = message_of(run, rest);
	unsigned long uid, octets;

	if (!msg || sscanf(rest, "%lu %lu", &uid, &octets) != 2)
		return;
	bool is_inexact = strstr(rest, "inexact") != NULL;
	if (msg->octets != octets || is_inexact != !!(msg->marks & MARK_INEXACT))
		problem(run, "\"%s\": size %llu marks %u", note, (unsigned long long)msg->octets,
			(unsigned)msg->marks);
}

/* A line that begins with "?". */
static void check(struct run *run, const char *note)
{
	const char *word = note + 2, *rest = strchr(word, ' ') ? strchr(word, ' ') + 1 : "";
	const char *sent = imap_script_sent(&run->script);
	bool is_good = false;

	if (strncmp(word, "never ", 6) == 0)
		is_good = !strstr(sent, rest);
	else if (strncmp(word, "sent ", 5) == 0)
		is_good = strstr(sent, rest) != NULL;
	else if (strncmp(word, "why ", 4) == 0)
		is_good = strcmp(run->why.text, rest) == 0;
	else if (strncmp(word, "limits ", 7) == 0)
		is_good = strncmp(imap_script_limits(&run->script), rest, strlen(rest)) == 0;
	else if (strncmp(word, "dials ", 6) == 0)
		is_good = run->script.world.dials == strtoul(rest, NULL, 10);
	else if (strncmp(word, "secures ", 8) == 0)
		is_good = run->script.world.secures == strtoul(rest, NULL, 10);
	else if (strncmp(word, "readonly ", 9) == 0)
		is_good = run->upstream && run->upstream->is_read_only == (*rest == 'y');
	else if (strncmp(word, "announced ", 10) == 0)
		is_good = run->spoon.sink.announced_octets == strtoul(rest, NULL, 10);
	else if (strncmp(word, "size ", 5) == 0) {
		check_size(run, note, rest);
		is_good = true;
	}
	if (!is_good)
		problem(run, "\"%s\" is not so; limits: %s, sent: %s", note,
			imap_script_limits(&run->script), sent);
}

static void run_init(struct run *run, const char *text, size_t chunk)
{
	memset(run, 0, sizeof *run);
	imap_script_init(&run->script, text);
	run->script.chunk = chunk;
	run->conf = (struct upstream_conf){
		.ops = &imap_ops,
		.host = "Imap.Example.com",
		.port = 143,
		.folder = "INBOX",
	};
	run->words_used = 2;
	strcpy(run->words[0], "joe");
	strcpy(run->words[1], "secret");
	run->spoon = (struct spoon){.sink = {.put = spoon_put}, .fail_at = SIZE_MAX};
	buf_init(&run->spoon.got, 64 << 20);
	maildrop_init(&run->maildrop);
}

static void run_fini(struct run *run)
{
	if (run->upstream)
		imap_ops.close(run->upstream);
	run->upstream = NULL;
	maildrop_fini(&run->maildrop);
	buf_fini(&run->spoon.got);
	imap_script_fini(&run->script);
}

static void run_notes(struct run *run)
{
	char note[1000];

	while (!*run->problem && !*run->script.failure &&
	       imap_script_note(&run->script, note, sizeof note)) {
		if (*note == '>')
			act(run, note);
		else
			check(run, note);
	}
	if (run->upstream)
		imap_ops.close(run->upstream);
	run->upstream = NULL;
	if (*run->script.failure)
		problem(run, "%s", run->script.failure);
}

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
		do_open(&run, "open", "ok");
		assert_string_equal(run.problem, "");
		do_list(&run, "list", "ok", "1 100");
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
	do_open(&run, "open", "ok");
	assert_string_equal(run.problem, "");
	do_list(&run, "list", "ok", "1 100");
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
