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

enum {
	SMALL = 2000,             /* octets: held until whole (F-13) */
	LARGE = SESSION_HOLD * 2, /* octets: leaves as it comes */
	BEFORE = 40,              /* more than the server says in front of the body */
	BEHIND = 40,              /* more than it says behind */
};

static const char dialogue[] = "@login\n@select 1\n@list 1\n"
			       "C: UID FETCH 1 (UID BODY.PEEK[])\n@from\n"
			       "S= * 1 FETCH (UID 1 BODY[] \nL* %u\nS: )\nS: $ OK done\n"
			       "@dial\n@refuse\n@dial\n@refuse\n@dial\n@refuse\n";

struct outcome {
	bool is_whole;   /* the reply to RETR ended in its dot */
	bool is_refused; /* -ERR, and the session went on */
	bool is_silent;  /* no end at all */
	size_t body;     /* octets of the reply behind its first line, the dot's line included */
	unsigned deletions;
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

static struct outcome run(unsigned octets, size_t cut)
{
	static const struct fake_user users[] = {{.name = "joe"}};
	static const char says[] = "USER joe\r\nPASS secret\r\nRETR 1\r\nNOOP\r\nQUIT\r\n";
	struct imap_script script;
	struct fake_accounts accounts;
	struct session_conf conf;
	struct canned client;
	struct session session = {0};
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

static void test_small_is_whole_or_refused(void **state)
{
	unsigned wholes = 0, refusals = 0;

	(void)state;
	for (size_t cut = 0; cut < SMALL + BEFORE + BEHIND; cut++) {
		struct outcome outcome = run(SMALL, cut);
		assert_false(outcome.is_silent);
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
