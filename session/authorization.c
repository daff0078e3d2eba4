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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "session/parked.h"
#include "session/reply.h"
#include "session/sasl.h"

enum { APOP_DIGITS = 32, HOLD_STEP_MS = 1000 };

unsigned authorization_ways(const struct session *session)
{
	const struct accounts *accounts = session->accounts;
	unsigned ways = accounts->ops->ways ? accounts->ops->ways(accounts, session->client)
					    : WAY_PLAIN | WAY_LOGIN;

	if (!session->is_tls && !session->is_cleartext_allowed)
		ways &= ~sasl_plaintext_ways();
	/* A token opens more than a mailbox: it is never shown to the network (RFC 6750 section 5.3). */
	if (!session->is_tls)
		ways &= ~(unsigned)(WAY_XOAUTH2 | WAY_OAUTHBEARER);
	return ways;
}

bool authorization_may_login_plain(const struct session *session)
{
	return authorization_ways(session) & WAY_PLAIN;
}

bool authorization_has_mechanisms(const struct session *session)
{
	char names[SASL_LIST_MAX];

	return sasl_list(names, authorization_ways(session), " ", "") != 0;
}

/* A challenge like no other, with nothing in it that a client could stumble over (B-23). */
static void stamp(const struct env *env, char out[SESSION_STAMP])
{
	unsigned char chance[16];
	char hex[2 * sizeof chance + 1];

	env->ops->random(env, chance, sizeof chance);
	for (size_t i = 0; i < sizeof chance; i++)
		snprintf(hex + 2 * i, 3, "%02x", chance[i]);
	snprintf(out, SESSION_STAMP, "<%" PRIx64 ".%s@popgate.invalid>", env->ops->wall(env), hex);
}

void authorization_stamp(struct session *session)
{
	if (authorization_ways(session) & WAY_APOP)
		stamp(session->env, session->timestamp);
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
	if (session->is_tls || session->is_cleartext_allowed)
		return ERR(ERR_REFUSED, EACCES, "no login by USER and PASS here");
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

/* Waits until then, but no longer than the client's stream lives: a program that ends cuts it. */
static void hold_back(const struct session *session, uint64_t until_ms)
{
	const struct env *env = session->env;

	for (uint64_t now; (now = env->ops->now(env)) < until_ms && !session->client->is_aborted;)
		env->ops->sleep(env, until_ms - now < HOLD_STEP_MS ? until_ms - now : HOLD_STEP_MS);
}

/* Counts a refused credential, logs it and lets the guesser wait (B-08). The moment of the answer
 * depends on when the claim was complete and on how often it went wrong, and not on how long it took to
 * find that out: that would tell which names exist (B-05). */
static struct err refuse(struct session *session, const struct credential *claim, struct err why)
{
	const struct env *env = session->env;
	struct accounts *accounts = session->accounts;
	uint64_t delay = session->conf->failure_ms;

	LOG(&session->log, LEVEL_NOTE, "login-failed", log_text("user", claim->name),
	    log_text("mechanism", claim->mechanism), log_text("what", why.what),
	    log_text("why", session->why.text));
	for (unsigned i = 0; i < session->failures && delay < FAILURE_MAX_MS; i++)
		delay *= 2;
	session->failures++;
	if (delay > FAILURE_MAX_MS)
		delay = FAILURE_MAX_MS;
	uint64_t asked = accounts->ops->settle ? accounts->ops->settle(accounts, env, claim,
								       session->account, why)
					       : 0;
	if (asked > delay)
		delay = asked;
	authorization_leave(session);
	TRY(reply_flush(session));
	hold_back(session, session->claimed_ms + delay);
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
	struct credential claim = {
		.name = name,
		.password = args->word[0],
		.mechanism = "PASS",
		.client = session->client,
	};
	if (!err.kind)
		err = authorization_enter(session, &claim, NULL);
	free(name);
	return err;
}

/* A name of RFC 1939 section 7 and 32 hexadecimal digits, in lower case by the RFC and in either by
 * some clients. */
struct err cmd_apop(struct session *session, const struct args *args)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *digest = args->word[1];

	if (!*session->timestamp || !(authorization_ways(session) & WAY_APOP))
		return ERR(ERR_REFUSED, 0, "no APOP here");
	if (!is_name(args->word[0]))
		return ERR(ERR_REFUSED, EINVAL, "not a user name");
	if (strlen(digest) != APOP_DIGITS || strspn(digest, digits) != APOP_DIGITS)
		return ERR(ERR_REFUSED, EINVAL, "not a digest");
	struct credential claim = {
		.name = args->word[0],
		.password = digest,
		.kind = CREDENTIAL_APOP,
		.mechanism = "APOP",
		.timestamp = session->timestamp,
		.client = session->client,
	};
	return authorization_enter(session, &claim, NULL);
}

/* Old clients ask what there is before they try (C-18). */
static struct err list_mechanisms(struct session *session)
{
	char lines[SASL_LIST_MAX];

	sasl_list(lines, authorization_ways(session), "", "\r\n");
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

/* A further question to the client, from whoever proves its claim. */
static struct err ask_client(void *arg, const void *challenge, size_t len, struct buf *answer)
{
	struct session *session = arg;

