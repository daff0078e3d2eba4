/* SPDX-License-Identifier: MIT */
/* t_token.c - grants and their tokens: who asks, how often, what is stored when, and what a failure of
 * network, provider or state leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/worker.h"
#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/token.h"

#define NAME "token\tjoe\ttest"

/* --- a provider --------------------------------------------------------------------------- */

enum mood { GOOD, ROTATING, WITHDRAWN, MISCONFIGURED, BROKEN, UNREACHABLE, STUBBORN };

struct provider {
	struct oauth_transport transport; /* first */
	enum mood mood;
	unsigned asked;
	const struct state_memory
		*crowded; /* answers once this was asked `gets` times; NULL: at once */
	size_t gets;
	unsigned lifetime_s; /* of the tokens */
	char last[256];      /* the newest form */
	void (*on_answer)(struct provider *);
	void *arg;
};

static struct err answer(struct provider *provider, long *status, struct buf *out)
{
	switch (provider->mood) {
	case GOOD:
		assert_true(buf_printf(out, "{\"access_token\":\"access-%u\",\"expires_in\":%u}",
				       provider->asked, provider->lifetime_s));
		break;
	case ROTATING:
		assert_true(buf_printf(out,
				       "{\"access_token\":\"access-%u\",\"expires_in\":\"%u\","
				       "\"refresh_token\":\"refresh-%u\"}",
				       provider->asked, provider->lifetime_s, provider->asked));
		break;
	case STUBBORN:
		assert_true(buf_printf(out, "{\"access_token\":\"access-0\",\"expires_in\":3600}"));
		break;
	case WITHDRAWN:
		*status = 400;
		assert_true(buf_printf(out, "{\"error\":\"invalid_grant\"}"));
		break;
	case MISCONFIGURED:
		*status = 401;
		assert_true(buf_printf(out, "{\"error\":\"invalid_client\"}"));
		break;
	case BROKEN:
		assert_true(buf_printf(out, "<html>welcome to the hotel</html>"));
		break;
	case UNREACHABLE:
		return ERR(ERR_UPSTREAM, ECONNREFUSED, "the token server cannot be reached");
	}
	return OK;
}

static struct err post(const struct oauth_transport *transport, const struct oauth_post *request,
		       long *status, struct buf *out, struct notice *why)
{
	struct provider *provider = (struct provider *)(uintptr_t)transport;

	(void)why;
	__atomic_add_fetch(&provider->asked, 1, __ATOMIC_SEQ_CST);
	snprintf(provider->last, sizeof provider->last, "%.*s", (int)buf_len(request->form),
		 buf_data(request->form));
	for (int i = 0; provider->crowded && i < 10000; i++) {
		if (__atomic_load_n(&provider->crowded->gets, __ATOMIC_SEQ_CST) >= provider->gets)
			break;
		usleep(1000);
	}
	if (provider->crowded)
		usleep(50000); /* until the last of them waits */
	*status = 200;
	struct err err = answer(provider, status, out);
	if (provider->on_answer)
		provider->on_answer(provider);
	return err;
}

/* --- a bench ------------------------------------------------------------------------------ */

struct bench {
	struct fake_world world;
	struct state_memory state;
	struct provider provider;
	struct token_key *key;
	struct log_target target;
	struct log log;
	struct tokens *tokens;
	struct oauth_profile profile;
	char lines[16384];
	unsigned alarms;
};

static struct bench *now; /* the bench of the test that runs, for its log */

static void note(struct log_target *target, enum log_level level, const char *line, size_t len)
{
	size_t used = strlen(now->lines);

	(void)target;
	now->alarms += level == LEVEL_ALARM;
	if (used + len < sizeof now->lines)
		memcpy(now->lines + used, line, len);
}

static void begin(struct bench *bench)
{
	static const unsigned char octets[TOKEN_KEY] = "0123456789abcdef0123456789abcdef";

	memset(bench, 0, sizeof *bench);
	now = bench;
	fake_world_init(&bench->world);
	state_memory_init(&bench->state);
	bench->provider = (struct provider){.transport = {post}, .lifetime_s = 3600};
	bench->target = (struct log_target){note, LEVEL_DEBUG};
	bench->log.target = &bench->target;
	assert_int_equal(token_key_new(octets, &bench->key).kind, ERR_NONE);
	bench->tokens = tokens_new(&bench->state.store, bench->key, &bench->provider.transport,
				   &bench->log);
	bench->profile = (struct oauth_profile){
		.name = "test", .token_url = "https://id.example/token", .client_id = "id"};
}

