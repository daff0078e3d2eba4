/* SPDX-License-Identifier: MIT */
/* memory.c - a store over an array, and accounts over a table. */
#include "tests/fake/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "tests/fake/world.h"

const char memory_prefix[] = "memory.1";

struct memory_upstream {
	struct upstream up;
	struct memory *memory;
	enum delete_policy delete_policy;
	enum seen_policy seen_policy;
};

static struct memory *memory_of(struct upstream *up)
{
	return ((struct memory_upstream *)up)->memory;
}

static size_t length(const struct memory_message *msg)
{
	return msg->len || !msg->octets ? msg->len : strlen(msg->octets);
}

uint64_t memory_size(const char *octets, size_t len)
{
	uint64_t size = len;

	for (size_t i = 0; i < len; i++)
		if (octets[i] == '\n' && (!i || octets[i - 1] != '\r'))
			size++;
	if (len && octets[len - 1] != '\n')
		size += 2;
	return size;
}

static struct memory_message *find(struct memory *memory, uint32_t uid)
{
	for (size_t i = 0; i < memory->count; i++)
		if (memory->messages[i].uid == uid && !memory->messages[i].is_removed)
			return &memory->messages[i];
	return NULL;
}

static struct err memory_open(const struct env *env, const struct log *log,
			      const struct upstream_conf *conf, const struct login *login,
			      struct notice *why, struct upstream **out)
{
	struct memory *memory = (struct memory *)(uintptr_t)conf->ops;
	struct err err = memory->open_err;

	(void)env;
	(void)log;
	*out = NULL;
	snprintf(memory->user, sizeof memory->user, "%s", login->user ? login->user : "");
	if (!err.kind && memory->password &&
	    (!login->password || strcmp(login->password, memory->password)))
		err = ERR(ERR_LOGIN, 0, "login refused");
	if (err.kind) {
		if (memory->alert)
			snprintf(why->text, sizeof why->text, "%s", memory->alert);
		return err;
	}
	struct memory_upstream *up = mem_alloc(sizeof *up);
	up->up.ops = &memory->ops;
	up->up.is_read_only = memory->is_read_only || conf->delete_policy == DELETE_NEVER;
	snprintf(up->up.identity, sizeof up->up.identity, "%s", memory->identity);
	up->memory = memory;
	up->delete_policy = conf->delete_policy;
	up->seen_policy = conf->seen_policy;
	memory->opens++;
	*out = &up->up;
	return OK;
}

static struct err memory_list(struct upstream *up, struct maildrop *drop)
{
	struct memory *memory = memory_of(up);

	memory->lists++;
	snprintf(drop->prefix, sizeof drop->prefix, "%s", memory_prefix);
	for (size_t i = 0; i < memory->count; i++) {
		const struct memory_message *msg = &memory->messages[i];
		uint64_t octets = msg->listed ? msg->listed : memory_size(msg->octets, length(msg));
		if (!msg->is_removed && !msg->is_hidden)
			TRY(maildrop_add(drop, msg->uid, octets, msg->name, 0));
	}
	return maildrop_seal(drop);
}

static struct err memory_fetch(struct upstream *up, const struct maildrop *drop,
			       const struct message *wanted, const struct part *part,
			       struct sink *sink)
{
	struct memory *memory = memory_of(up);
	const struct memory_message *msg = find(memory, wanted->uid);

	(void)drop;
	memory->fetches++;
	if (!msg)
		return ERR(ERR_MESSAGE, 0, "message is gone");
	if (msg->refuse)
		return (struct err){msg->refuse, 0, "message cannot be fetched"};
	size_t len = length(msg), from = part->from < len ? (size_t)part->from : len;
	size_t to = part->octets && part->octets < len - from ? from + (size_t)part->octets : len;
	sink->announced_octets = to - from;
	while (from < to) {
		size_t n = memory->chunk && memory->chunk < to - from ? memory->chunk : to - from;
		memory->puts++;
		TRY(sink->put(sink, msg->octets + from, n));
		from += n;
	}
	return OK;
}

static struct err memory_update(struct upstream *up, const struct maildrop *drop)
{
	struct memory_upstream *self = (struct memory_upstream *)up;
	struct memory *memory = self->memory;
	size_t marked = 0;

	memory->updates++;
	assert(!drop->marked || !up->is_read_only);
	for (size_t i = 0; i < drop->total; i++) {
		const struct message *msg = &drop->messages[i];
		struct memory_message *own = find(memory, msg->uid);
		if (!own)
			continue;
		if (message_is_deleted(msg)) {
			assert(!own->is_hidden);
			own->is_removed = !memory->update_err.kind || marked++ % 2;
		} else if (self->seen_policy == SEEN_ON_QUIT && msg->marks & MARK_RETRIEVED) {
			own->is_seen = true;
		}
	}
	return memory->update_err;
}

static void memory_close(struct upstream *up, const struct maildrop *drop,
			 bool (*is_wanted)(const void *arg), const void *arg)
{
	struct memory *memory = memory_of(up);

	memory->closes++;
	memory->was_wanted = is_wanted && is_wanted(arg);
	for (size_t i = 0; drop && i < drop->total; i++) {
		const struct message *msg = &drop->messages[i];
		struct memory_message *own = find(memory, msg->uid);
		if (own && msg->marks & MARK_MEASURED)
			own->measured = maildrop_measured(drop, msg);
	}
	free(up);
}

