/* SPDX-License-Identifier: MIT */
/* t_oauth.c - what is asked of a provider, octet by octet, and what is made of its answers. */
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

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/enrol.h"
#include "upstream/oauth.h"

/* --- a provider that gives one answer ------------------------------------------------------ */

struct canned {
	struct oauth_transport transport; /* first */
	long status;
	const char *answer;
	struct err err;
	char *url, *form; /* what came */
};

static struct err canned_post(const struct oauth_transport *transport,
			      const struct oauth_post *post, long *status, struct buf *answer,
			      struct notice *why)
{
	struct canned *canned = (struct canned *)(uintptr_t)transport;

	free(canned->url);
	free(canned->form);
	canned->url = text_dup(post->url);
	canned->form = mem_dup(buf_data(post->form), buf_len(post->form));
	*status = canned->status;
	snprintf(why->text, sizeof why->text, "%s", canned->err.kind ? "no route" : "");
	if (canned->err.kind)
		return canned->err;
	assert_true(buf_put(answer, canned->answer, strlen(canned->answer)));
	return OK;
}

static void canned_init(struct canned *canned, long status, const char *answer)
{
	*canned = (struct canned){.transport = {canned_post}, .status = status, .answer = answer};
}

static void canned_fini(struct canned *canned)
{
	free(canned->url);
	free(canned->form);
}

static const struct oauth_profile profile = {
	.name = "test",
	.token_url = "https://id.example/token",
	.device_url = "https://id.example/device",
	.authorize_url = "https://id.example/auth?prompt=consent",
	.client_id = "id&1",
	.client_secret = "s=e c+ret",
	.scope = "mail offline",
};

/* --- questions ---------------------------------------------------------------------------- */

#define ALL "&client_id=id%261&client_secret=s%3De%20c%2Bret"

