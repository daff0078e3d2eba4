/* SPDX-License-Identifier: MIT */
/* place.h - on which worker a mailbox lives.
 *
 * Two names for one mailbox must meet at one lock: so it is the store that counts, as it stands in the
 * map after all expansions, and not the name. A name that the map does not open lives somewhere too. The
 * hash has a key that is made anew by each process: nobody outside knows where a name would live, and
 * so learns nothing from where it seems to.
 */
#ifndef POPGATE_PLACE_H
#define POPGATE_PLACE_H

#include "proxy/map.h"

enum { PLACES_KEY = 32 };

struct places {
	unsigned count; /* workers; 1 at least */
	unsigned char key[PLACES_KEY];
};

/* Below `count`. `name` as a client gave it. Does not wait; costs a look into the map and a hash. */
unsigned place_of(const struct places *, const struct map *, const char *name);

#endif
