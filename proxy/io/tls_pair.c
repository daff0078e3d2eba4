/* SPDX-License-Identifier: MIT */
/* tls_pair.c - the certificates of a listener, and which of them a client is shown.
 *
 * Choosing is done in the callback for the server's name, which OpenSSL calls before it looks for a
 * certificate that fits the client's algorithms, for resumed sessions as well.
 */
#include "proxy/io/tls_pair.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "proxy/base/mem.h"
#include "proxy/io/tls_own.h"

struct pair {
	SSL_CTX *holder; /* owned; holds the rest, and is used for nothing else */
	X509 *cert;
	EVP_PKEY *key;
	STACK_OF(X509) * chain;
};

struct tls_pairs {
	struct pair *all; /* owned */
	size_t count;
};

/* --- reading ------------------------------------------------------------------------------ */

static bool load_files(SSL_CTX *holder, const char *cert_file, const char *key_file,
		       struct notice *why)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(holder, cert_file) != 1) {
		tls_say_why(why, cert_file);
		return false;
	}
	ERR_clear_error();
	if (SSL_CTX_use_PrivateKey_file(holder, key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(holder) != 1) {
		tls_say_why(why, key_file);
		return false;
	}
	return true;
}

static bool pair_load(struct pair *pair, const SSL_CTX *like, const char *cert_file,
		      const char *key_file, struct notice *why)
{
	pair->holder = SSL_CTX_new(TLS_server_method());
	if (!pair->holder) {
		tls_say_why(why, "OpenSSL");
		return false;
	}
	tls_context_harden(pair->holder);
	SSL_CTX_set_security_level(pair->holder, SSL_CTX_get_security_level(like));
	if (!load_files(pair->holder, cert_file, key_file, why))
		return false;
	pair->cert = SSL_CTX_get0_certificate(pair->holder);
	pair->key = SSL_CTX_get0_privatekey(pair->holder);
	SSL_CTX_get0_chain_certs(pair->holder, &pair->chain);
	return true;
}

/* --- choosing ----------------------------------------------------------------------------- */

static const ASN1_IA5STRING *dns_name(const GENERAL_NAME *name)
{
	return name->type == GEN_DNS ? name->d.dNSName : NULL;
}

static bool has_dns_name(const GENERAL_NAMES *names, const ASN1_IA5STRING *wanted)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const ASN1_IA5STRING *name = dns_name(sk_GENERAL_NAME_value(names, i));
		if (name && !ASN1_STRING_cmp(name, wanted))
			return true;
	}
	return false;
}

/* Whether two certificates have a name in common, letter for letter. */
static bool is_twin(X509 *a, X509 *b)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(a, NID_subject_alt_name, NULL, NULL);
	GENERAL_NAMES *others = X509_get_ext_d2i(b, NID_subject_alt_name, NULL, NULL);
	bool is_found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !is_found; i++) {
		const ASN1_IA5STRING *name = dns_name(sk_GENERAL_NAME_value(names, i));
		is_found = name && has_dns_name(others, name);
	}
	GENERAL_NAMES_free(names);
	GENERAL_NAMES_free(others);
	return is_found;
}

/* A context or connection keeps one pair for each kind of key, the one that came last: so the last is
 * put there first. */
static bool use_default(SSL_CTX *context, const struct tls_pairs *pairs)
{
	bool is_good = true;

	for (size_t i = pairs->count; i-- && is_good;) {
		const struct pair *pair = &pairs->all[i];
		if (i == 0 || is_twin(pairs->all[0].cert, pair->cert))
			is_good = SSL_CTX_use_cert_and_key(context, pair->cert, pair->key,
							   pair->chain, 1) == 1;
	}
	return is_good;
}

/* Shows those that are good for the name by a rule of X509_check_host(3). Whether there are any. */
static bool use_named(SSL *ssl, const struct tls_pairs *pairs, const char *name, unsigned rule)
{
	bool is_found = false;

	for (size_t i = pairs->count; i--;) {
		const struct pair *pair = &pairs->all[i];
		if (X509_check_host(pair->cert, name, 0, rule, NULL) != 1)
			continue;
		if (!is_found)
			SSL_certs_clear(ssl);
		is_found = true;
		/* It was good when it was loaded. Should it fail, none is shown, and no other's. */
		(void)SSL_use_cert_and_key(ssl, pair->cert, pair->key, pair->chain, 1);
	}
	return is_found;
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls_pairs *pairs = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	/* With a dot before it, it would match whatever is below. */
	if (!name || !*name || *name == '.')
		return SSL_TLSEXT_ERR_NOACK;
	bool is_found = use_named(ssl, pairs, name, X509_CHECK_FLAG_NO_WILDCARDS) ||
			use_named(ssl, pairs, name, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	ERR_clear_error();
	return is_found ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* --- all of them -------------------------------------------------------------------------- */

struct err tls_pairs_new(SSL_CTX *context, const char *const *certs, const char *const *keys,
			 size_t count, struct notice *why, struct tls_pairs **out)
{
	struct tls_pairs *pairs = mem_alloc(sizeof *pairs);
	bool is_good = count > 0;

	pairs->all = mem_alloc((count ? count : 1) * sizeof *pairs->all);
	for (; pairs->count < count && is_good; pairs->count++)
		is_good = pair_load(&pairs->all[pairs->count], context, certs[pairs->count],
				    keys[pairs->count], why);
	if (is_good && !use_default(context, pairs)) {
		tls_say_why(why, certs[0]);
		is_good = false;
	}
	*out = is_good ? pairs : NULL;
	if (!is_good) {
		tls_pairs_free(pairs);
		return ERR(ERR_POLICY, EINVAL, "certificate and key cannot be used");
	}
	if (count > 1) {
		SSL_CTX_set_tlsext_servername_callback(context, on_name);
		SSL_CTX_set_tlsext_servername_arg(context, pairs);
	}
	return OK;
}

void tls_pairs_free(struct tls_pairs *pairs)
{
	if (!pairs)
		return;
	for (size_t i = 0; i < pairs->count; i++)
		SSL_CTX_free(pairs->all[i].holder);
	free(pairs->all);
	free(pairs);
}
