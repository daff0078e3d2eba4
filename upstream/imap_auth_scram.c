/* SPDX-License-Identifier: MIT */
/* imap_auth_scram.c - SCRAM (RFC 5802, RFC 7677) by GNU SASL: the password does not leave us, and the
 * server proves that it knows it before the login counts.
 *
 * All that GNU SASL does, from its start on, runs on the pool: it reads files of its own, and turns the
 * password into a key by as many rounds of a hash as the server says. So the number is looked at first:
 * too many would keep a thread of the pool, too few are what somebody would say who wants to guess the
 * password from our proof.
 */
#include "upstream/imap_auth.h"

#include <errno.h>
#include <string.h>

#include <gsasl.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum {
	ROUNDS_LEAST = 4096, /* RFC 5802 section 5.1, RFC 7677 section 4 */
	ROUNDS_MOST = 1000000,
	BINDING_OCTETS = 256,
};

struct scram {
	struct imap_exchange *exchange;
	Gsasl *context;
	Gsasl_session *session;
	char *binding; /* base64, owned; NULL: none */
	Gsasl_property binding_kind;
	/* A step: in and out. */
	const char *heard;
	size_t heard_len;
	char *said;
	size_t said_len;
	int outcome;
};

static void set(struct scram *scram, Gsasl_property property, const char *value)
{
	if (value && scram->outcome == GSASL_OK)
		scram->outcome = gsasl_property_set(scram->session, property, value);
}

/* Asked before anything is sent; and the library, when it finds out itself, forgets to free the salt. */
static int can_prepare(const char *password)
{
	char *prepared = NULL;
	int outcome = gsasl_saslprep(password, 0, &prepared, NULL);

	if (prepared)
		mem_wipe(prepared, strlen(prepared));
	gsasl_free(prepared);
	return outcome;
}

static void work_begin(void *arg)
{
	struct scram *scram = arg;
	const struct login *login = scram->exchange->login;

	scram->outcome = can_prepare(login->password);
	if (scram->outcome == GSASL_OK)
		scram->outcome = gsasl_init(&scram->context);
	if (scram->outcome == GSASL_OK)
		scram->outcome =
			gsasl_client_start(scram->context, scram->exchange->sasl, &scram->session);
	set(scram, GSASL_AUTHID, login->master ? login->master : login->user);
	set(scram, GSASL_AUTHZID, login->master ? login->user : NULL);
	set(scram, GSASL_PASSWORD, login->password);
	set(scram, scram->binding_kind, scram->binding);
}

static void work_step(void *arg)
{
	struct scram *scram = arg;

	scram->outcome = gsasl_step(scram->session, scram->heard, scram->heard_len, &scram->said,
				    &scram->said_len);
}

/* With -PLUS the proof counts on this very connection alone (RFC 5802 section 6). Without, we say "n" and
 * not "y", I could but you did not offer it: GNU SASL 2.2.0 fails when it is to say that. Who wants to be
 * sure that nobody took the -PLUS out of the server's list pins it by auth=. */
static void bind_channel(struct scram *scram)
{
	const struct imap_exchange *exchange = scram->exchange;
	const struct imap_wire *wire = exchange->client->wire;
	struct buf raw;

	if (!exchange->is_plus)
		return;
	buf_init(&raw, BINDING_OCTETS);
	scram->binding_kind = GSASL_CB_TLS_EXPORTER;
	bool is_bound = imap_wire_bind(wire, BINDING_TLS_EXPORTER, &raw);
	if (!is_bound) {
		scram->binding_kind = GSASL_CB_TLS_UNIQUE;
		is_bound = imap_wire_bind(wire, BINDING_TLS_UNIQUE, &raw);
	}
	if (is_bound) {
		scram->binding = mem_alloc(text_base64_len(buf_len(&raw)) + 1);
		text_base64(scram->binding, buf_data(&raw), buf_len(&raw));
	}
	buf_fini(&raw);
}

/* What is kept of the password; GNU SASL frees it as it is. */
static void wipe_property(Gsasl_session *session, Gsasl_property property)
{
	char *value = (char *)gsasl_property_fast(session, property);

	if (value)
		mem_wipe(value, strlen(value));
}

static void scram_fini(struct scram *scram)
{
	if (scram->session) {
		wipe_property(scram->session, GSASL_PASSWORD);
		wipe_property(scram->session, GSASL_SCRAM_SALTED_PASSWORD);
		gsasl_finish(scram->session);
	}
	if (scram->context)
		gsasl_done(scram->context);
	text_wipe_free(scram->binding);
}

static struct err explain(const struct scram *scram)
{
	bool is_stored = scram->exchange->login->is_stored;

