/* SPDX-License-Identifier: MIT */
/* imap_wire.h - the doorman: a libetpan low-level stream over ours, and a strict look at every
 * octet that comes in.
 *
 * libetpan 1.9.4 crashes, hangs or loses its way on replies that odd or hostile servers send. So no
 * octet of a server reaches it. Each line is read here by a strict grammar of our own, and what it
 * means is said anew to libetpan in the plainest form it knows; a line that breaks the grammar kills
 * the connection. libetpan hears only:
 *
 *	* OK|PREAUTH .                          the greeting
 *	* OK [CODE ...] .                       UIDNEXT, UIDVALIDITY, UNSEEN, PERMANENTFLAGS (system
 *	                                        flags and \*), READ-ONLY, READ-WRITE, CAPABILITY
 *	TAG OK|NO|BAD [CODE ...] .              the same codes and TRYCREATE
 *	+ base64 | + .
 *	* CAPABILITY ...    * SEARCH n ...
 *	* LIST|LSUB (\flags) "/" "name"         names always quoted
 *	* n FETCH (BODY[]<o> {n} ...)         once a command, and only if a body is expected
 *
 * Everything else is dropped, literals included (H-10): sel_exists, rsp_expunged and the like are
 * never set. RFC822 is called BODY[]; a quoted string becomes a literal, so that libetpan's body
 * handler is not called octet by octet. There is never an end of file, only an error.
 *
 * What libetpan does not hear is told here: what each FETCH reply says of its message; the outcome,
 * code and text of each tagged reply; BYE's words; [ALERT]s; the length and origin of the body
 * literal that flows now. And round trips are counted.
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
	WIRE_LINE = 262144,   /* longest line without its literals, octets: capability lines need 8
			       KiB (H-12), a SEARCH that finds 30,000 messages all */
	WIRE_DEPTH = 32,      /* deepest nesting of parentheses (H-10) */
	WIRE_LITERAL = 65536, /* longest literal that is not an expected body, octets */
	WIRE_NAME = 4096,     /* longest folder name, octets */
	WIRE_READ = 16384, /* most octets handed to libetpan at once: bounds the stack it touches */
	WIRE_LARGE =
		262144, /* while more than this is left of a body libetpan gets all it asks for,
				 64 KiB: a quarter of the CPU of a long RETR was system calls */
	WIRE_REPLY = 128 << 20, /* most octets of lines and dropped literals up to a tagged reply */
	WIRE_KEPT = 2 << 20,    /* most octets that libetpan hears up to a tagged reply, body
				   literals apart, each line counted WIRE_KEPT_LINE longer: it
				   keeps all */
	WIRE_KEPT_LINE = 64,
};

enum wire_outcome { WIRE_NONE, WIRE_OK, WIRE_NO, WIRE_BAD, WIRE_BYE, WIRE_PREAUTH };

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

/* From now on every read and write fails: before mailimap_free(), which otherwise sends LOGOUT and
 * waits. */
void imap_wire_kill(struct imap_wire *);
bool imap_wire_is_dead(const struct imap_wire *);

/* Why it died, as the session shall hear it: the stream's own error, or ERR_UPSTREAM with the rule
 * that the server broke, or OK if it lives. */
struct err imap_wire_error(const struct imap_wire *);

/* Puts TLS over the stream, for STARTTLS. ERR_UPSTREAM if the server had sent anything behind its
 * OK (B-15); the wire is dead after any failure. Forgets every status and alert from before. */
struct err imap_wire_secure(struct imap_wire *, const struct env *,
			    const struct tls_policy *) MUST_USE;

/* Bounds each wait and, 0: no bound, all of what follows: see stream_limit(). */
void imap_wire_limit(struct imap_wire *, uint64_t wait_ms, uint64_t until_ms);

/* The next command may be answered by one body (BODY[], BODY[]<o>, RFC822) of any length up to
 * `max_octets`, never more than 2^32-1 (0: none, the state after birth and after each tagged reply).
 * A longer one kills the wire with ERR_POLICY (F-12), a second one with ERR_UPSTREAM: libetpan
 * keeps what surrounds each. `on_body` is called when the body begins, an empty one included, NIL
 * not, before libetpan sees an octet of it; may be NULL. It may call imap_wire_kill(). */
void imap_wire_expect_body(struct imap_wire *, uint64_t max_octets,
			   void (*on_body)(void *arg, const struct wire_body *), void *arg);

/* What a FETCH reply told of a message. */
struct wire_item {
	uint32_t number;          /* message sequence number, 1 or more */
	uint32_t uid;             /* 1 or more, if has_uid */
	uint32_t octets;          /* RFC822.SIZE */
	bool has_uid, has_octets; /* a size of 0 or of 2^32 or more, or none at all, counts as not
				      told (C-06, N-14) */
	bool has_flags, is_deleted;
	bool has_body; /* BODY[], BODY[]<o> or RFC822: octets or NIL */
	bool is_nil;   /* it was NIL */
};

/* From now on each FETCH reply, asked for or not, is told to `on_item` when it has ended; `* 0
 * FETCH` is not. That may be before libetpan has read the last octets of the reply's body, never
 * before on_body was called for it. NULL: nobody is told, the state after birth. */
void imap_wire_expect_items(struct imap_wire *,
			    void (*on_item)(void *arg, const struct wire_item *), void *arg);

/* The tag that the next tagged reply must bear: `tag` is copied. A reply with another tag kills the
 * wire (B-20). While no tag is expected only the greeting and untagged data may come. Called by
 * whoever sends a command; libetpan's own senders bear the decimal number of mailimap->imap_tag
 * after it was incremented. */
void imap_wire_expect_tag(struct imap_wire *, const char *tag);

/* The newest tagged reply or greeting; the newest BYE (outcome WIRE_NONE if none came); the newest
 * [ALERT], "" if none. */
const struct wire_status *imap_wire_status(const struct imap_wire *);
const struct wire_status *imap_wire_bye(const struct imap_wire *);
const char *imap_wire_alert(const struct imap_wire *);

/* Untagged facts since birth: newest EXISTS less the EXPUNGEs after it; number of EXPUNGEs (libetpan
 * does not hear of them); whether VANISHED was seen. */
uint32_t imap_wire_exists(const struct imap_wire *);
bool imap_wire_has_exists(const struct imap_wire *); /* whether any EXISTS came */
uint32_t imap_wire_expunges(const struct imap_wire *);
bool imap_wire_vanished(const struct imap_wire *);

/* Reads that had to wait for the server after we had written: the round trips so far (M-01). */
unsigned imap_wire_round_trips(const struct imap_wire *);

#endif
