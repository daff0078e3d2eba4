/* SPDX-License-Identifier: MIT */
/* t_imap_plain.c - the short way for plain FETCH replies understands what the grammar understands.
 *
 * A line whose word FETCH is written "Fetch" means the same and is never taken by the short way. So
 * each line goes in twice, once as it is; all that is told of it must be the same. The lines are those
 * of tests/imap/lines.txt, plain ones, and both with octets changed by chance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/imap_check.h"

enum { LINE_OCTETS = 8192, MUTATIONS = 300, ROUNDS = 200000 };

/* All that reading a line may tell. */
struct outcome {
	enum check_next next;
	unsigned items, odd, news;
	uint64_t literal;
	const char *rule;
	struct wire_item item;
	char out[256];
};

static uint64_t seed = 7;

static uint32_t chance(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static void take_item(void *arg, const struct wire_item *item)
{
	struct outcome *outcome = arg;

	outcome->items++;
	outcome->item = *item;
}

static void read_line(const char *line, size_t len, struct outcome *outcome)
{
	struct check check;

	memset(outcome, 0, sizeof *outcome);
	check_init(&check, NULL);
	check.is_greeted = true;
	check.body_max = 1000;
	check.on_item = take_item;
	check.item_arg = outcome;
	outcome->next = check_fragment(&check, line, len);
	outcome->odd = check.odd;
	outcome->news = check.flag_news;
	outcome->literal = check.literal;
	outcome->rule = check.err.what ? check.err.what : "";
	size_t told = buf_len(&check.out) < sizeof outcome->out ? buf_len(&check.out)
								: sizeof outcome->out - 1;
	if (told)
		memcpy(outcome->out, buf_data(&check.out), told);
	check_fini(&check);
}

static bool is_same_item(const struct wire_item *a, const struct wire_item *b)
{
	return a->number == b->number && a->has_uid == b->has_uid &&
	       (!a->has_uid || a->uid == b->uid) && a->has_octets == b->has_octets &&
	       (!a->has_octets || a->octets == b->octets) && a->has_flags == b->has_flags &&
	       a->is_deleted == b->is_deleted && a->is_seen == b->is_seen &&
	       a->has_body == b->has_body && a->is_nil == b->is_nil &&
	       !strcmp(a->email_id, b->email_id) && !strcmp(a->gm_msgid, b->gm_msgid) &&
	       !a->header == !b->header;
}

/* Whether the short way takes the line. */
static bool is_plain(const char *line, size_t len)
{
	struct check check;

	check_init(&check, NULL);
	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	bool is_taken = check_plain(&check, (struct scan){line, line + len});
	check_fini(&check);
	return is_taken;
}

static void compare(const char *line, size_t len)
{
	struct outcome one, two;
	char other[LINE_OCTETS];
	const char *word = memmem(line, len, " FETCH ", 7);

	if (!word)
		return;
	memcpy(other, line, len);
	memcpy(other + (word - line), " Fetch ", 7);
	assert_false(is_plain(other, len));
	read_line(line, len, &one);
	read_line(other, len, &two);
	bool is_same = one.next == two.next && one.items == two.items && one.odd == two.odd &&
		       one.news == two.news && one.literal == two.literal &&
		       !strcmp(one.rule, two.rule) && is_same_item(&one.item, &two.item) &&
		       !strcmp(one.out, two.out);
	if (!is_same)
		fail_msg("%.*s: %s, %s", (int)len, line, one.rule, two.rule);
}

static void mutate(char *line, size_t *len)
{
	static const char odd[] = "0123456789 ()\\\"{}[]~*.AUIDFLGSzead\r\t\x80";
	size_t at = chance((uint32_t)*len);

	switch (chance(4)) {
	case 0:
		line[at] = odd[chance(sizeof odd - 1)];
		break;
	case 1:
		memmove(line + at, line + at + 1, --*len - at);
		break;
	case 2:
		memmove(line + at + 1, line + at, (*len)++ - at);
		line[at] = odd[chance(sizeof odd - 1)];
		break;
	default:
		line[at] = (char)(line[at] ^ (1 << chance(8)));
	}
}

/* FETCH lines of real servers, up to the first line break, each as it is and mutated. */
static void test_known_lines(void **state)
{
	const char *top = getenv("srcdir");
	char path[1024], text[LINE_OCTETS], line[LINE_OCTETS];
	unsigned lines = 0;

	(void)state;
	snprintf(path, sizeof path, "%s/tests/imap/lines.txt", top ? top : ".");
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(text, sizeof text, file)) {
		char *end = strstr(text, " => "), *lf = strstr(text, "%0D");
		if (text[0] != '*' || !end || !strstr(text, " FETCH "))
			continue;
		size_t len = (size_t)((lf && lf < end ? lf : end) - text);
		compare(text, len);
		lines++;
		for (unsigned i = 0; i < MUTATIONS; i++) {
			size_t mutated = len;
			memcpy(line, text, len);
			for (uint32_t n = chance(3) + 1; n && mutated; n--)
				mutate(line, &mutated);
			compare(line, mutated);
		}
	}
	fclose(file);
	assert_true(lines >= 40);
}

