/* SPDX-License-Identifier: MIT */
/* t_tlsconf.c - what a listener shows and wants: certificates by name and kind of key, versions,
 * tickets, certificates of clients. OpenSSL at both ends, over memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/io/tls_own.h"
#include "proxy/io/tls_ticket.h"
#include "proxy/io/tlsconf.h"
#include "tests/fake/world.h"

enum { PATH = 128, DAY_S = 24 * 3600 };

/* --- certificates ------------------------------------------------------------------------- */

struct shop {
	char dir[64];
	EVP_PKEY *authority_key;
	X509 *authority;
	struct fake_world world;
};

static void path(const struct shop *shop, char out[PATH], const char *name, const char *ending)
{
	snprintf(out, PATH, "%s/%s%s", shop->dir, name, ending);
}

static FILE *create(const struct shop *shop, const char *name, const char *ending)
{
	char file[PATH];

	path(shop, file, name, ending);
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

static X509 *new_cert(const char *common_name, const char *names, EVP_PKEY *key, X509 *issuer,
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

/* NAME.pem and NAME.key in the shop. */
static X509 *issue(const struct shop *shop, const char *name, bool is_rsa, const char *common_name,
		   const char *names, long days)
{
	EVP_PKEY *key = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509 *cert = new_cert(common_name, names, key, shop->authority, shop->authority_key, days);
	FILE *out = create(shop, name, ".pem");

	PEM_write_X509(out, cert);
	fclose(out);
	out = create(shop, name, ".key");
	PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	fclose(out);
	EVP_PKEY_free(key);
	return cert;
}

static int shop_open(void **state)
{
	struct shop *shop = calloc(1, sizeof *shop);

	strcpy(shop->dir, "/tmp/t_tlsconf.XXXXXX");
	assert_non_null(mkdtemp(shop->dir));
	fake_world_init(&shop->world);
	shop->world.now_ms = 1000;
	shop->authority_key = EVP_EC_gen("P-256");
	shop->authority =
		new_cert("test CA", NULL, shop->authority_key, NULL, shop->authority_key, 10);
	FILE *out = create(shop, "ca", ".pem");
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
		X509_free(issue(shop, all[i].name, all[i].is_rsa, all[i].name, all[i].names, 10));
	*state = shop;
	return 0;
}

static int shop_close(void **state)
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

/* `names`: of pairs, separated by blanks. */
static struct err open_listener(struct shop *shop, const char *names, const char *client_ca,
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
		path(shop, files[2 * setup.count], word, ".pem");
		path(shop, files[2 * setup.count + 1], word, ".key");
		certs[setup.count] = files[2 * setup.count];
		keys[setup.count] = files[2 * setup.count + 1];
		setup.count++;
	}
	if (client_ca)
		path(shop, ca, client_ca, ".pem");
	return tls_server_conf_new(&setup, why, out);
}

static struct tls_server_conf *listener(struct shop *shop, const char *names, const char *client_ca,
					int min_version, struct tls_tickets *tickets)
{
	struct tls_server_conf *conf;
	struct notice why;
	struct err err = open_listener(shop, names, client_ca, min_version, tickets, &why, &conf);

	if (err.kind)
		fail_msg("%s: %s", err.what, why.text);
	return conf;
}

/* What a client brings, and what came of it. */
struct client {
	const char *server_name; /* NULL: none */
	int version;             /* 0: any */
	const char *sigalgs, *ciphers;
	const char *pair;      /* of its certificate; NULL: none */
	const char *alpn;      /* in wire form */
	SSL_SESSION **session; /* in: to resume; out: for the next */
	/* out */
	bool is_done, is_resumed;
	char shown[64]; /* common name of the server's certificate */
	char names[256], chosen[16];
	bool has_cert;
};

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
		path(shop, file, client->pair, ".pem");
		SSL_CTX_use_certificate_chain_file(context, file);
		path(shop, file, client->pair, ".key");
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

/* The whole handshake, and an octet each way, which brings a TLS 1.3 client its tickets. */
static bool meet(struct shop *shop, struct tls_server_conf *conf, struct client *client)
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

/* --- tests -------------------------------------------------------------------------------- */

static void t_names(void **state)
{
	static const char rsa[] = "rsa_pss_rsae_sha256:RSA+SHA256", ecdsa[] = "ECDSA+SHA256";
	static const struct {
		const char *server_name, *sigalgs, *shown;
	} cases[] = {
		{NULL, rsa, "first"},
		{NULL, ecdsa, "second"}, /* the first one's twin */
		{"mail.example", rsa, "first"},
		{"mail.example", ecdsa, "second"},
		{"MAIL.Example", ecdsa, "second"},
		{"pop.example", rsa, "first"},
		{"imap.hosts.example", ecdsa, "wild"},
		{"imap.hosts.example", rsa,
		 ""}, /* it has no RSA certificate, and gets no other's */
		{"a.b.hosts.example", rsa, "first"}, /* one label, no more */
		{"other.test", ecdsa, "other"},
		{"other.test", rsa, "third"},
		{"unknown.test", rsa, "first"},
		{"unknown.test", ecdsa, "second"},
		{".hosts.example", rsa, "first"},
	};
	struct shop *shop = *state;
	struct tls_server_conf *conf =
		listener(shop, "first wild second other third", NULL, 12, NULL);

	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		struct client client = {
			.server_name = cases[i / 2].server_name,
			.sigalgs = cases[i / 2].sigalgs,
			.version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION,
		};
		meet(shop, conf, &client);
		if (strcmp(client.shown, cases[i / 2].shown) != 0)
			fail_msg("%s, %s: \"%s\"",
				 cases[i / 2].server_name ? cases[i / 2].server_name : "none",
				 cases[i / 2].sigalgs, client.shown);
	}
	tls_server_conf_release(conf);
}

