/* SPDX-License-Identifier: MIT */
/* t_tls.c - TLS on loopback between our own two roles: octets, ends, and all the certificates that
 * must not be believed. Keys and certificates are made on the spot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/text.h"
#include "proxy/io/offload.h"
#include "proxy/io/tcp.h"
#include "proxy/io/tls.h"
#include "proxy/io/tls_ticket.h"
#include "proxy/io/world.h"
#include "tests/fake/loop.h"

enum { BIG = 5 * 1024 * 1024, DAY = 24 * 3600 };

/* Files, one directory for the whole run. */
struct shop {
	char folder[64];
	char ca[96], key[96], other_key[96];
	char good[96], wrong_host[96], expired[96], self_signed[96], name_only[96];
	char pin[64];
};

/* What the two ends of one test do and found. */
struct scene {
	const struct shop *shop;
	struct tls_server_conf *server;
	struct tls_client_conf *client;
	struct world world; /* for the client's pool */
	struct tls_policy policy;
	void *extra;          /* the test's own */
	struct stream *plain; /* the server's, while it is being wrapped */
	void (*serve)(struct bench *, struct stream *); /* owns the stream; NULL: closes it */
	struct err server_err, client_err;
	unsigned char sums[4][32]; /* sent and received, by client and by server */
	bool is_server_done;
};

static struct scene *scene_of(struct bench *bench)
{
	return bench->arg;
}

/* --- the shop --- */

static EVP_PKEY *new_key(const char *file)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	FILE *out = fopen(file, "w");

	assert_non_null(out);
	assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(out);
	return key;
}

/* `names`: subjectAltName in OpenSSL's words, or NULL; `issuer` NULL: signed by itself. */
static X509 *new_cert(const char *file, EVP_PKEY *key, const char *common_name, const char *names,
		      long from_s, long to_s, X509 *issuer, EVP_PKEY *issuer_key)
{
	static long serial = 1;
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	FILE *out = fopen(file, "w");

	assert_non_null(out);
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
	X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1,
				   -1, 0);
	X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name);
	X509_set_pubkey(cert, key);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(
		NULL, NULL, names ? NID_subject_alt_name : NID_basic_constraints,
		names ? names : "critical,CA:TRUE");
	X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
	assert_true(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509(out, cert), 1);
	fclose(out);
	return cert;
}

static void pin_of(EVP_PKEY *key, char pin[64])
{
	unsigned char *der = NULL, digest[32];
	int len = i2d_PUBKEY(key, &der);

	EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	memcpy(pin, "sha256:", 7);
	text_base64(pin + 7, digest, sizeof digest);
}

static void path(const struct shop *shop, char out[96], const char *name)
{
	snprintf(out, 96, "%s/%s.pem", shop->folder, name);
}

static int shop_set_up(void **state)
{
	struct shop *shop = calloc(1, sizeof *shop);
	char ca_key[96];

	strcpy(shop->folder, "/tmp/t_tls.XXXXXX");
	if (!mkdtemp(shop->folder))
		return -1;
	path(shop, shop->ca, "ca");
	path(shop, ca_key, "ca_key");
	path(shop, shop->key, "key");
	path(shop, shop->other_key, "other_key");
	path(shop, shop->good, "good");
	path(shop, shop->wrong_host, "wrong_host");
	path(shop, shop->expired, "expired");
	path(shop, shop->self_signed, "self_signed");
	path(shop, shop->name_only, "name_only");
	EVP_PKEY *authority = new_key(ca_key), *key = new_key(shop->key);
	EVP_PKEY *other = new_key(shop->other_key);
	X509 *ca = new_cert(shop->ca, authority, "CA", NULL, -DAY, DAY, NULL, NULL);
	const char *names = "DNS:mail.example,DNS:*.wild.example,IP:127.0.0.1";
	X509_free(new_cert(shop->good, key, "x", names, -DAY, DAY, ca, authority));
	X509_free(new_cert(shop->wrong_host, key, "x", "DNS:other.example", -DAY, DAY, ca,
			   authority));
	X509_free(new_cert(shop->expired, key, "x", names, -2 * DAY, -DAY, ca, authority));
	X509_free(new_cert(shop->self_signed, key, "x", names, -DAY, DAY, NULL, NULL));
	X509_free(new_cert(shop->name_only, key, "mail.example", NULL, -DAY, DAY, ca, authority));
	pin_of(key, shop->pin);
	X509_free(ca);
	EVP_PKEY_free(authority);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	unlink(ca_key);
	*state = shop;
	return 0;
}

