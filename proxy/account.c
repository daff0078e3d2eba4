/* SPDX-License-Identifier: MIT */
/* account.c - from a claim to an account.
 *
 * All refusals of a claim look alike and cost alike (B-05): each of them runs one verification of a
 * password, if need be one that cannot succeed. Why it was refused goes to the log alone.
 */
#include "proxy/account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/secret.h"
#include "proxy/verify.h"

/* What a session holds: the map stays as it was at login while it holds this. */
struct roof_account {
	struct account account; /* first: what the session sees */
	struct map *map;
	struct map_target target;
};

static void account_free(struct account *account)
{
	struct roof_account *roof = (struct roof_account *)account;

	if (!roof)
		return;
	free(roof->account.name);
	login_fini(&roof->account.login);
	map_target_fini(&roof->target);
	map_release(roof->map);
	free(roof);
}

/* A verification, done on the pool: crypt(3) takes tens of milliseconds on purpose. */
struct proof {
	const char *local; /* NULL: a dummy of the same cost */
	const char *password;
	bool is_good;
};

static void work_proof(void *arg)
{
	struct proof *proof = arg;

	proof->is_good = proof->local ? verify_password(proof->local, proof->password)
				      : verify_dummy(proof->password);
}

static bool prove_password(const struct env *env, const char *local, const char *password)
{
	struct proof proof = {local, password, false};

	env->ops->offload(env, work_proof, &proof);
	return proof.is_good;
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

/* The credential for the upstream: the client's own, or the map's. */
static struct err choose_login(struct roof_account *roof, const struct env *env,
			       const struct log *log, const struct credential *claim)
{
	struct login *login = &roof->account.login;

	if (!roof->target.login)
		return OK; /* a local store asks nobody */
	login->user = text_dup(roof->target.login);
	if (!roof->target.local) {
		login->password = text_dup(claim->password);
		return OK;
	}
	struct reading reading = {.target = &roof->target};
	env->ops->offload(env, work_reading, &reading);
	if (reading.err.kind) {
		LOG(log, LEVEL_ALARM, "secret-unreadable", log_text("user", claim->name),
		    log_text("reason", reading.why.text), log_text("what", reading.err.what));
		return reading.err;
	}
	login->password = reading.secret;
	login->is_stored = true;
	return OK;
}

/* Everything about a name that is there: network, listener, password, reject. */
static struct err admit(const struct gate *gate, struct roof_account *roof, const struct env *env,
			const struct log *log, const struct credential *claim, struct notice *why)
{
	const struct map_target *target = &roof->target;
	const char *wrong = NULL;
	bool is_good = true;

	if (target->allow.count && !network_list_has(&target->allow, &gate->peer))
		wrong = "network not in allow=";
	else if (target->listener && strcmp(target->listener, gate->listener) != 0)
		wrong = "not by this listener";
	if (target->local || wrong)
		is_good = prove_password(env, target->local, claim->password);
	if (wrong)
		return refuse(why, wrong);
	if (!is_good)
		return refuse(why, "wrong password");
	if (target->reject) {
		text_printable(why->text, sizeof why->text, target->reject, strlen(target->reject),
			       false);
		return ERR(ERR_POLICY, 0, "login not possible");
	}
	roof->account.is_proved = target->local != NULL;
	return choose_login(roof, env, log, claim);
}

/* What the map says of a name, and where its upstream finds what outlives a session. ERR_LOGIN, with
 * the reason in `why`, if it says nothing. */
static struct err find_account(const struct gate *gate, const char *claimed, struct notice *why,
			       struct roof_account *roof)
{
	roof->map = map_hold(*gate->map);
	char *name = map_canonical_dup(claimed);
	roof->account.name = name;
	const struct map_entry *entry = name ? map_find(roof->map, name) : NULL;
	if (!entry)
		return refuse(why, "unknown name");
	struct err err = map_target(roof->map, entry, name, why, &roof->target);
	roof->account.upstream = roof->target.upstream;
	roof->account.upstream.name = name;
	roof->account.upstream.state = gate->state;
	roof->account.upstream.health = gate->health;
	return err.kind && !*why->text ? refuse(why, err.what) : err;
}

static struct err gate_prove(struct accounts *accounts, const struct env *env,
			     const struct log *log, const struct credential *claim,
			     struct notice *why, struct account **out)
{
	struct gate *gate = (struct gate *)accounts;
	struct roof_account *roof = mem_alloc(sizeof *roof);
	struct notice reason = {""};

	*out = NULL;
	struct err err = find_account(gate, claim->name, &reason, roof);
	if (err.kind) {
		prove_password(env, NULL, claim->password);
		err = refuse(why, reason.text);
	} else {
		err = admit(gate, roof, env, log, claim, why);
	}
	if (err.kind)
		account_free(&roof->account);
	else
		*out = &roof->account;
	return err;
}

struct err account_unattended(struct gate *gate, const struct env *env, const struct log *log,
			      const char *name, struct notice *why, struct account **out)
{
	const struct credential nobody = {name, ""};
	struct roof_account *roof = mem_alloc(sizeof *roof);

	*out = NULL;
	struct err err = find_account(gate, name, why, roof);
	if (!err.kind && roof->target.reject)
		err = refuse(why, "reject= is set");
	else if (!err.kind && roof->target.login && !roof->target.local)
		err = ERR(ERR_REFUSED, 0, "its password is the client's");
	if (!err.kind)
		err = choose_login(roof, env, log, &nobody);
	if (err.kind)
		account_free(&roof->account);
	else
		*out = &roof->account;
	return err;
}

static const struct accounts_ops gate_ops = {gate_prove, account_free};

void gate_init(struct gate *gate, struct map *const *map, const char *listener,
	       const struct sockaddr_storage *peer)
{
	*gate = (struct gate){
		.accounts = {&gate_ops}, .map = map, .listener = listener, .peer = *peer};
}
