/* SPDX-License-Identifier: MIT */
/* t_imap_wire.c - the doorman: what libetpan hears of which reply, what kills, and whole sessions with
 * libetpan behind it, among them the replies that crash it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libetpan/libetpan.h>

#include "proxy/base/buf.h"
#include "tests/fake/canned.h"
#include "tests/fake/talk.h"
#include "tests/fake/world.h"
#include "upstream/imap_wire.h"

#define HELLO "* OK hello\r\n"

struct heard {
	struct buf octets;
	unsigned bodies;
	struct wire_body body;
	struct imap_wire *wire;
	bool kills;
};

static void on_body(void *arg, const struct wire_body *body)
{
	struct heard *heard = arg;

	heard->bodies++;
	heard->body = *body;
	if (heard->kills)
		imap_wire_kill(heard->wire);
}

/* All that libetpan would be told, until the wire dies. */
static void hear(struct heard *heard, struct imap_wire *wire, size_t max)
{
	mailstream_low *low = imap_wire_low(wire);
	char octets[4096];
	ssize_t got;

	while ((got = low->driver->mailstream_read(low, octets, max)) > 0) {
		assert_true((size_t)got <= max);
		assert_true(buf_put(&heard->octets, octets, (size_t)got));
	}
	assert_int_equal(got, -1);
	assert_true(imap_wire_is_dead(wire));
	assert_int_equal(low->driver->mailstream_read(low, octets, max), -1);
	assert_int_equal(low->driver->mailstream_write(low, "x", 1), -1);
}

struct line {
	const char *in; /* behind a greeting, tag 1 expected, bodies up to 1000 octets */
	size_t in_len;
	const char *out;
	size_t out_len;
	const char *rule; /* in the words of the error; NULL: the server ends */
};

#define LINE(in_, out_, rule_)                                                                     \
	{                                                                                          \
		in_, sizeof in_ - 1, out_, sizeof out_ - 1, rule_                                  \
	}

