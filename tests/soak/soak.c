/* SPDX-License-Identifier: MIT */
/* soak.c - random POP3 sessions over a model IMAP server in random trouble, against a model of what
 * POP3 promised. Speaks TAP, a line a world; a world is made by its seed alone, so that a failure is
 * seen again by
 *
 *	tests/soak/soak --seed N --sessions 1 --loud
 *
 * Sessions are counted with those that run inside others and those that settle a world at its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/soak/world.h"

enum { SESSIONS = 500, PER_WORLD = 24 };

struct figures {
	struct world_figures all;
	unsigned worlds, failures;
	uint64_t commands, removals;
};

static void add(struct world_figures *all, const struct world_figures *some)
{
	all->sessions += some->sessions;
	all->crashes += some->crashes;
	all->logins += some->logins;
	all->refusals += some->refusals;
	all->mails += some->mails;
	all->gone += some->gone;
	all->failed += some->failed;
	all->quits += some->quits;
	all->promises += some->promises;
	all->faults += some->faults;
	all->renumberings += some->renumberings;
}

/* An empty directory again: LMDB's two files go. */
static void sweep(const char *lmdb)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "state.mdb", "state.mdb-lock"};
	char path[512];

	for (size_t i = 0; lmdb && i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", lmdb, names[i]);
		unlink(path);
	}
}

static void run_world(uint64_t seed, const char *lmdb, bool is_loud, struct figures *figures)
{
	struct world world;

	sweep(lmdb);
	world_init(&world, seed, lmdb, is_loud);
	for (int i = 0; i < PER_WORLD && !*world.failure; i++)
		world_session(&world);
	unsigned at = world.figures.sessions;
	if (!*world.failure)
		world_settle(&world);
	if (*world.failure)
		printf("# seed %llu, %s, session %u%s: %s\n", (unsigned long long)seed,
		       world.family.name, world.figures.sessions,
		       world.figures.sessions > at ? " (settling)" : "", world.failure);
	figures->worlds++;
	figures->failures += *world.failure != '\0';
	figures->commands += world.server.commands;
	figures->removals += world.server.removal_count;
	add(&figures->all, &world.figures);
	world_fini(&world);
	sweep(lmdb);
}

static void tell(const struct figures *figures)
{
	const struct world_figures *all = &figures->all;

	printf("# %u sessions in %u worlds: %u logins, %u refused; %u mails came whole, %u were "
	       "told "
	       "gone, %u failed; %u QUITs with +OK, %u deletions promised\n",
	       all->sessions, figures->worlds, all->logins, all->refusals, all->mails, all->gone,
	       all->failed, all->quits, all->promises);
	printf("# %llu IMAP commands, %u faults, %u crashes, %u new UIDVALIDITYs, %llu messages "
	       "removed; %u worlds with a violation\n",
	       (unsigned long long)figures->commands, all->faults, all->crashes, all->renumberings,
	       (unsigned long long)figures->removals, figures->failures);
}

int main(int argc, char **argv)
{
	struct figures figures = {0};
	uint64_t seed = 1;
	unsigned sessions = SESSIONS;
	const char *lmdb = NULL;
	bool is_loud = false;

	for (int i = 1; i < argc; i++) {
		bool has_value = i + 1 < argc;
		if (!strcmp(argv[i], "--loud")) {
			is_loud = true;
		} else if (!strcmp(argv[i], "--seed") && has_value) {
			seed = strtoull(argv[++i], NULL, 10);
		} else if (!strcmp(argv[i], "--state") && has_value) {
			lmdb = argv[++i];
		} else if (!strcmp(argv[i], "--sessions") && has_value) {
			sessions = (unsigned)strtoul(argv[++i], NULL, 10);
		} else {
			fprintf(stderr, "usage: soak [--seed N] [--sessions N] [--state "
					"EMPTY-DIRECTORY] [--loud]\n");
			return 2;
		}
	}
	printf("1..1\n");
	for (; figures.all.sessions < sessions; seed++)
		run_world(seed, lmdb, is_loud, &figures);
	tell(&figures);
	printf("%sok 1 - soak\n", figures.failures ? "not " : "");
	return figures.failures ? 1 : 0;
}
