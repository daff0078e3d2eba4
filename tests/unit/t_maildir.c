/* SPDX-License-Identifier: MIT */
/* t_maildir.c - the Maildir store on a real directory, made afresh for each test. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "tests/fake/world.h"
#include "upstream/maildir.h"
#include "upstream/upstream.h"

struct box {
	char path[64];
	struct fake_world world;
	struct log log;
	struct upstream_conf conf;
	struct upstream *up;
	struct maildrop drop;
};

/* A sink that keeps what it gets, does something after the first put, or fails. */
struct keeper {
	struct sink sink; /* first */
	struct buf got;
	unsigned puts;
	struct err answer;
	void (*after_first)(void *arg);
	void *arg;
};

static struct err keeper_put(struct sink *sink, const void *octets, size_t len)
{
	struct keeper *keeper = (struct keeper *)sink;

	assert_true(len > 0);
	assert_true(buf_put(&keeper->got, octets, len));
	if (!keeper->puts++ && keeper->after_first)
		keeper->after_first(keeper->arg);
	return keeper->answer;
}

static void keeper_init(struct keeper *keeper)
{
	*keeper = (struct keeper){.sink.put = keeper_put, .answer = OK};
	buf_init(&keeper->got, 64 << 20);
}

static int set_up(void **state)
{
	struct box *box = mem_alloc(sizeof *box);
	char dir[128];

	strcpy(box->path, "/tmp/t_maildir.XXXXXX");
	assert_non_null(mkdtemp(box->path));
	for (const char *const *name = (const char *const[]){"new", "cur", "tmp", NULL}; *name;
	     name++) {
		snprintf(dir, sizeof dir, "%s/%s", box->path, *name);
		assert_int_equal(mkdir(dir, 0700), 0);
	}
	fake_world_init(&box->world);
	box->conf = (struct upstream_conf){.ops = &maildir_ops, .path = box->path};
	maildrop_init(&box->drop);
	*state = box;
	return 0;
}

static void empty_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
		    unlinkat(dirfd(dir), entry->d_name, 0))
			unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	closedir(dir);
}

static int tear_down(void **state)
{
	struct box *box = *state;
	char path[128];

	if (box->up)
		box->up->ops->close(box->up);
	maildrop_fini(&box->drop);
	for (const char *const *name = (const char *const[]){"/new", "/cur", "/tmp", "", NULL};
	     *name; name++) {
		snprintf(path, sizeof path, "%s%s", box->path, *name);
		empty_folder(path);
	}
	rmdir(box->path);
	free(box);
	return 0;
}

/* Borrowed until four more calls. */
static const char *path_of(const struct box *box, const char *name)
{
	static _Thread_local char paths[4][512];
	static _Thread_local unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", box->path, name);
	return path;
}

