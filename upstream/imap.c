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
#include "upstream/imap_idle.h"
#include "upstream/imap_login.h"
#include "upstream/imap_warm.h"

enum { LOGIN_TOTAL_MS = 50000 }; /* connecting to listing, below any client's patience (H-03) */

/* Connects, logs in, selects. One more try for servers that log in and then say BAD (Table 1). */
static struct err connect_and_select(struct imap *imap, struct notice *why)
{
	struct imap_flight flight = {.put = imap_select_put, .arg = imap};
	struct err err = OK;

	imap->client.until_ms = imap->env->ops->now(imap->env) + LOGIN_TOTAL_MS;
	imap->client.is_deaf = false;
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
		bool is_deaf = !is_alive && imap->client.is_deaf && !attempt; /* M-04 */
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
	imap_ahead_drop(imap);
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
	imap->warm_generation = 0; /* what it has counted is of the one that is lost */
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
	/* One message in trouble shall not cost those behind it their connection. */
	imap_queue_settle(imap, UINT64_MAX);
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

/* All that belongs to one session. */
static void forget_session(struct imap *imap)
{
	login_fini(&imap->login);
	free(imap->pending);
	free(imap->unlearned);
	free(imap->resized);
	free(imap->heard);
	free(imap->failed);
	free(imap->stub);
	imap_ahead_fini(imap);
	imap->pending = imap->unlearned = imap->resized = imap->failed = NULL;
	imap->pending_len = imap->unlearned_len = imap->resized_len = imap->failed_len = 0;
	imap->heard = NULL;
	imap->heard_len = 0;
	imap->stub = NULL;
	imap->stub_uid = 0;
	imap->is_quit = imap->is_bounded = imap->has_ledger = imap->has_unmeasured = false;
}

void imap_end(struct imap *imap)
{
	imap_client_close(&imap->client);
	forget_session(imap);
	imap_keep(imap, NULL);
	free(imap->folder);
	free(imap->host);
	free(imap);
}

static void lend(struct imap *imap, const struct upstream_conf *conf, const struct log *log)
{
	struct imap_client *client = &imap->client;

	imap->log = client->log = log;
	imap->conf = *conf;
	if (client->wire)
		imap_wire_set_log(client->wire, log);
}

/* Adds what has come since the numbers were last noted, and notes them. */
static void count_arrived(struct imap *imap)
{
	const struct imap_wire *wire = imap->client.wire;
	uint32_t gone = imap_wire_expunges(wire) - imap->listed_expunges;

	if (imap->arrived >= 0)
		imap->arrived += (int64_t)imap_wire_exists(wire) + gone - imap->listed_exists;
	imap->listed_exists = imap->selected_exists = imap_wire_exists(wire);
	imap->listed_expunges = imap->selected_expunges = imap_wire_expunges(wire);
}

void imap_suspend(struct imap *imap, const struct log *log)
{
	static const struct upstream_conf none = {.ops = &imap_ops};
	struct imap_client *client = &imap->client;
	struct imap_wire *wire = client->wire;

	/* What SELECT told has had its day. */
	bool has_same_flags = !imap->is_touched && imap_wire_flag_news(wire) == imap->listed_flags;
	imap_wire_know(wire, 0, has_same_flags ? imap->listed_modseq : 0);
	count_arrived(imap);
	free(imap->host);
	imap->host = text_dup(imap->conf.host);
	client->host = imap->host;
	if (!client->idle_tag)
		imap->heard_ms = imap->env->ops->now(imap->env);
	forget_session(imap);
	imap_client_unname(client);
	imap_client_trim(client);
	lend(imap, &none, log);
}

static void adopt_login(struct imap *imap, const struct login *login)
{
	imap->login = login_dup(login);
	/* For this once: the client is there to be asked. */
	imap->login.mechanism = login->mechanism;
	imap->login.initial = login->initial;
	imap->login.ask = login->ask;
	imap->login.arg = login->arg;
}

void imap_resume(struct imap *imap, const struct upstream_conf *conf, const struct login *login,
		 const struct log *log)
{
	struct imap_client *client = &imap->client;

	lend(imap, conf, log);
	adopt_login(imap, login);
	client->host = conf->host;
	client->is_stored = login->is_stored;
	imap_client_name(client, login);
	/* What was waited for before is no part of this login. */
	client->opening_trips = 0U - imap_wire_round_trips(client->wire);
	memset(client->spent_ms, 0, sizeof client->spent_ms);
}

/* Whether a mailbox that stood open lives, and what has come meanwhile: in one flight, or none while IDLE's
 * silence is news enough (M-10, M-11). */
static struct err ask_warm(struct imap *imap)
{
	struct imap_client *client = &imap->client;
	const struct imap_wire *wire = client->wire;
	int tag;

