/* SPDX-License-Identifier: MIT */
/* t_tls_client.c - what we show to a server: client certificates, where they come from, and channel
 * bindings, in which both ends must agree. One end is ours; the other is ours too, or plain OpenSSL on
 * a thread. Keys and certificates are made on the spot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "proxy/io/tcp.h"
#include "proxy/io/tls.h"
#include "proxy/io/tls_ticket.h"
#include "proxy/io/world.h"
#include "tests/fake/loop.h"
#include "tests/fake/openssl_peer.h"
#include "tests/fake/papers.h"

/* --- files, one directory for the whole run --- */

/* The server's; ours, by the same authority; ours, by another of the same name. */
enum { CA, SERVER, SERVER_KEY, GOOD, GOOD_KEY, ALIEN, ALIEN_KEY, FILES };
struct shop {
	char folder[64], file[FILES][96];
};

static int shop_set_up(void **state)
{
	struct shop *shop = calloc(1, sizeof *shop);

	strcpy(shop->folder, "/tmp/t_tls_client.XXXXXX");
	if (!mkdtemp(shop->folder))
		return -1;
	for (size_t i = 0; i < FILES; i++)
		snprintf(shop->file[i], sizeof shop->file[i], "%s/%zu.pem", shop->folder, i);
	EVP_PKEY *key = papers_key(shop->file[CA]), *other = EVP_EC_gen("P-256");
	X509 *ca = papers_cert(shop->file[CA], key, "CA", NULL, NULL, NULL);
	papers_make(shop->file[SERVER], shop->file[SERVER_KEY], "server", "DNS:mail.example", ca,
		    key);
	papers_make(shop->file[GOOD], shop->file[GOOD_KEY], "gate", "DNS:gate.example", ca, key);
	papers_make(shop->file[ALIEN], shop->file[ALIEN_KEY], "gate", "DNS:gate.example", ca,
		    other);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	*state = shop;
	return 0;
}

static int shop_tear_down(void **state)
{
	struct shop *shop = *state;

	for (size_t i = 0; i < FILES; i++)
		unlink(shop->file[i]);
	rmdir(shop->folder);
	free(shop);
	return 0;
}

/* --- bindings --- */

static void take_bindings(const struct stream *stream, struct peer_bindings *out)
{
	for (int i = 0; i < BINDINGS; i++) {
		struct buf buf;
		buf_init(&buf, 64);
		if (stream_bind(stream, (enum stream_binding)i, &buf)) {
			out->len[i] = buf_len(&buf);
			memcpy(out->octets[i], buf_data(&buf), buf_len(&buf));
		}
		buf_fini(&buf);
	}
}

static void assert_same(const struct peer_bindings *a, const struct peer_bindings *b, int kind,
			size_t len)
{
	assert_int_equal(a->len[kind], len);
	assert_int_equal(b->len[kind], len);
	assert_memory_equal(a->octets[kind], b->octets[kind], len);
}

/* --- our ends --- */

struct scene {
	struct world world;
	struct tls_server_conf *server;
	struct tls_tickets *tickets;
	struct tls_client_conf *client;
	struct tls_policy policy;
	unsigned port;
	struct err connected, heard; /* the client's */
	struct peer_bindings ours, theirs;
	bool is_resumed; /* the client's newest connection */
	unsigned names, clients_left;
};

static bool is_resumed(const struct stream *stream)
{
	struct buf words;

	buf_init(&words, 4096);
	stream_describe(stream, &words);
	bool is_there = buf_put(&words, "", 1) && strstr(buf_data(&words), ", resumed");
	buf_fini(&words);
	return is_there;
}

static void run_client(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = bench->arg;
	struct stream *plain, *stream;
	char octet;
	size_t got = 0;

	struct err err = tcp_dial(&bench->fibers, "127.0.0.1", scene->port, NULL, 5000, &plain);
	CHECK(bench, !err.kind);
	stream_limit(plain, 5000, 0);
	scene->connected =
		tls_connect(&scene->world.env, scene->client, plain, &scene->policy, &stream);
	scene->clients_left--;
	if (!stream)
		return;
	scene->heard = stream_read(stream, &octet, 1, &got);
	take_bindings(stream, &scene->ours);
	scene->is_resumed = is_resumed(stream);
	stream_close(stream);
}