static const struct line lines[] = {
	/* Status replies. */
	LINE("1 OK done\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK\r\n", "1 OK .\r\n", NULL),
	LINE("1 ok done \r\n", "1 OK .\r\n", NULL),
	LINE("1 OK done\n", "1 OK .\r\n", NULL),
	LINE("1 NO [ALERT]\r\n", "1 NO .\r\n", NULL),
	LINE("1 NO [PARSE]\r\n", "1 NO .\r\n", NULL),
	LINE("1 BAD [BADCHARSET (\"x\")] y\r\n", "1 BAD .\r\n", NULL),
	LINE("1 OK [READ-WRITE] x\r\n", "1 OK [READ-WRITE] .\r\n", NULL),
	LINE("1 OK [read-only]\r\n", "1 OK [READ-ONLY] .\r\n", NULL),
	LINE("1 NO [TRYCREATE] x\r\n", "1 NO [TRYCREATE] .\r\n", NULL),
	LINE("1 OK [COPYUID 14  ] x\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK Success [THROTTLED]\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK [unclosed\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK text {10}\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH= (x) a\"b XYZ{] x\r\n",
	     "1 OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] .\r\n", NULL),
	LINE("1 OK [CAPABILITY ] x\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK [CAPABILITY] x\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK \xc3\xa4\xff text\r\n", "1 OK .\r\n", NULL),
	LINE("* OK\r\n", "", NULL),
	LINE("* OK still here\r\n", "", NULL),
	LINE("* NO [ALERT]\r\n", "", NULL),
	LINE("* BYE bye\r\n", "", "the mail server said goodbye"),
	LINE("* OK [UIDVALIDITY 1] x\r\n", "* OK [UIDVALIDITY 1] .\r\n", NULL),
	LINE("* OK [uidnext 4294967295]\r\n", "* OK [UIDNEXT 4294967295] .\r\n", NULL),
	LINE("* OK [UIDVALIDITY 0] x\r\n", "", NULL),
	LINE("* OK [UIDVALIDITY 4294967296] x\r\n", "", NULL),
	LINE("* OK [UNSEEN x] x\r\n", "", NULL),
	LINE("* OK [PERMANENTFLAGS (\\Seen \\* \\Deleted $Junk [Foo] x{2})] x\r\n",
	     "* OK [PERMANENTFLAGS (\\Seen \\* \\Deleted)] .\r\n", NULL),
	LINE("* OK [PERMANENTFLAGS (%)] x\r\n", "* OK [PERMANENTFLAGS ()] .\r\n", NULL),
	LINE("* OK [PERMANENTFLAGS (x] y\r\n", "", NULL),
	LINE("* OK [PERMANENTFLAGS ()] y\r\n", "* OK [PERMANENTFLAGS ()] .\r\n", NULL),
	LINE("* OK [PERMANENTFLAGS] y\r\n", "", NULL),
	LINE("* [CAPABILITY IMAP4rev1] x\r\n", "", NULL),
	LINE("2 OK done\r\n", "", "to no command"),
	LINE("1x OK done\r\n", "", "to no command"),
	LINE("1 OK done\r\n1 OK again\r\n", "1 OK .\r\n", "to no command"),
	LINE("1\r\n", "", "without a status"),
	LINE("1 BYE x\r\n", "", "without a status"),
	LINE("1 FETCH\r\n", "", "without a status"),
	LINE("* PREAUTH again\r\n", "", "second greeting"),
	LINE("*\r\n", "", "no reply"),
	LINE("*OK x\r\n", "", "no reply"),
	LINE(" 1 OK done\r\n", "", "to no command"),
	/* Continuations. */
	LINE("+\r\n", "+ .\r\n", NULL),
	LINE("+ \r\n", "+ .\r\n", NULL),
	LINE("+ YWJj\r\n", "+ YWJj\r\n", NULL),
	LINE("+ YWJ\r\n", "+ .\r\n", NULL),
	LINE("+ [BADCHARSET (\"x\")] go on {3}\r\n", "+ .\r\n", NULL),
	/* Data. */
	LINE("\r\n \r\n* 3 EXISTS \r\n\r\n1 OK x\r\n", "1 OK .\r\n", NULL),
	LINE("* 3 exists\n", "", NULL),
	LINE("*  3  FETCH (UID 1)\r\n", "* 3 FETCH (UID 1)\r\n", NULL),
	LINE("* 4294967296 EXISTS\r\n", "", "32 bits"),
	LINE("* 3 RECENT\r\n* 2 EXPUNGE\r\n* VANISHED 1:3\r\n", "", NULL),
	LINE("* FLAGS (\\Seen (x))\r\n* ESEARCH (TAG \"1\") ALL 1:3\r\n* ENABLED X\r\n", "", NULL),
	LINE("* NAMESPACE ((\"\" \"\")) NIL NIL\r\n* STATUS INBOX ()\r\n* 5 FOO\r\n", "", NULL),
	LINE("* FOO {3}\r\na\nb (\"{4}\r\n\r\n\r\n) x\r\n* 1 FETCH (UID 1)\r\n",
	     "* 1 FETCH (UID 1)\r\n", NULL),
	LINE("* FOO ~{3+}\r\na\0b x\r\n", "", NULL),
	LINE("* FOO {65537}\r\n", "", "too long"),
	LINE("* FOO {99999999999999999999999}\r\n", "", "too long"),
	LINE("* FOO \"{10}\"\r\n* 1 FETCH (UID 1)\r\n", "* 1 FETCH (UID 1)\r\n", NULL),
	LINE("* CAPABILITY\r\n* CAPABILITY (\r\n", "", NULL),
	LINE("* CAPABILITY IMAP4rev1  X-Y=1 \r\n", "* CAPABILITY IMAP4rev1 X-Y=1\r\n", NULL),
	LINE("* SEARCH\r\n* SEARCH 1 22 (MODSEQ 5)\r\n", "* SEARCH\r\n* SEARCH 1 22\r\n", NULL),
	LINE("* SEARCH 1 x\r\n", "", "holds no number"),
	LINE("* SEARCH 0\r\n", "", "holds no number"),
	LINE("* LIST (\\Trash \\X %) \"/\" Trash\r\n", "* LIST (\\Trash) \"/\" \"Trash\"\r\n",
	     NULL),
	LINE("* LIST () NIL \"a\\\"b\\\\\"\r\n", "* LIST () NIL \"a\\\"b\\\\\"\r\n", NULL),
	LINE("* LSUB () \"\\\\\" [Gmail]/x\r\n", "* LSUB () \"\\\\\" \"[Gmail]/x\"\r\n", NULL),
	LINE("* LIST () \"\\\"\" {3}\r\na\"b\r\n", "* LIST () \"\\\"\" \"a\\\"b\"\r\n", NULL),
	LINE("* LIST () \"\" {0}\r\n\r\n", "* LIST () NIL \"\"\r\n", NULL),
	LINE("* LIST () \"ab\" x (\"CHILDINFO\" (\"y\"))\r\n", "* LIST () NIL \"x\"\r\n", NULL),
	LINE("* LIST () \"/\" x ({3}\r\nabc)\r\n", "* LIST () \"/\" \"x\"\r\n", NULL),
	LINE("* LIST () \"/\" {3}\r\na\r\n\r\n", "", "a line end"),
	LINE("* LIST () \"/\" {4097}\r\n", "", "too long"),
	LINE("* LIST x\r\n", "", "without attributes"),
	LINE("* LIST (x\r\n", "", "without attributes"),
	LINE("* LIST () x y\r\n", "", "without a delimiter"),
	LINE("* LIST () \"/\"\r\n", "", "without a name"),
	LINE("* LIST () \"/\" \"x\r\n", "", "has no end"),
	LINE("* 1 \0 x\r\n", "", "NUL"),
	/* FETCH. */
	LINE("* 1 FETCH (UID 7 RFC822.SIZE 12 FLAGS (\\Seen $x \\Foo \\Deleted))\r\n",
	     "* 1 FETCH (UID 7 RFC822.SIZE 12 FLAGS (\\Seen \\Deleted))\r\n", NULL),
	LINE("* 1 fetch  ( uid 7  rfc822.size 12 flags ( \\seen ) ) \r\n",
	     "* 1 FETCH (UID 7 RFC822.SIZE 12 FLAGS (\\Seen))\r\n", NULL),
	LINE("* 1 FETCH (FLAGS () UID 7))\r\n", "* 1 FETCH (FLAGS () UID 7)\r\n", NULL),
	LINE("* 1 FETCH (FLAGS (\\* [x] \"y)\" a%b) UID 7)\r\n", "* 1 FETCH (FLAGS () UID 7)\r\n",
	     NULL),
	LINE("* 1 FETCH (MODSEQ (-1) UID 7 X-GM-LABELS (\"\\\\Inbox\" [x]))\r\n",
	     "* 1 FETCH (UID 7)\r\n", NULL),
	LINE("* 1 FETCH (UID 7 EMAILID (M1) PREVIEW NIL SAVEDATE \"x(\" FOO)\r\n",
	     "* 1 FETCH (UID 7)\r\n", NULL),
	LINE("* 1 FETCH (MODSEQ (5))\r\n* 1 FETCH ()\r\n", "", NULL),
	LINE("* 0 FETCH (UID 7 X {3}\r\nabc)\r\n* 1 FETCH (UID 1)\r\n", "* 1 FETCH (UID 1)\r\n",
	     NULL),
	LINE("* 9 FETCH (UID 4294967295)\r\n", "* 9 FETCH (UID 4294967295)\r\n", NULL),
	LINE("* 9 FETCH (UID 4294967296)\r\n", "", "a UID"),
	LINE("* 9 FETCH (UID 0)\r\n", "", "a UID"),
	LINE("* 9 FETCH (UID)\r\n", "", "a UID"),
	LINE("* 9 FETCH (UID -7)\r\n", "", "a UID"),
	LINE("* 1 FETCH (RFC822.SIZE 9.37e+06 UID 7)\r\n", "* 1 FETCH (RFC822.SIZE 0 UID 7)\r\n",
	     NULL),
	LINE("* 1 FETCH (RFC822.SIZE -5 UID 7)\r\n", "* 1 FETCH (RFC822.SIZE 0 UID 7)\r\n", NULL),
	LINE("* 1 FETCH (RFC822.SIZE 4294967295)\r\n", "* 1 FETCH (RFC822.SIZE 4294967295)\r\n",
	     NULL),
	LINE("* 1 FETCH (RFC822.SIZE 4294967296)\r\n", "* 1 FETCH (RFC822.SIZE 0)\r\n", NULL),
	LINE("* 1 FETCH (RFC822.SIZE NIL UID 7)\r\n", "* 1 FETCH (RFC822.SIZE 0 UID 7)\r\n", NULL),
	LINE("* 1 FETCH (RFC822.SIZE UID 7)\r\n", "* 1 FETCH (RFC822.SIZE 0 UID 7)\r\n", NULL),
	LINE("* 1 FETCH (RFC822.SIZE \"12\" UID 7)\r\n", "* 1 FETCH (RFC822.SIZE 0 UID 7)\r\n",
	     NULL),
	LINE("* 1 FETCH (UID 7 RFC822.SIZE)\r\n", "* 1 FETCH (UID 7 RFC822.SIZE 0)\r\n", NULL),
	LINE("* 1 FETCH (ENVELOPE (NIL {3}\r\na\")( ((NIL \"\\\")\")))) UID 7)\r\n",
	     "* 1 FETCH (UID 7)\r\n", NULL),
	LINE("* 1 FETCH (BODY[HEADER.FIELDS (X \"]\")]<0> {2}\r\nab BINARY.SIZE[1.2] 3 UID 7)\r\n",
	     "* 1 FETCH (UID 7)\r\n", NULL),
	LINE("* 1 FETCH (UID 7 BODY[1] {65537}\r\n", "", "too long"),
	LINE("* 1 FETCH (UID 7\r\n", "", "has no end"),
	LINE("* 1 FETCH (UID 7) x\r\n", "", "follows"),
	LINE("* 1 FETCH UID 7\r\n", "", "without a list"),
	LINE("* 1 FETCH (FOO UID 7)\r\n", "", "no name"),
	LINE("* 1 FETCH (X \"abc UID 7)\r\n", "", "has no end"),
	LINE("* 1 FETCH (X (abc UID 7)\r\n", "", "has no end"),
	LINE("* 1 FETCH (FLAGS (\\Seen UID 7\r\n", "", "has no end"),
	LINE("* 1 FETCH (BODY[HEADER UID 7)\r\n", "", "has no end"),
	LINE("* 1 FETCH (BODY[]<x> {1}\r\n", "", "origin"),
	LINE("* 1 FETCH (BODY[]<4294967296> {1}\r\n", "", "origin"),
	/* Bodies. */
	LINE("* 1 FETCH (UID 7 BODY[] {5}\r\na\0\r\nb)\r\n",
	     "* 1 FETCH (UID 7 BODY[] {5}\r\na\0\r\nb)\r\n", NULL),
	LINE("* 1 FETCH (BODY[]<0> {2} \r\n)) UID 7)\r\n",
	     "* 1 FETCH (BODY[]<0> {2}\r\n)) UID 7)\r\n", NULL),
	LINE("* 1 FETCH (body[] ~{2}\r\nab)\r\n", "* 1 FETCH (BODY[] {2}\r\nab)\r\n", NULL),
	LINE("* 1 FETCH (RFC822 {2+}\r\nab)\r\n", "* 1 FETCH (BODY[] {2}\r\nab)\r\n", NULL),
	LINE("* 1 FETCH (BODY[] {0}\r\n)\r\n", "* 1 FETCH (BODY[] {0}\r\n)\r\n", NULL),
	LINE("* 1 FETCH (BODY[] \"a\\\"b\\\\\" UID 7)\r\n",
	     "* 1 FETCH (BODY[] {4}\r\na\"b\\ UID 7)\r\n", NULL),
	LINE("* 1 FETCH (BODY[] \"\")\r\n", "* 1 FETCH (BODY[] {0}\r\n)\r\n", NULL),
	LINE("* 1 FETCH (BODY[] NIL UID 7)\r\n", "* 1 FETCH (BODY[] NIL UID 7)\r\n", NULL),
	LINE("* 1 FETCH (BODY[] {1001}\r\n", "", "the message is too large"),
	LINE("* 1 FETCH (BODY[] {18446744073709551615}\r\n", "", "the message is too large"),
	LINE("* 1 FETCH (BODY[] {-1}\r\n", "", "no string"),
	LINE("* 1 FETCH (BODY[] {5} abcde)\r\n", "", "no string"),
	LINE("* 1 FETCH (BODY[] {}\r\n", "", "no string"),
	LINE("* 1 FETCH (BODY[] abc)\r\n", "", "no string"),
	LINE("* 1 FETCH (BODY[] {2}\r\nab\r\n1 OK\r\n", "* 1 FETCH (BODY[] {2}\r\nab",
	     "has no end"),
	LINE("* 1 FETCH (BODY[] {9}\r\nab", "* 1 FETCH (BODY[] {9}\r\nab", NULL),
};

