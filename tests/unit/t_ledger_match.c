/* SPDX-License-Identifier: MIT */
/* t_ledger_match.c - messages recognised after their UIDs have changed (E-04), by cases and by a
 * model: random mailboxes that lose their UIDVALIDITY, are restored from backups and move to other
 * providers, before which no UIDL may ever name two messages, and a message that was recognised
 * keeps its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/ledger.h"
#include "upstream/maildrop.h"

/* One row of a table; uid 0 ends. */
struct row {
	uint32_t uid;
	const char *id; /* NULL: none */
	uint64_t octets;
};

static void fill(struct ledger *ledger, uint8_t source, uint64_t uidvalidity,
		 const struct row *rows)
{
	ledger_init(ledger, "joe");
	ledger->head.source = source;
	ledger->head.uidvalidity = uidvalidity;
	for (; rows->uid; rows++) {
		struct ledger_row *row = ledger_row(ledger, rows->uid);
		row->octets = rows->octets;
		if (rows->id)
			assert_true(ledger_set_id(ledger, row, rows->id));
	}
}

static void assert_uidl(const struct ledger *ledger, uint32_t uid, const char *uidl)
{
	char out[UIDL_MAX + 1];

	ledger_uidl(ledger, ledger_find(ledger, uid), "new", out);
	assert_string_equal(out, uidl);
}

static const struct row olds[] = {
	{1, "a", 100},     {2, "b", 200},     {3, "twin", 300},  {4, "twin", 300},
	{5, "three", 400}, {6, "three", 400}, {7, "three", 400}, {8, NULL, 500},
	{9, "size", 600},  {10, "gone", 700}, {11, "nosize", 0}, {0},
};
static const struct row news[] = {
	{21, "twin", 300},
	{22, "b", 200},
	{23, "new", 9},
	{24, "a", 100},
	{25, "twin", 300},
	{26, "three", 400},
	{27, "three", 400},
	{28, NULL, 500},
	{29, "size", 601},
	{30, "nosize", 0},
	{0},
};

static void test_ids(void **state)
{
	struct ledger old, fresh;
	struct ledger_matching matching;

	(void)state;
	fill(&old, LEDGER_EMAILID, 7, olds);
	fill(&fresh, LEDGER_EMAILID, 8, news);
	assert_true(ledger_set_name(&old, ledger_find(&old, 2), "given"));
	assert_int_equal(ledger_match(&fresh, &old, "old", &matching).kind, ERR_NONE);
	assert_int_equal(matching.matched, 6);
	assert_int_equal(matching.ambiguous, 2);
	assert_int_equal(matching.unknown, 2);
	assert_int_equal(matching.lost, 5);
	assert_uidl(&fresh, 24, "old.7.1");
	assert_uidl(&fresh, 22, "given");
	assert_uidl(&fresh, 21, "old.7.3");
	assert_uidl(&fresh, 25, "old.7.4");
	assert_uidl(&fresh, 26, "new.8.26");
	assert_uidl(&fresh, 28, "new.8.28");
	assert_uidl(&fresh, 29, "old.7.9");
	assert_uidl(&fresh, 30, "old.7.11");
	ledger_fini(&old);
	ledger_fini(&fresh);
}

/* With a header the size must be the same, and known. */
static void test_headers(void **state)
{
	struct ledger old, fresh;
	struct ledger_matching matching;

	(void)state;
	fill(&old, LEDGER_HEADER, 7, olds);
	fill(&fresh, LEDGER_HEADER, 8, news);
	assert_int_equal(ledger_match(&fresh, &old, "old", &matching).kind, ERR_NONE);
	assert_int_equal(matching.matched, 4);
	assert_int_equal(matching.ambiguous, 2);
	assert_int_equal(matching.unknown, 4);
	assert_int_equal(matching.lost, 7);
	assert_uidl(&fresh, 29, "new.8.29");
	assert_uidl(&fresh, 30, "new.8.30");
	ledger_fini(&old);
	ledger_fini(&fresh);
}

static void test_other_source(void **state)
{
	static const uint8_t sources[][2] = {{LEDGER_EMAILID, LEDGER_GM_MSGID},
					     {LEDGER_HEADER, LEDGER_EMAILID},
					     {LEDGER_NONE, LEDGER_NONE}};
	struct ledger old, fresh;
	struct ledger_matching matching;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		fill(&old, sources[i][0], 7, olds);
		fill(&fresh, sources[i][1], 8, news);
		assert_int_equal(ledger_match(&fresh, &old, "old", &matching).kind, ERR_NONE);
		assert_int_equal(matching.matched + matching.ambiguous, 0);
		assert_int_equal(matching.unknown, 10);
		assert_int_equal(matching.lost, 11);
		ledger_fini(&old);
		ledger_fini(&fresh);
	}
}

