/* SPDX-License-Identifier: MIT */
/* t_maildrop.c - order, totals, marks, names and the ceiling of the snapshot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "upstream/maildrop.h"

#define BEGIN(drop_)                                                                               \
	struct maildrop drop_;                                                                     \
	maildrop_init(&drop_);                                                                     \
	strcpy(drop_.prefix, "abcdefghij.17")

static void add(struct maildrop *drop, uint32_t uid, uint64_t octets, const char *name)
{
	assert_int_equal(maildrop_add(drop, uid, octets, name, 0).kind, ERR_NONE);
}

static void test_empty(void **state)
{
	(void)state;
	struct maildrop zeroed = {.messages = NULL};
	maildrop_fini(&zeroed);
	struct maildrop drop;
	maildrop_init(&drop);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE); /* no prefix needed */
	assert_int_equal(drop.count, 0);
	assert_null(maildrop_get(&drop, 0));
	assert_null(maildrop_get(&drop, 1));
	maildrop_fini(&drop);
	maildrop_fini(&drop);
}

static void test_sorted(void **state)
{
	static const uint32_t uids[] = {57, 4294967295u, 3, 41, 7};
	static const uint32_t sorted[] = {3, 7, 41, 57, 4294967295u};

	(void)state;
	BEGIN(drop);
	for (size_t i = 0; i < 5; i++)
		add(&drop, uids[i], uids[i] % 100, NULL);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE);
	assert_int_equal(drop.count, 5);
	assert_int_equal(drop.octets, 57 + 95 + 3 + 41 + 7);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(drop.messages[i].uid, sorted[i]);
		assert_int_equal(drop.messages[i].octets, sorted[i] % 100);
	}
	char uidl[UIDL_MAX + 1];
	maildrop_uidl(&drop, maildrop_get(&drop, 5), uidl);
	assert_string_equal(uidl, "abcdefghij.17.4294967295");
	maildrop_fini(&drop);
}

static void test_numbers(void **state)
{
	static const uint64_t none[] = {0, 3, 4, 4294967297u, UINT64_MAX};

	(void)state;
	BEGIN(drop);
	add(&drop, 1, 10, NULL);
	add(&drop, 2, 20, NULL);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE);
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		assert_null(maildrop_get(&drop, none[i]));
	assert_ptr_equal(maildrop_get(&drop, 1), &drop.messages[0]);
	assert_ptr_equal(maildrop_get(&drop, 2), &drop.messages[1]);
	maildrop_fini(&drop);
}

static void test_marks(void **state)
{
	(void)state;
	BEGIN(drop);
	for (uint32_t uid = 1; uid <= 4; uid++)
		add(&drop, uid, uid * 100, NULL);
	assert_int_equal(maildrop_add(&drop, 5, 1024, NULL, MARK_INEXACT).kind, ERR_NONE);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE);
	maildrop_delete(&drop, maildrop_get(&drop, 2));
	maildrop_delete(&drop, maildrop_get(&drop, 4));
	maildrop_get(&drop, 1)->marks |= MARK_RETRIEVED;
	assert_int_equal(drop.count, 3);
	assert_int_equal(drop.octets, 100 + 300 + 1024);
	assert_int_equal(drop.marked, 2);
	assert_int_equal(drop.total, 5);
	assert_null(maildrop_get(&drop, 2));
	assert_int_equal(maildrop_get(&drop, 3)->uid, 3); /* no renumbering (C-08) */
	maildrop_reset(&drop);
	assert_int_equal(drop.count, 5);
	assert_int_equal(drop.octets, 1000 + 1024);
	assert_int_equal(drop.marked, 0);
	assert_int_equal(maildrop_get(&drop, 1)->marks, 0);
	assert_int_equal(maildrop_get(&drop, 2)->marks, 0);
	assert_int_equal(maildrop_get(&drop, 5)->marks, MARK_INEXACT);
	maildrop_reset(&drop);
	assert_int_equal(drop.count, 5);
	maildrop_fini(&drop);
}

