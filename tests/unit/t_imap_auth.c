/* SPDX-License-Identifier: MIT */
/* t_imap_auth.c - SCRAM before a server that proves and one that lies, channel bindings, long tokens, and
 * what the map's auth= may hold. What is said in each mechanism else is in tests/imap/auth.imap. */
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
#include "proxy/base/text.h"
#include "tests/fake/imap_script.h"
#include "tests/fake/scram_server.h"
#include "upstream/imap_auth.h"
#include "upstream/imap_auth_list.h"
#include "upstream/imap_client.h"

static struct err open_at(struct scram_server *server, const char *auth, struct login *login,
			  enum upstream_tls tls)
{
	const struct upstream_conf conf = {
		.host = "imap.example.com", .port = 993, .tls = tls, .auth = auth};
	struct log log = {NULL, ""};
	struct imap_client client = {.until_ms = 0};
	struct notice why = {""};

	struct err err = imap_client_open(&client, &server->world.env, &log, &conf, login, &why);
	if (!err.kind)
		imap_client_close(&client);
	return err;
}

/* The first message in the newest AUTHENTICATE, decoded. */
static void initial_of(struct scram_server *server, char *out)
{
	char *said = mem_dup(buf_data(&server->said), buf_len(&server->said));
	const char *at = strstr(said, "biws"), *p = strstr(said, "cD1");
	size_t len = 0;

	at = at ? at : p;
	assert_non_null(at);
	assert_true(text_unbase64(out, &len, at, strcspn(at, "\r")));
	out[len] = '\0';
	free(said);
}

