/* SPDX-License-Identifier: MIT */
/* imap_auth_token.c - OAuth 2.0 access tokens: XOAUTH2, as Google and Microsoft have it, and OAUTHBEARER
 * (RFC 7628). Both say everything at once. A refusal comes as a challenge with JSON in it, which must be
 * answered before the NO comes; it goes to the log, without the token (J-09).
 */
#include "upstream/imap_auth.h"

#include <errno.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum {
	SHOWN = 512,   /* most of a refusal in the log, octets */
	RUN_LEAST = 32 /* so many letters of base64 in a row may be part of a token */
};

/* RFC 5801 section 4, saslname. */
static bool put_name(struct buf *out, const char *name)
{
	for (; *name; name++) {
		const char *coded = *name == ',' ? "=2C" : *name == '=' ? "=3D" : NULL;
		if (!buf_put(out, coded ? coded : name, coded ? 3 : 1))
			return false;
	}
	return true;
}

static bool is_base64(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("+/-_=", c));
}

/* Overwrites the secret, and what may be a part of it, with "*". */
static void redact(char *text, const char *secret)
{
	size_t len = strlen(secret);

	for (char *at = text; len && (at = strstr(at, secret)); at += len)
		memset(at, '*', len);
	for (char *at = text; *at;) {
		size_t run = 0;
		while (is_base64(at[run]))
			run++;
		if (run >= RUN_LEAST)
			memset(at, '*', run);
		at += run ? run : 1;
	}
}

static void log_refusal(const struct imap_exchange *exchange)
{
	const struct buf *challenge = &exchange->challenge;
	size_t len = buf_len(challenge);
	char *text = mem_alloc(len + 1), shown[SHOWN];

	/* Printable first: what is shown must be what was looked at. */
	text_printable(text, len + 1, len ? buf_data(challenge) : "", len, true);
	redact(text, exchange->login->password);
	text_printable(shown, sizeof shown, text, strlen(text), true);
	LOG(exchange->client->log, LEVEL_NOTE, "imap-token-refused",
	    log_text("mechanism", exchange->sasl), log_text("says", shown));
	text_wipe_free(text);
}

static bool put_token(struct imap_exchange *exchange, bool is_bearer)
{
	const struct login *login = exchange->login;
	const struct upstream_conf *conf = exchange->conf;
	struct buf *out = &exchange->answer;
	bool is_put;

	/* Host and port are those of our connection: the client's own are of no meaning here (J-06). */
	if (is_bearer)
		is_put = buf_put(out, "n,a=", 4) && put_name(out, login->user) &&
			 buf_printf(out, ",\001host=%s\001port=%u\001", conf->host, conf->port);
	else
		is_put = buf_printf(out, "user=%s\001", login->user);
	return is_put && buf_put(out, "auth=Bearer ", 12) &&
	       buf_put(out, login->password, strlen(login->password)) &&
	       buf_put(out, "\001\001", 2);
}

struct err imap_auth_token(struct imap_exchange *exchange)
{
	bool is_bearer = text_same(exchange->sasl, "OAUTHBEARER");

	if (!put_token(exchange, is_bearer))
		return ERR(ERR_POLICY, E2BIG, "the token is too long");
	TRY(imap_auth_begin(exchange));
	if (exchange->is_done)
		return OK;
	log_refusal(exchange);
	/* What has left with the login is taken for the answer. */
	if (exchange->client->has_flown)
		return imap_receive(exchange->client, PHASE_LOGIN, exchange->tag);
	/* XOAUTH2 wants an empty line, RFC 7628 section 3.2.3 a lone \001. */
	buf_drop(&exchange->answer, buf_len(&exchange->answer));
	if (is_bearer && !buf_put(&exchange->answer, "\001", 1))
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	TRY(imap_auth_answer(exchange));
	if (!exchange->is_done)
		return imap_auth_cancel(
			exchange,
			ERR(ERR_UPSTREAM, EPROTO, "the mail server asks for more than there is"));
	if (!imap_was(exchange->client, WIRE_OK))
		return OK;
	imap_client_kill(exchange->client);
	return ERR(ERR_UPSTREAM, EPROTO, "the mail server refuses the token and says OK");
}
