/* SPDX-License-Identifier: MIT */
/* t_maildir_keep.c - the Maildir store with a state: what a session leaves for the next one. */
#include <errno.h>
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
#include "tests/fake/box.h"
#include "tests/fake/state_memory.h"
#include "upstream/maildir.h"

struct kept {
	struct box *box;
	struct state_memory state;
};

static int set_up(void **state)
{
	struct kept *kept = mem_alloc(sizeof *kept);
	void *box;

	box_set_up(&box);
	kept->box = box;
	kept->box->world.wall_s = 1700000000;
	state_memory_init(&kept->state);
	kept->box->conf.state = &kept->state.store;
	kept->box->conf.name = "bob";
	*state = kept;
	return 0;
}

static int tear_down(void **state)
{
	struct kept *kept = *state;
	void *box = kept->box;

	box_tear_down(&box);
	state_memory_fini(&kept->state);
	free(kept);
	return 0;
}

static void end_session(struct box *box)
{
	box->up->ops->close(box->up, &box->drop, NULL, NULL);
	box->up = NULL;
	maildrop_fini(&box->drop);
	maildrop_init(&box->drop);
}

static struct err update(struct box *box)
{
	return box->up->ops->update(box->up, &box->drop);
}

/* The names that a session shows, in its order, each with a blank behind it. */
static void assert_drop(const struct box *box, const char *names)
{
	char got[1024] = "";

	for (size_t i = 0; i < box->drop.total; i++) {
		char uidl[UIDL_MAX + 1];
		maildrop_uidl(&box->drop, &box->drop.messages[i], uidl);
		strcat(strcat(got, uidl), " ");
	}
	assert_string_equal(got, names);
}

static void assert_shown(struct box *box, const char *names)
{
	box_list(box);
	assert_drop(box, names);
	end_session(box);
}

static void write_some(const struct box *box, int from, int to)
{
	char name[32];

	for (int i = from; i <= to; i++) {
		snprintf(name, sizeof name, "new/%d.m", i);
		box_write_text(box, name, "text\n");
	}
}

/* A size that was counted once is not counted again, as long as the file is as large as it was. That the
 * file was not read shows in what is said of other contents of the same length. */
static void counts_each_size_once(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	box_write_text(box, "new/1.m,S=5", "a\nb\nc");
	box_write_text(box, "new/2.m", "");
	box_list(box);
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, 9);
	assert_true(maildrop_get(&box->drop, 1)->marks & MARK_EXACT);
	end_session(box);

	size_t changes = kept->state.changes;
	box_write_text(box, "new/1.m,S=5", "abcde");
	box_list(box);
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, 9);
	end_session(box);
	assert_int_equal(kept->state.changes, changes);

	/* of another length it is another file (K-05) */
	box_write_text(box, "new/1.m,S=5", "ab\n");
	box_list(box);
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, 4);
	end_session(box);
	assert_int_equal(kept->state.changes, changes + 1);
	/* and flags are no other file */
	assert_int_equal(rename(box_path(box, "new/1.m,S=5"), box_path(box, "cur/1.m,S=5:2,S")), 0);
	box_list(box);
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, 4);
	end_session(box);
	assert_int_equal(kept->state.changes, changes + 1);
}

/* K-05: a name that lies is found out by RETR, and believed no more. */
static void corrects_a_size_in_a_name(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;
	struct message *msg;

	box_write_text(box, "new/1.m,W=77", "a\nb\n");
	box_write_text(box, "new/2.m,W=3", "a\n");
	box_list(box);
	msg = maildrop_get(&box->drop, 1);
	assert_int_equal(msg->octets, 77);
	maildrop_measure(&box->drop, msg, 6);
	maildrop_measure(&box->drop, maildrop_get(&box->drop, 2), 3);
	assert_int_equal(msg->octets, 77); /* G-01 */
	end_session(box);
	box_list(box);
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, 6);
	assert_int_equal(maildrop_get(&box->drop, 2)->octets, 3);
	end_session(box);
}

