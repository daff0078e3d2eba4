/* SPDX-License-Identifier: MIT */
/* t_imap_ahead.c - messages that are asked for before the client asks, before the model server: how many
 * are under way, and that neither that nor the order of the answers changes what a client gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/fake/imap_server.h"
#include "upstream/imap.h"

enum { MOST = 400 };

struct spoon {
	struct sink sink; /* first */
	struct buf got;
};

struct rig {
	struct imap_server server;
	struct log log;
	struct upstream_conf conf;
	struct upstream *upstream;
	struct maildrop drop;
	struct spoon spoon;
	/* What pick() answers, digit by digit, and what it was asked. */
	unsigned order[8], asked[8];
	size_t picks;
	const char *pass_on; /* the command that fails */
	enum server_fault fault;
};

static struct err spoon_put(struct sink *sink, const void *octets, size_t len)
{
	struct spoon *spoon = (struct spoon *)sink;

	return buf_put(&spoon->got, octets, len) ? OK : ERR(ERR_REFUSED, 0, "spoon full");
}

static enum server_fault on_command(void *arg, struct imap_server *server, const char *command)
{
	struct rig *rig = arg;

	(void)server;
	if (!rig->pass_on || !strstr(command, rig->pass_on))
		return FAULT_NONE;
	rig->pass_on = NULL;
	return rig->fault;
}

static uint32_t pick(void *arg, uint32_t below)
{
	struct rig *rig = arg;

	if (rig->picks == sizeof rig->order / sizeof *rig->order)
		return 0;
	rig->asked[rig->picks] = below;
	return rig->order[rig->picks++] % below;
}

/* A mail of so many octets that is like no other. */
static void deliver(struct rig *rig, unsigned number, size_t octets)
{
	char *text = mem_alloc(octets + 40);
	size_t head = (size_t)snprintf(text, 40, "Subject: %u\r\n\r\n", number);

	for (size_t i = head; i < octets; i++)
		text[i] = (char)('a' + (i * 7 + number) % 26);
	imap_server_deliver(&rig->server, "INBOX", text, octets);
	free(text);
}

static void rig_init(struct rig *rig, size_t count, const size_t *octets)
{
	*rig = (struct rig){.spoon.sink.put = spoon_put};
	imap_server_init(&rig->server, imap_family_named("generic"));
	rig->server.on_command = on_command;
	rig->server.arg = rig;
	buf_init(&rig->spoon.got, 64 << 20);
	maildrop_init(&rig->drop);
	for (size_t i = 0; i < count; i++)
		deliver(rig, (unsigned)i + 1, octets[i]);
	rig->conf = (struct upstream_conf){
		.ops = &imap_ops,
		.host = "imap.example.com",
		.port = 143,
		.folder = "INBOX",
		.name = "joe",
		.delete_after_s = DELETE_AFTER_NEVER,
	};
}

static void rig_open(struct rig *rig)
{
	char user[] = "joe", password[] = "secret";
	struct login login = {.user = user, .password = password};
	struct notice why;
	struct err err = imap_ops.open(&rig->server.world.env, &rig->log, &rig->conf, &login, &why,
				       &rig->upstream);

	assert_int_equal(err.kind, ERR_NONE);
	assert_int_equal(imap_ops.list(rig->upstream, &rig->drop).kind, ERR_NONE);
}

static void rig_fini(struct rig *rig)
{
	imap_ops.close(rig->upstream, NULL, NULL, NULL);
	maildrop_fini(&rig->drop);
	buf_fini(&rig->spoon.got);
	assert_string_equal(rig->server.crime, "");
	imap_server_fini(&rig->server);
}

static struct imap *imap_of(struct rig *rig)
{
	return (struct imap *)rig->upstream;
}

/* Octets that are under way behind `number`. */
static uint64_t under_way(struct rig *rig, size_t number, size_t *count)
{
	uint64_t octets;

	*count = imap_queue_fetches(imap_of(rig), (uint32_t)number, &octets);
	return octets;
}

static struct err fetch(struct rig *rig, size_t number, struct part part)
{
	buf_drop(&rig->spoon.got, buf_len(&rig->spoon.got));
	return imap_ops.fetch(rig->upstream, &rig->drop, &rig->drop.messages[number - 1], &part,
			      &rig->spoon.sink);
}

