/* SPDX-License-Identifier: MIT */
/* imap_budget.c - how many connections an account has at its server.
 *
 * A row is an account that has any. Who waits looks again every 50 ms, as for a lock (lock.c): it is
 * rare, and who is wanted on another worker is told of it by the table alone.
 */
#include "upstream/imap_budget.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/lru.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/imap_quirks.h"
#include "upstream/imap_warm.h"

enum {
	CONNECTIONS = 3, /* of an account at a server that nothing is known of */
	WAIT_MS = 5000,
	KNOCK_MS = 1000,
	LOOK_MS = 50,
	WANTED_MS = 2000,
};

struct row {
	unsigned count, knocking;
	uint64_t wanted_ms; /* when the newest login found no room; 0: none did */
};

struct imap_budget {
	pthread_mutex_t mutex; /* of all below */
	unsigned holders;
	/* The newest of all rows: mostly nobody wants anything, and no lock is needed to know it. */
	_Atomic uint64_t wanted_ms;
	struct lru *rows; /* of struct row */
};

struct imap_budget *imap_budget_new(void)
{
	struct imap_budget *budget = mem_alloc(sizeof *budget);

	pthread_mutex_init(&budget->mutex, NULL);
	budget->holders = 1;
	budget->rows = lru_new(sizeof(struct row), SIZE_MAX);
	return budget;
}

struct imap_budget *imap_budget_hold(struct imap_budget *budget)
{
	pthread_mutex_lock(&budget->mutex);
	budget->holders++;
	pthread_mutex_unlock(&budget->mutex);
	return budget;
}

void imap_budget_release(struct imap_budget *budget)
{
	if (!budget)
		return;
	pthread_mutex_lock(&budget->mutex);
	unsigned left = --budget->holders;
	pthread_mutex_unlock(&budget->mutex);
	if (left)
		return;
	pthread_mutex_destroy(&budget->mutex);
	lru_free(budget->rows);
	free(budget);
}

bool imap_budget_take(struct imap_budget *budget, const char *account, unsigned most,
		      uint64_t now_ms)
{
	pthread_mutex_lock(&budget->mutex);
	struct row *row = lru_touch(budget->rows, account);
	bool has_room = row->count < most;
	if (has_room)
		row->count++;
	else
		atomic_store(&budget->wanted_ms, row->wanted_ms = now_ms + 1);
	pthread_mutex_unlock(&budget->mutex);
	return has_room;
}

enum budget_room imap_budget_knock(struct imap_budget *budget, const char *account, unsigned most,
				   uint64_t now_ms, bool is_patient)
{
	enum budget_room room = BUDGET_ROOM;

	pthread_mutex_lock(&budget->mutex);
	struct row *row = lru_touch(budget->rows, account);
	if (row->count >= most)
		room = BUDGET_FULL;
	else if (is_patient && row->count + row->knocking >= most)
		room = BUDGET_SOON;
	if (room == BUDGET_ROOM)
		row->knocking++;
	if (room == BUDGET_FULL)
		atomic_store(&budget->wanted_ms, row->wanted_ms = now_ms + 1);
	pthread_mutex_unlock(&budget->mutex);
	return room;
}

static void give(struct imap_budget *budget, const char *account, unsigned count, unsigned knocking)
{
	pthread_mutex_lock(&budget->mutex);
	struct row *row = lru_find(budget->rows, account);
	if (row) {
		row->count -= count;
		row->knocking -= knocking;
		if (!row->count && !row->knocking)
			lru_drop(budget->rows, account);
	}
	pthread_mutex_unlock(&budget->mutex);
}

void imap_budget_give(struct imap_budget *budget, const char *account)
{
	give(budget, account, 1, 0);
}

void imap_budget_turn_away(struct imap_budget *budget, const char *account)
{
	give(budget, account, 0, 1);
}

