/* SPDX-License-Identifier: MIT */
/* t_grant.c - logins of entries with oauth=: the client's proof comes before anything of a token is
 * touched, and a session goes on with the profile that it began with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/account.h"
#include "proxy/base/mem.h"
#include "proxy/config.h"
#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/token.h"

static const char config_text[] =
	"[popgate]\nmap = /m\ncert = /c\nkey = /k\n[listener lan]\naddress = 127.0.0.1:110\n"
	"[oauth test]\ntoken_url = https://id.example/token\ndevice_url = https://id.example/d\n"
	"client_id = i\n";
static const char map_text[] = "%defaults upstream=imaps://imap.example.com local={plain}secret\n"
			       "alice login=alice@imap oauth=test\n"
			       "bob login=bob@imap oauth=gone\n"
			       "carol login=carol@imap oauth=test listener=lan\n"
			       "@example.org login=%u oauth=test\n";

struct bench {
	struct fake_world world;
	struct state_memory state;
	struct oauth_transport transport;
	struct token_key *key;
	struct log log;
	struct tokens *tokens;
	struct config *config;
	struct oauth_profiles *profiles;
	struct map *map;
	struct gate gate;
};

static struct bench *reloaded; /* while the provider is asked; NULL: nobody is */
static unsigned asked;         /* how often the provider was, in the test that runs */

static struct err post(const struct oauth_transport *transport, const struct oauth_post *request,
		       long *status, struct buf *out, struct notice *why)
{
	(void)transport;
	(void)why;
	assert_string_equal(request->url, "https://id.example/token");
	*status = 200;
	if (reloaded) {
		oauth_profiles_release(reloaded->profiles);
		config_free(reloaded->config);
		reloaded->profiles = NULL;
		reloaded->config = NULL;
	}
	assert_true(buf_printf(out, "{\"access_token\":\"access-%u\"}", ++asked));
	return OK;
}

static void begin(struct bench *bench)
{
	static const unsigned char octets[TOKEN_KEY] = "0123456789abcdef0123456789abcdef";
	static const struct sockaddr_storage peer = {0};
	struct faults faults = {0};

	memset(bench, 0, sizeof *bench);
	asked = 0;
	fake_world_init(&bench->world);
	state_memory_init(&bench->state);
	bench->transport.post = post;
	assert_int_equal(token_key_new(octets, &bench->key).kind, ERR_NONE);
	bench->tokens = tokens_new(&bench->state.store, bench->key, &bench->transport, &bench->log);
	bench->config = config_parse("c", config_text, strlen(config_text), &faults);
	bench->map = map_parse("m", map_text, strlen(map_text), &faults);
	faults_print(&faults, stderr);
	assert_int_equal(faults.count, 0);
	bench->profiles = oauth_profiles_hold(bench->config->profiles);
	gate_init(&bench->gate, &bench->map, "secure", &peer);
	bench->gate.state = &bench->state.store;
	bench->gate.tokens = bench->tokens;
	bench->gate.profiles = &bench->profiles;
}

static void end(struct bench *bench)
{
	map_release(bench->map);
	oauth_profiles_release(bench->profiles);
	config_free(bench->config);
	tokens_free(bench->tokens);
	token_key_free(bench->key);
	state_memory_fini(&bench->state);
}

static void enrol(struct bench *bench, const char *key)
{
	struct oauth_reply reply = {.access = text_dup("access-0"),
				    .refresh = text_dup("refresh-0"),
				    .lifetime_s = 3600};
	const struct oauth_profile *profile =
		&oauth_profiles_find(bench->profiles, "test")->profile;

	assert_int_equal(tokens_enrol(bench->tokens, &bench->world.env, profile, key, &reply).kind,
			 ERR_NONE);
	oauth_reply_fini(&reply);
}

static struct err prove(struct bench *bench, const char *name, const char *password,
			struct account **account)
{
	const struct credential claim = {.name = name, .password = password, .mechanism = "PASS"};
	struct notice why = {""};

	return bench->gate.accounts.ops->prove(&bench->gate.accounts, &bench->world.env,
					       &bench->log, &claim, &why, account);
}

static void let_go(struct bench *bench, struct account *account)
{
	bench->gate.accounts.ops->free(account);
}

