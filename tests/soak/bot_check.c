/* SPDX-License-Identifier: MIT */
/* bot_check.c - the replies that a POP3 client of a soak gets, against the truth. */
#include "tests/soak/bot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/transcript/normal.h"

static void broken(struct bot *bot, const char *rule, const char *reply, size_t len)
{
	size_t line = reply ? strcspn(reply, "\r\n") : 0;

	len = len < line ? len : line;
	world_fail(bot->world, "%s: %s: \"%.*s\"", bot->command, rule, len < 200 ? (int)len : 200,
		   reply ? reply : "");
}

/* newest=: what stands below the edge is not shown, and the edge never slides back. So what must be shown
 * is among the newest, and was shown before or is new; after UIDs have changed that is not followed. */
static void expect_newest(struct bot *bot)
{
	struct world *world = bot->world;
	const struct server_folder *inbox = world->inbox;
	size_t newer = 0;

	for (size_t i = inbox->count; world->stand.conf.newest && i; i--) {
		uint64_t id = inbox->messages[i - 1].mail->id;
		bool is_new = id > world->newest_id[bot->name] ||
			      promise_of(&world->promise, bot->name, id)->was_shown;
		bool is_within = newer < world->stand.conf.newest;
		/* What need not be shown may be shown, and counts. */
		newer += bot->show[id] <= SHOW_MUST;
		if (bot->show[id] == SHOW_MUST &&
		    (!is_new || !is_within || world->figures.renumberings))
			bot->show[id] = SHOW_ANY;
	}
}

void bot_expect(struct bot *bot)
{
	struct world *world = bot->world;
	const struct server_folder *inbox = world->inbox;

	for (uint64_t id = 1; id <= world->server.mail_count; id++)
		bot->show[id] = world->may_lie ? SHOW_ANY : SHOW_GONE;
	for (size_t i = 0; i < inbox->count; i++) {
		const struct server_message *msg = &inbox->messages[i];
		const struct promise_mail *mail =
			promise_of(&world->promise, bot->name, msg->mail->id);
		enum bot_show show = SHOW_MUST;
		if (mail->is_promised && !mail->is_renumbered)
			show = SHOW_PROMISED;
		else if (mail->is_confirmed)
			show = SHOW_ANY;
		else if (msg->flags & FLAG_DELETED)
			show = world->may_lie ? SHOW_ANY : SHOW_DELETED;
		if (world->figures.renumberings && world_has_twin(world, msg->mail->id))
			show = SHOW_ANY;
		bot->show[msg->mail->id] = (unsigned char)show;
	}
	expect_newest(bot);
}

/* For the listing after this. */
static void note_shown(struct bot *bot)
{
	struct world *world = bot->world;
	const struct maildrop *drop = &bot->session->drop;
	uint64_t uidvalidity = world->inbox->uidvalidity;

	for (uint64_t id = 1; id <= world->server.mail_count; id++)
		promise_of(&world->promise, bot->name, id)->was_shown = false;
	for (size_t i = 0; i < drop->total; i++)
		promise_of(&world->promise, bot->name,
			   world_mail(world, uidvalidity, drop->messages[i].uid))
			->was_shown = true;
	world->newest_id[bot->name] = world->server.mail_count;
}

/* What was listed, against what must be. */
static void check_listing(struct bot *bot)
{
	struct world *world = bot->world;
	const struct maildrop *drop = &bot->session->drop;
	static const char *const why_not[] = {
		[SHOW_PROMISED] = "its deletion was promised",
		[SHOW_DELETED] = "it is marked \\Deleted",
		[SHOW_GONE] = "it is not there",
	};

	if (world->stand.conf.newest && drop->total > world->stand.conf.newest)
		world_fail(world, "%zu are listed, of %u newest", drop->total,
			   world->stand.conf.newest);
	note_shown(bot);
	bot->uidvalidity = world->inbox->uidvalidity;
	bot->count = drop->total;
	bot->messages = mem_alloc((drop->total + 1) * sizeof *bot->messages);
	for (size_t i = 0; i < drop->total; i++) {
		uint64_t id = world_mail(world, bot->uidvalidity, drop->messages[i].uid);
		bot->messages[i].id = id;
		bot->messages[i].octets = UINT64_MAX;
		bot->messages[i].is_stub = drop->messages[i].marks & MARK_STUB;
		if (!id)
			world_fail(world, "UID %u is listed, which never was",
				   drop->messages[i].uid);
		else if (bot->show[id] > SHOW_MUST)
			world_fail(world, "mail %u is listed, but %s", (unsigned)id,
				   why_not[bot->show[id]]);
		bot->show[id] = SHOW_ANY;
	}
	for (uint64_t id = 1; id < WORLD_MAILS; id++)
		if (bot->show[id] == SHOW_MUST)
			world_fail(world, "mail %u is there and not listed", (unsigned)id);
}

