/* SPDX-License-Identifier: MIT */
/* listener_tls.c - what a [listener] section says about TLS, read from its files. */
#include "proxy/listener_tls.h"

#include <errno.h>

struct tls_server_conf *listener_tls_load(const struct config *config,
					  const struct listener_conf *listener,
					  struct tls_tickets *tickets, struct faults *faults)
{
	const struct file_list *cert, *key;
	struct tls_server_conf *conf;
	struct notice why = {""};
	int line;

	if (listener->tls == LISTENER_NONE)
		return NULL;
	config_certificates(config, listener, &cert, &key, &line);
	struct tls_server_setup setup = {
		.name = listener->name,
		.certs = (const char *const *)cert->all,
		.keys = (const char *const *)key->all,
		.count = cert->count,
		.client_ca = listener->client_ca,
		.min_version = listener->tls_min,
		.tickets = tickets,
	};
	struct err err = tls_server_conf_new(&setup, &why, &conf);
	if (err.kind && err.code == EACCES)
		line = listener->client_ca_line;
	if (err.kind)
		faults_add(faults, config->file, line, "[listener %s]: %s%s%s", listener->name,
			   err.what, *why.text ? ": " : "", why.text);
	return conf;
}
