/* SPDX-License-Identifier: MIT */
/* sasl.c - the mechanisms, each a function that reads from top to bottom: challenge, response,
 * verdict.
 *
 * A new mechanism is a row in the table below. Whatever the client says in an exchange is a secret:
 * each of its octets that we copy is wiped, and so is the line in the stream's buffer (B-22).
 */
#include "session/sasl.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "session/sasl_message.h"

/* An exchange: the client, and the initial response until it is used. */
struct exchange {
	struct stream *client;
	const char *initial;
	const char *stamp; /* for who must be challenged with what nobody was before */
};

struct sasl_mechanism {
	const char *name;
	unsigned way;
	bool is_plaintext;
	struct err (*run)(struct exchange *, struct sasl_claim *);
	const char *regret; /* a challenge behind a refusal, NULL: none */
};

/* --- the wire ----------------------------------------------------------------------------- */

static struct err decode(const char *text, size_t len, struct buf *out)
{
	char *room = buf_room(out, len / 4 * 3 + 1);
	size_t decoded = 0;

	if (!room)
		return ERR(ERR_REFUSED, E2BIG, "response too long");
	if (!text_unbase64(room, &decoded, text, len))
		return ERR(ERR_REFUSED, EINVAL, "not base64");
	room[decoded] = '\0'; /* not one of the octets: the end that sasl_message.h wants */
	buf_added(out, decoded);
	return OK;
}

static void answer_init(struct buf *answer)
{
	buf_init(answer, SASL_ANSWER_MAX + 4);
	answer->is_secret = true;
}

struct err sasl_ask(struct stream *client, const void *challenge, size_t len, struct buf *answer)
{
	char *coded = mem_alloc(text_base64_len(len) + 1);
	const char *line;
	size_t line_len;

	buf_drop(answer, buf_len(answer));
	text_base64(coded, challenge, len);
	struct err err = stream_put(client, "+ ", 2);
	if (!err.kind)
		err = stream_put(client, coded, strlen(coded));
	if (!err.kind)
		err = stream_put(client, "\r\n", 2);
	free(coded);
	TRY(err);
	TRY(stream_line(client, &line, &line_len));
	if (line_len == 1 && *line == '*')
		return ERR(ERR_REFUSED, ECANCELED, "authentication cancelled");
	err = decode(line, line_len, answer);
	/* The line has been taken, but its octets still lie in the stream's buffer. */
	mem_wipe((void *)(uintptr_t)line, line_len);
	return err;
}

/* The next response: the initial one if there is one left, else the answer to `challenge`. */
static struct err ask(struct exchange *exchange, const char *challenge, struct buf *answer)
{
	const char *initial = exchange->initial;

	if (!initial)
		return sasl_ask(exchange->client, challenge, strlen(challenge), answer);
	exchange->initial = NULL;
	bool is_empty = strcmp(initial, "=") == 0;
	if (!is_empty && !*initial)
		return ERR(ERR_REFUSED, EINVAL, "not base64");
	return decode(initial, is_empty ? 0 : strlen(initial), answer);
}

/* --- the mechanisms ----------------------------------------------------------------------- */

static struct err malformed(void)
{
	return ERR(ERR_LOGIN, EINVAL, "malformed credential");
}

/* One message of the client's, read by `parse`. */
static struct err run_one(struct exchange *exchange, struct sasl_claim *out,
			  bool (*parse)(const char *, size_t, char **, char **))
{
	struct buf message;

	answer_init(&message);
	struct err err = ask(exchange, "", &message);
	if (!err.kind && !parse(buf_len(&message) ? buf_data(&message) : "", buf_len(&message),
				&out->name, &out->password))
		err = malformed();
	buf_wipe(&message);
	return err;
}

static struct err run_plain(struct exchange *exchange, struct sasl_claim *out)
{
	return run_one(exchange, out, sasl_message_plain);
}

static struct err run_xoauth2(struct exchange *exchange, struct sasl_claim *out)
{
	out->kind = CREDENTIAL_TOKEN;
	return run_one(exchange, out, sasl_message_xoauth2);
}

static struct err run_oauthbearer(struct exchange *exchange, struct sasl_claim *out)
{
	out->kind = CREDENTIAL_TOKEN;
	return run_one(exchange, out, sasl_message_oauthbearer);
}

static struct err run_external(struct exchange *exchange, struct sasl_claim *out)
{
	out->kind = CREDENTIAL_CERTIFICATE;
	return run_one(exchange, out, sasl_message_external);
}

/* A response that is a text; NULL if a NUL is in it. Owned. */
static char *text_of(const struct buf *answer)
{
	size_t len = buf_len(answer);

	if (len && memchr(buf_data(answer), '\0', len))
		return NULL;
	return mem_dup(len ? buf_data(answer) : "", len);
}

/* draft-murchison-sasl-login: name and password, each asked for; the name may be the initial
 * response. */
static struct err run_login(struct exchange *exchange, struct sasl_claim *out)
{
	struct buf answer;

	answer_init(&answer);
	struct err err = ask(exchange, "Username:", &answer);
	if (!err.kind) {
		out->name = text_of(&answer);
		err = sasl_ask(exchange->client, "Password:", strlen("Password:"), &answer);
	}
	if (!err.kind)
		out->password = text_of(&answer);
	if (!err.kind && (!out->name || !out->password))
		err = malformed();
	buf_wipe(&answer);
	return err;
}

