/* SPDX-License-Identifier: MIT */
/* tls_binding.c - what both ends of a TLS connection know and nobody between them can make equal (RFC
 * 5056, 5929, 9266). */
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "proxy/base/mem.h"
#include "proxy/io/tls_own.h"

enum { EXPORTED = 32 };

/* RFC 9266 section 2. */
static bool exporter(SSL *ssl, struct buf *out)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	unsigned char octets[EXPORTED];

	if (SSL_version(ssl) < TLS1_3_VERSION ||
	    SSL_export_keying_material(ssl, octets, sizeof octets, label, sizeof label - 1,
				       (const unsigned char *)"", 0, 1) != 1)
		return false;
	bool is_put = buf_put(out, octets, sizeof octets);
	mem_wipe(octets, sizeof octets);
	return is_put;
}

/* RFC 5929 section 3.1: the first Finished of the handshake, which is the client's, or the server's if the
 * session is resumed. Without the extended master secret it can be made equal on two connections (RFC
 * 7627 section 1). */
static bool unique(SSL *ssl, struct buf *out)
{
	unsigned char octets[EVP_MAX_MD_SIZE];
	size_t len;

	if (SSL_version(ssl) > TLS1_2_VERSION || SSL_get_extms_support(ssl) != 1)
		return false;
	bool is_ours = !SSL_is_server(ssl) == !SSL_session_reused(ssl);
	len = is_ours ? SSL_get_finished(ssl, octets, sizeof octets)
		      : SSL_get_peer_finished(ssl, octets, sizeof octets);
	return len && len <= sizeof octets && buf_put(out, octets, len);
}

/* RFC 5929 section 4.1: by the hash of the certificate's signature, but by no weaker one than SHA-256.
 * Where the signature has none of its own (Ed25519) there is no such binding. */
static bool server_end_point(SSL *ssl, struct buf *out)
{
	X509 *cert = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
	unsigned char octets[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int hash = NID_undef;

	if (!cert || !X509_get_signature_info(cert, &hash, NULL, NULL, NULL) || hash == NID_undef)
		return false;
	if (hash == NID_md5 || hash == NID_sha1)
		hash = NID_sha256;
	const EVP_MD *digest = EVP_get_digestbynid(hash);
	return digest && X509_digest(cert, digest, octets, &len) == 1 && buf_put(out, octets, len);
}

bool tls_bind_session(SSL *ssl, enum stream_binding kind, struct buf *out)
{
	switch (kind) {
	case BINDING_TLS_EXPORTER:
		return exporter(ssl, out);
	case BINDING_TLS_UNIQUE:
		return unique(ssl, out);
	case BINDING_TLS_SERVER_END_POINT:
		return server_end_point(ssl, out);
	}
	return false;
}
