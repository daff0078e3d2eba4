/* SPDX-License-Identifier: MIT */
/* t_import.c - UIDLs brought over: what clients note, what an old server says, and which message is
 * which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/import.h"
#include "tests/fake/canned.h"
#include "tests/fake/world.h"

/* --- what clients note -------------------------------------------------------------------- */

struct file_case {
	enum import_file kind;
	const char *account, *text;
	size_t len;
	const char *uidls; /* with a blank behind each; NULL: refused */
	const char *why;   /* part of the reason */
};
#define TEXT(text_) text_, sizeof text_ - 1

static const struct file_case files[] = {
	{IMPORT_FETCHIDS, NULL, TEXT("joe@pop.example.com a1\njoe@pop.example.com b@2<x>\n"),
	 "a1 b@2<x> ", NULL},
	{IMPORT_FETCHIDS, NULL, TEXT("joe@example.com@pop.example.com a1\n"), "a1 ", NULL},
	{IMPORT_FETCHIDS, NULL, TEXT("# Do not edit\n\n  joe@pop a1\r\njoe@pop\tb2"), "a1 b2 ",
	 NULL},
	{IMPORT_FETCHIDS, NULL, TEXT("joe@pop a1\nann@pop b2\n"), NULL, "joe@pop, ann@pop"},
	{IMPORT_FETCHIDS, "ANN@pop", TEXT("joe@pop a1\nann@pop b2\njoe@pop c3\nann@pop d4\n"),
	 "b2 d4 ", NULL},
	{IMPORT_FETCHIDS, "eve@pop", TEXT("joe@pop a1\n"), NULL, "joe@pop"},
	{IMPORT_FETCHIDS, NULL, TEXT(""), "", NULL},
	{IMPORT_FETCHIDS, NULL, TEXT("joe@pop\n"), NULL, "line 1"},
	{IMPORT_FETCHIDS, NULL, TEXT("joe@pop a1\njoe b2\n"), NULL, "line 2"},
	{IMPORT_FETCHIDS, NULL, TEXT("joe@pop a1 b2\n"), NULL, "line 1"},
	{IMPORT_FETCHIDS, NULL, TEXT("joe@pop a1\njoe@pop \000b2\n"), NULL, "line 2"},
	{IMPORT_POPSTATE, NULL, TEXT("*pop joe\nk \000 1\n"), NULL, "line 2"},
	{IMPORT_GETMAIL, NULL, TEXT("a1\0001700000000\nb 2\0001\n"), "a1 b 2 ", NULL},
	{IMPORT_GETMAIL, NULL, TEXT("a1 1700000000\n"), NULL, "line 1"},
	{IMPORT_GETMAIL, NULL, TEXT("a1\0001\nb2\000x\n"), NULL, "line 2"},
	{IMPORT_GETMAIL, NULL, TEXT("\0001\n"), NULL, "line 1"},
	{IMPORT_POPSTATE, NULL,
	 TEXT("# POP3 State File\n# This is a generated file!  Do not edit.\n\n"
	      "*pop.example.com joe%40example.com\nk a1 1700000000\nd b2 1\nb c3 2\nf d4 3\n"),
	 "a1 b2 c3 d4 ", NULL},
	{IMPORT_POPSTATE, "joe@example.com@pop",
	 TEXT("*pop joe%40example.com\r\nk a1 1\r\n*pop ann\r\nk b2 2\r\n"), "a1 ", NULL},
	{IMPORT_POPSTATE, NULL, TEXT("*pop joe\nk a1 1\n*pop ann\nk b2 2\n"), NULL, "ann@pop"},
	{IMPORT_POPSTATE, NULL, TEXT("k a1 1\n"), NULL, "line 1"},
	{IMPORT_POPSTATE, NULL, TEXT("*pop joe\nx a1 1\n"), NULL, "line 2"},
	{IMPORT_POPSTATE, NULL, TEXT("*pop joe\nkk a1 1\n"), NULL, "line 2"},
	{IMPORT_POPSTATE, NULL, TEXT("*pop\n"), NULL, "line 1"},
};

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		struct import_list list;
		struct notice why = {""};
		char all[256] = "";
		bool is_good = import_read_file(files[i].kind, files[i].text, files[i].len,
						files[i].account, &list, &why);
		assert_int_equal(is_good, files[i].uidls != NULL);
		for (size_t k = 0; k < list.count; k++) {
			strcat(all, list.all[k].uidl);
			strcat(all, " ");
		}
		assert_string_equal(all, files[i].uidls ? files[i].uidls : "");
		if (!is_good)
			assert_non_null(strstr(why.text, files[i].why));
		import_fini(&list);
	}
}

