/* SPDX-License-Identifier: MIT */
/* maildir_target.c - the folder that deleted messages of a Maildir go to (Maildir++).
 *
 * Folders lie below the mailbox itself: "Old/2020" is .Old.2020, the trash .Trash. Nothing is followed
 * out of it: no symbolic link on the way, and no name that leads elsewhere. */
#include "upstream/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

/* The name on disk; false if there can be none. */
static bool name_of(const char *folder, char out[MAILDIR_NAME_MAX + 1])
{
	size_t len = strlen(folder);

	if (folder[0] == '.' || len + 1 > MAILDIR_NAME_MAX)
		return false;
	out[0] = '.';
	for (size_t i = 0; i <= len; i++) {
		char c = folder[i];
		bool is_edge = i == 0 || i == len || folder[i - 1] == '/';
		if (is_edge && (c == '/' || (i && !c && folder[i - 1] == '/')))
			return false; /* an empty part */
		if (c == '.' || (unsigned char)c == 0x7F || (c && (unsigned char)c < 0x20))
			return false; /* "." stands between parts on disk */
		out[i + 1] = c == '/' ? '.' : c;
	}
	return len > 0;
}

/* Makes what is missing; the order is that of a mail program that may come between. */
static int make(int root, const char *name)
{
	static const char *const parts[] = {"tmp", "new", "cur"};
	int dir, error = 0;

	if (mkdirat(root, name, 0700) && errno != EEXIST)
		return errno;
	dir = openat(root, name, FOLDER_FLAGS);
	if (dir < 0)
		return errno;
	for (size_t i = 0; i < sizeof parts / sizeof *parts && !error; i++)
		if (mkdirat(dir, parts[i], 0700) && errno != EEXIST)
			error = errno;
	int mark = error ? -1
			 : openat(dir, "maildirfolder",
				  O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (mark >= 0)
		close(mark);
	if (!error && fsync(dir) && errno != EINVAL)
		error = errno;
	close(dir);
	return error;
}

static int open_cur(int root, const char *name)
{
	int dir = openat(root, name, FOLDER_FLAGS), cur, error;

	if (dir < 0)
		return -1;
	cur = openat(dir, "cur", FOLDER_FLAGS);
	error = errno;
	close(dir);
	errno = error;
	return cur;
}

int maildir_target_open(const struct maildir *md)
{
	const char *folder = md->conf.delete_policy == DELETE_TRASH ? "Trash" : md->conf.archive;
	char name[MAILDIR_NAME_MAX + 1];
	int root, cur, error;

	if (!folder || !name_of(folder, name)) {
		errno = EINVAL;
		return -1;
	}
	/* md->root is O_PATH: a descriptor that can be synced is needed. */
	root = openat(md->root, ".", FOLDER_FLAGS);
	if (root < 0)
		return -1;
	cur = open_cur(root, name);
	if (cur < 0 && errno == ENOENT && md->conf.may_create) {
		error = make(root, name);
		if (!error && fsync(root) && errno != EINVAL)
			error = errno;
		errno = error;
		cur = error ? -1 : open_cur(root, name);
	}
	error = errno;
	close(root);
	errno = error;
	return cur;
}
