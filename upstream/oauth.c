/* SPDX-License-Identifier: MIT */
/* oauth.c - what is said to an OAuth 2.0 provider.
 *
 * Each question is one form (RFC 6749 appendix B). A client secret goes into the form, not into an
 * Authorization header: RFC 6749 section 2.3.1 prefers the header, but the form is what Google,
 * Microsoft and the others document for their own.
 */
#include "upstream/oauth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/secret_file.h"

enum { KEY_FILE_MAX = 65536, SECRET_MAX = 4096, URL_MAX = 16384, SHA256 = 32 };

/* --- forms -------------------------------------------------------------------------------- */

static bool put_encoded(struct buf *form, const char *value)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~";

	while (*value) {
		size_t len = strspn(value, plain);
		if (!buf_put(form, value, len))
			return false;
		value += len;
		if (*value && !buf_printf(form, "%%%02X", (unsigned)(unsigned char)*value++))
			return false;
	}
	return true;
}

/* Appends name=value; nothing if there is no value. */
static bool put(struct buf *form, const char *name, const char *value)
{
	if (!value)
		return true;
	return buf_printf(form, "%s%s=", buf_len(form) ? "&" : "", name) &&
	       put_encoded(form, value);
}

bool oauth_put_base64url(struct buf *out, const void *octets, size_t len)
{
	size_t size = text_base64_len(len);
	char *to = buf_room(out, size + 1);

	if (!to)
		return false;
	text_base64(to, octets, len);
	while (size && to[size - 1] == '=')
		size--;
	for (size_t i = 0; i < size; i++)
		to[i] = to[i] == '+' ? '-' : to[i] == '/' ? '_' : to[i];
	buf_added(out, size);
	return true;
}

/* --- files of the profile ----------------------------------------------------------------- */

/* The client secret as a NUL ended text in `out`; empty: a public client. */
static struct err read_client_secret(const struct oauth_profile *profile, struct notice *why,
				     struct buf *out)
{
	bool is_put = true;

	if (profile->client_secret)
		is_put = buf_put(out, profile->client_secret, strlen(profile->client_secret));
	else if (profile->client_secret_file)
		TRY(secret_file_read_private(profile->client_secret_file, why, out));
	size_t line = 0;
	while (line < buf_len(out) && !strchr("\r\n", buf_data(out)[line]))
		line++; /* strchr() also stops at a NUL */
	out->to = out->from + line;
	if (is_put && buf_put(out, "", 1) && (line || !profile->client_secret_file))
		return OK;
	snprintf(why->text, sizeof why->text, "%s: its first line is empty or too long",
		 profile->client_secret_file ? profile->client_secret_file : "client_secret");
	return ERR(ERR_POLICY, 0, "the client secret cannot be used");
}

static struct err put_assertion(const struct oauth_profile *profile,
				const struct oauth_question *question, struct notice *why,
				struct buf *form)
{
	struct buf key, jwt;

	buf_init(&key, KEY_FILE_MAX);
	buf_init(&jwt, OAUTH_FORM_MAX);
	key.is_secret = jwt.is_secret = true;
	struct err err = secret_file_read_private(profile->key_file, why, &key);
	if (!err.kind)
		err = oauth_jwt(profile, buf_data(&key), buf_len(&key), question->subject,
				question->wall_s, why, &jwt);
	if (!err.kind && (!buf_put(&jwt, "", 1) ||
			  !put(form, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer") ||
			  !put(form, "assertion", buf_data(&jwt))))
		err = ERR(ERR_UPSTREAM, 0, "no memory for a request");
	buf_wipe(&key);
	buf_wipe(&jwt);
	return err;
}

/* --- the questions ------------------------------------------------------------------------ */

static bool put_token_question(const struct oauth_profile *profile,
			       const struct oauth_question *question, struct buf *form)
{
	if (profile->grant == OAUTH_CLIENT_CREDENTIALS)
		return put(form, "grant_type", "client_credentials") &&
		       put(form, "scope", profile->scope) &&
		       put(form, "audience", profile->audience);
	/* No scope: the one that was granted (RFC 6749 section 6). */
	return put(form, "grant_type", "refresh_token") &&
	       put(form, "refresh_token", question->secret);
}

static bool put_question(const struct oauth_profile *profile, const struct oauth_question *question,
			 struct buf *form)
{
	switch (question->what) {
	case OAUTH_ASK_TOKEN:
		return put_token_question(profile, question, form);
	case OAUTH_ASK_DEVICE:
		return put(form, "scope", profile->scope);
	case OAUTH_ASK_DEVICE_TOKEN:
		return put(form, "grant_type", "urn:ietf:params:oauth:grant-type:device_code") &&
		       put(form, "device_code", question->secret);
	case OAUTH_ASK_CODE:
		return put(form, "grant_type", "authorization_code") &&
		       put(form, "code", question->secret) &&
		       put(form, "redirect_uri", question->redirect) &&
		       put(form, "code_verifier", question->verifier);
	}
	return false;
}

/* A service account proves itself by its signature alone. */
static bool is_signed(const struct oauth_profile *profile, const struct oauth_question *question)
{
	return question->what == OAUTH_ASK_TOKEN && profile->grant == OAUTH_SERVICE_ACCOUNT;
}

static struct err make_form(const struct oauth_profile *profile,
			    const struct oauth_question *question, const char *client_secret,
			    struct notice *why, struct buf *form)
{
	if (is_signed(profile, question))
		return put_assertion(profile, question, why, form);
	if (put_question(profile, question, form) && put(form, "client_id", profile->client_id) &&
	    put(form, "client_secret", *client_secret ? client_secret : NULL))
		return OK;
	return ERR(ERR_POLICY, 0, "a request to the token server is too long");
}

static struct err ask(const struct oauth_profile *profile, const struct oauth_transport *transport,
		      const struct oauth_question *question, const char *client_secret,
		      struct buf *form, struct buf *answer, struct notice *why,
		      struct oauth_reply *out)
{
	const struct oauth_post post = {.url = question->what == OAUTH_ASK_DEVICE
						       ? profile->device_url
						       : profile->token_url,
					.ca_file = profile->ca_file,
					.form = form};
	long status;