/* --- where -------------------------------------------------------------------------------- */

static void test_urls(void **state)
{
	static const struct {
		const char *value, *user, *host;
		unsigned port;
		enum upstream_tls tls;
		bool is_loopback;
	} good[] = {
		{"pop3s://joe@pop.example.com", "joe", "pop.example.com", 995, UPSTREAM_TLS, false},
		{"POP3S://joe@h:1995/", "joe", "h", 1995, UPSTREAM_TLS, false},
		{"pop3+starttls://joe%40example.com@h", "joe@example.com", "h", 110,
		 UPSTREAM_STARTTLS, false},
		{"pop3://joe@example.com@127.0.0.1:1110", "joe@example.com", "127.0.0.1", 1110,
		 UPSTREAM_CLEAR, true},
		{"pop3://joe@[::1]", "joe", "::1", 110, UPSTREAM_CLEAR, true},
		{"pop3://joe@[2001:db8::1]:111", "joe", "2001:db8::1", 111, UPSTREAM_CLEAR, false},
		{"pop3://100%@localhost", "100%", "localhost", 110, UPSTREAM_CLEAR, true},
	};
	static const char *const bad[] = {
		"",
		"imaps://joe@h",
		"pop3s://h",
		"pop3s://joe:secret@h",
		"pop3s://@h",
		"pop3s://joe@",
		"pop3s://joe@h:0",
		"pop3s://joe@h:65536",
		"pop3s://joe@h:x",
		"pop3s://joe@h/INBOX",
		"pop3s://joe@[::1",
		"pop3s://joe@[::1]x",
		"pop3s://joe@h h",
		"pop3s://jo\r\ne@h",
		"pop3s://joe@h\xc3\xa4",
	};
	struct import_url url;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_null(import_url_parse(good[i].value, &url));
		assert_string_equal(url.user, good[i].user);
		assert_string_equal(url.host, good[i].host);
		assert_int_equal(url.port, good[i].port);
		assert_int_equal(url.tls, good[i].tls);
		assert_int_equal(url.is_loopback, good[i].is_loopback);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_non_null(import_url_parse(bad[i], &url));
}

/* --- which is which ----------------------------------------------------------------------- */

static struct import_old *add(struct import_list *list, const char *uidl, const char *hash,
			      uint64_t octets)
{
	assert_true(import_add(list, uidl, strlen(uidl)));
	struct import_old *old = &list->all[list->count - 1];
	snprintf(old->hash, sizeof old->hash, "%s", hash);
	old->octets = octets;
	return old;
}

