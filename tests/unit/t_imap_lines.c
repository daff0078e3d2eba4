/* SPDX-License-Identifier: MIT */
/* t_imap_lines.c - lines of real servers, from tests/imap/lines.txt: each is understood as is
 * stated there, or refused, and the line behind it means what it always means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/heard.h"

enum { LEAST = 200, LINE_MAX_OCTETS = 8192 };

#define HELLO "* OK @\r\n"
/* Behind each line: a reply that is told to us, one that libetpan hears. */
#define PROBE "* 77 FETCH (UID 777 FLAGS (\\Deleted))\r\n* CAPABILITY PROBE\r\n"
#define PROBE_ITEM "77 uid 777 flags deleted;"
#define PROBE_OUT "* CAPABILITY PROBE\r\n"

struct lines {
	struct heard heard;
	struct buf told; /* what is known when the probe comes */
	unsigned probes;
};

static void tell(struct lines *lines, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	assert_true(buf_vprintf(&lines->told, format, ap));
	va_end(ap);
}

static void tell_status(struct lines *lines, const char *word, const struct wire_status *status)
{
	tell(lines, "%s", word);
	if (status->code[0])
		tell(lines, " [%s%s%s]", status->code, status->code_args[0] ? " " : "",
		     status->code_args);
	tell(lines, "%s%s;", status->text[0] ? " " : "", status->text);
}

static void tell_folder(struct lines *lines, const struct wire_folder *folder)
{
	if (folder->uidvalidity)
		tell(lines, "uidvalidity %llu;", (unsigned long long)folder->uidvalidity);
	if (folder->uidnext)
		tell(lines, "uidnext %u;", folder->uidnext);
	if (folder->highestmodseq)
		tell(lines, "modseq %llu;", (unsigned long long)folder->highestmodseq);
	if (folder->has_permanent_flags)
		tell(lines, "may%s%s;", folder->may_delete ? " delete" : "",
		     folder->may_see ? " see" : "");
	if (folder->is_uid_not_sticky)
		tell(lines, "not-sticky;");
	if (folder->is_read_only)
		tell(lines, "read-only;");
}

static void tell_words(struct lines *lines, const char *word, const char *text)
{
	if (text[0])
		tell(lines, "%s %s;", word, text);
}

/* Folders and continuations: as libetpan hears them. The message: its octets. */
static void tell_heard(struct lines *lines)
{
	const char *text = strchr(heard_text(&lines->heard), '\n') + 1;
	const char *list = strstr(text, "* L"), *body = strstr(text, " FETCH (BODY[] {");

	if (text[0] == '+')
		tell(lines, "%.*s;", (int)strcspn(text, "\r"), text);
	if (list)
		tell(lines, "%.*s;", (int)strcspn(list + 2, "\r"), list + 2);
	if (body && lines->heard.bodies)
		tell(lines, "body %llu from %llu \"%.*s\";",
		     (unsigned long long)lines->heard.body.octets,
		     (unsigned long long)lines->heard.body.origin, (int)lines->heard.body.octets,
		     strchr(body, '\n') + 1);
}

static void tell_all(struct lines *lines)
{
	static const char *const outcomes[] = {"", "ok", "no", "bad", "bye", "preauth"};
	const struct imap_wire *wire = lines->heard.wire;
	const struct wire_status *status = imap_wire_status(wire);

	tell(lines, "%s", heard_items(&lines->heard));
	if (strcmp(status->text, "@") != 0)
		tell_status(lines, outcomes[status->outcome], status);
	if (imap_wire_bye(wire)->outcome == WIRE_BYE)
		tell_status(lines, "bye", imap_wire_bye(wire));
	if (imap_wire_has_exists(wire))
		tell(lines, "exists %u;", imap_wire_exists(wire));
	if (imap_wire_expunges(wire))
		tell(lines, "expunges %u;", imap_wire_expunges(wire));
	if (imap_wire_vanished(wire))
		tell(lines, "vanished;");
	if (imap_wire_has_found(wire))
		tell(lines, "searched;");
	tell_folder(lines, imap_wire_folder(wire));
	if (strcmp(imap_wire_greeting(wire), "@") != 0)
		tell_words(lines, "greeting", imap_wire_greeting(wire));
	tell_words(lines, "alert", imap_wire_alert(wire));
	tell_words(lines, "capabilities", imap_wire_capabilities(wire));
	tell_words(lines, "id", imap_wire_id(wire));
	tell_words(lines, "enabled", imap_wire_enabled(wire));
}