/* What is known of a message goes with it. */
static void test_inherited(void **state)
{
	struct ledger old, fresh;
	struct ledger_matching matching;

	(void)state;
	fill(&old, LEDGER_EMAILID, 7, olds);
	fill(&fresh, LEDGER_EMAILID, 8, news);
	struct ledger_row *was = ledger_find(&old, 1), *row = ledger_find(&fresh, 24);
	was->exact = 101;
	was->retrieved_at = 5;
	was->failed_at = 6;
	was->failures = 2;
	was->marks = LEDGER_HIDDEN | LEDGER_PENDING;
	row->octets = 99;
	assert_int_equal(ledger_match(&fresh, &old, "old", &matching).kind, ERR_NONE);
	assert_true(row->exact == 101 && row->retrieved_at == 5 && row->failed_at == 6 &&
		    row->failures == 2 && row->marks == (LEDGER_HIDDEN | LEDGER_PENDING) &&
		    row->octets == 99 && row->uid == 24);
	ledger_fini(&old);
	ledger_fini(&fresh);
}

static void test_edge(void **state)
{
	static const struct {
		uint32_t old, fresh;
	} cases[] = {{0, 0}, {1, 21}, {2, 21}, {4, 25}, {5, 29}, {10, 30}, {12, 0}};
	struct ledger old, fresh;
	struct ledger_matching matching;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fill(&old, LEDGER_EMAILID, 7, olds);
		fill(&fresh, LEDGER_EMAILID, 8, news);
		old.head.edge = cases[i].old;
		fresh.head.edge = 1000;
		assert_int_equal(ledger_match(&fresh, &old, "old", &matching).kind, ERR_NONE);
		assert_int_equal(fresh.head.edge, cases[i].fresh);
		ledger_fini(&old);
		ledger_fini(&fresh);
	}
}

/* --- the model ---------------------------------------------------------------------------- */

enum { MAIL_MAX = 64, ROUNDS = 200, STEPS = 40, UIDLS_MAX = 20000 };

/* A message as the world knows it: a serial number that nobody else ever has. What servers say of
 * it (its id and size) may be the same for others: copies. */
struct mail {
	unsigned serial, looks;
	uint32_t uid;
};

/* The mailbox, and all that POP3 clients have ever been told. */
struct model {
	struct fake_world world;
	struct state_memory memory;
	uint64_t seed;
	struct mail mails[MAIL_MAX], backup[MAIL_MAX];
	size_t count, backup_count;
	uint64_t uidvalidity, backup_validity;
	uint32_t uidnext, backup_uidnext;
	unsigned last_serial, provider;
	struct {
		char uidl[UIDL_MAX + 1];
		unsigned serial, looks;
	} told[UIDLS_MAX];
	size_t told_count;
};

static unsigned chance(struct model *model, unsigned below)
{
	model->seed = model->seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(model->seed >> 40) % below;
}

static void deliver(struct model *model)
{
	if (model->count == MAIL_MAX)
		return;
	unsigned serial = ++model->last_serial;
	/* One in four looks like one from before. */
	unsigned looks = chance(model, 4) ? serial : 1 + chance(model, serial);
	model->mails[model->count++] = (struct mail){serial, looks, model->uidnext++};
}

static void expunge(struct model *model)
{
	if (!model->count)
		return;
	size_t at = chance(model, (unsigned)model->count);
	memmove(model->mails + at, model->mails + at + 1,
		(--model->count - at) * sizeof *model->mails);
}

static void keep_backup(struct model *model)
{
	memcpy(model->backup, model->mails, sizeof model->mails);
	model->backup_count = model->count;
	model->backup_validity = model->uidvalidity;
	model->backup_uidnext = model->uidnext;
}

/* New UIDs for all, in their order: UIDVALIDITY up, down or back to one of long ago, but never the
 * same as just now, which nobody could notice. Backups of before are gone, for the same reason. */
static void renumber(struct model *model)
{
	model->uidvalidity = 1 + (model->uidvalidity + chance(model, 5)) % 6;
	model->uidnext = 1 + chance(model, 3);
	for (size_t i = 0; i < model->count; i++) {
		model->mails[i].uid = model->uidnext;
		model->uidnext += 1 + chance(model, 3);
	}
	keep_backup(model);
}

/* The same UIDVALIDITY, and a UIDNEXT that went down: UIDs will be used again. */
static void restore(struct model *model)
{
	memcpy(model->mails, model->backup, sizeof model->mails);
	model->count = model->backup_count;
	model->uidvalidity = model->backup_validity;
	model->uidnext = model->backup_uidnext;
}

