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

static const struct {
	const char *name;
	unsigned cap;
} known[] = {
	{"IMAP4rev1", CAP_IMAP4REV1},     {"IMAP4rev2", CAP_IMAP4REV2},
	{"STARTTLS", CAP_STARTTLS},       {"LOGINDISABLED", CAP_LOGINDISABLED},
	{"SASL-IR", CAP_SASL_IR},         {"UIDPLUS", CAP_UIDPLUS},
	{"SPECIAL-USE", CAP_SPECIAL_USE}, {"LIST-EXTENDED", CAP_LIST_EXTENDED},
};

static unsigned cap_of(const struct mailimap_capability *capability)
{
	const char *name = capability->cap_data.cap_name;

	if (!name)
		return 0;
	if (capability->cap_type == MAILIMAP_CAPABILITY_AUTH_TYPE)
		return text_same(name, "PLAIN") ? CAP_AUTH_PLAIN : 0;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (text_same(name, known[i].name))
			return known[i].cap;
	return 0;
}

/* Frees libetpan's list of what the server told. */
static void forget_told(struct imap_client *client)
{
	struct mailimap_connection_info *info = client->im->imap_connection_info;

	if (info && info->imap_capability)
		mailimap_capability_data_free(info->imap_capability);
	if (info)
		info->imap_capability = NULL;
}

/* Makes bits of what libetpan collected, if it did, and frees that. */
static void take_caps(struct imap_client *client)
{
	struct mailimap_connection_info *info = client->im->imap_connection_info;
	unsigned caps = CAP_KNOWN;

	if (!info || !info->imap_capability || !info->imap_capability->cap_list)
		return;
	for (clistiter *at = clist_begin(info->imap_capability->cap_list); at; at = clist_next(at))
		caps |= cap_of(clist_content(at));
	forget_told(client);
	client->caps = caps;
}

/* Asks for the capabilities unless they were told. A server that tells none has none. */
static struct err learn_caps(struct imap_client *client)
{
	take_caps(client);
	if (client->caps)
		return OK;
	TRY(imap_command(client, PHASE_GREETING, "CAPABILITY"));
	take_caps(client);
	client->caps |= CAP_KNOWN;
	imap_client_trim(client);
	return OK;
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
	if (conf->tls != UPSTREAM_TLS)
		return OK;
	struct stream *plain = *out;
	stream_limit(plain, imap_wait(PHASE_TLS), imap_until(env, PHASE_TLS, client->until_ms));
	return env->ops->secure(env, plain, &conf->tls_policy, out);
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

	imap_limit(client, PHASE_GREETING);
	/* Looked at before libetpan parses it: libetpan leaks the greetings that we refuse. */
	if (mailstream_feed_read_buffer(stream) <= 0)
		return imap_lost(client, EIO);
	const struct wire_status *greeting = imap_wire_status(client->wire);
	if (greeting->outcome == WIRE_BYE || imap_wire_bye(client->wire)->outcome == WIRE_BYE)
		return ERR(ERR_UPSTREAM, 0, "the mail server turned us away");
	/* PREAUTH does not tell whose mailbox it is, and under STARTTLS it is an attack (B-14). */
	if (greeting->outcome == WIRE_PREAUTH)
		return ERR(ERR_POLICY, 0, "the mail server skips the login");
	if (mailimap_connect(client->im, stream) != MAILIMAP_NO_ERROR_NON_AUTHENTICATED ||
	    imap_wire_status(client->wire)->outcome != WIRE_OK)
		return imap_lost(client, EPROTO);
	client->is_courier = strstr(imap_wire_status(client->wire)->text, "Courier") != NULL;
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
	TRY(imap_wire_secure(client->wire, client->env, &conf->tls_policy));
	forget_told(client);
	client->caps = 0;
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

static struct err authenticate(struct imap_client *client, const struct login *login)
{
	static const char command[] = "AUTHENTICATE PLAIN ";
	bool is_one_line = client->caps & CAP_SASL_IR;
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
	forget_told(client);
	struct err err = may_login ? login_command(client, login) : authenticate(client, login);
	client->caps = 0; /* what is told from the login on is in libetpan's list */
	client->secret = login->password;
	if (!err.kind)
		err = imap_outcome(client, PHASE_LOGIN);
	client->secret = NULL;
	if (err.kind == ERR_POLICY && client->is_stored)
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

	TRY(dial(client, conf, &stream));
	TRY(set_up(client, stream));
	TRY(greet(client));
	if (conf->tls == UPSTREAM_STARTTLS) {
		TRY(learn_caps(client));
		TRY(start_tls(client, conf));
	}
	TRY(learn_caps(client));
	TRY(log_in(client, conf, login));
	client->im->imap_state = MAILIMAP_STATE_AUTHENTICATED;
	TRY(learn_caps(client));
	imap_client_trim(client);
	return OK;
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
	};
	struct err err = imap_client_check(login);
	if (!err.kind)
		err = open_all(client, conf, login);
	if (!err.kind)
		return OK;
	imap_client_why(client, why);
	log_err(log, LEVEL_NOTE, "imap-open-failed", err);
	imap_client_close(client);
	return err;
}
