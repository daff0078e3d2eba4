/* SPDX-License-Identifier: MIT */
/* imap_check.h - the doorman's grammar: a server's line in, what libetpan may hear of it out.
 *
 * imap_wire.c cuts what comes into fragments: a fragment is a line, or the part of one that ends
 * in a literal's {n}. check_fragment() reads one, appends its plain meaning to `out`, notes the
 * facts, and says what the octets are that follow. What libetpan hears of which reply is told in
 * imap_wire.h. imap_check.c finds out which reply it is and knows LIST; imap_check_status.c,
 * imap_check_fetch.c with imap_check_body.c, and imap_check_found.c know theirs, imap_check_plain.c a
 * short way for most of FETCH; imap_check_facts.c keeps what is worth keeping.
 */
#ifndef POPGATE_IMAP_CHECK_H
#define POPGATE_IMAP_CHECK_H

#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "upstream/imap_wire.h"

enum check_next {
	CHECK_LINE, /* a fragment */
	CHECK_TURN, /* a fragment; but first libetpan must hear what was said: it may be our turn */
	CHECK_SKIP, /* check->literal octets to be dropped, then a fragment */
	CHECK_PASS, /* check->literal octets of a body for libetpan, then a fragment */
	CHECK_QUOTE, /* check->literal octets for check_name(), then a fragment */
	CHECK_KEEP,  /* check->literal octets for check_keep(), then a fragment */
	CHECK_DEAD,  /* nothing: check->err says which rule was broken */
};

/* Which reply the next fragment continues. */
enum check_reply { REPLY_NONE, REPLY_DROPPED, REPLY_FETCH };

/* What real servers do and no RFC allows: borne, and logged once a connection (N-14). */
enum check_odd {
	ODD_SIZE,
	ODD_UIDVALIDITY,
	ODD_OPENING,
	ODD_CLOSING,
	ODD_NO_BREAK,
	ODD_NO_LENGTH,
	ODD_CODE,
	ODD_UID,
	ODD_NUMBER,
	ODD_VANISHED,
	ODD_NAME,
	ODD_CHALLENGE,
};

struct check {
	/* What is expected; set by imap_wire.c. */
	char tag[24];      /* of the next tagged reply; "": none may come */
	uint64_t body_max; /* 0: no body may come, or no further one */
	void (*on_body)(void *arg, const struct wire_body *);
	void *arg;
	void (*on_item)(void *arg, const struct wire_item *); /* NULL: nobody asks */
	void *item_arg;
	void (*on_found)(void *arg, uint32_t low, uint32_t high); /* NULL: nobody asks */
	void *found_arg;
	/* Messages that go, by number or by UID; NULL: nobody asks. */
	void (*on_gone)(void *arg, bool is_uid, uint32_t low, uint32_t high);
	void *gone_arg;
	/* Tagged replies of other commands; NULL: none may come. */
	bool (*on_other)(void *arg, uint32_t tag, const struct wire_status *);
	void *other_arg;
	bool may_challenge;    /* until the tagged reply */
	const struct log *log; /* borrowed; NULL: silence */

	/* What came. */
	struct buf out; /* for libetpan */
	uint64_t literal;
	struct err err;
	struct wire_status status, bye;
	char alert[256];
	struct wire_body body;
	struct wire_item item;
	struct wire_folder folder;
	uint32_t exists, expunges, flag_news;
	bool is_greeted, has_exists, has_vanished, has_found;
	/* Words, owned; NULL: none. */
	char *greeting, *id, *capabilities, *enabled;

	/* Where a reply stands between two fragments. */
	enum check_reply reply;
	size_t reply_octets;  /* of its fragments so far */
	const char *fragment; /* being read */
	size_t used;     /* if not 0: where in it a literal's octets begin, without a line break */
	uint64_t part;   /* octets of a body that libetpan hears of at once */
	unsigned depth;  /* open parentheses of the FETCH item's value; 0: between items */
	bool is_after;   /* the fragment begins behind the octets of a message or header */
	unsigned open;   /* those around its items: one, but for odd servers */
	bool has_header; /* `header` is item.header */
	bool is_quoted;  /* the reply's body came in quotes: `out` holds its octets */
	struct buf header;
	struct buf challenge;
	uint64_t kept;     /* octets put in `out` since the last tagged reply */
	unsigned warnings; /* untagged NO and the like since then */
	unsigned odd;      /* bits by enum check_odd: those that were logged */
};

void check_init(struct check *, const struct log *);
void check_fini(struct check *);

/* `line` is a fragment without its LF. */
enum check_next check_fragment(struct check *, const char *line, size_t len);

/* Octets of a folder's name that came as a literal, as many at once as there are; `is_last`: the
 * name ends with them. False: CHECK_DEAD. */
bool check_name(struct check *, const char *octets, size_t len, bool is_last);

/* Octets of a header that came as a literal: those beyond WIRE_LITERAL are left out. */
void check_keep(struct check *, const char *octets, size_t len);

