/* SPDX-License-Identifier: MIT */
/* t_account_kinds.c - digests, tokens, exchanges, devices: what each kind of claim opens, and which of
 * them a listener offers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "proxy/account.h"
#include "tests/fake/world.h"

/* RFC 7677 section 3: "pencil" */
#define KEYS                                                                                       \
	"{scram-sha-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"                                            \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"                                            \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
/* "password" */
#define CRYPT "{sha256-crypt}$5$saltsalt$gOjOtoMpVhru2uyjeJSEc/JaLQWOXMNmlOnj6T4AtC."
#define IMAP "upstream=imaps://imap.example.com "

static const char map_text[] =
	/* RFC 1939 section 7, RFC 2195 section 2 */
	"mrose " IMAP "local={plain}tanstaaf password={plain}u\n"
	"tim " IMAP "local={plain}tanstaaftanstaaf password={plain}u\n"
	"ann " IMAP "password={plain}u local=phone:" CRYPT " local=scan.2:{plain}scan local=" KEYS
	"\n"
	"kim " IMAP "local=" KEYS " password={plain}u\n"
	"bob " IMAP "\n"
	"rel " IMAP "auth=scram-sha-256\n"
	"gone reject=\"ask the help desk\"\n"
	"shut reject=\"ask the help desk\" local={plain}x\n"
	"cert " IMAP "password={plain}u\n"
	"box upstream=maildir:/var/mail/box\n";

struct fixture {
	struct fake_world world;
	struct map *map;
	struct gate gate;
	struct guard *guard;
	struct stream stream; /* the client's, for its binding */
	bool is_bound;
	unsigned asked;
	struct log log;
	struct notice why;
	struct account *account;
};

static bool bind_stream(const struct stream *stream, enum stream_binding kind, struct buf *out)
{
	const struct fixture *fixture =
		(const struct fixture *)((const char *)stream - offsetof(struct fixture, stream));

	return fixture->is_bound && kind == BINDING_TLS_EXPORTER && buf_put(out, "bound", 5);
}

static struct map *load(const char *text, bool has_client_ca)
{
	char path[] = "/tmp/t_account_kinds.XXXXXX";
	int fd = mkstemp(path);
	struct faults faults = {0};

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, 0600), 0);
	close(fd);
	struct map *map = map_load(path, has_client_ca, &faults);
	unlink(path);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	assert_non_null(map);
	return map;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);
	struct sockaddr_storage peer = {.ss_family = AF_INET};
	const struct guard_conf conf = {.block_after = 1000,
					.window_ms = 600000,
					.block_ms = 600000,
					.delay_ms = 2000,
					.delay_max_ms = 15000,
					.refused_ms = 60000};

	fixture->map = load(map_text, true);
	fake_world_init(&fixture->world);
	fixture->world.now_ms = 1000;
	fixture->stream.binding = bind_stream;
	inet_pton(AF_INET, "192.0.2.7", &((struct sockaddr_in *)&peer)->sin_addr);
	gate_init(&fixture->gate, &fixture->map, "secure", &peer);
	fixture->guard = guard_new(&fixture->world.env, &conf);
	fixture->gate.guard = fixture->guard;
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	fixture->gate.accounts.ops->free(fixture->account);
	guard_free(fixture->guard);
	map_release(fixture->map);
	free(fixture);
	return 0;
}

static struct err ask(void *arg, const void *challenge, size_t len, struct buf *answer)
{
	struct fixture *fixture = arg;

	(void)challenge;
	(void)len;
	buf_drop(answer, buf_len(answer));
	fixture->asked++;
	return buf_put(answer, "x", 1) ? OK : ERR(ERR_CLIENT, 0, "full");
}

static enum err_kind prove(struct fixture *fixture, const struct credential *claim)
{
	struct accounts *accounts = &fixture->gate.accounts;
	struct credential whole = *claim;

