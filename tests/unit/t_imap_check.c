/* SPDX-License-Identifier: MIT */
/* t_imap_check.c - the doorman's grammar: what libetpan hears of which reply, and what kills. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/fake/heard.h"

#define HELLO "* OK hello\r\n"

struct line {
	const char *in; /* behind a greeting, tag 1 expected, bodies up to 1000 octets */
	size_t in_len;
	const char *out;
	size_t out_len;
	const char *items; /* as heard_items() has them */
	const char *rule;  /* in the words of the error; NULL: the server ends */
};

/* No FETCH reply, one that libetpan hears of too, one that is told to us alone. */
#define LINE(in_, out_, rule_) BODY(in_, out_, "", rule_)
#define BODY(in_, out_, items_, rule_)                                                             \
	{                                                                                          \
		in_, sizeof in_ - 1, out_, sizeof out_ - 1, items_, rule_                          \
	}
#define ITEM(in_, items_) BODY(in_, "", items_, NULL)

static const struct line lines[] = {
	/* Status replies. */
	LINE("1 OK done\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK\r\n", "1 OK .\r\n", NULL),
	LINE("1 ok done \r\n", "1 OK .\r\n", NULL),
	LINE("1 OK done\n", "1 OK .\r\n", NULL),
	LINE("1 NO [ALERT]\r\n", "1 NO .\r\n", NULL),
	LINE("1 NO [PARSE]\r\n", "1 NO .\r\n", NULL),
	LINE("1 BAD [BADCHARSET (\"x\")] y\r\n", "1 BAD .\r\n", NULL),
	LINE("1 OK [READ-WRITE] x\r\n", "1 OK .\r\n", NULL),
	LINE("1 OK [read-only]\r\n", "1 OK .\r\n", NULL),
	LINE("1 NO [TRYCREATE] x\r\n", "1 NO .\r\n", NULL),
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
	LINE("* OK [UIDVALIDITY 1] x\r\n", "", NULL),
	LINE("* OK [uidnext 4294967295]\r\n", "", NULL),
	LINE("* OK [UIDVALIDITY 0] x\r\n", "", NULL),
	LINE("* OK [UIDVALIDITY 4294967296] x\r\n", "", NULL),
	LINE("* OK [UNSEEN x] x\r\n", "", NULL),
	LINE("* OK [PERMANENTFLAGS (\\Seen \\* \\Deleted $Junk [Foo] x{2})] x\r\n", "", NULL),
	LINE("* OK [PERMANENTFLAGS (%)] x\r\n", "", NULL),
	LINE("* OK [PERMANENTFLAGS (x] y\r\n", "", NULL),
	LINE("* OK [PERMANENTFLAGS ()] y\r\n", "", NULL),
	LINE("* OK [PERMANENTFLAGS] y\r\n", "", NULL),
	LINE("* [CAPABILITY IMAP4rev1] x\r\n", "* OK [CAPABILITY IMAP4rev1] .\r\n", NULL),
	LINE("* [COPYUID 14  ]\r\n* []\r\n* [\r\n", "", NULL),
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
	LINE("+\r\n", "", NULL),
	LINE("+ YWJj\r\n+ [BADCHARSET (\"x\")] go on {3}\r\n1 OK x\r\n", "1 OK .\r\n", NULL),
	/* Data. */
	LINE("\r\n \r\n* 3 EXISTS \r\n\r\n1 OK x\r\n", "1 OK .\r\n", NULL),
	LINE("* 3 exists\n", "", NULL),
	ITEM("*  3  FETCH (UID 1)\r\n", "3 uid 1;"),
	LINE("* 4294967296 EXISTS\r\n", "", "32 bits"),
	LINE("* 3 RECENT\r\n* 2 EXPUNGE\r\n* VANISHED 1:3\r\n", "", NULL),
	LINE("* FLAGS (\\Seen (x))\r\n* ENABLED X\r\n", "", NULL),
	LINE("* NAMESPACE ((\"\" \"\")) NIL NIL\r\n* STATUS INBOX ()\r\n* 5 FOO\r\n", "", NULL),
	ITEM("* FOO {3}\r\na\nb (\"{4}\r\n\r\n\r\n) x\r\n* 1 FETCH (UID 1)\r\n", "1 uid 1;"),
	LINE("* FOO ~{3+}\r\na\0b x\r\n", "", NULL),
	LINE("* FOO {65537}\r\n", "", "too long"),
	LINE("* FOO {99999999999999999999999}\r\n", "", "too long"),
	ITEM("* FOO \"{10}\"\r\n* 1 FETCH (UID 1)\r\n", "1 uid 1;"),
	LINE("* CAPABILITY\r\n* CAPABILITY (\r\n", "", NULL),
	LINE("* CAPABILITY IMAP4rev1  X-Y=1 \r\n", "* CAPABILITY IMAP4rev1 X-Y=1\r\n", NULL),
	BODY("* SEARCH\r\n* SEARCH 1 22 (MODSEQ 5)\r\n", "", "found 1;found 22;", NULL),
	LINE("* SEARCH 1 x\r\n", "", "holds no number"),
	LINE("* SEARCH 0\r\n", "", "holds no number"),
	ITEM("* ESEARCH (TAG \"1\") UID ALL 1:5,7\r\n", "found 1-5;found 7;"),
	ITEM("* esearch (tag 1) MIN 1 MAX 9 COUNT 3 all 9:7 MODSEQ 5\r\n", "found 7-9;"),
	ITEM("* ESEARCH ALL 4294967295\r\n", "found 4294967295;"),
	ITEM("* ESEARCH (TAG \"2\") UID ALL 1:5\r\n* ESEARCH (TAG \"1) ALL 1\r\n", ""),
	ITEM("* ESEARCH (TAG \"1\" X) ALL 1\r\n* ESEARCH (TOG \"1\") ALL 1\r\n", ""),
	ITEM("* ESEARCH (TAG \"1\") UID PARTIAL (1:9 1:5)\r\n* ESEARCH\r\n", ""),
	ITEM("* ESEARCH (TAG \"1\") UID X {3}\r\nabc ALL 1\r\n* ESEARCH x {1}\r\na\r\n", ""),
	ITEM("* ESEARCH (TAG \"1\") UID PARTIAL (1:9 (1)) ALL 1 RELEVANCY (9)\r\n", "found 1;"),
	ITEM("* ESEARCH (TAG \"1\") UID X (1 ALL 1\r\n* ESEARCH ) ALL 1\r\n", ""),
	LINE("* ESEARCH ALL (1)\r\n", "", "holds no set"),
	LINE("* ESEARCH ALL 1,\r\n", "", "holds no set"),
	LINE("* ESEARCH ALL 1:*\r\n", "", "holds no set"),
	LINE("* ESEARCH ALL 0:1\r\n", "", "holds no set"),
	LINE("* ESEARCH ALL 4294967296\r\n", "", "holds no set"),
	LINE("* ESEARCH ALL 1:2:3\r\n", "", "holds no set"),
	LINE("* LIST (\\Trash \\X %) \"/\" Trash\r\n", "* LIST (\\Trash) \"/\" \"Trash\"\r\n",
	     NULL),
	LINE("* LIST () NIL \"a\\\"b\\\\\"\r\n", "* LIST () NIL \"a\\\"b\\\\\"\r\n", NULL),
	LINE("* LSUB () \"\\\\\" [Gmail]/x\r\n", "* LSUB () \"\\\\\" \"[Gmail]/x\"\r\n", NULL),
	LINE("* LIST () \"\\\"\" {3}\r\na\"b\r\n", "* LIST () \"\\\"\" \"a\\\"b\"\r\n", NULL),
	LINE("* LIST () \"\" {0}\r\n\r\n", "* LIST () NIL \"\"\r\n", NULL),
	LINE("* LIST () \"/\" x y\r\n", "* LIST () \"/\" \"x y\"\r\n", NULL),
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
	ITEM("* 1 FETCH (UID 7 RFC822.SIZE 12 FLAGS (\\Seen $x \\Foo \\Deleted))\r\n",
	     "1 uid 7 size 12 flags deleted seen;"),
	ITEM("* 1 fetch  ( uid 7  rfc822.size 12 flags ( \\deleted ) ) \r\n",
	     "1 uid 7 size 12 flags deleted;"),
	ITEM("* 1 FETCH (FLAGS () UID 7))\r\n", "1 uid 7 flags;"),
	ITEM("* 1 FETCH (FLAGS (\\* [x] \"\\Deleted)\" a%b Deleted \\DeletedX) UID 7)\r\n",
	     "1 uid 7 flags;"),
	ITEM("* 1 FETCH (FLAGS NIL UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (FLAGS (\\Deleted) FLAGS (\\Seen))\r\n", "1 flags seen;"),
	ITEM("* 1 FETCH (MODSEQ (-1) UID 7 X-GM-LABELS (\"\\\\Inbox\" [x]))\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (UID 7 EMAILID (M1) PREVIEW NIL SAVEDATE \"x(\" FOO)\r\n",
	     "1 uid 7 email M1;"),
	ITEM("* 1 FETCH (EMAILID NIL X-GM-MSGID 18446744073709551615)\r\n",
	     "1 gm 18446744073709551615;"),
	ITEM("* 1 FETCH (EMAILID M1 X-GM-MSGID 18446744073709551616 UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (EMAILID ( M_-1 ) X-GM-MSGID NIL UID 7)\r\n", "1 uid 7 email M_-1;"),
	ITEM("* 1 FETCH (EMAILID (a b) UID 7)\r\n* 1 FETCH (EMAILID (a%) UID 8)\r\n",
	     "1 uid 7;1 uid 8;"),
	ITEM("* 1 FETCH (EMAILID () X-GM-MSGID {1}\r\n5 UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (EMAILID ({1}\r\nM) X-GM-MSGID \"5\" UID 7)\r\n", "1 uid 7;"),
	LINE("* 1 FETCH (EMAILID (M1\r\n", "", "has no end"),
	/* By UID alone (RFC 9586). */
	ITEM("* 5 UIDFETCH (FLAGS (\\Seen))\r\n* 5 uidfetch (UID 5 RFC822.SIZE 3)\r\n",
	     "0 uid 5 flags seen;0 uid 5 size 3;"),
	BODY("* 5 UIDFETCH (BODY[] {2}\r\nab)\r\n", "* 5 FETCH (BODY[] {2}\r\nab)\r\n",
	     "0 uid 5 body;", NULL),
	ITEM("* 0 UIDFETCH (UID 5)\r\n* 1 FETCH (UID 1)\r\n", "1 uid 1;"),
	LINE("* 5 UIDFETCH (UID 6)\r\n", "", "two UIDs"),
	/* Headers. */
	ITEM("* 1 FETCH (BODY[HEADER] {6}\r\nA: b\r\n UID 7)\r\n",
	     "1 uid 7 header \"A: b%0D%0A\";"),
	ITEM("* 1 FETCH (BODY[HEADER.FIELDS (X)] \"A\\\"b\" UID 7)\r\n* 2 FETCH (UID 8)\r\n",
	     "1 uid 7 header \"A\"b\";2 uid 8;"),
	ITEM("* 1 FETCH (body[header.fields(x)]<0> {0}\r\n)\r\n* 1 FETCH (RFC822.HEADER \"\")\r\n",
	     "1 header \"\";1 header \"\";"),
	ITEM("* 1 FETCH (BODY[HEADER] NIL)\r\n* 1 FETCH (BODY[HEADER]<5> \"x\")\r\n", "1;1;"),
	ITEM("* 1 FETCH (BODY[1.HEADER] \"x\" BODY[HEADER.FIELDS.NOT (X)] \"y\")\r\n", "1;"),
	ITEM("* 1 FETCH (BODY[HEADER] {1}\r\na BODY[HEADER.FIELDS (X)] {2}\r\n\0b)\r\n",
	     "1 header \"%00b\";"),
	ITEM("* 1 FETCH (BODY[HEADER] {1}\r\na BODY[HEADER] NIL)\r\n", "1;"),
	BODY("* 1 FETCH (BODY[HEADER] {1}\r\na BODY[] {1}\r\nb)\r\n",
	     "* 1 FETCH (BODY[] {1}\r\nb)\r\n", "1 body header \"a\";", NULL),
	LINE("* 1 FETCH (BODY[HEADER] \"x)\r\n", "", "has no end"),
	/* No line break behind a length; none that is a length (N-14). */
	BODY("* 1 FETCH (BODY[] {5}ab\r\nc UID 7)\r\n", "* 1 FETCH (BODY[] {5}\r\nab\r\nc)\r\n",
	     "1 uid 7 body;", NULL),
	BODY("* 1 FETCH (BODY[] {2}ab UID 7)\r\n", "* 1 FETCH (BODY[] {2}\r\nab)\r\n",
	     "1 uid 7 body;", NULL),
	BODY("* 1 FETCH (BODY[] {0} UID 7)\r\n", "* 1 FETCH (BODY[] {0}\r\n)\r\n", "1 uid 7 body;",
	     NULL),
	ITEM("* 1 FETCH (BODY[HEADER] {4}a)\r\n UID 7)\r\n", "1 uid 7 header \"a)%0D%0A\";"),
	ITEM("* 1 FETCH (BODY[HEADER] {0})\r\n", "1 header \"\";"),
	ITEM("* 1 FETCH (BODY[HEADER] {-1}\r\n BODY[] {-1} \r\n UID 7)\r\n", "1 uid 7 body nil;"),
	LINE("* 1 FETCH (BODY[] {-1} UID 7)\r\n", "", "no string"),
	LINE("* 1 FETCH (BODY[] {18446744073709551615}x\r\n", "", "no string"),
	/* No blank behind a UID (N-11). */
	ITEM("* 1 FETCH (UID 7MODSEQ (5) FLAGS ())\r\n* 1 FETCH (UID 7 MODSEQ(5))\r\n",
	     "1 uid 7 flags;1 uid 7;"),
	LINE("* 9 FETCH (UID 7(5))\r\n", "", "a UID"),
	ITEM("* 1 FETCH (MODSEQ (5))\r\n* 1 FETCH ()\r\n", "1;1;"),
	ITEM("* 0 FETCH (UID 7 X {3}\r\nabc)\r\n* 1 FETCH (UID 1)\r\n", "1 uid 1;"),
	/* Split, repeated and mixed replies are told one by one: nothing clings to the next. */
	ITEM("* 2 FETCH (UID 7)\r\n* 1 FETCH (FLAGS (\\Deleted))\r\n* 3 EXISTS\r\n"
	     "* 2 FETCH (RFC822.SIZE 12)\r\n* 2 FETCH (UID 7)\r\n",
	     "2 uid 7;1 flags deleted;2 size 12;2 uid 7;"),
	ITEM("* 4294967295 FETCH (UID 4294967295)\r\n", "4294967295 uid 4294967295;"),
	LINE("* 9 FETCH (UID 4294967296)\r\n", "", "a UID"),
	LINE("* 9 FETCH (UID 0)\r\n", "", "a UID"),
	LINE("* 9 FETCH (UID)\r\n", "", "a UID"),
	LINE("* 9 FETCH (UID -7)\r\n", "", "a UID"),
	/* Sizes (N-14). */
	ITEM("* 1 FETCH (RFC822.SIZE 9.37e+06 UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (RFC822.SIZE -5 UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (RFC822.SIZE 0 UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (RFC822.SIZE 4294967295)\r\n", "1 size 4294967295;"),
	ITEM("* 1 FETCH (RFC822.SIZE 4294967296)\r\n", "1 size 4294967296;"),
	ITEM("* 1 FETCH (RFC822.SIZE 9223372036854775807)\r\n", "1 size 9223372036854775807;"),
	ITEM("* 1 FETCH (RFC822.SIZE 9223372036854775808)\r\n", "1;"),
	ITEM("* 1 FETCH (RFC822.SIZE NIL UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (RFC822.SIZE UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (RFC822.SIZE \"12\" UID 7)\r\n", "1 uid 7;"),
	LINE("* 1 FETCH (RFC822.SIZE {2}\r\n12 UID 7)\r\n", "", "has no end"),
	ITEM("* 1 FETCH (UID 7 RFC822.SIZE)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (ENVELOPE (NIL {3}\r\na\")( ((NIL \"\\\")\")))) UID 7)\r\n", "1 uid 7;"),
	ITEM("* 1 FETCH (BODY[HEADER.FIELDS (X \"]\")]<0> {2}\r\nab BINARY.SIZE[1.2] 3 UID 7)\r\n",
	     "1 uid 7 header \"ab\";"),
	LINE("* 1 FETCH (UID 7 BODY[1] {65537}\r\n", "", "too long"),
	LINE("* 1 FETCH (UID 7\r\n", "", "has no end"),
	LINE("* 1 FETCH (UID 7) x\r\n", "", "follows"),
	ITEM("* 1 FETCH (UID 7 (ENVELOPE (NIL)) FLAGS ())\r\n* 2 FETCH ((UID 8) X)\r\n",
	     "1 uid 7 flags;2 uid 8;"),
	BODY("* 1 FETCH (UID 7 (BODY[] {1}\r\na) FLAGS ())\r\n", "* 1 FETCH (BODY[] {1}\r\na)\r\n",
	     "1 uid 7 flags body;", NULL),
	LINE("* 1 FETCH ((UID 7)\r\n", "", "has no end"),
	LINE("* 1 FETCH UID 7\r\n", "", "without a list"),
	LINE("* 1 FETCH (FOO UID 7)\r\n", "", "no name"),
	LINE("* 1 FETCH (X \"abc UID 7)\r\n", "", "has no end"),
	LINE("* 1 FETCH (X (abc UID 7)\r\n", "", "has no end"),
	LINE("* 1 FETCH (FLAGS (\\Seen UID 7\r\n", "", "has no end"),
	LINE("* 1 FETCH (BODY[HEADER UID 7)\r\n", "", "has no end"),
	LINE("* 1 FETCH (BODY[]<x> {1}\r\n", "", "origin"),
	LINE("* 1 FETCH (BODY[]<9223372036854775808> {1}\r\n", "", "origin"),
	BODY("* 1 FETCH (BODY[]<4294967296> {1}\r\na)\r\n", "* 1 FETCH (BODY[] {1}\r\na)\r\n",
	     "1 body;", NULL),
	/* Bodies. */
	BODY("* 1 FETCH (UID 7 BODY[] {5}\r\na\0\r\nb)\r\n",
	     "* 1 FETCH (BODY[] {5}\r\na\0\r\nb)\r\n", "1 uid 7 body;", NULL),
	BODY("* 1 FETCH (BODY[]<0> {2} \r\n)) UID 7)\r\n", "* 1 FETCH (BODY[] {2}\r\n)))\r\n",
	     "1 uid 7 body;", NULL),
	BODY("* 1 FETCH (BODY[] {2}\r\nab FLAGS (\\Deleted) RFC822.SIZE 2 UID 7)\r\n",
	     "* 1 FETCH (BODY[] {2}\r\nab)\r\n", "1 uid 7 size 2 flags deleted body;", NULL),
	BODY("* 9 FETCH (X {1}\r\na BODY[] {2}\r\nab Y {1}\r\nb UID 7)\r\n",
	     "* 9 FETCH (BODY[] {2}\r\nab)\r\n", "9 uid 7 body;", NULL),
	BODY("* 1 FETCH (UID 7)\r\n* 1 FETCH (BODY[] {2}\r\nab)\r\n* 1 FETCH (UID 7)\r\n",
	     "* 1 FETCH (BODY[] {2}\r\nab)\r\n", "1 uid 7;1 body;1 uid 7;", NULL),
	BODY("* 1 FETCH (body[] ~{2}\r\nab)\r\n", "* 1 FETCH (BODY[] {2}\r\nab)\r\n", "1 body;",
	     NULL),
	BODY("* 1 FETCH (RFC822 {2+}\r\nab)\r\n", "* 1 FETCH (BODY[] {2}\r\nab)\r\n", "1 body;",
	     NULL),
	BODY("* 1 FETCH (BODY[] {0}\r\n)\r\n", "* 1 FETCH (BODY[] {0}\r\n)\r\n", "1 body;", NULL),
	BODY("* 1 FETCH (BODY[] \"a\\\"b\\\\\" UID 7)\r\n", "* 1 FETCH (BODY[] {4}\r\na\"b\\)\r\n",
	     "1 uid 7 body;", NULL),
	BODY("* 1 FETCH (BODY[] \"\")\r\n", "* 1 FETCH (BODY[] {0}\r\n)\r\n", "1 body;", NULL),
	ITEM("* 1 FETCH (BODY[] NIL UID 7)\r\n", "1 uid 7 body nil;"),
	ITEM("* 1 FETCH (BODY[] NIL BODY[] NIL)\r\n", "1 body nil;"),
	ITEM("* 1 FETCH (UID 7 RFC822 nil)\r\n* 1 FETCH (BODY[]<0> NIL)\r\n",
	     "1 uid 7 body nil;1 body nil;"),
	BODY("* 1 FETCH (BODY[] NIL BODY[] {2}\r\nab BODY[] NIL)\r\n",
	     "* 1 FETCH (BODY[] {2}\r\nab)\r\n", "1 body;", NULL),
	/* One body a command: libetpan keeps what surrounds each. */
	BODY("* 1 FETCH (BODY[] {0}\r\n)\r\n* 1 FETCH (BODY[] {0}\r\n)\r\n", "", "1 body;",
	     "not asked for"),
	BODY("* 1 FETCH (BODY[] \"\")\r\n* 2 FETCH (RFC822 \"\")\r\n", "", "1 body;",
	     "not asked for"),
	LINE("* 1 FETCH (BODY[] {2}\r\nab RFC822 {2}\r\nab)\r\n", "* 1 FETCH (BODY[] {2}\r\nab",
	     "not asked for"),
	LINE("1 OK x\r\n* 1 FETCH (BODY[] {0}\r\n)\r\n", "1 OK .\r\n", "not asked for"),
	LINE("* 1 FETCH (BODY[] {1001}\r\n", "", "the message is too large"),
	LINE("* 1 FETCH (BODY[] {18446744073709551615}\r\n", "", "the message is too large"),
	LINE("* 1 FETCH (BODY[] {5} abcde)\r\n", "", "no string"),
	LINE("* 1 FETCH (BODY[] {}\r\n", "", "no string"),
	LINE("* 1 FETCH (BODY[] abc)\r\n", "", "no string"),
	LINE("* 1 FETCH (BODY[] {2}\r\nab\r\n1 OK\r\n", "* 1 FETCH (BODY[] {2}\r\nab",
	     "has no end"),
	LINE("* 1 FETCH (BODY[] {2}\r\nabc UID 7)\r\n", "* 1 FETCH (BODY[] {2}\r\nab",
	     "where it should"),
	LINE("* 1 FETCH (BODY[HEADER] {2}\r\nabc UID 7)\r\n", "", "where it should"),
	LINE("* 1 FETCH (BODY[] {9}\r\nab", "* 1 FETCH (BODY[] {9}\r\nab", NULL),
};

