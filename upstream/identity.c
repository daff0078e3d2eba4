/* SPDX-License-Identifier: MIT */
/* identity.c - names made of digests: short, printable, and the same after every restart. */
#include "upstream/identity.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum { NAME_TAG = 32 }; /* characters: 160 bits, so that no two names meet (E-07) */

/* The first `count` base32 characters of a digest, NUL ended; 5 * count bits, whole octets or not.
 */
static void base32(char *out, size_t count, const unsigned char digest[SHA256_DIGEST_LENGTH])
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

	for (size_t i = 0; i < count; i++) {
		size_t bit = i * 5;
		unsigned two = (unsigned)digest[bit / 8] << 8 | digest[bit / 8 + 1];
		out[i] = digits[two >> (11 - bit % 8) & 31];
	}
	out[count] = '\0';
}

void identity_tag(char out[IDENTITY_TAG + 1], const char *host, const char *login,
		  const char *folder)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	size_t host_size = strlen(host) + 1, login_size = strlen(login) + 1;
	size_t size = host_size + login_size + strlen(folder) + 1;
	char *all = mem_alloc(size);

	memcpy(all, host, host_size);
	text_lower(all);
	memcpy(all + host_size, login, login_size);
	memcpy(all + host_size + login_size, folder, size - host_size - login_size);
	SHA256((const unsigned char *)all, size, digest);
	free(all);
	base32(out, IDENTITY_TAG, digest);
}

void identity_of_name(char *out, const char *name)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)name, strlen(name), digest);
	out[0] = 'h';
	out[1] = '.';
	base32(out + 2, NAME_TAG, digest);
}
