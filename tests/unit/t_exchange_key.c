/* SPDX-License-Identifier: MIT */
/* t_exchange_key.c - the key of salts over a restart: made once, the same for all, by chance where the
 * state fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "proxy/exchange.h"
#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"

static const char place[] = "exchange-key";

static void put_another(void *arg, struct state_memory *memory, size_t nth)
{
	unsigned char *other = arg;
	bool is_stale;

	(void)nth;
	memory->before_put = NULL;
	memset(other, 'o', EXCHANGE_KEY);
	struct fake_world world;
	fake_world_init(&world);
	struct state_change change = {place, other, EXCHANGE_KEY, STATE_ANY};
	assert_int_equal(
		memory->store.ops->put(&memory->store, &world.env, &change, 1, &is_stale).kind,
		ERR_NONE);
}

/* Whoever comes first makes it, everybody has it then. */
static void test_key_outlives_the_process(void **state)
{
	unsigned char first[EXCHANGE_KEY], second[EXCHANGE_KEY], other[EXCHANGE_KEY];
	const struct log log = {NULL, ""};
	struct state_memory memory;

	(void)state;
	for (int is_raced = 0; is_raced < 2; is_raced++) {
		state_memory_init(&memory);
		memory.before_put = is_raced ? put_another : NULL;
		memory.arg = other;
		memset(first, 'f', sizeof first);
		memset(second, 's', sizeof second);
		exchange_key_settle(&memory.store, &log, first);
		exchange_key_settle(&memory.store, &log, second);
		memset(other, is_raced ? 'o' : 'f', sizeof other);
		assert_memory_equal(first, other, EXCHANGE_KEY);
		assert_memory_equal(second, other, EXCHANGE_KEY);
		state_memory_fini(&memory);
	}
}

struct lines {
	struct log_target target; /* first */
	unsigned count;
};

static void count_line(struct log_target *target, enum log_level level, const char *line,
		       size_t len)
{
	assert_int_equal(level, LEVEL_WARN);
	assert_non_null(memmem(line, len, "exchange-key-not-kept", 21));
	assert_null(memmem(line, len, "ssss", 4));
	((struct lines *)target)->count++;
}

/* What cannot be had from the state is had by chance; what is no key is replaced. */
static void test_key_that_cannot_be_kept(void **state)
{
	static const struct {
		int read_code, put_code;
		const char *broken;
	} faults[] = {{EIO, 0, NULL}, {0, EROFS, NULL}, {0, 0, place}};
	unsigned char own[EXCHANGE_KEY];
	struct lines lines = {{count_line, LEVEL_DEBUG}, 0};
	const struct log log = {&lines.target, ""};
	struct state_memory memory;

	(void)state;
	state_memory_init(&memory);
	for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++) {
		memory.read_code = faults[i].read_code;
		memory.put_code = faults[i].put_code;
		memory.broken_key = faults[i].broken;
		memset(own, 's', sizeof own);
		exchange_key_settle(&memory.store, &log, own);
		assert_true(own[0] == 's' && !memcmp(own, own + 1, sizeof own - 1));
		assert_int_equal(lines.count, i + 1);
	}
	memory.broken_key = NULL;
	exchange_key_settle(&memory.store, &log, own);
	struct state_memory_entry *entry = state_memory_find(&memory, place);
	assert_int_equal(entry->len, EXCHANGE_KEY);
	entry->len = 7;
	memset(own, 't', sizeof own);
	exchange_key_settle(&memory.store, &log, own);
	entry = state_memory_find(&memory, place);
	assert_int_equal(entry->len, EXCHANGE_KEY);
	assert_memory_equal(entry->value, own, EXCHANGE_KEY);
	assert_int_equal(lines.count, 3);
	state_memory_fini(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_outlives_the_process),
		cmocka_unit_test(test_key_that_cannot_be_kept),
	};

	return cmocka_run_group_tests_name("exchange_key", tests, NULL, NULL);
}