	whole.client = &fixture->stream;
	whole.ask = ask;
	whole.arg = fixture;
	if (!whole.password)
		whole.password = "";
	fixture->asked = 0;
	fixture->why.text[0] = '\0';
	accounts->ops->free(fixture->account);
	struct err err = accounts->ops->prove(accounts, &fixture->world.env, &fixture->log, &whole,
					      &fixture->why, &fixture->account);
	assert_true(!err.kind == !!fixture->account);
	return err.kind;
}

static const struct {
	struct credential claim;
	enum err_kind want;
	const char *why, *device;
} cases[] = {
	{{.name = "mrose",
	  .password = "c4c9334bac560ecc979e58001b3e22fb",
	  .kind = CREDENTIAL_APOP,
	  .mechanism = "APOP",
	  .timestamp = "<1896.697170952@dbc.mtview.ca.us>"},
	 ERR_NONE,
	 "",
	 ""},
	{{.name = "mrose",
	  .password = "C4C9334BAC560ECC979E58001B3E22FB",
	  .kind = CREDENTIAL_APOP,
	  .mechanism = "APOP",
	  .timestamp = "<1896.697170952@dbc.mtview.ca.us>"},
	 ERR_NONE,
	 "",
	 ""},
	/* heard on another connection */
	{{.name = "mrose",
	  .password = "c4c9334bac560ecc979e58001b3e22fb",
	  .kind = CREDENTIAL_APOP,
	  .mechanism = "APOP",
	  .timestamp = "<1897.697170952@dbc.mtview.ca.us>"},
	 ERR_LOGIN,
	 "wrong password",
	 NULL},
	{{.name = "tim",
	  .password = "b913a602c7eda7a495b4e6e7334d3890",
	  .kind = CREDENTIAL_CRAM_MD5,
	  .mechanism = "CRAM-MD5",
	  .timestamp = "<1896.697170952@postoffice.reston.mci.net>"},
	 ERR_NONE,
	 "",
	 ""},
	/* a digest of one kind is none of the other */
	{{.name = "tim",
	  .password = "b913a602c7eda7a495b4e6e7334d3890",
	  .kind = CREDENTIAL_APOP,
	  .mechanism = "APOP",
	  .timestamp = "<1896.697170952@postoffice.reston.mci.net>"},
	 ERR_LOGIN,
	 "wrong password",
	 NULL},
	/* nobody, a secret that cannot answer, an upstream that cannot be asked so */
	{{.name = "nobody",
	  .password = "b913a602c7eda7a495b4e6e7334d3890",
	  .kind = CREDENTIAL_APOP,
	  .mechanism = "APOP",
	  .timestamp = "<a@b>"},
	 ERR_LOGIN,
	 "unknown name",
	 NULL},
	{{.name = "kim",
	  .password = "b913a602c7eda7a495b4e6e7334d3890",
	  .kind = CREDENTIAL_CRAM_MD5,
	  .mechanism = "CRAM-MD5",
	  .timestamp = "<a@b>"},
	 ERR_LOGIN,
	 "wrong password",
	 NULL},
	{{.name = "bob",
	  .password = "b913a602c7eda7a495b4e6e7334d3890",
	  .kind = CREDENTIAL_APOP,
	  .mechanism = "APOP",
	  .timestamp = "<a@b>"},
	 ERR_LOGIN,
	 "a mechanism that cannot be passed through",
	 NULL},
	/* one password a device */
	{{.name = "ann", .password = "password", .mechanism = "PASS"}, ERR_NONE, "", "phone"},
	{{.name = "ann", .password = "scan", .mechanism = "PASS"}, ERR_NONE, "", "scan.2"},
	{{.name = "ann", .password = "pencil", .mechanism = "PLAIN"}, ERR_NONE, "", ""},
	{{.name = "ann", .password = "x", .mechanism = "PASS"}, ERR_LOGIN, "wrong password", NULL},
	{{.name = "ann", .password = "scan.2:{plain}scan", .mechanism = "PASS"},
	 ERR_LOGIN,
	 "wrong password",
	 NULL},
	/* tokens are for upstreams */
	{{.name = "ann", .password = "scan", .kind = CREDENTIAL_TOKEN, .mechanism = "XOAUTH2"},
	 ERR_LOGIN,
	 "a token, but the entry is not in pass-through",
	 NULL},
	{{.name = "bob", .password = "ya29", .kind = CREDENTIAL_TOKEN, .mechanism = "XOAUTH2"},
	 ERR_NONE,
	 "",
	 ""},
	{{.name = "", .password = "ya29", .kind = CREDENTIAL_TOKEN, .mechanism = "OAUTHBEARER"},
	 ERR_LOGIN,
	 "unknown name",
	 NULL},
	/* certificates: there is none here */
	{{.name = "cert", .kind = CREDENTIAL_CERTIFICATE, .mechanism = "EXTERNAL"},
	 ERR_LOGIN,
	 "the certificate is not for this name",
	 NULL},
	{{.name = "", .kind = CREDENTIAL_CERTIFICATE, .mechanism = "EXTERNAL"},
	 ERR_LOGIN,
	 "unknown name",
	 NULL},
	{{.name = "bob", .kind = CREDENTIAL_CERTIFICATE, .mechanism = "EXTERNAL"},
	 ERR_LOGIN,
	 "a mechanism that cannot be passed through",
	 NULL},
	/* A secret without local= is for certificates, and for no password (product, section 3). */
	{{.name = "cert", .password = "u", .mechanism = "PASS"},
	 ERR_LOGIN,
	 "only a certificate opens this entry",
	 NULL},
	{{.name = "box", .password = "u", .mechanism = "PASS"},
	 ERR_LOGIN,
	 "only a certificate opens this entry",
	 NULL},
	{{.name = "cert",
	  .password = "",
	  .kind = CREDENTIAL_EXCHANGE,
	  .mechanism = "SCRAM-SHA-256",
	  .initial = "n,,n=cert,r=fyko+d2lbbFgONRv9qkxdawL"},
	 ERR_LOGIN,
	 "only a certificate opens this entry",
	 NULL},
	/* reject= tells its text to everyone, or to who has proved himself */
	{{.name = "gone", .password = "x", .mechanism = "PASS"},
	 ERR_POLICY,
	 "ask the help desk",
	 NULL},
	{{.name = "shut", .password = "x", .mechanism = "PASS"},
	 ERR_POLICY,
	 "ask the help desk",
	 NULL},
	{{.name = "shut", .password = "y", .mechanism = "PASS"}, ERR_LOGIN, "wrong password", NULL},
};

