/* SPDX-License-Identifier: MIT */
/* t_state_disk.c - a state directory in trouble: writers killed at any moment, files cut, flipped,
 * replaced, disks full or read-only; and writers in a crowd. Whatever may crash runs in a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/state_rig.h"
#include "upstream/state_lmdb.h"

/* Statuses of children. */
enum { SAME = 10, REFUSED = 11, DIFFERS = 12, STRANGE = 13 };

static bool exits(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

/* --- kill -9 ------------------------------------------------------------------------------ */

/* Puts the same number under two keys again and again, and says each that is safe. */
static int write_for_ever(struct rig *rig, int to)
{
	char number[24];
	bool is_stale;

	for (unsigned n = 1;; n++) {
		snprintf(number, sizeof number, "%u", n);
		struct state_change changes[] = {{"one", number, strlen(number), STATE_ANY},
						 {"other", number, strlen(number), STATE_ANY}};
		if (rig->store->ops->put(rig->store, &rig->world.env, changes, 2, &is_stale).kind ||
		    write(to, &n, sizeof n) != sizeof n)
			return STRANGE;
	}
}

/* The last number that a child said before it was killed, `moment` of its messages after it began
 * and a little. */
static unsigned kill_writer(struct rig *rig, unsigned moment)
{
	unsigned last = 0, said;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	fflush(NULL);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(pipes[0]);
		_exit(rig_open(rig) ? write_for_ever(rig, pipes[1]) : STRANGE);
	}
	close(pipes[1]);
	while (moment-- > 0 && read(pipes[0], &said, sizeof said) == sizeof said)
		last = said;
	usleep(last * 7919 % 3000);
	kill(child, SIGKILL);
	while (read(pipes[0], &said, sizeof said) == sizeof said)
		last = said;
	close(pipes[0]);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	return last;
}

static void test_killed(void **nothing)
{
	enum { KILLS = 25 };
	char one[24], other[24];
	uint64_t version, again;
	struct rig rig;

	(void)nothing;
	rig_init(&rig);
	for (unsigned i = 0; i < KILLS; i++) {
		unsigned safe = kill_writer(&rig, i % 5);
		assert_true(rig_open(&rig));
		assert_int_equal(rig_get(&rig, "one", one, sizeof one, &version).kind, ERR_NONE);
		assert_int_equal(rig_get(&rig, "other", other, sizeof other, &again).kind,
				 ERR_NONE);
		assert_string_equal(one, other);
		assert_int_equal(version, again);
		unsigned there = (unsigned)atoi(one);
		if (safe)
			assert_true(there == safe || there == safe + 1);
		rig_close(&rig);
	}
	rig_fini(&rig);
}

/* --- a crowd ------------------------------------------------------------------------------ */

struct writer {
	struct rig *rig;
	struct fake_world world;
	pthread_t thread;
	char key[16];
	size_t len; /* of the value */
	uint64_t was;
	bool is_stale;
	struct err err;
};

static void *writer_run(void *arg)
{
	struct writer *writer = arg;
	static const char value[4 << 20];
	struct state_change change = {writer->key, value, writer->len, writer->was};
	struct state_store *store = writer->rig->store;

	writer->err = store->ops->put(store, &writer->world.env, &change, 1, &writer->is_stale);
	return NULL;
}

/* While one writes, all others come together into the next transaction, and those whose version no
 * longer holds fail alone. */
