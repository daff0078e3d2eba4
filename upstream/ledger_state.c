/* SPDX-License-Identifier: MIT */
/* ledger_state.c - pages of rows from the state and back.
 *
 * The head guards all pages of its epoch: whoever writes a page writes the head with it, at the
 * version that it was read with, and with a new stamp. So a version says of all rows whether they
 * are still as they were read, and pages need no versions of their own.
 *
 * Head and pages are neighbours in the state, so that one walk reads them, as of one moment. Pages are
 * decoded on the pool, in the visits of one walk, and packed there too; a head is small
 * enough for anywhere.
 */
#include "upstream/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/ledger_page.h"

enum { TRIES = 50 /* of something that somebody else keeps being faster at */ };

static struct err no_memory(void)
{
	return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
}

static struct err is_broken(void)
{
	return ERR(ERR_UPSTREAM, EBADMSG, "what is kept of this mailbox is damaged");
}

static struct err is_busy(void)
{
	return ERR(ERR_UPSTREAM, EAGAIN, "what is kept of this mailbox keeps changing");
}

static struct err bad_name(void)
{
	return ERR(ERR_UPSTREAM, ENAMETOOLONG, "name too long");
}

/* --- loading ------------------------------------------------------------------------------ */

/* As if nothing had been read. */
static void ledger_clear(struct ledger *ledger)
{
	ledger_forget(ledger);
	ledger->head = (struct ledger_head){0};
	ledger->version = 0;
	ledger->is_begun = ledger->has_leavings = false;
}

struct err ledger_load_head(struct ledger *ledger, struct state_store *store, const struct env *env)
{
	char key[STATE_KEY + 1];
	struct buf value;

	ledger_clear(ledger);
	if (!ledger_key_head(key, ledger->name))
		return bad_name();
	buf_init(&value, STATE_VALUE);
	struct err err = store->ops->get(store, env, key, &value, &ledger->version);
	if (!err.kind && ledger->version &&
	    !ledger_head_unpack(&ledger->head, &ledger->elsewhere, buf_data(&value),
				buf_len(&value))) {
		ledger->head = (struct ledger_head){0};
		ledger->elsewhere = 0;
		err = is_broken();
	}
	buf_fini(&value);
	return err;
}

static void visit_head(struct ledger_loading *loading, const void *value, size_t len,
		       uint64_t version)
{
	struct ledger *ledger = loading->ledger;

	ledger->version = version;
	if (!ledger_head_unpack(&ledger->head, &loading->expected, value, len))
		loading->is_bad = true;
	/* No more than MAILDROP_MESSAGES, and some for those that are new. */
	else if (!ledger_reserve(ledger, (size_t)loading->expected + LEDGER_PAGE))
		loading->is_full = true;
}

/* The head comes first, then the pages, epoch after epoch. */
static bool visit_load(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct ledger_loading *loading = arg;
	struct ledger *ledger = loading->ledger;
	uint32_t epoch, page;

	if (!key[strlen(loading->prefix)]) {
		visit_head(loading, value, len, version);
		return !loading->is_bad && !loading->is_full;
	}
	if (!ledger->version)
		return false; /* a head that was lost has left them */
	bool is_key = ledger_key_read(key, ledger->name, &epoch, &page);
	if (is_key && epoch > ledger->head.epoch)
		return false;
	if (is_key && epoch < ledger->head.epoch) {
		ledger->has_leavings = true;
		return true;
	}
	if (!is_key || page < loading->next ||
	    !ledger_page_unpack(ledger, page, value, len, &loading->is_full))
		loading->is_bad = true;
	loading->next = page + 1;
	return !loading->is_bad && !loading->is_full;
}

struct err ledger_load_begin(struct ledger_loading *loading, struct ledger *ledger,
			     struct state_range *range)
{
	*loading = (struct ledger_loading){.ledger = ledger};
	ledger_clear(ledger);
	if (!ledger_key_head(loading->prefix, ledger->name))
		return bad_name();
	*range = (struct state_range){loading->prefix, visit_load, loading};
	return OK;
}

struct err ledger_load_end(struct ledger_loading *loading, struct err walked)
{
	struct ledger *ledger = loading->ledger;
	uint64_t version = ledger->version;
	struct err err = walked;

	if (!err.kind && loading->is_full)
		err = no_memory();
	if (!err.kind && (loading->is_bad || ledger->count != loading->expected))
		err = is_broken();
	if (!err.kind)
		return OK;
	ledger_clear(ledger);
	/* What makes no sense may be overwritten, as it lay there. */
	ledger->version = walked.kind ? 0 : version;
	return err;
}

struct err ledger_load(struct ledger *ledger, struct state_store *store, const struct env *env)
{
	struct ledger_loading loading;
	struct state_range range;

	TRY(ledger_load_begin(&loading, ledger, &range));
	return ledger_load_end(&loading, store->ops->walk(store, env, &range, 1));
}

/* --- saving ------------------------------------------------------------------------------- */