static bool count_name(void *arg, const char *name)
{
	(void)name;
	(*(unsigned *)arg)++;
	return true;
}

static void run_server(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = bench->arg;
	struct stream *stream, *plain = bench_accept(bench);
	char octet;
	size_t got;

	stream_limit(plain, 5000, 0);
	struct err err = tls_accept(scene->server, plain, &stream);
	if (err.kind)
		return;
	take_bindings(stream, &scene->theirs);
	tls_peer_names(stream, count_name, &scene->names);
	err = stream_put(stream, "x", 1);
	if (!err.kind)
		err = stream_read(stream, &octet, 1, &got);
	stream_close(stream);
}

static struct bench *begin(struct scene *scene, const struct shop *shop)
{
	struct bench *bench;

	bench_set_up((void **)&bench);
	*scene = (struct scene){.policy = {.host = "mail.example",
					   .ca_file = shop->file[CA],
					   .cert_file = shop->file[GOOD],
					   .key_file = shop->file[GOOD_KEY]},
				.port = bench->port,
				.clients_left = 1};
	scene->client = tls_client_conf_new();
	world_init(&scene->world, &bench->fibers, scene->client);
	bench->arg = scene;
	return bench;
}

static void end(struct bench *bench, struct scene *scene)
{
	tls_client_conf_free(scene->client);
	tls_server_conf_release(scene->server);
	tls_tickets_free(scene->tickets);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
}

static void make_server(struct scene *scene, const struct shop *shop, const char *client_ca)
{
	const char *const certs[] = {shop->file[SERVER]}, *const keys[] = {shop->file[SERVER_KEY]};
	scene->tickets = tls_tickets_new(&scene->world.env);
	const struct tls_server_setup setup = {.name = "pop3s",
					       .certs = certs,
					       .keys = keys,
					       .count = 1,
					       .client_ca = client_ca,
					       .min_version = 12,
					       .tickets = scene->tickets};
	struct notice why;

	assert_int_equal(tls_server_conf_new(&setup, &why, &scene->server).kind, ERR_NONE);
}

/* OpenSSL's server, on a thread until it has had its connections, and the fibers that were spawned. */
static void run_before(struct bench *bench, struct scene *scene, struct openssl_peer *server)
{
	pthread_t thread;

	server->fd = openssl_peer_listen(&scene->port);
	pthread_create(&thread, NULL, openssl_peer_run, server);
	bench_run(bench);
	pthread_join(thread, NULL);
	close(server->fd);
}

static struct openssl_peer server_of(const struct shop *shop, int connections, int max_version)
{
	return (struct openssl_peer){.ca = shop->file[CA],
				     .cert = shop->file[SERVER],
				     .key = shop->file[SERVER_KEY],
				     .is_server = true,
				     .connections = connections,
				     .max_version = max_version};
}

/* TLS 1.3 between our two roles. */
static void test_both_ours(void **state)
{
	const struct shop *shop = *state;
	struct scene scene;
	struct bench *bench = begin(&scene, shop);

	make_server(&scene, shop, shop->file[CA]);
	bench_spawn(bench, run_server);
	bench_spawn(bench, run_client);
	bench_run(bench);
	assert_int_equal(scene.connected.kind, ERR_NONE);
	assert_int_equal(scene.heard.kind, ERR_NONE);
	assert_true(scene.names > 0); /* it saw our certificate */
	assert_same(&scene.ours, &scene.theirs, BINDING_TLS_EXPORTER, 32);
	assert_same(&scene.ours, &scene.theirs, BINDING_TLS_UNIQUE, 0);
	assert_same(&scene.ours, &scene.theirs, BINDING_TLS_SERVER_END_POINT, 48); /* SHA-384 */
	end(bench, &scene);
}

