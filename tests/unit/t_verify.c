/* SPDX-License-Identifier: MIT */
/* t_verify.c - local passwords by every scheme, and where the secrets for upstream come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <crypt.h>
#include <sys/stat.h>

#include "proxy/base/mem.h"
#include "proxy/secret.h"
#include "proxy/local.h"
#include "proxy/verify.h"

/* --- local= ------------------------------------------------------------------------------- */

/* Made by others: openssl passwd, RFC 7677 section 3. */
static const struct {
	const char *local, *password;
} known[] = {
	{"{plain}pencil", "pencil"},
	{"{PLAIN}}{ \"", "}{ \""},
	{"{md5-crypt}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "password"},
	{"{sha256-crypt}$5$saltsalt$gOjOtoMpVhru2uyjeJSEc/JaLQWOXMNmlOnj6T4AtC.", "password"},
	{"{SHA512-CRYPT}$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq."
	 "qc.eoxqOmSuNp2xS0ktL3nh/",
	 "password"},
	{"{scram-sha-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
	 ","
	 "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
	 "pencil"},
};

static void test_known(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		const char *reason = verify_refusal(known[i].local);
		if (reason)
			fail_msg("%s: %s", known[i].local, reason);
		if (!verify_password(known[i].local, known[i].password))
			fail_msg("%s", known[i].local);
		assert_false(verify_password(known[i].local, "wrong"));
		assert_false(verify_password(known[i].local, ""));
	}
}

/* Whatever crypt(3) of this system makes is taken under its own name and as {crypt}, and under no
 * other name. */
static void test_crypt(void **state)
{
	static const struct {
		const char *scheme, *prefix;
		unsigned long count;
	} cases[] = {
		{"yescrypt", "$y$", 1},        {"gost-yescrypt", "$gy$", 1},
		{"scrypt", "$7$", 6},          {"bcrypt", "$2b$", 4},
		{"sha512-crypt", "$6$", 1000}, {"sha256-crypt", "$5$", 1000},
		{"sha1-crypt", "$sha1", 10},   {"md5-crypt", "$1$", 0},
	};
	enum { CASES = sizeof cases / sizeof *cases };

	(void)state;
	for (size_t i = 0; i < CASES; i++) {
		char setting[CRYPT_GENSALT_OUTPUT_SIZE], local[256];
		struct crypt_data *data = mem_alloc(sizeof *data);
		assert_non_null(crypt_gensalt_rn(cases[i].prefix, cases[i].count, NULL, 0, setting,
						 sizeof setting));
		char *made = text_dup(crypt_r("p\xc3\xa4ss word", setting, data));
		assert_non_null(made);
		free(data);
		for (size_t k = 0; k < CASES; k++) {
			snprintf(local, sizeof local, "{%s}%s", cases[k].scheme, made);
			if (!verify_refusal(local) != (i == k))
				fail_msg("%s", local);
		}
		snprintf(local, sizeof local, "{%s}%s", cases[i].scheme, made);
		if (!verify_password(local, "p\xc3\xa4ss word") ||
		    verify_password(local, "pass word"))
			fail_msg("%s", local);
		snprintf(local, sizeof local, "{crypt}%s", made);
		assert_null(verify_refusal(local));
		assert_true(verify_password(local, "p\xc3\xa4ss word"));
		/* One octet less, one more: never a value that could be right. */
		snprintf(local, sizeof local, "{%s}%.*s", cases[i].scheme, (int)strlen(made) - 1,
			 made);
		assert_non_null(verify_refusal(local));
		snprintf(local, sizeof local, "{%s}%sx", cases[i].scheme, made);
		assert_non_null(verify_refusal(local));
		/* A setting without a hash, as if someone had pasted half of it. */
		snprintf(local, sizeof local, "{%s}%s", cases[i].scheme, setting);
		assert_non_null(verify_refusal(local));
		free(made);
	}
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"secret",
		"{plain}",
		"{plain",
		"plain}x",
		"{}x",
		"{unknown}x",
		"{yescrypt}",
		"{crypt}*",
		"{crypt}!locked",
		"{crypt}x",
		"{crypt}$9$nothing$aaaaaaaaaaaaaaaaaaaaaaaa",
		"{md5-crypt}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK:",
		"{scram-sha-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==",
		"{scram-sha-256}4095,W22ZaJ0SNY7soEsUEjb6gQ==,"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"{scram-sha-256}4096,,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"{scram-sha-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=,",
		"{scram-sha-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d,wfPL",
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (!verify_refusal(cases[i]))
			fail_msg("taken: %s", cases[i]);
		assert_false(verify_password(cases[i], "x"));
	}
}

