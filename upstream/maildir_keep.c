/* SPDX-License-Identifier: MIT */
/* maildir_keep.c - what outlives a session of a Maildir: sizes that were counted, what is hidden, what was
 * retrieved and when.
 *
 * It lies in the ledger, as for an IMAP mailbox. A base name names its message for ever, so it is the
 * row's id, and the row's UID is a number of our own, in order of arrival as far as we saw it: that is
 * what "newest" means here. UIDLs are not made of it. Whoever loses the state directory loses no
 * identity.
 *
 * The ledger belongs to the name and not to the path: names of files are unique in the world, so a
 * Maildir that was moved keeps all. Only a name that was an IMAP mailbox before begins anew. A row goes
 * when its file is gone for sure, not when a search missed it: what was hidden would come back. */
#include "upstream/maildir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"

enum { TRIES = 3 /* when another session writes to the ledger meanwhile */ };

void maildir_memory_init(struct maildir_memory *memory, const struct maildir *md, bool is_quiet)
{
	*memory = (struct maildir_memory){
		.is_used = md->conf.state && md->conf.name,
		.is_whole = is_quiet,
	};
	ledger_init(&memory->ledger, md->conf.name ? md->conf.name : "");
}

void maildir_memory_fini(struct maildir_memory *memory)
{
	ledger_fini(&memory->ledger);
}

static struct err no_memory(void)
{
	return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
}

/* --- from the ledger ------------------------------------------------------------------------ */

struct recalling {
	struct maildir *md;
	struct maildir_memory *memory;
	uint64_t wall;
};

static bool is_due(const struct recalling *recalling, const struct ledger_row *row)
{
	uint64_t after = recalling->md->conf.delete_after_s, wall = recalling->wall;

	return row->retrieved_at && after != DELETE_AFTER_NEVER && wall >= row->retrieved_at &&
	       wall - row->retrieved_at >= after;
}

static void recall_file(const struct recalling *recalling, const struct ledger_row *row,
			struct maildir_file *file)
{
	struct maildir_name parts;

	file->number = row->uid;
	if (row->marks & LEDGER_PENDING)
		file->state |= MAILDIR_PENDING;
	else if (row->marks & LEDGER_HIDDEN)
		file->state |= MAILDIR_HIDDEN;
	if (is_due(recalling, row))
		file->state |= MAILDIR_DUE;
	maildir_name_parse(maildir_file_name(recalling->md, file), &parts);
	/* A size in the name was found wrong when the message was read (K-05). */
	if (row->exact && parts.has_octets) {
		file->octets = row->exact;
		file->state |= MAILDIR_SIZED | MAILDIR_EXACT;
	} else if (row->exact && !(file->state & MAILDIR_SIZED)) {
		file->octets = row->exact;
		file->raw = row->octets;
		file->state |= MAILDIR_RECALLED;
	}
}

static bool recall_row(void *arg, const struct ledger_row *row)
{
	const struct recalling *recalling = arg;
	const char *base = ledger_text(&recalling->memory->ledger, row->id);
	struct maildir_file *file = base ? maildir_find_base(recalling->md, base) : NULL;

	if (file)
		recall_file(recalling, row, file);
	return file || (base && !recalling->memory->is_whole);
}

static void recall_work(void *arg)
{
	struct recalling *recalling = arg;
	struct maildir *md = recalling->md;
	const unsigned old = MAILDIR_HIDDEN | MAILDIR_PENDING | MAILDIR_DUE | MAILDIR_RECALLED;

	for (size_t i = 0; i < md->count; i++) {
		md->files[i].number = 0;
		md->files[i].state &= (uint16_t)~old;
	}
	if (ledger_retain(&recalling->memory->ledger, recall_row, recalling))
		recalling->memory->is_changed = true;
}

struct err maildir_recall(struct maildir *md, struct maildir_memory *memory)
{
	const struct env *env = md->env;
	struct recalling recalling = {md, memory, 0};
	char place[IDENTITY_PLACE + 1];
	struct ledger fresh;

	if (!memory->is_used)
		return OK;
	memory->is_changed = memory->is_at_risk = false;
	struct err err = ledger_load(&memory->ledger, md->conf.state, env);
	if (err.kind) {
		log_err(md->log, LEVEL_ALARM, "ledger-not-read", err);
		return err;
	}
	/* No IMAP server has this name: one place for all Maildirs. */
	identity_place(place, "maildir:", 0, "", "");
	if (strcmp(memory->ledger.head.place, place) != 0) {
		ledger_init(&fresh, memory->ledger.name);
		ledger_begin_epoch(&fresh, &memory->ledger, place, 0);
		ledger_fini(&memory->ledger);
		memory->ledger = fresh;
	}
	recalling.wall = env->ops->wall(env);
	env->ops->offload(env, recall_work, &recalling);
	return OK;
}