static void memory_retrieved(struct upstream *up, const struct message *msg)
{
	struct memory_message *own = find(memory_of(up), msg->uid);

	if (own)
		own->is_seen = true;
}

static void memory_nudge(struct upstream *up)
{
	memory_of(up)->nudges++;
}

void memory_init(struct memory *memory, struct memory_message *messages, size_t count)
{
	*memory = (struct memory){
		.ops = {.name = "memory",
			.open = memory_open,
			.list = memory_list,
			.fetch = memory_fetch,
			.update = memory_update,
			.retrieved = memory_retrieved,
			.nudge = memory_nudge,
			.close = memory_close},
		.messages = messages,
		.count = count,
		.identity = "memory",
	};
}

struct fake_account {
	struct account account;
	struct fake_accounts *owner;
};

static const struct fake_user *find_user(const struct fake_accounts *fake, const char *name)
{
	for (size_t i = 0; i < fake->count; i++)
		if (text_same(fake->users[i].name, name))
			return &fake->users[i];
	return NULL;
}

/* The client's side of the exchange is in memory.h. */
static struct err lead(const struct fake_user *user, const struct credential *claim)
{
	struct buf answer;

	buf_init(&answer, 4096);
	struct err err = claim->ask(claim->arg, "who are you", strlen("who are you"), &answer);
	if (!err.kind &&
	    !(user && user->password &&
	      text_same_secret(buf_len(&answer) ? buf_data(&answer) : "", buf_len(&answer),
			       user->password, strlen(user->password))))
		err = ERR(ERR_LOGIN, 0, "login refused");
	if (!err.kind)
		err = claim->ask(claim->arg, "you are in", strlen("you are in"), &answer);
	buf_wipe(&answer);
	return err;
}

static void note(struct fake_accounts *fake, const struct env *env, const struct credential *claim)
{
	fake->asked++;
	snprintf(fake->mechanism, sizeof fake->mechanism, "%s",
		 claim->mechanism ? claim->mechanism : "");
	if (claim->kind == CREDENTIAL_APOP || claim->kind == CREDENTIAL_CRAM_MD5)
		snprintf(fake->timestamp, sizeof fake->timestamp, "%s", claim->timestamp);
	if (fake->proof_ms)
		((struct fake_world *)(uintptr_t)env)->now_ms += fake->proof_ms;
}

static struct err fake_prove(struct accounts *accounts, const struct env *env,
			     const struct log *log, const struct credential *credential,
			     struct notice *why, struct account **out)
{
	struct fake_accounts *fake = (struct fake_accounts *)accounts;
	const struct fake_user *user = find_user(fake, credential->name);

	(void)log;
	*out = NULL;
	note(fake, env, credential);
	if (credential->kind == CREDENTIAL_EXCHANGE)
		TRY(lead(user, credential));
	else if (!user || (user->is_local && strcmp(user->password, credential->password)))
		return ERR(ERR_LOGIN, 0, "login refused");
	if (user->fail)
		return (struct err){user->fail, 0, "accounts are not to be had"};
	if (user->reject) {
		snprintf(why->text, sizeof why->text, "%s", user->reject);
		return ERR(ERR_POLICY, 0, "account is closed");
	}
	struct fake_account *given = mem_alloc(sizeof *given);
	given->owner = fake;
	given->account.name = text_dup(user->name);
	given->account.upstream = fake->conf;
	given->account.is_proved = user->is_local;
	given->account.login = (struct login){
		.user = text_dup(user->name),
		.password = text_dup(user->is_local ? user->stored : credential->password),
		.is_stored = user->is_local,
	};
	fake->given++;
	*out = &given->account;
	return OK;
}

static void fake_free(struct account *account)
{
	if (!account)
		return;
	((struct fake_account *)account)->owner->freed++;
	login_fini(&account->login);
	free(account->name);
	free(account);
}

static unsigned fake_ways(const struct accounts *accounts, const struct stream *client)
{
	const struct fake_accounts *fake = (const struct fake_accounts *)accounts;

	(void)client;
	return fake->ways ? fake->ways : WAY_PLAIN | WAY_LOGIN;
}

static uint64_t fake_settle(struct accounts *accounts, const struct env *env,
			    const struct credential *claim, const struct account *account,
			    struct err err)
{
	struct fake_accounts *fake = (struct fake_accounts *)accounts;

	(void)env;
	(void)account;
	assert(claim->mechanism && claim->name);
	assert(!err.kind || err.kind == ERR_LOGIN);
	fake->settled++;
	fake->refused += err.kind == ERR_LOGIN;
	return err.kind ? fake->delay_ms : 0;
}

static const struct accounts_ops fake_ops = {
	.ways = fake_ways,
	.prove = fake_prove,
	.free = fake_free,
	.settle = fake_settle,
};

void fake_accounts_init(struct fake_accounts *fake, const struct fake_user *users, size_t count,
			const struct upstream_ops *store)
{
	*fake = (struct fake_accounts){
		.accounts = {&fake_ops},
		.users = users,
		.count = count,
		.conf = {.ops = store,
			 .folder = "INBOX",
			 .delete_policy = DELETE_EXPUNGE,
			 .seen_policy = SEEN_ON_QUIT,
			 .delete_after_s = DELETE_AFTER_NEVER},
	};
}
