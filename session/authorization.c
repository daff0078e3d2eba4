/* SPDX-License-Identifier: MIT */
/* authorization.c - who is it, and may he?
 *
 * A password is never asked for, nor taken, where it could be overheard. A session can be in this
 * state between any two commands with nothing but a name in its hands: whatever a login takes is
 * given back if the login fails.
 */
#include "session/authorization.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "session/reply.h"
#include "session/sasl.h"

bool authorization_may_login_plain(const struct session *session)
{
	return session->is_tls || session->is_cleartext_allowed;
}

bool authorization_has_mechanisms(const struct session *session)
{
	char names[SASL_LIST_MAX];

	return sasl_list(names, authorization_may_login_plain(session), " ", "") != 0;
}

bool authorization_may_start_tls(const struct session *session)
{
	return session->state == AUTHORIZATION && !session->is_tls && session->conf->tls_identity;
}

/* One answer for all names and verbs, so that nothing is learned from it (B-09). */
static struct err check_plain(const struct session *session)
{
	if (authorization_may_login_plain(session))
		return OK;
	return ERR(ERR_REFUSED, EACCES, "no login without TLS on this connection");
}

static bool is_name(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return len && len <= NAME_MAX_OCTETS;
}

/* Counts a refused credential, logs it and lets the guesser wait (B-08). */
static struct err refuse(struct session *session, const char *name, struct err why)
{
	uint64_t delay = session->conf->failure_ms;

	LOG(&session->log, LEVEL_NOTE, "login-failed", log_text("user", name),
	    log_text("what", why.what), log_text("why", session->why.text));
	for (unsigned i = 0; i < session->failures && delay < FAILURE_MAX_MS; i++)
		delay *= 2;
	session->failures++;
	TRY(reply_flush(session));
	if (delay)
		session->env->ops->sleep(session->env,
					 delay < FAILURE_MAX_MS ? delay : FAILURE_MAX_MS);
	return why;
}

struct err cmd_user(struct session *session, const struct args *args)
{
	TRY(check_plain(session));
	if (!is_name(args->word[0]))
		return ERR(ERR_REFUSED, EINVAL, "not a user name");
	session->name = text_dup(args->word[0]);
	return reply_ok(session, "send PASS");
}

struct err cmd_pass(struct session *session, const struct args *args)
{
	char *name = session->name;

	session->name = NULL;
	struct err err = check_plain(session);
	if (!err.kind && !name)
		err = ERR(ERR_REFUSED, EINVAL, "USER first");
	if (!err.kind)
		err = authorization_enter(session, &(struct credential){name, args->word[0]});
	free(name);
	return err;
}

/* Old clients ask what there is before they try (C-18). */
static struct err list_mechanisms(struct session *session)
{
	char lines[SASL_LIST_MAX];

	sasl_list(lines, authorization_may_login_plain(session), "", "\r\n");
	return stream_printf(session->client, "+OK\r\n%s.\r\n", lines);
}

/* The end of the exchange's time, which is also that of the whole state. */
static uint64_t exchange_end(const struct session *session)
{
	const struct session_conf *conf = session->conf;
	uint64_t all = conf->authorization_ms ? session->since_ms + conf->authorization_ms : 0;
	uint64_t end = conf->line_ms ? session->env->ops->now(session->env) + conf->line_ms : all;

	return all && all < end ? all : end;
}

struct err cmd_auth(struct session *session, const struct args *args)
{
	struct sasl_claim claim = {0};

	if (!args->count)
		return list_mechanisms(session);
	const char *name = args->word[0];
	const struct sasl_mechanism *mechanism = sasl_find(name, strlen(name));
	if (!mechanism)
		return ERR(ERR_REFUSED, 0, "mechanism not supported");
	if (sasl_is_plaintext(mechanism))
		TRY(check_plain(session));
	stream_limit(session->client, session->conf->stall_ms, exchange_end(session));
	struct err err = sasl_run(mechanism, session->client,
				  args->count > 1 ? args->word[1] : NULL, &claim);
	stream_limit(session->client, session->conf->stall_ms, 0);
	if (!err.kind && !is_name(claim.name))
		err = ERR(ERR_LOGIN, EINVAL, "not a user name");
	if (!err.kind)
		err = authorization_enter(session,
					  &(struct credential){claim.name, claim.password});
	else if (err.kind == ERR_LOGIN)
		err = refuse(session, "", err);
	sasl_claim_fini(&claim);
	return err;
}

struct err cmd_stls(struct session *session, const struct args *args)
{
	const struct env *env = session->env;
	struct stream *plain = session->client;

