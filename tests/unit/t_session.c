/* SPDX-License-Identifier: MIT */
/* t_session.c - whole sessions, from greeting to end: what the client says and what it must hear. */
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

struct talk {
	const char *says, *hears;
	unsigned removed; /* bit i: message i + 1 is gone afterwards */
};

static void hold_talk(const struct talk *talk, size_t chunk)
{
	struct rig rig;

	rig_init(&rig, talk->says);
	rig.client.chunk = chunk;
	assert_string_equal(rig_run(&rig), talk->hears);
	assert_int_equal(rig_removed(&rig), talk->removed);
	rig_fini(&rig);
}

static const struct talk talks[] = {
	{"", GREETING, 0},
	{BYE, GREETING "+OK bye\r\n", 0},
	{IN BYE, HELLO "+OK bye\r\n", 0},
	{IN "STAT\r\nLIST\r\nUIDL\r\n" BYE,
	 HELLO "+OK 3 93\r\n"
	       "+OK 3 messages (93 octets)\r\n1 32\r\n2 22\r\n3 39\r\n.\r\n"
	       "+OK\r\n1 memory.1.41\r\n2 memory.1.50\r\n3 memory.1.57\r\n.\r\n+OK bye\r\n",
	 0},
	{IN "LIST 2\r\nUIDL 3\r\nLIST 4\r\nUIDL 0\r\nLIST -1\r\nDELE +1\r\nRETR 1a\r\nDELE 0x1\r\n"
	    "DELE 99999999999999999999\r\nDELE 18446744073709551617\r\nRETR 4\r\n",
	 HELLO "+OK 2 22\r\n+OK 3 memory.1.57\r\n-ERR no such message\r\n"
	       "-ERR not a message number\r\n-ERR not a message number\r\n"
	       "-ERR not a message number\r\n-ERR not a message number\r\n"
	       "-ERR not a message number\r\n-ERR not a message number\r\n"
	       "-ERR not a message number\r\n-ERR no such message\r\n",
	 0},
	/* numbers do not move (C-08) */
	{IN "DELE 2\r\nSTAT\r\nLIST\r\nUIDL\r\nLIST 2\r\nUIDL 2\r\nRETR 2\r\nTOP 2 0\r\nDELE 2\r\n"
	    "RSET\r\nLIST 2\r\n" BYE,
	 HELLO "+OK message 2 deleted\r\n+OK 2 71\r\n"
	       "+OK 2 messages (71 octets)\r\n1 32\r\n3 39\r\n.\r\n"
	       "+OK\r\n1 memory.1.41\r\n3 memory.1.57\r\n.\r\n"
	       "-ERR no such message\r\n-ERR no such message\r\n-ERR no such message\r\n"
	       "-ERR no such message\r\n-ERR no such message\r\n"
	       "+OK maildrop has 3 messages (93 octets)\r\n+OK 2 22\r\n+OK bye\r\n",
	 0},
	/* bodies: stuffed, normalised, ended */
	{IN "RETR 1\r\nretr 2\r\nrEtR 3 \r\n" BYE,
	 HELLO "+OK 32 octets\r\nSubject: one\r\n\r\n..\r\n...b\r\n\r\nends\r\n.\r\n"
	       "+OK 22 octets\r\nSubject: two\r\n\r\nbare\r\n.\r\n"
	       "+OK 39 octets\r\nSubject: three\r\n\r\n0123456789\r\nno end.\r\n.\r\n+OK bye\r\n",
	 0},
	{IN "TOP 1 0\r\nTOP 1 1\r\nTOP 2 99999999\r\nTOP 3 2\r\nTOP 1\r\nTOP 1 x\r\nTOP 9 1\r\n",
	 HELLO "+OK\r\nSubject: one\r\n\r\n.\r\n"
	       "+OK\r\nSubject: one\r\n\r\n..\r\n.\r\n"
	       "+OK\r\nSubject: two\r\n\r\nbare\r\n.\r\n"
	       "+OK\r\nSubject: three\r\n\r\n0123456789\r\nno end.\r\n.\r\n"
	       "-ERR wrong number of arguments\r\n-ERR not a number of lines\r\n"
	       "-ERR no such message\r\n",
	 0},
	/* only an executed QUIT removes (A-17, A-18, D-01) */
	{IN "DELE 1\r\nDELE 3\r\n" BYE,
	 HELLO "+OK message 1 deleted\r\n+OK message 3 deleted\r\n+OK 2 messages removed\r\n", 5},
	{IN "DELE 2\n" BYE, HELLO "+OK message 2 deleted\r\n+OK 1 message removed\r\n", 2},
	{IN "DELE 1\r\n", HELLO "+OK message 1 deleted\r\n", 0},
	{IN "DELE 1\r\nQUIT", HELLO "+OK message 1 deleted\r\n", 0},
	{IN "DELE 1\r\nQUIT\r", HELLO "+OK message 1 deleted\r\n", 0},
	{IN "DELE 1\r\nQUIT x\r\n",
	 HELLO "+OK message 1 deleted\r\n-ERR wrong number of arguments\r\n", 0},
	{IN "DELE 1\r\nRSET\r\n" BYE,
	 HELLO "+OK message 1 deleted\r\n+OK maildrop has 3 messages (93 octets)\r\n+OK bye\r\n",
	 0},
	{IN "QUIT\r\nDELE 1\r\nQUIT\r\n", HELLO "+OK bye\r\n", 0},
	/* the name (B-02) */
	{"PASS secret\r\n" IN,
	 GREETING "-ERR USER first\r\n" /**/
		  "+OK send PASS\r\n+OK maildrop has 3 messages (93 octets)\r\n",
	 0},
	{"USER joe\r\nSTAT\r\nPASS secret\r\n",
	 GREETING "+OK send PASS\r\n" BAD_STATE "-ERR USER first\r\n", 0},
	{"USER joe\r\nHUH\r\nPASS secret\r\n",
	 GREETING "+OK send PASS\r\n-ERR unknown command\r\n-ERR USER first\r\n", 0},
	{"USER joe\r\nUSER\r\nPASS secret\r\n",
	 GREETING "+OK send PASS\r\n-ERR wrong number of arguments\r\n-ERR USER first\r\n", 0},
	{"USER joe\r\nPASS \r\nPASS secret\r\n",
	 GREETING "+OK send PASS\r\n-ERR wrong number of arguments\r\n-ERR USER first\r\n", 0},
	{"USER joe\r\nAUTH\r\nPASS secret\r\n",
	 GREETING "+OK send PASS\r\n+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n-ERR USER first\r\n", 0},
	{"USER joe\r\nPASS wrong\r\nPASS secret\r\n",
	 GREETING "+OK send PASS\r\n" AUTH_ERR "-ERR USER first\r\n", 0},
	{"USER nobody\r\nPASS secret\r\n", GREETING "+OK send PASS\r\n" AUTH_ERR, 0},
	{"USER a\r\n" IN,
	 GREETING "+OK send PASS\r\n+OK send PASS\r\n"
		  "+OK maildrop has 3 messages (93 octets)\r\n",
	 0},
	{"USER   p w  \r\nPASS x\r\n", GREETING "+OK send PASS\r\n" AUTH_ERR, 0},
	{IN IN, HELLO BAD_STATE BAD_STATE, 0},
	/* trouble that is not the client's fault */
	{"USER trouble\r\nPASS x\r\n",
	 GREETING "+OK send PASS\r\n-ERR [SYS/TEMP] accounts are not to be had\r\n", 0},
	{"USER shut\r\nPASS x\r\n",
	 GREETING "+OK send PASS\r\n-ERR [SYS/PERM] account is closed: moved (AUTH)  to x?\r\n", 0},
	/* probes get an answer at once (C-17, C-18) */
	{IN "LAST\r\nXTND XMIT\r\nAUTH\r\nNOOP\r\n",
	 HELLO "-ERR unknown command\r\n-ERR unknown command\r\n" BAD_STATE "+OK\r\n", 0},
	{"AUTH GSSAPI\r\nAUTH CRAM-MD5 Zm9v\r\nAUTH\r\nAPOP joe x\r\n",
	 GREETING "-ERR mechanism not supported\r\n-ERR mechanism not supported\r\n"
		  "+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n-ERR no APOP here\r\n",
	 0},
	/* SASL */
	{"AUTH PLAIN AGpvZQBzZWNyZXQ=\r\nSTAT\r\n",
	 GREETING "+OK maildrop has 3 messages (93 octets)\r\n+OK 3 93\r\n", 0},
	{"auth plain\r\nAGpvZQBzZWNyZXQ=\r\n",
	 GREETING "+ \r\n+OK maildrop has 3 messages (93 octets)\r\n", 0},
	{"AUTH LOGIN\r\nam9l\r\nc2VjcmV0\r\n",
	 GREETING "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n"
		  "+OK maildrop has 3 messages (93 octets)\r\n",
	 0},
	{"AUTH LOGIN am9l\r\nc2VjcmV0\r\n",
	 GREETING "+ UGFzc3dvcmQ6\r\n+OK maildrop has 3 messages (93 octets)\r\n", 0},
	{"AUTH PLAIN\r\n*\r\nAUTH PLAIN =\r\nAUTH LOGIN\r\nSTAT 1\r\nQUIT\r\n",
	 GREETING "+ \r\n-ERR authentication cancelled\r\n" AUTH_ERR
		  "+ VXNlcm5hbWU6\r\n-ERR not base64\r\n+OK bye\r\n",
	 0},
	/* ann\0joe\0secret; \0joe\0x"\r\na1 DELETE INBOX\r\n */
	{"AUTH PLAIN YW5uAGpvZQBzZWNyZXQ=\r\nAUTH PLAIN AGpvZQB4Ig0KYTEgREVMRVRFIElOQk9YDQo=\r\n",
	 GREETING AUTH_ERR AUTH_ERR, 0},
	/* octets that no command may have */
	{IN "DELE 1\rQUIT\r\nSTAT\x01\r\nLIST \xe9\r\n" BYE,
	 HELLO "-ERR line has octets that no command may have\r\n"
	       "-ERR line has octets that no command may have\r\n"
	       "-ERR line has octets that no command may have\r\n+OK bye\r\n",
	 0},
	/* other protocols */
	{"POST / HTTP/1.1\r\nUSER joe\r\nPASS secret\r\n",
	 GREETING "-ERR this is a POP3 server\r\n", 0},
	{"\x16\x03\x01 hello\n" BYE, GREETING "-ERR this is a POP3 server\r\n", 0},
	{"\x16\x03\x01", GREETING "-ERR this is a POP3 server\r\n", 0},
	{"CAPA extra\r\n\x16",
	 GREETING "-ERR wrong number of arguments\r\n-ERR this is a POP3 server\r\n", 0},
	{IN "GET 1\r\nNOOP\r\n", HELLO "-ERR unknown command\r\n+OK\r\n", 0},
};