static void check_line(const struct line *line, const struct buf *all, size_t chunk, size_t max)
{
	static const char greeting[] = "* OK .\r\n";
	size_t greeted = sizeof greeting - 1;
	struct heard heard;

	heard_init(&heard, buf_data(all), buf_len(all), NULL);
	heard.canned.chunk = chunk;
	imap_wire_expect_body(heard.wire, 1000, heard_body, &heard);
	assert_true(heard_all(&heard, max));
	const char *text = heard_text(&heard);
	size_t got = buf_len(&heard.octets);
	/* Of a line that kills no octet counts: libetpan fails anyway. */
	bool is_same = (got == greeted + line->out_len || (line->rule && got > greeted)) &&
		       got >= greeted + line->out_len && !memcmp(text, greeting, greeted) &&
		       !memcmp(text + greeted, line->out, line->out_len);
	const char *rule = line->rule ? line->rule : "the mail server closed the connection";
	const char *items = heard_items(&heard);
	if (!is_same || !strstr(heard_rule(&heard), rule) || strcmp(items, line->items) != 0)
		fail_msg("in chunks of %zu\nin:  %s\nout: %s\nitems: %s\nerror: %s", chunk,
			 line->in, text, items, heard_rule(&heard));
	bool is_policy = imap_wire_error(heard.wire).kind == ERR_POLICY;
	assert_int_equal(is_policy, strstr(rule, "too large") != NULL);
	assert_true(heard_fini(&heard));
}

