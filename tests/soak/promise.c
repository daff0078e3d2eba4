/* SPDX-License-Identifier: MIT */
/* promise.c - what POP3 has promised to whom. */
#include "tests/soak/promise.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "upstream/maildrop.h"

void promise_fini(struct promise *promise)
{
	for (int i = 0; i < PROMISE_NAMES; i++) {
		struct promise_name *name = &promise->names[i];
		for (size_t k = 0; k < name->room; k++)
			free(name->mails[k].uidl);
		for (size_t k = 0; k < name->given_count; k++)
			free(name->given[k].uidl);
		free(name->mails);
		free(name->given);
	}
	*promise = (struct promise){0};
}

struct promise_mail *promise_of(struct promise *promise, unsigned number, uint64_t id)
{
	struct promise_name *name = &promise->names[number];

	if (id >= name->room) {
		size_t room = (size_t)id * 2 + 16;
		name->mails = mem_resize(name->mails, room, sizeof *name->mails);
		memset(name->mails + name->room, 0, (room - name->room) * sizeof *name->mails);
		name->room = room;
	}
	return &name->mails[id];
}

static bool is_uidl(const char *uidl)
{
	size_t len = strlen(uidl);

	for (size_t i = 0; i < len; i++)
		if (uidl[i] < 0x21 || uidl[i] > 0x7e)
			return false;
	return len && len <= UIDL_MAX;
}

const char *promise_uidl(struct promise *promise, unsigned number, uint64_t id, const char *uidl,
			 bool is_old)
{
	struct promise_name *name = &promise->names[number];
	struct promise_mail *mail = promise_of(promise, number, id);

	if (!is_uidl(uidl))
		return "a UIDL of bad form";
	if (mail->uidl && strcmp(mail->uidl, uidl) != 0)
		return "a message has changed its UIDL";
	if (mail->uidl)
		return NULL;
	if (!is_old)
		mail->uidl = text_dup(uidl);
	for (size_t i = 0; i < name->given_count; i++)
		if (!strcmp(name->given[i].uidl, uidl))
			return name->given[i].id == id ? NULL : "a UIDL names two messages";
	if (name->given_count == name->given_room) {
		name->given_room = name->given_room * 2 + 16;
		name->given = mem_resize(name->given, name->given_room, sizeof *name->given);
	}
	name->given[name->given_count++] = (struct promise_given){text_dup(uidl), id};
	return NULL;
}

void promise_renumbered(struct promise *promise)
{
	for (int i = 0; i < PROMISE_NAMES; i++) {
		struct promise_name *name = &promise->names[i];
		for (size_t id = 0; id < name->room; id++) {
			struct promise_mail *mail = &name->mails[id];
			if (mail->is_learned)
				continue;
			mail->is_weak |= !mail->is_heard;
			mail->is_renumbered |= !mail->is_heard;
			free(mail->uidl);
			mail->uidl = NULL;
		}
	}
}

bool promise_may_remove(struct promise *promise, uint64_t id)
{
	for (unsigned i = 0; i < PROMISE_NAMES; i++)
		if (promise_of(promise, i, id)->is_confirmed)
			return true;
	return false;
}
