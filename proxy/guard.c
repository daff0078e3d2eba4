/* SPDX-License-Identifier: MIT */
/* guard.c - what stands against guessing.
 *
 * A sliding window is two counters: failures since it began, and those of the window before. Of the
 * latter as much is taken as the sliding window still covers. That is exact for a burst, near enough
 * for a trickle, and needs no list of moments.
 */
#include "proxy/guard.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proxy/base/mem.h"
#include "proxy/recent.h"

enum {
	ROWS = 16384,
	ROWS_HOSTS = 1024,
	KNOWN_MS = 24 * 3600 * 1000, /* an account is known at an address */
	MINUTE_MS = 60000,
	SECRET = 32, /* octets of the key of this process */
};

enum table { ADDRESSES, PAIRS, ACCOUNTS, STRANGERS, KNOWN, REFUSED, HOSTS, TABLES };

struct guard {
	pthread_mutex_t lock; /* for all that follows but `secret` */
	struct guard_conf conf;
	struct network_list trusted; /* owned; what conf.trusted points to */
	struct recent *tables[TABLES];
	unsigned char secret[SECRET];
};

/* --- birth, configuration, death ------------------------------------------------------------ */

struct guard *guard_new(const struct env *env, const struct guard_conf *conf)
{
	struct guard *guard = mem_alloc(sizeof *guard);

	pthread_mutex_init(&guard->lock, NULL);
	for (int i = 0; i < TABLES; i++)
		guard->tables[i] = recent_new(i == HOSTS ? ROWS_HOSTS : ROWS);
	env->ops->random(env, guard->secret, sizeof guard->secret);
	guard_configure(guard, conf);
	return guard;
}

void guard_free(struct guard *guard)
{
	if (!guard)
		return;
	for (int i = 0; i < TABLES; i++)
		recent_free(guard->tables[i]);
	network_list_fini(&guard->trusted);
	pthread_mutex_destroy(&guard->lock);
	mem_wipe(guard, sizeof *guard);
	free(guard);
}

void guard_configure(struct guard *guard, const struct guard_conf *conf)
{
	const struct network_list *from = conf->trusted;
	struct network_list trusted = {0};

	if (from && from->count) {
		trusted.all = mem_resize(NULL, from->count, sizeof *trusted.all);
		memcpy(trusted.all, from->all, from->count * sizeof *trusted.all);
		trusted.count = from->count;
	}
	pthread_mutex_lock(&guard->lock);
	network_list_fini(&guard->trusted);
	guard->trusted = trusted;
	guard->conf = *conf;
	guard->conf.trusted = &guard->trusted;
	pthread_mutex_unlock(&guard->lock);
}

/* --- keys ----------------------------------------------------------------------------------- */

/* The network that counts as one place: an IPv4 address, or the /64 that one household has. */
static size_t place(const struct sockaddr_storage *peer, unsigned char out[16])
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)peer;
	const struct sockaddr_in *four = (const struct sockaddr_in *)peer;

	if (peer->ss_family == AF_INET) {
		memcpy(out, &four->sin_addr, 4);
		return 4;
	}
	if (peer->ss_family != AF_INET6)
		return 0;
	if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		memcpy(out, &six->sin6_addr.s6_addr[12], 4);
		return 4;
	}
	memcpy(out, &six->sin6_addr, 8);
	return 8;
}

struct part {
	const void *octets;
	size_t len;
};

/* A row's key: the keyed hash of the keyed hashes of its parts, so that no two lists of parts can be
 * the same octets, and nothing can be guessed backwards from a row. */
static void key_make(const struct guard *guard, const struct part *parts, size_t count,
		     unsigned char key[RECENT_KEY])
{
	unsigned char digests[4 * EVP_MAX_MD_SIZE], whole[EVP_MAX_MD_SIZE];
	unsigned len, at = 0;

	for (size_t i = 0; i < count; i++) {
		/* With a key and a hash that are both there it cannot fail; if it did, a guess at a
		 * row would be as bad as none. */
		if (!HMAC(EVP_sha256(), guard->secret, SECRET, parts[i].octets, parts[i].len,
			  digests + at, &len))
			abort();
		at += len;
	}
	if (!HMAC(EVP_sha256(), guard->secret, SECRET, digests, at, whole, &len))
		abort();
	memcpy(key, whole, RECENT_KEY);
	mem_wipe(digests, sizeof digests);
}

static void key_address(const struct guard *guard, const struct guard_claim *claim,
			unsigned char key[RECENT_KEY])
{
	unsigned char octets[16];
	size_t len = place(claim->peer, octets);

	key_make(guard, (const struct part[]){{octets, len}}, 1, key);
}

static void key_pair(const struct guard *guard, const struct guard_claim *claim,
		     unsigned char key[RECENT_KEY])
{
	unsigned char octets[16];
	size_t len = place(claim->peer, octets);

	key_make(guard,
		 (const struct part[]){{octets, len}, {claim->account, strlen(claim->account)}}, 2,
		 key);
}