static const struct import_row rows[] = {
	{1, 100, "one", "t.7.1"},     {2, 200, "twin", "t.7.2"},    {3, 200, "twin", "t.7.3"},
	{4, 300, "three", "t.7.4"},   {5, 300, "three", "t.7.5"},   {6, 400, "", "t.7.6"},
	{7, 5000, "grown", "t.7.7"},  {8, 50000, "other", "t.7.8"}, {9, 100, "had", "had-uidl"},
	{10, 1000, "pair", "t.7.10"}, {11, 1010, "pair", "t.7.11"}, {12, 70000, "far", "t.7.12"},
	{13, 100, "far", "t.7.13"},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void test_match(void **state)
{
	static const struct {
		const char *uidl, *hash;
		uint64_t octets;
		enum import_fate fate;
		uint32_t uid;
	} cases[] = {
		{"a", "one", 100, IMPORT_MATCHED, 1},
		{"b", "twin", 200, IMPORT_MATCHED, 2},
		{"c", "twin", 200, IMPORT_MATCHED, 3},
		{"d", "three", 300, IMPORT_AMBIGUOUS, 0}, /* one of two */
		{"e", "", 400, IMPORT_NOT_FOUND, 0},
		{"f", "grown", 4000, IMPORT_MATCHED, 7},  /* near */
		{"g", "other", 100, IMPORT_AMBIGUOUS, 0}, /* not near */
		{"had-uidl", "had", 100, IMPORT_ALREADY, 9},
		{"h", "had", 100, IMPORT_NOT_FOUND, 0}, /* its row is spoken for */
		{"i", "pair", 1005, IMPORT_MATCHED, 10},
		{"j", "pair", 1006, IMPORT_MATCHED, 11},
		{"k", "gone", 1, IMPORT_NOT_FOUND, 0},
		{"l", "far", 70000, IMPORT_MATCHED, 12}, /* the same size: sure */
		{"m", "far", 90, IMPORT_MATCHED, 13},
		{"a b", "one", 100, IMPORT_UNFIT, 0},
		{"n", "one2", 100, IMPORT_UNFIT, 0}, /* twice */
		{"n", "one3", 100, IMPORT_UNFIT, 0},
	};
	struct import_list list = {0};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		add(&list, cases[i].uidl, cases[i].hash, cases[i].octets);
	import_sieve(&list, rows, ROWS);
	import_match(&list, rows, ROWS);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(list.all[i].fate, cases[i].fate);
		assert_int_equal(list.all[i].uid, cases[i].uid);
	}
	import_fini(&list);
}

static void test_explain(void **state)
{
	static const char *const uidls[] = {"1-7", "3-7", "9-7", "14-7", "2-8", "had-uidl", "x"};
	struct import_list list = {0};
	struct uidl_format format;
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof uidls / sizeof *uidls; i++)
		add(&list, uidls[i], "", 0);
	assert_null(uidl_format_parse("dovecot:%u-%v", &format));
	import_sieve(&list, rows, ROWS);
	assert_int_equal(import_explain(&list, rows, ROWS, &format, 7, true), 2);
	assert_int_equal(list.all[0].fate, IMPORT_NOT_FOUND);
	assert_int_equal(import_explain(&list, rows, ROWS, &format, 7, false), 2);
	assert_int_equal(list.all[0].uid, 1);
	assert_int_equal(list.all[1].uid, 3);
	assert_int_equal(list.all[2].fate, IMPORT_NOT_FOUND); /* UID 9 has another */
	assert_int_equal(list.all[3].fate, IMPORT_NOT_FOUND);
	assert_int_equal(list.all[4].fate, IMPORT_NOT_FOUND);
	assert_int_equal(list.all[5].fate, IMPORT_ALREADY);
	assert_int_equal(import_explain(&list, rows, ROWS, &format, 7, false), 0);
	assert_true(import_guess(&list, &format, &count) == 7);
	assert_int_equal(count, 2);
	assert_int_equal(import_explain(&list, rows, ROWS, &format, 8, false), 1);
	assert_int_equal(list.all[4].uid, 2);
	assert_null(uidl_format_parse("cyrus:uidonly", &format));
	assert_true(import_guess(&list, &format, &count) == 0);
	assert_int_equal(count, 0);
	import_fini(&list);
}

/* --- into the ledger ---------------------------------------------------------------------- */

static void give(struct import_list *list, const char *uidl, uint32_t uid)
{
	struct import_old *old = add(list, uidl, "", 0);

	old->fate = IMPORT_MATCHED;
	old->uid = uid;
}

static void assert_uidl(const struct ledger *ledger, uint32_t uid, const char *uidl)
{
	char out[UIDL_MAX + 1];

	ledger_uidl(ledger, ledger_find(ledger, uid), "t", out);
	assert_string_equal(out, uidl);
}