static void hides_what_is_deleted(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	box->conf.delete_policy = DELETE_HIDE;
	write_some(box, 1, 4);
	box_list(box);
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 1));
	assert_int_equal(box_delete(box, 3).kind, ERR_NONE);
	end_session(box);
	assert_true(box_has(box, "new/1.m") && box_has(box, "new/3.m"));
	assert_shown(box, "2.m 4.m ");
	/* it is the message that is hidden, not the file's name of today */
	assert_int_equal(rename(box_path(box, "new/1.m"), box_path(box, "cur/1.m:2,FS")), 0);
	assert_shown(box, "2.m 4.m ");
	box_settle(box);
	assert_shown(box, "2.m 4.m ");
	/* nor for as long as it was thrown away elsewhere */
	assert_int_equal(rename(box_path(box, "cur/1.m:2,FS"), box_path(box, "cur/1.m:2,FST")), 0);
	box_settle(box);
	assert_shown(box, "2.m 4.m ");
	assert_int_equal(rename(box_path(box, "cur/1.m:2,FST"), box_path(box, "cur/1.m:2,FS")), 0);
	assert_shown(box, "2.m 4.m ");
	/* under another policy it stays hidden */
	box->conf.delete_policy = DELETE_EXPUNGE;
	assert_shown(box, "2.m 4.m ");
}

/* In a Maildir that only can be read messages can still be hidden. */
static void hides_in_what_can_only_be_read(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	if (!geteuid()) /* root can write everywhere */
		return;
	box->conf.delete_policy = DELETE_HIDE;
	write_some(box, 1, 2);
	assert_int_equal(chmod(box_path(box, "new"), 0500), 0);
	box_list(box);
	assert_false(box->up->is_read_only);
	assert_int_equal(box_delete(box, 1).kind, ERR_NONE);
	end_session(box);
	assert_shown(box, "2.m ");
	assert_int_equal(chmod(box_path(box, "new"), 0700), 0);
}

/* D-03: what cannot be written down is not done, and the client hears it. */
static void says_when_nothing_can_be_hidden(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	box->conf.delete_policy = DELETE_HIDE;
	write_some(box, 1, 2);
	box_list(box);
	kept->state.put_code = ENOSPC;
	assert_int_equal(box_delete(box, 1).kind, ERR_UPSTREAM);
	end_session(box);
	kept->state.put_code = 0;
	assert_shown(box, "1.m 2.m ");

	/* nor if not even the listing could be kept */
	write_some(box, 3, 3);
	kept->state.put_code = EROFS;
	box_list(box);
	assert_int_equal(box_delete(box, 3).kind, ERR_UPSTREAM);
	end_session(box);
	kept->state.put_code = 0;
	assert_shown(box, "1.m 2.m 3.m ");

	/* what is hidden is not known: nothing is shown */
	kept->state.read_code = EIO;
	assert_int_equal(box_open(box).kind, ERR_NONE);
	assert_int_equal(box->up->ops->list(box->up, &box->drop).kind, ERR_UPSTREAM);
	kept->state.read_code = 0;
	box_close(box);
}

static void shows_the_newest_behind_an_edge(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	box->conf.newest = 3;
	write_some(box, 1, 6);
	box_list(box);
	assert_drop(box, "4.m 5.m 6.m ");
	assert_int_equal(box_delete(box, 3).kind, ERR_NONE);
	end_session(box);
	box_settle(box);
	assert_shown(box, "4.m 5.m ");
	assert_true(box_has(box, "new/3.m"));
	write_some(box, 7, 8);
	assert_shown(box, "5.m 7.m 8.m ");
	/* it arrived last, however old its name is */
	box_write_text(box, "cur/2.late:2,", "text\n");
	assert_shown(box, "2.late 7.m 8.m ");
	box->conf.newest_first = true;
	assert_shown(box, "8.m 7.m 2.late ");
	box->conf.newest_first = false;
	/* an edge that cannot be written down is none: nothing is shown */
	write_some(box, 9, 9);
	kept->state.put_code = ENOSPC;
	assert_int_equal(box_open(box).kind, ERR_NONE);
	assert_int_equal(box->up->ops->list(box->up, &box->drop).kind, ERR_UPSTREAM);
	box_close(box);
	kept->state.put_code = 0;
	maildrop_fini(&box->drop);
	maildrop_init(&box->drop);
	assert_shown(box, "2.late 8.m 9.m ");
	box->conf.newest = 0;
	assert_shown(box, "1.m 2.late 2.m 3.m 4.m 5.m 7.m 8.m 9.m ");
}

