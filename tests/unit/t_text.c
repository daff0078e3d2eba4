/* SPDX-License-Identifier: MIT */
/* t_text.c - numbers, comparison, printable text, base64, distance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/text.h"

static void test_decimal(void **state)
{
	static const struct {
		uint64_t number;
		const char *digits;
	} cases[] = {{0, "0"},
		     {9, "9"},
		     {10, "10"},
		     {4294967295u, "4294967295"},
		     {UINT64_MAX, "18446744073709551615"}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char digits[TEXT_DIGITS + 1] = {0};
		assert_int_equal(text_decimal(digits, cases[i].number), strlen(cases[i].digits));
		assert_string_equal(digits, cases[i].digits);
	}
	/* At each power of ten, and around it. */
	for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10)
		for (uint64_t number = power - 1; number <= power + 1; number++) {
			char digits[TEXT_DIGITS + 1] = {0}, expected[TEXT_DIGITS + 1];
			snprintf(expected, sizeof expected, "%" PRIu64, number);
			assert_int_equal(text_decimal(digits, number), strlen(expected));
			assert_string_equal(digits, expected);
		}
}

static void test_number(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool good;
		uint64_t value;
	} cases[] = {
		{"0", UINT64_MAX, true, 0},
		{"0", 0, true, 0},
		{"7", 7, true, 7},
		{"7", 5, false, 0}, /* a digit above the bound must not pass below zero */
		{"9", 8, false, 0},
		{"1", 0, false, 0},
		{"10", 9, false, 0},
		{"10", 10, true, 10},
		{"007", 10, true, 7},
		{"4294967295", UINT32_MAX, true, 4294967295u},
		{"4294967296", UINT32_MAX, false, 0},
		{"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
		{"18446744073709551616", UINT64_MAX, false, 0},
		{"18446744073709551617", UINT64_MAX, false, 0},
		{"99999999999999999999", UINT64_MAX, false, 0},
		{"184467440737095516150", UINT64_MAX, false, 0},
		{"", 10, false, 0},
		{" 1", 10, false, 0},
		{"1 ", 10, false, 0},
		{"-1", 10, false, 0},
		{"+1", 10, false, 0},
		{"1a", 10, false, 0},
		{"0x1", 10, false, 0},
		{"\xb2", 10, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t value = 12345;
		assert_int_equal(
			text_number(cases[i].text, strlen(cases[i].text), cases[i].max, &value),
			cases[i].good);
		assert_int_equal(value, cases[i].good ? cases[i].value : 12345);
	}
	uint64_t value;
	assert_false(text_number("1\0", 2, 10, &value));
	for (uint64_t max = 0; max < 130; max++)
		for (unsigned n = 0; n < 150; n++) {
			char digits[3] = {(char)('0' + n / 100), (char)('0' + n / 10 % 10),
					  (char)('0' + n % 10)};
			assert_int_equal(text_number(digits, 3, max, &value), n <= max);
		}
}

static void test_same(void **state)
{
	(void)state;
	assert_true(text_same("", ""));
	assert_true(text_same("rEtR", "RETR"));
	assert_false(text_same("RETR", "RETR "));
	assert_false(text_same("[", "{")); /* 0x5b and 0x7b: no letters */
	assert_false(text_same("@", "`"));
	assert_false(text_same("\xc4", "\xe4"));
	assert_true(text_same_n("QUITx", 4, "quity", 4));
	assert_false(text_same_n("QUIT", 4, "QUI", 3));
	assert_true(text_same_n("a\0B", 3, "A\0b", 3));
	assert_false(text_same_n("a\0B", 3, "A\0c", 3));
	char text[] = "AbZ[@\xc4";
	text_lower(text);
	assert_string_equal(text, "abz[@\xc4");
}

static void test_same_secret(void **state)
{
	(void)state;
	assert_true(text_same_secret("", 0, "", 0));
	assert_false(text_same_secret("a", 1, "", 0));
	assert_false(text_same_secret("", 0, "a", 1));
	assert_true(text_same_secret("a\0b", 3, "a\0b", 3));
	assert_false(text_same_secret("a\0b", 3, "a\0c", 3));
	assert_false(text_same_secret("aa", 2, "a", 1)); /* not the repeated shorter one */
	assert_false(text_same_secret("a", 1, "aa", 2));
	assert_false(text_same_secret("A", 1, "a", 1));
}

static void test_printable(void **state)
{
	static const struct {
		const char *raw, *with, *without;
	} cases[] = {
		{"plain", "plain", "plain"},       {"[ALERT] x", "[ALERT] x", "(ALERT) x"},
		{"a\r\nb\tc", "a  b c", "a  b c"}, {"\x1b[2J\x7f\x01", "?[2J??", "?(2J??"},
		{"p\xc3\xa4", "p??", "p??"},       {"", "", ""},
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t len = strlen(cases[i].raw);
		assert_int_equal(text_printable(out, sizeof out, cases[i].raw, len, true),
				 strlen(cases[i].with));
		assert_string_equal(out, cases[i].with);
		text_printable(out, sizeof out, cases[i].raw, len, false);
		assert_string_equal(out, cases[i].without);
	}
	assert_int_equal(text_printable(out, 4, "abcdef", 6, true), 3);
	assert_string_equal(out, "abc");
	assert_int_equal(text_printable(out, 1, "abc", 3, true), 0);
	assert_string_equal(out, "");
	out[0] = 'x';
	assert_int_equal(text_printable(out, 0, "abc", 3, true), 0);
	assert_int_equal(out[0], 'x');
	assert_int_equal(text_printable(out, sizeof out, "a\0b", 3, true), 3);
	assert_string_equal(out, "a?b");
}

static void test_base64(void **state)
{
	static const char *const pairs[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
	};
	char text[16], back[16];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		text_base64(text, pairs[i][0], strlen(pairs[i][0]));
		assert_string_equal(text, pairs[i][1]);
		assert_int_equal(text_base64_len(strlen(pairs[i][0])), strlen(text));
		assert_true(text_unbase64(back, &len, text, strlen(text)));
		assert_int_equal(len, strlen(pairs[i][0]));
		assert_memory_equal(back, pairs[i][0], len);
	}
	unsigned char all[256];
	char long_text[345], long_back[258];
	for (size_t i = 0; i < 256; i++)
		all[i] = (unsigned char)(255 - i);
	for (size_t n = 250; n <= 256; n++) {
		text_base64(long_text, all, n);
		assert_true(text_unbase64(long_back, &len, long_text, strlen(long_text)));
		assert_int_equal(len, n);
		assert_memory_equal(long_back, all, n);
	}
}

