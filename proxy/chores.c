/* SPDX-License-Identifier: MIT */
/* chores.c - what is done without a client.
 *
 * Whoever wants to log in comes first (G-08). A name that holds a maildrop is not visited: its session
 * has done the same. While the lock is held here it says "in UPDATE", so that a client waits for it
 * rather than being refused, and the connection is cut as soon as somebody waits: what was not done by
 * then is still in the journal, and the session that waits does it.
 */
#include "proxy/chores.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/account.h"
#include "proxy/base/mem.h"
#include "proxy/worker.h"
#include "upstream/journal.h"

/* --- one name ----------------------------------------------------------------------------- */

struct visit {
	const struct chores *chores;
	struct lock *lock;
	struct upstream *upstream;
	bool is_listing, is_cut;
};

static bool is_wanted(const void *arg)
{
	const struct visit *visit = arg;

	return visit->chores->is_ending || lock_is_wanted(visit->lock);
}

static bool is_listing(void *arg)
{
	return ((struct visit *)arg)->is_listing;
}

static void cut(void *arg)
{
	struct visit *visit = arg;

	if (!visit->is_listing || !visit->upstream->ops->cut)
		return;
	visit->is_cut = true;
	visit->upstream->ops->cut(visit->upstream);
}

/* Opens the store, lists, which replays, and closes. ERR_IN_USE: a session has the maildrop, and
 * has done the same. */
static struct err visit_store(struct chores *chores, struct account *account, struct notice *why)
{
	const struct upstream_ops *ops = account->upstream.ops;
	struct visit visit = {.chores = chores};
	const struct lock_holder holder = {.name = account->name,
					   .is_background = true,
					   .is_idle = is_listing,
					   .evict = cut,
					   .arg = &visit};
	struct upstream *upstream;
	struct maildrop drop;

	if (lock_is_held_by(chores->locks, account->name))
		return ERR(ERR_IN_USE, EBUSY, "maildrop is in use by a session");
	account->upstream.measure_sizes = false; /* that is for whoever reads */
	TRY(ops->open(chores->env, chores->log, &account->upstream, &account->login, why,
		      &upstream));
	maildrop_init(&drop);
	struct err err = lock_take(chores->locks, chores->env, upstream->identity, &holder, 0, 0,
				   &visit.lock);
	bool is_held = !err.kind;
	if (is_held) {
		lock_in_update(visit.lock);
		visit.upstream = upstream;
		chores->visit = &visit;
		visit.is_listing = true;
		err = ops->list(upstream, &drop);
		visit.is_listing = false;
		chores->visit = NULL;
	}
	ops->close(upstream, is_held && !err.kind ? &drop : NULL, is_wanted, &visit);
	if (is_held)
		lock_release(visit.lock);
	maildrop_fini(&drop);
	return visit.is_cut && err.kind ? ERR(ERR_IN_USE, EINTR, "gave way to a session") : err;
}

/* How many records of a name are left. */
static struct err count_left(struct chores *chores, const char *name, size_t *left)
{
	struct journal *journals;

	TRY(journal_read(chores->state, chores->env, name, &journals, left));
	journal_free(journals, *left);
	return OK;
}

static void put_off(struct chores *chores, struct chore *chore, uint64_t pause_ms)
{
	chore->pause_ms = pause_ms < CHORES_DAY_MS ? pause_ms : CHORES_DAY_MS;
	chore->next_ms = chores->env->ops->now(chores->env) + chore->pause_ms;
}

static void note_failure(struct chores *chores, struct chore *chore, struct err err,
			 const struct notice *why)
{
	chore->failures++;
	put_off(chores, chore, chore->pause_ms ? chore->pause_ms * 2 : chores->every_ms);
	LOG(chores->log, chore->pause_ms < CHORES_DAY_MS ? LEVEL_WARN : LEVEL_ALARM,
	    "replay-failed", log_text("user", chore->name),
	    log_text("what", err.kind ? err.what : "some promised deletions are not done"),
	    log_text("why", why->text), log_number("code", (uint64_t)(unsigned)err.code),
	    log_number("failures", chore->failures), log_number("again_s", chore->pause_ms / 1000));
}

/* A name that the map does not know: nobody will ever come for what was promised. */
static void note_orphan(struct chores *chores, struct chore *chore, const struct notice *why)
{
	put_off(chores, chore, CHORES_DAY_MS);
	chore->pause_ms = 0;
	LOG(chores->log, LEVEL_ALARM, "replay-impossible", log_text("user", chore->name),
	    log_text("why", why->text),
	    log_text("hint", "promised deletions of a name that the map does not open"));
}

static void do_chore(struct chores *chores, struct chore *chore)
{
	struct notice why = {""};
	struct account *account;
	size_t left = 0;

	struct err err = chores->find(chores->arg, chore->name, &why, &account);
	if (err.kind == ERR_LOGIN) {
		note_orphan(chores, chore, &why);
		return;
	}
	if (err.kind == ERR_REFUSED)
		return;
	if (!err.kind) {
		err = visit_store(chores, account, &why);
		chores->free_account(account);
	}
	if (err.kind == ERR_IN_USE)
		return;
	struct err unread = count_left(chores, chore->name, &left);
	if (!err.kind)
		err = unread;
	if (err.kind || left) {
		note_failure(chores, chore, err, &why);
		return;
	}
	chore->failures = 0;
	chore->pause_ms = 0;
	LOG(chores->log, LEVEL_NOTE, "replayed", log_text("user", chore->name));
}

/* --- all names ---------------------------------------------------------------------------- */

