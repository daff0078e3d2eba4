/* SPDX-License-Identifier: MIT */
/* imap_wire.h - the doorman: a libetpan low-level stream over ours, and a strict look at every
 * octet that comes in.
 *
 * libetpan 1.9.4 crashes, hangs or loses its way on replies that odd or hostile servers send. So
 * no octet of a server reaches it. Each line is read here by a strict grammar of our own, and
 * what it means is said anew to libetpan in the plainest form it knows; a line that breaks the
 * grammar kills the connection. libetpan hears only:
 *
 *	* OK|PREAUTH .                          the greeting
 *	* OK [CAPABILITY ...] .                 no other code
 *	TAG OK|NO|BAD [CAPABILITY ...] .        likewise; TAG OK for a challenge that was expected too
 *	* CAPABILITY ...
 *	* LIST|LSUB (\flags) "/" "name"         names always quoted
 *	* n FETCH (BODY[] {n} ...)            if a body is expected; one of more than WIRE_PART octets as
 *	                                      several such replies, each the next part of it
 *
 * Everything else is dropped, literals included (H-10): sel_uidvalidity, sel_exists, rsp_expunged,
 * rsp_search_result and the like are never set. RFC822 and BODY[]<o> are called BODY[]; a quoted
 * string becomes a literal, so that libetpan's body handler is not called octet by octet. There is
 * never an end of file, only an error.
 *
 * What libetpan does not hear, or cannot count, is told here: what each FETCH reply says of its
 * message; what SEARCH found; what SELECT said of the folder; the outcome, code and text of each
 * tagged reply; BYE's words; [ALERT]s; the length and origin of the body literal that flows now;
 * names and extensions of the server. And round trips are counted.
 *
 * What is odd but clear is borne, and logged once a connection as imap-odd (N-14): RFC822.SIZE of
 * 0, negative, or 9.37e+06; surplus parentheses; a literal without the line break behind its
 * length, "BODY[] {5}abcde"; a message or header of length {-1}, taken for NIL; "UID 7MODSEQ
 * (5)"; a folder's name with blanks and no quotes; "* [CODE] text" without its OK; FETCH replies
 * about message 0; a "+" that nothing waits for.
 *
 * Not to be called on this stream: mailimap_capability() (takes an OK for data: NULL), for which a
 * CAPABILITY command of one's own stands in; mailimap_status() and the like, whose data is dropped.
 */
#ifndef POPGATE_IMAP_WIRE_H
#define POPGATE_IMAP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libetpan/mailstream_types.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/stream.h"

enum {
	WIRE_LINE = 1 << 20,  /* longest line without its literals, octets (H-10): capability lines
			       need 8 KiB (H-12), a SEARCH that finds 130,000 messages all of it */
	WIRE_DEPTH = 32,      /* deepest nesting of parentheses (H-10) */
	WIRE_LITERAL = 65536, /* longest literal that is not an expected body, octets */
	WIRE_NAME = 4096,     /* longest folder name, octets */
	WIRE_CHALLENGE = 12288, /* longest text of a challenge, octets of base64 (J-09) */
	WIRE_READ = 16384, /* most octets handed to libetpan at once: bounds the stack it touches */
	WIRE_LARGE =
		262144, /* while more than this is left of a body libetpan gets all it asks for,
				 64 KiB: a quarter of the CPU of a long RETR was system calls */
	WIRE_PART = 1 << 30, /* libetpan counts a literal's octets in 32 bits: a longer body is told
				to it as several of at most so many (F-12) */
	WIRE_REPLY = 128 << 20, /* most octets of lines, headers and dropped literals up to a tagged
				   reply */
	WIRE_KEPT = 2 << 20,    /* most octets that libetpan hears up to a tagged reply, body
				   literals apart, each line counted WIRE_KEPT_LINE longer: it
				   keeps all */
	WIRE_KEPT_LINE = 64,
};

/* WIRE_CONTINUE: a challenge; the tagged reply is still to come. */
enum wire_outcome { WIRE_NONE, WIRE_OK, WIRE_NO, WIRE_BAD, WIRE_BYE, WIRE_PREAUTH, WIRE_CONTINUE };