static void test_marked_at_birth(void **state)
{
	(void)state;
	BEGIN(drop);
	add(&drop, 1, 10, NULL);
	assert_int_equal(maildrop_add(&drop, 2, 20, NULL, MARK_DELETED).kind, ERR_NONE);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE);
	assert_int_equal(drop.count, 1);
	assert_int_equal(drop.octets, 10);
	assert_int_equal(drop.marked, 1);
	maildrop_fini(&drop);
}

static void test_names(void **state)
{
	char longest[UIDL_MAX + 2], uidl[UIDL_MAX + 1];
	static const char *const bad[] = {"", "a b", "a\x7f", "\xe9", "a\nb", "a\tb"};

	(void)state;
	BEGIN(drop);
	memset(longest, 'x', sizeof longest);
	longest[UIDL_MAX + 1] = '\0';
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(maildrop_add(&drop, 1, 1, bad[i], 0).kind, ERR_UPSTREAM);
	assert_int_equal(maildrop_add(&drop, 1, 1, longest, 0).kind, ERR_UPSTREAM);
	assert_int_equal(drop.total, 0);
	longest[UIDL_MAX] = '\0';
	add(&drop, 9, 1, longest);
	add(&drop, 8, 1, "!~");
	add(&drop, 7, 1, NULL);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE);
	assert_null(maildrop_name(&drop, maildrop_get(&drop, 1)));
	assert_string_equal(maildrop_name(&drop, maildrop_get(&drop, 2)), "!~");
	maildrop_uidl(&drop, maildrop_get(&drop, 1), uidl);
	assert_string_equal(uidl, "abcdefghij.17.7");
	maildrop_uidl(&drop, maildrop_get(&drop, 3), uidl);
	assert_string_equal(uidl, longest);
	maildrop_fini(&drop);
}

static void test_twins(void **state)
{
	static const struct {
		uint32_t uids[3];
		const char *names[3];
		enum err_kind kind;
	} cases[] = {
		{{1, 2, 1}, {NULL, NULL, NULL}, ERR_UPSTREAM},
		{{1, 1, 2}, {"a", "b", "c"}, ERR_UPSTREAM},
		{{1, 2, 3}, {"a", "b", "a"}, ERR_UPSTREAM},
		{{1, 2, 3}, {"b", "a", "c"}, ERR_NONE},
		{{1, 2, 3}, {NULL, "abcdefghij.17.1", NULL}, ERR_UPSTREAM},
		{{1, 2, 3}, {NULL, "abcdefghij.17.2", NULL}, ERR_NONE},
		{{1, 2, 3}, {NULL, "abcdefghij.17.01", NULL}, ERR_NONE},
		{{1, 2, 3}, {NULL, "abcdefghij.171", "abcdefghij.17."}, ERR_NONE},
		{{1, 2, 3}, {NULL, "abcdefghij.17.4294967297", NULL}, ERR_NONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BEGIN(drop);
		for (size_t k = 0; k < 3; k++)
			add(&drop, cases[i].uids[k], 1, cases[i].names[k]);
		assert_int_equal(maildrop_seal(&drop).kind, cases[i].kind);
		maildrop_fini(&drop);
	}
}

static void test_prefix(void **state)
{
	static const struct {
		size_t len;
		enum err_kind kind;
	} cases[] = {{0, ERR_UPSTREAM}, {1, ERR_NONE}, {59, ERR_NONE}, {60, ERR_UPSTREAM}};
	char uidl[UIDL_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct maildrop drop;
		maildrop_init(&drop);
		memset(drop.prefix, 'p', cases[i].len);
		add(&drop, 4294967295u, 1, NULL);
		assert_int_equal(maildrop_seal(&drop).kind, cases[i].kind);
		if (!cases[i].kind) {
			maildrop_uidl(&drop, maildrop_get(&drop, 1), uidl);
			assert_int_equal(strlen(uidl), cases[i].len + 11);
		}
		maildrop_fini(&drop);
	}
}

static void test_sums(void **state)
{
	(void)state;
	BEGIN(drop);
	for (uint32_t uid = 1; uid <= 3; uid++)
		add(&drop, uid, 3000000000u, NULL);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE);
	assert_int_equal(drop.octets, 9000000000u);
	maildrop_fini(&drop);

	BEGIN(huge);
	assert_int_equal(maildrop_add(&huge, 1, MESSAGE_OCTETS + 1, NULL, 0).kind, ERR_UPSTREAM);
	for (uint32_t uid = 1; uid <= 257; uid++)
		add(&huge, uid, MESSAGE_OCTETS, NULL);
	assert_int_equal(huge.messages[0].octets, MESSAGE_OCTETS);
	assert_int_equal(maildrop_seal(&huge).kind, ERR_UPSTREAM);
	maildrop_fini(&huge);
}

