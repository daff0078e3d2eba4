/* SPDX-License-Identifier: MIT */
/* papers.h - keys and certificates for tests: P-256, good from yesterday to tomorrow, signed by SHA-384. */
#ifndef POPGATE_FAKE_PAPERS_H
#define POPGATE_FAKE_PAPERS_H

#include <openssl/evp.h>
#include <openssl/x509.h>

/* A key, also written to a PEM file. */
EVP_PKEY *papers_key(const char *file);

/* A certificate, also written to a PEM file. `names`: subjectAltName in OpenSSL's words, or NULL: an
 * authority's. `issuer` NULL: signed by itself. */
X509 *papers_cert(const char *file, EVP_PKEY *, const char *common_name, const char *names,
		  X509 *issuer, EVP_PKEY *issuer_key);

/* Both files. */
void papers_make(const char *file, const char *key_file, const char *common_name, const char *names,
		 X509 *issuer, EVP_PKEY *issuer_key);

#endif
