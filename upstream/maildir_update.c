/* SPDX-License-Identifier: MIT */
/* maildir_update.c - removes what the client marked, sets \Seen on what it read.
 *
 * A message is removed by the unlinking of every file that bears its base name, wherever it is now.
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
	bool *is_marked; /* owned: for each file, whether it is to go */
	size_t marked;
	int dirs[MAILDIR_FOLDERS];
	bool is_dirty[MAILDIR_FOLDERS];
	bool must_search;      /* a file was not where it had been, or it has a twin */
	size_t found;          /* by the newest search */
	uint64_t gone, octets; /* files unlinked, and their octets as stored: for the quota */
	int error;             /* the first errno of a deletion */
	int seen_error;        /* the same of setting \Seen */
	int quota_error;
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

/* Unlinks one file; false if it was not there. */
static bool remove_file(struct update *update, enum maildir_folder folder, const char *name)
{
	uint64_t octets = raw_octets(update, folder, name);

	if (!unlinkat(update->dirs[folder], name, 0)) {
		update->is_dirty[folder] = true;
		update->gone++;
		update->octets += octets;
		return true;
	}
	if (errno == ENOENT)
		return false;
	if (!update->error)
		update->error = errno;
	return true;
}

static void remove_known(struct update *update)
{
	struct maildir *md = update->md;

	for (size_t i = 0; i < md->count; i++) {
		struct maildir_file *file = &md->files[i];

		if (!update->is_marked[i])
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
	if (!file || !update->is_marked[file - update->md->files])
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

/* Sets \Seen on a file where it is now. Gives 0 or an errno. */
static int see_file(struct update *update, struct maildir_file *file)
{
	const char *name = maildir_file_name(update->md, file);
	int from = update->dirs[file->folder], to = update->dirs[MAILDIR_CUR];
	char seen[MAILDIR_NAME_MAX + 1];

	if (!maildir_name_seen(name, seen))
		return ENAMETOOLONG;
	/* A twin may have that name already: it is the same message, and neither is overwritten. */
	if (renameat2(from, name, to, seen, RENAME_NOREPLACE)) {
		if (errno == EEXIST)
			return 0;
		if (errno != EINVAL && errno != ENOSYS)
			return errno;
		if (!faccessat(to, seen, F_OK, AT_SYMLINK_NOFOLLOW))
			return 0;
		if (renameat(from, name, to, seen))
			return errno;
	}
	update->is_dirty[file->folder] = true;
	update->is_dirty[MAILDIR_CUR] = true;
	return 0;
}

static bool is_to_be_seen(const struct update *update, const struct message *msg)
{
	return (msg->marks & MARK_RETRIEVED) && !message_is_deleted(msg) && msg->uid &&
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
		error = see_file(update, file);
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

static void update_work(void *arg)
{
	struct update *update = arg;

	for (int i = 0; i < MAILDIR_FOLDERS; i++) {
		update->dirs[i] = maildir_folder_open(update->md, (enum maildir_folder)i);
		if (update->dirs[i] < 0 && !update->error)
			update->error = errno;
	}
	if (!update->error) {
		if (update->marked)
			remove_marked(update);
		sync_folders(update, &update->error);
		settle_quota(update);
		if (update->md->sets_seen)
			see_retrieved(update);
		sync_folders(update, &update->seen_error);
	}
	for (int i = 0; i < MAILDIR_FOLDERS; i++)
		if (update->dirs[i] >= 0)
			close(update->dirs[i]);
}

static bool has_work(struct update *update)
{
	const struct maildrop *drop = update->drop;
	size_t seen = 0;

	for (size_t i = 0; i < drop->total; i++) {
		const struct message *msg = &drop->messages[i];

		if (message_is_deleted(msg) && msg->uid && msg->uid <= update->md->count) {
			update->is_marked[msg->uid - 1] = true;
			update->marked++;
		}
		seen += update->md->sets_seen && is_to_be_seen(update, msg);
	}
	return update->marked || seen;
}

struct err maildir_update(struct upstream *up, const struct maildrop *drop)
{
	struct maildir *md = (struct maildir *)up;
	struct update update = {.md = md, .drop = drop, .dirs = {-1, -1}};

	if (!md->count)
		return OK;
	update.is_marked = calloc(md->count, sizeof *update.is_marked);
	if (!update.is_marked)
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	if (has_work(&update))
		md->env->ops->offload(md->env, update_work, &update);
	free(update.is_marked);
	if (update.seen_error)
		LOG(md->log, LEVEL_WARN, "maildir-seen-failed",
		    log_number("errno", (uint64_t)update.seen_error));
	if (update.quota_error)
		LOG(md->log, LEVEL_WARN, "maildirsize-failed",
		    log_number("errno", (uint64_t)update.quota_error));
	return update.error ? maildir_err(update.error) : OK;
}
