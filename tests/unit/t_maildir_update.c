/* SPDX-License-Identifier: MIT */
/* t_maildir_update.c - the Maildir store: messages removed, moved, seen, while others are at work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fake/box.h"
#include "upstream/maildir.h"

static void deletes_exactly_what_is_marked(void **state)
{
	struct box *box = *state;
	unsigned before;

	box_write_text(box, "new/1.a", "a\n");
	box_write_text(box, "cur/2.b:2,S", "b\n");
	box_write_text(box, "cur/3.c:2,", "c\n");
	box_write_text(box, "cur/4.d:2,", "d\n");
	box_list(box);
	before = box->world.offloads;
	assert_int_equal(box->up->ops->update(box->up, &box->drop).kind, ERR_NONE);
	assert_int_equal(box->world.offloads, before); /* D-15: nothing to do, nothing done */

	/* another client flags, renames and throws away meanwhile, and a new message comes */
	assert_int_equal(rename(box_path(box, "new/1.a"), box_path(box, "cur/1.a:2,F")), 0);
	assert_int_equal(rename(box_path(box, "cur/3.c:2,"), box_path(box, "cur/3.c:2,T")), 0);
	assert_int_equal(unlink(box_path(box, "cur/2.b:2,S")), 0);
	box_write_text(box, "new/5.e", "e\n");
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 1));
	assert_int_equal(box_delete(box, 2).kind, ERR_NONE);
	assert_false(box_has(box, "cur/1.a:2,F"));
	assert_true(box_has(box, "cur/3.c:2,T"));
	assert_true(box_has(box, "cur/4.d:2,"));
	assert_true(box_has(box, "new/5.e"));
}

static void settles_a_quota(void **state)
{
	struct box *box = *state;
	char got[128] = "";
	FILE *file;

	box_write_text(box, "maildirsize", "1000S\n300 3\n");
	box_write_text(box, "cur/1.a:2,", "12345");
	box_write_text(box, "cur/2.b,S=100:2,", "x");
	box_write_text(box, "cur/3.c:2,", "stays");
	box_list(box);
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 1));
	assert_int_equal(box_delete(box, 2).kind, ERR_NONE);
	file = fopen(box_path(box, "maildirsize"), "r");
	assert_non_null(file);
	assert_true(fread(got, 1, sizeof got - 1, file) > 0);
	fclose(file);
	assert_string_equal(got, "1000S\n300 3\n-105 -2\n");
}

static void makes_no_quota_file(void **state)
{
	struct box *box = *state;

	box_write_text(box, "cur/1.a:2,", "12345");
	box_list(box);
	assert_int_equal(box_delete(box, 1).kind, ERR_NONE);
	assert_false(box_has(box, "maildirsize"));
}

static void end_session(struct box *box)
{
	box_close(box);
	maildrop_fini(&box->drop);
	maildrop_init(&box->drop);
}

/* D-12, D-13: by the flag, into another folder, which is made only if it may be, and never by way of a
 * symbolic link. */
static void deletes_as_the_map_says(void **state)
{
	struct box *box = *state;

	box_write_text(box, "new/1.a", "one\n");
	box_write_text(box, "cur/2.b:2,S", "two\n");
	box_write_text(box, "cur/3.c:2,", "three\n");
	box->conf.delete_policy = DELETE_FLAG;
	box_list(box);
	assert_int_equal(box_delete(box, 2).kind, ERR_NONE);
	assert_true(box_has(box, "cur/2.b:2,ST"));
	end_session(box);

	box->conf.delete_policy = DELETE_TRASH;
	box_list(box);
	assert_int_equal(box->drop.total, 2);
	assert_int_equal(box_delete(box, 1).kind, ERR_POLICY);
	assert_true(box_has(box, "new/1.a"));
	end_session(box);

	box->conf.may_create = true;
	box_list(box);
	assert_int_equal(box_delete(box, 1).kind, ERR_NONE);
	assert_false(box_has(box, "new/1.a"));
	assert_true(box_has(box, ".Trash/cur/1.a:2,"));
	assert_true(box_has(box, ".Trash/new") && box_has(box, ".Trash/tmp"));
	end_session(box);

	static const char *const bad[] = {"../x", "a//b", "", "a.b", "/a"};
	box->conf.delete_policy = DELETE_ARCHIVE;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		box->conf.archive = bad[i];
		box_list(box);
		assert_int_equal(box_delete(box, 1).kind, ERR_POLICY);
		assert_true(box_has(box, "cur/3.c:2,"));
		end_session(box);
	}
	assert_int_equal(symlink("/tmp", box_path(box, ".Link")), 0);
	box->conf.archive = "Link";
	box_list(box);
	assert_int_equal(box_delete(box, 1).kind, ERR_POLICY);
	end_session(box);
	box->conf.archive = "Old/2020";
	box_list(box);
	assert_int_equal(box_delete(box, 1).kind, ERR_NONE);
	assert_true(box_has(box, ".Old.2020/cur/3.c:2,"));
	assert_int_equal(unlink(box_path(box, ".Link")), 0);
}

