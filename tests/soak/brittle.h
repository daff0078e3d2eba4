/* SPDX-License-Identifier: MIT */
/* brittle.h - a state store over another one that fails when it is told to, before or after the other
 * has done its work, and that stops for good when the process has crashed. */
#ifndef POPGATE_SOAK_BRITTLE_H
#define POPGATE_SOAK_BRITTLE_H

#include "upstream/state.h"

struct brittle {
	struct state_store store;     /* first: hand out &brittle.store */
	struct state_store *below;    /* borrowed */
	int put_code, read_code;      /* errno of each put, of each get and walk; 0: they work */
	bool is_late;                 /* a put that fails is done nevertheless */
	void (*after_put)(void *arg); /* it is on disk, and nobody has been told; may be NULL */
	void *arg;
};

void brittle_init(struct brittle *, struct state_store *below);

#endif
