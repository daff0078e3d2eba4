/* SPDX-License-Identifier: MIT */
/* maildir_update.c - removes what the client marked, sets \Seen on what it read.
 *
 * A message is removed by the unlinking of every file that bears its base name, wherever it is now; or,
 * as the map wants it, by the moving of each into another folder, or by the flag T, which hides it.
 * Its last known name comes first; only if that was not there, or if there were two, the folders
 * are searched until a search finds none. The folders are on disk before we say that it is done.
 *
 * \Seen is a rename into cur/ with the flag S. It is done after the deletions, and its failure is
 * logged, no more (C-19).
 */
#include "upstream/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct update {
	struct maildir *md;
	const struct maildrop *drop;
	struct maildir_plan plan;
	bool sees; /* sets \Seen */
	int dirs[MAILDIR_FOLDERS];
	int target; /* cur/ of the folder that messages go to; -1: none */
	bool is_dirty[MAILDIR_FOLDERS], is_target_dirty;
	bool must_search;      /* a file was not where it had been, or it has a twin */
	size_t found;          /* by the newest search */
	uint64_t gone, octets; /* files unlinked, and their octets as stored: for the quota */
	int error;             /* the first errno of a deletion */
	int seen_error;        /* the same of setting \Seen */
	int quota_error;
	int target_error; /* of opening the folder to move to */
};

