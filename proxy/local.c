/* SPDX-License-Identifier: MIT */
/* local.c - one password a device: whoever loses a scanner takes its line out of the map, and nobody
 * else has to learn a new one. */
#include "proxy/local.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/verify.h"

enum { MD5 = 16 };

size_t local_name_len(const char *value)
{
	const char *colon = *value == '{' ? NULL : strchr(value, ':');

	return colon ? (size_t)(colon - value) : 0;
}

const char *local_secret(const char *value)
{
	size_t len = local_name_len(value);

	return len ? value + len + 1 : value;
}

const char *local_value_refusal(const char *value)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-";
	size_t len = local_name_len(value);

	if (len && (len > LOCAL_NAME_MAX || strspn(value, good) != len || value[len + 1] != '{'))
		return "not NAME:{scheme}value: a name is 1 to 32 of a-z A-Z 0-9 . _ -";
	return verify_refusal(local_secret(value));
}

unsigned local_kinds(const struct local_list *list)
{
	unsigned kinds = 0;

	for (size_t i = 0; i < list->count; i++) {
		const char *secret = local_secret(list->value[i]);
		struct verify_scram scram;
		if (verify_plain(secret))
			kinds |= LOCAL_PLAIN;
		else
			kinds |= verify_scram(secret, &scram) ? LOCAL_SCRAM_SHA_256 : LOCAL_OTHER;
	}
	return kinds;
}

int local_find_password(const struct local_list *list, const char *password)
{
	bool was_slow = false;

	for (size_t i = 0; i < list->count; i++) {
		const char *secret = local_secret(list->value[i]);
		if (verify_password(secret, password))
			return (int)i;
		was_slow |= !verify_plain(secret);
	}
	/* A refusal must not come so soon that it tells: this name exists (B-05). */
	if (!was_slow)
		(void)verify_dummy(password);
	return -1;
}

unsigned local_password_mib(const struct local_list *list)
{
	unsigned most = verify_dummy_mib();

	/* One after the other. */
	for (size_t i = 0; i < list->count; i++) {
		unsigned mib = verify_mib(local_secret(list->value[i]));
		most = mib > most ? mib : most;
	}
	return most;
}

static bool digest_of(const char *timestamp, const char *secret, bool is_keyed,
		      unsigned char out[EVP_MAX_MD_SIZE])
{
	const EVP_MD *md5 = EVP_md5();

	if (is_keyed)
		return HMAC(md5, secret, (int)strlen(secret), (const unsigned char *)timestamp,
			    strlen(timestamp), out, NULL) != NULL;
	char *text = text_printf_dup("%s%s", timestamp, secret);
	bool is_done = EVP_Digest(text, strlen(text), out, NULL, md5, NULL) == 1;
	text_wipe_free(text);
	return is_done;
}

/* In lower case; `out` holds 2 * MD5 + 1 octets. */
static void hex(char *out, const unsigned char digest[MD5])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < MD5; i++) {
		*out++ = digits[digest[i] >> 4];
		*out++ = digits[digest[i] & 15];
	}
	*out = '\0';
}

int local_find_digest(const struct local_list *list, bool is_keyed, const char *timestamp,
		      const char *digest)
{
	unsigned char made[EVP_MAX_MD_SIZE];
	char want[2 * MD5 + 1], got[2 * MD5 + 1];
	int found = -1;

	if (strlen(digest) != 2 * MD5)
		return -1;
	memcpy(got, digest, sizeof got);
	text_lower(got);
	for (size_t i = 0; i < list->count && found < 0; i++) {
		const char *secret = verify_plain(local_secret(list->value[i]));
		if (!secret || !digest_of(timestamp, secret, is_keyed, made))
			continue;
		hex(want, made);
		if (text_same_secret(want, 2 * MD5, got, 2 * MD5))
			found = (int)i;
	}
	mem_wipe(made, sizeof made);
	mem_wipe(want, sizeof want);
	return found;
}
