/* SPDX-License-Identifier: MIT */
/* t_imap_login.c - what a refusal means: each row of Table 1 in both columns, and who is asked less
 * often after it (H-01, H-05, H-07, H-08). */
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
#include "tests/fake/imap_script.h"
#include "tests/unit/login_rig.h"
#include "upstream/imap_client.h"

#define LOGIN "@greet\nC: LOGIN \"joe\" \"secret\"\n"

/* What health makes of an attempt. */
enum verdict {
	WELL,      /* asked again at once */
	FAILED,    /* after a second */
	THROTTLED, /* after half a minute */
	LOCKED,    /* not for five minutes */
};

/* Whether a connection would be tried so many ms from now: the script would hear of a dial. */
static bool would_dial(struct bed *bed, uint64_t later_ms)
{
	unsigned dials = bed->script.world.dials;
	uint64_t now_ms = bed->script.world.now_ms;
	struct imap_client client = {.until_ms = 0};
	struct err (*dial)(void *, const char *, unsigned, struct stream **) =
		bed->script.world.dial;

	bed->script.world.now_ms += later_ms;
	bed->script.world.dial = NULL;
	struct err err = imap_client_open(&client, &bed->script.world.env, &bed->log, &bed->conf,
					  &bed->login, NULL);
	assert_int_not_equal(err.kind, ERR_NONE);
	bed->script.world.dial = dial;
	bed->script.world.now_ms = now_ms;
	return bed->script.world.dials > dials;
}

/* Asking changes the table, so each moment is asked of an attempt of its own. */
static enum verdict verdict_of(const char *script, bool is_stored, bool is_logged_in)
{
	static const uint64_t later_ms[] = {0, 2000, 31000, 600000};
	enum verdict verdict = WELL;

	for (;; verdict++) {
		struct bed bed;
		bed_init(&bed, script, is_stored);
		struct err err = bed_open(&bed);
		assert_int_equal(err.kind == ERR_NONE, is_logged_in);
		if (is_logged_in)
			err = imap_command(&bed.client, PHASE_BODY, "NOOP");
		imap_client_close(&bed.client);
		bool is_tried = would_dial(&bed, later_ms[verdict]);
		bed_fini(&bed);
		if (is_tried || verdict == LOCKED)
			return verdict;
	}
}

