/* SPDX-License-Identifier: MIT */
/* worker.c - one loop and everything that hangs off it. */
#include "proxy/worker.h"

#include <stdio.h>
#include <stdlib.h>

void worker_init(struct worker *worker, struct map *map, struct log_target *target)
{
	*worker = (struct worker){.map = map, .log = {.target = target}};
	int failed = uv_loop_init(&worker->loop);
	if (failed) {
		fprintf(stderr, "popgate: no event loop: %s\n", uv_strerror(failed));
		exit(1);
	}
	fibers_init(&worker->fibers, &worker->loop);
	worker->tls_client = tls_client_conf_new();
	worker->locks = lock_table_new();
	worker->health = health_new();
	worker->memos = imap_memos_new();
	world_init(&worker->world, &worker->fibers, worker->tls_client);
	const struct imap_warm_conf nothing = {0};
	worker->warm = imap_warm_new(&worker->world.env, &worker->log, &nothing);
}

void worker_open_tokens(struct worker *worker)
{
	if (worker->state && worker->token_key)
		worker->tokens =
			tokens_new(worker->state, worker->token_key, &oauth_http, &worker->log);
}

void worker_be_guest(struct worker *worker, const struct worker *host)
{
	worker->is_guest = true;
	imap_warm_share(worker->warm, host->warm);
	worker->state = host->state;
	worker->token_key = host->token_key;
	worker->tokens = host->tokens;
	worker->profiles = oauth_profiles_hold(host->profiles);
}

void worker_renew(struct worker *worker, struct map *map, struct oauth_profiles *profiles)
{
	map_release(worker->map);
	worker->map = map;
	if (profiles) {
		oauth_profiles_release(worker->profiles);
		worker->profiles = profiles;
	}
	/* Other policies, or nobody's any more. */
	imap_warm_drop(worker->warm);
	/* What it keeps of CA files is read anew at their next use. */
	tls_client_conf_free(worker->tls_client);
	worker->tls_client = worker->world.client = tls_client_conf_new();
}

void worker_run(struct worker *worker)
{
	uv_run(&worker->loop, UV_RUN_DEFAULT);
}

void worker_fini(struct worker *worker)
{
	fibers_fini(&worker->fibers);
	uv_run(&worker->loop, UV_RUN_DEFAULT);
	uv_loop_close(&worker->loop);
	tls_client_conf_free(worker->tls_client);
	lock_table_free(worker->locks);
	health_free(worker->health);
	imap_warm_free(worker->warm);
	imap_memos_free(worker->memos);
	oauth_profiles_release(worker->profiles);
	if (!worker->is_guest) {
		tokens_free(worker->tokens);
		token_key_free(worker->token_key);
		if (worker->state)
			worker->state->ops->close(worker->state);
	}
	map_release(worker->map);
}