	switch (scram->outcome) {
	case GSASL_AUTHENTICATION_ERROR:
		return ERR(ERR_POLICY, EACCES,
			   "the mail server does not prove that it knows the password");
	case GSASL_SASLPREP_ERROR:
		return (struct err){is_stored ? ERR_POLICY : ERR_LOGIN, EILSEQ,
				    "name or password cannot be used with SCRAM"};
	case GSASL_MALLOC_ERROR:
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	case GSASL_UNKNOWN_MECHANISM:
		return ERR(ERR_POLICY, ENOSYS, "the SASL library has no such mechanism");
	case GSASL_MECHANISM_PARSE_ERROR:
	case GSASL_MECHANISM_CALLED_TOO_MANY_TIMES:
		return ERR(ERR_UPSTREAM, EPROTO, "the mail server's challenge makes no sense");
	default:
		return (struct err){ERR_UPSTREAM, scram->outcome, "the SASL library fails"};
	}
}

/* Answers `challenge`; *is_proved once the server has. */
static struct err step(struct scram *scram, bool *is_proved)
{
	struct imap_exchange *exchange = scram->exchange;
	const struct env *env = exchange->client->env;
	struct err err = OK;

	scram->heard = buf_len(&exchange->challenge) ? buf_data(&exchange->challenge) : "";
	scram->heard_len = buf_len(&exchange->challenge);
	env->ops->offload(env, work_step, scram);
	if (scram->outcome != GSASL_OK && scram->outcome != GSASL_NEEDS_MORE)
		return explain(scram);
	*is_proved = scram->outcome == GSASL_OK;
	buf_drop(&exchange->answer, buf_len(&exchange->answer));
	if (scram->said_len && !buf_put(&exchange->answer, scram->said, scram->said_len))
		err = ERR(ERR_POLICY, E2BIG, "the credential is too long");
	if (scram->said)
		mem_wipe(scram->said, scram->said_len);
	gsasl_free(scram->said);
	scram->said = NULL;
	return err;
}

/* Every "i=" there is, lest we read another one than the library. */
static bool has_fair_rounds(const struct buf *challenge)
{
	const char *at = buf_data(challenge), *end = at + buf_len(challenge);
	uint64_t rounds = 0;

	while (at && at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t len = (size_t)((comma ? comma : end) - at);
		if (len >= 2 && at[0] == 'i' && at[1] == '=' &&
		    (!text_number(at + 2, len - 2, ROUNDS_MOST, &rounds) || rounds < ROUNDS_LEAST))
			return false;
		at += len + 1;
	}
	return rounds != 0;
}

/* RFC 5802 section 7, server-error: some servers say why instead of NO. */
static struct err heard_error(const struct imap_exchange *exchange)
{
	static const char *const ours[] = {"e=invalid-proof", "e=unknown-user",
					   "e=invalid-username-encoding"};
	const struct buf *challenge = &exchange->challenge;
	bool is_ours = false;

	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		is_ours |= buf_len(challenge) == strlen(ours[i]) &&
			   !memcmp(buf_data(challenge), ours[i], strlen(ours[i]));
	if (is_ours)
		return imap_login_refused(exchange->client);
	return ERR(ERR_POLICY, 0, "the mail server refuses our SCRAM");
}

/* What we make of a challenge: `count` came before it. */
static struct err read_challenge(struct scram *scram, int count, bool *is_proved)
{
	const struct buf *challenge = &scram->exchange->challenge;

	if (buf_len(challenge) >= 2 && !memcmp(buf_data(challenge), "e=", 2))
		return heard_error(scram->exchange);
	if (!count && !has_fair_rounds(challenge))
		return ERR(
			ERR_POLICY, ERANGE,
			"the mail server's SCRAM iteration count is not between 4096 and 1000000");
	if (*is_proved)
		return ERR(ERR_UPSTREAM, EPROTO, "the mail server asks for more than there is");
	return step(scram, is_proved);
}

static struct err converse(struct scram *scram)
{
	struct imap_exchange *exchange = scram->exchange;
	bool is_proved = false;

	TRY(step(scram, &is_proved));
	TRY(imap_auth_begin(exchange));
	for (int count = 0; !exchange->is_done; count++) {
		struct err err = read_challenge(scram, count, &is_proved);
		if (err.kind)
			return imap_auth_cancel(exchange, err);
		TRY(imap_auth_answer(exchange));
	}
	if (is_proved || !imap_was(exchange->client, WIRE_OK))
		return OK;
	/* It let us in without knowing us: that is no server of ours. */
	imap_client_kill(exchange->client);
	scram->outcome = GSASL_AUTHENTICATION_ERROR;
	return explain(scram);
}

struct err imap_auth_scram(struct imap_exchange *exchange)
{
	const struct env *env = exchange->client->env;
	struct scram scram = {.exchange = exchange};

	bind_channel(&scram);
	env->ops->offload(env, work_begin, &scram);
	struct err err = scram.outcome == GSASL_OK ? converse(&scram) : explain(&scram);
	scram_fini(&scram);
	return err;
}
