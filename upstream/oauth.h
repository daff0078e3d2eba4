/* SPDX-License-Identifier: MIT */
/* oauth.h - what is said to an OAuth 2.0 provider, and what it answers: one request, one reply.
 *
 * Nothing here remembers anything; what is kept, and when whom to ask, is token.c's business. All of
 * it blocks and runs on the pool (env->offload).
 */
#ifndef POPGATE_OAUTH_H
#define POPGATE_OAUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/err.h"

enum {
	TOKEN_MAX = 16384,        /* octets of an access or refresh token, or of a code */
	OAUTH_ANSWER_MAX = 65536, /* octets of a reply; a longer one is none */
	OAUTH_FORM_MAX = 1 << 18, /* octets of a request's body */
	OAUTH_CONNECT_S = 10,     /* seconds until a provider has taken the connection */
	OAUTH_TOTAL_S = 30,       /* seconds until its reply is whole */
	OAUTH_DAY_S = 86400,      /* the longest life that an access token is believed to have */
};

/* How an access token is had. */
enum oauth_grant {
	OAUTH_REFRESH,            /* RFC 6749 section 6, after device code or authorization code */
	OAUTH_CLIENT_CREDENTIALS, /* RFC 6749 section 4.4 */
	OAUTH_SERVICE_ACCOUNT,    /* a signed JWT, RFC 7523 section 2.1 */
};

/* [oauth NAME] of popgate.conf. Strings are borrowed: they live as long as the configuration. */
struct oauth_profile {
	const char *name;
	enum oauth_grant grant;
	const char *token_url, *device_url, *authorize_url; /* https; NULL: not there */
	const char *client_id;
	const char *client_secret;      /* NULL: a public client */
	const char *client_secret_file; /* its first line; read when needed */
	const char *scope;              /* blank separated */
	const char *audience; /* "aud" of the JWT, NULL: token_url; with client credentials the
				 parameter `audience`, NULL: none */
	const char *key_file; /* service account: PEM, or Google's JSON */
	const char *issuer;   /* "iss" of the JWT; NULL: from the JSON key, or client_id */
	const char *ca_file;  /* NULL: the system's certificate authorities */
};

/* --- the way there ------------------------------------------------------------------------ */

/* A form to be posted. Borrowed. */
struct oauth_post {
	const char *url;     /* https */
	const char *ca_file; /* PEM; NULL: the system's */
	const struct buf *form;
};

/* Posts, and puts the body of the reply, whatever its status, into `answer`. ERR_UPSTREAM: there was
 * none, or none that could be taken; ERR_POLICY: the certificate is not good (B-13). `why` says what
 * was wrong. */
struct oauth_transport {
	struct err (*post)(const struct oauth_transport *, const struct oauth_post *, long *status,
			   struct buf *answer, struct notice *why) MUST_USE;
};

/* HTTPS by libcurl (oauth_http.c): TLS 1.2 or later, verified; no redirects, no proxy but none, no
 * ~/.netrc; within OAUTH_CONNECT_S and OAUTH_TOTAL_S. */
extern const struct oauth_transport oauth_http;

/* Once in a process, before its first thread: from here on libcurl and jansson overwrite what they
 * free (B-22). False: libcurl cannot work here. */
bool oauth_begin(void);

/* --- one question ------------------------------------------------------------------------- */

enum oauth_what {
	OAUTH_ASK_TOKEN,        /* as the profile's grant says */
	OAUTH_ASK_DEVICE,       /* RFC 8628 section 3.1: a code for the user */
	OAUTH_ASK_DEVICE_TOKEN, /* RFC 8628 section 3.4: whether the user has said yes */
	OAUTH_ASK_CODE, /* RFC 6749 section 4.1.3, RFC 7636 section 4.5: an authorization code's worth */
};

/* Borrowed. */
struct oauth_question {
	enum oauth_what what;
	const char
		*secret; /* OAUTH_REFRESH: the refresh token; DEVICE_TOKEN: the device code; CODE:
			       the code; else NULL */
	const char *subject;  /* OAUTH_SERVICE_ACCOUNT: whom it is to act for; NULL: nobody */
	const char *verifier; /* CODE: of PKCE */
	const char *redirect; /* CODE: the redirect URI, as it was asked with */
	uint64_t wall_s;      /* now */
};

/* What a provider has against it. */
enum oauth_trouble {
	OAUTH_FINE,
	OAUTH_PENDING,      /* authorization_pending: the user has not said anything yet */
	OAUTH_SLOW_DOWN,    /* the same, and to be asked less often: 5 s more */
	OAUTH_EXPIRED,      /* expired_token: the device code */
	OAUTH_DENIED,       /* access_denied: the user said no */
	OAUTH_GRANT_IS_BAD, /* invalid_grant and its kin: enrol again */
	OAUTH_REFUSED,      /* anything else that asking again will not mend */
	OAUTH_PASSING,      /* no answer, or one that says nothing for long */
};

/* Strings are owned and secret. */
struct oauth_reply {
	enum oauth_trouble trouble;
	bool is_unheard;     /* PASSING: nobody answered at all */
	char *access;        /* printable ASCII, 1 to TOKEN_MAX octets */
	char *refresh;       /* NULL: none, so the old one stays; also beside trouble */
	uint64_t lifetime_s; /* 1 to OAUTH_DAY_S; of the device code, if that was asked for */
	char *device_code, *user_code, *url, *url_complete; /* DEVICE; the last may be NULL */
	uint64_t interval_s;                                /* DEVICE: between two questions */
};
void oauth_reply_fini(struct oauth_reply *); /* wipes; a zeroed struct is fine */

/* Asks. OK with trouble FINE, PENDING or SLOW_DOWN; ERR_UPSTREAM with PASSING; ERR_POLICY with any
 * other. `why` then tells the provider's own words, printable, without any piece of a secret that it
 * was sent. ERR_POLICY also if a file of the profile cannot be used. */
struct err oauth_ask(const struct oauth_profile *, const struct oauth_transport *,
		     const struct oauth_question *, struct notice *why,
		     struct oauth_reply *out) MUST_USE;

/* Where the user's browser is to go (RFC 6749 section 4.1.1, RFC 7636 section 4.3), as an owned
 * string. The profile has an authorize_url. */
char *oauth_authorize_url_dup(const struct oauth_profile *, const char *redirect, const char *state,
			      const char *verifier);

/* --- parts, for the tests too --- */

/* Reads what a provider answered to `what` (oauth_reply.c). `secrets` (of `secret_count`, each may be
 * NULL) are what must not be told. As oauth_ask(). */
struct err oauth_read(enum oauth_what what, long status, const char *body, size_t len,
		      const char *const *secrets, size_t secret_count, struct notice *why,
		      struct oauth_reply *out) MUST_USE;

/* Base64 for URLs, without padding (RFC 4648 section 5), appended; false if it does not fit. */
bool oauth_put_base64url(struct buf *out, const void *octets, size_t len);

/* A JWT for the profile's key (RFC 7523 section 3; oauth_jwt.c), RS256 for an RSA key, ES256 for one
 * on P-256, appended to `out`; good for ten minutes. `pem_or_json` is what stands in key_file. */
struct err oauth_jwt(const struct oauth_profile *, const char *pem_or_json, size_t len,
		     const char *subject, uint64_t wall_s, struct notice *why,
		     struct buf *out) MUST_USE;

#endif
