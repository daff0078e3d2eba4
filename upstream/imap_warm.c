/* SPDX-License-Identifier: MIT */
/* imap_warm.c - open mailboxes that outlive their sessions. */
#include "upstream/imap_warm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proxy/base/buf.h"
#include "proxy/base/lru.h"
#include "proxy/base/mem.h"
#include "upstream/imap.h"
#include "upstream/imap_budget.h"
#include "upstream/imap_idle.h"
#include "upstream/ledger.h"
#include "upstream/uidl.h"

enum {
	REST_MS = 2000,    /* so that quick polls do not pay for DONE (M-11) */
	ALIVE_MS = 240000, /* H-11 */
	LIFE_MS =
		3600000, /* of a connection: what a server has forgotten to tell is asked for then (M-08) */
	LEDGER_OCTETS = 256 * 1024,
	KEY = 32,      /* octets of the key and of what it makes */
	TURNS = 20000, /* names */
	KEY_OCTETS = 16384,
};

struct parked {
	struct parked *older, *newer;
	struct imap *imap;
	char *name, *key;  /* owned: of the map; of all that must be the same */
	uint64_t since_ms; /* parked */
	uint64_t heard_ms; /* the newest sign of life */
	size_t octets;     /* of the kept ledger */
	bool is_busy;      /* with tend() */
	bool is_unwelcome; /* to be closed when that is over */
};

struct imap_warm {
	const struct env *env;
	const struct log *log;
	struct imap_warm_conf conf;
	unsigned char key[KEY];
	struct lru *rows;           /* of struct parked *, by name */
	struct imap_budget *budget; /* held */
	/* By name: the number of the newest opening, uint64_t. Whoever opened before that may hold what
	 * the newer one is about to change. */
	struct lru *turns;
	uint64_t turn;
	struct parked *next_due; /* where imap_warm_due() goes on */
	bool is_looking;         /* it has not come to its end */
	struct parked *oldest, *newest;
	size_t count, octets;
	uint64_t generation; /* grows with each drop */
};

struct imap_warm *imap_warm_new(const struct env *env, const struct log *log,
				const struct imap_warm_conf *conf)
{
	struct imap_warm *warm = mem_alloc(sizeof *warm);

	*warm = (struct imap_warm){.env = env, .log = log, .conf = *conf, .generation = 1};
	env->ops->random(env, warm->key, sizeof warm->key);
	warm->rows = lru_new(sizeof(struct parked *), SIZE_MAX);
	warm->budget = imap_budget_new();
	warm->turns = lru_new(sizeof(uint64_t), TURNS);
	return warm;
}

void imap_warm_free(struct imap_warm *warm)
{
	if (!warm)
		return;
	lru_free(warm->rows);
	lru_free(warm->turns);
	imap_budget_release(warm->budget);
	mem_wipe(warm->key, sizeof warm->key);
	free(warm);
}

void imap_warm_configure(struct imap_warm *warm, const struct imap_warm_conf *conf)
{
	warm->conf = *conf;
}

void imap_warm_share(struct imap_warm *warm, const struct imap_warm *host)
{
	imap_budget_release(warm->budget);
	warm->budget = imap_budget_hold(host->budget);
}

struct imap_budget *imap_warm_budget(const struct imap_warm *warm)
{
	return warm ? warm->budget : NULL;
}

size_t imap_warm_count(const struct imap_warm *warm)
{
	return warm ? warm->count : 0;
}

/* --- which one ---------------------------------------------------------------------------- */

static void put(struct buf *out, const char *text)
{
	(void)!buf_printf(out, "%s\n", text ? text : "");
}

/* All that must be the same: as whom it is opened, over what, and every policy that has had its part in
 * what was selected and is known. A reload empties the pool, but a client that was on its way to its worker
 * meanwhile still comes with what the map said before. Owned. */
static char *key_of(const struct upstream_conf *conf, const struct login *login)
{
	const struct tls_policy *tls = &conf->tls_policy;
	const struct uidl_format *uidl = conf->uidl;
	const char *texts[] = {
		conf->host,
		conf->source,
		conf->auth,
		conf->folder,
		conf->archive,
		tls->host,
		tls->ca_file,
		tls->pin,
		tls->cert_file,
		tls->key_file,
		login->user,
		login->master,
		conf->quirks ? conf->quirks->name : "",
		uidl ? uidl->pattern : "",
	};
	struct buf out;

	buf_init(&out, KEY_OCTETS);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		put(&out, texts[i]);
	(void)!buf_printf(&out, "%u %d %d %d %d %d %d %d %d %d %d %d %d ", conf->port,
			  (int)conf->tls, (int)login->kind, login->is_stored,
			  (int)conf->delete_policy, conf->may_create, conf->may_unflag,
			  (int)conf->seen_policy, (int)conf->poison_policy,
			  (int)conf->uidvalidity_policy, conf->newest_first, conf->measure_sizes,
			  conf->is_shared);
	bool is_whole = buf_printf(&out, "%" PRIu64 " %u %u", conf->delete_after_s,
				   conf->keep_newest, conf->newest);
	char *key = is_whole ? mem_dup(buf_data(&out), buf_len(&out)) : NULL;
	buf_fini(&out);
	return key;
}

