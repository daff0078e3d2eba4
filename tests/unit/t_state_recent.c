/* SPDX-License-Identifier: MIT */
/* t_state_recent.c - what was walked lately is walked again without a trip to the pool, and is never
 * older than what anybody has written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/state_rig.h"

/* What a walk has shown: "key=value key=value ". */
struct shown {
	char text[20000];
	size_t len, most; /* entries wanted; 0: all */
	size_t count;
};

static bool visit(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct shown *shown = arg;

	assert_true(version > 0);
	shown->len += (size_t)snprintf(shown->text + shown->len, sizeof shown->text - shown->len,
				       "%s=%.*s ", key, (int)len, (const char *)value);
	return ++shown->count != shown->most;
}

/* Walks one range. Returns whether that took a trip. */
static bool walk(struct rig *rig, const char *prefix, struct shown *shown)
{
	const struct state_range range = {prefix, visit, shown};
	unsigned before = rig->world.offloads;

	shown->len = shown->count = 0;
	shown->text[0] = '\0';
	assert_int_equal(rig->store->ops->walk(rig->store, &rig->world.env, &range, 1).kind,
			 ERR_NONE);
	return rig->world.offloads != before;
}

static void must_put(struct rig *rig, const char *key, const char *value)
{
	struct err err = value ? rig_put_text(rig, key, value) : rig_erase(rig, key);

	assert_int_equal(err.kind, ERR_NONE);
}

static void begin(struct rig *rig)
{
	rig_init(rig);
	assert_true(rig_open(rig));
	must_put(rig, "ledger\tann\t", "head");
	must_put(rig, "ledger\tann\t00000001\t00000000", "page");
	must_put(rig, "ledger\tanna\t", "other");
}

static void test_second_walk_takes_no_trip(void **state)
{
	struct shown shown = {.most = 0};
	struct rig rig;

	(void)state;
	begin(&rig);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(walk(&rig, "ledger\tann\t", &shown), !i);
		assert_string_equal(shown.text,
				    "ledger\tann\t=head ledger\tann\t00000001\t00000000=page ");
		assert_int_equal(walk(&rig, "journal\tann\t", &shown), !i);
		assert_string_equal(shown.text, "");
	}
	/* Who wants only the first of them gets no more. */
	shown.most = 1;
	assert_false(walk(&rig, "ledger\tann\t", &shown));
	assert_string_equal(shown.text, "ledger\tann\t=head ");
	rig_fini(&rig);
}

static void test_own_changes_are_seen(void **state)
{
	static const struct {
		const char *key, *value, *ann;
		bool is_read; /* anew */
	} cases[] = {
		{"ledger\tann\t", "HEAD", "ledger\tann\t=HEAD ledger\tann\t1=x ", true},
		{"ledger\tann\t2", "y", "ledger\tann\t=HEAD ledger\tann\t1=x ledger\tann\t2=y ",
		 true},
		{"ledger\tann\t1", NULL, "ledger\tann\t=HEAD ledger\tann\t2=y ", true},
		{"ledger\tanna\t", "z", "ledger\tann\t=HEAD ledger\tann\t2=y ", false},
		{"ledger\tan\t", "z", "ledger\tann\t=HEAD ledger\tann\t2=y ", false},
		{"journal\tann\t1", "z", "ledger\tann\t=HEAD ledger\tann\t2=y ", false},
		{"ledger\tann", "z", "ledger\tann\t=HEAD ledger\tann\t2=y ", false},
		{"ledger\tann\t", NULL, "ledger\tann\t2=y ", true},
		{"ledger\tann\t2", NULL, "", true},
		{"ledger\tann\t2", "back", "ledger\tann\t2=back ", true},
	};
	struct shown shown = {.most = 0};
	struct rig rig;

	(void)state;
	begin(&rig);
	must_put(&rig, "ledger\tann\t00000001\t00000000", NULL);
	must_put(&rig, "ledger\tann\t1", "x");
	walk(&rig, "ledger\tann\t", &shown);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		must_put(&rig, cases[i].key, cases[i].value);
		assert_int_equal(walk(&rig, "ledger\tann\t", &shown), cases[i].is_read);
		assert_string_equal(shown.text, cases[i].ann);
		assert_false(walk(&rig, "ledger\tann\t", &shown));
	}
	rig_fini(&rig);
}