static void test_apply(void **state)
{
	struct import_list list = {0};
	struct ledger ledger;
	size_t left_out;

	(void)state;
	ledger_init(&ledger, "joe");
	ledger.head.uidvalidity = 7;
	for (uint32_t uid = 1; uid <= 9; uid++)
		assert_non_null(ledger_row(&ledger, uid));
	assert_true(ledger_set_name(&ledger, ledger_find(&ledger, 2), "two"));
	assert_true(ledger_set_name(&ledger, ledger_find(&ledger, 3), "three"));
	assert_true(ledger_set_name(&ledger, ledger_find(&ledger, 4), "four"));
	assert_true(ledger_set_name(&ledger, ledger_find(&ledger, 9), "kept"));
	give(&list, "a", 1);
	give(&list, "three", 2); /* of UID 3, which gets another: may be had */
	give(&list, "two", 3);
	give(&list, "kept", 4);   /* of UID 9, which keeps it */
	give(&list, "four", 5);   /* UID 4 got none, so it keeps that one */
	give(&list, "t.7.99", 6); /* of a message that is yet to come */
	give(&list, "gone", 10);
	add(&list, "not", "", 0);
	assert_int_equal(import_apply(&list, &ledger, "t", &left_out).kind, ERR_NONE);
	assert_int_equal(left_out, 4);
	assert_uidl(&ledger, 1, "a");
	assert_uidl(&ledger, 2, "three");
	assert_uidl(&ledger, 3, "two");
	assert_uidl(&ledger, 4, "four");
	assert_uidl(&ledger, 5, "t.7.5");
	assert_uidl(&ledger, 6, "t.7.6");
	assert_uidl(&ledger, 9, "kept");
	/* A second time: the same. */
	assert_int_equal(import_apply(&list, &ledger, "t", &left_out).kind, ERR_NONE);
	assert_int_equal(left_out, 4);
	ledger_fini(&ledger);
	import_fini(&list);
}

/* --- the old server ----------------------------------------------------------------------- */

static struct err dial(void *arg, const char *host, unsigned port, struct stream **out)
{
	struct canned *canned = arg;

	assert_string_equal(host, "pop.example.com");
	assert_int_equal(port, 110);
	*out = &canned->stream;
	return OK;
}

/* One conversation with what an old server says; the caller ends the list. */
static struct err talk(const char *url, const char *said, size_t chunk, struct canned *canned,
		       struct import_list *list, struct notice *why)
{
	struct fake_world world;
	struct import_source source = {.password = "secret"};

	fake_world_init(&world);
	canned_init(canned, ERR_UPSTREAM, said, strlen(said));
	canned->chunk = chunk;
	world.dial = dial;
	world.arg = canned;
	assert_null(import_url_parse(url, &source.url));
	struct err err = import_pop3(&world.env, &source, rows, ROWS, list, why);
	assert_true(canned->is_closed);
	assert_int_equal(world.secures, strstr(url, "starttls") && !err.kind);
	return err;
}

#define PLAIN "pop3://joe%40example.com@pop.example.com"

static void test_pop3(void **state)
{
	static const char said[] = "+OK ready\r\n+OK\r\n+OK 4 messages\r\n"
				   "+OK\r\n1 a1\r\n2 had-uidl\r\n4 c3\r\n5 d4 \r\n.\r\n"
				   "+OK\r\n1 100\r\n2 200 more\r\n3 250\r\n4 300\r\n5 400\r\n.\r\n"
				   "+OK\r\nMessage-ID: <1@x>\r\n..dot: x\r\n\r\n.\r\n"
				   "-ERR no TOP\r\n"
				   "+OK\r\nMessage-ID: <1@x>\r\n\r\nDate: body\r\n..\r\n.\r\n"
				   "-ERR gone\r\n"
				   "+OK bye\r\n";
	struct canned canned;
	struct import_list list;
	struct notice why = {""};
	char hash[IDENTITY_HASH + 1];

	(void)state;
	for (size_t chunk = 1; chunk < 4; chunk++) {
		assert_int_equal(talk(PLAIN, said, chunk, &canned, &list, &why).kind, ERR_NONE);
		assert_string_equal(canned_output(&canned),
				    "USER joe@example.com\r\nPASS secret\r\nUIDL\r\nLIST\r\n"
				    "TOP 1 0\r\nTOP 4 0\r\nRETR 4\r\nRETR 5\r\nQUIT\r\n");
		assert_int_equal(list.count, 4);
		assert_true(list.all[0].octets == 100 && list.all[1].octets == 200 &&
			    list.all[2].octets == 300 && list.all[3].octets == 400);
		assert_string_equal(list.all[3].uidl, "d4");
		assert_int_equal(list.all[1].fate, IMPORT_ALREADY);
		assert_true(identity_of_header(hash, "Message-ID: <1@x>\r\n", 19));
		assert_string_equal(list.all[0].hash, hash);
		assert_string_equal(list.all[1].hash, "");
		assert_string_equal(list.all[2].hash, hash);
		assert_string_equal(list.all[3].hash, "");
		import_fini(&list);
		canned_fini(&canned);
	}
}

