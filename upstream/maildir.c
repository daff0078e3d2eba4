/* SPDX-License-Identifier: MIT */
/* maildir.c - mail in a local Maildir, as a store.
 *
 * Messages are the regular files in new/ and cur/, in order of the time that begins their names.
 * The base name of a file is its UIDL. Nothing is moved at login: flags and folders change in
 * UPDATE alone.
 *
 * Every call that touches a file runs on the pool. Units are a scan, a batch of sizes (500 messages
 * or 16 MiB read), one chunk of 64 KiB of a message, one UPDATE: so a mailbox on a dead NFS server
 * holds one thread, and a large one lets others in between.
 */
#include "upstream/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/mem.h"

struct err maildir_err(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
		return ERR(ERR_POLICY, error, "the mailbox is missing");
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR(ERR_POLICY, error, "the mailbox is not accessible");
	default:
		return ERR(ERR_UPSTREAM, error, "the mailbox cannot be used now");
	}
}

int maildir_open_once(struct maildir *md, const struct maildir_file *file, bool *is_folder)
{
	int dir = maildir_folder_open(md, (enum maildir_folder)file->folder);
	int fd, error;

	*is_folder = dir < 0;
	if (dir < 0)
		return -1;
	/* O_NONBLOCK: what became a FIFO since the scan must not hold us. */
	fd = openat(dir, maildir_file_name(md, file),
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	error = errno;
	close(dir);
	errno = error;
	return fd;
}

struct err maildir_check_file(const struct maildir *md, int fd, struct stat *st)
{
	if (fstat(fd, st))
		return maildir_err(errno);
	if (!S_ISREG(st->st_mode))
		return ERR(ERR_MESSAGE, 0, "not a message file");
	if (st->st_nlink > 1 && st->st_uid != md->owner)
		return ERR(ERR_POLICY, 0, "a file of another owner in the mailbox");
	return OK;
}

struct err maildir_open_file(struct maildir *md, struct maildir_file *file, int *fd,
			     struct stat *st)
{
	int races = 0, misses = 0, error;
	struct err err;
	bool is_folder, is_quiet;

	while ((*fd = maildir_open_once(md, file, &is_folder)) < 0) {
		if (errno == ELOOP && !is_folder)
			return ERR(ERR_MESSAGE, ELOOP, "not a message file");
		if (errno != ENOENT || is_folder)
			return maildir_err(errno);
		error = maildir_refresh(md, &is_quiet);
		if (error)
			return maildir_err(error);
		if (file->state & MAILDIR_FOUND)
			races++;
		else if (is_quiet || ++misses == MAILDIR_TRIES)
			return ERR(ERR_MESSAGE, ENOENT, "no such message any more");
		if (races == MAILDIR_RACES)
			return ERR(ERR_UPSTREAM, ENOENT, "the message is renamed all the time");
	}
	err = maildir_check_file(md, *fd, st);
	if (err.kind) {
		close(*fd);
		*fd = -1;
	}
	return err;
}

struct opening {
	const char *path;
	struct maildir *md;
	bool is_writable;
	struct err err;
};

static void open_work(void *arg)
{
	struct opening *opening = arg;
	struct maildir *md = opening->md;
	struct stat st;

	md->root = open(opening->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (md->root < 0 || fstat(md->root, &st)) {
		opening->err = maildir_err(errno);
		return;
	}
	md->owner = st.st_uid;
	snprintf(md->upstream.identity, sizeof md->upstream.identity,
		 "maildir:%" PRIxMAX ":%" PRIxMAX, (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	opening->is_writable = true;
	for (int i = 0; i < MAILDIR_FOLDERS; i++) {
		int dir = maildir_folder_open(md, (enum maildir_folder)i);

		if (dir < 0) {
			opening->err = maildir_err(errno);
			return;
		}
		if (faccessat(dir, ".", W_OK | X_OK, AT_EACCESS))
			opening->is_writable = false;
		close(dir);
	}
}

static void close_work(void *arg)
{
	struct maildir *md = arg;

	if (md->root >= 0)
		close(md->root);
}

static void maildir_close(struct upstream *up, const struct maildrop *drop,
			  bool (*is_wanted)(const void *arg), const void *arg)
{
	struct maildir *md = (struct maildir *)up;

	(void)is_wanted;
	(void)arg;
	if (drop)
		maildir_learn(md, drop);
	md->env->ops->offload(md->env, close_work, md);
	buf_fini(&md->names);
	free(md->files);
	free(md);
}

static struct err maildir_open(const struct env *env, const struct log *log,
			       const struct upstream_conf *conf, const struct login *login,
			       struct notice *why, struct upstream **out)
{
	struct maildir *md = mem_alloc(sizeof *md);
	struct opening opening = {.path = conf->path, .md = md, .err = OK};

	(void)login;
	(void)why;
	*out = NULL;
	md->upstream.ops = &maildir_ops;
	md->env = env;
	md->log = log;
	md->root = -1;
	md->conf = *conf;
	buf_init(&md->names, MAILDIR_NAMES);
	env->ops->offload(env, open_work, &opening);
	if (opening.err.kind) {
		maildir_close(&md->upstream, NULL, NULL, NULL);
		return opening.err;
	}
	md->upstream.is_read_only = conf->delete_policy == DELETE_NEVER ||
				    (conf->delete_policy != DELETE_HIDE && !opening.is_writable);
	*out = &md->upstream;
	return OK;
}

struct reading {
	struct maildir *md;
	struct maildir_file *file;
	uint64_t from, octets; /* of the part; octets 0: all */
	int fd;                /* -1: not open */
	struct stat born;      /* as it was when it was opened */
	uint64_t at, end;
	char *chunk; /* owned */
	size_t got;
	struct err err;
};

static struct err begin_reading(struct reading *reading)
{
	uint64_t size;

	TRY(maildir_open_file(reading->md, reading->file, &reading->fd, &reading->born));
	size = (uint64_t)reading->born.st_size;
	reading->at = reading->from < size ? reading->from : size;
	reading->end = size;
	if (reading->octets && reading->octets < size - reading->at)
		reading->end = reading->at + reading->octets;
	size = reading->end - reading->at;
	reading->chunk = malloc(size && size < MAILDIR_CHUNK ? size : MAILDIR_CHUNK);
	return reading->chunk ? OK : ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
}

/* F-09: whoever writes into a message while we read it makes both halves worthless. */
static struct err check_unchanged(const struct reading *reading)
{
	const struct stat *born = &reading->born;
	struct stat st;

	if (fstat(reading->fd, &st))
		return maildir_err(errno);
	if (st.st_size != born->st_size || st.st_mtim.tv_sec != born->st_mtim.tv_sec ||
	    st.st_mtim.tv_nsec != born->st_mtim.tv_nsec)
		return ERR(ERR_UPSTREAM, 0, "the message changed while it was read");
	return OK;
}

static struct err read_some(struct reading *reading)
{
	uint64_t want;
	ssize_t got;

	if (reading->fd < 0)
		TRY(begin_reading(reading));
	want = reading->end - reading->at;
	if (want > MAILDIR_CHUNK)
		want = MAILDIR_CHUNK;
	reading->got = 0;
	while (reading->got < want) {
		got = pread(reading->fd, reading->chunk + reading->got, want - reading->got,
			    (off_t)(reading->at + reading->got));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR(ERR_UPSTREAM, errno, "the message cannot be read");
		if (!got)
			return ERR(ERR_UPSTREAM, 0, "the message became shorter");
		reading->got += (size_t)got;
	}
	reading->at += reading->got;
	return reading->at == reading->end ? check_unchanged(reading) : OK;
}

static void read_work(void *arg)
{
	struct reading *reading = arg;

	reading->err = read_some(reading);
	if ((reading->err.kind || reading->at == reading->end) && reading->fd >= 0) {
		close(reading->fd);
		reading->fd = -1;
	}
}

static void stop_work(void *arg)
{
	struct reading *reading = arg;

	close(reading->fd);
}

static struct err maildir_fetch(struct upstream *up, const struct maildrop *drop,
				const struct message *msg, const struct part *part,
				struct sink *sink)
{
	struct maildir *md = (struct maildir *)up;
	struct reading reading = {
		.md = md, .from = part->from, .octets = part->octets, .fd = -1, .err = OK};

	(void)drop;
	if (!msg->uid || msg->uid > md->count)
		return ERR(ERR_MESSAGE, 0, "no such message");
	reading.file = &md->files[msg->uid - 1];
	sink->announced_octets = part->from || part->octets ? 0 : msg->octets;
	do {
		md->env->ops->offload(md->env, read_work, &reading);
		if (!reading.err.kind && reading.got)
			reading.err = sink->put(sink, reading.chunk, reading.got);
	} while (!reading.err.kind && reading.at < reading.end);
	if (reading.fd >= 0)
		md->env->ops->offload(md->env, stop_work, &reading);
	free(reading.chunk);
	return reading.err;
}

const struct upstream_ops maildir_ops = {
	.name = "maildir",
	.open = maildir_open,
	.list = maildir_list,
	.fetch = maildir_fetch,
	.update = maildir_update,
	.retrieved = maildir_retrieved,
	.close = maildir_close,
};
