/* SPDX-License-Identifier: MIT */
/* config_value.c - the values of popgate.conf: times, counts, addresses, words from a list. */
#include "proxy/config_value.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

const char config_value_unsupported[] = "is not supported by this build";

static const char *set_text(const char *value, char **field)
{
	if (!*value)
		return "the value is empty";
	*field = text_dup(value);
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

const char *config_value_set(const struct value_form *form, const char *value, void *field,
			     struct listener_conf *listener)
{
	switch (form->type) {
	case VALUE_TEXT:
		return set_text(value, field);
	case VALUE_TIME:
		return set_time(form, value, field);
	case VALUE_COUNT:
		return set_count(form, value, field);
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
	case VALUE_UNSUPPORTED:
		break;
	}
	return config_value_unsupported;
}

bool config_address_in(const struct sockaddr_storage *address, const struct sockaddr_storage *all,
		       size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!memcmp(address, &all[i], sizeof *address))
			return true;
	return false;
}
