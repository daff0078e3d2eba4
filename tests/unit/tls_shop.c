/* SPDX-License-Identifier: MIT */
/* tls_shop.c - certificates as files, a listener, a client. */
#include "tests/unit/tls_shop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "proxy/io/tls_own.h"

/* --- certificates ------------------------------------------------------------------------- */

void shop_path(const struct shop *shop, char out[PATH], const char *name, const char *ending)
{
	snprintf(out, PATH, "%s/%s%s", shop->dir, name, ending);
}

FILE *shop_create(const struct shop *shop, const char *name, const char *ending)
{
	char file[PATH];

	shop_path(shop, file, name, ending);
	FILE *out = fopen(file, "w");
	assert_non_null(out);
	return out;
}

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

X509 *shop_new_cert(const char *common_name, const char *names, EVP_PKEY *key, X509 *issuer,
		    EVP_PKEY *issuer_key, long days)
{
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);
	static long serial;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), -10 * DAY_S);
	X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY_S);
	if (common_name)
		X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
					   (const unsigned char *)common_name, -1, -1, 0);
	X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
	X509_set_pubkey(cert, key);
	if (!issuer)
		add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
	if (names)
		add_extension(cert, NID_subject_alt_name, names);
	assert_true(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
	return cert;
}

X509 *shop_issue(const struct shop *shop, const char *name, bool is_rsa, const char *common_name,
		 const char *names, long days)
{
	EVP_PKEY *key = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509 *cert =
		shop_new_cert(common_name, names, key, shop->authority, shop->authority_key, days);
	FILE *out = shop_create(shop, name, ".pem");

	PEM_write_X509(out, cert);
	fclose(out);
	out = shop_create(shop, name, ".key");
	PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	fclose(out);
	EVP_PKEY_free(key);
	return cert;
}

int shop_open(void **state)
{
	struct shop *shop = calloc(1, sizeof *shop);

	strcpy(shop->dir, "/tmp/t_tlsconf.XXXXXX");
	assert_non_null(mkdtemp(shop->dir));
	fake_world_init(&shop->world);
	shop->world.now_ms = 1000;
	shop->authority_key = EVP_EC_gen("P-256");
	shop->authority =
		shop_new_cert("test CA", NULL, shop->authority_key, NULL, shop->authority_key, 10);
	FILE *out = shop_create(shop, "ca", ".pem");
	PEM_write_X509(out, shop->authority);
	fclose(out);
	static const struct {
		const char *name;
		bool is_rsa;
		const char *names;
	} all[] = {
		{"first", true, "DNS:mail.example,DNS:pop.example"},
		{"second", false, "DNS:mail.example"},
		{"wild", false, "DNS:*.hosts.example"},
		{"other", false, "DNS:other.test"},
		{"third", true, "DNS:other.test"},
		{"new", true, "DNS:mail.example"},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		X509_free(shop_issue(shop, all[i].name, all[i].is_rsa, all[i].name, all[i].names,
				     10));
	*state = shop;
	return 0;
}

int shop_close(void **state)
{
	struct shop *shop = *state;
	char command[PATH];

	snprintf(command, sizeof command, "rm -r %s", shop->dir);
	assert_int_equal(system(command), 0);
	X509_free(shop->authority);
	EVP_PKEY_free(shop->authority_key);
	free(shop);
	return 0;
}

/* --- a listener and a client --------------------------------------------------------------- */

struct err shop_open_listener(struct shop *shop, const char *names, const char *client_ca,
			      int min_version, struct tls_tickets *tickets, struct notice *why,
			      struct tls_server_conf **out)
{
	char files[16][PATH], word[32], ca[PATH];
	const char *certs[8], *keys[8];
	struct tls_server_setup setup = {
		.name = "test",
		.certs = certs,
		.keys = keys,
		.client_ca = client_ca ? ca : NULL,
		.min_version = min_version,
		.tickets = tickets,
	};

	for (int len; sscanf(names, "%31s%n", word, &len) == 1; names += len) {
		shop_path(shop, files[2 * setup.count], word, ".pem");
		shop_path(shop, files[2 * setup.count + 1], word, ".key");
		certs[setup.count] = files[2 * setup.count];
		keys[setup.count] = files[2 * setup.count + 1];
		setup.count++;
	}
	if (client_ca)
		shop_path(shop, ca, client_ca, ".pem");
	return tls_server_conf_new(&setup, why, out);
}

struct tls_server_conf *shop_listener(struct shop *shop, const char *names, const char *client_ca,
				      int min_version, struct tls_tickets *tickets)
{
	struct tls_server_conf *conf;
	struct notice why;
	struct err err =
		shop_open_listener(shop, names, client_ca, min_version, tickets, &why, &conf);

	if (err.kind)
		fail_msg("%s: %s", err.what, why.text);
	return conf;
}

static bool note_name(void *arg, const char *name)
{
	struct client *client = arg;

	snprintf(client->names + strlen(client->names),
		 sizeof client->names - strlen(client->names), "%s ", name);
	return strcmp(name, "stop") != 0;
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct client *client = SSL_get_app_data(ssl);

	if (!client->session)
		return 0;
	SSL_SESSION_free(*client->session);
	*client->session = session;
	return 1;
}

static SSL_CTX *client_context(const struct shop *shop, const struct client *client)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char file[PATH];

	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_cipher_list(context, client->ciphers ? client->ciphers : "DEFAULT:@SECLEVEL=0");
	SSL_CTX_set_min_proto_version(context, client->version ? client->version : TLS1_VERSION);
	SSL_CTX_set_max_proto_version(context, client->version);
	if (client->sigalgs)
		SSL_CTX_set1_sigalgs_list(context, client->sigalgs);
	if (client->alpn)
		SSL_CTX_set_alpn_protos(context, (const unsigned char *)client->alpn,
					(unsigned)strlen(client->alpn));
	if (client->pair) {
		shop_path(shop, file, client->pair, ".pem");
		SSL_CTX_use_certificate_chain_file(context, file);
		shop_path(shop, file, client->pair, ".key");
		SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM);
	}
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, on_session);
	return context;
}

