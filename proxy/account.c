/* SPDX-License-Identifier: MIT */
/* account.c - from a claim to an account.
 *
 * All refusals of a claim look alike and cost alike (B-05): each of them goes through the same proof, if
 * need be against nothing. Why it was refused goes to the log alone. The proof comes before any secret of
 * the map is read, and before any token is touched.
 */
#include "proxy/account.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/grant.h"
#include "proxy/secret.h"
#include "proxy/io/tls.h"
#include "proxy/proof.h"
#include "upstream/imap_auth_list.h"

/* What a session holds: the map stays as it was at login while it holds this. */
struct roof_account {
	struct account account; /* first: what the session sees */
	struct map *map;
	struct map_target target;
	struct grant *grant; /* what the login's token is renewed by; NULL: it is no token */
	char device[LOCAL_NAME_MAX + 1];
};

static void account_free(struct account *account)
{
	struct roof_account *roof = (struct roof_account *)account;

	if (!roof)
		return;
	free(roof->account.name);
	login_fini(&roof->account.login);
	grant_free(roof->grant);
	map_target_fini(&roof->target);
	map_release(roof->map);
	free(roof);
}

/* The reason is for the log: of a refused login the client is told one and the same text. */
static struct err refuse(struct notice *why, const char *reason)
{
	snprintf(why->text, sizeof why->text, "%s", reason);
	return ERR(ERR_LOGIN, 0, "login refused");
}

struct reading {
	const struct map_target *target;
	struct notice why;
	char *secret;
	struct err err;
};

static void work_reading(void *arg)
{
	struct reading *reading = arg;

	reading->err = secret_read(reading->target, &reading->why, &reading->secret);
}

/* What of a stored login needs no reading: whether it is by our certificate (J-08), and for whom a
 * master acts (J-11). Whether that is all there is. */
static bool is_certificate_enough(const struct map_target *target, struct login *login)
{
	const char *auth = target->upstream.auth;

	login->master = text_dup(target->master);
	if (!target->upstream.tls_policy.cert_file || (auth && !imap_auth_names(auth, "external")))
		return false;
	login->kind = LOGIN_CERTIFICATE;
	if (target->password || target->password_file || target->password_cred ||
	    target->password_cmd)
		return false; /* for a server that offers no EXTERNAL, if auth= lets us */
	login->password = text_dup("");
	return true;
}

/* Only after the client has proved who it is: a wrong password touches no token (J-10). */
static struct err choose_token(struct roof_account *roof, const struct gate *gate,
			       const struct env *env, const struct log *log,
			       const struct credential *claim)
{
	struct oauth_profiles *profiles = gate->profiles ? *gate->profiles : NULL;
	struct notice why = {""};
	struct err err = grant_login(gate->tokens, profiles, env, &roof->target,
				     &roof->account.login, &why, &roof->grant);

	if (err.kind)
		LOG(log, LEVEL_WARN, "no-token", log_text("user", claim->name),
		    log_text("profile", roof->target.oauth), log_text("reason", why.text),
		    log_text("what", err.what));
	return err;
}

/* The client's own credential, for the upstream to judge (J-07). */
static void pass_on(struct login *login, const struct credential *claim)
{
	login->password = text_dup(claim->password);
	if (claim->kind == CREDENTIAL_TOKEN)
		login->kind = LOGIN_TOKEN;
	if (claim->kind != CREDENTIAL_EXCHANGE)
		return;
	login->kind = LOGIN_RELAY;
	login->mechanism = claim->mechanism;
	login->initial = claim->initial;
	login->ask = claim->ask;
	login->arg = claim->arg;
}

/* The credential for the upstream: the client's own, or the map's. */
static struct err choose_login(struct roof_account *roof, const struct gate *gate,
			       const struct env *env, const struct log *log,
			       const struct credential *claim)
{
	struct login *login = &roof->account.login;

	if (!roof->target.login)
		return OK; /* a local store asks nobody */
	login->user = text_dup(roof->target.login);
	if (roof->target.is_passed_through) {
		pass_on(login, claim);
		return OK;
	}
	login->is_stored = true;
	if (roof->target.oauth)
		return choose_token(roof, gate, env, log, claim);
	if (is_certificate_enough(&roof->target, login))
		return OK;
	struct reading reading = {.target = &roof->target};
	env->ops->offload(env, work_reading, &reading);
	if (reading.err.kind) {
		LOG(log, LEVEL_ALARM, "secret-unreadable", log_text("user", claim->name),
		    log_text("reason", reading.why.text), log_text("what", reading.err.what));
		return reading.err;
	}
	login->password = reading.secret;
	return OK;
}