static void key_text(const struct guard *guard, const char *text, unsigned char key[RECENT_KEY])
{
	key_make(guard, (const struct part[]){{text, strlen(text)}}, 1, key);
}

static void key_password(const struct guard *guard, const struct guard_claim *claim,
			 const char *login, const char *password, unsigned char key[RECENT_KEY])
{
	key_make(guard,
		 (const struct part[]){{claim->account, strlen(claim->account)},
				       {login, strlen(login)},
				       {password, strlen(password)}},
		 3, key);
}

/* --- windows -------------------------------------------------------------------------------- */

/* Moves a row's window on to now. */
static void window_roll(struct recent_row *row, uint64_t now, uint64_t width)
{
	uint64_t passed = now - row->since_ms;

	if (passed < width)
		return;
	row->before = passed < 2 * width ? row->count : 0;
	row->count = 0;
	row->since_ms = passed < 2 * width ? row->since_ms + width : now;
}

/* Failures in the last `width` milliseconds, the window being rolled to now. */
static unsigned window_sum(const struct recent_row *row, uint64_t now, uint64_t width)
{
	uint64_t left = width - (now - row->since_ms); /* of the window before, still covered */

	return row->count + (unsigned)((row->before * left + width - 1) / width);
}

/* One more failure; how many there are now. */
static unsigned window_add(const struct guard *guard, struct recent_row *row, uint64_t now)
{
	window_roll(row, now, guard->conf.window_ms);
	if (!row->count && !row->before)
		row->since_ms = now;
	row->count++;
	return window_sum(row, now, guard->conf.window_ms);
}

/* The same for a row that is blocked when there are `limit`; 0: never. */
static unsigned window_add_limited(const struct guard *guard, struct recent_row *row, uint64_t now,
				   unsigned limit)
{
	if (now < row->until_ms)
		return limit;
	unsigned sum = window_add(guard, row, now);
	if (limit && sum >= limit) {
		row->until_ms = now + guard->conf.block_ms;
		row->count = row->before = 0;
	}
	return sum;
}

static uint64_t delay_after(const struct guard *guard, unsigned failures)
{
	const struct guard_conf *conf = &guard->conf;
	uint64_t delay = conf->delay_ms;

	for (unsigned i = 1; i < failures && delay < conf->delay_max_ms; i++)
		delay *= 2;
	return delay < conf->delay_max_ms ? delay : conf->delay_max_ms;
}

/* --- verdicts ------------------------------------------------------------------------------- */

static bool is_spared(const struct guard *guard, const struct guard_claim *claim)
{
	return network_list_has(&guard->trusted, claim->peer);
}

static bool is_until(struct recent *table, const unsigned char key[RECENT_KEY], uint64_t now)
{
	const struct recent_row *row = recent_find(table, key);

	return row && now < row->until_ms;
}

/* Whether the account has logged in from this address lately. */
static bool is_known(struct guard *guard, const struct guard_claim *claim, uint64_t now)
{
	unsigned char key[RECENT_KEY];

	key_pair(guard, claim, key);
	return is_until(guard->tables[KNOWN], key, now);
}

static enum guard_verdict ask(struct guard *guard, const struct guard_claim *claim, uint64_t now)
{
	unsigned char address[RECENT_KEY], pair[RECENT_KEY];

	if (is_spared(guard, claim))
		return GUARD_FREE;
	key_pair(guard, claim, pair);
	if (is_until(guard->tables[PAIRS], pair, now))
		return GUARD_BLOCKED;
	key_address(guard, claim, address);
	if (is_until(guard->tables[ADDRESSES], address, now) && !is_known(guard, claim, now))
		return GUARD_BLOCKED;
	return GUARD_FREE;
}

static uint64_t note_failure(struct guard *guard, const struct guard_claim *claim, uint64_t now)
{
	unsigned limit = guard->conf.block_after;
	enum table accounts = claim->is_listed ? ACCOUNTS : STRANGERS;
	unsigned char address[RECENT_KEY], pair[RECENT_KEY], account[RECENT_KEY];

	if (is_spared(guard, claim))
		return 0;
	if (ask(guard, claim, now) == GUARD_BLOCKED)
		return delay_after(guard, limit);
	key_address(guard, claim, address);
	key_pair(guard, claim, pair);
	key_text(guard, claim->account, account);
	unsigned most = window_add_limited(guard, recent_touch(guard->tables[ADDRESSES], address),
					   now, limit);
	unsigned own = window_add_limited(guard, recent_touch(guard->tables[PAIRS], pair), now,
					  (limit + 1) / 2);
	unsigned all = window_add(guard, recent_touch(guard->tables[accounts], account), now);
	if (own > most)
		most = own;
	if (all > most && !is_known(guard, claim, now))
		most = all;
	return delay_after(guard, most);
}

/* --- upstream ------------------------------------------------------------------------------- */