/* Tells libetpan that `left` octets of the body follow, or as many of them as it is to hear of at
 * once: returns how many. The second ends what it heard of before. */
uint64_t check_first_part(struct check *, uint64_t left);
uint64_t check_next_part(struct check *, uint64_t left);

/* Forgets what a server said that was not yet to be trusted (B-15): all but the greeting. */
void check_forget(struct check *);

/* imap_wire.c. The wire's own: for imap_wire_facts.c. */
struct check *imap_wire_check(const struct imap_wire *);

/* From here on for the files imap_check*.c alone. A cursor over a fragment, and what is read with
 * it. */
struct scan {
	const char *at, *end;
};

static inline bool scan_char(struct scan *scan, char c)
{
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

static inline void scan_blanks(struct scan *scan)
{
	while (scan->at < scan->end && *scan->at == ' ')
		scan->at++;
}

/* Octets up to the next one of " ()" and DQUOTE, or up to the end. */
struct scan scan_atom(struct scan *);

/* A quoted string; *text is what is between the quotes, with its escapes. False: it has no end. */
bool scan_quoted(struct scan *, struct scan *text);

/* {n}, {n+} or ~{n} with nothing but blanks behind it. */
bool scan_literal(struct scan *, uint64_t *octets);

static inline size_t scan_len(const struct scan *scan)
{
	return (size_t)(scan->end - scan->at);
}

/* Case-blind. */
static inline bool scan_is(struct scan text, const char *word)
{
	return text_same_n(text.at, scan_len(&text), word, strlen(word));
}

/* Digits of at most 32 bits; and of at most 63, as RFC 9051 has them (number64). */
bool scan_number64(struct scan text, uint64_t *number);
bool scan_number(struct scan text, uint32_t *number);

/* A copy cut to `size` octets with its NUL. */
void scan_keep(char *into, size_t size, struct scan text);

/* Appends to `out`; a failure is noted in `err`. */
void check_put_slowly(struct check *, const char *octets, size_t len);
static inline void check_put(struct check *check, const char *octets, size_t len)
{
	/* Some ten times a line, and nearly always there is room. */
	if (len >= check->out.cap - check->out.to) {
		check_put_slowly(check, octets, len);
		return;
	}
	memcpy(check->out.store + check->out.to, octets, len);
	check->out.to += len;
}

void check_put_text(struct check *, const char *text);
void check_put_scan(struct check *, struct scan);
void check_put_number(struct check *, uint64_t);

/* Makes `out` as long as it was before something was put. */
void check_take_back(struct check *, size_t len);

/* Counts what an ended FETCH reply tells of flags, if nobody has asked for it. */
static inline void check_news(struct check *check)
{
	const struct wire_item *item = &check->item;

	check->flag_news += item->has_flags && !(item->has_octets && check->on_item);
}

/* A list of flags in parentheses: puts those of them that are in `known`, which ends in NULL;
 * libetpan takes some flag for another that only begins like it. Returns their number; -1: it is
 * no list. */
int check_flags(struct check *, struct scan *, const char *const *known);

/* Puts " NAME" for each capability that is a plain atom; false if none is. */
bool check_capabilities(struct check *, struct scan list);

/* Logs an oddity, the first time. */
void check_odd(struct check *, enum check_odd);

/* Sets one of the words, cut to fit `max` octets. */
void check_set_words(char **words, const char *text, size_t len, size_t max);

/* What a response code tells of the folder. */
void check_fact(struct check *, enum wire_outcome, struct scan code, struct scan args);

/* `scan` stands behind the word, before blanks: SEARCH, ESEARCH, VANISHED, ID, ENABLED. */
enum check_next check_search(struct check *, struct scan);
bool check_esearch(struct check *, struct scan); /* false: CHECK_DEAD */
void check_vanished(struct check *, struct scan);
void check_id(struct check *, struct scan);
void check_enabled(struct check *, struct scan);

/* Notes the broken rule, for the log with the line that broke it. */
enum check_next check_refuse(struct check *, const char *rule);

enum wire_outcome check_outcome(struct scan word);

/* `scan` stands behind "* OK" and the like, at a tag, behind "+". */
enum check_next check_status(struct check *, enum wire_outcome, struct scan);
enum check_next check_tagged(struct check *, struct scan);
enum check_next check_continuation(struct check *, struct scan text);

/* `scan` is a whole line without its end, and a reply may begin with it. True: it was a FETCH reply of
 * the plainest form, and is told. False: read it by the grammar; nothing but `item` was touched. */
bool check_plain(struct check *, struct scan);

/* `scan` stands behind "* n FETCH" or "* n UIDFETCH"; then, in later fragments, at their begin. */
enum check_next check_fetch(struct check *, struct scan *, uint32_t number, bool is_uid);
enum check_next check_fetch_on(struct check *, struct scan *);

/* A literal that nobody asked for. */
enum check_next check_skip(struct check *, uint64_t octets);

/* The values of BODY[], and of BODY[HEADER] and its kin. */
enum check_next check_body(struct check *, struct scan *);
enum check_next check_header(struct check *, struct scan *);

#endif