static void test_crowd(void **nothing)
{
	enum { WRITERS = 16 };
	struct writer writers[WRITERS];
	struct rig rig;
	MDB_txn *txn;

	(void)nothing;
	rig_init(&rig);
	assert_true(rig_open(&rig));
	struct state_lmdb *lmdb = (struct state_lmdb *)rig.store;
	assert_int_equal(rig_put_text(&rig, "key03", "old").kind, ERR_NONE);
	unsigned before = lmdb->commits;
	assert_int_equal(mdb_txn_begin(lmdb->env, NULL, 0, &txn), 0);
	for (size_t i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.rig = &rig, .len = 1};
		fake_world_init(&writers[i].world);
		/* 3 is there already; 8 and 9 want the same key to be new. */
		snprintf(writers[i].key, sizeof writers[i].key, "key%02zu", i == 9 ? 8 : i);
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]),
				 0);
	}
	while (state_lmdb_waiting(lmdb) != WRITERS - 1)
		usleep(1000);
	mdb_txn_abort(txn);
	for (size_t i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
		assert_int_equal(writers[i].err.kind, ERR_NONE);
		if (i != 8 && i != 9)
			assert_int_equal(writers[i].is_stale, i == 3);
	}
	assert_true(writers[8].is_stale != writers[9].is_stale);
	assert_int_equal(lmdb->commits - before, 2);
	rig_fini(&rig);
}

/* The map grows when it is full, and with what another process has written. */
static int write_much(void *arg)
{
	struct rig *rig = arg;
	static char value[300000];
	char key[16];

	if (!rig_open(rig))
		return STRANGE;
	for (unsigned i = 0; i < 10; i++) {
		snprintf(key, sizeof key, "much%u", i);
		if (rig_put(rig, key, value, sizeof value).kind)
			return DIFFERS;
	}
	rig_close(rig);
	return SAME;
}

static void test_grows(void **nothing)
{
	enum { SMALL = 1 << 20 };
	static char value[300000];
	struct rig rig, other;
	MDB_envinfo info;
	uint64_t version;
	char text[8], key[16];

	(void)nothing;
	rig_init(&rig);
	assert_true(rig_open(&rig));
	struct state_lmdb *lmdb = (struct state_lmdb *)rig.store;
	assert_int_equal(mdb_env_set_mapsize(lmdb->env, SMALL), 0);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(key, sizeof key, "key%u", i);
		assert_int_equal(rig_put(&rig, key, value, sizeof value).kind, ERR_NONE);
	}
	assert_int_equal(mdb_env_info(lmdb->env, &info), 0);
	assert_true(info.me_mapsize > SMALL);
	assert_int_equal(mdb_env_set_mapsize(lmdb->env, SMALL), 0);
	assert_int_equal(mdb_env_info(lmdb->env, &info), 0);
	other = rig;
	other.store = NULL;
	assert_true(exits(rig_child(write_much, &other), SAME));
	assert_int_equal(rig_get(&rig, "much9", text, sizeof text, &version).kind, ERR_NONE);
	assert_true(version > 0);
	assert_int_equal(rig_put_text(&rig, "a", "1").kind, ERR_NONE);
	rig_fini(&rig);
}

/* --- files that are not what they were ---------------------------------------------------- */

struct damage {
	struct rig *rig;
	uint64_t sum;
	size_t count;
	const char *expected; /* part of `why`; NULL: any */
};

/* Opens; if that goes well all must be as before, and the file must be good for writing. */
static int open_and_look(void *arg)
{
	struct damage *damage = arg;
	struct rig *rig = damage->rig;
	uint64_t sum;
	size_t count;

	if (!rig_open(rig)) {
		bool is_told = rig->err.kind == ERR_POLICY && strstr(rig->why.text, "data.mdb: ") &&
			       (!damage->expected || strstr(rig->why.text, damage->expected));
		return is_told ? REFUSED : STRANGE;
	}
	if (rig_sum(rig, &sum, &count).kind || sum != damage->sum || count != damage->count)
		return DIFFERS;
	rig_fill(rig, 2);
	rig_close(rig);
	return rig_open(rig) ? SAME : DIFFERS;
}

static char *slurp(const char *path, size_t *len)
{
	struct stat status;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0 && fstat(fd, &status) == 0);
	char *octets = malloc((size_t)status.st_size + 1);
	assert_int_equal(read(fd, octets, (size_t)status.st_size), status.st_size);
	close(fd);
	*len = (size_t)status.st_size;
	return octets;
}

