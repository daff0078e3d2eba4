/* SPDX-License-Identifier: MIT */
/* imap_server_family.c - kinds of servers, with what their users' programs have met (N-02 to N-16). */
#include "tests/fake/imap_server_own.h"

#include <string.h>

#define EXCHANGE                                                                                   \
	"IMAP4 IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE "     \
	"LITERAL+"
#define EXCHANGE_TRAITS                                                                            \
	(SERVER_SIZES_DIFFER | SERVER_PARTIAL_WHOLE | SERVER_SET_FAILS | SERVER_SIZE_FIRST |       \
	 SERVER_COPYUID_EMPTY)

static const struct imap_family families[] = {
	{"generic", "IMAP4rev1 service ready", "\"name\" \"Model\"", "IMAP4rev1 AUTH=PLAIN ID",
	 "IMAP4rev1 ID UIDPLUS MOVE ESEARCH CONDSTORE ENABLE UNSELECT SPECIAL-USE LIST-EXTENDED "
	 "OBJECTID",
	 0, 8192},
	/* What a server of 1996 could: all of it is RFC 2060. */
	{"plain", "ready", NULL, "IMAP4rev1", "IMAP4rev1", SERVER_CHATTY, 1000},
	{"gmail", "Gimap ready for requests from 192.0.2.1 x1",
	 "\"name\" \"GImap\" \"vendor\" \"Google, Inc.\"",
	 "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR "
	 "AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER",
	 "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS "
	 "COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS "
	 "LITERAL- SPECIAL-USE APPENDLIMIT=35651584",
	 SERVER_LABELS | SERVER_THROTTLED, 8192},
	{"exchange", "The Microsoft Exchange IMAP4 service is ready.",
	 "\"name\" \"Microsoft.Exchange.Imap4.Imap4Server\" \"version\" \"15.1\"", EXCHANGE,
	 EXCHANGE, EXCHANGE_TRAITS, 8192},
	{"o365", "The Microsoft Exchange IMAP4 service is ready. [QQBNADAAUAA=]",
	 "\"name\" \"Microsoft.Exchange.Imap4.Imap4Server\" \"version\" \"15.20\"", EXCHANGE,
	 EXCHANGE, EXCHANGE_TRAITS | SERVER_BAD_ONCE, 8192},
	{"yahoo",
	 "[CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER ID MOVE "
	 "NAMESPACE XYMHIGHESTMODSEQ UIDPLUS LITERAL+ CHILDREN] IMAP4rev1 imapgate ready",
	 "\"vendor\" \"Yahoo! Inc.\" \"support-url\" \"http://help.yahoo.com/\"",
	 "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER ID MOVE NAMESPACE "
	 "XYMHIGHESTMODSEQ UIDPLUS LITERAL+ CHILDREN",
	 "IMAP4rev1 ID MOVE NAMESPACE XYMHIGHESTMODSEQ UIDPLUS LITERAL+ CHILDREN UIDONLY "
	 "MESSAGELIMIT=1000 UNSELECT ENABLE",
	 SERVER_MODSEQ_ALWAYS | SERVER_WRONG_NUMBERS | SERVER_LIMIT_BYE, 1000},
	{"icloud",
	 "[CAPABILITY XAPPLEPUSHSERVICE IMAP4 IMAP4rev1 SASL-IR AUTH=ATOKEN AUTH=PLAIN "
	 "XAPPLELITERAL] iscream ready",
	 "\"name\" \"iCloud IMAP4\" \"vendor\" \"Apple\"",
	 "XAPPLEPUSHSERVICE IMAP4 IMAP4rev1 SASL-IR AUTH=ATOKEN AUTH=PLAIN XAPPLELITERAL",
	 "XAPPLEPUSHSERVICE IMAP4 IMAP4rev1 ACL QUOTA LITERAL+ NAMESPACE RIGHTS=kxte UIDPLUS "
	 "CHILDREN BINARY UNSELECT SORT ESEARCH IDLE ENABLE MOVE CONDSTORE QRESYNC SPECIAL-USE "
	 "XAPPLELITERAL ID",
	 SERVER_RFC822_EMPTY | SERVER_ENABLE_NOTHING, 8192},
	{"courier",
	 "[CAPABILITY IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE AUTH=PLAIN] "
	 "Courier-IMAP ready. Copyright 1998-2024 Double Precision, Inc.",
	 NULL, "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE AUTH=PLAIN",
	 "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE",
	 SERVER_NO_UIDNEXT | SERVER_EXAMINE_FORGETS | SERVER_ZERO_FETCH, 16384},
	{"hmailserver", "IMAPrev1", NULL, "IMAP4 CHILDREN IDLE QUOTA SORT ACL NAMESPACE",
	 "IMAP4 CHILDREN IDLE QUOTA SORT ACL NAMESPACE",
	 SERVER_NO_UID_EXPUNGE | SERVER_ASCENDING | SERVER_BASE_ITEMS, 8192},
	{"zimbra", "mail.example.com Zimbra IMAP4rev1 server ready",
	 "\"name\" \"Zimbra\" \"version\" \"8.8.15\"", "IMAP4rev1 ID LITERAL+ SASL-IR AUTH=PLAIN",
	 "IMAP4rev1 BINARY CATENATE CHILDREN CONDSTORE ENABLE ESEARCH ID IDLE LIST-EXTENDED "
	 "LITERAL+ NAMESPACE QRESYNC QUOTA RIGHTS=ektx SASL-IR SORT UIDPLUS UNSELECT",
	 SERVER_HEADER_DIFFERS, 8192},
	{"netease", "Coremail System IMap Server Ready(163com)",
	 "\"name\" \"Coremail Imap\" \"vendor\" \"Mailtech\"", "IMAP4rev1 ID SASL-IR AUTH=PLAIN",
	 "IMAP4rev1 XLIST SPECIAL-USE ID LITERAL+ UIDPLUS", SERVER_ID_FIRST, 8192},
};

const struct imap_family *imap_family_at(size_t n)
{
	return n < sizeof families / sizeof *families ? &families[n] : NULL;
}

const struct imap_family *imap_family_named(const char *name)
{
	const struct imap_family *family;

	for (size_t i = 0; (family = imap_family_at(i)); i++)
		if (!strcmp(family->name, name))
			return family;
	return NULL;
}