/* Whatever the pieces are that a reply comes in, the same is heard. */
static void test_lines(void **state)
{
	static const size_t chunks[] = {0, 1, 2, 3, 7, 16};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct buf all;
		buf_init(&all, 1 << 20);
		assert_true(buf_put(&all, HELLO, strlen(HELLO)) &&
			    buf_put(&all, lines[i].in, lines[i].in_len));
		for (size_t j = 0; j < sizeof chunks / sizeof *chunks; j++)
			check_line(&lines[i], &all, chunks[j], j ? 5 : 4096);
		buf_fini(&all);
	}
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
		struct heard heard;

		heard_init(&heard, cases[i].in, strlen(cases[i].in), NULL);
		assert_true(heard_all(&heard, 4096));
		assert_string_equal(heard_text(&heard), cases[i].out);
		assert_non_null(strstr(heard_rule(&heard), cases[i].rule));
		assert_int_equal(imap_wire_status(heard.wire)->outcome, cases[i].outcome);
		assert_true(heard_fini(&heard));
	}
}

/* Lines and depths at their limits: the last good one, the first bad one. */
static void limit_case(const char *head, char fill, size_t count, const char *tail,
		       const char *rule)
{
	struct heard heard;
	struct buf in;

	buf_init(&in, 64 << 20);
	assert_true(buf_printf(&in, HELLO "%s", head));
	memset(buf_room(&in, count), fill, count);
	buf_added(&in, count);
	assert_true(buf_printf(&in, "%s", tail));
	heard_init(&heard, buf_data(&in), buf_len(&in), NULL);
	assert_true(heard_all(&heard, 4096));
	if (!strstr(heard_rule(&heard), rule))
		print_error("%s: %s\n", head, heard_rule(&heard));
	assert_non_null(strstr(heard_rule(&heard), rule));
	assert_true(heard_fini(&heard));
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
	limit_case("* 1 FETCH (BODY[HEADER] {3000000}\r\n", 'x', 3000000, ")\r\n", "closed");
	limit_case("* 1 FETCH (BODY[HEADER] {3000000}\r\n", 'x', 2999999, ")\r\n", "has no end");
	limit_case("* X {65536}\r\n", 'x', WIRE_LITERAL, "\r\n", "closed");
	limit_case("* LIST () NIL {4096}\r\n", '"', WIRE_NAME, "\r\n", "closed");
	limit_case("* LIST () NIL ", '\\', WIRE_NAME, "\r\n", "closed");
	limit_case("* LIST () NIL ", '\\', WIRE_NAME + 1, "\r\n", "name is too long");
	limit_case("* LIST () NIL \"", '\\', 2 * WIRE_NAME, "\"\r\n", "closed");
	limit_case("* LIST () NIL \"", '\\', 2 * WIRE_NAME + 2, "\"\r\n", "name is too long");
	limit_case("* LIST () NIL \"", 'x', WIRE_NAME, "\"\r\n", "closed");
	limit_case("* LIST () NIL \"", 'x', WIRE_NAME + 1, "\"\r\n", "name is too long");
	limit_case("* 1 FETCH (X ", '(', WIRE_DEPTH, "\r\n", "a list has no end");
	limit_case("* 1 FETCH (X ", '(', WIRE_DEPTH + 1, "\r\n", "nested too deeply");
	limit_case("* 1 FETCH ", '(', WIRE_DEPTH, "\r\n", "has no end");
	limit_case("* 1 FETCH ", '(', WIRE_DEPTH + 1, "\r\n", "nested too deeply");
	limit_case("* 1 FETCH (X \"", '(', 1000, "\")\r\n", "closed");
	limit_case("* CAPABILITY IMAP4rev1 X", 'x', 60000, "\r\n", "closed");
}

