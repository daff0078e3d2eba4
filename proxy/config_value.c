/* SPDX-License-Identifier: MIT */
/* config_value.c - the values of popgate.conf: times, counts, addresses, words from a list. */
#include "proxy/config_value.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "session/account.h"

static const char *set_text(const char *value, char **field)
{
	if (!*value)
		return "the value is empty";
	*field = text_dup(value);
	return NULL;
}

/* A.pem, B.pem */
static const char *set_files(const char *value, struct file_list *field)
{
	const char *comma;

	if (!*value)
		return "the value is empty";
	do {
		value += strspn(value, " \t");
		comma = value + strcspn(value, ",");
		size_t len = (size_t)(comma - value);
		while (len && strchr(" \t", value[len - 1]))
			len--;
		if (!len)
			return "a file name is missing beside a comma";
		if (field->count == FILE_LIST_MAX)
			return "too many files, see popgate.conf(5)";
		field->all[field->count++] = mem_dup(value, len);
		value = comma + 1;
	} while (*comma);
	return NULL;
}

static const char *set_time(const struct value_form *form, const char *value, uint64_t *field)
{
	uint64_t seconds;

	if (!text_duration(value, strlen(value), UINT32_MAX, &seconds))
		return "not a time: 600, 600s, 10m and 2h are";
	if (seconds * 1000 < form->min)
		return "shorter than is allowed, see popgate.conf(5)";
	if (seconds * 1000 > form->max)
		return "longer than is allowed, see popgate.conf(5)";
	*field = seconds * 1000;
	return NULL;
}

static const char *set_count(const struct value_form *form, const char *value, unsigned *field)
{
	uint64_t count;

	if (!text_number(value, strlen(value), form->max, &count) || count < form->min)
		return "not a number within its limits, see popgate.conf(5)";
	*field = (unsigned)count;
	return NULL;
}

static const char *set_networks(const char *value, struct network_list *field)
{
	return network_list_add(field, value, strlen(value))
		       ? NULL
		       : "not a list of networks like 10.20.0.0/16, 2001:db8::/32 (no bits behind "
			 "the prefix)";
}

/* The index of a word in a list that ends in NULL, -1 if it is not there. */
static int word_index(const char *word, const char *const *list)
{
	for (int i = 0; list[i]; i++)
		if (text_same(word, list[i]))
			return i;
	return -1;
}

static const char *set_log(const char *value, bool *field)
{
	static const char *const words[] = {"stderr", "syslog", NULL};
	int index = word_index(value, words);

	if (index < 0)
		return "neither stderr nor syslog";
	*field = index == 1;
	return NULL;
}

static const char *set_tls(const char *value, enum listener_tls *field)
{
	static const char *const words[] = {[LISTENER_STARTTLS] = "starttls",
					    [LISTENER_IMPLICIT] = "implicit",
					    [LISTENER_NONE] = "none",
					    NULL};
	int index = word_index(value, words);

	if (index < 0)
		return "none of starttls, implicit, none";
	*field = (enum listener_tls)index;
	return NULL;
}

static const char *set_tls_min(const char *value, int *field)
{
	static const char *const words[] = {"1.0", "1.1", "1.2", "1.3", NULL};
	int index = word_index(value, words);

	if (index < 0)
		return "none of 1.0, 1.1, 1.2, 1.3";
	*field = 10 + index;
	return NULL;
}

static const char *set_cleartext(const char *value, struct listener_conf *listener)
{
	static const char *const words[] = {[CLEARTEXT_REQUIRE_TLS] = "require-tls",
					    [CLEARTEXT_ALLOW_LOOPBACK] = "allow-loopback",
					    [CLEARTEXT_ALLOW] = "allow",
					    NULL};
	int index = word_index(value, words);

	if (index >= 0) {
		listener->cleartext = (enum cleartext)index;
		return NULL;
	}
	if (!network_list_add(&listener->networks, value, strlen(value)))
		return "none of require-tls, allow-loopback, allow, nor a list of networks like "
		       "10.20.0.0/16";
	listener->cleartext = CLEARTEXT_NETWORKS;
	return NULL;
}

static const struct {
	const char *name;
	unsigned ways;
} ways[] = {
	{"plain", WAY_PLAIN},
	{"login", WAY_LOGIN},
	{"apop", WAY_APOP},
	{"cram-md5", WAY_CRAM_MD5},
	/* With channel binding it is the same mechanism, and more. */
	{"scram-sha-1", WAY_SCRAM_SHA_1 | WAY_SCRAM_SHA_1_PLUS},
	{"scram-sha-1-plus", WAY_SCRAM_SHA_1_PLUS},
	{"scram-sha-256", WAY_SCRAM_SHA_256 | WAY_SCRAM_SHA_256_PLUS},
	{"scram-sha-256-plus", WAY_SCRAM_SHA_256_PLUS},
	{"xoauth2", WAY_XOAUTH2},
	{"oauthbearer", WAY_OAUTHBEARER},
	{"external", WAY_EXTERNAL},
};

