/* SPDX-License-Identifier: MIT */
/* t_journal.c - records of promised deletions, over a state in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/journal.h"

static const char place[] = "aaaaaaaaaaaaaaaaaaaaaaaaaa";

struct rig {
	struct fake_world world;
	struct state_memory memory;
};

static void rig_init(struct rig *rig)
{
	fake_world_init(&rig->world);
	state_memory_init(&rig->memory);
}

static struct err write_one(struct rig *rig, const char *name, struct journal *journal)
{
	return journal_write(&rig->memory.store, &rig->world.env, name, journal);
}

static struct err read_all(struct rig *rig, const char *name, struct journal **out, size_t *count)
{
	return journal_read(&rig->memory.store, &rig->world.env, name, out, count);
}

/* `count` entries from `first` on, every third UID. */
static struct journal make(uint32_t first, size_t count, uint64_t since)
{
	struct journal journal = {.where = text_dup("joe@imap.example.com:993/INBOX"),
				  .mode = text_dup("archive:Old"),
				  .uidvalidity = UINT64_MAX,
				  .since = since,
				  .tries = 3,
				  .count = count};

	memcpy(journal.place, place, sizeof place);
	journal.entries = mem_alloc((count + 1) * sizeof *journal.entries);
	for (size_t i = 0; i < count; i++)
		journal.entries[i] =
			(struct journal_entry){.uid = first + 3 * (uint32_t)i, .octets = i * 1000};
	return journal;
}

static void assert_same(const struct journal *a, const struct journal *b)
{
	assert_true(a->number == b->number && a->since == b->since && a->tries == b->tries &&
		    a->uidvalidity == b->uidvalidity && a->count == b->count);
	assert_string_equal(a->place, b->place);
	assert_string_equal(a->where, b->where);
	assert_string_equal(a->mode, b->mode);
	for (size_t i = 0; i < a->count; i++)
		assert_true(a->entries[i].uid == b->entries[i].uid &&
			    a->entries[i].octets == b->entries[i].octets &&
			    !strcmp(a->entries[i].id, b->entries[i].id));
}

static void test_life(void **state)
{
	struct rig rig;
	struct journal *read, one = make(1, 500, 1700000000), other = make(4294967295u, 1, 5);
	size_t count;

	(void)state;
	rig_init(&rig);
	assert_int_equal(read_all(&rig, "joe", &read, &count).kind, ERR_NONE);
	assert_int_equal(count, 0);
	assert_null(read);
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_true(one.number > 0);
	assert_int_equal(write_one(&rig, "joe", &other).kind, ERR_NONE);
	/* Later is above, even if a clock went back. */
	assert_true(other.number > one.number);
	assert_int_equal(read_all(&rig, "joe", &read, &count).kind, ERR_NONE);
	assert_int_equal(count, 2);
	assert_same(&read[0], &one);
	assert_same(&read[1], &other);
	journal_free(read, count);

	one.count = 7;
	one.tries = 4;
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_int_equal(read_all(&rig, "joe", &read, &count).kind, ERR_NONE);
	assert_int_equal(count, 2);
	assert_same(&read[0], &one);
	journal_free(read, count);

	one.count = 0;
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_int_equal(rig.memory.count, 1);
	one.number = 0;
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_int_equal(rig.memory.count, 1);
	journal_fini(&one);
	journal_fini(&other);
	state_memory_fini(&rig.memory);
}

/* All that is written of an UPDATE, over all its records: as many UIDs as there are, each above the
 * last. */
static void assert_entries(struct rig *rig, size_t records, size_t entries)
{
	struct journal *read;
	size_t count, seen = 0;
	uint32_t uid = 0;

	assert_int_equal(read_all(rig, "joe", &read, &count).kind, ERR_NONE);
	assert_int_equal(count, records);
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < read[i].count; k++, seen++) {
			assert_true(read[i].entries[k].uid > uid);
			uid = read[i].entries[k].uid;
		}
	assert_int_equal(seen, entries);
	journal_free(read, count);
}

