/* SPDX-License-Identifier: MIT */
/* world.h - env over libuv and OpenSSL: what the running program hands to its sessions and stores.
 */
#ifndef POPGATE_WORLD_H
#define POPGATE_WORLD_H

#include "proxy/base/env.h"
#include "proxy/io/fiber.h"
#include "proxy/io/tlsconf.h"

struct world {
	struct env env; /* hand out &world.env; `identity` of serve_tls is a struct tls_server_conf
			   * */
	struct fibers *fibers;          /* borrowed */
	struct tls_client_conf *client; /* borrowed */
};

void world_init(struct world *, struct fibers *, struct tls_client_conf *);

#endif
