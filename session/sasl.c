/* SPDX-License-Identifier: MIT */
/* sasl.c - the mechanisms, each a function that reads from top to bottom: challenge, response,
 * verdict.
 *
 * A new mechanism is a row in the table below. Whatever the client says in an exchange is a secret:
 * each of its octets that we copy is wiped, and so is the line in the stream's buffer (B-22).
 */
#include "session/sasl.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

/* A decoded response; `octets` is owned and has a NUL behind it. */
struct response {
	char *octets;
	size_t len;
};

/* An exchange: the client, and the initial response until it is used. */
struct exchange {
	struct stream *client;
	const char *initial;
};

struct sasl_mechanism {
	const char *name;
	bool is_plaintext;
	struct err (*run)(struct exchange *, struct sasl_claim *);
};

static void response_fini(struct response *response)
{
	if (response->octets)
		mem_wipe(response->octets, response->len);
	free(response->octets);
	*response = (struct response){0};
}

void sasl_claim_fini(struct sasl_claim *claim)
{
	text_wipe_free(claim->name);
	text_wipe_free(claim->password);
	*claim = (struct sasl_claim){0};
}

static struct err decode(const char *text, size_t len, struct response *out)
{
	out->octets = mem_alloc(len / 4 * 3 + 1);
	if (text_unbase64(out->octets, &out->len, text, len)) {
		out->octets[out->len] = '\0';
		return OK;
	}
	out->len = len / 4 * 3;
	response_fini(out);
	return ERR(ERR_REFUSED, EINVAL, "not base64");
}

/* The next response: the initial one if there is one left, else the answer to `challenge`. */
static struct err ask(struct exchange *exchange, const char *challenge, struct response *out)
{
	char coded[64];
	const char *line = exchange->initial;
	size_t len;

	*out = (struct response){0};
	if (line) {
		exchange->initial = NULL;
		bool is_empty = strcmp(line, "=") == 0;
		if (!is_empty && !*line)
			return ERR(ERR_REFUSED, EINVAL, "not base64");
		return decode(line, is_empty ? 0 : strlen(line), out);
	}
	text_base64(coded, challenge, strlen(challenge));
	TRY(stream_printf(exchange->client, "+ %s\r\n", coded));
	TRY(stream_line(exchange->client, &line, &len));
	if (len == 1 && *line == '*')
		return ERR(ERR_REFUSED, ECANCELED, "authentication cancelled");
	struct err err = decode(line, len, out);
	/* The line has been taken, but its octets still lie in the stream's buffer. */
	mem_wipe((void *)(uintptr_t)line, len);
	return err;
}

static struct err malformed(void)
{
	return ERR(ERR_LOGIN, EINVAL, "malformed credential");
}

/* RFC 4616: [authzid] NUL authcid NUL passwd. To act for another is not permitted to anyone
 * (J-04). */
static struct err run_plain(struct exchange *exchange, struct sasl_claim *out)
{
	struct response message;

	TRY(ask(exchange, "", &message));
	struct err err = malformed();
	const char *authzid = message.octets, *end = authzid + message.len;
	const char *authcid = memchr(authzid, '\0', message.len);
	const char *password =
		authcid ? memchr(authcid + 1, '\0', (size_t)(end - authcid - 1)) : NULL;
	if (password && !memchr(password + 1, '\0', (size_t)(end - password - 1))) {
		authcid++;
		password++;
		if (!*authzid || strcmp(authzid, authcid) == 0) {
			out->name = text_dup(authcid);
			out->password = text_dup(password);
			err = OK;
		}
	}
	response_fini(&message);
	return err;
}

/* draft-murchison-sasl-login: name and password, each asked for; the name may be the initial
 * response. */
static struct err run_login(struct exchange *exchange, struct sasl_claim *out)
{
	struct response name, password;

	TRY(ask(exchange, "Username:", &name));
	struct err err = ask(exchange, "Password:", &password);
	if (!err.kind &&
	    (memchr(name.octets, '\0', name.len) || memchr(password.octets, '\0', password.len)))
		err = malformed();
	if (!err.kind) {
		out->name = text_dup(name.octets);
		out->password = text_dup(password.octets);
	}
	response_fini(&name);
	response_fini(&password);
	return err;
}

static const struct sasl_mechanism mechanisms[] = {
	{"PLAIN", true, run_plain},
	{"LOGIN", true, run_login},
};
enum { MECHANISMS = sizeof mechanisms / sizeof *mechanisms };

const struct sasl_mechanism *sasl_find(const char *name, size_t len)
{
	for (size_t i = 0; i < MECHANISMS; i++)
		if (text_same_n(mechanisms[i].name, strlen(mechanisms[i].name), name, len))
			return &mechanisms[i];
	return NULL;
}

bool sasl_is_plaintext(const struct sasl_mechanism *mechanism)
{
	return mechanism->is_plaintext;
}

size_t sasl_list(char out[SASL_LIST_MAX], bool with_plaintext, const char *before,
		 const char *after)
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < MECHANISMS; i++) {
		if (mechanisms[i].is_plaintext && !with_plaintext)
			continue;
		len += (size_t)snprintf(out + len, SASL_LIST_MAX - len, "%s%s%s", before,
					mechanisms[i].name, after);
		assert(len < SASL_LIST_MAX);
	}
	return len;
}

struct err sasl_run(const struct sasl_mechanism *mechanism, struct stream *client,
		    const char *initial, struct sasl_claim *out)
{
	struct exchange exchange = {client, initial};

	*out = (struct sasl_claim){0};
	struct err err = mechanism->run(&exchange, out);
	/* CR and LF would be the start of another command further up (B-17). */
	if (!err.kind && (!*out->name || !*out->password || strpbrk(out->name, "\r\n") ||
			  strpbrk(out->password, "\r\n")))
		err = malformed();
	if (err.kind)
		sasl_claim_fini(out);
	return err;
}
