/* SPDX-License-Identifier: MIT */
/* session_rig.c - all that one session lives in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/session_rig.h"

static const char one[] = "Subject: one\r\n\r\n.\r\n..b\r\n\r\nends\r\n";
static const char two[] = "Subject: two\n\nbare\n";
static const char three[] = "Subject: three\r\n\r\n0123456789\r\nno end.";

static void keep_line(struct log_target *target, enum log_level level, const char *line, size_t len)
{
	struct log_keeper *keeper = (struct log_keeper *)target;

	(void)level;
	if (keeper->len + len < LOG_ROOM) {
		memcpy(keeper->text + keeper->len, line, len);
		keeper->len += len;
	}
}

void rig_init(struct rig *rig, const char *input)
{
	memset(rig, 0, sizeof *rig);
	fake_world_init(&rig->world);
	rig->messages[0] = (struct memory_message){.octets = one, .uid = 41};
	rig->messages[1] = (struct memory_message){.octets = two, .uid = 50};
	rig->messages[2] = (struct memory_message){.octets = three, .uid = 57};
	rig->users[0] = (struct fake_user){.name = "joe", .password = "secret", .is_local = true};
	rig->users[1] = (struct fake_user){.name = "pass"};
	rig->users[2] = (struct fake_user){.name = "shut", .reject = "moved [AUTH]\r\nto x\xff"};
	rig->users[3] = (struct fake_user){.name = "trouble", .fail = ERR_UPSTREAM};
	memory_init(&rig->store, rig->messages, 3);
	fault_init(&rig->fault, &rig->store.ops);
	rig->fault.kind = ERR_UPSTREAM;
	fake_accounts_init(&rig->accounts, rig->users, 4, &rig->fault.ops);
	session_conf_init(&rig->conf);
	canned_init(&rig->client, ERR_CLIENT, input, strlen(input));
	rig->log.target = (struct log_target){keep_line, LEVEL_DEBUG};
	rig->session = (struct session){
		.env = &rig->world.env,
		.conf = &rig->conf,
		.accounts = &rig->accounts.accounts,
		.locks = lock_table_new(),
		.log = {.target = &rig->log.target},
		.is_cleartext_allowed = true,
	};
}

const char *rig_run(struct rig *rig)
{
	session_run(&rig->session, &rig->client.stream);
	assert_int_equal(rig->session.state, CLOSED);
	assert_null(rig->session.client);
	assert_null(rig->session.name);
	assert_true(rig->client.is_closed);
	assert_int_equal(rig->store.opens, rig->store.closes);
	assert_int_equal(rig->fault.opens, rig->fault.closes);
	assert_int_equal(rig->accounts.given, rig->accounts.freed);
	lock_table_free(rig->session.locks); /* asserts that nothing is held */
	rig->log.text[rig->log.len] = '\0';
	assert_null(strstr(rig->log.text, "secret"));
	return canned_output(&rig->client);
}

void rig_fini(struct rig *rig)
{
	canned_fini(&rig->client);
}

unsigned rig_removed(const struct rig *rig)
{
	unsigned set = 0;

	for (unsigned i = 0; i < 3; i++)
		set |= (unsigned)rig->messages[i].is_removed << i;
	return set;
}

void rig_check_line(const char *line, size_t len)
{
	assert_true(len + 2 <= 512);
	assert_true(!memcmp(line, "+OK", 3) || !memcmp(line, "-ERR", 4));
	for (size_t i = 0; i < len; i++) {
		assert_in_range(line[i], 0x20, 0x7e);
		if (line[i] == '[')
			assert_int_equal(i, 5);
	}
}