/* Each as it comes, and one octet at a time: the same words. */
static void test_talks(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof talks / sizeof *talks; i++) {
		hold_talk(&talks[i], 0);
		hold_talk(&talks[i], 1);
		hold_talk(&talks[i], 7);
	}
}

/* Every verb in both states gets one reply, and an unlawful one changes nothing. */
static void test_matrix(void **state)
{
	static const struct {
		const char *line;
		bool before, after; /* lawful in AUTHORIZATION, in TRANSACTION */
	} verbs[] = {
		{"CAPA", true, true},     {"USER joe", true, false}, {"STLS", true, false},
		{"STAT", false, true},    {"LIST", false, true},     {"UIDL", false, true},
		{"LIST 1", false, true},  {"UIDL 1", false, true},   {"RETR 1", false, true},
		{"TOP 1 0", false, true}, {"DELE 1", false, true},   {"NOOP", false, true},
		{"RSET", false, true},    {"AUTH", true, false},     {"AUTH PLAIN", true, false},
		{"PASS x", false, false}, {"HUH", false, false},     {"LAST", false, false},
		{"UPDATE", false, false}, {"", false, false},
	};
	char says[256];

	(void)state;
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		for (int in = 0; in < 2; in++) {
			struct rig rig;
			snprintf(says, sizeof says, "%s%s\r\n*\r\n", in ? IN : "", verbs[i].line);
			rig_init(&rig, says);
			rig.conf.tls_identity = &rig;
			const char *hears = rig_run(&rig) + strlen(in ? HELLO : GREETING);
			bool lawful = in ? verbs[i].after : verbs[i].before;
			if (strcmp(verbs[i].line, "STLS") == 0 && !in)
				assert_string_equal(hears, "+OK begin TLS\r\n"); /* injection */
			else if (strcmp(verbs[i].line, "AUTH PLAIN") == 0 && !in)
				assert_string_equal(hears,
						    "+ \r\n-ERR authentication cancelled\r\n");
			else
				assert_memory_equal(hears, lawful ? "+OK" : "-ERR", 3);
			if (!lawful) {
				rig_check_line(hears, strcspn(hears, "\r"));
				assert_string_equal(strchr(hears, '\n') + 1,
						    "-ERR unknown command\r\n");
			}
			assert_int_equal(rig_removed(&rig), 0);
			rig_fini(&rig);
		}
	}
}

