/* SPDX-License-Identifier: MIT */
/* openssl_peer.c - TLS as a program does that knows nothing of us. */
#undef NDEBUG
#include "tests/fake/openssl_peer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <sys/socket.h>
#include <unistd.h>

/* By the book, not by our code: RFC 5929, with the roles written out. */
static void other_bindings(struct openssl_peer *other, SSL *ssl)
{
	struct peer_bindings *out = &other->bindings;

	other->is_resumed = SSL_session_reused(ssl);
	if (SSL_version(ssl) == TLS1_3_VERSION) {
		SSL_export_keying_material(ssl, out->octets[0], 32, "EXPORTER-Channel-Binding", 24,
					   NULL, 0, 0);
		out->len[0] = 32;
		return;
	}
	if (other->is_server)
		out->len[1] = other->is_resumed ? SSL_get_finished(ssl, out->octets[1], 64)
						: SSL_get_peer_finished(ssl, out->octets[1], 64);
	else
		out->len[1] = other->is_resumed ? SSL_get_peer_finished(ssl, out->octets[1], 64)
						: SSL_get_finished(ssl, out->octets[1], 64);
}

static void other_talk(struct openssl_peer *other, SSL_CTX *context)
{
	int fd = other->is_server ? accept(other->fd, NULL, NULL) : other->fd;
	SSL *ssl = SSL_new(context);
	char octet;

	SSL_set_fd(ssl, fd);
	if (other->session)
		SSL_set_session(ssl, other->session);
	if ((other->is_server ? SSL_accept(ssl) : SSL_connect(ssl)) == 1) {
		other_bindings(other, ssl);
		X509 *cert = SSL_get1_peer_certificate(ssl);
		if (cert)
			X509_NAME_oneline(X509_get_subject_name(cert), other->subject,
					  sizeof other->subject);
		X509_free(cert);
		SSL_write(ssl, "x", 1);
		(void)!SSL_read(ssl, &octet, 1);
		SSL_SESSION_free(other->session);
		other->session = other->is_server ? NULL : SSL_get1_session(ssl);
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	close(fd);
}

void *openssl_peer_run(void *arg)
{
	struct openssl_peer *other = arg;
	SSL_CTX *context =
		SSL_CTX_new(other->is_server ? TLS_server_method() : TLS_client_method());

	SSL_CTX_set_options(context, other->options);
	SSL_CTX_set_max_proto_version(context, other->max_version);
	SSL_CTX_load_verify_file(context, other->ca);
	if (other->is_server) {
		SSL_CTX_use_certificate_chain_file(context, other->cert);
		SSL_CTX_use_PrivateKey_file(context, other->key, SSL_FILETYPE_PEM);
	}
	if (!other->is_averse)
		SSL_CTX_set_session_id_context(context, (const unsigned char *)"peer", 4);
	if (other->wants_cert || other->is_averse)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
	for (int i = 0; i < (other->is_server ? other->connections : 1); i++)
		other_talk(other, context);
	SSL_CTX_free(context);
	return NULL;
}

int openssl_peer_listen(unsigned *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
	assert(listen(fd, 5) == 0);
	assert(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	*port = ntohs(address.sin_port);
	return fd;
}
