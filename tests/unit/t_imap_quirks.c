/* SPDX-License-Identifier: MIT */
/* t_imap_quirks.c - which row of oddities real servers get, by what they really say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "upstream/imap_quirks.h"

/* Capabilities are those of after the login. */
static void test_choice(void **state)
{
	static const struct {
		const char *row, *capabilities, *id, *greeting;
	} cases[] = {
		{"gmail",
		 "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS "
		 "COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED "
		 "LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584",
		 "GImap Google, Inc.", "Gimap ready for requests from 192.0.2.1 d75a77b69052e"},
		{"gmail", "imap4rev1 x-gm-ext-1", "", "hello"},
		{"yahoo",
		 "IMAP4rev1 ID MOVE NAMESPACE XYMHIGHESTMODSEQ UIDPLUS LITERAL+ CHILDREN X-MSG-EXT "
		 "UNSELECT OBJECTID IDLE ENABLE UIDONLY X-ALL-MAIL X-UIDONLY LIST-EXTENDED PARTIAL",
		 "Yahoo Yahoo Inc", "IMAP4rev1 Hello"},
		{"yahoo", "IMAP4rev1", "Y!IMAP Yahoo! Inc.", "ready"},
		{"icloud",
		 "CONDSTORE CONTEXT=SORT ENABLE ESEARCH ESORT ID IDLE IMAP4 IMAP4rev1 LIST-STATUS "
		 "NAMESPACE QRESYNC QUOTA SASL-IR SORT UIDPLUS UNSELECT WITHIN "
		 "X-APPLE-REMOTE-LINKS XAPPLELITERAL XAPPLEPUSHSERVICE",
		 "", "(2114B18:p00-imap0-1.2) p42-imap-1.example"},
		{"icloud", "IMAP4rev1 X-APPLE-REMOTE-LINKS", "", "hi"},
		{"outlook",
		 "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN "
		 "IDLE "
		 "NAMESPACE LITERAL+",
		 "Microsoft.Exchange.Imap4.Imap4Server",
		 "The Microsoft Exchange IMAP4 service is ready. [UwBJADIAUABSADAANABDAEEAMAAw]"},
		{"exchange",
		 "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=NTLM AUTH=GSSAPI SASL-IR UIDPLUS MOVE ID "
		 "UNSELECT "
		 "CHILDREN IDLE NAMESPACE LITERAL+",
		 "Microsoft.Exchange.Imap4.Imap4Server",
		 "The Microsoft Exchange IMAP4 service is ready."},
		{"exchange", "IMAP4 IMAP4rev1", "",
		 "Microsoft Exchange Server 2003 IMAP4rev1 server version 6.5.7638.1 (mail) "
		 "ready."},
		{"exchange", "IMAP4rev1", "",
		 "Microsoft Exchange IMAP4rev1 server version 5.5.2653.23 (mail) ready"},
		/* Behind a proxy of another make what the store itself says counts. */
		{"exchange", "IMAP4rev1", "Microsoft.Exchange.Imap4.Imap4Server", "Dovecot ready."},
		{"netease",
		 "IMAP4rev1 XLIST SPECIAL-USE ID LITERAL+ STARTTLS XAPPLEPUSHSERVICE UIDPLUS "
		 "X-CM-EXT-1",
		 "Coremail Imap Mailtech",
		 "Coremail System IMap Server Ready(163com[726cd87d72d896a1ac393507346040fa])"},
		{"qq",
		 "IMAP4 IMAP4rev1 XLIST MOVE IDLE XAPPLEPUSHSERVICE NAMESPACE CHILDREN ID UIDPLUS",
		 "", "QQMail XMIMAP4Server ready"},
		{"yandex",
		 "IMAP4rev1 CHILDREN UNSELECT LITERAL+ NAMESPACE XLIST UIDPLUS ENABLE ID IDLE MOVE",
		 "",
		 "Yandex IMAP4rev1 at imap-production.example.yandex.net:993 ready to talk with "
		 "::1"},
		{"proton", "AUTH=PLAIN ID IDLE IMAP4rev1 MOVE UIDPLUS UNSELECT",
		 "Proton Mail Bridge Proton AG",
		 "Proton Mail Bridge 03.08.02 - gluon session ID 5"},
		{"proton", "IMAP4rev1 XSTOP", "", "IMAP4rev1 Service Ready"},
		{"zimbra",
		 "ACL BINARY CATENATE CHILDREN CONDSTORE ENABLE ESEARCH ID IDLE IMAP4rev1",
		 "Zimbra", "mail.example.com Zimbra IMAP4rev1 server ready"},
		{"hmailserver", "IMAP4 IMAP4rev1 CHILDREN IDLE QUOTA SORT ACL NAMESPACE", "",
		 "IMAPrev1"},
		{"mdaemon", "IMAP4rev1", "", "mail.example.com IMAP4rev1 MDaemon 20.0.1 ready"},
		{"kerio", "IMAP4rev1", "", "Kerio Connect 9.2.12 IMAP4rev1 server ready"},
		{"domino", "IMAP4rev1 AUTH=PLAIN LITERAL+ NAMESPACE QUOTA UIDPLUS", "",
		 "Domino IMAP4 Server Release 10.0.1FP3 ready Wed, 30 Oct 2019 09:28:06 +0100"},
		{"courier",
		 "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES "
		 "SORT "
		 "QUOTA IDLE ACL ACL2=UNION",
		 "", "Courier-IMAP ready. Copyright 1998-2024 Double Precision, Inc."},
		{"uw", "IMAP4REV1 IDLE NAMESPACE MAILBOX-REFERRALS BINARY UNSELECT SCAN SORT", "",
		 "mail.example.com IMAP4rev1 2007f.404 at Tue, 1 Mar 2016 12:00:00 +0100 (CET)"},
		{"uw", "IMAP4REV1", "", "mail.example.com Panda IMAP 2010.88 ready"},
		{"cyrus", "IMAP4rev1 LITERAL+ ID ENABLE ACL ANNOTATE-EXPERIMENT-1 BINARY",
		 "Cyrus IMAPD Project Cyrus",
		 "mail.example.com Cyrus IMAP 3.2.6-Debian-3.2.6-2+deb11u2 server ready"},
		{"cyrus", "IMAP4rev1", "Cyrus IMAPD Project Cyrus", "IMAP4 ready"},
		{"dovecot", "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT QRESYNC",
		 "Dovecot", "Dovecot (Debian) ready."},
		{"dovecot", "IMAP4rev1 XAPPLEPUSHSERVICE", "", "Dovecot ready."},
		{"generic", "IMAP4rev1 UIDPLUS", "", "hello"},
		{"generic", "", "", ""},
		/* Parts of words are no words, and signs do not count in other places. */
		{"generic", "X-GM-EXT-12 XX-GM-EXT-1", "MyDovecot", "X-GM-EXT-1 is what I miss"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct imap_quirks *row =
			imap_quirks_choose(cases[i].capabilities, cases[i].id, cases[i].greeting);
		assert_non_null(row);
		if (strcmp(row->name, cases[i].row) != 0)
			fail_msg("\"%s\" is taken for %s instead of %s", cases[i].greeting,
				 row->name, cases[i].row);
	}
}

static void test_names(void **state)
{
	static const char *const names[] = {
		"gmail",   "outlook",  "exchange",    "yahoo",    "icloud",  "courier", "cyrus",
		"dovecot", "zimbra",   "hmailserver", "domino",   "netease", "yandex",  "qq",
		"uw",      "fastmail", "proton",      "workmail", "generic",
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const struct imap_quirks *row = imap_quirks_named(names[i]);
		assert_non_null(row);
		assert_string_equal(row->name, names[i]);
	}
	assert_null(imap_quirks_named(""));
	assert_null(imap_quirks_named("gmai"));
	assert_string_equal(imap_quirks_named("Gmail")->name, "gmail");
}

static void test_table(void **state)
{
	const struct imap_quirks *row, *before = NULL;

	(void)state;
	for (size_t i = 0; (row = imap_quirks_at(i)); i++) {
		/* Rows of one name are one family. */
		const struct imap_quirks *first = imap_quirks_named(row->name);
		assert_int_equal(row->traits, first->traits);
		assert_int_equal(row->line, first->line);
		if (first != row)
			assert_string_equal(before->name, row->name);
		assert_in_range(row->line, 1000, 64000); /* N-16 */
		for (unsigned bit = 1; bit; bit <<= 1)
			if (row->traits & bit)
				assert_non_null(imap_quirk_words((enum imap_quirk)bit));
		before = row;
	}
	assert_string_equal(before->name, "generic");
	assert_true(imap_quirks_named("courier")->traits & QUIRK_SELECT_ONLY);
	assert_int_equal(imap_quirks_named("courier")->line, 16000);
	assert_int_equal(imap_quirks_named("dovecot")->line, 64000);
	assert_int_equal(imap_quirks_named("yahoo")->line, 1000);
	assert_int_equal(imap_quirks_named("generic")->line, 1000);
	assert_int_equal(imap_quirks_named("gmail")->line, 8000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests_name("imap_quirks", tests, NULL, NULL);
}
