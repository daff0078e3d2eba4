/* SPDX-License-Identifier: MIT */
/* t_imap_update.c - UPDATE with a journal behind it, over a model of a server that breaks at every octet
 * and in every way: what QUIT confirmed is gone, or is written down, never shown again, and removed
 * exactly once; what nobody deleted stays (D-02 to D-16, H-06). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tests/unit/update_rig.h"

struct way {
	const char *family;
	enum delete_policy policy;
};

static const struct way ways[] = {
	{"generic", DELETE_EXPUNGE}, {"generic", DELETE_TRASH},       {"courier", DELETE_EXPUNGE},
	{"courier", DELETE_ARCHIVE}, {"hmailserver", DELETE_EXPUNGE},
};

/* One UPDATE that is cut after `cut` octets, heard or said. True: the cut came. */
static bool run_cut(const struct way *way, size_t cut, bool is_heard)
{
	struct stage stage;

	stage_set_up(&stage, way->family, way->policy);
	stage_must_begin(&stage);
	stage_delete(&stage, 2);
	stage_delete(&stage, 3);
	stage_delete(&stage, 7);
	*(is_heard ? &stage.server.cut_in : &stage.server.cut_out) = cut;
	struct err err = stage_quit(&stage);
	bool was_cut = stage.server.cut_in == SIZE_MAX && stage.server.cut_out == SIZE_MAX;
	stage.server.cut_in = stage.server.cut_out = SIZE_MAX;
	assert_int_equal(err.kind, ERR_NONE);
	stage_end(&stage);
	stage_must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 3);
	for (size_t i = 0; i < stage.drop.total; i++)
		assert_false(stage.may_go[stage.drop.messages[i].uid]);
	stage_check_all(&stage, MAILS, way->policy != DELETE_EXPUNGE);
	assert_int_equal(stage_journalled(&stage), 0);
	stage_tear_down(&stage);
	return was_cut;
}

static void test_cut_everywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		for (int is_heard = 0; is_heard < 2; is_heard++) {
			size_t cut = 0;
			while (run_cut(&ways[i], cut, is_heard))
				cut++;
			assert_in_range(cut, 60, 5000);
		}
}

/* No new connection can be made either: what is left waits for the next login. */
static void test_left_for_the_next(void **state)
{
	static const enum server_fault faults[] = {FAULT_CUT,        FAULT_CUT_DONE, FAULT_STALL,
						   FAULT_STALL_DONE, FAULT_NO,       FAULT_HALF};
	static const char *const commands[] = {"UID STORE", "UID EXPUNGE", "UID SEARCH", "UID MOVE",
					       "UID COPY"};

	(void)state;
	for (size_t i = 0; i < sizeof ways / sizeof *ways * 30; i++) {
		const struct way *way = &ways[i / 30];
		struct stage stage;
		stage_set_up(&stage, way->family, way->policy);
		stage_must_begin(&stage);
		stage_delete(&stage, 1);
		stage_delete(&stage, 8);
		stage.struck = commands[i % 5];
		stage.fault = faults[i / 5 % 6];
		stage.strikes = 2;
		uint64_t began = stage.server.world.now_ms;
		struct err err = stage_quit(&stage);
		assert_true(stage.server.world.now_ms - began <= 60000);
		assert_int_equal(err.kind, ERR_NONE);
		stage.strikes = 0;
		stage_end(&stage);
		stage_must_begin(&stage);
		assert_int_equal(stage.drop.total, MAILS - 2);
		stage_end(&stage);
		stage_must_begin(&stage);
		assert_int_equal(stage_journalled(&stage), 0);
		stage_check_all(&stage, MAILS, way->policy != DELETE_EXPUNGE);
		stage_tear_down(&stage);
	}
}

/* The server never does it: hidden for as long as that lasts, and then removed. */
static void test_hidden_until_done(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "generic", DELETE_EXPUNGE);
	stage_must_begin(&stage);
	stage_delete(&stage, 4);
	stage.struck = "UID EXPUNGE";
	stage.fault = FAULT_NO;
	stage.strikes = 1000;
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	imap_server_flag(&stage.server, imap_server_folder(&stage.server, "INBOX"), 4, FLAG_DELETED,
			 false); /* G-09 */
	for (int i = 0; i < 3; i++) {
		stage_end(&stage);
		stage_must_begin(&stage);
		assert_int_equal(stage.drop.total, MAILS - 1);
		assert_null(maildrop_find(&stage.drop, 4));
		assert_int_equal(stage_journalled(&stage), 1);
	}
	stage.strikes = 0;
	stage_end(&stage);
	stage_must_begin(&stage);
	assert_int_equal(stage_journalled(&stage), 0);
	stage_check_all(&stage, MAILS, false);
	stage_tear_down(&stage);
}

/* A server that says OK and does nothing: the client hears it, and nothing is hidden. */
static void test_refused(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "generic", DELETE_EXPUNGE);
	stage_must_begin(&stage);
	stage_delete(&stage, 4);
	stage.struck = "UID EXPUNGE";
	stage.fault = FAULT_LIE;
	stage.strikes = 1000;
	assert_int_equal(stage_quit(&stage).kind, ERR_POLICY);
	assert_int_equal(stage_journalled(&stage), 0);
	assert_true(stage_in_inbox(&stage, 4));
	stage_tear_down(&stage);
}