static bool is_ours(const struct chores *chores, const char *name)
{
	return !chores->is_ours || chores->is_ours(chores->arg, name);
}

static struct chore *find_chore(struct chores *chores, const char *name)
{
	for (size_t i = 0; i < chores->count; i++)
		if (strcmp(chores->all[i].name, name) == 0)
			return &chores->all[i];
	chores->all = mem_resize(chores->all, chores->count + 1, sizeof *chores->all);
	struct chore *chore = &chores->all[chores->count++];
	*chore = (struct chore){.name = text_dup(name)};
	return chore;
}

/* What is no longer in the journal has no past either. */
static void forget_done(struct chores *chores)
{
	size_t kept = 0;

	for (size_t i = 0; i < chores->count; i++)
		if (chores->all[i].is_there)
			chores->all[kept++] = chores->all[i];
		else
			free(chores->all[i].name);
	chores->count = kept;
}

void chores_pass(struct chores *chores)
{
	size_t count;
	char **names;

	if (chores->tokens)
		tokens_store_late(chores->tokens, chores->env);
	for (size_t i = 0; i < chores->count; i++)
		chores->all[i].is_there = false;
	struct err err = journal_names(chores->state, chores->env, &names, &count);
	if (err.kind) {
		log_err(chores->log, LEVEL_ALARM, "journal-unreadable", err);
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (is_ours(chores, names[i]))
			find_chore(chores, names[i])->is_there = true;
	journal_names_free(names, count);
	forget_done(chores);
	/* Each may take a minute: meanwhile a reload may have moved the next one to another worker. */
	for (size_t i = 0; i < chores->count && !chores->is_ending; i++)
		if (chores->all[i].next_ms <= chores->env->ops->now(chores->env) &&
		    is_ours(chores, chores->all[i].name))
			do_chore(chores, &chores->all[i]);
}

void chores_fini(struct chores *chores)
{
	for (size_t i = 0; i < chores->count; i++)
		free(chores->all[i].name);
	free(chores->all);
	*chores = (struct chores){0};
}

/* --- a fiber that does it ----------------------------------------------------------------- */

struct chores_fiber {
	struct chores chores;
	struct worker *worker; /* borrowed */
	struct gate gate;
	struct log log;
	struct fiber *fiber;
	uv_timer_t timer;
	bool is_due;
	void (*on_end)(void *arg);
	void *arg;
};

static struct err find_account(void *arg, const char *name, struct notice *why,
			       struct account **out)
{
	struct chores_fiber *fiber = arg;

	return account_unattended(&fiber->gate, fiber->chores.env, &fiber->log, name, why, out);
}

static bool is_at_home(void *arg, const char *name)
{
	const struct gate *gate = &((struct chores_fiber *)arg)->gate;

	return place_of(gate->places, *gate->map, name) == gate->here;
}

static void on_time(uv_timer_t *timer)
{
	struct chores_fiber *fiber = timer->data;

	fiber->is_due = true;
	fiber_wake(&fiber->worker->fibers, fiber->fiber);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void chores_run(void *arg)
{
	struct chores_fiber *fiber = arg;

	fiber->fiber = fiber->worker->fibers.current;
	while (!fiber->chores.is_ending) {
		chores_pass(&fiber->chores);
		fiber->is_due = false;
		uv_timer_start(&fiber->timer, on_time, fiber->chores.every_ms, 0);
		while (!fiber->is_due && !fiber->chores.is_ending)
			fiber_wait(&fiber->worker->fibers, "chores");
	}
	chores_fini(&fiber->chores);
	fiber->on_end(fiber->arg);
	uv_close((uv_handle_t *)&fiber->timer, on_closed);
}

struct chores_fiber *chores_begin(struct worker *worker, const struct places *places, unsigned here,
				  uint64_t every_ms, void (*on_end)(void *arg), void *arg)
{
	static const struct sockaddr_storage nowhere = {0};
	struct chores_fiber *fiber = mem_alloc(sizeof *fiber);

	fiber->worker = worker;
	fiber->on_end = on_end;
	fiber->arg = arg;
	fiber->log = worker->log;
	gate_init(&fiber->gate, &worker->map, "", &nowhere);
	fiber->gate.state = worker->state;
	fiber->gate.health = worker->health;
	fiber->gate.memos = worker->memos;
	fiber->gate.warm = worker->warm;
	fiber->gate.tokens = worker->tokens;
	fiber->gate.profiles = &worker->profiles;
	fiber->gate.places = places;
	fiber->gate.here = here;
	fiber->chores = (struct chores){
		.env = &worker->world.env,
		.log = &fiber->log,
		.locks = worker->locks,
		.state = worker->state,
		.tokens = worker->is_guest ? NULL : worker->tokens, /* once is enough */
		.find = find_account,
		.free_account = fiber->gate.accounts.ops->free,
		.is_ours = is_at_home,
		.arg = fiber,
		.every_ms = every_ms,
	};
	uv_timer_init(&worker->loop, &fiber->timer);
	fiber->timer.data = fiber;
	struct err err = fiber_spawn(&worker->fibers, chores_run, fiber);
	if (!err.kind)
		return fiber;
	log_err(&worker->log, LEVEL_ALARM, "no-fiber", err);
	uv_close((uv_handle_t *)&fiber->timer, on_closed);
	return NULL;
}

void chores_end(struct chores_fiber *fiber)
{
	if (!fiber)
		return;
	fiber->chores.is_ending = true;
	if (fiber->chores.visit)
		cut(fiber->chores.visit);
	if (fiber->fiber)
		fiber_wake(&fiber->worker->fibers, fiber->fiber);
}
