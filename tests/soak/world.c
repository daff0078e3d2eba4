/* SPDX-License-Identifier: MIT */
/* world.c - everything around the sessions of a soak. */
#include "tests/soak/world.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/soak/bot.h"
#include "upstream/health.h"
#include "upstream/imap_memo.h"
#include "upstream/imap_quirks.h"

enum { FIRST_MAILS = 12, AGE_S = 3 * 60 * 60, SETTLE_ROUNDS = 3 };

static const char *const name_of[PROMISE_NAMES] = {"joe", "mary"};

uint32_t world_chance(struct world *world, uint32_t below)
{
	world->chance = world->chance * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(world->chance >> 33) % below;
}

bool world_odds(struct world *world, unsigned one_in)
{
	return one_in && !world_chance(world, one_in);
}

void world_fail(struct world *world, const char *format, ...)
{
	va_list args;

	if (*world->failure)
		return;
	va_start(args, format);
	vsnprintf(world->failure, sizeof world->failure, format, args);
	va_end(args);
}

bool world_has_twin(const struct world *world, uint64_t id)
{
	for (size_t i = 0; i < world->twin_count; i++)
		if (world->twins[i] == id)
			return true;
	return false;
}

uint64_t world_mail(const struct world *world, uint64_t uidvalidity, uint32_t uid)
{
	for (size_t i = world->uid_count; i > 0; i--)
		if (world->uids[i - 1].uid == uid && world->uids[i - 1].uidvalidity == uidvalidity)
			return world->uids[i - 1].id;
	return 0;
}

bool world_is_twin(const struct world *world, uint64_t a, uint64_t b)
{
	const struct server_mail *one = imap_server_mail(&world->server, a);
	const struct server_mail *two = imap_server_mail(&world->server, b);

	return one->len == two->len && !memcmp(one->octets, two->octets, one->len);
}

/* Of two mails of equal octets the one may stand for the other (E-05). */
static bool may_remove(void *arg, uint64_t id)
{
	struct world *world = arg;

	for (size_t i = 0; i < world->twin_count; i++)
		if (world_is_twin(world, world->twins[i], id) &&
		    promise_may_remove(&world->promise, world->twins[i]))
			return true;
	return promise_may_remove(&world->promise, id);
}

/* What server and clients have said, in its place between the lines of the log. */
void world_flush(struct world *world)
{
	struct buf *trace = &world->server.trace;

	if (!world->is_loud)
		return;
	fwrite(buf_data(trace), 1, buf_len(trace), stderr);
	buf_drop(trace, buf_len(trace));
}

