/* SPDX-License-Identifier: MIT */
/* t_session_sasl.c - sessions that log in by APOP and AUTH: what is announced, asked, answered, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "proxy/base/text.h"
#include "tests/unit/session_rig.h"

#define DIGEST "c4c9334bac560ecc979e58001b3e22fb"
#define MAILDROP "+OK maildrop has 3 messages (93 octets)\r\n"
#define EVERY 0x7ffu

/* A session with all ways open but those that `ways` lacks, and joe's password as it is. */
static void begin(struct rig *rig, const char *input, unsigned ways, const char *password)
{
	rig_init(rig, input);
	rig->accounts.ways = ways;
	rig->users[0].password = password;
	rig->session.is_tls = strstr(input, "OAUTH") != NULL; /* tokens are for TLS alone */
}

/* B-23: a name in the form of a msg-id, and only where it is of use. */
static void test_greeting(void **state)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.";
	char seen[2][SESSION_STAMP];

	(void)state;
	for (uint64_t i = 0; i < 2; i++) {
		struct rig rig;
		begin(&rig, BYE, EVERY, "secret");
		rig.world.seed += i;
		rig.world.wall_s = 1234567;
		const char *said = rig_run(&rig);
		assert_int_equal(strncmp(said, "+OK POP3 ready <", 16), 0);
		const char *stamp = said + 16;
		size_t local = strspn(stamp, good);
		assert_true(local >= 32);
		assert_int_equal(stamp[local], '@');
		size_t host = strspn(stamp + local + 1, good);
		assert_true(host > 0);
		assert_int_equal(strncmp(stamp + local + 1 + host, ">\r\n", 3), 0);
		snprintf(seen[i], sizeof seen[i], "%.*s", (int)(local + host + 1), stamp);
		rig_fini(&rig);
	}
	assert_string_not_equal(seen[0], seen[1]);

	struct rig rig;
	begin(&rig, BYE, EVERY & ~(unsigned)WAY_APOP, "secret");
	assert_string_equal(rig_run(&rig), GREETING "+OK bye\r\n");
	rig_fini(&rig);
}

/* What follows the greeting. */
static const char *behind_greeting(const char *said)
{
	const char *end = strstr(said, "\r\n");

	assert_non_null(end);
	return end + 2;
}

struct talk {
	const char *input, *output;
	const char *password; /* joe's */
	unsigned asked;
};

static void talk(const struct talk *t, size_t chunk)
{
	struct rig rig;

	begin(&rig, t->input, EVERY, t->password);
	rig.client.chunk = chunk;
	rig.conf.failures = 9;
	assert_string_equal(behind_greeting(rig_run(&rig)), t->output);
	assert_int_equal(rig.accounts.asked, t->asked);
	rig_fini(&rig);
}

#define CANCELLED "-ERR authentication cancelled\r\n"
#define BAD_BASE64 "-ERR not base64\r\n"
#define REGRET_GOOGLE                                                                              \
	"+ eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiIifQ==\r\n" /* {"status":"401","schemes":"bearer","scope":""} */
