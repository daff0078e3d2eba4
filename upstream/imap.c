/* SPDX-License-Identifier: MIT */
/* imap.c - an IMAP server as a store: opening, reconnecting, closing. */
#include "upstream/imap.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/identity.h"

enum { LOGIN_TOTAL_MS = 50000 }; /* connecting to listing, below any client's patience (H-03) */

/* Connects, logs in, selects. One more try for servers that log in and then say BAD (Table 1). */
static struct err connect_and_select(struct imap *imap, struct notice *why)
{
	struct err err = OK;

	imap->client.until_ms = imap->env->ops->now(imap->env) + LOGIN_TOTAL_MS;
	for (int attempt = 0; attempt < 2; attempt++) {
		TRY(imap_client_open(&imap->client, imap->env, imap->log, &imap->conf, &imap->login,
				     why));
		err = imap_select(imap);
		if (!err.kind)
			return OK;
		bool is_bad =
			imap_client_is_alive(&imap->client) && imap_was(&imap->client, WIRE_BAD);
		imap_client_why(&imap->client, why);
		log_err(imap->log, LEVEL_NOTE, "imap-select-failed", err);
		imap_client_close(&imap->client);
		if (!is_bad)
			return err;
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
	if (imap_client_is_alive(&imap->client)) {
		const struct mailimap_selection_info *info = imap->client.im->imap_selection_info;
		imap->client.until_ms = 0;
		imap->is_void = !info || info->sel_uidvalidity != imap->uidvalidity;
		return imap->is_void ? other_folder : OK;
	}
	imap_client_close(&imap->client);
	LOG(imap->log, LEVEL_NOTE, "imap-reconnect");
	struct err err = connect_and_select(imap, NULL);
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

struct err imap_count_left(struct imap *imap, const char *set, size_t *left)
{
	struct imap_client *client = &imap->client;

	*left = 0;
	/* A server of revision 2 only answers in a form that libetpan does not read. */
	if ((client->caps & (CAP_IMAP4REV1 | CAP_IMAP4REV2)) == CAP_IMAP4REV2)
		return ERR(ERR_UPSTREAM, 0, "the mail server cannot be asked what is left");
	TRY(imap_command(client, PHASE_UPDATE, "NOOP"));
	TRY(imap_command(client, PHASE_UPDATE, "UID SEARCH UID %s", set));
	const struct mailimap_response_info *info = client->im->imap_response_info;
	if (!info)
		return ERR(ERR_UPSTREAM, 0, "out of memory");
	*left = info->rsp_search_result ? (size_t)clist_count(info->rsp_search_result) : 0;
	return OK;
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

static void imap_close(struct upstream *upstream)
{
	struct imap *imap = (struct imap *)upstream;

	imap_client_close(&imap->client);
	login_fini(&imap->login);
	free(imap->folder);
	free(imap->hidden);
	free(imap);
}

static struct err imap_open(const struct env *env, const struct log *log,
			    const struct upstream_conf *conf, const struct login *login,
			    struct notice *why, struct upstream **out)
{
	*out = NULL;
	TRY(imap_client_check(login));
	struct imap *imap = mem_alloc(sizeof *imap);
	imap->upstream.ops = &imap_ops;
	imap->env = env;
	imap->log = log;
	imap->conf = *conf;
	if (text_same(conf->folder, "INBOX"))
		imap->conf.folder = "INBOX";
	imap->login =
		(struct login){text_dup(login->user), text_dup(login->password), login->is_stored};
	set_identity(imap);
	struct err err = connect_and_select(imap, why);
	if (err.kind) {
		imap_close(&imap->upstream);
		return err;
	}
	imap->upstream.is_read_only =
		imap->is_folder_read_only || conf->delete_policy == DELETE_NEVER;
	*out = &imap->upstream;
	return OK;
}

const struct upstream_ops imap_ops = {
	"imap", imap_open, imap_list, imap_fetch, imap_update, imap_close,
};
