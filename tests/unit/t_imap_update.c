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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/fake/imap_server.h"
#include "tests/fake/state_memory.h"
#include "upstream/journal.h"
#include "upstream/upstream.h"

enum { MAILS = 8, MOST_MAILS = 64 };

struct stage {
	struct imap_server server;
	struct state_memory state;
	struct upstream_conf conf;
	struct log log;
	struct upstream *up;
	struct maildrop drop;
	bool may_go[MOST_MAILS + 1]; /* by mail id: a client has said DELE */
	enum server_fault fault;     /* of each command that begins with `struck` */
	const char *struck;          /* NULL: none */
	unsigned percent;            /* of commands that a random fault strikes */
	unsigned strikes;            /* that are still allowed */
	uint64_t journalled;         /* puts that were seen before the first deletion */
};

static bool may_remove(void *arg, uint64_t id)
{
	return ((struct stage *)arg)->may_go[id];
}

static enum server_fault on_command(void *arg, struct imap_server *server, const char *command)
{
	struct stage *stage = arg;

	if (!stage->strikes)
		return FAULT_NONE;
	if (stage->struck && !strncmp(command, stage->struck, strlen(stage->struck))) {
		stage->strikes--;
		return stage->fault;
	}
	if (imap_server_chance(server, 100) >= stage->percent)
		return FAULT_NONE;
	stage->strikes--;
	/* A lie is no failure that anybody could see in time: FAULT_LIE has its own test. */
	enum server_fault fault = (enum server_fault)imap_server_chance(server, FAULT_COUNT);
	return fault == FAULT_LIE || fault == FAULT_BAD ? FAULT_NO : fault;
}

static void add_mails(struct stage *stage, unsigned from, unsigned to)
{
	for (unsigned n = from; n <= to; n++) {
		char *mail = text_printf_dup("Message-ID: <%u@example.com>\r\nSubject: %u\r\n\r\n"
					     "%0*u\r\n",
					     n, n, (int)(n * 7 % 50) + 1, n);
		uint64_t id = imap_server_deliver(&stage->server, "INBOX", mail, strlen(mail));
		assert_int_equal(id, n);
		free(mail);
	}
}

static void set_up(struct stage *stage, const char *family, enum delete_policy policy)
{
	*stage = (struct stage){.strikes = 0};
	imap_server_init(&stage->server, imap_family_named(family));
	stage->server.may_remove = may_remove;
	stage->server.on_command = on_command;
	stage->server.arg = stage;
	state_memory_init(&stage->state);
	stage->conf = (struct upstream_conf){
		.ops = &imap_ops,
		.host = "imap.example.com",
		.port = 143,
		.folder = "INBOX",
		.name = "joe",
		.state = &stage->state.store,
		.delete_policy = policy,
		.archive = "Trash",
		.delete_after_s = DELETE_AFTER_NEVER,
	};
	maildrop_init(&stage->drop);
	add_mails(stage, 1, MAILS);
}

static void end_session(struct stage *stage)
{
	if (stage->up)
		imap_ops.close(stage->up, NULL, NULL, NULL);
	stage->up = NULL;
	maildrop_fini(&stage->drop);
	maildrop_init(&stage->drop);
}

static void tear_down(struct stage *stage)
{
	end_session(stage);
	if (stage->server.crimes)
		fail_msg("%s", stage->server.crime);
	maildrop_fini(&stage->drop);
	state_memory_fini(&stage->state);
	imap_server_fini(&stage->server);
}

static struct err begin_session(struct stage *stage)
{
	static char user[] = "joe", password[] = "secret";
	struct login login = {user, password, false};
	struct notice why;
	struct err err = imap_ops.open(&stage->server.world.env, &stage->log, &stage->conf, &login,
				       &why, &stage->up);

	return err.kind ? err : imap_ops.list(stage->up, &stage->drop);
}

static void must_begin(struct stage *stage)
{
	struct err err = begin_session(stage);

	if (err.kind)
		fail_msg("the session did not begin: %s", err.what);
}

/* The mail under a UID of INBOX; UIDs are the ids as long as nobody renumbers. */
static void delete_uid(struct stage *stage, uint32_t uid)
{
	struct message *msg = maildrop_find(&stage->drop, uid);

	assert_non_null(msg);
	stage->may_go[uid] = true;
	maildrop_delete(&stage->drop, msg);
}