static void keeps_the_newest(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	box->conf.keep_newest = 2;
	write_some(box, 1, 6);
	box_list(box);
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 1));
	maildrop_delete(&box->drop, maildrop_get(&box->drop, 5));
	assert_int_equal(box_delete(box, 6).kind, ERR_NONE);
	end_session(box);
	assert_false(box_has(box, "new/1.m"));
	assert_true(box_has(box, "new/5.m") && box_has(box, "new/6.m"));
	assert_shown(box, "2.m 3.m 4.m ");

	/* one newer: one may go; without a QUIT nothing does */
	write_some(box, 7, 7);
	assert_shown(box, "2.m 3.m 4.m 7.m ");
	assert_true(box_has(box, "new/5.m"));
	box_list(box);
	assert_int_equal(update(box).kind, ERR_NONE);
	end_session(box);
	assert_false(box_has(box, "new/5.m"));
	assert_true(box_has(box, "new/6.m"));
	write_some(box, 8, 8);
	box_list(box);
	assert_int_equal(update(box).kind, ERR_NONE);
	end_session(box);
	assert_false(box_has(box, "new/6.m"));
	assert_shown(box, "2.m 3.m 4.m 7.m 8.m ");

	/* what cannot be held back is not removed instead */
	write_some(box, 9, 9);
	kept->state.put_code = ENOSPC;
	box_list(box);
	assert_int_equal(box_delete(box, 6).kind, ERR_UPSTREAM);
	assert_true(box_has(box, "new/9.m"));
	end_session(box);
	kept->state.put_code = 0;
}

static void retrieve(struct box *box, uint64_t number, bool quits)
{
	box_list(box);
	maildrop_get(&box->drop, number)->marks |= MARK_RETRIEVED;
	if (quits)
		assert_int_equal(update(box).kind, ERR_NONE);
	end_session(box);
}

/* D-16. */
static void deletes_what_was_retrieved_long_ago(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	box->conf.delete_after_s = 86400;
	write_some(box, 1, 3);
	retrieve(box, 1, false); /* no QUIT: not retrieved */
	retrieve(box, 2, true);
	box->world.wall_s += 86399;
	retrieve(box, 3, true); /* also: the second is not due yet */
	assert_true(box_has(box, "new/2.m"));
	box->world.wall_s += 1;
	assert_shown(box, "1.m 2.m 3.m "); /* due, and still there, and without a QUIT it stays */
	assert_true(box_has(box, "new/2.m"));
	box_list(box);
	assert_true(maildrop_get(&box->drop, 2)->marks & MARK_DUE);
	assert_int_equal(update(box).kind, ERR_NONE);
	end_session(box);
	assert_false(box_has(box, "new/2.m"));
	assert_shown(box, "1.m 3.m ");
	/* a clock that went back makes nothing due */
	box->world.wall_s -= 1000000;
	box_list(box);
	assert_int_equal(update(box).kind, ERR_NONE);
	end_session(box);
	assert_shown(box, "1.m 3.m ");

	/* at once, and in the way of delete= */
	box->conf.delete_after_s = 0;
	box->conf.delete_policy = DELETE_FLAG;
	retrieve(box, 1, false);
	assert_true(box_has(box, "new/1.m"));
	retrieve(box, 1, true);
	assert_true(box_has(box, "cur/1.m:2,T"));
	assert_true(box_has(box, "new/3.m"));
}

/* Rows go when the file is gone for sure; the Maildir may move; names are apart. */
static void remembers_by_name_and_not_by_place(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	box->conf.delete_policy = DELETE_HIDE;
	write_some(box, 1, 3);
	box_list(box);
	assert_int_equal(box_delete(box, 1).kind, ERR_NONE);
	end_session(box);
	/* away for a moment, as a file that is being renamed is */
	assert_int_equal(rename(box_path(box, "new/1.m"), box_path(box, "tmp/1.m")), 0);
	assert_shown(box, "2.m 3.m ");
	assert_int_equal(rename(box_path(box, "tmp/1.m"), box_path(box, "new/1.m")), 0);
	assert_shown(box, "2.m 3.m ");
	box->conf.name = "carol";
	assert_shown(box, "1.m 2.m 3.m ");
	box->conf.name = "bob";
	assert_shown(box, "2.m 3.m ");
	/* gone: then it is new */
	assert_int_equal(rename(box_path(box, "new/1.m"), box_path(box, "tmp/1.m")), 0);
	box_settle(box);
	assert_shown(box, "2.m 3.m ");
	assert_int_equal(rename(box_path(box, "tmp/1.m"), box_path(box, "new/1.m")), 0);
	assert_shown(box, "1.m 2.m 3.m ");
}