static int shop_tear_down(void **state)
{
	struct shop *shop = *state;
	char *const files[] = {shop->ca,         shop->key,     shop->other_key,   shop->good,
			       shop->wrong_host, shop->expired, shop->self_signed, shop->name_only};

	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		unlink(files[i]);
	rmdir(shop->folder);
	free(shop);
	return 0;
}

/* --- two ends --- */

static void run_server(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	struct stream *stream;

	scene->plain = bench_accept(bench);
	stream_limit(scene->plain, 5000, 0);
	scene->server_err = tls_accept(scene->server, scene->plain, &stream);
	scene->plain = NULL;
	if (stream && scene->serve)
		scene->serve(bench, stream);
	else
		stream_close(stream);
	scene->is_server_done = true;
}

static struct stream *dial(struct bench *bench)
{
	struct stream *plain = NULL;
	struct err err = tcp_dial(&bench->fibers, "127.0.0.1", bench->port, NULL, 5000, &plain);

	CHECK(bench, !err.kind);
	stream_limit(plain, 5000, 0);
	return plain;
}

/* The client's end, up to a finished handshake; NULL: client_err says why not. */
static struct stream *secure(struct bench *bench)
{
	struct scene *scene = scene_of(bench);
	struct stream *stream;

	scene->client_err =
		tls_connect(&scene->world.env, scene->client, dial(bench), &scene->policy, &stream);
	return stream;
}

static void scene_init(struct bench *bench, struct scene *scene, const struct shop *shop,
		       const char *cert)
{
	struct notice why;

	*scene = (struct scene){.shop = shop};
	struct tls_server_setup setup = {"test", &cert, &(const char *){shop->key}, 1, NULL,
					 12,     NULL};
	struct err err = tls_server_conf_new(&setup, &why, &scene->server);
	assert_int_equal(err.kind, ERR_NONE);
	scene->client = tls_client_conf_new();
	world_init(&scene->world, &bench->fibers, scene->client);
	scene->policy = (struct tls_policy){.host = "mail.example", .ca_file = shop->ca};
	bench->arg = scene;
}

static void scene_fini(struct scene *scene)
{
	tls_server_conf_release(scene->server);
	tls_client_conf_free(scene->client);
}

static void wait_for_server(struct bench *bench)
{
	while (!scene_of(bench)->is_server_done)
		fiber_sleep(&bench->fibers, 1);
}

/* --- octets --- */

