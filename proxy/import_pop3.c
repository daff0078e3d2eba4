/* SPDX-License-Identifier: MIT */
/* import_pop3.c - a small POP3 client, for the server that a mailbox comes from.
 *
 * USER, PASS, UIDL, LIST, TOP n 0 for each header, QUIT; where TOP is refused, RETR, of which only
 * the header is kept. Nothing is deleted, so a connection that breaks does no harm.
 */
#include "proxy/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>

#include "proxy/base/buf.h"
#include "proxy/base/text.h"
#include "proxy/network.h"

enum {
	DIAL_MS = 30000,
	WAIT_MS = 60000,      /* for a server that searches for its words */
	HEADER_MAX = 1 << 16, /* octets of a header that are looked at */
	UIDL_KEPT = 255,      /* octets of a UIDL, of which 70 may be shown */
};

/* --- where -------------------------------------------------------------------------------- */

static const struct {
	const char *begin;
	enum upstream_tls tls;
	unsigned port;
} schemes[] = {
	{"pop3s://", UPSTREAM_TLS, 995},
	{"pop3+starttls://", UPSTREAM_STARTTLS, 110},
	{"pop3://", UPSTREAM_CLEAR, 110},
};

static bool is_loopback(const char *host)
{
	struct sockaddr_storage address = {0};
	struct sockaddr_in *four = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;

	if (text_same(host, "localhost"))
		return true;
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1)
		address.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1)
		address.ss_family = AF_INET6;
	else
		return false;
	return network_is_loopback(&address);
}

/* USER, with "%40" for "@". */
static const char *parse_user(const char *text, size_t len, struct import_url *out)
{
	size_t to = 0;

	if (memchr(text, ':', len))
		return "no password in the URL: it would be seen in the list of processes";
	for (size_t i = 0; i < len; i++) {
		if (to + 1 >= sizeof out->user)
			return "USER is too long";
		bool is_at = len - i >= 3 && strncmp(text + i, "%40", 3) == 0;
		out->user[to++] = is_at ? '@' : text[i];
		i += is_at ? 2 : 0;
		if ((unsigned char)out->user[to - 1] < 0x20 || out->user[to - 1] == 0x7f)
			return "control octets in USER";
	}
	return to ? NULL : "USER is missing";
}

static const char *parse_host(const char *text, struct import_url *out)
{
	bool is_bracketed = *text == '[';
	const char *begin = text + is_bracketed;
	size_t len = strcspn(begin, is_bracketed ? "]" : ":/");
	const char *at = begin + len;
	uint64_t port = out->port;

	if (is_bracketed && *at++ != ']')
		return "the ] behind an IPv6 address is missing";
	if (!len || len >= sizeof out->host)
		return "HOST is missing or too long";
	memcpy(out->host, begin, len);
	for (size_t i = 0; i < len; i++)
		if (out->host[i] <= 0x20 || out->host[i] > 0x7e)
			return "HOST is not the name of a host";
	if (*at == ':') {
		size_t digits = strcspn(at + 1, "/");
		if (!text_number(at + 1, digits, 65535, &port) || !port)
			return "PORT is not a number from 1 to 65535";
		at += 1 + digits;
	}
	out->port = (unsigned)port;
	return *at && strcmp(at, "/") != 0 ? "something follows HOST and PORT" : NULL;
}

const char *import_url_parse(const char *value, struct import_url *out)
{
	*out = (struct import_url){0};
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		size_t len = strlen(schemes[i].begin);
		if (!text_same_n(value, strnlen(value, len), schemes[i].begin, len))
			continue;
		const char *user = value + len, *at = strrchr(user, '@');
		out->tls = schemes[i].tls;
		out->port = schemes[i].port;
		if (!at)
			return "USER@ is missing";
		const char *wrong = parse_user(user, (size_t)(at - user), out);
		wrong = wrong ? wrong : parse_host(at + 1, out);
		out->is_loopback = !wrong && is_loopback(out->host);
		return wrong;
	}
	return "none of pop3s://USER@HOST, pop3+starttls://USER@HOST, pop3://USER@HOST";
}

/* --- talk --------------------------------------------------------------------------------- */

