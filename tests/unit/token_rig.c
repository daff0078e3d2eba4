/* SPDX-License-Identifier: MIT */
/* token_rig.c - grants before a provider that is in some mood. */
#include "tests/unit/token_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/mem.h"

/* --- the provider ------------------------------------------------------------------------- */

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
	case ODD: /* a new refresh token, beside what is of no use */
		assert_true(buf_printf(out, "{%s\"refresh_token\":\"refresh-%u\"}", provider->odd,
				       provider->asked));
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

/* --- the bench ---------------------------------------------------------------------------- */

static void note(struct log_target *target, enum log_level level, const char *line, size_t len)
{
	struct bench *bench =
		(struct bench *)(void *)((char *)target - offsetof(struct bench, target));
	size_t used = strlen(bench->lines);

	bench->alarms += level == LEVEL_ALARM;
	if (used + len < sizeof bench->lines)
		memcpy(bench->lines + used, line, len);
}

void bench_begin(struct bench *bench)
{
	static const unsigned char octets[TOKEN_KEY] = "0123456789abcdef0123456789abcdef";

	memset(bench, 0, sizeof *bench);
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

void bench_end(struct bench *bench)
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
}

void bench_restart(struct bench *bench)
{
	tokens_free(bench->tokens);
	bench->tokens = tokens_new(&bench->state.store, bench->key, &bench->provider.transport,
				   &bench->log);
}

void bench_enrol(struct bench *bench)
{
	struct oauth_reply reply = {.access = text_dup("access-0"),
				    .refresh = text_dup("refresh-0"),
				    .lifetime_s = 3600};

	assert_int_equal(
		tokens_enrol(bench->tokens, &bench->world.env, &bench->profile, "joe", &reply).kind,
		ERR_NONE);
	oauth_reply_fini(&reply);
}

void bench_pass(struct bench *bench, uint64_t seconds)
{
	bench->world.now_ms += seconds * 1000;
}

void bench_expect(struct bench *bench, const char *refused, const char *token, enum err_kind kind)
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

void bench_enrol_meanwhile(struct provider *provider)
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
