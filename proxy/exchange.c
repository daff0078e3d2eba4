/* SPDX-License-Identifier: MIT */
/* exchange.c - SCRAM as a server.
 *
 * All that GNU SASL does runs on the pool: a {plain} secret costs it as many rounds of a hash as the
 * client is told. For a name without a fitting secret the same is done with a word that nobody knows,
 * so that neither the messages nor what they cost tell which names there are.
 */
#include "proxy/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gsasl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/verify.h"

enum {
	SALT = 16,            /* octets */
	ROUNDS_SHA_1 = 4096,  /* RFC 5802 section 5.1 */
	BINDING_OCTETS = 256, /* most of channel binding data */
	FINAL_MAX = 4096,     /* octets of the client's second message */
};

struct scram {
	const struct credential *claim;
	Gsasl *context;
	Gsasl_session *session;
	/* What the client is to know, and what it may be told of it. */
	const char *password; /* or NULL, and then: */
	struct verify_scram keys;
	char salt[96], rounds[16];
	char *exporter, *unique; /* base64, owned; NULL: no such binding */
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

static void work_begin(void *arg)
{
	struct scram *scram = arg;

	scram->outcome = gsasl_init(&scram->context);
	if (scram->outcome == GSASL_OK)
		scram->outcome = gsasl_server_start(scram->context, scram->claim->mechanism,
						    &scram->session);
	set(scram, GSASL_SCRAM_SALT, scram->salt);
	set(scram, GSASL_SCRAM_ITER, scram->rounds);
	if (scram->password) {
		set(scram, GSASL_PASSWORD, scram->password);
	} else {
		set(scram, GSASL_SCRAM_STOREDKEY, scram->keys.stored);
		set(scram, GSASL_SCRAM_SERVERKEY, scram->keys.server);
	}
	set(scram, GSASL_CB_TLS_EXPORTER, scram->exporter);
	set(scram, GSASL_CB_TLS_UNIQUE, scram->unique);
}

static void work_step(void *arg)
{
	struct scram *scram = arg;

	scram->outcome = gsasl_step(scram->session, scram->heard, scram->heard_len, &scram->said,
				    &scram->said_len);
}

static char *binding_dup(const struct stream *client, enum stream_binding kind)
{
	struct buf raw;
	char *coded = NULL;

	buf_init(&raw, BINDING_OCTETS);
	if (stream_bind(client, kind, &raw)) {
		coded = mem_alloc(text_base64_len(buf_len(&raw)) + 1);
		text_base64(coded, buf_data(&raw), buf_len(&raw));
	}
	buf_fini(&raw);
	return coded;
}

/* HMAC-SHA-256 of a use and the name. */
static void derive(const unsigned char key[EXCHANGE_KEY], const char *use, const char *name,
		   unsigned char out[EVP_MAX_MD_SIZE])
{
	char *text = text_printf_dup("%s\t%s", use, name);

	if (!HMAC(EVP_sha256(), key, EXCHANGE_KEY, (const unsigned char *)text, strlen(text), out,
		  NULL))
		abort(); /* SHA-256 is always there */
	free(text);
}

/* Finds what the client has to know; *unknown, which holds 64 octets, is filled for a client that
 * nobody knows. */
static int choose(struct scram *scram, const struct local_list *locals, char *unknown,
		  const char *name, const unsigned char key[EXCHANGE_KEY], int rounds)
{
	unsigned char made[EVP_MAX_MD_SIZE];
	bool is_sha_256 = !strncmp(scram->claim->mechanism, "SCRAM-SHA-256", 13);
	int which = -1;

	derive(key, "salt", name, made);
	text_base64(scram->salt, made, SALT);
	snprintf(scram->rounds, sizeof scram->rounds, "%d", is_sha_256 ? rounds : ROUNDS_SHA_1);
	for (size_t i = 0; locals && i < locals->count && which < 0; i++) {
		const char *secret = local_secret(locals->value[i]);
		scram->password = verify_plain(secret);
		if (scram->password || (is_sha_256 && verify_scram(secret, &scram->keys)))
			which = (int)i;
	}
	if (which >= 0 && !scram->password) {
		snprintf(scram->salt, sizeof scram->salt, "%s", scram->keys.salt);
		snprintf(scram->rounds, sizeof scram->rounds, "%d", scram->keys.rounds);
	}
	if (which < 0) {
		derive(key, "secret", name, made);
		text_base64(unknown, made, 32);
		scram->password = unknown;
	}
	mem_wipe(made, sizeof made);
	return which;
}

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
		wipe_property(scram->session, GSASL_SCRAM_STOREDKEY);
		wipe_property(scram->session, GSASL_SCRAM_SERVERKEY);
		gsasl_finish(scram->session);
	}
	if (scram->context)
		gsasl_done(scram->context);
	mem_wipe(&scram->keys, sizeof scram->keys);
	text_wipe_free(scram->exporter);
	text_wipe_free(scram->unique);
}

