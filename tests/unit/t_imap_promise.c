/* SPDX-License-Identifier: MIT */
/* t_imap_promise.c - promised deletions that outlive more than their session: all UIDs change before they
 * are done, the connection that copies is not the one that expunges, the server tells a part at once, or
 * they wait behind newer messages (D-09, D-13, D-16, E-04). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/update_rig.h"

/* A sink that takes everything. */
static struct err take(struct sink *sink, const void *octets, size_t len)
{
	(void)sink;
	(void)octets;
	(void)len;
	return OK;
}

static void retrieve(struct stage *stage, uint32_t uid)
{
	struct sink sink = {take, 0};
	const struct part whole = {0, 0};
	struct message *msg = maildrop_find(&stage->drop, uid);

	assert_non_null(msg);
	assert_int_equal(imap_ops.fetch(stage->up, &stage->drop, msg, &whole, &sink).kind,
			 ERR_NONE);
	assert_true(sink.announced_octets > 0);
}

/* The session ends, and leaves behind what it has seen. */
static void stage_learn(struct stage *stage)
{
	imap_ops.close(stage->up, &stage->drop, NULL, NULL);
	stage->up = NULL;
	stage_end(stage);
}

/* Everything fails from the first STORE on. */
static void break_update(struct stage *stage, const char *command)
{
	stage->struck = command;
	stage->fault = FAULT_CUT;
	stage->strikes = 9;
	assert_int_equal(stage_quit(stage).kind, ERR_NONE);
	assert_int_equal(stage_journalled(stage), 1);
	stage->strikes = 0;
	stage_end(stage);
}

/* New in this session, and nothing but its octets, or a flight at QUIT, told what it is. */
static void test_heard(void **state)
{
	(void)state;
	for (int is_retrieved = 0; is_retrieved < 2; is_retrieved++) {
		struct stage stage;
		stage_set_up(&stage, "exchange", DELETE_EXPUNGE);
		stage_must_begin(&stage);
		if (is_retrieved)
			retrieve(&stage, 4);
		stage_delete(&stage, 4);
		unsigned before = stage.server.commands;
		break_update(&stage, "UID STORE");
		/* Heard for nothing, or asked for. */
		assert_true(stage.server.commands > before);
		struct server_folder *inbox = imap_server_folder(&stage.server, "INBOX");
		imap_server_renumber(&stage.server, inbox, 777, 20);
		stage_must_begin(&stage);
		assert_int_equal(stage.drop.total, MAILS - 1);
		assert_false(stage_in_inbox(&stage, 4));
		assert_int_equal(inbox->count, MAILS - 1);
		assert_int_equal(stage_journalled(&stage), 0);
		stage_tear_down(&stage);
	}
}

/* delete=hide: the ledger remembers by what it will be hidden. */
static void test_hidden(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "courier", DELETE_HIDE);
	stage_must_begin(&stage);
	retrieve(&stage, 2);
	stage_delete(&stage, 2);
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	stage_end(&stage);
	struct server_folder *inbox = imap_server_folder(&stage.server, "INBOX");
	imap_server_renumber(&stage.server, inbox, 777, 20);
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 1);
	assert_int_equal(inbox->count, MAILS);
	stage_tear_down(&stage);
}

/* Its size is known, it fails, and the listing shows what was measured: what the server tells is
 * compared nevertheless (F-07). */
static void test_resized(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "gmail", DELETE_EXPUNGE);
	struct server_mail *mail = imap_server_mail(&stage.server, 4);
	stage_must_begin(&stage);
	struct message *msg = maildrop_find(&stage.drop, 4);
	maildrop_measure(&stage.drop, msg, msg->octets + 7);
	stage_learn(&stage);
	mail->oddity = ODD_REFUSED;
	stage_must_begin(&stage);
	struct sink sink = {take, 0};
	assert_int_not_equal(imap_ops.fetch(stage.up, &stage.drop, maildrop_find(&stage.drop, 4),
					    &(const struct part){0, 0}, &sink)
				     .kind,
			     ERR_NONE);
	stage_learn(&stage);
	stage_must_begin(&stage);
	assert_int_equal(maildrop_find(&stage.drop, 4)->octets, mail->len + 7);
	stage_delete(&stage, 4);
	break_update(&stage, "UID STORE");
	stage_must_begin(&stage);
	assert_null(maildrop_find(&stage.drop, 4));
	assert_int_equal(stage_journalled(&stage), 0);
	stage_tear_down(&stage);
}

/* COPY by a connection that did not know of MOVE, and the next one does: no second copy. */
static void test_move_after_copy(void **state)
{
	struct stage stage;
	struct imap_family family;

	(void)state;
	stage_set_up(&stage, "generic", DELETE_TRASH);
	family = *stage.server.family;
	const struct imap_family *whole = stage.server.family;
	family.before = family.after = "IMAP4rev1 UIDPLUS SPECIAL-USE";
	stage.server.family = &family;
	stage_must_begin(&stage);
	stage_delete(&stage, 3);
	break_update(&stage, "UID STORE");
	assert_int_equal(stage_in_trash(&stage, 3), 1);
	stage.server.family = whole;
	stage_must_begin(&stage);
	assert_int_equal(stage_journalled(&stage), 0);
	assert_false(stage_in_inbox(&stage, 3));
	assert_int_equal(stage_in_trash(&stage, 3), 1);
	stage_tear_down(&stage);
}