static void test_kinds(void **state)
{
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum err_kind kind = prove(fixture, &cases[i].claim);
		if (kind != cases[i].want || strcmp(fixture->why.text, cases[i].why))
			fail_msg("%zu: %s: %d: %s", i, cases[i].claim.name, (int)kind,
				 fixture->why.text);
		if (!kind && strcmp(fixture->account->device, cases[i].device))
			fail_msg("%zu: device %s", i, fixture->account->device);
	}
}

/* J-07: what the client said goes on as it is. */
static void test_pass_through(void **state)
{
	struct fixture *fixture = *state;
	const struct credential token = {.name = "bob",
					 .password = "ya29.token",
					 .kind = CREDENTIAL_TOKEN,
					 .mechanism = "XOAUTH2"};
	struct credential scram = {.name = "bob",
				   .kind = CREDENTIAL_EXCHANGE,
				   .mechanism = "SCRAM-SHA-256",
				   .initial = "n,,n=bob,r=fyko+d2lbbFgONRv9qkxdawL"};

	assert_int_equal(prove(fixture, &token), ERR_NONE);
	assert_int_equal(fixture->account->login.kind, LOGIN_TOKEN);
	assert_string_equal(fixture->account->login.password, "ya29.token");
	assert_false(fixture->account->login.is_stored);

	assert_int_equal(prove(fixture, &scram), ERR_NONE);
	const struct login *login = &fixture->account->login;
	assert_int_equal(login->kind, LOGIN_RELAY);
	assert_string_equal(login->user, "bob");
	assert_string_equal(login->mechanism, "SCRAM-SHA-256");
	assert_string_equal(login->initial, scram.initial);
	assert_ptr_equal(login->arg, fixture);
	assert_int_equal(fixture->asked, 0); /* the upstream does */
	assert_false(fixture->account->is_proved);

	/* bound to this connection, which is not the upstream's */
	scram.mechanism = "SCRAM-SHA-256-PLUS";
	scram.initial = "p=tls-exporter,,n=bob,r=fyko+d2lbbFgONRv9qkxdawL";
	fixture->is_bound = true;
	assert_int_equal(prove(fixture, &scram), ERR_LOGIN);
	assert_string_equal(fixture->why.text, "a mechanism that cannot be passed through");
	/* -PLUS was offered, and did not reach the client */
	scram.mechanism = "SCRAM-SHA-256";
	scram.initial = "y,,n=bob,r=fyko+d2lbbFgONRv9qkxdawL";
	assert_int_equal(prove(fixture, &scram), ERR_LOGIN);
	fixture->is_bound = false;
	assert_int_equal(prove(fixture, &scram), ERR_NONE);
}