/* Nothing was changed, so nothing is read anew. */
static void test_stale_change(void **state)
{
	struct state_change change = {"ledger\tann\t", "no", 2, 77};
	struct shown shown = {.most = 0};
	struct rig rig;
	bool is_stale;

	(void)state;
	begin(&rig);
	walk(&rig, "ledger\tann\t", &shown);
	assert_int_equal(rig.store->ops->put(rig.store, &rig.world.env, &change, 1, &is_stale).kind,
			 ERR_NONE);
	assert_true(is_stale);
	assert_false(walk(&rig, "ledger\tann\t", &shown));
	assert_non_null(strstr(shown.text, "=head "));
	rig_fini(&rig);
}

/* Reads one value. Returns whether that took a trip. */
static bool get(struct rig *rig, const char *key, const char *value)
{
	unsigned before = rig->world.offloads;
	uint64_t version;
	struct buf out;

	buf_init(&out, 20000);
	assert_int_equal(
		rig->store->ops->get(rig->store, &rig->world.env, key, &out, &version).kind,
		ERR_NONE);
	assert_int_equal(buf_len(&out), strlen(value));
	assert_int_equal(version > 0, *value != 0);
	if (*value)
		assert_memory_equal(buf_data(&out), value, strlen(value));
	buf_fini(&out);
	return rig->world.offloads != before;
}

static int write_elsewhere(void *arg)
{
	struct rig *rig = arg;

	rig->store = NULL; /* the parent's */
	return rig_open(rig) && !rig_put_text(rig, "ledger\tann\t", "theirs").kind ? 0 : 1;
}

static void test_values(void **state)
{
	struct shown shown = {.most = 0};
	struct rig rig;

	(void)state;
	begin(&rig);
	walk(&rig, "ledger\tann\t", &shown);
	for (int i = 0; i < 3; i++) {
		/* Though a range of the same name is known. */
		assert_int_equal(get(&rig, "ledger\tann\t", "head"), !i);
		assert_int_equal(get(&rig, "ledger\tann\t00000001\t00000000", "page"), !i);
		assert_int_equal(get(&rig, "ledger\tnobody\t", ""), !i);
	}
	assert_false(walk(&rig, "ledger\tann\t", &shown));
	/* What begins alike is another. */
	must_put(&rig, "ledger\tann\t0000000", "x");
	assert_false(get(&rig, "ledger\tann\t", "head"));
	assert_false(get(&rig, "ledger\tann\t00000001\t00000000", "page"));
	must_put(&rig, "ledger\tann\t", "HEAD");
	assert_true(get(&rig, "ledger\tann\t", "HEAD"));
	assert_false(get(&rig, "ledger\tann\t00000001\t00000000", "page"));
	must_put(&rig, "ledger\tnobody\t", "somebody");
	assert_true(get(&rig, "ledger\tnobody\t", "somebody"));
	must_put(&rig, "ledger\tnobody\t", NULL);
	assert_true(get(&rig, "ledger\tnobody\t", ""));
	/* And of another process. */
	assert_int_equal(rig_child(write_elsewhere, &rig), 0);
	assert_true(get(&rig, "ledger\tann\t", "theirs"));
	assert_false(get(&rig, "ledger\tann\t", "theirs"));
	rig_fini(&rig);
}

static void test_changes_of_others_are_seen(void **state)
{
	struct shown shown = {.most = 0};
	struct rig rig;

	(void)state;
	begin(&rig);
	walk(&rig, "ledger\tann\t", &shown);
	walk(&rig, "ledger\tanna\t", &shown);
	assert_int_equal(rig_child(write_elsewhere, &rig), 0);
	assert_true(walk(&rig, "ledger\tann\t", &shown));
	assert_non_null(strstr(shown.text, "ledger\tann\t=theirs "));
	assert_true(walk(&rig, "ledger\tanna\t", &shown)); /* nobody knows what else they did */
	assert_false(walk(&rig, "ledger\tann\t", &shown));
	assert_false(walk(&rig, "ledger\tanna\t", &shown));
	/* And behind theirs, ours. */
	must_put(&rig, "ledger\tann\t", "ours");
	assert_false(walk(&rig, "ledger\tanna\t", &shown));
	assert_true(walk(&rig, "ledger\tann\t", &shown));
	assert_non_null(strstr(shown.text, "ledger\tann\t=ours "));
	rig_fini(&rig);
}

