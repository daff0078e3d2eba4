/* SPDX-License-Identifier: MIT */
/* tlsconf_client.c - contexts of OpenSSL towards mail servers: one for each set of files, made on the
 * pool, since CA files are long and may lie on a slow disk.
 *
 * While a file is read other fibers run: one may ask for the same context, and a reload may drop them
 * all. So a context found at the end of the reading is taken before one's own, and who reads holds the
 * whole.
 */
#include "proxy/io/tlsconf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "proxy/base/mem.h"
#include "proxy/io/tls_own.h"

struct known_context {
	struct known_context *next;
	char *ca_file, *cert_file, *key_file; /* owned; NULL: not given */
	SSL_CTX *context;                     /* a reference */
	struct tls_sessions *sessions;        /* held */
};

struct tls_client_conf {
	struct known_context *contexts;
	unsigned holders;
};

struct tls_client_conf *tls_client_conf_new(void)
{
	struct tls_client_conf *conf = mem_alloc(sizeof *conf);

	conf->holders = 1;
	return conf;
}

void tls_client_conf_free(struct tls_client_conf *conf)
{
	if (!conf || --conf->holders)
		return;
	while (conf->contexts) {
		struct known_context *known = conf->contexts;
		conf->contexts = known->next;
		SSL_CTX_free(known->context);
		tls_sessions_release(known->sessions);
		free(known->ca_file);
		free(known->cert_file);
		free(known->key_file);
		free(known);
	}
	free(conf);
}

/* Reading done on the pool. */
struct reading {
	const struct tls_policy *policy;
	SSL_CTX *context;
	struct err err;
};

static struct err read_failure(const char *what)
{
	int code = (int)ERR_GET_REASON(ERR_peek_error());

	ERR_clear_error();
	return (struct err){ERR_POLICY, code, what};
}

static struct err read_files(SSL_CTX *context, const struct tls_policy *policy)
{
	int is_read = policy->ca_file ? SSL_CTX_load_verify_file(context, policy->ca_file)
				      : SSL_CTX_set_default_verify_paths(context);

	if (is_read != 1)
		return read_failure("the upstream's CA file cannot be used");
	if (!policy->cert_file)
		return OK;
	if (SSL_CTX_use_certificate_chain_file(context, policy->cert_file) != 1)
		return read_failure("our certificate for the upstream cannot be used");
	if (!policy->key_file ||
	    SSL_CTX_use_PrivateKey_file(context, policy->key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(context) != 1)
		return read_failure("the key of our certificate for the upstream cannot be used");
	return OK;
}

static void work_reading(void *arg)
{
	struct reading *reading = arg;

	ERR_clear_error();
	reading->context = SSL_CTX_new(TLS_client_method());
	if (!reading->context) {
		reading->err = read_failure("no TLS");
		return;
	}
	tls_context_harden(reading->context);
	SSL_CTX_set_min_proto_version(reading->context, TLS1_2_VERSION);
	SSL_CTX_set_verify(reading->context, SSL_VERIFY_PEER, NULL);
	reading->err = read_files(reading->context, reading->policy);
	if (!reading->err.kind)
		return;
	SSL_CTX_free(reading->context);
	reading->context = NULL;
}

static bool is_same_file(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static const struct known_context *find(const struct tls_client_conf *conf,
					const struct tls_policy *policy)
{
	for (const struct known_context *known = conf->contexts; known; known = known->next)
		if (is_same_file(known->ca_file, policy->ca_file) &&
		    is_same_file(known->cert_file, policy->cert_file) &&
		    is_same_file(known->key_file, policy->key_file))
			return known;
	return NULL;
}

static const struct known_context *keep(struct tls_client_conf *conf,
					const struct tls_policy *policy, SSL_CTX *context)
{
	struct known_context *known = mem_alloc(sizeof *known);

	*known = (struct known_context){
		.next = conf->contexts,
		.ca_file = text_dup(policy->ca_file),
		.cert_file = text_dup(policy->cert_file),
		.key_file = text_dup(policy->key_file),
		.context = context,
		.sessions = tls_sessions_new(context),
	};
	conf->contexts = known;
	return known;
}

static void hold(const struct known_context *known, SSL_CTX **out, struct tls_sessions **sessions)
{
	SSL_CTX_up_ref(known->context);
	*out = known->context;
	*sessions = tls_sessions_hold(known->sessions);
}

struct err tls_client_context(const struct env *env, struct tls_client_conf *conf,
			      const struct tls_policy *policy, SSL_CTX **out,
			      struct tls_sessions **sessions)
{
	struct reading reading = {.policy = policy};
	const struct known_context *known = find(conf, policy);

	*out = NULL;
	*sessions = NULL;
	if (known) {
		hold(known, out, sessions);
		return OK;
	}
	conf->holders++;
	env->ops->offload(env, work_reading, &reading);
	if (!reading.err.kind) {
		known = find(conf, policy);
		if (known)
			SSL_CTX_free(reading.context);
		else
			known = keep(conf, policy, reading.context);
		hold(known, out, sessions);
	}
	tls_client_conf_free(conf);
	return reading.err;
}
