/* SPDX-License-Identifier: MIT */
/* f_oauth.c - any octets as what an OAuth provider answers, and as what lies in the state of a grant
 * once it is unsealed.
 *
 * The input: an octet that says what was asked, how the grant is had, and whether a server has refused
 * the token that is there; an octet that chooses a status; the length of the answer as two octets,
 * lowest first; the answer; and the record.
 *
 * What must hold whatever stands there: an error, or tokens that can be sent and moments that can be;
 * words without a line break and without a piece of what the provider was sent; a record that is whole
 * or none at all, and that is the same when it is read again; and a token that a server has refused is
 * not given out again.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/token.h"
#include "upstream/token_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { PIECE = 12, REFUSED = 16 };

static const char name[] = "token\tjoe\ttest";
static const char *const secrets[] = {"refresh-token-0123456789", "client-secret-abcdefgh", NULL};

struct provider {
	struct oauth_transport transport; /* first */
	long status;
	const uint8_t *body;
	size_t len;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return oauth_begin() ? 0 : -1;
}

/* --- what is told and given --------------------------------------------------------------- */

static void check_words(const char *text)
{
	for (const char *at = text; *at; at++)
		assert(*at >= 0x20 && *at <= 0x7e);
	for (const char *const *secret = secrets; *secret; secret++)
		for (size_t i = 0; i + PIECE <= strlen(*secret); i++)
			assert(!memmem(text, strlen(text), *secret + i, PIECE));
}

static void check_token(const char *token, bool is_needed)
{
	assert(token || !is_needed);
	if (!token)
		return;
	assert(*token && strlen(token) <= TOKEN_MAX);
	for (; *token; token++)
		assert(*token >= 0x20 && *token <= 0x7e);
}

static void check_reply(enum oauth_what what, struct err err, const struct oauth_reply *reply)
{
	bool is_waiting = reply->trouble == OAUTH_PENDING || reply->trouble == OAUTH_SLOW_DOWN;

	assert(!is_waiting || what == OAUTH_ASK_DEVICE_TOKEN);
	assert((err.kind == ERR_NONE) == (is_waiting || reply->trouble == OAUTH_FINE));
	assert((err.kind == ERR_UPSTREAM) == (reply->trouble == OAUTH_PASSING));
	if (reply->trouble != OAUTH_FINE)
		return;
	check_token(reply->access, what != OAUTH_ASK_DEVICE);
	check_token(reply->refresh, false);
	check_token(reply->device_code, what == OAUTH_ASK_DEVICE);
	check_token(reply->user_code, what == OAUTH_ASK_DEVICE);
	check_token(reply->url, what == OAUTH_ASK_DEVICE);
	check_token(reply->url_complete, false);
	assert(reply->lifetime_s && reply->lifetime_s <= OAUTH_DAY_S);
	assert(what != OAUTH_ASK_DEVICE || (reply->interval_s && reply->interval_s <= 60));
}

static void read_answer(enum oauth_what what, const struct provider *provider)
{
	struct oauth_reply reply = {.trouble = OAUTH_FINE};
	struct notice why = {""};

	struct err err = oauth_read(what, provider->status, (const char *)provider->body,
				    provider->len, secrets, 2, &why, &reply);
	check_words(why.text);
	check_reply(what, err, &reply);
	oauth_reply_fini(&reply);
	oauth_reply_fini(&reply);
}

/* --- a login with it ---------------------------------------------------------------------- */

static struct err answer(const struct oauth_transport *transport, const struct oauth_post *post,
			 long *status, struct buf *out, struct notice *why)
{
	const struct provider *provider = (const struct provider *)(uintptr_t)transport;

	(void)why;
	assert(buf_len(post->form));
	*status = provider->status;
	if (provider->len && !buf_put(out, provider->body, provider->len))
		return ERR(ERR_UPSTREAM, 0, "the answer is too long");
	return OK;
}

/* Puts the octets into the state, as if they had been written there once. */
static void put_record(struct state_memory *memory, const struct env *env,
		       const struct token_key *key, const uint8_t *data, size_t size)
{
	struct buf sealed;
	bool is_stale;

	buf_init(&sealed, size + SEAL_EXTRA);
	assert(!seal_put(key, env, name, data, size, &sealed).kind);
	struct state_change change = {name, buf_data(&sealed), buf_len(&sealed), STATE_ANY};
	assert(!memory->store.ops->put(&memory->store, env, &change, 1, &is_stale).kind);
	buf_fini(&sealed);
}