static void spill(const char *path, const char *octets, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, octets, len), len);
	close(fd);
}

static char *make_file(struct rig *rig, struct damage *damage, size_t *len)
{
	rig_init(rig);
	assert_true(rig_open(rig));
	rig_fill(rig, 40);
	*damage = (struct damage){.rig = rig};
	assert_int_equal(rig_sum(rig, &damage->sum, &damage->count).kind, ERR_NONE);
	rig_close(rig);
	return slurp(rig_file(rig, "data.mdb"), len);
}

/* Does the n-th damage to the file: a bit of each octet of its first two heads, then bits, octets and
 * whole sectors anywhere. Says where. */
static size_t do_damage(struct rig *rig, char *octets, size_t len, size_t n)
{
	enum { HEAD = 160, PAGE = 4096, SECTOR = 512 };
	uint64_t chance;

	rig->world.env.ops->random(&rig->world.env, &chance, sizeof chance);
	size_t at = n < HEAD ? n : n < (size_t)2 * HEAD ? PAGE + n - HEAD : chance % len;
	if (n < (size_t)2 * HEAD || chance >> 61)
		octets[at] =
			(char)(octets[at] ^ (chance >> 60 == 2 ? 0xff : 1 << (chance >> 32) % 8));
	else if (chance >> 60)
		memset(octets + at / SECTOR * SECTOR, 0, SECTOR);
	else /* an old sector in the place of a new one */
		memmove(octets + at / SECTOR * SECTOR, octets + len / 2 / SECTOR * SECTOR, SECTOR);
	return at;
}

/* Damage anywhere: the file is refused, or nothing that matters was hit. */
static void test_flips(void **nothing)
{
	enum { TIMES = 700 };
	unsigned same = 0, refused = 0;
	struct damage damage;
	struct rig rig;
	size_t len;

	(void)nothing;
	char *octets = make_file(&rig, &damage, &len), *damaged = malloc(len);
	assert_true(exits(rig_child(open_and_look, &damage), SAME));
	for (size_t i = 0; i < TIMES; i++) {
		memcpy(damaged, octets, len);
		size_t at = do_damage(&rig, damaged, len, i);
		spill(rig_file(&rig, "data.mdb"), damaged, len);
		int status = rig_child(open_and_look, &damage);
		same += exits(status, SAME);
		refused += exits(status, REFUSED);
		if (!exits(status, SAME) && !exits(status, REFUSED))
			fail_msg("damage %zu, at octet %zu: status %x", i, at, status);
	}
	print_message("# %zu octets: %u times refused, %u times without effect\n", len, refused,
		      same);
	assert_true(refused > TIMES / 4);
	free(damaged);
	free(octets);
	rig_fini(&rig);
}

static void test_cut(void **nothing)
{
	static const struct {
		size_t keep; /* octets, or from the end if is_less */
		bool is_less;
	} cuts[] = {{0, false},    {1, false},     {100, false}, {4096, false}, {8191, false},
		    {8192, false}, {12288, false}, {1, true},    {4096, true},  {40960, true}};
	struct damage damage;
	struct rig rig;
	size_t len;

	(void)nothing;
	char *octets = make_file(&rig, &damage, &len);
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
		size_t keep = cuts[i].is_less ? len - cuts[i].keep : cuts[i].keep;
		spill(rig_file(&rig, "data.mdb"), octets, keep);
		int status = rig_child(open_and_look, &damage);
		/* Pages at the very end may be free ones. */
		if (!exits(status, REFUSED) && !(cuts[i].is_less && exits(status, SAME)))
			fail_msg("cut to %zu: status %x", keep, status);
	}
	free(octets);
	rig_fini(&rig);
}