/* RFC 2195: the server begins. */
static struct err run_cram(struct exchange *exchange, struct sasl_claim *out)
{
	out->kind = CREDENTIAL_CRAM_MD5;
	if (exchange->initial)
		return ERR(ERR_REFUSED, EINVAL, "here the server speaks first");
	struct buf message;
	answer_init(&message);
	struct err err = ask(exchange, exchange->stamp, &message);
	if (!err.kind && !sasl_message_cram(buf_len(&message) ? buf_data(&message) : "",
					    buf_len(&message), &out->name, &out->password))
		err = malformed();
	buf_wipe(&message);
	return err;
}

/* RFC 5802: the client begins; what follows is for who knows the secret. */
static struct err run_scram(struct exchange *exchange, struct sasl_claim *out)
{
	struct buf message;

	out->kind = CREDENTIAL_EXCHANGE;
	answer_init(&message);
	struct err err = ask(exchange, "", &message);
	if (!err.kind) {
		out->initial = text_of(&message);
		if (!out->initial || !sasl_message_scram(out->initial, buf_len(&message),
							 &out->name, &out->password))
			err = malformed();
	}
	buf_wipe(&message);
	return err;
}

/* Google's words (XOAUTH2) and those of RFC 7628 section 3.2.2. */
#define XOAUTH2_REGRET "{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"\"}"
#define OAUTHBEARER_REGRET "{\"status\":\"invalid_token\"}"

/* In the order of the list: what old clients look for, then by strength. */
static const struct sasl_mechanism mechanisms[] = {
	{"PLAIN", WAY_PLAIN, true, run_plain, NULL},
	{"LOGIN", WAY_LOGIN, true, run_login, NULL},
	{"CRAM-MD5", WAY_CRAM_MD5, false, run_cram, NULL},
	{"SCRAM-SHA-256", WAY_SCRAM_SHA_256, false, run_scram, NULL},
	{"SCRAM-SHA-1", WAY_SCRAM_SHA_1, false, run_scram, NULL},
	{"XOAUTH2", WAY_XOAUTH2, true, run_xoauth2, XOAUTH2_REGRET},
	{"OAUTHBEARER", WAY_OAUTHBEARER, true, run_oauthbearer, OAUTHBEARER_REGRET},
	{"EXTERNAL", WAY_EXTERNAL, false, run_external, NULL},
	{"SCRAM-SHA-256-PLUS", WAY_SCRAM_SHA_256_PLUS, false, run_scram, NULL},
	{"SCRAM-SHA-1-PLUS", WAY_SCRAM_SHA_1_PLUS, false, run_scram, NULL},
};
enum { MECHANISMS = sizeof mechanisms / sizeof *mechanisms };

/* --- the contract ------------------------------------------------------------------------- */

void sasl_claim_fini(struct sasl_claim *claim)
{
	text_wipe_free(claim->name);
	text_wipe_free(claim->password);
	text_wipe_free(claim->initial);
	*claim = (struct sasl_claim){0};
}

const struct sasl_mechanism *sasl_find(const char *name, size_t len)
{
	for (size_t i = 0; i < MECHANISMS; i++)
		if (text_same_n(mechanisms[i].name, strlen(mechanisms[i].name), name, len))
			return &mechanisms[i];
	return NULL;
}

const char *sasl_name(const struct sasl_mechanism *mechanism)
{
	return mechanism->name;
}

unsigned sasl_way(const struct sasl_mechanism *mechanism)
{
	return mechanism->way;
}

unsigned sasl_plaintext_ways(void)
{
	unsigned ways = 0;

	for (size_t i = 0; i < MECHANISMS; i++)
		if (mechanisms[i].is_plaintext)
			ways |= mechanisms[i].way;
	return ways;
}

size_t sasl_list(char out[SASL_LIST_MAX], unsigned ways, const char *before, const char *after)
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < MECHANISMS; i++) {
		if (!(mechanisms[i].way & ways))
			continue;
		len += (size_t)snprintf(out + len, SASL_LIST_MAX - len, "%s%s%s", before,
					mechanisms[i].name, after);
		assert(len < SASL_LIST_MAX);
	}
	return len;
}

struct err sasl_run(const struct sasl_mechanism *mechanism, struct stream *client,
		    const char *initial, const char *stamp, struct sasl_claim *out)
{
	struct exchange exchange = {client, initial, stamp};

	*out = (struct sasl_claim){0};
	struct err err = mechanism->run(&exchange, out);
	bool is_nameless = out->kind == CREDENTIAL_TOKEN || out->kind == CREDENTIAL_CERTIFICATE;
	bool is_bare = out->kind == CREDENTIAL_EXCHANGE || out->kind == CREDENTIAL_CERTIFICATE;
	/* CR and LF would be the start of another command further up (B-17). */
	if (!err.kind && ((!*out->name && !is_nameless) || (!*out->password && !is_bare) ||
			  strpbrk(out->name, "\r\n") || strpbrk(out->password, "\r\n")))
		err = malformed();
	if (err.kind)
		sasl_claim_fini(out);
	return err;
}

struct err sasl_regret(const struct sasl_mechanism *mechanism, struct stream *client)
{
	struct buf answer;

	if (!mechanism->regret)
		return OK;
	answer_init(&answer);
	struct err err = sasl_ask(client, mechanism->regret, strlen(mechanism->regret), &answer);
	buf_wipe(&answer);
	/* Whatever it says, also "*", it has said it. */
	return err.kind == ERR_REFUSED ? OK : err;
}
