/* SPDX-License-Identifier: MIT */
/* state_lmdb.c - a state directory opened and closed, and its transactions.
 *
 * LMDB reads through a map of the file and writes with write(2), so a stray pointer of ours cannot
 * damage it; but a page that is not there is a SIGBUS. Hence, before each transaction a look at the
 * length of the file, and before the first one a look at all of it (state_lmdb_check.c).
 *
 * The map is only a range of addresses; it begins small and grows when it is full. Nothing may be
 * read or written while it does.
 */
#include "upstream/state_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "proxy/base/mem.h"

enum {
	FILE_MODE = 0600,
	BEGIN_TRIES = 20,
	WRITING_US = 50000,
	/* Of lock.mdb: a line of the cache for each reader, and LMDB's own. */
	LOCK_SIZE = STATE_READERS * 64 + 4096,
};

#define MAP_START ((size_t)256 << 20)
#if SIZE_MAX > UINT32_MAX
#define MAP_MAX ((size_t)64 << 30)
#else
#define MAP_MAX ((size_t)1 << 30)
#endif

static struct state_lmdb *lmdb_of(struct state_store *store)
{
	return (struct state_lmdb *)store;
}

struct err state_lmdb_err(int code)
{
	switch (code) {
	case 0:
		return OK;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return ERR(ERR_UPSTREAM, ENOSPC, "no space left for the gateway's records");
	case EROFS:
	case EACCES:
	case EPERM:
		return ERR(ERR_UPSTREAM, EROFS, "the gateway's records cannot be changed now");
	case ENOMEM:
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	case EBADMSG:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_CURSOR_FULL:
		return ERR(ERR_UPSTREAM, EBADMSG, "the gateway's records are damaged");
	default:
		return ERR(ERR_UPSTREAM, EIO, "the gateway's records cannot be read or written");
	}
}

void state_lmdb_log(const struct state_lmdb *lmdb, const char *what, const char *key,
		    struct err err)
{
	LOG(&lmdb->log, LEVEL_ALARM, "state-failed", log_text("doing", what), log_text("key", key),
	    log_text("file", lmdb->file), log_number("code", (uint64_t)err.code),
	    log_text("what", err.what), log_text("why", strerror(err.code)));
}

void state_lmdb_tell(struct state_lmdb *lmdb, const char *key, struct err err)
{
	int now = err.kind ? err.code : 0;

	if (atomic_exchange(&lmdb->told, now) == now)
		return;
	if (err.kind)
		state_lmdb_log(lmdb, "write", key, err);
	else
		LOG(&lmdb->log, LEVEL_NOTE, "state-well", log_text("file", lmdb->file));
}

/* --- transactions ------------------------------------------------------------------------- */

struct err state_lmdb_look(struct state_lmdb *lmdb)
{
	struct stat opened, named;
	int fd;

	/* Before we look: in between others may see the file grow. */
	uint64_t before = atomic_load(&lmdb->length);
	if (mdb_env_get_fd(lmdb->env, &fd) || fstat(fd, &opened) < 0)
		return state_lmdb_err(EIO);
	if (stat(lmdb->file, &named) < 0 || named.st_ino != opened.st_ino ||
	    named.st_dev != opened.st_dev)
		return ERR(ERR_UPSTREAM, EIO, "the gateway's records were replaced under it");
	uint64_t length = (uint64_t)opened.st_size;
	if (length < before)
		return state_lmdb_err(EBADMSG);
	while (length > before && !atomic_compare_exchange_weak(&lmdb->length, &before, length))
		;
	return OK;
}

/* Another process has given the map more room. */
static void adopt_size(struct state_lmdb *lmdb)
{
	pthread_rwlock_wrlock(&lmdb->map_lock);
	(void)mdb_env_set_mapsize(lmdb->env, 0); /* the next try will show */
	pthread_rwlock_unlock(&lmdb->map_lock);
}

struct err state_lmdb_begin(struct state_lmdb *lmdb, unsigned flags, MDB_txn **out)
{
	int code = MDB_READERS_FULL, dead;

	*out = NULL;
	TRY(state_lmdb_look(lmdb));
	for (int tries = 0; tries < BEGIN_TRIES; tries++) {
		pthread_rwlock_rdlock(&lmdb->map_lock);
		code = mdb_txn_begin(lmdb->env, NULL, flags, out);
		if (!code)
			return OK;
		pthread_rwlock_unlock(&lmdb->map_lock);
		*out = NULL;
		if (code == MDB_MAP_RESIZED)
			adopt_size(lmdb);
		else if (code == MDB_READERS_FULL)
			(void)mdb_reader_check(lmdb->env, &dead);
		else
			break;
	}
	return state_lmdb_err(code);
}

