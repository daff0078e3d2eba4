/* SPDX-License-Identifier: MIT */
/* state_lmdb_value.c - how a value lies in the file: a head of 17 octets, then the value.
 *
 *	0        the format, STATE_FORMAT
 *	1 - 8    the version, lowest octet first
 *	9 - 16   a checksum, lowest octet first: XXH3 (64 bits) over the value, with XXH3 over
 *	         the key and the 9 octets before as its seed
 *
 * It tells what the disk or an accident has changed; who can write the file can write a checksum too.
 */
#include <string.h>

#include <xxhash.h>

#include "upstream/state_lmdb.h"

enum { VERSION_AT = 1, SUM_AT = 9, SUM = STATE_HEAD - SUM_AT };

const char state_format_key[] = "\001format";
const char state_format_text[] = "popgate state 2\n";

static void put_number(unsigned char out[8], uint64_t number)
{
	for (size_t i = 0; i < 8; i++)
		out[i] = (unsigned char)(number >> 8 * i);
}

static void make_sum(unsigned char sum[SUM], const unsigned char *head, const void *key,
		     size_t key_len, const void *value, size_t len)
{
	XXH64_hash_t seed = XXH3_64bits_withSeed(key, key_len, XXH3_64bits(head, SUM_AT));

	put_number(sum, XXH3_64bits_withSeed(value, len, seed));
}

void state_value_make(void *out, const char *key, uint64_t version, const void *value, size_t len)
{
	unsigned char *head = out;

	head[0] = STATE_FORMAT;
	put_number(head + VERSION_AT, version);
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
