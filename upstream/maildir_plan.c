/* SPDX-License-Identifier: MIT */
/* maildir_plan.c - what becomes of each file at QUIT, by the policies of the map.
 *
 * "Among the newest" is by arrival, over what this session was shown and what earlier ones deleted and
 * keep_newest= holds back: that goes as soon as enough is newer. */
#include "upstream/maildir.h"

#include <stdlib.h>

bool maildir_goes(const struct maildir *md, const struct message *msg)
{
	bool is_due = (msg->marks & MARK_DUE) ||
		      ((msg->marks & MARK_RETRIEVED) && !md->conf.delete_after_s);

	if (md->conf.delete_policy == DELETE_NEVER || md->upstream.is_read_only)
		return false;
	return message_is_deleted(msg) || is_due;
}

static int upwards(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;

	return (one > two) - (one < two);
}

static bool is_message(const struct maildir *md, const struct message *msg)
{
	return msg->uid && msg->uid <= md->count;
}

/* What another client has thrown away meanwhile is that client's. */
static bool is_pending(const struct maildir_file *file)
{
	return (file->state & MAILDIR_UNSHOWN) == MAILDIR_PENDING;
}

/* The lowest number among the newest `keep`: 1 if there are no more. `numbers` has room for all. */
static uint64_t newest_from(const struct maildir *md, const struct maildrop *drop,
			    uint32_t *numbers)
{
	size_t count = 0, keep = md->conf.keep_newest;

	if (!keep)
		return UINT64_MAX;
	for (size_t i = 0; i < drop->total; i++)
		if (is_message(md, &drop->messages[i]))
			numbers[count++] = md->files[drop->messages[i].uid - 1].number;
	for (size_t i = 0; i < md->count; i++)
		if (is_pending(&md->files[i]))
			numbers[count++] = md->files[i].number;
	if (keep > count)
		return 1;
	qsort(numbers, count, sizeof *numbers, upwards);
	return numbers[count - keep];
}

static void plan_pending(struct maildir_plan *plan, const struct maildir *md, uint64_t kept_from)
{
	enum delete_policy policy = md->conf.delete_policy;

	if (policy == DELETE_HIDE || policy == DELETE_NEVER || md->upstream.is_read_only)
		return;
	for (size_t i = 0; i < md->count; i++) {
		const struct maildir_file *file = &md->files[i];
		if (is_pending(file) && file->number < kept_from) {
			plan->is_removed[i] = true;
			plan->removed++;
		}
	}
}

bool maildir_plan(struct maildir_plan *plan, const struct maildir *md, const struct maildrop *drop)
{
	size_t room = drop->total + md->count + 1;
	uint64_t kept_from;

	*plan = (struct maildir_plan){
		.is_removed = calloc(md->count + 1, sizeof *plan->is_removed),
		.hide = reallocarray(NULL, room, sizeof *plan->hide),
		.postpone = reallocarray(NULL, room, sizeof *plan->postpone),
	};
	if (!plan->is_removed || !plan->hide || !plan->postpone)
		return false;
	kept_from = newest_from(md, drop, plan->postpone);
	plan_pending(plan, md, kept_from);
	for (size_t i = 0; i < drop->total; i++) {
		const struct message *msg = &drop->messages[i];
		if (!is_message(md, msg) || !maildir_goes(md, msg))
			continue;
		uint32_t number = md->files[msg->uid - 1].number;
		if (md->conf.delete_policy == DELETE_HIDE) {
			plan->hide[plan->hide_len++] = number;
		} else if (md->conf.keep_newest && (!number || number >= kept_from)) {
			plan->postpone[plan->postpone_len++] = number;
		} else {
			plan->is_removed[msg->uid - 1] = true;
			plan->removed++;
		}
	}
	qsort(plan->hide, plan->hide_len, sizeof *plan->hide, upwards);
	qsort(plan->postpone, plan->postpone_len, sizeof *plan->postpone, upwards);
	return true;
}

void maildir_plan_fini(struct maildir_plan *plan)
{
	free(plan->is_removed);
	free(plan->hide);
	free(plan->postpone);
}