static void run_line(struct heard *heard, const char *in, size_t len, size_t chunk, size_t max,
		     struct err *err, struct wire_status *status)
{
	struct canned canned;

	canned_init(&canned, ERR_UPSTREAM, in, len);
	canned.chunk = chunk;
	struct imap_wire *wire = imap_wire_new(&canned.stream, NULL);
	heard->wire = wire;
	imap_wire_expect_tag(wire, "1");
	imap_wire_expect_body(wire, 1000, on_body, heard);
	hear(heard, wire, max);
	*err = imap_wire_error(wire);
	*status = *imap_wire_status(wire);
	imap_wire_free(wire);
	assert_true(canned.is_closed);
	canned_fini(&canned);
}

static void check_line(const char *in, size_t in_len, const char *out, size_t out_len,
		       const char *rule)
{
	static const size_t chunks[] = {0, 1, 2, 3, 7, 16};
	struct buf all;

	buf_init(&all, 1 << 20);
	assert_true(buf_put(&all, HELLO, strlen(HELLO)) && buf_put(&all, in, in_len));
	for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
		struct heard heard = {.bodies = 0};
		struct wire_status status;
		struct err err;
		const char *greeting = "* OK .\r\n";

		buf_init(&heard.octets, 1 << 20);
		run_line(&heard, buf_data(&all), buf_len(&all), chunks[i], i ? 5 : 4096, &err,
			 &status);
		size_t got = buf_len(&heard.octets);
		bool is_same = got == 8 + out_len &&
			       !memcmp(buf_data(&heard.octets), greeting, 8) &&
			       !memcmp(buf_data(&heard.octets) + 8, out, out_len);
		/* Of a line that kills no octet counts: libetpan fails anyway. */
		if (rule && got >= 8 + out_len &&
		    !memcmp(buf_data(&heard.octets) + 8, out, out_len))
			is_same = true;
		if (!is_same)
			print_error("in:  %s\nout: %.*s\n", in, (int)got, buf_data(&heard.octets));
		assert_true(is_same);
		if (!strstr(err.what, rule ? rule : "the mail server closed the connection"))
			print_error("in: %s\nerror: %s\n", in, err.what);
		assert_non_null(
			strstr(err.what, rule ? rule : "the mail server closed the connection"));
		assert_int_equal(err.kind,
				 strstr(err.what, "too large") ? ERR_POLICY : ERR_UPSTREAM);
		buf_fini(&heard.octets);
	}
	buf_fini(&all);
}