static void test_forms(void **state)
{
	static const struct {
		enum oauth_grant grant;
		struct oauth_question question;
		const char *url, *form;
	} cases[] = {
		{OAUTH_REFRESH,
		 {.what = OAUTH_ASK_TOKEN, .secret = "1//a+b/~&"},
		 "https://id.example/token",
		 "grant_type=refresh_token&refresh_token=1%2F%2Fa%2Bb%2F~%26" ALL},
		{OAUTH_CLIENT_CREDENTIALS,
		 {.what = OAUTH_ASK_TOKEN},
		 "https://id.example/token",
		 "grant_type=client_credentials&scope=mail%20offline" ALL},
		{OAUTH_REFRESH,
		 {.what = OAUTH_ASK_DEVICE},
		 "https://id.example/device",
		 "scope=mail%20offline" ALL},
		{OAUTH_REFRESH,
		 {.what = OAUTH_ASK_DEVICE_TOKEN, .secret = "dev"},
		 "https://id.example/token",
		 "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code="
		 "dev" ALL},
		{OAUTH_REFRESH,
		 {.what = OAUTH_ASK_CODE,
		  .secret = "4/c",
		  .verifier = "v-e_r",
		  .redirect = "http://127.0.0.1:9/"},
		 "https://id.example/token",
		 "grant_type=authorization_code&code=4%2Fc&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%"
		 "2F&"
		 "code_verifier=v-e_r" ALL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct oauth_profile used = profile;
		struct oauth_reply reply;
		struct notice why = {""};
		struct canned canned;
		canned_init(&canned, 200,
			    cases[i].question.what == OAUTH_ASK_DEVICE
				    ? "{\"device_code\":\"d\",\"user_code\":\"U\","
				      "\"verification_uri\":\"https://id.example/v\"}"
				    : "{\"access_token\":\"a\"}");
		used.grant = cases[i].grant;
		assert_int_equal(
			oauth_ask(&used, &canned.transport, &cases[i].question, &why, &reply).kind,
			ERR_NONE);
		assert_string_equal(canned.url, cases[i].url);
		assert_string_equal(canned.form, cases[i].form);
		oauth_reply_fini(&reply);
		canned_fini(&canned);
	}
}

/* RFC 7636 appendix B. */
static void test_authorize_url(void **state)
{
	(void)state;
	char *url = oauth_authorize_url_dup(&profile, "http://127.0.0.1:9/", "st",
					    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
	assert_string_equal(url, "https://id.example/auth?prompt=consent&response_type=code&"
				 "client_id=id%261&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2F&"
				 "scope=mail%20offline&state=st&"
				 "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&"
				 "code_challenge_method=S256");
	free(url);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_client_secret_file(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		bool is_good;
	} cases[] = {{"s3\nsecond line\n", 0600, true},
		     {"s3", 0640, true},
		     {"s3\r\n", 0600, true},
		     {"\n", 0600, false},
		     {"", 0600, false},
		     {"s3\n", 0644, false}};
	const struct oauth_question question = {.what = OAUTH_ASK_TOKEN, .secret = "r"};
	char path[] = "/tmp/popgate-t_oauth-XXXXXX";
	struct oauth_profile used = profile;

	(void)state;
	close(mkstemp(path));
	used.client_secret = NULL;
	used.client_secret_file = path;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct oauth_reply reply;
		struct notice why = {""};
		struct canned canned;
		canned_init(&canned, 200, "{\"access_token\":\"a\"}");
		write_file(path, cases[i].text, cases[i].mode);
		struct err err = oauth_ask(&used, &canned.transport, &question, &why, &reply);
		if (cases[i].is_good) {
			assert_int_equal(err.kind, ERR_NONE);
			assert_non_null(strstr(canned.form, "&client_secret=s3"));
			assert_null(strstr(canned.form, "second"));
		} else {
			assert_int_equal(err.kind, ERR_POLICY);
			assert_non_null(strstr(why.text, path));
			assert_null(canned.form); /* nobody was asked */
		}
		oauth_reply_fini(&reply);
		canned_fini(&canned);
	}
	unlink(path);
}

/* --- answers ------------------------------------------------------------------------------ */

static void test_answers(void **state)
{
	static const struct {
		enum oauth_what what;
		long status;
		const char *body;
		enum err_kind kind;
		enum oauth_trouble trouble;
		uint64_t lifetime_s;
		const char *why;
	} cases[] = {
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"expires_in\":3599}", ERR_NONE,
		 OAUTH_FINE, 3599, ""},
		/* J-10: as a text, and missing */
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"expires_in\":\"120\"}", ERR_NONE,
		 OAUTH_FINE, 120, ""},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\"}", ERR_NONE, OAUTH_FINE, 3600, ""},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"expires_in\":12.7}", ERR_NONE,
		 OAUTH_FINE, 12, ""},
		/* what cannot be meant */
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"expires_in\":-5}", ERR_NONE,
		 OAUTH_FINE, 3600, ""},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"expires_in\":0}", ERR_NONE,
		 OAUTH_FINE, 1, ""},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"expires_in\":\"soon\"}", ERR_NONE,
		 OAUTH_FINE, 3600, ""},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"expires_in\":1e300}", ERR_NONE,
		 OAUTH_FINE, OAUTH_DAY_S, ""},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"expires_in\":[1]}", ERR_NONE,
		 OAUTH_FINE, 3600, ""},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"token_type\":\"bEARER\"}",
		 ERR_NONE, OAUTH_FINE, 3600, ""},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"token_type\":\"mac\"}",
		 ERR_UPSTREAM, OAUTH_PASSING, 0, "another type"},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"\"}", ERR_UPSTREAM, OAUTH_PASSING, 0,
		 "cannot be one"},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\\r\\nb\"}", ERR_UPSTREAM,
		 OAUTH_PASSING, 0, "cannot be one"},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"\xc3\xa4\"}", ERR_UPSTREAM,
		 OAUTH_PASSING, 0, "cannot be one"},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":17}", ERR_UPSTREAM, OAUTH_PASSING, 0,
		 "neither a token nor an error"},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\",\"access_token\":\"b\"}",
		 ERR_UPSTREAM, OAUTH_PASSING, 0, "not what a token server"},
		{OAUTH_ASK_TOKEN, 200, "", ERR_UPSTREAM, OAUTH_PASSING, 0, "not what a token"},
		{OAUTH_ASK_TOKEN, 200, "[]", ERR_UPSTREAM, OAUTH_PASSING, 0, "not what a token"},
		{OAUTH_ASK_TOKEN, 200, "{\"access_token\":\"a\"", ERR_UPSTREAM, OAUTH_PASSING, 0,
		 "not what a token"},
		{OAUTH_ASK_TOKEN, 502, "<html>Bad Gateway</html>", ERR_UPSTREAM, OAUTH_PASSING, 0,
		 "HTTP 502"},
		{OAUTH_ASK_TOKEN, 302, "", ERR_UPSTREAM, OAUTH_PASSING, 0, "HTTP 302"},
		{OAUTH_ASK_TOKEN, 400,
		 "{\"error\":\"invalid_grant\",\"error_description\":\"Token has been revoked.\"}",
		 ERR_POLICY, OAUTH_GRANT_IS_BAD, 0,
		 "invalid_grant: Token has been revoked. (HTTP 400)"},
		{OAUTH_ASK_TOKEN, 400, "{\"error\":\"interaction_required\"}", ERR_POLICY,
		 OAUTH_GRANT_IS_BAD, 0, "interaction_required"},
		{OAUTH_ASK_TOKEN, 401, "{\"error\":\"invalid_client\"}", ERR_POLICY, OAUTH_REFUSED,
		 0, "invalid_client"},
		{OAUTH_ASK_TOKEN, 400, "{\"error\":\"made_up\"}", ERR_POLICY, OAUTH_REFUSED, 0,
		 "made_up"},
		/* an error beats a token that stands beside it with a status that is none */
		{OAUTH_ASK_TOKEN, 400, "{\"error\":\"invalid_scope\",\"access_token\":\"abc\"}",
		 ERR_POLICY, OAUTH_REFUSED, 0, "invalid_scope"},
		{OAUTH_ASK_TOKEN, 503, "{\"error\":\"invalid_grant\"}", ERR_UPSTREAM, OAUTH_PASSING,
		 0, "HTTP 503"},
		{OAUTH_ASK_TOKEN, 429, "{\"error\":\"made_up\"}", ERR_UPSTREAM, OAUTH_PASSING, 0,
		 "HTTP 429"},
		{OAUTH_ASK_TOKEN, 400, "{\"error\":\"temporarily_unavailable\"}", ERR_UPSTREAM,
		 OAUTH_PASSING, 0, ""},
		{OAUTH_ASK_TOKEN, 400, "{\"error\":\"slow_down\"}", ERR_UPSTREAM, OAUTH_PASSING, 0,
		 ""},
		/* RFC 8628 section 3.5 */
		{OAUTH_ASK_DEVICE_TOKEN, 400, "{\"error\":\"authorization_pending\"}", ERR_NONE,
		 OAUTH_PENDING, 0, ""},
		{OAUTH_ASK_DEVICE_TOKEN, 428, "{\"error\":\"authorization_pending\"}", ERR_NONE,
		 OAUTH_PENDING, 0, ""},
		{OAUTH_ASK_DEVICE_TOKEN, 429, "{\"error\":\"slow_down\"}", ERR_NONE,
		 OAUTH_SLOW_DOWN, 0, ""},
		{OAUTH_ASK_DEVICE_TOKEN, 400, "{\"error\":\"expired_token\"}", ERR_POLICY,
		 OAUTH_EXPIRED, 0, ""},
		{OAUTH_ASK_DEVICE_TOKEN, 403, "{\"error\":\"access_denied\"}", ERR_POLICY,
		 OAUTH_DENIED, 0, ""},
		{OAUTH_ASK_DEVICE, 200, "{\"device_code\":\"d\",\"user_code\":\"U\"}", ERR_UPSTREAM,
		 OAUTH_PASSING, 900, "without a device code"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct oauth_reply reply = {.trouble = OAUTH_FINE};
		struct notice why = {""};
		struct err err = oauth_read(cases[i].what, cases[i].status, cases[i].body,
					    strlen(cases[i].body), NULL, 0, &why, &reply);
		if (err.kind != cases[i].kind || reply.trouble != cases[i].trouble ||
		    (!err.kind && reply.lifetime_s != cases[i].lifetime_s) ||
		    !strstr(why.text, cases[i].why))
			fail_msg("%s: kind %d, trouble %d, %u s, %s", cases[i].body, err.kind,
				 reply.trouble, (unsigned)reply.lifetime_s, why.text);
		oauth_reply_fini(&reply);
	}
}

