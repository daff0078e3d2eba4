/* SPDX-License-Identifier: MIT */
/* imap_login.c - how a connection to an IMAP server is made: dial, TLS, greeting, STARTTLS, login. How
 * we prove who we are stands in imap_auth.c.
 *
 * The order is the safety: nothing is sent before the greeting, no credential before TLS stands,
 * and no capability is believed that was told before TLS or before the login. */
#include "upstream/imap_login.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/identity.h"
#include "upstream/imap_auth.h"
#include "upstream/imap_budget.h"
#include "upstream/imap_warm.h"

enum {
	STREAM_OCTETS = 2048, /* of each of libetpan's two buffers */
};

static void spend(struct imap_client *client, enum imap_phase phase, uint64_t since_ms)
{
	client->spent_ms[phase] += client->env->ops->now(client->env) - since_ms;
}

static struct err dial(struct imap_client *client, const struct upstream_conf *conf,
		       struct stream **out)
{
	const struct env *env = client->env;
	uint64_t now = env->ops->now(env), until;

	*out = NULL;
	until = imap_until(env, PHASE_CONNECT, client->until_ms);
	if (until <= now)
		return ERR(ERR_UPSTREAM, ETIMEDOUT, "the mail server took too long");
	TRY(env->ops->dial(env, conf->host, conf->port, conf->source, until - now, out));
	spend(client, PHASE_CONNECT, now);
	if (conf->tls != UPSTREAM_TLS)
		return OK;
	struct stream *plain = *out;
	now = env->ops->now(env);
	stream_limit(plain, imap_wait(PHASE_TLS), imap_until(env, PHASE_TLS, client->until_ms));
	struct err err = env->ops->secure(env, plain, &conf->tls_policy, out);
	spend(client, PHASE_TLS, now);
	return err;
}

/* Puts the doorman and libetpan over a stream, which is theirs in any case. */
static struct err set_up(struct imap_client *client, struct stream *stream)
{
	client->wire = imap_wire_new(stream, client->log);
	client->im = mailimap_new(0, NULL);
	if (!client->im)
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	client->im->imap_stream = mailstream_new(imap_wire_low(client->wire), STREAM_OCTETS);
	if (!client->im->imap_stream)
		return ERR(ERR_UPSTREAM, ENOMEM, "out of memory");
	return OK;
}

static struct err greet(struct imap_client *client)
{
	mailstream *stream = client->im->imap_stream;
	uint64_t began_ms = client->env->ops->now(client->env);

	imap_limit(client, PHASE_GREETING);
	/* Looked at before libetpan parses it: libetpan leaks the greetings that we refuse. */
	if (mailstream_feed_read_buffer(stream) <= 0)
		return imap_lost(client, EIO);
	spend(client, PHASE_GREETING, began_ms);
	const struct wire_status *greeting = imap_wire_status(client->wire);
	if (greeting->outcome == WIRE_BYE || imap_wire_bye(client->wire)->outcome == WIRE_BYE)
		return ERR(ERR_UPSTREAM, 0, "the mail server turned us away");
	/* PREAUTH does not tell whose mailbox it is, and under STARTTLS it is an attack (B-14). */
	if (greeting->outcome == WIRE_PREAUTH)
		return ERR(ERR_POLICY, 0, "the mail server skips the login");
	if (mailimap_connect(client->im, stream) != MAILIMAP_NO_ERROR_NON_AUTHENTICATED ||
	    imap_wire_status(client->wire)->outcome != WIRE_OK)
		return imap_lost(client, EPROTO);
	return OK;
}

static struct err start_tls(struct imap_client *client, const struct upstream_conf *conf)
{
	int tag;