static void end(struct bench *bench)
{
	/* Never a token in the log, whatever happened. */
	assert_null(strstr(bench->lines, "access-"));
	assert_null(strstr(bench->lines, "refresh-"));
	for (size_t i = 0; i < bench->state.count; i++) {
		const struct state_memory_entry *entry = &bench->state.entries[i];
		assert_null(memmem(entry->value, entry->len, "access-", 7));
		assert_null(memmem(entry->value, entry->len, "refresh-", 8));
	}
	tokens_free(bench->tokens);
	token_key_free(bench->key);
	state_memory_fini(&bench->state);
	now = NULL;
}

/* As another process, or the same after a restart. */
static void restart(struct bench *bench)
{
	tokens_free(bench->tokens);
	bench->tokens = tokens_new(&bench->state.store, bench->key, &bench->provider.transport,
				   &bench->log);
}

static void enrol(struct bench *bench)
{
	struct oauth_reply reply = {.access = text_dup("access-0"),
				    .refresh = text_dup("refresh-0"),
				    .lifetime_s = 3600};

	assert_int_equal(
		tokens_enrol(bench->tokens, &bench->world.env, &bench->profile, "joe", &reply).kind,
		ERR_NONE);
	oauth_reply_fini(&reply);
}

static void pass(struct bench *bench, uint64_t seconds)
{
	bench->world.now_ms += seconds * 1000;
}

/* Asks, and expects a token, or, for NULL, an error of that kind. */
static void expect(struct bench *bench, const char *refused, const char *token, enum err_kind kind)
{
	struct notice why = {""};
	char *got;

	struct err err = tokens_get(bench->tokens, &bench->world.env, &bench->profile, "joe",
				    "joe@example.org", refused, &why, &got);
	assert_int_equal(err.kind, kind);
	if (token) {
		assert_non_null(got);
		assert_string_equal(got, token);
	} else {
		assert_null(got);
		assert_true(*why.text != '\0');
	}
	text_wipe_free(got);
}

/* --- the way of a grant ------------------------------------------------------------------- */

static void test_not_enrolled(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	for (int i = 0; i < 5; i++)
		expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 0);
	assert_int_equal(bench.alarms, 1);
	assert_non_null(strstr(bench.lines, "token-missing"));
	enrol(&bench);
	expect(&bench, NULL, "access-0", ERR_NONE);
	end(&bench);
}

static void test_serves_until_it_ages(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	expect(&bench, NULL, "access-0", ERR_NONE);
	restart(&bench);
	pass(&bench, 3600 - 300 - 61); /* five minutes early, and one by chance */
	expect(&bench, NULL, "access-0", ERR_NONE);
	assert_int_equal(bench.provider.asked, 0);
	pass(&bench, 61);
	expect(&bench, NULL, "access-1", ERR_NONE);
	assert_non_null(strstr(bench.provider.last, "refresh_token=refresh-0&"));
	restart(&bench); /* the state is what remembers */
	expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	end(&bench);
}

/* Of many grants enrolled in one moment not all are renewed in one moment. */
static void test_jitter(void **state)
{
	bool seen[64] = {false};
	unsigned moments = 0;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		struct bench bench;
		begin(&bench);
		bench.world.seed = i * 7919 + 1;
		enrol(&bench);
		pass(&bench, 3600 - 300 - 61);
		unsigned waited = 0;
		while (!bench.provider.asked && waited < 62) {
			struct notice why = {""};
			char *token;
			pass(&bench, 1);
			waited++;
			assert_int_equal(tokens_get(bench.tokens, &bench.world.env, &bench.profile,
						    "joe", "joe", NULL, &why, &token)
						 .kind,
					 ERR_NONE);
			text_wipe_free(token);
		}
		assert_int_equal(bench.provider.asked, 1);
		moments += !seen[waited];
		seen[waited] = true;
		end(&bench);
	}
	assert_true(moments > 10);
}