/* Who a claim is counted for (L-03): the canonical name until an entry of its own is found. */
static void note_claim(struct gate *gate, const struct map_entry *entry, const char *name)
{
	const char *key = entry && map_entry_is_exact(entry) ? map_entry_key(entry) : name;

	snprintf(gate->claimed, sizeof gate->claimed, "%s", key ? key : "");
	gate->is_listed = entry != NULL;
	gate->was_asked = false;
}

static struct guard_claim guard_claim_of(const struct gate *gate)
{
	return (struct guard_claim){
		.peer = &gate->peer, .account = gate->claimed, .is_listed = gate->is_listed};
}

static bool is_blocked(const struct gate *gate, const struct env *env)
{
	struct guard_claim claim = guard_claim_of(gate);

	return gate->guard && guard_ask(gate->guard, env, &claim) == GUARD_BLOCKED;
}

/* Whether the upstream may be asked about the client's own password or token (L-03). */
static struct err ask_guard(struct gate *gate, const struct roof_account *roof,
			    const struct env *env, struct notice *why)
{
	struct guard_claim claim = guard_claim_of(gate);
	const struct login *login = &roof->account.login;

	if (!gate->guard || !roof->target.is_passed_through)
		return OK;
	switch (guard_advise(gate->guard, env, &claim, login->user, login->password,
			     roof->account.upstream.host)) {
	case GUARD_WRONG:
		return refuse(why, "the upstream has just refused this password");
	case GUARD_LATER:
		return ERR(ERR_UPSTREAM, EAGAIN, "too many refused logins lately");
	case GUARD_ASK:
		break;
	}
	gate->was_asked = true;
	return OK;
}

/* A name that is there, and proved where that is our business. */
static struct err admit(struct gate *gate, struct roof_account *roof, const struct env *env,
			const struct log *log, const struct credential *claim, struct notice *why)
{
	const char *reject = roof->target.reject;

	/* A thousand guesses of one moment do not count for more than one. */
	if (is_blocked(gate, env))
		return refuse(why, "blocked for too many failures");
	if (reject) {
		text_printable(why->text, sizeof why->text, reject, strlen(reject), false);
		return ERR(ERR_POLICY, 0, "login not possible");
	}
	roof->account.is_proved = !roof->target.is_passed_through;
	TRY(choose_login(roof, gate, env, log, claim));
	return ask_guard(gate, roof, env, why);
}

/* What the map says of a name, and where its upstream finds what outlives a session. ERR_LOGIN, with
 * the reason in `why`, if it says nothing. */
static struct err find_account(struct gate *gate, struct map *map, const char *claimed,
			       struct notice *why, struct roof_account *roof)
{
	roof->map = map_hold(map);
	char *name = map_canonical_dup(claimed);
	roof->account.name = name;
	const struct map_entry *entry = name ? map_find(roof->map, name) : NULL;
	note_claim(gate, entry, name);
	if (!entry)
		return refuse(why, "unknown name");
	struct err err = map_target(roof->map, entry, name, why, &roof->target);
	roof->account.upstream = roof->target.upstream;
	roof->account.upstream.name = name;
	roof->account.upstream.state = gate->state;
	roof->account.upstream.health = gate->health;
	roof->account.upstream.memos = gate->memos;
	roof->account.upstream.warm = gate->warm;
	return err.kind && !*why->text ? refuse(why, err.what) : err;
}

static bool can_bind(const struct stream *client)
{
	struct buf binding;

	buf_init(&binding, 256);
	bool is_bound = stream_bind(client, BINDING_TLS_EXPORTER, &binding) ||
			stream_bind(client, BINDING_TLS_UNIQUE, &binding);
	buf_fini(&binding);
	return is_bound;
}

static bool is_any(void *arg, const char *name)
{
	(void)name;
	*(bool *)arg = true;
	return false;
}

