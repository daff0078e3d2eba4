/* SPDX-License-Identifier: MIT */
/* verify.c - local passwords: crypt(3) in its many forms, Argon2, {plain}, {scram-sha-256}.
 *
 * {scram-sha-256} holds what SCRAM needs (RFC 5802 section 3, RFC 7677), so that the password itself
 * is stored nowhere; a password that came by PASS is run through the same derivation. Every
 * comparison is over values of one length in constant time (B-22).
 */
#include "proxy/verify.h"

#include <argon2.h>
#include <crypt.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum { DIGEST = 32, SALT = 16, SALT_MAX = 64, ITERATIONS_MAX = 10000000 };

/* --- schemes ------------------------------------------------------------------------------ */

enum method { METHOD_PLAIN, METHOD_CRYPT, METHOD_SCRAM, METHOD_ARGON2 };

struct scheme {
	const char *name;
	enum method method;
	const char *prefix; /* that the value begins with; NULL: any that crypt(3) knows */
	size_t tail;        /* octets behind the last "$"; 0: not known */
};

static const struct scheme schemes[] = {
	{"plain", METHOD_PLAIN, NULL, 0},
	{"scram-sha-256", METHOD_SCRAM, NULL, 0},
	{"argon2id", METHOD_ARGON2, "$argon2id$", 0},
	{"argon2i", METHOD_ARGON2, "$argon2i$", 0},
	{"crypt", METHOD_CRYPT, NULL, 0},
	{"yescrypt", METHOD_CRYPT, "$y$", 43},
	{"gost-yescrypt", METHOD_CRYPT, "$gy$", 43},
	{"scrypt", METHOD_CRYPT, "$7$", 43},
	{"bcrypt", METHOD_CRYPT, "$2", 53},
	{"sha512-crypt", METHOD_CRYPT, "$6$", 86},
	{"sha256-crypt", METHOD_CRYPT, "$5$", 43},
	{"sha1-crypt", METHOD_CRYPT, "$sha1$", 28},
	{"md5-crypt", METHOD_CRYPT, "$1$", 22},
};

/* Finds the scheme of {scheme}value; *value then stands behind the brace. */
static const struct scheme *scheme_of(const char *local, const char **value)
{
	const char *end = *local == '{' ? strchr(local, '}') : NULL;

	if (!end)
		return NULL;
	*value = end + 1;
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (text_same_n(local + 1, (size_t)(end - local - 1), schemes[i].name,
				strlen(schemes[i].name)))
			return &schemes[i];
	return NULL;
}

/* --- SCRAM -------------------------------------------------------------------------------- */

struct scram {
	int iterations;
	unsigned char salt[SALT_MAX + 2]; /* text_unbase64 may fill a multiple of three */
	size_t salt_len;
	unsigned char stored[DIGEST], server[DIGEST];
};

static bool read_key(const char *text, size_t len, unsigned char out[DIGEST])
{
	unsigned char digest[48];
	size_t digest_len;

	if (len != 44 || !text_unbase64(digest, &digest_len, text, len) || digest_len != DIGEST)
		return false;
	memcpy(out, digest, DIGEST);
	return true;
}

/* iterations,salt,StoredKey,ServerKey */
static bool scram_read(const char *value, struct scram *out)
{
	const char *field[4];
	size_t len[4];
	uint64_t iterations;

	for (size_t i = 0; i < 4; i++) {
		field[i] = value;
		len[i] = strcspn(value, ",");
		value += len[i];
		if ((*value == ',') != (i < 3))
			return false;
		value += i < 3;
	}
	if (!text_number(field[0], len[0], ITERATIONS_MAX, &iterations) || iterations < 4096)
		return false;
	out->iterations = (int)iterations;
	return len[1] && len[1] <= SALT_MAX / 3 * 4 &&
	       text_unbase64(out->salt, &out->salt_len, field[1], len[1]) &&
	       read_key(field[2], len[2], out->stored) && read_key(field[3], len[3], out->server);
}

/* StoredKey and ServerKey from the password, which is prepared as a SCRAM client does it (RFC 5802
 * section 3, RFC 4013): else PASS would know another password than SCRAM. */
