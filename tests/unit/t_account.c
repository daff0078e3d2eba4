/* SPDX-License-Identifier: MIT */
/* t_account.c - from a claim to an account: who is let in, with which login, and what a refusal
 * costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "proxy/account.h"
#include "tests/fake/world.h"

static const char map_text[] =
	"%defaults upstream=imaps://imap.example.com\n"
	"alice local={plain}secret password={plain}upstream-secret login=alice@imap\n"
	"bob\n"
	"carol local={plain}secret password={plain}x allow=10.20.0.0/16\n"
	"dave local={plain}secret password={plain}x listener=lan\n"
	"erin reject=\"ask the help desk\"\n"
	"frank upstream=maildir:/var/mail/%n local={plain}secret\n"
	"greta local={plain}secret password_file=/nonexistent/secret\n"
	"hugo allow=10.20.0.0/16\n"
	"ida listener=lan\n"
	"@example.org login=%u\n";

struct fixture {
	struct fake_world world;
	struct map *map;
	struct gate gate;
	struct log log;
	struct notice why;
	struct account *account;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);
	struct faults faults = {0};
	struct sockaddr_storage peer = {.ss_family = AF_INET};

	fixture->map = map_parse("map", map_text, strlen(map_text), &faults);
	faults_print(&faults, stderr);
	faults_fini(&faults);
	assert_non_null(fixture->map);
	fake_world_init(&fixture->world);
	inet_pton(AF_INET, "192.0.2.7", &((struct sockaddr_in *)&peer)->sin_addr);
	gate_init(&fixture->gate, &fixture->map, "secure", &peer);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	fixture->gate.accounts.ops->free(fixture->account);
	map_release(fixture->map);
	free(fixture);
	return 0;
}

static enum err_kind prove(struct fixture *fixture, const char *name, const char *password)
{
	struct credential claim = {.name = name, .password = password};
	struct accounts *accounts = &fixture->gate.accounts;

	accounts->ops->free(fixture->account);
	struct err err = accounts->ops->prove(accounts, &fixture->world.env, &fixture->log, &claim,
					      &fixture->why, &fixture->account);
	assert_true(!err.kind == !!fixture->account);
	return err.kind;
}

static void test_local_secret_opens_stored_login(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(prove(fixture, "Alice", "secret"), ERR_NONE);
	assert_string_equal(fixture->account->name, "alice");
	assert_true(fixture->account->is_proved);
	assert_string_equal(fixture->account->login.user, "alice@imap");
	assert_string_equal(fixture->account->login.password, "upstream-secret");
	assert_true(fixture->account->login.is_stored);
	assert_string_equal(fixture->account->upstream.host, "imap.example.com");
}

static void test_pass_through_hands_the_password_on(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(prove(fixture, "bob", " p w\t"), ERR_NONE);
	assert_false(fixture->account->is_proved);
	assert_false(fixture->account->login.is_stored);
	assert_string_equal(fixture->account->login.user, "bob");
	assert_string_equal(fixture->account->login.password, " p w\t");
	assert_int_equal(prove(fixture, "joe@Example.org", "x"), ERR_NONE);
	assert_string_equal(fixture->account->login.user, "joe@example.org");
}

static void test_local_store_needs_no_login(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(prove(fixture, "frank", "secret"), ERR_NONE);
	assert_null(fixture->account->login.user);
	assert_string_equal(fixture->account->upstream.path, "/var/mail/frank");
}

static void test_refusals_look_and_cost_alike(void **state)
{
	static const struct {
		const char *name, *password, *why;
	} cases[] = {
		{"nobody", "secret", "unknown name"},
		{"alice", "wrong", "wrong password"},
		{"alice", "", "wrong password"},
		{"carol", "secret", "network not in allow="},
		{"dave", "secret", "not by this listener"},
		{"hugo", "secret", "network not in allow="},
		{"ida", "secret", "not by this listener"},
		{"../alice", "secret", "unknown name"},
		{"frank", "wrong", "wrong password"},
		{"alice@x", "wrong", "wrong password"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned before = fixture->world.offloads;
		assert_int_equal(prove(fixture, cases[i].name, cases[i].password), ERR_LOGIN);
		assert_string_equal(fixture->why.text, cases[i].why);
		/* One verification, not none and not two (B-05). */
		assert_int_equal(fixture->world.offloads - before, 1);
	}
}

static void test_reject_tells_its_text(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(prove(fixture, "erin", "anything"), ERR_POLICY);
	assert_string_equal(fixture->why.text, "ask the help desk");
}

static void test_unreadable_secret_is_not_a_wrong_password(void **state)
{
	struct fixture *fixture = *state;

	assert_int_not_equal(prove(fixture, "greta", "secret"), ERR_LOGIN);
	assert_null(fixture->account);
	assert_int_equal(prove(fixture, "greta", "wrong"), ERR_LOGIN);
}

static void test_account_keeps_its_map(void **state)
{
	struct fixture *fixture = *state;
	struct faults faults = {0};
	static const char other[] = "bob upstream=imaps://other.example.com\n";

	assert_int_equal(prove(fixture, "alice", "secret"), ERR_NONE);
	map_release(fixture->map);
	fixture->map = map_parse("map", other, strlen(other), &faults);
	assert_non_null(fixture->map);
	assert_string_equal(fixture->account->upstream.host, "imap.example.com");
	assert_int_equal(prove(fixture, "alice", "secret"), ERR_LOGIN);
	faults_fini(&faults);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_local_secret_opens_stored_login),
		TEST(test_pass_through_hands_the_password_on),
		TEST(test_local_store_needs_no_login),
		TEST(test_refusals_look_and_cost_alike),
		TEST(test_reject_tells_its_text),
		TEST(test_unreadable_secret_is_not_a_wrong_password),
		TEST(test_account_keeps_its_map),
	};

	return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
