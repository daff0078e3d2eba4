/* SPDX-License-Identifier: MIT */
/* t_oauth_jwt.c - what a service account signs, checked as a provider would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/oauth.h"

static char *pem_of(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *octets;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	long len = BIO_get_mem_data(bio, &octets);
	char *pem = mem_dup(octets, (size_t)len);
	BIO_free(bio);
	return pem;
}

/* Base64url, decoded; the caller frees. */
static char *decode(const char *text, size_t len, size_t *out_len)
{
	char *padded = mem_alloc(len + 4), *out = mem_alloc(len + 4);

	memcpy(padded, text, len);
	for (size_t i = 0; i < len; i++) {
		assert_null(strchr("+/=", padded[i]));
		padded[i] = padded[i] == '-' ? '+' : padded[i] == '_' ? '/' : padded[i];
	}
	while (len % 4)
		padded[len++] = '=';
	assert_true(text_unbase64(out, out_len, padded, len));
	free(padded);
	return out;
}

static void check_signature(EVP_PKEY *key, bool is_ecdsa, const char *jwt, const char *dot)
{
	size_t len;
	unsigned char *signature = (unsigned char *)decode(dot + 1, strlen(dot + 1), &len);
	unsigned char *der = NULL;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (is_ecdsa) {
		assert_int_equal(len, 64);
		ECDSA_SIG *both = ECDSA_SIG_new();
		assert_int_equal(ECDSA_SIG_set0(both, BN_bin2bn(signature, 32, NULL),
						BN_bin2bn(signature + 32, 32, NULL)),
				 1);
		len = (size_t)i2d_ECDSA_SIG(both, &der);
		ECDSA_SIG_free(both);
	}
	assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestVerify(context, is_ecdsa ? der : signature, len,
					  (const unsigned char *)jwt, (size_t)(dot - jwt)),
			 1);
	EVP_MD_CTX_free(context);
	OPENSSL_free(der);
	free(signature);
}

static json_t *part(const char *from, const char *to)
{
	size_t len;
	char *text = decode(from, (size_t)(to - from), &len);
	json_t *json = json_loadb(text, len, 0, NULL);

	free(text);
	assert_non_null(json);
	return json;
}

static void check_member(json_t *object, const char *name, const char *value)
{
	const char *text = json_string_value(json_object_get(object, name));

	if (!value)
		assert_null(text);
	else
		assert_string_equal(text, value);
}

static void check_jwt(const struct oauth_profile *used, EVP_PKEY *key, bool is_ecdsa,
		      const char *file, const char *issuer, const char *id)
{
	struct notice why = {""};
	struct buf jwt;

	buf_init(&jwt, OAUTH_FORM_MAX);
	struct err err =
		oauth_jwt(used, file, strlen(file), "joe@example.org", 1700000000, &why, &jwt);
	if (err.kind)
		fail_msg("%s", why.text);
	assert_true(buf_put(&jwt, "", 1));
	const char *text = buf_data(&jwt);
	const char *first = strchr(text, '.'), *second = strchr(first + 1, '.');
	check_signature(key, is_ecdsa, text, second);
	json_t *header = part(text, first), *claims = part(first + 1, second);
	check_member(header, "alg", is_ecdsa ? "ES256" : "RS256");
	check_member(header, "kid", id);
	check_member(claims, "iss", issuer);
	check_member(claims, "sub", "joe@example.org");
	check_member(claims, "aud", used->audience ? used->audience : used->token_url);
	check_member(claims, "scope", used->scope);
	assert_int_equal(json_integer_value(json_object_get(claims, "iat")), 1700000000);
	assert_int_equal(json_integer_value(json_object_get(claims, "exp")), 1700000600);
	assert_int_equal(strlen(json_string_value(json_object_get(claims, "jti"))), 32);
	json_decref(header);
	json_decref(claims);
	buf_fini(&jwt);
}

static void test_jwt(void **state)
{
	struct oauth_profile used = {.name = "s",
				     .token_url = "https://id.example/token",
				     .scope = "mail",
				     .issuer = "me@example.org",
				     .key_file = "/key"};
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256");
	char *rsa_pem = pem_of(rsa), *ec_pem = pem_of(ec);

	(void)state;
	check_jwt(&used, rsa, false, rsa_pem, "me@example.org", NULL);
	check_jwt(&used, ec, true, ec_pem, "me@example.org", NULL);
	used.audience = "https://other.example/";
	used.issuer = NULL;
	json_t *json = json_pack("{ssssssss}", "type", "service_account", "private_key", rsa_pem,
				 "private_key_id", "k1", "client_email", "robot@example.org");
	char *google = json_dumps(json, 0);
	check_jwt(&used, rsa, false, google, "robot@example.org", "k1");
	free(google);
	json_decref(json);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	free(rsa_pem);
	free(ec_pem);
}