/* What libetpan keeps until the tagged reply has an end; what it does not keep has a later one. */
static void flood(const char *line, size_t octets, const char *rule)
{
	struct heard heard;
	struct buf in;

	buf_init(&in, 512 << 20);
	assert_true(buf_printf(&in, HELLO));
	while (buf_len(&in) < octets)
		assert_true(buf_put(&in, line, strlen(line)));
	heard_init(&heard, buf_data(&in), buf_len(&in), NULL);
	assert_true(heard_all(&heard, 4096));
	assert_non_null(strstr(heard_rule(&heard), rule));
	assert_true(heard_fini(&heard));
	buf_fini(&in);
}

static void test_floods(void **state)
{
	(void)state;
	flood("* CAPABILITY X\r\n", WIRE_KEPT / (16 + WIRE_KEPT_LINE) * 16 - 100, "closed");
	flood("* CAPABILITY X\r\n", WIRE_KEPT / (16 + WIRE_KEPT_LINE) * 16 + 100, "does not end");
	flood("* OK [UIDNEXT 1]\r\n", 4 * WIRE_KEPT, "closed");
	flood("* LIST () NIL {30}\r\n123456789012345678901234567890\r\n", WIRE_KEPT,
	      "does not end");
	flood("* 1 FETCH (UID 1)\r\n", 4 * WIRE_KEPT, "closed");
	flood("* 1 FETCH (BODY[] NIL)\r\n", 4 * WIRE_KEPT, "closed");
	flood("* 1 FETCH (BODY[] {0}\r\n)\r\n", WIRE_KEPT, "not asked for");
	flood("* 1 EXPUNGE\r\n", 4 * WIRE_KEPT, "closed");
	flood("* OK Still here, still here, still here, still here, still here\r\n",
	      WIRE_REPLY + 100, "does not end");
}

/* Words longer than their places are cut, and nothing else happens. */
static void test_long_words(void **state)
{
	struct heard heard;
	char in[2000];

	(void)state;
	int len = snprintf(in, sizeof in, HELLO "1 NO [%0100d %0500d] %0700d\r\n", 0, 0, 0);
	heard_init(&heard, in, (size_t)len, NULL);
	assert_true(heard_all(&heard, 4096));
	const struct wire_status *status = imap_wire_status(heard.wire);
	assert_int_equal(strlen(status->code), sizeof status->code - 1);
	assert_int_equal(strlen(status->code_args), sizeof status->code_args - 1);
	assert_int_equal(strlen(status->text), sizeof status->text - 1);
	assert_true(heard_fini(&heard));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),      cmocka_unit_test(test_greetings),
		cmocka_unit_test(test_limits),     cmocka_unit_test(test_floods),
		cmocka_unit_test(test_long_words),
	};

	return cmocka_run_group_tests_name("imap_check", tests, NULL, NULL);
}
