/* SPDX-License-Identifier: MIT */
/* t_ledger_state.c - a ledger in the state: its epochs, and what becomes of it when that is damaged or
 * fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/ledger_rig.h"
#include "upstream/maildrop.h"

/* --- epochs ------------------------------------------------------------------------------- */

static void test_epochs(void **state)
{
	static const struct {
		uint64_t uidvalidity;
		uint32_t generation;
	} steps[] = {{7, 0}, {8, 0}, {8, 1}, {3, 2}, {9, 2}, {9, 3}, {UINT64_MAX, 3}};
	struct ledger_rig rig;

	(void)state;
	ledger_rig_init(&rig);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct ledger old;
		ledger_fini(&rig.ledger);
		ledger_init(&rig.ledger, "joe@example.com");
		assert_int_equal(rig_load(&rig, &old).kind, ERR_NONE);
		ledger_begin_epoch(&rig.ledger, &old, rig_place, steps[i].uidvalidity);
		assert_int_equal(rig.ledger.head.generation, steps[i].generation);
		assert_int_equal(rig.ledger.head.epoch, i + 1);
		assert_non_null(ledger_row(&rig.ledger, (uint32_t)i + 1));
		rig_save(&rig, &rig.ledger);
		ledger_fini(&old);
		/* Rows of old epochs are not those of this one. */
		assert_int_equal(rig_load(&rig, &old).kind, ERR_NONE);
		assert_int_equal(old.count, 1);
		assert_int_equal(old.rows[0].uid, i + 1);
		/* They are told of, for somebody to sweep them. */
		assert_int_equal(old.has_leavings, i > 0);
		ledger_fini(&old);
	}
	assert_int_equal(rig.memory.count, 8);
	assert_int_equal(ledger_sweep(&rig.memory.store, rig_env(&rig), "joe@example.com", 7).kind,
			 ERR_NONE);
	assert_int_equal(rig.memory.count, 2);
	assert_int_equal(ledger_sweep(&rig.memory.store, rig_env(&rig), "joe@example.com", 7).kind,
			 ERR_NONE);
	assert_int_equal(rig.memory.count, 2);
	struct ledger last;
	assert_int_equal(rig_load(&rig, &last).kind, ERR_NONE);
	assert_false(last.has_leavings);
	assert_int_equal(last.count, 1);
	ledger_fini(&last);
	ledger_rig_fini(&rig);
}

static void test_sweep_many(void **state)
{
	struct ledger_rig rig;
	struct ledger fresh;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	for (uint32_t page = 0; page < 2500; page++)
		assert_non_null(ledger_row(&rig.ledger, page * LEDGER_PAGE + 1));
	rig_save(&rig, &rig.ledger);
	ledger_init(&fresh, "joe@example.com");
	ledger_begin_epoch(&fresh, &rig.ledger, rig_place, 8);
	assert_non_null(ledger_row(&fresh, 1));
	rig_save(&rig, &fresh);
	assert_int_equal(ledger_sweep(&rig.memory.store, rig_env(&rig), "joe@example.com", 2).kind,
			 ERR_NONE);
	assert_int_equal(rig.memory.count, 2);
	ledger_fini(&fresh);
	ledger_rig_fini(&rig);
}

/* A head that was lost: what pages it left must not come back as rows of the new one. */
static void test_lost_head(void **state)
{
	struct ledger_rig rig;
	struct ledger none = {0}, fresh, back;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	assert_non_null(ledger_row(&rig.ledger, 1));
	assert_non_null(ledger_row(&rig.ledger, 1000));
	rig_save(&rig, &rig.ledger);
	struct state_change change = {.key = "ledger\tjoe@example.com\t", .was = STATE_ANY};
	bool is_stale;
	assert_int_equal(
		rig.memory.store.ops->put(&rig.memory.store, rig_env(&rig), &change, 1, &is_stale)
			.kind,
		ERR_NONE);
	ledger_init(&fresh, "joe@example.com");
	ledger_begin_epoch(&fresh, &none, rig_place, 8);
	assert_non_null(ledger_row(&fresh, 2));
	rig_save(&rig, &fresh);
	assert_int_equal(rig_load(&rig, &back).kind, ERR_NONE);
	assert_int_equal(back.count, 1);
	assert_int_equal(back.rows[0].uid, 2);
	ledger_fini(&back);
	ledger_fini(&fresh);
	ledger_rig_fini(&rig);
}

/* --- damage ------------------------------------------------------------------------------- */