void state_lmdb_end(struct state_lmdb *lmdb, MDB_txn *txn)
{
	if (txn)
		mdb_txn_abort(txn);
	pthread_rwlock_unlock(&lmdb->map_lock);
}

bool state_lmdb_newest(struct state_lmdb *lmdb, uint64_t *id)
{
	MDB_envinfo info;

	if (state_lmdb_look(lmdb).kind || pthread_rwlock_tryrdlock(&lmdb->map_lock))
		return false;
	/* Both first pages show a transaction before any reader may see it. */
	bool is_told = !mdb_env_info(lmdb->env, &info);
	pthread_rwlock_unlock(&lmdb->map_lock);
	*id = is_told ? info.me_last_txnid : 0;
	return is_told;
}

bool state_lmdb_grow(struct state_lmdb *lmdb)
{
	MDB_envinfo info;
	int dead;

	/* A reader that was killed keeps pages from being used again. */
	(void)mdb_reader_check(lmdb->env, &dead);
	pthread_rwlock_wrlock(&lmdb->map_lock);
	bool is_done = !mdb_env_info(lmdb->env, &info) && info.me_mapsize < MAP_MAX;
	if (is_done) {
		size_t twice = info.me_mapsize < MAP_MAX / 2 ? info.me_mapsize * 2 : MAP_MAX;
		is_done = !mdb_env_set_mapsize(lmdb->env, twice);
	}
	pthread_rwlock_unlock(&lmdb->map_lock);
	return is_done;
}

/* --- opening ------------------------------------------------------------------------------ */

static void lmdb_close(struct state_store *store)
{
	struct state_lmdb *lmdb = lmdb_of(store);

	mdb_env_close(lmdb->env);
	pthread_rwlock_destroy(&lmdb->map_lock);
	pthread_mutex_destroy(&lmdb->queue_lock);
	pthread_cond_destroy(&lmdb->queue_moved);
	state_recent_free(lmdb->recent);
	free(lmdb->file);
	free(lmdb);
}

static const struct state_ops lmdb_ops = {
	"lmdb", state_lmdb_get, state_lmdb_walk, state_lmdb_put, lmdb_close,
};

static struct err refuse(struct notice *why, const char *file, const char *what, int code)
{
	struct notice full;

	snprintf(full.text, sizeof full.text, "%.120s: %.130s", file, what);
	*why = full;
	return ERR(ERR_POLICY, code, "the state cannot be used");
}

/* A last word before LMDB aborts the process; the next start will say what is wrong. */
static void on_assert(MDB_env *env, const char *what)
{
	const struct state_lmdb *lmdb = mdb_env_get_userctx(env);

	LOG(&lmdb->log, LEVEL_ALARM, "state-damaged", log_text("file", lmdb->file),
	    log_text("what", what));
}

static bool is_for_reading_only(int code)
{
	return code == EROFS || code == EACCES || code == EPERM;
}

/* Makes a file that holds nothing but its format, whole or not at all: it gets its name last. So a
 * data.mdb that is empty is one that was damaged, never a new one. */
static int found_file(const char *path, const char *file)
{
	char *made = text_printf_dup("%s.new-%ld", file, (long)getpid());
	MDB_env *env = NULL;

	(void)unlink(made); /* of an earlier process of this number */
	int code = mdb_env_create(&env);
	if (!code)
		code = mdb_env_open(env, made, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS, FILE_MODE);
	if (!code)
		code = state_lmdb_found(env);
	if (env)
		mdb_env_close(env);
	if (!code && link(made, file) < 0 && errno != EEXIST)
		code = errno;
	(void)unlink(made);
	free(made);
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!code && (directory < 0 || fsync(directory) < 0))
		code = errno;
	if (directory >= 0)
		close(directory);
	return code;
}

/* LMDB writes to lock.mdb through a map: where the disk has no room for it, that is a SIGBUS. So it
 * gets its room before. An errno. */
static int reserve_lock(const char *path)
{
	char *file = text_printf_dup("%s/lock.mdb", path);
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
	int code = fd < 0 || fallocate(fd, 0, 0, LOCK_SIZE) < 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	free(file);
	return code == EOPNOTSUPP ? 0 : code;
}