static const struct {
	const char *reply;
	enum err_kind clients, stored, later; /* kinds: to a login by either credential; later on */
	enum verdict clients_verdict, stored_verdict;
} rows[] = {
	{"NO [AUTHENTICATIONFAILED] no", ERR_LOGIN, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO wrong password", ERR_LOGIN, ERR_POLICY, ERR_UPSTREAM, WELL, LOCKED},
	{"NO", ERR_LOGIN, ERR_POLICY, ERR_UPSTREAM, WELL, LOCKED},
	{"NO [ALERT] Application-specific password required", ERR_LOGIN, ERR_POLICY, ERR_UPSTREAM,
	 WELL, LOCKED},
	{"NO [AUTHORIZATIONFAILED] no", ERR_LOGIN, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO [EXPIRED] old", ERR_LOGIN, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO [PRIVACYREQUIRED] tls", ERR_POLICY, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO [UNAVAILABLE] later", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, FAILED, FAILED},
	{"NO [SERVERBUG] oops", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, FAILED, FAILED},
	{"NO [CORRUPTION] oops", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, FAILED, FAILED},
	{"NO Temporary authentication failure", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, FAILED,
	 FAILED},
	{"NO [INUSE] busy", ERR_IN_USE, ERR_IN_USE, ERR_UPSTREAM, WELL, WELL},
	{"NO [LIMIT] slow down", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, THROTTLED, THROTTLED},
	{"NO [THROTTLED] slow down", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, THROTTLED,
	 THROTTLED},
	{"NO [OVERQUOTA] bandwidth", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, THROTTLED,
	 THROTTLED},
	{"NO [ALERT] Too many simultaneous connections. (Failure)", ERR_UPSTREAM, ERR_UPSTREAM,
	 ERR_UPSTREAM, THROTTLED, THROTTLED},
	{"NO Account exceeded bandwidth limits. (Failure) [OVERQUOTA]", ERR_UPSTREAM, ERR_UPSTREAM,
	 ERR_UPSTREAM, THROTTLED, THROTTLED},
	{"NO LOGIN Rate limit hit", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, THROTTLED, THROTTLED},
	{"NO [CONTACTADMIN] closed", ERR_POLICY, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO [NOPERM] no", ERR_POLICY, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO [NONEXISTENT] no", ERR_POLICY, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO [CANNOT] no", ERR_POLICY, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO [CLIENTBUG] no", ERR_POLICY, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	{"NO [REFERRAL imap://elsewhere.example/] go", ERR_POLICY, ERR_POLICY, ERR_POLICY, WELL,
	 LOCKED},
	{"BAD what", ERR_POLICY, ERR_POLICY, ERR_POLICY, WELL, LOCKED},
	/* N-07: the login is tried a second time. */
	{"BAD User is authenticated but not connected.", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM,
	 FAILED, FAILED},
	{"NO [EXPUNGEISSUED] gone", ERR_UPSTREAM, ERR_UPSTREAM, ERR_UPSTREAM, FAILED, FAILED},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void check_login(size_t i, bool is_stored)
{
	char script[600];
	struct bed bed;

	snprintf(script, sizeof script, LOGIN "S: $ %s\n@dial\n" LOGIN "S: $ %s\n", rows[i].reply,
		 rows[i].reply);
	bed_init(&bed, script, is_stored);
	struct err err = bed_open(&bed);
	assert_int_equal(bed.script.world.dials, strstr(rows[i].reply, "not connected") ? 2 : 1);
	bed_fini(&bed);
	if (err.kind != (is_stored ? rows[i].stored : rows[i].clients))
		fail_msg("\"%s\" to a %s credential: kind %d", rows[i].reply,
			 is_stored ? "stored" : "client's", err.kind);
	enum verdict verdict = verdict_of(script, is_stored, false);
	if (verdict != (is_stored ? rows[i].stored_verdict : rows[i].clients_verdict))
		fail_msg("\"%s\" to a %s credential: verdict %d", rows[i].reply,
			 is_stored ? "stored" : "client's", verdict);
}

static void test_table_login(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		check_login(i, false);
		check_login(i, true);
	}
}

static void test_table_later(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		char script[300];
		struct bed bed;
		snprintf(script, sizeof script, "@login\nC: NOOP\nS: $ %s\n", rows[i].reply);
		bed_init(&bed, script, true);
		assert_int_equal(bed_open(&bed).kind, ERR_NONE);
		struct err err = imap_command(&bed.client, PHASE_BODY, "NOOP");
		assert_true(imap_client_is_alive(&bed.client));
		bed_fini(&bed);
		if (err.kind != rows[i].later)
			fail_msg("\"%s\" later: kind %d", rows[i].reply, err.kind);
	}
}

/* [INUSE] to SELECT is still at login. */
static void test_in_use_select(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, "@login\nC: SELECT \"INBOX\"\nS: $ NO [INUSE] busy\n", false);
	assert_int_equal(bed_open(&bed).kind, ERR_NONE);
	assert_int_equal(imap_command(&bed.client, PHASE_SELECT, "SELECT \"INBOX\"").kind,
			 ERR_IN_USE);
	bed_fini(&bed);
}

/* H-01: what is before a greeting is never a wrong password, and it is the host's trouble; three
 * times are for nothing. */
static void test_no_greeting(void **state)
{
	static const char *const scripts[] = {
		"@refuse\n",
		"@stall\n",
		"@end\n",
		"@cut\n",
		"S: SSH-2.0-OpenSSH_9.2\n",
		"S: +OK POP3 ready\n",
		"S: * BYE too busy\n",
		"S: * BYE [UNAVAILABLE] password file is gone\n",
		"S: 1 OK in already\n",
		"S: * NO\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
		char script[400] = "";
		struct bed bed;
		for (int n = 0; n < 4; n++)
			snprintf(script + strlen(script), sizeof script - strlen(script), "%s%s",
				 n ? "@dial\n" : "", scripts[i]);
		bed_init(&bed, script, true);
		for (int n = 0; n < 4; n++) {
			struct err err = bed_open(&bed);
			if (err.kind != ERR_UPSTREAM)
				fail_msg("\"%s\": kind %d", scripts[i], err.kind);
		}
		assert_int_equal(bed.script.world.dials, 4);
		assert_null(strstr(imap_script_sent(&bed.script), "LOGIN"));
		assert_int_equal(bed_open(&bed).kind, ERR_UPSTREAM);
		assert_int_equal(bed.script.world.dials, 4);
		free(bed.login.user);
		bed.login.user = text_dup("ann");
		assert_false(would_dial(&bed, 0));
		assert_true(would_dial(&bed, 2000));
		bed_fini(&bed);
	}
}

/* Faults that waiting does not mend are told each time, and are nobody else's trouble. */
static void test_policy_is_no_trouble(void **state)
{
	static const struct err errors[] = {{ERR_POLICY, 0, "bad certificate"}};
	static const char *const scripts[] = {
		"S: * PREAUTH welcome\n",
		"S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\n",
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct bed bed;
		char script[600] = "";
		for (int n = 0; n < 6; n++)
			snprintf(script + strlen(script), sizeof script - strlen(script), "%s%s",
				 n ? "@dial\n" : "", i < 2 ? scripts[i] : "");
		bed_init(&bed, script, true);
		if (i == 2) {
			bed.conf.tls = UPSTREAM_TLS;
			bed.script.world.secure_err = errors[0];
		}
		for (int n = 0; n < 6; n++)
			assert_int_equal(bed_open(&bed).kind, ERR_POLICY);
		assert_int_equal(bed.script.world.dials, 6);
		bed_fini(&bed);
	}
}

/* H-05: what a BYE says is heard, wherever it stands. */
static void test_bye(void **state)
{
	static const struct {
		const char *script;
		bool is_logged_in;
		enum verdict verdict;
	} cases[] = {
		{LOGIN "S: * BYE [UNAVAILABLE] going down\n@end\n", false, FAILED},
		{LOGIN "S: * BYE Too many simultaneous connections\n@end\n", false, THROTTLED},
		{LOGIN "S: * BYE [LIMIT] slow down\n@end\n", false, THROTTLED},
		{LOGIN "@cut\n", false, FAILED},
		{LOGIN "@stall\n", false, FAILED},
		{"@login\nC: NOOP\nS: * BYE [LIMIT] slow down\n@end\n", true, THROTTLED},
		{"@login\nC: NOOP\nS: $ OK\nS: * BYE Too many simultaneous connections\n", true,
		 WELL}, /* not read: nobody waits any more */
		{"@login\nC: NOOP\nS= * BYE Session expired, please login again\\r\\n$ OK\\r\\n",
		 true, FAILED},
		{"@login\nC: NOOP\nS: * BYE [UNAVAILABLE] going down\n@end\n", true, FAILED},
		{"@login\nC: NOOP\nS: * OK still here\nS: $ NO [UNAVAILABLE] not now\n", true,
		 WELL},
		/* Gmail: well done, but slow down (H-08). */
		{"@login\nC: NOOP\nS: $ OK Success [THROTTLED]\n", true, THROTTLED},
		{"@login\nC: NOOP\nS: $ OK Success [THANKS]\n", true, WELL},
		{"@login\nC: NOOP\nS: $ OK there were too many messages\n", true, WELL},
		{"@login\nC: NOOP\nS: $ NO [LIMIT] UID FETCH Rate limit hit\n", true, THROTTLED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum verdict verdict = verdict_of(cases[i].script, true, cases[i].is_logged_in);
		if (verdict != cases[i].verdict)
			fail_msg("case %zu: verdict %d", i, verdict);
	}
}

/* H-08: the command itself went well. */
static void test_throttled_ok(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, "@login\nC: NOOP\nS: $ OK Success [THROTTLED]\n", true);
	assert_int_equal(bed_open(&bed).kind, ERR_NONE);
	assert_int_equal(imap_command(&bed.client, PHASE_BODY, "NOOP").kind, ERR_NONE);
	assert_true(bed.client.is_throttled);
	bed_fini(&bed);
}

/* Table 1: the folder that a COPY goes to is full. Nobody is asked to be patient. */
static void test_full_target(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, "@login\nC: UID COPY 1 Trash\nS: $ NO [OVERQUOTA] full\n", true);
	assert_int_equal(bed_open(&bed).kind, ERR_NONE);
	assert_int_equal(imap_command(&bed.client, PHASE_UPDATE, "UID COPY 1 Trash").kind,
			 ERR_UPSTREAM);
	assert_false(bed.client.is_throttled);
	bed_fini(&bed);
}

