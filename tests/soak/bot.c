/* SPDX-License-Identifier: MIT */
/* bot.c - what a POP3 client of a soak says, and what its QUIT amounts to. */
#include "tests/soak/bot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum { MOST_COMMANDS = 18 };

static void say(struct bot *bot, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct bot *bot, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(bot->command, sizeof bot->command, format, args);
	va_end(args);
}

/* From here on what was marked may be removed, whatever becomes of us. */
/* When it came whole to this name, or a twin did, for the one may be taken for the other (E-05). */
static uint64_t came_at(struct bot *bot, uint64_t id)
{
	struct world *world = bot->world;
	uint64_t at = promise_of(&world->promise, bot->name, id)->came_at;

	for (size_t i = 0; i < world->twin_count; i++) {
		const struct promise_mail *twin =
			promise_of(&world->promise, bot->name, world->twins[i]);
		if (world_is_twin(world, world->twins[i], id) && twin->came_at &&
		    (!at || twin->came_at < at))
			at = twin->came_at;
	}
	return at;
}

/* delete_after=: what came whole, here or in an earlier session, may go at this QUIT (D-16). */
static void confirm_aged(struct bot *bot)
{
	const struct env *env = bot->world->stand.env;
	uint64_t now = env->ops->wall(env), after = bot->world->stand.conf.delete_after_s;

	for (size_t i = 0; i < bot->count && after != DELETE_AFTER_NEVER; i++) {
		const struct bot_message *msg = &bot->messages[i];
		uint64_t at = came_at(bot, msg->id);
		struct promise_mail *mail = promise_of(&bot->world->promise, bot->name, msg->id);
		mail->is_confirmed |= at && now - at >= after;
		if (msg->has_come && !mail->came_at)
			mail->came_at = now;
		mail->is_confirmed |= msg->has_come && !after;
	}
}

static void say_quit(struct bot *bot)
{
	struct world *world = bot->world;

	say(bot, "QUIT");
	bot->has_quit = true;
	for (size_t i = 0; i < bot->count; i++)
		if (bot->messages[i].is_marked)
			promise_of(&world->promise, bot->name, bot->messages[i].id)->is_confirmed =
				true;
	confirm_aged(bot);
	if (!world->is_calm && world_odds(world, 8))
		bot->client.cut = 0;
}

/* The end of what was to be said: QUIT, or the connection just ends. */
static void say_end(struct bot *bot)
{
	if (bot->world->is_calm || !world_odds(bot->world, 4))
		say_quit(bot);
	else
		say(bot, "%s", "");
}

static void say_any(struct bot *bot)
{
	struct world *world = bot->world;
	uint32_t what = world_chance(world, 16);
	/* Now and then a number beyond the last. */
	unsigned n = 1 + world_chance(world, (uint32_t)bot->count + (what == 15 || !bot->count));

	if (!bot->left--) {
		say_end(bot);
		return;
	}
	if (what == 0 || !bot->count)
		say(bot, "STAT");
	else if (what == 1)
		say(bot, "LIST");
	else if (what == 2)
		say(bot, "UIDL");
	else if (what == 3)
		say(bot, "LIST %u", n);
	else if (what == 4)
		say(bot, "UIDL %u", n);
	else if (what == 5)
		say(bot, world_odds(world, 3) ? "RSET" : "NOOP");
	else if (what < 8)
		say(bot, "TOP %u %u", n, world_odds(world, 3) ? 100000 : world_chance(world, 12));
	else if (what < 12)
		say(bot, "DELE %u", n);
	else
		say(bot, "RETR %u", n);
}

static void say_keeper(struct bot *bot)
{
	struct world *world = bot->world;

	if (!bot->at++) {
		say(bot, "UIDL");
		return;
	}
	while (bot->at <= bot->count && world_odds(world, 2))
		bot->at++;
	unsigned n = (unsigned)bot->at - 1;
	if (n > bot->count || n < 1)
		say_end(bot);
	else
		say(bot, world_odds(world, 5) ? "DELE %u" : "RETR %u", n);
}

/* RETR and DELE in turn; what did not come whole stays. */
static void say_mover(struct bot *bot)
{
	if (!bot->left) {
		say(bot, "LIST");
		bot->left = 1;
		return;
	}
	bool has_come = bot->has_answer && !strncmp(bot->command, "RETR", 4);
	if (!has_come)
		bot->at++;
	if (bot->at > bot->count)
		say_end(bot);
	else
		say(bot, has_come ? "DELE %zu" : "RETR %zu", bot->at);
}

static void say_poller(struct bot *bot)
{
	static const char *const words[] = {"STAT", "UIDL", "LIST"};

	if (bot->at < 3)
		say(bot, "%s", words[bot->at++]);
	else
		say_quit(bot);
}

static void choose(struct bot *bot)
{
	if (!*bot->command) {
		say(bot, "USER %s", bot->name ? "mary" : "joe");
	} else if (!strncmp(bot->command, "USER", 4)) {
		bot_expect(bot);
		say(bot, "PASS secret");
	} else if (bot->kind == BOT_KEEPER) {
		say_keeper(bot);
	} else if (bot->kind == BOT_MOVER) {
		say_mover(bot);
	} else if (bot->kind == BOT_POLLER) {
		say_poller(bot);
	} else {
		say_any(bot);
	}
}

