/* SPDX-License-Identifier: MIT */
/* f_client.c - any octets from a client to a session before a store in memory, with a fault of the
 * store now and then; the laws of referee.h, and everything given back in the end.
 *
 * Input: octet 0 what the connection is like, octet 1 which call of the store fails and how, octet
 * 2 how many octets a read gives, from 128 on with every way to log in; the rest is what the client
 * says.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/session.h"
#include "tests/fake/canned.h"
#include "tests/fake/fault.h"
#include "tests/fake/memory.h"
#include "tests/fake/world.h"
#include "tests/transcript/referee.h"

enum {
	IS_IN = 1, /* USER and PASS have been said already */
	IS_TLS = 2,
	IS_CLEAR_REFUSED = 4,
	HAS_CERTIFICATE = 8,
	IS_READ_ONLY = 16,
	IS_LOST = 32, /* the connection is cut, not closed */
	IS_LATE = 64, /* the store's fault */
	IS_IN_CHUNKS = 128,
	SAID_MAX = 60000,
};

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static const struct memory_message messages[] = {
	{.octets = "Subject: one\r\n\r\nhello\r\n.dot\r\n", .uid = 41},
	{.octets = "Subject: two\n\n.\n+OK fake\n.", .uid = 57},
	{.octets = "hidden", .uid = 58, .is_hidden = true},
	{.octets = "no header end\r.\r", .uid = 60, .name = "a-name"},
	{.octets = "\r\n.\r\n", .uid = 4294967295u, .listed = 5000000000u},
	{.octets = "gone", .uid = 7, .refuse = ERR_MESSAGE},
	{.octets = "a: b\r\n\r\n0\0.\0\r\n\xff", .len = 16, .uid = 8},
};
enum { MESSAGES = sizeof messages / sizeof *messages };

static const struct fake_user users[] = {
	{.name = "joe"},
	{.name = "al", .is_local = true, .password = "a", .stored = "secret"},
	{.name = "ed", .reject = "moved to [x] \r\n.\r\n"},
};

struct play {
	struct fake_world world;
	struct canned client;
	struct memory_message messages[MESSAGES];
	struct memory store;
	struct fault fault;
	struct fake_accounts accounts;
	struct session_conf conf;
	struct session session;
};

static void fail(const char *law)
{
	fprintf(stderr, "law broken: %s\n", law);
	abort();
}

static void play_init(struct play *play, unsigned what, unsigned fault, unsigned chunk)
{
	static const enum err_kind kinds[] = {ERR_UPSTREAM, ERR_POLICY, ERR_MESSAGE, ERR_LOGIN};

	fake_world_init(&play->world);
	memcpy(play->messages, messages, sizeof messages);
	memory_init(&play->store, play->messages, MESSAGES);
	play->store.password = "secret";
	play->store.is_read_only = what & IS_READ_ONLY;
	play->store.chunk = chunk % 8;
	fault_init(&play->fault, &play->store.ops);
	play->fault.fail_call = fault & 15;
	play->fault.kind = kinds[fault >> 4 & 3];
	play->fault.is_late = what & IS_LATE;
	play->fault.fail_put = fault >> 6;
	fake_accounts_init(&play->accounts, users, sizeof users / sizeof *users, &play->fault.ops);
	play->accounts.ways = chunk & 128 ? ~0u : 0;
	session_conf_init(&play->conf);
	if (what & HAS_CERTIFICATE)
		play->conf.tls_identity = play;
	play->client.chunk = what & IS_IN_CHUNKS ? 1 + chunk : 0;
	if (what & IS_LOST)
		play->client.cut = play->client.input_len;
	play->session = (struct session){
		.env = &play->world.env,
		.conf = &play->conf,
		.accounts = &play->accounts.accounts,
		.is_tls = what & IS_TLS,
		.is_cleartext_allowed = !(what & IS_CLEAR_REFUSED),
	};
}

static void check(struct play *play)
{
	const struct game game = {
		.input = play->client.input,
		.input_len = play->client.at,
		.output = buf_data(&play->client.output),
		.output_len = buf_len(&play->client.output),
		.messages = play->messages,
		.message_count = MESSAGES,
	};
	const char *broken = referee(&game);

	if (broken)
		fail(broken);
	if (play->session.state != CLOSED || !play->client.is_closed)
		fail("the session has not ended");
	if (play->fault.opens != play->fault.closes || play->store.opens != play->store.closes)
		fail("the store is still open");
	if (play->accounts.given != play->accounts.freed)
		fail("an account was not given back");
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	static const char login[] = "USER joe\r\nPASS secret\r\n";

	if (len < 3 || len > SAID_MAX)
		return 0;
	size_t before = octets[0] & IS_IN ? sizeof login - 1 : 0;
	char *said = malloc(before + len);
	struct play *play = calloc(1, sizeof *play);
	if (!said || !play)
		abort();
	memcpy(said, login, before);
	memcpy(said + before, octets + 3, len - 3);
	canned_init(&play->client, ERR_CLIENT, said, before + len - 3);
	play_init(play, octets[0], octets[1], octets[2]);
	struct lock_table *locks = lock_table_new();
	play->session.locks = locks;
	session_run(&play->session, &play->client.stream);
	check(play);
	lock_table_free(locks); /* asserts that nothing is held */
	canned_fini(&play->client);
	free(play);
	free(said);
	return 0;
}
