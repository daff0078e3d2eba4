/* SPDX-License-Identifier: MIT */
/* scram_server.c - the server's half of SCRAM behind a few lines of IMAP. */
#include "tests/fake/scram_server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

struct scram_stream {
	struct stream stream; /* first */
	struct scram_server *server;
};

static void say(struct scram_server *server, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void say(struct scram_server *server, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	bool is_put = buf_vprintf(&server->pending, format, ap);
	va_end(ap);
	assert(is_put);
}

static int answer_property(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
	struct scram_server *server = gsasl_callback_hook_get(gsasl);
	char coded[200];

	switch (property) {
	case GSASL_PASSWORD:
		if (strcmp(gsasl_property_fast(session, GSASL_AUTHID), server->user) != 0)
			return GSASL_NO_CALLBACK;
		return gsasl_property_set(session, property, server->password);
	case GSASL_SCRAM_ITER:
		return gsasl_property_set(session, property, server->rounds);
	case GSASL_CB_TLS_EXPORTER:
	case GSASL_CB_TLS_UNIQUE:
		if (!server->ours ||
		    (property == GSASL_CB_TLS_EXPORTER) != (server->kind == BINDING_TLS_EXPORTER))
			return GSASL_NO_CALLBACK;
		text_base64(coded, server->ours, strlen(server->ours));
		return gsasl_property_set(session, property, coded);
	default:
		return GSASL_NO_CALLBACK;
	}
}

static void say_challenge(struct scram_server *server, char *text, size_t len, bool is_final)
{
	char coded[2000];

	if (is_final && server->lie == SCRAM_OTHER_PROOF)
		text[4] = text[4] == 'A' ? 'B' : 'A';
	assert(text_base64_len(len) < sizeof coded);
	text_base64(coded, text, len);
	say(server, "+ %s\r\n", coded);
}

static void let_in(struct scram_server *server)
{
	const char *authzid = gsasl_property_fast(server->session, GSASL_AUTHZID);
	const char *wanted = server->acting;

	server->is_in = !authzid == !wanted && (!wanted || !strcmp(authzid, wanted));
	say(server, server->is_in ? "%s OK [CAPABILITY IMAP4rev1] in\r\n" : "%s NO not you\r\n",
	    server->tag);
}

static void step(struct scram_server *server, const char *coded, size_t coded_len)
{
	char *in = mem_alloc(coded_len + 1), *out = NULL;
	size_t len = 0, out_len = 0;

	bool is_good = text_unbase64(in, &len, coded, coded_len);
	assert(is_good);
	if (server->is_proved && server->lie == SCRAM_MORE) {
		server->lie = SCRAM_HONEST;
		say(server, "+ bW9yZQ==\r\n");
	} else if (server->is_proved) {
		let_in(server);
	} else {
		int outcome = gsasl_step(server->session, in, len, &out, &out_len);
		server->is_proved = outcome == GSASL_OK;
		if (outcome != GSASL_OK && outcome != GSASL_NEEDS_MORE)
			say(server, "%s NO [AUTHENTICATIONFAILED] wrong\r\n", server->tag);
		else if (server->is_proved && server->lie == SCRAM_NO_PROOF)
			let_in(server);
		else
			say_challenge(server, out, out_len, server->is_proved);
		gsasl_free(out);
	}
	free(in);
}

static void begin(struct scram_server *server, const char *name, const char *initial)
{
	char mechanism[40];

	snprintf(mechanism, sizeof mechanism, "%.*s", (int)strcspn(name, " "), name);
	if (server->session)
		gsasl_finish(server->session);
	server->session = NULL;
	if (gsasl_server_start(server->gsasl, mechanism, &server->session) != GSASL_OK)
		say(server, "%s NO no such mechanism\r\n", server->tag);
	else if (initial)
		step(server, initial, strlen(initial));
	else
		say(server, "+ \r\n");
}

static void hear(struct scram_server *server, char *line)
{
	char *word = strchr(line, ' ');

	if (!strcmp(line, "*")) {
		say(server, "%s BAD cancelled\r\n", server->tag);
		return;
	}
	if (!word) {
		step(server, line, strlen(line));
		return;
	}
	*word++ = '\0';
	snprintf(server->tag, sizeof server->tag, "%s", line);
	if (!strncmp(word, "AUTHENTICATE ", 13)) {
		char *initial = strchr(word + 13, ' ');
		begin(server, word + 13, initial ? initial + 1 : NULL);
	} else if (!strcmp(word, "CAPABILITY")) {
		say(server, "* CAPABILITY IMAP4rev1 %s\r\n%s OK\r\n",
		    server->is_in ? "" : server->capabilities, server->tag);
	} else if (strcmp(word, "LOGOUT") != 0) {
		say(server, "%s BAD what\r\n", server->tag);
	}
}

static struct err scram_read(struct stream *base, void *into, size_t max, size_t *got)
{
	struct scram_server *server = ((struct scram_stream *)base)->server;

	*got = 0;
	if (!buf_len(&server->pending))
		return ERR(ERR_UPSTREAM, ETIMEDOUT, "nothing to say");
	*got = buf_len(&server->pending) < max ? buf_len(&server->pending) : max;
	memcpy(into, buf_data(&server->pending), *got);
	buf_drop(&server->pending, *got);
	return OK;
}

static struct err scram_write(struct stream *base, const void *octets, size_t len)
{
	struct scram_server *server = ((struct scram_stream *)base)->server;
	char *lf;

	bool is_put = buf_put(&server->heard, octets, len) && buf_put(&server->said, octets, len);
	assert(is_put);
	while (buf_len(&server->heard) &&
	       (lf = memchr(buf_data(&server->heard), '\n', buf_len(&server->heard)))) {
		size_t line_len = (size_t)(lf - buf_data(&server->heard));
		char *line = mem_dup(buf_data(&server->heard), line_len);
		buf_drop(&server->heard, line_len + 1);
		line[strcspn(line, "\r")] = '\0';
		hear(server, line);
		free(line);
	}
	return OK;
}

static void scram_limit(struct stream *base, uint64_t wait_ms, uint64_t until_ms)
{
	(void)base;
	(void)wait_ms;
	(void)until_ms;
}

static void scram_abort(struct stream *base)
{
	(void)base;
}

static void scram_close(struct stream *base)
{
	((struct scram_stream *)base)->server->stream = NULL;
	stream_fini(base);
	free(base);
}

static bool scram_binding(const struct stream *base, enum stream_binding kind, struct buf *out)
{
	const struct scram_server *server = ((const struct scram_stream *)base)->server;

	return server->theirs && kind == server->kind &&
	       buf_put(out, server->theirs, strlen(server->theirs));
}

static const struct stream_ops scram_ops = {
	.read = scram_read,
	.write = scram_write,
	.limit = scram_limit,
	.abort = scram_abort,
	.close = scram_close,
};

static struct err scram_dial(void *arg, const char *host, unsigned port, struct stream **out)
{
	struct scram_server *server = arg;
	struct scram_stream *stream = mem_alloc(sizeof *stream);

	(void)host;
	(void)port;
	assert(!server->stream);
	stream_init(&stream->stream, &scram_ops, ERR_UPSTREAM, 4096, 4096);
	stream->stream.binding = scram_binding;
	stream->server = server;
	server->stream = stream;
	buf_drop(&server->pending, buf_len(&server->pending));
	server->is_proved = server->is_in = false;
	say(server, "* OK [CAPABILITY IMAP4rev1 %s] hello\r\n", server->capabilities);
	*out = &stream->stream;
	return OK;
}

void scram_server_init(struct scram_server *server)
{
	*server = (struct scram_server){
		.capabilities = "SASL-IR AUTH=SCRAM-SHA-256",
		.user = "joe",
		.password = "secret",
		.rounds = "4096",
	};
	fake_world_init(&server->world);
	server->world.dial = scram_dial;
	server->world.arg = server;
	int outcome = gsasl_init(&server->gsasl);
	assert(outcome == GSASL_OK);
	gsasl_callback_set(server->gsasl, answer_property);
	gsasl_callback_hook_set(server->gsasl, server);
	buf_init(&server->pending, 1 << 16);
	buf_init(&server->heard, 1 << 16);
	buf_init(&server->said, 1 << 20);
}

void scram_server_fini(struct scram_server *server)
{
	if (server->session)
		gsasl_finish(server->session);
	gsasl_done(server->gsasl);
	buf_fini(&server->pending);
	buf_fini(&server->heard);
	buf_fini(&server->said);
}