static void sets_seen_on_what_was_read(void **state)
{
	struct box *box = *state;

	box->conf.seen_policy = SEEN_ON_QUIT;
	box_write_text(box, "new/1.a", "a\n");
	box_write_text(box, "cur/2.b:2,RF", "b\n");
	box_write_text(box, "cur/3.c:2,S", "c\n");
	box_write_text(box, "new/4.d", "d\n");
	box_write_text(box, "new/5.e", "e\n");
	box_write_text(box, "new/6.f", "f\n");
	box_write_text(box, "new/7.g", "g\n");
	box_list(box);
	for (uint64_t i = 1; i <= 6; i++)
		if (i != 4)
			maildrop_get(&box->drop, i)->marks |= MARK_RETRIEVED;
	/* renamed by another client; gone */
	assert_int_equal(rename(box_path(box, "new/5.e"), box_path(box, "cur/5.e:2,F")), 0);
	assert_int_equal(unlink(box_path(box, "new/6.f")), 0);
	assert_int_equal(box->up->ops->update(box->up, &box->drop).kind, ERR_NONE);
	assert_true(box_has(box, "cur/1.a:2,S"));
	assert_false(box_has(box, "new/1.a"));
	assert_true(box_has(box, "cur/2.b:2,FRS"));
	assert_true(box_has(box, "cur/3.c:2,S"));
	assert_true(box_has(box, "new/4.d"));
	assert_true(box_has(box, "cur/5.e:2,FS"));
	assert_true(box_has(box, "new/7.g"));
}

static void leaves_flags_alone_if_told_so(void **state)
{
	struct box *box = *state;

	box->conf.seen_policy = SEEN_NEVER;
	box_write_text(box, "new/1.a", "a\n");
	box_list(box);
	maildrop_get(&box->drop, 1)->marks |= MARK_RETRIEVED;
	assert_int_equal(box->up->ops->update(box->up, &box->drop).kind, ERR_NONE);
	assert_true(box_has(box, "new/1.a"));
}

/* "All or as many as could be": one that cannot go fails the update, not the others. */
static void deletes_the_others_if_one_cannot_go(void **state)
{
	struct box *box = *state;

	box_write_text(box, "cur/1.a:2,", "a\n");
	box_write_text(box, "cur/2.b:2,", "b\n");
	box_list(box);
	assert_int_equal(unlink(box_path(box, "cur/1.a:2,")), 0);
	assert_int_equal(mkdir(box_path(box, "cur/1.a:2,"), 0700), 0); /* unlink: EISDIR or EPERM */
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 1));
	assert_int_not_equal(box_delete(box, 2).kind, ERR_NONE);
	assert_false(box_has(box, "cur/2.b:2,"));
}

/* C-19: \Seen as soon as the client has it, wherever the file is by now, and never for TOP. */
static void sets_seen_at_once(void **state)
{
	struct box *box = *state;

	box->conf.seen_policy = SEEN_ON_RETR;
	box_write_text(box, "new/1.a", "a\n");
	box_write_text(box, "cur/2.b:2,F", "b\n");
	box_write_text(box, "new/3.c", "c\n");
	box_write_text(box, "new/4.d", "d\n");
	box_list(box);
	assert_int_equal(rename(box_path(box, "new/3.c"), box_path(box, "cur/3.c:2,R")), 0);
	assert_int_equal(unlink(box_path(box, "new/4.d")), 0);
	for (uint64_t i = 1; i <= 4; i++)
		box->up->ops->retrieved(box->up, maildrop_get(&box->drop, i));
	assert_true(box_has(box, "cur/1.a:2,S") && !box_has(box, "new/1.a"));
	assert_true(box_has(box, "cur/2.b:2,FS"));
	assert_true(box_has(box, "cur/3.c:2,RS"));
	assert_false(box_has(box, "new/4.d") || box_has(box, "cur/4.d:2,S"));
	/* and what was seen can still be deleted */
	assert_int_equal(box_delete(box, 1).kind, ERR_NONE);
	assert_false(box_has(box, "cur/1.a:2,S"));
	end_session(box);

	static const enum seen_policy others[] = {SEEN_NEVER, SEEN_ON_QUIT};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		box->conf.seen_policy = others[i];
		box_write_text(box, "new/9.z", "z\n");
		box_list(box);
		box->up->ops->retrieved(box->up, maildrop_get(&box->drop, box->drop.total));
		assert_true(box_has(box, "new/9.z"));
		end_session(box);
	}
}

/* order=newest: number 1 is the newest, and numbers lead to the right files. */
static void counts_from_the_newest(void **state)
{
	struct box *box = *state;
	char uidl[UIDL_MAX + 1];
	struct keeper keeper;

	box->conf.newest_first = true;
	box_write_text(box, "new/1.a", "one\n");
	box_write_text(box, "cur/2.b:2,S", "two\n");
	box_write_text(box, "new/3.c", "three\n");
	box_list(box);
	maildrop_uidl(&box->drop, maildrop_get(&box->drop, 1), uidl);
	assert_string_equal(uidl, "3.c");
	maildrop_uidl(&box->drop, maildrop_get(&box->drop, 3), uidl);
	assert_string_equal(uidl, "1.a");
	keeper_init(&keeper);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	assert_memory_equal(buf_data(&keeper.got), "three\n", 6);
	buf_fini(&keeper.got);
	assert_int_equal(box_delete(box, 3).kind, ERR_NONE);
	assert_false(box_has(box, "new/1.a"));
	assert_true(box_has(box, "new/3.c") && box_has(box, "cur/2.b:2,S"));
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, box_set_up, box_tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(deletes_exactly_what_is_marked),
		TEST(settles_a_quota),
		TEST(makes_no_quota_file),
		TEST(sets_seen_on_what_was_read),
		TEST(deletes_as_the_map_says),
		TEST(leaves_flags_alone_if_told_so),
		TEST(deletes_the_others_if_one_cannot_go),
		TEST(sets_seen_at_once),
		TEST(counts_from_the_newest),
	};

	return cmocka_run_group_tests_name("maildir_update", tests, NULL, NULL);
}