/* A host's refusals to come, in thousandths: as many as it may see in a minute at first, refilled
 * with time. Kept upside down, as what is missing, so that a new row is a full one. The row's clock
 * goes on by no more than what was refilled: else whoever asks often enough would stop it. */
static struct recent_row *host_row(struct guard *guard, const char *host, uint64_t now)
{
	uint64_t pace = guard->conf.upstream_refusals;
	unsigned char key[RECENT_KEY];

	key_text(guard, host, key);
	struct recent_row *row = recent_touch(guard->tables[HOSTS], key);
	uint64_t passed = now - row->since_ms;
	uint64_t refill = passed < MINUTE_MS ? passed * pace * 1000 / MINUTE_MS : UINT32_MAX;
	if (row->count > refill) {
		row->count -= (uint32_t)refill;
		row->since_ms += (refill * MINUTE_MS / 1000 + pace - 1) / pace;
	} else {
		row->count = 0;
		row->since_ms = now;
	}
	if (row->count > pace * 1000) /* it was more before a reload */
		row->count = (uint32_t)pace * 1000;
	return row;
}

/* Takes one refusal that may come. False if there is none to take. */
static bool host_take(struct guard *guard, const char *host, uint64_t now)
{
	struct recent_row *row = host_row(guard, host, now);

	if (row->count + 1000 > guard->conf.upstream_refusals * 1000)
		return false;
	row->count += 1000;
	return true;
}

/* Whether a refusal of this claim counts against its host. Where the account is at home guesses are
 * few: they block the pair. */
static bool is_paced(struct guard *guard, const struct guard_claim *claim, uint64_t now)
{
	return guard->conf.upstream_refusals && !is_spared(guard, claim) &&
	       !is_known(guard, claim, now);
}

static void note_success(struct guard *guard, const struct guard_claim *claim, const char *host,
			 uint64_t now)
{
	unsigned char key[RECENT_KEY];

	key_pair(guard, claim, key);
	recent_drop(guard->tables[PAIRS], key);
	if (host && is_paced(guard, claim, now)) {
		/* It took one that was not needed. */
		struct recent_row *row = host_row(guard, host, now);
		row->count = row->count > 1000 ? row->count - 1000 : 0;
	}
	recent_touch(guard->tables[KNOWN], key)->until_ms = now + KNOWN_MS;
}

static enum guard_advice advise(struct guard *guard, const struct guard_claim *claim,
				const char *login, const char *password, const char *host,
				uint64_t now)
{
	unsigned char key[RECENT_KEY];

	key_password(guard, claim, login, password, key);
	if (*password && is_until(guard->tables[REFUSED], key, now))
		return GUARD_WRONG;
	return !is_paced(guard, claim, now) || host_take(guard, host, now) ? GUARD_ASK
									   : GUARD_LATER;
}

static void note_refusal(struct guard *guard, const struct guard_claim *claim, const char *login,
			 const char *password, uint64_t now)
{
	unsigned char key[RECENT_KEY];

	if (!guard->conf.refused_ms || !*password)
		return;
	key_password(guard, claim, login, password, key);
	recent_touch(guard->tables[REFUSED], key)->until_ms = now + guard->conf.refused_ms;
}

/* --- the calls, one at a time ----------------------------------------------------------------- */

/* With the lock: a clock that was read before another call's would go back. */
static uint64_t lock(struct guard *guard, const struct env *env)
{
	pthread_mutex_lock(&guard->lock);
	return env->ops->now(env);
}

static void unlock(struct guard *guard)
{
	pthread_mutex_unlock(&guard->lock);
}

enum guard_verdict guard_ask(struct guard *guard, const struct env *env,
			     const struct guard_claim *claim)
{
	uint64_t now = lock(guard, env);
	enum guard_verdict verdict = ask(guard, claim, now);

	unlock(guard);
	return verdict;
}

uint64_t guard_failed(struct guard *guard, const struct env *env, const struct guard_claim *claim)
{
	uint64_t now = lock(guard, env);
	uint64_t delay_ms = note_failure(guard, claim, now);

	unlock(guard);
	return delay_ms;
}

void guard_succeeded(struct guard *guard, const struct env *env, const struct guard_claim *claim,
		     const char *host)
{
	uint64_t now = lock(guard, env);

	note_success(guard, claim, host, now);
	unlock(guard);
}

enum guard_advice guard_advise(struct guard *guard, const struct env *env,
			       const struct guard_claim *claim, const char *login,
			       const char *password, const char *host)
{
	uint64_t now = lock(guard, env);
	enum guard_advice advice = advise(guard, claim, login, password, host, now);

	unlock(guard);
	return advice;
}

void guard_refused_upstream(struct guard *guard, const struct env *env,
			    const struct guard_claim *claim, const char *login,
			    const char *password)
{
	uint64_t now = lock(guard, env);

	note_refusal(guard, claim, login, password, now);
	unlock(guard);
}