/* Our client before OpenSSL's server. */
static void test_client_bindings(void **state)
{
	static const struct {
		int max_version;
		uint64_t options;
		size_t exporter, unique;
	} cases[] = {
		{TLS1_3_VERSION, 0, 32, 0},
		{TLS1_2_VERSION, 0, 0, 12},
		{TLS1_2_VERSION, SSL_OP_NO_EXTENDED_MASTER_SECRET, 0, 0},
	};
	const struct shop *shop = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct scene scene;
		struct bench *bench = begin(&scene, shop);
		struct openssl_peer other = server_of(shop, 1, cases[i].max_version);
		other.options = cases[i].options;
		bench_spawn(bench, run_client);
		run_before(bench, &scene, &other);
		assert_int_equal(scene.connected.kind, ERR_NONE);
		assert_int_equal(scene.ours.len[BINDING_TLS_EXPORTER], cases[i].exporter);
		assert_int_equal(scene.ours.len[BINDING_TLS_UNIQUE], cases[i].unique);
		assert_memory_equal(scene.ours.octets[0], other.bindings.octets[0],
				    cases[i].exporter);
		assert_memory_equal(scene.ours.octets[1], other.bindings.octets[1],
				    cases[i].unique);
		end(bench, &scene);
	}
}

/* Our server before OpenSSL's client, at first and resumed. */
static void test_server_bindings(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	const struct shop *shop = *state;

	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
		struct scene scene;
		struct bench *bench = begin(&scene, shop);
		struct openssl_peer other = {.ca = shop->file[CA],
					     .cert = shop->file[SERVER],
					     .key = shop->file[SERVER_KEY],
					     .max_version = versions[i]};
		make_server(&scene, shop, NULL);
		for (int n = 0; n < 2; n++) {
			pthread_t thread;
			int kind = versions[i] == TLS1_2_VERSION ? BINDING_TLS_UNIQUE
								 : BINDING_TLS_EXPORTER;
			other.fd = bench_connect(bench);
			other.bindings = scene.theirs = (struct peer_bindings){.len = {0}};
			bench_spawn(bench, run_server);
			pthread_create(&thread, NULL, openssl_peer_run, &other);
			bench_run(bench);
			pthread_join(thread, NULL);
			if (versions[i] == TLS1_2_VERSION)
				assert_int_equal(other.is_resumed, n);
			assert_same(&scene.theirs, &other.bindings, kind,
				    kind == BINDING_TLS_UNIQUE ? 12 : 32);
		}
		SSL_SESSION_free(other.session);
		end(bench, &scene);
	}
}

/* What a server makes of what we show: by the handshake in TLS 1.2, later in TLS 1.3. */
static void test_certificates(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	const struct shop *shop = *state;
	const struct {
		const char *cert, *key;
		bool is_good;
	} cases[] = {
		{shop->file[GOOD], shop->file[GOOD_KEY], true},
		{shop->file[ALIEN], shop->file[ALIEN_KEY], false},
		{NULL, NULL, false},
	};

	for (size_t i = 0; i < 6; i++) {
		struct scene scene;
		struct bench *bench = begin(&scene, shop);
		struct openssl_peer other = server_of(shop, 1, versions[i / 3]);
		other.wants_cert = true;
		scene.policy.cert_file = cases[i % 3].cert;
		scene.policy.key_file = cases[i % 3].key;
		bench_spawn(bench, run_client);
		run_before(bench, &scene, &other);
		struct err err = scene.connected.kind ? scene.connected : scene.heard;
		/* "You did not show one" is no alert of its own in TLS 1.2. */
		enum err_kind want = cases[i % 3].is_good ? ERR_NONE : ERR_POLICY;
		if (err.kind != want || (want && other.subject[0]))
			fail_msg("case %zu: %d %d %s", i, err.kind, err.code, err.what);
		if (!want)
			assert_string_equal(other.subject, "/CN=gate");
		end(bench, &scene);
	}
}

/* A connection is given up before any octet of TLS if what we shall show cannot be had. */
static void test_bad_files(void **state)
{
	const struct shop *shop = *state;
	const struct {
		const char *ca, *cert, *key;
	} cases[] = {
		{"/nonexistent/ca", shop->file[GOOD], shop->file[GOOD_KEY]},
		{shop->file[GOOD_KEY], shop->file[GOOD], shop->file[GOOD_KEY]},
		{shop->file[CA], "/nonexistent/cert", shop->file[GOOD_KEY]},
		{shop->file[CA], shop->file[GOOD], "/nonexistent/key"},
		{shop->file[CA], shop->file[GOOD], shop->file[ALIEN_KEY]},
		{shop->file[CA], shop->file[GOOD], NULL},
		{shop->file[CA], shop->file[GOOD_KEY], shop->file[GOOD_KEY]},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct scene scene;
		struct bench *bench = begin(&scene, shop);
		int fd = openssl_peer_listen(&scene.port);
		scene.policy.ca_file = cases[i].ca;
		scene.policy.cert_file = cases[i].cert;
		scene.policy.key_file = cases[i].key;
		bench_spawn(bench, run_client);
		bench_run(bench);
		if (scene.connected.kind != ERR_POLICY)
			fail_msg("case %zu: %d %s", i, scene.connected.kind, scene.connected.what);
		close(fd);
		end(bench, &scene);
	}
}