static void write_file(const struct box *box, const char *name, const void *octets, size_t len)
{
	FILE *file = fopen(path_of(box, name), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(octets, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static void write_text(const struct box *box, const char *name, const char *text)
{
	write_file(box, name, text, strlen(text));
}

static bool exists(const struct box *box, const char *name)
{
	return !faccessat(AT_FDCWD, path_of(box, name), F_OK, AT_SYMLINK_NOFOLLOW);
}

/* Makes the folders look as if nobody had touched them for long. */
static void settle(const struct box *box)
{
	struct timespec then[2] = {{1600000000, 0}, {1600000000, 0}};

	assert_int_equal(utimensat(AT_FDCWD, path_of(box, "new"), then, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, path_of(box, "cur"), then, 0), 0);
}

static struct err open_box(struct box *box)
{
	struct notice why = {""};

	return maildir_ops.open(&box->world.env, &box->log, &box->conf, &(struct login){0}, &why,
				&box->up);
}

static void list_box(struct box *box)
{
	assert_int_equal(open_box(box).kind, ERR_NONE);
	assert_int_equal(box->up->ops->list(box->up, &box->drop).kind, ERR_NONE);
}

static struct err fetch(struct box *box, uint64_t number, struct part part, struct keeper *keeper)
{
	struct message *msg = maildrop_get(&box->drop, number);

	assert_non_null(msg);
	return box->up->ops->fetch(box->up, &box->drop, msg, &part, &keeper->sink);
}

static void assert_uidl(const struct box *box, uint64_t number, const char *uidl)
{
	char got[UIDL_MAX + 1];

	assert_non_null(maildrop_get(&box->drop, number));
	maildrop_uidl(&box->drop, maildrop_get(&box->drop, number), got);
	assert_string_equal(got, uidl);
}

static struct err delete_and_update(struct box *box, uint64_t number)
{
	maildrop_delete(&box->drop, maildrop_get(&box->drop, number));
	return box->up->ops->update(box->up, &box->drop);
}

static void takes_names_apart(void **state)
{
	static const struct {
		const char *name;
		size_t base_len;
		uint64_t time;
		const char *flags;
		bool is_trashed;
		int64_t octets, raw; /* -1: not said */
		const char *seen;
	} cases[] = {
		{"17.a.b", 6, 17, "", false, -1, -1, "17.a.b:2,S"},
		{"17.a.b:2,", 6, 17, "", false, -1, -1, "17.a.b:2,S"},
		{"17.a.b:2,RF", 6, 17, "RF", false, -1, -1, "17.a.b:2,FRS"},
		{"17.a.b:2,ST", 6, 17, "ST", true, -1, -1, "17.a.b:2,ST"},
		{"17.a.b;2,F", 6, 17, "F", false, -1, -1, "17.a.b;2,FS"},
		{"17.a.b!2,ba", 6, 17, "ba", false, -1, -1, "17.a.b!2,Sab"},
		{"17.a.b:1,x", 10, 17, "", false, -1, -1, "17.a.b:1,x:2,S"},
		{"17.T,S=12,W=14:2,", 14, 17, "", false, 14, 12, "17.T,S=12,W=14:2,S"},
		{"17.T,W=14,S=12", 14, 17, "", false, 14, 12, "17.T,W=14,S=12:2,S"},
		{"17.x,W=", 7, 17, "", false, -1, -1, "17.x,W=:2,S"},
		{"17.x,W=-4", 9, 17, "", false, -1, -1, "17.x,W=-4:2,S"},
		{"17.x,W=9999999999999999", 23, 17, "", false, -1, -1,
		 "17.x,W=9999999999999999:2,S"},
		{"17.x:2,,W=5", 4, 17, ",W=5", false, -1, -1, "17.x:2,,5=SW"},
		{"odd", 3, 0, "", false, -1, -1, "odd:2,S"},
		{"99999999999999999999999.x", 25, UINT64_MAX, "", false, -1, -1,
		 "99999999999999999999999.x:2,S"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct maildir_name got;
		char seen[MAILDIR_NAME_MAX + 1];

		maildir_name_parse(cases[i].name, &got);
		assert_int_equal(got.base_len, cases[i].base_len);
		assert_true(got.time == cases[i].time);
		assert_string_equal(got.flags, cases[i].flags);
		assert_int_equal(got.is_trashed, cases[i].is_trashed);
		assert_int_equal(got.has_octets ? (int64_t)got.octets : -1, cases[i].octets);
		assert_int_equal(got.has_raw ? (int64_t)got.raw : -1, cases[i].raw);
		assert_true(maildir_name_seen(cases[i].name, seen));
		assert_string_equal(seen, cases[i].seen);
	}
}

static void refuses_names_that_would_not_fit(void **state)
{
	char name[MAILDIR_NAME_MAX + 1], seen[MAILDIR_NAME_MAX + 1];

	(void)state;
	memset(name, '1', MAILDIR_NAME_MAX);
	for (size_t len = MAILDIR_NAME_MAX; len > MAILDIR_NAME_MAX - 8; len--) {
		name[len] = '\0';
		assert_int_equal(maildir_name_seen(name, seen), len <= MAILDIR_NAME_MAX - 4);
	}
}

static void lists_in_order_of_time(void **state)
{
	struct box *box = *state;

	write_text(box, "new/10.b", "x\n");
	write_text(box, "cur/9.z:2,S", "x\r\n");
	write_text(box, "cur/10.a:2,", "\n\r\n\n");
	write_text(box, "cur/10.c:2,", "a\nb");
	write_text(box, "new/nodigits", "");
	write_text(box, "cur/100.T:2,ST", "hidden");
	write_text(box, "new/.11.dot", "hidden");
	write_text(box, "cur/12.w,W=77:2,", "whatever");
	list_box(box);
	assert_int_equal(box->drop.total, 6);
	assert_uidl(box, 1, "nodigits");
	assert_uidl(box, 2, "9.z");
	assert_uidl(box, 3, "10.a");
	assert_uidl(box, 4, "10.b");
	assert_uidl(box, 5, "10.c");
	assert_uidl(box, 6, "12.w,W=77");
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, 0);
	assert_int_equal(maildrop_get(&box->drop, 2)->octets, 3);
	assert_int_equal(maildrop_get(&box->drop, 3)->octets, 6);
	assert_int_equal(maildrop_get(&box->drop, 4)->octets, 3);
	assert_int_equal(maildrop_get(&box->drop, 5)->octets, 6);
	assert_int_equal(maildrop_get(&box->drop, 6)->octets, 77);
	assert_true(exists(box, "new/10.b")); /* K-03: not moved at login */
	assert_false(box->up->is_read_only);
}

static void counts_line_ends_across_chunks(void **state)
{
	struct box *box = *state;
	size_t len = MAILDIR_CHUNK * 2;
	char *text = mem_alloc(len);

	memset(text, 'x', len);
	text[MAILDIR_CHUNK - 1] = '\r';
	text[MAILDIR_CHUNK] = '\n'; /* CRLF over the border: nothing to add */
	text[len - 1] = '\n';
	write_file(box, "new/1.a", text, len);
	text[MAILDIR_CHUNK - 1] = 'x';
	write_file(box, "new/2.b", text, len);
	free(text);
	list_box(box);
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, len + 1);
	assert_int_equal(maildrop_get(&box->drop, 2)->octets, len + 2);
}

static void lists_a_message_in_both_folders_once(void **state)
{
	struct box *box = *state;

	write_text(box, "new/5.x", "a\n");
	write_text(box, "cur/5.x:2,S", "a\n");
	write_text(box, "cur/5.x:2,FS", "a\n");
	write_text(box, "cur/6.y:2,", "b\n");
	list_box(box);
	assert_int_equal(box->drop.total, 2);
	assert_uidl(box, 1, "5.x");
	/* and all its files go, or it would come back with the same UIDL */
	assert_int_equal(delete_and_update(box, 1).kind, ERR_NONE);
	assert_false(exists(box, "new/5.x"));
	assert_false(exists(box, "cur/5.x:2,S"));
	assert_false(exists(box, "cur/5.x:2,FS"));
	assert_true(exists(box, "cur/6.y:2,"));
}

static void hashes_names_that_are_no_uidl(void **state)
{
	struct box *box = *state;
	char name[128], uidl[4][UIDL_MAX + 1];

	write_text(box, "new/1.a b", "x");
	write_text(box, "new/2.\xc3\xa4", "x");
	snprintf(name, sizeof name, "new/3.%068d", 7);
	write_text(box, name, "x");
	snprintf(name, sizeof name, "new/4.%069d", 7);
	write_text(box, name, "x");
	list_box(box);
	for (unsigned i = 0; i < 4; i++)
		maildrop_uidl(&box->drop, maildrop_get(&box->drop, i + 1), uidl[i]);
	assert_int_equal(strlen(uidl[0]), 34);
	assert_memory_equal(uidl[0], "h.", 2);
	assert_memory_equal(uidl[1], "h.", 2);
	assert_string_not_equal(uidl[0], uidl[1]);
	assert_int_equal(strlen(uidl[2]), UIDL_MAX);
	assert_memory_equal(uidl[2], "3.", 2);
	assert_int_equal(strlen(uidl[3]), 34);
}

static void takes_regular_files_only(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	write_text(box, "tmp/outside", "secret\n");
	write_text(box, "new/1.good,W=3", "a\n");
	assert_int_equal(symlink(path_of(box, "tmp/outside"), path_of(box, "new/2.link")), 0);
	assert_int_equal(mkfifo(path_of(box, "cur/3.fifo"), 0600), 0);
	assert_int_equal(mkdir(path_of(box, "cur/4.dir"), 0700), 0);
	list_box(box);
	assert_int_equal(box->drop.total, 1);
	assert_uidl(box, 1, "1.good,W=3");

	/* what becomes a link or a FIFO after the snapshot is not read either */
	keeper_init(&keeper);
	assert_int_equal(unlink(path_of(box, "new/1.good,W=3")), 0);
	assert_int_equal(symlink(path_of(box, "tmp/outside"), path_of(box, "new/1.good,W=3")), 0);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_MESSAGE);
	assert_int_equal(unlink(path_of(box, "new/1.good,W=3")), 0);
	assert_int_equal(mkfifo(path_of(box, "new/1.good,W=3"), 0600), 0);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_MESSAGE);
	assert_int_equal(keeper.puts, 0);
	buf_fini(&keeper.got);
}

