/* SPDX-License-Identifier: MIT */
/* f_state.c - any octets as what lies in the state under a name: its ledger and its journal.
 *
 * The input is a list of values, each in front of the next: an octet that says under which key, its
 * length as two octets, lowest first, and the value. Checksums are none of this (they are the state's
 * own): what is read here is what a checksum could not know to be wrong.
 *
 * What must hold whatever lies there: an error that calls it damaged and nothing with it, or rows and
 * records that make sense, that can be changed and written, and that are the same when read again.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/journal.h"
#include "upstream/ledger.h"
#include "upstream/maildrop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char name[] = "joe";

/* Values as the input has them. */
static void fill(struct state_memory *memory, const struct env *env, const uint8_t *data,
		 size_t size)
{
	static const char *const keys[] = {
		"ledger\tjoe\t",
		"ledger\tjoe\t00000001\t00000000",
		"ledger\tjoe\t00000001\t00000001",
		"ledger\tjoe\t00000001\t007fffff",
		"ledger\tjoe\t00000000\t00000001",
		"ledger\tjoe\t00000002\t00000001",
		"ledger\tjoe\tx",
		"ledger\tjoel\t",
		"journal\tjoe\t0000000000000001",
		"journal\tjoe\tfffffffffffffffe",
		"journal\tjoe\t",
		"journal\tjoel\t0000000000000001",
	};
	bool is_stale;

	while (size >= 3) {
		size_t len = data[1] | (size_t)data[2] << 8;
		const char *key = keys[*data % (sizeof keys / sizeof *keys)];
		data += 3, size -= 3;
		len = len < size ? len : size;
		struct state_change change = {key, data, len, STATE_ANY};
		assert(!memory->store.ops->put(&memory->store, env, &change, 1, &is_stale).kind);
		data += len, size -= len;
	}
}

static void check_rows(const struct ledger *ledger)
{
	char uidl[UIDL_MAX + 1];

	for (size_t i = 0; i < ledger->count; i++) {
		const struct ledger_row *row = &ledger->rows[i];
		assert(row->uid && (!i || ledger->rows[i - 1].uid < row->uid));
		assert(row->id < buf_len(&ledger->texts) || !row->id);
		assert(!row->id || strlen(ledger_text(ledger, row->id)) <= 255);
		ledger_uidl(ledger, row, ledger->head.tag, uidl);
		assert(*uidl);
		assert(ledger_find(ledger, row->uid) == row);
	}
}

static void assert_same_rows(const struct ledger *a, const struct ledger *b)
{
	assert(a->count == b->count);
	for (size_t i = 0; i < a->count; i++) {
		const struct ledger_row *one = &a->rows[i], *other = &b->rows[i];
		assert(one->uid == other->uid && one->octets == other->octets &&
		       one->exact == other->exact && one->marks == other->marks &&
		       one->retrieved_at == other->retrieved_at && !one->id == !other->id &&
		       one->failed_at == other->failed_at && one->failures == other->failures);
		assert(!one->id || !strcmp(ledger_text(a, one->id), ledger_text(b, other->id)));
		assert(!one->name == !other->name);
		assert(!one->name ||
		       !strcmp(ledger_text(a, one->name), ledger_text(b, other->name)));
	}
}

static void mark(void *arg, struct ledger *ledger, struct ledger_row *row)
{
	(*(size_t *)arg)++;
	row->marks |= LEDGER_HIDDEN;
	ledger_touch(ledger, row->uid);
}

/* Single rows, by those who do not load all. */
static void change_some(struct state_memory *memory, const struct env *env,
			const struct ledger *ledger)
{
	uint32_t uids[3];
	size_t count = 0, changed = 0;

	for (size_t i = 0; i < ledger->count && count < 3; i += ledger->count / 3 + 1)
		uids[count++] = ledger->rows[i].uid;
	struct err err = ledger_change(&memory->store, env, name, ledger->head.epoch, uids, count,
				       mark, &changed);
	assert(!err.kind && changed == count);
}

/* All pages written anew, as when a listing has changed everything. */
static void write_again(struct state_memory *memory, const struct env *env, struct ledger *ledger)
{
	struct ledger back;
	bool is_stale = true;

	for (size_t i = 0; i < ledger->count; i++)
		ledger_touch(ledger, ledger->rows[i].uid);
	assert(!ledger_save(ledger, &memory->store, env, &is_stale).kind && !is_stale);
	ledger_init(&back, name);
	assert(!ledger_load(&back, &memory->store, env).kind);
	assert_same_rows(ledger, &back);
	assert(!memcmp(back.head.place, ledger->head.place, sizeof back.head.place));
	assert(!ledger_sweep(&memory->store, env, name, back.head.epoch).kind);
	change_some(memory, env, &back);
	ledger_fini(&back);
}

