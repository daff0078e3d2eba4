/* SPDX-License-Identifier: MIT */
/* maildir_list.c - the snapshot of a Maildir, sizes and UIDLs included.
 *
 * Sizes: ",W=" of the name is believed until a RETR has shown that it lies; without it the file is read
 * and its line ends are counted, since a size in octets with CRLF is what POP3 promises. With a state
 * that is done once: later a file only needs to be as large on disk as it was then. An unreadable
 * message stays listed, with a size marked inexact.
 *
 * UIDLs: the base name, or its digest if it cannot be a UIDL itself.
 */
#include "upstream/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "upstream/identity.h"

enum { BATCH_FILES = 500, BATCH_OCTETS = 16 << 20 };

struct listing {
	struct maildir *md;
	struct maildrop *drop;
	struct maildir_memory memory;
	bool is_quiet;
	int dirs[MAILDIR_FOLDERS]; /* open during a batch; -1: cannot be */
	size_t next;               /* the file whose size is to be learned now */
	uint64_t budget;           /* octets that this batch may still read */
	size_t missing;            /* files that were not where they had been */
	char *chunk;               /* owned, MAILDIR_CHUNK octets */
	int error;                 /* errno that ends the listing */
	struct err err;
};

static void collect_work(void *arg)
{
	struct listing *listing = arg;

	listing->error = maildir_collect(listing->md, &listing->is_quiet);
}

static void refresh_work(void *arg)
{
	struct listing *listing = arg;
	struct maildir *md = listing->md;
	bool is_quiet;

	listing->error = maildir_refresh(md, &is_quiet);
	for (size_t i = 0; i < md->count && !listing->error; i++) {
		struct maildir_file *file = &md->files[i];

		if (file->state & MAILDIR_FOUND)
			file->state |= MAILDIR_SEEN_AGAIN;
		else if (is_quiet && !(file->state & MAILDIR_SIZED))
			file->state |= MAILDIR_GONE;
	}
}

/* Octets with CRLF: each LF without its CR makes one more, a last line without its end two. Reads
 * `size` octets at most. */
static int count_octets(int fd, uint64_t size, char *chunk, uint64_t *octets)
{
	uint64_t count = 0, raw = 0;
	char before = '\0';

	while (raw < size) {
		uint64_t want = size - raw < MAILDIR_CHUNK ? size - raw : MAILDIR_CHUNK;
		ssize_t got = read(fd, chunk, want);
		char *end = chunk + got;

		if (got < 0)
			return errno;
		if (!got)
			break;
		for (char *at = chunk; (at = memchr(at, '\n', (size_t)(end - at))); at++)
			count += (at > chunk ? at[-1] : before) != '\r';
		raw += (uint64_t)got;
		before = end[-1];
	}
	*octets = raw + count + (raw && before != '\n' ? 2 : 0);
	return 0;
}

static void guess_size(const struct maildir *md, struct maildir_file *file)
{
	struct maildir_name parts;

	maildir_name_parse(maildir_file_name(md, file), &parts);
	file->octets = parts.has_raw ? parts.raw : MAILDIR_GUESS;
	file->state |= MAILDIR_SIZED | MAILDIR_INEXACT;
}

static void measure(struct listing *listing, struct maildir_file *file, int fd)
{
	struct stat st;
	struct err err = maildir_check_file(listing->md, fd, &st);

	if (err.kind == ERR_MESSAGE) {
		file->state |= MAILDIR_GONE;
		return;
	}
	if (err.kind || count_octets(fd, (uint64_t)st.st_size, listing->chunk, &file->octets)) {
		guess_size(listing->md, file);
		return;
	}
	file->raw = (uint64_t)st.st_size;
	file->state |= MAILDIR_SIZED | MAILDIR_EXACT | MAILDIR_COUNTED;
	listing->budget -= file->octets < listing->budget ? file->octets : listing->budget;
}

/* Whether what was counted once still holds: the file is as large as it was. */
static bool is_as_recalled(const struct listing *listing, struct maildir_file *file)
{
	int dir = listing->dirs[file->folder];
	struct stat st;

	if (!(file->state & MAILDIR_RECALLED) || dir < 0)
		return false;
	if (fstatat(dir, maildir_file_name(listing->md, file), &st, AT_SYMLINK_NOFOLLOW))
		return false;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != file->raw)
		return false;
	file->state |= MAILDIR_SIZED | MAILDIR_EXACT;
	return true;
}