enum { WAYS_PLUS = WAY_SCRAM_SHA_1_PLUS | WAY_SCRAM_SHA_256_PLUS };

static unsigned gate_ways(const struct accounts *accounts, const struct stream *client)
{
	/* What can be served where the map is able to. */
	static const struct {
		unsigned abilities, ways;
	} rows[] = {
		{MAP_HAS_PLAIN, WAY_APOP | WAY_CRAM_MD5},
		{MAP_HAS_PLAIN | MAP_RELAYS_SCRAM_SHA_1, WAY_SCRAM_SHA_1},
		{MAP_HAS_PLAIN | MAP_HAS_SCRAM_SHA_256 | MAP_RELAYS_SCRAM_SHA_256,
		 WAY_SCRAM_SHA_256},
		{MAP_HAS_PASS_THROUGH, WAY_XOAUTH2 | WAY_OAUTHBEARER},
	};
	const struct gate *gate = (const struct gate *)accounts;
	unsigned abilities = map_abilities(*gate->map), ways = WAY_PLAIN | WAY_LOGIN;
	bool has_certificate = false;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (abilities & rows[i].abilities)
			ways |= rows[i].ways;
	if ((abilities & (MAP_HAS_PLAIN | MAP_HAS_SCRAM_SHA_256)) && can_bind(client)) {
		ways |= WAY_SCRAM_SHA_256_PLUS;
		if (abilities & MAP_HAS_PLAIN)
			ways |= WAY_SCRAM_SHA_1_PLUS;
	}
	if (client && abilities & MAP_HAS_OWN && tls_peer_names(client, is_any, &has_certificate) &&
	    has_certificate)
		ways |= WAY_EXTERNAL;
	return ways & gate->ways;
}

/* Why a claim cannot be good, before anything is proved; NULL: it may be. */
static const char *objection(const struct gate *gate, const struct env *env,
			     const struct roof_account *roof, const struct credential *claim,
			     unsigned ways)
{
	const struct map_target *target = &roof->target;
	bool is_certificate = claim->kind == CREDENTIAL_CERTIFICATE;
	bool is_relayed = claim->kind == CREDENTIAL_EXCHANGE && !strstr(claim->mechanism, "-PLUS");

	if (is_blocked(gate, env))
		return "blocked for too many failures";
	if (target->allow.count && !network_list_has(&target->allow, &gate->peer))
		return "network not in allow=";
	if (target->listener && strcmp(target->listener, gate->listener) != 0)
		return "not by this listener";
	if (target->is_passed_through && claim->kind != CREDENTIAL_PASSWORD &&
	    claim->kind != CREDENTIAL_TOKEN && !is_relayed)
		return "a mechanism that cannot be passed through";
	if (target->is_passed_through && is_relayed && *claim->initial == 'y' && ways & WAYS_PLUS)
		return "the client was not told of -PLUS: somebody stands in between";
	if (!target->is_passed_through && claim->kind == CREDENTIAL_TOKEN)
		return "a token, but the entry is not in pass-through";
	if (!target->is_passed_through && !target->locals.count && !target->reject &&
	    !is_certificate)
		return "only a certificate opens this entry";
	/* A certificate proves its names, and not what a key may be short for. */
	if (is_certificate && !text_same(gate->claimed, roof->account.name))
		return "the certificate's name is not the key of the entry";
	return NULL;
}

/* Not what the upstream judges, nor what tells everybody the same. */
static bool must_be_proved(const struct map_target *target)
{
	return !target->is_passed_through && !(target->reject && !target->locals.count);
}

static bool gate_is_elsewhere(struct accounts *accounts, const struct credential *claim)
{
	struct gate *gate = (struct gate *)accounts;

	if (!gate->places || gate->places->count < 2)
		return false;
	map_release(gate->placed);
	gate->placed = map_hold(*gate->map);
	char *named = proof_name_dup(gate->placed, claim);
	gate->goal = place_of(gate->places, gate->placed, named);
	free(named);
	return gate->goal != gate->here;
}

/* With `map`: it was asked by it where the mailbox lives. */
static struct err prove(struct gate *gate, struct map *map, const struct env *env,
			const struct log *log, const struct credential *claim, struct notice *why,
			struct account **out)
{
	struct roof_account *roof = mem_alloc(sizeof *roof);
	struct notice reason = {""};
	char *named = proof_name_dup(map, claim);
	int which = -1;