static void test_foreign(void **nothing)
{
	static const char text[] = "this is not a database, but it is long enough to be mistaken";
	struct damage damage = {.expected = "not a file of LMDB's"};
	struct rig rig;
	char *page = calloc(1, 65536);

	(void)nothing;
	rig_init(&rig);
	damage.rig = &rig;
	memcpy(page, text, sizeof text);
	spill(rig_file(&rig, "data.mdb"), page, 65536);
	assert_true(exits(rig_child(open_and_look, &damage), REFUSED));
	free(page);
	/* LMDB's, but somebody else's. */
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key = {1, (void *)(uintptr_t) "k"}, value = {1, (void *)(uintptr_t) "v"};
	unlink(rig_file(&rig, "data.mdb"));
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, rig.path, 0, 0600), 0);
	damage.expected = "not a state of popgate's";
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	assert_true(exits(rig_child(open_and_look, &damage), REFUSED));
	damage.expected = "the value of k";
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, rig.path, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	assert_true(exits(rig_child(open_and_look, &damage), REFUSED));
	rig_fini(&rig);
}

/* A value that lies under another's key is not his. */
static void test_swapped(void **nothing)
{
	struct damage damage = {.expected = "the value of ann"};
	struct rig rig;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val ann = {3, (void *)(uintptr_t) "ann"}, joe = {3, (void *)(uintptr_t) "joe"}, value;

	(void)nothing;
	rig_init(&rig);
	damage.rig = &rig;
	assert_true(rig_open(&rig));
	assert_int_equal(rig_put_text(&rig, "ann", "one").kind, ERR_NONE);
	assert_int_equal(rig_put_text(&rig, "joe", "two").kind, ERR_NONE);
	rig_close(&rig);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, rig.path, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_get(txn, dbi, &joe, &value), 0);
	char octets[64];
	memcpy(octets, value.mv_data, value.mv_size);
	value.mv_data = octets;
	assert_int_equal(mdb_put(txn, dbi, &ann, &value, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	assert_true(exits(rig_child(open_and_look, &damage), REFUSED));
	rig_fini(&rig);
}

/* A copy by LMDB's own means is a good state: that is how it is backed up. */
static void test_copies(void **nothing)
{
	struct damage damage;
	struct rig rig, copy;
	size_t len;
	MDB_env *env;

	(void)nothing;
	free(make_file(&rig, &damage, &len));
	for (unsigned i = 0; i < 2; i++) {
		rig_init(&copy);
		assert_int_equal(mdb_env_create(&env), 0);
		assert_int_equal(mdb_env_open(env, rig.path, MDB_RDONLY, 0600), 0);
		assert_int_equal(mdb_env_copy2(env, copy.path, i ? MDB_CP_COMPACT : 0), 0);
		mdb_env_close(env);
		damage.rig = &copy;
		assert_true(exits(rig_child(open_and_look, &damage), SAME));
		rig_fini(&copy);
	}
	rig_fini(&rig);
}

/* While it is open: cut short, replaced, gone. Each is an error, and none is a crash. */
static void test_under_way(void **nothing)
{
	char text[8];
	uint64_t version, sum;
	struct rig rig;
	size_t len, count;

	(void)nothing;
	rig_init(&rig);
	assert_true(rig_open(&rig));
	rig_fill(&rig, 40);
	char *octets = slurp(rig_file(&rig, "data.mdb"), &len);
	assert_int_equal(truncate(rig_file(&rig, "data.mdb"), (off_t)len / 2), 0);
	assert_int_equal(rig_get(&rig, "a", text, sizeof text, &version).code, EBADMSG);
	assert_int_equal(rig_put_text(&rig, "a", "1").code, EBADMSG);
	assert_int_equal(rig_sum(&rig, &sum, &count).code, EBADMSG);
	spill(rig_file(&rig, "other"), octets, len);
	assert_int_equal(rename(rig_file(&rig, "other"), rig_file(&rig, "data.mdb")), 0);
	assert_int_equal(rig_put_text(&rig, "a", "1").code, EIO);
	assert_int_equal(unlink(rig_file(&rig, "data.mdb")), 0);
	assert_int_equal(rig_get(&rig, "a", text, sizeof text, &version).code, EIO);
	free(octets);
	rig_fini(&rig);
}

/* --- disks -------------------------------------------------------------------------------- */

static bool mount_small(const char *path)
{
	if (geteuid() == 0 && mount("tmpfs", path, "tmpfs", 0, "size=2m") == 0)
		return true;
	print_message("# skipped: cannot mount a tmpfs here (%s)\n", strerror(errno));
	return false;
}

static int fill_the_disk(void *arg)
{
	struct rig *rig = arg;
	static char value[100000];
	struct err err = OK;
	uint64_t before, after;
	size_t count, again;
	char key[16];
	unsigned i = 0;

	if (!rig_open(rig))
		return STRANGE;
	rig_fill(rig, 40);
	for (; !err.kind && i < 100; i++) {
		snprintf(key, sizeof key, "key%u", i);
		if (rig_sum(rig, &before, &count).kind)
			return STRANGE;
		err = rig_put(rig, key, value, sizeof value);
	}
	if (err.kind != ERR_UPSTREAM || err.code != ENOSPC || rig_sum(rig, &after, &again).kind ||
	    before != after || count != again)
		return DIFFERS;
	/* Closed and opened on the full disk it is the same. */
	rig_close(rig);
	if (!rig_open(rig) || rig_sum(rig, &after, &again).kind || before != after)
		return DIFFERS;
	return SAME;
}

/* What is erased on a full disk gives room again. */
static int put_after_room(void *arg)
{
	static char value[100000];
	struct rig *rig = arg;

	if (!rig_open(rig) || rig_put(rig, "more", value, sizeof value).code != ENOSPC)
		return STRANGE;
	if (rig_erase(rig, "key0").kind || rig_erase(rig, "key1").kind ||
	    rig_erase(rig, "key2").kind)
		return DIFFERS;
	return rig_put(rig, "more", value, sizeof value).kind ? DIFFERS : SAME;
}

static int open_on_full(void *arg)
{
	struct rig *rig = arg;

	if (rig_open(rig))
		return DIFFERS;
	return rig->err.kind == ERR_POLICY && strstr(rig->why.text, "No space left") ? REFUSED
										     : STRANGE;
}

/* One that is too large for the disk stands with two others in one transaction. */
static int crowd_the_disk(void *arg)
{
	enum { LARGE = 4 << 20 };
	struct rig *rig = arg;
	struct writer writers[4];
	MDB_txn *txn;
	bool is_led;
	int status = SAME;

	if (!rig_open(rig) || mdb_txn_begin(((struct state_lmdb *)rig->store)->env, NULL, 0, &txn))
		return STRANGE;
	struct state_lmdb *lmdb = (struct state_lmdb *)rig->store;
	for (size_t i = 0; i < 4; i++) {
		writers[i] = (struct writer){.rig = rig, .len = i == 2 ? LARGE : 1};
		fake_world_init(&writers[i].world);
		snprintf(writers[i].key, sizeof writers[i].key, "crowd%zu", i);
		if (pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]))
			return STRANGE;
		do { /* the first leads, and the others wait for him */
			usleep(1000);
			pthread_mutex_lock(&lmdb->queue_lock);
			is_led = lmdb->is_led;
			pthread_mutex_unlock(&lmdb->queue_lock);
		} while (!is_led || state_lmdb_waiting(lmdb) != i);
	}
	mdb_txn_abort(txn);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(writers[i].thread, NULL);
		if (writers[i].err.code != (i == 2 ? ENOSPC : 0) || writers[i].is_stale)
			status = DIFFERS;
	}
	return status;
}

