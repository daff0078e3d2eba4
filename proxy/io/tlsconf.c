/* SPDX-License-Identifier: MIT */
/* tlsconf.c - contexts of OpenSSL: what both sides insist on, and what the server's side does. */
#include "proxy/io/tlsconf.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/mem.h"
#include "proxy/io/tls_own.h"
#include "proxy/io/tls_pair.h"
#include "proxy/io/tls_ticket.h"

enum { SELF_SIGNED_S = 365 * 24 * 3600 };

struct tls_server_conf {
	SSL_CTX *context;
	struct tls_pairs *pairs; /* NULL: self-signed */
	atomic_uint holders; /* of several threads */
};

/* OpenSSL would ask on the terminal. */
static int no_passphrase(char *out, int size, int is_writing, void *arg)
{
	(void)out;
	(void)size;
	(void)is_writing;
	(void)arg;
	return -1;
}

/* Both sides: no renegotiation, no compression; give buffers back while nothing moves. */
void tls_context_harden(SSL_CTX *context)
{
	SSL_CTX_set_options(context,
			    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_SSLv3);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* The cache would keep every session of every client; tickets keep them at the client. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
}

/* RFC 7301 section 3.2: a client that came to speak something else is told so (ALPACA). */
static int choose_pop3(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
		       const unsigned char *offered, unsigned offered_len, void *arg)
{
	static const unsigned char pop3[] = "\4pop3";
	unsigned char *found;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&found, chosen_len, pop3, sizeof pop3 - 1, offered,
				  offered_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*chosen = found;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *server_context_new(int min_version)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int least = min_version <= 10   ? TLS1_VERSION
		    : min_version == 11 ? TLS1_1_VERSION
		    : min_version == 12 ? TLS1_2_VERSION
					: TLS1_3_VERSION;

	if (!context)
		return NULL;
	tls_context_harden(context);
	/* A client's password must not stay behind in a buffer that is given back (B-22). */
	SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_CLEANSE_PLAINTEXT);
	SSL_CTX_set_min_proto_version(context, least);
	if (least < TLS1_2_VERSION) {
		/* OpenSSL 3 lets SHA-1 signatures, which these versions need, in nowhere else. */
		SSL_CTX_set_security_level(context, 0);
		SSL_CTX_set_cipher_list(context, "DEFAULT:@SECLEVEL=0");
	}
	SSL_CTX_set_dh_auto(context, 1);
	SSL_CTX_set_alpn_select_cb(context, choose_pop3, NULL);
	return context;
}

/* OpenSSL's oldest words: the newer ones only say where they passed by. */
void tls_say_why(struct notice *why, const char *file)
{
	unsigned long code = ERR_peek_error();
	const char *words = code ? ERR_reason_error_string(code) : NULL;

	if (code && ERR_SYSTEM_ERROR(code))
		words = strerror((int)ERR_GET_REASON(code));
	snprintf(why->text, sizeof why->text, "%s: %s", file, words ? words : "not usable");
	ERR_clear_error();
}

/* --- clients' certificates ------------------------------------------------------------------ */

/* Adds what the store holds to `whole`. *has_list: a revocation list among it. */
static bool digest_store(X509_STORE *store, EVP_MD_CTX *whole, bool *has_list)
{
	const STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);
	bool is_done = true;

	*has_list = false;
	for (int i = 0; i < sk_X509_OBJECT_num(all) && is_done; i++) {
		const X509_OBJECT *object = sk_X509_OBJECT_value(all, i);
		unsigned char digest[EVP_MAX_MD_SIZE];
		unsigned len = 0;
		X509 *cert = X509_OBJECT_get0_X509(object);
		X509_CRL *list = X509_OBJECT_get0_X509_CRL(object);
		*has_list = *has_list || list;
		is_done = (cert && X509_digest(cert, EVP_sha256(), digest, &len) == 1) ||
			  (list && X509_CRL_digest(list, EVP_sha256(), digest, &len) == 1);
		is_done = is_done && EVP_DigestUpdate(whole, digest, len) == 1;
	}
	return is_done;
}

/* Asks clients for a certificate, and lets those in who have none. */
static bool ask_for_certificates(SSL_CTX *context, const char *file, EVP_MD_CTX *whole)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context);
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
	bool has_list;

	if (!names || SSL_CTX_load_verify_file(context, file) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return false;
	}
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if (!digest_store(store, whole, &has_list))
		return false;
	return !has_list || X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) == 1;
}

/* A ticket holds the certificate that its client once showed. It counts for this listener alone, and
 * only while the same CAs are believed and the same certificates revoked. */
