/* SPDX-License-Identifier: MIT */
/* state_lmdb_value.c - how a value lies in the file: a head of 17 octets, then the value.
 *
 *	0        the format, STATE_FORMAT
 *	1 - 8    the version, lowest octet first
 *	9 - 16   a checksum: the first 8 octets of the SHA-256 over the 9 octets before, the key's
 *	         length as one octet and another, the key, and the value
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/state_lmdb.h"

enum { VERSION_AT = 1, SUM_AT = 9, SUM = STATE_HEAD - SUM_AT };

const char state_format_key[] = "\001format";
const char state_format_text[] = "popgate state 1\n";

/* Dies when memory is out, as mem_alloc() does: a checksum that could not be made must not look like
 * one that is wrong. */
static void make_sum(unsigned char sum[SUM], const unsigned char *head, const void *key,
		     size_t key_len, const void *value, size_t len)
{
	const unsigned char length[] = {(unsigned char)key_len, (unsigned char)(key_len >> 8)};
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) ||
	    !EVP_DigestUpdate(ctx, head, SUM_AT) || !EVP_DigestUpdate(ctx, length, sizeof length) ||
	    !EVP_DigestUpdate(ctx, key, key_len) || !EVP_DigestUpdate(ctx, value, len) ||
	    !EVP_DigestFinal_ex(ctx, digest, NULL))
		abort();
	EVP_MD_CTX_free(ctx);
	memcpy(sum, digest, SUM);
}

void state_value_make(void *out, const char *key, uint64_t version, const void *value, size_t len)
{
	unsigned char *head = out;

	head[0] = STATE_FORMAT;
	for (size_t i = 0; i < sizeof version; i++)
		head[VERSION_AT + i] = (unsigned char)(version >> 8 * i);
	make_sum(head + SUM_AT, head, key, strlen(key), value, len);
	if (len)
		memcpy(head + STATE_HEAD, value, len);
}

bool state_value_read(const void *key, size_t key_len, const void *stored, size_t len,
		      uint64_t *version)
{
	const unsigned char *head = stored;
	unsigned char sum[SUM];

	*version = 0;
	if (len < STATE_HEAD || head[0] != STATE_FORMAT)
		return false;
	make_sum(sum, head, key, key_len, head + STATE_HEAD, len - STATE_HEAD);
	if (memcmp(sum, head + SUM_AT, SUM) != 0)
		return false;
	for (size_t i = 0; i < sizeof *version; i++)
		*version |= (uint64_t)head[VERSION_AT + i] << 8 * i;
	return true;
}