struct capa_case {
	bool is_tls, may_clear, has_identity;
	const char *before, *after;
};

/* Table 3. */
static void test_capa(void **state)
{
	static const struct capa_case cases[] = {
		{false, false, false, "UIDL\r\nTOP\r\n" CAPA_END, NULL},
		{false, false, true, "STLS\r\nUIDL\r\nTOP\r\n" CAPA_END, NULL},
		{false, true, true, "USER\r\nSASL PLAIN LOGIN\r\nSTLS\r\nUIDL\r\nTOP\r\n" CAPA_END,
		 "USER\r\nSASL PLAIN LOGIN\r\nUIDL\r\nTOP\r\n" CAPA_END},
		{true, false, true, "USER\r\nSASL PLAIN LOGIN\r\nUIDL\r\nTOP\r\n" CAPA_END,
		 "USER\r\nSASL PLAIN LOGIN\r\nUIDL\r\nTOP\r\n" CAPA_END},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char want[1024];
		struct rig rig;

		rig_init(&rig, cases[i].after
				       ? "CAPA\r\nUSER joe\r\nCAPA \r\nPASS secret\r\nCAPA\r\n"
				       : "CAPA\r\n");
		rig.session.is_tls = cases[i].is_tls;
		rig.session.is_cleartext_allowed = cases[i].may_clear;
		rig.conf.tls_identity = cases[i].has_identity ? &rig : NULL;
		if (cases[i].after)
			snprintf(want, sizeof want,
				 GREETING CAPA "%s+OK send PASS\r\n" CAPA
					       "%s+OK maildrop has 3 messages (93 octets)\r\n" CAPA
					       "%s",
				 cases[i].before, cases[i].before, cases[i].after);
		else
			snprintf(want, sizeof want, GREETING CAPA "%s", cases[i].before);
		assert_string_equal(rig_run(&rig), want);
		rig_fini(&rig);
	}
}