	if (!(client->caps & CAP_STARTTLS))
		return ERR(ERR_POLICY, 0, "the mail server offers no STARTTLS");
	TRY(imap_send(client, &tag, "STARTTLS"));
	TRY(imap_receive(client, PHASE_TLS, tag));
	if (!imap_was(client, WIRE_OK))
		return ERR(ERR_POLICY, 0, "the mail server refused STARTTLS");
	if (client->im->imap_stream->read_buffer_len) {
		imap_client_kill(client);
		return ERR(ERR_UPSTREAM, EPROTO, "the mail server spoke before TLS stood");
	}
	imap_limit(client, PHASE_TLS);
	uint64_t began_ms = client->env->ops->now(client->env);
	TRY(imap_wire_secure(client->wire, client->env, &conf->tls_policy));
	spend(client, PHASE_TLS, began_ms);
	imap_caps_forget(client);
	return OK;
}

void imap_client_why(const struct imap_client *client, struct notice *why)
{
	if (!why || !client->wire)
		return;
	const char *words = imap_wire_alert(client->wire);
	if (!*words)
		words = imap_wire_bye(client->wire)->text;
	if (!*words && client->is_unserved) {
		size_t used = (size_t)snprintf(why->text, sizeof why->text, "it offers ");
		imap_auth_offers(client, why->text + used, sizeof why->text - used);
		return;
	}
	size_t len = strnlen(words, sizeof why->text - 1);
	memcpy(why->text, words, len);
	why->text[len] = '\0';
}

static struct err open_once(struct imap_client *client, const struct upstream_conf *conf,
			    const struct login *login)
{
	struct stream *stream;

	client->is_greeted = client->is_refused = client->is_unserved = client->has_flown = false;
	if (client->flight)
		client->flight->tag = 0;
	TRY(dial(client, conf, &stream));
	TRY(set_up(client, stream));
	TRY(greet(client));
	client->is_greeted = true;
	client->opening_trips = conf->tls == UPSTREAM_CLEAR ? 2 : 3;
	imap_flight_recall(client, conf);
	if (conf->tls == UPSTREAM_STARTTLS) {
		TRY(imap_caps_learn(client));
		TRY(start_tls(client, conf));
	}
	if (client->is_known && !*imap_wire_capabilities(client->wire))
		client->caps = client->memo.offered;
	TRY(imap_caps_learn(client));
	bool had_id = client->caps & CAP_ID;
	TRY(imap_auth_log_in(client, conf, login));
	client->im->imap_state = MAILIMAP_STATE_AUTHENTICATED;
	return imap_caps_settle(client, had_id);
}

/* A server may break on a TLS session that we have kept: then once more, without. */
static struct err open_all(struct imap_client *client, const struct upstream_conf *conf,
			   const struct login *login)
{
	struct err err = open_once(client, conf, login);

	if (err.kind != ERR_UPSTREAM || err.code != ESTALE)
		return err;
	imap_drop(client);
	return open_once(client, conf, login);
}

/* What a failed attempt tells (H-07). Faults that the operator or the client must mend, and a
 * certificate that is not good, are no trouble that passes by waiting. */
static enum health_event event_of(const struct imap_client *client, struct err err)
{
	if (!client->is_greeted)
		return err.kind == ERR_POLICY ? HEALTH_GREETED : HEALTH_NO_GREETING;
	switch (err.kind) {
	case ERR_LOGIN:
		return HEALTH_CLIENT;
	case ERR_CLIENT: /* in the midst of a relay */
	case ERR_REFUSED:
		return HEALTH_GREETED;
	case ERR_POLICY:
		return client->is_refused ? HEALTH_CREDENTIAL : HEALTH_GREETED;
	case ERR_IN_USE:
		return HEALTH_GREETED;
	default:
		break;
	}
	bool is_throttled = imap_trouble_of(imap_wire_bye(client->wire)) == TROUBLE_THROTTLED ||
			    imap_trouble_of(imap_wire_status(client->wire)) == TROUBLE_THROTTLED;
	return is_throttled ? HEALTH_THROTTLED : HEALTH_FAILED;
}