static void test_device_answer(void **state)
{
	static const char body[] =
		"{\"device_code\":\"dev/1\",\"user_code\":\"WDJB-MJHT\",\"verification_url\":"
		"\"https://id.example/device\",\"expires_in\":1800,\"interval\":\"7\"}";
	struct oauth_reply reply = {.trouble = OAUTH_FINE};
	struct notice why = {""};

	(void)state;
	assert_int_equal(
		oauth_read(OAUTH_ASK_DEVICE, 200, body, strlen(body), NULL, 0, &why, &reply).kind,
		ERR_NONE);
	assert_string_equal(reply.device_code, "dev/1");
	assert_string_equal(reply.user_code, "WDJB-MJHT");
	assert_string_equal(reply.url, "https://id.example/device");
	assert_null(reply.url_complete);
	assert_int_equal(reply.lifetime_s, 1800);
	assert_int_equal(reply.interval_s, 7);
	oauth_reply_fini(&reply);
}

/* A server that quotes what it was sent, or hides a line break in its words. */
static void test_words_are_clean(void **state)
{
	static const char *const bodies[] = {
		"{\"error\":\"invalid_grant\",\"error_description\":\"bad: 1//refresh-token-7\"}",
		"{\"error\":\"invalid_grant\",\"error_description\":\"cut: resh-token-7\"}",
		"{\"error\":\"1//refresh-token-7\"}",
		"{\"error\":\"invalid_grant\",\"error_description\":\"the client-secret-9 is\"}",
		"{\"error\":\"x\",\"access_token\":\"ya29.abcdefghijk\",\"error_description\":"
		"\"you get ya29.abcdefghijk\"}",
	};
	const char *secrets[] = {NULL, "1//refresh-token-7", "client-secret-9"};
	struct oauth_reply reply = {.trouble = OAUTH_FINE};
	struct notice why;

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		why = (struct notice){""};
		assert_int_equal(oauth_read(OAUTH_ASK_TOKEN, 400, bodies[i], strlen(bodies[i]),
					    secrets, 3, &why, &reply)
					 .kind,
				 ERR_POLICY);
		assert_null(strstr(why.text, "token-7"));
		assert_null(strstr(why.text, "secret-9"));
		assert_null(strstr(why.text, "ya29"));
		oauth_reply_fini(&reply);
	}
	static const char lines[] = "{\"error\":\"invalid_grant\",\"error_description\":"
				    "\"a\\r\\nlevel=alarm [SYS/PERM] \\u001b[2J\"}";
	assert_int_equal(
		oauth_read(OAUTH_ASK_TOKEN, 400, lines, strlen(lines), secrets, 3, &why, &reply)
			.kind,
		ERR_POLICY);
	assert_null(strpbrk(why.text, "\r\n\033[]"));
	oauth_reply_fini(&reply);
}