static void t_one_pair_for_every_name(void **state)
{
	struct shop *shop = *state;
	struct tls_server_conf *conf = listener(shop, "other", NULL, 12, NULL);
	struct client client = {.server_name = "unknown.test"};

	assert_true(meet(shop, conf, &client));
	assert_string_equal(client.shown, "other");
	tls_server_conf_release(conf);
}

/* Which version and pair of files a fault names. */
static void t_bad_files(void **state)
{
	static const struct {
		const char *names, *client_ca, *blamed;
		int code;
	} cases[] = {
		{"first nothing", NULL, "/nothing.pem: No such file", EINVAL},
		{"mixed first", NULL, "/mixed.key: ", EINVAL},
		{"first", "nothing", "/nothing.pem: No such file", EACCES},
		{"first", "empty", "/empty.pem: ", EACCES},
	};
	struct shop *shop = *state;
	char from[PATH], to[PATH];

	path(shop, from, "first", ".pem");
	path(shop, to, "mixed", ".pem");
	assert_int_equal(symlink(from, to), 0);
	path(shop, from, "other", ".key");
	path(shop, to, "mixed", ".key");
	assert_int_equal(symlink(from, to), 0);
	fclose(create(shop, "empty", ".pem"));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct notice why = {""};
		struct tls_server_conf *conf = (struct tls_server_conf *)&why;
		struct err err = open_listener(shop, cases[i].names, cases[i].client_ca, 12, NULL,
					       &why, &conf);
		assert_int_equal(err.kind, ERR_POLICY);
		assert_int_equal(err.code, cases[i].code);
		assert_null(conf);
		if (!strstr(why.text, cases[i].blamed))
			fail_msg("%s", why.text);
	}
}

/* Listeners side by side: the least version of one is not that of another (B-12). */
static void t_versions(void **state)
{
	static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION,
				       TLS1_3_VERSION};
	struct shop *shop = *state;
	struct tls_server_conf *confs[4];

	for (int i = 0; i < 4; i++)
		confs[i] = listener(shop, "first second", NULL, 10 + i, NULL);
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 4; k++) {
			struct client client = {.version = versions[k]};
			assert_int_equal(meet(shop, confs[i], &client), k >= i);
		}
	for (int i = 0; i < 4; i++)
		tls_server_conf_release(confs[i]);
}

static void t_alpn(void **state)
{
	struct shop *shop = *state;
	struct tls_server_conf *conf = listener(shop, "first second", NULL, 12, NULL);
	struct client both = {.alpn = "\4imap\4pop3"}, none = {0}, other = {.alpn = "\10http/1.1"};

	assert_true(meet(shop, conf, &both));
	assert_string_equal(both.chosen, "pop3");
	assert_true(meet(shop, conf, &none));
	assert_string_equal(none.chosen, "");
	assert_false(meet(shop, conf, &other));
	tls_server_conf_release(conf);
}