static void test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		check_line(lines[i].in, lines[i].in_len, lines[i].out, lines[i].out_len,
			   lines[i].rule);
}

static void hear_one(struct canned *canned, struct heard *heard, const char *in, size_t len)
{
	canned_init(canned, ERR_UPSTREAM, in, len);
	*heard = (struct heard){.bodies = 0};
	buf_init(&heard->octets, 64 << 20);
	heard->wire = imap_wire_new(&canned->stream, NULL);
	imap_wire_expect_tag(heard->wire, "1");
}

static void heard_fini(struct canned *canned, struct heard *heard)
{
	imap_wire_free(heard->wire);
	buf_fini(&heard->octets);
	canned_fini(canned);
}

static void test_greetings(void **state)
{
	static const struct {
		const char *in, *out, *rule;
		enum wire_outcome outcome;
	} cases[] = {
		{"* OK hi\r\n", "* OK .\r\n", "closed", WIRE_OK},
		{"\r\n* ok\r\n", "* OK .\r\n", "closed", WIRE_OK},
		{"* PREAUTH hi\r\n", "* PREAUTH .\r\n", "closed", WIRE_PREAUTH},
		{"* OK [PERMANENTFLAGS (\\Seen \\*)] hi\r\n", "* OK .\r\n", "closed", WIRE_OK},
		{"* OK [BADCHARSET (\"x\")] hi\r\n", "* OK .\r\n", "closed", WIRE_OK},
		{"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n",
		 "* OK [CAPABILITY IMAP4rev1 STARTTLS] .\r\n", "closed", WIRE_OK},
		{"* BYE full\r\n", "", "does not want to talk", WIRE_NONE},
		{"* NO hi\r\n", "", "does not greet", WIRE_NONE},
		{"* 1 EXISTS\r\n", "", "does not greet", WIRE_NONE},
		{"+ hi\r\n", "", "does not greet", WIRE_NONE},
		{"220 mail ESMTP\r\n", "", "does not greet", WIRE_NONE},
		{"+OK POP3\r\n", "", "does not greet", WIRE_NONE},
		{"", "", "closed", WIRE_NONE},
		{"* OK hi", "", "closed", WIRE_NONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct canned canned;
		struct heard heard;

		hear_one(&canned, &heard, cases[i].in, strlen(cases[i].in));
		hear(&heard, heard.wire, 4096);
		assert_true(buf_put(&heard.octets, "", 1));
		assert_string_equal(buf_data(&heard.octets), cases[i].out);
		assert_non_null(strstr(imap_wire_error(heard.wire).what, cases[i].rule));
		assert_int_equal(imap_wire_status(heard.wire)->outcome, cases[i].outcome);
		heard_fini(&canned, &heard);
	}
}

/* Lines and depths at their limits: the last good one, the first bad one. */
static void limit_case(const char *head, char fill, size_t count, const char *tail,
		       const char *rule)
{
	struct canned canned;
	struct heard heard;
	struct buf in;

	buf_init(&in, 64 << 20);
	assert_true(buf_printf(&in, HELLO "%s", head));
	memset(buf_room(&in, count), fill, count);
	buf_added(&in, count);
	assert_true(buf_printf(&in, "%s", tail));
	hear_one(&canned, &heard, buf_data(&in), buf_len(&in));
	hear(&heard, heard.wire, 4096);
	if (!strstr(imap_wire_error(heard.wire).what, rule))
		print_error("%s: %s\n", head, imap_wire_error(heard.wire).what);
	assert_non_null(strstr(imap_wire_error(heard.wire).what, rule));
	heard_fini(&canned, &heard);
	buf_fini(&in);
}

static void test_limits(void **state)
{
	(void)state;
	limit_case("* X", 'x', WIRE_LINE - 4, "\r\n", "closed");
	limit_case("* X", 'x', WIRE_LINE - 2, "\r\n", "a line is too long");
	limit_case("* X", 'x', 4 * WIRE_LINE, "", "a line is too long");
	limit_case("* 1 FETCH (X {1}\r\na Y ", 'x', WIRE_LINE, ")\r\n", "a line is too long");
	limit_case("* 1 FETCH (X {65536}\r\n", 'x', WIRE_LITERAL, ")\r\n", "closed");
	limit_case("* X {65536}\r\n", 'x', WIRE_LITERAL, "\r\n", "closed");
	limit_case("* LIST () NIL {4096}\r\n", '"', WIRE_NAME, "\r\n", "closed");
	limit_case("* LIST () NIL ", '\\', WIRE_NAME, "\r\n", "closed");
	limit_case("* LIST () NIL ", '\\', WIRE_LINE - 16, "\r\n", "closed");
	limit_case("* 1 FETCH (X ", '(', WIRE_DEPTH, "\r\n", "a list has no end");
	limit_case("* 1 FETCH (X ", '(', WIRE_DEPTH + 1, "\r\n", "nested too deeply");
	limit_case("* 1 FETCH (X \"", '(', 1000, "\")\r\n", "closed");
	limit_case("* CAPABILITY IMAP4rev1 X", 'x', 60000, "\r\n", "closed");
}

/* What libetpan keeps until the tagged reply has an end; what it does not keep has a later one. */
static void flood(const char *line, size_t octets, const char *rule)
{
	struct canned canned;
	struct heard heard;
	struct buf in;

	buf_init(&in, 512 << 20);
	assert_true(buf_printf(&in, HELLO));
	while (buf_len(&in) < octets)
		assert_true(buf_put(&in, line, strlen(line)));
	hear_one(&canned, &heard, buf_data(&in), buf_len(&in));
	buf_init(&heard.octets, 512 << 20);
	hear(&heard, heard.wire, 4096);
	assert_non_null(strstr(imap_wire_error(heard.wire).what, rule));
	heard_fini(&canned, &heard);
	buf_fini(&in);
}

static void test_floods(void **state)
{
	(void)state;
	flood("* SEARCH 1\r\n", WIRE_KEPT / (12 + WIRE_KEPT_LINE) * 12 - 100, "closed");
	flood("* SEARCH 1\r\n", WIRE_KEPT / (12 + WIRE_KEPT_LINE) * 12 + 100, "does not end");
	flood("+\r\n", WIRE_KEPT / 20, "does not end");
	flood("* LIST () NIL {30}\r\n123456789012345678901234567890\r\n", WIRE_KEPT,
	      "does not end");
	flood("* 1 FETCH (UID 1)\r\n", 4 * WIRE_KEPT, "closed");
	flood("* 1 EXPUNGE\r\n", 4 * WIRE_KEPT, "closed");
	flood("* OK Still here, still here, still here, still here, still here\r\n",
	      WIRE_REPLY + 100, "does not end");
}

static void test_facts(void **state)
{
	static const char in[] = HELLO
		"* 3 EXISTS\r\n* NO [ALERT] disk nearly full \r\n* 2 EXPUNGE\r\n* 1 EXPUNGE\r\n"
		"* VANISHED 1\r\n* 9 FETCH (BODY[]<20> {3}\r\nabc)\r\n* 8 FETCH (FLAGS ())\r\n"
		"* BYE [UNAVAILABLE] see you\r\n"
		"1 NO [copyuid 1 (a]) 2] no [more] \xff\r\n";
	struct canned canned;
	struct heard heard;

	(void)state;
	hear_one(&canned, &heard, in, sizeof in - 1);
	imap_wire_expect_body(heard.wire, 3, on_body, &heard);
	hear(&heard, heard.wire, 4096);
	assert_int_equal(imap_wire_exists(heard.wire), 1); /* 3, less 2 expunged */
	assert_int_equal(imap_wire_expunges(heard.wire), 2);
	assert_true(imap_wire_vanished(heard.wire));
	assert_string_equal(imap_wire_alert(heard.wire), "disk nearly full");
	assert_int_equal(imap_wire_bye(heard.wire)->outcome, WIRE_BYE);
	assert_string_equal(imap_wire_bye(heard.wire)->code, "UNAVAILABLE");
	assert_string_equal(imap_wire_bye(heard.wire)->text, "see you");
	const struct wire_status *status = imap_wire_status(heard.wire);
	assert_int_equal(status->outcome, WIRE_NO);
	assert_string_equal(status->code, "COPYUID");
	assert_string_equal(status->code_args, "1 (a]) 2");
	assert_string_equal(status->text, "no [more] \xff");
	assert_int_equal(heard.bodies, 1);
	assert_int_equal(heard.body.octets, 3);
	assert_true(heard.body.has_origin);
	assert_int_equal(heard.body.origin, 20);
	assert_int_equal(heard.body.number, 9);
	assert_string_equal(imap_wire_error(heard.wire).what, "the mail server said goodbye");
	heard_fini(&canned, &heard);
}

/* Words longer than their places are cut, and nothing else happens. */
static void test_long_words(void **state)
{
	struct canned canned;
	struct heard heard;
	char in[2000];

	(void)state;
	int len = snprintf(in, sizeof in, HELLO "1 NO [%0100d %0500d] %0700d\r\n", 0, 0, 0);
	hear_one(&canned, &heard, in, (size_t)len);
	hear(&heard, heard.wire, 4096);
	const struct wire_status *status = imap_wire_status(heard.wire);
	assert_int_equal(strlen(status->code), sizeof status->code - 1);
	assert_int_equal(strlen(status->code_args), sizeof status->code_args - 1);
	assert_int_equal(strlen(status->text), sizeof status->text - 1);
	heard_fini(&canned, &heard);
}

/* Each reply is heard alone: what is expected of the next one is not known before it was read. */
static void test_turns(void **state)
{
	static const char in[] = HELLO "1 OK a\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\n2 OK b\r\n";
	struct canned canned;
	struct heard heard;
	char octets[100];

	(void)state;
	hear_one(&canned, &heard, in, sizeof in - 1);
	mailstream_low *low = imap_wire_low(heard.wire);
	assert_int_equal(low->driver->mailstream_read(low, octets, 100), 8);
	assert_int_equal(imap_wire_round_trips(heard.wire), 0);
	assert_int_equal(low->driver->mailstream_write(low, "1 NOOP\r\n", 8), 8);
	assert_int_equal(low->driver->mailstream_read(low, octets, 100), 8);
	assert_memory_equal(octets, "1 OK .\r\n", 8);
	assert_string_equal(imap_wire_status(heard.wire)->text, "a");
	imap_wire_expect_tag(heard.wire, "2");
	imap_wire_expect_body(heard.wire, 3, on_body, &heard);
	hear(&heard, heard.wire, 4096);
	assert_int_equal(heard.bodies, 1);
	assert_string_equal(imap_wire_status(heard.wire)->text, "b");
	/* No call below had to wait after we wrote but the one that found the end. */
	assert_string_equal(canned_output(&canned), "1 NOOP\r\n");
	heard_fini(&canned, &heard);
}

static void test_round_trips(void **state)
{
	static const char in[] = HELLO "1 OK a\r\n2 OK b\r\n";
	struct canned canned;
	struct heard heard;
	char octets[100];

	(void)state;
	hear_one(&canned, &heard, in, sizeof in - 1);
	canned.chunk = 8;
	mailstream_low *low = imap_wire_low(heard.wire);
	assert_int_equal(low->driver->mailstream_read(low, octets, 100), 8);
	for (unsigned i = 1; i <= 2; i++) {
		imap_wire_expect_tag(heard.wire, i == 1 ? "1" : "2");
		assert_int_equal(low->driver->mailstream_write(low, "x", 1), 1);
		assert_int_equal(low->driver->mailstream_write(low, "y", 1), 1);
		assert_int_equal(low->driver->mailstream_read(low, octets, 100), 8);
		assert_int_equal(imap_wire_round_trips(heard.wire), i);
	}
	assert_string_equal(canned_output(&canned), "xyxy");
	heard_fini(&canned, &heard);
}

static void test_kill(void **state)
{
	static const char in[] = HELLO "* 1 FETCH (BODY[] {3}\r\nabc)\r\n";
	struct canned canned;
	struct heard heard;

	(void)state;
	hear_one(&canned, &heard, in, sizeof in - 1);
	heard.kills = true;
	imap_wire_expect_body(heard.wire, 100, on_body, &heard);
	assert_int_equal(imap_wire_error(heard.wire).kind, ERR_NONE);
	hear(&heard, heard.wire, 4096);
	assert_int_equal(heard.bodies, 1);
	assert_true(buf_put(&heard.octets, "", 1));
	assert_null(strstr(buf_data(&heard.octets), "abc"));
	assert_int_equal(imap_wire_error(heard.wire).code, ECANCELED);
	heard_fini(&canned, &heard);
}

/* The stream's own failures are told as they are. */
static void test_lost(void **state)
{
	static const char in[] = HELLO "1 OK a\r\n";
	struct canned canned;
	struct heard heard;

	(void)state;
	hear_one(&canned, &heard, in, sizeof in - 1);
	canned.cut = strlen(HELLO) + 3;
	hear(&heard, heard.wire, 4096);
	assert_int_equal(imap_wire_error(heard.wire).code, ECONNRESET);
	heard_fini(&canned, &heard);
	hear_one(&canned, &heard, in, sizeof in - 1);
	canned.fail_write = 1;
	mailstream_low *low = imap_wire_low(heard.wire);
	assert_int_equal(low->driver->mailstream_write(low, "x", 1), -1);
	assert_int_equal(imap_wire_error(heard.wire).code, ECONNRESET);
	imap_wire_limit(heard.wire, 5, 6);
	assert_int_equal(canned.wait_ms, 5);
	heard_fini(&canned, &heard);
}

static void secure_case(const char *in, struct err answer, const char *rule)
{
	struct fake_world world;
	struct tls_policy policy = {.host = "x"};
	struct canned canned;
	struct heard heard;
	char octets[100];

	fake_world_init(&world);
	world.secure_err = answer;
	hear_one(&canned, &heard, in, strlen(in));
	mailstream_low *low = imap_wire_low(heard.wire);
	while (!imap_wire_status(heard.wire)->text[0] ||
	       strcmp(imap_wire_status(heard.wire)->text, "go") != 0)
		assert_true(low->driver->mailstream_read(low, octets, 100) > 0);
	imap_wire_limit(heard.wire, 7, 8);
	struct err err = imap_wire_secure(heard.wire, &world.env, &policy);
	if (rule) {
		assert_non_null(err.what);
		assert_non_null(strstr(err.what, rule));
		assert_true(imap_wire_is_dead(heard.wire));
		assert_int_equal(low->driver->mailstream_read(low, octets, 100), -1);
	} else {
		assert_int_equal(err.kind, ERR_NONE);
		assert_int_equal(imap_wire_status(heard.wire)->outcome, WIRE_NONE);
		assert_string_equal(imap_wire_alert(heard.wire), "");
		assert_int_equal(canned.wait_ms, 7);
	}
	heard_fini(&canned, &heard);
}

/* B-15: nothing that was said in clear counts behind TLS. */
static void test_secure(void **state)
{
	struct err bad = ERR(ERR_POLICY, 1, "bad certificate");

	(void)state;
	secure_case("* OK [ALERT] x\r\n1 OK go\r\n", OK, NULL);
	secure_case("* OK x\r\n1 OK go\r\n", bad, "bad certificate");
	secure_case("* OK x\r\n1 OK go\r\n* CAPABILITY X\r\n", OK, "before TLS");
	secure_case("* OK x\r\n1 OK go\r\n ", OK, "before TLS");
}

/* Whole sessions. A step's words are what the server says to it; NULL: what a good one says. */
static const char *const good[TALK_STEPS] = {
	"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] "
	"Dovecot (Debian) ready.\r\n",
	"1 OK [CAPABILITY IMAP4rev1 SASL-IR UIDPLUS CONDSTORE] Logged in\r\n",
	"* CAPABILITY IMAP4rev1 UIDPLUS SPECIAL-USE AUTH=PLAIN\r\n2 OK Capability completed.\r\n",
	"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
	"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags.\r\n"
	"* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 1] First unseen.\r\n"
	"* OK [UIDVALIDITY 1700000000] UIDs valid\r\n* OK [UIDNEXT 8] Predicted next UID\r\n"
	"* OK [HIGHESTMODSEQ 12] Highest\r\n3 OK [READ-WRITE] Select completed.\r\n",
	"* 1 FETCH (UID 4 RFC822.SIZE 100 FLAGS ())\r\n"
	"* 2 FETCH (UID 5 RFC822.SIZE 200 FLAGS (\\Seen $Junk))\r\n"
	"* 3 FETCH (UID 7 FLAGS (\\Deleted \\Recent) RFC822.SIZE 12)\r\n4 OK Fetch completed.\r\n",
	"* LIST (\\HasNoChildren \\Trash) \"/\" Trash\r\n* LIST (\\Noselect) NIL {5}\r\nx\"y\\z\r\n"
	"5 OK List completed.\r\n",
	"* SEARCH 4 5 7\r\n6 OK Search completed.\r\n",
	"* 3 FETCH (UID 7 BODY[] {12}\r\nSubject: x\r\n FLAGS (\\Seen))\r\n7 OK Fetch.\r\n",
	"8 OK Store completed.\r\n",
	"* 3 EXPUNGE\r\n9 OK Expunge completed.\r\n",
	"* BYE Logging out\r\n10 OK Logout completed.\r\n",
};

static void talk_with(struct talk *talk, enum talk_step step, const char *words, size_t chunk)
{
	struct canned canned;
	struct buf all;

	buf_init(&all, 1 << 20);
	for (enum talk_step i = 0; i < TALK_STEPS; i++)
		assert_true(buf_printf(&all, "%s", i == step ? words : good[i]));
	canned_init(&canned, ERR_UPSTREAM, buf_data(&all), buf_len(&all));
	canned.chunk = chunk;
	talk_run(talk, &canned.stream, 1000);
	assert_true(canned.is_closed);
	canned_fini(&canned);
	buf_fini(&all);
}

static void test_good_session(void **state)
{
	(void)state;
	for (size_t chunk = 0; chunk < 100; chunk++) {
		struct talk talk;

		talk_with(&talk, TALK_STEPS, NULL, chunk);
		assert_int_equal(talk.done, TALK_STEPS);
		assert_int_equal(talk.capabilities, 4);
		assert_int_equal(talk.wire_exists, 2); /* 3, less the one expunged */
		assert_int_equal(talk.uidvalidity, 1700000000);
		assert_int_equal(talk.uidnext, 8);
		assert_int_equal(talk.messages, 4);
		assert_int_equal(talk.message[1].uid, 5);
		assert_int_equal(talk.message[1].size, 200);
		assert_int_equal(talk.message[1].flags, 1);
		assert_int_equal(talk.message[2].flags, 2);
		assert_int_equal(talk.folders, 2);
		assert_string_equal(talk.folder, "x\"y\\z");
		assert_int_equal(talk.found, 3);
		assert_int_equal(talk.message[3].uid, 7);
		assert_true(talk.message[3].has_body);
		assert_int_equal(talk.bodies, 1);
		assert_int_equal(talk.last.octets, 12);
		assert_int_equal(talk.body_octets, 12);
		assert_memory_equal(talk.body, "Subject: x\r\n", 12);
		assert_int_equal(talk.expunges, 1);
		assert_string_equal(talk.bye.text, "Logging out");
		assert_string_equal(talk.status.text, "Logout completed.");
		assert_int_equal(talk.err.kind, ERR_NONE);
	}
}

/* A session cut after any octet ends in a clean error, and no call says that it went well. */
static void test_cuts(void **state)
{
	struct buf all;

	(void)state;
	buf_init(&all, 1 << 20);
	for (enum talk_step i = 0; i < TALK_STEPS; i++)
		assert_true(buf_printf(&all, "%s", good[i]));
	for (size_t cut = 0; cut < buf_len(&all); cut++) {
		struct canned canned;
		struct talk talk;

		canned_init(&canned, ERR_UPSTREAM, buf_data(&all), cut);
		talk_run(&talk, &canned.stream, 1000);
		assert_int_equal(talk.err.kind, ERR_UPSTREAM);
		assert_true(talk.done < TALK_STEPS);
		canned_fini(&canned);
	}
	buf_fini(&all);
}

/* The replies that crash, hang or mislead libetpan 1.9.4 by itself. */
static void test_killers(void **state)
{
	static const struct {
		enum talk_step step;
		const char *words;
		unsigned done; /* steps that go well */
	} cases[] = {
		{TALK_SELECT, "* NO [ALERT]\r\n* NO [PARSE]\r\n3 OK [ALERT]\r\n", 11},
		{TALK_SELECT, "* NO [ALERT]\r\n3 NO [PARSE]\r\n", 3},
		{TALK_SELECT, "* OK [PERMANENTFLAGS (%)] x\r\n3 OK [PERMANENTFLAGS (x] y\r\n", 11},
		{TALK_CONNECT, "* OK [BADCHARSET (\"x\")] hello\r\n", 11},
		{TALK_CONNECT, "* OK [PERMANENTFLAGS (\\Seen \\Draft \\*)] hello\r\n", 11},
		{TALK_LOGIN, "+ [BADCHARSET (\"x\")] hello\r\n1 OK x\r\n", 11},
		{TALK_CAPABILITY, "2 OK done\r\n", 11},
		{TALK_CAPABILITY, "* CAPABILITY\r\n2 OK [CAPABILITY ]\r\n", 11},
		{TALK_BODY_ONE, "* 3 FETCH (UID 7 BODY[] {100000}\r\nabc", 7},
		{TALK_SELECT, "* NAMESPACE ((\"\" \"\")) NIL NIL\r\n3 OK x\r\n", 11},
		{TALK_LIST, "* STATUS x ()\r\n4 OK x\r\n", 11},
		{TALK_LIST, "* OK x {10}\r\n4 OK x {10}\r\n", 11},
		{TALK_CONNECT, "* BYE [ALERT]\r\n", 0},
		{TALK_CONNECT, "* PREAUTH x\r\n", 1},
	};
	struct talk talk;
	char deep[20000];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		/* What follows a cut body is not a good session. */
		const char *words = cases[i].words;
		talk_with(&talk, cases[i].step, words, 0);
		if (cases[i].done == 3)
			assert_int_equal(talk.results[TALK_SELECT], MAILIMAP_ERROR_SELECT);
		else if (talk.done != cases[i].done)
			fail_msg("%s: %u steps", words, talk.done);
	}
	snprintf(deep, sizeof deep, "* 1 FETCH (BODYSTRUCTURE ");
	memset(deep + strlen(deep), '(', sizeof deep - 30);
	deep[sizeof deep - 3] = '\n';
	deep[sizeof deep - 2] = '\0';
	for (char *at = deep; *at; at++)
		if (*at < ' ' && *at != '\n')
			*at = '(';
	talk_with(&talk, TALK_LIST, deep, 0);
	assert_int_equal(talk.done, 4);
	assert_string_equal(talk.err.what, "lists are nested too deeply");
}

