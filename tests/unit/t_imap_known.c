/* SPDX-License-Identifier: MIT */
/* t_imap_known.c - mailboxes that are remembered, where a case would be too long to be written out:
 * many messages, and a connection cut after each octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/unit/imap_run.h"
#include "upstream/imap_quirks.h"

enum { MANY = 1000, HUGE = 25000, CHUNK = 200 };

/* How the server lets messages be recognised. */
enum source { BY_EMAILID, BY_MSGID, BY_HEADER };

static const char *const capabilities[] = {"OBJECTID", "X-GM-EXT-1", "UIDPLUS"};
static const char *const items[] = {" EMAILID", " X-GM-MSGID", ""};

static void say_select(struct buf *out, enum source source, unsigned count, unsigned validity)
{
	(void)!buf_printf(out,
			  "@greet\nC: LOGIN \"joe\" \"secret\"\n"
			  "S: $ OK [CAPABILITY IMAP4rev1 %s] in\n"
			  "C: SELECT \"INBOX\"\nS: * %u EXISTS\nS: * OK [UIDVALIDITY %u] v\n"
			  "S: * OK [UIDNEXT %u] n\nS: $ OK selected\n",
			  capabilities[source], count, validity, count + 1);
}

/* Message `uid` is the mail number `mail`. */
static void say_row(struct buf *out, enum source source, unsigned uid, unsigned mail)
{
	(void)!buf_printf(out, "S: * %u FETCH (UID %u RFC822.SIZE %u FLAGS ()", uid, uid,
			  100 + mail);
	if (source == BY_EMAILID)
		(void)!buf_printf(out, " EMAILID (M%u)", mail);
	if (source == BY_MSGID)
		(void)!buf_printf(out, " X-GM-MSGID 1278455344230%u", mail);
	(void)!buf_printf(out, ")\n");
}

/* The mail under UID `uid` when all have moved: the other way round. */
static unsigned mail_of(unsigned uid, bool is_moved)
{
	return is_moved ? MANY + 1 - uid : uid;
}

static void say_rows(struct buf *out, enum source source, bool is_moved)
{
	(void)!buf_printf(out, "C: UID FETCH 1:* (UID RFC822.SIZE FLAGS%s)\n", items[source]);
	for (unsigned uid = 1; uid <= MANY; uid++)
		say_row(out, source, uid, mail_of(uid, is_moved));
	(void)!buf_printf(out, "S: $ OK\n");
}

/* The headers of all, in chunks of which four are under way. */
static void say_headers(struct buf *out, bool is_moved)
{
	unsigned chunks = MANY / CHUNK, sent = 0;

	for (unsigned chunk = 0; chunk < chunks; chunk++) {
		while (sent < chunks && sent < chunk + 4) {
			(void)!buf_printf(out,
					  "C: UID FETCH %u:%u (UID RFC822.SIZE BODY.PEEK[...\n",
					  sent * CHUNK + 1, (sent + 1) * CHUNK);
			sent++;
		}
		for (unsigned uid = chunk * CHUNK + 1; uid <= (chunk + 1) * CHUNK; uid++)
			(void)!buf_printf(out,
					  "S: * %u FETCH (UID %u BODY[HEADER.FIELDS (DATE)] "
					  "\"Message-ID: <%u@x>\")\n",
					  uid, uid, mail_of(uid, is_moved));
		(void)!buf_printf(out, "S: $%.*s OK\n", (int)(sent - chunk - 1), "<<<<");
	}
}

/* E-04: 1,000 messages under another UIDVALIDITY, in another order: no new UIDL. */
static void check_all_known(enum source source)
{
	struct buf text;
	struct run run;
	char(*before)[UIDL_MAX + 1] = mem_alloc(MANY * sizeof *before);

	buf_init(&text, 16 << 20);
	say_select(&text, source, MANY, 9);
	say_rows(&text, source, false);
	if (source == BY_HEADER)
		say_headers(&text, false);
	(void)!buf_printf(&text, "@dial\n");
	say_select(&text, source, MANY, 10);
	say_rows(&text, source, true);
	if (source == BY_HEADER)
		say_headers(&text, true);
	(void)!buf_put(&text, "", 1);
	run_init(&run, buf_data(&text), 0);
	run.conf.state = &run.state.store;
	run.conf.quirks = imap_quirks_named("generic");
	run_open(&run, "first", "ok");
	run_list(&run, "first", "ok", "");
	assert_string_equal(run.problem, "");
	assert_int_equal(run.maildrop.total, MANY);
	for (unsigned i = 0; i < MANY; i++)
		maildrop_uidl(&run.maildrop, &run.maildrop.messages[i], before[i]);
	run_close(&run);
	run_open(&run, "second", "ok");
	run_list(&run, "second", "ok", "");
	assert_string_equal(run.script.failure, "");
	assert_string_equal(run.problem, "");
	assert_int_equal(run.maildrop.total, MANY);
	for (unsigned uid = 1; uid <= MANY; uid++) {
		char uidl[UIDL_MAX + 1];
		maildrop_uidl(&run.maildrop, maildrop_find(&run.maildrop, uid), uidl);
		assert_string_equal(uidl, before[MANY - uid]);
	}
	run_fini(&run);
	buf_fini(&text);
	free(before);
}