static void refuses_a_link_to_anothers_file(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	if (geteuid()) /* only root can give a file away */
		return;
	write_text(box, "tmp/others", "secret\n");
	assert_int_equal(chown(path_of(box, "tmp/others"), 65534, 65534), 0);
	assert_int_equal(link(path_of(box, "tmp/others"), path_of(box, "new/1.a")), 0);
	write_text(box, "tmp/own", "mine\n");
	assert_int_equal(link(path_of(box, "tmp/own"), path_of(box, "new/2.b")), 0);
	list_box(box);
	keeper_init(&keeper);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_POLICY);
	assert_int_equal(buf_len(&keeper.got), 0);
	assert_int_equal(fetch(box, 2, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_int_equal(buf_len(&keeper.got), 5);
	buf_fini(&keeper.got);
}

static void opens_only_what_is_a_maildir(void **state)
{
	struct box *box = *state;
	char *path = text_dup(box->path);

	box->conf.path = path_of(box, "nowhere");
	assert_int_equal(open_box(box).kind, ERR_POLICY);
	assert_null(box->up);

	box->conf.path = path_of(box, "link");
	assert_int_equal(symlink(path, box->conf.path), 0);
	assert_int_equal(open_box(box).kind, ERR_POLICY);
	assert_null(box->up);

	box->conf.path = path;
	assert_int_equal(rename(path_of(box, "cur"), path_of(box, "old")), 0);
	assert_int_equal(open_box(box).kind, ERR_POLICY);
	assert_int_equal(symlink("old", path_of(box, "cur")), 0);
	assert_int_equal(open_box(box).kind, ERR_POLICY);
	assert_int_equal(unlink(path_of(box, "cur")), 0);
	assert_int_equal(rename(path_of(box, "old"), path_of(box, "cur")), 0);
	assert_int_equal(open_box(box).kind, ERR_NONE);
	free(path);
}

static void names_a_maildir_by_its_inode(void **state)
{
	struct box *box = *state;
	struct upstream *first;
	struct stat st;
	char want[128], *around = text_printf_dup("%s/cur/..", box->path);

	assert_int_equal(open_box(box).kind, ERR_NONE);
	first = box->up;
	box->conf.path = around;
	assert_int_equal(open_box(box).kind, ERR_NONE);
	assert_string_equal(first->identity, box->up->identity);
	assert_int_equal(stat(box->path, &st), 0);
	snprintf(want, sizeof want, "maildir:%jx:%jx", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	assert_string_equal(first->identity, want);
	first->ops->close(first);
	free(around);
}

static void says_when_nothing_may_be_deleted(void **state)
{
	struct box *box = *state;

	box->conf.delete_policy = DELETE_NEVER;
	assert_int_equal(open_box(box).kind, ERR_NONE);
	assert_true(box->up->is_read_only);
}

static void fetches_what_is_stored(void **state)
{
	static const struct {
		struct part part;
		size_t from, len; /* of a text of 200,000 octets */
	} cases[] = {
		{{0, 0}, 0, 200000},          {{0, 1}, 0, 1},         {{0, 65536}, 0, 65536},
		{{0, 65537}, 0, 65537},       {{65535, 2}, 65535, 2}, {{199999, 1}, 199999, 1},
		{{199999, 100}, 199999, 1},   {{200000, 5}, 0, 0},    {{UINT64_MAX, 5}, 0, 0},
		{{5, UINT64_MAX}, 5, 199995}, {{5, 0}, 5, 199995},
	};
	struct box *box = *state;
	char *text = mem_alloc(200000);

	for (size_t i = 0; i < 200000; i++)
		text[i] = (char)(i * i / 7);
	write_file(box, "cur/1.a:2,", text, 200000);
	list_box(box);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct keeper keeper;

		keeper_init(&keeper);
		assert_int_equal(fetch(box, 1, cases[i].part, &keeper).kind, ERR_NONE);
		assert_int_equal(buf_len(&keeper.got), cases[i].len);
		if (cases[i].len)
			assert_memory_equal(buf_data(&keeper.got), text + cases[i].from,
					    cases[i].len);
		buf_fini(&keeper.got);
	}
	free(text);
}

static void fetches_an_empty_message(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	write_text(box, "cur/1.a:2,", "");
	list_box(box);
	keeper_init(&keeper);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_int_equal(keeper.puts, 0);
}

static void hands_a_sinks_error_back(void **state)
{
	struct box *box = *state;
	struct keeper keeper;
	struct err err;

	write_text(box, "cur/1.a:2,", "text\n");
	list_box(box);
	keeper_init(&keeper);
	keeper.answer = ERR(ERR_CLIENT, EPIPE, "gone");
	err = fetch(box, 1, (struct part){0, 0}, &keeper);
	assert_int_equal(err.kind, ERR_CLIENT);
	assert_int_equal(err.code, EPIPE);
	buf_fini(&keeper.got);
}

static void cut_short(void *arg)
{
	assert_int_equal(truncate(arg, 70000), 0);
}

static void make_longer(void *arg)
{
	FILE *file = fopen(arg, "a");

	fputs("more", file);
	fclose(file);
}

static void overwrite(void *arg)
{
	FILE *file = fopen(arg, "r+");

	fputs("else", file);
	fclose(file);
}

static void touch_name(void *arg)
{
	char *to = text_printf_dup("%sRS", (char *)arg);

	assert_int_equal(rename(arg, to), 0);
	free(to);
}

static void remove_it(void *arg)
{
	assert_int_equal(unlink(arg), 0);
}

/* F-09: a message that changes in mid-transfer must not look whole; one that is renamed or unlinked
 * is whole. */
static void notices_what_happens_while_it_reads(void **state)
{
	static const struct {
		void (*act)(void *);
		enum err_kind kind;
	} cases[] = {{cut_short, ERR_UPSTREAM},
		     {make_longer, ERR_UPSTREAM},
		     {overwrite, ERR_UPSTREAM},
		     {touch_name, ERR_NONE},
		     {remove_it, ERR_NONE}};
	struct box *box = *state;
	char *text = mem_alloc(200000);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char name[32], *path;
		struct keeper keeper;

		snprintf(name, sizeof name, "cur/%zu.a:2,", i + 1);
		write_file(box, name, text, 200000);
		path = text_dup(path_of(box, name));
		/* an old file, so that a change of its time is sure to show */
		assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[2]){{9, 0}, {9, 0}}, 0),
				 0);
		maildrop_fini(&box->drop);
		list_box(box);
		keeper_init(&keeper);
		keeper.after_first = cases[i].act;
		keeper.arg = path;
		assert_int_equal(fetch(box, i + 1, (struct part){0, 0}, &keeper).kind,
				 cases[i].kind);
		buf_fini(&keeper.got);
		box->up->ops->close(box->up);
		box->up = NULL;
		free(path);
	}
	free(text);
}