void world_say(struct world *world, const char *format, ...)
{
	va_list args;

	if (!world->is_loud)
		return;
	world_flush(world);
	fputs("# ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* --- trouble ---------------------------------------------------------------------------------- */

static void die(struct world *world)
{
	world_say(world, "popgate is killed");
	world->is_dead = true;
	world->figures.crashes++;
	world->state.put_code = world->state.read_code = EIO;
	for (unsigned i = 0; i < world->depth; i++)
		stream_abort(&world->bots[i]->client.stream);
}

static enum server_fault some_fault(struct world *world, const char *command)
{
	bool is_dial = !strcmp(command, "(dial)");

	for (;;) {
		enum server_fault fault = 1 + world_chance(world, FAULT_COUNT - 1);
		bool is_lie = fault == FAULT_LIE || fault == FAULT_LOSE;
		bool is_of_dial = fault == FAULT_NO || fault == FAULT_BAD || fault == FAULT_BYE ||
				  fault == FAULT_CUT || fault == FAULT_STALL;
		if ((!is_lie || world->may_lie) && (!is_dial || is_of_dial))
			return fault;
	}
}

static void run_inner(struct world *world)
{
	unsigned other = 1 - world->bots[0]->name;

	world_run(world, other, world_chance(world, BOT_KINDS));
	/* What the other has confirmed may go at any moment from now on. */
	for (uint64_t id = 1; id < WORLD_MAILS; id++)
		if (promise_of(&world->promise, other, id)->is_confirmed)
			world->bots[0]->show[id] = SHOW_ANY;
}

/* The state fills up, breaks, and is well again. */
static void trouble_state(struct world *world)
{
	struct brittle *state = &world->state;

	world->figures.faults++;
	state->put_code = world_odds(world, 2) ? ENOSPC : 0;
	state->read_code = world_odds(world, 4) ? EIO : 0;
	state->is_late = world_odds(world, 4);
	world->has_forgotten |= state->put_code || state->read_code;
	world_say(world, "state: put=%d read=%d late=%d", state->put_code, state->read_code,
		  state->is_late);
}

/* Before each command of any session. */
static enum server_fault on_command(void *arg, struct imap_server *server, const char *command)
{
	struct world *world = arg;

	(void)server;
	if (world->is_dead)
		return FAULT_CUT;
	if (!strcmp(command, "EXAMINE \"INBOX\""))
		world_examined(world);
	if (world->is_calm || !world->depth)
		return FAULT_NONE;
	if (world->crash_at && --world->crash_at == 0) {
		die(world);
		return FAULT_CUT;
	}
	if (world_odds(world, world->event_odds))
		world_event(world, command);
	if (world->depth == 1 && world_odds(world, world->nested_odds) &&
	    strncmp(command, "EXPUNGE", 7) != 0)
		run_inner(world);
	if (world->is_dead)
		return FAULT_CUT;
	if (world_odds(world, world->fault_odds * 2))
		trouble_state(world);
	if (!world_odds(world, world->fault_odds))
		return FAULT_NONE;
	world->figures.faults++;
	enum server_fault fault = some_fault(world, command);
	world_say(world, "fault %d: %.80s", fault, command);
	return fault;
}

/* Whose answer goes on, where several FETCHes are under way. */
static uint32_t pick(void *arg, uint32_t below)
{
	return world_chance(arg, below);
}

/* The process may crash with what it has just written on disk and nobody told. */
static void after_put(void *arg)
{
	struct world *world = arg;

	if (world->crash_at && world_odds(world, 6))
		die(world);
}

/* --- sessions --------------------------------------------------------------------------------- */

void world_run(struct world *world, unsigned name, unsigned kind)
{
	struct session session = {0};
	struct bot bot;

	if (*world->failure || world->is_dead)
		return;
	snprintf(session.log.tag, sizeof session.log.tag, "n=%u user=%s", ++world->figures.sessions,
		 name_of[name]);
	bot_init(&bot, world, &session, name, kind);
	world->bots[world->depth++] = &bot;
	stand_run(&world->stand, &session, &bot.client);
	world->depth--;
	bot_end(&bot);
	bot_fini(&bot);
	if (world->server.crimes)
		world_fail(world, "%s", world->server.crime);
}

static void mend_state(struct world *world)
{
	world->state.put_code = world->state.read_code = 0;
	world->state.is_late = false;
}

/* The state of a process that begins, in what the last one has left. */
static void open_state(struct world *world)
{
	struct state_store *below = &world->memory.store;
	struct notice why;

	if (world->lmdb) {
		struct err err = state_lmdb_open(world->lmdb, NULL, &why, &below);
		if (err.kind) {
			world_fail(world, "the state directory cannot be opened: %s: %s", err.what,
				   why.text);
			below = &world->memory.store;
		}
	}
	brittle_init(&world->state, below);
	world->state.after_put = after_put;
	world->state.arg = world;
}

static void close_state(struct world *world)
{
	world->state.below->ops->close(world->state.below);
}

static void restart(struct world *world)
{
	world_end_warm(world);
	stand_restart(&world->stand);
	health_free(world->stand.conf.health);
	world->stand.conf.health = world->has_health ? health_new() : NULL;
	imap_memos_free(world->stand.conf.memos);
	world->stand.conf.memos = imap_memos_new();
	world_begin_warm(world);
	close_state(world);
	open_state(world);
	world->is_dead = false;
}

static void set_trouble(struct world *world)
{
	static const unsigned faults[] = {0, 40, 16, 8, 5}, events[] = {0, 20, 8, 4};
	struct imap_server *server = &world->server;

	world->fault_odds = faults[world_chance(world, 5)];
	world->event_odds = events[world_chance(world, 4)];
	world->nested_odds = world_odds(world, 4) ? 12 : 0;
	world->crash_at = world_odds(world, 8) ? 1 + world_chance(world, 20) : 0;
	mend_state(world);
	server->tells_early = world_odds(world, 2);
	server->says_issued = world_odds(world, 2);
	server->cut_out = world_odds(world, 8) ? world_chance(world, 6000) : SIZE_MAX;
	server->cut_in = world_odds(world, 8) ? world_chance(world, 600) : SIZE_MAX;
	/* A session with nothing of all that must simply work. */
	world->is_calm = world_odds(world, 4);
	if (world->is_calm) {
		server->cut_out = server->cut_in = SIZE_MAX;
		world->crash_at = 0;
		server->world.now_ms += WELL_MS;
	}
}

void world_session(struct world *world)
{
	for (uint32_t events = world_chance(world, 4); events; events--)
		world_event(world, "");
	world->server.world.now_ms += world_chance(world, WELL_MS);
	set_trouble(world);
	if (world_odds(world, 2))
		world_tend_warm(world);
	world_run(world, world_chance(world, 3) / 2, world_chance(world, BOT_KINDS));
	if (world->is_dead || world_odds(world, 6))
		restart(world);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Whether it may still be among the newest that keep_newest= keeps: counted are those above that the name
 * is shown. What it has deleted itself may count or not. */
static bool may_wait(struct world *world, unsigned name, uint64_t id)
{
	const struct server_folder *inbox = world->inbox;
	size_t newer = 0;

	for (size_t i = inbox->count; i && inbox->messages[i - 1].mail->id != id; i--) {
		const struct server_message *msg = &inbox->messages[i - 1];
		newer += !(msg->flags & FLAG_DELETED) &&
			 !promise_of(&world->promise, name, msg->mail->id)->is_confirmed;
	}
	return newer < world->stand.conf.keep_newest;
}

/* What must have become of a promised mail when everything is well. */
static void check_gone(struct world *world, unsigned name, uint64_t id)
{
	const struct promise_mail *mail = promise_of(&world->promise, name, id);
	size_t left = 0;

	if (!mail->is_promised || mail->is_weak || mail->is_hidden_only ||
	    world->stand.conf.delete_policy == DELETE_HIDE ||
	    (world->figures.renumberings && world_has_twin(world, id)))
		return;
	for (size_t i = 0; i < world->inbox->count; i++)
		left += world->inbox->messages[i].mail->id == id &&
			!(world->inbox->messages[i].flags & FLAG_DELETED);
	if (left && !may_wait(world, name, id))
		world_fail(world, "mail %u was promised to %s and is still there", (unsigned)id,
			   name_of[name]);
	/* Without UIDPLUS a mail stays where it was, and each name moves it for itself. */
	size_t most = 0;
	for (unsigned who = 0; who < PROMISE_NAMES; who++)
		most += promise_of(&world->promise, who, id)->is_confirmed;
	for (size_t i = 1; i < world->server.folder_count; i++)
		if (!mail->is_failed && imap_server_copies(&world->server.folders[i], id) > most)
			world_fail(world, "mail %u is in %s more than once", (unsigned)id,
				   world->server.folders[i].name);
}

void world_settle(struct world *world)
{
	world->is_calm = true;
	world->crash_at = 0;
	mend_state(world);
	world->server.cut_out = world->server.cut_in = SIZE_MAX;
	for (int round = 0; round < SETTLE_ROUNDS; round++) {
		world->server.world.now_ms += WELL_MS;
		for (unsigned name = 0; name < PROMISE_NAMES; name++)
			world_run(world, name, BOT_POLLER);
	}
	for (unsigned name = 0; name < PROMISE_NAMES; name++)
		for (uint64_t id = 1; id <= world->server.mail_count; id++)
			check_gone(world, name, id);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void print_line(struct log_target *target, enum log_level level, const char *line,
		       size_t len)
{
	(void)level;
	world_flush((struct world *)((char *)target - offsetof(struct world, log)));
	fprintf(stderr, "# %.*s", (int)len, line);
}

static void choose_policy(struct world *world)
{
	const struct imap_family *family = world->server.family;
	bool has_uses = strstr(family->after, "SPECIAL-USE") != NULL;
	uint32_t policy = world_chance(world, 8);

	world->stand.conf.delete_policy = policy == 0                       ? DELETE_FLAG
					  : policy == 1 && has_uses         ? DELETE_TRASH
					  : policy == 2                     ? DELETE_ARCHIVE
					  : policy == 3 && world->has_state ? DELETE_HIDE
					  : policy == 4                     ? DELETE_EXPUNGE
									    : DELETE_DEFAULT;
	world->stand.conf.archive = "Old mail";
	world->stand.conf.may_create = true;
}

/* What is deleted later, or not at all, and what is shown: each only now and then. */
static void choose_ages(struct world *world)
{
	struct upstream_conf *conf = &world->stand.conf;

	if (!world->has_state || conf->delete_policy == DELETE_HIDE)
		return;
	if (world_odds(world, 6))
		conf->delete_after_s = world_odds(world, 2) ? 0 : world_chance(world, AGE_S);
	if (world_odds(world, 6))
		conf->keep_newest = 1 + world_chance(world, 8);
	if (world_odds(world, 6))
		conf->newest = 1 + world_chance(world, 10);
}

static void choose_poison(struct world *world)
{
	for (uint64_t id = 1; id <= world->server.mail_count && world->has_poison; id++)
		if (world_odds(world, 6))
			imap_server_mail(&world->server, id)->oddity =
				1 + world_chance(world, ODD_UNAVAILABLE);
}

static void choose_server(struct world *world)
{
	uint32_t families = 0;

	while (imap_family_at(families))
		families++;
	world->family = *imap_family_at(world_chance(world, families));
	bool has_limit = strstr(world->family.after, "MESSAGELIMIT") && world_odds(world, 2);
	if (has_limit)
		world->family.traits |= SERVER_LIMIT;
	imap_server_init(&world->server, &world->family);
	world->server.window = has_limit ? 1 + world_chance(world, 6) : 0;
}

void world_init(struct world *world, uint64_t seed, const char *lmdb, bool is_loud)
{
	*world = (struct world){.chance = seed * 0x9e3779b97f4a7c15u + 1, .is_loud = is_loud};
	world_chance(world, 2);
	choose_server(world);
	world->server.seed = world->chance;
	world->server.on_command = on_command;
	world->server.may_remove = may_remove;
	world->server.pick = world_odds(world, 3) ? pick : NULL;
	world->server.arg = world;
	world->server.traces = is_loud;
	world->server.labels = world_chance(world, 3);
	world->server.is_auto_expunge =
		(world->server.family->traits & SERVER_LABELS) && world_odds(world, 2);
	world->inbox = imap_server_folder(&world->server, "INBOX");
	world->log = (struct log_target){print_line, is_loud ? LEVEL_DEBUG : LEVEL_ALARM + 1};
	state_memory_init(&world->memory);
	world->lmdb = lmdb;
	open_state(world);
	world->has_state = !world_odds(world, 5);
	world->may_lie = world_odds(world, 2);
	world->has_poison = world_odds(world, 6);
	stand_init(&world->stand, &world->server.world.env, &world->log);
	world->has_health = world_odds(world, 4);
	world->stand.conf.health = world->has_health ? health_new() : NULL;
	world->stand.conf.memos = imap_memos_new();
	world->has_warm = world_odds(world, 2);
	/* Whoever stays believes what it is told, or not told, while it stays. */
	world->may_lie = world->may_lie && !world->has_warm;
	world->has_idle = world_odds(world, 2);
	world_begin_warm(world);
	world->stand.conf.state = world->has_state ? &world->state.store : NULL;
	world->stand.conf.seen_policy = world_chance(world, 3);
	world->stand.conf.newest_first = world_odds(world, 5);
	if (world_odds(world, 4))
		world->stand.conf.quirks = imap_quirks_named("generic");
	choose_policy(world);
	choose_ages(world);
	for (uint32_t mails = world_chance(world, FIRST_MAILS); mails; mails--)
		world_deliver(world);
	choose_poison(world);
}

void world_fini(struct world *world)
{
	world_flush(world);
	world_end_warm(world);
	imap_server_fini(&world->server);
	promise_fini(&world->promise);
	close_state(world);
	state_memory_fini(&world->memory);
	imap_memos_free(world->stand.conf.memos);
	health_free(world->stand.conf.health);
	stand_fini(&world->stand);
	free(world->uids);
}