/* Every octet of every value, cut off or changed in each bit: an error, or rows that make sense. */
static void test_damage(void **state)
{
	struct ledger_rig rig;
	size_t refused = 0;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	for (uint32_t uid = 1; uid <= 3; uid++) {
		struct ledger_row *row = ledger_row(&rig.ledger, uid * 300);
		row->octets = 1000 * uid;
		assert_true(ledger_set_id(&rig.ledger, row, "id"));
		assert_true(ledger_set_name(&rig.ledger, row, "name"));
	}
	rig_save(&rig, &rig.ledger);
	for (size_t e = 0; e < rig.memory.count; e++) {
		struct state_memory_entry *entry = &rig.memory.entries[e];
		size_t len = entry->len;
		for (size_t i = 0; i < len * 9; i++) {
			struct ledger back;
			char was = entry->value[i / 9];
			if (i % 9 == 8)
				entry->len = i / 9;
			else
				entry->value[i / 9] = (char)(was ^ 1 << i % 9);
			struct err err = rig_load(&rig, &back);
			entry->value[i / 9] = was;
			entry->len = len;
			if (err.kind) {
				assert_int_equal(err.code, EBADMSG);
				assert_int_equal(back.count, 0);
				refused++;
			}
			for (size_t r = 1; r < back.count; r++)
				assert_true(back.rows[r].uid > back.rows[r - 1].uid);
			ledger_fini(&back);
		}
	}
	assert_true(refused > 100);
	ledger_rig_fini(&rig);
}

/* A page that is gone, doubled, or another's. */
static void test_wrong_pages(void **state)
{
	struct ledger_rig rig;
	struct ledger back;
	bool is_stale;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	assert_non_null(ledger_row(&rig.ledger, 1));
	assert_non_null(ledger_row(&rig.ledger, 1000));
	rig_save(&rig, &rig.ledger);
	struct state_change change = {.key = "ledger\tjoe@example.com\t00000001\t00000001",
				      .was = STATE_ANY};
	(void)rig.memory.store.ops->put(&rig.memory.store, rig_env(&rig), &change, 1, &is_stale)
		.kind;
	assert_int_equal(rig_load(&rig, &back).code, EBADMSG);
	assert_int_equal(back.count, 0);
	/* What is broken can be overwritten. */
	struct ledger fresh;
	ledger_init(&fresh, "joe@example.com");
	ledger_begin_epoch(&fresh, &back, rig_place, 7);
	assert_non_null(ledger_row(&fresh, 5));
	rig_save(&rig, &fresh);
	ledger_fini(&back);
	assert_int_equal(rig_load(&rig, &back).kind, ERR_NONE);
	assert_int_equal(back.count, 1);
	ledger_fini(&back);
	change.key = "ledger\tjoe@example.com\t00000001\txyz";
	change.value = "\1";
	change.len = 1;
	(void)rig.memory.store.ops->put(&rig.memory.store, rig_env(&rig), &change, 1, &is_stale)
		.kind;
	assert_int_equal(rig_load(&rig, &back).code, EBADMSG);
	ledger_fini(&back);
	ledger_fini(&fresh);
	ledger_rig_fini(&rig);
}

/* Each call of the state may fail: the error comes back, and what is kept is the old or the new. */
static void test_failures(void **state)
{
	struct ledger_rig rig;

	(void)state;
	for (size_t n = 1; n < 6; n++) {
		struct ledger back;
		bool is_stale;
		ledger_rig_init(&rig);
		rig_begin(&rig);
		assert_non_null(ledger_row(&rig.ledger, 1));
		rig.memory.fail_call = n;
		rig.memory.fail_code = EIO;
		struct err err =
			ledger_save(&rig.ledger, &rig.memory.store, rig_env(&rig), &is_stale);
		/* The look at the version, last, may fail: the save is done. */
		assert_int_equal(err.code, n < 3 ? EIO : 0);
		rig.memory.fail_call = rig.memory.calls + n;
		err = rig_load(&rig, &back);
		assert_true(!err.kind || err.code == EIO);
		assert_true(err.kind || back.count == (n < 3 ? 0 : 1));
		ledger_fini(&back);
		ledger_rig_fini(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_epochs),      cmocka_unit_test(test_sweep_many),
		cmocka_unit_test(test_lost_head),   cmocka_unit_test(test_damage),
		cmocka_unit_test(test_wrong_pages), cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests_name("ledger in the state", tests, NULL, NULL);
}
