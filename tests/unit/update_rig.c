/* SPDX-License-Identifier: MIT */
/* update_rig.c - UPDATE with a journal behind it, over a model of a server. */
#include "tests/unit/update_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/journal.h"

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

void stage_add_mails(struct stage *stage, unsigned from, unsigned to)
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

void stage_set_up(struct stage *stage, const char *family, enum delete_policy policy)
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
	stage_add_mails(stage, 1, MAILS);
}

void stage_end(struct stage *stage)
{
	if (stage->up)
		imap_ops.close(stage->up, NULL, NULL, NULL);
	stage->up = NULL;
	maildrop_fini(&stage->drop);
	maildrop_init(&stage->drop);
}

void stage_tear_down(struct stage *stage)
{
	stage_end(stage);
	if (stage->server.crimes)
		fail_msg("%s", stage->server.crime);
	maildrop_fini(&stage->drop);
	state_memory_fini(&stage->state);
	imap_server_fini(&stage->server);
}

struct err stage_begin(struct stage *stage)
{
	static char user[] = "joe", password[] = "secret";
	struct login login = {.user = user, .password = password};
	struct notice why;
	struct err err = imap_ops.open(&stage->server.world.env, &stage->log, &stage->conf, &login,
				       &why, &stage->up);

	return err.kind ? err : imap_ops.list(stage->up, &stage->drop);
}

void stage_must_begin(struct stage *stage)
{
	struct err err = stage_begin(stage);

	if (err.kind)
		fail_msg("the session did not begin: %s", err.what);
}

void stage_delete(struct stage *stage, uint32_t uid)
{
	struct message *msg = maildrop_find(&stage->drop, uid);

	assert_non_null(msg);
	stage->may_go[uid] = true;
	maildrop_delete(&stage->drop, msg);
}

struct err stage_quit(struct stage *stage)
{
	return imap_ops.update(stage->up, &stage->drop);
}

bool stage_in_inbox(struct stage *stage, uint64_t id)
{
	return imap_server_copies(imap_server_folder(&stage->server, "INBOX"), id) > 0;
}

size_t stage_in_trash(struct stage *stage, uint64_t id)
{
	return imap_server_copies(imap_server_folder(&stage->server, "\\Trash"), id);
}

size_t stage_journalled(struct stage *stage)
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

void stage_check_all(struct stage *stage, unsigned mails, bool has_trash)
{
	for (unsigned id = 1; id <= mails; id++) {
		if (stage_in_inbox(stage, id) == stage->may_go[id])
			fail_msg("mail %u is%s in the folder", id, stage->may_go[id] ? "" : " not");
		if (has_trash && stage_in_trash(stage, id) != stage->may_go[id])
			fail_msg("mail %u is %zu times in the trash", id,
				 stage_in_trash(stage, id));
	}
}