/* J-01: anything but strict canonical base64 is refused. */
static void test_base64_refused(void **state)
{
	static const char *const bad[] = {
		"A",        "AA",       "AAA",   "AAAAA", "=",          "==",       "===",
		"====",     "A===",     "AA=A",  "A=AA",  "=AAA",       "AA==AAAA", "AAA=AAAA",
		"AAAA====", "AA==AA==", "AAAA=", " AAA",  "AAA ",       "AA A",     "AAAA\r\n",
		"AA\nA",    "AA-A",     "AA_A",  "AA*A",  "AA\xc3\xa4", "Zh==",     "Zm9=",
		"AB==",     "AAB=",     "Zg=\t", "Z===",  "AA=\x80",    "*",
	};
	char out[16];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(text_unbase64(out, &len, bad[i], strlen(bad[i])));
	assert_false(text_unbase64(out, &len, "AA\0A", 4));
	assert_false(text_unbase64(out, &len, "\0\0\0\0", 4));
}

static void test_distance(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} cases[] = {
		{"", "", 0},
		{"map", "map", 0},
		{"map", "MAP", 0},
		{"map", "mpa", 2},
		{"map", "maps", 1},
		{"address", "adress", 1},
		{"listener", "lisener", 1},
		{"a", "", 1},
		{"", "abcd", 3},
		{"state", "stale", 1},
		{"user", "cert", 3},
		{"01234567890123456789012345678901", "01234567890123456789012345678901", 3},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(text_distance(cases[i].a, cases[i].b), cases[i].distance);
		assert_int_equal(text_distance(cases[i].b, cases[i].a), cases[i].distance);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decimal),        cmocka_unit_test(test_number),
		cmocka_unit_test(test_same),           cmocka_unit_test(test_same_secret),
		cmocka_unit_test(test_printable),      cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_refused), cmocka_unit_test(test_distance),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