/* Our own shortage and a lost folder fail the listing; what is wrong with one file must not. */
static void size_file(struct listing *listing, struct maildir_file *file)
{
	bool is_folder;
	int fd;

	if (is_as_recalled(listing, file))
		return;
	fd = maildir_open_once(listing->md, file, &is_folder);
	if (fd >= 0) {
		measure(listing, file, fd);
		close(fd);
	} else if (is_folder || errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
		listing->error = errno;
	} else if (errno == ENOENT) {
		listing->missing++;
	} else if (errno == ELOOP) {
		file->state |= MAILDIR_GONE; /* a symbolic link is no message */
	} else {
		guess_size(listing->md, file);
	}
}

static void size_work(void *arg)
{
	struct listing *listing = arg;
	struct maildir *md = listing->md;
	size_t stop = listing->next + BATCH_FILES;

	listing->budget = BATCH_OCTETS;
	for (int i = 0; i < MAILDIR_FOLDERS; i++)
		listing->dirs[i] = maildir_folder_open(md, (enum maildir_folder)i);
	for (; listing->next < md->count && listing->next < stop; listing->next++) {
		struct maildir_file *file = &md->files[listing->next];

		if (!(file->state & (MAILDIR_SIZED | MAILDIR_UNSHOWN)))
			size_file(listing, file);
		if (listing->error || !listing->budget)
			stop = listing->next;
	}
	for (int i = 0; i < MAILDIR_FOLDERS; i++)
		if (listing->dirs[i] >= 0)
			close(listing->dirs[i]);
}

/* Learns all sizes that the names do not tell. What vanished meanwhile is searched for. */
static void size_all(struct listing *listing)
{
	struct maildir *md = listing->md;

	for (int round = 0; round < MAILDIR_TRIES; round++) {
		listing->missing = 0;
		listing->next = 0;
		while (listing->next < md->count && !listing->error)
			md->env->ops->offload(md->env, size_work, listing);
		if (!listing->missing || listing->error)
			return;
		md->env->ops->offload(md->env, refresh_work, listing);
	}
	for (size_t i = 0; i < md->count; i++) {
		struct maildir_file *file = &md->files[i];

		if (file->state & (MAILDIR_SIZED | MAILDIR_UNSHOWN))
			continue;
		/* There, but always renamed before it could be read; else it is gone. */
		file->octets = MAILDIR_GUESS;
		file->state |= file->state & MAILDIR_SEEN_AGAIN ? MAILDIR_INEXACT : MAILDIR_GONE;
	}
}

static bool is_safe_name(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				  "0123456789._=,:+-");

	return len && len <= UIDL_MAX && !name[len];
}

static struct err add_file(struct listing *listing, size_t index)
{
	struct maildir *md = listing->md;
	const struct maildir_file *file = &md->files[index];
	unsigned marks = (file->state & MAILDIR_INEXACT ? MARK_INEXACT : 0u) |
			 (file->state & MAILDIR_EXACT ? MARK_EXACT : 0u) |
			 (file->state & MAILDIR_DUE ? MARK_DUE : 0u);
	char base[MAILDIR_NAME_MAX + 1], hashed[UIDL_MAX + 1];
	bool is_safe;

	memcpy(base, maildir_file_name(md, file), file->base_len);
	base[file->base_len] = '\0';
	is_safe = is_safe_name(base);
	if (!is_safe)
		identity_of_name(hashed, base);
	return maildrop_add(listing->drop, (uint32_t)index + 1, file->octets,
			    is_safe ? base : hashed, marks);
}

/* On the pool too: a large mailbox takes its time here. */
static void fill_work(void *arg)
{
	struct listing *listing = arg;
	const struct maildir *md = listing->md;
	uint32_t edge = md->conf.newest ? listing->memory.ledger.head.edge : 0;

	for (size_t i = 0; i < md->count && !listing->err.kind; i++)
		if (!(md->files[i].state & MAILDIR_UNSHOWN) && md->files[i].number >= edge)
			listing->err = add_file(listing, i);
	if (!listing->err.kind)
		listing->err = maildrop_seal(listing->drop);
}

struct err maildir_list(struct upstream *up, struct maildrop *drop)
{
	struct maildir *md = (struct maildir *)up;
	const struct env *env = md->env;
	struct listing listing = {.md = md, .drop = drop, .err = OK};

	drop->newest_first = md->conf.newest_first;
	env->ops->offload(env, collect_work, &listing);
	if (listing.error)
		return maildir_err(listing.error);
	maildir_memory_init(&listing.memory, md, listing.is_quiet);
	listing.err = maildir_recall(md, &listing.memory);
	if (!listing.err.kind) {
		listing.chunk = mem_alloc(MAILDIR_CHUNK);
		size_all(&listing);
		free(listing.chunk);
		listing.err = listing.error ? maildir_err(listing.error)
					    : maildir_keep(md, &listing.memory);
	}
	if (!listing.err.kind)
		env->ops->offload(env, fill_work, &listing);
	maildir_memory_fini(&listing.memory);
	return listing.err;
}