bool imap_budget_is_wanted(struct imap_budget *budget, const char *account, uint64_t now_ms)
{
	uint64_t newest_ms = atomic_load(&budget->wanted_ms);

	if (!newest_ms || now_ms >= newest_ms + WANTED_MS)
		return false;
	pthread_mutex_lock(&budget->mutex);
	const struct row *row = lru_find(budget->rows, account);
	bool is_wanted = row && row->wanted_ms && now_ms < row->wanted_ms + WANTED_MS;
	pthread_mutex_unlock(&budget->mutex);
	return is_wanted;
}

/* --- for a connection --------------------------------------------------------------------- */

/* What servers allow an account, by their row of quirks: told by their makers, or the default of those whom
 * anybody may run. */
static const struct {
	const char *quirks;
	unsigned connections;
} known[] = {{"gmail", 15}, {"outlook", 16}, {"exchange", 16}, {"yahoo", 5}, {"dovecot", 10}};

static unsigned most_of(const struct upstream_conf *conf)
{
	struct imap_memo memo = imap_memo_get(conf->memos, conf);
	const struct imap_quirks *quirks = conf->quirks ? conf->quirks : memo.quirks;

	if (conf->connections)
		return conf->connections;
	for (size_t i = 0; quirks && i < sizeof known / sizeof *known; i++)
		if (!strcmp(quirks->name, known[i].quirks))
			return known[i].connections;
	return CONNECTIONS;
}

static char *account_dup(const struct upstream_conf *conf, const struct login *login)
{
	char *host = text_dup(conf->host);

	text_lower(host);
	char *account = text_printf_dup("%s:%u\t%s", host, conf->port, login->user);
	free(host);
	return account;
}

/* Takes a place, or knocks. */
static struct err find_room(struct imap_client *client, const struct upstream_conf *conf,
			    const struct login *login, const char *account, bool is_proved)
{
	struct imap_budget *budget = imap_warm_budget(conf->warm);
	const struct env *env = client->env;
	unsigned most = most_of(conf);
	uint64_t began_ms = env->ops->now(env), now_ms = began_ms;

	for (; now_ms < began_ms + WAIT_MS; now_ms = env->ops->now(env)) {
		enum budget_room room;
		if (is_proved)
			room = imap_budget_take(budget, account, most, now_ms) ? BUDGET_ROOM
									       : BUDGET_FULL;
		else
			room = imap_budget_knock(budget, account, most, now_ms,
						 now_ms < began_ms + KNOCK_MS);
		if (room == BUDGET_ROOM)
			return OK;
		if (room == BUDGET_SOON || !imap_warm_close_one(conf->warm, account))
			env->ops->sleep(env, LOOK_MS);
	}
	LOG(client->log, LEVEL_WARN, "imap-connections-used-up", log_text("host", conf->host),
	    log_text("login", login->user), log_number("most", most));
	return ERR(ERR_UPSTREAM, EBUSY, "the account has as many connections as it may");
}

struct err imap_budget_enter(struct imap_client *client, const struct upstream_conf *conf,
			     const struct login *login)
{
	if (!imap_warm_budget(conf->warm))
		return OK;
	char *account = account_dup(conf, login);
	struct err err = find_room(client, conf, login, account, login->is_stored);
	if (err.kind) {
		free(account);
		return err;
	}
	client->warm = conf->warm;
	client->seat = account;
	client->is_knocking = !login->is_stored;
	return OK;
}

struct err imap_budget_prove(struct imap_client *client, const struct upstream_conf *conf,
			     const struct login *login)
{
	if (!client->is_knocking)
		return OK;
	TRY(find_room(client, conf, login, client->seat, true));
	imap_budget_turn_away(imap_warm_budget(client->warm), client->seat);
	client->is_knocking = false;
	return OK;
}

void imap_budget_leave(struct imap_client *client)
{
	if (client->seat && client->is_knocking)
		imap_budget_turn_away(imap_warm_budget(client->warm), client->seat);
	else if (client->seat)
		imap_budget_give(imap_warm_budget(client->warm), client->seat);
	free(client->seat);
	client->seat = NULL;
	client->is_knocking = false;
}
