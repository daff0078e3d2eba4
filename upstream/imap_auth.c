/* SPDX-License-Identifier: MIT */
/* imap_auth.c - which mechanism is taken, the frame of all SASL exchanges (RFC 9051 section 6.2.2, RFC
 * 4959), and the mechanisms that are said in one breath.
 *
 * Without auth= the table's order counts. Under TLS the LOGIN command comes before SCRAM: the server is
 * known by its certificate by then, and SCRAM would cost each login two flights more and both sides some
 * thousand rounds of a hash (M-13). In clear what shows no secret comes first. XOAUTH2 comes before
 * OAUTHBEARER because it is what the large providers document and test; who offers both means the same
 * by both. A secret is never shown because another mechanism has failed: there is one try.
 */
#include "upstream/imap_auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/imap_auth_list.h"
#include "upstream/imap_name.h"

enum {
	SECRET_OCTETS =
		24000,       /* most of an answer before it is encoded: a token is 16384 at most */
	LINE_OCTETS = 34000, /* and after it */
	IR_LINE = 8000, /* a longer line, without its tag, waits for the "+" (RFC 4959 section 3) */
};

#define PASSWORD (1U << LOGIN_PASSWORD)
#define TOKEN (1U << LOGIN_TOKEN)
#define CERTIFICATE (1U << LOGIN_CERTIFICATE)

enum trait {
	IS_LOGIN = 1,     /* the command, not a mechanism */
	SHOWS_SECRET = 2, /* to whoever can listen */
	HAS_AUTHZID = 4,  /* so that one may act for another (J-11) */
	IS_PLUS = 8,      /* needs a channel binding */
	NEEDS_TLS = 16,
	IS_SCRAM = 32,
};

struct imap_mechanism {
	const char *name; /* on the wire, and case-blind in auth= */
	unsigned cap;     /* 0: LOGIN */
	unsigned kinds;
	unsigned traits;
	struct err (*run)(struct imap_exchange *);
};

static struct err run_login(struct imap_exchange *) MUST_USE;
static struct err run_plain(struct imap_exchange *) MUST_USE;
static struct err run_external(struct imap_exchange *) MUST_USE;

/* In the order of preference. */
static const struct imap_mechanism mechanisms[] = {
	{"EXTERNAL", CAP_AUTH_EXTERNAL, CERTIFICATE, NEEDS_TLS | HAS_AUTHZID, run_external},
	{"XOAUTH2", CAP_AUTH_XOAUTH2, TOKEN, SHOWS_SECRET, imap_auth_token},
	{"OAUTHBEARER", CAP_AUTH_OAUTHBEARER, TOKEN, SHOWS_SECRET, imap_auth_token},
	{"LOGIN", 0, PASSWORD, IS_LOGIN | SHOWS_SECRET, run_login},
	{"PLAIN", CAP_AUTH_PLAIN, PASSWORD, SHOWS_SECRET | HAS_AUTHZID, run_plain},
	{"SCRAM-SHA-256-PLUS", CAP_AUTH_SCRAM_256_PLUS, PASSWORD, IS_SCRAM | IS_PLUS | HAS_AUTHZID,
	 imap_auth_scram},
	{"SCRAM-SHA-256", CAP_AUTH_SCRAM_256, PASSWORD, IS_SCRAM | HAS_AUTHZID, imap_auth_scram},
	{"SCRAM-SHA-1-PLUS", CAP_AUTH_SCRAM_1_PLUS, PASSWORD, IS_SCRAM | IS_PLUS | HAS_AUTHZID,
	 imap_auth_scram},
	{"SCRAM-SHA-1", CAP_AUTH_SCRAM_1, PASSWORD, IS_SCRAM | HAS_AUTHZID, imap_auth_scram},
};
enum { MECHANISMS = sizeof mechanisms / sizeof *mechanisms };

/* --- names -------------------------------------------------------------------------------- */