/* Whether all UIDs have changed and the server says of each message that it is not available now: nobody
 * can tell that from a server in trouble, and so no message gets a new name (E-08). */
static bool is_all_poison(const struct world *world)
{
	for (size_t i = 0; i < world->inbox->count; i++)
		if (world->inbox->messages[i].mail->oddity != ODD_UNAVAILABLE)
			return false;
	return world->inbox->count && world->figures.renumberings;
}

static void check_pass(struct bot *bot, const char *reply, size_t len, bool is_ok)
{
	if (is_ok) {
		bot->is_in = true;
		bot->world->figures.logins++;
		bot->world->restored_for |= 1u << bot->name;
		if (bot->world->restored_for == (1u << PROMISE_NAMES) - 1)
			bot->world->is_restored = false;
		check_listing(bot);
		return;
	}
	bot->is_refused = true;
	bot->world->figures.refusals++;
	if (bot->world->is_calm && !is_all_poison(bot->world))
		broken(bot, "nothing was wrong, and the login was refused", reply, len);
	if (len > 11 && !memcmp(reply, "-ERR [AUTH]", 11))
		broken(bot, "trouble is told as a wrong password", reply, len);
}

static size_t unmarked(const struct bot *bot, uint64_t *octets)
{
	size_t count = 0;

	*octets = 0;
	for (size_t i = 0; i < bot->count; i++) {
		if (bot->messages[i].is_marked)
			continue;
		count++;
		if (*octets != UINT64_MAX)
			*octets = bot->messages[i].octets == UINT64_MAX
					  ? UINT64_MAX
					  : *octets + bot->messages[i].octets;
	}
	return count;
}

static void check_stat(struct bot *bot, const char *reply, size_t len)
{
	uint64_t expected, octets;
	size_t count;

	if (sscanf(reply, "+OK %zu %" SCNu64, &count, &octets) != 2 ||
	    count != unmarked(bot, &expected) || (expected != UINT64_MAX && expected != octets))
		broken(bot, "another count or size than before", reply, len);
}

/* One line of LIST or UIDL, its number read already. */
static void check_line(struct bot *bot, size_t n, const char *value)
{
	struct bot_message *msg = n && n <= bot->count ? &bot->messages[n - 1] : NULL;
	char uidl[128];
	uint64_t octets;

	if (!msg || msg->is_marked) {
		broken(bot, "a number is listed that should not be", value, strcspn(value, "\r"));
	} else if (*bot->command == 'L') {
		if (sscanf(value, "%" SCNu64, &octets) != 1 ||
		    (msg->octets != UINT64_MAX && msg->octets != octets))
			broken(bot, "another size than before", value, strcspn(value, "\r"));
		msg->octets = octets;
	} else {
		snprintf(uidl, sizeof uidl, "%.*s", (int)strcspn(value, "\r"), value);
		bool is_old = bot->uidvalidity != bot->world->inbox->uidvalidity;
		const char *rule =
			promise_uidl(&bot->world->promise, bot->name, msg->id, uidl, is_old);
		const char *was = promise_of(&bot->world->promise, bot->name, msg->id)->uidl;
		/* Of two mails of equal octets one may be taken for the other (E-05). */
		/* Of what has gone meanwhile nobody can fetch anything under whatever name. */
		bool is_there = imap_server_copies(bot->world->inbox, msg->id) > 0;
		if (rule && is_there && !world_has_twin(bot->world, msg->id))
			world_fail(bot->world, "mail %u: %s: %s, before %s", (unsigned)msg->id,
				   rule, uidl, was ? was : "none");
	}
}

static void check_lines(struct bot *bot, const char *reply, size_t len)
{
	uint64_t octets;
	size_t wanted = unmarked(bot, &octets), seen = 0;
	const char *at = strstr(reply, "\r\n");

	for (at = at ? at + 2 : NULL; at && strcmp(at, ".\r\n") != 0; at += strcspn(at, "\n") + 1) {
		char *behind;
		size_t n = strtoul(at, &behind, 10);
		if (*behind != ' ' || !strchr(at, '\n')) {
			broken(bot, "a line of bad form", at, strlen(at));
			return;
		}
		check_line(bot, n, behind + 1);
		seen++;
	}
	if (!at || seen != wanted)
		broken(bot, "a list that is not whole", reply, len);
}

