/* SPDX-License-Identifier: MIT */
/* t_ledger.c - what is kept of messages, over a state in memory: rows, texts, pages, and two who change
 * them. */
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

static void test_nothing(void **state)
{
	struct ledger_rig rig;

	(void)state;
	ledger_rig_init(&rig);
	assert_int_equal(ledger_load(&rig.ledger, &rig.memory.store, rig_env(&rig)).kind, ERR_NONE);
	assert_true(rig.ledger.version == 0);
	assert_int_equal(rig.ledger.count, 0);
	assert_string_equal(rig.ledger.head.place, "");
	assert_null(ledger_find(&rig.ledger, 1));
	assert_null(ledger_text(&rig.ledger, 0));
	ledger_rig_fini(&rig);
}

static void test_round_trip(void **state)
{
	static const uint32_t uids[] = {1, 2, 511, 512, 513, 1023, 1024, 70000, 4294967295u};
	struct ledger_rig rig;
	struct ledger back;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	memcpy(rig.ledger.head.tag, "6zyk5gcrrf", IDENTITY_TAG);
	rig.ledger.head.uidnext = 4294967295u;
	rig.ledger.head.exists = 9;
	rig.ledger.head.highestmodseq = UINT64_MAX;
	rig.ledger.head.is_whole = true;
	rig.ledger.head.source = LEDGER_EMAILID;
	rig.ledger.head.edge = 5;
	for (size_t i = 0; i < sizeof uids / sizeof *uids; i++) {
		struct ledger_row *row = ledger_row(&rig.ledger, uids[i]);
		char text[32];
		snprintf(text, sizeof text, "M%u", uids[i]);
		row->octets = i ? UINT64_MAX >> i : 0;
		row->exact = i % 2 ? i : 0;
		row->retrieved_at = (uint32_t)(i % 3);
		row->failed_at = i % 4 ? UINT32_MAX : 0;
		row->marks = (uint8_t)(i % 16);
		row->failures = (uint8_t)(i * 31);
		if (i % 2)
			assert_true(ledger_set_id(&rig.ledger, row, text));
		if (i % 3 == 1)
			assert_true(ledger_set_name(&rig.ledger, row, text + 1));
	}
	rig_save(&rig, &rig.ledger);
	assert_non_null(state_memory_find(&rig.memory, "ledger\tjoe@example.com\t"));
	assert_non_null(
		state_memory_find(&rig.memory, "ledger\tjoe@example.com\t00000001\t007fffff"));
	assert_int_equal(rig.memory.count, 6);
	assert_int_equal(rig_load(&rig, &back).kind, ERR_NONE);
	assert_same_ledger(&rig.ledger, &back);
	assert_string_equal(back.head.tag, "6zyk5gcrrf");
	assert_memory_equal(&back.head.edge, &rig.ledger.head.edge, sizeof back.head.edge);
	assert_true(back.head.highestmodseq == UINT64_MAX && back.head.uidnext == 4294967295u &&
		    back.head.exists == 9 && back.head.is_whole &&
		    back.head.source == LEDGER_EMAILID && back.head.uidvalidity == 7 &&
		    back.head.uidvalidity_max == 7 && back.head.epoch == 1 &&
		    back.head.generation == 0);
	ledger_fini(&back);
	ledger_rig_fini(&rig);
}

