/* SPDX-License-Identifier: MIT */
/* login_rig.h - a connection to the scripted IMAP server, from the greeting to the end of the login. */
#ifndef POPGATE_LOGIN_RIG_H
#define POPGATE_LOGIN_RIG_H

#include <stdbool.h>

#include "tests/fake/imap_script.h"
#include "upstream/imap_client.h"

struct bed {
	struct imap_script script;
	struct upstream_conf conf;
	struct login login;
	struct log log;
	struct imap_client client;
	struct notice why;
};

/* For user joe, password secret; `script` as imap_script.h has it. */
void bed_init(struct bed *, const char *script, bool is_stored);
struct err bed_open(struct bed *);
/* Closes, and fails the test unless the script was kept to. */
void bed_fini(struct bed *);

#endif