/* A reload in the midst of the reading, and two who read the same. */
static void drop_conf(void *arg)
{
	struct scene *scene = ((struct bench *)arg)->arg;

	tls_client_conf_free(scene->client);
	scene->client = scene->world.client = tls_client_conf_new();
}

static void test_reload_meanwhile(void **state)
{
	const struct shop *shop = *state;

	for (int is_dropped = 0; is_dropped < 2; is_dropped++) {
		struct scene scene;
		struct bench *bench = begin(&scene, shop);
		struct openssl_peer other = server_of(shop, 3, TLS1_3_VERSION);
		other.wants_cert = true;
		scene.clients_left = 3;
		for (int n = 0; n < 3; n++)
			bench_spawn(bench, run_client);
		if (is_dropped)
			bench_spawn(bench, drop_conf);
		run_before(bench, &scene, &other);
		assert_int_equal(scene.clients_left, 0);
		assert_int_equal(scene.connected.kind, ERR_NONE);
		assert_int_equal(scene.heard.kind, ERR_NONE);
		end(bench, &scene);
	}
}

/* --- resumption (M-14) --- */

/* The second visit resumes the first; one to another name, or under a pin that does not fit, does
 * not get through by that. */
static void run_visits(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = bench->arg;

	run_client(bench);
	CHECK(bench, !scene->connected.kind && !scene->is_resumed);
	for (int n = 0; n < 2; n++) {
		run_client(bench);
		CHECK(bench, !scene->connected.kind && scene->is_resumed);
	}
	scene->policy.host = "other.example";
	run_client(bench);
	CHECK(bench, scene->connected.kind == ERR_POLICY);
	scene->policy.host = "mail.example";
	scene->policy.pin = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	run_client(bench);
	CHECK(bench, scene->connected.kind == ERR_POLICY);
}

static void test_resumed(void **state)
{
	static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
	const struct shop *shop = *state;

	for (size_t i = 0; i < 2; i++) {
		struct scene scene;
		struct bench *bench = begin(&scene, shop);
		struct openssl_peer other = server_of(shop, 5, versions[i]);
		scene.policy.cert_file = scene.policy.key_file = NULL;
		scene.clients_left = 5;
		bench_spawn(bench, run_visits);
		run_before(bench, &scene, &other);
		assert_int_equal(scene.clients_left, 0);
		end(bench, &scene);
	}
}

/* A server that breaks on a session is offered none a second time. */
static void run_broken(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = bench->arg;

	run_client(bench);
	CHECK(bench, !scene->connected.kind);
	run_client(bench);
	CHECK(bench, scene->connected.kind == ERR_UPSTREAM && scene->connected.code == ESTALE);
	for (int n = 0; n < 2; n++) {
		run_client(bench);
		CHECK(bench, !scene->connected.kind && !scene->is_resumed);
	}
}

static void test_averse(void **state)
{
	const struct shop *shop = *state;
	struct scene scene;
	struct bench *bench = begin(&scene, shop);
	struct openssl_peer other = server_of(shop, 4, TLS1_3_VERSION);

	other.is_averse = true;
	scene.clients_left = 4;
	bench_spawn(bench, run_broken);
	run_before(bench, &scene, &other);
	assert_int_equal(scene.clients_left, 0);
	end(bench, &scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ours),       cmocka_unit_test(test_client_bindings),
		cmocka_unit_test(test_server_bindings), cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_bad_files),       cmocka_unit_test(test_reload_meanwhile),
		cmocka_unit_test(test_resumed),         cmocka_unit_test(test_averse),
	};

	return cmocka_run_group_tests_name("tls_client", tests, shop_set_up, shop_tear_down);
}