#define REGRET_RFC "+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\r\n" /* {"status":"invalid_token"} */
static const struct talk talks[] = {
	{"APOP joe " DIGEST "\r\n", MAILDROP, DIGEST, 1},
	{"APOP joe " DIGEST "  \r\n", MAILDROP, DIGEST, 1},
	{"APOP joe b913a602c7eda7a495b4e6e7334d3890\r\nAPOP nobody " DIGEST "\r\n" BYE,
	 AUTH_ERR AUTH_ERR "+OK bye\r\n", DIGEST, 2},
	{"APOP joe\r\nAPOP joe x y\r\nAPOP joe " DIGEST
	 "0\r\nAPOP joe x913a602c7eda7a495b4e6e7334d3890\r\n" BYE,
	 "-ERR wrong number of arguments\r\n"
	 "-ERR arguments are separated by one blank\r\n-ERR not a digest\r\n"
	 "-ERR not a digest\r\n+OK bye\r\n",
	 DIGEST, 0},
	{"APOP joe " DIGEST "\r\nAPOP joe " DIGEST "\r\n", MAILDROP BAD_STATE, DIGEST, 1},
	/* RFC 5802: first message, proof, our proof, an empty line. */
	{"AUTH SCRAM-SHA-256 biwsbj1qb2Uscj1hYmM=\r\nc2VjcmV0\r\n\r\nNOOP\r\n",
	 "+ d2hvIGFyZSB5b3U=\r\n+ eW91IGFyZSBpbg==\r\n" MAILDROP "+OK\r\n", "secret", 1},
	{"AUTH SCRAM-SHA-1-PLUS\r\nbiwsbj1qb2Uscj1hYmM=\r\nc2VjcmV0\r\n\r\n",
	 "+ \r\n+ d2hvIGFyZSB5b3U=\r\n+ eW91IGFyZSBpbg==\r\n" MAILDROP, "secret", 1},
	{"AUTH SCRAM-SHA-1 biwsbj1qb2Uscj1hYmM=\r\nc2VjcmV\r\n" BYE,
	 "+ d2hvIGFyZSB5b3U=\r\n" BAD_BASE64 "+OK bye\r\n", "secret", 1},
	{"AUTH SCRAM-SHA-1 biwsbj1qb2Uscj1hYmM=\r\nc2VjcmU=\r\n" BYE,
	 "+ d2hvIGFyZSB5b3U=\r\n" AUTH_ERR "+OK bye\r\n", "secret", 1},
	{"AUTH SCRAM-SHA-1 biwsbj1qb2Uscj1hYmM=\r\n*\r\n" BYE,
	 "+ d2hvIGFyZSB5b3U=\r\n" CANCELLED "+OK bye\r\n", "secret", 1},
	/* Who has proved himself and goes has not logged in. */
	{"AUTH SCRAM-SHA-1 biwsbj1qb2Uscj1hYmM=\r\nc2VjcmV0\r\n*\r\nSTAT\r\n" BYE,
	 "+ d2hvIGFyZSB5b3U=\r\n+ eW91IGFyZSBpbg==\r\n" CANCELLED BAD_STATE "+OK bye\r\n", "secret",
	 1},
	/* No command is one in an exchange (J-02). */
	{"AUTH SCRAM-SHA-1 biwsbj1qb2Uscj1hYmM=\r\nQUIT\r\n" BYE,
	 "+ d2hvIGFyZSB5b3U=\r\n" AUTH_ERR "+OK bye\r\n", "secret", 1},
	{"AUTH SCRAM-SHA-1 =\r\nAUTH CRAM-MD5 Zm9v\r\nAUTH CRAM-MD5 =\r\n" BYE,
	 AUTH_ERR "-ERR here the server speaks first\r\n-ERR here the server speaks first\r\n"
		  "+OK bye\r\n",
	 "secret", 0},
	/* J-06: a token that is refused. */
	{"AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgc2VjcmV0AQE=\r\n", MAILDROP, "secret", 1},
	{"AUTH XOAUTH2\r\ndXNlcj1qb2UBYXV0aD1CZWFyZXIgc2VjcmV0AQE=\r\n", "+ \r\n" MAILDROP,
	 "secret", 1},
	{"AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgZ3Vlc3MBAQ==\r\n\r\n" BYE,
	 REGRET_GOOGLE AUTH_ERR "+OK bye\r\n", "secret", 1},
	{"AUTH XOAUTH2\r\ndXNlcj1qb2UBYXV0aD1CZWFyZXIgZ3Vlc3MBAQ==\r\n*\r\n" BYE,
	 "+ \r\n" REGRET_GOOGLE AUTH_ERR "+OK bye\r\n", "secret", 1},
	{"AUTH OAUTHBEARER bixhPWpvZSwBYXV0aD1CZWFyZXIgc2VjcmV0AQE=\r\n", MAILDROP, "secret", 1},
	{"AUTH OAUTHBEARER "
	 "bixhPWpvZSwBaG9zdD1oAXBvcnQ9MTEwAWF1dGg9QmVhcmVyIGd1ZXNzAQE=\r\nAQ==\r\n" BYE,
	 REGRET_RFC AUTH_ERR "+OK bye\r\n", "secret", 1},
	{"AUTH OAUTHBEARER "
	 "bixhPWpvZSwBaG9zdD1oAXBvcnQ9MTEwAWF1dGg9QmVhcmVyIGd1ZXNzAQE=\r\nnonsense!\r\n" BYE,
	 REGRET_RFC AUTH_ERR "+OK bye\r\n", "secret", 1},
	{"AUTH "
	 "OAUTHBEARER\r\nbixhPWpvZSwBaG9zdD1oAXBvcnQ9MTEwAWF1dGg9QmVhcmVyIGd1ZXNzAQE=\r\nAQ=="
	 "\r\nAUTH XOAUTH2 AQ==\r\n" BYE,
	 "+ \r\n" REGRET_RFC AUTH_ERR AUTH_ERR "+OK bye\r\n", "secret", 1},
	/* The name is the certificate's. */
	{"AUTH EXTERNAL am9l\r\n", MAILDROP, "", 1},
	{"AUTH EXTERNAL\r\n\r\nAUTH EXTERNAL =\r\n" BYE, "+ \r\n" AUTH_ERR AUTH_ERR "+OK bye\r\n",
	 "", 2},
};

