/* SPDX-License-Identifier: MIT */
/* foreign.c - what the other clients of the mailbox do, and new mail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/soak/bot.h"

enum { LINES = 40, MOST_MESSAGES = 40 };

/* The present UIDs go into the book. */
static void note_uids(struct world *world)
{
	const struct server_folder *inbox = world->inbox;

	for (size_t i = 0; i < inbox->count; i++) {
		const struct server_message *msg = &inbox->messages[i];
		if (world_mail(world, inbox->uidvalidity, msg->uid) == msg->mail->id)
			continue;
		if (world->uid_count == world->uid_room) {
			world->uid_room = world->uid_room * 2 + 64;
			world->uids = mem_resize(world->uids, world->uid_room, sizeof *world->uids);
		}
		world->uids[world->uid_count++] =
			(struct world_uid){inbox->uidvalidity, msg->mail->id, msg->uid};
	}
}

static void line(struct world *world, struct buf *mail)
{
	static const char *const starts[] = {"", ".", "..", "From ", "8-bit \xe4\xf6\xfc "};
	static const char *const ends[] = {"\r\n", "\r\n", "\r\n", "\n"};

	bool is_good = buf_printf(mail, "%s%*s%s", starts[world_chance(world, 5)],
				  (int)world_chance(world, 120), "x", ends[world_chance(world, 4)]);
	if (!is_good)
		abort();
}

static void make_mail(struct world *world, struct buf *mail)
{
	unsigned n = (unsigned)world->server.mail_count + 1;

	buf_init(mail, 1 << 20);
	if (!buf_printf(mail,
			"Message-ID: <%u@example.com>\r\nFrom: S\xc3\xb6ren <s@example.com>\r\n"
			"Date: Mon, 5 Jan 2026 10:%02u:%02u +0100\r\nSubject: mail %u\r\n\r\n",
			n, n / 60 % 60, n % 60, n))
		abort();
	uint32_t lines = world_odds(world, 12) ? LINES * 100 : world_chance(world, LINES);
	while (lines--)
		line(world, mail);
	if (world_odds(world, 5) && !buf_put(mail, "no end of line", 14))
		abort();
}

static void disturb(struct world *world, uint64_t id)
{
	for (unsigned i = 0; i < world->depth; i++) {
		unsigned char *show = world->bots[i]->show;
		show[id] = SHOW_ANY;
		/* Another one is among the newest now. */
		for (uint64_t n = 1; world->stand.conf.newest && n < WORLD_MAILS; n++)
			if (show[n] == SHOW_MUST)
				show[n] = SHOW_ANY;
	}
}

uint64_t world_deliver(struct world *world)
{
	struct imap_server *server = &world->server;
	uint64_t twin = 0, id;
	struct buf mail;

	if (server->mail_count + 1 >= WORLD_MAILS || world->inbox->count >= MOST_MESSAGES ||
	    world->is_restored)
		return 0;
	if (server->mail_count && world->twin_count + 2 <= 8 && world_odds(world, 20))
		twin = 1 + world_chance(world, (uint32_t)server->mail_count);
	if (twin) {
		const struct server_mail *old = imap_server_mail(server, twin);
		id = imap_server_deliver(server, "INBOX", old->octets, old->len);
		world->twins[world->twin_count++] = twin;
		world->twins[world->twin_count++] = id;
		if (world->figures.renumberings)
			disturb(world, twin);
	} else {
		make_mail(world, &mail);
		id = imap_server_deliver(server, "INBOX", buf_data(&mail), buf_len(&mail));
		buf_fini(&mail);
	}
	note_uids(world);
	if (world->stand.conf.newest)
		disturb(world, id);
	world_say(world, "mail %u comes", (unsigned)id);
	return id;
}

/* Whoever is about to log in is promised what is promised now; twins see bot_expect(). */
static void renumbered(struct world *world)
{
	promise_renumbered(&world->promise);
	world->figures.renumberings++;
	for (unsigned i = 0; i < world->depth; i++) {
		struct bot *bot = world->bots[i];
		for (uint64_t id = 1; id <= world->server.mail_count; id++)
			if (world_has_twin(world, id) ||
			    (bot->show[id] == SHOW_PROMISED &&
			     promise_of(&world->promise, bot->name, id)->is_renumbered))
				bot->show[id] = SHOW_ANY;
	}
}

