/* SPDX-License-Identifier: MIT */
/* imap_check_status.c - the doorman's grammar of status replies: greeting, untagged, tagged, "+".
 *
 * Their words and codes are kept for us; libetpan gets "." and of the codes CAPABILITY alone.
 */
#include "upstream/imap_check.h"

#include <errno.h>
#include <string.h>

enum { WARNINGS = 8 }; /* most of them logged up to a tagged reply */

/* Puts "[CAPABILITY ...] " if it is that code: libetpan shall know no other. False, with nothing put,
 * otherwise. */
static bool put_code(struct check *check, struct scan code, struct scan args)
{
	size_t before = buf_len(&check->out);

	check_put_text(check, "[CAPABILITY");
	if (scan_is(code, "CAPABILITY") && check_capabilities(check, args)) {
		check_put(check, "] ", 2);
		return true;
	}
	check_take_back(check, before);
	return false;
}

/* Where the response code that `scan` stands in ends: the "]" outside lists and quoted strings, or
 * else the first one; NULL if there is none. */
static const char *code_end(struct scan scan)
{
	const char *first = memchr(scan.at, ']', scan_len(&scan));
	struct scan quoted;
	unsigned depth = 0;

	while (first && scan.at < scan.end) {
		if (*scan.at == ']' && !depth)
			return scan.at;
		if (*scan.at == '"') {
			if (!scan_quoted(&scan, &quoted))
				break;
			continue;
		}
		depth += *scan.at == '(';
		depth -= *scan.at == ')' && depth;
		scan.at++;
	}
	return first;
}

/* Reads "[CODE args] text" of a status reply. */
static void read_status(struct scan scan, enum wire_outcome outcome, struct wire_status *status,
			struct scan *code, struct scan *args)
{
	const char *end = NULL;

	*status = (struct wire_status){.outcome = outcome};
	*code = *args = (struct scan){scan.at, scan.at};
	scan_blanks(&scan);
	if (scan_len(&scan) && *scan.at == '[')
		end = code_end((struct scan){scan.at + 1, scan.end});
	if (end) {
		*code = *args = (struct scan){scan.at + 1, end};
		while (args->at < end && *args->at != ' ' && *args->at != '(')
			args->at++;
		code->end = args->at;
		scan_blanks(args);
		scan_keep(status->code, sizeof status->code, *code);
		scan_keep(status->code_args, sizeof status->code_args, *args);
		for (char *at = status->code; *at; at++)
			if (*at >= 'a' && *at <= 'z')
				*at = (char)(*at - 'a' + 'A');
		scan.at = end + 1;
		scan_blanks(&scan);
	}
	scan_keep(status->text, sizeof status->text, scan);
}

enum wire_outcome check_outcome(struct scan word)
{
	if (scan_is(word, "OK"))
		return WIRE_OK;
	if (scan_is(word, "NO"))
		return WIRE_NO;
	if (scan_is(word, "BAD"))
		return WIRE_BAD;
	if (scan_is(word, "BYE"))
		return WIRE_BYE;
	if (scan_is(word, "PREAUTH"))
		return WIRE_PREAUTH;
	return WIRE_NONE;
}

static void note(struct check *check, const struct wire_status *status)
{
	if (!strcmp(status->code, "ALERT"))
		memcpy(check->alert, status->text, sizeof check->alert);
	if (!check->log || check->warnings++ >= WARNINGS)
		return;
	if (!strcmp(status->code, "ALERT"))
		LOG(check->log, LEVEL_WARN, "imap-alert", log_text("text", status->text));
	else if (status->outcome == WIRE_NO || status->outcome == WIRE_BAD)
		LOG(check->log, LEVEL_WARN, "imap-warning", log_text("code", status->code),
		    log_text("text", status->text));
	else if (status->outcome == WIRE_BYE)
		LOG(check->log, LEVEL_NOTE, "imap-bye", log_text("code", status->code),
		    log_text("text", status->text));
}

static enum check_next greeting(struct check *check, const struct wire_status *status,
				struct scan code, struct scan args)
{
	if (status->outcome == WIRE_BYE)
		return check_refuse(check, "the mail server does not want to talk");
	if (status->outcome != WIRE_OK && status->outcome != WIRE_PREAUTH)
		return check_refuse(check, "the mail server does not greet");
	char text[sizeof status->text];