static int open_env(struct state_lmdb *lmdb, const char *path, unsigned flags)
{
	MDB_txn *txn = NULL;
	int dead, code = mdb_env_create(&lmdb->env);

	if (!code)
		code = mdb_env_set_maxreaders(lmdb->env, STATE_READERS);
	if (!code)
		code = mdb_env_set_mapsize(lmdb->env, MAP_START);
	if (!code)
		code = mdb_env_set_userctx(lmdb->env, lmdb);
	if (!code)
		code = mdb_env_set_assert(lmdb->env, on_assert);
	if (!code)
		code = mdb_env_open(lmdb->env, path, MDB_NOTLS | flags, FILE_MODE);
	if (!code)
		code = mdb_reader_check(lmdb->env, &dead);
	if (!code)
		code = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn);
	if (!code)
		code = mdb_dbi_open(txn, NULL, 0, &lmdb->dbi);
	if (txn)
		mdb_txn_abort(txn);
	return code;
}

/* Opens the file `fd` (data.mdb) by LMDB and looks it over while nobody can write. */
static struct err open_checked(struct state_lmdb *lmdb, const char *path, int fd, unsigned flags,
			       struct notice *why)
{
	struct notice wrong = {""};
	MDB_txn *txn = NULL;
	struct stat status;

	bool is_good = state_check_head(fd, &wrong);
	if (!is_good) {
		usleep(WRITING_US); /* another process may just be writing there */
		is_good = state_check_head(fd, &wrong);
	}
	if (!is_good)
		return refuse(why, lmdb->file, wrong.text, EBADMSG);
	int code = open_env(lmdb, path, flags);
	if (!code)
		code = mdb_txn_begin(lmdb->env, NULL, flags & MDB_RDONLY, &txn);
	if (code)
		return refuse(why, lmdb->file, mdb_strerror(code), code);
	is_good = state_check_all(fd, &wrong) && !fstat(fd, &status);
	mdb_txn_abort(txn);
	if (!is_good)
		return refuse(why, lmdb->file, wrong.text, EBADMSG);
	atomic_store(&lmdb->length, (uint64_t)status.st_size);
	return OK;
}

/* Opens data.mdb, made if need be, for writing or else for reading; *flags are LMDB's. */
static struct err open_file(const char *path, const char *file, unsigned *flags, int *fd,
			    struct notice *why)
{
	int code = 0;

	*flags = 0;
	*fd = -1;
	if (access(file, F_OK) < 0 && errno == ENOENT)
		code = found_file(path, file);
	if (code)
		return refuse(why, file, mdb_strerror(code), code);
	*fd = open(file, O_RDWR | O_CLOEXEC);
	if (*fd < 0 && is_for_reading_only(errno)) {
		*flags = MDB_RDONLY;
		*fd = open(file, O_RDONLY | O_CLOEXEC);
	}
	if (*fd < 0)
		return refuse(why, file, strerror(errno), errno);
	code = reserve_lock(path);
	if (is_for_reading_only(code))
		*flags = MDB_RDONLY | MDB_NOLOCK; /* we could not write, so nobody like us does */
	else if (code)
		return refuse(why, path, strerror(code), code);
	return OK;
}

static struct state_lmdb *lmdb_new(const char *path, const struct log *log)
{
	struct state_lmdb *lmdb = mem_alloc(sizeof *lmdb);
	pthread_rwlockattr_t attr;

	lmdb->store.ops = &lmdb_ops;
	lmdb->file = text_printf_dup("%s/data.mdb", path);
	lmdb->last = &lmdb->first;
	if (log)
		lmdb->log = *log;
	pthread_rwlockattr_init(&attr);
	/* Else who maps anew might wait for ever. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&lmdb->map_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&lmdb->queue_lock, NULL);
	pthread_cond_init(&lmdb->queue_moved, NULL);
	lmdb->recent = state_recent_new();
	return lmdb;
}

struct err state_lmdb_open(const char *path, const struct log *log, struct notice *why,
			   struct state_store **out)
{
	struct state_lmdb *lmdb = lmdb_new(path, log);
	unsigned flags;
	int fd;

	*out = NULL;
	struct err err = open_file(path, lmdb->file, &flags, &fd, why);
	if (!err.kind)
		err = open_checked(lmdb, path, fd, flags, why);
	if (fd >= 0)
		close(fd);
	if (err.kind) {
		lmdb_close(&lmdb->store);
		return err;
	}
	lmdb->is_read_only = flags & MDB_RDONLY;
	if (lmdb->is_read_only)
		LOG(&lmdb->log, LEVEL_ALARM, "state-read-only", log_text("file", lmdb->file));
	*out = &lmdb->store;
	return OK;
}