/* A status reply in its own words. `code` is the atom of its response code in capitals, "" if none;
 * `text` what follows. */
struct wire_status {
	enum wire_outcome outcome;
	char code[32];
	char code_args[128]; /* what stood behind the atom in the brackets, cut to fit */
	char text[256];      /* raw octets, cut to fit, NUL ended */
};

/* The literal (or quoted string) of a BODY[...] item that flows now or flowed last. */
struct wire_body {
	uint64_t octets; /* announced by {n}; for a quoted string its length between the quotes,
			    escapes removed */
	bool has_origin; /* labelled BODY[...]<origin> */
	uint64_t origin;
	bool has_uid; /* its reply has told the UID before it */
	uint32_t uid;
};

struct imap_wire;

/* Takes `stream` over. `log` is borrowed and outlives the wire. Traces hold no octet that we send.
 */
struct imap_wire *imap_wire_new(struct stream *stream, const struct log *log);

/* The libetpan side. Owned by the wire; valid until imap_wire_free(). libetpan's
 * mailstream_close()/mailimap_free() may close and free it first (it is NULL from then on): that
 * closes nothing of ours and sends nothing once imap_wire_is_dead(). */
mailstream_low *imap_wire_low(struct imap_wire *);

/* Closes the stream and frees; NULL is fine. */
void imap_wire_free(struct imap_wire *);

/* From now on every read and write fails, also a read that waits now in another fiber: before
 * mailimap_free(), which otherwise sends LOGOUT and waits. */
void imap_wire_kill(struct imap_wire *);
bool imap_wire_is_dead(const struct imap_wire *);

/* Why it died, as the session shall hear it: the stream's own error, or ERR_UPSTREAM with the rule
 * that the server broke, or OK if it lives. */
struct err imap_wire_error(const struct imap_wire *);

/* Puts TLS over the stream, for STARTTLS. ERR_UPSTREAM if the server had sent anything behind its
 * OK (B-15); the wire is dead after any failure. Forgets all that was said before, but for the
 * greeting: what rests on that alone must do no harm if it is forged. */
struct err imap_wire_secure(struct imap_wire *, const struct env *,
			    const struct tls_policy *) MUST_USE;

/* Bounds each wait and, 0: no bound, all of what follows: see stream_limit(). */
void imap_wire_limit(struct imap_wire *, uint64_t wait_ms, uint64_t until_ms);

/* The next command may be answered by one body (BODY[], BODY[]<o>, RFC822) of any length up to
 * `max_octets` and 2^63-1 (0: none, the state after birth and after each tagged reply). A longer
 * one kills the wire with ERR_POLICY (F-12), a second one with ERR_UPSTREAM: libetpan keeps what
 * surrounds each. `on_body` is called once, when the body begins, an empty one included, NIL not,
 * before libetpan sees an octet of it and when it has seen all octets of the one before, and is told
 * its true length and origin; may be NULL. It may call imap_wire_kill(), and this function: then
 * another body may follow, in another reply, for several commands are under way (M-05).
 *
 * libetpan's body handler sees the octets of a body in order and without a gap, whatever its
 * length; its section is that of BODY[] each time. Of the parts of a long one it makes that many
 * entries in its list of FETCH replies; nothing else shows where a part ends. */
void imap_wire_expect_body(struct imap_wire *, uint64_t max_octets,
			   void (*on_body)(void *arg, const struct wire_body *), void *arg);

/* The next command is AUTHENTICATE: until its tagged reply "+" counts (RFC 9051 section 6.2.2).
 * Each makes imap_wire_status() WIRE_CONTINUE, and libetpan, which cannot
 * be told of a "+" without reading on, hears an OK that bears the tag; the same tag is expected again. */
void imap_wire_expect_challenges(struct imap_wire *);

/* The text of the newest challenge as it came, in base64 or not, without "+" and the blanks around it;
 * *len octets, none of them NUL; not NUL ended. Valid until the next read. */
const char *imap_wire_challenge(const struct imap_wire *, size_t *len);

/* Wipes the challenge, and no longer wipes all that is read. */
void imap_wire_forget_challenge(struct imap_wire *);

