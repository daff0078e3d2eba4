/* SPDX-License-Identifier: MIT */
/* t_local.c - local=: one secret a device, by every scheme that is not crypt(3)'s, and what the map makes
 * of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <argon2.h>
#include <cmocka.h>

#include "proxy/base/mem.h"
#include "proxy/local.h"
#include "proxy/map.h"
#include "proxy/verify.h"

/* RFC 7677 section 3: "pencil" */
#define KEYS                                                                                       \
	"{scram-sha-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"                                            \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"                                            \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
/* "password" */
#define CRYPT "{sha256-crypt}$5$saltsalt$gOjOtoMpVhru2uyjeJSEc/JaLQWOXMNmlOnj6T4AtC."
#define IMAP "upstream=imaps://h "

/* --- Argon2 ------------------------------------------------------------------------------- */

/* Of the reference implementation's own tests (phc-winner-argon2, src/test.c): "password" and
 * "somesalt". */
static const struct {
	const char *local, *password;
} argon2[] = {
	{"{argon2id}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$"
	 "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	 "password"},
	{"{ARGON2ID}$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$"
	 "bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
	 "password"},
	{"{argon2i}$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$"
	 "iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
	 "password"},
};

static void test_argon2(void **state)
{
	char own[256];

	(void)state;
	for (size_t i = 0; i < sizeof argon2 / sizeof *argon2; i++) {
		const char *wrong = verify_refusal(argon2[i].local);
		if (wrong)
			fail_msg("%s: %s", argon2[i].local, wrong);
		if (!verify_password(argon2[i].local, argon2[i].password))
			fail_msg("%s", argon2[i].local);
		assert_false(verify_password(argon2[i].local, "Password"));
		assert_false(verify_password(argon2[i].local, ""));
	}
	/* As the program argon2(1) makes it. */
	strcpy(own, "{argon2id}");
	assert_int_equal(argon2id_hash_encoded(1, 64, 1, "p\303\244ss", 5, "0123456789abcdef", 16,
					       32, own + 10, sizeof own - 10),
			 ARGON2_OK);
	assert_null(verify_refusal(own));
	assert_true(verify_password(own, "p\303\244ss"));
	assert_false(verify_password(own, "pass"));
}

static void test_refused_values(void **state)
{
#define TAIL "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	static const char *const bad[] = {
		"{argon2id}",
		"{argon2id}x",
		"{argon2i}$argon2id$v=19$m=256,t=2,p=1" TAIL,
		"{argon2id}$argon2i$v=19$m=256,t=2,p=1" TAIL,
		"{argon2d}$argon2d$v=19$m=256,t=2,p=1" TAIL,
		"{argon2id}$argon2id$m=256,t=2,p=1" TAIL,
		"{argon2id}$argon2id$v=20$m=256,t=2,p=1" TAIL,
		/* more than a gateway has for one login */
		"{argon2id}$argon2id$v=19$m=262145,t=2,p=1" TAIL,
		"{argon2id}$argon2id$v=19$m=99999999999999999999,t=2,p=1" TAIL,
		"{argon2id}$argon2id$v=19$m=256,t=65,p=1" TAIL,
		"{argon2id}$argon2id$v=19$m=256,t=2,p=17" TAIL,
		"{argon2id}$argon2id$v=19$m=256,t=0,p=1" TAIL,
		"{argon2id}$argon2id$v=19$m=-1,t=2,p=1" TAIL,
		"{argon2id}$argon2id$v=19$m=256,t=2" TAIL,
		"{argon2id}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
		"{argon2id}$argon2id$v=19$m=256,t=2,p=1$$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQw",
		"{argon2id}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65",
		"{argon2id}$argon2id$v=19$m=256,t=2,p=1" TAIL "$",
		"{argon2id}$argon2id$v=19$m=256,t=2,p=1" TAIL "!",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!verify_refusal(bad[i]))
			fail_msg("%s", bad[i]);
}

/* --- SCRAM's keys serve PASS --------------------------------------------------------------- */