/* Fetches a message and compares it with the server's. */
static void take(struct rig *rig, size_t number)
{
	static const struct part whole = {0, 0};
	const struct server_mail *mail = imap_server_mail(&rig->server, number);

	assert_int_equal(fetch(rig, number, whole).kind, ERR_NONE);
	assert_int_equal(buf_len(&rig->spoon.got), mail->len);
	assert_memory_equal(buf_data(&rig->spoon.got), mail->octets, mail->len);
}

static void rig_even(struct rig *rig, size_t count, size_t octets)
{
	size_t all[MOST];

	for (size_t i = 0; i < count; i++)
		all[i] = octets;
	rig_init(rig, count, all);
	rig_open(rig);
}

/* --- how much is under way ---------------------------------------------------------------------- */

static void test_flights(void **state)
{
	struct rig rig;
	size_t count, most = 0;

	(void)state;
	rig_even(&rig, 300, 2000);
	unsigned before = rig.server.flights, commands = rig.server.commands;
	for (size_t i = 1; i <= 300; i++) {
		take(&rig, i);
		assert_true(under_way(&rig, i, &count) <= AHEAD_OCTETS);
		most = count > most ? count : most;
	}
	assert_int_equal(most, AHEAD_MOST);
	/* 1, 3, 7, ... and then halves of 64. */
	assert_in_range(rig.server.flights - before, 5, 15);
	assert_int_equal(rig.server.commands - commands, 300);
	assert_int_equal(rig.server.connections, 1);
	rig_fini(&rig);
}

static void test_octets(void **state)
{
	struct rig rig;
	size_t count, most = 0;

	(void)state;
	rig_even(&rig, 40, 100000);
	for (size_t i = 1; i <= 40; i++) {
		take(&rig, i);
		assert_true(under_way(&rig, i, &count) <= AHEAD_OCTETS);
		most = count > most ? count : most;
	}
	assert_int_equal(most, AHEAD_OCTETS / 100000);
	assert_int_equal(rig.server.connections, 1);
	rig_fini(&rig);
}

/* A large message leaves when nothing stands before it, and the small ones behind it with it; one
 * larger than the budget is alone. */
static void test_large(void **state)
{
	static const size_t octets[] = {1000, 1000, 1000,    300000, 1000, 1000,
					1000, 1000, 2000000, 1000,   1000};
	static const size_t behind[] = {1, 1, 4, 4, 3, 2, 1, 0, 0, 1, 0};
	enum { COUNT = sizeof octets / sizeof *octets };
	struct rig rig;
	size_t count;

	(void)state;
	rig_init(&rig, COUNT, octets);
	rig_open(&rig);
	for (size_t i = 1; i <= COUNT; i++) {
		take(&rig, i);
		assert_true(under_way(&rig, i, &count) <= AHEAD_OCTETS);
		if (count != behind[i - 1])
			fail_msg("%zu under way behind %zu", count, i);
		assert_int_equal(imap_queue_has(imap_of(&rig), 4), i == 3);
		assert_false(imap_queue_has(imap_of(&rig), 9));
	}
	assert_int_equal(rig.server.connections, 1);
	rig_fini(&rig);
}

/* --- a client that goes elsewhere --------------------------------------------------------------- */

static void test_elsewhere(void **state)
{
	static const struct {
		size_t octets;
		unsigned connections;
	} cases[] = {{1000, 1}, {60000, 1}, {100000, 2}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rig rig;
		size_t count;
		rig_even(&rig, 20, cases[i].octets);
		take(&rig, 1);
		take(&rig, 2);
		take(&rig, 3);
		(void)under_way(&rig, 3, &count);
		assert_int_equal(count, 4);
		take(&rig, 15);
		(void)under_way(&rig, 15, &count);
		assert_int_equal(count, 0);
		assert_int_equal(rig.server.connections, cases[i].connections);
		/* One of evidence, and it goes on. */
		take(&rig, 16);
		take(&rig, 17);
		(void)under_way(&rig, 17, &count);
		assert_int_equal(count, 2);
		rig_fini(&rig);
	}
}

