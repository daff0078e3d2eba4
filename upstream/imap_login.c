/* SPDX-License-Identifier: MIT */
/* imap_login.c - how a connection to an IMAP server is made: dial, TLS, greeting, STARTTLS, login.
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
#include "upstream/imap_name.h"

enum {
	STREAM_OCTETS = 2048,     /* of each of libetpan's two buffers */
	CREDENTIAL_OCTETS = 6000, /* a name and a password as they are sent */
	CHATTER = 100,            /* most untagged lines before the "+" of AUTHENTICATE */
};

struct err imap_client_check(const struct login *login)
{
	if (!login->user || !login->password)
		return ERR(ERR_POLICY, 0, "no name and password for the mail server");
	if (!imap_has_line_end(login->user) && !imap_has_line_end(login->password))
		return OK;
	if (login->is_stored)
		return ERR(ERR_POLICY, 0, "the stored credential holds a line end");
	return ERR(ERR_LOGIN, 0, "the credential holds a line end");
}

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

/* AUTHENTICATE without an initial response: the "+" must be seen before libetpan swallows it. */
static struct err answer_challenge(struct imap_client *client, int tag, const struct buf *answer)
{
	mailimap *im = client->im;
	int lines = 0;

	TRY(imap_await(client, PHASE_LOGIN, tag));
	while (im->imap_stream_buffer->str[0] == '*') {
		if (++lines > CHATTER || !mailimap_read_line(im)) {
			imap_client_kill(client);
			return imap_lost(client, EPROTO);
		}
	}
	if (im->imap_stream_buffer->str[0] != '+')
		return imap_parse(client, tag);
	if (mailstream_write(im->imap_stream, buf_data(answer), buf_len(answer)) == -1 ||
	    mailstream_write(im->imap_stream, "\r\n", 2) == -1) {
		imap_client_kill(client);
		return imap_lost(client, EIO);
	}
	return imap_receive(client, PHASE_LOGIN, tag);
}

/* Buffers for credentials overwrite all they ever held. */
static void secret_init(struct buf *buf)
{
	buf_init(buf, CREDENTIAL_OCTETS);
	buf->is_secret = true;
}

/* Appends base64 of NUL user NUL password (RFC 4616). */
static bool put_plain(struct buf *out, const struct login *login)
{
	size_t user_len = strlen(login->user), password_len = strlen(login->password);
	size_t len = user_len + password_len + 2, coded = text_base64_len(len);
	struct buf raw;
	bool is_good;

	secret_init(&raw);
	is_good = buf_put(&raw, "", 1) && buf_put(&raw, login->user, user_len) &&
		  buf_put(&raw, "", 1) && buf_put(&raw, login->password, password_len);
	char *room = is_good ? buf_room(out, coded + 1) : NULL;
	if (room) {
		text_base64(room, buf_data(&raw), len);
		buf_added(out, coded);
	}
	buf_wipe(&raw);
	return room != NULL;
}

static const struct err too_long = {ERR_POLICY, E2BIG, "the credential is too long"};

static struct err authenticate(struct imap_client *client, const struct login *login,
			       bool is_one_line)
{
	static const char command[] = "AUTHENTICATE PLAIN ";
	struct err err = too_long;
	struct buf line;
	int tag;

	secret_init(&line);
	if ((is_one_line && !buf_put(&line, command, sizeof command - 1)) ||
	    !put_plain(&line, login))
		goto out;
	err = is_one_line ? imap_send_line(client, &tag, &line)
			  : imap_send(client, &tag, "AUTHENTICATE PLAIN");
	if (!err.kind)
		err = is_one_line ? imap_receive(client, PHASE_LOGIN, tag)
				  : answer_challenge(client, tag, &line);
out:
	buf_wipe(&line);
	return err;
}

static struct err login_command(struct imap_client *client, const struct login *login)
{
	struct err err = too_long;
	struct buf line;
	int tag;

	secret_init(&line);
	if (buf_put(&line, "LOGIN ", 6) && imap_quote(&line, login->user) &&
	    buf_put(&line, " ", 1) && imap_quote(&line, login->password))
		err = imap_send_line(client, &tag, &line);
	buf_wipe(&line);
	if (!err.kind)
		err = imap_receive(client, PHASE_LOGIN, tag);
	return err;
}

