/* SPDX-License-Identifier: MIT */
/* imap_check.c - the doorman's grammar of all data but FETCH, and who reads which reply.
 *
 * Nothing is copied to libetpan that was not looked at octet by octet: words come from here,
 * numbers were read, flags are known ones, capabilities are plain atoms, names are quoted anew,
 * and the texts of status replies are all ".".
 */
#include "upstream/imap_check.h"

#include <stdlib.h>

void check_init(struct check *check, const struct log *log)
{
	*check = (struct check){.log = log};
	/* A line may be told by twice its octets: a name all of quotes. */
	buf_init(&check->out, WIRE_READ + 2 * (WIRE_LINE + WIRE_NAME));
	buf_init(&check->header, WIRE_LITERAL);
	buf_init(&check->challenge, WIRE_CHALLENGE);
	check->challenge.is_secret = true;
}

void check_fini(struct check *check)
{
	buf_fini(&check->out);
	buf_fini(&check->header);
	buf_fini(&check->challenge);
	free(check->greeting);
	free(check->id);
	free(check->capabilities);
	free(check->enabled);
}

/* A reply of no use: `scan` is a fragment of it. */
static enum check_next dropped(struct check *check, struct scan scan)
{
	uint64_t octets = 0;
	const char *open = scan_len(&scan) ? memrchr(scan.at, '{', scan_len(&scan)) : NULL;
	struct scan tail = {open, scan.end};

	check->reply = REPLY_NONE;
	if (!open || !scan_literal(&tail, &octets))
		return CHECK_LINE;
	if (octets > WIRE_LITERAL)
		return check_refuse(check, "a literal that was not asked for is too long");
	check->reply = REPLY_DROPPED;
	check->literal = octets;
	return CHECK_SKIP;
}

static enum check_next capability(struct check *check, struct scan list)
{
	size_t before = buf_len(&check->out);

	check_put_text(check, "* CAPABILITY");
	scan_blanks(&list);
	if (check_capabilities(check, list))
		check_put(check, "\r\n", 2);
	else
		check_take_back(check, before);
	return CHECK_LINE;
}

bool check_name(struct check *check, const char *octets, size_t len, bool is_last)
{
	for (size_t i = 0; i < len; i++) {
		if (!octets[i] || octets[i] == '\r' || octets[i] == '\n') {
			check_refuse(check, "a folder's name holds a line end");
			return false;
		}
		if (octets[i] == '"' || octets[i] == '\\')
			check_put(check, "\\", 1);
		check_put(check, octets + i, 1);
	}
	if (is_last)
		check_put(check, "\"\r\n", 3);
	return !check->err.kind;
}

static void put_delimiter(struct check *check, struct scan text)
{
	if (scan_len(&text) == 2 && *text.at == '\\')
		text.at++;
	if (scan_len(&text) != 1 || *text.at <= ' ' || *text.at == 127)
		check_put(check, " NIL \"", 6);
	else if (*text.at == '"' || *text.at == '\\')
		check_put(check, *text.at == '"' ? " \"\\\"\" \"" : " \"\\\\\" \"", 7);
	else {
		check_put(check, " \"", 2);
		check_put_scan(check, text);
		check_put(check, "\" \"", 3);
	}
}

/* A name without quotes: an atom. Some servers forget to quote one with blanks; what else may
 * follow is a list. */
static struct scan scan_name(struct check *check, struct scan *scan)
{
	struct scan name = *scan;

	scan_atom(scan);
	name.end = scan->at;
	struct scan rest = *scan;
	scan_blanks(&rest);
	bool is_more = scan_len(&rest) != 0;
	for (const char *at = rest.at; at < rest.end; at++)
		is_more &= *at != '(' && *at != '{' && *at != '"';
	if (!is_more)
		return name;
	check_odd(check, ODD_NAME);
	name.end = scan->at = scan->end;
	return name;
}

static bool put_name(struct check *check, struct scan *scan)
{
	bool is_quoted = scan->at < scan->end && *scan->at == '"';
	struct scan name;
	size_t octets = 0;

	if (is_quoted && !scan_quoted(scan, &name)) {
		check_refuse(check, "a quoted string has no end");
		return false;
	}
	if (!is_quoted)
		name = scan_name(check, scan);
	if (!is_quoted && !scan_len(&name)) {
		check_refuse(check, "a LIST reply without a name");
		return false;
	}
	for (; name.at < name.end; name.at++, octets++) {
		if (is_quoted && *name.at == '\\' && name.at + 1 < name.end)
			name.at++;
		if (octets < WIRE_NAME && !check_name(check, name.at, 1, false))
			return false;
	}
	if (octets > WIRE_NAME)
		check_refuse(check, "a folder's name is too long");
	return octets <= WIRE_NAME;
}

static enum check_next list(struct check *check, const char *word, struct scan scan)
{
	/* RFC 9051 section 7.3.1, RFC 6154, and what XLIST had. */
	static const char *const known[] = {"\\Noinferiors", "\\Noselect",
					    "\\Marked",      "\\Unmarked",
					    "\\HasChildren", "\\HasNoChildren",
					    "\\NonExistent", "\\Subscribed",
					    "\\Remote",      "\\All",
					    "\\Archive",     "\\Drafts",
					    "\\Flagged",     "\\Junk",
					    "\\Sent",        "\\Trash",
					    "\\Important",   "\\AllMail",
					    "\\Starred",     "\\Spam",
					    "\\Inbox",       NULL};
	struct scan delimiter = {NULL, NULL};
	bool is_good;