/* Whatever has to say something to the server finds it in step. */
static void test_in_step(void **state)
{
	struct rig rig;
	size_t left;

	(void)state;
	for (size_t octets = 1000; octets <= 101000; octets += 100000) {
		rig_even(&rig, 20, octets);
		for (size_t i = 1; i <= 4; i++)
			take(&rig, i);
		imap_ops.nudge(rig.upstream);
		assert_int_equal(imap_of(&rig)->queue.count, 0);
		assert_int_equal(imap_ready(imap_of(&rig), NULL).kind, ERR_NONE);
		assert_int_equal(imap_count_left(imap_of(&rig), "1:20", &left).kind, ERR_NONE);
		assert_int_equal(left, 20);
		for (size_t i = 5; i <= 8; i++)
			take(&rig, i);
		for (size_t i = 1; i <= 8; i++)
			maildrop_delete(&rig.drop, &rig.drop.messages[i - 1]);
		assert_int_equal(imap_ops.update(rig.upstream, &rig.drop).kind, ERR_NONE);
		assert_int_equal(imap_server_folder(&rig.server, "INBOX")->count, 12);
		assert_int_equal(imap_of(&rig)->queue.count, 0);
		rig_fini(&rig);
	}
}

/* Read ahead is not retrieved: nothing is marked for it. */
static void test_not_retrieved(void **state)
{
	struct rig rig;
	size_t seen = 0;

	(void)state;
	rig_even(&rig, 20, 1000);
	rig.conf.seen_policy = SEEN_ON_RETR;
	imap_of(&rig)->conf.seen_policy = SEEN_ON_RETR;
	for (size_t i = 1; i <= 5; i++) {
		take(&rig, i);
		rig.drop.messages[i - 1].marks |= MARK_RETRIEVED;
		imap_ops.retrieved(rig.upstream, &rig.drop.messages[i - 1]);
	}
	assert_int_equal(imap_ops.update(rig.upstream, &rig.drop).kind, ERR_NONE);
	imap_ahead_drop(imap_of(&rig));
	struct server_folder *inbox = imap_server_folder(&rig.server, "INBOX");
	for (size_t i = 0; i < inbox->count; i++)
		seen += (inbox->messages[i].flags & FLAG_SEEN) != 0;
	assert_int_equal(seen, 5);
	assert_int_equal(rig.server.connections, 1);
	rig_fini(&rig);
}

/* However a FETCH among several fails, those around it come. */
static void test_faults(void **state)
{
	(void)state;
	for (int fault = FAULT_NO; fault < FAULT_COUNT; fault++) {
		struct rig rig;
		rig_even(&rig, 12, 3000);
		take(&rig, 1);
		take(&rig, 2);
		rig.fault = (enum server_fault)fault;
		rig.pass_on = "UID FETCH 4 ";
		take(&rig, 3);
		struct err err = fetch(&rig, 4, (struct part){0, 0});
		bool may_fail = fault == FAULT_NO || fault == FAULT_LIE || fault == FAULT_HALF ||
				fault == FAULT_LOSE || fault == FAULT_CUT_MID;
		if (err.kind && !may_fail)
			fail_msg("fault %d: %s", fault, err.what);
		for (size_t i = 5; i <= 12; i++)
			take(&rig, i);
		bool is_same = (may_fail && fault != FAULT_CUT_MID) || fault == FAULT_BAD ||
			       fault == FAULT_SHUFFLE || fault == FAULT_SLOW;
		if (is_same)
			assert_int_equal(rig.server.connections, 1);
		bool is_off =
			fault == FAULT_BAD || fault == FAULT_STALL || fault == FAULT_STALL_DONE;
		assert_int_equal(imap_of(&rig)->ahead.is_off, is_off);
		rig_fini(&rig);
	}
}

/* --- the order of the answers ------------------------------------------------------------------- */

struct variant {
	size_t count;     /* of messages under way at once */
	unsigned large;   /* bits: those too large to be held */
	unsigned refused; /* bits: those that the server has no body of */
	bool is_uid_last;
};

static size_t octets_of(const struct variant *variant, size_t i)
{
	return variant->large & 1U << i ? 100000 : 300 + 400 * i;
}

