/* SPDX-License-Identifier: MIT */
/* tls_peer.c - the server at the other end: whom we expect, and what is wrong with whom we met (B-13). */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/text.h"
#include "proxy/io/tls_own.h"

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

bool tls_is_refusal(int reason)
{
	switch (reason) {
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR: /* by another CA of the same name */
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

struct err tls_peer_fault(const SSL *ssl, struct err err, int reason)
{
	long verdict = SSL_get_verify_result(ssl);

	if (verdict != X509_V_OK)
		return (struct err){ERR_POLICY, (int)verdict, verdict_words(verdict)};
	if (err.kind == ERR_POLICY)
		return err;
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

/* RFC 9525 section 2: the names in subjectAltName alone, the wildcard a whole label. RFC 6066 section 3: no
 * SNI for an address. */
bool tls_peer_expect(SSL *ssl, const char *host)
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

struct err tls_peer_check_pin(const SSL *ssl, const char *pin)
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
