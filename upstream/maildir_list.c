/* SPDX-License-Identifier: MIT */
/* maildir_list.c - the snapshot of a Maildir, sizes and UIDLs included.
 *
 * Sizes: ",W=" of the name is believed; without it the file is read and its line ends are counted,
 * since a size in octets with CRLF is what POP3 promises. They are kept for the session only. An
 * unreadable message stays listed, with a size marked inexact.
 *
 * UIDLs: the base name, or its digest if it cannot be a UIDL itself.
 */
#include "upstream/maildir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "upstream/identity.h"

enum { BATCH_FILES = 500, BATCH_OCTETS = 16 << 20 };

struct listing {
	struct maildir *md;
	struct maildrop *drop;
	size_t next;     /* the file whose size is to be learned now */
	uint64_t budget; /* octets that this batch may still read */
	size_t missing;  /* files that were not where they had been */
	char *chunk;     /* owned, MAILDIR_CHUNK octets */
	int error;       /* errno that ends the listing */
	struct err err;
};

static void collect_work(void *arg)
{
	struct listing *listing = arg;

	listing->error = maildir_collect(listing->md);
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
	file->state |= MAILDIR_SIZED;
	listing->budget -= file->octets < listing->budget ? file->octets : listing->budget;
}

/* Our own shortage and a lost folder fail the listing; what is wrong with one file must not. */
static void size_file(struct listing *listing, struct maildir_file *file)
{
	bool is_folder;
	int fd = maildir_open_once(listing->md, file, &is_folder);

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
	for (; listing->next < md->count && listing->next < stop; listing->next++) {
		struct maildir_file *file = &md->files[listing->next];

		if (!(file->state & (MAILDIR_SIZED | MAILDIR_GONE)))
			size_file(listing, file);
		if (listing->error || !listing->budget)
			stop = listing->next;
	}
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

		if (file->state & (MAILDIR_SIZED | MAILDIR_GONE))
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
	char base[MAILDIR_NAME_MAX + 1], hashed[UIDL_MAX + 1];
	bool is_safe;

	memcpy(base, maildir_file_name(md, file), file->base_len);
	base[file->base_len] = '\0';
	is_safe = is_safe_name(base);
	if (!is_safe)
		identity_of_name(hashed, base);
	return maildrop_add(listing->drop, (uint32_t)index + 1, file->octets,
			    is_safe ? base : hashed,
			    file->state & MAILDIR_INEXACT ? MARK_INEXACT : 0);
}

/* On the pool too: a large mailbox takes its time here. */
static void fill_work(void *arg)
{
	struct listing *listing = arg;

	for (size_t i = 0; i < listing->md->count && !listing->err.kind; i++)
		if (!(listing->md->files[i].state & MAILDIR_GONE))
			listing->err = add_file(listing, i);
	if (!listing->err.kind)
		listing->err = maildrop_seal(listing->drop);
}

struct err maildir_list(struct upstream *up, struct maildrop *drop)
{
	struct maildir *md = (struct maildir *)up;
	const struct env *env = md->env;
	struct listing listing = {.md = md, .drop = drop, .err = OK};

	drop->newest_first = md->newest_first;
	listing.chunk = mem_alloc(MAILDIR_CHUNK);
	env->ops->offload(env, collect_work, &listing);
	if (!listing.error)
		size_all(&listing);
	free(listing.chunk);
	if (listing.error)
		return maildir_err(listing.error);
	env->ops->offload(env, fill_work, &listing);
	return listing.err;
}