	(void)args;
	if (!authorization_may_start_tls(session))
		return session->is_tls ? ERR(ERR_REFUSED, 0, "TLS is already on")
				       : ERR(ERR_REFUSED, 0, "no TLS here");
	TRY(reply_ok(session, "begin TLS"));
	TRY(reply_flush(session));
	/* What came in clear behind STLS must not count under TLS (B-11). */
	if (stream_pending(plain)) {
		LOG(&session->log, LEVEL_WARN, "stls-injection",
		    log_number("octets", stream_pending(plain)));
		return ERR(ERR_CLIENT, EPROTO, "octets behind STLS");
	}
	uint64_t limit = session->conf->handshake_ms;
	stream_limit(plain, limit, limit ? env->ops->now(env) + limit : 0);
	session->client = NULL;
	TRY(env->ops->serve_tls(env, plain, session->conf->tls_identity, &session->client));
	session->is_tls = true;
	return OK;
}

struct err cmd_bye(struct session *session, const struct args *args)
{
	(void)args;
	session->state = CLOSED;
	return reply_ok(session, "bye");
}

/* Whether a store that has something to learn must leave it for another time. */
static bool is_wanted(const void *arg)
{
	const struct session *session = arg;

	return lock_is_wanted(session->lock) || (session->is_hurried && *session->is_hurried);
}

void authorization_leave(struct session *session)
{
	bool is_listed = session->state != AUTHORIZATION;

	if (session->upstream)
		session->upstream->ops->close(session->upstream, is_listed ? &session->drop : NULL,
					      is_wanted, session);
	session->upstream = NULL;
	lock_release(session->lock);
	session->lock = NULL;
	maildrop_fini(&session->drop);
	maildrop_init(&session->drop);
	if (session->account)
		session->accounts->ops->free(session->account);
	session->account = NULL;
}

/* Whether the client has been silent so long, with nothing to lose, that it is most likely gone. */
static bool is_idle(void *arg)
{
	const struct session *session = arg;
	uint64_t takeover_ms = session->conf->takeover_ms;

	return takeover_ms && session->state == TRANSACTION && session->waits_since_ms &&
	       !session->drop.marked &&
	       session->env->ops->now(session->env) - session->waits_since_ms > takeover_ms;
}

static void evict(void *arg)
{
	struct session *session = arg;

	session->is_evicted = true;
	stream_abort(session->client);
}

/* Takes, in this order: the account, the open folder, the lock, the list. */
static struct err take_maildrop(struct session *session, const struct credential *claim)
{
	const struct env *env = session->env;
	const struct session_conf *conf = session->conf;

	TRY(session->accounts->ops->prove(session->accounts, env, &session->log, claim,
					  &session->why, &session->account));
	const struct upstream_conf *where = &session->account->upstream;
	const struct login *login = &session->account->login;
	struct err err = where->ops->open(env, &session->log, where, login, &session->why,
					  &session->upstream);
	if (err.kind == ERR_LOGIN && login->is_stored) {
		/* Our own secret is wrong: no client can cure that, and one that is told so would
		 * ask its user or stop polling (B-07). */
		LOG(&session->log, LEVEL_ALARM, "stored-credential-refused",
		    log_text("user", claim->name), log_text("login", login->user),
		    log_text("why", session->why.text));
		return ERR(ERR_POLICY, err.code, "the mail server refuses the gateway's login");
	}
	if (err.kind)
		return err;
	struct lock_holder holder = {
		.name = session->account->name,
		.is_shared = where->is_shared,
		.is_idle = is_idle,
		.evict = evict,
		.arg = session,
	};
	TRY(lock_take(session->locks, env, session->upstream->identity, &holder, conf->lock_ms,
		      conf->lock_update_ms, &session->lock));
	return session->upstream->ops->list(session->upstream, &session->drop);
}

struct err authorization_enter(struct session *session, const struct credential *claim)
{
	const struct env *env = session->env;
	uint64_t begin_ms = env->ops->now(env);

	TRY(reply_flush(session));
	struct err err = take_maildrop(session, claim);
	if (err.kind) {
		authorization_leave(session);
		if (err.kind == ERR_LOGIN)
			return refuse(session, claim->name, err);
		LOG(&session->log, LEVEL_WARN, "login-impossible", log_text("user", claim->name),
		    log_text("what", err.what), log_number("code", (uint64_t)(unsigned)err.code),
		    log_text("why", session->why.text));
		return err;
	}
	session->state = TRANSACTION;
	LOG(&session->log, LEVEL_NOTE, "login", log_text("user", session->account->name),
	    log_number("messages", session->drop.count), log_number("octets", session->drop.octets),
	    log_number("ms", env->ops->now(env) - begin_ms));
	return reply_ok(session, "maildrop has %zu messages (%" PRIu64 " octets)",
			session->drop.count, session->drop.octets);
}
