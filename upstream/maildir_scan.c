/* SPDX-License-Identifier: MIT */
/* maildir_scan.c - finds the messages of a Maildir, and finds them again.
 *
 * Reading a directory is no snapshot: a file that is renamed meanwhile (flags, new/ to cur/) may be
 * seen twice or not at all. A client would forget a message that is missing once, so:
 *
 *  - new/ is read before cur/: a message on its way from one to the other is seen at least once.
 *  - If the folders changed while we read, or so shortly before that their times cannot tell, they
 *    are read again and the snapshot is all that was seen in any scan.
 *  - A file that a search does not see is gone only if the folders were quiet during that search, or
 *    after several searches.
 */
#include "upstream/maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SCANS = 3, QUIET_S = 2 };

static const char *const folder_names[MAILDIR_FOLDERS] = {"new", "cur"};

int maildir_folder_open(const struct maildir *md, enum maildir_folder folder)
{
	return openat(md->root, folder_names[folder],
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int times_of_folders(const struct maildir *md, struct timespec times[MAILDIR_FOLDERS])
{
	struct stat st;

	for (int i = 0; i < MAILDIR_FOLDERS; i++) {
		if (fstatat(md->root, folder_names[i], &st, AT_SYMLINK_NOFOLLOW))
			return errno;
		times[i] = st.st_mtim;
	}
	return 0;
}

/* A folder's time moves in steps of a clock tick, so the time of a folder that changed just now
 * proves nothing. */
static bool is_quiet_since(const struct timespec before[], const struct timespec after[])
{
	time_t now = time(NULL);

	for (int i = 0; i < MAILDIR_FOLDERS; i++) {
		if (before[i].tv_sec != after[i].tv_sec || before[i].tv_nsec != after[i].tv_nsec)
			return false;
		if (after[i].tv_sec + QUIET_S > now)
			return false;
	}
	return true;
}

static bool may_be_message(int dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_name[0] == '.')
		return false;
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_REG;
	if (fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT; /* renamed under us: it is searched for later */
	return S_ISREG(st.st_mode);
}

static int walk_folder(struct maildir *md, enum maildir_folder folder,
		       int (*visit)(void *arg, enum maildir_folder, int dir, const char *name),
		       void *arg)
{
	int fd = maildir_folder_open(md, folder);
	struct dirent *entry;
	DIR *dir;
	int result = 0;

	if (fd < 0)
		return errno;
	dir = fdopendir(fd);
	if (!dir) {
		result = errno;
		close(fd);
		return result;
	}
	while (!result) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			result = errno;
			break;
		}
		if (may_be_message(fd, entry))
			result = visit(arg, folder, fd, entry->d_name);
	}
	closedir(dir);
	return result;
}

int maildir_walk(struct maildir *md, bool *is_quiet,
		 int (*visit)(void *arg, enum maildir_folder, int dir, const char *name), void *arg)
{
	struct timespec before[MAILDIR_FOLDERS], after[MAILDIR_FOLDERS];
	int error = times_of_folders(md, before);

	*is_quiet = false;
	for (int i = 0; i < MAILDIR_FOLDERS && !error; i++)
		error = walk_folder(md, (enum maildir_folder)i, visit, arg);
	if (!error)
		error = times_of_folders(md, after);
	if (!error)
		*is_quiet = is_quiet_since(before, after);
	return error;
}

struct collecting {
	struct maildir *md;
	uint8_t scan;
};

static int append_name(struct maildir *md, const char *name, size_t room, uint32_t *offset)
{
	char *place = buf_room(&md->names, room);

	if (!place)
		return ENOMEM;
	*offset = (uint32_t)buf_len(&md->names);
	memset(place, 0, room);
	memcpy(place, name, strlen(name));
	buf_added(&md->names, room);
	return 0;
}

static int collect_one(void *arg, enum maildir_folder folder, int dir, const char *name)
{
	struct collecting *collecting = arg;
	struct maildir *md = collecting->md;
	struct maildir_name parts;
	struct maildir_file *file;
	size_t room = strlen(name) + 1;
	int error;

	(void)dir;
	if (md->count == md->room) {
		size_t more = md->room ? md->room * 2 : 64;
		void *files = more > 2 * (size_t)MAILDROP_MESSAGES
				      ? NULL
				      : reallocarray(md->files, more, sizeof *md->files);

		if (!files)
			return ENOMEM;
		md->files = files;
		md->room = more;
	}
	file = &md->files[md->count];
	maildir_name_parse(name, &parts);
	if (!parts.base_len)
		return 0;
	*file = (struct maildir_file){
		.time = parts.time,
		.octets = parts.octets,
		.base_len = (uint16_t)parts.base_len,
		.room = (uint16_t)room,
		.folder = (uint8_t)folder,
		.state = MAILDIR_FOUND | (parts.has_octets ? MAILDIR_SIZED : 0),
		.scan = collecting->scan,
	};
	error = append_name(md, name, room, &file->name);
	if (!error)
		md->count++;
	return error;
}