static void note_outcome(struct client *client, SSL *near, SSL *far)
{
	const unsigned char *chosen;
	unsigned len;
	X509 *shown = SSL_get0_peer_certificate(near);

	client->is_resumed = SSL_session_reused(far) == 1;
	if (shown)
		X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName,
					  client->shown, sizeof client->shown);
	SSL_get0_alpn_selected(near, &chosen, &len);
	snprintf(client->chosen, sizeof client->chosen, "%.*s", (int)len, (const char *)chosen);
	if (client->session && SSL_version(near) < TLS1_3_VERSION) {
		/* OpenSSL does not call on_session() when a ticket is renewed. */
		SSL_SESSION_free(*client->session);
		*client->session = SSL_get1_session(near);
	}
	client->names[0] = '\0';
	client->has_cert = tls_names_visit(far, note_name, client);
}

bool shop_meet(struct shop *shop, struct tls_server_conf *conf, struct client *client)
{
	SSL_CTX *context = client_context(shop, client);
	SSL *near = SSL_new(context), *far = SSL_new(tls_server_context(conf));
	BIO *near_end, *far_end;
	char octet;

	client->is_done = false;
	client->shown[0] = '\0';
	BIO_new_bio_pair(&near_end, 1 << 16, &far_end, 1 << 16);
	SSL_set_bio(near, near_end, near_end);
	SSL_set_bio(far, far_end, far_end);
	SSL_set_app_data(near, client);
	SSL_set_connect_state(near);
	SSL_set_accept_state(far);
	if (client->server_name)
		SSL_set_tlsext_host_name(near, client->server_name);
	if (client->session && *client->session)
		SSL_set_session(near, *client->session);
	for (int turn = 0; turn < 10; turn++) {
		SSL_do_handshake(near);
		SSL_do_handshake(far);
	}
	if (SSL_is_init_finished(near) && SSL_is_init_finished(far)) {
		client->is_done = SSL_write(far, "x", 1) == 1 && SSL_read(near, &octet, 1) == 1 &&
				  SSL_write(near, "y", 1) == 1 && SSL_read(far, &octet, 1) == 1;
		note_outcome(client, near, far);
		SSL_shutdown(near); /* else the session would count as broken off */
		SSL_shutdown(far);
	}
	SSL_free(near);
	SSL_free(far);
	SSL_CTX_free(context);
	ERR_clear_error();
	return client->is_done;
}
