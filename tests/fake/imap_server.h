/* SPDX-License-Identifier: MIT */
/* imap_server.h - a model of an IMAP server in memory, which answers by itself.
 *
 * Where imap_script.h knows beforehand what its client will say, this one has mailboxes and obeys:
 * what it is asked for it does, and says so, as a stream without threads behind fake_world's dials.
 * Any number of connections live at once; each sees a folder as it was last told (RFC 9051 section
 * 5.5). The test changes the mailboxes at any moment, as another client would; it may have each
 * command fail in a way of its choice; and it reads afterwards what was removed, by whom, and which
 * rules of good conduct were broken: the crimes.
 *
 *	struct imap_server server;
 *	imap_server_init(&server, imap_family_named("gmail"));
 *	imap_server_deliver(&server, "INBOX", "Subject: x\r\n\r\nhello\r\n", 21);
 *	conf.host = "imap.example.com"; session.env = &server.world.env; ...
 *
 * A family is a kind of server with its oddities (group N of the requirements). Every account of the
 * server has the same mailboxes: any name and password do.
 *
 * imap_server.c keeps the mailboxes; imap_server_family.c is the table of families;
 * imap_server_talk.c is a connection and its commands, imap_server_mix.c answers of several in another order, imap_server_reply.c what it is told,
 * imap_server_folder.c those about folders, imap_server_fetch.c FETCH, imap_server_change.c what
 * changes messages, imap_server_set.c sets of UIDs and words.
 */
#ifndef POPGATE_IMAP_SERVER_H
#define POPGATE_IMAP_SERVER_H

#include "proxy/base/buf.h"
#include "tests/fake/world.h"

enum server_trait {
	SERVER_NO_UIDNEXT = 1 << 0, /* Courier */
	SERVER_EXAMINE_FORGETS = 1
				 << 1,  /* Courier: a new UIDVALIDITY each EXAMINE until a SELECT */
	SERVER_ZERO_FETCH = 1 << 2,     /* Courier: "* 0 FETCH" now and then */
	SERVER_ID_FIRST = 1 << 3,       /* NetEase: no SELECT before ID */
	SERVER_SIZES_DIFFER = 1 << 4,   /* Exchange: RFC822.SIZE is not the octets */
	SERVER_PARTIAL_WHOLE = 1 << 5,  /* Exchange: a part asked for, all of it comes */
	SERVER_SET_FAILS = 1 << 6,      /* Exchange: one bad message fails the whole set */
	SERVER_SIZE_FIRST = 1 << 7,     /* Exchange: RFC822.SIZE before UID */
	SERVER_COPYUID_EMPTY = 1 << 8,  /* Exchange */
	SERVER_BAD_ONCE = 1 << 9,       /* Office 365: BAD to the first SELECT after a login */
	SERVER_MODSEQ_ALWAYS = 1 << 10, /* Yahoo: HIGHESTMODSEQ, but no CONDSTORE */
	SERVER_WRONG_NUMBERS = 1 << 11, /* Yahoo: EXPUNGE tells numbers as they were before */
	SERVER_RFC822_EMPTY = 1 << 12,  /* iCloud: RFC822 gives OK and no data */
	SERVER_ENABLE_NOTHING = 1 << 13, /* iCloud: ENABLE gives OK, no ENABLED, nothing enabled */
	SERVER_NO_UID_EXPUNGE = 1 << 14, /* hMailServer: BAD */
	SERVER_ASCENDING = 1 << 15,      /* hMailServer: descending ranges are BAD */
	SERVER_BASE_ITEMS = 1 << 16,     /* hMailServer and others: unknown FETCH items are BAD */
	SERVER_HEADER_DIFFERS = 1 << 17, /* Zimbra: BODY[HEADER] has "?" for 8-bit octets */
	SERVER_LABELS = 1 << 18,         /* Gmail: see enum server_labels */
	SERVER_THROTTLED = 1 << 19,      /* Gmail: [THROTTLED] at the end of texts */
	SERVER_LIMIT = 1 << 20,          /* Yahoo: FETCH stops at `window` messages (RFC 9738) */
	SERVER_LIMIT_BYE = 1 << 21,      /* Yahoo: NO [LIMIT] and BYE where FAULT_NO strikes */
	SERVER_CHATTY = 1 << 22,         /* other words: lower case, no text, untagged NO */
};

