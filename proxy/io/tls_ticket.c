/* SPDX-License-Identifier: MIT */
/* tls_ticket.c - the keys of session tickets. */
#include "proxy/io/tls_ticket.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <uv.h>

#include "proxy/base/mem.h"

enum { NAME = 16, IV = 16, CIPHER = 32, MAC = 32 };

struct ticket_key {
	unsigned char name[NAME], cipher[CIPHER], mac[MAC];
};

struct tls_tickets {
	const struct env *env; /* borrowed */
	uv_mutex_t lock;
	uint64_t made_ms;          /* the newest key */
	struct ticket_key keys[2]; /* the newest, the one before */
};

static void key_make(const struct tls_tickets *tickets, struct ticket_key *key)
{
	tickets->env->ops->random(tickets->env, key, sizeof *key);
}

struct tls_tickets *tls_tickets_new(const struct env *env)
{
	struct tls_tickets *tickets = mem_alloc(sizeof *tickets);

	tickets->env = env;
	if (uv_mutex_init(&tickets->lock))
		abort();
	tickets->made_ms = env->ops->now(env);
	key_make(tickets, &tickets->keys[0]);
	key_make(tickets, &tickets->keys[1]);
	return tickets;
}

void tls_tickets_free(struct tls_tickets *tickets)
{
	if (!tickets)
		return;
	uv_mutex_destroy(&tickets->lock);
	mem_wipe(tickets->keys, sizeof tickets->keys);
	free(tickets);
}

/* After a long silence both keys are of no use any more. */
static void turn(struct tls_tickets *tickets)
{
	uint64_t now = tickets->env->ops->now(tickets->env);
	uint64_t passed = now - tickets->made_ms;

	if (passed < TICKET_PERIOD_MS)
		return;
	tickets->keys[1] = tickets->keys[0];
	key_make(tickets, &tickets->keys[0]);
	tickets->made_ms += TICKET_PERIOD_MS;
	if (passed >= 2 * (uint64_t)TICKET_PERIOD_MS) {
		key_make(tickets, &tickets->keys[1]);
		tickets->made_ms = now;
	}
}

/* The key for a new ticket, or for one with this name. */
static bool key_take(struct tls_tickets *tickets, const unsigned char *name, struct ticket_key *out,
		     bool *is_newest)
{
	bool is_found = !name;

	uv_mutex_lock(&tickets->lock);
	turn(tickets);
	*out = tickets->keys[0];
	*is_newest = true;
	for (int i = 0; i < 2 && !is_found; i++) {
		*out = tickets->keys[i];
		*is_newest = i == 0;
		is_found = !memcmp(out->name, name, NAME);
	}
	uv_mutex_unlock(&tickets->lock);
	return is_found;
}

static bool mac_begin(EVP_MAC_CTX *mac, struct ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, MAC),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* See SSL_CTX_set_tlsext_ticket_key_evp_cb(3) for what is to be done and answered: -1 an error; 0 not
 * our ticket, or not any more; 1 a ticket; 2 a ticket, and give a new one. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     EVP_MAC_CTX *mac, int is_new)
{
	struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct ticket_key key;
	bool is_newest, is_done;

	if (!key_take(tickets, is_new ? NULL : name, &key, &is_newest))
		return 0;
	if (is_new) {
		memcpy(name, key.name, NAME);
		tickets->env->ops->random(tickets->env, iv, IV);
		is_done = EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1;
	} else {
		is_done = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1;
	}
	is_done = is_done && mac_begin(mac, &key);
	mem_wipe(&key, sizeof key);
	if (!is_done)
		return -1;
	/* A TLS 1.3 client should use a ticket once (RFC 8446 appendix C.4): it needs the next. */
	return is_new || (is_newest && SSL_version(ssl) < TLS1_3_VERSION) ? 1 : 2;
}

void tls_tickets_serve(struct tls_tickets *tickets, SSL_CTX *context)
{
	if (!tickets) {
		SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(context, 0);
		return;
	}
	SSL_CTX_set_app_data(context, tickets);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
	SSL_CTX_set_num_tickets(context, 1);
	SSL_CTX_set_timeout(context, TICKET_PERIOD_MS / 1000);
}
