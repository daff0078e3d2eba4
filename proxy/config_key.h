/* SPDX-License-Identifier: MIT */
/* config_key.h - the keys of popgate.conf: in which section each stands, and where its value goes. For
 * config.c alone. */
#ifndef POPGATE_CONFIG_KEY_H
#define POPGATE_CONFIG_KEY_H

#include <stddef.h>

#include "proxy/config_value.h"

enum section { SECTION_NONE, SECTION_POPGATE, SECTION_LISTENER, SECTION_OAUTH, SECTION_UNKNOWN };

struct config_key {
	enum section section;
	const char *name;
	struct value_form form;
	size_t at;      /* offset of its field in struct config, struct listener_conf or struct
			   oauth_section */
	size_t line_at; /* of the int that keeps its line, for what is found later; 0: none does */
};

enum { CONFIG_KEYS_MAX = 96 };
extern const struct config_key config_keys[];
extern const size_t config_key_count; /* at most CONFIG_KEYS_MAX */

/* NULL: there is no such key in this section. */
const struct config_key *config_key_find(enum section, const char *name);
/* The one that was perhaps meant; NULL: none is near. */
const struct config_key *config_key_nearest(enum section, const char *name);

#endif
