/* SPDX-License-Identifier: MIT */
/* t_imap_caps.c - what a server can do, who it is, and how long a line it takes (N-01, N-16, B-24). */
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
#include "tests/fake/imap_script.h"
#include "tests/unit/login_rig.h"
#include "upstream/imap_client.h"

#define LOGIN "@greet\nC: LOGIN \"joe\" \"secret\"\n"

/* N-01, M-13: the row is known at once as far as capabilities and greeting tell; ID comes with the
 * first command, whatever that is. */
static void test_quirks(void **state)
{
	static const struct {
		const char *script, *given, *before, *after;
	} cases[] = {
		{LOGIN
		 "S: $ OK [CAPABILITY IMAP4rev1 ID] in\nC: ID ...\nC: NOOP\n"
		 "S: * ID (\"name\" \"Cyrus IMAPD\" \"version\" \"3.2\")\nS: $< OK\nS: $ OK\n",
		 NULL, "generic", "cyrus"},
		{LOGIN "S: $ OK [CAPABILITY IMAP4rev1 ID] in\nC: ID ...\nC: NOOP\n"
		       "S: * ID (\"name\" \"Cyrus IMAPD\")\nS: $< OK\nS: $ OK\n",
		 "outlook", "outlook", "outlook"},
		{LOGIN "S: $ OK [CAPABILITY IMAP4rev1 X-GM-EXT-1] in\nC: NOOP\nS: $ OK\n", NULL,
		 "gmail", "gmail"},
		{"S: * OK [CAPABILITY IMAP4rev1 X-GM-EXT-1] hi\nC: LOGIN ...\n"
		 "S: $ OK [CAPABILITY IMAP4rev1] in\nC: NOOP\nS: $ OK\n",
		 NULL, "generic", "generic"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bed bed;
		bed_init(&bed, cases[i].script, true);
		if (cases[i].given)
			bed.conf.quirks = imap_quirks_named(cases[i].given);
		assert_int_equal(bed_open(&bed).kind, ERR_NONE);
		assert_string_equal(bed.client.quirks->name, cases[i].before);
		assert_int_equal(imap_command(&bed.client, PHASE_SELECT, "NOOP").kind, ERR_NONE);
		assert_string_equal(bed.client.quirks->name, cases[i].after);
		bed_fini(&bed);
	}
}

static void test_capabilities(void **state)
{
	static const struct {
		const char *atoms;
		unsigned caps;
	} cases[] = {
		{"IMAP4rev1", CAP_IMAP4REV1},
		{"imap4REV1 uidplus Move", CAP_IMAP4REV1 | CAP_UIDPLUS | CAP_MOVE},
		{"CONDSTORE", CAP_CONDSTORE},
		{"QRESYNC", CAP_CONDSTORE},
		{"OBJECTID X-GM-EXT-1", CAP_OBJECTID | CAP_GMAIL},
		{"ESEARCH ENABLE UNSELECT IDLE",
		 CAP_ESEARCH | CAP_ENABLE | CAP_UNSELECT | CAP_IDLE},
		{"UIDONLY MESSAGELIMIT=1000", CAP_UIDONLY | CAP_MESSAGELIMIT},
		{"SPECIAL-USE LIST-EXTENDED", CAP_SPECIAL_USE | CAP_LIST_EXTENDED},
		{"MOVED XMOVE MESSAGELIMIT AUTH=MOVE", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char script[300];
		struct bed bed;
		snprintf(script, sizeof script, LOGIN "S: $ OK [CAPABILITY %s] in\n",
			 cases[i].atoms);
		bed_init(&bed, script, true);
		assert_int_equal(bed_open(&bed).kind, ERR_NONE);
		if (bed.client.caps != (cases[i].caps | CAP_KNOWN))
			fail_msg("\"%s\": %x", cases[i].atoms, bed.client.caps);
		imap_client_forget(&bed.client, CAP_MOVE);
		assert_false(bed.client.caps & CAP_MOVE);
		bed_fini(&bed);
	}
}

/* N-16: no line is longer than the server takes, and no command is cut. */
static void test_lines(void **state)
{
	static const char *const names[] = {"yahoo", "gmail", "courier", "dovecot"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct bed bed;
		int tag;
		bed_init(&bed, "@login\nC: NOOP ...\nS: $ OK\n", true);
		bed.conf.quirks = imap_quirks_named(names[i]);
		assert_int_equal(bed_open(&bed).kind, ERR_NONE);
		assert_ptr_equal(bed.client.quirks, bed.conf.quirks);
		size_t room = imap_client_room(&bed.client);
		size_t before = buf_len(&bed.script.sent);
		char *fill = mem_alloc(room + 1);
		memset(fill, 'x', room);
		struct err err = imap_send(&bed.client, &tag, "%s x", fill);
		assert_int_equal(err.code, E2BIG);
		fill[room - 5] = '\0';
		assert_int_equal(imap_send(&bed.client, &tag, "NOOP %s", fill).kind, ERR_NONE);
		assert_int_equal(imap_receive(&bed.client, PHASE_BODY, tag).kind, ERR_NONE);
		assert_in_range(buf_len(&bed.script.sent) - before, bed.client.quirks->line - 12,
				bed.client.quirks->line);
		free(fill);
		bed_fini(&bed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quirks),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests_name("imap_caps", tests, NULL, NULL);
}
