/* SPDX-License-Identifier: MIT */
/* tls_resume.c - sessions with mail servers that can be resumed, so that neither side proves itself by a
 * signature at each poll (M-14).
 *
 * A ticket of TLS 1.3 is for one use, and servers give two at a time; one of TLS 1.2 serves again. What is
 * resumed was verified by a full handshake for the same name with the same CA, an hour ago at most, with
 * a certificate that is valid still. Early data is never sent.
 *
 * Some servers do not decline a session but break on it: OpenSSL's that ask for client certificates and
 * have set no session id context. They are never offered another one.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/ssl.h>

#include "proxy/base/mem.h"
#include "proxy/io/tls_own.h"

enum {
	HOSTS_MAX = 256,
	TICKETS_MAX = 4,
	AGE_MAX_S = 3600,
};

struct host {
	struct host *next; /* the newest first */
	char *name;
	SSL_SESSION *tickets[TICKETS_MAX]; /* the newest last */
	size_t count;
	bool is_averse; /* it has broken on a session */
};

struct tls_sessions {
	unsigned holders;
	struct host *hosts;
};

struct tls_visit {
	struct tls_sessions *sessions; /* held */
	char *host;                    /* owned */
	bool is_offered;
};

/* The host's row, moved to the front. */
static struct host *find(struct tls_sessions *sessions, const char *name)
{
	for (struct host **at = &sessions->hosts; *at; at = &(*at)->next) {
		struct host *host = *at;
		if (strcmp(host->name, name) != 0)
			continue;
		*at = host->next;
		host->next = sessions->hosts;
		sessions->hosts = host;
		return host;
	}
	return NULL;
}

static void host_free(struct host *host)
{
	for (size_t i = 0; i < host->count; i++)
		SSL_SESSION_free(host->tickets[i]);
	free(host->name);
	free(host);
}

/* A new row at the front; the last one goes if there are too many. */
static struct host *add(struct tls_sessions *sessions, const char *name)
{
	struct host *host = mem_alloc(sizeof *host), **at = &sessions->hosts;

	host->name = text_dup(name);
	host->next = sessions->hosts;
	sessions->hosts = host;
	for (size_t i = 0; *at && i < HOSTS_MAX; i++)
		at = &(*at)->next;
	if (*at) {
		host_free(*at);
		*at = NULL;
	}
	return host;
}

static void put(struct host *host, SSL_SESSION *ticket)
{
	if (host->count == TICKETS_MAX) {
		SSL_SESSION_free(host->tickets[0]);
		host->count--;
		memmove(&host->tickets[0], &host->tickets[1], host->count * sizeof *host->tickets);
	}
	host->tickets[host->count++] = ticket;
}

/* OpenSSL tells of a ticket. 1: it is ours now. */
static int on_ticket(SSL *ssl, SSL_SESSION *ticket)
{
	const struct tls_visit *visit = SSL_get_app_data(ssl);

	if (!visit || !SSL_SESSION_is_resumable(ticket))
		return 0;
	struct host *host = find(visit->sessions, visit->host);
	if (host && host->is_averse)
		return 0;
	put(host ? host : add(visit->sessions, visit->host), ticket);
	return 1;
}

static bool is_fresh(const SSL_SESSION *ticket)
{
	const X509 *cert = SSL_SESSION_get0_peer((SSL_SESSION *)ticket);
	time_t age = time(NULL) - (time_t)SSL_SESSION_get_time(ticket);

	return age >= 0 && age < AGE_MAX_S && SSL_SESSION_is_resumable(ticket) && cert &&
	       X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
}

/* The newest ticket that is good; a reference. */
static SSL_SESSION *take(struct host *host)
{
	while (host->count) {
		SSL_SESSION *ticket = host->tickets[host->count - 1];
		bool is_good = is_fresh(ticket);
		if (is_good && SSL_SESSION_get_protocol_version(ticket) < TLS1_3_VERSION) {
			SSL_SESSION_up_ref(ticket);
			return ticket;
		}
		host->count--;
		if (is_good)
			return ticket;
		SSL_SESSION_free(ticket);
	}
	return NULL;
}

struct tls_sessions *tls_sessions_new(SSL_CTX *context)
{
	struct tls_sessions *sessions = mem_alloc(sizeof *sessions);

	sessions->holders = 1;
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, on_ticket);
	return sessions;
}

struct tls_sessions *tls_sessions_hold(struct tls_sessions *sessions)
{
	sessions->holders++;
	return sessions;
}

void tls_sessions_release(struct tls_sessions *sessions)
{
	if (!sessions || --sessions->holders)
		return;
	while (sessions->hosts) {
		struct host *host = sessions->hosts;
		sessions->hosts = host->next;
		host_free(host);
	}
	free(sessions);
}

struct tls_visit *tls_visit_new(struct tls_sessions *sessions, SSL *ssl, const char *name)
{
	struct tls_visit *visit = mem_alloc(sizeof *visit);
	struct host *host = find(sessions, name);
	SSL_SESSION *ticket = host ? take(host) : NULL;

	visit->sessions = tls_sessions_hold(sessions);
	visit->host = text_dup(name);
	SSL_set_app_data(ssl, visit);
	visit->is_offered = ticket && SSL_set_session(ssl, ticket);
	SSL_SESSION_free(ticket);
	return visit;
}

bool tls_visit_failed(struct tls_visit *visit)
{
	if (!visit->is_offered)
		return false;
	struct host *host = find(visit->sessions, visit->host);
	if (!host)
		host = add(visit->sessions, visit->host);
	host->is_averse = true;
	while (host->count)
		SSL_SESSION_free(host->tickets[--host->count]);
	return true;
}

void tls_visit_free(struct tls_visit *visit)
{
	if (!visit)
		return;
	tls_sessions_release(visit->sessions);
	free(visit->host);
	free(visit);
}