/* Tokens of ours change by themselves and are nobody's claim. */
static void prove(const struct imap_warm *warm, const struct login *login, unsigned char out[KEY])
{
	const char *secret = login->is_stored && login->kind == LOGIN_TOKEN ? "" : login->password;
	unsigned len = KEY;

	memset(out, 0, KEY);
	HMAC(EVP_sha256(), warm->key, KEY, (const unsigned char *)secret, strlen(secret), out,
	     &len);
}

static bool is_proved(const struct imap_warm *warm, const struct imap *imap,
		      const struct login *login)
{
	unsigned char proof[KEY];
	uint64_t age = warm->env->ops->now(warm->env) - imap->proved_ms;

	prove(warm, login, proof);
	return !CRYPTO_memcmp(proof, imap->proof, KEY) &&
	       (login->is_stored || age < warm->conf.proof_ms);
}

static const char *name_of(const struct upstream_conf *conf)
{
	return conf->name ? conf->name : "";
}

static void take_turn(struct imap_warm *warm, struct imap *imap)
{
	imap->warm_turn = *(uint64_t *)lru_touch(warm->turns, name_of(&imap->conf)) = ++warm->turn;
}

static bool is_newest(const struct imap_warm *warm, const struct imap *imap)
{
	const uint64_t *turn = lru_find(warm->turns, name_of(&imap->conf));

	return turn && *turn == imap->warm_turn;
}

/* Of one name of the map there is one at most. */
static struct parked *find(const struct imap_warm *warm, const struct upstream_conf *conf)
{
	struct parked *const *row = lru_find(warm->rows, name_of(conf));

	return row ? *row : NULL;
}

static bool is_same(const struct parked *parked, const struct upstream_conf *conf,
		    const struct login *login)
{
	char *key = key_of(conf, login);
	bool is_it = parked->key && key && !strcmp(parked->key, key);

	free(key);
	return is_it;
}

/* --- the list ----------------------------------------------------------------------------- */

static void unlist(struct imap_warm *warm, struct parked *parked)
{
	if (warm->next_due == parked)
		warm->next_due = parked->newer;
	*(parked->newer ? &parked->newer->older : &warm->newest) = parked->older;
	*(parked->older ? &parked->older->newer : &warm->oldest) = parked->newer;
	lru_drop(warm->rows, parked->name);
	warm->count--;
}

static void list(struct imap_warm *warm, struct parked *parked)
{
	parked->newer = NULL;
	parked->older = warm->newest;
	*(parked->older ? &parked->older->newer : &warm->oldest) = parked;
	warm->newest = parked;
	*(struct parked **)lru_touch(warm->rows, parked->name) = parked;
	warm->count++;
}

static void forget(struct imap_warm *warm, struct parked *parked)
{
	warm->octets -= parked->octets;
	free(parked->key);
	free(parked->name);
	free(parked);
}

/* Logs out, which waits. It is in no list any more. */
static void end(struct imap_warm *warm, struct parked *parked)
{
	imap_end(parked->imap);
	forget(warm, parked);
}

/* --- taken and parked --------------------------------------------------------------------- */

struct imap *imap_warm_take(struct imap_warm *warm, const struct upstream_conf *conf,
			    const struct login *login, const struct log *log)
{
	if (!warm || login->kind == LOGIN_RELAY)
		return NULL;
	struct parked *parked = find(warm, conf);
	if (!parked || !is_same(parked, conf, login) || parked->is_busy || parked->is_unwelcome)
		return NULL;
	if (!is_proved(warm, parked->imap, login)) {
		/* Our own secret is another one now. What a client shows may be anything. */
		parked->is_unwelcome = login->is_stored;
		return NULL;
	}
	struct imap *imap = parked->imap;
	uint64_t now = warm->env->ops->now(warm->env);
	unlist(warm, parked);
	imap->heard_ms = parked->heard_ms;
	imap->is_fresh = imap->client.idle_tag && now - parked->heard_ms <= warm->conf.fresh_ms;
	forget(warm, parked);
	imap_resume(imap, conf, login, log);
	take_turn(warm, imap);
	return imap;
}

static size_t octets_of(const struct ledger *ledger)
{
	return ledger ? ledger->room * sizeof *ledger->rows + buf_len(&ledger->texts) : 0;
}

/* What is known stays with the mailbox if it is not much. */
static void keep_ledger(struct imap_warm *warm, struct parked *parked, bool is_pure)
{
	size_t octets = octets_of(parked->imap->kept);

	if (!is_pure || octets > LEDGER_OCTETS || warm->octets + octets > warm->conf.octets) {
		imap_keep(parked->imap, NULL);
		octets = 0;
	}
	parked->octets = octets;
	warm->octets += octets;
}