static void fill_file(const char *path)
{
	static char octets[65536];
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	while (write(fd, octets, sizeof octets) > 0)
		;
	while (write(fd, octets, 1) > 0)
		;
	close(fd);
}

static void test_full(void **nothing)
{
	struct rig rig;

	(void)nothing;
	rig_init(&rig);
	if (!mount_small(rig.path)) {
		rig_fini(&rig);
		skip();
	}
	fill_file(rig_file(&rig, "ballast"));
	int at_first = rig_child(open_on_full, &rig);
	assert_int_equal(unlink(rig_file(&rig, "ballast")), 0);
	int crowded = rig_child(crowd_the_disk, &rig);
	int filled = rig_child(fill_the_disk, &rig);
	int freed = rig_child(put_after_room, &rig);
	unlink(rig_file(&rig, "data.mdb"));
	unlink(rig_file(&rig, "lock.mdb"));
	assert_int_equal(umount2(rig.path, MNT_DETACH), 0);
	rig_fini(&rig);
	assert_true(exits(at_first, REFUSED));
	assert_true(exits(crowded, SAME));
	assert_true(exits(filled, SAME));
	assert_true(exits(freed, SAME));
}

/* Reads are well, writes are EROFS. */
static int use_read_only(void *arg)
{
	struct damage *damage = arg;
	uint64_t sum;
	size_t count;

	if (!rig_open(damage->rig))
		return STRANGE;
	if (rig_sum(damage->rig, &sum, &count).kind || sum != damage->sum)
		return DIFFERS;
	return rig_put_text(damage->rig, "a", "1").code == EROFS ? SAME : DIFFERS;
}