static void test_no_journal_no_deletion(void **state)
{
	static const int codes[] = {ENOSPC, EROFS, EIO};

	(void)state;
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		struct stage stage;
		stage_set_up(&stage, "generic", DELETE_EXPUNGE);
		stage_must_begin(&stage);
		stage_delete(&stage, 4);
		unsigned commands = stage.server.commands;
		stage.state.put_code = codes[i];
		assert_int_equal(stage_quit(&stage).kind, ERR_UPSTREAM);
		assert_int_equal(stage.server.commands, commands);
		stage.state.put_code = 0;
		assert_true(stage_in_inbox(&stage, 4));
		assert_int_equal(stage_journalled(&stage), 0);
		stage_tear_down(&stage);
	}
}

/* What was promised is not known: nobody sees the mailbox. */
static void test_unreadable_journal(void **state)
{
	struct stage stage;

	(void)state;
	stage_set_up(&stage, "generic", DELETE_EXPUNGE);
	stage_must_begin(&stage);
	stage_delete(&stage, 4);
	stage.struck = "UID EXPUNGE";
	stage.fault = FAULT_CUT;
	stage.strikes = 9;
	assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
	stage_end(&stage);
	stage.strikes = 0;
	bool was_broken = false;
	for (size_t i = 0; i < stage.state.count; i++)
		if (!strncmp(stage.state.entries[i].key, "journal\t", 8)) {
			stage.state.broken_key = stage.state.entries[i].key;
			was_broken = true;
		}
	assert_true(was_broken);
	assert_int_equal(stage_begin(&stage).kind, ERR_UPSTREAM);
	stage.state.broken_key = NULL;
	stage_tear_down(&stage);
}

/* D-11: other UIDs behind the same numbers. Before QUIT: -ERR, nothing stored. After it: the record is
 * of no use. In neither case does a foreign message go: may_remove() sees to it. */
static void test_uidvalidity(void **state)
{
	(void)state;
	for (int is_after = 0; is_after < 2; is_after++) {
		struct stage stage;
		stage_set_up(&stage, "generic", DELETE_EXPUNGE);
		stage_must_begin(&stage);
		stage_delete(&stage, 4);
		struct server_folder *inbox = imap_server_folder(&stage.server, "INBOX");
		if (!is_after) {
			imap_server_renumber(&stage.server, inbox, 777, 2);
			assert_int_not_equal(stage_quit(&stage).kind, ERR_NONE);
			assert_int_equal(stage_journalled(&stage), 0);
		} else {
			stage.struck = "UID STORE";
			stage.fault = FAULT_CUT;
			stage.strikes = 9;
			assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
			assert_int_equal(stage_journalled(&stage), 1);
			imap_server_renumber(&stage.server, inbox, 777, 2);
		}
		stage.strikes = 0;
		stage_end(&stage);
		stage_must_begin(&stage);
		assert_int_equal(stage_journalled(&stage), 0);
		/* The ledger has recognised it by its EMAILID: the promise holds, and is kept. */
		assert_int_equal(stage.drop.total, is_after ? MAILS - 1 : MAILS);
		assert_int_equal(inbox->count, is_after ? MAILS - 1 : MAILS);
		assert_int_equal(stage_quit(&stage).kind, ERR_NONE);
		assert_int_equal(inbox->count, is_after ? MAILS - 1 : MAILS);
		stage_tear_down(&stage);
	}
}

/* Random sets, random faults, many sessions: may_remove() catches each foreign removal. */
static void test_random(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		const struct way *way = &ways[round % (sizeof ways / sizeof *ways)];
		struct stage stage;
		bool is_promised[MOST_MAILS + 1] = {false};
		stage_set_up(&stage, way->family, way->policy);
		stage.server.seed = round + 1;
		stage_add_mails(&stage, MAILS + 1, 40);
		for (unsigned i = 0; i < 10; i++) {
			stage.percent = 0;
			stage_must_begin(&stage);
			for (size_t n = 0; n < stage.drop.total; n++) {
				uint32_t uid = stage.drop.messages[n].uid;
				assert_false(is_promised[uid]);
				if (imap_server_chance(&stage.server, 5) == 0)
					stage_delete(&stage, uid);
			}
			stage.percent = 20;
			stage.strikes = 3;
			bool is_ok = !stage_quit(&stage).kind;
			for (size_t n = 0; n < stage.drop.total && is_ok; n++)
				is_promised[stage.drop.messages[n].uid] |=
					message_is_deleted(&stage.drop.messages[n]);
			stage.strikes = 0;
			stage_end(&stage);
		}
		stage_must_begin(&stage);
		for (unsigned id = 1; id <= 40; id++) {
			if (stage_in_inbox(&stage, id) && is_promised[id] &&
			    !stage_in_trash(&stage, id))
				fail_msg("round %u: mail %u stays", round, id);
			if (!stage_in_inbox(&stage, id))
				assert_true(stage.may_go[id]);
			if (stage_in_trash(&stage, id) > 1)
				fail_msg("round %u: mail %u was copied twice", round, id);
		}
		assert_int_equal(stage_journalled(&stage), 0);
		stage_tear_down(&stage);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_left_for_the_next),
		cmocka_unit_test(test_hidden_until_done),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_journal_no_deletion),
		cmocka_unit_test(test_unreadable_journal),
		cmocka_unit_test(test_uidvalidity),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("imap_update", tests, NULL, NULL);
}