/* 2 MB in one go, answered in few writes, with bounded memory on our side. */
static void test_pipelining(void **state)
{
	enum { LINES = 350000 };
	char *says = mem_alloc(strlen(IN) + 6 * LINES + 7), *at = says + sprintf(says, IN);
	struct rig rig;

	(void)state;
	for (int i = 0; i < LINES; i++, at += 6)
		memcpy(at, "NOOP\r\n", 6);
	strcpy(at, BYE);
	rig_init(&rig, says);
	const char *hears = rig_run(&rig) + strlen(HELLO);
	for (int i = 0; i < LINES; i++, hears += 5)
		assert_memory_equal(hears, "+OK\r\n", 5);
	assert_string_equal(hears, "+OK bye\r\n");
	assert_true(rig.client.writes < 1100);
	rig_fini(&rig);
	free(says);

	/* 1,000 RETRs in one write. */
	says = mem_alloc(strlen(IN) + 8 * 1000 + 1);
	at = says + sprintf(says, IN);
	for (int i = 0; i < 1000; i++)
		at += sprintf(at, "RETR 1\r\n");
	rig_init(&rig, says);
	hears = rig_run(&rig);
	size_t count = 0;
	for (at = (char *)(uintptr_t)hears; (at = strstr(at, "\r\n.\r\n+OK 32")); at += 5)
		count++;
	assert_int_equal(count, 999);
	rig_fini(&rig);
	free(says);
}