/* More than fits into one value of the state: several records, written at once or not at all. */
static void test_large(void **state)
{
	struct rig rig;
	struct journal one = make(1, 600000, 5), later = make(4000000000u, 1, 5);

	(void)state;
	rig_init(&rig);
	/* The worst that an entry can be. */
	for (size_t i = 0; i < one.count; i++) {
		one.entries[i].octets = UINT64_MAX;
		memcpy(one.entries[i].id, place, sizeof place);
	}
	rig.memory.put_code = ENOSPC;
	assert_int_equal(write_one(&rig, "joe", &one).code, ENOSPC);
	assert_int_equal(rig.memory.count, 0);
	assert_true(one.number == 0);
	rig.memory.put_code = 0;
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_int_equal(rig.memory.changes, 1);
	assert_entries(&rig, 3, 600000);
	/* The next one stands behind all of them. */
	assert_int_equal(write_one(&rig, "joe", &later).kind, ERR_NONE);
	assert_true(later.number > one.number + 2);
	assert_entries(&rig, 4, 600001);
	one.count = 300000;
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_entries(&rig, 3, 300001);
	one.count = 0;
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_entries(&rig, 1, 1);
	journal_fini(&one);
	journal_fini(&later);
	state_memory_fini(&rig.memory);
}

static void test_names(void **state)
{
	static const char *const names[] = {"joe", "joe@example.com", "ann", "joe", "joel"};
	static const char *const expected[] = {"ann", "joe", "joe@example.com", "joel"};
	struct rig rig;
	struct journal *read;
	char **found;
	size_t count;

	(void)state;
	rig_init(&rig);
	assert_int_equal(journal_names(&rig.memory.store, &rig.world.env, &found, &count).kind,
			 ERR_NONE);
	assert_int_equal(count, 0);
	journal_names_free(found, count);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct journal one = make(1, 1, 1);
		assert_int_equal(write_one(&rig, names[i], &one).kind, ERR_NONE);
		journal_fini(&one);
	}
	assert_int_equal(journal_names(&rig.memory.store, &rig.world.env, &found, &count).kind,
			 ERR_NONE);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(found[i], expected[i]);
	journal_names_free(found, count);
	/* Nobody reads the records of another whose name begins alike. */
	assert_int_equal(read_all(&rig, "joe", &read, &count).kind, ERR_NONE);
	assert_int_equal(count, 2);
	journal_free(read, count);
	assert_int_equal(read_all(&rig, "jo", &read, &count).kind, ERR_NONE);
	assert_int_equal(count, 0);
	state_memory_fini(&rig.memory);
}

/* The number is taken by another process just before our put. */
static void faster(void *arg, struct state_memory *memory, size_t nth)
{
	struct rig *rig = arg;
	struct journal one = make(9, 1, 5);

	(void)nth;
	memory->before_put = NULL;
	rig->world.seed = 1; /* the same chance as the one that we are faster than */
	assert_int_equal(write_one(rig, "joe", &one).kind, ERR_NONE);
	journal_fini(&one);
}

static void test_overtaken(void **state)
{
	struct rig rig;
	struct journal *read, one = make(1, 2, 5);
	size_t count;

	(void)state;
	rig_init(&rig);
	rig.memory.before_put = faster;
	rig.memory.arg = &rig;
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_int_equal(rig.memory.stales, 1);
	assert_int_equal(read_all(&rig, "joe", &read, &count).kind, ERR_NONE);
	assert_int_equal(count, 2);
	assert_int_equal(read[0].entries[0].uid, 9);
	assert_same(&read[1], &one);
	journal_free(read, count);
	journal_fini(&one);
	state_memory_fini(&rig.memory);
}

