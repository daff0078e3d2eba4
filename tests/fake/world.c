/* SPDX-License-Identifier: MIT */
/* world.c - the outside world for tests. */
#include "tests/fake/world.h"

#include <errno.h>

static struct fake_world *world_of(const struct env *env)
{
	return (struct fake_world *)(uintptr_t)env;
}

static struct err fake_dial(const struct env *env, const char *host, unsigned port,
			    const char *source, uint64_t limit_ms, struct stream **out)
{
	struct fake_world *world = world_of(env);

	(void)source;
	(void)limit_ms;
	world->dials++;
	*out = NULL;
	if (!world->dial)
		return ERR(ERR_UPSTREAM, ECONNREFUSED, "connection refused");
	return world->dial(world->arg, host, port, out);
}

static struct err hand_back(struct fake_world *world, struct stream *plain, struct stream **out)
{
	world->secures++;
	*out = NULL;
	if (world->secure_err.kind) {
		stream_close(plain);
		return world->secure_err;
	}
	*out = plain;
	return OK;
}

static struct err fake_secure(const struct env *env, struct stream *plain,
			      const struct tls_policy *policy, struct stream **out)
{
	(void)policy;
	return hand_back(world_of(env), plain, out);
}

static struct err fake_serve_tls(const struct env *env, struct stream *plain, void *identity,
				 struct stream **out)
{
	(void)identity;
	return hand_back(world_of(env), plain, out);
}

static void fake_offload(const struct env *env, void (*work)(void *), void *arg)
{
	world_of(env)->offloads++;
	work(arg);
}

static void fake_sleep(const struct env *env, uint64_t ms)
{
	struct fake_world *world = world_of(env);

	world->now_ms += ms;
	world->slept_ms += ms;
	if (world->on_sleep)
		world->on_sleep(world->arg);
}

static uint64_t fake_now(const struct env *env)
{
	return world_of(env)->now_ms;
}

static uint64_t fake_wall(const struct env *env)
{
	return world_of(env)->wall_s + world_of(env)->now_ms / 1000;
}

static void fake_random(const struct env *env, void *into, size_t len)
{
	struct fake_world *world = world_of(env);
	unsigned char *to = into;

	for (size_t i = 0; i < len; i++) {
		world->seed = world->seed * 6364136223846793005u + 1442695040888963407u;
		to[i] = (unsigned char)(world->seed >> 56);
	}
}

static const struct env_ops fake_ops = {
	fake_dial,  fake_secure, fake_serve_tls, fake_offload,
	fake_sleep, fake_now,    fake_wall,      fake_random,
};

void fake_world_init(struct fake_world *world)
{
	*world = (struct fake_world){
		.env = {&fake_ops}, .now_ms = 1000000, .wall_s = 1700000000, .seed = 1};
}
