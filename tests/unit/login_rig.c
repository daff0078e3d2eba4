/* SPDX-License-Identifier: MIT */
/* login_rig.c - the set-up that tests of logins share. */
#include "tests/unit/login_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/mem.h"
#include "upstream/health.h"

void bed_init(struct bed *bed, const char *script, bool is_stored)
{
	memset(bed, 0, sizeof *bed);
	imap_script_init(&bed->script, script);
	bed->conf = (struct upstream_conf){.host = "imap.example.com", .port = 143};
	bed->conf.health = health_new();
	bed->login = (struct login){
		.user = text_dup("joe"), .password = text_dup("secret"), .is_stored = is_stored};
}

struct err bed_open(struct bed *bed)
{
	return imap_client_open(&bed->client, &bed->script.world.env, &bed->log, &bed->conf,
				&bed->login, &bed->why);
}

void bed_fini(struct bed *bed)
{
	imap_client_close(&bed->client);
	assert_string_equal(bed->script.failure, "");
	imap_script_fini(&bed->script);
	health_free(bed->conf.health);
	login_fini(&bed->login);
}