/* A name that was an IMAP mailbox before: its rows mean nothing here. */
static void begins_anew_after_another_store(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;
	struct ledger ledger;
	struct ledger_row *row;
	bool is_stale;

	ledger_init(&ledger, "bob");
	identity_place(ledger.head.place, "imap.example.com", 993, "bob", "INBOX");
	ledger.head.epoch = 7;
	ledger.head.uidvalidity = 5;
	ledger.head.uidnext = 1000;
	row = ledger_row(&ledger, 999);
	row->marks = LEDGER_HIDDEN;
	assert_true(ledger_set_id(&ledger, row, "1.m"));
	assert_int_equal(ledger_save(&ledger, &kept->state.store, &box->world.env, &is_stale).kind,
			 ERR_NONE);
	ledger_fini(&ledger);
	write_some(box, 1, 2);
	assert_shown(box, "1.m 2.m ");
	ledger_init(&ledger, "bob");
	assert_int_equal(ledger_load(&ledger, &kept->state.store, &box->world.env).kind, ERR_NONE);
	assert_int_equal(ledger.head.epoch, 8);
	assert_int_equal(ledger.count, 2);
	assert_int_equal(ledger.rows[0].uid, 1);
	ledger_fini(&ledger);
	/* and the old rows are swept away */
	assert_null(state_memory_find(&kept->state, "ledger\tbob\t00000007\t00000001"));
}

static void another_writes(void *arg, struct state_memory *memory, size_t nth)
{
	struct fake_world *world = arg;
	struct ledger ledger;
	bool is_stale;

	(void)nth;
	memory->before_put = NULL;
	ledger_init(&ledger, "bob");
	assert_int_equal(ledger_load(&ledger, &memory->store, &world->env).kind, ERR_NONE);
	if (ledger.count) {
		ledger.rows[0].marks |= LEDGER_HIDDEN;
		ledger_touch(&ledger, ledger.rows[0].uid);
	}
	assert_int_equal(ledger_save(&ledger, &memory->store, &world->env, &is_stale).kind,
			 ERR_NONE);
	ledger_fini(&ledger);
}

/* lock=shared, or another process: what it hid while we listed is hidden. */
static void sees_what_another_session_wrote(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	write_some(box, 1, 2);
	assert_shown(box, "1.m 2.m ");
	write_some(box, 3, 3);
	kept->state.before_put = another_writes;
	kept->state.arg = &box->world;
	assert_shown(box, "2.m 3.m ");
	/* and a mark that meets another is set all the same */
	box->conf.delete_policy = DELETE_HIDE;
	box_list(box);
	kept->state.before_put = another_writes;
	assert_int_equal(box_delete(box, 2).kind, ERR_NONE);
	end_session(box);
	assert_shown(box, "2.m ");
}

/* What is unreadable while it is listed has a size that is a guess; the guess is not remembered. */
static void does_not_remember_a_guess(void **state)
{
	struct kept *kept = *state;
	struct box *box = kept->box;

	if (!geteuid()) /* root can read everything */
		return;
	write_some(box, 1, 1);
	assert_int_equal(chmod(box_path(box, "new/1.m"), 0), 0);
	box_list(box);
	assert_true(maildrop_get(&box->drop, 1)->marks & MARK_INEXACT);
	end_session(box);
	assert_int_equal(chmod(box_path(box, "new/1.m"), 0600), 0);
	box_list(box);
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, 6);
	end_session(box);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(counts_each_size_once),
		TEST(corrects_a_size_in_a_name),
		TEST(hides_what_is_deleted),
		TEST(hides_in_what_can_only_be_read),
		TEST(says_when_nothing_can_be_hidden),
		TEST(shows_the_newest_behind_an_edge),
		TEST(keeps_the_newest),
		TEST(deletes_what_was_retrieved_long_ago),
		TEST(remembers_by_name_and_not_by_place),
		TEST(begins_anew_after_another_store),
		TEST(sees_what_another_session_wrote),
		TEST(does_not_remember_a_guess),
	};

	return cmocka_run_group_tests_name("maildir_keep", tests, NULL, NULL);
}