static void take_item(void *arg, const struct wire_item *item)
{
	struct lines *lines = arg;

	if (item->number == 77 && !lines->probes++)
		tell_all(lines);
	heard_item(&lines->heard, item);
}

/* Reads what there is; a tagged reply is followed by the next command's. */
static void read_all(struct lines *lines, size_t max)
{
	while (heard_once(&lines->heard, max) > 0)
		if (strstr(heard_text(&lines->heard), "\n1 "))
			imap_wire_expect_tag(lines->heard.wire, "2");
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && !strcmp(text + len - end_len, end);
}

/* How a line is understood, with all that is not printable as %XX. */
static void understand(const struct buf *in, size_t chunk, char *out, size_t size)
{
	struct lines lines = {.probes = 0};

	buf_init(&lines.told, 1 << 20);
	heard_init(&lines.heard, buf_data(in), buf_len(in), NULL);
	lines.heard.canned.chunk = chunk;
	imap_wire_expect_items(lines.heard.wire, take_item, &lines);
	imap_wire_expect_body(lines.heard.wire, 1000, heard_body, &lines.heard);
	read_all(&lines, chunk ? 5 : 4096);
	bool is_good = lines.probes == 1 && ends_with(heard_items(&lines.heard), PROBE_ITEM) &&
		       ends_with(heard_text(&lines.heard), PROBE_OUT);
	if (is_good)
		tell_heard(&lines); /* only now: the doorman may be ahead of it */
	if (!is_good) {
		buf_drop(&lines.told, buf_len(&lines.told));
		tell(&lines, "refused: %s", heard_rule(&lines.heard));
	} else if (!buf_len(&lines.told)) {
		tell(&lines, "nothing");
	}
	const char *told = buf_data(&lines.told);
	size_t len = 0;
	for (size_t i = 0; i < buf_len(&lines.told) && len + 4 < size; i++)
		if (told[i] >= ' ' && told[i] < 127)
			out[len++] = told[i];
		else
			len += (size_t)snprintf(out + len, 4, "%%%02X", (unsigned char)told[i]);
	out[len] = '\0';
	assert_true(heard_fini(&lines.heard));
	buf_fini(&lines.told);
}

static void put_plain(struct buf *in, const char *text, size_t len)
{
	char digits[3] = "";

	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (c == '%') {
			assert_true(i + 2 < len);
			memcpy(digits, text + i + 1, 2);
			c = (char)strtoul(digits, NULL, 16);
			i += 2;
		}
		assert_true(buf_put(in, &c, 1));
	}
}

/* True if the line is understood as stated, in whatever pieces it comes. */
static bool check_line(const char *text, bool is_greeting)
{
	static const size_t chunks[] = {0, 1, 3};
	static const char arrow[] = " => ";
	const char *want = strstr(text, arrow);
	char got[LINE_MAX_OCTETS];
	struct buf in;
	bool is_same = true;

	assert_non_null(want);
	buf_init(&in, 1 << 20);
	if (!is_greeting)
		assert_true(buf_printf(&in, HELLO));
	put_plain(&in, text, (size_t)(want - text));
	assert_true(buf_printf(&in, "\r\n" PROBE));
	want += strlen(arrow);
	for (size_t i = 0; is_same && i < sizeof chunks / sizeof *chunks; i++) {
		understand(&in, chunks[i], got, sizeof got);
		is_same = !strcmp(got, want);
	}
	if (!is_same)
		print_error("%.*s => %s\n", (int)(want - text) - 4, text, got);
	buf_fini(&in);
	return is_same;
}

static FILE *open_lines(void)
{
	const char *top = getenv("srcdir");
	char path[1024];

	snprintf(path, sizeof path, "%s/tests/imap/lines.txt", top ? top : ".");
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	return file;
}

static void test_lines(void **state)
{
	FILE *file = open_lines();
	char text[LINE_MAX_OCTETS];
	unsigned count = 0, bad = 0;
	bool is_greeting = false;

	(void)state;
	while (fgets(text, sizeof text, file)) {
		text[strcspn(text, "\n")] = '\0';
		if (!text[0] || text[0] == '#')
			continue;
		if (text[0] == '@') {
			is_greeting = !strcmp(text, "@greetings");
			continue;
		}
		count++;
		bad += !check_line(text, is_greeting);
	}
	fclose(file);
	assert_true(count >= LEAST);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines)};

	return cmocka_run_group_tests_name("imap_lines", tests, NULL, NULL);
}