/* Message 1, then the others all at once, answered in an order of the rig's. */
static void run_order(const struct variant *variant, unsigned order[8], unsigned asked[8])
{
	size_t octets[4] = {100}, n = variant->count;
	struct announced announced[3];
	struct rig rig;

	for (size_t i = 0; i < n; i++)
		octets[i + 1] = octets_of(variant, i);
	rig_init(&rig, n + 1, octets);
	rig_open(&rig);
	memcpy(rig.order, order, sizeof rig.order);
	for (size_t i = 0; i < n; i++) {
		announced[i] = (struct announced){&rig.drop.messages[i + 1], {0, 0}};
		if (variant->refused & 1U << i)
			imap_server_mail(&rig.server, i + 2)->oddity = ODD_REFUSED;
	}
	imap_ops.announce(rig.upstream, &rig.drop, announced, n);
	take(&rig, 1);
	rig.server.pick = pick;
	rig.server.tells_uid_last = variant->is_uid_last;
	for (size_t i = 0; i < n; i++) {
		imap_ops.announce(rig.upstream, &rig.drop, announced + i + 1, n - i - 1);
		if (variant->refused & 1U << i)
			assert_int_equal(fetch(&rig, i + 2, (struct part){0, 0}).kind,
					 ERR_UPSTREAM);
		else
			take(&rig, i + 2);
	}
	take(&rig, 1);
	assert_int_equal(rig.server.connections, 1);
	assert_int_equal(imap_of(&rig)->queue.count, 0);
	memcpy(asked, rig.asked, sizeof rig.asked);
	rig_fini(&rig);
}

/* The next order, counting in digits whose bases are what was asked; false: there is none. */
static bool next_order(unsigned order[8], const unsigned asked[8])
{
	for (size_t i = 8; i-- > 0;) {
		if (!asked[i] || order[i] + 1 >= asked[i])
			continue;
		order[i]++;
		memset(order + i + 1, 0, (7 - i) * sizeof *order);
		return true;
	}
	return false;
}

static size_t run_orders(const struct variant *variant)
{
	unsigned order[8] = {0}, asked[8];
	size_t orders = 0;

	do {
		memset(asked, 0, sizeof asked);
		run_order(variant, order, asked);
		orders++;
	} while (next_order(order, asked));
	return orders;
}

static void test_orders(void **state)
{
	(void)state;
	for (size_t count = 2; count <= 3; count++)
		for (unsigned bits = 0; bits < 1U << (count + 1); bits++) {
			struct variant variant = {
				.count = count,
				.large = bits & ((1U << count) - 1),
				.is_uid_last = bits >> count,
			};
			/* 4! / 2! 2!, and 6! / 2! 2! 2! */
			assert_true(run_orders(&variant) >= (count == 2 ? 6 : 90));
		}
}

static void test_orders_with_no(void **state)
{
	(void)state;
	for (size_t count = 2; count <= 3; count++)
		for (unsigned bits = 1; bits < 1U << count; bits++) {
			struct variant variant = {.count = count, .refused = bits};
			assert_true(run_orders(&variant) > 1);
		}
}

/* The next range of a TOP goes before TOPs, or RETRs, that are announced. They are here then, and cost nothing
 * to throw away. */
static void test_top_then_elsewhere(void **state)
{
	enum { COUNT = 30, FIRST = 16384, OCTETS = 100000 };
	struct announced announced[COUNT];
	struct rig rig;

	(void)state;
	for (uint64_t octets = 0; octets <= FIRST; octets += FIRST) {
		rig_even(&rig, COUNT, OCTETS);
		for (size_t i = 0; i < COUNT; i++)
			announced[i] = (struct announced){&rig.drop.messages[i], {0, octets}};
		imap_ops.announce(rig.upstream, &rig.drop, announced + 1, COUNT - 1);
		assert_int_equal(fetch(&rig, 1, (struct part){0, FIRST}).kind, ERR_NONE);
		assert_int_equal(fetch(&rig, 1, (struct part){FIRST, 2 * FIRST}).kind, ERR_NONE);
		imap_ops.announce(rig.upstream, &rig.drop, NULL, 0);
		take(&rig, COUNT);
		assert_int_equal(rig.server.connections, 1);
		rig_fini(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flights),        cmocka_unit_test(test_octets),
		cmocka_unit_test(test_large),          cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_in_step),        cmocka_unit_test(test_not_retrieved),
		cmocka_unit_test(test_faults),         cmocka_unit_test(test_orders),
		cmocka_unit_test(test_orders_with_no), cmocka_unit_test(test_top_then_elsewhere),
	};

	return cmocka_run_group_tests_name("imap_ahead", tests, NULL, NULL);
}