static struct err quit(struct stage *stage)
{
	return imap_ops.update(stage->up, &stage->drop);
}

static bool in_inbox(struct stage *stage, uint64_t id)
{
	return imap_server_copies(imap_server_folder(&stage->server, "INBOX"), id) > 0;
}

static size_t in_trash(struct stage *stage, uint64_t id)
{
	return imap_server_copies(imap_server_folder(&stage->server, "\\Trash"), id);
}

static size_t journalled(struct stage *stage)
{
	struct journal *records;
	size_t count, entries = 0;
	struct err err = journal_read(&stage->state.store, &stage->server.world.env, "joe",
				      &records, &count);

	assert_int_equal(err.kind, ERR_NONE);
	for (size_t i = 0; i < count; i++)
		entries += records[i].count;
	journal_free(records, count);
	return entries;
}

static void check_all(struct stage *stage, unsigned mails, bool has_trash)
{
	for (unsigned id = 1; id <= mails; id++) {
		if (in_inbox(stage, id) == stage->may_go[id])
			fail_msg("mail %u is%s in the folder", id, stage->may_go[id] ? "" : " not");
		if (has_trash && in_trash(stage, id) != stage->may_go[id])
			fail_msg("mail %u is %zu times in the trash", id, in_trash(stage, id));
	}
}

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

	set_up(&stage, way->family, way->policy);
	must_begin(&stage);
	delete_uid(&stage, 2);
	delete_uid(&stage, 3);
	delete_uid(&stage, 7);
	*(is_heard ? &stage.server.cut_in : &stage.server.cut_out) = cut;
	struct err err = quit(&stage);
	bool was_cut = stage.server.cut_in == SIZE_MAX && stage.server.cut_out == SIZE_MAX;
	stage.server.cut_in = stage.server.cut_out = SIZE_MAX;
	assert_int_equal(err.kind, ERR_NONE);
	end_session(&stage);
	must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 3);
	for (size_t i = 0; i < stage.drop.total; i++)
		assert_false(stage.may_go[stage.drop.messages[i].uid]);
	check_all(&stage, MAILS, way->policy != DELETE_EXPUNGE);
	assert_int_equal(journalled(&stage), 0);
	tear_down(&stage);
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
		set_up(&stage, way->family, way->policy);
		must_begin(&stage);
		delete_uid(&stage, 1);
		delete_uid(&stage, 8);
		stage.struck = commands[i % 5];
		stage.fault = faults[i / 5 % 6];
		stage.strikes = 2;
		uint64_t began = stage.server.world.now_ms;
		struct err err = quit(&stage);
		assert_true(stage.server.world.now_ms - began <= 60000);
		assert_int_equal(err.kind, ERR_NONE);
		stage.strikes = 0;
		end_session(&stage);
		must_begin(&stage);
		assert_int_equal(stage.drop.total, MAILS - 2);
		end_session(&stage);
		must_begin(&stage);
		assert_int_equal(journalled(&stage), 0);
		check_all(&stage, MAILS, way->policy != DELETE_EXPUNGE);
		tear_down(&stage);
	}
}

/* The server never does it: hidden for as long as that lasts, and then removed. */
static void test_hidden_until_done(void **state)
{
	struct stage stage;

	(void)state;
	set_up(&stage, "generic", DELETE_EXPUNGE);
	must_begin(&stage);
	delete_uid(&stage, 4);
	stage.struck = "UID EXPUNGE";
	stage.fault = FAULT_NO;
	stage.strikes = 1000;
	assert_int_equal(quit(&stage).kind, ERR_NONE);
	imap_server_flag(&stage.server, imap_server_folder(&stage.server, "INBOX"), 4, FLAG_DELETED,
			 false); /* G-09 */
	for (int i = 0; i < 3; i++) {
		end_session(&stage);
		must_begin(&stage);
		assert_int_equal(stage.drop.total, MAILS - 1);
		assert_null(maildrop_find(&stage.drop, 4));
		assert_int_equal(journalled(&stage), 1);
	}
	stage.strikes = 0;
	end_session(&stage);
	must_begin(&stage);
	assert_int_equal(journalled(&stage), 0);
	check_all(&stage, MAILS, false);
	tear_down(&stage);
}

