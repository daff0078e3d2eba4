/* SPDX-License-Identifier: MIT */
/* imap.c - an IMAP server as a store: opening, reconnecting, closing. */
#include "upstream/imap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/identity.h"
#include "upstream/imap_auth.h"
#include "upstream/imap_login.h"

enum { LOGIN_TOTAL_MS = 50000 }; /* connecting to listing, below any client's patience (H-03) */

/* Connects, logs in, selects. One more try for servers that log in and then say BAD (Table 1). */
static struct err connect_and_select(struct imap *imap, struct notice *why)
{
	struct imap_flight flight = {.put = imap_select_put, .arg = imap};
	struct err err = OK;

	imap->client.until_ms = imap->env->ops->now(imap->env) + LOGIN_TOTAL_MS;
	imap_memo_next(imap->conf.memos, &imap->conf, &imap->login, flight.next);
	for (int attempt = 0; attempt < 2; attempt++) {
		imap->client.flight = &flight;
		err = imap_client_open(&imap->client, imap->env, imap->log, &imap->conf,
				       &imap->login, why);
		if (err.kind) {
			imap->client.flight = NULL;
			return err;
		}
		imap->quirks = imap->client.quirks;
		err = imap_select(imap);
		if (!err.kind) {
			imap->quirks = imap->client.quirks; /* by now its ID is known */
			imap_client_report(&imap->client, HEALTH_GOOD);
			imap_flight_note(&imap->client, &imap->conf);
			return OK;
		}
		imap->client.flight = NULL;
		bool is_alive = imap_client_is_alive(&imap->client);
		bool is_bad = is_alive && imap_was(&imap->client, WIRE_BAD);
		bool is_deaf = !is_alive && imap->client.is_deaf; /* M-04: in steps now */
		imap_client_why(&imap->client, why);
		if (is_bad && attempt)
			imap_client_report(&imap->client, HEALTH_FAILED);
		if (is_deaf)
			imap_client_report(&imap->client, HEALTH_GREETED);
		log_err(imap->log, LEVEL_NOTE, "imap-select-failed", err);
		imap_client_close(&imap->client);
		if (!is_bad && !is_deaf)
			return err;
		if (imap->login.kind == LOGIN_RELAY)
			break;
	}
	return ERR(ERR_UPSTREAM, err.code, "the mail server opens no folder after the login");
}

static const struct err other_folder = {ERR_UPSTREAM, 0, "the folder is not the same as before"};

struct err imap_ready(struct imap *imap, bool *is_fresh)
{
	if (is_fresh)
		*is_fresh = false;
	if (imap->is_void)
		return other_folder;
	imap_seen_settle(imap);
	if (imap_client_is_alive(&imap->client)) {
		const struct wire_folder *folder = imap_wire_folder(imap->client.wire);
		if (!imap->is_bounded)
			imap->client.until_ms = 0;
		imap->is_void = folder->uidvalidity != imap->uidvalidity;
		return imap->is_void ? other_folder : OK;
	}
	if (imap->is_bounded)
		return ERR(ERR_UPSTREAM, ENOTCONN, "the connection to the mail server is lost");
	imap_client_close(&imap->client);
	LOG(imap->log, LEVEL_NOTE, "imap-reconnect");
	struct err err = OK;
	if (imap->login.renew) /* the token of the session's begin may have expired (J-10) */
		err = imap->login.renew(&imap->login, imap->env, false);
	if (!err.kind)
		err = connect_and_select(imap, NULL);
	imap->client.until_ms = 0;
	if (err.kind == ERR_LOGIN || err.kind == ERR_POLICY) {
		/* Asked again for each message it would lock the account. */
		imap->is_void = true;
		return (struct err){ERR_POLICY, err.code, err.what};
	}
	if (err.kind)
		return (struct err){ERR_UPSTREAM, err.code, err.what};
	if (is_fresh)
		*is_fresh = true;
	return OK;
}

static void count_found(void *arg, uint32_t low, uint32_t high)
{
	size_t *left = arg;

	*left += (size_t)high - low + 1;
}