	client->until_ms = imap->env->ops->now(imap->env) + LOGIN_TOTAL_MS;
	if (!imap->is_fresh || !imap_idle_is_quiet(client)) {
		TRY(imap_send(client, &tag, "NOOP"));
		imap_flight_follow(client, &imap->conf, &imap->login);
		TRY(imap_receive(client, PHASE_POLL, tag));
		imap->heard_ms = imap->env->ops->now(imap->env);
		if (!imap_was(client, WIRE_OK))
			return ERR(ERR_UPSTREAM, 0, "the mail server is not ready any more");
	}
	if (imap_wire_folder(wire)->uidvalidity != imap->uidvalidity)
		return ERR(ERR_UPSTREAM, 0, "the folder is not the same as before");
	bool has_same_flags = imap_wire_flag_news(wire) == imap->listed_flags;
	imap_wire_know(client->wire, 0, has_same_flags ? imap_wire_folder(wire)->highestmodseq : 0);
	count_arrived(imap);
	imap->is_watched = has_same_flags && imap->kept && !imap->is_touched;
	return OK;
}

/* The mailbox of an earlier session, if there is one and it lives. */
static struct imap *open_warm(const struct log *log, const struct upstream_conf *conf,
			      const struct login *login)
{
	struct imap *imap = imap_warm_take(conf->warm, conf, login, log);

	if (!imap)
		return NULL;
	struct err err = ask_warm(imap);
	imap->login.ask = NULL;
	if (!err.kind && imap_client_is_alive(&imap->client))
		return imap;
	log_err(log, LEVEL_NOTE, "imap-warm-lost", err);
	imap_client_unname(&imap->client); /* that it had its day is no trouble */
	imap_client_kill(&imap->client);
	imap_end(imap);
	return NULL;
}

/* Whether nothing has been done in the session that the ledger as it was listed does not know. */
static bool is_pure(const struct imap *imap, const struct maildrop *maildrop)
{
	const unsigned touched = MARK_DELETED | MARK_RETRIEVED | MARK_MEASURED | MARK_DUE;

	bool has_more = imap->unlearned_len || imap->heard_len || imap->failed_len ||
			imap->pending_len || (imap->conf.measure_sizes && imap->has_unmeasured);

	if (imap->conf.state && has_more)
		return false;
	for (size_t i = 0; i < maildrop->total; i++)
		if (maildrop->messages[i].marks & touched)
			return false;
	return true;
}

static bool may_park(const struct imap *imap)
{
	return imap_client_is_alive(&imap->client) && !imap->is_void && !imap->is_loose &&
	       !imap->is_bounded && !imap->client.is_throttled && imap->warm_generation &&
	       imap->login.kind != LOGIN_RELAY;
}

static void imap_close(struct upstream *upstream, const struct maildrop *maildrop,
		       bool (*is_wanted)(const void *arg), const void *arg)
{
	struct imap *imap = (struct imap *)upstream;
	bool was_cut = imap->is_bounded;

	/* As it was before what is learned here is learned. */
	imap->is_touched = !maildrop || imap->arrived < 0 || !is_pure(imap, maildrop);
	bool is_known = !imap->is_touched || !imap->conf.state;
	/* First: if that costs the connection, what there is to learn is not worth another. */
	imap_queue_settle(imap, QUEUE_WASTE);
	if (maildrop && imap->has_ledger)
		imap_learn(imap, maildrop, is_wanted, arg);
	if (maildrop && !was_cut && may_park(imap) &&
	    imap_warm_park(imap->conf.warm, imap, is_known))
		return;
	imap_end(imap);
}

static struct err imap_open(const struct env *env, const struct log *log,
			    const struct upstream_conf *conf, const struct login *login,
			    struct notice *why, struct upstream **out)
{
	*out = NULL;
	TRY(imap_auth_check(login));
	struct imap *imap = open_warm(log, conf, login);
	bool is_warm = imap != NULL;
	if (!imap) {
		imap = mem_alloc(sizeof *imap);
		imap->upstream.ops = &imap_ops;
		imap->env = env;
		imap->arrived = -1;
		lend(imap, conf, log);
		adopt_login(imap, login);
		identity_place(imap->place, conf->host, conf->port, login->user, imap->conf.folder);
		set_identity(imap);
		struct err err = connect_and_select(imap, why);
		imap->login.ask = NULL;
		if (err.kind) {
			imap_end(imap);
			return err;
		}
		imap_warm_opened(conf->warm, imap);
	}
	imap->upstream.is_warm = is_warm;
	imap->upstream.is_unasked = is_warm && imap->client.idle_tag;
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
	.announce = imap_announce,
	.fetch = imap_fetch,
	.update = imap_quit,
	.retrieved = imap_retrieved,
	.nudge = imap_nudge,
	.close = imap_close,
	.cut = imap_cut,
	.describe = imap_describe,
};