/* A server that says OK and does nothing: the client hears it, and nothing is hidden. */
static void test_refused(void **state)
{
	struct stage stage;

	(void)state;
	set_up(&stage, "generic", DELETE_EXPUNGE);
	must_begin(&stage);
	delete_uid(&stage, 4);
	stage.struck = "UID EXPUNGE";
	stage.fault = FAULT_LIE;
	stage.strikes = 1000;
	assert_int_equal(quit(&stage).kind, ERR_POLICY);
	assert_int_equal(journalled(&stage), 0);
	assert_true(in_inbox(&stage, 4));
	tear_down(&stage);
}

static void test_no_journal_no_deletion(void **state)
{
	static const int codes[] = {ENOSPC, EROFS, EIO};

	(void)state;
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		struct stage stage;
		set_up(&stage, "generic", DELETE_EXPUNGE);
		must_begin(&stage);
		delete_uid(&stage, 4);
		unsigned commands = stage.server.commands;
		stage.state.put_code = codes[i];
		assert_int_equal(quit(&stage).kind, ERR_UPSTREAM);
		assert_int_equal(stage.server.commands, commands);
		stage.state.put_code = 0;
		assert_true(in_inbox(&stage, 4));
		assert_int_equal(journalled(&stage), 0);
		tear_down(&stage);
	}
}

/* What was promised is not known: nobody sees the mailbox. */
static void test_unreadable_journal(void **state)
{
	struct stage stage;

	(void)state;
	set_up(&stage, "generic", DELETE_EXPUNGE);
	must_begin(&stage);
	delete_uid(&stage, 4);
	stage.struck = "UID EXPUNGE";
	stage.fault = FAULT_CUT;
	stage.strikes = 9;
	assert_int_equal(quit(&stage).kind, ERR_NONE);
	end_session(&stage);
	stage.strikes = 0;
	bool was_broken = false;
	for (size_t i = 0; i < stage.state.count; i++)
		if (!strncmp(stage.state.entries[i].key, "journal\t", 8)) {
			stage.state.broken_key = stage.state.entries[i].key;
			was_broken = true;
		}
	assert_true(was_broken);
	assert_int_equal(begin_session(&stage).kind, ERR_UPSTREAM);
	stage.state.broken_key = NULL;
	tear_down(&stage);
}

/* D-11: other UIDs behind the same numbers. Before QUIT: -ERR, nothing stored. After it: the record is
 * of no use. In neither case does a foreign message go: may_remove() sees to it. */
static void test_uidvalidity(void **state)
{
	(void)state;
	for (int is_after = 0; is_after < 2; is_after++) {
		struct stage stage;
		set_up(&stage, "generic", DELETE_EXPUNGE);
		must_begin(&stage);
		delete_uid(&stage, 4);
		struct server_folder *inbox = imap_server_folder(&stage.server, "INBOX");
		if (!is_after) {
			imap_server_renumber(&stage.server, inbox, 777, 2);
			assert_int_not_equal(quit(&stage).kind, ERR_NONE);
			assert_int_equal(journalled(&stage), 0);
		} else {
			stage.struck = "UID STORE";
			stage.fault = FAULT_CUT;
			stage.strikes = 9;
			assert_int_equal(quit(&stage).kind, ERR_NONE);
			assert_int_equal(journalled(&stage), 1);
			imap_server_renumber(&stage.server, inbox, 777, 2);
		}
		stage.strikes = 0;
		end_session(&stage);
		must_begin(&stage);
		assert_int_equal(journalled(&stage), 0);
		/* The ledger has recognised it by its EMAILID: the promise holds. */
		assert_int_equal(stage.drop.total, is_after ? MAILS - 1 : MAILS);
		assert_int_equal(inbox->count, MAILS);
		assert_int_equal(quit(&stage).kind, ERR_NONE);
		assert_int_equal(inbox->count, is_after ? MAILS - 1 : MAILS);
		tear_down(&stage);
	}
}

