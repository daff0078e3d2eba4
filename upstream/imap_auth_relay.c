/* SPDX-License-Identifier: MIT */
/* imap_auth_relay.c - a client's own SCRAM exchange, carried to the server and back (J-07).
 *
 * Client and server prove to each other that they know the password, and we, who do not, hand their
 * messages on as they are: each octet is under the proof. That includes the client's word about channel
 * bindings: "y", which tells that it could and was not offered any, makes a server that did announce
 * -PLUS to us refuse, and rightly. The one thing to be looked at is the name: the mailbox behind our
 * client's name is opened as who the map says, so this must be who logs in.
 */
#include "upstream/imap_auth.h"

#include <errno.h>
#include <string.h>

#include "proxy/base/text.h"

enum { CHALLENGES = 2 }; /* server-first, server-final */

/* Whether a saslname (RFC 5802 section 5.1) up to a comma means `user`, case-blind as the map is. */
static bool is_name(const char *at, const char *user)
{
	for (; *at && *at != ','; user++) {
		char c = *at;
		size_t len = 1;
		if (!strncmp(at, "=2C", 3) || !strncmp(at, "=3D", 3)) {
			c = at[2] == 'C' ? ',' : '=';
			len = 3;
		}
		if (!*user || !text_same_n(&c, 1, user, 1))
			return false;
		at += len;
	}
	return !*user;
}

/* gs2-cbind-flag "," [authzid] "," "n=" saslname "," ... */
struct err imap_auth_relay_check(const struct login *login)
{
	const char *initial = login->initial, *authzid = initial + 2;

	if ((*initial != 'n' && *initial != 'y') || initial[1] != ',')
		return ERR(ERR_LOGIN, 0, "a channel binding cannot be relayed");
	const char *comma = strchr(authzid, ',');
	if (!comma || strncmp(comma + 1, "n=", 2) != 0)
		return ERR(ERR_LOGIN, 0, "the client's first message makes no sense");
	if (comma != authzid &&
	    (strncmp(authzid, "a=", 2) != 0 || !is_name(authzid + 2, login->user)))
		return ERR(ERR_LOGIN, 0, "the client wants to act for somebody else");
	/* Its proof would not be for the name that login= makes of it: an operator's matter. */
	if (!is_name(comma + 3, login->user))
		return ERR(ERR_POLICY, 0, "login= gives the client another name: no SCRAM");
	return OK;
}

static struct err ask(struct imap_exchange *exchange)
{
	const struct login *login = exchange->login;
	const struct buf *challenge = &exchange->challenge;

	buf_drop(&exchange->answer, buf_len(&exchange->answer));
	return login->ask(login->arg, buf_len(challenge) ? buf_data(challenge) : "",
			  buf_len(challenge), &exchange->answer);
}

struct err imap_auth_relay(struct imap_exchange *exchange)
{
	const char *initial = exchange->login->initial;

	if (!buf_put(&exchange->answer, initial, strlen(initial)))
		return ERR(ERR_LOGIN, E2BIG, "the client's first message is too long");
	TRY(imap_auth_begin(exchange));
	for (int count = 0; !exchange->is_done; count++) {
		if (count == CHALLENGES)
			return imap_auth_cancel(exchange,
						ERR(ERR_UPSTREAM, EPROTO,
						    "the mail server asks for more than there is"));
		struct err err = ask(exchange);
		if (err.kind)
			return imap_auth_cancel(exchange, err);
		TRY(imap_auth_answer(exchange));
	}
	return OK;
}