/* --- and back ------------------------------------------------------------------------------- */

struct keeping {
	struct maildir *md;
	struct maildir_memory *memory;
	struct err err;
};

static struct err new_row(struct keeping *keeping, struct maildir_file *file)
{
	struct ledger *ledger = &keeping->memory->ledger;
	char base[MAILDIR_NAME_MAX + 1];

	if (!ledger->head.uidnext)
		ledger->head.uidnext = 1;
	if (ledger->head.uidnext == UINT32_MAX)
		return ERR(ERR_POLICY, EOVERFLOW, "no numbers are left for messages");
	memcpy(base, maildir_file_name(keeping->md, file), file->base_len);
	base[file->base_len] = '\0';
	struct ledger_row *row = ledger_row(ledger, ledger->head.uidnext);
	if (!row || !ledger_set_id(ledger, row, base))
		return no_memory();
	file->number = ledger->head.uidnext++;
	keeping->memory->is_changed = true;
	return OK;
}

static void keep_size(struct keeping *keeping, const struct maildir_file *file)
{
	struct ledger *ledger = &keeping->memory->ledger;
	struct ledger_row *row = ledger_find(ledger, file->number);

	if (!row || !(file->state & MAILDIR_COUNTED) || !file->octets)
		return;
	row->octets = file->raw;
	row->exact = file->octets;
	ledger_touch(ledger, row->uid);
	keeping->memory->is_changed = true;
}

static int downwards(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;

	return (one < two) - (one > two);
}

/* newest=: the lowest number that is shown. It only grows (see listing_settle() of IMAP). */
static struct err settle_edge(struct keeping *keeping)
{
	const struct maildir *md = keeping->md;
	struct ledger_head *head = &keeping->memory->ledger.head;
	size_t newest = md->conf.newest, count = 0;
	uint32_t *numbers = malloc(md->count * sizeof *numbers + 1);

	if (!numbers)
		return no_memory();
	for (size_t i = 0; i < md->count; i++) {
		const struct maildir_file *file = &md->files[i];
		if (!(file->state & MAILDIR_UNSHOWN) && file->number >= head->edge)
			numbers[count++] = file->number;
	}
	qsort(numbers, count, sizeof *numbers, downwards);
	if (newest && count >= newest && numbers[newest - 1] > head->edge) {
		head->edge = numbers[newest - 1];
		keeping->memory->is_changed = keeping->memory->is_at_risk = true;
	}
	free(numbers);
	return OK;
}

static void keep_work(void *arg)
{
	struct keeping *keeping = arg;
	struct maildir *md = keeping->md;

	for (size_t i = 0; i < md->count && !keeping->err.kind; i++) {
		struct maildir_file *file = &md->files[i];
		if (!file->number && !(file->state & MAILDIR_GONE))
			keeping->err = new_row(keeping, file);
		keep_size(keeping, file);
	}
	if (!keeping->err.kind && md->conf.newest)
		keeping->err = settle_edge(keeping);
}

static struct err keep_once(struct maildir *md, struct maildir_memory *memory, bool *is_stale)
{
	const struct env *env = md->env;
	struct ledger *ledger = &memory->ledger;
	struct keeping keeping = {md, memory, OK};
	bool is_new_epoch = ledger->is_begun && ledger->version;

	*is_stale = false;
	env->ops->offload(env, keep_work, &keeping);
	struct err err = keeping.err;
	if (!err.kind && memory->is_changed)
		err = ledger_save(ledger, md->conf.state, env, is_stale);
	md->epoch = ledger->head.epoch;
	md->has_ledger = !err.kind && !*is_stale && ledger->version;
	if (err.kind) {
		log_err(md->log, LEVEL_ALARM, "ledger-not-saved", err);
		return memory->is_at_risk ? err : OK;
	}
	if (*is_stale || !is_new_epoch || !memory->is_changed)
		return OK;
	struct err swept = ledger_sweep(md->conf.state, env, md->conf.name, md->epoch);
	if (swept.kind)
		log_err(md->log, LEVEL_WARN, "ledger-not-swept", swept);
	return OK;
}

struct err maildir_keep(struct maildir *md, struct maildir_memory *memory)
{
	bool is_stale = memory->is_used;