void world_examined(struct world *world)
{
	bool forgets = world->server.family->traits & SERVER_EXAMINE_FORGETS;

	if (forgets && !world->inbox->was_selected)
		renumbered(world);
}

static void renumber(struct world *world)
{
	uint64_t next = world->inbox->uidvalidity + 1 + world_chance(world, 3);

	imap_server_renumber(&world->server, world->inbox, next, 1 + world_chance(world, 3));
	renumbered(world);
	world_say(world, "another UIDVALIDITY: %u", (unsigned)next);
	note_uids(world);
}

/* The folder comes back from a backup of a few mails ago: their UIDs will be given again (E-09). That
 * can be noticed as long as none of them has come since that a name has seen before: so nothing comes
 * until all names have logged in. */
static void restore(struct world *world)
{
	struct server_folder *inbox = world->inbox;
	size_t lost = 1 + world_chance(world, 4);

	bool is_known = inbox->count > lost && !world->is_restored && world->has_state &&
			!world->may_lie && /* a lost UIDNEXT tells nothing */
			!world->has_forgotten &&
			!(world->server.family->traits & SERVER_NO_UIDNEXT);
	if (!is_known)
		return;
	while (lost--)
		imap_server_expunge(&world->server, inbox, inbox->messages[inbox->count - 1].uid);
	inbox->uidnext = inbox->messages[inbox->count - 1].uid + 1;
	world->is_restored = true;
	world->restored_for = 0;
	world_lose_warm(world); /* nobody restores below open connections */
	world_say(world, "a backup is restored: UIDNEXT %u", inbox->uidnext);
	renumbered(world);
}

/* Whether the folder may be rebuilt now: not while it is being listed, for then nobody could tell
 * which mail was meant. */
static bool may_renumber(const struct world *world, const char *command)
{
	bool is_before = !strcmp(command, "(dial)") || !strncmp(command, "LOGIN", 5);

	for (unsigned i = 0; i < world->depth; i++)
		if (!world->bots[i]->is_in && !(is_before && i == world->depth - 1))
			return false;
	return true;
}

static void flag(struct world *world, struct server_message *msg)
{
	bool is_theirs = (msg->flags & (FLAG_OURS | FLAG_THEIRS)) == FLAG_THEIRS;

	disturb(world, msg->mail->id);
	world_say(world, "another client changes \\Deleted of UID %u", msg->uid);
	if (!(msg->flags & FLAG_DELETED)) {
		imap_server_flag(&world->server, world->inbox, msg->uid, FLAG_DELETED, true);
		return;
	}
	if (!is_theirs || world->may_lie)
		return;
	imap_server_flag(&world->server, world->inbox, msg->uid, FLAG_DELETED, false);
	/* Whatever had become of it: now it is there again. */
	for (unsigned name = 0; name < PROMISE_NAMES; name++)
		promise_of(&world->promise, name, msg->mail->id)->is_promised = false;
}

void world_event(struct world *world, const char *command)
{
	struct server_folder *inbox = world->inbox;
	bool is_expunge = !strncmp(command, "EXPUNGE", 7);
	uint32_t what = world_chance(world, 40);

	if (what == 1 && !*command) {
		restore(world);
		return;
	}
	if (what == 0 && !world->is_restored && may_renumber(world, command)) {
		renumber(world);
		return;
	}
	if (what < 20 || !inbox->count) {
		world_deliver(world);
		return;
	}
	struct server_message *msg = &inbox->messages[world_chance(world, (uint32_t)inbox->count)];
	if (what < 26) {
		disturb(world, msg->mail->id);
		world_say(world, "another client expunges UID %u", msg->uid);
		imap_server_expunge(&world->server, inbox, msg->uid);
	} else if (what < 32 && !is_expunge) {
		flag(world, msg);
	} else if (what < 36) {
		imap_server_flag(&world->server, inbox, msg->uid, FLAG_SEEN, what < 34);
	}
}