static void test_talks(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof talks / sizeof *talks; i++) {
		talk(&talks[i], 0);
		talk(&talks[i], 1);
	}
}

/* Each challenge is another one, and what the digest is compared with. */
static void test_cram(void **state)
{
	struct rig rig;
	char first[80];

	(void)state;
	begin(&rig,
	      "AUTH CRAM-MD5\r\ndGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\nAUTH "
	      "CRAM-MD5\r\ndGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n",
	      EVERY, "b913a602c7eda7a495b4e6e7334d3890");
	rig.users[0].name = "tim";
	rig.users[0].fail = ERR_UPSTREAM; /* the first time all is well but the mailbox */
	const char *said = behind_greeting(rig_run(&rig));
	assert_int_equal(strncmp(said, "+ ", 2), 0);
	size_t len = strcspn(said + 2, "\r"), raw;
	assert_true(text_unbase64(first, &raw, said + 2, len));
	first[raw] = '\0';
	assert_int_equal(*first, '<');
	const char *second = strstr(said + 2, "\r\n+ ");
	assert_non_null(second);
	assert_int_not_equal(strncmp(second + 4, said + 2, len), 0);
	assert_string_not_equal(rig.accounts.timestamp, first);
	char again[80];
	assert_true(text_unbase64(again, &raw, second + 4, strcspn(second + 4, "\r")));
	again[raw] = '\0';
	assert_string_equal(rig.accounts.timestamp, again);
	assert_null(strstr(rig.session.timestamp, again));
	rig_fini(&rig);

	begin(&rig, "APOP joe " DIGEST "\r\n", EVERY, DIGEST);
	said = rig_run(&rig);
	assert_non_null(strstr(said, rig.accounts.timestamp));
	assert_non_null(strstr(rig.log.text, "mechanism=APOP"));
	rig_fini(&rig);
}

/* --- what is announced is what works (A-19, J-03, B-09) -------------------------------------- */

