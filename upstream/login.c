/* SPDX-License-Identifier: MIT */
/* login.c - the end of a login: nothing of it stays in memory. */
#include "upstream/upstream.h"

#include "proxy/base/mem.h"

void login_fini(struct login *login)
{
	text_wipe_free(login->user);
	text_wipe_free(login->password);
	text_wipe_free(login->master);
	*login = (struct login){.user = NULL};
}

struct login login_dup(const struct login *login)
{
	struct login copy = *login;

	copy.user = login->user ? text_dup(login->user) : NULL;
	copy.password = login->password ? text_dup(login->password) : NULL;
	copy.master = login->master ? text_dup(login->master) : NULL;
	copy.mechanism = copy.initial = NULL;
	copy.ask = NULL;
	copy.arg = NULL;
	return copy;
}
