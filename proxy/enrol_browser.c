/* SPDX-License-Identifier: MIT */
/* enrol_browser.c - the way back from the provider's page: one request to 127.0.0.1 (RFC 8252 section
 * 7.3).
 *
 * Whoever runs on this machine can connect here, so that a request came proves nothing: it must bring
 * the state that only our URL held (RFC 6749 section 10.12). Browsers also ask for an icon and open
 * connections in advance; such are answered, or waited for a moment, and change nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/enrol.h"

enum { REQUEST_MAX = 32768, CLIENT_MS = 5000, CODE_MAX = 16384, STATE_MAX = 256 };

int enrol_listen(char **redirect, unsigned *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 8) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
		close(fd);
		return -1;
	}
	*port = ntohs(address.sin_port);
	*redirect = text_printf_dup("http://127.0.0.1:%u/", *port);
	return fd;
}

/* --- the request -------------------------------------------------------------------------- */

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *at = NULL;

	if (c)
		at = strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
	return at ? (int)(at - digits) : -1;
}

/* The value of a parameter, decoded, as an owned string; NULL: it is not there, is longer than `max`, or
 * holds what is not visible ASCII. */
static char *parameter_dup(const char *query, const char *name, size_t max)
{
	size_t name_len = strlen(name);
	char *value = mem_alloc(max + 1);

	for (const char *at = query; *at; at += strcspn(at, "&"), at += *at == '&') {
		size_t len = strcspn(at, "&"), used = 0;
		if (len <= name_len || strncmp(at, name, name_len) != 0 || at[name_len] != '=')
			continue;
		const char *end = at + len;
		for (at += name_len + 1; at < end && used < max; used++) {
			int high = *at == '%' && end - at > 2 ? hex(at[1]) : -1;
			int low = high >= 0 ? hex(at[2]) : -1;
			value[used] = *at == '+' ? ' ' : *at;
			if (low >= 0)
				value[used] = (char)(high * 16 + low);
			at += low >= 0 ? 3 : 1;
			if (value[used] < 0x20 || value[used] > 0x7e)
				used = max; /* so that it is none */
		}
		if (at < end || !used || used > max)
			break;
		value[used] = '\0';
		return value;
	}
	mem_wipe(value, max);
	free(value);
	return NULL;
}

static struct err parse_query(const char *query, const char *state, struct notice *why, char **code)
{
	char *their_state = parameter_dup(query, "state", STATE_MAX);
	char *error = parameter_dup(query, "error", STATE_MAX);
	struct err err = OK;

	*code = parameter_dup(query, "code", CODE_MAX);
	if (!*code && !error) {
		err = ERR(ERR_REFUSED, 0, "not the answer of a provider");
	} else if (!their_state ||
		   !text_same_secret(their_state, strlen(their_state), state, strlen(state))) {
		err = ERR(ERR_REFUSED, 0, "not an answer to our question");
	} else if (error) {
		char *words = parameter_dup(query, "error_description", STATE_MAX);
		snprintf(why->text, sizeof why->text, "%.80s%s%.160s", error, words ? ": " : "",
			 words ? words : "");
		free(words);
		err = ERR(ERR_POLICY, 0, "the user, or a rule of the provider, said no");
	}
	if (err.kind) {
		text_wipe_free(*code);
		*code = NULL;
	}
	free(their_state);
	free(error);
	return err;
}

struct err enrol_parse(const char *line, const char *state, struct notice *why, char **code)
{
	static const char begin[] = "GET /?";
	size_t len = strlen(begin);

	*code = NULL;
	if (strncmp(line, begin, len) != 0)
		return ERR(ERR_REFUSED, 0, "not the answer of a provider");
	char *query = mem_dup(line + len, strcspn(line + len, " #\r\n"));
	struct err err = parse_query(query, state, why, code);
	text_wipe_free(query);
	return err;
}

/* --- the connection ----------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool wait_for(int fd, short events, uint64_t until_ms)
{
	uint64_t now = now_ms();
	struct pollfd wait = {fd, events, 0};

	return now < until_ms && poll(&wait, 1, (int)(until_ms - now)) > 0;
}

/* The whole head of a request, NUL ended; false if it does not come. */
static bool read_head(int fd, char *head, uint64_t until_ms)
{
	size_t len = 0;

	while (len < REQUEST_MAX && wait_for(fd, POLLIN, until_ms)) {
		ssize_t got = recv(fd, head + len, REQUEST_MAX - len, 0);
		if (got <= 0)
			return false;
		len += (size_t)got;
		head[len] = '\0';
		if (strstr(head, "\r\n\r\n") || strstr(head, "\n\n"))
			return true;
	}
	return false;
}

static void answer(int fd, const struct err *err)
{
	const char *status = err->kind == ERR_REFUSED ? "404 Not Found" : "200 OK";
	const char *words = !err->kind
				    ? "Thank you. popgate goes on in its terminal; you can close "
				      "this page."
				    : "This did not work; see popgate's terminal.";
	char *page = text_printf_dup("HTTP/1.1 %s\r\nContent-Type: text/plain; charset=us-ascii\r\n"
				     "Content-Length: %zu\r\nCache-Control: no-store\r\n"
				     "Connection: close\r\n\r\n%s",
				     status, strlen(words), words);

	(void)!send(fd, page, strlen(page), MSG_NOSIGNAL);
	free(page);
}

/* ERR_REFUSED: that was not it. */
static struct err serve_one(int client, char *head, const char *state, uint64_t until_ms,
			    struct notice *why, char **code)
{
	struct err err = ERR(ERR_REFUSED, 0, "no request");
	uint64_t mine_ms = now_ms() + CLIENT_MS;

	if (read_head(client, head, mine_ms < until_ms ? mine_ms : until_ms)) {
		err = enrol_parse(head, state, why, code);
		answer(client, &err);
	}
	mem_wipe(head, REQUEST_MAX);
	return err;
}

struct err enrol_await(int fd, const char *state, uint64_t limit_ms, struct notice *why,
		       char **code)
{
	uint64_t until_ms = now_ms() + limit_ms;
	char *head = mem_alloc(REQUEST_MAX + 1);
	struct err err = ERR(ERR_REFUSED, 0, "no request");

	*code = NULL;
	while (err.kind == ERR_REFUSED && wait_for(fd, POLLIN, until_ms)) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0)
			continue;
		err = serve_one(client, head, state, until_ms, why, code);
		close(client);
	}
	free(head);
	if (err.kind == ERR_REFUSED)
		return ERR(ERR_UPSTREAM, ETIMEDOUT, "no browser came back in time");
	return err;
}