/* Head and dirty pages as they will lie in the state. */
struct saving {
	struct ledger *ledger;
	unsigned char stamp[LEDGER_STAMP];
	struct state_change *changes; /* owned; [0] is the head; keys are owned */
	struct buf *values;           /* owned, as many */
	size_t count, room;
	bool is_full;
};

static void saving_fini(struct saving *saving)
{
	for (size_t i = 0; i < saving->count; i++) {
		free((char *)(uintptr_t)saving->changes[i].key);
		buf_fini(&saving->values[i]);
	}
	free(saving->changes);
	free(saving->values);
}

static void add_change(struct saving *saving, const char *key, uint64_t was)
{
	if (saving->count == saving->room) {
		saving->room = saving->room * 2 + 16;
		saving->changes =
			mem_resize(saving->changes, saving->room, sizeof *saving->changes);
		saving->values = mem_resize(saving->values, saving->room, sizeof *saving->values);
	}
	saving->changes[saving->count] = (struct state_change){.key = text_dup(key), .was = was};
	buf_init(&saving->values[saving->count], STATE_VALUE);
	saving->count++;
}

static void pack_page(struct saving *saving, uint32_t page)
{
	struct ledger *ledger = saving->ledger;
	char key[STATE_KEY + 1];
	uint64_t beyond = ((uint64_t)page + 1) * LEDGER_PAGE;
	size_t first = ledger_place(ledger, page * LEDGER_PAGE);
	size_t end = beyond > UINT32_MAX ? ledger->count : ledger_place(ledger, (uint32_t)beyond);

	if (!ledger_key_page(key, ledger->name, ledger->head.epoch, page)) {
		saving->is_full = true;
		return;
	}
	add_change(saving, key, STATE_ANY);
	if (end > first && !ledger_page_pack(&saving->values[saving->count - 1], ledger,
					     ledger->rows + first, end - first))
		saving->is_full = true;
}

/* On the pool: some 10 ms for 100,000 rows. */
static void work_pack(void *arg)
{
	struct saving *saving = arg;
	struct ledger *ledger = saving->ledger;

	if (!ledger_head_pack(&saving->values[0], &ledger->head, ledger->elsewhere + ledger->count,
			      saving->stamp))
		saving->is_full = true;
	for (size_t i = 0; i < ledger->dirty_count; i++)
		pack_page(saving, ledger->dirty[i]);
	for (size_t i = 0; i < saving->count; i++) {
		saving->changes[i].value = buf_data(&saving->values[i]);
		saving->changes[i].len = buf_len(&saving->values[i]);
	}
}

/* Pages that lie where a new epoch begins, from a ledger whose head was lost. */
static bool visit_leftover(void *arg, const char *key, const void *value, size_t len,
			   uint64_t version)
{
	struct ledger *ledger = arg;
	uint32_t epoch, page;

	(void)value;
	(void)len;
	(void)version;
	if (ledger_key_read(key, ledger->name, &epoch, &page) && epoch == ledger->head.epoch)
		(void)ledger_touch_page(ledger, page);
	return true;
}

static struct err find_leftovers(struct ledger *ledger, struct state_store *store,
				 const struct env *env)
{
	char key[STATE_KEY + 1];

	if (!ledger_key_epoch(key, ledger->name, ledger->head.epoch))
		return bad_name();
	const struct state_range range = {key, visit_leftover, ledger};
	return store->ops->walk(store, env, &range, 1);
}

/* A put does not tell the new version. If the head that lies there now is ours, its version is; if
 * not, somebody else was faster, and the old version makes the next save stale, as it must be. */
static void learn_version(struct saving *saving, struct state_store *store, const struct env *env)
{
	struct buf value;
	uint64_t version;

	buf_init(&value, STATE_VALUE);
	struct err err = store->ops->get(store, env, saving->changes[0].key, &value, &version);
	if (!err.kind && version && buf_len(&value) == saving->changes[0].len &&
	    memcmp(buf_data(&value), saving->changes[0].value, buf_len(&value)) == 0)
		saving->ledger->version = version;
	buf_fini(&value);
}

struct err ledger_save(struct ledger *ledger, struct state_store *store, const struct env *env,
		       bool *is_stale)
{
	struct saving saving = {.ledger = ledger};
	char key[STATE_KEY + 1];

	*is_stale = false;
	if (!ledger_key_head(key, ledger->name))
		return bad_name();
	if (ledger->is_begun || !ledger->version)
		TRY(find_leftovers(ledger, store, env));
	add_change(&saving, key, ledger->version);
	env->ops->random(env, saving.stamp, sizeof saving.stamp);
	env->ops->offload(env, work_pack, &saving);
	struct err err = saving.is_full ? no_memory() : OK;
	if (!err.kind)
		err = store->ops->put(store, env, saving.changes, saving.count, is_stale);
	if (!err.kind && !*is_stale) {
		ledger->dirty_count = 0;
		ledger->is_begun = false;
		learn_version(&saving, store, env);
	}
	saving_fini(&saving);
	return err;
}

