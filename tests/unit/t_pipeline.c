/* SPDX-License-Identifier: MIT */
/* t_pipeline.c - what the lines that wait in a client's input will fetch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "session/pipeline.h"
#include "tests/fake/canned.h"

struct store {
	struct upstream up; /* first */
	char told[2000];
};

static void announce(struct upstream *upstream, const struct maildrop *drop,
		     const struct announced *list, size_t count)
{
	char *told = ((struct store *)upstream)->told;
	size_t at = 0;

	told[0] = '\0';
	for (size_t i = 0; i < count; i++)
		at += (size_t)snprintf(told + at, 2000 - at, "%zu:%u ",
				       (size_t)(list[i].message - drop->messages) + 1,
				       (unsigned)list[i].part.octets);
}

/* What is announced when these lines wait. */
static void check(const char *lines, const char *told)
{
	static const struct upstream_ops ops = {.announce = announce}, none = {.name = "none"};
	struct store store = {.up = {.ops = &ops}, .told = "never told"};
	struct session session = {.upstream = &store.up};
	struct canned client;

	canned_init(&client, ERR_CLIENT, lines, strlen(lines));
	session.client = &client.stream;
	maildrop_init(&session.drop);
	strcpy(session.drop.prefix, "x");
	for (uint32_t uid = 1; uid <= 100; uid++)
		assert_int_equal(maildrop_add(&session.drop, uid, uid * 1000, NULL, 0).kind, 0);
	assert_int_equal(maildrop_seal(&session.drop).kind, 0);
	maildrop_delete(&session.drop, &session.drop.messages[6]);
	if (*lines)
		assert_int_equal(stream_await(session.client).kind, 0);
	size_t pending = stream_pending(session.client);
	pipeline_announce(&session);
	assert_string_equal(store.told, told);
	assert_int_equal(stream_pending(session.client), pending);
	if (pending)
		assert_memory_equal(buf_data(&session.client->in), lines, pending);
	store.up.ops = &none;
	pipeline_announce(&session);
	maildrop_fini(&session.drop);
	stream_close(session.client);
}

static void test_lines(void **state)
{
	static const struct {
		const char *lines, *told;
	} cases[] = {
		{"", ""},
		{"RETR 2\r\n", "2:0 "},
		{"RETR 2", ""},
		{"RETR 2\r\nRETR 3", "2:0 "},
		{"retr 2\nRETR 3 \r\n", "2:0 3:0 "},
		{"RETR 2\r\nTOP 3 0\r\nTOP 4 2999\r\nTOP 5 5000\r\n", "2:0 3:16384 4:16384 5:0 "},
		{"RETR 2\r\nDELE 2\r\nNOOP\r\nRETR 3\r\n", "2:0 3:0 "},
		{"DELE 3\r\nRETR 2\r\nRETR 3\r\nRETR 4\r\n", "2:0 "},
		{"RETR 2\r\nRETR 2\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nQUIT\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nRSET\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nSTAT\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nRETR 0\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nRETR 101\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nRETR 7\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nRETR x\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nRETR\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nRETR  3\r\nRETR 4\r\n", "2:0 "},
		{"RETR 2\r\nTOP 3\r\nRETR 4\r\n", "2:0 "},
		{"RETR 2\r\nTOP 3 x\r\nRETR 4\r\n", "2:0 "},
		{"RETR 2\r\nDELE x\r\nRETR 4\r\n", "2:0 "},
		{"RETR 2\r\nDELE 999\r\nRETR 4\r\n", "2:0 4:0 "},
		{"RETR 2\r\n\r\nRETR 3\r\n", "2:0 "},
		{"RETR 2\r\nRETR "
		 "00000000000000000000000000000000000000000000000000000000000000003\r\n"
		 "RETR 4\r\n",
		 "2:0 "},
		{"\xff\r\nRETR 4\r\n", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check(cases[i].lines, cases[i].told);
}

static void test_many(void **state)
{
	char lines[2000] = "", told[2000] = "";

	(void)state;
	for (unsigned i = 8; i <= 100; i++) {
		sprintf(lines + strlen(lines), "RETR %u\r\nDELE %u\r\n", i, i);
		if (i < 8 + PIPELINE_MOST)
			sprintf(told + strlen(told), "%u:0 ", i);
	}
	check(lines, told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