struct talk {
	struct stream *stream;
	struct notice *why;
	struct import_list *out;
	bool is_without_top;
};

/* Reads a line. One that is longer than the stream's buffer is "X:", a field that tells nothing. */
static struct err read_line(struct talk *talk, const char **line, size_t *len)
{
	struct err err = stream_line(talk->stream, line, len);

	if (err.kind == ERR_REFUSED && err.code == E2BIG) {
		*line = "X:";
		*len = 2;
		return OK;
	}
	return err;
}

/* Waits for +OK. Refused: ERR_REFUSED, and the server's words in `why`. */
static struct err read_status(struct talk *talk)
{
	const char *line;
	size_t len;

	TRY(read_line(talk, &line, &len));
	if (len >= 3 && memcmp(line, "+OK", 3) == 0)
		return OK;
	text_printable(talk->why->text, sizeof talk->why->text, line, len, true);
	if (len >= 4 && memcmp(line, "-ERR", 4) == 0)
		return ERR(ERR_REFUSED, 0, "the old server refused");
	return ERR(ERR_UPSTREAM, EPROTO, "the old server does not speak POP3");
}

static struct err command(struct talk *talk, const char *verb, const char *argument)
{
	TRY(stream_printf(talk->stream, "%s%s%s\r\n", verb, *argument ? " " : "", argument));
	return read_status(talk);
}

/* One line of a list; *is_end at its dot, which is no line. Dots are unstuffed. */
static struct err read_item(struct talk *talk, const char **line, size_t *len, bool *is_end)
{
	TRY(read_line(talk, line, len));
	*is_end = *len == 1 && **line == '.';
	if (*len > 1 && **line == '.') {
		(*line)++;
		(*len)--;
	}
	return OK;
}

/* "number rest" of a line of a list. */
static bool split(const char *line, size_t len, uint64_t *number, const char **rest,
		  size_t *rest_len)
{
	const char *blank = memchr(line, ' ', len);

	if (!blank || !text_number(line, (size_t)(blank - line), MAILDROP_MESSAGES, number) ||
	    !*number)
		return false;
	*rest = blank + 1;
	*rest_len = len - (size_t)(*rest - line);
	/* RFC 1939 allows more behind a blank. */
	const char *more = memchr(*rest, ' ', *rest_len);
	*rest_len = more ? (size_t)(more - *rest) : *rest_len;
	return true;
}

static struct err no_list(void)
{
	return ERR(ERR_UPSTREAM, EPROTO, "the old server's list makes no sense");
}

/* Numbers ascend, as with every server. */
static struct err read_uidls(struct talk *talk)
{
	struct import_list *out = talk->out;
	const char *line, *uidl;
	size_t len, uidl_len;
	uint64_t number, last = 0;
	bool is_end;

	TRY(command(talk, "UIDL", ""));
	for (;;) {
		TRY(read_item(talk, &line, &len, &is_end));
		if (is_end)
			return OK;
		if (!split(line, len, &number, &uidl, &uidl_len) || number <= last ||
		    !import_add(out, uidl, uidl_len < UIDL_KEPT ? uidl_len : UIDL_KEPT))
			return no_list();
		out->all[out->count - 1].number = (uint32_t)number;
		last = number;
	}
}