static void test_make(void **state)
{
	(void)state;
	for (int scram = 0; scram < 2; scram++) {
		char *one = verify_make_dup("correct horse", scram), *two;
		assert_non_null(one);
		assert_null(verify_refusal(one));
		assert_true(verify_password(one, "correct horse"));
		assert_false(verify_password(one, "correct horsf"));
		assert_non_null(two = verify_make_dup("correct horse", scram));
		assert_string_not_equal(one, two);
		assert_int_equal(
			strncmp(one, scram ? "{scram-sha-256}" : "{yescrypt}$y$", scram ? 15 : 13),
			0);
		text_wipe_free(one);
		text_wipe_free(two);
	}
}

static double cpu_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The dummy works as hard as the real thing, and so does the refusal of a {plain} one (B-05). */
static void test_dummy(void **state)
{
	static char long_one[2000];
	const struct local_list plain = {{"{plain}x"}, 1};
	char *local = verify_make_dup("x", false);
	double least[4] = {1e9, 1e9, 1e9, 1e9};

	(void)state;
	memset(long_one, 'a', sizeof long_one - 1);
	for (int i = 0; i < 5; i++) {
		double at[5] = {cpu_s()};
		assert_false(verify_password(local, "y"));
		at[1] = cpu_s();
		assert_false(verify_dummy("y"));
		at[2] = cpu_s();
		assert_int_equal(local_find_password(&plain, "y"), -1);
		at[3] = cpu_s();
		assert_false(verify_dummy(long_one));
		at[4] = cpu_s();
		for (int k = 0; k < 4; k++)
			if (at[k + 1] - at[k] < least[k])
				least[k] = at[k + 1] - at[k];
	}
	for (int k = 1; k < 4; k++)
		if (least[k] < least[0] / 2 || least[k] > least[0] * 2)
			fail_msg("%d: %.4f s and not %.4f s", k, least[k], least[0]);
	text_wipe_free(local);
}

/* --- secrets for upstream ----------------------------------------------------------------- */

static char dir[] = "/tmp/t_verify.XXXXXX";