/* H-07: the refused secret is not tried again; the one that the operator has mended is. */
static void test_mended_secret(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, LOGIN "S: $ NO [AUTHENTICATIONFAILED] no\n", true);
	assert_int_equal(bed_open(&bed).kind, ERR_POLICY);
	assert_int_equal(bed_open(&bed).kind, ERR_POLICY);
	assert_int_equal(bed.script.world.dials, 1);
	free(bed.login.password);
	bed.login.password = text_dup("better");
	assert_true(would_dial(&bed, 0));
	bed_fini(&bed);
}

/* The same over an hour: a client that polls every 30 s costs the server twelve logins at most. */
static void test_polling_bad_secret(void **state)
{
	enum { HOUR_MS = 3600000, PERIOD_MS = 30000, MOST = 12 };
	char script[MOST * 200] = "";
	struct bed bed;

	(void)state;
	for (int n = 0; n < MOST; n++)
		snprintf(script + strlen(script), sizeof script - strlen(script),
			 "%s" LOGIN "S: $ NO wrong\n", n ? "@dial\n" : "");
	bed_init(&bed, script, true);
	for (uint64_t t = 0; t < HOUR_MS; t += PERIOD_MS) {
		assert_int_equal(bed_open(&bed).kind, ERR_POLICY);
		bed.script.world.now_ms += PERIOD_MS;
	}
	assert_in_range(bed.script.world.dials, 2, MOST);
	bed_fini(&bed);
}

/* A wrong password of the client's own keeps nobody out. */
static void test_guessing_is_no_news(void **state)
{
	char script[2000] = "";
	struct bed bed;

	(void)state;
	for (int n = 0; n < 10; n++)
		snprintf(script + strlen(script), sizeof script - strlen(script),
			 "%s" LOGIN "S: $ NO no\n", n ? "@dial\n" : "");
	bed_init(&bed, script, false);
	for (int n = 0; n < 10; n++)
		assert_int_equal(bed_open(&bed).kind, ERR_LOGIN);
	assert_int_equal(bed.script.world.dials, 10);
	bed_fini(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_login),
		cmocka_unit_test(test_table_later),
		cmocka_unit_test(test_in_use_select),
		cmocka_unit_test(test_no_greeting),
		cmocka_unit_test(test_policy_is_no_trouble),
		cmocka_unit_test(test_bye),
		cmocka_unit_test(test_throttled_ok),
		cmocka_unit_test(test_full_target),
		cmocka_unit_test(test_mended_secret),
		cmocka_unit_test(test_polling_bad_secret),
		cmocka_unit_test(test_guessing_is_no_news),
	};

	return cmocka_run_group_tests_name("imap_login", tests, NULL, NULL);
}