/* What is asked with stays until it is answered. */
static void test_reload_while_the_provider_is_asked(void **state)
{
	struct bench bench;
	struct account *account;

	(void)state;
	begin(&bench);
	enrol(&bench, "alice");
	bench.world.now_ms += 3600 * 1000;
	reloaded = &bench;
	assert_int_equal(prove(&bench, "alice", "secret", &account).kind, ERR_NONE);
	reloaded = NULL;
	let_go(&bench, account);
	end(&bench);
}

static void test_wrong_password_touches_nothing(void **state)
{
	static const struct {
		const char *name, *password;
	} cases[] = {{"alice", "wrong"},         {"alice", ""},
		     {"alice", "secret "},       {"carol", "secret"}, /* not by this listener */
		     {"x@example.org", "wrong"}, {"nobody", "secret"}};
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench, "alice");
	bench.world.now_ms += 4000 * 1000; /* its token has expired */
	size_t calls = bench.state.calls;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct account *account;
		assert_int_equal(prove(&bench, cases[i].name, cases[i].password, &account).kind,
				 ERR_LOGIN);
		assert_null(account);
	}
	assert_int_equal(bench.state.calls, calls);
	assert_int_equal(asked, 0);
	end(&bench);
}

static void test_login_and_renewal(void **state)
{
	struct bench bench;
	struct account *account;

	(void)state;
	begin(&bench);
	enrol(&bench, "alice");
	assert_int_equal(prove(&bench, "ALICE", "secret", &account).kind, ERR_NONE);
	struct login *login = &account->login;
	assert_int_equal(login->kind, LOGIN_TOKEN);
	assert_true(login->is_stored && account->is_proved);
	assert_string_equal(login->user, "alice@imap");
	assert_string_equal(login->password, "access-0");
	/* the map and the profiles of a reload are for others */
	map_release(bench.map);
	bench.map = map_parse("m", "x upstream=imaps://h\n", 21, &(struct faults){0});
	oauth_profiles_release(bench.profiles);
	bench.profiles = NULL;
	config_free(bench.config);
	bench.config = NULL;
	assert_int_equal(login->renew(login, &bench.world.env, false).kind, ERR_NONE);
	assert_string_equal(login->password, "access-0");
	struct login copy = login_dup(login); /* what a store keeps */
	assert_int_equal(copy.renew(&copy, &bench.world.env, true).kind, ERR_NONE);
	assert_string_equal(copy.password, "access-1");
	assert_int_equal(asked, 1);
	login_fini(&copy);
	let_go(&bench, account);
	end(&bench);
}

static void test_no_token(void **state)
{
	struct bench bench;
	struct account *account;

	(void)state;
	begin(&bench);
	assert_int_equal(prove(&bench, "alice", "secret", &account).kind, ERR_POLICY);
	assert_int_equal(prove(&bench, "bob", "secret", &account).kind, ERR_POLICY);
	bench.gate.tokens = NULL;
	assert_int_equal(prove(&bench, "alice", "secret", &account).kind, ERR_POLICY);
	assert_null(account);
	assert_int_equal(asked, 0);
	end(&bench);
}

/* A grant belongs to the entry: that of a domain serves its names, each as itself. */
static void test_domain(void **state)
{
	struct bench bench;
	struct account *account;

	(void)state;
	begin(&bench);
	enrol(&bench, "@example.org");
	assert_int_equal(prove(&bench, "kim@example.org", "secret", &account).kind, ERR_NONE);
	assert_string_equal(account->login.user, "kim@example.org");
	assert_string_equal(account->login.password, "access-0");
	let_go(&bench, account);
	end(&bench);
}

/* Chores open the mailbox without a client. */
static void test_unattended(void **state)
{
	struct bench bench;
	struct account *account;
	struct notice why = {""};

	(void)state;
	begin(&bench);
	enrol(&bench, "alice");
	assert_int_equal(account_unattended(&bench.gate, &bench.world.env, &bench.log, "alice",
					    &why, &account)
				 .kind,
			 ERR_NONE);
	assert_string_equal(account->login.password, "access-0");
	let_go(&bench, account);
	end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reload_while_the_provider_is_asked),
		cmocka_unit_test(test_wrong_password_touches_nothing),
		cmocka_unit_test(test_login_and_renewal),
		cmocka_unit_test(test_no_token),
		cmocka_unit_test(test_domain),
		cmocka_unit_test(test_unattended),
	};

	return cmocka_run_group_tests_name("grant", tests, NULL, NULL);
}