/* One round trip by LOGIN is the usual way (M-13); 8-bit credentials and LOGINDISABLED take
 * AUTHENTICATE (B-16, B-17). */
static struct err log_in(struct imap_client *client, const struct upstream_conf *conf,
			 const struct login *login)
{
	bool is_plain = imap_is_quotable(login->user) && imap_is_quotable(login->password);

	if ((client->caps & CAP_LOGINDISABLED) && conf->tls == UPSTREAM_CLEAR)
		return ERR(ERR_POLICY, 0, "the mail server allows no login in clear");
	bool may_login = is_plain && !(client->caps & CAP_LOGINDISABLED);
	if (!may_login && !(client->caps & CAP_AUTH_PLAIN))
		return ERR(ERR_POLICY, 0, "the mail server offers no way to log in that we have");
	bool has_sasl_ir = client->caps & CAP_SASL_IR;
	imap_caps_forget(client); /* what is told from the login on is in libetpan's list */
	client->secret = login->password;
	struct err err =
		may_login ? login_command(client, login) : authenticate(client, login, has_sasl_ir);
	if (!err.kind) {
		err = imap_outcome(client, PHASE_LOGIN);
		client->is_refused = err.kind == ERR_POLICY && client->is_stored;
	}
	client->secret = NULL;
	if (client->is_refused)
		log_err(client->log, LEVEL_ALARM, "stored-login-refused", err);
	return err;
}

void imap_client_why(const struct imap_client *client, struct notice *why)
{
	if (!why || !client->wire)
		return;
	const char *words = imap_wire_alert(client->wire);
	if (!*words)
		words = imap_wire_bye(client->wire)->text;
	size_t len = strnlen(words, sizeof why->text - 1);
	memcpy(why->text, words, len);
	why->text[len] = '\0';
}

static struct err open_all(struct imap_client *client, const struct upstream_conf *conf,
			   const struct login *login)
{
	struct stream *stream;

	client->is_greeted = client->is_refused = false;
	TRY(dial(client, conf, &stream));
	TRY(set_up(client, stream));
	TRY(greet(client));
	client->is_greeted = true;
	if (conf->tls == UPSTREAM_STARTTLS) {
		TRY(imap_caps_learn(client));
		TRY(start_tls(client, conf));
	}
	TRY(imap_caps_learn(client));
	bool had_id = client->caps & CAP_ID;
	TRY(log_in(client, conf, login));
	client->im->imap_state = MAILIMAP_STATE_AUTHENTICATED;
	return imap_caps_settle(client, had_id);
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

/* Asks whether the server may be troubled. A stored secret is part of the account: once it was
 * mended in the map it is tried at once. */
static struct err ask_health(struct imap_client *client, const struct upstream_conf *conf,
			     const struct login *login)
{
	char secret[36] = ""; /* as much as identity_of_name() needs */

	if (!conf->health)
		return OK;
	if (login->is_stored)
		identity_of_name(secret, login->password);
	/* A few characters of the hash tell secrets apart and give none away. */
	client->account = text_printf_dup("%s\t%.6s", login->user, secret);
	mem_wipe(secret, sizeof secret);
	struct err err =
		health_ask(conf->health, client->env, conf->host, conf->port, client->account);
	client->is_asked = !err.kind;
	return err;
}

struct err imap_client_open(struct imap_client *client, const struct env *env,
			    const struct log *log, const struct upstream_conf *conf,
			    const struct login *login, struct notice *why)
{
	*client = (struct imap_client){
		.env = env,
		.log = log,
		.until_ms = client->until_ms,
		.is_stored = login->is_stored,
		.given = conf->quirks,
		.health = conf->health,
		.host = conf->host,
		.port = conf->port,
	};
	struct err err = imap_client_check(login);
	if (!err.kind)
		err = ask_health(client, conf, login);
	if (!err.kind)
		err = open_all(client, conf, login);
	if (err.kind && client->wire && imap_is_half_login(imap_wire_status(client->wire))) {
		LOG(log, LEVEL_NOTE, "imap-half-login");
		imap_drop(client);
		err = open_all(client, conf, login);
	}
	if (!err.kind)
		return OK;
	imap_client_why(client, why);
	log_err(log, LEVEL_NOTE, "imap-open-failed", err);
	if (client->is_asked)
		imap_client_report(client, event_of(client, err));
	free(client->account); /* all is told */
	client->account = NULL;
	imap_client_close(client);
	return err;
}