static void resume_with(struct shop *shop, int version)
{
	struct tls_tickets *tickets = tls_tickets_new(&shop->world.env);
	struct tls_server_conf *conf = listener(shop, "first", NULL, 12, tickets);
	SSL_SESSION *session = NULL, *old = NULL;
	struct client client = {.version = version, .session = &session};

	assert_true(meet(shop, conf, &client));
	assert_false(client.is_resumed);
	assert_non_null(session);
	assert_true(meet(shop, conf, &client));
	assert_true(client.is_resumed);
	/* After a reload too. */
	tls_server_conf_release(conf);
	conf = listener(shop, "new", NULL, 12, tickets);
	assert_true(meet(shop, conf, &client));
	assert_true(client.is_resumed);
	/* By the key of the period before. */
	shop->world.now_ms += TICKET_PERIOD_MS;
	old = SSL_SESSION_dup(session);
	assert_true(meet(shop, conf, &client));
	assert_true(client.is_resumed);
	/* He has been given a new one; with the old one it is over now. */
	shop->world.now_ms += TICKET_PERIOD_MS;
	assert_true(meet(shop, conf, &client));
	assert_true(client.is_resumed);
	client.session = &old;
	assert_true(meet(shop, conf, &client));
	assert_false(client.is_resumed);
	/* After a long silence no key is good. */
	client.session = &session;
	shop->world.now_ms += 3 * (uint64_t)TICKET_PERIOD_MS;
	assert_true(meet(shop, conf, &client));
	assert_false(client.is_resumed);
	SSL_SESSION_free(session);
	SSL_SESSION_free(old);
	tls_server_conf_release(conf);
	tls_tickets_free(tickets);
}

static void t_tickets(void **state)
{
	resume_with(*state, TLS1_2_VERSION);
	resume_with(*state, TLS1_3_VERSION);
}

/* Without tickets nothing is resumed; a ticket of one listener is no good at another. */
static void t_tickets_stay_at_home(void **state)
{
	struct shop *shop = *state;
	struct tls_tickets *tickets = tls_tickets_new(&shop->world.env);
	SSL_SESSION *session = NULL;
	struct client client = {.session = &session};
	struct notice why;
	char cert[PATH], key[PATH];
	struct tls_server_setup setup = {
		.name = "another",
		.certs = &(const char *){cert},
		.keys = &(const char *){key},
		.count = 1,
		.min_version = 12,
		.tickets = tickets,
	};
	struct tls_server_conf *conf = listener(shop, "first", NULL, 12, NULL), *another;

	assert_true(meet(shop, conf, &client));
	assert_true(!session || !SSL_SESSION_is_resumable(session));
	tls_server_conf_release(conf);
	conf = listener(shop, "first", NULL, 12, tickets);
	path(shop, cert, "first", ".pem");
	path(shop, key, "first", ".key");
	assert_int_equal(tls_server_conf_new(&setup, &why, &another).kind, ERR_NONE);
	assert_true(meet(shop, conf, &client));
	assert_true(meet(shop, another, &client));
	assert_false(client.is_resumed);
	assert_true(meet(shop, another, &client));
	assert_true(client.is_resumed);
	SSL_SESSION_free(session);
	tls_server_conf_release(conf);
	tls_server_conf_release(another);
	tls_tickets_free(tickets);
}

static void t_client_certificates(void **state)
{
	static const struct {
		const char *pair;
		bool is_done, has_cert;
		const char *names;
	} cases[] = {
		{NULL, true, false, ""},
		{"joe", true, true, "joe@example.com joe.example.com Joe Doe "},
		{"bare", true, true, "ann@example.com "},
		{"nul", true, true, "good@example.com "},
		{"stopped", true, true, "stop "},
		{"expired", false, false, ""},
		{"stranger", false, false, ""},
	};
	struct shop *shop = *state, other = *shop;
	EVP_PKEY *key = EVP_EC_gen("P-256");

	X509_free(issue(shop, "joe", false, "Joe Doe",
			"email:joe@example.com,DNS:joe.example.com,IP:1.2.3.4", 10));
	X509_free(issue(shop, "bare", false, "ann@example.com", NULL, 10));
	X509_free(issue(shop, "nul", false, "a\nb", "email:good@example.com", 10));
	X509_free(issue(shop, "stopped", false, "after", "email:stop,DNS:later.example", 10));
	X509_free(issue(shop, "expired", false, "joe", "email:joe@example.com", -1));
	other.authority_key = key;
	other.authority = new_cert("other CA", NULL, key, NULL, key, 10);
	X509_free(issue(&other, "stranger", false, "joe", "email:joe@example.com", 10));
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		struct tls_server_conf *conf = listener(shop, "first", "ca", 12, NULL);
		struct client client = {
			.pair = cases[i / 2].pair,
			.version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION,
		};
		meet(shop, conf, &client);
		if (client.is_done != cases[i / 2].is_done ||
		    client.has_cert != cases[i / 2].has_cert ||
		    strcmp(client.names, cases[i / 2].names) != 0)
			fail_msg("%s: %d %d \"%s\"", cases[i / 2].pair ? cases[i / 2].pair : "none",
				 client.is_done, client.has_cert, client.names);
		tls_server_conf_release(conf);
	}
	X509_free(other.authority);
	EVP_PKEY_free(key);
	/* A listener that does not ask is shown nothing. */
	struct tls_server_conf *conf = listener(shop, "first", NULL, 12, NULL);
	struct client client = {.pair = "joe"};
	assert_true(meet(shop, conf, &client));
	assert_false(client.has_cert);
	tls_server_conf_release(conf);
}

