/* SPDX-License-Identifier: MIT */
/* map_url.c - takes the URL of upstream= apart.
 *
 * HOST and PORT are taken as they stand: nothing of them may come from a client, or popgate would
 * open connections to wherever anyone likes.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "proxy/base/text.h"
#include "proxy/map_parts.h"

struct scheme {
	const char *begin;
	enum map_store store;
	enum upstream_tls tls;
	unsigned port;
};

static const struct scheme schemes[] = {
	{"imaps://", MAP_STORE_IMAP, UPSTREAM_TLS, 993},
	{"imap+starttls://", MAP_STORE_IMAP, UPSTREAM_STARTTLS, 143},
	{"imap://", MAP_STORE_IMAP, UPSTREAM_CLEAR, 143},
	{"maildir:", MAP_STORE_MAILDIR, UPSTREAM_CLEAR, 0},
	{"mbox:", MAP_STORE_MBOX, UPSTREAM_CLEAR, 0},
};

static const struct scheme *scheme_of(const char *value)
{
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		size_t len = strlen(schemes[i].begin);
		if (text_same_n(value, strnlen(value, len), schemes[i].begin, len))
			return &schemes[i];
	}
	return NULL;
}

static const char *host_refusal(const char *host, size_t len, bool is_bracketed)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-";
	char literal[INET6_ADDRSTRLEN + 1];
	struct in6_addr six;

	if (memchr(host, '@', len))
		return "a name in the URL: it belongs into login=";
	if (memchr(host, '%', len))
		return "no expansions in HOST and PORT: a client could choose where to connect to";
	if (!len || len > 253)
		return "HOST is missing or too long";
	if (!is_bracketed)
		return strspn(host, good) >= len ? NULL : "HOST is not the name of a host";
	if (len >= sizeof literal)
		return "HOST is not an IPv6 address";
	memcpy(literal, host, len);
	literal[len] = '\0';
	return inet_pton(AF_INET6, literal, &six) == 1 ? NULL : "HOST is not an IPv6 address";
}

/* HOST[:PORT] or [IPv6][:PORT], `len` octets. */
static const char *parse_authority(const char *text, size_t len, struct map_url *out)
{
	const char *end = text + len, *host_end = memchr(text, ':', len);
	bool is_bracketed = len && *text == '[';
	uint64_t port = out->port;

	if (is_bracketed) {
		host_end = memchr(text, ']', len);
		if (!host_end)
			return "the ] behind an IPv6 address is missing";
		text++;
	}
	if (!host_end)
		host_end = end;
	out->host = text;
	out->host_len = (size_t)(host_end - text);
	const char *at = host_end + is_bracketed;
	/* The whole is looked at for "%" and "@" before PORT is said to be no number. */
	const char *wrong =
		memchr(text, '@', (size_t)(end - text)) || memchr(text, '%', (size_t)(end - text))
			? host_refusal(text, (size_t)(end - text), false)
			: host_refusal(out->host, out->host_len, is_bracketed);
	if (wrong || at == end)
		return wrong;
	if (*at != ':' || !text_number(at + 1, (size_t)(end - at - 1), 65535, &port) || !port)
		return "PORT is not a number from 1 to 65535";
	out->port = (unsigned)port;
	return NULL;
}

/* FOLDER is one or more components with "/" between them. */
static const char *folder_refusal(const char *folder)
{
	size_t len = strlen(folder);

	if (len && (*folder == '/' || folder[len - 1] == '/' || strstr(folder, "//")))
		return "FOLDER has an empty component";
	return NULL;
}

const char *map_url_parse(const char *value, struct map_url *out)
{
	const struct scheme *scheme = scheme_of(value);

	if (!scheme)
		return "none of imaps://HOST, imap+starttls://HOST, imap://HOST, maildir:PATH, "
		       "mbox:PATH";
	*out = (struct map_url){.store = scheme->store, .tls = scheme->tls, .port = scheme->port};
	value += strlen(scheme->begin);
	if (scheme->store != MAP_STORE_IMAP) {
		out->rest = value;
		return *value == '/' ? NULL : "PATH does not begin with /";
	}
	size_t len = strcspn(value, "/");
	out->rest = value + len + (value[len] == '/');
	const char *wrong = parse_authority(value, len, out);
	return wrong ? wrong : folder_refusal(out->rest);
}

bool map_url_is_loopback(const struct map_url *url)
{
	char host[INET6_ADDRSTRLEN + 1];
	struct sockaddr_storage address = {0};
	struct sockaddr_in *four = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;

	if (text_same_n(url->host, url->host_len, "localhost", 9))
		return true;
	if (url->host_len >= sizeof host)
		return false;
	memcpy(host, url->host, url->host_len);
	host[url->host_len] = '\0';
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1)
		address.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1)
		address.ss_family = AF_INET6;
	return network_is_loopback(&address);
}