static bool set_scope(SSL_CTX *context, EVP_MD_CTX *whole)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	return EVP_DigestFinal_ex(whole, digest, &len) == 1 &&
	       SSL_CTX_set_session_id_context(context, digest, SSL_MAX_SSL_SESSION_ID_LENGTH) == 1;
}

static struct err use_clients(SSL_CTX *context, const struct tls_server_setup *setup,
			      struct notice *why)
{
	EVP_MD_CTX *whole = EVP_MD_CTX_new();
	struct err err = OK;

	ERR_clear_error();
	if (!whole || EVP_DigestInit_ex(whole, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(whole, setup->name, strlen(setup->name) + 1) != 1) {
		tls_say_why(why, "OpenSSL");
		err = ERR(ERR_POLICY, ENOMEM, "no TLS");
	} else if ((setup->client_ca && !ask_for_certificates(context, setup->client_ca, whole)) ||
		   !set_scope(context, whole)) {
		tls_say_why(why, setup->client_ca ? setup->client_ca : "OpenSSL");
		err = ERR(ERR_POLICY, EACCES, "client_ca cannot be used");
	}
	EVP_MD_CTX_free(whole);
	return err;
}

/* --- the whole ------------------------------------------------------------------------------ */

static struct tls_server_conf *conf_around(SSL_CTX *context, struct tls_pairs *pairs)
{
	struct tls_server_conf *conf = mem_alloc(sizeof *conf);

	conf->context = context;
	conf->pairs = pairs;
	atomic_init(&conf->holders, 1);
	return conf;
}

struct err tls_server_conf_new(const struct tls_server_setup *setup, struct notice *why,
			       struct tls_server_conf **out)
{
	SSL_CTX *context = server_context_new(setup->min_version);
	struct tls_pairs *pairs = NULL;

	*out = NULL;
	why->text[0] = '\0';
	if (!context) {
		tls_say_why(why, "OpenSSL");
		return ERR(ERR_POLICY, ENOMEM, "no TLS");
	}
	struct err err =
		tls_pairs_new(context, setup->certs, setup->keys, setup->count, why, &pairs);
	if (!err.kind)
		err = use_clients(context, setup, why);
	if (err.kind) {
		tls_pairs_free(pairs);
		SSL_CTX_free(context);
		return err;
	}
	tls_tickets_serve(setup->tickets, context);
	*out = conf_around(context, pairs);
	return OK;
}

/* --- a certificate made on the spot --------------------------------------------------------- */

static bool add_names(X509 *cert)
{
	X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
						    "DNS:localhost,IP:127.0.0.1,IP:::1");
	bool is_done = names && X509_add_ext(cert, names, -1) == 1;

	X509_EXTENSION_free(names);
	return is_done;
}

static X509 *self_signed(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	unsigned char serial[8];

	if (!cert || RAND_bytes(serial, sizeof serial) != 1)
		goto fail;
	serial[0] &= 0x7F; /* RFC 5280 4.1.2.2: positive */
	BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
	X509_NAME *name = X509_get_subject_name(cert);
	bool is_done =
		number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) &&
		X509_set_version(cert, X509_VERSION_3) == 1 &&
		X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
		X509_gmtime_adj(X509_getm_notAfter(cert), SELF_SIGNED_S) &&
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					   (const unsigned char *)"localhost", -1, -1, 0) == 1 &&
		X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1 &&
		add_names(cert) && X509_sign(cert, key, EVP_sha256());
	BN_free(number);
	if (is_done)
		return cert;
fail:
	X509_free(cert);
	return NULL;
}

struct err tls_server_conf_new_selfsigned(struct tls_server_conf **out)
{
	SSL_CTX *context = server_context_new(12);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = key ? self_signed(key) : NULL;
	bool is_good = context && cert && SSL_CTX_use_certificate(context, cert) == 1 &&
		       SSL_CTX_use_PrivateKey(context, key) == 1;

	X509_free(cert);
	EVP_PKEY_free(key);
	*out = NULL;
	if (!is_good) {
		SSL_CTX_free(context);
		ERR_clear_error();
		return ERR(ERR_POLICY, EINVAL, "cannot make a certificate");
	}
	tls_tickets_serve(NULL, context);
	*out = conf_around(context, NULL);
	return OK;
}

struct tls_server_conf *tls_server_conf_hold(struct tls_server_conf *conf)
{
	atomic_fetch_add(&conf->holders, 1);
	return conf;
}

void tls_server_conf_release(struct tls_server_conf *conf)
{
	if (!conf || atomic_fetch_sub(&conf->holders, 1) > 1)
		return;
	SSL_CTX_free(conf->context);
	tls_pairs_free(conf->pairs);
	free(conf);
}

SSL_CTX *tls_server_context(const struct tls_server_conf *conf)
{
	return conf->context;
}