static void test_all_known_by_emailid(void **state)
{
	(void)state;
	check_all_known(BY_EMAILID);
}

static void test_all_known_by_msgid(void **state)
{
	(void)state;
	check_all_known(BY_MSGID);
}

static void test_all_known_by_header(void **state)
{
	(void)state;
	check_all_known(BY_HEADER);
}

static void say_window(struct buf *out, unsigned from, unsigned to, const char *tag)
{
	for (unsigned uid = from; uid <= to; uid++)
		say_row(out, BY_HEADER, uid, uid % 7);
	(void)!buf_printf(out, "S: %s OK\n", tag);
}

/* M-15: a long listing that is cut off goes on where it was. */
static void test_long_listing_goes_on(void **state)
{
	struct buf text;
	struct run run;

	(void)state;
	buf_init(&text, 16 << 20);
	say_select(&text, BY_HEADER, HUGE, 9);
	for (unsigned from = 1; from <= 15001; from += 5000)
		(void)!buf_printf(&text, "C: UID FETCH %u:%u (UID RFC822.SIZE FLAGS)\n", from,
				  from + 4999);
	say_window(&text, 1, 5000, "$<<<");
	(void)!buf_printf(&text, "C: UID FETCH 20001:* (UID RFC822.SIZE FLAGS)\n");
	say_window(&text, 5001, 10000, "$<<<");
	say_window(&text, 10001, 15000, "$<<");
	(void)!buf_printf(&text, "S: * 1 FETCH (UID 15001 RFC822.SIZE 7 FLAGS ())\n@cut\n@dial\n");
	say_select(&text, BY_HEADER, HUGE, 9);
	(void)!buf_printf(&text, "C: UID FETCH 15001:* (UID RFC822.SIZE FLAGS)\n");
	say_window(&text, 15001, HUGE, "$");
	(void)!buf_printf(&text, "C: UID SEARCH RETURN (ALL) ALL\n");
	(void)!buf_put(&text, "", 1);
	/* Without ESEARCH the survivors are asked for in spans. */
	char *all = buf_data(&text), *at = strstr(all, "C: UID SEARCH RETURN");
	*at = '\0';
	struct buf script;
	buf_init(&script, 32 << 20);
	(void)!buf_printf(&script, "%s", all);
	(void)!buf_printf(&script, "C: UID SEARCH UID 1:20000 ALL\nS= * SEARCH");
	for (unsigned uid = 1; uid <= 20000; uid++)
		(void)!buf_printf(&script, " %u", uid);
	(void)!buf_printf(&script, "\nS:\nS: $ OK\nC: UID SEARCH UID 20001:* ALL\nS= * SEARCH");
	for (unsigned uid = 20001; uid <= HUGE; uid++)
		(void)!buf_printf(&script, " %u", uid);
	(void)!buf_printf(&script, "\nS:\nS: $ OK\n"
				   "C: UID SEARCH UID 1:20000 DELETED\nS: * SEARCH\nS: $ OK\n"
				   "C: UID SEARCH UID 20001:* DELETED\nS: * SEARCH\nS: $ OK\n");
	(void)!buf_put(&script, "", 1);
	run_init(&run, buf_data(&script), 0);
	run.conf.state = &run.state.store;
	run.conf.quirks = imap_quirks_named("generic");
	run_open(&run, "first", "ok");
	run_list(&run, "first", "upstream", "");
	run_close(&run);
	run_open(&run, "second", "ok");
	run_list(&run, "second", "ok", "");
	assert_string_equal(run.script.failure, "");
	assert_string_equal(run.problem, "");
	assert_int_equal(run.maildrop.total, HUGE);
	run_fini(&run);
	buf_fini(&text);
	buf_fini(&script);
}

/* The second listing is cut after each octet: an error, or the very same messages; and the third is
 * well again. */
