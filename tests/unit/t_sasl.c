/* SPDX-License-Identifier: MIT */
/* t_sasl.c - exchanges over a canned client: good ones, and all that is wrong with base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "session/sasl.h"
#include "tests/fake/canned.h"

/* RFC 2195 section 2 */
#define STAMP "<1896.697170952@postoffice.reston.mci.net>"
#define STAMPED "+ PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n"

struct exchange_case {
	const char *mechanism, *initial;
	const char *input; /* the client's lines */
	const char *output;
	enum err_kind kind;
	int code;
	const char *name, *password;
};

static void run(const struct exchange_case *c, size_t chunk)
{
	struct canned canned;
	struct sasl_claim claim;
	const struct sasl_mechanism *mechanism = sasl_find(c->mechanism, strlen(c->mechanism));

	assert_non_null(mechanism);
	canned_init(&canned, ERR_CLIENT, c->input, strlen(c->input));
	canned.chunk = chunk;
	struct err err = sasl_run(mechanism, &canned.stream, c->initial, STAMP, &claim);
	assert_int_equal(stream_flush(&canned.stream).kind, ERR_NONE);
	if (err.kind != c->kind)
		fail_msg("%s %s: %s", c->mechanism, c->initial ? c->initial : c->input, err.what);
	if (c->code)
		assert_int_equal(err.code, c->code);
	if (c->name) {
		assert_string_equal(claim.name, c->name);
		assert_string_equal(claim.password, c->password);
	} else {
		assert_null(claim.name);
		assert_null(claim.password);
	}
	if (c->output)
		assert_string_equal(canned_output(&canned), c->output);
	sasl_claim_fini(&claim);
	canned_fini(&canned);
}