/* What was said leaves before we wait for the store. */
static struct rig *watched;
static size_t heard_before_fetch;
static const struct upstream_ops *watched_ops;

static struct err watching_fetch(struct upstream *up, const struct maildrop *drop,
				 const struct message *msg, const struct part *part,
				 struct sink *sink)
{
	heard_before_fetch = buf_len(&watched->client.output);
	return watched_ops->fetch(up, drop, msg, part, sink);
}

static void test_flush_before_waiting(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, IN "STAT\r\nRETR 1\r\n" BYE);
	watched = &rig;
	static struct upstream_ops inner;
	inner = rig.store.ops;
	watched_ops = &inner;
	rig.store.ops.fetch = watching_fetch;
	heard_before_fetch = 0;
	rig_run(&rig);
	assert_int_equal(heard_before_fetch, strlen(HELLO "+OK 3 93\r\n"));
	rig_fini(&rig);
}

/* UIDL of `count` messages; *len is all the client heard. Gives the size of the last write. */
static size_t list_many(size_t count, const char *name, size_t *len)
{
	struct memory_message *messages = mem_alloc(count * sizeof *messages);
	struct rig rig;

	for (size_t i = 0; i < count; i++)
		messages[i] = (struct memory_message){.octets = "x\r\n", .uid = (uint32_t)i + 1};
	messages[0].name = name;
	rig_init(&rig, IN "UIDL\r\n");
	rig.store.messages = messages;
	rig.store.count = count;
	*len = strlen(rig_run(&rig));
	size_t last = rig.client.last_write;
	rig_fini(&rig);
	free(messages);
	return last;
}

/* Wherever the end of a listing falls in the buffer, its dot does not leave alone. */
static void test_end_of_listing(void **state)
{
	enum { BUFFER = 16384 };
	char name[UIDL_MAX + 1] = "";
	size_t len, shortest = SIZE_MAX, count = 800;

	(void)state;
	/* So many that the first buffer is full somewhere between the shortest and longest name. */
	do
		list_many(++count, "n", &len);
	while (len < strlen(GREETING "+OK send PASS\r\n") + BUFFER - 40);
	for (size_t k = 0; k < UIDL_MAX; k++) {
		name[k] = 'n';
		size_t last = list_many(count, name, &len);
		if (last < shortest)
			shortest = last;
	}
	assert_in_range(shortest, strlen("1 x\r\n.\r\n"), 2048);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_talks),      cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_capa),       cmocka_unit_test(test_end_of_listing),
		cmocka_unit_test(test_pipelining), cmocka_unit_test(test_flush_before_waiting),
	};
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
