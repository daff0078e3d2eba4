/* SPDX-License-Identifier: MIT */
/* oauth_reply.c - reads what a provider answers.
 *
 * A reply is believed only in what it must say: JSON, an object, a token of visible ASCII. Its words
 * go to the log and to an operator's terminal, so they are made printable, and dropped if any piece
 * of a secret is in them: a server that quotes the request would otherwise write it into our log.
 */
#include "upstream/oauth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum {
	NO_LIFETIME_S = 3600, /* RFC 6749 section 5.1 leaves expires_in out: what most have */
	DEVICE_LIFETIME_S = 900,
	INTERVAL_S = 5, /* RFC 8628 section 3.2 */
	INTERVAL_MAX_S = 60,
	PIECE = 12, /* so many octets of a secret in a row are a piece of it */
	STATUS_OK = 200,
	STATUS_BUSY = 429,
	STATUS_THEIRS = 500,
};

struct reading {
	json_t *root;
	const char *const *secrets;
	size_t secret_count;
};

/* --- values ------------------------------------------------------------------------------- */

/* A member that is a text; NULL if there is none, or it holds a NUL. */
static const char *member(const struct reading *reading, const char *name)
{
	return json_string_value(json_object_get(reading->root, name));
}

/* A token or code: visible ASCII and blanks (RFC 6749 appendix A.12). */
static char *token_dup(const struct reading *reading, const char *name)
{
	const char *text = member(reading, name);
	size_t len = text ? strlen(text) : 0;

	if (!len || len > TOKEN_MAX)
		return NULL;
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return NULL;
	return text_dup(text);
}

/* A count of seconds, that some write as a text (J-10), or with a fraction. `otherwise` if it is none;
 * never 0. */
static uint64_t seconds(const struct reading *reading, const char *name, uint64_t otherwise,
			uint64_t max)
{
	const json_t *value = json_object_get(reading->root, name);
	const char *text = json_string_value(value);
	double number = json_is_number(value) ? json_number_value(value) : -1;
	uint64_t count;

	if (text && text_number(text, strlen(text), UINT32_MAX, &count))
		number = (double)count;
	if (!(number >= 0))
		return otherwise;
	if (number >= (double)max)
		return max;
	return number < 1 ? 1 : (uint64_t)number;
}

/* --- what is told ------------------------------------------------------------------------- */

static bool has_piece(const char *text, const char *secret)
{
	size_t len = secret ? strlen(secret) : 0;
	size_t piece = len < PIECE ? len : PIECE;

	for (size_t i = 0; piece && i + piece <= len; i++)
		if (memmem(text, strlen(text), secret + i, piece))
			return true;
	return false;
}

static bool is_clean(const struct reading *reading, const char *text)
{
	bool is_secret = has_piece(text, member(reading, "access_token")) ||
			 has_piece(text, member(reading, "refresh_token"));

	for (size_t i = 0; !is_secret && i < reading->secret_count; i++)
		is_secret = has_piece(text, reading->secrets[i]);
	return !is_secret;
}

/* "invalid_grant: Token has been revoked". */
static void tell(const struct reading *reading, long status, const char *error, struct notice *why)
{
	const char *words = member(reading, "error_description");
	char raw[2 * sizeof why->text];

	if (!error || !is_clean(reading, error))
		error = "an error";
	if (words && !is_clean(reading, words))
		words = NULL;
	snprintf(raw, sizeof raw, "%.80s%s%.160s (HTTP %ld)", error, words ? ": " : "",
		 words ? words : "", status);
	text_printable(why->text, sizeof why->text, raw, strlen(raw), false);
}

/* --- errors ------------------------------------------------------------------------------- */