/* What is refused before anything was proved looks as if it had been tried (B-05, J-05). */
static void test_refused_exchanges_are_led(void **state)
{
	struct fixture *fixture = *state;
	static const char *const names[] = {"nobody", "ann", "kim", "mrose", "cert", "box"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct credential scram = {.name = names[i],
					   .kind = CREDENTIAL_EXCHANGE,
					   .mechanism = "SCRAM-SHA-256",
					   .initial = "n,,n=x,r=fyko+d2lbbFgONRv9qkxdawL"};
		unsigned before = fixture->world.offloads;
		assert_int_equal(prove(fixture, &scram), ERR_LOGIN);
		assert_int_equal(fixture->asked, 1);
		assert_int_equal(fixture->world.offloads - before, 3);
	}
}

enum {
	ALWAYS = WAY_PLAIN | WAY_LOGIN,
	DIGESTS = WAY_APOP | WAY_CRAM_MD5,
	SCRAMS = WAY_SCRAM_SHA_1 | WAY_SCRAM_SHA_256,
	TOKENS = WAY_XOAUTH2 | WAY_OAUTHBEARER,
	BOUND = WAY_SCRAM_SHA_1_PLUS | WAY_SCRAM_SHA_256_PLUS,
};

/* J-03: by what the map holds, not by who asks. */
static void test_ways(void **state)
{
	static const struct {
		const char *map;
		unsigned clear, bound;
	} maps[] = {
		{"a " IMAP "local=" CRYPT " password={plain}u\n", ALWAYS, ALWAYS},
		{"a " IMAP "local=" KEYS " password={plain}u\n", ALWAYS | WAY_SCRAM_SHA_256,
		 ALWAYS | WAY_SCRAM_SHA_256 | WAY_SCRAM_SHA_256_PLUS},
		{"a " IMAP "local=x:{plain}y password={plain}u\n", ALWAYS | DIGESTS | SCRAMS,
		 ALWAYS | DIGESTS | SCRAMS | BOUND},
		{"%defaults local={plain}y\na " IMAP "password={plain}u\n",
		 ALWAYS | DIGESTS | SCRAMS, ALWAYS | DIGESTS | SCRAMS | BOUND},
		/* its own replaces what the profile has */
		{"%profile p local={plain}y\na use=p " IMAP "password={plain}u local=" CRYPT "\n",
		 ALWAYS, ALWAYS},
		{"* " IMAP "\n", ALWAYS | TOKENS, ALWAYS | TOKENS},
		{"* " IMAP "auth=scram-sha-256,plain\n", ALWAYS | TOKENS | WAY_SCRAM_SHA_256,
		 ALWAYS | TOKENS | WAY_SCRAM_SHA_256},
		{"* " IMAP "auth=scram-sha-1\n", ALWAYS | TOKENS | WAY_SCRAM_SHA_1,
		 ALWAYS | TOKENS | WAY_SCRAM_SHA_1},
	};
	struct fixture *fixture = *state;
	const struct accounts *accounts = &fixture->gate.accounts;

	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
		map_release(fixture->map);
		fixture->map = load(maps[i].map, false);
		fixture->is_bound = false;
		assert_int_equal(accounts->ops->ways(accounts, &fixture->stream), maps[i].clear);
		assert_int_equal(accounts->ops->ways(accounts, NULL), maps[i].clear);
		fixture->is_bound = true;
		assert_int_equal(accounts->ops->ways(accounts, &fixture->stream), maps[i].bound);
		fixture->gate.ways = WAY_APOP | WAY_LOGIN;
		assert_int_equal(
			accounts->ops->ways(accounts, &fixture->stream) & ~fixture->gate.ways, 0);
		fixture->gate.ways = ~0u;
	}
}

