/* SPDX-License-Identifier: MIT */
/* t_cut.c - a whole session over the IMAP store whose server is cut off after octet k, for every k
 * (F-09): what the client sees is the message, whole, or no end that looks like one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "session/session.h"
#include "tests/fake/canned.h"
#include "tests/fake/imap_script.h"
#include "tests/fake/memory.h"
#include "tests/fake/state_memory.h"
#include "upstream/ledger.h"

enum {
	SMALL = 2000,             /* octets: held until whole (F-13) */
	LARGE = SESSION_HOLD * 2, /* octets: leaves as it comes */
	BEFORE = 40,              /* more than the server says in front of the body */
	BEHIND = 40,              /* more than it says behind */
};

static const char dialogue[] = "@login\n@select 1\nC: UID FETCH 2:* ...\n"
			       "S: * 1 FETCH (UID 1 RFC822.SIZE 100 FLAGS ())\nS: $ OK\n"
			       "C: UID SEARCH DELETED\nS: * SEARCH\nS: $ OK\n"
			       "C: UID FETCH 1 (UID BODY.PEEK[])\n@from\n"
			       "S= * 1 FETCH (UID 1 BODY[] \nL* %u\nS: )\nS: $ OK done\n"
			       "@dial\n@refuse\n@dial\n@refuse\n@dial\n@refuse\n";

struct outcome {
	bool is_whole;   /* the reply to RETR ended in its dot */
	bool is_refused; /* -ERR, and the session went on */
	bool is_silent;  /* no end at all */
	size_t body;     /* octets of the reply behind its first line, the dot's line included */
	unsigned deletions;
	uint64_t exact; /* what is remembered of the message's size */
};

static struct outcome look_at(const char *heard, size_t len)
{
	static const char login[] = "+OK maildrop has 1 messages (100 octets)\r\n";
	struct outcome outcome = {false};
	const char *end = heard + len, *at = strstr(heard, login);

	assert_non_null(at);
	at += strlen(login);
	if (!strncmp(at, "-ERR [SYS/TEMP]", 15)) {
		outcome.is_refused = true;
	} else if (end > at) {
		const char *body = memmem(at, (size_t)(end - at), "\r\n", 2);
		assert_memory_equal(at, "+OK ", 4);
		assert_non_null(body);
		body += 2;
		const char *dot = memmem(body, (size_t)(end - body), "\r\n.\r\n", 5);
		outcome.is_whole = dot != NULL;
		outcome.is_silent = !dot;
		outcome.body = (size_t)((dot ? dot + 5 : end) - body);
	} else {
		outcome.is_silent = true;
	}
	return outcome;
}

/* The mailbox was listed before, and its message can be recognised. */
static void remember(struct state_memory *state, const struct env *env)
{
	char place[IDENTITY_PLACE + 1];
	struct ledger old, ledger;
	bool is_stale = true;

	ledger_init(&old, "joe");
	ledger_init(&ledger, "joe");
	identity_place(place, "imap.example.com", 143, "joe", "INBOX");
	ledger_begin_epoch(&ledger, &old, place, 9);
	ledger.head.source = LEDGER_HEADER;
	ledger.head.is_whole = true;
	ledger.head.exists = 1;
	struct ledger_row *row = ledger_row(&ledger, 1);
	row->octets = 100;
	assert_true(ledger_set_id(&ledger, row, "known"));
	assert_int_equal(ledger_save(&ledger, &state->store, env, &is_stale).kind, ERR_NONE);
	assert_false(is_stale);
	ledger_fini(&ledger);
	ledger_fini(&old);
}

/* What a later session would find out about the size. */
static uint64_t remembered(struct state_memory *state, const struct env *env)
{
	struct ledger ledger;

	ledger_init(&ledger, "joe");
	struct err err = ledger_load(&ledger, &state->store, env);
	assert_int_equal(err.kind, ERR_NONE);
	const struct ledger_row *row = ledger_find(&ledger, 1);
	uint64_t exact = row ? row->exact : 0;
	ledger_fini(&ledger);
	return exact;
}

