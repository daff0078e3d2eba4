/* SPDX-License-Identifier: MIT */
/* imap_outcome.c - what a server's NO, BAD and BYE mean: Table 1 of the mapping (docs/mapping.md).
 *
 * A response code says it if there is one; some servers write theirs at the end of the text. Without
 * a code, words tell of states that will pass, in the few wordings that large servers use (B-06).
 */
#include <errno.h>
#include <string.h>

#include "proxy/base/text.h"
#include "upstream/imap_login.h"

/* CREDENTIAL and BARE depend on the phase. */
enum meaning { BARE, CREDENTIAL, TEMPORARY, THROTTLED, PERMANENT, IN_USE };

static const struct {
	const char *code;
	enum meaning meaning;
} codes[] = {
	{"AUTHENTICATIONFAILED", CREDENTIAL},
	{"AUTHORIZATIONFAILED", CREDENTIAL},
	{"EXPIRED", CREDENTIAL},
	{"PRIVACYREQUIRED", PERMANENT},
	{"UNAVAILABLE", TEMPORARY},
	{"SERVERBUG", TEMPORARY},
	{"CORRUPTION", TEMPORARY},
	{"LIMIT", THROTTLED},
	{"THROTTLED", THROTTLED},
	{"OVERQUOTA", THROTTLED},
	{"EXPUNGEISSUED", TEMPORARY},
	{"INUSE", IN_USE},
	{"CONTACTADMIN", PERMANENT},
	{"NOPERM", PERMANENT},
	{"NONEXISTENT", PERMANENT},
	{"CANNOT", PERMANENT},
	{"CLIENTBUG", PERMANENT},
	{"REFERRAL", PERMANENT}, /* never followed (B-25) */
};

static const struct {
	const char *word;
	enum meaning meaning;
} words[] = {
	{"too many", THROTTLED},        {"throttl", THROTTLED},
	{"rate limit", THROTTLED},      {"connection limit", THROTTLED},
	{"limit exceeded", THROTTLED},  {"temporar", TEMPORARY},
	{"unavailable", TEMPORARY},     {"not available", TEMPORARY},
	{"try again", TEMPORARY},       {"try later", TEMPORARY},
	{"timeout", TEMPORARY},         {"timed out", TEMPORARY},
	{"overload", TEMPORARY},        {"internal error", TEMPORARY},
	{"session expired", TEMPORARY},
};

/* Office 365 after a login that went well (N-07). */
static const char not_connected[] = "authenticated but not connected";

static bool text_holds(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (; strlen(text) >= len; text++)
		if (text_same_n(text, len, word, len))
			return true;
	return false;
}

static enum meaning meaning_of_code(const char *code, size_t len)
{
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (text_same_n(code, len, codes[i].code, strlen(codes[i].code)))
			return codes[i].meaning;
	return BARE;
}

/* By its code, in front or at the end of the text (N-02). BARE: none that we know. */
static enum meaning by_code(const struct wire_status *status)
{
	enum meaning meaning = meaning_of_code(status->code, strlen(status->code));
	size_t len = strlen(status->text);

	if (meaning != BARE || !len || status->text[len - 1] != ']')
		return meaning;
	const char *bracket = strrchr(status->text, '[');
	return bracket ? meaning_of_code(bracket + 1, strcspn(bracket + 1, " ]")) : BARE;
}

static enum meaning by_words(const struct wire_status *status)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (text_holds(status->text, words[i].word))
			return words[i].meaning;
	return BARE;
}

bool imap_is_half_login(const struct wire_status *status)
{
	return status->outcome == WIRE_BAD && text_holds(status->text, not_connected);
}

static enum meaning meaning_of(const struct wire_status *status)
{
	enum meaning meaning = by_code(status);

	if (meaning != BARE)
		return meaning;
	if (status->outcome == WIRE_BAD)
		return imap_is_half_login(status) ? TEMPORARY : PERMANENT;
	return by_words(status);
}

enum imap_trouble imap_trouble_of(const struct wire_status *status)
{
	if (status->outcome == WIRE_NONE)
		return TROUBLE_NONE;
	/* An OK may well speak of many things; only a code counts (H-08). */
	enum meaning meaning = status->outcome == WIRE_OK ? by_code(status) : meaning_of(status);
	if (meaning == THROTTLED)
		return TROUBLE_THROTTLED;
	return meaning == TEMPORARY ? TROUBLE_PASSING : TROUBLE_NONE;
}

/* A reply's text as it may be logged: some servers repeat the command that they refuse (B-22). */
static const char *words_of(const struct imap_client *client, const struct wire_status *status)
{
	const char *secret = client->secret;

	if (secret && (status->outcome == WIRE_BAD || (*secret && strstr(status->text, secret))))
		return "(not shown)";
	return status->text;
}

void imap_note_throttle(struct imap_client *client, enum imap_phase phase)
{
	const struct wire_status *status = imap_wire_status(client->wire);

	/* The target of a COPY that is full asks for no patience. */
	if (imap_trouble_of(status) != TROUBLE_THROTTLED ||
	    (phase == PHASE_UPDATE && status->outcome != WIRE_OK &&
	     text_same(status->code, "OVERQUOTA")))
		return;
	if (!client->is_throttled)
		LOG(client->log, LEVEL_WARN, "imap-throttled", log_number("phase", phase),
		    log_text("code", status->code), log_text("text", words_of(client, status)));
	client->is_throttled = true;
}

static struct err refused_login(const struct imap_client *client, enum imap_phase phase)
{
	bool is_clients = phase == PHASE_LOGIN && !client->is_stored;

	return (struct err){is_clients ? ERR_LOGIN : ERR_POLICY, 0,
			    "the mail server refused the login"};
}

struct err imap_login_refused(struct imap_client *client)
{
	client->is_refused = client->is_stored;
	return refused_login(client, PHASE_LOGIN);
}

struct err imap_outcome(const struct imap_client *client, enum imap_phase phase)
{
	const struct wire_status *status = imap_wire_status(client->wire);

	if (status->outcome == WIRE_OK)
		return OK;
	LOG(client->log, LEVEL_NOTE, "imap-refused", log_number("phase", phase),
	    log_text("reply", status->outcome == WIRE_BAD ? "BAD" : "NO"),
	    log_text("code", status->code), log_text("text", words_of(client, status)));
	switch (meaning_of(status)) {
	case CREDENTIAL:
		return refused_login(client, phase);
	case BARE:
		if (phase == PHASE_LOGIN)
			return refused_login(client, phase);
		return ERR(ERR_UPSTREAM, 0, "the mail server could not do it");
	case IN_USE:
		if (phase == PHASE_LOGIN || phase == PHASE_SELECT)
			return ERR(ERR_IN_USE, 0, "the mailbox is in use");
		return ERR(ERR_UPSTREAM, 0, "the mailbox is in use");
	case PERMANENT:
		return ERR(ERR_POLICY, 0, "the mail server does not permit it");
	case TEMPORARY:
	case THROTTLED:
		break;
	}
	return ERR(ERR_UPSTREAM, EAGAIN, "the mail server is not available");
}