static void test_read_only_disk(void **nothing)
{
	struct damage damage;
	struct rig rig;

	(void)nothing;
	rig_init(&rig);
	if (!mount_small(rig.path)) {
		rig_fini(&rig);
		skip();
	}
	damage = (struct damage){.rig = &rig};
	assert_true(rig_open(&rig));
	rig_fill(&rig, 40);
	assert_int_equal(rig_sum(&rig, &damage.sum, &damage.count).kind, ERR_NONE);
	rig_close(&rig);
	assert_int_equal(mount(NULL, rig.path, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	int status = rig_child(use_read_only, &damage);
	/* Without the lock file too. */
	assert_int_equal(mount(NULL, rig.path, NULL, MS_REMOUNT, NULL), 0);
	unlink(rig_file(&rig, "lock.mdb"));
	assert_int_equal(mount(NULL, rig.path, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	int again = rig_child(use_read_only, &damage);
	assert_int_equal(umount2(rig.path, MNT_DETACH), 0);
	rig_fini(&rig);
	assert_true(exits(status, SAME));
	assert_true(exits(again, SAME));
}

static int use_as_nobody(void *arg)
{
	const struct passwd *nobody = getpwnam("nobody");

	if (geteuid() == 0 && (!nobody || setgid(nobody->pw_gid) || setuid(nobody->pw_uid)))
		return STRANGE;
	return use_read_only(arg);
}

static void test_read_only_directory(void **nothing)
{
	struct damage damage;
	struct rig rig;
	size_t len;

	(void)nothing;
	free(make_file(&rig, &damage, &len));
	assert_int_equal(chmod(rig_file(&rig, "data.mdb"), 0444), 0);
	assert_int_equal(chmod(rig_file(&rig, "lock.mdb"), 0444), 0);
	assert_int_equal(chmod(rig.path, 0555), 0);
	int status = rig_child(use_as_nobody, &damage);
	assert_int_equal(chmod(rig.path, 0700), 0);
	rig_fini(&rig);
	assert_true(exits(status, SAME));
}

/* A directory that nobody may write to and where nothing is: nothing to begin with. */
static void test_nothing_there(void **nothing)
{
	struct notice why = {""};
	struct state_store *store;

	(void)nothing;
	assert_int_equal(state_lmdb_open("/nonexistent/state", NULL, &why, &store).kind,
			 ERR_POLICY);
	assert_null(store);
	assert_non_null(strstr(why.text, "/nonexistent/state/data.mdb: No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_flips),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_swapped),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_under_way),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_read_only_disk),
		cmocka_unit_test(test_read_only_directory),
		cmocka_unit_test(test_nothing_there),
	};

	return cmocka_run_group_tests_name("state_disk", tests, NULL, NULL);
}
