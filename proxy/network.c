/* SPDX-License-Identifier: MIT */
/* network.c - sets of addresses.
 *
 * Everything is kept as IPv6, IPv4 inside ::ffff:0:0/96, so that a client that came by a socket of
 * both families matches the IPv4 network that was meant.
 */
#include "proxy/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool address_read(const char *text, unsigned char out[16], unsigned *width)
{
	if (inet_pton(AF_INET6, text, out) == 1) {
		*width = 128;
		return true;
	}
	memcpy(out, mapped, sizeof mapped);
	*width = 32;
	return inet_pton(AF_INET, text, out + sizeof mapped) == 1;
}

/* Whether nothing is set behind the first `bits` bits. */
static bool is_clean(const unsigned char address[16], unsigned bits)
{
	for (unsigned i = bits; i < 128; i++)
		if (address[i / 8] & (0x80 >> i % 8))
			return false;
	return true;
}

static bool network_read(const char *text, size_t len, struct network *out)
{
	char word[INET6_ADDRSTRLEN + 1];
	const char *slash = memchr(text, '/', len);
	size_t address_len = slash ? (size_t)(slash - text) : len;
	uint64_t bits;
	unsigned width;

	if (address_len >= sizeof word || memchr(text, '\0', len))
		return false;
	memcpy(word, text, address_len);
	word[address_len] = '\0';
	if (!address_read(word, out->address, &width))
		return false;
	bits = width;
	if (slash && !text_number(slash + 1, len - address_len - 1, width, &bits))
		return false;
	out->bits = (unsigned)bits + (128 - width);
	return is_clean(out->address, out->bits);
}

static bool is_separator(char c)
{
	return c == ',' || c == ' ' || c == '\t';
}

bool network_list_add(struct network_list *list, const char *text, size_t len)
{
	size_t before = list->count, at = 0;

	while (at < len) {
		size_t start = at;
		while (at < len && !is_separator(text[at]))
			at++;
		if (at > start) {
			struct network network;
			if (!network_read(text + start, at - start, &network)) {
				list->count = before;
				return false;
			}
			list->all = mem_resize(list->all, list->count + 1, sizeof *list->all);
			list->all[list->count++] = network;
		}
		at++;
	}
	/* A list of nothing would mean "everybody" to those who test count: never by accident. */
	return list->count > before;
}

static bool address_of(const struct sockaddr_storage *peer, unsigned char out[16])
{
	if (peer->ss_family == AF_INET6) {
		memcpy(out, &((const struct sockaddr_in6 *)peer)->sin6_addr, 16);
		return true;
	}
	if (peer->ss_family != AF_INET)
		return false;
	memcpy(out, mapped, sizeof mapped);
	memcpy(out + sizeof mapped, &((const struct sockaddr_in *)peer)->sin_addr, 4);
	return true;
}

static bool network_has(const struct network *network, const unsigned char address[16])
{
	unsigned whole = network->bits / 8, rest = network->bits % 8;

	if (memcmp(network->address, address, whole) != 0)
		return false;
	return !rest || !((network->address[whole] ^ address[whole]) >> (8 - rest));
}

bool network_list_has(const struct network_list *list, const struct sockaddr_storage *peer)
{
	unsigned char address[16];

	if (!address_of(peer, address))
		return false;
	for (size_t i = 0; i < list->count; i++)
		if (network_has(&list->all[i], address))
			return true;
	return false;
}

bool network_is_loopback(const struct sockaddr_storage *peer)
{
	static const struct network four = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127}, 104};
	static const struct network six = {{[15] = 1}, 128};
	unsigned char address[16];

	return address_of(peer, address) &&
	       (network_has(&four, address) || network_has(&six, address));
}

void network_list_fini(struct network_list *list)
{
	free(list->all);
	*list = (struct network_list){0};
}