/* Whether the record opens; then its access token is *access. */
static bool check_record(struct state_memory *memory, const struct env *env,
			 const struct token_key *key, char **access)
{
	struct token_record record, again;
	uint64_t version;
	bool is_stale;

	struct err err = token_record_get(&memory->store, env, key, name, &record, &version);
	assert(record.access && record.refresh && version);
	*access = text_dup(record.access);
	if (!err.kind) {
		assert(strlen(record.access) <= TOKEN_MAX && strlen(record.refresh) <= TOKEN_MAX);
		assert(!token_record_put(&memory->store, env, key, name, &record, version,
					 &is_stale)
				.kind &&
		       !is_stale);
		assert(!token_record_get(&memory->store, env, key, name, &again, &version).kind);
		assert(!strcmp(record.access, again.access));
		assert(!strcmp(record.refresh, again.refresh));
		assert(!strcmp(record.trouble, again.trouble));
		assert(record.grant == again.grant && record.granted_s == again.granted_s);
		assert(record.got_s == again.got_s && record.renew_s == again.renew_s);
		assert(record.expires_s == again.expires_s && record.held_s == again.held_s);
		assert(record.forced_s == again.forced_s && record.forced == again.forced);
		assert(record.trouble_s == again.trouble_s);
		token_record_fini(&again);
	}
	token_record_fini(&record);
	return !err.kind;
}

static void list(struct tokens *tokens, const struct env *env, bool is_open)
{
	struct token_facts *all;
	size_t count;

	assert(!tokens_list(tokens, env, &all, &count).kind && count == 1);
	assert(!strcmp(all->key, "joe") && !strcmp(all->profile, "test"));
	assert(all->is_shut == !is_open);
	token_facts_free(all, count);
}

static void log_in(struct provider *provider, unsigned mode, const uint8_t *data, size_t size)
{
	static const unsigned char octets[TOKEN_KEY] = "0123456789abcdef0123456789abcdef";
	struct oauth_profile profile = {.name = "test",
					.grant =
						mode & 4 ? OAUTH_CLIENT_CREDENTIALS : OAUTH_REFRESH,
					.token_url = "https://id.example/token",
					.client_id = "id",
					.client_secret = secrets[1]};
	struct log log = {NULL, ""};
	struct state_memory memory;
	struct fake_world world;
	struct token_key *key;
	struct notice why = {""};
	char *stored, *got;

	fake_world_init(&world);
	state_memory_init(&memory);
	assert(!token_key_new(octets, &key).kind);
	put_record(&memory, &world.env, key, data, size);
	bool is_open = check_record(&memory, &world.env, key, &stored);
	struct tokens *tokens = tokens_new(&memory.store, key, &provider->transport, &log);
	const char *refused = mode & REFUSED ? stored : NULL;
	struct err err = tokens_get(tokens, &world.env, &profile, "joe", "joe@example.org", refused,
				    &why, &got);
	assert((err.kind == ERR_NONE) == (got != NULL));
	assert(is_open || err.kind == ERR_POLICY);
	assert(!got || (*got && strlen(got) <= TOKEN_MAX && (!refused || strcmp(got, refused))));
	assert(!err.kind || *why.text);
	text_wipe_free(stored);
	/* Neither an answer nor an error makes a record unreadable. */
	assert(check_record(&memory, &world.env, key, &stored) == is_open);
	list(tokens, &world.env, is_open);
	text_wipe_free(stored);
	text_wipe_free(got);
	tokens_free(tokens);
	token_key_free(key);
	state_memory_fini(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const long statuses[] = {200, 400, 401, 403, 429, 500, 503, 302, 0, 201};
	struct provider provider = {.transport = {answer}};

	if (size < 4)
		return 0;
	unsigned mode = data[0];
	provider.status = statuses[data[1] % (sizeof statuses / sizeof *statuses)];
	provider.len = data[2] | (size_t)data[3] << 8;
	data += 4, size -= 4;
	provider.len = provider.len < size ? provider.len : size;
	provider.body = data;
	read_answer((enum oauth_what)(mode % 4), &provider);
	log_in(&provider, mode, data + provider.len, size - provider.len);
	return 0;
}
