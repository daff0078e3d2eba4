/* SPDX-License-Identifier: MIT */
/* map_policy.h - the attributes that say what becomes of mail, in the terms of the store
 * contract. */
#ifndef POPGATE_MAP_POLICY_H
#define POPGATE_MAP_POLICY_H

#include <stdbool.h>

#include "proxy/map.h"
#include "proxy/map_parts.h"
#include "upstream/uidl.h"

/* A conf as it is when no attribute says anything. */
void map_policy_init(struct upstream_conf *);

/* Whether the attribute is one of policy. */
bool map_is_policy(enum map_attribute);

/* Sets what the attribute says in `conf`, and for uidl= in `uidl`, which conf then borrows. NULL, or
 * what is wrong with the value (a literal). Strings in `conf` are borrowed from `value`. */
const char *map_policy_set(enum map_attribute, const char *value, struct upstream_conf *conf,
			   struct uidl_format *uidl);

/* What no single value can show; NULL if all is well. */
const char *map_policy_refusal(const struct map_values *, const struct map_url *);

/* Why a value works only with a state directory; NULL if it does without. */
const char *map_policy_needs_state(enum map_attribute, const char *value);

#endif
