/* SPDX-License-Identifier: MIT */
/* imap_run.h - one case of the IMAP store before a scripted server: what the session does, what the
 * server says, and what must come of it.
 *
 *	> conf key=value ...     before open: tls=clear|starttls|tls folder= delete=WAY[:FOLDER]
 *	                         seen=on-quit|on-retr create unflag after=SECONDS quirks= user=
 *	                         password= stored badcert; "%20" stands for a blank
 *	> open KIND              KIND is ok, refused, message, login, in-use, policy, upstream, client
 *	> list KIND [count octets]
 *	> fetch UID[:from+octets] KIND [text]     text: exactly what the sink got
 *	> sink n                 the sink fails after n octets, with ERR_CLIENT; -1: never
 *	> announce UID ...       what the client has asked for already; UID:from+octets as above
 *	> delete UID, > retrieved UID, > due UID, > nudge, > cut
 *	> update KIND
 *	> close                  (else at the end of the case, and nothing is learned)
 *	> whole                  only with the server's octets all at once
 *	? never TEXT    ? sent TEXT    ? why TEXT    ? dials n    ? secures n    ? readonly yes|no
 *	? size UID octets [inexact]    ? announced n
 *	? limits WAIT:UNTIL ...        the deadlines set until now, milliseconds
 *
 * How it logs in:
 *
 *	> conf auth=LIST kind=password|token|certificate|relay master=NAME
 *	       renew=TOKEN            what the provider has as the next one; "!": it fails
 *	       mechanism= initial=    relay: what the client has said
 *	       answer=TEXT            relay: what it says next, up to three; "!": it cancels; none: it is gone
 *	? asked TEXT|TEXT|         what the client was asked
 *	? renewed n m              times, before a connection and after a refusal
 *	? logged TEXT    ? unlogged TEXT
 *
 * With `warm` in the conf a mailbox stays open behind `close`, which must have been listed:
 *
 *	> conf warm keep=SECONDS fresh=SECONDS proof=SECONDS
 *	> rest SECONDS           time goes by, and what is due for the parked is done
 *	> reload                 all are dropped
 *	? parked n    ? warm yes|no
 *
 * With `memos` in the conf what servers have shown outlives `close` likewise; `? trips n` after a list:
 * the round trips of the login.
 *
 * With `state` in the conf what is remembered outlives `close`, and the next `open` finds it:
 *
 *	> conf state uidl=FORMAT newest=N newest-first sizes-exact poison=hide|error
 *	       uidvalidity=match|new|refuse host=NAME port=N
 *	> measured UID octets    a whole RETR had so many
 *	> later SECONDS          the wall clock
 *	> import UID UIDL        another process gives the message this UIDL
 *	> fault put|read CODE    each write, or each read, of the state fails with that errno; 0: none
 *	? uidl UID TEXT          "@0" in it is the tag of generation 0 of the mailbox in the conf
 *	? marks UID [exact] [stub] [due]
 */
#ifndef POPGATE_IMAP_RUN_H
#define POPGATE_IMAP_RUN_H

#include "proxy/base/buf.h"
#include "tests/fake/imap_script.h"
#include "tests/fake/state_memory.h"
#include "upstream/imap_warm.h"
#include "upstream/uidl.h"
#include "upstream/upstream.h"

struct spoon {
	struct sink sink; /* first */
	struct buf got;
	size_t fail_at; /* SIZE_MAX: never */
	size_t puts;
};

struct run {
	struct imap_script script;
	struct log log;
	struct state_memory state;
	struct imap_memos *memos; /* owned */
	struct imap_warm *warm;   /* owned */
	struct imap_warm_conf warm_conf;
	struct uidl_format uidl;
	struct upstream_conf conf;
	char words[12][200]; /* what conf points to */
	size_t words_used;
	bool is_stored;
	enum login_kind kind;
	char *master, *renewed, *mechanism, *initial, *answers[4];
	size_t answer_count, asked;
	unsigned renewals[2];
	struct buf heard, logged;
	struct log_target target;
	struct upstream *upstream;
	struct maildrop maildrop;
	struct notice why;
	struct spoon spoon;
	char problem[900]; /* "": none */
};

void run_init(struct run *, const char *text, size_t chunk);
void run_fini(struct run *);

/* Goes through the case; run->problem is what was wrong first. */
void run_notes(struct run *);

/* imap_run.c. For the other files: what is wrong, of which the first counts; the message of a UID, NULL and
 * a problem if there is none. */
void run_problem(struct run *, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct message *run_message(struct run *, const char *uid);

/* imap_run_state.c. False: the line is about something else. And whether a message has a UIDL: "UID TEXT",
 * a problem if not. */
bool run_act_state(struct run *, const char *note, char *const part[4]);
bool run_has_uidl(struct run *, const char *rest);

/* imap_run_login.c. Whom to log in as; false: no such word, no such check. */
struct login run_login(struct run *);
bool run_set_login(struct run *, const char *word, char *kept);
bool run_check_login(struct run *, const char *word, const char *rest);
void run_login_init(struct run *);
void run_login_fini(struct run *);

/* The lines that tests in C say themselves: `note` for the words of a problem. */
void run_open(struct run *, const char *note, const char *kind);
void run_list(struct run *, const char *note, const char *kind, const char *rest);
void run_close(struct run *);

#endif
