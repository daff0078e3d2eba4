/* SPDX-License-Identifier: MIT */
/* tlsconf.c - contexts of OpenSSL: what each side insists on. */
#include "proxy/io/tlsconf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <uv.h>

#include "proxy/base/mem.h"
#include "proxy/io/tls_own.h"

enum {
	TICKET_KEYS_MAX = 128,             /* octets; OpenSSL 3 wants 80 */
	TICKET_KEYS_MS = 12 * 3600 * 1000, /* one set of ticket keys lives */
	SELF_SIGNED_S = 365 * 24 * 3600,
};

struct tls_server_conf {
	SSL_CTX *context;
	unsigned holders;
	uint64_t keyed_ms; /* when the ticket keys were made */
};

/* Both sides: no renegotiation, no compression; give buffers back while nothing moves. */
static void context_harden(SSL_CTX *context)
{
	SSL_CTX_set_options(context,
			    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_SSLv3);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* The cache would keep every session of every client; tickets keep them at the client. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

/* OpenSSL would ask on the terminal. */
static int no_passphrase(char *out, int size, int is_writing, void *arg)
{
	(void)out;
	(void)size;
	(void)is_writing;
	(void)arg;
	return -1;
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

static void context_renew_tickets(SSL_CTX *context)
{
	unsigned char keys[TICKET_KEYS_MAX];
	long len = SSL_CTX_get_tlsext_ticket_keys(context, NULL, 0);

	if (len <= 0 || len > TICKET_KEYS_MAX || RAND_bytes(keys, (int)len) != 1)
		return;
	SSL_CTX_set_tlsext_ticket_keys(context, keys, len);
	mem_wipe(keys, sizeof keys);
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
	context_harden(context);
	/* A client's password must not stay behind in a buffer that is given back (B-22). */
	SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_CLEANSE_PLAINTEXT);
	SSL_CTX_set_min_proto_version(context, least);
	if (least < TLS1_2_VERSION) {
		/* OpenSSL 3 lets SHA-1 signatures, which these versions need, in nowhere else. */
		SSL_CTX_set_security_level(context, 0);
		SSL_CTX_set_cipher_list(context, "DEFAULT:@SECLEVEL=0");
	}
	SSL_CTX_set_dh_auto(context, 1);
	SSL_CTX_set_num_tickets(context, 1);
	SSL_CTX_set_session_id_context(context, (const unsigned char *)"popgate", 7);
	SSL_CTX_set_alpn_select_cb(context, choose_pop3, NULL);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	return context;
}

static struct tls_server_conf *conf_around(SSL_CTX *context)
{
	struct tls_server_conf *conf = mem_alloc(sizeof *conf);

	conf->context = context;
	conf->holders = 1;
	conf->keyed_ms = uv_hrtime() / 1000000;
	return conf;
}

/* OpenSSL's oldest words: the newer ones only say where they passed by. */
static void say_why(struct notice *why, const char *file)
{
	unsigned long code = ERR_peek_error();
	const char *words = code ? ERR_reason_error_string(code) : NULL;

	if (code && ERR_SYSTEM_ERROR(code))
		words = strerror((int)ERR_GET_REASON(code));
	snprintf(why->text, sizeof why->text, "%s: %s", file, words ? words : "not usable");
	ERR_clear_error();
}

static bool load_pair(SSL_CTX *context, const char *cert_file, const char *key_file,
		      struct notice *why)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1) {
		say_why(why, cert_file);
		return false;
	}
	ERR_clear_error();
	if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(context) != 1) {
		say_why(why, key_file);
		return false;
	}
	return true;
}

struct err tls_server_conf_new(const char *cert_file, const char *key_file, int min_version,
			       struct notice *why, struct tls_server_conf **out)
{
	SSL_CTX *context = server_context_new(min_version);

	*out = NULL;
	why->text[0] = '\0';
	if (!context) {
		say_why(why, "OpenSSL");
		return ERR(ERR_POLICY, ENOMEM, "no TLS");
	}
	if (!load_pair(context, cert_file, key_file, why)) {
		SSL_CTX_free(context);
		return ERR(ERR_POLICY, EINVAL, "certificate and key cannot be used");
	}
	*out = conf_around(context);
	return OK;
}

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
	*out = conf_around(context);
	return OK;
}

struct tls_server_conf *tls_server_conf_hold(struct tls_server_conf *conf)
{
	conf->holders++;
	return conf;
}

void tls_server_conf_release(struct tls_server_conf *conf)
{
	if (!conf || --conf->holders)
		return;
	SSL_CTX_free(conf->context);
	free(conf);
}

SSL_CTX *tls_server_context(struct tls_server_conf *conf)
{
	uint64_t now = uv_hrtime() / 1000000;

	if (now - conf->keyed_ms >= TICKET_KEYS_MS) {
		context_renew_tickets(conf->context);
		conf->keyed_ms = now;
	}
	return conf->context;
}

struct authority {
	struct authority *next;
	char *ca_file; /* owned; NULL: OpenSSL's default store */
	SSL_CTX *context;
};

struct tls_client_conf {
	struct authority *authorities;
};

struct tls_client_conf *tls_client_conf_new(void)
{
	return mem_alloc(sizeof(struct tls_client_conf));
}

void tls_client_conf_free(struct tls_client_conf *conf)
{
	if (!conf)
		return;
	while (conf->authorities) {
		struct authority *authority = conf->authorities;
		conf->authorities = authority->next;
		SSL_CTX_free(authority->context);
		free(authority->ca_file);
		free(authority);
	}
	free(conf);
}

static SSL_CTX *client_context_new(const char *ca_file)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	if (!context)
		return NULL;
	context_harden(context);
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	int done = ca_file ? SSL_CTX_load_verify_file(context, ca_file)
			   : SSL_CTX_set_default_verify_paths(context);
	if (done == 1)
		return context;
	SSL_CTX_free(context);
	return NULL;
}

static bool is_same_file(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

struct err tls_client_context(struct tls_client_conf *conf, const char *ca_file, SSL_CTX **out)
{
	struct authority *authority = conf->authorities;

	while (authority && !is_same_file(authority->ca_file, ca_file))
		authority = authority->next;
	if (!authority) {
		SSL_CTX *context = client_context_new(ca_file);
		*out = NULL;
		if (!context) {
			int code = (int)ERR_GET_REASON(ERR_peek_error());
			ERR_clear_error();
			return (struct err){ERR_POLICY, code,
					    "the upstream's CA file cannot be used"};
		}
		authority = mem_alloc(sizeof *authority);
		authority->ca_file = text_dup(ca_file);
		authority->context = context;
		authority->next = conf->authorities;
		conf->authorities = authority;
	}
	*out = authority->context;
	return OK;
}
