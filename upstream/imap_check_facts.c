/* SPDX-License-Identifier: MIT */
/* imap_check_facts.c - what the doorman keeps of a server: its folder, its names, its extensions,
 * its oddities. */
#include "upstream/imap_check.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

enum { KEPT_ID = 256, KEPT_ENABLED = 512 }; /* octets */

void check_odd(struct check *check, enum check_odd odd)
{
	static const char *const words[] = {
		[ODD_SIZE] = "a message's size is 0 or no number",
		[ODD_UIDVALIDITY] = "a UIDVALIDITY is 0, no number, or has more than 64 bits",
		[ODD_OPENING] = "a FETCH reply has parentheses around items",
		[ODD_CLOSING] = "a FETCH reply closes more parentheses than it opened",
		[ODD_NO_BREAK] = "a literal's octets follow its length without a line break",
		[ODD_NO_LENGTH] = "a literal's length is negative",
		[ODD_CODE] = "a response code stands without OK",
		[ODD_UID] = "no blank follows a UID",
		[ODD_NUMBER] = "a FETCH reply is about message 0",
		[ODD_NAME] = "a folder's name has blanks and no quotes",
		[ODD_CHALLENGE] = "a challenge that was not asked for",
		[ODD_VANISHED] = "a VANISHED reply holds no set",
	};

	if (check->odd & 1U << odd)
		return;
	check->odd |= 1U << odd;
	if (check->log)
		LOG(check->log, LEVEL_NOTE, "imap-odd", log_text("what", words[odd]));
}

void check_set_words(char **words, const char *text, size_t len, size_t max)
{
	if (len > max) {
		/* Cut between two words, if there are two. */
		const char *blank = memrchr(text, ' ', max + 1);
		len = blank ? (size_t)(blank - text) : max;
	}
	free(*words);
	*words = mem_dup(text, len);
}

void check_forget(struct check *check)
{
	check->status = check->bye = (struct wire_status){.outcome = WIRE_NONE};
	check->alert[0] = '\0';
	check->exists = check->expunges = 0;
	check->has_exists = check->has_vanished = check->has_found = false;
	check->folder = (struct wire_folder){.uidvalidity = 0};
	free(check->id);
	free(check->capabilities);
	free(check->enabled);
	check->id = check->capabilities = check->enabled = NULL;
}

static void permanent_flags(struct check *check, struct scan args)
{
	static const char *const deleted[] = {"\\Deleted", NULL};
	static const char *const seen[] = {"\\Seen", NULL};
	size_t before = buf_len(&check->out);
	struct scan again = args;

	int may_delete = check_flags(check, &args, deleted);
	int may_see = check_flags(check, &again, seen);
	check_take_back(check, before);
	if (may_delete < 0)
		return;
	check->folder.has_permanent_flags = true;
	check->folder.may_delete = may_delete > 0;
	check->folder.may_see = may_see > 0;
}

static void uidvalidity(struct check *check, struct scan args)
{
	uint64_t number;

	if (!text_number(args.at, scan_len(&args), UINT64_MAX, &number) || !number) {
		check_odd(check, ODD_UIDVALIDITY);
		number = 0;
	}
	check->folder.uidvalidity = number;
}

void check_fact(struct check *check, enum wire_outcome outcome, struct scan code, struct scan args)
{
	struct wire_folder *folder = &check->folder;

	if (outcome == WIRE_BYE || outcome == WIRE_BAD)
		return;
	while (args.end > args.at && args.end[-1] == ' ')
		args.end--;
	if (scan_is(code, "UIDVALIDITY")) {
		uidvalidity(check, args);
	} else if (scan_is(code, "UIDNEXT")) {
		if (!scan_number(args, &folder->uidnext))
			folder->uidnext = 0;
	} else if (scan_is(code, "HIGHESTMODSEQ")) {
		if (!scan_number64(args, &folder->highestmodseq))
			folder->highestmodseq = 0;
	} else if (scan_is(code, "NOMODSEQ")) {
		folder->highestmodseq = 0;
	} else if (scan_is(code, "UIDNOTSTICKY")) {
		folder->is_uid_not_sticky = true;
	} else if (scan_is(code, "PERMANENTFLAGS")) {
		permanent_flags(check, args);
	} else if (scan_is(code, "READ-ONLY")) {
		folder->is_read_only = true;
	} else if (scan_is(code, "READ-WRITE") && outcome == WIRE_OK) {
		folder->is_read_only = false;
	} else if (scan_is(code, "CLOSED")) {
		/* What came up to here was about the folder before (RFC 7162 section 3.2.11). */
		*folder = (struct wire_folder){.uidvalidity = 0};
	}
}

/* Takes a quoted string or an atom off; an atom NIL is told as nothing. */
static bool scan_value(struct scan *scan, struct scan *value)
{
	scan_blanks(scan);
	if (scan->at == scan->end || *scan->at == ')' || *scan->at == '(')
		return false;
	if (*scan->at == '"')
		return scan_quoted(scan, value);
	*value = scan_atom(scan);
	if (scan_is(*value, "NIL"))
		value->end = value->at;
	return true;
}

void check_id(struct check *check, struct scan scan)
{
	static const struct scan nothing = {"", ""};
	struct scan field, value, name = nothing, vendor = nothing;
	char raw[2 * KEPT_ID], text[KEPT_ID];
	size_t len = 0;

	bool is_list = scan_char(&scan, '(');
	/* What stands behind a literal is not looked for: no server is known to send one. */
	while (is_list && scan_value(&scan, &field) && scan_value(&scan, &value)) {
		if (scan_is(field, "name"))
			name = value;
		if (scan_is(field, "vendor"))
			vendor = value;
	}
	if (scan_len(&name)) {
		scan_keep(raw, KEPT_ID, name);
		len = strlen(raw);
	}
	if (scan_len(&vendor)) {
		if (len)
			raw[len++] = ' ';
		scan_keep(raw + len, sizeof raw - len, vendor);
		len += strlen(raw + len);
	}
	len = text_printable(text, sizeof text, raw, len, true);
	check_set_words(&check->id, text, len, sizeof text - 1);
}

static bool has_word(const char *words, struct scan word)
{
	size_t len;

	for (; words && *words; words += len + (words[len] == ' ')) {
		len = strcspn(words, " ");
		if (text_same_n(words, len, word.at, scan_len(&word)))
			return true;
	}
	return false;
}

void check_enabled(struct check *check, struct scan scan)
{
	char text[KEPT_ENABLED + 1];

	for (scan_blanks(&scan); scan_len(&scan); scan_blanks(&scan)) {
		struct scan word = scan_atom(&scan);
		size_t old = check->enabled ? strlen(check->enabled) : 0;
		if (!scan_len(&word) || old + 1 + scan_len(&word) > KEPT_ENABLED)
			break;
		if (has_word(check->enabled, word))
			continue;
		if (old) {
			memcpy(text, check->enabled, old);
			text[old++] = ' ';
		}
		memcpy(text + old, word.at, scan_len(&word));
		check_set_words(&check->enabled, text, old + scan_len(&word), KEPT_ENABLED);
	}
}