static uint64_t raw_octets(const struct update *update, enum maildir_folder folder,
			   const char *name)
{
	struct maildir_name parts;
	struct stat st;

	maildir_name_parse(name, &parts);
	if (parts.has_raw)
		return parts.raw;
	if (fstatat(update->dirs[folder], name, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	return (uint64_t)st.st_size;
}

/* Renames without overwriting; 0 or an errno. EEXIST: that name is taken. */
static int rename_new(int from, const char *name, int to, const char *new_name)
{
	if (!renameat2(from, name, to, new_name, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	if (!faccessat(to, new_name, F_OK, AT_SYMLINK_NOFOLLOW))
		return EEXIST;
	return renameat(from, name, to, new_name) ? errno : 0;
}

/* Sets a flag on a file, which is in cur/ then. A twin may have that name already: it is the same
 * message, and neither is overwritten. */
static int flag_file(struct update *update, enum maildir_folder folder, const char *name, char flag)
{
	char flagged[MAILDIR_NAME_MAX + 1];
	int error;

	if (!maildir_name_flagged(name, flag, flagged))
		return ENAMETOOLONG;
	error = rename_new(update->dirs[folder], name, update->dirs[MAILDIR_CUR], flagged);
	if (error)
		return error == EEXIST ? 0 : error;
	update->is_dirty[folder] = true;
	update->is_dirty[MAILDIR_CUR] = true;
	return 0;
}

/* Moves a file to the other folder, under its own name. */
static int move_file(struct update *update, enum maildir_folder folder, const char *name)
{
	char new_name[MAILDIR_NAME_MAX + 1];
	struct maildir_name parts;
	int error;

	maildir_name_parse(name, &parts);
	snprintf(new_name, sizeof new_name, "%s%s", name, name[parts.base_len] ? "" : ":2,");
	error = rename_new(update->dirs[folder], name, update->target, new_name);
	/* What has that name there is this message: a twin of it went before. */
	if (error == EEXIST && unlinkat(update->dirs[folder], name, 0))
		error = errno;
	else if (error == EEXIST)
		error = 0;
	if (!error)
		update->is_dirty[folder] = update->is_target_dirty = true;
	return error;
}

/* Unlinks one file; 0 or an errno. */
static int unlink_file(struct update *update, enum maildir_folder folder, const char *name)
{
	uint64_t octets = raw_octets(update, folder, name);

	if (unlinkat(update->dirs[folder], name, 0))
		return errno;
	update->is_dirty[folder] = true;
	update->gone++;
	update->octets += octets;
	return 0;
}

/* Does with one file what the map wants; false if it was not there. */
static bool remove_file(struct update *update, enum maildir_folder folder, const char *name)
{
	int error;

	switch (update->md->conf.delete_policy) {
	case DELETE_FLAG:
		error = flag_file(update, folder, name, 'T');
		break;
	case DELETE_TRASH:
	case DELETE_ARCHIVE:
		error = move_file(update, folder, name);
		break;
	case DELETE_DEFAULT:
	case DELETE_EXPUNGE:
		error = unlink_file(update, folder, name);
		break;
	default: /* DELETE_HIDE, DELETE_NEVER: nothing may go */
		error = EPERM;
	}
	if (error && error != ENOENT && !update->error)
		update->error = error;
	return error != ENOENT;
}

static void remove_known(struct update *update)
{
	struct maildir *md = update->md;

	for (size_t i = 0; i < md->count; i++) {
		struct maildir_file *file = &md->files[i];

		if (!update->plan.is_removed[i])
			continue;
		if (!remove_file(update, (enum maildir_folder)file->folder,
				 maildir_file_name(md, file)) ||
		    (file->state & MAILDIR_TWIN))
			update->must_search = true;
	}
}

static int remove_found(void *arg, enum maildir_folder folder, int dir, const char *name)
{
	struct update *update = arg;
	const struct maildir_file *file = maildir_find(update->md, name);

	(void)dir;
	if (update->md->conf.delete_policy == DELETE_FLAG) {
		struct maildir_name parts;
		maildir_name_parse(name, &parts);
		if (parts.is_trashed)
			return 0;
	}
	if (!file || !update->plan.is_removed[file - update->md->files])
		return 0;
	update->found++;
	(void)remove_file(update, folder, name); /* ENOENT: the next search sees */
	return 0;
}

static void remove_marked(struct update *update)
{
	bool is_quiet = false;
	int empty = 0;

	remove_known(update);
	/* Our own deletions make the folders unquiet: several empty searches are needed then. */
	for (int i = 0; update->must_search && !update->error; i++) {
		if (i == MAILDIR_RACES) {
			update->error = EAGAIN;
			return;
		}
		update->found = 0;
		update->error = maildir_walk(update->md, &is_quiet, remove_found, update);
		empty = update->found ? 0 : empty + 1;
		if (is_quiet || empty == MAILDIR_TRIES)
			update->must_search = update->found > 0;
	}
}

static void sync_folders(struct update *update, int *error)
{
	/* Where it is now comes first: after a crash it is in both, or there. */
	if (update->is_target_dirty && fsync(update->target) && errno != EINVAL && !*error)
		*error = errno;
	update->is_target_dirty = false;
	for (int i = 0; i < MAILDIR_FOLDERS; i++) {
		/* EINVAL: a file system that cannot, or need not, sync a directory. */
		if (update->is_dirty[i] && fsync(update->dirs[i]) && errno != EINVAL && !*error)
			*error = errno;
		update->is_dirty[i] = false;
	}
}

/* Tells a Maildir++ quota, if there is one, what is gone: "-OCTETS -COUNT" as one line, put out by
 * one write(2). */
static void settle_quota(struct update *update)
{
	char line[64];
	int len, fd;

	if (!update->gone)
		return;
	fd = openat(update->md->root, "maildirsize",
		    O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		update->quota_error = errno == ENOENT ? 0 : errno;
		return;
	}
	len = snprintf(line, sizeof line, "-%" PRIu64 " -%" PRIu64 "\n", update->octets,
		       update->gone);
	if (write(fd, line, (size_t)len) != len)
		update->quota_error = EIO;
	close(fd);
}

static bool is_to_be_seen(const struct update *update, const struct message *msg)
{
	return (msg->marks & MARK_RETRIEVED) && !maildir_goes(update->md, msg) && msg->uid &&
	       msg->uid <= update->md->count;
}

/* One round over all messages to be seen; the number of those that were not where they had been. */
static size_t see_round(struct update *update, bool only_missing)
{
	struct maildir *md = update->md;
	size_t missing = 0;

	for (size_t i = 0; i < update->drop->total; i++) {
		const struct message *msg = &update->drop->messages[i];
		struct maildir_file *file;
		int error;

		if (!is_to_be_seen(update, msg))
			continue;
		file = &md->files[msg->uid - 1];
		if (only_missing && !(file->state & MAILDIR_FOUND))
			continue; /* gone: nothing to set */
		error = flag_file(update, (enum maildir_folder)file->folder,
				  maildir_file_name(md, file), 'S');
		if (error == ENOENT)
			missing++;
		else if (error && !update->seen_error)
			update->seen_error = error;
	}
	return missing;
}

static void see_retrieved(struct update *update)
{
	size_t missing = see_round(update, false);
	bool is_quiet;

	for (int i = 0; missing && i < MAILDIR_TRIES && !update->seen_error; i++) {
		update->seen_error = maildir_refresh(update->md, &is_quiet);
		if (!update->seen_error)
			missing = see_round(update, true);
	}
}

static void open_target(struct update *update)
{
	const struct maildir *md = update->md;
	enum delete_policy policy = md->conf.delete_policy;
	bool needs = policy == DELETE_TRASH || policy == DELETE_ARCHIVE;

	if (!needs || !update->plan.removed || update->error)
		return;
	update->target = maildir_target_open(md);
	if (update->target < 0)
		update->error = update->target_error = errno;
}

static void update_work(void *arg)
{
	struct update *update = arg;

	for (int i = 0; i < MAILDIR_FOLDERS; i++) {
		update->dirs[i] = maildir_folder_open(update->md, (enum maildir_folder)i);
		if (update->dirs[i] < 0 && !update->error)
			update->error = errno;
	}
	bool is_open = !update->error;
	open_target(update);
	if (is_open) {
		if (update->plan.removed && !update->error)
			remove_marked(update);
		sync_folders(update, &update->error);
		settle_quota(update);
		if (update->sees)
			see_retrieved(update);
		sync_folders(update, &update->seen_error);
	}
	for (int i = 0; i < MAILDIR_FOLDERS; i++)
		if (update->dirs[i] >= 0)
			close(update->dirs[i]);
	if (update->target >= 0)
		close(update->target);
}

static bool has_work(const struct update *update)
{
	const struct maildrop *drop = update->drop;
	bool is_any = update->plan.removed;

	for (size_t i = 0; update->sees && !is_any && i < drop->total; i++)
		is_any = is_to_be_seen(update, &drop->messages[i]);
	return is_any;
}

/* What is only hidden, now or until it is old enough. */
static struct err hide(struct update *update)
{
	const struct maildir_plan *plan = &update->plan;
	struct err err = maildir_mark(update->md, plan->hide, plan->hide_len, LEDGER_HIDDEN);
	struct err other = maildir_mark(update->md, plan->postpone, plan->postpone_len,
					LEDGER_HIDDEN | LEDGER_PENDING);

	return err.kind ? err : other;
}

struct err maildir_update(struct upstream *up, const struct maildrop *drop)
{
	struct maildir *md = (struct maildir *)up;
	struct update update = {
		.md = md,
		.drop = drop,
		.dirs = {-1, -1},
		.target = -1,
		.sees = md->conf.seen_policy == SEEN_ON_QUIT,
	};
	struct err err = ERR(ERR_UPSTREAM, ENOMEM, "out of memory");

	md->is_quit = true;
	if (!md->count)
		return OK;
	if (maildir_plan(&update.plan, md, drop)) {
		err = hide(&update);
		if (has_work(&update))
			md->env->ops->offload(md->env, update_work, &update);
	}
	maildir_plan_fini(&update.plan);
	if (update.seen_error)
		LOG(md->log, LEVEL_WARN, "maildir-seen-failed",
		    log_number("errno", (uint64_t)update.seen_error));
	if (update.quota_error)
		LOG(md->log, LEVEL_WARN, "maildirsize-failed",
		    log_number("errno", (uint64_t)update.quota_error));
	if (update.target_error)
		return ERR(ERR_POLICY, update.target_error, "the folder to move to cannot be used");
	return update.error ? maildir_err(update.error) : err;
}

struct seeing {
	struct update update;
	size_t index;
};

static void retrieved_work(void *arg)
{
	struct seeing *seeing = arg;
	struct update *update = &seeing->update;
	struct maildir_file *file = &update->md->files[seeing->index];
	bool is_quiet;

	update->dirs[MAILDIR_NEW] = maildir_folder_open(update->md, MAILDIR_NEW);
	update->dirs[MAILDIR_CUR] = maildir_folder_open(update->md, MAILDIR_CUR);
	int error = update->dirs[MAILDIR_NEW] < 0 || update->dirs[MAILDIR_CUR] < 0 ? errno : ENOENT;
	for (int i = 0; i < MAILDIR_TRIES && error == ENOENT; i++) {
		error = i ? maildir_refresh(update->md, &is_quiet) : 0;
		if (!error)
			error = flag_file(update, (enum maildir_folder)file->folder,
					  maildir_file_name(update->md, file), 'S');
	}
	update->seen_error = error;
	sync_folders(update, &update->seen_error);
	for (int i = 0; i < MAILDIR_FOLDERS; i++)
		if (update->dirs[i] >= 0)
			close(update->dirs[i]);
}

void maildir_retrieved(struct upstream *up, const struct message *msg)
{
	struct maildir *md = (struct maildir *)up;
	struct seeing seeing = {.update = {.md = md, .dirs = {-1, -1}, .target = -1}};

	if (md->conf.seen_policy != SEEN_ON_RETR || !msg->uid || msg->uid > md->count)
		return;
	seeing.index = msg->uid - 1;
	md->env->ops->offload(md->env, retrieved_work, &seeing);
	if (seeing.update.seen_error)
		LOG(md->log, LEVEL_WARN, "maildir-seen-failed",
		    log_number("errno", (uint64_t)seeing.update.seen_error));
}