/* What cannot be read is no obstacle to a new epoch: its rows are what is read then, and no others. */
static void write_over(struct state_memory *memory, const struct env *env,
		       const struct ledger *broken)
{
	struct ledger fresh, back;
	bool is_stale = true;

	ledger_init(&fresh, name);
	ledger_begin_epoch(&fresh, broken, "aaaaaaaaaaaaaaaaaaaaaaaaaa", 7);
	ledger_row(&fresh, 513)->octets = 5;
	assert(!ledger_save(&fresh, &memory->store, env, &is_stale).kind && !is_stale);
	ledger_init(&back, name);
	struct err err = ledger_load(&back, &memory->store, env);
	/* A key that is none of ours stays where it is, and is told again. */
	assert(!err.kind || state_memory_find(memory, "ledger\tjoe\tx"));
	if (!err.kind)
		assert_same_rows(&fresh, &back);
	ledger_fini(&back);
	ledger_fini(&fresh);
}

static void check_ledger(struct state_memory *memory, const struct env *env)
{
	struct ledger ledger, head;

	ledger_init(&ledger, name);
	ledger_init(&head, name);
	struct err err = ledger_load(&ledger, &memory->store, env);
	struct err of_head = ledger_load_head(&head, &memory->store, env);
	assert(!err.kind || (err.code == EBADMSG && !ledger.count && !ledger.head.epoch));
	assert(!of_head.kind || (of_head.code == EBADMSG && err.code == EBADMSG));
	assert(err.kind || (ledger.version == head.version && ledger.count == head.elsewhere));
	check_rows(&ledger);
	if (!err.kind && ledger.version)
		write_again(memory, env, &ledger);
	else
		write_over(memory, env, &ledger);
	ledger_fini(&ledger);
	ledger_fini(&head);
}

static void check_record(const struct journal *record)
{
	assert(record->number && record->count && record->where && record->mode);
	assert(strlen(record->place) <= IDENTITY_PLACE);
	for (size_t i = 0; i < record->count; i++) {
		assert(record->entries[i].uid);
		assert(!i || record->entries[i - 1].uid < record->entries[i].uid);
		assert(strlen(record->entries[i].id) <= IDENTITY_HASH);
	}
}

/* Half of it done, and then all. */
static void shrink(struct state_memory *memory, const struct env *env, struct journal *record)
{
	struct journal *read;
	size_t count, half = (record->count + 1) / 2;

	record->count = half;
	assert(!journal_write(&memory->store, env, name, record).kind);
	assert(!journal_read(&memory->store, env, name, &read, &count).kind && count);
	for (size_t i = 0; i < count; i++) {
		if (read[i].number != record->number)
			continue;
		assert(read[i].count == half && read[i].tries == record->tries);
		assert(!memcmp(read[i].entries, record->entries, half * sizeof *read[i].entries));
	}
	journal_free(read, count);
	record->count = 0;
	assert(!journal_write(&memory->store, env, name, record).kind);
}

static void check_journal(struct state_memory *memory, const struct env *env)
{
	struct journal *records;
	char **names;
	size_t count, name_count;

	struct err err = journal_names(&memory->store, env, &names, &name_count);
	assert(!err.kind || (err.code == EBADMSG && !names && !name_count));
	journal_names_free(names, name_count);
	err = journal_read(&memory->store, env, name, &records, &count);
	assert(!err.kind || (err.code == EBADMSG && !records && !count));
	for (size_t i = 0; i < count; i++) {
		check_record(&records[i]);
		shrink(memory, env, &records[i]);
	}
	journal_free(records, count);
	if (err.kind)
		return;
	assert(!journal_read(&memory->store, env, name, &records, &count).kind && !count);
	journal_free(records, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake_world world;
	struct state_memory memory;

	fake_world_init(&world);
	state_memory_init(&memory);
	fill(&memory, &world.env, data, size);
	check_journal(&memory, &world.env);
	check_ledger(&memory, &world.env);
	state_memory_fini(&memory);
	return 0;
}
