/* SPDX-License-Identifier: MIT */
/* t_headroom.c - memory for hashing: what each hash takes, who waits, in which order, and how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "proxy/headroom.h"
#include "proxy/proof.h"
#include "proxy/verify.h"
#include "proxy/worker.h"
#include "tests/fake/world.h"

#define ARGON2(memory)                                                                             \
	"{argon2id}$argon2id$v=19$m=" memory ",t=3,p=4$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNo"

/* By the manuals of crypt(5), argon2(1). */
static void test_what_it_takes(void **state)
{
	static const struct {
		const char *local;
		unsigned mib;
	} cases[] = {
		{"{plain}x", 0},
		{"{scram-sha-256}4096,c2FsdA==,x,y", 0},
		{ARGON2("262144"), 256},
		{ARGON2("65536"), 64},
		{ARGON2("1025"), 2},
		{ARGON2("8"), 1},
		{"{yescrypt}$y$j9T$salt$hash", 16},
		{"{yescrypt}$y$j75$salt$hash", 1},
		{"{yescrypt}$y$jFT$salt$hash", 1024},
		{"{yescrypt}$y$jDT$salt$hash", 256},
		{"{gost-yescrypt}$gy$j9T$salt$hash", 16},
		{"{crypt}$y$j9T$salt$hash", 16},
		{"{yescrypt}$y$j9", 1024},    /* cut */
		{"{yescrypt}$y$jzzzz", 1024}, /* of a form that is not read */
		{"{scrypt}$7$CU..../....salt$hash", 64},
		{"{scrypt}$7$C6..../....salt$hash", 16},
		{"{scrypt}$7$zzzzzz/....salt$hash", 1024},
		{"{bcrypt}$2b$12$abcdefghijklmnopqrstuv", 1},
		{"{sha512-crypt}$6$salt$hash", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (verify_mib(cases[i].local) != cases[i].mib)
			fail_msg("%s: %u", cases[i].local, verify_mib(cases[i].local));
	assert_int_equal(verify_dummy_mib(), 16);
	const struct local_list none = {.count = 0};
	const struct local_list both = {.value = {ARGON2("65536"), "{plain}x"}, .count = 2};
	assert_int_equal(local_password_mib(&none), 16);
	assert_int_equal(local_password_mib(&both), 64);
}

struct giving {
	struct headroom *headroom;
	unsigned sleeps, at; /* the nth sleep gives */
	unsigned mib;
};

static void give(void *arg)
{
	struct giving *giving = arg;

	if (++giving->sleeps == giving->at)
		headroom_give(giving->headroom, giving->mib);
}

static void test_who_waits(void **state)
{
	struct fake_world world;
	struct giving giving = {.headroom = headroom_new(100), .at = 3, .mib = 60};

	(void)state;
	fake_world_init(&world);
	world.on_sleep = give;
	world.arg = &giving;
	assert_int_equal(headroom_take(giving.headroom, &world.env, 60).kind, ERR_NONE);
	assert_int_equal(headroom_take(giving.headroom, &world.env, 40).kind, ERR_NONE);
	assert_int_equal(headroom_take(giving.headroom, &world.env, 0).kind, ERR_NONE);
	assert_int_equal(giving.sleeps, 0);
	assert_int_equal(headroom_take(giving.headroom, &world.env, 50).kind, ERR_NONE);
	assert_int_equal(giving.sleeps, 3);
	headroom_give(giving.headroom, 50);
	headroom_give(giving.headroom, 40);
	/* more than there is: all of it */
	assert_int_equal(headroom_take(giving.headroom, &world.env, 4000).kind, ERR_NONE);
	uint64_t begun_ms = world.now_ms;
	struct err err = headroom_take(giving.headroom, &world.env, 1);
	assert_int_equal(err.kind, ERR_UPSTREAM);
	assert_int_equal(err.code, EBUSY);
	assert_true(world.now_ms - begun_ms >= HEADROOM_WAIT_MS);
	headroom_give(giving.headroom, 4000);
	headroom_free(giving.headroom);
}

/* A proof that has no room is not begun, for a name that there is and for one that there is not. */
static void test_a_proof(void **state)
{
	const struct credential claim = {.name = "joe", .password = "x"};
	const struct local_list locals = {.value = {"{plain}x"}, .count = 1};
	const struct local_list *lists[] = {&locals, NULL};
	struct headroom *headroom = headroom_new(16);
	struct notice why = {""};
	struct fake_world world;
	int which;

	(void)state;
	fake_world_init(&world);
	for (size_t i = 0; i < 2; i++) {
		struct proof proof = {.env = &world.env,
				      .claim = &claim,
				      .name = "joe",
				      .locals = lists[i],
				      .headroom = headroom};
		assert_int_equal(headroom_take(headroom, &world.env, 1).kind, ERR_NONE);
		world.offloads = 0;
		assert_int_equal(proof_of(&proof, &why, &which).kind, ERR_UPSTREAM);
		assert_int_equal(world.offloads, 0);
		headroom_give(headroom, 1);
		assert_int_equal(proof_of(&proof, &why, &which).kind, i ? ERR_LOGIN : ERR_NONE);
		assert_int_equal(world.offloads, 1);
	}
	headroom_free(headroom); /* all was given back */
}

/* --- many at once ------------------------------------------------------------------------- */

enum { MANY = 40, ALL = 100 };

struct crowd {
	struct worker worker;
	struct headroom *headroom;
	unsigned next, taken, most, order[MANY], done;
};

/* Every third wants nearly all of it. */
static unsigned wanted(unsigned nth)
{
	return nth % 3 ? 30 : 90;
}

static void crowd_run(void *arg)
{
	struct crowd *crowd = arg;
	const struct env *env = &crowd->worker.world.env;
	unsigned nth = crowd->next++;

	assert_int_equal(headroom_take(crowd->headroom, env, wanted(nth)).kind, ERR_NONE);
	crowd->taken += wanted(nth);
	crowd->most = crowd->taken > crowd->most ? crowd->taken : crowd->most;
	crowd->order[crowd->done++] = nth;
	env->ops->sleep(env, 2);
	crowd->taken -= wanted(nth);
	headroom_give(crowd->headroom, wanted(nth));
}

/* Never more than there is, and the dear ones are not overtaken by those who came later. */
static void test_a_crowd(void **state)
{
	struct crowd crowd = {.headroom = headroom_new(ALL)};
	struct log_target silence = {NULL, LEVEL_ALARM};

	(void)state;
	worker_init(&crowd.worker, NULL, &silence);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(fiber_spawn(&crowd.worker.fibers, crowd_run, &crowd).kind,
				 ERR_NONE);
	worker_run(&crowd.worker);
	worker_fini(&crowd.worker);
	assert_int_equal(crowd.done, MANY);
	assert_true(crowd.most == 90);
	for (unsigned i = 0; i < MANY; i++) /* side by side are two at most */
		assert_true(crowd.order[i] + 1 >= i && crowd.order[i] <= i + 1);
	headroom_free(crowd.headroom);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_takes),
		cmocka_unit_test(test_who_waits),
		cmocka_unit_test(test_a_proof),
		cmocka_unit_test(test_a_crowd),
	};

	return cmocka_run_group_tests_name("headroom", tests, NULL, NULL);
}