	for (int i = 0; i < TRIES && is_stale; i++) {
		if (i)
			TRY(maildir_recall(md, memory));
		TRY(keep_once(md, memory, &is_stale));
	}
	if (is_stale && memory->is_at_risk)
		return ERR(ERR_UPSTREAM, EAGAIN, "the mailbox is being changed by another");
	return OK;
}

/* --- single rows ---------------------------------------------------------------------------- */

struct marking {
	unsigned marks;
	uint32_t last;
	size_t done; /* rows, in this try */
};

static void mark_row(void *arg, struct ledger *ledger, struct ledger_row *row)
{
	struct marking *marking = arg;

	(void)ledger;
	if (row->uid <= marking->last)
		marking->done = 0; /* from the beginning again: somebody was faster */
	marking->last = row->uid;
	marking->done++;
	row->marks |= (uint8_t)marking->marks;
}

struct err maildir_mark(struct maildir *md, const uint32_t *numbers, size_t count, unsigned marks)
{
	struct marking marking = {marks, 0, 0};

	if (!count)
		return OK;
	if (!md->conf.state)
		return ERR(ERR_POLICY, 0, "messages cannot be hidden here");
	if (!md->has_ledger)
		return ERR(ERR_UPSTREAM, 0, "messages cannot be hidden now");
	TRY(ledger_change(md->conf.state, md->env, md->conf.name, md->epoch, numbers, count,
			  mark_row, &marking));
	if (marking.done < count)
		return ERR(ERR_UPSTREAM, EAGAIN, "the mailbox is being changed by another");
	return OK;
}

/* --- the end of a session ------------------------------------------------------------------- */

struct news {
	uint32_t number;
	bool is_retrieved;
	uint64_t octets; /* measured; 0: as it was listed */
};

struct learning {
	struct news *news; /* owned; ascending by number */
	size_t count;
	uint64_t wall;
};

static int by_number(const void *a, const void *b)
{
	return downwards(&((const struct news *)b)->number, &((const struct news *)a)->number);
}

static void learn_row(void *arg, struct ledger *ledger, struct ledger_row *row)
{
	const struct learning *learning = arg;
	const struct news key = {.number = row->uid};
	const struct news *news =
		bsearch(&key, learning->news, learning->count, sizeof key, by_number);

	(void)ledger;
	if (news->octets)
		row->exact = news->octets;
	if (news->is_retrieved && !row->retrieved_at)
		row->retrieved_at = ledger_date(learning->wall);
}

static struct news news_of(const struct maildir *md, const struct maildrop *drop,
			   const struct message *msg)
{
	uint64_t after = md->conf.delete_after_s;
	uint64_t measured = maildrop_measured(drop, msg);
	bool is_odd = measured != msg->octets || (msg->marks & MARK_INEXACT);
	struct news news = {
		.number = msg->uid && msg->uid <= md->count ? md->files[msg->uid - 1].number : 0};

	if ((msg->marks & MARK_MEASURED) && is_odd)
		news.octets = measured;
	news.is_retrieved = md->is_quit && (msg->marks & MARK_RETRIEVED) && after &&
			    after != DELETE_AFTER_NEVER && !(msg->marks & MARK_DUE);
	return news;
}

void maildir_learn(struct maildir *md, const struct maildrop *drop)
{
	const struct env *env = md->env;
	struct learning learning = {.wall = env->ops->wall(env)};
	size_t room = 0;
	uint32_t *numbers;

	for (size_t i = 0; md->has_ledger && i < drop->total; i++) {
		const struct message *msg = &drop->messages[i];
		struct news news = news_of(md, drop, msg);
		if (!news.number || (!news.octets && !news.is_retrieved) ||
		    (md->is_quit && message_is_deleted(msg)))
			continue;
		if (learning.count == room) {
			room = room * 2 + 64;
			learning.news = mem_resize(learning.news, room, sizeof *learning.news);
		}
		learning.news[learning.count++] = news;
	}
	if (!learning.count)
		return;
	qsort(learning.news, learning.count, sizeof *learning.news, by_number);
	numbers = mem_alloc(learning.count * sizeof *numbers);
	for (size_t i = 0; i < learning.count; i++)
		numbers[i] = learning.news[i].number;
	struct err err = ledger_change(md->conf.state, env, md->conf.name, md->epoch, numbers,
				       learning.count, learn_row, &learning);
	if (err.kind)
		log_err(md->log, LEVEL_WARN, "ledger-not-saved", err);
	free(numbers);
	free(learning.news);
}