static const struct imap_mechanism *named(const char *name, size_t len)
{
	for (size_t i = 0; i < MECHANISMS; i++)
		if (text_same_n(name, len, mechanisms[i].name, strlen(mechanisms[i].name)))
			return &mechanisms[i];
	return NULL;
}

const char *imap_auth_refusal(const char *list)
{
	for (const char *at = list;; at++) {
		size_t len = strcspn(at, ",");
		if (!named(at, len))
			return "not a list of external, xoauth2, oauthbearer, login, plain, "
			       "scram-sha-256-plus, scram-sha-256, scram-sha-1-plus, scram-sha-1";
		at += len;
		if (!*at)
			return NULL;
	}
}

bool imap_auth_names(const char *list, const char *name)
{
	for (size_t len; *list; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		if (text_same_n(list, len, name, strlen(name)))
			return true;
	}
	return false;
}

bool imap_auth_serves(const char *list, enum login_kind kind, bool for_other)
{
	for (size_t len; *list; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		const struct imap_mechanism *mechanism = named(list, len);
		if (mechanism && (mechanism->kinds & 1U << kind) &&
		    (!for_other || (mechanism->traits & HAS_AUTHZID)))
			return true;
	}
	return false;
}

void imap_auth_offers(const struct imap_client *client, char *out, size_t size)
{
	static const char prefix[] = "AUTH=";
	size_t used = 0;

	*out = '\0';
	if (!(client->offered & CAP_LOGINDISABLED))
		used = (size_t)snprintf(out, size, "LOGIN");
	for (const char *at = imap_wire_capabilities(client->wire); *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");
		if (len > 5 && text_same_n(at, 5, prefix, 5) && used + len < size)
			used += (size_t)snprintf(out + used, size - used, "%s%.*s", used ? " " : "",
						 (int)(len - 5), at + 5);
		at += len;
	}
}

/* --- what can be sent --------------------------------------------------------------------- */

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

struct err imap_auth_check(const struct login *login)
{
	const char *wrong = NULL;

	if (!login->user || !login->password)
		return ERR(ERR_POLICY, 0, "no name and password for the mail server");
	if (login->kind == LOGIN_RELAY && (!login->ask || !login->initial || !login->mechanism))
		return ERR(ERR_UPSTREAM, ENOTCONN,
			   "the client's own proof cannot be given a second time");
	if (login->kind == LOGIN_RELAY)
		return imap_auth_relay_check(login);
	if (imap_has_line_end(login->user) || imap_has_line_end(login->password) ||
	    (login->master && imap_has_line_end(login->master)))
		wrong = login->is_stored ? "the stored credential holds a line end"
					 : "the credential holds a line end";
	/* \001 divides what is said, and nothing in a token or a name of OAuth is a control. */
	else if (login->kind == LOGIN_TOKEN &&
		 (has_control(login->user) || has_control(login->password)))
		wrong = "the token or its user holds a control character";
	if (!wrong)
		return OK;
	return (struct err){login->is_stored ? ERR_POLICY : ERR_LOGIN, 0, wrong};
}

/* --- which one ---------------------------------------------------------------------------- */

static bool can_bind(const struct imap_client *client)
{
	struct buf buf;

	buf_init(&buf, 256);
	bool is_bound = imap_wire_bind(client->wire, BINDING_TLS_EXPORTER, &buf) ||
			imap_wire_bind(client->wire, BINDING_TLS_UNIQUE, &buf);
	buf_fini(&buf);
	return is_bound;
}