/* What a FETCH or UIDFETCH reply told of a message. */
struct wire_item {
	uint32_t number;          /* message sequence number, 1 or more; 0: a UIDFETCH (RFC 9586) */
	uint32_t uid;             /* 1 or more, if has_uid */
	uint64_t octets;          /* RFC822.SIZE, at most 2^63-1 (F-12) */
	bool has_uid, has_octets; /* a size of 0, one that is no number, or none at all, counts as
				      not told (C-06, N-14) */
	bool has_flags, is_deleted, is_seen;
	bool has_body;      /* BODY[], BODY[]<o> or RFC822: octets or NIL */
	bool is_nil;        /* it was NIL */
	char email_id[256]; /* EMAILID (RFC 8474), "" if not told or NIL */
	char gm_msgid[21];  /* X-GM-MSGID, decimal, of 64 bits, likewise */
	/* BODY[HEADER], RFC822.HEADER or BODY[HEADER.FIELDS (...)], the last of them, cut at WIRE_LITERAL,
	 * raw: it may hold a NUL; borrowed for the call. NULL: not told, or NIL. */
	const char *header;
	size_t header_len;
};

/* From now on each FETCH reply, asked for or not, is told to `on_item` when it has ended; `* 0
 * FETCH` is not. That may be before libetpan has read the last octets of the reply's body, never
 * before on_body was called for it. NULL: nobody is told, the state after birth. */
void imap_wire_expect_items(struct imap_wire *,
			    void (*on_item)(void *arg, const struct wire_item *), void *arg);

/* Numbers found by SEARCH or ESEARCH (ALL), each as a range low to high, low == high for one, in
 * the order they came; 1 <= low <= high always, but a range may be far longer than the folder. An
 * ESEARCH with the tag of another command is not told. NULL: nobody is told, the state after
 * birth. */
void imap_wire_expect_found(struct imap_wire *,
			    void (*on_found)(void *arg, uint32_t low, uint32_t high), void *arg);

/* Each EXPUNGE, low == high its number at that moment; and each range of UIDs of a VANISHED that is well
 * formed and not (EARLIER), which may be far longer than the folder. In step with on_item. NULL: nobody
 * is told, the state after birth. */
void imap_wire_expect_gone(struct imap_wire *,
			   void (*on_gone)(void *arg, bool is_uid, uint32_t low, uint32_t high),
			   void *arg);

/* Whether a SEARCH, or an ESEARCH that is whole, came since the last imap_wire_expect_found(): an
 * OK without one proves nothing (D-08), nor does one with [MESSAGELIMIT] (RFC 9738), as the newest
 * tagged reply. An ESEARCH is not whole if it tells COUNT (but 0), MIN, MAX or PARTIAL without ALL. */
bool imap_wire_has_found(const struct imap_wire *);

/* The answer to a command that nobody wants any more: hush() sets aside who listens to items and to what is
 * found, for whom the next answer is; heed() puts them back, as if nothing had been found. */
struct wire_listeners {
	void (*on_item)(void *arg, const struct wire_item *);
	void *item_arg;
	void (*on_found)(void *arg, uint32_t low, uint32_t high);
	void *found_arg;
};
struct wire_listeners imap_wire_hush(struct imap_wire *);
void imap_wire_heed(struct imap_wire *, const struct wire_listeners *);

/* What the newest SELECT or EXAMINE told of its folder. All zero after imap_wire_forget_folder(),
 * which whoever selects calls first, and after [CLOSED]. Response codes count in untagged OK and
 * NO and in the tagged reply (RFC 9051 section 7.1; [READ-WRITE] in OK alone); news in
 * mid-session too (D-11).
 */
struct wire_folder {
	uint64_t uidvalidity;   /* as told, also beyond 32 bits (E-06); 0: not told, 0, or no number
				   of 64 bits (logged) */
	uint64_t highestmodseq; /* 0: not told, NOMODSEQ, or not a number above 0. Told by some
				   servers that have no CONDSTORE (N-08) */
	uint32_t uidnext;       /* 0: not told, or no number of 32 bits */
	bool is_uid_not_sticky; /* [UIDNOTSTICKY] */
	bool has_permanent_flags, may_delete, may_see; /* \Deleted, \Seen among PERMANENTFLAGS */
	bool is_read_only; /* [READ-ONLY], tagged or not, and no later [READ-WRITE] */
};
void imap_wire_forget_folder(struct imap_wire *);
const struct wire_folder *imap_wire_folder(const struct imap_wire *);

