/* SPDX-License-Identifier: MIT */
/* imap_run_state.c - what a case does to the state, and finds there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/imap_run.h"
#include "upstream/identity.h"
#include "upstream/ledger.h"

static void import(struct run *run, const char *note, const char *uid, const char *name)
{
	const struct env *env = &run->script.world.env;
	struct ledger ledger;
	bool is_stale = true;

	ledger_init(&ledger, run->conf.name);
	struct err err = ledger_load(&ledger, run->conf.state, env);
	struct ledger_row *row = ledger_find(&ledger, (uint32_t)strtoul(uid, NULL, 10));
	if (!err.kind && row && ledger_set_name(&ledger, row, name)) {
		ledger_touch(&ledger, row->uid);
		err = ledger_save(&ledger, run->conf.state, env, &is_stale);
	}
	if (err.kind || is_stale)
		run_problem(run, "\"%s\": it could not be imported", note);
	ledger_fini(&ledger);
}

bool run_act_state(struct run *run, const char *note, char *const part[4])
{
	if (strcmp(part[0], "later") == 0)
		run->script.world.wall_s += strtoull(part[1], NULL, 10);
	else if (strcmp(part[0], "import") == 0)
		import(run, note, part[1], part[2]);
	else if (strcmp(part[0], "fault") == 0)
		*(part[1][0] == 'p' ? &run->state.put_code : &run->state.read_code) =
			(int)strtol(part[2], NULL, 10);
	else
		return false;
	return true;
}

bool run_has_uidl(struct run *run, const char *rest)
{
	char uidl[UIDL_MAX + 1], want[200], tag[IDENTITY_TAG + 1];
	struct message *msg = run_message(run, rest);
	const char *text = strchr(rest, ' '), *at = text ? strchr(text, '@') : NULL;

	if (!msg || !text)
		return false;
	snprintf(want, sizeof want, "%s", text + 1);
	if (at) {
		identity_tag(tag, run->conf.host, run->words[0], run->conf.folder,
			     (uint32_t)strtoul(at + 1, NULL, 10));
		snprintf(want, sizeof want, "%.*s%s%s", (int)(at - text - 1), text + 1, tag,
			 at + 1 + strspn(at + 1, "0123456789"));
	}
	maildrop_uidl(&run->maildrop, msg, uidl);
	if (strcmp(uidl, want) != 0)
		run_problem(run, "the UIDL is %s, not %s", uidl, want);
	return true;
}