static struct err wrong(struct notice *why, const char *reason)
{
	snprintf(why->text, sizeof why->text, "%s", reason);
	return ERR(ERR_LOGIN, 0, "login refused");
}

static struct err judge(const struct scram *scram, int want, struct notice *why)
{
	if (scram->outcome == want)
		return OK;
	if (scram->outcome == GSASL_MALLOC_ERROR)
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	return wrong(why, scram->outcome == GSASL_AUTHENTICATION_ERROR
				  ? "wrong password"
				  : gsasl_strerror_name(scram->outcome));
}

/* Takes `heard` and says what comes of it to the client, whose answer is put into `answer`. */
static struct err step(struct scram *scram, const struct env *env, int want, struct notice *why,
		       struct buf *answer)
{
	const struct credential *claim = scram->claim;

	env->ops->offload(env, work_step, scram);
	struct err err = judge(scram, want, why);
	if (!err.kind)
		err = claim->ask(claim->arg, scram->said, scram->said_len, answer);
	if (scram->said)
		mem_wipe(scram->said, scram->said_len);
	gsasl_free(scram->said);
	scram->said = NULL;
	return err;
}

static struct err converse(struct scram *scram, const struct env *env, struct notice *why)
{
	struct buf answer;

	buf_init(&answer, FINAL_MAX);
	answer.is_secret = true;
	scram->heard = scram->claim->initial;
	scram->heard_len = strlen(scram->heard);
	struct err err = step(scram, env, GSASL_NEEDS_MORE, why, &answer);
	if (!err.kind) {
		scram->heard = buf_len(&answer) ? buf_data(&answer) : "";
		scram->heard_len = buf_len(&answer);
		/* What is heard must outlive the step, and is in the buffer of the next answer. */
		char *final = mem_dup(scram->heard, scram->heard_len);
		scram->heard = final;
		err = step(scram, env, GSASL_OK, why, &answer);
		mem_wipe(final, scram->heard_len);
		free(final);
	}
	if (!err.kind && buf_len(&answer))
		err = wrong(why, "the client has more to say than SCRAM has room for");
	buf_wipe(&answer);
	return err;
}

struct err exchange_scram(const struct env *env, const struct credential *claim, const char *name,
			  const struct local_list *locals, const unsigned char key[EXCHANGE_KEY],
			  int rounds, bool is_plus_offered, struct notice *why, int *which)
{
	struct scram scram = {.claim = claim};
	bool is_plus = strstr(claim->mechanism, "-PLUS") != NULL;
	char unknown[64] = "";

	*which = -1;
	if (*claim->initial == 'y' && is_plus_offered)
		return wrong(why, "the client was not told of -PLUS: somebody stands in between");
	if ((*claim->initial == 'p') != is_plus)
		return wrong(why, "the flag of channel binding does not fit the mechanism");
	*which = choose(&scram, locals, unknown, name, key, rounds);
	if (is_plus) {
		scram.exporter = binding_dup(claim->client, BINDING_TLS_EXPORTER);
		scram.unique = binding_dup(claim->client, BINDING_TLS_UNIQUE);
	}
	env->ops->offload(env, work_begin, &scram);
	struct err err = judge(&scram, GSASL_OK, why);
	if (!err.kind)
		err = converse(&scram, env, why);
	if (!err.kind && *which < 0)
		err = wrong(why, "no secret for this mechanism");
	scram_fini(&scram);
	mem_wipe(unknown, sizeof unknown);
	return err;
}
