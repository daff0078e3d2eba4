/* SPDX-License-Identifier: MIT */
/* t_chores.c - promised deletions done without a client: when, how often, and how loud. */
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
#include "proxy/chores.h"
#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/journal.h"

enum { EVERY_MS = 300000 };

struct scene {
	struct log_target target; /* first: found by it */
	struct log log;
	struct fake_world world;
	struct state_memory state;
	struct lock_table *locks;
	struct chores chores;
	/* What finding an account and opening, listing its store answer. */
	struct err found, opened, listed;
	bool is_done; /* the listing does what the journal says */
	size_t accounts, opens, lists, closes;
	bool was_wanted; /* what close() was told */
	bool is_slow;    /* a listing lasts until it is cut, or a minute */
	bool is_cut;
	unsigned alarms, warnings;
	char lines[8192];
};

/* The store: its listing does what the journal says, or not. */
struct store {
	struct upstream upstream; /* first */
	const struct upstream_conf *conf;
	struct scene *scene;
};

static struct scene *scene_of(const struct env *env)
{
	return (struct scene *)((uintptr_t)env - offsetof(struct scene, world.env));
}

static struct err store_open(const struct env *env, const struct log *log,
			     const struct upstream_conf *conf, const struct login *login,
			     struct notice *why, struct upstream **out)
{
	struct scene *scene = scene_of(env);

	(void)log;
	(void)login;
	*out = NULL;
	if (scene->opened.kind) {
		snprintf(why->text, sizeof why->text, "the server's words");
		return scene->opened;
	}
	struct store *store = mem_alloc(sizeof *store);
	*store = (struct store){.upstream = {.ops = conf->ops, .identity = "one mailbox"},
				.conf = conf,
				.scene = scene};
	scene->opens++;
	assert_false(conf->measure_sizes);
	*out = &store->upstream;
	return OK;
}

static struct err store_list(struct upstream *upstream, struct maildrop *drop)
{
	struct store *store = (struct store *)upstream;
	struct scene *scene = store->scene;
	struct state_store *state = store->conf->state;
	struct journal *journals;
	size_t count;

	(void)drop;
	scene->lists++;
	for (int i = 0; scene->is_slow && !scene->is_cut && i < 60; i++)
		scene->world.env.ops->sleep(&scene->world.env, 1000);
	if (scene->is_cut)
		return ERR(ERR_UPSTREAM, ECANCELED, "cut");
	if (scene->listed.kind || !scene->is_done)
		return scene->listed;
	assert_int_equal(
		journal_read(state, &scene->world.env, store->conf->name, &journals, &count).kind,
		ERR_NONE);
	for (size_t i = 0; i < count; i++) {
		journals[i].count = 0;
		assert_int_equal(
			journal_write(state, &scene->world.env, store->conf->name, &journals[i])
				.kind,
			ERR_NONE);
	}
	journal_free(journals, count);
	return OK;
}

static void store_close(struct upstream *upstream, const struct maildrop *drop,
			bool (*is_wanted)(const void *arg), const void *arg)
{
	struct scene *scene = ((struct store *)upstream)->scene;

	(void)drop;
	scene->closes++;
	scene->was_wanted = is_wanted(arg);
	free(upstream);
}

static void store_cut(struct upstream *upstream)
{
	((struct store *)upstream)->scene->is_cut = true;
}

static const struct upstream_ops store_ops = {.name = "chore",
					      .open = store_open,
					      .list = store_list,
					      .close = store_close,
					      .cut = store_cut};

static struct err find(void *arg, const char *name, struct notice *why, struct account **out)
{
	struct scene *scene = arg;

	*out = NULL;
	if (scene->found.kind) {
		snprintf(why->text, sizeof why->text, "the map's words");
		return scene->found;
	}
	struct account *account = mem_alloc(sizeof *account);
	account->name = text_dup(name);
	account->upstream = (struct upstream_conf){.ops = &store_ops,
						   .name = account->name,
						   .state = &scene->state.store,
						   .measure_sizes = true};
	scene->accounts++;
	*out = account;
	return OK;
}

static void free_account(struct account *account)
{
	free(account->name);
	free(account);
}

static void note_line(struct log_target *target, enum log_level level, const char *line, size_t len)
{
	struct scene *scene = (struct scene *)target;

	scene->alarms += level == LEVEL_ALARM;
	scene->warnings += level == LEVEL_WARN;
	snprintf(scene->lines + strlen(scene->lines), sizeof scene->lines - strlen(scene->lines),
		 "%.*s", (int)len, line);
}