static void finds_a_renamed_message(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	write_text(box, "new/1.a", "text\n");
	write_text(box, "new/2.b", "more\n");
	list_box(box);
	assert_int_equal(
		rename(path_of(box, "new/1.a"), path_of(box, "cur/1.a:2,ABCDEFGHIJKLMNOPQRS")), 0);
	keeper_init(&keeper);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_int_equal(buf_len(&keeper.got), 5);
	assert_int_equal(
		rename(path_of(box, "cur/1.a:2,ABCDEFGHIJKLMNOPQRS"), path_of(box, "cur/1.a:2,S")),
		0);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_int_equal(buf_len(&keeper.got), 10);

	assert_int_equal(unlink(path_of(box, "cur/1.a:2,S")), 0);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_MESSAGE);
	settle(box);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_MESSAGE);
	assert_int_equal(fetch(box, 2, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	buf_fini(&keeper.got);
}

/* A lost folder is no lost message: the client must not believe that its mail is gone. */
static void a_lost_folder_is_not_a_lost_message(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	write_text(box, "cur/1.a:2,", "text\n");
	list_box(box);
	assert_int_equal(rename(path_of(box, "cur"), path_of(box, "away")), 0);
	keeper_init(&keeper);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_POLICY);
	assert_int_equal(delete_and_update(box, 1).kind, ERR_POLICY);
	assert_int_equal(rename(path_of(box, "away"), path_of(box, "cur")), 0);
	assert_true(exists(box, "cur/1.a:2,"));
}

