/* SPDX-License-Identifier: MIT */
/* t_session_login.c - sessions up to the reply to PASS or AUTH: who gets in, what the others hear. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/session_rig.h"

/* No password is asked for or taken in clear; all verbs and names are answered alike (B-09). */
static void test_clear_text_policy(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, "USER joe\r\nUSER nobody\r\nPASS secret\r\nAUTH PLAIN\r\n"
		       "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\nAUTH LOGIN\r\nAUTH\r\n" BYE);
	rig.session.is_cleartext_allowed = false;
	assert_string_equal(rig_run(&rig),
			    GREETING NEEDS_TLS NEEDS_TLS NEEDS_TLS NEEDS_TLS NEEDS_TLS NEEDS_TLS
			    "+OK\r\n.\r\n+OK bye\r\n");
	assert_int_equal(rig.accounts.asked, 0);
	rig_fini(&rig);

	/* Under TLS all is well. */
	rig_init(&rig, IN);
	rig.session.is_cleartext_allowed = false;
	rig.session.is_tls = true;
	assert_string_equal(rig_run(&rig), HELLO);
	rig_fini(&rig);
}

static void test_stls(void **state)
{
	struct rig rig;

	(void)state;
	/* One octet at a time, so that nothing lies behind STLS when +OK leaves. */
	rig_init(&rig, "USER joe\r\nSTLS\r\nPASS secret\r\nSTLS\r\nCAPA\r\n" IN);
	rig.client.chunk = 1;
	rig.session.is_cleartext_allowed = true;
	rig.conf.tls_identity = &rig;
	assert_string_equal(rig_run(&rig), GREETING
			    "+OK send PASS\r\n+OK begin TLS\r\n-ERR USER first\r\n"
			    "-ERR TLS is already on\r\n" CAPA
			    "USER\r\nSASL PLAIN LOGIN\r\nUIDL\r\nTOP\r\n" CAPA_END
			    "+OK send PASS\r\n+OK maildrop has 3 messages (93 octets)\r\n");
	assert_int_equal(rig.world.secures, 1);
	rig_fini(&rig);

	/* Octets behind STLS: closed, logged, never executed (B-11). */
	static const char *const injected[] = {"STLS\r\n" IN "STAT\r\n", "STLS\r\n\r\n",
					       "STLS\r\nx"};
	for (size_t i = 0; i < 3; i++) {
		rig_init(&rig, injected[i]);
		rig.conf.tls_identity = &rig;
		assert_string_equal(rig_run(&rig), GREETING "+OK begin TLS\r\n");
		assert_int_equal(rig.world.secures, 0);
		assert_non_null(strstr(rig.log.text, "event=stls-injection"));
		rig_fini(&rig);
	}

	/* A failed handshake ends it: nothing more in clear. */
	rig_init(&rig, "STLS\r\nUSER joe\r\n");
	rig.client.chunk = 1;
	rig.conf.tls_identity = &rig;
	rig.world.secure_err = ERR(ERR_CLIENT, EPROTO, "handshake failed");
	assert_string_equal(rig_run(&rig), GREETING "+OK begin TLS\r\n");
	rig_fini(&rig);

	/* Without certificates there is none. */
	rig_init(&rig, "STLS\r\nCAPA\r\n");
	assert_string_equal(rig_run(&rig),
			    GREETING "-ERR no TLS here\r\n" CAPA
				     "USER\r\nSASL PLAIN LOGIN\r\nUIDL\r\nTOP\r\n" CAPA_END);
	rig_fini(&rig);
}

/* The delays double, the third refusal is the last (B-08). */
static void test_refused_logins(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, "USER joe\r\nPASS a\r\nAUTH PLAIN AGpvZQB4\r\nUSER no\r\nPASS b\r\n" IN);
	assert_string_equal(rig_run(&rig), GREETING "+OK send PASS\r\n" AUTH_ERR AUTH_ERR
						    "+OK send PASS\r\n" AUTH_ERR);
	assert_int_equal(rig.world.slept_ms, 2000 + 4000 + 8000);
	assert_int_equal(rig.accounts.asked, 3);
	assert_non_null(strstr(rig.log.text, "event=login-failed"));
	assert_non_null(strstr(rig.log.text, "user=joe"));
	rig_fini(&rig);

	rig_init(&rig, "AUTH PLAIN AGpvZQB4\r\nAUTH PLAIN AGpvZQB4\r\nAUTH PLAIN AGpvZQB4\r\n"
		       "AUTH PLAIN AGpvZQB4\r\nAUTH PLAIN AGpvZQB4\r\n" BYE);
	rig.conf.failures = 5;
	rig.conf.authorization_ms = 0;
	assert_string_equal(rig_run(&rig), GREETING AUTH_ERR AUTH_ERR AUTH_ERR AUTH_ERR AUTH_ERR);
	assert_int_equal(rig.world.slept_ms, 2000 + 4000 + 8000 + 15000 + 15000);
	rig_fini(&rig);
}

