/* SPDX-License-Identifier: MIT */
/* t_maildir_mail.c - the Maildir store: messages found and read, while others are at work. */
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

#include "proxy/base/mem.h"
#include "tests/fake/box.h"
#include "upstream/maildir.h"

static void assert_uidl(const struct box *box, uint64_t number, const char *uidl)
{
	char got[UIDL_MAX + 1];

	assert_non_null(maildrop_get(&box->drop, number));
	maildrop_uidl(&box->drop, maildrop_get(&box->drop, number), got);
	assert_string_equal(got, uidl);
}

static void lists_a_message_in_both_folders_once(void **state)
{
	struct box *box = *state;

	box_write_text(box, "new/5.x", "a\n");
	box_write_text(box, "cur/5.x:2,S", "a\n");
	box_write_text(box, "cur/5.x:2,FS", "a\n");
	box_write_text(box, "cur/6.y:2,", "b\n");
	box_list(box);
	assert_int_equal(box->drop.total, 2);
	assert_uidl(box, 1, "5.x");
	/* and all its files go, or it would come back with the same UIDL */
	assert_int_equal(box_delete(box, 1).kind, ERR_NONE);
	assert_false(box_has(box, "new/5.x"));
	assert_false(box_has(box, "cur/5.x:2,S"));
	assert_false(box_has(box, "cur/5.x:2,FS"));
	assert_true(box_has(box, "cur/6.y:2,"));
}

static void takes_regular_files_only(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	box_write_text(box, "tmp/outside", "secret\n");
	box_write_text(box, "new/1.good,W=3", "a\n");
	assert_int_equal(symlink(box_path(box, "tmp/outside"), box_path(box, "new/2.link")), 0);
	assert_int_equal(mkfifo(box_path(box, "cur/3.fifo"), 0600), 0);
	assert_int_equal(mkdir(box_path(box, "cur/4.dir"), 0700), 0);
	box_list(box);
	assert_int_equal(box->drop.total, 1);
	assert_uidl(box, 1, "1.good,W=3");

	/* what becomes a link or a FIFO after the snapshot is not read either */
	keeper_init(&keeper);
	assert_int_equal(unlink(box_path(box, "new/1.good,W=3")), 0);
	assert_int_equal(symlink(box_path(box, "tmp/outside"), box_path(box, "new/1.good,W=3")), 0);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_MESSAGE);
	assert_int_equal(unlink(box_path(box, "new/1.good,W=3")), 0);
	assert_int_equal(mkfifo(box_path(box, "new/1.good,W=3"), 0600), 0);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_MESSAGE);
	assert_int_equal(keeper.puts, 0);
	buf_fini(&keeper.got);
}

static void refuses_a_link_to_anothers_file(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	if (geteuid()) /* only root can give a file away */
		return;
	box_write_text(box, "tmp/others", "secret\n");
	assert_int_equal(chown(box_path(box, "tmp/others"), 65534, 65534), 0);
	assert_int_equal(link(box_path(box, "tmp/others"), box_path(box, "new/1.a")), 0);
	box_write_text(box, "tmp/own", "mine\n");
	assert_int_equal(link(box_path(box, "tmp/own"), box_path(box, "new/2.b")), 0);
	box_list(box);
	keeper_init(&keeper);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_POLICY);
	assert_int_equal(buf_len(&keeper.got), 0);
	assert_int_equal(box_fetch(box, 2, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_int_equal(buf_len(&keeper.got), 5);
	buf_fini(&keeper.got);
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
	box_write(box, "cur/1.a:2,", text, 200000);
	box_list(box);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct keeper keeper;

		keeper_init(&keeper);
		assert_int_equal(box_fetch(box, 1, cases[i].part, &keeper).kind, ERR_NONE);
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

	box_write_text(box, "cur/1.a:2,", "");
	box_list(box);
	keeper_init(&keeper);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_int_equal(keeper.puts, 0);
}

static void hands_a_sinks_error_back(void **state)
{
	struct box *box = *state;
	struct keeper keeper;
	struct err err;

	box_write_text(box, "cur/1.a:2,", "text\n");
	box_list(box);
	keeper_init(&keeper);
	keeper.answer = ERR(ERR_CLIENT, EPIPE, "gone");
	err = box_fetch(box, 1, (struct part){0, 0}, &keeper);
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
		box_write(box, name, text, 200000);
		path = text_dup(box_path(box, name));
		/* an old file, so that a change of its time is sure to show */
		assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[2]){{9, 0}, {9, 0}}, 0),
				 0);
		maildrop_fini(&box->drop);
		box_list(box);
		keeper_init(&keeper);
		keeper.after_first = cases[i].act;
		keeper.arg = path;
		assert_int_equal(box_fetch(box, i + 1, (struct part){0, 0}, &keeper).kind,
				 cases[i].kind);
		buf_fini(&keeper.got);
		box_close(box);
		free(path);
	}
	free(text);
}