static uint64_t settle(struct fixture *fixture, const struct credential *claim, enum err_kind kind)
{
	struct accounts *accounts = &fixture->gate.accounts;

	return accounts->ops->settle(accounts, &fixture->world.env, claim, fixture->account,
				     (struct err){kind, 0, ""});
}

/* L-03: what the upstream has refused is not asked again; an exchange is never the same twice. */
static void test_refusals_of_the_upstream(void **state)
{
	struct fixture *fixture = *state;
	const struct credential wrong = {.name = "Bob", .password = "wrong", .mechanism = "PASS"};
	const struct credential right = {.name = "bob", .password = "right", .mechanism = "PASS"};
	const struct credential scram = {.name = "bob",
					 .password = "",
					 .kind = CREDENTIAL_EXCHANGE,
					 .mechanism = "SCRAM-SHA-1",
					 .initial = "n,,n=bob,r=fyko+d2lbbFgONRv9qkxdawL"};

	assert_int_equal(prove(fixture, &wrong), ERR_NONE);
	uint64_t first = settle(fixture, &wrong, ERR_LOGIN);
	assert_true(first);
	assert_int_equal(prove(fixture, &wrong), ERR_LOGIN);
	assert_string_equal(fixture->why.text, "the upstream has just refused this password");
	assert_true(settle(fixture, &wrong, ERR_LOGIN) > first);
	assert_int_equal(prove(fixture, &right), ERR_NONE);
	assert_int_equal(settle(fixture, &right, ERR_NONE), 0);
	assert_int_equal(prove(fixture, &scram), ERR_NONE);
	assert_true(settle(fixture, &scram, ERR_LOGIN));
	assert_int_equal(prove(fixture, &scram), ERR_NONE);
	assert_int_equal(settle(fixture, &scram, ERR_NONE), 0);
	fixture->gate.guard = NULL;
	assert_int_equal(prove(fixture, &wrong), ERR_NONE);
	assert_int_equal(settle(fixture, &wrong, ERR_LOGIN), 0);
}

/* Counted by the entry and not by the name as it was typed (L-03). */
static void test_names_are_counted_by_entry(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		const char *name, *counted;
		bool is_listed;
	} names[] = {
		{"MROSE", "mrose", true},
		{"mrose@anywhere", "mrose", true},
		{"Nobody@X", "nobody@x", false},
		{"a\001b", "", false},
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const struct credential claim = {
			.name = names[i].name, .password = "x", .mechanism = "PASS"};
		assert_int_equal(prove(fixture, &claim), ERR_LOGIN);
		assert_string_equal(fixture->gate.claimed, names[i].counted);
		assert_int_equal(fixture->gate.is_listed, names[i].is_listed);
	}
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kinds),
		TEST(test_pass_through),
		TEST(test_refused_exchanges_are_led),
		TEST(test_ways),
		TEST(test_refusals_of_the_upstream),
		TEST(test_names_are_counted_by_entry),
	};
	return cmocka_run_group_tests_name("account kinds", tests, NULL, NULL);
}
