/* SPDX-License-Identifier: MIT */
/* login.c - the end of a login: nothing of it stays in memory. */
#include "upstream/upstream.h"

#include "proxy/base/mem.h"

void login_fini(struct login *login)
{
	text_wipe_free(login->user);
	text_wipe_free(login->password);
	*login = (struct login){.user = NULL};
}