static void finds_a_renamed_message(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	box_write_text(box, "new/1.a", "text\n");
	box_write_text(box, "new/2.b", "more\n");
	box_list(box);
	assert_int_equal(
		rename(box_path(box, "new/1.a"), box_path(box, "cur/1.a:2,ABCDEFGHIJKLMNOPQRS")),
		0);
	keeper_init(&keeper);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_int_equal(buf_len(&keeper.got), 5);
	assert_int_equal(rename(box_path(box, "cur/1.a:2,ABCDEFGHIJKLMNOPQRS"),
				box_path(box, "cur/1.a:2,S")),
			 0);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_int_equal(buf_len(&keeper.got), 10);

	assert_int_equal(unlink(box_path(box, "cur/1.a:2,S")), 0);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_MESSAGE);
	box_settle(box);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_MESSAGE);
	assert_int_equal(box_fetch(box, 2, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	buf_fini(&keeper.got);
}

/* A lost folder is no lost message: the client must not believe that its mail is gone. */
static void a_lost_folder_is_not_a_lost_message(void **state)
{
	struct box *box = *state;
	struct keeper keeper;

	box_write_text(box, "cur/1.a:2,", "text\n");
	box_list(box);
	assert_int_equal(rename(box_path(box, "cur"), box_path(box, "away")), 0);
	keeper_init(&keeper);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_POLICY);
	assert_int_equal(box_delete(box, 1).kind, ERR_POLICY);
	assert_int_equal(rename(box_path(box, "away"), box_path(box, "cur")), 0);
	assert_true(box_has(box, "cur/1.a:2,"));
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
		box_write_text(box, name, "other\n");
	}
	box_write_text(box, "cur/60.a:2,", "text\n");
	snprintf(renamer.paths[0], sizeof renamer.paths[0], "%s/cur/60.a:2,", box->path);
	snprintf(renamer.paths[1], sizeof renamer.paths[1], "%s/cur/60.a:2,FS", box->path);
	assert_int_equal(pthread_create(&thread, NULL, rename_on, &renamer), 0);
	for (int i = 0; i < 100; i++) {
		box_list(box);
		assert_int_equal(box->drop.total, 51);
		for (int j = 0; j < 20; j++) {
			struct keeper keeper;

			keeper_init(&keeper);
			assert_int_equal(box_fetch(box, 51, (struct part){0, 0}, &keeper).kind,
					 ERR_NONE);
			assert_int_equal(buf_len(&keeper.got), 5);
			buf_fini(&keeper.got);
		}
		box_close(box);
		maildrop_fini(&box->drop);
	}
	atomic_store(&renamer.is_done, true);
	pthread_join(thread, NULL);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, box_set_up, box_tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(lists_a_message_in_both_folders_once),
		TEST(takes_regular_files_only),
		TEST(refuses_a_link_to_anothers_file),
		TEST(fetches_what_is_stored),
		TEST(fetches_an_empty_message),
		TEST(hands_a_sinks_error_back),
		TEST(notices_what_happens_while_it_reads),
		TEST(finds_a_renamed_message),
		TEST(a_lost_folder_is_not_a_lost_message),
		TEST(never_loses_a_message_that_is_renamed_all_the_time),
	};

	return cmocka_run_group_tests_name("maildir_mail", tests, NULL, NULL);
}
