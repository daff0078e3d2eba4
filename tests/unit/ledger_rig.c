/* SPDX-License-Identifier: MIT */
/* ledger_rig.c - a ledger over a state in memory. */
#include "tests/unit/ledger_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

const char rig_place[] = "aaaaaaaaaaaaaaaaaaaaaaaaaa";

const struct env *rig_env(struct ledger_rig *rig)
{
	return &rig->world.env;
}

void ledger_rig_init(struct ledger_rig *rig)
{
	fake_world_init(&rig->world);
	state_memory_init(&rig->memory);
	ledger_init(&rig->ledger, "joe@example.com");
}

void ledger_rig_fini(struct ledger_rig *rig)
{
	ledger_fini(&rig->ledger);
	state_memory_fini(&rig->memory);
}

struct err rig_load(struct ledger_rig *rig, struct ledger *ledger)
{
	ledger_init(ledger, "joe@example.com");
	return ledger_load(ledger, &rig->memory.store, rig_env(rig));
}

void rig_save(struct ledger_rig *rig, struct ledger *ledger)
{
	bool is_stale = true;

	assert_int_equal(ledger_save(ledger, &rig->memory.store, rig_env(rig), &is_stale).kind,
			 ERR_NONE);
	assert_false(is_stale);
}

/* A ledger in its first epoch. */
void rig_begin(struct ledger_rig *rig)
{
	struct ledger none = {0};

	ledger_begin_epoch(&rig->ledger, &none, rig_place, 7);
}

void assert_same_ledger(const struct ledger *a, const struct ledger *b)
{
	assert_int_equal(a->count, b->count);
	assert_string_equal(a->head.place, b->head.place);
	for (size_t i = 0; i < a->count; i++) {
		struct ledger_row one = a->rows[i], other = b->rows[i];
		const char *texts[4] = {ledger_text(a, one.id), ledger_text(b, other.id),
					ledger_text(a, one.name), ledger_text(b, other.name)};
		assert_string_equal(texts[0] ? texts[0] : "-", texts[1] ? texts[1] : "-");
		assert_string_equal(texts[2] ? texts[2] : "-", texts[3] ? texts[3] : "-");
		one.id = other.id = one.name = other.name = 0;
		assert_memory_equal(&one.octets, &other.octets, sizeof one.octets);
		assert_true(one.exact == other.exact && one.retrieved_at == other.retrieved_at &&
			    one.failed_at == other.failed_at && one.uid == other.uid &&
			    one.marks == other.marks && one.failures == other.failures);
	}
}