static void test_pop3_refusals(void **state)
{
	static const struct {
		const char *url, *said;
		enum err_kind kind;
		const char *why;
	} cases[] = {
		{PLAIN, "", ERR_UPSTREAM, ""},
		{PLAIN, "HTTP/1.1 400 Bad Request\r\n", ERR_UPSTREAM, "HTTP"},
		{PLAIN, "-ERR not now\r\n", ERR_REFUSED, "not now"},
		{PLAIN, "+OK\r\n+OK\r\n-ERR [AUTH] wrong\r\n", ERR_LOGIN, "[AUTH] wrong"},
		{PLAIN, "+OK\r\n-ERR who\r\n", ERR_LOGIN, "who"},
		{PLAIN, "+OK\r\n+OK\r\n+OK\r\n-ERR no UIDL\r\n", ERR_REFUSED, "no UIDL"},
		{PLAIN, "+OK\r\n+OK\r\n+OK\r\n+OK\r\nx y\r\n.\r\n", ERR_UPSTREAM, ""},
		{PLAIN, "+OK\r\n+OK\r\n+OK\r\n+OK\r\n1\r\n.\r\n", ERR_UPSTREAM, ""},
		{PLAIN, "+OK\r\n+OK\r\n+OK\r\n+OK\r\n2 a\r\n2 b\r\n.\r\n", ERR_UPSTREAM, ""},
		{PLAIN, "+OK\r\n+OK\r\n+OK\r\n+OK\r\n0 a\r\n.\r\n", ERR_UPSTREAM, ""},
		{PLAIN, "+OK\r\n+OK\r\n+OK\r\n+OK\r\n1 a\r\n", ERR_UPSTREAM, ""},
		{PLAIN, "+OK\r\n+OK\r\n+OK\r\n+OK\r\n1 a\r\n.\r\n+OK\r\n1 x\r\n.\r\n", ERR_UPSTREAM,
		 ""},
		{PLAIN, "+OK\r\n+OK\r\n+OK\r\n+OK\r\n1 a\r\n.\r\n+OK\r\n.\r\n+OK\r\nDate: x\r\n",
		 ERR_UPSTREAM, ""},
		{"pop3+starttls://joe@pop.example.com", "+OK\r\n-ERR no\r\n", ERR_REFUSED, "no"},
		/* More in one packet than was asked for (B-15). */
		{"pop3+starttls://joe@pop.example.com", "+OK\r\n+OK\r\n+OK\r\n", ERR_POLICY, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct canned canned;
		struct import_list list;
		struct notice why = {""};
		struct err err = talk(cases[i].url, cases[i].said, 0, &canned, &list, &why);
		assert_int_equal(err.kind, cases[i].kind);
		assert_non_null(strstr(why.text, cases[i].why));
		import_fini(&list);
		canned_fini(&canned);
	}
}

static void test_pop3_starttls(void **state)
{
	static const char said[] =
		"+OK\r\n+OK begin\r\n+OK\r\n+OK\r\n+OK\r\n.\r\n+OK\r\n.\r\n+OK\r\n";
	struct canned canned;
	struct import_list list;
	struct notice why = {""};

	(void)state;
	assert_int_equal(
		talk("pop3+starttls://joe@pop.example.com", said, 1, &canned, &list, &why).kind,
		ERR_NONE);
	assert_string_equal(canned_output(&canned),
			    "STLS\r\nUSER joe\r\nPASS secret\r\nUIDL\r\nLIST\r\nQUIT\r\n");
	assert_int_equal(list.count, 0);
	import_fini(&list);
	canned_fini(&canned);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),         cmocka_unit_test(test_urls),
		cmocka_unit_test(test_match),         cmocka_unit_test(test_explain),
		cmocka_unit_test(test_apply),         cmocka_unit_test(test_pop3),
		cmocka_unit_test(test_pop3_refusals), cmocka_unit_test(test_pop3_starttls),
	};

	return cmocka_run_group_tests_name("import", tests, NULL, NULL);
}