/* What the server and the credential permit; whether it is wise is not asked here. */
static bool can_use(const struct imap_client *client, const struct upstream_conf *conf,
		    const struct login *login, const struct imap_mechanism *mechanism)
{
	bool is_clear = conf->tls == UPSTREAM_CLEAR;
	bool is_login = mechanism->traits & IS_LOGIN;
	unsigned kinds = 1U << login->kind;

	/* The certificate of an entry that has a password too. */
	if (login->kind == LOGIN_CERTIFICATE && *login->password)
		kinds |= PASSWORD;
	if (!(mechanism->kinds & kinds))
		return false;
	if (is_login ? client->caps & CAP_LOGINDISABLED : !(client->caps & mechanism->cap))
		return false;
	/* LOGINDISABLED means the secret, not the command (B-16). */
	if (is_clear && ((mechanism->traits & NEEDS_TLS) || ((mechanism->traits & SHOWS_SECRET) &&
							     (client->caps & CAP_LOGINDISABLED))))
		return false;
	if (is_login && !(imap_is_quotable(login->user) && imap_is_quotable(login->password)))
		return false; /* B-17 */
	if (login->master && !(mechanism->traits & HAS_AUTHZID))
		return false;
	return !(mechanism->traits & IS_PLUS) || can_bind(client);
}

static const struct imap_mechanism *choose_pinned(const struct imap_client *client,
						  const struct upstream_conf *conf,
						  const struct login *login)
{
	for (const char *at = conf->auth; *at;) {
		size_t len = strcspn(at, ",");
		const struct imap_mechanism *mechanism = named(at, len);
		if (mechanism && can_use(client, conf, login, mechanism))
			return mechanism;
		at += len + (at[len] == ',');
	}
	return NULL;
}

static const struct imap_mechanism *choose_best(const struct imap_client *client,
						const struct upstream_conf *conf,
						const struct login *login)
{
	for (int pass = conf->tls != UPSTREAM_CLEAR; pass < 2; pass++)
		for (size_t i = 0; i < MECHANISMS; i++)
			if ((pass || !(mechanisms[i].traits & SHOWS_SECRET)) &&
			    can_use(client, conf, login, &mechanisms[i]))
				return &mechanisms[i];
	return NULL;
}

/* The client has chosen; -PLUS is bound to its connection with us (J-07). */
static const struct imap_mechanism *choose_relayed(const struct imap_client *client,
						   const struct upstream_conf *conf,
						   const struct login *login)
{
	const struct imap_mechanism *mechanism = named(login->mechanism, strlen(login->mechanism));

	if (!mechanism || (mechanism->traits & (IS_SCRAM | IS_PLUS)) != IS_SCRAM ||
	    !(client->caps & mechanism->cap))
		return NULL;
	return conf->auth && !imap_auth_names(conf->auth, mechanism->name) ? NULL : mechanism;
}

static struct err no_mechanism(struct imap_client *client, const struct upstream_conf *conf,
			       const struct login *login)
{
	char offers[200];

	client->is_unserved = true;
	imap_auth_offers(client, offers, sizeof offers);
	LOG(client->log, LEVEL_WARN, "imap-no-mechanism",
	    log_text("auth", conf->auth ? conf->auth : ""), log_text("offers", offers));
	if (login->kind == LOGIN_RELAY)
		return ERR(ERR_POLICY, 0, "the mail server does not offer the client's mechanism");
	if (conf->auth)
		return ERR(ERR_POLICY, 0, "the mail server offers no mechanism of auth=");
	if ((client->caps & CAP_LOGINDISABLED) && conf->tls == UPSTREAM_CLEAR)
		return ERR(ERR_POLICY, 0, "the mail server allows no login in clear");
	return ERR(ERR_POLICY, 0, "the mail server offers no way to log in that we have");
}

/* --- the frame ---------------------------------------------------------------------------- */

static const struct err too_long = {ERR_POLICY, E2BIG, "the credential is too long"};

/* Buffers for credentials overwrite all they ever held. */
static void secret_init(struct buf *buf, size_t max)
{
	buf_init(buf, max);
	buf->is_secret = true;
}

static bool put_base64(struct buf *out, const struct buf *raw)
{
	size_t coded = text_base64_len(buf_len(raw));
	char *room = coded ? buf_room(out, coded + 1) : NULL;

	if (room) {
		text_base64(room, buf_data(raw), buf_len(raw));
		buf_added(out, coded);
	}
	return room || !coded;
}

