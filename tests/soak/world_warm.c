/* SPDX-License-Identifier: MIT */
/* world_warm.c - mailboxes that stay open behind their sessions (M-09), in a world that has them. */
#include "tests/soak/world.h"
#include "upstream/imap_warm.h"

void world_tend_warm(struct world *world)
{
	struct parked *parked;

	while (world->stand.conf.warm && (parked = imap_warm_due(world->stand.conf.warm)))
		imap_warm_tend(world->stand.conf.warm, parked);
}

void world_end_warm(struct world *world)
{
	if (!world->stand.conf.warm)
		return;
	imap_warm_drop(world->stand.conf.warm);
	world_tend_warm(world);
	imap_warm_free(world->stand.conf.warm);
	world->stand.conf.warm = NULL;
}

void world_begin_warm(struct world *world)
{
	struct imap_warm_conf conf = {.keep_ms = WELL_MS,
				      .fresh_ms = world->has_idle ? 60000 : 0,
				      .proof_ms = 3600000,
				      .most = 2,
				      .octets = 1 << 20};

	world->warm_log = (struct log){.target = &world->log};
	if (world->has_warm)
		world->stand.conf.warm =
			imap_warm_new(&world->server.world.env, &world->warm_log, &conf);
}

void world_lose_warm(struct world *world)
{
	world_end_warm(world);
	world_begin_warm(world);
}