/* Writes a file of the CA and a list of revoked certificates, of which `cert` is one (NULL: none). */
static void revoke_in(const struct shop *shop, const char *name, const X509 *cert)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, -DAY_S), *later = X509_gmtime_adj(NULL, DAY_S);
	FILE *out = create(shop, name, ".pem");

	X509_CRL_set_version(list, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(shop->authority));
	X509_CRL_set1_lastUpdate(list, now);
	X509_CRL_set1_nextUpdate(list, later);
	if (cert) {
		X509_REVOKED *revoked = X509_REVOKED_new();
		X509_REVOKED_set_serialNumber(
			revoked, (ASN1_INTEGER *)(uintptr_t)X509_get0_serialNumber(cert));
		X509_REVOKED_set_revocationDate(revoked, now);
		X509_CRL_add0_revoked(list, revoked);
	}
	assert_true(X509_CRL_sign(list, shop->authority_key, EVP_sha256()) > 0);
	PEM_write_X509(out, shop->authority);
	PEM_write_X509_CRL(out, list);
	fclose(out);
	ASN1_TIME_free(now);
	ASN1_TIME_free(later);
	X509_CRL_free(list);
}

/* Revocation counts at once, for who would resume as well; a certificate lives on in a ticket else. */
static void t_revoked(void **state)
{
	struct shop *shop = *state;
	struct tls_tickets *tickets = tls_tickets_new(&shop->world.env);
	X509 *cert = issue(shop, "kim", false, "Kim", "email:kim@example.com", 10);
	SSL_SESSION *session = NULL;
	struct client client = {.pair = "kim", .session = &session};

	revoke_in(shop, "before", NULL);
	revoke_in(shop, "after", cert);
	struct tls_server_conf *conf = listener(shop, "first", "before", 12, tickets);
	assert_true(meet(shop, conf, &client));
	assert_true(client.has_cert);
	client.pair = NULL; /* not shown again */
	assert_true(meet(shop, conf, &client));
	assert_true(client.is_resumed && client.has_cert);
	assert_string_equal(client.names, "kim@example.com Kim ");
	tls_server_conf_release(conf);
	conf = listener(shop, "first", "after", 12, tickets);
	assert_true(meet(shop, conf, &client));
	assert_false(client.is_resumed || client.has_cert);
	SSL_SESSION_free(session);
	session = NULL;
	client.pair = "kim";
	assert_false(meet(shop, conf, &client));
	client.pair = "first"; /* not revoked */
	SSL_SESSION_free(session);
	session = NULL;
	assert_true(meet(shop, conf, &client));
	assert_true(client.has_cert);
	SSL_SESSION_free(session);
	X509_free(cert);
	tls_server_conf_release(conf);
	tls_tickets_free(tickets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t_names),
		cmocka_unit_test(t_one_pair_for_every_name),
		cmocka_unit_test(t_bad_files),
		cmocka_unit_test(t_versions),
		cmocka_unit_test(t_alpn),
		cmocka_unit_test(t_tickets),
		cmocka_unit_test(t_tickets_stay_at_home),
		cmocka_unit_test(t_client_certificates),
		cmocka_unit_test(t_revoked),
	};

	return cmocka_run_group_tests_name("tlsconf", tests, shop_open, shop_close);
}