static const struct {
	const char *name;
	unsigned way;
	bool is_plaintext, is_token;
} mechanisms[] = {
	{"PLAIN", WAY_PLAIN, true, false},
	{"LOGIN", WAY_LOGIN, true, false},
	{"CRAM-MD5", WAY_CRAM_MD5, false, false},
	{"SCRAM-SHA-1", WAY_SCRAM_SHA_1, false, false},
	{"SCRAM-SHA-1-PLUS", WAY_SCRAM_SHA_1_PLUS, false, false},
	{"SCRAM-SHA-256", WAY_SCRAM_SHA_256, false, false},
	{"SCRAM-SHA-256-PLUS", WAY_SCRAM_SHA_256_PLUS, false, false},
	{"XOAUTH2", WAY_XOAUTH2, true, true},
	{"OAUTHBEARER", WAY_OAUTHBEARER, true, true},
	{"EXTERNAL", WAY_EXTERNAL, false, false},
};
enum { MECHANISMS = sizeof mechanisms / sizeof *mechanisms };

static bool is_listed(const char *said, const char *name)
{
	const char *sasl = strstr(said, "\r\nSASL ");
	char word[64], line[256];

	if (!sasl)
		return false;
	snprintf(line, sizeof line, "%.*s ", (int)strcspn(sasl + 6, "\r"), sasl + 6);
	snprintf(word, sizeof word, " %s ", name);
	return strstr(line, word);
}

static void check_offer(unsigned ways, bool is_tls, bool is_allowed)
{
	struct rig rig;
	char input[1024] = "CAPA\r\nAUTH\r\nUSER joe\r\n";

	for (size_t i = 0; i < MECHANISMS; i++)
		snprintf(input + strlen(input), sizeof input - strlen(input), "AUTH %s\r\n*\r\n",
			 mechanisms[i].name);
	begin(&rig, input, ways, "secret");
	rig.session.is_tls = is_tls;
	rig.session.is_cleartext_allowed = is_allowed;
	rig.conf.authorization_ms = 0;
	const char *said = rig_run(&rig);
	const char *bare = strstr(said, ".\r\n+OK\r\n");
	bool may_pass = (ways & WAY_PLAIN) && (is_tls || is_allowed);
	assert_non_null(bare);
	assert_int_equal(strstr(said, "\r\nUSER\r\n") != NULL, may_pass);
	assert_int_equal(strstr(said, "+OK send PASS") != NULL, may_pass);
	const char *at = strstr(bare + 8, may_pass ? "+OK send PASS\r\n" : ".\r\n-ERR no login");
	assert_non_null(at);
	at = strstr(at + 3, "\r\n") + 2;
	for (size_t i = 0; i < MECHANISMS; i++) {
		bool is_good = (ways & mechanisms[i].way) &&
			       (is_tls || (is_allowed && !mechanisms[i].is_token) ||
				!mechanisms[i].is_plaintext);
		char line[64];
		assert_int_equal(is_listed(said, mechanisms[i].name), is_good);
		snprintf(line, sizeof line, "\r\n%s\r\n", mechanisms[i].name);
		const char *in_bare = strstr(bare + 3, line);
		assert_int_equal(in_bare && in_bare < at, is_good);
		/* "*" ends an exchange that has begun; where there is none it is a bad command */
		assert_int_equal(!strncmp(at, "+ ", 2), is_good);
		at = strstr(at, "\r\n") + 2;
		assert_int_equal(!strncmp(at, CANCELLED, strlen(CANCELLED)), is_good);
		at = strstr(at, "\r\n") + 2;
	}
	rig_fini(&rig);
}

static void test_offers(void **state)
{
	(void)state;
	for (unsigned where = 0; where < 4; where++) {
		check_offer(EVERY, where & 1, where & 2);
		check_offer(EVERY & ~(unsigned)WAY_PLAIN, where & 1, where & 2);
		for (size_t i = 0; i < MECHANISMS; i++)
			check_offer(mechanisms[i].way, where & 1, where & 2);
	}
}

