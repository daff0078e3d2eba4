/* SPDX-License-Identifier: MIT */
/* tls_describe.c - what there is to say of a TLS connection, for people. */
#include <openssl/bio.h>
#include <openssl/x509.h>

#include "proxy/base/text.h"
#include "proxy/io/tls_own.h"

enum { LINE = 512 };

/* One line out of what OpenSSL has written: a certificate may hold any octet. */
static void put_line(struct buf *out, const char *key, BIO *words)
{
	char line[LINE];
	char *raw;
	long len = BIO_get_mem_data(words, &raw);

	text_printable(line, sizeof line, raw, len > 0 ? (size_t)len : 0, true);
	(void)!buf_printf(out, "%s: %s\n", key, line);
	(void)BIO_reset(words);
}

static void describe_certificate(const X509 *certificate, struct buf *out, BIO *words)
{
	X509_NAME_print_ex(words, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
	put_line(out, "certificate", words);
	X509_NAME_print_ex(words, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253);
	put_line(out, "certificate issuer", words);
	ASN1_TIME_print(words, X509_get0_notAfter(certificate));
	put_line(out, "certificate expires", words);
}

void tls_describe_session(const SSL *ssl, struct buf *out)
{
	X509 *certificate = SSL_get1_peer_certificate(ssl);
	BIO *words = BIO_new(BIO_s_mem());

	(void)!buf_printf(out, "tls: %s, %s%s\n", SSL_get_version(ssl), SSL_get_cipher_name(ssl),
			  SSL_session_reused(ssl) ? ", resumed" : "");
	if (certificate && words)
		describe_certificate(certificate, out, words);
	BIO_free(words);
	X509_free(certificate);
}