static const char *put(const char *name, const char *octets, size_t len, mode_t mode, char path[64])
{
	snprintf(path, 64, "%s/%s", dir, name);
	FILE *to = fopen(path, "w");
	assert_non_null(to);
	assert_int_equal(fwrite(octets, 1, len, to), len);
	fclose(to);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static void assert_secret(const struct map_target *target, const char *want, enum err_kind kind)
{
	struct notice why = {""};
	char *got = (char *)&why;
	struct err err = secret_read(target, &why, &got);

	if (err.kind != kind)
		fail_msg("kind %d and not %d: %s", err.kind, kind, why.text);
	if (want) {
		assert_string_equal(got, want);
	} else {
		assert_null(got);
		assert_true(*why.text);
		assert_null(strstr(why.text, "hush"));
	}
	text_wipe_free(got);
}

static void test_file(void **state)
{
	static const struct {
		const char *octets;
		size_t len;
		mode_t mode;
		const char *want;
		enum err_kind kind;
	} cases[] = {
		{"hush", 4, 0600, "hush", ERR_NONE},
		{"hush\n", 5, 0640, "hush", ERR_NONE},
		{"hush\r\nmore\n", 11, 0400, "hush", ERR_NONE},
		{" hush \n", 7, 0600, " hush ", ERR_NONE},
		{"hush", 4, 0644, NULL, ERR_POLICY},
		{"hush", 4, 0604, NULL, ERR_POLICY},
		{"hush", 4, 0620, NULL, ERR_POLICY},
		{"", 0, 0600, NULL, ERR_POLICY},
		{"\nhush\n", 6, 0600, NULL, ERR_POLICY},
		{"hu\0sh\n", 6, 0600, NULL, ERR_POLICY},
	};
	char path[64];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct map_target target = {.password_file = path};
		put("secret", cases[i].octets, cases[i].len, cases[i].mode, path);
		assert_secret(&target, cases[i].want, cases[i].kind);
	}
	struct map_target target = {.password_file = "/nowhere/at/all"};
	assert_secret(&target, NULL, ERR_UPSTREAM);
	target.password_file = dir;
	assert_secret(&target, NULL, ERR_UPSTREAM);
	target = (struct map_target){.password = "hush"};
	assert_secret(&target, "hush", ERR_NONE);
	target = (struct map_target){0};
	assert_secret(&target, NULL, ERR_POLICY);
}

static void test_credential(void **state)
{
	struct map_target target = {.password_cred = "cred"};
	char path[64];

	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_secret(&target, NULL, ERR_POLICY);
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	assert_secret(&target, NULL, ERR_UPSTREAM);
	put("cred", "hush\n", 5, 0400, path);
	assert_secret(&target, "hush", ERR_NONE);
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void test_command(void **state)
{
	static const struct {
		const char *command, *want;
		enum err_kind kind;
	} cases[] = {
		{"/bin/echo hush", "hush", ERR_NONE},
		{"/bin/echo  two \t words", "two words", ERR_NONE},
		{"/bin/echo $HOME;`id`|x", "$HOME;`id`|x", ERR_NONE}, /* no shell */
		{"/usr/bin/printf hush\\nmore\\n", "hush", ERR_NONE},
		{"/bin/cat", NULL, ERR_POLICY}, /* its input is empty */
		{"/bin/false hush", NULL, ERR_UPSTREAM},
		{"/nowhere/at/all", NULL, ERR_UPSTREAM},
		{"/bin/cat /dev/zero", NULL, ERR_UPSTREAM},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct map_target target = {.password_cmd = cases[i].command};
		assert_secret(&target, cases[i].want, cases[i].kind);
	}
	char many[256] = "/bin/echo";
	for (int i = 0; i < 70; i++)
		strcat(many, " x");
	struct map_target target = {.password_cmd = many};
	assert_secret(&target, NULL, ERR_POLICY);
}

/* One that hangs is ended, and so is what it has started. */
static void test_hanging_command(void **state)
{
	static const char *const commands[] = {"/bin/sleep 3600",
					       "/usr/bin/timeout 3600 /bin/sleep 3600"};
	struct timespec from, to;

	(void)state;
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		struct notice why = {""};
		char *got;
		clock_gettime(CLOCK_MONOTONIC, &from);
		assert_int_equal(secret_command(commands[i], 1, &why, &got).kind, ERR_UPSTREAM);
		clock_gettime(CLOCK_MONOTONIC, &to);
		assert_null(got);
		assert_non_null(strstr(why.text, "not done after 1 second"));
		assert_in_range(to.tv_sec - from.tv_sec, 0, 4);
	}
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),           cmocka_unit_test(test_crypt),
		cmocka_unit_test(test_refused),         cmocka_unit_test(test_make),
		cmocka_unit_test(test_dummy),           cmocka_unit_test(test_file),
		cmocka_unit_test(test_credential),      cmocka_unit_test(test_command),
		cmocka_unit_test(test_hanging_command),
	};

	return cmocka_run_group_tests_name("verify", tests, make_dir, remove_dir);
}
