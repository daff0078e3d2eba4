/* SPDX-License-Identifier: MIT */
/* stand.c - what stands around one POP3 session of a soak. */
#include "tests/soak/stand.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

struct stand_accounts {
	struct accounts accounts; /* first */
	const struct stand *stand;
};

static struct err prove(struct accounts *accounts, const struct env *env, const struct log *log,
			const struct credential *credential, struct notice *why,
			struct account **out)
{
	const struct stand *stand = ((struct stand_accounts *)accounts)->stand;
	struct account *account = mem_alloc(sizeof *account);

	(void)env;
	(void)log;
	(void)why;
	account->name = text_dup(credential->name);
	account->upstream = stand->conf;
	account->upstream.name = account->name;
	account->login.user = text_dup(credential->name);
	account->login.password = text_dup(credential->password);
	*out = account;
	return OK;
}

static void free_account(struct account *account)
{
	if (!account)
		return;
	login_fini(&account->login);
	free(account->name);
	free(account);
}

static const struct accounts_ops accounts_ops = {.prove = prove, .free = free_account};

void stand_init(struct stand *stand, const struct env *env, struct log_target *log)
{
	*stand = (struct stand){
		.env = env,
		.conf = {.ops = &imap_ops,
			 .host = "imap.example.com",
			 .port = 143,
			 .folder = "INBOX",
			 .seen_policy = SEEN_ON_QUIT,
			 .delete_after_s = DELETE_AFTER_NEVER},
		.locks = lock_table_new(),
		.log = log,
	};
}

void stand_fini(struct stand *stand)
{
	lock_table_free(stand->locks);
}

void stand_restart(struct stand *stand)
{
	lock_table_free(stand->locks);
	stand->locks = lock_table_new();
}

void stand_run(struct stand *stand, struct session *session, struct pop_client *client)
{
	struct stand_accounts accounts = {{&accounts_ops}, stand};
	struct session_conf conf;

	session_conf_init(&conf);
	conf.failure_ms = 0;
	session->env = stand->env;
	session->conf = &conf;
	session->accounts = &accounts.accounts;
	session->locks = stand->locks;
	session->log.target = stand->log;
	session->is_cleartext_allowed = true;
	session_run(session, &client->stream);
}