static int compare_base(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* By time, then base name; of one base name the newest scan first, cur/ before new/. */
static int compare_files(const void *a, const void *b, void *names)
{
	const struct maildir_file *left = a, *right = b;
	int order = (left->time > right->time) - (left->time < right->time);

	if (!order)
		order = compare_base((char *)names + left->name, left->base_len,
				     (char *)names + right->name, right->base_len);
	if (!order)
		order = right->scan - left->scan;
	return order ? order : right->folder - left->folder;
}

/* One entry for each base name, and whether another client has thrown it away. */
static void keep_one_of_each(struct maildir *md)
{
	const char *names = buf_data(&md->names);
	struct maildir_file *kept = NULL;
	size_t count = 0;

	for (size_t i = 0; i < md->count; i++) {
		struct maildir_file *file = &md->files[i];

		if (kept && !compare_base(names + kept->name, kept->base_len, names + file->name,
					  file->base_len)) {
			if (kept->scan == file->scan)
				kept->state |= MAILDIR_TWIN;
			continue;
		}
		kept = &md->files[count++];
		*kept = *file;
	}
	md->count = count;
	for (size_t i = 0; i < count; i++) {
		struct maildir_name parts;

		maildir_name_parse(names + md->files[i].name, &parts);
		if (parts.is_trashed)
			md->files[i].state |= MAILDIR_TRASHED;
	}
}

int maildir_collect(struct maildir *md, bool *is_quiet)
{
	struct collecting collecting = {md, 0};

	*is_quiet = false;
	buf_fini(&md->names);
	md->count = 0;
	for (; collecting.scan < SCANS && !*is_quiet; collecting.scan++) {
		int error = maildir_walk(md, is_quiet, collect_one, &collecting);

		if (error)
			return error;
	}
	if (!md->count)
		return 0;
	qsort_r(md->files, md->count, sizeof *md->files, compare_files, buf_data(&md->names));
	keep_one_of_each(md);
	return 0;
}

static struct maildir_file *find(struct maildir *md, uint64_t at, const char *base, size_t len)
{
	const char *names = buf_data(&md->names);
	size_t low = 0, high = md->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct maildir_file *file = &md->files[middle];
		int order = (at > file->time) - (at < file->time);

		if (!order)
			order = compare_base(base, len, names + file->name, file->base_len);
		if (!order)
			return file;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

struct maildir_file *maildir_find(struct maildir *md, const char *name)
{
	struct maildir_name parts;

	maildir_name_parse(name, &parts);
	return find(md, parts.time, name, parts.base_len);
}

struct maildir_file *maildir_find_base(struct maildir *md, const char *base)
{
	struct maildir_name parts;

	maildir_name_parse(base, &parts); /* a base may hold "!2," where flags stand behind ":2," */
	return find(md, parts.time, base, strlen(base));
}

static int refresh_one(void *arg, enum maildir_folder folder, int dir, const char *name)
{
	struct maildir *md = arg;
	struct maildir_file *file = maildir_find(md, name);
	size_t len = strlen(name);

	(void)dir;
	if (!file)
		return 0;
	if (len >= file->room) {
		/* Room for a few flags more, so that renames do not make the names grow for ever. */
		size_t room = len + 16;
		uint32_t offset;
		int error = append_name(md, name, room, &offset);

		if (error)
			return error;
		file->name = offset;
		file->room = (uint16_t)room;
	} else {
		memcpy(buf_data(&md->names) + file->name, name, len + 1);
	}
	file->folder = (uint8_t)folder;
	file->state |= MAILDIR_FOUND;
	return 0;
}

int maildir_refresh(struct maildir *md, bool *is_quiet)
{
	for (size_t i = 0; i < md->count; i++)
		md->files[i].state &= (uint16_t)~MAILDIR_FOUND;
	return maildir_walk(md, is_quiet, refresh_one, md);
}
