/* SPDX-License-Identifier: MIT */
/* config_value.h - what the values of popgate.conf may be. For config.c alone. */
#ifndef POPGATE_CONFIG_VALUE_H
#define POPGATE_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/config.h"

enum value_type {
	VALUE_TEXT,      /* char *, owned */
	VALUE_FILES,     /* struct file_list */
	VALUE_TIME,      /* uint64_t, ms: 600, 600s, 10m, 2h */
	VALUE_COUNT,     /* unsigned */
	VALUE_WORKERS,   /* unsigned; auto: 0 */
	VALUE_NETWORKS,  /* struct network_list */
	VALUE_LOG,       /* bool: syslog */
	VALUE_TLS,       /* enum listener_tls */
	VALUE_TLS_MIN,   /* int */
	VALUE_ADDRESSES, /* the listener's addresses */
	VALUE_CLEARTEXT, /* the listener's cleartext and networks */
	VALUE_WAYS,      /* unsigned, of enum login_way */
	VALUE_GRANT,     /* enum oauth_grant */
	VALUE_CREDENTIAL /* char *, owned: the name of a file in $CREDENTIALS_DIRECTORY */
};

struct value_form {
	enum value_type type;
	uint64_t min, max; /* of a count, or of a time in ms */
};

/* Reads `value` into `field`, or, for the two types that need more than a field, into `listener`.
 * NULL if that went well, else what is wrong (a literal); the field is then not to be relied on. */
const char *config_value_set(const struct value_form *, const char *value, void *field,
			     struct listener_conf *listener);
/* Whether an address and port is one of `count`. */
bool config_address_in(const struct sockaddr_storage *, const struct sockaddr_storage *all,
		       size_t count);

#endif
