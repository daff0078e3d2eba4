/* SPDX-License-Identifier: MIT */
/* world.c - env over the rooms of this floor. */
#include "proxy/io/world.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/rand.h>

#include "proxy/io/offload.h"
#include "proxy/io/tcp.h"
#include "proxy/io/tls.h"

static const struct world *world_of(const struct env *env)
{
	return (const struct world *)env; /* its first member */
}

static struct err world_dial(const struct env *env, const char *host, unsigned port,
			     const char *source, uint64_t limit_ms, struct stream **out)
{
	return tcp_dial(world_of(env)->fibers, host, port, source, limit_ms, out);
}

static struct err world_secure(const struct env *env, struct stream *plain,
			       const struct tls_policy *policy, struct stream **out)
{
	return tls_connect(env, world_of(env)->client, plain, policy, out);
}

static struct err world_serve_tls(const struct env *env, struct stream *plain, void *identity,
				  struct stream **out)
{
	(void)env;
	return tls_accept(identity, plain, out);
}

static void world_offload(const struct env *env, void (*work)(void *), void *arg)
{
	offload(world_of(env)->fibers, work, arg);
}

static void world_sleep(const struct env *env, uint64_t ms)
{
	fiber_sleep(world_of(env)->fibers, ms);
}

/* Not the loop's own time, which stands still while a fiber works. */
static uint64_t world_now(const struct env *env)
{
	(void)env;
	return uv_hrtime() / 1000000;
}

static uint64_t world_wall(const struct env *env)
{
	time_t now = time(NULL);

	(void)env;
	return now > 0 ? (uint64_t)now : 0;
}

static void world_random(const struct env *env, void *into, size_t len)
{
	(void)env;
	/* Without chance there is no secret to be had: better no daemon than a guessable one. */
	if (len > INT_MAX || RAND_bytes(into, (int)len) != 1)
		abort();
}

static const struct env_ops world_ops = {
	.dial = world_dial,
	.secure = world_secure,
	.serve_tls = world_serve_tls,
	.offload = world_offload,
	.sleep = world_sleep,
	.now = world_now,
	.wall = world_wall,
	.random = world_random,
};

void world_init(struct world *world, struct fibers *fibers, struct tls_client_conf *client)
{
	*world = (struct world){
		.env = {&world_ops},
		.fibers = fibers,
		.client = client,
	};
}
