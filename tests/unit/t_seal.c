/* SPDX-License-Identifier: MIT */
/* t_seal.c - what is sealed opens only as it was, where it was, under its key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fake/world.h"
#include "upstream/seal.h"

#define PLACE "token\tjoe\tgoogle"

struct bench {
	struct fake_world world;
	struct token_key *key;
	struct buf sealed, opened;
};

static void bench_begin(struct bench *bench)
{
	static const unsigned char octets[TOKEN_KEY] = "0123456789abcdef0123456789abcdef";

	fake_world_init(&bench->world);
	assert_int_equal(token_key_new(octets, &bench->key).kind, ERR_NONE);
	buf_init(&bench->sealed, 4096);
	buf_init(&bench->opened, 4096);
	bench->opened.is_secret = true;
}

static void bench_end(struct bench *bench)
{
	token_key_free(bench->key);
	buf_fini(&bench->sealed);
	buf_wipe(&bench->opened);
}

static void seal(struct bench *bench, const char *plain)
{
	buf_fini(&bench->sealed);
	assert_int_equal(
		seal_put(bench->key, &bench->world.env, PLACE, plain, strlen(plain), &bench->sealed)
			.kind,
		ERR_NONE);
}

static void test_opens_what_was_sealed(void **state)
{
	static const char *const plains[] = {"", "x",
					     "1//a-refresh-token that is longer than a block"};
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	for (size_t i = 0; i < sizeof plains / sizeof *plains; i++) {
		seal(&bench, plains[i]);
		assert_int_equal(buf_len(&bench.sealed), strlen(plains[i]) + SEAL_EXTRA);
		buf_fini(&bench.opened);
		assert_int_equal(seal_get(bench.key, PLACE, buf_data(&bench.sealed),
					  buf_len(&bench.sealed), &bench.opened)
					 .kind,
				 ERR_NONE);
		assert_int_equal(buf_len(&bench.opened), strlen(plains[i]));
		if (*plains[i])
			assert_memory_equal(buf_data(&bench.opened), plains[i], strlen(plains[i]));
	}
	bench_end(&bench);
}

/* The same text twice is two ciphertexts, and neither shows the text. */
static void test_nonce_is_new(void **state)
{
	char first[128];
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	seal(&bench, "the same token");
	size_t len = buf_len(&bench.sealed);
	memcpy(first, buf_data(&bench.sealed), len);
	assert_null(memmem(first, len, "same", 4));
	seal(&bench, "the same token");
	assert_memory_not_equal(first + 1, buf_data(&bench.sealed) + 1, 12);
	assert_memory_not_equal(first + 13, buf_data(&bench.sealed) + 13, 14);
	bench_end(&bench);
}

static void check_shut(struct bench *bench, const struct token_key *key, const char *place,
		       const void *octets, size_t len)
{
	struct err err = seal_get(key, place, octets, len, &bench->opened);

	assert_int_equal(err.kind, ERR_POLICY);
	assert_int_equal(err.code, EBADMSG);
	assert_int_equal(buf_len(&bench->opened), 0);
}