struct err imap_count_left(struct imap *imap, const char *set, size_t *left)
{
	struct imap_client *client = &imap->client;

	*left = 0;
	TRY(imap_command(client, PHASE_UPDATE, "NOOP"));
	imap_wire_expect_found(client->wire, count_found, left);
	struct err err = imap_command(client, PHASE_UPDATE, "UID SEARCH UID %s", set);
	bool has_found = imap_client_is_alive(client) && imap_wire_has_found(client->wire);
	imap_wire_expect_found(client->wire, NULL, NULL);
	if (!err.kind && !has_found)
		return ERR(ERR_UPSTREAM, 0, "the mail server does not say what is left");
	return err;
}

/* A name for the lock that is short and never the same for two mailboxes (G-05). */
static void set_identity(struct imap *imap)
{
	const struct upstream_conf *conf = &imap->conf;
	char *host = text_dup(conf->host);

	text_lower(host);
	char *all = text_printf_dup("imap:%s:%u:%s:%s", host, conf->port, imap->login.user,
				    conf->folder);
	if (strlen(all) < sizeof imap->upstream.identity) {
		memcpy(imap->upstream.identity, all, strlen(all) + 1);
	} else {
		memcpy(imap->upstream.identity, "imap:", 5);
		identity_of_name(imap->upstream.identity + 5, all);
	}
	free(all);
	free(host);
}

/* The client has said QUIT: what it retrieved it has (D-16). */
static struct err imap_quit(struct upstream *upstream, const struct maildrop *maildrop)
{
	((struct imap *)upstream)->is_quit = true;
	return imap_update(upstream, maildrop);
}

static void imap_cut(struct upstream *upstream)
{
	struct imap *imap = (struct imap *)upstream;

	imap->is_bounded = true;
	imap_client_kill(&imap->client);
}

static void imap_close(struct upstream *upstream, const struct maildrop *maildrop,
		       bool (*is_wanted)(const void *arg), const void *arg)
{
	struct imap *imap = (struct imap *)upstream;

	if (maildrop && imap->has_ledger)
		imap_learn(imap, maildrop, is_wanted, arg);
	imap_client_close(&imap->client);
	login_fini(&imap->login);
	free(imap->folder);
	free(imap->pending);
	free(imap->unlearned);
	free(imap->resized);
	free(imap->heard);
	free(imap->failed);
	free(imap->stub);
	free(imap);
}

static struct err imap_open(const struct env *env, const struct log *log,
			    const struct upstream_conf *conf, const struct login *login,
			    struct notice *why, struct upstream **out)
{
	*out = NULL;
	TRY(imap_auth_check(login));
	struct imap *imap = mem_alloc(sizeof *imap);
	imap->upstream.ops = &imap_ops;
	imap->env = env;
	imap->log = log;
	imap->conf = *conf;
	if (text_same(conf->folder, "INBOX"))
		imap->conf.folder = "INBOX";
	imap->login = login_dup(login);
	/* For this once: the client is there to be asked. */
	imap->login.mechanism = login->mechanism;
	imap->login.initial = login->initial;
	imap->login.ask = login->ask;
	imap->login.arg = login->arg;
	identity_place(imap->place, conf->host, conf->port, login->user, imap->conf.folder);
	set_identity(imap);
	struct err err = connect_and_select(imap, why);
	imap->login.ask = NULL;
	if (err.kind) {
		imap_close(&imap->upstream, NULL, NULL, NULL);
		return err;
	}
	/* What is only hidden needs no right to delete (C-02). */
	imap->upstream.is_read_only =
		conf->delete_policy == DELETE_NEVER ||
		(imap->is_folder_read_only && conf->delete_policy != DELETE_HIDE);
	*out = &imap->upstream;
	return OK;
}

const struct upstream_ops imap_ops = {
	.name = "imap",
	.open = imap_open,
	.list = imap_list,
	.fetch = imap_fetch,
	.update = imap_quit,
	.retrieved = imap_retrieved,
	.nudge = imap_nudge,
	.close = imap_close,
	.cut = imap_cut,
	.describe = imap_describe,
};