struct renamer {
	char paths[2][128];
	atomic_bool is_done;
};

static void *rename_on(void *arg)
{
	struct renamer *renamer = arg;

	for (unsigned i = 0; !atomic_load(&renamer->is_done); i++) {
		struct timespec pause = {0, 20000};

		if (rename(renamer->paths[i % 2], renamer->paths[!(i % 2)]))
			abort();
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void never_loses_a_message_that_is_renamed_all_the_time(void **state)
{
	struct box *box = *state;
	struct renamer renamer = {.is_done = false};
	pthread_t thread;
	char name[32];

	for (int i = 1; i <= 50; i++) {
		snprintf(name, sizeof name, "cur/%d.x:2,", i);
		write_text(box, name, "other\n");
	}
	write_text(box, "cur/60.a:2,", "text\n");
	snprintf(renamer.paths[0], sizeof renamer.paths[0], "%s/cur/60.a:2,", box->path);
	snprintf(renamer.paths[1], sizeof renamer.paths[1], "%s/cur/60.a:2,FS", box->path);
	assert_int_equal(pthread_create(&thread, NULL, rename_on, &renamer), 0);
	for (int i = 0; i < 100; i++) {
		list_box(box);
		assert_int_equal(box->drop.total, 51);
		for (int j = 0; j < 20; j++) {
			struct keeper keeper;

			keeper_init(&keeper);
			assert_int_equal(fetch(box, 51, (struct part){0, 0}, &keeper).kind,
					 ERR_NONE);
			assert_int_equal(buf_len(&keeper.got), 5);
			buf_fini(&keeper.got);
		}
		box->up->ops->close(box->up);
		box->up = NULL;
		maildrop_fini(&box->drop);
	}
	atomic_store(&renamer.is_done, true);
	pthread_join(thread, NULL);
}

static void deletes_exactly_what_is_marked(void **state)
{
	struct box *box = *state;
	unsigned before;

	write_text(box, "new/1.a", "a\n");
	write_text(box, "cur/2.b:2,S", "b\n");
	write_text(box, "cur/3.c:2,", "c\n");
	write_text(box, "cur/4.d:2,", "d\n");
	list_box(box);
	before = box->world.offloads;
	assert_int_equal(box->up->ops->update(box->up, &box->drop).kind, ERR_NONE);
	assert_int_equal(box->world.offloads, before); /* D-15: nothing to do, nothing done */

	/* another client flags, renames and throws away meanwhile, and a new message comes */
	assert_int_equal(rename(path_of(box, "new/1.a"), path_of(box, "cur/1.a:2,F")), 0);
	assert_int_equal(rename(path_of(box, "cur/3.c:2,"), path_of(box, "cur/3.c:2,T")), 0);
	assert_int_equal(unlink(path_of(box, "cur/2.b:2,S")), 0);
	write_text(box, "new/5.e", "e\n");
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 1));
	assert_int_equal(delete_and_update(box, 2).kind, ERR_NONE);
	assert_false(exists(box, "cur/1.a:2,F"));
	assert_true(exists(box, "cur/3.c:2,T"));
	assert_true(exists(box, "cur/4.d:2,"));
	assert_true(exists(box, "new/5.e"));
}