static void test_short_lives(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	pass(&bench, 4000);
	bench.provider.lifetime_s = 90;
	expect(&bench, NULL, "access-1", ERR_NONE);
	pass(&bench, 59);
	expect(&bench, NULL, "access-1", ERR_NONE);
	pass(&bench, 2);
	expect(&bench, NULL, "access-2", ERR_NONE);
	end(&bench);
}

static void test_refused_token(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	expect(&bench, "access-0", "access-1", ERR_NONE);
	/* who was refused with the old one gets what somebody else has renewed */
	expect(&bench, "access-0", "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	/* a server that refuses all of them does not make us ask for ever */
	expect(&bench, "access-1", "access-2", ERR_NONE);
	expect(&bench, "access-2", "access-3", ERR_NONE);
	for (int i = 0; i < 5; i++)
		expect(&bench, "access-3", NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, TOKENS_FORCED);
	pass(&bench, TOKENS_REFUSED_S);
	expect(&bench, "access-3", "access-4", ERR_NONE);
	end(&bench);
}

/* A refused token is never given out again, whatever the provider says. */
static void test_stubborn_provider(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = STUBBORN;
	for (int i = 0; i < 10; i++)
		expect(&bench, "access-0", NULL, ERR_POLICY);
	assert_true(bench.provider.asked <= TOKENS_FORCED);
	end(&bench);
}

static void test_withdrawn(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = WITHDRAWN;
	pass(&bench, 4000);
	for (int i = 0; i < 5; i++)
		expect(&bench, NULL, NULL, ERR_POLICY);
	restart(&bench); /* which is no reason to ask again */
	expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 1);
	assert_int_equal(bench.alarms, 1);
	pass(&bench, TOKENS_HELD_S - 1);
	expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 1);
	pass(&bench, 1);
	expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 2);
	bench.provider.mood = GOOD;
	expect(&bench, NULL, NULL, ERR_POLICY);
	enrol(&bench); /* under our feet */
	expect(&bench, NULL, "access-0", ERR_NONE);
	assert_int_equal(bench.provider.asked, 2);
	end(&bench);
}

/* Not even where the state cannot take the mark. */
static void test_withdrawn_without_state(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = WITHDRAWN;
	bench.state.put_code = EROFS;
	pass(&bench, 4000);
	for (int i = 0; i < 5; i++)
		expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 1);
	end(&bench);
}

static void test_misconfigured(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = MISCONFIGURED;
	pass(&bench, 4000);
	for (int i = 0; i < 5; i++)
		expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.provider.asked, 1);
	pass(&bench, TOKENS_REFUSED_S);
	bench.provider.mood = GOOD;
	expect(&bench, NULL, "access-2", ERR_NONE);
	end(&bench);
}

