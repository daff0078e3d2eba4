/* SPDX-License-Identifier: MIT */
/* token_record.c - what the state holds of a grant. */
#include "upstream/token_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "proxy/base/mem.h"
#include "upstream/oauth.h"
#include "upstream/pack.h"

enum {
	FORMAT = 1,
	RECORD_MAX = 3 * TOKEN_MAX, /* octets before it is sealed */
	SHA256 = 32,
	HASH = 16, /* octets of it in a key */
};

struct token_record token_record_new(void)
{
	return (struct token_record){.refresh = text_dup(""), .access = text_dup("")};
}

void token_record_fini(struct token_record *record)
{
	text_wipe_free(record->refresh);
	text_wipe_free(record->access);
	*record = (struct token_record){0};
}

struct token_record token_record_dup(const struct token_record *record)
{
	struct token_record copy = *record;

	copy.refresh = text_dup(record->refresh);
	copy.access = text_dup(record->access);
	return copy;
}

struct err token_record_name(const char *map_key, const char *profile, const char *hash_of,
			     char out[STATE_KEY + 1])
{
	unsigned char digest[SHA256];
	char hash[2 * HASH + 1] = "";
	bool is_good = true;

	if (hash_of) {
		is_good =
			EVP_Digest(hash_of, strlen(hash_of), digest, NULL, EVP_sha256(), NULL) == 1;
		for (size_t i = 0; i < HASH && is_good; i++)
			snprintf(hash + 2 * i, 3, "%02x", digest[i]);
	}
	int len = snprintf(out, STATE_KEY + 1, TOKEN_PREFIX "%s\t%s%s%s", map_key, profile,
			   hash_of ? "\t" : "", hash);
	if (is_good && len > 0 && len <= STATE_KEY)
		return OK;
	return ERR(ERR_POLICY, ENAMETOOLONG, "the name is too long for a token");
}

/* --- octets ------------------------------------------------------------------------------- */

static bool pack_record(struct buf *out, const struct token_record *record)
{
	return pack_octet(out, FORMAT) && pack_number(out, record->grant) &&
	       pack_text(out, record->refresh) && pack_text(out, record->access) &&
	       pack_number(out, record->granted_s) && pack_number(out, record->got_s) &&
	       pack_number(out, record->renew_s) && pack_number(out, record->expires_s) &&
	       pack_number(out, record->forced_s) && pack_number(out, record->forced) &&
	       pack_number(out, record->held_s) && pack_number(out, record->trouble_s) &&
	       pack_text(out, record->trouble);
}

static bool unpack_record(const struct buf *from, struct token_record *record)
{
	struct unpack in = unpack_begin(buf_data(from), buf_len(from));
	size_t len;

	if (unpack_octet(&in) != FORMAT)
		return false;
	record->grant = unpack_number(&in, UINT64_MAX);
	const char *refresh = unpack_text(&in, 0, TOKEN_MAX, &len);
	record->refresh = mem_dup(refresh ? refresh : "", refresh ? len : 0);
	const char *access = unpack_text(&in, 0, TOKEN_MAX, &len);
	record->access = mem_dup(access ? access : "", access ? len : 0);
	record->granted_s = unpack_number(&in, UINT64_MAX);
	record->got_s = unpack_number(&in, UINT64_MAX);
	record->renew_s = unpack_number(&in, UINT64_MAX);
	record->expires_s = unpack_number(&in, UINT64_MAX);
	record->forced_s = unpack_number(&in, UINT64_MAX);
	record->forced = unpack_number(&in, UINT64_MAX);
	record->held_s = unpack_number(&in, UINT64_MAX);
	record->trouble_s = unpack_number(&in, UINT64_MAX);
	const char *trouble = unpack_text(&in, 0, TOKEN_TROUBLE, &len);
	if (trouble)
		memcpy(record->trouble, trouble, len); /* zeroed behind it */
	return unpack_is_whole(&in);
}

struct err token_record_open(const struct token_key *key, const char *name, const void *sealed,
			     size_t len, struct token_record *out)
{
	struct buf plain;

	*out = (struct token_record){0};
	buf_init(&plain, RECORD_MAX + 1);
	plain.is_secret = true;
	struct err err = seal_get(key, name, sealed, len, &plain);
	if (!err.kind && !unpack_record(&plain, out)) {
		token_record_fini(out);
		err = ERR(ERR_POLICY, EBADMSG, "a stored token is of another format");
	}
	buf_wipe(&plain);
	return err;
}

/* --- the state ---------------------------------------------------------------------------- */

struct err token_record_get(struct state_store *state, const struct env *env,
			    const struct token_key *key, const char *name, struct token_record *out,
			    uint64_t *version)
{
	struct buf sealed;

	*out = token_record_new();
	buf_init(&sealed, RECORD_MAX + SEAL_EXTRA);
	struct err err = state->ops->get(state, env, name, &sealed, version);
	if (!err.kind && *version) {
		token_record_fini(out);
		err = token_record_open(key, name, buf_data(&sealed), buf_len(&sealed), out);
		if (err.kind)
			*out = token_record_new();
	}
	buf_fini(&sealed);
	return err;
}

struct err token_record_put(struct state_store *state, const struct env *env,
			    const struct token_key *key, const char *name,
			    const struct token_record *record, uint64_t was, bool *is_stale)
{
	struct err err = ERR(ERR_UPSTREAM, EMSGSIZE, "the tokens of a grant are too long");
	struct buf plain, sealed;

	*is_stale = false;
	buf_init(&plain, RECORD_MAX);
	buf_init(&sealed, RECORD_MAX + SEAL_EXTRA);
	plain.is_secret = true;
	if (pack_record(&plain, record))
		err = seal_put(key, env, name, buf_data(&plain), buf_len(&plain), &sealed);
	if (!err.kind) {
		const struct state_change change = {.key = name,
						    .value = buf_data(&sealed),
						    .len = buf_len(&sealed),
						    .was = was};
		err = state->ops->put(state, env, &change, 1, is_stale);
	}
	buf_wipe(&plain);
	buf_fini(&sealed);
	return err;
}