static bool scram_derive(const char *password, struct scram *scram)
{
	unsigned char salted[DIGEST], client[DIGEST];
	char *prepared = NULL;

	if (gsasl_saslprep(password, 0, &prepared, NULL) != GSASL_OK)
		return false;
	bool is_done = PKCS5_PBKDF2_HMAC(prepared, (int)strlen(prepared), scram->salt,
					 (int)scram->salt_len, scram->iterations, EVP_sha256(),
					 DIGEST, salted) == 1 &&
		       HMAC(EVP_sha256(), salted, DIGEST, (const unsigned char *)"Client Key", 10,
			    client, NULL) &&
		       HMAC(EVP_sha256(), salted, DIGEST, (const unsigned char *)"Server Key", 10,
			    scram->server, NULL) &&
		       EVP_Digest(client, DIGEST, scram->stored, NULL, EVP_sha256(), NULL) == 1;

	mem_wipe(prepared, strlen(prepared));
	gsasl_free(prepared);
	mem_wipe(salted, sizeof salted);
	mem_wipe(client, sizeof client);
	return is_done;
}

static bool scram_verify(const char *value, const char *password)
{
	struct scram want, got;

	if (!scram_read(value, &want))
		return false;
	got = want;
	bool is_good =
		scram_derive(password, &got) && CRYPTO_memcmp(got.stored, want.stored, DIGEST) == 0;
	mem_wipe(&got, sizeof got);
	return is_good;
}

static char *scram_make(const char *password)
{
	struct scram scram = {.iterations = VERIFY_ROUNDS, .salt_len = SALT};
	char salt[32], stored[48], server[48];
	char *made = NULL;

	if (RAND_bytes(scram.salt, SALT) == 1 && scram_derive(password, &scram)) {
		text_base64(salt, scram.salt, SALT);
		text_base64(stored, scram.stored, DIGEST);
		text_base64(server, scram.server, DIGEST);
		made = text_printf_dup("{scram-sha-256}%d,%s,%s,%s", scram.iterations, salt, stored,
				       server);
	}
	mem_wipe(&scram, sizeof scram);
	return made;
}

/* --- crypt(3) ----------------------------------------------------------------------------- */

/* What crypt(3) makes of the password; NULL on failure. The caller wipes and frees it. */
static char *crypt_dup(const char *password, const char *setting)
{
	struct crypt_data *data = mem_alloc(sizeof *data); /* 32 KiB: too much for a stack */
	const char *made = crypt_r(password, setting, data);
	char *copy = made && *made != '*' ? text_dup(made) : NULL;

	mem_wipe(data, sizeof *data);
	free(data);
	return copy;
}

static bool crypt_verify(const char *value, const char *password)
{
	char *made = crypt_dup(password, value);
	bool is_good = made && text_same_secret(made, strlen(made), value, strlen(value));

	text_wipe_free(made);
	return is_good;
}

static char *crypt_make(const char *password)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (!crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof setting))
		return NULL;
	char *made = crypt_dup(password, setting);
	char *value = made ? text_printf_dup("{yescrypt}%s", made) : NULL;
	text_wipe_free(made);
	return value;
}

static const char *crypt_refusal(const struct scheme *scheme, const char *value)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789./$=,_";
	const char *tail = strrchr(value, '$');
	int known = crypt_checksalt(value);

	if (scheme->prefix && strncmp(value, scheme->prefix, strlen(scheme->prefix)) != 0)
		return "the value is not of the scheme in braces";
	if (strspn(value, good) != strlen(value))
		return "the value holds what no hash has";
	if (known == CRYPT_SALT_INVALID || known == CRYPT_SALT_METHOD_DISABLED)
		return "crypt(3) of this system does not know such a value";
	if (scheme->tail && (!tail || strlen(tail + 1) != scheme->tail))
		return "the hash is cut short or too long";
	/* Traditional DES is the shortest of all. */
	return strlen(value) < 13 ? "the hash is cut short" : NULL;
}

/* --- Argon2 ------------------------------------------------------------------------------- */