static void test_scram(void **state)
{
	static const struct {
		const char *what, *auth, *capabilities, *password, *rounds, *flag;
		const char *theirs, *ours;
		enum stream_binding kind;
		enum upstream_tls tls;
		enum err_kind want;
	} cases[] = {
		{"SCRAM-SHA-256", "scram-sha-256", "SASL-IR AUTH=SCRAM-SHA-256", "secret", "4096",
		 "n,,", NULL, NULL, 0, UPSTREAM_TLS, ERR_NONE},
		{"SCRAM-SHA-1", "scram-sha-1", "SASL-IR AUTH=SCRAM-SHA-1", "secret", "4096", "n,,",
		 NULL, NULL, 0, UPSTREAM_TLS, ERR_NONE},
		{"without SASL-IR", "scram-sha-256", "AUTH=SCRAM-SHA-256", "secret", "4096", "n,,",
		 NULL, NULL, 0, UPSTREAM_TLS, ERR_NONE},
		{"by itself in clear", NULL, "SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN", "secret",
		 "4096", "n,,", NULL, NULL, 0, UPSTREAM_CLEAR, ERR_NONE},
		{"many rounds", "scram-sha-256", "SASL-IR AUTH=SCRAM-SHA-256", "secret", "20000",
		 "n,,", NULL, NULL, 0, UPSTREAM_TLS, ERR_NONE},
		{"a wrong password", "scram-sha-256", "SASL-IR AUTH=SCRAM-SHA-256", "Secret",
		 "4096", "n,,", NULL, NULL, 0, UPSTREAM_TLS, ERR_LOGIN},
		{"a password that is not UTF-8", "scram-sha-256", "SASL-IR AUTH=SCRAM-SHA-256",
		 "p\xe4ss", "4096", NULL, NULL, NULL, 0, UPSTREAM_TLS, ERR_LOGIN},
		{"TLS 1.3", "scram-sha-256-plus",
		 "SASL-IR AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS", "secret", "4096",
		 "p=tls-exporter,,", "binding", "binding", BINDING_TLS_EXPORTER, UPSTREAM_TLS,
		 ERR_NONE},
		{"TLS 1.2", "scram-sha-1-plus", "SASL-IR AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-1-PLUS",
		 "secret", "4096", "p=tls-unique,,", "binding", "binding", BINDING_TLS_UNIQUE,
		 UPSTREAM_TLS, ERR_NONE},
		{"somebody in between", "scram-sha-256-plus",
		 "SASL-IR AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS", "secret", "4096",
		 "p=tls-exporter,,", "binding", "another", BINDING_TLS_EXPORTER, UPSTREAM_TLS,
		 ERR_LOGIN},
		{"no -PLUS is announced: the next of the list", "scram-sha-256-plus,scram-sha-256",
		 "SASL-IR AUTH=SCRAM-SHA-256", "secret", "4096", "n,,", "binding", NULL,
		 BINDING_TLS_EXPORTER, UPSTREAM_TLS, ERR_NONE},
		{"-PLUS is announced and not wanted", "scram-sha-256",
		 "SASL-IR AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS", "secret", "4096", "n,,",
		 "binding", "binding", BINDING_TLS_EXPORTER, UPSTREAM_TLS, ERR_NONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct scram_server server;
		char password[40], user[] = "joe", initial[1000];
		scram_server_init(&server);
		server.capabilities = cases[i].capabilities;
		server.rounds = cases[i].rounds;
		server.theirs = cases[i].theirs;
		server.ours = cases[i].ours;
		server.kind = cases[i].kind;
		snprintf(password, sizeof password, "%s", cases[i].password);
		struct login login = {.user = user, .password = password};
		struct err err = open_at(&server, cases[i].auth, &login, cases[i].tls);
		if (err.kind != cases[i].want || server.is_in != (err.kind == ERR_NONE))
			fail_msg("%s: %d %s", cases[i].what, err.kind, err.what ? err.what : "");
		if (!cases[i].flag) {
			assert_null(memmem(buf_data(&server.said), buf_len(&server.said),
					   "AUTHENTICATE", 12));
			scram_server_fini(&server);
			continue;
		}
		initial_of(&server, initial);
		if (strncmp(initial, cases[i].flag, strlen(cases[i].flag)) != 0)
			fail_msg("%s: %s", cases[i].what, initial);
		assert_true(server.world.offloads > 0); /* never on the loop */
		scram_server_fini(&server);
	}
}

/* The server's signature is looked at before the login counts (J-08). */
static void test_scram_lies(void **state)
{
	static const struct {
		enum scram_lie lie;
		enum err_kind want;
		bool is_let_in;
	} cases[] = {
		{SCRAM_OTHER_PROOF, ERR_POLICY, false},
		{SCRAM_NO_PROOF, ERR_POLICY, true},
		{SCRAM_MORE, ERR_UPSTREAM, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct scram_server server;
		char password[] = "secret", user[] = "joe";
		struct login login = {.user = user, .password = password};
		scram_server_init(&server);
		server.lie = cases[i].lie;
		struct err err = open_at(&server, "scram-sha-256", &login, UPSTREAM_TLS);
		if (err.kind != cases[i].want || server.is_in != cases[i].is_let_in)
			fail_msg("lie %d: %d %s", cases[i].lie, err.kind, err.what);
		assert_null(server.stream);
		scram_server_fini(&server);
	}
}

/* J-11. */
static void test_scram_master(void **state)
{
	struct scram_server server;
	char password[] = "secret", user[] = "ann", master[] = "joe";
	struct login login = {
		.user = user, .password = password, .master = master, .is_stored = true};

	(void)state;
	scram_server_init(&server);
	server.acting = "ann";
	assert_int_equal(open_at(&server, "scram-sha-256", &login, UPSTREAM_TLS).kind, ERR_NONE);
	assert_true(server.is_in);
	server.acting = "bob";
	assert_int_equal(open_at(&server, "scram-sha-256", &login, UPSTREAM_TLS).kind, ERR_POLICY);
	assert_false(server.is_in);
	scram_server_fini(&server);
}

/* A line that a server may find too long is not sent in one (RFC 4959 section 3); a token is 16,384
 * octets at most, and is never cut. */
static void test_long_tokens(void **state)
{
	static const struct {
		size_t len;
		bool is_one_line;
		enum err_kind want;
	} cases[] = {
		{3000, true, ERR_NONE},   {5900, true, ERR_NONE},     {6100, false, ERR_NONE},
		{16384, false, ERR_NONE}, {30000, false, ERR_POLICY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t len = cases[i].len;
		char *token = mem_alloc(len + 1), *raw = mem_alloc(len + 100), user[] = "joe";
		char *coded = mem_alloc(2 * len + 200), *script = mem_alloc(2 * len + 1000);
		struct log log = {NULL, ""};
		struct imap_client client = {.until_ms = 0};
		struct imap_script server;
		const struct upstream_conf conf = {.host = "h", .port = 993, .tls = UPSTREAM_TLS};
		memset(token, 't', len);
		sprintf(raw, "user=joe\001auth=Bearer %s\001\001", token);
		text_base64(coded, raw, strlen(raw));
		sprintf(script, "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi\n%s",
			cases[i].want ? "" : "C: AUTHENTICATE XOAUTH2");
		if (!cases[i].want)
			sprintf(script + strlen(script),
				"%s%s\nS: $ OK [CAPABILITY IMAP4rev1] in\n",
				cases[i].is_one_line ? " " : "\nS: +\nC+ ", coded);
		imap_script_init(&server, script);
		struct login login = {.user = user, .password = token, .kind = LOGIN_TOKEN};
		struct err err =
			imap_client_open(&client, &server.world.env, &log, &conf, &login, NULL);
		if (err.kind != cases[i].want || *server.failure)
			fail_msg("%zu octets: %d %s %s", len, err.kind, err.what ? err.what : "",
				 server.failure);
		imap_client_close(&client);
		imap_script_fini(&server);
		free(token);
		free(raw);
		free(coded);
		free(script);
	}
}

static struct err another(struct login *login, const struct env *env, bool was_refused)
{
	unsigned *count = login->renewer;
	char token[20];

	(void)env;
	*count += was_refused;
	snprintf(token, sizeof token, "token%u", *count);
	text_wipe_free(login->password);
	login->password = text_dup(token);
	return OK;
}

/* H-07: tokens that are refused one after the other are one account's trouble, and no storm: two logins,
 * then none for minutes. */
static void test_token_storm(void **state)
{
	static const char no[] = "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi\n"
				 "C: AUTHENTICATE XOAUTH2 ...\nS: $ NO [AUTHENTICATIONFAILED] no\n";
	char script[400];
	struct log log = {NULL, ""};
	struct imap_script server;
	struct upstream_conf conf = {.host = "h", .port = 993, .tls = UPSTREAM_TLS};
	unsigned renewals = 0;

	(void)state;
	snprintf(script, sizeof script, "%s@dial\n%s", no, no);
	imap_script_init(&server, script);
	conf.health = health_new();
	for (int i = 0; i < 10; i++) {
		struct imap_client client = {.until_ms = 0};
		char token[20];
		snprintf(token, sizeof token, "begin%d", i); /* what prove() found */
		struct login login = {
			.user = text_dup("joe"),
			.password = text_dup(token),
			.kind = LOGIN_TOKEN,
			.is_stored = true,
			.renew = another,
			.renewer = &renewals,
		};
		assert_int_equal(
			imap_client_open(&client, &server.world.env, &log, &conf, &login, NULL)
				.kind,
			ERR_POLICY);
		login_fini(&login);
		server.world.now_ms += 20000;
	}
	assert_string_equal(server.failure, "");
	assert_int_equal(server.world.dials, 2);
	assert_int_equal(renewals, 1);
	health_free(conf.health);
	imap_script_fini(&server);
}

static void test_list(void **state)
{
	static const char *const good[] = {
		"login", "PLAIN", "plain,login",
		"external,xoauth2,oauthbearer,scram-sha-256-plus,"
		"scram-sha-256,scram-sha-1-plus,scram-sha-1,plain,login"};
	static const char *const bad[] = {
		"",       ",",        "plain,", ",plain",     "plain,,login",
		"plain ", "cram-md5", "scram",  "plain;login"};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_null(imap_auth_refusal(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!imap_auth_refusal(bad[i]))
			fail_msg("\"%s\" is accepted", bad[i]);
	assert_true(imap_auth_names("plain,External", "external"));
	assert_false(imap_auth_names("scram-sha-256-plus", "scram-sha-256"));
	assert_false(imap_auth_names("plain", "external"));
	assert_true(imap_auth_serves("external,xoauth2", LOGIN_TOKEN, false));
	assert_false(imap_auth_serves("external,plain", LOGIN_TOKEN, false));
	assert_true(imap_auth_serves("login,plain", LOGIN_PASSWORD, true));
	assert_false(imap_auth_serves("login", LOGIN_PASSWORD, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scram),        cmocka_unit_test(test_scram_lies),
		cmocka_unit_test(test_scram_master), cmocka_unit_test(test_long_tokens),
		cmocka_unit_test(test_token_storm),  cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests_name("imap_auth", tests, NULL, NULL);
}
