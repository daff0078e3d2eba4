/* SPDX-License-Identifier: MIT */
/* seal.c - AES-256-GCM by OpenSSL.
 *
 * The key lies in a page of its own: mlock(2) keeps it out of the swap, MADV_DONTDUMP out of core
 * dumps. Where the limit on locked memory forbids the first, popgate works on: the key was readable
 * on disk in the same moment.
 */
#include "upstream/seal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/secret_file.h"

enum { FORMAT = 1, NONCE = 12, TAG = 16, KEY_FILE_MAX = 256, PLAIN_MAX = 1 << 20 };

struct token_key {
	unsigned char octets[TOKEN_KEY];
};

/* --- the key ------------------------------------------------------------------------------ */

struct err token_key_new(const unsigned char octets[TOKEN_KEY], struct token_key **out)
{
	*out = NULL;
	struct token_key *key =
		mmap(NULL, sizeof *key, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (key == MAP_FAILED)
		return ERR(ERR_UPSTREAM, errno, "no memory for the key");
	(void)mlock(key, sizeof *key);
	(void)madvise(key, sizeof *key, MADV_DONTDUMP);
	memcpy(key->octets, octets, TOKEN_KEY);
	*out = key;
	return OK;
}

void token_key_free(struct token_key *key)
{
	if (!key)
		return;
	mem_wipe(key, sizeof *key);
	munmap(key, sizeof *key);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_hex(const char *text, unsigned char octets[TOKEN_KEY])
{
	for (size_t i = 0; i < TOKEN_KEY; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		octets[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool read_base64(const char *text, size_t len, unsigned char octets[TOKEN_KEY])
{
	unsigned char raw[TOKEN_KEY + 3];
	size_t raw_len = 0;

	bool is_good = len == 44 && text_unbase64(raw, &raw_len, text, len) && raw_len == TOKEN_KEY;
	if (is_good)
		memcpy(octets, raw, TOKEN_KEY);
	mem_wipe(raw, sizeof raw);
	return is_good;
}

/* The length says which form it is: 32 octets are the key itself, whatever they look like. */
static bool read_key(const char *text, size_t len, unsigned char octets[TOKEN_KEY])
{
	if (len == TOKEN_KEY) {
		memcpy(octets, text, TOKEN_KEY);
		return true;
	}
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	return len == 2 * TOKEN_KEY ? read_hex(text, octets) : read_base64(text, len, octets);
}

static const char *mode_refusal(const struct stat *status, uid_t owner, bool is_credential)
{
	mode_t forbidden = is_credential ? S_IRWXO | S_IWGRP | S_IXGRP : S_IRWXO | S_IRWXG;

	if (status->st_uid != 0 && status->st_uid != geteuid() && status->st_uid != owner)
		return "it belongs to somebody else";
	return status->st_mode & forbidden ? "others may read or write it: chmod 0600" : NULL;
}

struct err token_key_read(const char *file, uid_t owner, bool is_credential, struct notice *why,
			  struct token_key **out)
{
	unsigned char octets[TOKEN_KEY];
	struct stat status;
	struct buf text;

	*out = NULL;
	buf_init(&text, KEY_FILE_MAX);
	text.is_secret = true;
	struct err err = secret_file_read(file, &status, why, &text);
	if (err.kind)
		goto out;
	const char *wrong = mode_refusal(&status, owner, is_credential);
	if (!wrong && !read_key(buf_data(&text), buf_len(&text), octets))
		wrong = "not a key: 32 octets, or 64 hexadecimal digits, or the base64 of 32 "
			"octets";
	if (wrong) {
		snprintf(why->text, sizeof why->text, "%s: %s", file, wrong);
		err = ERR(ERR_POLICY, 0, "the key for tokens cannot be used");
		goto out;
	}
	err = token_key_new(octets, out);
out:
	mem_wipe(octets, sizeof octets);
	buf_wipe(&text);
	return err;
}

/* --- values ------------------------------------------------------------------------------- */

/* What is authenticated besides: the format, and the place with its NUL. */
static bool add_place(EVP_CIPHER_CTX *cipher, unsigned char format, const char *name)
{
	int len;

	return EVP_CipherUpdate(cipher, NULL, &len, &format, 1) == 1 &&
	       EVP_CipherUpdate(cipher, NULL, &len, (const unsigned char *)name,
				(int)strlen(name) + 1) == 1;
}

struct err seal_put(const struct token_key *key, const struct env *env, const char *name,
		    const void *plain, size_t len, struct buf *out)
{
	unsigned char *to =
		len <= PLAIN_MAX ? (unsigned char *)buf_room(out, len + SEAL_EXTRA) : NULL;
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	struct err err = ERR(ERR_UPSTREAM, ENOMEM, "a token cannot be encrypted");
	int more = 0, last = 0;

	if (!to || !cipher)
		goto out;
	unsigned char *nonce = to + 1, *body = nonce + NONCE;
	*to = FORMAT;
	env->ops->random(env, nonce, NONCE);
	if (EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key->octets, nonce, 1) != 1 ||
	    !add_place(cipher, *to, name) ||
	    EVP_CipherUpdate(cipher, body, &more, plain, (int)len) != 1 ||
	    EVP_CipherFinal_ex(cipher, body + more, &last) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG, body + len) != 1)
		goto out;
	buf_added(out, len + SEAL_EXTRA);
	err = OK;
out:
	EVP_CIPHER_CTX_free(cipher);
	return err;
}

struct err seal_get(const struct token_key *key, const char *name, const void *sealed, size_t len,
		    struct buf *out)
{
	const unsigned char *from = sealed, *nonce = from + 1, *body = nonce + NONCE;
	struct err err = ERR(ERR_POLICY, EBADMSG,
			     "a stored token cannot be decrypted: another key, or damage");
	unsigned char tag[TAG];
	int more = 0, last = 0;

	if (len < SEAL_EXTRA || len - SEAL_EXTRA > PLAIN_MAX || *from != FORMAT)
		return err;
	size_t plain = len - SEAL_EXTRA;
	memcpy(tag, body + plain, TAG);
	unsigned char *to = (unsigned char *)buf_room(out, plain + 1); /* room is never 0 */
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	if (!to || !cipher) {
		err = ERR(ERR_UPSTREAM, ENOMEM, "no memory for a token");
		goto out;
	}
	if (EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key->octets, nonce, 0) == 1 &&
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
	    add_place(cipher, *from, name) &&
	    EVP_CipherUpdate(cipher, to, &more, body, (int)plain) == 1 &&
	    EVP_CipherFinal_ex(cipher, to + more, &last) == 1) {
		buf_added(out, plain);
		err = OK;
	} else {
		mem_wipe(to, plain); /* what was decrypted is not known to be ours */
	}
out:
	EVP_CIPHER_CTX_free(cipher);
	return err;
}
