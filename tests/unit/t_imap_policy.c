/* SPDX-License-Identifier: MIT */
/* t_imap_policy.c - UPDATE by the policies of the map, over a model of a server: what is kept, what is only
 * hidden, what a placeholder stands for (D-12, D-14, D-16, H-09). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/update_rig.h"

/* keep_newest=3: deleted ones go when three newer ones are there. */
static void test_keep_newest(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "generic", DELETE_EXPUNGE);
	stage.conf.keep_newest = 3;
	stage_must_begin(&stage);
	stage_delete(&stage, 5);
	stage_delete(&stage, 6);
	stage_delete(&stage, 8);
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	assert_false(stage_in_inbox(&stage, 5));
	assert_true(stage_in_inbox(&stage, 6) && stage_in_inbox(&stage, 8));
	stage_end(&stage);
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 3);
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	assert_true(stage_in_inbox(&stage, 6) && stage_in_inbox(&stage, 8));
	stage_end(&stage);
	stage_add_mails(&stage, 9, 10);
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 1);
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	assert_false(stage_in_inbox(&stage, 6));
	assert_true(stage_in_inbox(&stage, 8));
	stage_end(&stage);
	stage_add_mails(&stage, 11, 11);
	stage_must_begin(&stage);
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	assert_false(stage_in_inbox(&stage, 8));
	stage_check_all(&stage, 11, false);
	stage_tear_down(&stage);
}

static void test_hide(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "generic", DELETE_HIDE);
	stage_must_begin(&stage);
	stage_delete(&stage, 5);
	unsigned commands = stage.server.commands;
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	assert_int_equal(stage.server.commands, commands);
	assert_true(stage_in_inbox(&stage, 5));
	stage_end(&stage);
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 1);
	assert_null(maildrop_find(&stage.drop, 5));
	stage_tear_down(&stage);
}

/* DELE of a placeholder hides what it stands for, and a stub that was read is not taken for the mail. */
static void test_stub(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "generic", DELETE_EXPUNGE);
	stage.conf.delete_after_s = 0;
	stage_must_begin(&stage);
	maildrop_find(&stage.drop, 5)->marks |= MARK_STUB;
	maildrop_find(&stage.drop, 6)->marks |= MARK_STUB | MARK_RETRIEVED | MARK_DUE;
	maildrop_delete(&stage.drop, maildrop_find(&stage.drop, 5));
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	stage_end(&stage);
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 1);
	assert_null(maildrop_find(&stage.drop, 5));
	assert_true(stage_in_inbox(&stage, 5) && stage_in_inbox(&stage, 6));
	stage_tear_down(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keep_newest),
		cmocka_unit_test(test_hide),
		cmocka_unit_test(test_stub),
	};

	return cmocka_run_group_tests_name("imap_policy", tests, NULL, NULL);
}
