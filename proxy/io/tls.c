/* SPDX-License-Identifier: MIT */
/* tls.c - a stream over another stream: OpenSSL never waits, we wait between its calls.
 *
 * OpenSSL reads and writes cipher text in two buffers, through a BIO of our own. When it says that
 * it needs more, the loop around it flushes the one, fills the other from the stream below, where
 * the fiber may park, and calls again. OpenSSL's error queue belongs to the thread, and other
 * fibers use it while we wait: it is cleared before each call and read right after it.
 *
 * Memory. A quiet session keeps neither buffer, and OpenSSL gives back its own
 * (SSL_MODE_RELEASE_BUFFERS). It waits for cipher text on a small buffer on its stack; only after a
 * read that was not small does it take a record's worth from the heap.
 *
 * Invariants: `cipher_in` is empty whenever we wait to read. After an error of OpenSSL, `broken`
 * answers all calls, and close() does not say goodbye. The end of the stream below without
 * close_notify is an error: somebody may have cut the connection where it suited him.
 */
#include "proxy/io/tls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <uv.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/io/tls_own.h"

enum {
	SMALL = 1024,           /* octets: a quiet session's read */
	RECORD = 18 * 1024,     /* octets: the longest record of TLS 1.2 and its header */
	CIPHER_OUT = 66 * 1024, /* octets: four full records */
	FLUSH_AT = 48 * 1024,   /* octets of cipher text that are written below in one go */
	WRITE_ONCE = 16 * 1024, /* octets of a record */
	GOODBYE_MS = 3000,      /* close_notify may wait so long */
};

struct tls {
	struct stream stream; /* first: a stream is cast to this */
	struct stream *lower; /* owned */
	SSL *ssl;
	BIO_METHOD *method;
	struct buf cipher_in, cipher_out;
	struct err broken; /* what all calls answer; OK: sound */
	bool is_busy;      /* the last read below was not a small one */
	bool is_ended;     /* close_notify came */
	bool is_begun;     /* the handshake is done */
};

static int bio_read(BIO *bio, char *into, int max)
{
	struct tls *tls = BIO_get_data(bio);
	size_t have = buf_len(&tls->cipher_in);

	BIO_clear_retry_flags(bio);
	if (max <= 0)
		return 0;
	if (!have) {
		BIO_set_retry_read(bio);
		return -1;
	}
	size_t len = have < (size_t)max ? have : (size_t)max;
	memcpy(into, buf_data(&tls->cipher_in), len);
	buf_drop(&tls->cipher_in, len);
	return (int)len;
}

static int bio_write(BIO *bio, const char *octets, int len)
{
	struct tls *tls = BIO_get_data(bio);
	size_t room = tls->cipher_out.max - buf_len(&tls->cipher_out);

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	size_t part = (size_t)len < room ? (size_t)len : room;
	if (!part || !buf_put(&tls->cipher_out, octets, part)) {
		BIO_set_retry_write(bio);
		return -1;
	}
	return (int)part;
}

static long bio_ctrl(BIO *bio, int what, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return what == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static struct err fail(struct tls *tls, int code, const char *what)
{
	tls->broken = (struct err){tls->stream.kind, code, what};
	return tls->broken;
}

/* Sends what OpenSSL has said. */
static struct err flush(struct tls *tls)
{
	size_t len = buf_len(&tls->cipher_out);

	if (!len)
		return OK;
	struct err err = tls->lower->ops->write(tls->lower, buf_data(&tls->cipher_out), len);
	buf_fini(&tls->cipher_out);
	/* Part of a record may be gone: there is no way on. */
	if (err.kind)
		tls->broken = err;
	return err;
}

/* Waits for cipher text, with nothing unsaid. */
static struct err fill(struct tls *tls)
{
	char small[SMALL];
	char *into = small;
	size_t max = SMALL, got;

	assert(!buf_len(&tls->cipher_in));
	TRY(flush(tls));
	if (tls->is_busy) {
		into = buf_room(&tls->cipher_in, RECORD);
		max = RECORD;
		if (!into)
			return fail(tls, ENOMEM, "out of memory");
	} else {
		buf_trim(&tls->cipher_in);
	}
	TRY(tls->lower->ops->read(tls->lower, into, max, &got));
	if (!got)
		return fail(tls, EPROTO, "the TLS connection was cut");
	tls->is_busy = got >= SMALL;
	if (into != small)
		buf_added(&tls->cipher_in, got);
	else if (!buf_put(&tls->cipher_in, small, got))
		return fail(tls, ENOMEM, "out of memory");
	return OK;
}

/* After a call of OpenSSL that did not succeed: does what it asks for. OK: call again. `reason`
 * (may be NULL) gets OpenSSL's number of a failure that is its own, else 0. */
static struct err serve(struct tls *tls, int result, int *reason)
{
	int error = SSL_get_error(tls->ssl, result);

	if (reason)
		*reason = 0;
	if (error == SSL_ERROR_WANT_READ)
		return fill(tls);
	if (error == SSL_ERROR_WANT_WRITE)
		return buf_len(&tls->cipher_out) ? flush(tls) : fail(tls, ENOMEM, "out of memory");
	int code = (int)ERR_GET_REASON(ERR_peek_error());
	ERR_clear_error();
	if (reason)
		*reason = code ? code : -1;
	/* The peer is told why, if it still listens. */
	struct err told = flush(tls);
	(void)told;
	return fail(tls, code ? code : EPROTO, "TLS failed");
}

static struct err tls_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct tls *tls = (struct tls *)stream;

	*got = 0;
	while (!tls->is_ended) {
		if (tls->broken.kind)
			return tls->broken;
		ERR_clear_error();
		int result = SSL_read_ex(tls->ssl, into, max, got);
		if (result == 1) {
			buf_trim(&tls->cipher_in);
			return OK;
		}
		*got = 0;
		if (SSL_get_error(tls->ssl, result) == SSL_ERROR_ZERO_RETURN)
			tls->is_ended = true;
		else
			TRY(serve(tls, result, NULL));
	}
	return OK;
}

