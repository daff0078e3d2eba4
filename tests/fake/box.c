/* SPDX-License-Identifier: MIT */
/* box.c - a real Maildir for tests. */
#include "tests/fake/box.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/mem.h"

static struct err keeper_put(struct sink *sink, const void *octets, size_t len)
{
	struct keeper *keeper = (struct keeper *)sink;

	assert_true(len > 0);
	assert_true(buf_put(&keeper->got, octets, len));
	if (!keeper->puts++ && keeper->after_first)
		keeper->after_first(keeper->arg);
	return keeper->answer;
}

void keeper_init(struct keeper *keeper)
{
	*keeper = (struct keeper){.sink.put = keeper_put, .answer = OK};
	buf_init(&keeper->got, 64 << 20);
}

int box_set_up(void **state)
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
	box->conf = (struct upstream_conf){
		.ops = &maildir_ops, .path = box->path, .delete_after_s = DELETE_AFTER_NEVER};
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

int box_tear_down(void **state)
{
	struct box *box = *state;
	char path[128];

	if (box->up)
		box_close(box);
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

const char *box_path(const struct box *box, const char *name)
{
	static _Thread_local char paths[4][512];
	static _Thread_local unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", box->path, name);
	return path;
}

void box_write(const struct box *box, const char *name, const void *octets, size_t len)
{
	FILE *file = fopen(box_path(box, name), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(octets, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

void box_write_text(const struct box *box, const char *name, const char *text)
{
	box_write(box, name, text, strlen(text));
}

bool box_has(const struct box *box, const char *name)
{
	return !faccessat(AT_FDCWD, box_path(box, name), F_OK, AT_SYMLINK_NOFOLLOW);
}

void box_settle(const struct box *box)
{
	struct timespec then[2] = {{1600000000, 0}, {1600000000, 0}};

	assert_int_equal(utimensat(AT_FDCWD, box_path(box, "new"), then, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, box_path(box, "cur"), then, 0), 0);
}

struct err box_open(struct box *box)
{
	struct notice why = {""};

	return maildir_ops.open(&box->world.env, &box->log, &box->conf, &(struct login){0}, &why,
				&box->up);
}

void box_list(struct box *box)
{
	assert_int_equal(box_open(box).kind, ERR_NONE);
	assert_int_equal(box->up->ops->list(box->up, &box->drop).kind, ERR_NONE);
}

struct err box_fetch(struct box *box, uint64_t number, struct part part, struct keeper *keeper)
{
	struct message *msg = maildrop_get(&box->drop, number);

	assert_non_null(msg);
	return box->up->ops->fetch(box->up, &box->drop, msg, &part, &keeper->sink);
}

struct err box_delete(struct box *box, uint64_t number)
{
	maildrop_delete(&box->drop, maildrop_get(&box->drop, number));
	return box->up->ops->update(box->up, &box->drop);
}

void box_close(struct box *box)
{
	box->up->ops->close(box->up, NULL, NULL, NULL);
	box->up = NULL;
}
