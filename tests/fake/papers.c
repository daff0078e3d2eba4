/* SPDX-License-Identifier: MIT */
/* papers.c - keys and certificates for tests, made on the spot. */
#include "tests/fake/papers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { DAY = 24 * 3600 };

EVP_PKEY *papers_key(const char *file)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	FILE *out = fopen(file, "w");

	assert(out);
	int is_done = PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	assert(is_done == 1);
	fclose(out);
	return key;
}

X509 *papers_cert(const char *file, EVP_PKEY *key, const char *name, const char *alternative,
		  X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);
	FILE *out = fopen(file, "w");

	assert(out);
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), random() + 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -DAY);
	X509_gmtime_adj(X509_getm_notAfter(cert), DAY);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
				   0);
	X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
	X509_set_pubkey(cert, key);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(
		NULL, NULL, alternative ? NID_subject_alt_name : NID_basic_constraints,
		alternative ? alternative : "critical,CA:TRUE");
	X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
	int is_done = X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha384()) > 0 &&
		      PEM_write_X509(out, cert) == 1;
	assert(is_done);
	fclose(out);
	return cert;
}

void papers_make(const char *file, const char *key_file, const char *name, const char *alternative,
		 X509 *issuer, EVP_PKEY *issuer_key)
{
	EVP_PKEY *key = papers_key(key_file);

	X509_free(papers_cert(file, key, name, alternative, issuer, issuer_key));
	EVP_PKEY_free(key);
}