	check_put_text(check, word);
	scan_blanks(&scan);
	if (check_flags(check, &scan, known) < 0)
		return check_refuse(check, "a LIST reply without attributes");
	scan_blanks(&scan);
	if (scan.at < scan.end && *scan.at == '"')
		is_good = scan_quoted(&scan, &delimiter);
	else
		is_good = scan_is(scan_atom(&scan), "NIL");
	if (!is_good)
		return check_refuse(check, "a LIST reply without a delimiter");
	put_delimiter(check, delimiter);
	scan_blanks(&scan);
	if (scan_literal(&scan, &check->literal)) {
		if (check->literal > WIRE_NAME)
			return check_refuse(check, "a folder's name is too long");
		check->reply = REPLY_DROPPED; /* what follows the name is of no use */
		return CHECK_QUOTE;
	}
	if (!put_name(check, &scan))
		return CHECK_DEAD;
	check_name(check, "", 0, true);
	return dropped(check, scan);
}

static enum check_next numbered(struct check *check, struct scan digits, struct scan scan)
{
	struct scan word = scan_atom(&scan);
	uint32_t number;

	if (!scan_number(digits, &number))
		return check_refuse(check, "a number has more than 32 bits");
	bool is_uid = scan_is(word, "UIDFETCH"); /* RFC 9586 */
	if ((is_uid || scan_is(word, "FETCH")) && number)
		return check_fetch(check, &scan, number, is_uid);
	if (is_uid || scan_is(word, "FETCH"))
		check_odd(check, ODD_NUMBER); /* Courier (N-12) */
	if (scan_is(word, "EXISTS")) {
		check->exists = number;
		check->has_exists = true;
	}
	if (scan_is(word, "EXPUNGE") && number) {
		check->expunges++;
		check->exists -= check->exists > 0;
		if (check->on_gone)
			check->on_gone(check->gone_arg, false, number, number);
	}
	return dropped(check, scan);
}

static enum check_next untagged(struct check *check, struct scan scan)
{
	struct scan word = scan_atom(&scan);
	enum wire_outcome outcome = check_outcome(word);

	if (outcome != WIRE_NONE)
		return check_status(check, outcome, scan);
	if (!check->is_greeted)
		return check_refuse(check, "the mail server does not greet");
	if (scan_len(&word) && *word.at == '[') { /* Exchange leaves the OK out (N-06) */
		check_odd(check, ODD_CODE);
		return check_status(check, WIRE_OK, (struct scan){word.at, scan.end});
	}
	scan_blanks(&scan);
	if (scan_len(&word) && *word.at >= '0' && *word.at <= '9')
		return numbered(check, word, scan);
	if (scan_is(word, "CAPABILITY"))
		return capability(check, scan);
	if (scan_is(word, "SEARCH"))
		return check_search(check, scan);
	if (scan_is(word, "ESEARCH") && !check_esearch(check, scan))
		return CHECK_DEAD;
	if (scan_is(word, "LIST"))
		return list(check, "* LIST ", scan);
	if (scan_is(word, "LSUB"))
		return list(check, "* LSUB ", scan);
	if (scan_is(word, "VANISHED"))
		check_vanished(check, scan);
	if (scan_is(word, "ID"))
		check_id(check, scan);
	if (scan_is(word, "ENABLED"))
		check_enabled(check, scan);
	return dropped(check, scan);
}

/* Only what the server says unasked is shown: a reply that bears no "*" may echo a password
 * (B-22). */
static void log_line(const struct check *check, enum log_level level, const char *event,
		     struct scan line)
{
	char text[201];

	if (!check->log || !check->log->target || level < check->log->target->least)
		return;
	if (!scan_len(&line) || *line.at != '*')
		line.end = line.at;
	scan_keep(text, sizeof text, line);
	LOG(check->log, level, event, log_text("rule", check->err.what), log_text("line", text));
}

static enum check_next read_fragment(struct check *check, struct scan scan)
{
	if (check->reply == REPLY_FETCH)
		return check_fetch_on(check, &scan);
	if (check->reply == REPLY_DROPPED)
		return dropped(check, scan);
	if (!scan_len(&scan))
		return CHECK_LINE;
	if (scan_char(&scan, '+'))
		return check_continuation(check, scan);
	if (!scan_char(&scan, '*'))
		return check_tagged(check, scan);
	if (!scan_char(&scan, ' '))
		return check_refuse(check, "a line that is no reply");
	scan_blanks(&scan);
	return untagged(check, scan);
}

enum check_next check_fragment(struct check *check, const char *line, size_t len)
{
	struct scan scan = {line, line + len};
	size_t before = buf_len(&check->out);
	enum check_next next;

	check->fragment = line;
	check->used = 0;
	while (scan.end > scan.at && (scan.end[-1] == '\r' || scan.end[-1] == ' '))
		scan.end--;
	if (check->reply == REPLY_NONE)
		check->reply_octets = 0;
	check->reply_octets += len;
	if (check->reply_octets > WIRE_LINE)
		next = check_refuse(check, "a line is too long");
	else if (len && memchr(line, '\0', len))
		next = check_refuse(check, "a line holds a NUL");
	else if (check->reply == REPLY_NONE && check->is_greeted && check_plain(check, scan))
		next = CHECK_LINE;
	else
		next = read_fragment(check, scan);
	if (check->used) /* what follows is a message's: not for the log */
		scan.end = line + check->used;
	if (buf_len(&check->out) > before)
		check->kept += buf_len(&check->out) - before + WIRE_KEPT_LINE;
	if (check->kept > WIRE_KEPT)
		next = check_refuse(check, "a reply does not end");
	if (check->err.kind) {
		log_line(check, LEVEL_WARN, "imap-refused", scan);
		return CHECK_DEAD;
	}
	log_line(check, LEVEL_DEBUG, "imap-in", scan);
	return next;
}