static void test_bad_keys(void **state)
{
	struct oauth_profile used = {.name = "s",
				     .token_url = "https://id.example/token",
				     .issuer = "me",
				     .key_file = "/etc/key"};
	EVP_PKEY *p384 = EVP_EC_gen("P-384"), *small = EVP_RSA_gen(1024),
		 *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *good = EVP_EC_gen("P-256");
	char *pems[] = {pem_of(p384),
			pem_of(small),
			pem_of(ed),
			text_dup("no key"),
			text_dup(""),
			text_dup("{\"private_key\":\"x\"}"),
			text_dup("{\"private_key\":7}")};
	struct notice why = {""};
	struct buf jwt;

	(void)state;
	buf_init(&jwt, OAUTH_FORM_MAX);
	for (size_t i = 0; i < sizeof pems / sizeof *pems; i++) {
		why = (struct notice){""};
		assert_int_equal(
			oauth_jwt(&used, pems[i], strlen(pems[i]), "joe", 1, &why, &jwt).kind,
			ERR_POLICY);
		assert_non_null(strstr(why.text, "/etc/key: "));
		free(pems[i]);
	}
	char *pem = pem_of(good);
	used.issuer = NULL; /* and no client_id, no JSON */
	assert_int_equal(oauth_jwt(&used, pem, strlen(pem), "joe", 1, &why, &jwt).kind, ERR_POLICY);
	assert_non_null(strstr(why.text, "issuer"));
	free(pem);
	EVP_PKEY_free(p384);
	EVP_PKEY_free(small);
	EVP_PKEY_free(ed);
	EVP_PKEY_free(good);
	buf_fini(&jwt);
}

/* An assertion without its subject would be one for the service account itself. */
static void test_subject_that_is_no_utf_8(void **state)
{
	struct oauth_profile used = {.name = "s",
				     .token_url = "https://id.example/token",
				     .issuer = "me",
				     .key_file = "/etc/key"};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char *pem = pem_of(key);
	struct notice why = {""};
	struct buf jwt;

	(void)state;
	buf_init(&jwt, OAUTH_FORM_MAX);
	assert_int_equal(oauth_jwt(&used, pem, strlen(pem), "j\xf6rg", 1, &why, &jwt).kind,
			 ERR_POLICY);
	assert_non_null(strstr(why.text, "/etc/key: "));
	buf_drop(&jwt, buf_len(&jwt));
	used.issuer = "m\xe9";
	assert_int_equal(oauth_jwt(&used, pem, strlen(pem), "joe", 1, &why, &jwt).kind, ERR_POLICY);
	free(pem);
	EVP_PKEY_free(key);
	buf_fini(&jwt);
}

/* A provider that quotes what it was sent. */
static struct err quote(const struct oauth_transport *transport, const struct oauth_post *post,
			long *status, struct buf *answer, struct notice *why)
{
	(void)transport;
	(void)why;
	char *form = mem_dup(buf_data(post->form), buf_len(post->form));
	const char *assertion = strstr(form, "&assertion=");
	assert_non_null(assertion);
	*status = 400;
	assert_true(buf_printf(answer,
			       "{\"error\":\"invalid_grant\","
			       "\"error_description\":\"bad assertion %.60s\"}",
			       assertion + strlen("&assertion=") + 100));
	free(form);
	return OK;
}

static void test_assertion_is_not_told(void **state)
{
	char path[] = "/tmp/popgate-t_oauth_jwt-XXXXXX";
	const struct oauth_transport transport = {quote};
	const struct oauth_profile used = {.name = "s",
					   .grant = OAUTH_SERVICE_ACCOUNT,
					   .token_url = "https://id.example/token",
					   .issuer = "me",
					   .key_file = path};
	const struct oauth_question question = {
		.what = OAUTH_ASK_TOKEN, .subject = "joe@example.org", .wall_s = 1700000000};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char *pem = pem_of(key);
	struct notice why = {""};
	struct oauth_reply reply;
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, pem, strlen(pem)), strlen(pem));
	close(fd);
	struct err err = oauth_ask(&used, &transport, &question, &why, &reply);
	assert_int_equal(err.kind, ERR_POLICY);
	assert_string_equal(why.text, "invalid_grant (HTTP 400)");
	oauth_reply_fini(&reply);
	unlink(path);
	free(pem);
	EVP_PKEY_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jwt),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_subject_that_is_no_utf_8),
		cmocka_unit_test(test_assertion_is_not_told),
	};

	if (!oauth_begin())
		return 1;
	return cmocka_run_group_tests_name("oauth_jwt", tests, NULL, NULL);
}
