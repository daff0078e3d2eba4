/* SPDX-License-Identifier: MIT */
/* oauth_jwt.c - a signed assertion for a service account (RFC 7523, RFC 7515, RFC 7518). */
#include "upstream/oauth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "proxy/base/mem.h"

enum {
	LIFE_S = 600,     /* of an assertion; providers take an hour at most */
	SIGNATURE = 1024, /* octets: an RSA key of 8192 bits */
	P256 = 32,        /* octets of a coordinate */
	ID = 16,
};

/* What stands in key_file. Strings are borrowed from `json`. */
struct service_key {
	json_t *json; /* NULL: the file was PEM */
	const char *pem;
	size_t pem_len;
	const char *id, *email;
	EVP_PKEY *key;
	const char *algorithm; /* "RS256", "ES256" */
};

static struct err refuse(struct notice *why, const struct oauth_profile *profile, const char *what)
{
	snprintf(why->text, sizeof why->text, "%s: %s", profile->key_file, what);
	return ERR(ERR_POLICY, 0, "the service account's key cannot be used");
}

/* Nobody is there to be asked for a passphrase. */
static int no_passphrase(char *to, int size, int rwflag, void *arg)
{
	(void)to;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

static const char *algorithm_of(const EVP_PKEY *key)
{
	char group[32] = "";

	if (EVP_PKEY_is_a(key, "RSA"))
		return EVP_PKEY_get_bits(key) >= 2048 ? "RS256" : NULL;
	if (EVP_PKEY_is_a(key, "EC") &&
	    EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
	    !strcmp(group, "prime256v1"))
		return "ES256";
	return NULL;
}

static struct err read_key(const struct oauth_profile *profile, const char *text, size_t len,
			   struct notice *why, struct service_key *out)
{
	*out = (struct service_key){.pem = text, .pem_len = len};
	if (len && (*text == '{' || strchr(" \t\r\n", *text)))
		out->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (out->json) {
		out->pem = json_string_value(json_object_get(out->json, "private_key"));
		out->pem_len = out->pem ? strlen(out->pem) : 0;
		out->id = json_string_value(json_object_get(out->json, "private_key_id"));
		out->email = json_string_value(json_object_get(out->json, "client_email"));
	}
	BIO *bio = out->pem_len ? BIO_new_mem_buf(out->pem, (int)out->pem_len) : NULL;
	if (bio)
		out->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (!out->key)
		return refuse(why, profile,
			      "neither a private key in PEM, without a passphrase, nor the JSON of "
			      "a service account");
	out->algorithm = algorithm_of(out->key);
	if (!out->algorithm)
		return refuse(why, profile, "neither RSA of 2048 bits or more nor ECDSA on P-256");
	return OK;
}

static void key_fini(struct service_key *key)
{
	EVP_PKEY_free(key->key);
	json_decref(key->json);
}

/* Appends the base64url of an object, which is given back. */
static bool put_json(struct buf *out, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	bool is_put = text && oauth_put_base64url(out, text, strlen(text));

	text_wipe_free(text);
	json_decref(object);
	return is_put;
}

/* False if it cannot be said in JSON, which is UTF-8: left out it would mean another assertion. */
static bool set(json_t *object, const char *name, const char *value)
{
	return !value || json_object_set_new(object, name, json_string(value)) == 0;
}

static bool put_header(struct buf *out, const struct service_key *key)
{
	json_t *header = json_object();

	bool is_set = set(header, "alg", key->algorithm) && set(header, "typ", "JWT") &&
		      set(header, "kid", key->id);
	return put_json(out, header) && is_set;
}

static bool put_claims(struct buf *out, const struct oauth_profile *profile, const char *issuer,
		       const char *subject, uint64_t wall_s)
{
	unsigned char random[ID];
	char id[2 * ID + 1];
	json_t *claims = json_object();

	if (RAND_bytes(random, sizeof random) != 1) {
		json_decref(claims);
		return false;
	}
	for (size_t i = 0; i < ID; i++)
		snprintf(id + 2 * i, 3, "%02x", random[i]);
	const json_int_t now = (json_int_t)wall_s;
	bool is_set =
		set(claims, "iss", issuer) && set(claims, "sub", subject) &&
		set(claims, "scope", profile->scope) && /* where Google wants it */
		set(claims, "aud", profile->audience ? profile->audience : profile->token_url) &&
		set(claims, "jti", id) && !json_object_set_new(claims, "iat", json_integer(now)) &&
		!json_object_set_new(claims, "exp", json_integer(now + LIFE_S));
	return put_json(out, claims) && is_set;
}

/* What OpenSSL gives is DER; RFC 7518 section 3.4 wants both numbers, each in 32 octets. */
static bool unwrap_ecdsa(unsigned char *signature, size_t *len)
{
	const unsigned char *at = signature;
	ECDSA_SIG *both = d2i_ECDSA_SIG(NULL, &at, (long)*len);

	bool is_good = both && BN_bn2binpad(ECDSA_SIG_get0_r(both), signature, P256) == P256 &&
		       BN_bn2binpad(ECDSA_SIG_get0_s(both), signature + P256, P256) == P256;
	ECDSA_SIG_free(both);
	*len = (size_t)2 * P256;
	return is_good;
}

static bool put_signature(struct buf *out, const struct service_key *key, size_t from)
{
	unsigned char signature[SIGNATURE];
	size_t len = sizeof signature;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	bool is_good = context &&
		       EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->key) == 1 &&
		       EVP_DigestSign(context, signature, &len,
				      (const unsigned char *)buf_data(out) + from,
				      buf_len(out) - from) == 1;
	if (is_good && !strcmp(key->algorithm, "ES256"))
		is_good = unwrap_ecdsa(signature, &len);
	EVP_MD_CTX_free(context);
	return is_good && buf_put(out, ".", 1) && oauth_put_base64url(out, signature, len);
}

struct err oauth_jwt(const struct oauth_profile *profile, const char *pem_or_json, size_t len,
		     const char *subject, uint64_t wall_s, struct notice *why, struct buf *out)
{
	struct service_key key;
	size_t from = buf_len(out);
	struct err err = read_key(profile, pem_or_json, len, why, &key);

	if (err.kind)
		goto out;
	const char *issuer = profile->issuer ? profile->issuer
			     : key.email     ? key.email
					     : profile->client_id;
	if (!issuer) {
		err = refuse(why, profile, "no issuer= in the profile and none in the key file");
		goto out;
	}
	if (!put_header(out, &key) || !buf_put(out, ".", 1) ||
	    !put_claims(out, profile, issuer, subject, wall_s) || !put_signature(out, &key, from))
		err = refuse(why, profile, "no assertion for this login can be signed with it");
out:
	key_fini(&key);
	return err;
}