	out->trouble = OAUTH_REFUSED;
	TRY(make_form(profile, question, client_secret, why, form));
	struct err err = transport->post(transport, &post, &status, answer, why);
	if (err.kind) {
		out->trouble = err.kind == ERR_UPSTREAM ? OAUTH_PASSING : OAUTH_REFUSED;
		out->is_unheard = err.kind == ERR_UPSTREAM;
		return err;
	}
	out->trouble = OAUTH_FINE;
	/* What is signed is as good as a secret for as long as it holds. */
	char *proof = is_signed(profile, question) ? mem_dup(buf_data(form), buf_len(form)) : NULL;
	const char *secrets[] = {question->secret, client_secret, question->verifier, proof};
	err = oauth_read(question->what, status, buf_data(answer), buf_len(answer), secrets,
			 sizeof secrets / sizeof *secrets, why, out);
	text_wipe_free(proof);
	return err;
}

struct err oauth_ask(const struct oauth_profile *profile, const struct oauth_transport *transport,
		     const struct oauth_question *question, struct notice *why,
		     struct oauth_reply *out)
{
	struct buf secret, form, answer;

	*out = (struct oauth_reply){.trouble = OAUTH_REFUSED};
	buf_init(&secret, SECRET_MAX);
	buf_init(&form, OAUTH_FORM_MAX);
	buf_init(&answer, OAUTH_ANSWER_MAX);
	secret.is_secret = form.is_secret = answer.is_secret = true;
	struct err err = read_client_secret(profile, why, &secret);
	if (!err.kind)
		err = ask(profile, transport, question, buf_data(&secret), &form, &answer, why,
			  out);
	buf_wipe(&secret);
	buf_wipe(&form);
	buf_wipe(&answer);
	return err;
}

/* --- the browser's way -------------------------------------------------------------------- */

char *oauth_authorize_url_dup(const struct oauth_profile *profile, const char *redirect,
			      const char *state, const char *verifier)
{
	unsigned char digest[SHA256];
	struct buf query, challenge;
	char *url = NULL;

	buf_init(&query, URL_MAX);
	buf_init(&challenge, 2 * SHA256);
	if (EVP_Digest(verifier, strlen(verifier), digest, NULL, EVP_sha256(), NULL) == 1 &&
	    oauth_put_base64url(&challenge, digest, sizeof digest) && buf_put(&challenge, "", 1) &&
	    put(&query, "response_type", "code") && put(&query, "client_id", profile->client_id) &&
	    put(&query, "redirect_uri", redirect) && put(&query, "scope", profile->scope) &&
	    put(&query, "state", state) && put(&query, "code_challenge", buf_data(&challenge)) &&
	    put(&query, "code_challenge_method", "S256"))
		url = text_printf_dup("%s%c%.*s", profile->authorize_url,
				      strchr(profile->authorize_url, '?') ? '&' : '?',
				      (int)buf_len(&query), buf_data(&query));
	buf_fini(&query);
	buf_fini(&challenge);
	return url;
}