static enum oauth_trouble trouble_of(const char *error)
{
	static const struct {
		const char *error;
		enum oauth_trouble trouble;
	} known[] = {
		{"authorization_pending", OAUTH_PENDING},
		{"slow_down", OAUTH_SLOW_DOWN},
		{"expired_token", OAUTH_EXPIRED},
		{"access_denied", OAUTH_DENIED},
		{"authorization_declined", OAUTH_DENIED}, /* Microsoft */
		{"invalid_grant", OAUTH_GRANT_IS_BAD},
		{"interaction_required", OAUTH_GRANT_IS_BAD}, /* Microsoft, OpenID Connect */
		{"login_required", OAUTH_GRANT_IS_BAD},
		{"consent_required", OAUTH_GRANT_IS_BAD},
		{"temporarily_unavailable", OAUTH_PASSING},
		{"server_error", OAUTH_PASSING},
		{"internal_failure", OAUTH_PASSING}, /* Google */
		{"rate_limit_exceeded", OAUTH_PASSING},
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (!strcmp(error, known[i].error))
			return known[i].trouble;
	return OAUTH_REFUSED;
}

static struct err err_of(enum oauth_trouble trouble)
{
	switch (trouble) {
	case OAUTH_FINE:
	case OAUTH_PENDING:
	case OAUTH_SLOW_DOWN:
		return OK;
	case OAUTH_PASSING:
		return ERR(ERR_UPSTREAM, EAGAIN, "the token server cannot answer now");
	case OAUTH_EXPIRED:
		return ERR(ERR_POLICY, 0, "the code has expired");
	case OAUTH_DENIED:
		return ERR(ERR_POLICY, 0, "the user, or a rule of the provider, said no");
	case OAUTH_GRANT_IS_BAD:
		return ERR(ERR_POLICY, 0, "the provider has withdrawn the grant");
	case OAUTH_REFUSED:
		return ERR(ERR_POLICY, 0, "the provider refuses to give a token");
	}
	return OK;
}

static struct err passing(struct oauth_reply *out, struct notice *why, long status,
			  const char *what)
{
	out->trouble = OAUTH_PASSING;
	snprintf(why->text, sizeof why->text, "%s (HTTP %ld)", what, status);
	return err_of(OAUTH_PASSING);
}

static struct err read_error(const struct reading *reading, enum oauth_what what, long status,
			     struct notice *why, struct oauth_reply *out)
{
	const char *error = member(reading, "error");

	if (!error)
		return passing(out, why, status, "neither a token nor an error");
	out->trouble = trouble_of(error);
	bool is_patience = out->trouble == OAUTH_PENDING || out->trouble == OAUTH_SLOW_DOWN;
	/* These two are answers to one question alone. */
	if (is_patience && what != OAUTH_ASK_DEVICE_TOKEN)
		out->trouble = OAUTH_PASSING;
	else if (!is_patience && (status >= STATUS_THEIRS || status == STATUS_BUSY))
		out->trouble = OAUTH_PASSING;
	tell(reading, status, error, why);
	return err_of(out->trouble);
}

/* --- good replies ------------------------------------------------------------------------- */

static struct err read_token(const struct reading *reading, long status, struct notice *why,
			     struct oauth_reply *out)
{
	const char *type = member(reading, "token_type");

	if (type && !text_same(type, "bearer"))
		return passing(out, why, status, "a token of another type than bearer");
	out->access = token_dup(reading, "access_token");
	out->lifetime_s = seconds(reading, "expires_in", NO_LIFETIME_S, OAUTH_DAY_S);
	if (!out->access)
		return passing(out, why, status, "a token that cannot be one");
	return OK;
}

static struct err read_device(const struct reading *reading, long status, struct notice *why,
			      struct oauth_reply *out)
{
	out->device_code = token_dup(reading, "device_code");
	out->user_code = token_dup(reading, "user_code");
	out->url = token_dup(reading, "verification_uri");
	if (!out->url)
		out->url = token_dup(reading, "verification_url"); /* Google */
	out->url_complete = token_dup(reading, "verification_uri_complete");
	out->lifetime_s = seconds(reading, "expires_in", DEVICE_LIFETIME_S, OAUTH_DAY_S);
	out->interval_s = seconds(reading, "interval", INTERVAL_S, INTERVAL_MAX_S);
	if (!out->device_code || !out->user_code || !out->url)
		return passing(out, why, status, "a reply without a device code");
	return OK;
}

struct err oauth_read(enum oauth_what what, long status, const char *body, size_t len,
		      const char *const *secrets, size_t secret_count, struct notice *why,
		      struct oauth_reply *out)
{
	struct reading reading = {json_loadb(len ? body : "", len, JSON_REJECT_DUPLICATES, NULL),
				  secrets, secret_count};
	const char *wanted = what == OAUTH_ASK_DEVICE ? "device_code" : "access_token";
	struct err err;

	/* Of use even if the rest is not: the one before may be spent. */
	if (status == STATUS_OK)
		out->refresh = token_dup(&reading, "refresh_token");
	if (!json_is_object(reading.root))
		err = passing(out, why, status, "not what a token server would say");
	else if (status != STATUS_OK || !member(&reading, wanted))
		err = read_error(&reading, what, status, why, out);
	else if (what == OAUTH_ASK_DEVICE)
		err = read_device(&reading, status, why, out);
	else
		err = read_token(&reading, status, why, out);
	json_decref(reading.root);
	return err;
}

void oauth_reply_fini(struct oauth_reply *reply)
{
	text_wipe_free(reply->access);
	text_wipe_free(reply->refresh);
	text_wipe_free(reply->device_code);
	text_wipe_free(reply->user_code);
	text_wipe_free(reply->url);
	text_wipe_free(reply->url_complete);
	*reply = (struct oauth_reply){.trouble = OAUTH_FINE};
}