static void promise(struct scene *scene, const char *name)
{
	struct journal_entry entry = {.uid = 7, .octets = 100};
	struct journal journal = {.uidvalidity = 1, .entries = &entry, .count = 1};

	memset(journal.place, 'p', sizeof journal.place - 1);
	assert_int_equal(journal_write(&scene->state.store, &scene->world.env, name, &journal).kind,
			 ERR_NONE);
}

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof *scene);

	scene->target.write = note_line;
	scene->log.target = &scene->target;
	fake_world_init(&scene->world);
	state_memory_init(&scene->state);
	scene->locks = lock_table_new();
	scene->chores = (struct chores){.env = &scene->world.env,
					.log = &scene->log,
					.locks = scene->locks,
					.state = &scene->state.store,
					.find = find,
					.free_account = free_account,
					.arg = scene,
					.every_ms = EVERY_MS};
	scene->is_done = true;
	promise(scene, "joe@example.org");
	*state = scene;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(scene->opens, scene->closes);
	chores_fini(&scene->chores);
	lock_table_free(scene->locks);
	state_memory_fini(&scene->state);
	free(scene);
	return 0;
}

/* Passes, one every EVERY_MS, for so long. */
static void pass_for(struct scene *scene, uint64_t ms)
{
	for (uint64_t end = scene->world.now_ms + ms; scene->world.now_ms < end;
	     scene->world.now_ms += EVERY_MS)
		chores_pass(&scene->chores);
}

/* A reload in the midst of the first visit: the others live on another worker. */
static bool is_here_at_first(void *arg, const char *name)
{
	(void)name;
	return !((struct scene *)arg)->lists;
}

static void test_moved_away(void **state)
{
	struct scene *scene = *state;

	promise(scene, "ann@example.org");
	scene->chores.is_ours = is_here_at_first;
	chores_pass(&scene->chores);
	assert_int_equal(scene->lists, 1);
}

static void test_done_at_once(void **state)
{
	struct scene *scene = *state;

	promise(scene, "ann@example.org");
	promise(scene, "ann@example.org");
	chores_pass(&scene->chores);
	assert_int_equal(scene->lists, 2);
	assert_int_equal(scene->state.count, 0);
	assert_false(scene->was_wanted);
	assert_int_equal(scene->alarms + scene->warnings, 0);
	pass_for(scene, 10 * EVERY_MS);
	assert_int_equal(scene->lists, 2);
	assert_int_equal(scene->chores.count, 0);
}

/* Twice the pause after each failure, up to a day; then each failure is an alarm. */
static void test_back_off(void **state)
{
	struct scene *scene = *state;

	scene->opened = ERR(ERR_UPSTREAM, ETIMEDOUT, "no answer");
	pass_for(scene, EVERY_MS);
	assert_int_equal(scene->accounts, 1);
	assert_int_equal(scene->warnings, 1);
	pass_for(scene, EVERY_MS);
	assert_int_equal(scene->accounts, 2);
	pass_for(scene, EVERY_MS);
	assert_int_equal(scene->accounts, 2); /* 600 s */
	pass_for(scene, EVERY_MS);
	assert_int_equal(scene->accounts, 3);
	/* 300 s times 2 to the power of 0 to 8, together 153,300 s; the tenth is cut to a day. */
	pass_for(scene, UINT64_C(153300000) - 4 * EVERY_MS);
	assert_int_equal(scene->alarms, 0);
	pass_for(scene, EVERY_MS);
	assert_int_equal(scene->alarms, 1);
	assert_non_null(
		strstr(scene->lines, "event=replay-failed level=alarm user=joe@example.org"));
	pass_for(scene, 3 * UINT64_C(86400000));
	assert_int_equal(scene->alarms, 4);
	/* Once it works it is done and forgotten. */
	scene->opened = OK;
	pass_for(scene, UINT64_C(86400000) + EVERY_MS);
	assert_int_equal(scene->state.count, 0);
	assert_int_equal(scene->alarms, 4);
	promise(scene, "joe@example.org");
	scene->opened = ERR(ERR_UPSTREAM, ETIMEDOUT, "no answer");
	pass_for(scene, EVERY_MS);
	assert_int_equal(scene->alarms, 4);
}

/* A listing that goes well and leaves the record is a failure too. */
static void test_not_done(void **state)
{
	struct scene *scene = *state;

	scene->is_done = false;
	chores_pass(&scene->chores);
	assert_int_equal(scene->warnings, 1);
	assert_int_equal(scene->chores.all[0].failures, 1);
	assert_int_equal(scene->state.count, 1);
}

static void test_pass_through_waits(void **state)
{
	struct scene *scene = *state;

	scene->found = ERR(ERR_REFUSED, 0, "its password is the client's");
	pass_for(scene, UINT64_C(86400000));
	assert_int_equal(scene->alarms + scene->warnings, 0);
	assert_int_equal(scene->state.count, 1);
}

