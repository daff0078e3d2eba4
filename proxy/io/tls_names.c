/* SPDX-License-Identifier: MIT */
/* tls_names.c - whom a client's certificate names. */
#include <string.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/io/tls_own.h"

struct visiting {
	bool (*visit)(void *arg, const char *name);
	void *arg;
	bool is_over;
};

/* A name with NUL or control octets was made to be taken for another. */
static void tell(struct visiting *visiting, const ASN1_STRING *name)
{
	unsigned char *octets = NULL;
	int len = visiting->is_over ? -1 : ASN1_STRING_to_UTF8(&octets, name);
	bool is_clean = len > 0;

	for (int i = 0; i < len; i++)
		if (octets[i] < 0x20 || octets[i] == 0x7f)
			is_clean = false;
	if (is_clean)
		visiting->is_over = !visiting->visit(visiting->arg, (const char *)octets);
	OPENSSL_free(octets);
}

static void tell_alternatives(struct visiting *visiting, const X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type == GEN_EMAIL)
			tell(visiting, name->d.rfc822Name);
		else if (name->type == GEN_DNS)
			tell(visiting, name->d.dNSName);
	}
	GENERAL_NAMES_free(names);
}

static void tell_subject(struct visiting *visiting, const X509 *cert, int nid)
{
	const X509_NAME *subject = X509_get_subject_name(cert);

	for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0;)
		tell(visiting, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

/* A resumed session brings the certificate of an earlier handshake: it may have expired since. */
static bool is_good_now(const X509 *cert)
{
	return X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
}

bool tls_names_visit(const SSL *ssl, bool (*visit)(void *arg, const char *name), void *arg)
{
	const X509 *cert = SSL_is_server(ssl) ? SSL_get0_peer_certificate(ssl) : NULL;
	struct visiting visiting = {visit, arg, false};

	if (!cert || SSL_get_verify_result(ssl) != X509_V_OK || !is_good_now(cert))
		return false;
	tell_alternatives(&visiting, cert);
	tell_subject(&visiting, cert, NID_pkcs9_emailAddress);
	tell_subject(&visiting, cert, NID_commonName);
	return true;
}