	/* What others took to find the question is not the client's time. */
	stream_limit(session->client, session->conf->stall_ms, exchange_end(session));
	struct err err = sasl_ask(session->client, challenge, len, answer);
	session->claimed_ms = session->env->ops->now(session->env);
	return err;
}

/* What follows the answer to a claim: a client that was refused may be told why. */
static struct err conclude_exchange(struct session *session, const struct sasl_mechanism *mechanism,
				    struct err err)
{
	if (err.kind != ERR_LOGIN)
		return err;
	stream_limit(session->client, session->conf->stall_ms, exchange_end(session));
	struct err told = sasl_regret(mechanism, session->client);
	return told.kind ? told : err;
}

/* From a mechanism that may be used to the end of its exchange. */
static struct err exchange(struct session *session, const struct sasl_mechanism *mechanism,
			   const char *initial)
{
	struct sasl_claim said;
	struct credential claim = {.name = "", .mechanism = sasl_name(mechanism)};

	char challenge[SESSION_STAMP];

	stamp(session->env, challenge);
	struct err err = sasl_run(mechanism, session->client, initial, challenge, &said);
	session->claimed_ms = session->env->ops->now(session->env);
	if (!err.kind && *said.name && !is_name(said.name))
		err = ERR(ERR_LOGIN, EINVAL, "not a user name");
	if (!err.kind) {
		claim.name = said.name;
		claim.password = said.password;
		claim.kind = said.kind;
		claim.timestamp = challenge;
		claim.initial = said.initial;
		claim.client = session->client;
		claim.ask = ask_client;
		claim.arg = session;
		err = authorization_enter(session, &claim, mechanism);
	} else if (err.kind == ERR_LOGIN) {
		err = refuse(session, &claim, err);
	}
	sasl_claim_fini(&said);
	return claim.ask ? conclude_exchange(session, mechanism, err) : err;
}

struct err cmd_auth(struct session *session, const struct args *args)
{
	if (!args->count)
		return list_mechanisms(session);
	const char *name = args->word[0];
	const struct sasl_mechanism *mechanism = sasl_find(name, strlen(name));
	if (mechanism && !session->is_tls && !session->is_cleartext_allowed &&
	    (sasl_way(mechanism) & sasl_plaintext_ways()))
		return ERR(ERR_REFUSED, EACCES, "no login without TLS on this connection");
	if (!mechanism || !(sasl_way(mechanism) & authorization_ways(session)))
		return ERR(ERR_REFUSED, 0, "mechanism not supported");
	stream_limit(session->client, session->conf->stall_ms, exchange_end(session));
	struct err err = exchange(session, mechanism, args->count > 1 ? args->word[1] : NULL);
	stream_limit(session->client, session->conf->stall_ms, 0);
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

static struct err enter(struct session *session, const struct credential *claim)
{
	const struct env *env = session->env;
	struct accounts *accounts = session->accounts;
	uint64_t begin_ms = env->ops->now(env);

	TRY(reply_flush(session));
	struct err err = take_maildrop(session, claim);
	if (err.kind == ERR_LOGIN)
		err = refuse(session, claim, err);
	else if (err.kind && err.kind != ERR_REFUSED)
		LOG(&session->log, LEVEL_WARN, "login-impossible", log_text("user", claim->name),
		    log_text("what", err.what), log_number("code", (uint64_t)(unsigned)err.code),
		    log_text("why", session->why.text));
	if (err.kind) {
		authorization_leave(session);
		return err;
	}
	if (accounts->ops->settle)
		accounts->ops->settle(accounts, env, claim, session->account, OK);
	session->state = TRANSACTION;
	LOG(&session->log, LEVEL_NOTE, "login", log_text("user", session->account->name),
	    log_text("mechanism", claim->mechanism),
	    log_text("device", session->account->device ? session->account->device : ""),
	    log_number("messages", session->drop.count), log_number("octets", session->drop.octets),
	    log_text("warm", session->upstream->is_unasked ? "idle"
			     : session->upstream->is_warm  ? "yes"
							   : "no"),
	    log_number("round_trips", session->upstream->round_trips),
	    log_number("ms", env->ops->now(env) - begin_ms));
	return reply_ok(session, "maildrop has %zu messages (%" PRIu64 " octets)",
			session->drop.count, session->drop.octets);
}

struct err authorization_enter(struct session *session, const struct credential *claim,
			       const struct sasl_mechanism *mechanism)
{
	struct accounts *accounts = session->accounts;

	session->claimed_ms = session->env->ops->now(session->env);
	if (!accounts->ops->is_elsewhere || !accounts->ops->is_elsewhere(accounts, claim))
		return enter(session, claim);
	session->parked = parked_new(claim, mechanism);
	return OK;
}

struct err authorization_go_on(struct session *session)
{
	struct parked *parked = session->parked;
	const struct sasl_mechanism *mechanism = parked->mechanism;

	session->parked = NULL;
	struct err err = enter(session, &parked->claim);
	parked_free(parked);
	if (!mechanism)
		return err;
	err = conclude_exchange(session, mechanism, err);
	stream_limit(session->client, session->conf->stall_ms, 0);
	return err;
}