static unsigned way_named(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		if (text_same_n(ways[i].name, strlen(ways[i].name), name, len))
			return ways[i].ways;
	return 0;
}

static const char *set_ways(const char *value, unsigned *field)
{
	static const char separators[] = ", \t";

	*field = 0;
	for (value += strspn(value, separators); *value; value += strspn(value, separators)) {
		size_t len = strcspn(value, separators);
		unsigned way = way_named(value, len);
		if (!way)
			return "not a list of plain, login, apop, cram-md5, scram-sha-1, "
			       "scram-sha-256, xoauth2, oauthbearer, external";
		*field |= way;
		value += len;
	}
	return *field ? NULL : "no way to log in";
}

/* One 192.0.2.7:110 or [2001:db8::1]:110. */
static bool read_address(const char *text, size_t len, struct sockaddr_storage *out)
{
	char host[INET6_ADDRSTRLEN + 1];
	const char *colon = memrchr(text, ':', len);
	uint64_t port;

	*out = (struct sockaddr_storage){0};
	if (!colon || !text_number(colon + 1, (size_t)(text + len - colon - 1), 65535, &port) ||
	    !port)
		return false;
	bool is_six = colon > text + 1 && *text == '[' && colon[-1] == ']';
	size_t host_len = (size_t)(colon - text) - (is_six ? 2 : 0);
	if (host_len >= sizeof host)
		return false;
	memcpy(host, text + (is_six ? 1 : 0), host_len);
	host[host_len] = '\0';
	if (is_six) {
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host, &six->sin6_addr) == 1;
	}
	struct sockaddr_in *four = (struct sockaddr_in *)out;
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &four->sin_addr) == 1;
}

static const char *set_addresses(const char *value, struct listener_conf *listener)
{
	static const char separators[] = ", \t";

	for (value += strspn(value, separators); *value; value += strspn(value, separators)) {
		struct sockaddr_storage address;
		size_t len = strcspn(value, separators);
		if (!read_address(value, len, &address))
			return "not a list of ADDRESS:PORT like 0.0.0.0:110, [::]:110";
		listener->addresses = mem_resize(listener->addresses, listener->address_count + 1,
						 sizeof *listener->addresses);
		listener->addresses[listener->address_count++] = address;
		value += len;
	}
	return listener->address_count ? NULL : "no address";
}

static const char *set_grant(const char *value, enum oauth_grant *field)
{
	static const char *const words[] = {"refresh", "client-credentials", "service-account",
					    NULL};
	static const enum oauth_grant grants[] = {OAUTH_REFRESH, OAUTH_CLIENT_CREDENTIALS,
						  OAUTH_SERVICE_ACCOUNT};
	int index = word_index(value, words);

	if (index < 0)
		return "not one of refresh, client-credentials, service-account";
	*field = grants[index];
	return NULL;
}

const char *config_value_set(const struct value_form *form, const char *value, void *field,
			     struct listener_conf *listener)
{
	switch (form->type) {
	case VALUE_TEXT:
		return set_text(value, field);
	case VALUE_FILES:
		return set_files(value, field);
	case VALUE_TIME:
		return set_time(form, value, field);
	case VALUE_COUNT:
		return set_count(form, value, field);
	case VALUE_WORKERS:
		if (!text_same(value, "auto"))
			return set_count(form, value, field);
		*(unsigned *)field = 0;
		return NULL;
	case VALUE_NETWORKS:
		return set_networks(value, field);
	case VALUE_LOG:
		return set_log(value, field);
	case VALUE_TLS:
		return set_tls(value, field);
	case VALUE_TLS_MIN:
		return set_tls_min(value, field);
	case VALUE_ADDRESSES:
		return set_addresses(value, listener);
	case VALUE_CLEARTEXT:
		return set_cleartext(value, listener);
	case VALUE_GRANT:
		return set_grant(value, field);
	case VALUE_CREDENTIAL:
		return strspn(value, "./") || strchr(value, '/') ? "not the name of a credential"
								 : set_text(value, field);
	case VALUE_WAYS:
		return set_ways(value, field);
	}
	return "of no known type";
}

bool config_address_in(const struct sockaddr_storage *address, const struct sockaddr_storage *all,
		       size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!memcmp(address, &all[i], sizeof *address))
			return true;
	return false;
}