static void test_what_is_not_kept(void **state)
{
	static char large[9000];
	struct shown shown = {.most = 1};
	struct rig rig;

	(void)state;
	begin(&rig);
	memset(large, 'x', sizeof large - 1);
	must_put(&rig, "ledger\tlarge\t", large);
	for (int i = 0; i < 2; i++) {
		assert_true(walk(&rig, "ledger\tann\t", &shown)); /* it was left half way */
		assert_true(walk(&rig, "ledger\tlarge\t", &shown));
	}
	shown.most = 0;
	for (int i = 0; i < 2; i++)
		assert_true(walk(&rig, "ledger\tann", &shown)); /* no whole part of a key */
	assert_int_equal(shown.count, 3);
	rig_fini(&rig);
}

/* One range that must be read is reason to read both: they are of one moment. */
static void test_two_ranges(void **state)
{
	struct shown one = {.most = 0}, other = {.most = 0};
	const struct state_range ranges[] = {{"ledger\tann\t", visit, &one},
					     {"ledger\tanna\t", visit, &other}};
	struct rig rig;

	(void)state;
	begin(&rig);
	walk(&rig, "ledger\tann\t", &one);
	one.len = one.count = 0;
	for (unsigned i = 0; i < 2; i++) {
		unsigned before = rig.world.offloads;
		one.len = one.count = other.len = other.count = 0;
		assert_int_equal(rig.store->ops->walk(rig.store, &rig.world.env, ranges, 2).kind,
				 ERR_NONE);
		assert_int_equal(rig.world.offloads - before, !i);
		assert_int_equal(one.count, 2);
		assert_string_equal(other.text, "ledger\tanna\t=other ");
	}
	rig_fini(&rig);
}

/* In a child, for the limit stays: no file may grow. */
static int fail_to_commit(void *arg)
{
	static char large[100000];
	struct shown shown = {.most = 0};
	struct rig *rig = arg;
	struct rlimit limit;
	struct stat now;

	if (!rig_open(rig) || stat(rig_file(rig, "data.mdb"), &now))
		return 1;
	walk(rig, "ledger\tann\t", &shown);
	walk(rig, "ledger\tanna\t", &shown);
	signal(SIGXFSZ, SIG_IGN);
	limit = (struct rlimit){(rlim_t)now.st_size, (rlim_t)now.st_size};
	if (setrlimit(RLIMIT_FSIZE, &limit) ||
	    rig_put(rig, "ledger\tann\t", large, sizeof large).kind != ERR_UPSTREAM)
		return 2;
	/* Another's is still known; what we tried to change is read, as it was. */
	if (walk(rig, "ledger\tanna\t", &shown) || !walk(rig, "ledger\tann\t", &shown))
		return 3;
	if (!strstr(shown.text, "ledger\tann\t=head ") || walk(rig, "ledger\tann\t", &shown))
		return 4;
	return strstr(shown.text, "ledger\tann\t=head ") ? 0 : 5;
}

static void test_failed_commit(void **state)
{
	struct rig rig;

	(void)state;
	begin(&rig);
	rig_close(&rig);
	assert_int_equal(rig_child(fail_to_commit, &rig), 0);
	rig_fini(&rig);
}

static void test_replaced_file(void **state)
{
	struct shown shown = {.most = 0};
	const struct state_range range = {"ledger\tann\t", visit, &shown};
	struct rig rig;

	(void)state;
	begin(&rig);
	walk(&rig, "ledger\tann\t", &shown);
	assert_int_equal(rename(rig_file(&rig, "data.mdb"), rig_file(&rig, "gone")), 0);
	assert_int_equal(rig.store->ops->walk(rig.store, &rig.world.env, &range, 1).kind,
			 ERR_UPSTREAM);
	rig_fini(&rig);
}