/* The server's ID reply (RFC 2971): "name" and "vendor", a blank between, as far as they are
 * there, printable; "" if none came. The greeting's text likewise, without its code. The newest
 * list of capabilities (untagged, or as a code in any reply), atoms with single blanks between,
 * cut at an atom to fit 8 KiB. All are valid until the next read. */
const char *imap_wire_id(const struct imap_wire *);
const char *imap_wire_greeting(const struct imap_wire *);
const char *imap_wire_capabilities(const struct imap_wire *);
/* Extensions that an untagged ENABLED named (M-06), atoms with single blanks between. */
const char *imap_wire_enabled(const struct imap_wire *);

/* The tag that the next tagged reply must bear: `tag` is copied. A reply with another tag kills the
 * wire (B-20). While no tag is expected only the greeting and untagged data may come. Called by
 * whoever sends a command; libetpan's own senders bear the decimal number of mailimap->imap_tag
 * after it was incremented. */
void imap_wire_expect_tag(struct imap_wire *, const char *tag);

/* Further commands are under way, and may be answered before the one whose tag is expected (RFC 9051
 * section 5.5): a tagged reply with another tag, if that is a number, is told to `on_other`, and
 * libetpan does not hear of it. False: there is no such command, and the wire dies. NULL: there is none
 * at all, the state after birth. */
void imap_wire_expect_others(struct imap_wire *,
			     bool (*on_other)(void *arg, uint32_t tag, const struct wire_status *),
			     void *arg);
/* imap_wire_status() is this one now: the turn has come for what on_other was told. */
void imap_wire_recall(struct imap_wire *, const struct wire_status *);

/* The newest tagged reply or greeting; the newest BYE (outcome WIRE_NONE if none came); the newest
 * [ALERT], "" if none. */
const struct wire_status *imap_wire_status(const struct imap_wire *);
const struct wire_status *imap_wire_bye(const struct imap_wire *);
const char *imap_wire_alert(const struct imap_wire *);

/* Untagged facts since birth: newest EXISTS less the EXPUNGEs after it; number of EXPUNGEs
 * (libetpan does not hear of them), each UID of a VANISHED counted as one, but of VANISHED
 * (EARLIER) none (RFC 7162 section 3.2.10); whether VANISHED was seen, of either kind. */
uint32_t imap_wire_exists(const struct imap_wire *);
bool imap_wire_has_exists(const struct imap_wire *); /* whether any EXISTS came */
uint32_t imap_wire_expunges(const struct imap_wire *);
bool imap_wire_vanished(const struct imap_wire *);

/* The channel binding of the TLS below: see stream_bind(). */
bool imap_wire_bind(const struct imap_wire *, enum stream_binding, struct buf *);

/* Lines "key: value" about the connection: see struct stream. */
void imap_wire_describe(const struct imap_wire *, struct buf *);

/* What imap_wire_expect_body() has allowed, which the next tagged reply ends; and allows it again, where that
 * reply was of an earlier command. */
uint64_t imap_wire_body_most(const struct imap_wire *);
void imap_wire_body_again(struct imap_wire *, uint64_t most);

/* FETCH replies so far that told flags and that nobody asked for. Those of a listing are known by the
 * sizes they tell. */
uint32_t imap_wire_flag_news(const struct imap_wire *);

/* What a folder that stays selected is known to be by now, in place of what SELECT told of it; 0: not
 * known. */
void imap_wire_know(struct imap_wire *, uint32_t uidnext, uint64_t highestmodseq);

/* Whether the server has certainly said nothing that was not read. Does not wait. */
bool imap_wire_is_quiet(const struct imap_wire *);

/* Another log, borrowed as the first one. */
void imap_wire_set_log(struct imap_wire *, const struct log *);

/* Reads that had to wait for the server after we had written: the round trips so far (M-01). */
unsigned imap_wire_round_trips(const struct imap_wire *);

#endif