/* Pass-through: the store's word becomes a reply by Table 1; the store's own text is clean. */
static void test_upstream_at_login(void **state)
{
	static const struct {
		struct err err;
		const char *alert, *user, *reply;
	} cases[] = {
		{{ERR_LOGIN, 0, "no"}, "[ALERT] see http://x", "pass", AUTH_ERR},
		{{ERR_LOGIN, 0, "no"},
		 "Application-specific [ALERT] password",
		 "joe",
		 "-ERR [SYS/PERM] the mail server refuses the gateway's login: "
		 "Application-specific (ALERT) password\r\n"},
		{{ERR_UPSTREAM, 0, "no connection"},
		 NULL,
		 "pass",
		 "-ERR [SYS/TEMP] no connection\r\n"},
		{{ERR_POLICY, 0, "bad [certificate]"},
		 "\x1b[31mred\r\n+OK\t\xfc",
		 "pass",
		 "-ERR [SYS/PERM] bad (certificate): ?(31mred  +OK ?\r\n"},
		{{ERR_IN_USE, 0, "busy"}, NULL, "pass", "-ERR [IN-USE] busy\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char says[64], want[512];
		struct rig rig;

		snprintf(says, sizeof says, "USER %s\r\nPASS secret\r\nNOOP\r\n", cases[i].user);
		snprintf(want, sizeof want, GREETING "+OK send PASS\r\n%s" BAD_STATE,
			 cases[i].reply);
		rig_init(&rig, says);
		rig.store.open_err = cases[i].err;
		rig.store.alert = cases[i].alert;
		assert_string_equal(rig_run(&rig), want);
		bool is_stored = strcmp(cases[i].user, "joe") == 0;
		assert_int_equal(!strstr(rig.log.text, "event=stored-credential-refused"),
				 !is_stored);
		assert_int_equal(rig.world.slept_ms != 0,
				 *cases[i].reply == '-' && !strcmp(cases[i].reply, AUTH_ERR));
		rig_fini(&rig);
	}
}

/* A line of 4 kB from upstream is one clean line of ours, with the session's number. */
static void test_long_words(void **state)
{
	struct rig rig;
	char alert[256];

	(void)state;
	memset(alert, '[', sizeof alert - 1);
	alert[sizeof alert - 1] = '\0';
	rig_init(&rig, "USER pass\r\nPASS x\r\nUSER joe\r\nPASS secret\r\n");
	rig.fault.fail_call = 1;
	rig.users[2].name = "-";
	snprintf(rig.session.log.tag, sizeof rig.session.log.tag, "sid=8F3A2C peer=192.0.2.7:1");
	rig.store.open_err = ERR(ERR_UPSTREAM, 0, "words");
	rig.store.alert = alert;
	const char *hears = rig_run(&rig);
	const char *line = strstr(hears, "-ERR");
	assert_memory_equal(line, "-ERR [SYS/TEMP] made to fail, ref 8F3A2C\r\n", 42);
	line = strstr(line + 1, "-ERR");
	assert_true(strcspn(line, "\r") <= 510);
	assert_null(strchr(line + 7, '['));
	assert_memory_equal(strchr(line, '\r') - 12, ", ref 8F3A2C\r\n", 14);
	rig_fini(&rig);
}

/* The maildrop of another session, which gives it back in a while or not. */
struct other {
	struct lock *lock;
	unsigned looks, release_at;
};

static void on_sleep(void *arg)
{
	struct other *other = arg;

	if (++other->looks == other->release_at) {
		lock_release(other->lock);
		other->lock = NULL;
	}
}

static void test_lock(void **state)
{
	(void)state;
	for (unsigned release_at = 0; release_at <= 5; release_at += 5) {
		struct other other = {.release_at = release_at};
		struct rig rig;

		rig_init(&rig, IN "NOOP\r\n");
		assert_int_equal(lock_take(rig.session.locks, &rig.world.env, "memory",
					   &(struct lock_holder){.name = "joe"}, 0, 0, &other.lock)
					 .kind,
				 ERR_NONE);
		rig.world.on_sleep = on_sleep;
		rig.world.arg = &other;
		struct lock_table *locks = rig.session.locks;
		session_run(&rig.session, &rig.client.stream);
		const char *hears = canned_output(&rig.client);
		if (release_at)
			assert_string_equal(hears, HELLO "+OK\r\n");
		else
			assert_string_equal(hears, GREETING
					    "+OK send PASS\r\n-ERR [IN-USE] maildrop is in "
					    "use by another session\r\n" BAD_STATE);
		assert_int_equal(rig.store.opens, rig.store.closes);
		assert_int_equal(rig.accounts.given, rig.accounts.freed);
		lock_release(other.lock);
		lock_table_free(locks);
		rig_fini(&rig);
	}
}

/* +OK to PASS only when all is done: each call fails in turn (B-04). */
static void test_open_fails(void **state)
{
	(void)state;
	for (size_t call = 1; call <= 2; call++)
		for (int late = 0; late < 2; late++) {
			struct rig rig;

			rig_init(&rig, IN IN "STAT\r\n");
			rig.fault.fail_call = call;
			rig.fault.is_late = late;
			assert_string_equal(
				rig_run(&rig),
				GREETING "+OK send PASS\r\n-ERR [SYS/TEMP] made to fail\r\n"
					 "+OK send PASS\r\n+OK maildrop has 3 messages (93 octets)"
					 "\r\n+OK 3 93\r\n");
			rig_fini(&rig);
		}
}

/* A password of blanks arrives octet by octet (B-02); user names have an end (B-03). */
static void test_credentials(void **state)
{
	struct rig rig;
	char says[1100];

	(void)state;
	rig_init(&rig, "USER joe\r\nPASS   p w\t \r\n");
	rig.users[0].password = "  p w\t ";
	assert_string_equal(rig_run(&rig), HELLO);
	rig_fini(&rig);
	rig_init(&rig, "USER pass\r\nPASS  x \r\n");
	rig.store.password = " x ";
	assert_string_equal(rig_run(&rig), HELLO);
	assert_string_equal(rig.store.user, "pass");
	rig_fini(&rig);

	for (int len = 255; len <= 256; len++) {
		snprintf(says, sizeof says, "USER %0*d\r\nPASS x\r\n", len, 0);
		rig_init(&rig, says);
		assert_string_equal(rig_run(&rig),
				    len == 255 ? GREETING "+OK send PASS\r\n" AUTH_ERR
					       : GREETING
					    "-ERR not a user name\r\n-ERR USER first\r\n");
		assert_int_equal(rig.accounts.asked, len == 255);
		rig_fini(&rig);
	}
	/* A control in a name that came by SASL: \0j\x01e\0x */
	rig_init(&rig, "AUTH PLAIN AGoBZQB4\r\n");
	assert_string_equal(rig_run(&rig), GREETING AUTH_ERR);
	assert_int_equal(rig.accounts.asked, 0);
	rig_fini(&rig);
}

/* What PASS said does not stay behind in the client's buffer while the store is asked (B-22). */
static struct rig *asking;
static const struct upstream_ops *asked_ops;

static struct err open_and_look(const struct env *env, const struct log *log,
				const struct upstream_conf *conf, const struct login *login,
				struct notice *why, struct upstream **out)
{
	const struct buf *in = &asking->client.stream.in;

	assert_true(buf_len(in) > 0);
	assert_null(memmem(in->store, in->to, "secret", 6));
	return asked_ops->open(env, log, conf, login, why, out);
}

static void test_password_is_wiped(void **state)
{
	struct rig rig;
	struct upstream_ops inner;

	(void)state;
	rig_init(&rig, IN "NOOP\r\n");
	inner = rig.store.ops;
	asked_ops = &inner;
	asking = &rig;
	rig.store.ops.open = open_and_look;
	assert_string_equal(rig_run(&rig), HELLO "+OK\r\n");
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clear_text_policy), cmocka_unit_test(test_stls),
		cmocka_unit_test(test_refused_logins),    cmocka_unit_test(test_upstream_at_login),
		cmocka_unit_test(test_long_words),        cmocka_unit_test(test_lock),
		cmocka_unit_test(test_open_fails),        cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_password_is_wiped),
	};
	return cmocka_run_group_tests_name("session-login", tests, NULL, NULL);
}