/* A stored secret is part of the account: once it was mended in the map it is tried at once. */
void imap_client_name(struct imap_client *client, const struct login *login)
{
	char secret[36] = ""; /* as much as identity_of_name() needs */

	/* Each refused token is followed by another one: they shall count as one. */
	if (login->is_stored && login->kind == LOGIN_TOKEN)
		strcpy(secret, "oauth");
	else if (login->is_stored)
		identity_of_name(secret, login->password);
	/* A few characters of the hash tell secrets apart and give none away. */
	free(client->account);
	client->account = client->health ? text_printf_dup("%s\t%.6s", login->user, secret) : NULL;
	mem_wipe(secret, sizeof secret);
}

void imap_client_unname(struct imap_client *client)
{
	free(client->account);
	client->account = NULL;
	client->is_asked = client->is_throttled = false;
}

/* Asks whether the server may be troubled. */
static struct err ask_health(struct imap_client *client, const struct upstream_conf *conf,
			     const struct login *login)
{
	if (!conf->health)
		return OK;
	imap_client_name(client, login);
	struct err err =
		health_ask(conf->health, client->env, conf->host, conf->port, client->account);
	client->is_asked = !err.kind;
	return err;
}

/* Another token for the one that was refused, once, and a connection for it (J-10). *is_provider: it is
 * the token's provider that has failed. */
static struct err renew(struct imap_client *client, const struct upstream_conf *conf,
			struct login *login, struct err refusal, bool *is_provider)
{
	log_err(client->log, LEVEL_NOTE, "imap-token-renewed", refusal);
	struct err err = login->renew(login, client->env, true);
	*is_provider = err.kind != ERR_NONE;
	if (err.kind)
		return err;
	imap_drop(client);
	return open_all(client, conf, login);
}

/* All attempts there are. */
static struct err try_all(struct imap_client *client, const struct upstream_conf *conf,
			  struct login *login, bool *is_provider)
{
	struct err err = open_all(client, conf, login);

	if (err.kind && client->wire && login->kind != LOGIN_RELAY &&
	    imap_is_half_login(imap_wire_status(client->wire))) {
		LOG(client->log, LEVEL_NOTE, "imap-half-login");
		imap_drop(client);
		err = open_all(client, conf, login);
	}
	/* Lost without a word on the login: perhaps it cannot listen to all that at once. */
	if (err.kind == ERR_UPSTREAM && client->has_flown && !imap_client_is_alive(client))
		imap_flight_lost(client);
	if (client->is_deaf && client->has_flown) {
		imap_drop(client);
		err = open_all(client, conf, login);
	}
	if (client->is_refused && login->renew)
		err = renew(client, conf, login, err, is_provider);
	if (client->is_refused && !*is_provider)
		log_err(client->log, LEVEL_ALARM, "stored-login-refused", err);
	return err;
}

struct err imap_client_open(struct imap_client *client, const struct env *env,
			    const struct log *log, const struct upstream_conf *conf,
			    struct login *login, struct notice *why)
{
	bool is_provider = false;

	*client = (struct imap_client){
		.env = env,
		.log = log,
		.until_ms = client->until_ms,
		.is_stored = login->is_stored,
		.given = conf->quirks,
		.health = conf->health,
		.host = conf->host,
		.port = conf->port,
		.memos = conf->memos,
		.flight = client->flight,
		.is_deaf = client->is_deaf,
	};
	struct err err = imap_auth_check(login);
	if (!err.kind)
		err = imap_budget_enter(client, conf, login);
	if (!err.kind)
		err = ask_health(client, conf, login);
	if (!err.kind)
		err = try_all(client, conf, login, &is_provider);
	bool is_in = !err.kind;
	if (is_in)
		err = imap_budget_prove(client, conf, login);
	if (!err.kind)
		return OK;
	imap_client_why(client, why);
	log_err(log, LEVEL_NOTE, "imap-open-failed", err);
	enum health_event event = is_provider || is_in ? HEALTH_GREETED : event_of(client, err);
	if (event == HEALTH_FAILED || event == HEALTH_THROTTLED || event == HEALTH_CREDENTIAL)
		imap_warm_doubt(conf->warm, conf);
	if (client->is_asked)
		imap_client_report(client, event);
	free(client->account); /* all is told */
	client->account = NULL;
	imap_client_close(client);
	return err;
}