/* A kind of server. */
struct imap_family {
	const char *name;           /* of its row in the driver's own table, where it has one */
	const char *greeting;       /* its text */
	const char *id;             /* the list of its ID reply; NULL: it knows no ID */
	const char *before, *after; /* capabilities before and after the login */
	unsigned traits;            /* enum server_trait */
	size_t line;                /* longest command line it takes, octets */
};

/* "generic" and the families of group N; NULL: none of that name; behind the last. */
const struct imap_family *imap_family_named(const char *name);
const struct imap_family *imap_family_at(size_t n);

/* How a message behaves when its body, or a part of it, is asked for. */
enum server_oddity {
	ODD_NONE,
	ODD_NO_DATA,     /* OK without a word of it */
	ODD_NIL,         /* BODY[] NIL */
	ODD_EMPTY,       /* BODY[] "" */
	ODD_STUB,        /* Exchange's words instead of the message */
	ODD_REFUSED,     /* NO The requested item could not be found */
	ODD_UNAVAILABLE, /* NO [UNAVAILABLE], for ever */
};

enum server_flag {
	FLAG_SEEN = 1,
	FLAG_DELETED = 2,
	FLAG_ANSWERED = 4,
	FLAG_KNOWN = 7,
	FLAG_OURS = 8,    /* \Deleted was set over a connection */
	FLAG_THEIRS = 16, /* \Deleted was set by the test */
};

/* What Gmail's settings do with a message that is expunged, the folder's or the last of its labels. */
enum server_labels { LABELS_ARCHIVE, LABELS_TRASH, LABELS_DELETE };

/* A mail is the same one in all folders and under all UIDs: `id` is its EMAILID and X-GM-MSGID. */
struct server_mail {
	uint64_t id; /* 1 or more */
	char *octets;
	size_t len;
	enum server_oddity oddity;
};

struct server_message {
	struct server_mail *mail;
	uint64_t modseq;
	uint32_t uid;
	unsigned flags;
};

struct server_folder {
	char name[64];
	const char *use;                 /* "\\Trash"; NULL: none */
	struct server_message *messages; /* ascending by UID */
	size_t count, room;
	uint64_t uidvalidity, modseq;
	uint32_t uidnext;
	uint64_t changes; /* grows with each */
	bool was_selected;
};

/* How a message went out of a folder. */
enum server_way { WAY_FOREIGN, WAY_EXPUNGE, WAY_MOVE, WAY_COPY, WAY_AUTO };
struct server_removal {
	uint64_t id;
	uint32_t uid;
	unsigned connection; /* its number; 0: the test */
	enum server_way way;
	const struct server_folder *folder;
};

/* What becomes of a command. */
enum server_fault {
	FAULT_NONE,
	FAULT_NO,         /* refused, nothing done */
	FAULT_BAD,        /* likewise */
	FAULT_BYE,        /* * BYE, nothing done, the server closes */
	FAULT_CUT,        /* the connection is lost, nothing done */
	FAULT_CUT_DONE,   /* done, and then the connection is lost without a word */
	FAULT_CUT_MID,    /* done, and the connection is lost somewhere in the reply */
	FAULT_STALL,      /* nothing done, nothing said */
	FAULT_STALL_DONE, /* done, nothing said */
	FAULT_LIE,        /* OK without doing or telling anything */
	FAULT_HALF,       /* done for one half of the set, then NO */
	FAULT_LOSE,       /* done, but one untagged line of the reply is lost */
	FAULT_SHUFFLE,    /* done, the FETCH replies in another order */
	FAULT_SLOW,       /* done, after 20 s */
	FAULT_COUNT,
};

