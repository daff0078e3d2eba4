/* SPDX-License-Identifier: MIT */
/* guard_rig.c - a guard at its post. */
#include "tests/unit/guard_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

void post_init(struct post *post)
{
	*post = (struct post){.conf = {
				      .trusted = &post->trusted,
				      .block_after = 20,
				      .window_ms = 10 * MINUTE,
				      .block_ms = 10 * MINUTE,
				      .delay_ms = 2 * SECOND,
				      .delay_max_ms = 15 * SECOND,
				      .refused_ms = MINUTE,
				      .upstream_refusals = 60,
			      }};
	fake_world_init(&post->world);
	post->world.now_ms = 1000000;
	assert_true(network_list_add(&post->trusted, "127.0.0.0/8", 11));
	post->guard = guard_new(&post->world.env, &post->conf);
}

void post_fini(struct post *post)
{
	guard_free(post->guard);
	network_list_fini(&post->trusted);
}

struct sockaddr_storage post_address(const char *text)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_in *four = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&storage;

	if (strchr(text, ':')) {
		six->sin6_family = AF_INET6;
		assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
	} else {
		four->sin_family = AF_INET;
		assert_int_equal(inet_pton(AF_INET, text, &four->sin_addr), 1);
	}
	return storage;
}

struct sockaddr_storage post_nth_address(unsigned n)
{
	char text[32];

	snprintf(text, sizeof text, "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
	return post_address(text);
}

unsigned post_guess_from(struct post *post, const struct sockaddr_storage *peer,
			 const char *account, uint64_t *delay)
{
	struct guard_claim claim = {peer, account, true};
	enum guard_verdict verdict = guard_ask(post->guard, &post->world.env, &claim);
	uint64_t ms = guard_failed(post->guard, &post->world.env, &claim);

	if (delay)
		*delay = ms;
	return verdict == GUARD_FREE;
}

unsigned post_guess(struct post *post, const char *peer, const char *account, uint64_t *delay)
{
	struct sockaddr_storage from = post_address(peer);

	return post_guess_from(post, &from, account, delay);
}

bool post_is_blocked(struct post *post, const char *peer, const char *account)
{
	struct sockaddr_storage from = post_address(peer);
	struct guard_claim claim = {&from, account, true};

	return guard_ask(post->guard, &post->world.env, &claim) == GUARD_BLOCKED;
}

void post_succeed(struct post *post, const char *peer, const char *account)
{
	struct sockaddr_storage from = post_address(peer);
	struct guard_claim claim = {&from, account, true};

	guard_succeeded(post->guard, &post->world.env, &claim, NULL);
}