static void settles_a_quota(void **state)
{
	struct box *box = *state;
	char got[128] = "";
	FILE *file;

	write_text(box, "maildirsize", "1000S\n300 3\n");
	write_text(box, "cur/1.a:2,", "12345");
	write_text(box, "cur/2.b,S=100:2,", "x");
	write_text(box, "cur/3.c:2,", "stays");
	list_box(box);
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 1));
	assert_int_equal(delete_and_update(box, 2).kind, ERR_NONE);
	file = fopen(path_of(box, "maildirsize"), "r");
	assert_non_null(file);
	assert_true(fread(got, 1, sizeof got - 1, file) > 0);
	fclose(file);
	assert_string_equal(got, "1000S\n300 3\n-105 -2\n");
}

static void makes_no_quota_file(void **state)
{
	struct box *box = *state;

	write_text(box, "cur/1.a:2,", "12345");
	list_box(box);
	assert_int_equal(delete_and_update(box, 1).kind, ERR_NONE);
	assert_false(exists(box, "maildirsize"));
}

static void sets_seen_on_what_was_read(void **state)
{
	struct box *box = *state;

	box->conf.seen_policy = SEEN_ON_QUIT;
	write_text(box, "new/1.a", "a\n");
	write_text(box, "cur/2.b:2,RF", "b\n");
	write_text(box, "cur/3.c:2,S", "c\n");
	write_text(box, "new/4.d", "d\n");
	write_text(box, "new/5.e", "e\n");
	write_text(box, "new/6.f", "f\n");
	write_text(box, "new/7.g", "g\n");
	list_box(box);
	for (uint64_t i = 1; i <= 6; i++)
		if (i != 4)
			maildrop_get(&box->drop, i)->marks |= MARK_RETRIEVED;
	/* renamed by another client; gone */
	assert_int_equal(rename(path_of(box, "new/5.e"), path_of(box, "cur/5.e:2,F")), 0);
	assert_int_equal(unlink(path_of(box, "new/6.f")), 0);
	assert_int_equal(box->up->ops->update(box->up, &box->drop).kind, ERR_NONE);
	assert_true(exists(box, "cur/1.a:2,S"));
	assert_false(exists(box, "new/1.a"));
	assert_true(exists(box, "cur/2.b:2,FRS"));
	assert_true(exists(box, "cur/3.c:2,S"));
	assert_true(exists(box, "new/4.d"));
	assert_true(exists(box, "cur/5.e:2,FS"));
	assert_true(exists(box, "new/7.g"));
}

