/* SPDX-License-Identifier: MIT */
/* sasl_message.c - what a client says in one message: cut at its separators, and nothing guessed. */
#include "session/sasl_message.h"

#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum { SEPARATOR = 1 }; /* ^A */

bool sasl_message_plain(const char *octets, size_t len, char **name, char **password)
{
	const char *end = octets + len;
	const char *authcid = memchr(octets, '\0', len);
	const char *secret =
		authcid ? memchr(authcid + 1, '\0', (size_t)(end - authcid - 1)) : NULL;

	*name = *password = NULL;
	if (!secret || memchr(secret + 1, '\0', (size_t)(end - secret - 1)))
		return false;
	authcid++;
	secret++;
	if (*octets && strcmp(octets, authcid) != 0)
		return false;
	*name = text_dup(authcid);
	*password = mem_dup(secret, (size_t)(end - secret));
	return true;
}

/* "Bearer", one blank or more, and a token of RFC 6750 section 2.1; NULL: it is not that. */
static char *bearer_dup(const char *value, size_t len)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-._~+/=";
	const char *end = value + len;

	if (len < 7 || !text_same_n(value, 7, "Bearer ", 7))
		return NULL;
	value += 7;
	while (value < end && *value == ' ')
		value++;
	/* Behind the value stands a separator, which is none of them. */
	if (value == end || strspn(value, good) != (size_t)(end - value))
		return NULL;
	return mem_dup(value, (size_t)(end - value));
}

/* Reads key=value pairs, each with a separator behind it, and one more at the end; takes the value of
 * auth=. */
static bool read_pairs(const char *at, const char *end, char **token)
{
	while (at < end && *at != SEPARATOR) {
		const char *stop = memchr(at, SEPARATOR, (size_t)(end - at));
		if (!stop || !memchr(at, '=', (size_t)(stop - at)))
			return false;
		if (stop - at >= 5 && text_same_n(at, 5, "auth=", 5)) {
			if (*token)
				return false;
			*token = bearer_dup(at + 5, (size_t)(stop - at - 5));
			if (!*token)
				return false;
		}
		at = stop + 1;
	}
	return at + 1 == end && *token;
}

bool sasl_message_xoauth2(const char *octets, size_t len, char **name, char **token)
{
	const char *end = octets + len;
	const char *stop = memchr(octets, SEPARATOR, len);

	*name = *token = NULL;
	if (!stop || memchr(octets, '\0', len) || stop - octets < 6 ||
	    !text_same_n(octets, 5, "user=", 5))
		return false;
	if (read_pairs(stop + 1, end, token)) {
		*name = mem_dup(octets + 5, (size_t)(stop - octets - 5));
		return true;
	}
	text_wipe_free(*token);
	*token = NULL;
	return false;
}

/* A saslname of RFC 5801 section 4: "=2C" is a comma, "=3D" an equals sign, and no other "=" stands in
 * it. NULL: it is none. */
static char *saslname_dup(const char *at, size_t len)
{
	const char *end = at + len;
	char *name = mem_alloc(len + 1), *to = name;

	for (; at < end; at++) {
		if (*at != '=') {
			*to++ = *at;
			continue;
		}
		bool is_comma = end - at >= 3 && !memcmp(at, "=2C", 3);
		if (!is_comma && !(end - at >= 3 && !memcmp(at, "=3D", 3))) {
			text_wipe_free(name);
			return NULL;
		}
		*to++ = is_comma ? ',' : '=';
		at += 2;
	}
	*to = '\0';
	return name;
}

bool sasl_message_oauthbearer(const char *octets, size_t len, char **name, char **token)
{
	const char *end = octets + len;
	const char *stop = memchr(octets, SEPARATOR, len);

	*name = *token = NULL;
	/* gs2-header: no channel binding here, and an authzid or none */
	if (!stop || memchr(octets, '\0', len) || stop - octets < 3 || stop[-1] != ',' ||
	    (*octets != 'n' && *octets != 'y') || octets[1] != ',')
		return false;
	const char *authzid = octets + 2;
	size_t authzid_len = (size_t)(stop - 1 - authzid);
	bool is_named = authzid_len > 2 && !memcmp(authzid, "a=", 2);
	if (memchr(authzid, ',', authzid_len) || (authzid_len && !is_named))
		return false;
	*name = is_named ? saslname_dup(authzid + 2, authzid_len - 2) : text_dup("");
	if (*name && read_pairs(stop + 1, end, token))
		return true;
	text_wipe_free(*name);
	text_wipe_free(*token);
	*name = *token = NULL;
	return false;
}

bool sasl_message_external(const char *octets, size_t len, char **name, char **secret)
{
	*name = *secret = NULL;
	if (len && memchr(octets, '\0', len))
		return false;
	*name = mem_dup(octets, len);
	*secret = text_dup("");
	return true;
}

bool sasl_message_cram(const char *octets, size_t len, char **name, char **digest)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	enum { DIGITS = 32 };

	*name = *digest = NULL;
	if (len < DIGITS + 2 || memchr(octets, '\0', len))
		return false;
	const char *last = octets + len - DIGITS;
	if (last[-1] != ' ' || strspn(last, digits) != DIGITS)
		return false;
	*name = mem_dup(octets, len - DIGITS - 1);
	*digest = mem_dup(last, DIGITS);
	return true;
}

/* The text up to a comma, and *at behind that; NULL: there is no comma. */
static const char *field(const char **at, size_t *len)
{
	const char *begin = *at, *comma = strchr(begin, ',');

	if (!comma)
		return NULL;
	*len = (size_t)(comma - begin);
	*at = comma + 1;
	return begin;
}

bool sasl_message_scram(const char *octets, size_t len, char **name, char **secret)
{
	const char *at = octets;
	size_t flag_len, authzid_len = 0, name_len = 0;
	char *authzid = NULL;

	*name = *secret = NULL;
	if (memchr(octets, '\0', len))
		return false;
	const char *flag = field(&at, &flag_len);
	const char *other = flag ? field(&at, &authzid_len) : NULL;
	const char *claimed = other ? field(&at, &name_len) : NULL;
	if (!claimed || name_len < 3 || memcmp(claimed, "n=", 2) != 0 ||
	    (authzid_len && (authzid_len < 3 || memcmp(other, "a=", 2) != 0)))
		return false;
	*name = saslname_dup(claimed + 2, name_len - 2);
	if (authzid_len)
		authzid = saslname_dup(other + 2, authzid_len - 2);
	bool is_good = *name && (!authzid_len || (authzid && !strcmp(authzid, *name)));
	text_wipe_free(authzid);
	if (is_good) {
		*secret = text_dup("");
		return true;
	}
	text_wipe_free(*name);
	*name = NULL;
	return false;
}
