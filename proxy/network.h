/* SPDX-License-Identifier: MIT */
/* network.h - sets of addresses: 10.20.0.0/16, 2001:db8::/32, 192.0.2.7. */
#ifndef POPGATE_NETWORK_H
#define POPGATE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct network {
	unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;             /* of those 128 that count */
};
struct network_list {
	struct network *all; /* owned */
	size_t count;
};

/* Adds the networks of a list separated by commas and blanks. False if one is malformed or has bits
 * set behind its prefix; the list is then unchanged. */
bool network_list_add(struct network_list *, const char *text, size_t len)
	__attribute__((warn_unused_result));
bool network_list_has(const struct network_list *, const struct sockaddr_storage *);
bool network_is_loopback(const struct sockaddr_storage *);
void network_list_fini(struct network_list *); /* a zeroed struct is fine */

#endif
