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
 * read that was not small does it take a record's worth from the heap, and several records' while
 * reads fill what they are given.
 *
 * Speed. Of the CPU of a large message most is system calls. So one read below fetches several
 * records, one read of ours hands out as many of them as there is room for, and one write below sends
 * four.
 *
 * Invariants: `cipher_in` is empty whenever we wait to read. After an error of OpenSSL, `broken`
 * answers all calls, and close() does not say goodbye. The end of the stream below without
 * close_notify is an error: somebody may have cut the connection where it suited him.
 */
#include "proxy/io/tls.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <uv.h>

#include "proxy/base/mem.h"
#include "proxy/io/tls_own.h"

enum {
	SMALL = 1024,           /* octets: a quiet session's read */
	RECORD = 18 * 1024,     /* octets: the longest record of TLS 1.2 and its header */
	DEEP = 72 * 1024,       /* octets: a read while octets pour in */
	CIPHER_OUT = 68 * 1024, /* octets: four full records */
	FLUSH_AT = 64 * 1024,   /* octets of cipher text that are written below in one go */
	WRITE_ONCE = 16 * 1024, /* octets of a record */
	GOODBYE_MS = 3000,      /* close_notify may wait so long */
};

struct tls {
	struct stream stream; /* first: a stream is cast to this */
	struct stream *lower; /* owned */
	SSL *ssl;
	struct tls_visit *visit; /* owned; NULL: we are the server */
	BIO_METHOD *method;
	struct buf cipher_in, cipher_out;
	struct err broken; /* what all calls answer; OK: sound */
	size_t reach;      /* octets asked for by the next read below: SMALL, RECORD or DEEP */
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

/* How much to ask for after a read that gave `got` octets. */
static size_t reach_after(size_t reach, size_t got)
{
	if (got < SMALL)
		return SMALL;
	return reach >= RECORD && got >= RECORD ? DEEP : RECORD;
}

/* Waits for cipher text, with nothing unsaid. */
static struct err fill(struct tls *tls)
{
	char small[SMALL];
	char *into = small;
	size_t max = tls->reach, got;

	assert(!buf_len(&tls->cipher_in));
	TRY(flush(tls));
	if (max > SMALL) {
		into = buf_room(&tls->cipher_in, max);
		if (!into)
			return fail(tls, ENOMEM, "out of memory");
	} else {
		buf_trim(&tls->cipher_in);
	}
	TRY(tls->lower->ops->read(tls->lower, into, max, &got));
	if (!got)
		return fail(tls, EPROTO, "the TLS connection was cut");
	tls->reach = reach_after(max, got);
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
	/* In TLS 1.3 a server looks at our certificate when we are done with the handshake. */
	if (tls_is_refusal(code) && !SSL_is_server(tls->ssl)) {
		tls->broken = ERR(ERR_POLICY, 0, "the upstream host refuses our certificate");
		return tls->broken;
	}
	return fail(tls, code ? code : EPROTO, "TLS failed");
}

/* What is here already, record by record; *result is OpenSSL's when it had no more. */
static size_t read_here(struct tls *tls, char *into, size_t max, int *result)
{
	size_t all = 0, got;

	do {
		ERR_clear_error();
		*result = SSL_read_ex(tls->ssl, into + all, max - all, &got);
		if (*result == 1)
			all += got;
	} while (*result == 1 && all < max && buf_len(&tls->cipher_in));
	return all;
}

static struct err tls_read(struct stream *stream, void *into, size_t max, size_t *got)
{
	struct tls *tls = (struct tls *)stream;
	int result;

	*got = 0;
	while (!tls->is_ended && !*got) {
		if (tls->broken.kind)
			return tls->broken;
		*got = read_here(tls, into, max, &result);
		int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);
		if (error == SSL_ERROR_ZERO_RETURN) {
			tls->is_ended = true;
		} else if (result != 1 && (!*got || error != SSL_ERROR_WANT_READ)) {
			struct err err = serve(tls, result, NULL);
			/* What came before the fault is good; the next read tells of it. */
			if (err.kind && !*got)
				return err;
		}
	}
	buf_trim(&tls->cipher_in);
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
	tls_visit_free(tls->visit);
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

static bool tls_is_quiet(const struct stream *stream)
{
	const struct tls *tls = (const struct tls *)stream;

	return !tls->broken.kind && !tls->is_ended && !buf_len(&tls->cipher_in) &&
	       !SSL_pending(tls->ssl) && stream_is_quiet(tls->lower);
}

static void tls_describe(const struct stream *stream, struct buf *out)
{
	const struct tls *tls = (const struct tls *)stream;

	stream_describe(tls->lower, out);
	tls_describe_session(tls->ssl, out);
}

static bool tls_binding(const struct stream *stream, enum stream_binding kind, struct buf *out)
{
	return tls_bind_session(((const struct tls *)stream)->ssl, kind, out);
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
	tls->stream.is_quiet = tls_is_quiet;
	tls->stream.binding = tls_binding;
	tls->lower = plain;
	tls->reach = SMALL;
	buf_init(&tls->cipher_in, DEEP);
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
	/* A reload during the handshake must not take away what it asks for. */
	tls_server_conf_hold(conf);
	struct err err = handshake(tls, &reason);
	tls_server_conf_release(conf);
	if (err.kind) {
		tls_close(&tls->stream);
		return err;
	}
	*out = &tls->stream;
	return OK;
}

bool tls_peer_names(const struct stream *stream, bool (*visit)(void *arg, const char *name),
		    void *arg)
{
	if (!stream || stream->ops != &tls_ops)
		return false;
	return tls_names_visit(((const struct tls *)stream)->ssl, visit, arg);
}

/* Why a client's handshake failed: see tls_peer_fault(). */
static struct err explain(const struct tls *tls, struct err err, int reason)
{
	return reason ? tls_peer_fault(tls->ssl, err, reason) : err; /* the stream below failed */
}

struct err tls_connect(const struct env *env, struct tls_client_conf *conf, struct stream *plain,
		       const struct tls_policy *policy, struct stream **out)
{
	struct tls_sessions *sessions;
	SSL_CTX *context;
	struct tls *tls;
	int reason;

	*out = NULL;
	struct err err = tls_client_context(env, conf, policy, &context, &sessions);
	if (err.kind) {
		stream_close(plain);
		return err;
	}
	err = tls_new(plain, context, &tls);
	SSL_CTX_free(context);
	if (!err.kind)
		tls->visit = tls_visit_new(sessions, tls->ssl, policy->host);
	tls_sessions_release(sessions);
	if (err.kind)
		return err;
	SSL_set_connect_state(tls->ssl);
	if (!tls_peer_expect(tls->ssl, policy->host)) {
		err = ERR(ERR_POLICY, EINVAL, "the upstream host's name is not good for TLS");
		goto fail;
	}
	err = handshake(tls, &reason);
	if (err.kind) {
		err = explain(tls, err, reason);
		if (err.code != ETIMEDOUT && tls_visit_failed(tls->visit))
			err = ERR(ERR_UPSTREAM, ESTALE, "the upstream breaks on a TLS session");
		goto fail;
	}
	err = tls_peer_check_pin(tls->ssl, policy->pin);
	if (err.kind)
		goto fail;
	*out = &tls->stream;
	return OK;
fail:
	tls_close(&tls->stream);
	return err;
}