/* APOP shows no password: it may be used where none may be sent (B-09). */
static void test_clear(void **state)
{
	struct rig rig;

	(void)state;
	begin(&rig, "USER joe\r\nAPOP joe " DIGEST "\r\nCAPA\r\n", EVERY, DIGEST);
	rig.session.is_cleartext_allowed = false;
	const char *said = behind_greeting(rig_run(&rig));
	assert_int_equal(strncmp(said, NEEDS_TLS MAILDROP, strlen(NEEDS_TLS MAILDROP)), 0);
	/* The tags of the state before the login. */
	assert_non_null(strstr(said, "\r\nSASL CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-1 EXTERNAL "));
	assert_null(strstr(said, "\r\nUSER\r\n"));
	rig_fini(&rig);

	begin(&rig, "APOP joe " DIGEST "\r\n", EVERY & ~(unsigned)WAY_APOP, DIGEST);
	assert_string_equal(rig_run(&rig), GREETING "-ERR no APOP here\r\n");
	rig_fini(&rig);

	begin(&rig, "USER joe\r\nPASS secret\r\nAUTH PLAIN\r\n" BYE, WAY_SCRAM_SHA_256, "secret");
	assert_string_equal(rig_run(&rig), GREETING "-ERR no login by USER and PASS here\r\n"
						    "-ERR no login by USER and PASS here\r\n"
						    "-ERR mechanism not supported\r\n+OK bye\r\n");
	assert_int_equal(rig.accounts.asked, 0);
	rig_fini(&rig);
}

/* --- when (B-05, B-08) ------------------------------------------------------------------------ */