/* One buffer for the whole of what comes, instead of one that grows with each record. */
static void expect(struct tls *tls, size_t len)
{
	size_t room = tls->cipher_out.max - buf_len(&tls->cipher_out);
	size_t want = len + (len / WRITE_ONCE + 1) * 64;

	if (want > room)
		want = room;
	if (want)
		buf_room(&tls->cipher_out, want);
}

static struct err tls_write(struct stream *stream, const void *octets, size_t len)
{
	struct tls *tls = (struct tls *)stream;
	const char *from = octets;

	while (len) {
		size_t part = len < WRITE_ONCE ? len : WRITE_ONCE, done = 0;
		if (tls->broken.kind)
			return tls->broken;
		if (!buf_len(&tls->cipher_out))
			expect(tls, len);
		ERR_clear_error();
		int result = SSL_write_ex(tls->ssl, from, part, &done);
		if (result != 1) {
			TRY(serve(tls, result, NULL));
			continue;
		}
		from += done;
		len -= done;
		if (buf_len(&tls->cipher_out) >= FLUSH_AT)
			TRY(flush(tls));
	}
	return tls->broken.kind ? tls->broken : flush(tls);
}

static void tls_limit(struct stream *stream, uint64_t wait_ms, uint64_t until_ms)
{
	struct tls *tls = (struct tls *)stream;

	stream_limit(tls->lower, wait_ms, until_ms);
}

static void tls_abort(struct stream *stream)
{
	struct tls *tls = (struct tls *)stream;

	stream_abort(tls->lower);
}

static void say_goodbye(struct tls *tls)
{
	if (!tls->is_begun || tls->broken.kind || tls->lower->is_aborted)
		return;
	stream_limit(tls->lower, GOODBYE_MS, uv_hrtime() / 1000000 + GOODBYE_MS);
	ERR_clear_error();
	SSL_shutdown(tls->ssl);
	ERR_clear_error();
	struct err unheard = flush(tls);
	(void)unheard;
}

static void tls_close(struct stream *stream)
{
	struct tls *tls = (struct tls *)stream;

	say_goodbye(tls);
	SSL_free(tls->ssl);
	BIO_meth_free(tls->method);
	buf_fini(&tls->cipher_in);
	buf_fini(&tls->cipher_out);
	stream_close(tls->lower);
	stream_fini(stream);
	free(tls);
}

static const struct stream_ops tls_ops = {
	.read = tls_read,
	.write = tls_write,
	.limit = tls_limit,
	.abort = tls_abort,
	.close = tls_close,
};

static void tls_describe(const struct stream *stream, struct buf *out)
{
	const struct tls *tls = (const struct tls *)stream;

	stream_describe(tls->lower, out);
	tls_describe_session(tls->ssl, out);
}

static bool attach(struct tls *tls, SSL_CTX *context)
{
	tls->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");
	if (!tls->method)
		return false;
	BIO_meth_set_read(tls->method, bio_read);
	BIO_meth_set_write(tls->method, bio_write);
	BIO_meth_set_ctrl(tls->method, bio_ctrl);
	BIO_meth_set_create(tls->method, bio_create);
	tls->ssl = SSL_new(context);
	BIO *bio = BIO_new(tls->method);
	if (!tls->ssl || !bio) {
		BIO_free(bio);
		return false;
	}
	BIO_set_data(bio, tls);
	SSL_set_bio(tls->ssl, bio, bio);
	return true;
}

/* Takes `plain` over. On failure *out is NULL and `plain` is closed. */
static struct err tls_new(struct stream *plain, SSL_CTX *context, struct tls **out)
{
	struct err err = OK;