static void next(void *arg, struct buf *out, const char *heard, size_t len)
{
	struct bot *bot = arg;

	if (bot->world->is_loud)
		fprintf(stderr, "# %s: %.*s", bot->name ? "mary" : "joe",
			len < 300 ? (int)len : 300, heard);
	bot_check(bot, heard, len);
	world_flush(bot->world);
	if (bot->is_refused || *bot->world->failure)
		return;
	choose(bot);
	if (bot->world->is_loud)
		fprintf(stderr, "# %s says %s\n", bot->name ? "mary" : "joe", bot->command);
	if (*bot->command && !buf_printf(out, "%s\r\n", bot->command))
		abort();
}

void bot_init(struct bot *bot, struct world *world, struct session *session, unsigned name,
	      enum bot_kind kind)
{
	*bot = (struct bot){.world = world, .session = session, .name = name, .kind = kind};
	pop_client_init(&bot->client);
	bot->client.next = next;
	bot->client.arg = bot;
	if (kind == BOT_ANY)
		bot->left = 2 + world_chance(world, MOST_COMMANDS);
	if (!world->is_calm && world_odds(world, 10))
		bot->client.cut = world_chance(world, 6000);
}

void bot_fini(struct bot *bot)
{
	for (size_t i = 0; i < bot->count; i++)
		free(bot->messages[i].uidl);
	free(bot->messages);
	pop_client_fini(&bot->client);
}

static bool is_ok(const struct bot *bot)
{
	const char *heard = buf_data(&bot->client.heard);
	size_t len = buf_len(&bot->client.heard);

	return len > 4 && !memcmp(heard, "+OK", 3) && heard[len - 1] == '\n';
}

/* Whether it can be recognised at all, and was written down. */
static bool may_learn(const struct bot *bot, const struct bot_message *msg)
{
	const struct world *world = bot->world;

	return world->has_state && !imap_server_mail(&world->server, msg->id)->oddity &&
	       !world_has_twin(world, msg->id);
}

static void note_promise(struct bot *bot, const struct bot_message *msg)
{
	struct promise_mail *mail = promise_of(&bot->world->promise, bot->name, msg->id);

	if (mail->is_promised)
		return;
	mail->is_promised = true;
	bot->world->figures.promises++;
	/* The header has gone by. */
	mail->is_heard = msg->has_come && may_learn(bot, msg) && !bot->world->has_forgotten;
	mail->is_weak = bot->world->inbox->uidvalidity != bot->uidvalidity && !mail->is_learned &&
			!mail->is_heard;
	mail->is_renumbered = mail->is_weak;
	mail->is_hidden_only = msg->is_stub;
}

/* A session that had no trouble knows afterwards by what to recognise each mail. */
static void note_learned(struct bot *bot, const struct bot_message *msg)
{
	struct world *world = bot->world;

	if (!world->is_calm || !may_learn(bot, msg) || !imap_server_copies(world->inbox, msg->id))
		return;
	/* Of what is deleted only the promise goes on. */
	if (msg->is_marked)
		promise_of(&world->promise, bot->name, msg->id)->is_heard = true;
	else
		promise_of(&world->promise, bot->name, msg->id)->is_learned = true;
}

/* What was listed and nobody heard of may have moved the edge of newest=. */
static void forget_shown(struct bot *bot)
{
	struct world *world = bot->world;

	for (uint64_t id = 1; id <= world->server.mail_count; id++)
		promise_of(&world->promise, bot->name, id)->was_shown = false;
	world->newest_id[bot->name] = world->server.mail_count;
}

void bot_end(struct bot *bot)
{
	struct world *world = bot->world;
	const char *heard = buf_data(&bot->client.heard);
	size_t len = buf_len(&bot->client.heard);

	if (!bot->is_in)
		forget_shown(bot);
	if (world->is_loud)
		fprintf(stderr, "# %s at last: %.*s\n", bot->name ? "mary" : "joe",
			len < 300 ? (int)len : 300, heard ? heard : "");
	if (!bot->has_quit) {
		bot->is_quitting = true;
		bot_check(bot, heard, len);
		return;
	}
	bool is_done = is_ok(bot);
	world->figures.quits += is_done;
	if (world->is_calm && !is_done)
		world_fail(world, "nothing was wrong, and QUIT was answered: %.*s",
			   heard ? (int)strcspn(heard, "\r") : 0, heard ? heard : "");
	for (size_t i = 0; i < bot->count; i++) {
		const struct bot_message *msg = &bot->messages[i];
		if (msg->is_marked && !is_done)
			for (unsigned n = 0; n < PROMISE_NAMES; n++)
				promise_of(&world->promise, n, msg->id)->is_failed = true;
		if (msg->is_marked && is_done)
			note_promise(bot, msg);
		if (is_done)
			note_learned(bot, msg);
	}
}