	struct err err = find_account(gate, map, named, &reason, roof);
	unsigned ways = gate_ways(&gate->accounts, claim->client);
	const char *wrong = err.kind ? reason.text : objection(gate, env, roof, claim, ways);
	if (is_blocked(gate, env))
		LOG(log, LEVEL_WARN, "login-blocked", log_text("user", named));
	struct proof proof = {
		.env = env,
		.claim = claim,
		.name = roof->account.name ? roof->account.name : "",
		.locals = wrong ? NULL : &roof->target.locals,
		.key = gate->exchange_key,
		.rounds = map_scram_rounds(roof->map),
		.is_plus_offered = ways & WAYS_PLUS,
		.headroom = gate->headroom,
	};
	/* Also what is refused already is proved, in vain: nobody shall learn from the time (B-05). */
	err = OK;
	if (wrong || must_be_proved(&roof->target))
		err = proof_of(&proof, why, &which);
	if (wrong && (!err.kind || err.kind == ERR_LOGIN))
		err = refuse(why, wrong);
	if (!err.kind)
		err = admit(gate, roof, env, log, claim, why);
	if (!err.kind && which >= 0) {
		const char *value = roof->target.locals.value[which];
		memcpy(roof->device, value, local_name_len(value));
	}
	roof->account.device = roof->device;
	free(named);
	if (err.kind)
		account_free(&roof->account);
	else
		*out = &roof->account;
	return err;
}

static struct err gate_prove(struct accounts *accounts, const struct env *env,
			     const struct log *log, const struct credential *claim,
			     struct notice *why, struct account **out)
{
	struct gate *gate = (struct gate *)accounts;
	struct map *map = gate->placed ? gate->placed : map_hold(*gate->map);

	*out = NULL;
	gate->placed = NULL;
	struct err err = ERR(ERR_UPSTREAM, EMFILE, "the gateway has no room for it now");
	if (!gate->cannot_move)
		err = prove(gate, map, env, log, claim, why, out);
	map_release(map);
	return err;
}

static uint64_t gate_settle(struct accounts *accounts, const struct env *env,
			    const struct credential *claim, const struct account *account,
			    struct err err)
{
	struct gate *gate = (struct gate *)accounts;
	struct guard_claim who = guard_claim_of(gate);

	if (!gate->guard)
		return 0;
	if (!err.kind) {
		guard_succeeded(gate->guard, env, &who,
				gate->was_asked ? account->upstream.host : NULL);
		return 0;
	}
	if (gate->was_asked && account)
		guard_refused_upstream(gate->guard, env, &who, account->login.user,
				       claim->password);
	return guard_failed(gate->guard, env, &who);
}

struct err account_unattended(struct gate *gate, const struct env *env, const struct log *log,
			      const char *name, struct notice *why, struct account **out)
{
	const struct credential nobody = {.name = name, .password = ""};
	struct roof_account *roof = mem_alloc(sizeof *roof);

	*out = NULL;
	struct err err = find_account(gate, *gate->map, name, why, roof);
	if (!err.kind && roof->target.reject)
		err = refuse(why, "reject= is set");
	else if (!err.kind && roof->target.is_passed_through)
		err = ERR(ERR_REFUSED, 0, "its password is the client's");
	if (!err.kind)
		err = choose_login(roof, gate, env, log, &nobody);
	if (err.kind)
		account_free(&roof->account);
	else
		*out = &roof->account;
	return err;
}

static const struct accounts_ops gate_ops = {
	.ways = gate_ways,
	.is_elsewhere = gate_is_elsewhere,
	.prove = gate_prove,
	.free = account_free,
	.settle = gate_settle,
};

void gate_init(struct gate *gate, struct map *const *map, const char *listener,
	       const struct sockaddr_storage *peer)
{
	*gate = (struct gate){.accounts = {&gate_ops},
			      .map = map,
			      .listener = listener,
			      .peer = *peer,
			      .ways = ~0u};
}

void gate_fini(struct gate *gate)
{
	map_release(gate->placed);
	gate->placed = NULL;
}