static void test_rows(void **state)
{
	struct ledger_rig rig;

	(void)state;
	ledger_rig_init(&rig);
	for (uint32_t uid = 1000; uid; uid -= 10)
		assert_non_null(ledger_row(&rig.ledger, uid));
	assert_int_equal(rig.ledger.count, 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(rig.ledger.rows[i].uid, 10 * (i + 1));
	assert_ptr_equal(ledger_find(&rig.ledger, 500), ledger_row(&rig.ledger, 500));
	assert_null(ledger_find(&rig.ledger, 501));
	ledger_remove(&rig.ledger, 501);
	ledger_remove(&rig.ledger, 500);
	ledger_remove(&rig.ledger, 500);
	assert_int_equal(rig.ledger.count, 99);
	assert_null(ledger_find(&rig.ledger, 500));
	ledger_rig_fini(&rig);
}

static bool keep_odd(void *arg, const struct ledger_row *row)
{
	(*(int *)arg)++;
	return row->uid % 2;
}

static void test_retain(void **state)
{
	struct ledger_rig rig;
	struct ledger back;
	int seen = 0;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	for (uint32_t uid = 1; uid <= 1000; uid++)
		assert_non_null(ledger_row(&rig.ledger, uid));
	assert_non_null(ledger_row(&rig.ledger, 4096));
	rig_save(&rig, &rig.ledger);
	assert_int_equal(rig.memory.count, 4);
	assert_int_equal(ledger_retain(&rig.ledger, keep_odd, &seen), 501);
	assert_int_equal(seen, 1001);
	rig_save(&rig, &rig.ledger);
	assert_int_equal(rig.memory.count, 3); /* the last page is empty: it is erased */
	assert_int_equal(rig_load(&rig, &back).kind, ERR_NONE);
	assert_int_equal(back.count, 500);
	assert_same_ledger(&rig.ledger, &back);
	ledger_fini(&back);
	ledger_rig_fini(&rig);
}

static void test_texts(void **state)
{
	struct ledger_rig rig;
	char long_text[300];

	(void)state;
	ledger_rig_init(&rig);
	struct ledger_row *row = ledger_row(&rig.ledger, 1);
	memset(long_text, 'x', sizeof long_text);
	long_text[256] = '\0';
	assert_false(ledger_set_id(&rig.ledger, row, ""));
	assert_false(ledger_set_id(&rig.ledger, row, long_text));
	long_text[255] = '\0';
	assert_true(ledger_set_id(&rig.ledger, row, long_text));
	assert_string_equal(ledger_text(&rig.ledger, row->id), long_text);
	assert_false(ledger_set_name(&rig.ledger, row, ""));
	assert_false(ledger_set_name(&rig.ledger, row, "a b"));
	assert_false(ledger_set_name(&rig.ledger, row, "\xc3\xa4"));
	long_text[71] = '\0';
	assert_false(ledger_set_name(&rig.ledger, row, long_text));
	assert_int_equal(row->name, 0);
	long_text[70] = '\0';
	assert_true(ledger_set_name(&rig.ledger, row, long_text));
	size_t held = buf_len(&rig.ledger.texts);
	assert_true(ledger_set_name(&rig.ledger, row, long_text));
	assert_int_equal(buf_len(&rig.ledger.texts), held);
	assert_true(ledger_set_name(&rig.ledger, row, "other"));
	assert_string_equal(ledger_text(&rig.ledger, row->name), "other");
	ledger_rig_fini(&rig);
}

static void test_uidl(void **state)
{
	struct ledger_rig rig;
	char out[UIDL_MAX + 1];

	(void)state;
	ledger_rig_init(&rig);
	struct ledger_row *row = ledger_row(&rig.ledger, 4294967295u);
	rig.ledger.head.uidvalidity = UINT64_MAX;
	ledger_uidl(&rig.ledger, row, "6zyk5gcrrf", out);
	assert_string_equal(out, "6zyk5gcrrf.18446744073709551615.4294967295");
	assert_true(ledger_set_name(&rig.ledger, row, "given"));
	ledger_uidl(&rig.ledger, row, "6zyk5gcrrf", out);
	assert_string_equal(out, "given");
	ledger_rig_fini(&rig);
}

/* Of a large mailbox one changed message costs one page and the head. */
static void test_one_page(void **state)
{
	struct ledger_rig rig;
	struct ledger back;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	for (uint32_t uid = 1; uid <= 100000; uid++) {
		struct ledger_row *row = ledger_row(&rig.ledger, uid);
		row->octets = uid;
		assert_true(ledger_set_id(&rig.ledger, row, "abcdefghijklmnopqrstuvwxyz"));
	}
	rig_save(&rig, &rig.ledger);
	assert_int_equal(rig.memory.count, 1 + 196);
	assert_int_equal(rig_load(&rig, &back).kind, ERR_NONE);
	assert_same_ledger(&rig.ledger, &back);
	assert_int_equal(back.dirty_count, 0);
	ledger_find(&back, 70000)->exact = 12;
	ledger_touch(&back, 70000);
	uint64_t before = rig.memory.last_version;
	rig_save(&rig, &back);
	assert_true(rig.memory.last_version > before);
	size_t changed = 0;
	for (size_t i = 0; i < rig.memory.count; i++)
		changed += rig.memory.entries[i].version > before;
	assert_int_equal(changed, 2);
	ledger_fini(&back);
	ledger_rig_fini(&rig);
}

/* Two that loaded the same: the second to save is told so, and changes nothing. */
static void test_stale(void **state)
{
	struct ledger_rig rig;
	struct ledger one, other;
	bool is_stale;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	assert_non_null(ledger_row(&rig.ledger, 1));
	rig_save(&rig, &rig.ledger);
	assert_int_equal(rig_load(&rig, &one).kind, ERR_NONE);
	assert_int_equal(rig_load(&rig, &other).kind, ERR_NONE);
	ledger_row(&one, 1)->octets = 1;
	rig_save(&rig, &one);
	ledger_row(&other, 1)->octets = 2;
	assert_int_equal(ledger_save(&other, &rig.memory.store, rig_env(&rig), &is_stale).kind,
			 ERR_NONE);
	assert_true(is_stale);
	/* The first one can go on: it knows its own version. */
	ledger_row(&one, 1)->octets = 3;
	rig_save(&rig, &one);
	ledger_fini(&other);
	assert_int_equal(rig_load(&rig, &other).kind, ERR_NONE);
	assert_true(other.rows[0].octets == 3);
	ledger_fini(&other);
	ledger_fini(&one);
	ledger_rig_fini(&rig);
}

static void faster(void *arg, struct state_memory *memory, size_t nth)
{
	struct ledger_rig *rig = arg;
	struct ledger ledger;

	(void)nth;
	memory->after_put = NULL;
	assert_int_equal(rig_load(rig, &ledger).kind, ERR_NONE);
	ledger_row(&ledger, 1)->octets = 77;
	rig_save(rig, &ledger);
	ledger_fini(&ledger);
}

/* Somebody saves between our save and the look at its version: ours must not pass for it. */
static void test_overtaken(void **state)
{
	struct ledger_rig rig;
	bool is_stale;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	ledger_row(&rig.ledger, 1)->octets = 5;
	rig.memory.after_put = faster;
	rig.memory.arg = &rig;
	rig_save(&rig, &rig.ledger);
	ledger_row(&rig.ledger, 1)->octets = 6;
	assert_int_equal(ledger_save(&rig.ledger, &rig.memory.store, rig_env(&rig), &is_stale).kind,
			 ERR_NONE);
	assert_true(is_stale);
	ledger_rig_fini(&rig);
}

static void test_head_alone(void **state)
{
	struct ledger_rig rig;
	struct ledger head, back;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	assert_non_null(ledger_row(&rig.ledger, 1));
	assert_non_null(ledger_row(&rig.ledger, 1000));
	rig_save(&rig, &rig.ledger);
	ledger_init(&head, "joe@example.com");
	size_t walks = rig.memory.walks;
	assert_int_equal(ledger_load_head(&head, &rig.memory.store, rig_env(&rig)).kind, ERR_NONE);
	assert_int_equal(rig.memory.walks, walks);
	assert_int_equal(head.count, 0);
	head.head.highestmodseq = 99;
	rig_save(&rig, &head);
	assert_int_equal(rig_load(&rig, &back).kind, ERR_NONE);
	assert_int_equal(back.count, 2);
	assert_true(back.head.highestmodseq == 99);
	ledger_fini(&back);
	ledger_fini(&head);
	ledger_rig_fini(&rig);
}

/* --- single rows -------------------------------------------------------------------------- */

static void mark(void *arg, struct ledger *ledger, struct ledger_row *row)
{
	(*(int *)arg)++;
	row->marks |= LEDGER_HIDDEN;
	assert_true(ledger_set_name(ledger, row, "given"));
}

static void faster_before(void *arg, struct state_memory *memory, size_t nth)
{
	(void)nth;
	memory->before_put = NULL;
	faster(arg, memory, nth);
}

static void test_change(void **state)
{
	static const uint32_t uids[] = {1, 2, 1000, 1001, 5000};
	struct ledger_rig rig;
	struct ledger back;
	int calls = 0;

	(void)state;
	ledger_rig_init(&rig);
	rig_begin(&rig);
	for (uint32_t uid = 1; uid <= 2000; uid++)
		ledger_row(&rig.ledger, uid)->octets = uid;
	ledger_remove(&rig.ledger, 1001);
	rig_save(&rig, &rig.ledger);
	/* Another is faster the first time: done again on what that one wrote. */
	rig.memory.before_put = faster_before;
	rig.memory.arg = &rig;
	struct err err = ledger_change(&rig.memory.store, rig_env(&rig), "joe@example.com", 1, uids,
				       5, mark, &calls);
	assert_int_equal(err.kind, ERR_NONE);
	assert_int_equal(calls, 6);
	assert_int_equal(rig_load(&rig, &back).kind, ERR_NONE);
	assert_int_equal(back.count, 1999);
	assert_true(back.rows[0].octets == 77);
	for (size_t i = 0; i < back.count; i++) {
		uint32_t uid = back.rows[i].uid;
		bool is_marked = uid == 1 || uid == 2 || uid == 1000;
		assert_int_equal(back.rows[i].marks, is_marked ? LEDGER_HIDDEN : 0);
	}
	ledger_fini(&back);
	/* Of another epoch, of nobody: nothing happens. */
	size_t puts = rig.memory.puts;
	err = ledger_change(&rig.memory.store, rig_env(&rig), "joe@example.com", 2, uids, 5, mark,
			    &calls);
	assert_int_equal(err.kind, ERR_NONE);
	err = ledger_change(&rig.memory.store, rig_env(&rig), "nobody", 0, uids, 5, mark, &calls);
	assert_int_equal(err.kind, ERR_NONE);
	err = ledger_change(&rig.memory.store, rig_env(&rig), "joe@example.com", 1, uids + 3, 2,
			    mark, &calls);
	assert_int_equal(err.kind, ERR_NONE);
	assert_int_equal(rig.memory.puts, puts);
	assert_int_equal(calls, 6);
	rig.memory.put_code = ENOSPC;
	err = ledger_change(&rig.memory.store, rig_env(&rig), "joe@example.com", 1, uids, 1, mark,
			    &calls);
	assert_int_equal(err.code, ENOSPC);
	ledger_rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),   cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_rows),      cmocka_unit_test(test_retain),
		cmocka_unit_test(test_texts),     cmocka_unit_test(test_uidl),
		cmocka_unit_test(test_one_page),  cmocka_unit_test(test_stale),
		cmocka_unit_test(test_overtaken), cmocka_unit_test(test_head_alone),
		cmocka_unit_test(test_change),
	};

	return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
