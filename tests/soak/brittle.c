/* SPDX-License-Identifier: MIT */
/* brittle.c - a state store that fails when it is told to. */
#include "tests/soak/brittle.h"

static struct err failed(int code)
{
	return (struct err){ERR_UPSTREAM, code, "the state cannot be used now"};
}

static struct err brittle_get(struct state_store *store, const struct env *env, const char *key,
			      struct buf *out, uint64_t *version)
{
	const struct brittle *brittle = (const struct brittle *)store;

	*version = 0;
	buf_drop(out, buf_len(out));
	if (brittle->read_code)
		return failed(brittle->read_code);
	return brittle->below->ops->get(brittle->below, env, key, out, version);
}

static struct err brittle_walk(struct state_store *store, const struct env *env,
			       const struct state_range *ranges, size_t count)
{
	const struct brittle *brittle = (const struct brittle *)store;

	if (brittle->read_code)
		return failed(brittle->read_code);
	return brittle->below->ops->walk(brittle->below, env, ranges, count);
}

static struct err brittle_put(struct state_store *store, const struct env *env,
			      const struct state_change *changes, size_t count, bool *is_stale)
{
	struct brittle *brittle = (struct brittle *)store;
	int code = brittle->put_code;

	*is_stale = false;
	if (code && !brittle->is_late)
		return failed(code);
	struct err err = brittle->below->ops->put(brittle->below, env, changes, count, is_stale);
	if (!err.kind && !*is_stale && brittle->after_put)
		brittle->after_put(brittle->arg);
	return code ? failed(code) : err;
}

static void brittle_close(struct state_store *store)
{
	(void)store;
}

static const struct state_ops brittle_ops = {
	.name = "brittle",
	.get = brittle_get,
	.walk = brittle_walk,
	.put = brittle_put,
	.close = brittle_close,
};

void brittle_init(struct brittle *brittle, struct state_store *below)
{
	*brittle = (struct brittle){.store = {&brittle_ops}, .below = below};
}