enum {
	ARGON2_MEMORY_KIB = 262144, /* what one login may take, at most */
	ARGON2_PASSES = 64,
	ARGON2_LANES = 16,
	ARGON2_VALUE = 512, /* octets */
};

static bool argon2_verify_value(const struct scheme *scheme, const char *value,
				const char *password)
{
	argon2_type type = strcmp(scheme->name, "argon2id") ? Argon2_i : Argon2_id;

	return argon2_verify(value, password, strlen(password), type) == ARGON2_OK;
}

/* The number behind `name` at *at, and *at behind it and the comma or "$" that ends it. */
static bool argon2_number(const char **at, const char *name, uint64_t max)
{
	size_t len = strlen(name);
	uint64_t number;

	if (strncmp(*at, name, len) != 0)
		return false;
	*at += len;
	size_t digits = strcspn(*at, ",$");
	bool is_good = text_number(*at, digits, max, &number) && number && (*at)[digits];
	*at += digits + is_good;
	return is_good;
}

/* $argon2id$v=19$m=65536,t=3,p=4$salt$hash */
static const char *argon2_refusal(const struct scheme *scheme, const char *value)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789+/";
	const char *at = value + strlen(scheme->prefix);

	if (strlen(value) > ARGON2_VALUE ||
	    strncmp(value, scheme->prefix, strlen(scheme->prefix)) != 0)
		return "the value is not of the scheme in braces";
	if (!argon2_number(&at, "v=", 19) || !argon2_number(&at, "m=", ARGON2_MEMORY_KIB) ||
	    !argon2_number(&at, "t=", ARGON2_PASSES) || !argon2_number(&at, "p=", ARGON2_LANES))
		return "not v=19$m=MEMORY,t=PASSES,p=LANES, at most 262144 (KiB), 64 and 16";
	size_t salt = strspn(at, good);
	if (salt < 11 || at[salt] != '$')
		return "the salt is cut short, or no base64";
	at += salt + 1;
	size_t hash = strspn(at, good);
	return hash < 16 || at[hash] ? "the hash is cut short, or no base64" : NULL;
}

/* --- memory ------------------------------------------------------------------------------- */

enum { MIB_UNKNOWN = 1024, BLOCK = 128 /* octets, of scrypt and yescrypt */ };

/* The value of a digit in crypt(3)'s base64; 64: it is none. */
static unsigned digit_of(char c)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (unsigned)(at - digits) : 64;
}

/* 128 octets times N, a power of two, times r. */
static unsigned blocks_mib(unsigned log2_n, uint64_t r)
{
	if (log2_n > 32 || !r || r > 1 << 20)
		return MIB_UNKNOWN;
	uint64_t mib = ((BLOCK * r << log2_n) + (1 << 20) - 1) >> 20;
	return mib < MIB_UNKNOWN ? (unsigned)mib : MIB_UNKNOWN;
}

/* What stands behind "$y$" or "$gy$": a flavour, N and r, each of one digit up to 47, as crypt_gensalt(3)
 * makes them. */
static unsigned yescrypt_mib(const char *at)
{
	unsigned flavour = digit_of(at[0]);
	unsigned log2_n = flavour < 64 ? digit_of(at[1]) : 64;
	unsigned r = log2_n < 48 ? digit_of(at[2]) : 64;

	return flavour < 48 && r < 48 ? blocks_mib(log2_n + 1, r + 1) : MIB_UNKNOWN;
}

/* What stands behind "$7$": a digit for N, five for r, the lowest first. */
static unsigned scrypt_mib(const char *at)
{
	uint64_t r = 0;

	for (unsigned i = 0; i < 6; i++) {
		unsigned digit = digit_of(at[i]);
		if (digit > 63)
			return MIB_UNKNOWN;
		r |= i ? (uint64_t)digit << 6 * (i - 1) : 0;
	}
	return blocks_mib(digit_of(*at), r);
}

static unsigned crypt_mib(const char *value)
{
	if (!strncmp(value, "$y$", 3))
		return yescrypt_mib(value + 3);
	if (!strncmp(value, "$gy$", 4))
		return yescrypt_mib(value + 4);
	return strncmp(value, "$7$", 3) ? 1 : scrypt_mib(value + 3);
}