/* The answer leaves so many ms after the claim, however long it took to find out that it is wrong. */
static void test_delay(void **state)
{
	static const struct {
		const char *input;
		uint64_t proof_ms, delay_ms, slept_ms;
	} cases[] = {
		{"USER joe\r\nPASS x\r\n", 0, 0, 2000},
		{"USER joe\r\nPASS x\r\n", 1500, 0, 500},
		{"USER nobody\r\nPASS x\r\n", 1500, 0, 500},
		{"USER joe\r\nPASS x\r\n", 2500, 0, 0},
		{"USER joe\r\nPASS x\r\n", 1500, 9000, 7500},
		{"APOP joe b913a602c7eda7a495b4e6e7334d3890\r\n", 100, 0, 1900},
		{"AUTH PLAIN AGpvZQB4\r\n", 100, 1000, 1900},
		{"AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgZ3Vlc3MBAQ==\r\n\r\n", 100, 0, 1900},
		/* refused before anybody was asked */
		{"AUTH PLAIN =\r\n", 100, 0, 2000},
		{"USER joe\r\nPASS x\r\nUSER joe\r\nPASS x\r\n", 1000, 3000, 2000 + 3000},
		/* no failure */
		{"AUTH PLAIN\r\n*\r\nUSER trouble\r\nPASS x\r\nUSER shut\r\nPASS x\r\n", 100, 9000,
		 0},
		{"USER joe\r\nPASS secret\r\n", 100, 9000, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		begin(&rig, cases[i].input, EVERY, "secret");
		rig.accounts.proof_ms = cases[i].proof_ms;
		rig.accounts.delay_ms = cases[i].delay_ms;
		rig_run(&rig);
		if (rig.world.slept_ms != cases[i].slept_ms)
			fail_msg("%s: %u ms", cases[i].input, (unsigned)rig.world.slept_ms);
		rig_fini(&rig);
	}
}

static void cut(void *arg)
{
	stream_abort(arg);
}

/* A program that ends does not wait for answers that are held back. */
static void test_cut_delay(void **state)
{
	struct rig rig;

	(void)state;
	begin(&rig, "USER joe\r\nPASS x\r\n" BYE, EVERY & ~(unsigned)WAY_APOP, "secret");
	rig.world.on_sleep = cut;
	rig.world.arg = &rig.client.stream;
	rig.accounts.delay_ms = 15000;
	assert_string_equal(rig_run(&rig), GREETING "+OK send PASS\r\n");
	assert_int_equal(rig.accounts.refused, 1);
	assert_true(rig.world.slept_ms <= 1000);
	rig_fini(&rig);
}

static void check_limit(struct canned *canned, void *arg)
{
	const struct rig *rig = arg;

	assert_true(!canned->until_ms || canned->until_ms > rig->world.now_ms);
}

/* Time that the proof takes is not the client's: the limit of an exchange begins anew at each question. */
static void test_slow_proof(void **state)
{
	static const char *const inputs[] = {
		"AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgZ3Vlc3MBAQ==\r\n\r\n",
		"AUTH SCRAM-SHA-1 biwsbj1qb2Uscj1hYmM=\r\nc2VjcmU=\r\n",
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct rig rig;
		begin(&rig, inputs[i], EVERY, "secret");
		rig.accounts.proof_ms = 65000;
		rig.conf.line_ms = 60000;
		rig.conf.authorization_ms = 180000;
		rig.client.chunk = 1;
		rig.client.on_read = check_limit;
		rig.client.arg = &rig;
		assert_non_null(strstr(rig_run(&rig), AUTH_ERR));
		rig_fini(&rig);
	}
}

/* What was refused and what succeeded is told, and nothing else. */
static void test_settled(void **state)
{
	static const struct {
		const char *input;
		unsigned settled, refused;
	} cases[] = {
		{"USER joe\r\nPASS secret\r\n", 1, 0},
		{"USER joe\r\nPASS x\r\nAUTH PLAIN AGpvZQB4\r\n" IN, 3, 2},
		{"AUTH PLAIN AA\r\nAUTH PLAIN\r\n*\r\nAPOP joe x\r\nAUTH GSSAPI\r\n", 0, 0},
		{"USER trouble\r\nPASS x\r\nUSER shut\r\nPASS x\r\n", 0, 0},
		/* a message that nobody can have sent in good faith counts as a guess */
		{"AUTH PLAIN AGpvZQ==\r\nAUTH SCRAM-SHA-1 =\r\n", 2, 2},
		{"AUTH SCRAM-SHA-1 biwsbj1qb2Uscj1hYmM=\r\n*\r\n", 0, 0},
		{"AUTH SCRAM-SHA-1 biwsbj1qb2Uscj1hYmM=\r\nc2VjcmU=\r\n", 1, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		begin(&rig, cases[i].input, EVERY, "secret");
		rig_run(&rig);
		if (rig.accounts.settled != cases[i].settled ||
		    rig.accounts.refused != cases[i].refused)
			fail_msg("%s: %u, %u", cases[i].input, rig.accounts.settled,
				 rig.accounts.refused);
		rig_fini(&rig);
	}
}

/* A token of 8,000 octets is a token (J-06). */
static void test_large_token(void **state)
{
	enum { TOKEN = 8000 };
	static char token[TOKEN + 1], message[TOKEN + 64], input[2 * TOKEN + 256];
	struct rig rig;

	(void)state;
	memset(token, 't', TOKEN);
	snprintf(message, sizeof message, "user=joe\001auth=Bearer %s\001\001", token);
	strcpy(input, "AUTH XOAUTH2\r\n");
	text_base64(input + strlen(input), message, strlen(message));
	strcat(input, "\r\n");
	begin(&rig, input, EVERY, token);
	assert_string_equal(behind_greeting(rig_run(&rig)), "+ \r\n" MAILDROP);
	assert_string_equal(rig.accounts.mechanism, "XOAUTH2");
	assert_null(strstr(rig.log.text, "tttt"));
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greeting),   cmocka_unit_test(test_talks),
		cmocka_unit_test(test_cram),       cmocka_unit_test(test_offers),
		cmocka_unit_test(test_clear),      cmocka_unit_test(test_delay),
		cmocka_unit_test(test_settled),    cmocka_unit_test(test_cut_delay),
		cmocka_unit_test(test_slow_proof), cmocka_unit_test(test_large_token),
	};
	return cmocka_run_group_tests_name("session sasl", tests, NULL, NULL);
}