static void test_one_alarm_a_day_for_a_name_that_is_gone(void **state)
{
	struct scene *scene = *state;

	scene->found = ERR(ERR_LOGIN, 0, "unknown name");
	pass_for(scene, UINT64_C(3) * 86400000);
	assert_int_equal(scene->alarms, 3);
	assert_non_null(strstr(scene->lines, "event=replay-impossible level=alarm"));
	assert_int_equal(scene->state.count, 1);
}

/* A session has it: that session has seen the journal, and will not be disturbed. */
static void test_gives_way_to_a_session(void **state)
{
	struct scene *scene = *state;
	struct lock *lock;

	assert_int_equal(lock_take(scene->locks, &scene->world.env, "one mailbox",
				   &(struct lock_holder){.name = "joe@example.org"}, 0, 0, &lock)
				 .kind,
			 ERR_NONE);
	uint64_t before = scene->world.now_ms;
	chores_pass(&scene->chores);
	assert_int_equal(scene->world.now_ms, before);
	assert_int_equal(scene->lists, 0);
	assert_int_equal(scene->alarms + scene->warnings, 0);
	lock_release(lock);
	pass_for(scene, EVERY_MS);
	assert_int_equal(scene->lists, 1);
	assert_int_equal(scene->state.count, 0);
}

/* The same name elsewhere: not even a login goes out. */
static void test_asks_nobody_while_its_session_lasts(void **state)
{
	struct scene *scene = *state;
	struct lock *lock;

	assert_int_equal(lock_take(scene->locks, &scene->world.env, "another mailbox",
				   &(struct lock_holder){.name = "joe@example.org"}, 0, 0, &lock)
				 .kind,
			 ERR_NONE);
	chores_pass(&scene->chores);
	assert_int_equal(scene->opens, 0);
	assert_int_equal(scene->alarms + scene->warnings, 0);
	lock_release(lock);
	chores_pass(&scene->chores);
	assert_int_equal(scene->lists, 1);
}

/* A client comes in the middle of a long listing: fake fibers are calls in a sleep. */
static void a_client_comes(void *arg)
{
	struct scene *scene = arg;
	struct lock *lock;

	scene->world.on_sleep = NULL;
	assert_int_equal(lock_take(scene->locks, &scene->world.env, "one mailbox",
				   &(struct lock_holder){.name = "jane@example.org"}, 0, 0, &lock)
				 .kind,
			 ERR_IN_USE); /* here nobody else can run while it waits */
}

static void test_is_cut_for_a_client(void **state)
{
	struct scene *scene = *state;

	scene->is_slow = true;
	scene->world.on_sleep = a_client_comes;
	scene->world.arg = scene;
	chores_pass(&scene->chores);
	assert_true(scene->is_cut);
	assert_int_equal(scene->world.slept_ms, 1000);
	assert_int_equal(scene->alarms + scene->warnings, 0);
	assert_int_equal(scene->chores.all[0].failures, 0);
	assert_int_equal(scene->state.count, 1);
	/* nothing has failed: it is done in the next pass */
	scene->is_slow = scene->is_cut = false;
	chores_pass(&scene->chores);
	assert_int_equal(scene->state.count, 0);
}

static void end_it(void *arg, struct state_memory *memory, size_t nth)
{
	(void)memory;
	(void)nth;
	((struct scene *)arg)->chores.is_ending = true;
}

/* Told to end in the middle, it finishes the name, in a hurry, and begins no other. */
static void test_ends_in_the_middle(void **state)
{
	struct scene *scene = *state;

	promise(scene, "zoe@example.org");
	scene->state.after_put = end_it, scene->state.arg = scene;
	chores_pass(&scene->chores);
	assert_int_equal(scene->lists, 1);
	assert_true(scene->was_wanted);
	assert_int_equal(scene->state.count, 1);
}

static void test_journal_that_cannot_be_read(void **state)
{
	struct scene *scene = *state;

	scene->state.read_code = EIO;
	chores_pass(&scene->chores);
	assert_int_equal(scene->alarms, 1);
	assert_int_equal(scene->accounts, 0);
	scene->state.read_code = 0;
	chores_pass(&scene->chores);
	assert_int_equal(scene->state.count, 0);
}

int main(void)
{
#define TEST(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_moved_away),
		TEST(test_done_at_once),
		TEST(test_back_off),
		TEST(test_not_done),
		TEST(test_pass_through_waits),
		TEST(test_one_alarm_a_day_for_a_name_that_is_gone),
		TEST(test_gives_way_to_a_session),
		TEST(test_asks_nobody_while_its_session_lasts),
		TEST(test_is_cut_for_a_client),
		TEST(test_ends_in_the_middle),
		TEST(test_journal_that_cannot_be_read),
	};

	return cmocka_run_group_tests_name("chores", tests, NULL, NULL);
}