/* The target cannot be searched just now: it waits rather than to be copied again. */
static void test_target_not_told(void **state)
{
	static const char *const struck[] = {"EXAMINE", "UID SEARCH HEADER"};
	static const enum server_fault faults[] = {FAULT_NO, FAULT_BAD, FAULT_LIE};

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct stage stage;
		stage_set_up(&stage, "courier", DELETE_ARCHIVE);
		stage_must_begin(&stage);
		stage_delete(&stage, 3);
		break_update(&stage, "UID STORE");
		stage.struck = struck[i / 3];
		stage.fault = faults[i % 3];
		stage.strikes = 1;
		(void)stage_begin(&stage);
		stage_end(&stage);
		stage.strikes = 0;
		stage_must_begin(&stage);
		assert_int_equal(stage_journalled(&stage), 0);
		assert_false(stage_in_inbox(&stage, 3));
		stage_check_all(&stage, MAILS, true);
		stage_tear_down(&stage);
	}
}

/* A server that tells sizes of a few messages at once: all are asked for (RFC 9738). */
static void test_limited_sizes(void **state)
{
	struct stage stage;
	struct imap_family family;

	(void)state;
	stage_set_up(&stage, "yahoo", DELETE_EXPUNGE);
	family = *stage.server.family;
	family.traits |= SERVER_LIMIT;
	stage.server.family = &family;
	stage.server.window = 1;
	stage_must_begin(&stage);
	stage_delete(&stage, 2);
	stage_delete(&stage, 5);
	stage_delete(&stage, 7);
	stage.struck = "UID STORE";
	stage.fault = FAULT_CUT;
	stage.strikes = 9;
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	stage.strikes = 0;
	stage_end(&stage);
	stage_must_begin(&stage);
	assert_int_equal(stage_journalled(&stage), 0);
	assert_int_equal(stage.drop.total, MAILS - 3);
	stage_check_all(&stage, MAILS, false);
	stage_tear_down(&stage);
}

/* keep_newest=: what has waited goes as soon as newer ones have come, whoever logs in and without QUIT. */
static void test_pending(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "generic", DELETE_EXPUNGE);
	stage.conf.keep_newest = 2;
	stage_must_begin(&stage);
	stage_delete(&stage, MAILS);
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	stage_end(&stage);
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 1);
	assert_true(stage_in_inbox(&stage, MAILS));
	stage_end(&stage);
	stage_add_mails(&stage, MAILS + 1, MAILS + 2);
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS + 1);
	assert_false(stage_in_inbox(&stage, MAILS));
	assert_int_equal(stage_journalled(&stage), 0);
	stage_end(&stage);
	/* newest= does not show what still keeps it from being the newest. */
	stage.conf.newest = 1;
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, 1);
	stage_delete(&stage, MAILS + 2);
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	stage_end(&stage);
	stage_add_mails(&stage, MAILS + 3, MAILS + 4);
	stage_must_begin(&stage);
	assert_false(stage_in_inbox(&stage, MAILS + 2));
	stage_tear_down(&stage);
}

/* What waited was copied before its UID changed: not once more. */
static void test_pending_copy(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "courier", DELETE_ARCHIVE);
	stage_must_begin(&stage);
	retrieve(&stage, 3);
	stage_delete(&stage, 3);
	break_update(&stage, "UID STORE");
	struct server_folder *inbox = imap_server_folder(&stage.server, "INBOX");
	imap_server_renumber(&stage.server, inbox, 777, 20);
	stage_must_begin(&stage);
	assert_int_equal(inbox->count, MAILS - 1);
	for (size_t i = 1; i < stage.server.folder_count; i++)
		assert_true(imap_server_copies(&stage.server.folders[i], 3) <= 1);
	stage_tear_down(&stage);
}

/* The replay flags, and HIGHESTMODSEQ of before says that no flag has changed. */
static void test_flagged_by_replay(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "zimbra", DELETE_FLAG);
	stage_must_begin(&stage);
	stage_end(&stage);
	stage_must_begin(&stage);
	stage_delete(&stage, 3);
	break_update(&stage, "UID STORE");
	stage_must_begin(&stage);
	assert_int_equal(stage_journalled(&stage), 0);
	assert_null(maildrop_find(&stage.drop, 3));
	stage_tear_down(&stage);
}

/* The replay removes one and one comes: EXISTS is as it was, and the mailbox is not. */
struct coming {
	struct stage stage; /* first */
	bool has_come;
};

static enum server_fault come_once(void *arg, struct imap_server *server, const char *command)
{
	struct coming *coming = arg;

	(void)server;
	if (!coming->has_come && !strncmp(command, "UID STORE", 9)) {
		coming->has_come = true;
		stage_add_mails(&coming->stage, MAILS + 1, MAILS + 1);
	}
	return FAULT_NONE;
}

static void test_one_comes_in_replay(void **state)
{
	struct coming coming = {.has_come = false};
	struct stage *stage = &coming.stage;

	(void)state;
	stage_set_up(stage, "generic", DELETE_EXPUNGE);
	stage_must_begin(stage);
	stage_delete(stage, 3);
	break_update(stage, "UID STORE");
	stage->server.on_command = come_once;
	stage_must_begin(stage);
	assert_true(coming.has_come);
	assert_null(maildrop_find(&stage->drop, 3));
	stage_tear_down(stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heard),
		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_resized),
		cmocka_unit_test(test_move_after_copy),
		cmocka_unit_test(test_target_not_told),
		cmocka_unit_test(test_limited_sizes),
		cmocka_unit_test(test_pending),
		cmocka_unit_test(test_pending_copy),
		cmocka_unit_test(test_flagged_by_replay),
		cmocka_unit_test(test_one_comes_in_replay),
	};

	return cmocka_run_group_tests_name("imap_promise", tests, NULL, NULL);
}