struct odd {
	enum talk_step step;
	const char *words;
	unsigned messages; /* in all */
	uint32_t uid, size;
};

/* Odd but good (N-14 and others): the session goes on, and the last message of the step is this. */
static void test_odd_replies(void **state)
{
	static const struct odd cases[] = {
		{TALK_LIST, "* 1 FETCH (RFC822.SIZE 9.37e+06 UID 9)\r\n4 OK\r\n", 2, 9, 0},
		{TALK_LIST, "* 1 FETCH (RFC822.SIZE 4294967297 UID 9)\n4 OK x\n", 2, 9, 0},
		{TALK_LIST, "* 900 FETCH (UID 9 RFC822.SIZE 5 EMAILID (M1)))\r\n4 ok \r\n", 2, 9,
		 5},
		{TALK_LIST,
		 "* 1 fetch (uid 9 rfc822.size 5 modseq (-1) flags (\\*)) \r\n4 OK x\r\n", 2, 9, 5},
		{TALK_LIST, "* 1 FETCH (ENVELOPE (\"x\" {3}\r\n)\"() UID 9)\r\n\r\n4 OK x\r\n", 2,
		 9, 0},
		{TALK_LIST, "* 0 FETCH (UID 1)\r\n* 1 FETCH (UID 9)\r\n* 7 EXPUNGE\r\n4 OK x\r\n",
		 2, 9, 0},
		{TALK_LIST, "\r\n* FOO bar\r\n* 5 FOO\r\n* 1 FETCH (UID 9)\r\n* OK\r\n4 OK x\r\n",
		 2, 9, 0},
		{TALK_LIST, "+ what\r\n* 1 FETCH (UID 9)\r\n4 OK x\r\n", 2, 9, 0},
		{TALK_LIST, "* ESEARCH (TAG \"4\") ALL 1\r\n* 1 FETCH (UID 9)\r\n4 OK x\r\n", 2, 9,
		 0},
		{TALK_SELECT, "* FLAGS ((x) y)\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 0]\r\n3 OK x\r\n",
		 4, 7, 0},
		{TALK_LOGIN, "* \xff\xfe\r\n1 OK \xff\xfe\r\n", 4, 7, 0},
		{TALK_CAPABILITY, "2 BAD what?\r\n", 4, 7, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk talk;

		talk_with(&talk, cases[i].step, cases[i].words, 0);
		if (talk.results[TALK_LOGOUT] != MAILIMAP_NO_ERROR)
			fail_msg("%s: %u steps, %s", cases[i].words, talk.done,
				 talk.err.what ? talk.err.what : "");
		assert_int_equal(talk.messages, cases[i].messages);
		if (cases[i].messages != 2)
			continue;
		assert_int_equal(talk.message[0].uid, cases[i].uid);
		assert_int_equal(talk.message[0].size, cases[i].size);
	}
}

static void test_odd_bodies(void **state)
{
	static const struct {
		const char *words;
		unsigned bodies;
		const char *body;
	} cases[] = {
		{"* 3 FETCH (BODY[] \"From: \\\"x\\\"\" UID 7)\r\n7 OK x\r\n", 1, "From: \"x\""},
		{"* 3 FETCH (BODY[] \"\" UID 7)\r\n7 OK x\r\n", 1, ""},
		{"* 3 FETCH (BODY[] {0}\r\n UID 7)\r\n7 OK x\r\n", 1, ""},
		{"* 3 FETCH (BODY[] NIL UID 7)\r\n7 OK x\r\n", 0, ""},
		{"* 3 FETCH (UID 7 rfc822 ~{3}\r\nabc)\r\n7 OK x\r\n", 1, "abc"},
		{"* 3 FETCH (UID 7 BODY[]<0> {3}\r\nabc)\r\n7 OK x\r\n", 1, "abc"},
		{"7 OK x\r\n", 0, ""},
		{"7 NO x\r\n", 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk talk;

		talk_with(&talk, TALK_BODY_ONE, cases[i].words, 0);
		assert_int_equal(talk.results[TALK_LOGOUT], MAILIMAP_NO_ERROR);
		assert_int_equal(talk.bodies, cases[i].bodies);
		assert_int_equal(talk.body_octets, strlen(cases[i].body));
		assert_memory_equal(talk.body, cases[i].body, strlen(cases[i].body));
		assert_true(talk.body_calls <= 1);
		if (cases[i].bodies)
			assert_int_equal(talk.last.octets, strlen(cases[i].body));
	}
}

/* A server that repeats what we say to it: our words are in no log (B-22). */
static struct buf logged;

static void log_it(struct log_target *target, enum log_level level, const char *line, size_t len)
{
	(void)target;
	(void)level;
	assert_true(buf_put(&logged, line, len));
}

static void test_log(void **state)
{
	struct log_target target = {log_it, LEVEL_DEBUG};
	struct log log = {.target = &target, .tag = "sid=1"};
	static const char in[] =
		HELLO "* NO [ALERT] sorry\r\n* 1 FETCH (UID 7 BODY[] {6}\r\nsecret)\r\n"
		      "1 LOGIN joe sesame\r\n";
	struct canned canned;
	struct heard heard = {.bodies = 0};

	(void)state;
	buf_init(&logged, 65536);
	buf_init(&heard.octets, 65536);
	canned_init(&canned, ERR_UPSTREAM, in, sizeof in - 1);
	struct imap_wire *wire = imap_wire_new(&canned.stream, &log);
	imap_wire_expect_tag(wire, "1");
	imap_wire_expect_body(wire, 100, NULL, NULL);
	hear(&heard, wire, 4096);
	imap_wire_free(wire);
	assert_true(buf_put(&logged, "", 1));
	assert_non_null(strstr(buf_data(&logged), "sorry"));
	assert_non_null(strstr(buf_data(&logged), "event=imap-refused"));
	assert_null(strstr(buf_data(&logged), "sesame"));
	assert_null(strstr(buf_data(&logged), "secret"));
	buf_fini(&logged);
	buf_fini(&heard.octets);
	canned_fini(&canned);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),       cmocka_unit_test(test_greetings),
		cmocka_unit_test(test_limits),      cmocka_unit_test(test_floods),
		cmocka_unit_test(test_facts),       cmocka_unit_test(test_long_words),
		cmocka_unit_test(test_turns),       cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_kill),        cmocka_unit_test(test_lost),
		cmocka_unit_test(test_secure),      cmocka_unit_test(test_good_session),
		cmocka_unit_test(test_cuts),        cmocka_unit_test(test_killers),
		cmocka_unit_test(test_odd_replies), cmocka_unit_test(test_odd_bodies),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests_name("imap_wire", tests, NULL, NULL);
}
