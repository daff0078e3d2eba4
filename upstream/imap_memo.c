/* SPDX-License-Identifier: MIT */
/* imap_memo.c - what a server has shown at the last login. */
#include "upstream/imap_memo.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/lru.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/identity.h"
#include "upstream/upstream.h"

enum {
	SERVERS_MAX = 4000,
	TOKENS_MAX = 20000,
	TOKEN_HASH = 35, /* as identity_of_name() makes it */
	FOLDERS_MAX = 20000,
	FOLDER = 256, /* octets of a name, with its NUL */
	NEXTS_MAX = 20000,
};

struct next {
	unsigned times; /* in a row */
	char line[IMAP_NEXT];
};

struct imap_memos {
	struct lru *servers; /* of struct imap_memo */
	struct lru *tokens;  /* of a hash, by server and user */
	struct lru *folders; /* of a name on the wire, by server, user and name in the map */
	struct lru *nexts;   /* of struct next, likewise */
};

struct imap_memos *imap_memos_new(void)
{
	struct imap_memos *memos = mem_alloc(sizeof *memos);

	memos->servers = lru_new(sizeof(struct imap_memo), SERVERS_MAX);
	memos->tokens = lru_new(TOKEN_HASH, TOKENS_MAX);
	memos->folders = lru_new(FOLDER, FOLDERS_MAX);
	memos->nexts = lru_new(sizeof(struct next), NEXTS_MAX);
	return memos;
}

void imap_memos_free(struct imap_memos *memos)
{
	if (!memos)
		return;
	lru_free(memos->servers);
	lru_free(memos->tokens);
	lru_free(memos->folders);
	lru_free(memos->nexts);
	free(memos);
}

uint64_t imap_memo_print(const char *greeting, const char *capabilities)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (const char *at = *capabilities ? capabilities : greeting; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 1099511628211u;
	return hash ? hash : 1;
}

/* How TLS begins is a part of it: another port may be another server, and so may the clear side. */
static char *key_of(const struct upstream_conf *conf, const char *user)
{
	char *key = text_printf_dup("%s:%u:%d\t%s", conf->host, conf->port, (int)conf->tls, user);

	for (char *at = key; *at && *at != '\t'; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at + 'a' - 'A');
	return key;
}

struct imap_memo imap_memo_get(struct imap_memos *memos, const struct upstream_conf *conf)
{
	struct imap_memo memo = {.print = 0};

	if (!memos)
		return memo;
	char *key = key_of(conf, "");
	const struct imap_memo *kept = lru_find(memos->servers, key);
	if (kept)
		memo = *kept;
	free(key);
	return memo;
}

void imap_memo_put(struct imap_memos *memos, const struct upstream_conf *conf,
		   const struct imap_memo *memo)
{
	if (!memos)
		return;
	char *key = key_of(conf, "");
	*(struct imap_memo *)lru_touch(memos->servers, key) = *memo;
	free(key);
}

bool imap_memo_is_tried(struct imap_memos *memos, const struct upstream_conf *conf,
			const struct login *login)
{
	char hash[TOKEN_HASH];

	if (!memos)
		return false;
	char *key = key_of(conf, login->user);
	const char *kept = lru_find(memos->tokens, key);
	identity_of_name(hash, login->password);
	bool is_tried = kept && !strcmp(kept, hash);
	free(key);
	return is_tried;
}

void imap_memo_tried(struct imap_memos *memos, const struct upstream_conf *conf,
		     const struct login *login)
{
	if (!memos)
		return;
	char *key = key_of(conf, login->user);
	identity_of_name(lru_touch(memos->tokens, key), login->password);
	free(key);
}

static char *key_of_folder(const struct upstream_conf *conf, const struct login *login)
{
	char *user = key_of(conf, login->user), *key;

	key = text_printf_dup("%s\t%s", user, conf->folder);
	free(user);
	return key;
}

char *imap_memo_folder(struct imap_memos *memos, const struct upstream_conf *conf,
		       const struct login *login)
{
	if (!memos)
		return NULL;
	char *key = key_of_folder(conf, login);
	char *name = text_dup(lru_find(memos->folders, key));
	free(key);
	return name;
}

void imap_memo_put_folder(struct imap_memos *memos, const struct upstream_conf *conf,
			  const struct login *login, const char *name)
{
	if (!memos)
		return;
	char *key = key_of_folder(conf, login);
	if (name && strlen(name) < FOLDER)
		strcpy(lru_touch(memos->folders, key), name);
	else
		lru_drop(memos->folders, key);
	free(key);
}

void imap_memo_next(struct imap_memos *memos, const struct upstream_conf *conf,
		    const struct login *login, char out[IMAP_NEXT])
{
	*out = '\0';
	if (!memos)
		return;
	char *key = key_of_folder(conf, login);
	const struct next *next = lru_find(memos->nexts, key);
	if (next && next->times > 1)
		memcpy(out, next->line, IMAP_NEXT);
	free(key);
}

void imap_memo_put_next(struct imap_memos *memos, const struct upstream_conf *conf,
			const struct login *login, const char *line)
{
	if (!memos)
		return;
	char *key = key_of_folder(conf, login);
	if (*line && strlen(line) < IMAP_NEXT) {
		struct next *next = lru_touch(memos->nexts, key);
		next->times = strcmp(next->line, line) ? 1 : next->times + 1;
		strcpy(next->line, line);
	} else {
		lru_drop(memos->nexts, key);
	}
	free(key);
}