static void test_network(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = UNREACHABLE;
	pass(&bench, 3600 - 200); /* due, but alive */
	expect(&bench, NULL, "access-0", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	pass(&bench, 200); /* dead */
	expect(&bench, NULL, NULL, ERR_UPSTREAM);
	expect(&bench, NULL, NULL, ERR_UPSTREAM); /* at once: nobody answered just now */
	assert_int_equal(bench.provider.asked, 2);
	pass(&bench, TOKENS_UNHEARD_S);
	bench.provider.mood = BROKEN;
	expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench.provider.mood = GOOD;
	expect(&bench, NULL, "access-4", ERR_NONE);
	assert_int_equal(bench.alarms, 0);
	end(&bench);
}

/* --- rotation ----------------------------------------------------------------------------- */

struct crash {
	struct bench *bench;
	struct state_memory before, after;
};

static void copy_before(void *arg, struct state_memory *state, size_t nth)
{
	struct crash *crash = arg;

	(void)nth;
	state_memory_fini(&crash->before);
	state_memory_copy(&crash->before, state);
}

static void copy_after(void *arg, struct state_memory *state, size_t nth)
{
	struct crash *crash = arg;

	(void)nth;
	state_memory_fini(&crash->after);
	state_memory_copy(&crash->after, state);
}

/* From the moment on when anybody can use the new access token, the new refresh token is in the state;
 * until then the old one is. */
static void test_rotation_and_crash(void **state)
{
	struct crash crash = {NULL};
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.before_put = copy_before;
	bench.state.after_put = copy_after;
	bench.state.arg = &crash;
	pass(&bench, 4000);
	expect(&bench, NULL, "access-1", ERR_NONE);
	bench.state.before_put = bench.state.after_put = NULL;
	struct tokens *dead = bench.tokens;
	bench.tokens =
		tokens_new(&crash.before.store, bench.key, &bench.provider.transport, &bench.log);
	expect(&bench, NULL, "access-2", ERR_NONE);
	assert_non_null(strstr(bench.provider.last, "refresh_token=refresh-0&"));
	tokens_free(bench.tokens);
	bench.tokens =
		tokens_new(&crash.after.store, bench.key, &bench.provider.transport, &bench.log);
	expect(&bench, NULL, "access-1", ERR_NONE);
	pass(&bench, 4000);
	expect(&bench, NULL, "access-3", ERR_NONE);
	assert_non_null(strstr(bench.provider.last, "refresh_token=refresh-1&"));
	tokens_free(bench.tokens);
	bench.tokens = dead;
	state_memory_fini(&crash.before);
	state_memory_fini(&crash.after);
	end(&bench);
}

/* The state is full just then: the new pair stays in memory, is not used, is loud, and is stored later. */
static void test_rotation_and_full_disk(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.put_code = ENOSPC;
	pass(&bench, 3600 - 200);
	expect(&bench, NULL, "access-0", ERR_NONE); /* the old one lives yet */
	assert_int_equal(bench.alarms, 1);
	assert_non_null(strstr(bench.lines, "token-not-stored"));
	pass(&bench, 200);
	expect(&bench, NULL, NULL, ERR_UPSTREAM);
	expect(&bench, NULL, NULL, ERR_UPSTREAM);
	assert_int_equal(bench.provider.asked, 1); /* the one refresh is not thrown away */
	bench.state.put_code = 0;
	expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	restart(&bench);
	expect(&bench, NULL, "access-1", ERR_NONE);
	end(&bench);
}

/* The same, stored by the chores. */
static void test_store_late(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.put_code = EIO;
	pass(&bench, 4000);
	expect(&bench, NULL, NULL, ERR_UPSTREAM);
	tokens_store_late(bench.tokens, &bench.world.env);
	assert_int_equal(bench.alarms, 2);
	bench.state.put_code = 0;
	tokens_store_late(bench.tokens, &bench.world.env);
	size_t puts = bench.state.puts;
	tokens_store_late(bench.tokens, &bench.world.env);
	assert_int_equal(bench.state.puts, puts); /* nothing is left to do */
	restart(&bench);
	expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	end(&bench);
}

static void enrol_meanwhile(struct provider *provider)
{
	struct bench *bench = provider->arg;

	provider->on_answer = NULL;
	struct oauth_reply reply = {.access = text_dup("access-enrolled"),
				    .refresh = text_dup("refresh-enrolled"),
				    .lifetime_s = 3600};
	assert_int_equal(
		tokens_enrol(bench->tokens, &bench->world.env, &bench->profile, "joe", &reply).kind,
		ERR_NONE);
	oauth_reply_fini(&reply);
}

/* What could not be stored is nothing beside a grant that has been enrolled since. */
static void test_enrolled_before_stored(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.provider.mood = ROTATING;
	bench.state.put_code = ENOSPC;
	pass(&bench, 4000);
	expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench.state.put_code = 0;
	bench.provider.arg = &bench;
	enrol_meanwhile(&bench.provider); /* as another process does */
	tokens_store_late(bench.tokens, &bench.world.env);
	expect(&bench, NULL, "access-enrolled", ERR_NONE);
	restart(&bench);
	expect(&bench, NULL, "access-enrolled", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	end(&bench);
}

/* Without rotation nothing can be lost, so nobody has to wait for the state. */
static void test_full_disk(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.state.put_code = ENOSPC;
	pass(&bench, 4000);
	for (int i = 0; i < 5; i++)
		expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	assert_int_equal(bench.alarms, 1);
	end(&bench);
}

/* An operator enrols while a refresh of the old grant is under way: the new grant stays. */
static void test_enrolled_meanwhile(void **state)
{
	static const enum mood moods[] = {GOOD, ROTATING, WITHDRAWN, UNREACHABLE};

	(void)state;
	for (size_t i = 0; i < sizeof moods / sizeof *moods; i++) {
		struct bench bench;
		struct notice why = {""};
		char *token;
		begin(&bench);
		enrol(&bench);
		bench.provider.mood = moods[i];
		bench.provider.on_answer = enrol_meanwhile;
		bench.provider.arg = &bench;
		pass(&bench, 4000);
		struct err err = tokens_get(bench.tokens, &bench.world.env, &bench.profile, "joe",
					    "joe", NULL, &why, &token);
		(void)err.kind; /* of the old grant; what counts is what comes next */
		text_wipe_free(token);
		restart(&bench);
		expect(&bench, NULL, "access-enrolled", ERR_NONE);
		assert_int_equal(bench.provider.asked, 1);
		end(&bench);
	}
}

/* --- the state and the key ---------------------------------------------------------------- */

static void test_another_key(void **state)
{
	static const unsigned char octets[TOKEN_KEY] = "another key of thirty-two octet";
	struct token_key *other, *good;
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	assert_int_equal(token_key_new(octets, &other).kind, ERR_NONE);
	good = bench.key;
	bench.key = other;
	restart(&bench);
	expect(&bench, NULL, NULL, ERR_POLICY);
	expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(bench.alarms, 1);
	assert_non_null(strstr(bench.lines, "token-unreadable"));
	assert_int_equal(bench.provider.asked, 0);
	bench.key = good;
	restart(&bench);
	expect(&bench, NULL, "access-0", ERR_NONE);
	token_key_free(other);
	end(&bench);
}

static void test_state_unreadable(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.state.read_code = EIO;
	expect(&bench, NULL, NULL, ERR_UPSTREAM);
	bench.state.read_code = 0;
	expect(&bench, NULL, "access-0", ERR_NONE);
	end(&bench);
}

/* A clock that was years ahead when the token came, or is now. */
static void test_clock(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	enrol(&bench);
	bench.world.wall_s -= 100000;
	expect(&bench, NULL, "access-1", ERR_NONE);
	bench.provider.mood = WITHDRAWN;
	expect(&bench, "access-1", NULL, ERR_POLICY);
	bench.world.wall_s -= 100000;
	bench.provider.mood = GOOD;
	expect(&bench, NULL, "access-3", ERR_NONE);
	end(&bench);
}

static void test_client_credentials(void **state)
{
	struct bench bench;

	(void)state;
	begin(&bench);
	bench.profile.grant = OAUTH_CLIENT_CREDENTIALS;
	bench.provider.mood = ROTATING; /* the refresh token that some give is of no use */
	expect(&bench, NULL, "access-1", ERR_NONE);
	expect(&bench, NULL, "access-1", ERR_NONE);
	restart(&bench);
	expect(&bench, NULL, "access-1", ERR_NONE);
	assert_int_equal(bench.provider.asked, 1);
	assert_non_null(strstr(bench.provider.last, "grant_type=client_credentials"));
	pass(&bench, 4000);
	expect(&bench, NULL, "access-2", ERR_NONE);
	end(&bench);
}

static void test_list(void **state)
{
	struct bench bench;
	struct token_facts *all;
	size_t count;

	(void)state;
	begin(&bench);
	enrol(&bench);
	pass(&bench, 4000);
	bench.provider.mood = WITHDRAWN;
	expect(&bench, NULL, NULL, ERR_POLICY);
	assert_int_equal(tokens_list(bench.tokens, &bench.world.env, &all, &count).kind, ERR_NONE);
	assert_int_equal(count, 1);
	assert_string_equal(all->key, "joe");
	assert_string_equal(all->profile, "test");
	assert_true(all->has_refresh && !all->is_shut);
	assert_int_equal(all->expires_s, all->got_s + 3600);
	assert_int_equal(all->granted_s, all->got_s);
	assert_int_equal(all->trouble_s, all->got_s + 4000);
	assert_int_equal(all->held_s, all->trouble_s + TOKENS_HELD_S);
	assert_non_null(strstr(all->trouble, "invalid_grant"));
	token_facts_free(all, count);
	/* a record that was put in another one's place */
	struct state_memory_entry *entry = state_memory_find(&bench.state, NAME);
	memcpy(entry->key, "token\tbob\ttest", sizeof NAME);
	assert_int_equal(tokens_list(bench.tokens, &bench.world.env, &all, &count).kind, ERR_NONE);
	assert_int_equal(count, 1);
	assert_string_equal(all->key, "bob");
	assert_true(all->is_shut);
	token_facts_free(all, count);
	end(&bench);
}

/* --- many at once ------------------------------------------------------------------------- */

enum { MANY = 50 };

struct crowd {
	struct worker worker;
	struct bench *bench;
	struct err errs[MANY];
	char *tokens[MANY];
	unsigned next;
};

static void crowd_run(void *arg)
{
	struct crowd *crowd = arg;
	unsigned nth = crowd->next++;
	struct notice why = {""};

	crowd->errs[nth] =
		tokens_get(crowd->bench->tokens, &crowd->worker.world.env, &crowd->bench->profile,
			   "joe", "joe", "access-0", &why, &crowd->tokens[nth]);
}

static void run_crowd(struct crowd *crowd, struct bench *bench)
{
	memset(crowd, 0, sizeof *crowd);
	crowd->bench = bench;
	bench->provider.crowded = &bench->state;
	bench->provider.gets = bench->state.gets + MANY + 1;
	worker_init(&crowd->worker, NULL, &bench->target);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(fiber_spawn(&crowd->worker.fibers, crowd_run, crowd).kind,
				 ERR_NONE);
	worker_run(&crowd->worker);
	worker_fini(&crowd->worker);
}

/* All fifty have been refused with the same token. */
static void test_fifty_make_one(void **state)
{
	struct crowd crowd;
	struct bench bench;

	(void)state;
	begin(&bench);
	bench.world.wall_s = (uint64_t)time(NULL);
	enrol(&bench);
	bench.provider.mood = ROTATING;
	run_crowd(&crowd, &bench);
	assert_int_equal(bench.provider.asked, 1);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(crowd.errs[i].kind, ERR_NONE);
		assert_string_equal(crowd.tokens[i], "access-1");
		text_wipe_free(crowd.tokens[i]);
	}
	end(&bench);
}

/* Who waited shares the failure: fifty clients do not wait for fifty time limits one after another. */
static void test_fifty_share_a_failure(void **state)
{
	static const struct {
		enum mood mood;
		enum err_kind kind;
	} cases[] = {{UNREACHABLE, ERR_UPSTREAM}, {BROKEN, ERR_UPSTREAM}, {WITHDRAWN, ERR_POLICY}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct crowd crowd;
		struct bench bench;
		begin(&bench);
		bench.world.wall_s = (uint64_t)time(NULL);
		enrol(&bench);
		bench.provider.mood = cases[i].mood;
		run_crowd(&crowd, &bench);
		assert_int_equal(bench.provider.asked, 1);
		for (int k = 0; k < MANY; k++) {
			assert_int_equal(crowd.errs[k].kind, cases[i].kind);
			assert_null(crowd.tokens[k]);
		}
		end(&bench);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_enrolled),
		cmocka_unit_test(test_serves_until_it_ages),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_short_lives),
		cmocka_unit_test(test_refused_token),
		cmocka_unit_test(test_stubborn_provider),
		cmocka_unit_test(test_withdrawn),
		cmocka_unit_test(test_withdrawn_without_state),
		cmocka_unit_test(test_misconfigured),
		cmocka_unit_test(test_network),
		cmocka_unit_test(test_rotation_and_crash),
		cmocka_unit_test(test_rotation_and_full_disk),
		cmocka_unit_test(test_store_late),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_enrolled_before_stored),
		cmocka_unit_test(test_enrolled_meanwhile),
		cmocka_unit_test(test_another_key),
		cmocka_unit_test(test_state_unreadable),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_client_credentials),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_fifty_make_one),
		cmocka_unit_test(test_fifty_share_a_failure),
	};

	return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