enum { SERVER_FOLDERS = 16, SERVER_CONNECTIONS = 16 };

struct server_connection;

struct imap_server {
	struct fake_world world; /* hand out &server.world.env; its dials come here */
	const struct imap_family *family;
	struct server_folder folders[SERVER_FOLDERS]; /* the first is INBOX */
	size_t folder_count;
	struct server_mail **mails; /* owned: all there ever were; the id is the index + 1 */
	size_t mail_count, mail_room;
	struct server_removal *removals; /* owned */
	size_t removal_count, removal_room;
	struct server_connection *live[SERVER_CONNECTIONS];
	unsigned connections; /* there ever were */
	unsigned commands;    /* likewise */
	unsigned flights;     /* times that all that was told had been obeyed, and more came */
	uint64_t seed;        /* of what a fault leaves to chance */

	/* The test's to set. */
	enum server_labels labels;
	bool is_auto_expunge; /* Gmail removes as soon as \Deleted is set */
	bool tells_early;     /* news of expunged messages before the data of a UID command */
	bool says_issued;     /* NO [EXPUNGEISSUED] for a body that is gone; else OK without data */
	size_t window;        /* a folder shows so many of its newest; 0: all. With SERVER_LIMIT a
				 FETCH tells so many */
	size_t cut_out;       /* octets after which what is said is lost, with all connections */
	size_t cut_in;        /* likewise of what is heard; SIZE_MAX, both: never */
	/* Before each command, and for "(dial)" before each greeting (of the faults there NO, BAD,
	 * BYE, CUT and STALL mean something): the moment to change mailboxes. NULL: no faults. */
	enum server_fault (*on_command)(void *arg, struct imap_server *, const char *command);
	/* Whether a mail may be marked \Deleted or moved away over a connection; NULL: all may. */
	bool (*may_remove)(void *arg, uint64_t id);
	/* Of several FETCHes of bodies that came together, which is answered on: a number below `below`
	 * (RFC 9051 section 5.5). NULL: they are answered in their order. */
	uint32_t (*pick)(void *arg, uint32_t below);
	void *arg;           /* of all three */
	bool tells_uid_last; /* in FETCH replies */

	unsigned crimes;
	char crime[256];  /* the first, in words */
	struct buf trace; /* all that was said and heard, if `traces` */
	bool traces;
};

/* A server with INBOX, and \Trash and \Archive under names of the family's own. */
void imap_server_init(struct imap_server *, const struct imap_family *);
void imap_server_fini(struct imap_server *);

/* A folder by its name or its use; NULL: there is none. */
struct server_folder *imap_server_folder(struct imap_server *, const char *name);
struct server_folder *imap_server_make(struct imap_server *, const char *name, const char *use);

/* What other clients do. deliver() copies and gives the mail's id; flag() sets or takes a flag;
 * expunge() removes at once; renumber() gives all messages new UIDs from `first` on under another
 * UIDVALIDITY, and hangs up on whoever had the folder open. */
uint64_t imap_server_deliver(struct imap_server *, const char *folder, const void *octets,
			     size_t len);
void imap_server_expunge(struct imap_server *, struct server_folder *, uint32_t uid);
void imap_server_flag(struct imap_server *, struct server_folder *, uint32_t uid, unsigned flag,
		      bool is_on);
void imap_server_renumber(struct imap_server *, struct server_folder *, uint64_t uidvalidity,
			  uint32_t first);

/* What is there. */
struct server_message *server_find(const struct server_folder *, uint32_t uid);
size_t imap_server_copies(const struct server_folder *, uint64_t id);
struct server_mail *imap_server_mail(const struct imap_server *, uint64_t id);

/* What such a message has in place of its mail; the same words each time. */
extern const char imap_server_stub[];

/* A number below `below` (1 or more), the same each run. */
uint32_t imap_server_chance(struct imap_server *, uint32_t below);

#endif