/* keep_newest=3: deleted ones go when three newer ones are there. */
static void test_keep_newest(void **state)
{
	struct stage stage;

	(void)state;
	set_up(&stage, "generic", DELETE_EXPUNGE);
	stage.conf.keep_newest = 3;
	must_begin(&stage);
	delete_uid(&stage, 5);
	delete_uid(&stage, 6);
	delete_uid(&stage, 8);
	assert_int_equal(quit(&stage).kind, ERR_NONE);
	assert_false(in_inbox(&stage, 5));
	assert_true(in_inbox(&stage, 6) && in_inbox(&stage, 8));
	end_session(&stage);
	must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 3);
	assert_int_equal(quit(&stage).kind, ERR_NONE);
	assert_true(in_inbox(&stage, 6) && in_inbox(&stage, 8));
	end_session(&stage);
	add_mails(&stage, 9, 10);
	must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 1);
	assert_int_equal(quit(&stage).kind, ERR_NONE);
	assert_false(in_inbox(&stage, 6));
	assert_true(in_inbox(&stage, 8));
	end_session(&stage);
	add_mails(&stage, 11, 11);
	must_begin(&stage);
	assert_int_equal(quit(&stage).kind, ERR_NONE);
	assert_false(in_inbox(&stage, 8));
	check_all(&stage, 11, false);
	tear_down(&stage);
}

static void test_hide(void **state)
{
	struct stage stage;

	(void)state;
	set_up(&stage, "generic", DELETE_HIDE);
	must_begin(&stage);
	delete_uid(&stage, 5);
	unsigned commands = stage.server.commands;
	assert_int_equal(quit(&stage).kind, ERR_NONE);
	assert_int_equal(stage.server.commands, commands);
	assert_true(in_inbox(&stage, 5));
	end_session(&stage);
	must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 1);
	assert_null(maildrop_find(&stage.drop, 5));
	tear_down(&stage);
}

/* DELE of a placeholder hides what it stands for, and a stub that was read is not taken for the mail. */
static void test_stub(void **state)
{
	struct stage stage;

	(void)state;
	set_up(&stage, "generic", DELETE_EXPUNGE);
	stage.conf.delete_after_s = 0;
	must_begin(&stage);
	maildrop_find(&stage.drop, 5)->marks |= MARK_STUB;
	maildrop_find(&stage.drop, 6)->marks |= MARK_STUB | MARK_RETRIEVED | MARK_DUE;
	maildrop_delete(&stage.drop, maildrop_find(&stage.drop, 5));
	assert_int_equal(quit(&stage).kind, ERR_NONE);
	end_session(&stage);
	must_begin(&stage);
	assert_int_equal(stage.drop.total, MAILS - 1);
	assert_null(maildrop_find(&stage.drop, 5));
	assert_true(in_inbox(&stage, 5) && in_inbox(&stage, 6));
	tear_down(&stage);
}

/* Random sets, random faults, many sessions: may_remove() catches each foreign removal. */
static void test_random(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		const struct way *way = &ways[round % (sizeof ways / sizeof *ways)];
		struct stage stage;
		bool is_promised[MOST_MAILS + 1] = {false};
		set_up(&stage, way->family, way->policy);
		stage.server.seed = round + 1;
		add_mails(&stage, MAILS + 1, 40);
		for (unsigned i = 0; i < 10; i++) {
			stage.percent = 0;
			must_begin(&stage);
			for (size_t n = 0; n < stage.drop.total; n++) {
				uint32_t uid = stage.drop.messages[n].uid;
				assert_false(is_promised[uid]);
				if (imap_server_chance(&stage.server, 5) == 0)
					delete_uid(&stage, uid);
			}
			stage.percent = 20;
			stage.strikes = 3;
			bool is_ok = !quit(&stage).kind;
			for (size_t n = 0; n < stage.drop.total && is_ok; n++)
				is_promised[stage.drop.messages[n].uid] |=
					message_is_deleted(&stage.drop.messages[n]);
			stage.strikes = 0;
			end_session(&stage);
		}
		must_begin(&stage);
		for (unsigned id = 1; id <= 40; id++) {
			if (in_inbox(&stage, id) && is_promised[id] && !in_trash(&stage, id))
				fail_msg("round %u: mail %u stays", round, id);
			if (!in_inbox(&stage, id))
				assert_true(stage.may_go[id]);
			if (in_trash(&stage, id) > 1)
				fail_msg("round %u: mail %u was copied twice", round, id);
		}
		assert_int_equal(journalled(&stage), 0);
		tear_down(&stage);
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
		cmocka_unit_test(test_keep_newest),
		cmocka_unit_test(test_hide),
		cmocka_unit_test(test_stub),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("imap_update", tests, NULL, NULL);
}