#define USERNAME "+ VXNlcm5hbWU6\r\n"
#define PASSWORD "+ UGFzc3dvcmQ6\r\n"
static const struct exchange_case cases[] = {
	/* \0joe\0secret */
	{"PLAIN", "AGpvZQBzZWNyZXQ=", "", "", ERR_NONE, 0, "joe", "secret"},
	{"plain", NULL, "AGpvZQBzZWNyZXQ=\r\n", "+ \r\n", ERR_NONE, 0, "joe", "secret"},
	{"PLAIN", NULL, "AGpvZQBzZWNyZXQ=\n", "+ \r\n", ERR_NONE, 0, "joe", "secret"},
	/* joe\0joe\0secret, ann\0joe\0secret */
	{"PLAIN", "am9lAGpvZQBzZWNyZXQ=", "", "", ERR_NONE, 0, "joe", "secret"},
	{"PLAIN", "YW5uAGpvZQBzZWNyZXQ=", "", "", ERR_LOGIN, 0, NULL, NULL},
	/* no NUL, one, three: joe, joe\0secret, \0joe\0secret\0, \0joe\0sec\0ret */
	{"PLAIN", "am9l", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"PLAIN", "am9lAHNlY3JldA==", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"PLAIN", "AGpvZQBzZWNyZXQA", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"PLAIN", "AGpvZQBzZWMAcmV0", "", "", ERR_LOGIN, 0, NULL, NULL},
	/* empty message, \0\0, \0joe\0, \0\0secret */
	{"PLAIN", "=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"PLAIN", NULL, "\r\n", "+ \r\n", ERR_LOGIN, 0, NULL, NULL},
	{"PLAIN", "AAA=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"PLAIN", "AGpvZQA=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"PLAIN", "AABzZWNyZXQ=", "", "", ERR_LOGIN, 0, NULL, NULL},
	/* \0joe\0x"\r\na1 DELETE INBOX\r\n; \0jo\ne\0secret */
	{"PLAIN", "AGpvZQB4Ig0KYTEgREVMRVRFIElOQk9YDQo=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"PLAIN", "AGpvCmUAc2VjcmV0", "", "", ERR_LOGIN, 0, NULL, NULL},
	/* \0joe\0 p w\t  and 8-bit octets: exactly as they are */
	{"PLAIN", "AGpvZQAgcCB3CSA=", "", "", ERR_NONE, 0, "joe", " p w\t "},
	{"PLAIN", "AGrDtmUAcMOkc3M=", "", "", ERR_NONE, 0, "j\303\266e", "p\xc3\xa4ss"},
	{"PLAIN", NULL, "*\r\n", "+ \r\n", ERR_REFUSED, ECANCELED, NULL, NULL},
	{"PLAIN", NULL, "=\r\n", "+ \r\n", ERR_REFUSED, EINVAL, NULL, NULL},
	{"PLAIN", NULL, "AGpvZQBzZWNyZXQ=", "+ \r\n", ERR_CLIENT, ENODATA, NULL, NULL},
	{"PLAIN", NULL, "", "+ \r\n", ERR_CLIENT, ENODATA, NULL, NULL},
	{"LOGIN", NULL, "am9l\r\nc2VjcmV0\r\n", USERNAME PASSWORD, ERR_NONE, 0, "joe", "secret"},
	{"login", "am9l", "c2VjcmV0\r\n", PASSWORD, ERR_NONE, 0, "joe", "secret"},
	{"LOGIN", "=", "c2VjcmV0\r\n", PASSWORD, ERR_LOGIN, 0, NULL, NULL},
	{"LOGIN", NULL, "am9l\r\n\r\n", USERNAME PASSWORD, ERR_LOGIN, 0, NULL, NULL},
	{"LOGIN", NULL, "am9l\r\n*\r\n", USERNAME PASSWORD, ERR_REFUSED, ECANCELED, NULL, NULL},
	{"LOGIN", NULL, "*\r\n", USERNAME, ERR_REFUSED, ECANCELED, NULL, NULL},
	{"LOGIN", NULL, "am9l\r\nsecret!\r\n", USERNAME PASSWORD, ERR_REFUSED, EINVAL, NULL, NULL},
	{"LOGIN", NULL, "am9l\r\n", USERNAME PASSWORD, ERR_CLIENT, ENODATA, NULL, NULL},
	/* NUL, LF inside */
	{"LOGIN", NULL, "am8AZQ==\r\nc2VjcmV0\r\n", NULL, ERR_LOGIN, 0, NULL, NULL},
	{"LOGIN", NULL, "am9l\r\nc2VjCnJldA==\r\n", NULL, ERR_LOGIN, 0, NULL, NULL},
	/* RFC 2195 section 2 */
	{"CRAM-MD5", NULL, "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n", STAMPED,
	 ERR_NONE, 0, "tim", "b913a602c7eda7a495b4e6e7334d3890"},
	{"CRAM-MD5", NULL, "dGltIGEgYiBiOTEzYTYwMmM3ZWRhN2E0OTViNGU2ZTczMzRkMzg5MA==\r\n", STAMPED,
	 ERR_NONE, 0, "tim a b", "b913a602c7eda7a495b4e6e7334d3890"},
	{"CRAM-MD5", NULL, "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODk=\r\n", STAMPED,
	 ERR_LOGIN, 0, NULL, NULL},
	{"CRAM-MD5", NULL, "dGltIHhiMTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n", STAMPED,
	 ERR_LOGIN, 0, NULL, NULL},
	{"CRAM-MD5", NULL, "YjkxM2E2MDJjN2VkYTdhNDk1YjRlNmU3MzM0ZDM4OTA=\r\n", STAMPED, ERR_LOGIN,
	 0, NULL, NULL},
	{"CRAM-MD5", NULL, "dABtIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n", STAMPED,
	 ERR_LOGIN, 0, NULL, NULL},
	/* the server begins (J-02) */
	{"CRAM-MD5", "Zm9v", "", "", ERR_REFUSED, EINVAL, NULL, NULL},
	{"CRAM-MD5", "=", "", "", ERR_REFUSED, EINVAL, NULL, NULL},
	/* as Google has it; in one step and in two */
	{"XOAUTH2",
	 "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB2RjlkZnQ0cW1UYzJOdmIzUmxja0JoZEhSaGRtb"
	 "HpkR0V1WTI5dENnPT0BAQ==",
	 "", "", ERR_NONE, 0, "someuser@example.com", "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg=="},
	{"XOAUTH2", NULL,
	 "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB2RjlkZnQ0cW1UYzJOdmIzUmxja0JoZEhSaGRtb"
	 "HpkR0V1WTI5dENnPT0BAQ==\r\n",
	 "+ \r\n", ERR_NONE, 0, "someuser@example.com",
	 "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg=="},
	{"XOAUTH2", "dXNlcj1hAWF1dGg9QmVhcmVyIHgB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "dXNlcj1hAWF1dGg9QmFzaWMgeAEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "dXNlcj1hAWF1dGg9QmVhcmVyIAEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "dXNlcj1hAWF1dGg9QmVhcmVyIHggeQEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "dXNlcj1hAQE=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "YXV0aD1CZWFyZXIgeAEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "dXNlcj0BYXV0aD1CZWFyZXIgeAEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "dXNlcj1hAWF1dGg9QmVhcmVyIHgBYXV0aD1CZWFyZXIgeQEB", "", "", ERR_LOGIN, 0, NULL,
	 NULL},
	{"XOAUTH2", "dXNlcj1hAWF1dGg9QmVhcmVyIHgBAXo=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "dXNlcj1hAAFhdXRoPUJlYXJlciB4AQE=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"XOAUTH2", "dXNlcj1hAWF1dGg9QmVhcmVyIHgNCgEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	/* RFC 7628 section 4.1 */
	{"OAUTHBEARER",
	 "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
	 "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
	 "", "", ERR_NONE, 0, "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="},
	{"OAUTHBEARER", "eSwsAWF1dGg9YmVhcmVyIHgBAQ==", "", "", ERR_NONE, 0, "", "x"},
	{"OAUTHBEARER", "bixhPWE9MkNiPTNEYywBYXV0aD1CZWFyZXIgeAEB", "", "", ERR_NONE, 0, "a,b=c",
	 "x"},
	{"OAUTHBEARER", "cD10bHMtdW5pcXVlLCwBYXV0aD1CZWFyZXIgeAEB", "", "", ERR_LOGIN, 0, NULL,
	 NULL},
	{"OAUTHBEARER", "bixhPWE9MmNiLAFhdXRoPUJlYXJlciB4AQE=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"OAUTHBEARER", "bixhPWEsYiwBYXV0aD1CZWFyZXIgeAEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"OAUTHBEARER", "biwBYXV0aD1CZWFyZXIgeAEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"OAUTHBEARER", "bixhPWEsAQE=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"OAUTHBEARER", "bixhPWEsYXV0aD1CZWFyZXIgeAEB", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"OAUTHBEARER", "AQ==", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"EXTERNAL", "=", "", "", ERR_NONE, 0, "", ""},
	{"EXTERNAL", NULL, "\r\n", "+ \r\n", ERR_NONE, 0, "", ""},
	{"EXTERNAL", "am9l", "", "", ERR_NONE, 0, "joe", ""},
	{"EXTERNAL", "agBl", "", "", ERR_LOGIN, 0, NULL, NULL},
	/* RFC 5802 section 5, RFC 7677 section 3 */
	{"SCRAM-SHA-1", "biwsbj11c2VyLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3hkYXdM", "", "", ERR_NONE, 0,
	 "user", ""},
	{"SCRAM-SHA-256", NULL, "biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=\r\n", "+ \r\n",
	 ERR_NONE, 0, "user", ""},
	{"SCRAM-SHA-256-PLUS", "cD10bHMtZXhwb3J0ZXIsLG49YT0yQ2Iscj14", "", "", ERR_NONE, 0, "a,b",
	 ""},
	{"SCRAM-SHA-256", "eSxhPWpvZSxuPWpvZSxyPXg=", "", "", ERR_NONE, 0, "joe", ""},
	{"SCRAM-SHA-256", "=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"SCRAM-SHA-256", "biws", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"SCRAM-SHA-256", "biwscj14", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"SCRAM-SHA-256", "biwsbj0scj14", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"SCRAM-SHA-256", "bixhPWFubixuPWpvZSxyPXg=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"SCRAM-SHA-256", "biwsbj1hPTJjLHI9eA==", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"SCRAM-SHA-256", "biwsbj1qb2U=", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"SCRAM-SHA-256", "biwsbj1qAGUscj14", "", "", ERR_LOGIN, 0, NULL, NULL},
	{"SCRAM-SHA-256", "biwsbj1qCmUscj14", "", "", ERR_LOGIN, 0, NULL, NULL},
};

static void test_exchanges(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		run(&cases[i], 0);
		run(&cases[i], 1);
	}
}

static const char *const bad_base64[] = {
	"A",
	"AA",
	"AAA",
	"AAAAA",
	"A===",
	"=AAA",
	"==AA",
	"A=AA",
	"AA=A",
	"====",
	"AAAA=",
	"AAAA==",
	"AAAA====",
	"AB==",
	"AAB=",
	"AA==AAAA",
	"AA= ",
	" AAA",
	"AAA ",
	"AA AA",
	"AAA\t",
	"A-AA",
	"A_AA",
	"AAA!",
	"AAA.",
	"AAA*",
	"**",
	"AAAA\rAAA",
	"\303\244AA",
	"AGpvZQBzZWNyZXQ",
	"AGpvZQBzZWNyZXR=",
	"AGpvZQBzZWNyZXQ==",
	"AGpv ZQBzZWNyZXQ=",
};

static void test_malformed_base64(void **state)
{
	(void)state;
	assert_true(sizeof bad_base64 / sizeof *bad_base64 >= 30);
	for (size_t i = 0; i < sizeof bad_base64 / sizeof *bad_base64; i++) {
		char input[64];
		snprintf(input, sizeof input, "%s\r\n", bad_base64[i]);
		run(&(struct exchange_case){"PLAIN", bad_base64[i], "", "", ERR_REFUSED, EINVAL,
					    NULL, NULL},
		    0);
		run(&(struct exchange_case){"PLAIN", NULL, input, "+ \r\n", ERR_REFUSED, EINVAL,
					    NULL, NULL},
		    0);
		run(&(struct exchange_case){"LOGIN", NULL, input, USERNAME, ERR_REFUSED, EINVAL,
					    NULL, NULL},
		    0);
	}
	run(&(struct exchange_case){"PLAIN", "", "", "", ERR_REFUSED, EINVAL, NULL, NULL}, 0);
}

/* A line of 60,000 octets is a response like any other; one beyond the stream's ceiling is
 * refused and the next line is in step. */
static void test_long_lines(void **state)
{
	enum { PASS = 45000 };
	char *raw = mem_alloc(PASS), *input = mem_alloc(200000);

	(void)state;
	memset(raw, 'x', PASS);
	memcpy(raw, "\0joe\0", 5);
	text_base64(input, raw, PASS);
	strcat(input, "\r\n");
	struct canned canned;
	struct sasl_claim claim;
	canned_init(&canned, ERR_CLIENT, input, strlen(input));
	assert_int_equal(sasl_run(sasl_find("PLAIN", 5), &canned.stream, NULL, STAMP, &claim).kind,
			 ERR_NONE);
	assert_string_equal(claim.name, "joe");
	assert_int_equal(strlen(claim.password), PASS - 5);
	sasl_claim_fini(&claim);
	canned_fini(&canned);

	memset(input, 'A', 70000);
	strcpy(input + 70000, "\r\nNOOP\r\n");
	canned_init(&canned, ERR_CLIENT, input, strlen(input));
	struct err err = sasl_run(sasl_find("PLAIN", 5), &canned.stream, NULL, STAMP, &claim);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_int_equal(err.code, E2BIG);
	const char *line;
	size_t len;
	assert_int_equal(stream_line(&canned.stream, &line, &len).kind, ERR_NONE);
	assert_int_equal(len, 4);
	canned_fini(&canned);
	free(raw);
	free(input);
}

/* The password's line does not stay behind in the stream's buffer (B-22). */
static void test_lines_are_wiped(void **state)
{
	static const char input[] = "am9l\r\nc2VjcmV0\r\nSTAT\r\n";
	struct canned canned;
	struct sasl_claim claim;

	(void)state;
	canned_init(&canned, ERR_CLIENT, input, strlen(input));
	assert_int_equal(sasl_run(sasl_find("LOGIN", 5), &canned.stream, NULL, STAMP, &claim).kind,
			 ERR_NONE);
	assert_int_equal(stream_pending(&canned.stream), strlen("STAT\r\n"));
	const struct buf *in = &canned.stream.in;
	assert_null(memmem(in->store, in->to, "c2VjcmV0", 8));
	assert_null(memmem(in->store, in->to, "am9l", 4));
	sasl_claim_fini(&claim);
	assert_null(claim.name);
	canned_fini(&canned);
}

/* A NUL stands behind each answer, whatever stood there before: readers of it rely on that. */
static void test_answers_end(void **state)
{
	/* 12 octets of "a", then 1, 2 and none */
	static const char input[] = "YWFhYWFhYWFhYWFh\r\nYg==\r\nYmI=\r\n\r\n";
	static const char *const said[] = {"aaaaaaaaaaaa", "b", "bb", ""};
	struct canned canned;
	struct buf answer;

	(void)state;
	canned_init(&canned, ERR_CLIENT, input, strlen(input));
	buf_init(&answer, 64);
	for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
		assert_int_equal(sasl_ask(&canned.stream, "", 0, &answer).kind, ERR_NONE);
		assert_int_equal(buf_len(&answer), strlen(said[i]));
		assert_string_equal(buf_data(&answer), said[i]);
	}
	buf_wipe(&answer);
	canned_fini(&canned);
}

static void test_table(void **state)
{
	char out[SASL_LIST_MAX];

	(void)state;
	assert_null(sasl_find("PLAI", 4));
	assert_null(sasl_find("PLAINX", 6));
	assert_null(sasl_find("", 0));
	assert_null(sasl_find("GSSAPI", 6));
	unsigned plain = WAY_PLAIN | WAY_LOGIN | WAY_XOAUTH2 | WAY_OAUTHBEARER;
	assert_int_equal(sasl_plaintext_ways(), plain);
	assert_int_equal(sasl_list(out, WAY_PLAIN | WAY_LOGIN, " ", ""), strlen(" PLAIN LOGIN"));
	assert_string_equal(out, " PLAIN LOGIN");
	assert_int_equal(sasl_list(out, WAY_PLAIN | WAY_LOGIN, "", "\r\n"),
			 strlen("PLAIN\r\nLOGIN\r\n"));
	assert_string_equal(out, "PLAIN\r\nLOGIN\r\n");
	assert_int_equal(sasl_list(out, WAY_APOP, " ", ""), 0);
	assert_string_equal(out, "");
	/* All there are fit, and what fetchmail can do is in what it sees. */
	size_t all = sasl_list(out, ~0u, "SASL ", "\r\n");
	assert_true(all < SASL_LIST_MAX);
	sasl_list(out, ~0u, " ", "");
	out[SASL_LIST_FIRST - strlen("SASL")] = '\0';
	assert_non_null(strstr(out, "CRAM-MD5"));
	assert_non_null(strstr(out, "SCRAM-SHA-256"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchanges),  cmocka_unit_test(test_malformed_base64),
		cmocka_unit_test(test_long_lines), cmocka_unit_test(test_lines_are_wiped),
		cmocka_unit_test(test_table),      cmocka_unit_test(test_answers_end),
	};
	return cmocka_run_group_tests_name("sasl", tests, NULL, NULL);
}
