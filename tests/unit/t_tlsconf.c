/* SPDX-License-Identifier: MIT */
/* t_tlsconf.c - what a listener shows and wants: certificates by name and kind of key, versions,
 * tickets, certificates of clients. OpenSSL at both ends, over memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "proxy/io/tls_own.h"
#include "tests/unit/tls_shop.h"

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
		shop_listener(shop, "first wild second other third", NULL, 12, NULL);

	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		struct client client = {
			.server_name = cases[i / 2].server_name,
			.sigalgs = cases[i / 2].sigalgs,
			.version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION,
		};
		shop_meet(shop, conf, &client);
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
	struct tls_server_conf *conf = shop_listener(shop, "other", NULL, 12, NULL);
	struct client client = {.server_name = "unknown.test"};

	assert_true(shop_meet(shop, conf, &client));
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

	shop_path(shop, from, "first", ".pem");
	shop_path(shop, to, "mixed", ".pem");
	assert_int_equal(symlink(from, to), 0);
	shop_path(shop, from, "other", ".key");
	shop_path(shop, to, "mixed", ".key");
	assert_int_equal(symlink(from, to), 0);
	fclose(shop_create(shop, "empty", ".pem"));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct notice why = {""};
		struct tls_server_conf *conf = (struct tls_server_conf *)&why;
		struct err err = shop_open_listener(shop, cases[i].names, cases[i].client_ca, 12,
						    NULL, &why, &conf);
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
		confs[i] = shop_listener(shop, "first second", NULL, 10 + i, NULL);
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 4; k++) {
			struct client client = {.version = versions[k]};
			assert_int_equal(shop_meet(shop, confs[i], &client), k >= i);
		}
	for (int i = 0; i < 4; i++)
		tls_server_conf_release(confs[i]);
}

static void t_alpn(void **state)
{
	struct shop *shop = *state;
	struct tls_server_conf *conf = shop_listener(shop, "first second", NULL, 12, NULL);
	struct client both = {.alpn = "\4imap\4pop3"}, none = {0}, other = {.alpn = "\10http/1.1"};

	assert_true(shop_meet(shop, conf, &both));
	assert_string_equal(both.chosen, "pop3");
	assert_true(shop_meet(shop, conf, &none));
	assert_string_equal(none.chosen, "");
	assert_false(shop_meet(shop, conf, &other));
	tls_server_conf_release(conf);
}

static void resume_with(struct shop *shop, int version)
{
	struct tls_tickets *tickets = tls_tickets_new(&shop->world.env);
	struct tls_server_conf *conf = shop_listener(shop, "first", NULL, 12, tickets);
	SSL_SESSION *session = NULL, *old = NULL;
	struct client client = {.version = version, .session = &session};

	assert_true(shop_meet(shop, conf, &client));
	assert_false(client.is_resumed);
	assert_non_null(session);
	assert_true(shop_meet(shop, conf, &client));
	assert_true(client.is_resumed);
	/* After a reload too. */
	tls_server_conf_release(conf);
	conf = shop_listener(shop, "new", NULL, 12, tickets);
	assert_true(shop_meet(shop, conf, &client));
	assert_true(client.is_resumed);
	/* By the key of the period before. */
	shop->world.now_ms += TICKET_PERIOD_MS;
	old = SSL_SESSION_dup(session);
	assert_true(shop_meet(shop, conf, &client));
	assert_true(client.is_resumed);
	/* He has been given a new one; with the old one it is over now. */
	shop->world.now_ms += TICKET_PERIOD_MS;
	assert_true(shop_meet(shop, conf, &client));
	assert_true(client.is_resumed);
	client.session = &old;
	assert_true(shop_meet(shop, conf, &client));
	assert_false(client.is_resumed);
	/* After a long silence no key is good. */
	client.session = &session;
	shop->world.now_ms += 3 * (uint64_t)TICKET_PERIOD_MS;
	assert_true(shop_meet(shop, conf, &client));
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
	struct tls_server_conf *conf = shop_listener(shop, "first", NULL, 12, NULL), *another;

	assert_true(shop_meet(shop, conf, &client));
	assert_true(!session || !SSL_SESSION_is_resumable(session));
	tls_server_conf_release(conf);
	conf = shop_listener(shop, "first", NULL, 12, tickets);
	shop_path(shop, cert, "first", ".pem");
	shop_path(shop, key, "first", ".key");
	assert_int_equal(tls_server_conf_new(&setup, &why, &another).kind, ERR_NONE);
	assert_true(shop_meet(shop, conf, &client));
	assert_true(shop_meet(shop, another, &client));
	assert_false(client.is_resumed);
	assert_true(shop_meet(shop, another, &client));
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

	X509_free(shop_issue(shop, "joe", false, "Joe Doe",
			     "email:joe@example.com,DNS:joe.example.com,IP:1.2.3.4", 10));
	X509_free(shop_issue(shop, "bare", false, "ann@example.com", NULL, 10));
	X509_free(shop_issue(shop, "nul", false, "a\nb", "email:good@example.com", 10));
	X509_free(shop_issue(shop, "stopped", false, "after", "email:stop,DNS:later.example", 10));
	X509_free(shop_issue(shop, "expired", false, "joe", "email:joe@example.com", -1));
	other.authority_key = key;
	other.authority = shop_new_cert("other CA", NULL, key, NULL, key, 10);
	X509_free(shop_issue(&other, "stranger", false, "joe", "email:joe@example.com", 10));
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		struct tls_server_conf *conf = shop_listener(shop, "first", "ca", 12, NULL);
		struct client client = {
			.pair = cases[i / 2].pair,
			.version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION,
		};
		shop_meet(shop, conf, &client);
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
	struct tls_server_conf *conf = shop_listener(shop, "first", NULL, 12, NULL);
	struct client client = {.pair = "joe"};
	assert_true(shop_meet(shop, conf, &client));
	assert_false(client.has_cert);
	tls_server_conf_release(conf);
}

/* Writes a file of the CA and a list of revoked certificates, of which `cert` is one (NULL: none). */
static void revoke_in(const struct shop *shop, const char *name, const X509 *cert)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, -DAY_S), *later = X509_gmtime_adj(NULL, DAY_S);
	FILE *out = shop_create(shop, name, ".pem");

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
	X509 *cert = shop_issue(shop, "kim", false, "Kim", "email:kim@example.com", 10);
	SSL_SESSION *session = NULL;
	struct client client = {.pair = "kim", .session = &session};

	revoke_in(shop, "before", NULL);
	revoke_in(shop, "after", cert);
	struct tls_server_conf *conf = shop_listener(shop, "first", "before", 12, tickets);
	assert_true(shop_meet(shop, conf, &client));
	assert_true(client.has_cert);
	client.pair = NULL; /* not shown again */
	assert_true(shop_meet(shop, conf, &client));
	assert_true(client.is_resumed && client.has_cert);
	assert_string_equal(client.names, "kim@example.com Kim ");
	tls_server_conf_release(conf);
	conf = shop_listener(shop, "first", "after", 12, tickets);
	assert_true(shop_meet(shop, conf, &client));
	assert_false(client.is_resumed || client.has_cert);
	SSL_SESSION_free(session);
	session = NULL;
	client.pair = "kim";
	assert_false(shop_meet(shop, conf, &client));
	client.pair = "first"; /* not revoked */
	SSL_SESSION_free(session);
	session = NULL;
	assert_true(shop_meet(shop, conf, &client));
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