static void send_big(struct bench *bench, struct stream *stream, unsigned seed,
		     unsigned char sum[32])
{
	unsigned char *text = malloc(BIG);
	size_t parts[] = {1, 100, 16384, 16385, 70000, 200000, 3};

	for (size_t i = 0; i < BIG; i++)
		text[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
	EVP_Digest(text, BIG, sum, NULL, EVP_sha256(), NULL);
	for (size_t done = 0, i = 0; done < BIG; i++) {
		size_t len = parts[i % 7] < BIG - done ? parts[i % 7] : BIG - done;
		if (!CHECK(bench, !stream_put(stream, text + done, len).kind))
			break;
		done += len;
	}
	CHECK(bench, !stream_flush(stream).kind);
	free(text);
}

static void receive_big(struct bench *bench, struct stream *stream, unsigned char sum[32])
{
	unsigned char *text = malloc(BIG);
	size_t sizes[] = {20000, 5, 16384, 512};
	size_t done = 0, got;

	for (unsigned i = 0; done < BIG; i++) {
		size_t max = sizes[i % 4] < BIG - done ? sizes[i % 4] : BIG - done;
		if (!CHECK(bench, !stream_read(stream, text + done, max, &got).kind && got))
			break;
		done += got;
	}
	EVP_Digest(text, done, sum, NULL, EVP_sha256(), NULL);
	free(text);
}

static void serve_big(struct bench *bench, struct stream *stream)
{
	struct scene *scene = scene_of(bench);
	char octet;
	size_t got;

	receive_big(bench, stream, scene->sums[3]);
	send_big(bench, stream, 2, scene->sums[2]);
	/* close_notify is an end like any other, and stays one. */
	CHECK(bench, !stream_read(stream, &octet, 1, &got).kind && got == 0);
	CHECK(bench, !stream_read(stream, &octet, 1, &got).kind && got == 0);
	stream_close(stream);
}

static void big_client(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	struct stream *stream = secure(bench);

	if (!CHECK(bench, stream != NULL))
		return;
	CHECK(bench, stream->kind == ERR_UPSTREAM && stream->in.max == 65536);
	send_big(bench, stream, 1, scene->sums[0]);
	receive_big(bench, stream, scene->sums[1]);
	stream_close(stream);
}

static void t_round_trip(void **state)
{
	struct bench *bench;
	struct scene scene;

	bench_set_up((void **)&bench);
	scene_init(bench, &scene, *state, ((struct shop *)*state)->good);
	scene.serve = serve_big;
	bench_spawn(bench, run_server);
	bench_spawn(bench, big_client);
	bench_run(bench);
	assert_int_equal(scene.server_err.kind, ERR_NONE);
	assert_memory_equal(scene.sums[0], scene.sums[3], 32);
	assert_memory_equal(scene.sums[2], scene.sums[1], 32);
	assert_memory_not_equal(scene.sums[0], scene.sums[1], 32);
	scene_fini(&scene);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
}

/* --- whom the client believes --- */

static void verify_client(void *arg)
{
	struct bench *bench = arg;

	stream_close(secure(bench));
	wait_for_server(bench);
}

static void t_verify(void **state)
{
	const struct shop *shop = *state;
	const char *other_pin = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	const struct {
		const char *cert, *host, *ca, *pin;
		enum err_kind kind;
		int code;
	} cases[] = {
		{shop->good, "mail.example", shop->ca, NULL, ERR_NONE, 0},
		{shop->good, "127.0.0.1", shop->ca, NULL, ERR_NONE, 0},
		{shop->good, "a.wild.example", shop->ca, NULL, ERR_NONE, 0},
		{shop->good, "mail.example", shop->ca, shop->pin, ERR_NONE, 0},
		{shop->self_signed, "mail.example", shop->self_signed, NULL, ERR_NONE, 0},
		{shop->good, "b.a.wild.example", shop->ca, NULL, ERR_POLICY,
		 X509_V_ERR_HOSTNAME_MISMATCH},
		{shop->good, "127.0.0.2", shop->ca, NULL, ERR_POLICY,
		 X509_V_ERR_IP_ADDRESS_MISMATCH},
		{shop->wrong_host, "mail.example", shop->ca, NULL, ERR_POLICY,
		 X509_V_ERR_HOSTNAME_MISMATCH},
		{shop->name_only, "mail.example", shop->ca, NULL, ERR_POLICY,
		 X509_V_ERR_HOSTNAME_MISMATCH},
		{shop->expired, "mail.example", shop->ca, NULL, ERR_POLICY,
		 X509_V_ERR_CERT_HAS_EXPIRED},
		{shop->self_signed, "mail.example", shop->ca, NULL, ERR_POLICY,
		 X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT},
		{shop->self_signed, "mail.example", shop->ca, shop->pin, ERR_POLICY,
		 X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT},
		{shop->good, "mail.example", NULL, NULL, ERR_POLICY,
		 X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
		{shop->good, "mail.example", shop->ca, other_pin, ERR_POLICY, EACCES},
		{shop->good, "mail.example", shop->ca, "sha256:AAAA", ERR_POLICY, EINVAL},
		{shop->good, "mail.example", shop->ca, "md5:AAAA", ERR_POLICY, EINVAL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench *bench;
		struct scene scene;
		bench_set_up((void **)&bench);
		scene_init(bench, &scene, shop, cases[i].cert);
		scene.policy = (struct tls_policy){
			.host = cases[i].host, .ca_file = cases[i].ca, .pin = cases[i].pin};
		bench_spawn(bench, run_server);
		bench_spawn(bench, verify_client);
		bench_run(bench);
		if (scene.client_err.kind != cases[i].kind ||
		    scene.client_err.code != cases[i].code)
			fail_msg("case %zu: kind %d code %d (%s)", i, scene.client_err.kind,
				 scene.client_err.code, scene.client_err.what);
		scene_fini(&scene);
		assert_int_equal(bench_tear_down((void **)&bench), 0);
	}
}

static void bad_ca_client(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	struct stream *stream = bench_accept(bench), *out = stream;

	scene->policy.ca_file = "/nonexistent/ca.pem";
	scene->client_err =
		tls_connect(&scene->world.env, scene->client, stream, &scene->policy, &out);
	CHECK(bench, scene->client_err.kind == ERR_POLICY && !out);
}

static void t_ca_file_missing(void **state)
{
	struct bench *bench;
	struct scene scene;

	bench_set_up((void **)&bench);
	scene_init(bench, &scene, *state, ((struct shop *)*state)->good);
	int fd = bench_connect(bench);
	bench_spawn(bench, bad_ca_client);
	bench_run(bench);
	close(fd);
	scene_fini(&scene);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
}

/* --- a raw peer in clear --- */

/* `said` is sent in clear; what comes back until the end is counted. */
struct clear_case {
	const char *said;
	bool is_read_first; /* it lies in the plain stream's `in` when TLS begins */
};

static void clear_server(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	const struct clear_case *one = scene->extra;
	int fd = bench_connect(bench);
	struct stream *plain = bench_accept(bench), *stream = plain;
	const char *line;
	size_t len;

	stream_limit(plain, 2000, 0);
	CHECK(bench, write(fd, one->said, strlen(one->said)) == (ssize_t)strlen(one->said));
	if (one->is_read_first)
		CHECK(bench, !stream_line(plain, &line, &len).kind);
	scene->server_err = tls_accept(scene->server, plain, &stream);
	CHECK(bench, scene->server_err.kind == ERR_CLIENT && !stream);
	if (one->is_read_first)
		CHECK(bench, scene->server_err.code == EPROTO);
	close(fd);
}

static void t_clear_octets_end_it(void **state)
{
	static struct clear_case cases[] = {
		{"STLS\r\nUSER a\r\n", true}, /* CVE-2011-0411 */
		{"STLS\r\n\x16\x03\x01", true},
		{"USER a\r\nPASS b\r\n", false},
		{"GET / HTTP/1.0\r\n\r\n", false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bench *bench;
		struct scene scene;
		bench_set_up((void **)&bench);
		scene_init(bench, &scene, *state, ((struct shop *)*state)->good);
		scene.extra = &cases[i];
		bench_spawn(bench, clear_server);
		bench_run(bench);
		scene_fini(&scene);
		assert_int_equal(bench_tear_down((void **)&bench), 0);
	}
}

static void clear_greeter(void *arg)
{
	struct bench *bench = arg;
	struct stream *plain = bench_accept(bench);
	char octets[4096];
	size_t got;

	CHECK(bench, !stream_printf(plain, "* OK IMAP4rev1 ready\r\n").kind);
	CHECK(bench, !stream_flush(plain).kind);
	while (!stream_read(plain, octets, sizeof octets, &got).kind && got)
		;
	stream_close(plain);
	scene_of(bench)->is_server_done = true;
}

static void t_server_in_clear(void **state)
{
	struct bench *bench;
	struct scene scene;

	bench_set_up((void **)&bench);
	scene_init(bench, &scene, *state, ((struct shop *)*state)->good);
	bench_spawn(bench, clear_greeter);
	bench_spawn(bench, verify_client);
	bench_run(bench);
	assert_int_equal(scene.client_err.kind, ERR_POLICY);
	assert_int_equal(scene.client_err.code, SSL_R_WRONG_VERSION_NUMBER);
	scene_fini(&scene);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
}

/* --- an OpenSSL of its own as client, on a thread of the pool --- */

struct tool {
	struct bench *bench;
	const char *alpn; /* in wire form; NULL: none */
	int max_version;
	bool is_cut;     /* ends without close_notify */
	bool has_more;   /* three records in one segment after the answer */
	bool is_garbled; /* and behind them one that nobody encrypted */
	int handshake;   /* of SSL_connect */
	int reason;      /* of the failure */
	bool is_resumed; /* by the second connection */
	char chosen[16];
	unsigned rounds;
};

/* Where it can be had, one segment for what is written. */
static void cork(int fd, int is_on)
{
#ifdef TCP_CORK
	setsockopt(fd, IPPROTO_TCP, TCP_CORK, &is_on, sizeof is_on);
#else
	(void)fd;
	(void)is_on;
#endif
}

static void tool_more(const struct tool *tool, SSL *ssl, int fd)
{
	static const char garbage[] = "\x17\x03\x03\x00\x20 none of this was encrypted by us.";

	cork(fd, 1);
	for (int i = 0; i < 3; i++)
		SSL_write(ssl, "abcde", 5);
	if (tool->is_garbled)
		(void)!write(fd, garbage, 5 + 0x20);
	cork(fd, 0);
}

static void tool_round(struct tool *tool, SSL_CTX *context, SSL_SESSION **session)
{
	int fd = bench_connect(tool->bench);
	SSL *ssl = SSL_new(context);
	const unsigned char *chosen;
	unsigned len;
	char octet;

	SSL_set_fd(ssl, fd);
	if (*session)
		SSL_set_session(ssl, *session);
	ERR_clear_error();
	tool->handshake = SSL_connect(ssl);
	if (tool->handshake == 1) {
		SSL_get0_alpn_selected(ssl, &chosen, &len);
		if (len)
			memcpy(tool->chosen, chosen, len);
		SSL_write(ssl, "hello", 5);
		SSL_read(ssl, &octet, 1); /* takes the tickets too */
		tool->is_resumed = SSL_session_reused(ssl);
		if (!*session)
			*session = SSL_get1_session(ssl);
		if (tool->has_more)
			tool_more(tool, ssl, fd);
		if (!tool->is_cut)
			SSL_shutdown(ssl);
	} else {
		tool->reason = (int)ERR_GET_REASON(ERR_peek_error());
	}
	SSL_free(ssl);
	close(fd);
}

static void tool_work(void *arg)
{
	struct tool *tool = arg;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL_SESSION *session = NULL;

	if (tool->max_version) {
		SSL_CTX_set_security_level(context, 0);
		SSL_CTX_set_cipher_list(context, "DEFAULT:@SECLEVEL=0");
		SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
		SSL_CTX_set_max_proto_version(context, tool->max_version);
	}
	if (tool->alpn)
		SSL_CTX_set_alpn_protos(context, (const unsigned char *)tool->alpn,
					(unsigned)strlen(tool->alpn));
	for (unsigned i = 0; i < tool->rounds; i++)
		tool_round(tool, context, &session);
	SSL_SESSION_free(session);
	SSL_CTX_free(context);
	OPENSSL_thread_stop();
}

static void tool_client(void *arg)
{
	struct bench *bench = arg;

	offload(&bench->fibers, tool_work, scene_of(bench)->extra);
}

/* Reads to the end and remembers how that was told. */
static void serve_to_end(struct bench *bench, struct stream *stream)
{
	char octets[16];
	size_t got = 0;
	struct err err = stream_read(stream, octets, sizeof octets, &got);

	CHECK(bench, !err.kind && got == 5);
	CHECK(bench, !stream_put(stream, "k", 1).kind && !stream_flush(stream).kind);
	err = stream_read(stream, octets, sizeof octets, &got);
	scene_of(bench)->server_err = err;
	if (!err.kind)
		CHECK(bench, got == 0);
	else
		CHECK(bench, stream->ops->write(stream, "x", 1).kind == ERR_CLIENT);
	stream_close(stream);
}

/* As serve_to_end(), when there are three records more. */
static void serve_more(struct bench *bench, struct stream *stream)
{
	char octets[32];
	size_t got = 0, all = 0;
	struct err err = stream_read(stream, octets, 5, &got);

	CHECK(bench, !err.kind && got == 5);
	CHECK(bench, !stream_put(stream, "k", 1).kind && !stream_flush(stream).kind);
	do {
		err = stream_read(stream, octets + all, sizeof octets - all, &got);
		all += got;
	} while (!err.kind && got);
	CHECK(bench, all == 15 && !memcmp(octets, "abcdeabcdeabcde", 15));
	scene_of(bench)->server_err = err;
	stream_close(stream);
}

static void run_servers(void *arg)
{
	struct bench *bench = arg;
	const struct tool *tool = scene_of(bench)->extra;

	for (unsigned i = 0; i < tool->rounds; i++)
		run_server(bench);
}

static struct err with_tool(const struct shop *shop, int min_version, struct tool *tool)
{
	struct bench *bench;
	struct scene scene;
	struct notice why;

	bench_set_up((void **)&bench);
	scene_init(bench, &scene, shop, shop->good);
	tls_server_conf_release(scene.server);
	struct tls_tickets *tickets = tls_tickets_new(&scene.world.env);
	struct tls_server_setup setup = {
		.name = "test",
		.certs = &(const char *){shop->good},
		.keys = &(const char *){shop->key},
		.count = 1,
		.min_version = min_version,
		.tickets = tickets,
	};
	struct err err = tls_server_conf_new(&setup, &why, &scene.server);
	assert_int_equal(err.kind, ERR_NONE);
	scene.serve = tool->has_more ? serve_more : serve_to_end;
	tool->bench = bench;
	if (!tool->rounds)
		tool->rounds = 1;
	scene.extra = tool;
	bench_spawn(bench, run_servers);
	bench_spawn(bench, tool_client);
	bench_run(bench);
	scene_fini(&scene);
	tls_tickets_free(tickets);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
	return scene.server_err;
}

static void t_alpn(void **state)
{
	struct tool none = {0}, pop3 = {.alpn = "\2h2\4pop3"}, web = {.alpn = "\2h2\10http/1.1"};

	assert_int_equal(with_tool(*state, 12, &none).kind, ERR_NONE);
	assert_int_equal(none.handshake, 1);
	assert_string_equal(none.chosen, "");
	assert_int_equal(with_tool(*state, 12, &pop3).kind, ERR_NONE);
	assert_int_equal(pop3.handshake, 1);
	assert_string_equal(pop3.chosen, "pop3");
	assert_int_equal(with_tool(*state, 12, &web).kind, ERR_CLIENT);
	assert_int_not_equal(web.handshake, 1);
	assert_int_equal(web.reason, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
}

static void t_cut_is_not_an_end(void **state)
{
	struct tool polite = {0}, cut = {.is_cut = true};

	assert_int_equal(with_tool(*state, 12, &polite).kind, ERR_NONE);
	struct err err = with_tool(*state, 12, &cut);
	assert_int_equal(err.kind, ERR_CLIENT);
	assert_int_equal(err.code, EPROTO);
}

static void t_what_came_before_a_fault_is_good(void **state)
{
	struct tool polite = {.has_more = true};
	struct tool garbled = {.has_more = true, .is_garbled = true};
	struct tool cut = {.has_more = true, .is_cut = true};

	assert_int_equal(with_tool(*state, 12, &polite).kind, ERR_NONE);
	assert_int_equal(with_tool(*state, 12, &garbled).kind, ERR_CLIENT);
	assert_int_equal(with_tool(*state, 12, &cut).code, EPROTO);
}

static void t_versions(void **state)
{
	static const struct {
		int min, max;
		bool is_good;
	} cases[] = {
		{12, TLS1_2_VERSION, true},  {12, TLS1_1_VERSION, false},
		{13, TLS1_2_VERSION, false}, {10, TLS1_VERSION, true},
		{11, TLS1_1_VERSION, true},  {11, TLS1_VERSION, false},
		{10, TLS1_3_VERSION, true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tool tool = {.max_version = cases[i].max};
		struct err err = with_tool(*state, cases[i].min, &tool);
		assert_int_equal(tool.handshake == 1, cases[i].is_good);
		assert_int_equal(err.kind, cases[i].is_good ? ERR_NONE : ERR_CLIENT);
	}
}

static void t_resumption(void **state)
{
	struct tool new = {.rounds = 2}, old = {.rounds = 2, .max_version = TLS1_2_VERSION};

	assert_int_equal(with_tool(*state, 12, &new).kind, ERR_NONE);
	assert_true(new.is_resumed);
	assert_int_equal(with_tool(*state, 12, &old).kind, ERR_NONE);
	assert_true(old.is_resumed);
}

/* --- aborts and limits --- */

static void aborts_plain(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);

	while (!scene->plain)
		fiber_sleep(&bench->fibers, 1);
	fiber_sleep(&bench->fibers, 20);
	stream_abort(scene->plain);
}

static void t_abort_in_handshake(void **state)
{
	struct bench *bench;
	struct scene scene;

	bench_set_up((void **)&bench);
	scene_init(bench, &scene, *state, ((struct shop *)*state)->good);
	int fd = bench_connect(bench);
	bench_spawn(bench, run_server);
	bench_spawn(bench, aborts_plain);
	bench_run(bench);
	assert_int_equal(scene.server_err.kind, ERR_CLIENT);
	assert_int_equal(scene.server_err.code, ECANCELED);
	close(fd);
	scene_fini(&scene);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
}

static void abort_served(void *arg)
{
	struct bench *bench = arg;

	fiber_sleep(&bench->fibers, 30);
	stream_abort(scene_of(bench)->plain);
}

static void serve_until_aborted(struct bench *bench, struct stream *stream)
{
	char octet;
	size_t got;

	stream_limit(stream, 20, 0);
	CHECK(bench, stream_read(stream, &octet, 1, &got).code == ETIMEDOUT);
	stream_limit(stream, 0, 0); /* a limit that passed is no harm */
	scene_of(bench)->plain = stream;
	bench_spawn(bench, abort_served);
	struct err err = stream->ops->read(stream, &octet, 1, &got);
	CHECK(bench, err.kind == ERR_CLIENT && err.code == ECANCELED);
	stream_close(stream);
}

static void waits_for_the_end(void *arg)
{
	struct bench *bench = arg;
	struct stream *stream = secure(bench);
	char octet;
	size_t got;

	if (!CHECK(bench, stream != NULL))
		return;
	stream_limit(stream, 2000, 0);
	struct err err = stream_read(stream, &octet, 1, &got);
	CHECK(bench, err.kind == ERR_UPSTREAM && err.code == EPROTO);
	stream_close(stream);
}

static void t_abort_and_limit(void **state)
{
	struct bench *bench;
	struct scene scene;

	bench_set_up((void **)&bench);
	scene_init(bench, &scene, *state, ((struct shop *)*state)->good);
	scene.serve = serve_until_aborted;
	bench_spawn(bench, run_server);
	bench_spawn(bench, waits_for_the_end);
	bench_run(bench);
	scene_fini(&scene);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
}

/* --- certificates of ours --- */

static void t_server_files(void **state)
{
	const struct shop *shop = *state;
	char bare[96], locked[96];
	EVP_PKEY *key = EVP_EC_gen("P-256");

	path(shop, bare, "bare");
	path(shop, locked, "locked");
	FILE *out = fopen(bare, "w");
	fclose(out);
	out = fopen(locked, "w");
	PEM_write_PrivateKey(out, key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL,
			     NULL);
	fclose(out);
	EVP_PKEY_free(key);
	const struct {
		const char *cert, *key, *blamed;
	} cases[] = {
		{"/nonexistent/c.pem", shop->key, "/nonexistent/c.pem: No such file"},
		{shop->good, "/nonexistent/k.pem", "/nonexistent/k.pem: No such file"},
		{bare, shop->key, bare},
		{shop->good, bare, bare},
		{shop->good, locked, locked}, /* no passphrase is asked for */
		{shop->good, shop->other_key, shop->other_key},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct notice why;
		struct tls_server_conf *conf = (struct tls_server_conf *)&why;
		struct tls_server_setup setup = {"test",
						 &(const char *){cases[i].cert},
						 &(const char *){cases[i].key},
						 1,
						 NULL,
						 12,
						 NULL};
		struct err err = tls_server_conf_new(&setup, &why, &conf);
		assert_int_equal(err.kind, ERR_POLICY);
		assert_null(conf);
		assert_int_equal(strncmp(why.text, cases[i].blamed, strlen(cases[i].blamed)), 0);
	}
	unlink(bare);
	unlink(locked);
}

static void t_self_signed_on_the_spot(void **state)
{
	struct bench *bench;
	struct scene scene;

	bench_set_up((void **)&bench);
	scene_init(bench, &scene, *state, ((struct shop *)*state)->good);
	tls_server_conf_release(scene.server);
	assert_int_equal(tls_server_conf_new_selfsigned(&scene.server).kind, ERR_NONE);
	assert_ptr_equal(tls_server_conf_hold(scene.server), scene.server);
	tls_server_conf_release(scene.server);
	scene.policy.host = "localhost";
	bench_spawn(bench, run_server);
	bench_spawn(bench, verify_client);
	bench_run(bench);
	/* The name is right; only its issuer is nobody. */
	assert_int_equal(scene.client_err.code, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
	scene_fini(&scene);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
}

/* --- all of it, as a session sees it --- */

static void world_server(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	const struct env *env = scene->extra;
	struct stream *stream;
	const char *line;
	size_t len;

	struct err err = env->ops->serve_tls(env, bench_accept(bench), scene->server, &stream);
	if (!CHECK(bench, !err.kind))
		return;
	CHECK(bench, !stream_line(stream, &line, &len).kind && len == 4);
	stream_close(stream);
}

static void nothing(void *arg)
{
	*(bool *)arg = true;
}

static void world_client(void *arg)
{
	struct bench *bench = arg;
	struct scene *scene = scene_of(bench);
	const struct env *env = scene->extra;
	struct stream *stream;
	unsigned char one[32] = {0}, two[32] = {0};
	bool is_done = false;

	struct err err = env->ops->dial(env, "127.0.0.1", bench->port, NULL, 5000, &stream);
	if (!CHECK(bench, !err.kind))
		return;
	err = env->ops->secure(env, stream, &scene->policy, &stream);
	if (!CHECK(bench, !err.kind))
		return;
	CHECK(bench, !stream_printf(stream, "QUIT\r\n").kind && !stream_flush(stream).kind);
	uint64_t begin = env->ops->now(env);
	env->ops->sleep(env, 30);
	CHECK(bench, env->ops->now(env) - begin >= 30);
	env->ops->offload(env, nothing, &is_done);
	CHECK(bench, is_done);
	env->ops->random(env, one, sizeof one);
	env->ops->random(env, two, sizeof two);
	CHECK(bench, memcmp(one, two, sizeof one) != 0);
	stream_close(stream);
}

static void t_world(void **state)
{
	struct bench *bench;
	struct scene scene;
	struct world world;

	bench_set_up((void **)&bench);
	scene_init(bench, &scene, *state, ((struct shop *)*state)->good);
	world_init(&world, &bench->fibers, scene.client);
	scene.extra = &world.env;
	bench_spawn(bench, world_server);
	bench_spawn(bench, world_client);
	bench_run(bench);
	scene_fini(&scene);
	assert_int_equal(bench_tear_down((void **)&bench), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t_round_trip),
		cmocka_unit_test(t_verify),
		cmocka_unit_test(t_ca_file_missing),
		cmocka_unit_test(t_clear_octets_end_it),
		cmocka_unit_test(t_server_in_clear),
		cmocka_unit_test(t_alpn),
		cmocka_unit_test(t_cut_is_not_an_end),
		cmocka_unit_test(t_what_came_before_a_fault_is_good),
		cmocka_unit_test(t_versions),
		cmocka_unit_test(t_resumption),
		cmocka_unit_test(t_abort_in_handshake),
		cmocka_unit_test(t_abort_and_limit),
		cmocka_unit_test(t_server_files),
		cmocka_unit_test(t_self_signed_on_the_spot),
		cmocka_unit_test(t_world),
	};
	return cmocka_run_group_tests_name("tls", tests, shop_set_up, shop_tear_down);
}
