/* SPDX-License-Identifier: MIT */
/* state_memory.c - the state over an array. */
#include "tests/fake/state_memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

static struct state_memory *memory_of(struct state_store *store)
{
	return (struct state_memory *)store;
}

static struct err failure(struct state_memory *state, int code)
{
	state->failed++;
	return ERR(ERR_UPSTREAM, code, "the gateway's state fails, as the test wants it");
}

static void nothing(void *arg)
{
	(void)arg;
}

/* What each call begins with: it waits, is counted, and fails if it is its turn. */
static struct err begin(struct state_memory *state, const struct env *env, int code)
{
	env->ops->offload(env, nothing, NULL);
	state->calls++;
	if (state->fail_call && state->calls == state->fail_call)
		return failure(state, state->fail_code ? state->fail_code : EIO);
	return code ? failure(state, code) : OK;
}

/* Where a key is, or would be. */
static size_t place_of(const struct state_memory *state, const char *key)
{
	size_t low = 0, high = state->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(state->entries[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct state_memory_entry *state_memory_find(struct state_memory *state, const char *key)
{
	size_t at = place_of(state, key);

	if (at == state->count || strcmp(state->entries[at].key, key) != 0)
		return NULL;
	return &state->entries[at];
}

static bool is_broken(const struct state_memory *state, const char *key)
{
	return state->broken_key && strcmp(state->broken_key, key) == 0;
}

static struct err memory_get(struct state_store *store, const struct env *env, const char *key,
			     struct buf *out, uint64_t *version)
{
	struct state_memory *state = memory_of(store);

	buf_drop(out, buf_len(out));
	*version = 0;
	state->gets++;
	TRY(begin(state, env, state->read_code));
	if (is_broken(state, key))
		return failure(state, EBADMSG);
	const struct state_memory_entry *entry = state_memory_find(state, key);
	if (!entry)
		return OK;
	if (entry->len && !buf_put(out, entry->value, entry->len))
		return failure(state, ENOMEM);
	*version = entry->version;
	return OK;
}

static struct err walk_range(struct state_memory *state, const struct state_range *range)
{
	size_t len = strlen(range->prefix);
	bool goes_on = true;

	for (size_t at = place_of(state, range->prefix); goes_on && at < state->count; at++) {
		const struct state_memory_entry *entry = &state->entries[at];
		if (strncmp(entry->key, range->prefix, len) != 0)
			break;
		if (is_broken(state, entry->key))
			return failure(state, EBADMSG);
		goes_on = range->visit(range->arg, entry->key, entry->value, entry->len,
				       entry->version);
	}
	return OK;
}

static struct err memory_walk(struct state_store *store, const struct env *env,
			      const struct state_range *ranges, size_t count)
{
	struct state_memory *state = memory_of(store);

	state->walks++;
	TRY(begin(state, env, state->read_code));
	for (size_t i = 0; i < count; i++)
		TRY(walk_range(state, &ranges[i]));
	return OK;
}

static bool holds(struct state_memory *state, const struct state_change *change)
{
	const struct state_memory_entry *entry = state_memory_find(state, change->key);

	return change->was == STATE_ANY || change->was == (entry ? entry->version : 0);
}

static void erase(struct state_memory *state, const char *key)
{
	struct state_memory_entry *entry = state_memory_find(state, key);

	if (!entry)
		return;
	free(entry->key);
	free(entry->value);
	size_t at = (size_t)(entry - state->entries);
	memmove(entry, entry + 1, (--state->count - at) * sizeof *entry);
}

static struct state_memory_entry *insert(struct state_memory *state, const char *key)
{
	size_t at = place_of(state, key);

	state->entries = mem_resize(state->entries, state->count + 1, sizeof *state->entries);
	struct state_memory_entry *entry = &state->entries[at];
	memmove(entry + 1, entry, (state->count++ - at) * sizeof *entry);
	*entry = (struct state_memory_entry){.key = text_dup(key)};
	return entry;
}

static void make(struct state_memory *state, const struct state_change *change)
{
	if (!change->value) {
		erase(state, change->key);
		return;
	}
	struct state_memory_entry *entry = state_memory_find(state, change->key);
	char *value = mem_dup(change->value, change->len);
	if (!entry)
		entry = insert(state, change->key);
	free(entry->value);
	entry->value = value;
	entry->len = change->len;
	entry->version = state->last_version;
}

static struct err memory_put(struct state_store *store, const struct env *env,
			     const struct state_change *changes, size_t count, bool *is_stale)
{
	struct state_memory *state = memory_of(store);

	*is_stale = false;
	state->puts++;
	struct err err = begin(state, env, state->put_code);
	if (err.kind && !(state->is_late && state->calls == state->fail_call))
		return err;
	size_t nth = state->changes + state->stales + 1;
	if (state->before_put)
		state->before_put(state->arg, state, nth);
	for (size_t i = 0; i < count; i++) {
		assert(strlen(changes[i].key) - 1 < STATE_KEY && changes[i].len <= STATE_VALUE);
		*is_stale |= !holds(state, &changes[i]);
	}
	if (*is_stale) {
		state->stales++;
	} else {
		state->changes++;
		state->last_version++;
		for (size_t i = 0; i < count; i++)
			make(state, &changes[i]);
	}
	if (state->after_put)
		state->after_put(state->arg, state, nth);
	return err;
}

static void memory_close(struct state_store *store)
{
	memory_of(store)->closes++;
}

static const struct state_ops memory_ops = {
	"memory", memory_get, memory_walk, memory_put, memory_close,
};

void state_memory_init(struct state_memory *state)
{
	*state = (struct state_memory){.store = {&memory_ops}};
}

void state_memory_fini(struct state_memory *state)
{
	for (size_t i = 0; i < state->count; i++) {
		free(state->entries[i].key);
		free(state->entries[i].value);
	}
	free(state->entries);
	state->entries = NULL;
	state->count = 0;
}

void state_memory_copy(struct state_memory *to, const struct state_memory *from)
{
	state_memory_init(to);
	to->last_version = from->last_version;
	for (size_t i = 0; i < from->count; i++) {
		const struct state_memory_entry *entry = &from->entries[i];
		struct state_memory_entry *copy = insert(to, entry->key);
		copy->value = mem_dup(entry->value, entry->len);
		copy->len = entry->len;
		copy->version = entry->version;
	}
}