static void test_nobody_answers(void **state)
{
	const struct oauth_question question = {.what = OAUTH_ASK_TOKEN, .secret = "r"};
	struct oauth_reply reply;
	struct notice why = {""};
	struct canned canned;

	(void)state;
	canned_init(&canned, 0, "");
	canned.err = ERR(ERR_UPSTREAM, ETIMEDOUT, "no answer");
	assert_int_equal(oauth_ask(&profile, &canned.transport, &question, &why, &reply).kind,
			 ERR_UPSTREAM);
	assert_int_equal(reply.trouble, OAUTH_PASSING);
	assert_true(reply.is_unheard);
	assert_string_equal(why.text, "no route");
	canned_fini(&canned);
}

/* --- the browser's way back --------------------------------------------------------------- */

static void test_browser_answers(void **state)
{
	static const struct {
		const char *line;
		enum err_kind kind;
		const char *code, *why;
	} cases[] = {
		{"GET /?code=4%2F0A%2b-x&state=St-1 HTTP/1.1\r\n", ERR_NONE, "4/0A+-x", ""},
		{"GET /?state=St-1&scope=a+b&code=c HTTP/1.1\r\n", ERR_NONE, "c", ""},
		{"GET /?code=c&state=St-2 HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"GET /?code=c&state=St-11 HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"GET /?code=c HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"GET /?xcode=c&state=St-1 HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"GET /?code=&state=St-1 HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"GET /?code=a%0d%0ab&state=St-1 HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"GET /favicon.ico HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"POST /?code=c&state=St-1 HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"GET /?error=access_denied&error_description=the+user+said%20no&state=St-1 "
		 "HTTP/1.1\r\n",
		 ERR_POLICY, NULL, "access_denied: the user said no"},
		{"GET /?error=access_denied&state=St-2 HTTP/1.1\r\n", ERR_REFUSED, NULL, ""},
		{"GET /?error=access_denied&code=c&state=St-1 HTTP/1.1\r\n", ERR_POLICY, NULL, ""},
		{"", ERR_REFUSED, NULL, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct notice why = {""};
		char *code;
		struct err err = enrol_parse(cases[i].line, "St-1", &why, &code);
		if (err.kind != cases[i].kind || !strstr(why.text, cases[i].why))
			fail_msg("%s: %d %s", cases[i].line, err.kind, why.text);
		if (cases[i].code)
			assert_string_equal(code, cases[i].code);
		else
			assert_null(code);
		text_wipe_free(code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_authorize_url),
		cmocka_unit_test(test_client_secret_file),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_device_answer),
		cmocka_unit_test(test_words_are_clean),
		cmocka_unit_test(test_nobody_answers),
		cmocka_unit_test(test_browser_answers),
	};

	if (!oauth_begin())
		return 1;
	return cmocka_run_group_tests_name("oauth", tests, NULL, NULL);
}