static struct outcome run(unsigned octets, size_t cut)
{
	static const struct fake_user users[] = {{.name = "joe"}};
	static const char says[] = "USER joe\r\nPASS secret\r\nRETR 1\r\nNOOP\r\nQUIT\r\n";
	struct imap_script script;
	struct fake_accounts accounts;
	struct session_conf conf;
	struct canned client;
	struct session session = {0};
	struct state_memory state;
	char text[1000];

	snprintf(text, sizeof text, dialogue, octets);
	imap_script_init(&script, text);
	script.cut = cut;
	canned_init(&client, ERR_CLIENT, says, strlen(says));
	session_conf_init(&conf);
	conf.failure_ms = 0;
	fake_accounts_init(&accounts, users, 1, &imap_ops);
	accounts.conf.host = "imap.example.com";
	accounts.conf.port = 143;
	accounts.conf.folder = "INBOX";
	accounts.conf.seen_policy = SEEN_NEVER;
	accounts.conf.name = "joe";
	accounts.conf.state = &state.store;
	state_memory_init(&state);
	remember(&state, &script.world.env);
	session.env = &script.world.env;
	session.conf = &conf;
	session.accounts = &accounts.accounts;
	session.locks = lock_table_new();
	session.is_cleartext_allowed = true;
	session_run(&session, &client.stream);
	assert_string_equal(script.failure, "");
	struct outcome outcome = look_at(canned_output(&client), buf_len(&client.output));
	if (outcome.is_refused) /* the session went on to NOOP and QUIT */
		assert_non_null(strstr(canned_output(&client), "+OK\r\n+OK bye\r\n"));
	outcome.exact = remembered(&state, &script.world.env);
	state_memory_fini(&state);
	lock_table_free(session.locks);
	canned_fini(&client);
	imap_script_fini(&script);
	return outcome;
}

/* The literal is lines of digits that end in CRLF, or not: a missing end gets its CRLF. */
static bool is_body_whole(size_t body, unsigned octets)
{
	return body == octets + 3u || body == octets + 5u;
}

/* A size is remembered of what came whole, and of nothing else (F-07). */
static bool is_size_true(const struct outcome *outcome, unsigned octets)
{
	if (outcome->is_whole)
		return outcome->exact == octets || outcome->exact == octets + 2u;
	return !outcome->exact;
}

static void test_small_is_whole_or_refused(void **state)
{
	unsigned wholes = 0, refusals = 0;

	(void)state;
	for (size_t cut = 0; cut < SMALL + BEFORE + BEHIND; cut++) {
		struct outcome outcome = run(SMALL, cut);
		assert_false(outcome.is_silent);
		assert_true(is_size_true(&outcome, SMALL));
		wholes += outcome.is_whole;
		refusals += outcome.is_refused;
		if (outcome.is_whole)
			assert_true(is_body_whole(outcome.body, SMALL) && cut > SMALL);
	}
	assert_in_range(wholes, 1, BEFORE + BEHIND);
	assert_true(refusals >= SMALL);
}

static void test_large_is_whole_or_silent(void **state)
{
	unsigned wholes = 0, silences = 0;

	(void)state;
	/* Every octet near both ends, some in the middle. */
	for (size_t cut = 0; cut < LARGE + BEFORE + BEHIND;
	     cut += cut < 200 || cut >= LARGE - 200 ? 1 : 4999) {
		if (cut >= 200 && cut < LARGE - 200 && cut + 4999 > LARGE - 200)
			cut = LARGE - 200;
		struct outcome outcome = run(LARGE, cut);
		assert_true(is_size_true(&outcome, LARGE));
		wholes += outcome.is_whole;
		silences += outcome.is_silent;
		if (outcome.is_whole)
			assert_true(is_body_whole(outcome.body, LARGE) && cut > LARGE);
		if (outcome.is_refused)
			assert_true(cut < SESSION_HOLD);
	}
	assert_in_range(wholes, 1, BEFORE + BEHIND);
	assert_true(silences > 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_is_whole_or_refused),
		cmocka_unit_test(test_large_is_whole_or_silent),
	};

	return cmocka_run_group_tests_name("cut", tests, NULL, NULL);
}