/* --- several at once ---------------------------------------------------------------------- */

enum { NUMBERS = 300, READERS = 3, WRITERS = 2 };

/* Written by threads or, shared, by another process. */
struct race {
	struct state_store *store, *writing; /* the reader's, the writers' */
	struct rig *rig;
	_Atomic unsigned written; /* to ann: the newest number whose put() has come back */
	_Atomic unsigned failed;
	_Atomic unsigned old; /* walks that showed an older one than was written before */
};

static void write_numbers(struct race *race, const char *key, bool is_told)
{
	struct fake_world world;
	char value[16];
	bool is_stale;

	fake_world_init(&world);
	for (unsigned i = 1; i <= NUMBERS; i++) {
		snprintf(value, sizeof value, "%u", i);
		const struct state_change change = {key, value, strlen(value), STATE_ANY};
		struct err err =
			race->writing->ops->put(race->writing, &world.env, &change, 1, &is_stale);
		if (err.kind)
			atomic_fetch_add(&race->failed, 1);
		if (is_told)
			atomic_store(&race->written, i);
	}
}

static void *write_ann(void *arg)
{
	write_numbers(arg, "ledger\tann\t", true);
	return NULL;
}

static void *write_anna(void *arg)
{
	write_numbers(arg, "ledger\tanna\t", false);
	return NULL;
}

static bool visit_number(void *arg, const char *key, const void *value, size_t len,
			 uint64_t version)
{
	char text[16];

	(void)version;
	snprintf(text, sizeof text, "%.*s", (int)len, (const char *)value);
	if (!key[strlen("ledger\tann\t")])
		sscanf(text, "%u", (unsigned *)arg);
	return true;
}

static void *read_numbers(void *arg)
{
	struct race *race = arg;
	struct fake_world world;
	unsigned seen = 0;
	const struct state_range range = {"ledger\tann\t", visit_number, &seen};

	fake_world_init(&world);
	for (unsigned before = 0; before < NUMBERS; before = atomic_load(&race->written)) {
		struct err err = race->store->ops->walk(race->store, &world.env, &range, 1);
		if (err.kind || seen < before)
			atomic_fetch_add(&race->old, 1);
	}
	return NULL;
}

static void test_threads(void **state)
{
	void *(*const work[READERS + WRITERS])(void *) = {write_ann, write_anna, read_numbers,
							  read_numbers, read_numbers};
	pthread_t threads[READERS + WRITERS];
	struct race race = {NULL};
	struct rig rig;

	(void)state;
	begin(&rig);
	race.store = race.writing = rig.store;
	for (size_t i = 0; i < READERS + WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work[i], &race), 0);
	for (size_t i = 0; i < READERS + WRITERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(race.failed, 0);
	assert_int_equal(race.old, 0);
	rig_fini(&rig);
}

static int write_ann_elsewhere(struct race *race)
{
	race->rig->store = NULL; /* the parent's */
	if (!rig_open(race->rig)) {
		atomic_store(&race->written, NUMBERS);
		return 1;
	}
	race->writing = race->rig->store;
	write_numbers(race, "ledger\tann\t", true);
	return race->failed ? 2 : 0;
}

static void test_race_with_a_process(void **state)
{
	struct race *race =
		mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct rig rig;
	int status = -1;

	(void)state;
	assert_true(race != MAP_FAILED);
	begin(&rig);
	*race = (struct race){.store = rig.store, .rig = &rig};
	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		_exit(write_ann_elsewhere(race));
	assert_true(child > 0);
	read_numbers(race);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(race->old, 0);
	munmap(race, sizeof *race);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_second_walk_takes_no_trip),
		cmocka_unit_test(test_own_changes_are_seen),
		cmocka_unit_test(test_stale_change),
		cmocka_unit_test(test_changes_of_others_are_seen),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_what_is_not_kept),
		cmocka_unit_test(test_two_ranges),
		cmocka_unit_test(test_failed_commit),
		cmocka_unit_test(test_replaced_file),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_race_with_a_process),
	};

	return cmocka_run_group_tests_name("state_recent", tests, NULL, NULL);
}