	check->is_greeted = true;
	check->status = *status;
	size_t len = text_printable(text, sizeof text, status->text, strlen(status->text), true);
	check_set_words(&check->greeting, text, len, sizeof text - 1);
	check_put_text(check, status->outcome == WIRE_OK ? "* OK " : "* PREAUTH ");
	put_code(check, code, args);
	check_put(check, ".\r\n", 3);
	return CHECK_TURN;
}

enum check_next check_status(struct check *check, enum wire_outcome outcome, struct scan scan)
{
	struct wire_status status;
	struct scan code, args;
	size_t before = buf_len(&check->out);

	read_status(scan, outcome, &status, &code, &args);
	note(check, &status);
	if (outcome == WIRE_BYE)
		check->bye = status;
	if (!check->is_greeted)
		return greeting(check, &status, code, args);
	if (outcome == WIRE_PREAUTH)
		return check_refuse(check, "a second greeting");
	check_fact(check, outcome, code, args);
	if (outcome != WIRE_OK)
		return CHECK_LINE;
	check_put(check, "* OK ", 5);
	if (put_code(check, code, args))
		check_put(check, ".\r\n", 3);
	else
		check_take_back(check, before);
	return CHECK_LINE;
}

enum check_next check_tagged(struct check *check, struct scan scan)
{
	struct wire_status status;
	struct scan code, args, tag = scan;
	uint32_t number = 0;

	if (!check->is_greeted)
		return check_refuse(check, "the mail server does not greet");
	while (scan.at < scan.end && *scan.at != ' ')
		scan.at++;
	tag.end = scan.at;
	scan_blanks(&scan);
	bool is_expected = check->tag[0] && scan_len(&tag) == strlen(check->tag) &&
			   memcmp(tag.at, check->tag, scan_len(&tag)) == 0;
	if (!is_expected && !(check->on_other && scan_number(tag, &number)))
		return check_refuse(check, "a reply to no command of ours");
	struct scan word = scan;
	while (scan.at < scan.end && *scan.at != ' ')
		scan.at++;
	word.end = scan.at;
	enum wire_outcome outcome = check_outcome(word);
	if (outcome != WIRE_OK && outcome != WIRE_NO && outcome != WIRE_BAD)
		return check_refuse(check, "a tagged reply without a status");
	read_status(scan, outcome, &status, &code, &args);
	check_fact(check, outcome, code, args);
	if (!strcmp(status.code, "ALERT"))
		note(check, &status);
	if (!is_expected)
		return check->on_other(check->other_arg, number, &status)
			       ? CHECK_LINE
			       : check_refuse(check, "a reply to no command of ours");
	check->status = status;
	check_put_text(check, check->tag);
	check_put_text(check, outcome == WIRE_OK ? " OK " : outcome == WIRE_NO ? " NO " : " BAD ");
	put_code(check, code, args);
	check_put(check, ".\r\n", 3);
	check->tag[0] = '\0';
	check->body_max = 0;
	check->may_challenge = false;
	check->kept = 0;
	check->warnings = 0;
	return CHECK_TURN;
}

/* To libetpan it is a tagged OK, which is where it stops to read: a "+" is nothing to it. */
enum check_next check_continuation(struct check *check, struct scan text)
{
	if (!check->is_greeted)
		return check_refuse(check, "the mail server does not greet");
	if (!check->may_challenge || !check->tag[0]) {
		check_odd(check, ODD_CHALLENGE);
		return CHECK_LINE;
	}
	scan_blanks(&text);
	if (scan_len(&text) > WIRE_CHALLENGE)
		return check_refuse(check, "a challenge is too long");
	buf_drop(&check->challenge, buf_len(&check->challenge));
	if (scan_len(&text) && !buf_put(&check->challenge, text.at, scan_len(&text))) {
		check->err = ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
		return CHECK_DEAD;
	}
	check->status = (struct wire_status){.outcome = WIRE_CONTINUE};
	check_put_text(check, check->tag);
	check_put_text(check, " OK .\r\n");
	return CHECK_TURN;
}