static unsigned argon2_mib(const struct scheme *scheme, const char *value)
{
	const char *at = strstr(value + strlen(scheme->prefix), "m=");
	size_t digits = at ? strcspn(at + 2, ",$") : 0;
	uint64_t kib;

	if (!at || !text_number(at + 2, digits, ARGON2_MEMORY_KIB, &kib))
		return MIB_UNKNOWN;
	return (unsigned)(kib + 1023) / 1024;
}

unsigned verify_mib(const char *local)
{
	const char *value;
	const struct scheme *scheme = scheme_of(local, &value);

	if (scheme && scheme->method == METHOD_CRYPT)
		return crypt_mib(value);
	if (scheme && scheme->method == METHOD_ARGON2)
		return argon2_mib(scheme, value);
	return 0;
}

/* --- the contract ------------------------------------------------------------------------- */

static bool plain_verify(const char *value, const char *password)
{
	unsigned char want[DIGEST], got[DIGEST];
	bool is_good = EVP_Digest(value, strlen(value), want, NULL, EVP_sha256(), NULL) == 1 &&
		       EVP_Digest(password, strlen(password), got, NULL, EVP_sha256(), NULL) == 1 &&
		       CRYPTO_memcmp(want, got, DIGEST) == 0;

	mem_wipe(want, sizeof want);
	mem_wipe(got, sizeof got);
	return is_good;
}

const char *verify_refusal(const char *local)
{
	const char *value;
	const struct scheme *scheme = scheme_of(local, &value);
	struct scram scram;

	if (!scheme)
		return "not {yescrypt}, {argon2id}, {sha512-crypt}, {bcrypt}, {crypt}, "
		       "{scram-sha-256}, "
		       "{plain} "
		       "or another scheme that popgate.map(5) names";
	if (!*value)
		return "nothing stands behind the scheme";
	switch (scheme->method) {
	case METHOD_CRYPT:
		return crypt_refusal(scheme, value);
	case METHOD_SCRAM:
		return scram_read(value, &scram) ? NULL
						 : "not iterations,salt,StoredKey,ServerKey (4096 "
						   "iterations or more, the rest base64)";
	case METHOD_ARGON2:
		return argon2_refusal(scheme, value);
	case METHOD_PLAIN:
		break;
	}
	return NULL;
}

const char *verify_plain(const char *local)
{
	const char *value;
	const struct scheme *scheme = scheme_of(local, &value);

	return scheme && scheme->method == METHOD_PLAIN ? value : NULL;
}

bool verify_scram(const char *local, struct verify_scram *out)
{
	const char *value;
	const struct scheme *scheme = scheme_of(local, &value);
	struct scram scram;

	if (!scheme || scheme->method != METHOD_SCRAM || !scram_read(value, &scram))
		return false;
	out->rounds = scram.iterations;
	text_base64(out->salt, scram.salt, scram.salt_len);
	text_base64(out->stored, scram.stored, DIGEST);
	text_base64(out->server, scram.server, DIGEST);
	mem_wipe(&scram, sizeof scram);
	return true;
}

bool verify_password(const char *local, const char *password)
{
	const char *value;
	const struct scheme *scheme = scheme_of(local, &value);

	if (!scheme)
		return false;
	if (scheme->method == METHOD_SCRAM)
		return scram_verify(value, password);
	if (scheme->method == METHOD_CRYPT)
		return crypt_verify(value, password);
	if (scheme->method == METHOD_ARGON2)
		return argon2_verify_value(scheme, value, password);
	return plain_verify(value, password);
}

static const char dummy[] = "$y$j9T$8gTlCmTqC4Z0a8X3JzXxB.";

unsigned verify_dummy_mib(void)
{
	return crypt_mib(dummy);
}

bool verify_dummy(const char *password)
{
	/* A dummy that fails fast would be none: then the work is done with a fixed short word. */
	char *made = crypt_dup(password, dummy);
	if (!made)
		made = crypt_dup("x", dummy);
	text_wipe_free(made);
	return false;
}

char *verify_make_dup(const char *password, bool scram)
{
	return scram ? scram_make(password) : crypt_make(password);
}
