/* SPDX-License-Identifier: MIT */
/* proof.c - a table of kinds of claims, and what proves each. */
#include "proxy/proof.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/io/tls.h"
#include "proxy/map.h"

/* Work on the pool: crypt(3) takes tens of milliseconds on purpose. */
struct finding {
	const struct proof *proof;
	int which;
};

static const struct local_list none = {.count = 0};

static const struct local_list *locals_of(const struct proof *proof)
{
	return proof->locals ? proof->locals : &none;
}

static void find_password(void *arg)
{
	struct finding *finding = arg;

	finding->which =
		local_find_password(locals_of(finding->proof), finding->proof->claim->password);
}

static void find_digest(void *arg)
{
	struct finding *finding = arg;
	const struct credential *claim = finding->proof->claim;

	finding->which =
		local_find_digest(locals_of(finding->proof), claim->kind == CREDENTIAL_CRAM_MD5,
				  claim->timestamp, claim->password);
}

static struct err refuse(struct notice *why, const char *reason)
{
	snprintf(why->text, sizeof why->text, "%s", reason);
	return ERR(ERR_LOGIN, 0, "login refused");
}

static struct err by_secret(const struct proof *proof, struct notice *why, int *which)
{
	struct finding finding = {proof, -1};
	bool is_password = proof->claim->kind == CREDENTIAL_PASSWORD;
	struct headroom *headroom = is_password ? proof->headroom : NULL;
	unsigned mib = local_password_mib(locals_of(proof));

	if (headroom)
		TRY(headroom_take(headroom, proof->env, mib));
	proof->env->ops->offload(proof->env, is_password ? find_password : find_digest, &finding);
	if (headroom)
		headroom_give(headroom, mib);
	*which = finding.which;
	return finding.which >= 0 ? OK : refuse(why, "wrong password");
}

/* --- certificates ------------------------------------------------------------------------- */

struct meeting {
	const char *name; /* canonical */
	bool is_met;
};

static bool meet(void *arg, const char *name)
{
	struct meeting *meeting = arg;
	char *canonical = map_canonical_dup(name);

	meeting->is_met = canonical && !strcmp(canonical, meeting->name);
	free(canonical);
	return !meeting->is_met;
}

/* The whole name: who has a certificate for joe@example.org is not joe@example.com, although both may be
 * found by "joe". */
static struct err by_certificate(const struct proof *proof, struct notice *why, int *which)
{
	struct meeting meeting = {.name = proof->name};

	*which = -1;
	if (proof->claim->client)
		tls_peer_names(proof->claim->client, meet, &meeting);
	if (meeting.is_met && proof->locals)
		return OK;
	return refuse(why, "the certificate is not for this name");
}

struct choice {
	const struct map *map;
	char *best; /* owned */
	int rank; /* of it: 0 none, 1 a name, 2 one that is served by an entry for many, 3 a key */
};

static bool choose(void *arg, const char *name)
{
	struct choice *choice = arg;
	char *canonical = map_canonical_dup(name);
	const struct map_entry *entry = canonical ? map_find(choice->map, canonical) : NULL;
	int rank = 1;

	if (entry && !map_entry_is_exact(entry))
		rank = 2;
	else if (entry && text_same(map_entry_key(entry), canonical))
		rank = 3;
	free(canonical);
	if (rank > choice->rank) {
		free(choice->best);
		choice->best = text_dup(name);
		choice->rank = rank;
	}
	return rank < 3;
}

char *proof_name_dup(const struct map *map, const struct credential *claim)
{
	struct choice choice = {.map = map};

	if (*claim->name || claim->kind != CREDENTIAL_CERTIFICATE || !claim->client)
		return text_dup(claim->name);
	tls_peer_names(claim->client, choose, &choice);
	return choice.best ? choice.best : text_dup("");
}

/* --- all of them -------------------------------------------------------------------------- */

struct err proof_of(const struct proof *proof, struct notice *why, int *which)
{
	static const unsigned char zeros[EXCHANGE_KEY];

	*which = -1;
	switch (proof->claim->kind) {
	case CREDENTIAL_PASSWORD:
	case CREDENTIAL_APOP:
	case CREDENTIAL_CRAM_MD5:
		return by_secret(proof, why, which);
	case CREDENTIAL_CERTIFICATE:
		return by_certificate(proof, why, which);
	case CREDENTIAL_EXCHANGE:
		return exchange_scram(proof->env, proof->claim, proof->name, proof->locals,
				      proof->key ? proof->key : zeros, proof->rounds,
				      proof->is_plus_offered, why, which);
	case CREDENTIAL_TOKEN:
		break;
	}
	return refuse(why, "a token proves nothing here");
}
