/* SPDX-License-Identifier: MIT */
/* t_oauth_http.c - what libcurl is told of a request: whom to trust, where to go and nowhere else.
 *
 * The two functions of libcurl that matter stand here and come before its own; nothing leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "upstream/oauth.h"

#undef curl_easy_setopt

enum { SEEN = 64 };

/* libcurl's functions have no place for an argument of ours. */
static struct {
	CURLoption option;
	const void *text; /* of those that are one */
	long number;
} seen[SEEN];
static size_t count;

static bool is_number(CURLoption option)
{
	return (int)option < CURLOPTTYPE_OBJECTPOINT;
}

CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
	va_list ap;

	(void)curl;
	assert_true(count < SEEN);
	seen[count].option = option;
	va_start(ap, option);
	if (is_number(option))
		seen[count].number = va_arg(ap, long);
	else if ((int)option < CURLOPTTYPE_FUNCTIONPOINT)
		seen[count].text = va_arg(ap, const void *);
	va_end(ap);
	count++;
	return CURLE_OK;
}

CURLcode curl_easy_perform(CURL *curl)
{
	(void)curl;
	return CURLE_COULDNT_CONNECT;
}

/* Its place among what was set, the last that counts; `count`: it was not. */
static size_t find(CURLoption option)
{
	for (size_t i = count; i > 0; i--)
		if (seen[i - 1].option == option)
			return i - 1;
	return count;
}

static void ask(const char *ca_file)
{
	struct notice why = {""};
	struct buf form, answer;
	const struct oauth_post post = {
		.url = "https://id.example/token", .ca_file = ca_file, .form = &form};
	long status;

	count = 0;
	buf_init(&form, 16);
	buf_init(&answer, 16);
	assert_int_equal(oauth_http.post(&oauth_http, &post, &status, &answer, &why).kind,
			 ERR_UPSTREAM);
	buf_fini(&form);
	buf_fini(&answer);
}

/* A profile's authorities are in place of the system's, the directory of these included (B-13). */
static void test_authorities(void **state)
{
	(void)state;
	ask("/etc/popgate/ca.pem");
	assert_string_equal(seen[find(CURLOPT_CAINFO)].text, "/etc/popgate/ca.pem");
	assert_true(find(CURLOPT_CAPATH) < count);
	assert_null(seen[find(CURLOPT_CAPATH)].text);
	ask(NULL);
	assert_int_equal(find(CURLOPT_CAINFO), count);
	assert_int_equal(find(CURLOPT_CAPATH), count);
}

static void test_whatever_the_environment_says(void **state)
{
	static const struct {
		CURLoption option;
		long number;
	} numbers[] = {
		{CURLOPT_SSL_VERIFYPEER, 1},
		{CURLOPT_SSL_VERIFYHOST, 2},
		{CURLOPT_FOLLOWLOCATION, 0},
		{CURLOPT_NETRC, CURL_NETRC_IGNORED},
		{CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
		{CURLOPT_CONNECTTIMEOUT, OAUTH_CONNECT_S},
		{CURLOPT_TIMEOUT, OAUTH_TOTAL_S},
	};

	(void)state;
	ask(NULL);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		assert_true(find(numbers[i].option) < count);
		assert_int_equal(seen[find(numbers[i].option)].number, numbers[i].number);
	}
	assert_string_equal(seen[find(CURLOPT_PROTOCOLS_STR)].text, "https");
	assert_string_equal(seen[find(CURLOPT_PROXY)].text, "");
	assert_string_equal(seen[find(CURLOPT_URL)].text, "https://id.example/token");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_authorities),
		cmocka_unit_test(test_whatever_the_environment_says),
	};

	if (!oauth_begin())
		return 1;
	return cmocka_run_group_tests_name("oauth_http", tests, NULL, NULL);
}