/* F-07: what was counted stands beside what is shown, and only where it differs. */
static void test_measures(void **state)
{
	static const struct {
		uint32_t uid;
		uint64_t octets;
	} told[] = {{50, 90}, {10, 110}, {99, 100}, {1, 0}, {50, 101}, {10, 100}, {70, 4000000000}};
	uint64_t known[100] = {0};

	(void)state;
	BEGIN(drop);
	for (uint32_t uid = 1; uid < 100; uid++)
		add(&drop, uid, 100, NULL);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE);
	for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
		maildrop_measure(&drop, maildrop_find(&drop, told[i].uid), told[i].octets);
		known[told[i].uid] = told[i].octets;
	}
	known[70] = 0; /* off by more than is remembered */
	for (uint32_t uid = 1; uid < 100; uid++) {
		const struct message *msg = maildrop_find(&drop, uid);
		bool is_known = known[uid] || uid == 1;
		assert_int_equal(msg->marks, is_known ? MARK_MEASURED : 0);
		assert_int_equal(maildrop_measured(&drop, msg), is_known ? known[uid] : 100);
		assert_int_equal(msg->octets, 100);
	}
	assert_int_equal(drop.measured, 3);
	/* Fetched in order, backward, and each twice. */
	for (uint32_t i = 1; i < 400; i++) {
		uint32_t uid = i < 100 ? i : i < 199 ? 199 - i : i % 99 + 1;
		maildrop_measure(&drop, maildrop_find(&drop, uid), uid + i);
		assert_int_equal(maildrop_measured(&drop, maildrop_find(&drop, uid)), uid + i);
	}
	maildrop_fini(&drop);
}

/* L-07: a million messages, descending so that the sort has work, names too. Bounds are generous:
 * they catch a square, not a slow machine. */
static void test_million(void **state)
{
	(void)state;
	BEGIN(drop);
	clock_t begun = clock();
	for (uint32_t uid = 1000000; uid; uid--)
		add(&drop, uid, 7, NULL);
	assert_int_equal(maildrop_seal(&drop).kind, ERR_NONE);
	assert_int_equal(drop.total, 1000000);
	assert_int_equal(drop.octets, 7000000);
	assert_int_equal(maildrop_get(&drop, 1000000)->uid, 1000000);
	assert_true(drop.room * sizeof *drop.messages == 16u * 1000000);
	maildrop_fini(&drop);

	BEGIN(named);
	for (uint32_t uid = 1; uid <= 300000; uid++) {
		char name[24];
		snprintf(name, sizeof name, "%08x", uid * 2654435761u);
		add(&named, uid, 7, name);
	}
	assert_int_equal(maildrop_seal(&named).kind, ERR_NONE);
	maildrop_fini(&named);
	assert_true((clock() - begun) / CLOCKS_PER_SEC < 20);
}

/* The ceiling itself, without ten million calls that check anything else. */
static void test_ceiling(void **state)
{
	(void)state;
	BEGIN(drop);
	add(&drop, 1, 1, NULL);
	drop.total = MAILDROP_MESSAGES;
	assert_int_equal(maildrop_add(&drop, 2, 1, NULL, 0).kind, ERR_UPSTREAM);
	assert_int_equal(drop.total, MAILDROP_MESSAGES);
	drop.total = 1;
	maildrop_fini(&drop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),   cmocka_unit_test(test_sorted),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_marks),
		cmocka_unit_test(test_names),   cmocka_unit_test(test_marked_at_birth),
		cmocka_unit_test(test_twins),   cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_sums),    cmocka_unit_test(test_million),
		cmocka_unit_test(test_ceiling), cmocka_unit_test(test_measures),
	};

	return cmocka_run_group_tests_name("maildrop", tests, NULL, NULL);
}