static void leaves_flags_alone_if_told_so(void **state)
{
	struct box *box = *state;

	box->conf.seen_policy = SEEN_NEVER;
	write_text(box, "new/1.a", "a\n");
	list_box(box);
	maildrop_get(&box->drop, 1)->marks |= MARK_RETRIEVED;
	assert_int_equal(box->up->ops->update(box->up, &box->drop).kind, ERR_NONE);
	assert_true(exists(box, "new/1.a"));
}

/* "All or as many as could be": one that cannot go fails the update, not the others. */
static void deletes_the_others_if_one_cannot_go(void **state)
{
	struct box *box = *state;

	write_text(box, "cur/1.a:2,", "a\n");
	write_text(box, "cur/2.b:2,", "b\n");
	list_box(box);
	assert_int_equal(unlink(path_of(box, "cur/1.a:2,")), 0);
	assert_int_equal(mkdir(path_of(box, "cur/1.a:2,"), 0700), 0); /* unlink: EISDIR or EPERM */
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 1));
	assert_int_not_equal(delete_and_update(box, 2).kind, ERR_NONE);
	assert_false(exists(box, "cur/2.b:2,"));
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void holds_one_descriptor(void **state)
{
	struct box *box = *state;
	unsigned before = open_descriptors();
	struct keeper keeper;

	write_text(box, "cur/1.a:2,", "a\n");
	list_box(box);
	keeper_init(&keeper);
	assert_int_equal(fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	buf_fini(&keeper.got);
	assert_int_equal(delete_and_update(box, 1).kind, ERR_NONE);
	assert_int_equal(open_descriptors(), before + 1);
	box->up->ops->close(box->up);
	box->up = NULL;
	assert_int_equal(open_descriptors(), before);
}

struct deliverer {
	const struct box *box;
	atomic_bool is_done;
};

static void *deliver_on(void *arg)
{
	struct deliverer *deliverer = arg;

	for (int i = 0; !atomic_load(&deliverer->is_done); i++) {
		char from[128], to[128];
		FILE *file;

		snprintf(from, sizeof from, "%s/tmp/x", deliverer->box->path);
		snprintf(to, sizeof to, "%s/new/9000.%d", deliverer->box->path, i);
		file = fopen(from, "w");
		fputs("new\n", file);
		fclose(file);
		rename(from, to);
	}
	return NULL;
}

static void lists_thousands_while_mail_comes_in(void **state)
{
	struct box *box = *state;
	struct deliverer deliverer = {.box = box};
	pthread_t thread;
	char name[64];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "%s/%d.m:2,", i % 3 ? "cur" : "new", 1000 + i);
		write_text(box, name, "text\n");
	}
	assert_int_equal(pthread_create(&thread, NULL, deliver_on, &deliverer), 0);
	for (int i = 0; i < 3; i++) {
		list_box(box);
		assert_true(box->drop.total >= 3000);
		for (unsigned n = 1; n <= 3000; n++) {
			snprintf(name, sizeof name, "%u.m", 999 + n);
			assert_uidl(box, n, name);
			assert_int_equal(maildrop_get(&box->drop, n)->octets, 6);
		}
		box->up->ops->close(box->up);
		box->up = NULL;
		maildrop_fini(&box->drop);
	}
	atomic_store(&deliverer.is_done, true);
	pthread_join(thread, NULL);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_names_apart),
		cmocka_unit_test(refuses_names_that_would_not_fit),
		TEST(lists_in_order_of_time),
		TEST(counts_line_ends_across_chunks),
		TEST(lists_a_message_in_both_folders_once),
		TEST(hashes_names_that_are_no_uidl),
		TEST(takes_regular_files_only),
		TEST(refuses_a_link_to_anothers_file),
		TEST(opens_only_what_is_a_maildir),
		TEST(names_a_maildir_by_its_inode),
		TEST(says_when_nothing_may_be_deleted),
		TEST(fetches_what_is_stored),
		TEST(fetches_an_empty_message),
		TEST(hands_a_sinks_error_back),
		TEST(notices_what_happens_while_it_reads),
		TEST(finds_a_renamed_message),
		TEST(a_lost_folder_is_not_a_lost_message),
		TEST(never_loses_a_message_that_is_renamed_all_the_time),
		TEST(deletes_exactly_what_is_marked),
		TEST(settles_a_quota),
		TEST(makes_no_quota_file),
		TEST(sets_seen_on_what_was_read),
		TEST(leaves_flags_alone_if_told_so),
		TEST(deletes_the_others_if_one_cannot_go),
		TEST(holds_one_descriptor),
		TEST(lists_thousands_while_mail_comes_in),
	};

	return cmocka_run_group_tests_name("maildir", tests, NULL, NULL);
}
