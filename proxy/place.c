/* SPDX-License-Identifier: MIT */
/* place.c - on which worker a mailbox lives. */
#include "proxy/place.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

/* One spelling of a path: no slash twice or at the end, no component ".". Owned. */
static char *path_dup(const char *path)
{
	char *text = mem_alloc(strlen(path) + 2);
	size_t to = 0;

	for (size_t len; *path; path += len) {
		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (!len || (len == 1 && *path == '.'))
			continue;
		text[to++] = '/';
		memcpy(text + to, path, len);
		to += len;
	}
	return text;
}

/* What tells one store from another, owned; NULL: the entry has none, or the name does not expand. For
 * IMAP as fine as what its sessions take locks by. A Maildir is known by its path alone: two that lead to
 * one folder, by a link, are two here. */
static char *store_dup(const struct map *map, const struct map_entry *entry, const char *name)
{
	struct map_target target;
	struct notice why = {""};
	char *text = NULL;

	struct err err = map_target(map, entry, name, &why, &target);
	const struct upstream_conf *conf = &target.upstream;
	if (!err.kind && conf->path) {
		text = path_dup(conf->path);
	} else if (!err.kind && conf->host) {
		char *host = text_dup(conf->host);
		text_lower(host);
		text = text_printf_dup("%s:%u:%s:%s", host, conf->port,
				       target.login ? target.login : "", conf->folder);
		free(host);
	}
	map_target_fini(&target);
	return text;
}

static unsigned hash(const struct places *places, const char *text)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;
	uint64_t number;

	/* With a key and a hash that are both there it cannot fail. */
	if (!HMAC(EVP_sha256(), places->key, sizeof places->key, (const unsigned char *)text,
		  strlen(text), digest, &len))
		abort();
	memcpy(&number, digest, sizeof number);
	return (unsigned)(number % places->count);
}

unsigned place_of(const struct places *places, const struct map *map, const char *name)
{
	char *canonical = map_canonical_dup(name);
	const struct map_entry *entry = canonical ? map_find(map, canonical) : NULL;
	char *store = entry ? store_dup(map, entry, canonical) : NULL;
	unsigned place = hash(places, store ? store : canonical ? canonical : "");

	free(store);
	free(canonical);
	return place;
}