/* What a store's listing does with a ledger: the smallest form of it. */
static void list(struct model *model, struct ledger *ledger)
{
	char place[IDENTITY_PLACE + 1];
	const struct env *env = &model->world.env;
	struct ledger old;
	bool is_stale;

	identity_place(place, model->provider ? "other" : "one", 993, "joe", "INBOX");
	ledger_init(&old, "joe");
	ledger_init(ledger, "joe");
	assert_int_equal(ledger_load(&old, &model->memory.store, env).kind, ERR_NONE);
	bool is_same = old.version && !strcmp(old.head.place, place) &&
		       old.head.uidvalidity == model->uidvalidity &&
		       old.head.uidnext <= model->uidnext;
	if (is_same)
		assert_int_equal(ledger_load(ledger, &model->memory.store, env).kind, ERR_NONE);
	else
		ledger_begin_epoch(ledger, &old, place, model->uidvalidity);
	for (size_t i = ledger->count; i--;) {
		bool is_there = false;
		for (size_t k = 0; k < model->count; k++)
			is_there = is_there || model->mails[k].uid == ledger->rows[i].uid;
		if (!is_there)
			ledger_remove(ledger, ledger->rows[i].uid);
	}
	for (size_t i = 0; i < model->count; i++) {
		char id[16];
		struct ledger_row *row = ledger_row(ledger, model->mails[i].uid);
		snprintf(id, sizeof id, "m%u", model->mails[i].looks);
		row->octets = 1 + model->mails[i].looks;
		assert_true(ledger_set_id(ledger, row, id));
	}
	ledger->head.uidnext = model->uidnext;
	ledger->head.source = LEDGER_HEADER;
	if (!is_same && old.version) {
		char tag[IDENTITY_TAG + 1];
		struct ledger_matching matching;
		bool is_other = strncmp(old.head.place, place, sizeof place) != 0;
		identity_tag(tag, is_other != (model->provider != 0) ? "other" : "one", "joe",
			     "INBOX", old.head.generation);
		assert_int_equal(ledger_match(ledger, &old, tag, &matching).kind, ERR_NONE);
	}
	assert_int_equal(ledger_save(ledger, &model->memory.store, env, &is_stale).kind, ERR_NONE);
	assert_false(is_stale);
	assert_int_equal(ledger_sweep(&model->memory.store, env, "joe", ledger->head.epoch).kind,
			 ERR_NONE);
	ledger_fini(&old);
}

/* The mails that look so in a mailbox. */
static size_t alike(const struct mail *mails, size_t count, unsigned looks)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += mails[i].looks == looks;
	return found;
}

/* A UIDL names for ever what it named first, or a copy that nobody can tell from that. */
static void tell(struct model *model, const char *uidl, const struct mail *mail)
{
	for (size_t i = 0; i < model->told_count; i++)
		if (strcmp(model->told[i].uidl, uidl) == 0) {
			assert_int_equal(model->told[i].looks, mail->looks);
			return;
		}
	assert_true(model->told_count < UIDLS_MAX);
	assert_true(strlen(uidl) <= UIDL_MAX);
	memcpy(model->told[model->told_count].uidl, uidl, strlen(uidl) + 1);
	model->told[model->told_count].serial = mail->serial;
	model->told[model->told_count++].looks = mail->looks;
}

/* Lists, tells, and compares with what the last listing told (`before`, by serial). */
static void poll(struct model *model, const struct mail *last, size_t last_count,
		 char (*before)[UIDL_MAX + 1])
{
	struct ledger ledger;
	char tag[IDENTITY_TAG + 1], uidls[MAIL_MAX][UIDL_MAX + 1];

	list(model, &ledger);
	identity_tag(tag, model->provider ? "other" : "one", "joe", "INBOX",
		     ledger.head.generation);
	for (size_t i = 0; i < model->count; i++) {
		const struct mail *mail = &model->mails[i];
		ledger_uidl(&ledger, ledger_find(&ledger, mail->uid), tag, uidls[i]);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(uidls[i], uidls[k]);
		tell(model, uidls[i], mail);
		/* What nothing looked like, before and now, keeps its UIDL. */
		if (alike(last, last_count, mail->looks) != 1 ||
		    alike(model->mails, model->count, mail->looks) != 1)
			continue;
		for (size_t k = 0; k < last_count; k++)
			if (last[k].looks == mail->looks)
				assert_string_equal(before[k], uidls[i]);
	}
	memcpy(before, uidls, sizeof uidls);
	ledger_fini(&ledger);
}

static void change(struct model *model)
{
	switch (chance(model, 10)) {
	case 0:
		renumber(model);
		break;
	case 1:
		restore(model);
		break;
	case 2:
		keep_backup(model);
		break;
	case 3:
		model->provider = !model->provider;
		renumber(model);
		break;
	case 4:
	case 5:
		expunge(model);
		break;
	default:
		deliver(model);
	}
}

/* Restoring keeps UIDVALIDITY: it is noticed by UIDNEXT, so a poll must have come between. */
static void test_model(void **state)
{
	struct model *model = mem_alloc(sizeof *model);
	char(*before)[UIDL_MAX + 1] = mem_alloc(MAIL_MAX * sizeof *before);

	(void)state;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct mail last[MAIL_MAX];
		size_t last_count = 0;
		memset(model, 0, sizeof *model);
		fake_world_init(&model->world);
		state_memory_init(&model->memory);
		model->seed = round;
		model->uidvalidity = model->uidnext = 1;
		keep_backup(model);
		for (unsigned step = 0; step < STEPS; step++) {
			change(model);
			poll(model, last, last_count, before);
			memcpy(last, model->mails, sizeof last);
			last_count = model->count;
		}
		state_memory_fini(&model->memory);
	}
	free(before);
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),          cmocka_unit_test(test_headers),
		cmocka_unit_test(test_other_source), cmocka_unit_test(test_inherited),
		cmocka_unit_test(test_edge),         cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests_name("ledger_match", tests, NULL, NULL);
}