static void put_item(char *line, size_t size, uint32_t which)
{
	static const char *const flags[] = {
		"",       "\\Seen",     "\\Deleted \\Seen", "$x \\deleted",
		"\\SEEN", "\\Seen \\S", "  \\Deleted  ",    "a\\Seen"};
	static const uint64_t numbers[] = {
		0,         1,         507, UINT32_MAX, (uint64_t)UINT32_MAX + 1, 999999999999999999,
		INT64_MAX, UINT64_MAX};
	size_t len = strlen(line);
	uint64_t number = numbers[chance(8)];

	if (which == 0)
		snprintf(line + len, size - len, "UID %llu", (unsigned long long)number);
	else if (which == 1)
		snprintf(line + len, size - len, "RFC822.SIZE %llu", (unsigned long long)number);
	else
		snprintf(line + len, size - len, "FLAGS (%s)", flags[chance(8)]);
}

/* The three items in all orders, none or several times, and with octets changed. */
static void test_plain_lines(void **state)
{
	unsigned plain = 0;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		char line[512];
		snprintf(line, sizeof line, "* %u FETCH (",
			 chance(8) ? chance(100000) : UINT32_MAX);
		uint32_t items = chance(4);
		for (uint32_t n = 0; n < items; n++) {
			if (n)
				strcat(line, " ");
			put_item(line, sizeof line, chance(3));
		}
		strcat(line, chance(20) ? ")" : ") ");
		size_t len = strlen(line);
		for (uint32_t n = chance(3); n; n--)
			mutate(line, &len);
		compare(line, len);
		plain += is_plain(line, len);
	}
	assert_true(plain > ROUNDS / 50);
}

/* What a listing is made of does go the short way. */
static void test_taken(void **state)
{
	static const struct {
		const char *line;
		bool is_plain;
	} cases[] = {
		{"* 1 FETCH (UID 4 RFC822.SIZE 507 FLAGS (\\Seen))", true},
		{"* 4294967295 FETCH (FLAGS (\\Answered $Forwarded) UID 4 RFC822.SIZE 507)", true},
		{"* 1 FETCH (RFC822.SIZE 507 UID 4294967295)\r", true},
		{"* 1 FETCH (FLAGS ())", true},
		{"* 1 FETCH (UID 4 MODSEQ (5))", false},
		{"* 1 FETCH (UID 4 UID 5)", false},
		{"* 1 FETCH ()", false},
		{"* 0 FETCH (UID 4)", false},
		{"* 1 FETCH (UID 4))", false},
		{"* 1 FETCH (UID 4 RFC822.SIZE 0)", false},
		{"* 1 FETCH (FLAGS (\"x\") UID 4)", false},
		{"* 1 FETCH (FLAGS ((x)) UID 4)", false},
		{"* 1 FETCH (UID 4 BODY[] {3}", false},
		{"* 1 EXISTS", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(is_plain(cases[i].line, strlen(cases[i].line)), cases[i].is_plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_lines),
		cmocka_unit_test(test_plain_lines),
		cmocka_unit_test(test_taken),
	};

	return cmocka_run_group_tests_name("imap_plain", tests, NULL, NULL);
}