static void test_every_bit_counts(void **state)
{
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	seal(&bench, "a refresh token");
	unsigned char *octets = (unsigned char *)buf_data(&bench.sealed);
	size_t len = buf_len(&bench.sealed);
	for (size_t bit = 0; bit < len * 8; bit++) {
		octets[bit / 8] ^= (unsigned char)(1u << bit % 8);
		check_shut(&bench, bench.key, PLACE, octets, len);
		octets[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	for (size_t less = 1; less <= len; less++)
		check_shut(&bench, bench.key, PLACE, octets, len - less);
	assert_int_equal(seal_get(bench.key, PLACE, octets, len, &bench.opened).kind, ERR_NONE);
	bench_end(&bench);
}

/* Another account's record put in the place of this one, the same octets under another key. */
static void test_place_and_key_count(void **state)
{
	static const char *const places[] = {"token\tjoe\tmicrosoft", "token\tbob\tgoogle",
					     "token\tjoe\tgoogle\t", "token\tjoe\tgoogl", ""};
	static const unsigned char other_octets[TOKEN_KEY] = "0123456789abcdef0123456789abcdeg";
	struct token_key *other;
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	seal(&bench, "a refresh token");
	for (size_t i = 0; i < sizeof places / sizeof *places; i++)
		check_shut(&bench, bench.key, places[i], buf_data(&bench.sealed),
			   buf_len(&bench.sealed));
	assert_int_equal(token_key_new(other_octets, &other).kind, ERR_NONE);
	check_shut(&bench, other, PLACE, buf_data(&bench.sealed), buf_len(&bench.sealed));
	token_key_free(other);
	bench_end(&bench);
}

static void test_ceiling(void **state)
{
	struct bench bench;
	struct buf small;

	(void)state;
	bench_begin(&bench);
	buf_init(&small, SEAL_EXTRA + 3);
	assert_int_equal(seal_put(bench.key, &bench.world.env, PLACE, "four", 4, &small).kind,
			 ERR_UPSTREAM);
	assert_int_equal(buf_len(&small), 0);
	assert_int_equal(seal_put(bench.key, &bench.world.env, PLACE, "one", 3, &small).kind,
			 ERR_NONE);
	buf_fini(&small);
	bench_end(&bench);
}

/* --- key files ---------------------------------------------------------------------------- */

static void write_file(const char *path, const void *octets, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, octets, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_key_files(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		bool is_credential;
		const char *wrong; /* NULL: it is good, and the key that of bench_begin() */
	} cases[] = {
		{"0123456789abcdef0123456789abcdef", 0600, false, NULL},
		{"0123456789abcdef0123456789abcdef", 0400, false, NULL},
		{"3031323334353637383961626364656630313233343536373839616263646566", 0600, false,
		 NULL},
		{"3031323334353637383961626364656630313233343536373839616263646566\n", 0600, false,
		 NULL},
		{"3031323334353637383961626364656630313233343536373839616263646566\r\n", 0600,
		 false, NULL},
		{"303132333435363738396162636465663031323334353637383961626364656G", 0600, false,
		 "not a key"},
		{"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", 0600, false, NULL},
		{"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n", 0600, false, NULL},
		{"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ==", 0600, false, "not a key"},
		{"0123456789abcdef0123456789abcde", 0600, false, "not a key"},
		{"", 0600, false, "not a key"},
		{"0123456789abcdef0123456789abcdef", 0640, false, "others may read"},
		{"0123456789abcdef0123456789abcdef", 0604, false, "others may read"},
		{"0123456789abcdef0123456789abcdef", 0602, false, "others may read"},
		{"0123456789abcdef0123456789abcdef", 0440, true, NULL},
		{"0123456789abcdef0123456789abcdef", 0460, true, "others may read"},
		{"0123456789abcdef0123456789abcdef", 0444, true, "others may read"},
	};
	char path[] = "/tmp/popgate-t_seal-XXXXXX";
	struct bench bench;

	(void)state;
	bench_begin(&bench);
	seal(&bench, "a token");
	close(mkstemp(path));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct token_key *key;
		struct notice why = {""};
		write_file(path, cases[i].text, strlen(cases[i].text), cases[i].mode);
		struct err err =
			token_key_read(path, geteuid(), cases[i].is_credential, &why, &key);
		if (cases[i].wrong) {
			assert_int_equal(err.kind, ERR_POLICY);
			assert_null(key);
			assert_non_null(strstr(why.text, cases[i].wrong));
			assert_null(strstr(why.text, "0123456789abc")); /* never what is in it */
			continue;
		}
		if (err.kind)
			fail_msg("case %zu: %s", i, why.text);
		buf_fini(&bench.opened);
		assert_int_equal(seal_get(key, PLACE, buf_data(&bench.sealed),
					  buf_len(&bench.sealed), &bench.opened)
					 .kind,
				 ERR_NONE);
		token_key_free(key);
	}
	unlink(path);
	struct token_key *key;
	struct notice why = {""};
	assert_int_equal(token_key_read(path, geteuid(), false, &why, &key).kind, ERR_POLICY);
	assert_non_null(strstr(why.text, "No such file"));
	assert_int_equal(token_key_read("/", geteuid(), false, &why, &key).kind, ERR_POLICY);
	bench_end(&bench);
}

/* A key that somebody else owns is somebody else's to change. */
static void test_key_owner(void **state)
{
	static const char octets[] = "0123456789abcdef0123456789abcdef";
	char path[] = "/tmp/popgate-t_seal-XXXXXX";
	struct token_key *key;
	struct notice why = {""};

	(void)state;
	if (geteuid() != 0)
		skip();
	close(mkstemp(path));
	write_file(path, octets, TOKEN_KEY, 0600);
	assert_int_equal(chown(path, 12345, 12345), 0);
	assert_int_equal(token_key_read(path, 0, false, &why, &key).kind, ERR_POLICY);
	assert_non_null(strstr(why.text, "somebody else"));
	assert_int_equal(token_key_read(path, 12345, false, &why, &key).kind, ERR_NONE);
	token_key_free(key);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opens_what_was_sealed),
		cmocka_unit_test(test_nonce_is_new),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_place_and_key_count),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_key_files),
		cmocka_unit_test(test_key_owner),
	};

	return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