static struct import_old *find_number(const struct import_list *list, uint64_t number)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (list->all[mid].number == number)
			return &list->all[mid];
		if (list->all[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static struct err read_sizes(struct talk *talk)
{
	const char *line, *digits;
	size_t len, digits_len;
	uint64_t number, octets;
	bool is_end;

	TRY(command(talk, "LIST", ""));
	for (;;) {
		TRY(read_item(talk, &line, &len, &is_end));
		if (is_end)
			return OK;
		if (!split(line, len, &number, &digits, &digits_len) ||
		    !text_number(digits, digits_len, UINT64_MAX, &octets))
			return no_list();
		struct import_old *old = find_number(talk->out, number);
		if (old)
			old->octets = octets;
	}
}

/* The reply to TOP or RETR: the header is kept up to HEADER_MAX, all else is read and let go. */
static struct err read_header(struct talk *talk, struct import_old *old)
{
	const char *line;
	size_t len;
	bool is_end = false, is_header = true;
	struct buf header;
	struct err err = OK;

	buf_init(&header, HEADER_MAX);
	while (!is_end && !err.kind) {
		err = read_item(talk, &line, &len, &is_end);
		if (err.kind || is_end)
			continue;
		is_header = is_header && len && buf_put(&header, line, len) &&
			    buf_put(&header, "\r\n", 2);
	}
	if (!err.kind && buf_len(&header))
		identity_of_header(old->hash, buf_data(&header), buf_len(&header));
	buf_fini(&header);
	return err;
}

static struct err ask_header(struct talk *talk, struct import_old *old)
{
	char argument[32];
	struct err err = ERR(ERR_REFUSED, 0, "");

	if (!talk->is_without_top) {
		snprintf(argument, sizeof argument, "%u 0", old->number);
		err = command(talk, "TOP", argument);
	}
	if (err.kind == ERR_REFUSED) {
		snprintf(argument, sizeof argument, "%u", old->number);
		err = command(talk, "RETR", argument);
		/* Where RETR works and TOP did not, TOP need not be asked for again. */
		talk->is_without_top = talk->is_without_top || !err.kind;
	}
	if (err.kind == ERR_REFUSED)
		return OK; /* this one is gone, or cannot be had: it will not be found */
	return err.kind ? err : read_header(talk, old);
}

static struct err log_in(struct talk *talk, const struct import_url *url, const char *password)
{
	struct err err = command(talk, "USER", url->user);

	if (!err.kind)
		err = command(talk, "PASS", password);
	if (err.kind == ERR_REFUSED)
		return ERR(ERR_LOGIN, 0, "the old server refused name or password");
	return err;
}

/* --- connection --------------------------------------------------------------------------- */

static struct err start_tls(const struct env *env, const struct import_url *url,
			    const char *ca_file, struct stream **stream)
{
	struct tls_policy policy = {.host = url->host, .ca_file = ca_file};
	struct stream *plain = *stream;

	*stream = NULL;
	return env->ops->secure(env, plain, &policy, stream);
}

/* Connects and reads the greeting. */
static struct err greet(const struct env *env, const struct import_url *url, const char *ca_file,
			struct talk *talk)
{
	TRY(env->ops->dial(env, url->host, url->port, NULL, DIAL_MS, &talk->stream));
	stream_limit(talk->stream, WAIT_MS, 0);
	if (url->tls == UPSTREAM_TLS)
		TRY(start_tls(env, url, ca_file, &talk->stream));
	stream_limit(talk->stream, WAIT_MS, 0);
	TRY(read_status(talk));
	if (url->tls != UPSTREAM_STARTTLS)
		return OK;
	TRY(command(talk, "STLS", ""));
	/* What came before TLS is nobody's word (B-15). */
	if (stream_pending(talk->stream))
		return ERR(ERR_POLICY, EPROTO, "the old server said too much before TLS");
	TRY(start_tls(env, url, ca_file, &talk->stream));
	stream_limit(talk->stream, WAIT_MS, 0);
	return OK;
}

struct err import_pop3(const struct env *env, const struct import_source *source,
		       const struct import_row *rows, size_t count, struct import_list *out,
		       struct notice *why)
{
	struct talk talk = {.why = why, .out = out};

	*out = (struct import_list){0};
	if (source->password[strcspn(source->password, "\r\n")])
		return ERR(ERR_LOGIN, 0, "a password with a line end in it");
	struct err err = greet(env, &source->url, source->ca_file, &talk);
	if (!err.kind)
		err = log_in(&talk, &source->url, source->password);
	if (!err.kind)
		err = read_uidls(&talk);
	if (!err.kind)
		err = read_sizes(&talk);
	if (!err.kind)
		import_sieve(out, rows, count);
	for (size_t i = 0; !err.kind && i < out->count; i++)
		if (out->all[i].fate == IMPORT_NOT_FOUND)
			err = ask_header(&talk, &out->all[i]);
	if (!err.kind)
		(void)command(&talk, "QUIT", "").kind; /* the server keeps everything anyway */
	stream_close(talk.stream);
	return err;
}