static void test_cut_everywhere(void **state)
{
	static const char script[] = "@login\n@select 2\n@list 2\n"
				     "@dial\n@login\n@select 3\n@from\n"
				     "C: UID FETCH 3:* (UID RFC822.SIZE FLAGS)\n"
				     "S: * 3 FETCH (UID 4 RFC822.SIZE 50 FLAGS ())\nS: $ OK\n"
				     "C: UID SEARCH ALL\nS: * SEARCH 1 2 4\nS: $ OK\n"
				     "C: UID SEARCH DELETED\nS: * SEARCH 2\nS: $ OK\n";
	/* What the second has not learned is asked again, and all with it: there is no UIDNEXT. */
	static const char *const thirds[] = {
		"@login\n@select 3\n"
		"C: UID FETCH 5:* ...\nS: * 3 FETCH (UID 4 RFC822.SIZE 50 FLAGS ())\nS: $ OK\n"
		"C: UID SEARCH DELETED\nS: * SEARCH 2\nS: $ OK\n",
		"@login\n@select 3\n"
		"C: UID FETCH 3:* ...\nS: * 3 FETCH (UID 4 RFC822.SIZE 50 FLAGS ())\nS: $ OK\n"
		"C: UID SEARCH ALL\nS: * SEARCH 1 2 4\nS: $ OK\n"
		"C: UID SEARCH DELETED\nS: * SEARCH 2\nS: $ OK\n",
	};
	unsigned whole = 0, cuts = 0;

	(void)state;
	for (size_t cut = 0; cut < 150; cut++) {
		struct run run, again;
		run_init(&run, script, 0);
		run.conf.state = &run.state.store;
		run.script.cut = cut;
		run_open(&run, "first", "ok");
		run_list(&run, "first", "ok", "2 200");
		imap_ops.close(run.upstream, NULL, NULL, NULL);
		run.upstream = NULL;
		run_close(&run);
		run_open(&run, "second", "ok");
		assert_string_equal(run.problem, "");
		struct err err = imap_ops.list(run.upstream, &run.maildrop);
		if (err.kind) {
			assert_int_equal(err.kind, ERR_UPSTREAM);
			cuts++;
		} else {
			assert_int_equal(run.maildrop.count, 2);
			assert_int_equal(run.maildrop.octets, 150);
			whole++;
		}
		run_init(&again, thirds[err.kind != ERR_NONE], 0);
		state_memory_fini(&again.state);
		state_memory_copy(&again.state, &run.state);
		again.conf.state = &again.state.store;
		run_open(&again, "third", "ok");
		run_list(&again, "third", "ok", "2 150");
		assert_string_equal(again.problem, "");
		run_fini(&again);
		run_fini(&run);
	}
	assert_true(whole > 0 && cuts > 60);
}

/* Whatever of the state fails at whatever moment: an error or the truth. */
static void test_state_fails_anywhere(void **state)
{
	static const char script[] =
		"@login\n@select 2\n@list 2\n"
		"@dial\n@login\n@select 2 10\n@list 2\nC: UID FETCH 1:2 ...\n"
		"S: * 1 FETCH (UID 1 BODY[HEADER.FIELDS (DATE)] \"Date: x\")\n"
		"S: * 2 FETCH (UID 2 BODY[HEADER.FIELDS (DATE)] \"Date: y\")\nS: $ OK\n";
	unsigned refused = 0, shown = 0;

	(void)state;
	for (size_t call = 1; call < 40; call++) {
		struct run run;
		run_init(&run, script, 0);
		run.conf.state = &run.state.store;
		run_open(&run, "first", "ok");
		run_list(&run, "first", "ok", "2 200");
		imap_ops.close(run.upstream, NULL, NULL, NULL);
		run.upstream = NULL;
		run_close(&run);
		run.state.fail_call = run.state.calls + call;
		run.state.fail_code = EIO;
		run_open(&run, "second", "ok");
		assert_string_equal(run.problem, "");
		struct err err = imap_ops.list(run.upstream, &run.maildrop);
		bool was_met = run.state.calls >= run.state.fail_call;
		if (err.kind) {
			assert_int_equal(err.kind, ERR_UPSTREAM);
			assert_true(was_met);
			refused++;
		} else {
			assert_int_equal(run.maildrop.total, 2);
			shown++;
		}
		run_fini(&run);
	}
	assert_true(refused > 2 && shown > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_known_by_emailid),
		cmocka_unit_test(test_all_known_by_msgid),
		cmocka_unit_test(test_all_known_by_header),
		cmocka_unit_test(test_long_listing_goes_on),
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_state_fails_anywhere),
	};

	return cmocka_run_group_tests_name("imap_known", tests, NULL, NULL);
}