/* A message or the top of one. */
static void check_text(struct bot *bot, struct bot_message *msg, const char *reply, size_t len,
		       uint64_t lines)
{
	const struct server_mail *mail = imap_server_mail(&bot->world->server, msg->id);
	const char *text = mail->oddity == ODD_STUB ? imap_server_stub : mail->octets;
	size_t text_len = mail->oddity == ODD_STUB ? strlen(text) : mail->len;
	const char *body = memchr(reply, '\n', len);
	struct buf normal;

	buf_init(&normal, 1 << 20);
	bool is_good = lines == UINT64_MAX ? normal_put(&normal, text, text_len)
					   : normal_top(&normal, text, text_len, lines);
	if (!is_good || !body)
		abort();
	body++;
	size_t body_len = len - (size_t)(body - reply);
	bool is_whole = normal_is_reply(body, body_len, buf_data(&normal), buf_len(&normal));
	bool is_begun =
		bot->is_quitting &&
		(!body_len || normal_is_begun(body, body_len, buf_data(&normal), buf_len(&normal)));
	if (!is_whole && !is_begun && !msg->is_stub)
		broken(bot, "not the message", reply, len);
	bot->has_answer = is_whole;
	msg->has_come |= is_whole && lines == UINT64_MAX;
	bot->world->figures.mails += is_whole;
	buf_fini(&normal);
}

static void check_refusal(struct bot *bot, const struct bot_message *msg, const char *reply,
			  size_t len)
{
	struct world *world = bot->world;
	const struct server_mail *mail = imap_server_mail(&world->server, msg->id);
	bool is_there = imap_server_copies(world->inbox, msg->id) > 0;

	bool is_told_gone = strstr(reply, "no such message") != NULL;
	world->figures.gone += is_told_gone;
	world->figures.failed += !is_told_gone;
	if (is_there && is_told_gone)
		broken(bot, "a message that is there is told gone", reply, len);
	if (is_there && world->is_calm && !mail->oddity)
		broken(bot, "nothing was wrong, and it was refused", reply, len);
	if (strstr(reply, "[AUTH]"))
		broken(bot, "trouble is told as a wrong password", reply, len);
}

/* Replies to commands with a message number. */
static void check_numbered(struct bot *bot, const char *reply, size_t len, bool is_ok)
{
	unsigned n = 0;
	uint64_t lines = UINT64_MAX;

	sscanf(strchr(bot->command, ' '), "%u %" SCNu64, &n, &lines);
	struct bot_message *msg = n && n <= bot->count ? &bot->messages[n - 1] : NULL;
	if (!msg || msg->is_marked) {
		if (is_ok)
			broken(bot, "there is no such number", reply, len);
	} else if (!is_ok && (*bot->command == 'R' || *bot->command == 'T')) {
		check_refusal(bot, msg, reply, len);
	} else if (!is_ok) {
		if (!msg->is_stub)
			broken(bot, "it was refused", reply, len);
	} else if (*bot->command == 'D') {
		msg->is_marked = true;
	} else if (*bot->command == 'R' || *bot->command == 'T') {
		check_text(bot, msg, reply, len, lines);
	} else {
		const char *value = strchr(reply + 4, ' ');
		check_line(bot, n, value ? value + 1 : "");
	}
}

static void check_in(struct bot *bot, const char *reply, size_t len, bool is_ok)
{
	if (strchr(bot->command, ' ')) {
		check_numbered(bot, reply, len, is_ok);
	} else if (!is_ok) {
		broken(bot, "it was refused", reply, len);
	} else if (!strcmp(bot->command, "STAT")) {
		check_stat(bot, reply, len);
	} else if (!strcmp(bot->command, "LIST") || !strcmp(bot->command, "UIDL")) {
		check_lines(bot, reply, len);
	} else if (!strcmp(bot->command, "RSET")) {
		for (size_t i = 0; i < bot->count; i++)
			bot->messages[i].is_marked = false;
	}
}

void bot_check(struct bot *bot, const char *heard, size_t len)
{
	char *reply = mem_dup(heard ? heard : "", len);
	bool is_ok = len >= 3 && !memcmp(reply, "+OK", 3);
	bool is_line = memchr(reply, '\n', len) != NULL;

	bot->has_answer = false;
	/* At the end of a session whatever has begun may be unfinished. */
	if (!is_line) {
		if (!bot->is_quitting)
			broken(bot, "no reply", reply, len);
	} else if (!strncmp(bot->command, "PASS", 4)) {
		check_pass(bot, reply, len, is_ok);
	} else if (!bot->is_in) {
		if (!is_ok)
			broken(bot, "refused before the login", reply, len);
	} else if (!bot->is_quitting || !strncmp(bot->command, "RETR", 4) ||
		   !strncmp(bot->command, "TOP", 3)) {
		check_in(bot, reply, len, is_ok);
	}
	free(reply);
}
