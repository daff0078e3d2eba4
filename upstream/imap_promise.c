/* SPDX-License-Identifier: MIT */
/* imap_promise.c - the journal's record of what is to be removed, and removals that had to wait. */
#include "upstream/imap_promise.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/imap_listing.h"
#include "upstream/imap_remove.h"
#include "upstream/ledger.h"

/* --- the record -------------------------------------------------------------------------------- */

static char *mode_of(enum delete_policy way, const char *archive)
{
	if (way == DELETE_ARCHIVE)
		return text_printf_dup("archive:%s", archive);
	return text_dup(way == DELETE_TRASH ? "trash" : way == DELETE_FLAG ? "flag" : "expunge");
}

/* RFC822.SIZE as it was listed. What is shown may be what was measured instead: then the ledger knows. */
static void fill_sizes(struct imap *imap, const struct maildrop *maildrop, struct journal *journal)
{
	const struct uids resized = {imap->resized, imap->resized_len, 0};
	struct ledger ledger;
	bool is_loaded = false;

	if (imap->quirks && imap->quirks->traits & QUIRK_SIZES_CHANGE)
		return;
	ledger_init(&ledger, imap->conf.name);
	for (size_t i = 0; i < journal->count; i++) {
		struct journal_entry *entry = &journal->entries[i];
		const struct message *msg = maildrop_find(maildrop, entry->uid);
		bool is_resized = uids_have(&resized, entry->uid);
		if (msg && !(msg->marks & (MARK_EXACT | MARK_INEXACT)) && !is_resized) {
			entry->octets = msg->octets;
			continue;
		}
		if (!imap->has_ledger || (msg && msg->marks & MARK_INEXACT))
			continue;
		if (!is_loaded && ledger_load(&ledger, imap->conf.state, imap->env).kind)
			break;
		is_loaded = true;
		const struct ledger_row *row = ledger_find(&ledger, entry->uid);
		if (row && ledger.head.epoch == imap->epoch)
			entry->octets = row->octets;
	}
	ledger_fini(&ledger);
}

struct err imap_promise(struct imap *imap, const struct maildrop *maildrop,
			const struct uid_list *list, struct journal *journal)
{
	const struct upstream_conf *conf = &imap->conf;

	*journal = (struct journal){
		.where = text_printf_dup("%s@%s:%u/%s", imap->login.user, conf->host, conf->port,
					 conf->folder),
		.uidvalidity = imap->uidvalidity,
		.mode = mode_of(removal_way(imap), conf->archive),
		.since = imap->env->ops->wall(imap->env),
		.entries = mem_alloc(list->count * sizeof *journal->entries),
		.count = list->count,
	};
	memcpy(journal->place, imap->place, sizeof journal->place);
	for (size_t i = 0; i < list->count; i++) {
		struct journal_entry *entry = &journal->entries[i];
		const char *id = imap_heard_id(imap, list->at[i]);
		entry->uid = list->at[i];
		if (id)
			memcpy(entry->id, id, sizeof entry->id);
	}
	fill_sizes(imap, maildrop, journal);
	struct err err = journal_write(conf->state, imap->env, conf->name, journal);
	if (!err.kind)
		return OK;
	log_err(imap->log, LEVEL_ALARM, "journal-not-written", err);
	return ERR(ERR_UPSTREAM, err.code, "the deletions cannot be written down");
}

/* --- what waited ------------------------------------------------------------------------------- */

/* How many of those that wait are due. */
static size_t count_due(const struct imap *imap)
{
	size_t due = 0;

	while (due < imap->pending_len && imap->pending[due] < imap->kept_from)
		due++;
	return due;
}

static bool may_remove(const struct imap *imap)
{
	enum delete_policy policy = imap->conf.delete_policy;

	return imap->has_ledger && !imap->is_loose && !imap->is_folder_read_only &&
	       policy != DELETE_NEVER && policy != DELETE_HIDE;
}

void imap_remove_pending(struct imap *imap, const struct maildrop *maildrop, uint64_t until_ms)
{
	size_t due = may_remove(imap) ? count_due(imap) : 0;
	struct uid_list list = {mem_resize(NULL, due + 1, sizeof *list.at), due};
	struct journal journal;
	struct removal removal;

	if (!due) {
		free(list.at);
		return;
	}
	memcpy(list.at, imap->pending, due * sizeof *list.at);
	struct err err = imap_promise(imap, maildrop, &list, &journal);
	if (err.kind) {
		/* It stays hidden, and UPDATE may have more luck. */
		free(list.at);
		journal_fini(&journal);
		return;
	}
	imap->pending_len -= due;
	memmove(imap->pending, imap->pending + due, imap->pending_len * sizeof *imap->pending);
	removal_init(&removal, imap, removal_way(imap), imap->conf.archive, list.at, due);
	removal.journal = &journal;
	removal.keeps_refused = true;
	removal.until_ms = until_ms;
	removal.reconnect_until_ms = 1; /* never: the login needs its time */
	/* It may have been copied already before its UID changed. */
	for (size_t i = 0; i < due; i++)
		removal.marks[i] |= REMOVAL_DOUBT;
	err = removal_run(&removal);
	if (err.kind)
		log_err(imap->log, LEVEL_NOTE, "pending-not-removed", err);
	removal_fini(&removal);
	journal_fini(&journal);
}