/* What a message is recognised by goes with it, and a record without any is as it always was. */
static void test_ids(void **state)
{
	struct rig rig;
	struct journal *read, one = make(1, 3, 5), plain = make(1, 3, 6);
	size_t count;

	(void)state;
	rig_init(&rig);
	strcpy(one.entries[1].id, "abcdefghijklmnopqrstuvwxyz");
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	assert_int_equal(write_one(&rig, "joe", &plain).kind, ERR_NONE);
	assert_int_equal(rig.memory.entries[0].value[0], 2);
	assert_int_equal(rig.memory.entries[1].value[0], 1);
	assert_int_equal(read_all(&rig, "joe", &read, &count).kind, ERR_NONE);
	assert_int_equal(count, 2);
	assert_same(&read[0], &one);
	assert_same(&read[1], &plain);
	journal_free(read, count);
	journal_fini(&one);
	journal_fini(&plain);
	state_memory_fini(&rig.memory);
}

/* Every octet cut off or changed in each bit: told, or a record that makes sense. */
static void test_damage(void **state)
{
	struct rig rig;
	struct journal *read, one = make(1, 5, 1700000000);
	size_t count, refused = 0;

	(void)state;
	rig_init(&rig);
	strcpy(one.entries[3].id, "abc");
	assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
	struct state_memory_entry *entry = &rig.memory.entries[0];
	size_t len = entry->len;
	for (size_t i = 0; i < len * 9; i++) {
		char was = entry->value[i / 9];
		if (i % 9 == 8)
			entry->len = i / 9;
		else
			entry->value[i / 9] = (char)(was ^ 1 << i % 9);
		struct err err = read_all(&rig, "joe", &read, &count);
		entry->value[i / 9] = was;
		entry->len = len;
		assert_true(!err.kind || (err.code == EBADMSG && !read && !count));
		refused += err.kind != ERR_NONE;
		for (size_t k = 0; k < count; k++) {
			assert_true(read[k].count > 0 && read[k].entries[0].uid > 0);
			for (size_t e = 1; e < read[k].count; e++)
				assert_true(read[k].entries[e].uid > read[k].entries[e - 1].uid);
		}
		journal_free(read, count);
	}
	assert_true(refused > 50);
	/* A key that is none of ours. */
	entry->key[strlen(entry->key) - 1] = 'x';
	assert_int_equal(read_all(&rig, "joe", &read, &count).code, EBADMSG);
	journal_fini(&one);
	state_memory_fini(&rig.memory);
}

static void test_failures(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 2; n++) {
		struct rig rig;
		struct journal *read, one = make(1, 5, 1);
		char **names;
		size_t count;
		rig_init(&rig);
		rig.memory.fail_call = n;
		assert_int_equal(write_one(&rig, "joe", &one).code, EIO);
		assert_true(one.number == 0);
		rig.memory.fail_call = 0;
		assert_int_equal(read_all(&rig, "joe", &read, &count).kind, ERR_NONE);
		assert_int_equal(count, 0);
		assert_int_equal(write_one(&rig, "joe", &one).kind, ERR_NONE);
		rig.memory.read_code = EIO;
		assert_int_equal(read_all(&rig, "joe", &read, &count).code, EIO);
		assert_int_equal(
			journal_names(&rig.memory.store, &rig.world.env, &names, &count).code, EIO);
		rig.memory.read_code = 0;
		rig.memory.put_code = ENOSPC;
		one.count = 0;
		assert_int_equal(write_one(&rig, "joe", &one).code, ENOSPC);
		one.count = 5;
		journal_fini(&one);
		state_memory_fini(&rig.memory);
	}
}

/* What could not be read back is not written: it would lock everybody out. */
static void test_nonsense(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	for (int i = 0; i < 4; i++) {
		struct journal one = make(1, 3, 1);
		if (i == 0)
			one.entries[2].uid = one.entries[1].uid;
		else if (i == 1)
			one.entries[0].uid = 0;
		else if (i == 2)
			one.place[3] = '\0';
		else
			one.entries[1].uid = 100;
		assert_int_equal(write_one(&rig, "joe", &one).code, EINVAL);
		assert_int_equal(rig.memory.count, 0);
		journal_fini(&one);
	}
	state_memory_fini(&rig.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),     cmocka_unit_test(test_large),
		cmocka_unit_test(test_names),    cmocka_unit_test(test_overtaken),
		cmocka_unit_test(test_ids),      cmocka_unit_test(test_damage),
		cmocka_unit_test(test_failures), cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