/* A password is prepared as SCRAM clients do it (RFC 4013), so that both ways know the same one. */
static void test_prepared(void **state)
{
	static const struct {
		const char *made_of, *typed;
	} cases[] = {
		{"IX", "I\302\255X"}, /* RFC 4013 section 3: SOFT HYPHEN mapped to nothing */
		{"I\302\255X", "IX"}, {"a", "\302\252"}, {"IX", "\342\205\250"}, {"user", "user"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *local = verify_make_dup(cases[i].made_of, true);
		assert_non_null(local);
		assert_null(verify_refusal(local));
		if (!verify_password(local, cases[i].typed))
			fail_msg("%zu", i);
		assert_false(verify_password(local, "IXX"));
		text_wipe_free(local);
	}
	/* BELL, and octets that are no UTF-8: no client could send such a proof */
	assert_null(verify_make_dup("\007", true));
	assert_null(verify_make_dup("p\344ss", true));
	assert_false(verify_password(KEYS, "pencil\377"));
}

static void test_keys(void **state)
{
	struct verify_scram keys;
	char *made = verify_make_dup("pencil", true);

	(void)state;
	assert_true(verify_scram(KEYS, &keys));
	assert_int_equal(keys.rounds, 4096);
	assert_string_equal(keys.salt, "W22ZaJ0SNY7soEsUEjb6gQ==");
	assert_string_equal(keys.stored, "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
	assert_string_equal(keys.server, "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	assert_true(verify_scram(made, &keys));
	assert_int_equal(keys.rounds, VERIFY_ROUNDS);
	assert_false(verify_scram(CRYPT, &keys));
	assert_false(verify_scram("{plain}x", &keys));
	assert_string_equal(verify_plain("{PLAIN}{x}"), "{x}");
	assert_null(verify_plain(KEYS));
	text_wipe_free(made);
}

/* --- devices ------------------------------------------------------------------------------ */

static void test_names(void **state)
{
	static const struct {
		const char *value;
		size_t len; /* of the name */
		bool is_good;
	} cases[] = {
		{"{plain}x", 0, true},
		{"{plain}a:b", 0, true},
		{"phone:{plain}x", 5, true},
		{"A-z.0_9:" KEYS, 7, true},
		{"0123456789abcdef0123456789abcdef:{plain}x", 32, true},
		{"0123456789abcdef0123456789abcdef0:{plain}x", 33, false},
		{":{plain}x", 0, false},
		{"a b:{plain}x", 3, false},
		{"a/b:{plain}x", 3, false},
		{"\303\244:{plain}x", 2, false},
		{"a:b:{plain}x", 1, false},
		{"phone:", 5, false},
		{"phone:x", 5, false},
		{"phone:{nonsense}x", 5, false},
		{"phone", 0, false},
		{"", 0, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(local_name_len(cases[i].value), cases[i].len);
		if (!local_value_refusal(cases[i].value) != cases[i].is_good)
			fail_msg("%s", cases[i].value);
	}
	assert_string_equal(local_secret("phone:{plain}x:y"), "{plain}x:y");
	assert_string_equal(local_secret("{plain}x:y"), "{plain}x:y");
}

static void test_find(void **state)
{
	const struct local_list list = {
		{"a:{plain}tanstaaf", KEYS, "c:" CRYPT, "d:{plain}tanstaaftanstaaf"}, 4};
	const struct local_list none = {.count = 0};

	(void)state;
	assert_int_equal(local_find_password(&list, "tanstaaf"), 0);
	assert_int_equal(local_find_password(&list, "pencil"), 1);
	assert_int_equal(local_find_password(&list, "password"), 2);
	assert_int_equal(local_find_password(&list, "tanstaaftanstaaf"), 3);
	assert_int_equal(local_find_password(&list, ""), -1);
	assert_int_equal(local_find_password(&none, "x"), -1);
	/* RFC 1939 section 7, RFC 2195 section 2 */
	assert_int_equal(local_find_digest(&list, false, "<1896.697170952@dbc.mtview.ca.us>",
					   "c4c9334bac560ecc979e58001b3e22fb"),
			 0);
	assert_int_equal(local_find_digest(&list, true,
					   "<1896.697170952@postoffice.reston.mci.net>",
					   "b913a602c7eda7a495b4e6e7334d3890"),
			 3);
	assert_int_equal(local_find_digest(&list, true, "<1896.697170952@dbc.mtview.ca.us>",
					   "c4c9334bac560ecc979e58001b3e22fb"),
			 -1);
	assert_int_equal(local_find_digest(&list, false, "<1896.697170952@dbc.mtview.ca.us>",
					   "c4c9334bac560ecc979e58001b3e22f"),
			 -1);
	assert_int_equal(
		local_find_digest(&none, false, "<a@b>", "c4c9334bac560ecc979e58001b3e22fb"), -1);
	assert_int_equal(local_kinds(&list), LOCAL_PLAIN | LOCAL_SCRAM_SHA_256 | LOCAL_OTHER);
	assert_int_equal(local_kinds(&none), 0);
}

/* --- the map ------------------------------------------------------------------------------ */

static struct map *load(const char *text, bool has_client_ca, mode_t mode, struct faults *faults)
{
	char path[] = "/tmp/t_local.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	struct map *map = map_load(path, has_client_ca, faults);
	unlink(path);
	return map;
}

#define ONE "local=a:{plain}x "
static void test_map(void **state)
{
	static const struct {
		const char *text, *without, *with; /* what is wrong, without and with client_ca */
	} cases[] = {
		{"a " IMAP "password_file=/x local={plain}a local=b:{plain}b", NULL, NULL},
		{"a " IMAP "password_file=/x local={plain}a local={plain}b",
		 "two local= without a name", "two local= without a name"},
		{"a " IMAP "password_file=/x local=b:{plain}a local=B:{plain}c",
		 "two local= of the same name", "two local= of the same name"},
		{"a " IMAP "password_file=/x local=b/:{plain}a", "local=: not NAME:{scheme}",
		 "local=: not NAME:{scheme}"},
		{"a " IMAP "password_file=/x " ONE "local=b:{plain}x local=c:{plain}x "
		 "local=d:{plain}x local=e:{plain}x local=f:{plain}x local=g:{plain}x "
		 "local=h:{plain}x local=i:{plain}x local=j:{plain}x local=k:{plain}x "
		 "local=l:{plain}x local=m:{plain}x local=n:{plain}x local=o:{plain}x "
		 "local=p:{plain}x",
		 NULL, NULL},
		{"%profile p " ONE "local=b:{plain}x local=c:{plain}x "
		 "local=d:{plain}x local=e:{plain}x local=f:{plain}x local=g:{plain}x "
		 "local=h:{plain}x local=i:{plain}x local=j:{plain}x local=k:{plain}x "
		 "local=l:{plain}x local=m:{plain}x local=n:{plain}x local=o:{plain}x "
		 "local=p:{plain}x local=q:{plain}x\na use=p " IMAP "password_file=/x",
		 "more than 16 local=", "more than 16 local="},
		/* Who proves what, with certificates (product, section 3). */
		{"a " IMAP "password_file=/x", "without local=: anyone", NULL},
		{"a upstream=maildir:/m", "a local store without local=", NULL},
		{"* upstream=maildir:/m/%n", "a local store without local=", NULL},
		{"a " IMAP "oauth=g", "without local=: anyone", NULL},
		{"a " IMAP, NULL, NULL},
		{"a " IMAP "local={plain}x", "without a secret for the upstream",
		 "without a secret for the upstream"},
		{"a " IMAP "password_file=/x password={plain}y", "which one is it?",
		 "which one is it?"},
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		bool has_client_ca = i & 1;
		const char *want = has_client_ca ? cases[i / 2].with : cases[i / 2].without;
		struct faults faults = {0};
		struct map *map = load(cases[i / 2].text, has_client_ca, 0600, &faults);
		const char *got = faults.count ? faults.lines[0] : "";
		if (!map != (want != NULL) || (want && !strstr(got, want)))
			fail_msg("%s: %s", cases[i / 2].text, got);
		map_release(map);
		faults_fini(&faults);
	}
}

/* A map that others can read holds no {plain}, be it with a name (B-22). */
static void test_readable_map(void **state)
{
	static const struct {
		const char *text;
		bool is_good;
	} cases[] = {
		{"a " IMAP "password_file=/x local=" KEYS, true},
		{"a " IMAP "password_file=/x local=b:" CRYPT, true},
		{"a " IMAP "password_file=/x local={plain}x", false},
		{"a " IMAP "password_file=/x local=b:{Plain}x", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		struct map *map = load(cases[i].text, false, 0644, &faults);
		if (!map == cases[i].is_good)
			fail_msg("%s", cases[i].text);
		map_release(map);
		faults_fini(&faults);
	}
}

/* An entry's own secrets replace those of its profile, all of them. */
static void test_inherited(void **state)
{
	static const char text[] = "%defaults " IMAP "password_file=/x local=d:{plain}d\n"
				   "%profile p local=p:{plain}p local=q:{plain}q\n"
				   "a\n"
				   "b use=p\n"
				   "c use=p local=c:" KEYS "\n";
	static const struct {
		const char *name;
		size_t count;
		const char *first;
	} cases[] = {{"a", 1, "d:{plain}d"}, {"b", 2, "p:{plain}p"}, {"c", 1, "c:" KEYS}};
	struct faults faults = {0};
	struct map *map = load(text, false, 0600, &faults);

	(void)state;
	faults_print(&faults, stderr);
	assert_non_null(map);
	for (size_t i = 0; i < 3; i++) {
		struct map_target target;
		struct notice why = {""};
		const struct map_entry *entry = map_find(map, cases[i].name);
		assert_int_equal(map_target(map, entry, cases[i].name, &why, &target).kind, 0);
		assert_int_equal(target.locals.count, cases[i].count);
		assert_string_equal(target.locals.value[0], cases[i].first);
		assert_false(target.is_passed_through);
		map_target_fini(&target);
	}
	assert_int_equal(map_abilities(map), MAP_HAS_PLAIN | MAP_HAS_SCRAM_SHA_256 | MAP_HAS_OWN);
	assert_int_equal(map_scram_rounds(map), 4096);
	map_release(map);

	map = load("a " IMAP "password_file=/x local={plain}x\n* " IMAP "\n", false, 0600, &faults);
	assert_non_null(map);
	assert_int_equal(map_abilities(map), MAP_HAS_PLAIN | MAP_HAS_PASS_THROUGH | MAP_HAS_OWN);
	assert_int_equal(map_scram_rounds(map), VERIFY_ROUNDS);
	map_release(map);
	faults_fini(&faults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_argon2),    cmocka_unit_test(test_refused_values),
		cmocka_unit_test(test_prepared),  cmocka_unit_test(test_keys),
		cmocka_unit_test(test_names),     cmocka_unit_test(test_find),
		cmocka_unit_test(test_map),       cmocka_unit_test(test_readable_map),
		cmocka_unit_test(test_inherited),
	};
	return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