/* The oldest go, at the next look. */
static void shrink(struct imap_warm *warm)
{
	struct parked *parked = warm->oldest;

	for (size_t n = warm->conf.most; n < warm->count; n++, parked = parked->newer)
		parked->is_unwelcome = true;
}

bool imap_warm_park(struct imap_warm *warm, struct imap *imap, bool is_pure)
{
	if (!warm || !warm->conf.keep_ms || !warm->conf.most ||
	    warm->count / 2 >= warm->conf.most || imap->warm_generation != warm->generation ||
	    !is_newest(warm, imap) || find(warm, &imap->conf))
		return false;
	uint64_t now = warm->env->ops->now(warm->env);
	if (now - imap->proved_ms >= LIFE_MS)
		return false;
	struct parked *parked = mem_alloc(sizeof *parked);
	*parked = (struct parked){
		.imap = imap,
		.name = text_dup(name_of(&imap->conf)),
		.key = key_of(&imap->conf, &imap->login),
		.since_ms = now,
	};
	keep_ledger(warm, parked, is_pure);
	imap_suspend(imap, warm->log);
	parked->heard_ms = imap->heard_ms;
	list(warm, parked);
	shrink(warm);
	LOG(warm->log, LEVEL_DEBUG, "imap-parked", log_number("parked", warm->count));
	return true;
}

void imap_warm_opened(struct imap_warm *warm, struct imap *imap)
{
	if (!warm || !warm->conf.keep_ms)
		return;
	imap->warm_generation = warm->generation;
	imap->proved_ms = warm->env->ops->now(warm->env);
	take_turn(warm, imap);
	prove(warm, &imap->login, imap->proof);
	struct parked *parked = find(warm, &imap->conf);
	if (!parked)
		return;
	if (parked->is_busy) {
		parked->is_unwelcome = true;
		return;
	}
	unlist(warm, parked);
	end(warm, parked);
}

void imap_warm_doubt(struct imap_warm *warm, const struct upstream_conf *conf)
{
	struct parked *parked = warm ? find(warm, conf) : NULL;

	if (parked)
		parked->is_unwelcome = true;
}

bool imap_warm_close_one(struct imap_warm *warm, const char *account)
{
	struct parked *parked = warm->oldest;

	while (parked && (parked->is_busy || !parked->imap->client.seat ||
			  strcmp(parked->imap->client.seat, account) != 0))
		parked = parked->newer;
	if (!parked)
		return false;
	unlist(warm, parked);
	end(warm, parked);
	return true;
}

void imap_warm_drop(struct imap_warm *warm)
{
	if (!warm)
		return;
	warm->generation++;
	for (struct parked *parked = warm->oldest; parked; parked = parked->newer)
		parked->is_unwelcome = true;
}

/* --- tended ------------------------------------------------------------------------------- */

static bool is_over(const struct imap_warm *warm, const struct parked *parked, uint64_t now)
{
	const char *seat = parked->imap->client.seat;

	return parked->is_unwelcome || now - parked->since_ms >= warm->conf.keep_ms ||
	       (seat && imap_budget_is_wanted(warm->budget, seat, now));
}

/* Whether the server is to be spoken to. */
static bool is_silent(const struct imap_warm *warm, const struct parked *parked, uint64_t now)
{
	const struct imap_client *client = &parked->imap->client;

	if (client->idle_tag)
		return now - parked->heard_ms >= warm->conf.fresh_ms;
	if (client->caps & CAP_IDLE && warm->conf.fresh_ms)
		return now - parked->since_ms >= REST_MS;
	return now - parked->heard_ms >= ALIVE_MS;
}

struct parked *imap_warm_due(struct imap_warm *warm)
{
	uint64_t now = warm->env->ops->now(warm->env);

	if (!warm->is_looking)
		warm->next_due = warm->oldest;
	warm->is_looking = true;
	while (warm->next_due) {
		struct parked *parked = warm->next_due;
		warm->next_due = parked->newer;
		if (!parked->is_busy &&
		    (is_over(warm, parked, now) || is_silent(warm, parked, now))) {
			parked->is_busy = true;
			return parked;
		}
	}
	warm->is_looking = false;
	return NULL;
}

void imap_warm_tend(struct imap_warm *warm, struct parked *parked)
{
	uint64_t now = warm->env->ops->now(warm->env);
	struct imap_client *client = &parked->imap->client;
	struct err err = OK;

	if (!is_over(warm, parked, now)) {
		/* Ends what IDLE there is. */
		client->until_ms = 0;
		err = client->caps & CAP_IDLE && warm->conf.fresh_ms
			      ? imap_idle_begin(client)
			      : imap_command(client, PHASE_POLL, "NOOP");
		imap_client_trim(client);
	}
	parked->is_busy = false;
	if (!err.kind && imap_client_is_alive(client) && !client->is_throttled &&
	    !is_over(warm, parked, now)) {
		parked->heard_ms = warm->env->ops->now(warm->env);
		return;
	}
	unlist(warm, parked);
	end(warm, parked);
}