	*out = NULL;
	if (stream_pending(plain))
		err = (struct err){plain->kind, EPROTO, "octets in clear before TLS began"};
	if (!err.kind)
		err = stream_flush(plain);
	if (err.kind) {
		stream_close(plain);
		return err;
	}
	struct tls *tls = mem_alloc(sizeof *tls);
	stream_init(&tls->stream, &tls_ops, plain->kind, plain->in.max, plain->out.max);
	tls->stream.describe = tls_describe;
	tls->lower = plain;
	buf_init(&tls->cipher_in, RECORD);
	buf_init(&tls->cipher_out, CIPHER_OUT);
	if (!attach(tls, context)) {
		err = fail(tls, ENOMEM, "no TLS");
		tls_close(&tls->stream);
		return err;
	}
	*out = tls;
	return OK;
}

/* As serve(), for the handshake. */
static struct err handshake(struct tls *tls, int *reason)
{
	*reason = 0;
	for (;;) {
		if (tls->broken.kind)
			return tls->broken;
		ERR_clear_error();
		int result = SSL_do_handshake(tls->ssl);
		if (result == 1)
			break;
		TRY(serve(tls, result, reason));
	}
	tls->is_begun = true;
	buf_trim(&tls->cipher_in);
	return flush(tls);
}

struct err tls_accept(struct tls_server_conf *conf, struct stream *plain, struct stream **out)
{
	struct tls *tls;
	int reason;

	*out = NULL;
	TRY(tls_new(plain, tls_server_context(conf), &tls));
	SSL_set_accept_state(tls->ssl);
	struct err err = handshake(tls, &reason);
	if (err.kind) {
		tls_close(&tls->stream);
		return err;
	}
	*out = &tls->stream;
	return OK;
}

static const char *verdict_words(long verdict)
{
	switch (verdict) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return "the upstream's certificate has expired";
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return "the upstream's certificate is not valid yet";
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return "the upstream's certificate is for another host";
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		return "the upstream's certificate is self-signed";
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return "the upstream's certificate is by an unknown authority";
	case X509_V_ERR_CERT_REVOKED:
		return "the upstream's certificate is revoked";
	default:
		return "the upstream's certificate is not good";
	}
}

/* Why a client's handshake failed. A bad certificate, or a server that speaks no TLS or none of our
 * versions, is the operator's (B-13); all else may pass (H-01). */
static struct err explain(const struct tls *tls, struct err err, int reason)
{
	long verdict = SSL_get_verify_result(tls->ssl);

	if (!reason)
		return err; /* the stream below failed */
	if (verdict != X509_V_OK)
		return (struct err){ERR_POLICY, (int)verdict, verdict_words(verdict)};
	switch (reason) {
	case SSL_R_WRONG_VERSION_NUMBER:
		return (struct err){ERR_POLICY, reason, "the upstream host does not speak TLS"};
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
		return (struct err){ERR_POLICY, reason, "the upstream host's TLS is not ours"};
	default:
		return (struct err){err.kind, reason, "no TLS with the upstream host"};
	}
}

/* Whom we expect. RFC 9525 section 2: the names in subjectAltName alone, the wildcard a whole
 * label. RFC 6066 section 3: no SNI for an address. */
static bool expect_host(SSL *ssl, const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
				       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* The SHA-256 of the peer's SubjectPublicKeyInfo. */
static bool key_digest(const SSL *ssl, unsigned char digest[32])
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	unsigned char *der = NULL;
	int len = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : 0;
	bool is_done = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL);

	OPENSSL_free(der);
	return is_done;
}

static struct err check_pin(const SSL *ssl, const char *pin)
{
	static const char prefix[] = "sha256:";
	unsigned char wanted[64], digest[32];
	size_t len = 0;

	if (!pin)
		return OK;
	const char *encoded = pin + sizeof prefix - 1;
	if (strncmp(pin, prefix, sizeof prefix - 1) || strlen(encoded) != 44 ||
	    !text_unbase64(wanted, &len, encoded, 44) || len != sizeof digest)
		return ERR(ERR_POLICY, EINVAL, "the upstream's pin is malformed");
	if (!key_digest(ssl, digest) || memcmp(wanted, digest, sizeof digest) != 0)
		return ERR(ERR_POLICY, EACCES, "the upstream's key is not the pinned one");
	return OK;
}

struct err tls_connect(struct tls_client_conf *conf, struct stream *plain,
		       const struct tls_policy *policy, struct stream **out)
{
	SSL_CTX *context;
	struct tls *tls;
	int reason;

	*out = NULL;
	struct err err = tls_client_context(conf, policy->ca_file, &context);
	if (err.kind) {
		stream_close(plain);
		return err;
	}
	TRY(tls_new(plain, context, &tls));
	SSL_set_connect_state(tls->ssl);
	if (!expect_host(tls->ssl, policy->host)) {
		err = ERR(ERR_POLICY, EINVAL, "the upstream host's name is not good for TLS");
		goto fail;
	}
	err = handshake(tls, &reason);
	if (err.kind) {
		err = explain(tls, err, reason);
		goto fail;
	}
	err = check_pin(tls->ssl, policy->pin);
	if (err.kind)
		goto fail;
	*out = &tls->stream;
	return OK;
fail:
	tls_close(&tls->stream);
	return err;
}