/* --- single rows -------------------------------------------------------------------------- */

static struct err load_page(struct ledger *ledger, struct state_store *store, const struct env *env,
			    uint32_t page)
{
	char key[STATE_KEY + 1];
	struct buf value;
	uint64_t version;
	bool is_full = false, is_good = true;
	size_t before = ledger->count;

	if (!ledger_key_page(key, ledger->name, ledger->head.epoch, page))
		return bad_name();
	buf_init(&value, STATE_VALUE);
	struct err err = store->ops->get(store, env, key, &value, &version);
	if (!err.kind && version)
		is_good = ledger_page_unpack(ledger, page, buf_data(&value), buf_len(&value),
					     &is_full);
	buf_fini(&value);
	if (err.kind)
		return err;
	if (is_full)
		return no_memory();
	if (!is_good || ledger->count - before > ledger->elsewhere)
		return is_broken();
	ledger->elsewhere -= ledger->count - before;
	return OK;
}

/* One try of ledger_change() on a ledger of the touched pages alone. */
static struct err change_once(struct ledger *ledger, struct state_store *store,
			      const struct env *env, const uint32_t *uids, size_t count,
			      void (*change)(void *, struct ledger *, struct ledger_row *),
			      void *arg, bool *is_stale)
{
	for (size_t i = 0; i < count; i++)
		if (!i || uids[i] / LEDGER_PAGE != uids[i - 1] / LEDGER_PAGE)
			TRY(load_page(ledger, store, env, uids[i] / LEDGER_PAGE));
	for (size_t i = 0; i < count; i++) {
		struct ledger_row *row = ledger_find(ledger, uids[i]);
		if (!row)
			continue;
		ledger_touch(ledger, uids[i]);
		change(arg, ledger, row);
	}
	*is_stale = false;
	return ledger->dirty_count ? ledger_save(ledger, store, env, is_stale) : OK;
}

struct err ledger_change(struct state_store *store, const struct env *env, const char *name,
			 uint32_t epoch, const uint32_t *uids, size_t count,
			 void (*change)(void *arg, struct ledger *, struct ledger_row *), void *arg)
{
	for (int tries = 0; tries < TRIES; tries++) {
		struct ledger ledger;
		bool is_stale = false;

		ledger_init(&ledger, name);
		struct err err = ledger_load_head(&ledger, store, env);
		if (!err.kind && ledger.version && ledger.head.epoch == epoch)
			err = change_once(&ledger, store, env, uids, count, change, arg, &is_stale);
		/* A page that does not fit its head may be one of a faster one's. */
		bool is_again = is_stale || (err.kind && err.code == EBADMSG && tries < 3);
		ledger_fini(&ledger);
		if (!is_again)
			return err;
	}
	return is_busy();
}

/* --- old epochs --------------------------------------------------------------------------- */

/* Keys of rows to be erased, gathered on the pool, some at a time. */
enum { SWEEP = 1000 };
struct sweeping {
	const char *name;
	size_t prefix_len;
	uint32_t epoch;
	char *keys[SWEEP];
	size_t count;
};

static bool visit_old(void *arg, const char *key, const void *value, size_t len, uint64_t version)
{
	struct sweeping *sweeping = arg;
	uint32_t epoch, page;

	(void)value;
	(void)len;
	(void)version;
	if (!key[sweeping->prefix_len])
		return true; /* the head */
	/* Keys ascend, epochs with them. */
	if (ledger_key_read(key, sweeping->name, &epoch, &page) && epoch >= sweeping->epoch)
		return false;
	sweeping->keys[sweeping->count++] = text_dup(key);
	return sweeping->count < SWEEP;
}

static struct err erase(struct state_store *store, const struct env *env,
			const struct sweeping *sweeping)
{
	struct state_change *changes = mem_alloc(sweeping->count * sizeof *changes);
	bool is_stale;

	for (size_t i = 0; i < sweeping->count; i++)
		changes[i] = (struct state_change){.key = sweeping->keys[i], .was = STATE_ANY};
	struct err err = store->ops->put(store, env, changes, sweeping->count, &is_stale);
	free(changes);
	return err;
}

struct err ledger_sweep(struct state_store *store, const struct env *env, const char *name,
			uint32_t epoch)
{
	struct sweeping *sweeping = mem_alloc(sizeof *sweeping);
	char key[STATE_KEY + 1];
	struct err err = ledger_key_head(key, name) ? OK : bad_name();
	const struct state_range range = {key, visit_old, sweeping};
	bool is_more = !err.kind;

	sweeping->name = name;
	sweeping->prefix_len = strlen(key);
	sweeping->epoch = epoch;
	while (is_more) {
		sweeping->count = 0;
		err = store->ops->walk(store, env, &range, 1);
		if (!err.kind && sweeping->count)
			err = erase(store, env, sweeping);
		is_more = !err.kind && sweeping->count == SWEEP;
		for (size_t i = 0; i < sweeping->count; i++)
			free(sweeping->keys[i]);
	}
	free(sweeping);
	return err;
}