/* The challenge's base64 into `challenge`. */
static bool decode(struct imap_exchange *exchange)
{
	size_t len, decoded = 0;
	const char *text = imap_wire_challenge(exchange->client->wire, &len);

	buf_drop(&exchange->challenge, buf_len(&exchange->challenge));
	if (!len)
		return true;
	char *room = buf_room(&exchange->challenge, len);
	if (!room || !text_unbase64(room, &decoded, text, len))
		return false;
	buf_added(&exchange->challenge, decoded);
	return true;
}

static struct err hear(struct imap_exchange *exchange)
{
	TRY(imap_receive(exchange->client, PHASE_LOGIN, exchange->tag));
	exchange->is_done = !imap_was(exchange->client, WIRE_CONTINUE);
	return OK;
}

static struct err hear_challenge(struct imap_exchange *exchange)
{
	TRY(hear(exchange));
	if (exchange->is_done || decode(exchange))
		return OK;
	return imap_auth_cancel(
		exchange, ERR(ERR_UPSTREAM, EPROTO, "the mail server's challenge is not base64"));
}

/* A line without a tag. */
static struct err say(struct imap_client *client, const struct buf *line)
{
	mailstream *stream = client->im->imap_stream;

	if (!imap_client_is_alive(client))
		return imap_lost(client, ENOTCONN);
	if ((!buf_len(line) || mailstream_write(stream, buf_data(line), buf_len(line)) != -1) &&
	    mailstream_write(stream, "\r\n", 2) != -1)
		return OK;
	imap_client_kill(client);
	return imap_lost(client, EIO);
}

struct err imap_auth_answer(struct imap_exchange *exchange)
{
	struct err err = too_long;
	struct buf line;

	secret_init(&line, LINE_OCTETS);
	if (put_base64(&line, &exchange->answer))
		err = say(exchange->client, &line);
	buf_wipe(&line);
	if (!err.kind)
		err = hear_challenge(exchange);
	return err;
}

struct err imap_auth_cancel(struct imap_exchange *exchange, struct err err)
{
	struct imap_client *client = exchange->client;
	struct buf line;

	buf_init(&line, 1);
	struct err lost = buf_put(&line, "*", 1) ? say(client, &line) : too_long;
	buf_fini(&line);
	if (!lost.kind)
		lost = hear(exchange);
	/* Who asks on does not know what "*" is; and a login that we gave up is none. */
	if (!lost.kind && (!exchange->is_done || imap_was(client, WIRE_OK)))
		imap_client_kill(client);
	return err;
}

struct err imap_auth_begin(struct imap_exchange *exchange)
{
	struct imap_client *client = exchange->client;
	struct err err = too_long;
	struct buf line;

	secret_init(&line, LINE_OCTETS);
	if (!buf_printf(&line, "AUTHENTICATE %s", exchange->sasl))
		goto out;
	size_t bare = buf_len(&line);
	bool is_one_line = exchange->has_ir &&
			   bare + 1 + text_base64_len(buf_len(&exchange->answer)) <= IR_LINE;
	/* "=" is an answer of no octets, which none is not (RFC 4959 section 3). */
	if (is_one_line && (!buf_put(&line, " ", 1) || !put_base64(&line, &exchange->answer) ||
			    (!buf_len(&exchange->answer) && !buf_put(&line, "=", 1))))
		goto out;
	imap_wire_expect_challenges(client->wire);
	err = imap_send_line(client, &exchange->tag, &line);
	if (!err.kind && is_one_line && exchange->may_follow)
		imap_flight_send(client);
	/* The first "+" only says that it is our turn: whatever else it says. */
	if (!err.kind)
		err = is_one_line ? hear_challenge(exchange) : hear(exchange);
	if (!err.kind && !is_one_line && !exchange->is_done)
		err = imap_auth_answer(exchange);
out:
	buf_wipe(&line);
	return err;
}

/* --- in one breath ------------------------------------------------------------------------ */

static struct err run_login(struct imap_exchange *exchange)
{
	struct imap_client *client = exchange->client;
	struct err err = too_long;
	struct buf line;

	secret_init(&line, LINE_OCTETS);
	if (buf_put(&line, "LOGIN ", 6) && imap_quote(&line, exchange->login->user) &&
	    buf_put(&line, " ", 1) && imap_quote(&line, exchange->login->password))
		err = imap_send_line(client, &exchange->tag, &line);
	buf_wipe(&line);
	if (!err.kind)
		imap_flight_send(client);
	if (!err.kind)
		err = imap_receive(client, PHASE_LOGIN, exchange->tag);
	return err;
}

/* Says `answer`, to which there is nothing to ask. */
static struct err say_all(struct imap_exchange *exchange)
{
	TRY(imap_auth_begin(exchange));
	if (exchange->is_done)
		return OK;
	return imap_auth_cancel(
		exchange, ERR(ERR_UPSTREAM, EPROTO, "the mail server asks for more than there is"));
}

/* RFC 4616: whom to act for, NUL, whose password it is, NUL, the password. */
static struct err run_plain(struct imap_exchange *exchange)
{
	const struct login *login = exchange->login;
	const char *name = login->master ? login->master : login->user;
	struct buf *out = &exchange->answer;

	if ((login->master && !buf_put(out, login->user, strlen(login->user))) ||
	    !buf_put(out, "", 1) || !buf_put(out, name, strlen(name) + 1) ||
	    !buf_put(out, login->password, strlen(login->password)))
		return too_long;
	return say_all(exchange);
}

/* Whom the certificate means is the server's to know, but whose mailbox it shall be we say: that it opens
 * another one unasked cannot be. */
static struct err run_external(struct imap_exchange *exchange)
{
	const char *user = exchange->login->user;

	if (!buf_put(&exchange->answer, user, strlen(user)))
		return too_long;
	return say_all(exchange);
}

/* --- all of it ---------------------------------------------------------------------------- */

static struct err run(struct imap_client *client, const struct upstream_conf *conf,
		      const struct login *login, const struct imap_mechanism *mechanism)
{
	struct imap_exchange exchange = {
		.client = client,
		.conf = conf,
		.login = login,
		.mechanism = mechanism,
		.sasl = mechanism->name,
		.is_plus = mechanism->traits & IS_PLUS,
		.has_ir = client->caps & CAP_SASL_IR,
		/* M-03 */
		.may_follow = login->kind != LOGIN_RELAY && !(mechanism->traits & IS_SCRAM) &&
			      (login->kind != LOGIN_TOKEN ||
			       imap_memo_is_tried(client->memos, conf, login)),
	};

	secret_init(&exchange.challenge, WIRE_CHALLENGE);
	secret_init(&exchange.answer, SECRET_OCTETS);
	imap_caps_forget(client); /* what is told from the login on is in libetpan's list */
	client->secret = login->password;
	struct err err =
		login->kind == LOGIN_RELAY ? imap_auth_relay(&exchange) : mechanism->run(&exchange);
	if (!err.kind) {
		err = imap_outcome(client, PHASE_LOGIN);
		if (!err.kind && login->kind == LOGIN_TOKEN)
			imap_memo_tried(client->memos, conf, login);
		client->is_refused = err.kind == ERR_POLICY && client->is_stored;
	}
	client->secret = NULL;
	imap_wire_forget_challenge(client->wire);
	buf_wipe(&exchange.challenge);
	buf_wipe(&exchange.answer);
	return err;
}

struct err imap_auth_log_in(struct imap_client *client, const struct upstream_conf *conf,
			    const struct login *login)
{
	const struct imap_mechanism *mechanism;

	client->offered = client->caps;
	if (login->kind == LOGIN_RELAY)
		mechanism = choose_relayed(client, conf, login);
	else if (conf->auth)
		mechanism = choose_pinned(client, conf, login);
	else
		mechanism = choose_best(client, conf, login);
	if (!mechanism)
		return no_mechanism(client, conf, login);
	LOG(client->log, LEVEL_DEBUG, "imap-login", log_text("mechanism", mechanism->name));
	return run(client, conf, login, mechanism);
}
