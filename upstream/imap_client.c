/* SPDX-License-Identifier: MIT */
/* imap_client.c - one connection to an IMAP server: commands over it, and its end. How it is made
 * stands in imap_login.c, what its answers mean in imap_outcome.c. */
#include "upstream/imap_client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "upstream/imap_budget.h"
#include "upstream/imap_idle.h"
#include "upstream/imap_login.h"

enum {
	COMMAND_OCTETS = 1000, /* a line, before it is known who listens */
	FRAME_OCTETS = 14,     /* of a line: tag, blank, CRLF */
	KEPT_OCTETS = 512,     /* a reply buffer of libetpan's larger than this is given back */
};

/* H-03, in milliseconds. `wait` bounds a single wait: progress; `total` the phase, 0: no bound. */
static const struct {
	uint64_t wait, total;
} deadlines[] = {
	[PHASE_CONNECT] = {10000, 10000},  [PHASE_TLS] = {10000, 10000},
	[PHASE_GREETING] = {10000, 10000}, [PHASE_LOGIN] = {30000, 30000},
	[PHASE_SELECT] = {60000, 60000},   [PHASE_LIST] = {120000, 0},
	[PHASE_BODY] = {60000, 0},         [PHASE_UPDATE] = {60000, 0},
	[PHASE_LEAVE] = {1000, 1000},      [PHASE_POLL] = {5000, 5000},
	[PHASE_FLIGHT] = {15000, 15000},
};

uint64_t imap_until(const struct env *env, enum imap_phase phase, uint64_t until_ms)
{
	uint64_t until = env->ops->now(env) + deadlines[phase].total;

	if (!deadlines[phase].total)
		return until_ms;
	return until_ms && until_ms < until ? until_ms : until;
}

uint64_t imap_wait(enum imap_phase phase)
{
	return deadlines[phase].wait;
}

void imap_limit(struct imap_client *client, enum imap_phase phase)
{
	imap_wire_limit(client->wire, deadlines[phase].wait,
			imap_until(client->env, phase, client->until_ms));
}

unsigned imap_client_round_trips(const struct imap_client *client)
{
	return client->opening_trips + (client->wire ? imap_wire_round_trips(client->wire) : 0);
}

void imap_client_kill(struct imap_client *client)
{
	if (client->wire)
		imap_wire_kill(client->wire);
}

struct err imap_lost(const struct imap_client *client, int code)
{
	struct err err = client->wire
				 ? imap_wire_error(client->wire)
				 : ERR(ERR_UPSTREAM, ENOTCONN, "no connection to the mail server");

	if (!err.kind)
		err = ERR(ERR_UPSTREAM, 0, "the mail server's reply makes no sense");
	if (!err.code)
		err.code = code;
	return err;
}

struct err imap_send_line(struct imap_client *client, int *tag, const struct buf *line)
{
	if (!imap_client_is_alive(client))
		return imap_lost(client, ENOTCONN);
	TRY(imap_flight_take(client, line, tag));
	if (*tag)
		return OK;
	TRY(imap_idle_end(client));
	mailstream *stream = client->im->imap_stream;
	if (mailimap_send_current_tag(client->im) != MAILIMAP_NO_ERROR ||
	    mailstream_write(stream, buf_data(line), buf_len(line)) == -1 ||
	    mailstream_write(stream, "\r\n", 2) == -1) {
		imap_client_kill(client);
		return imap_lost(client, EIO);
	}
	*tag = client->im->imap_tag;
	return OK;
}

size_t imap_client_room(const struct imap_client *client)
{
	return (client->quirks ? client->quirks->line : COMMAND_OCTETS) - FRAME_OCTETS;
}

static struct err send_text(struct imap_client *client, int *tag, const char *format, va_list ap)
{
	struct buf line;

	buf_init(&line, imap_client_room(client));
	struct err err = ERR(ERR_UPSTREAM, E2BIG, "a command to the mail server is too long");
	if (buf_vprintf(&line, format, ap))
		err = imap_send_line(client, tag, &line);
	buf_fini(&line);
	return err;
}

struct err imap_send(struct imap_client *client, int *tag, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	struct err err = send_text(client, tag, format, ap);
	va_end(ap);
	return err;
}

struct err imap_await(struct imap_client *client, enum imap_phase phase, int tag)
{
	char text[16];

	if (!imap_client_is_alive(client))
		return imap_lost(client, ENOTCONN);
	snprintf(text, sizeof text, "%d", tag);
	imap_limit(client, phase);
	imap_wire_expect_tag(client->wire, text);
	int r = mailstream_flush(client->im->imap_stream);
	/* libetpan leaves what was sent in its buffer: it may have been a password (B-22). */
	mem_wipe(client->im->imap_stream->write_buffer, client->im->imap_stream->buffer_max_size);
	if (r == -1 || !mailimap_read_line(client->im)) {
		imap_client_kill(client);
		return imap_lost(client, EIO);
	}
	return OK;
}

struct err imap_parse(struct imap_client *client, int tag)
{
	mailimap *im = client->im;
	struct mailimap_response *response = NULL;
	int newest = im->imap_tag;

	im->imap_tag = tag; /* libetpan compares with it, and later commands may be under way */
	int r = mailimap_parse_response(im, &response);
	im->imap_tag = newest;
	if (r == MAILIMAP_NO_ERROR) {
		mailimap_response_free(response);
		return OK;
	}
	/* A BAD is an answer like another. Anything else has lost the beat. */
	if (r == MAILIMAP_ERROR_PROTOCOL && imap_client_is_alive(client) &&
	    imap_was(client, WIRE_BAD))
		return OK;
	imap_client_kill(client);
	return imap_lost(client, r);
}

struct err imap_receive(struct imap_client *client, enum imap_phase phase, int tag)
{
	uint64_t began_ms = client->env->ops->now(client->env);
	struct err err = OK;

	/* What was sent earlier is answered earlier. */
	if (client->done_tag && tag > client->done_tag)
		err = imap_idle_take(client, phase);
	if (!err.kind && client->id_tag && tag > client->id_tag)
		err = imap_caps_take_id(client, phase);
	if (!err.kind)
		err = imap_await(client, phase, tag);
	if (!err.kind)
		err = imap_parse(client, tag);
	client->spent_ms[phase] += client->env->ops->now(client->env) - began_ms;
	if (!err.kind)
		imap_note_throttle(client, phase);
	return err;
}

struct err imap_command(struct imap_client *client, enum imap_phase phase, const char *format, ...)
{
	va_list ap;
	int tag;

	va_start(ap, format);
	struct err err = send_text(client, &tag, format, ap);
	va_end(ap);
	if (!err.kind)
		err = imap_receive(client, phase, tag);
	if (!err.kind)
		err = imap_outcome(client, phase);
	return err;
}

static void free_flags(struct mailimap_selection_info *info)
{
	clist *flags = info->sel_perm_flags;

	if (info->sel_flags)
		mailimap_flag_list_free(info->sel_flags);
	info->sel_flags = NULL;
	for (clistiter *at = flags ? clist_begin(flags) : NULL; at; at = clist_next(at))
		mailimap_flag_perm_free(clist_content(at));
	if (flags)
		clist_free(flags);
	info->sel_perm_flags = NULL;
}

void imap_client_trim(struct imap_client *client)
{
	mailimap *im = client->im;

	if (!im)
		return;
	if (im->imap_response_info)
		mailimap_response_info_free(im->imap_response_info);
	im->imap_response_info = NULL;
	if (im->imap_selection_info)
		free_flags(im->imap_selection_info);
	if (im->imap_stream_buffer->allocated_len <= KEPT_OCTETS)
		return;
	MMAPString *empty = mmap_string_new("");
	if (!empty)
		return;
	mmap_string_free(im->imap_stream_buffer);
	im->imap_stream_buffer = empty;
}

void imap_drop(struct imap_client *client)
{
	imap_client_kill(client);
	if (client->im && client->im->imap_stream) /* a login that could not be sent (B-22) */
		mem_wipe(client->im->imap_stream->write_buffer,
			 client->im->imap_stream->buffer_max_size);
	if (client->im)
		mailimap_free(client->im);
	imap_wire_free(client->wire);
	client->im = NULL;
	client->wire = NULL;
	client->caps = 0;
	client->id_tag = client->next_tag = client->idle_tag = client->done_tag = 0;
	client->caps_tag = client->enable_tag = 0;
	client->is_listing = false;
}

void imap_client_report(struct imap_client *client, enum health_event event)
{
	client->is_asked = false;
	if (client->account)
		health_report(client->health, client->env, client->host, client->port,
			      client->account, event);
}

/* What the connection's end tells, or what nobody else has reported. */
static void report_rest(struct imap_client *client)
{
	enum imap_trouble trouble =
		client->wire ? imap_trouble_of(imap_wire_bye(client->wire)) : TROUBLE_NONE;

	if (client->is_throttled || trouble == TROUBLE_THROTTLED)
		imap_client_report(client, HEALTH_THROTTLED);
	else if (trouble == TROUBLE_PASSING || (client->is_asked && !imap_client_is_alive(client)))
		imap_client_report(client, HEALTH_FAILED);
	else if (client->is_asked)
		imap_client_report(client, HEALTH_GREETED);
	client->is_throttled = false;
	free(client->account);
	client->account = NULL;
}

void imap_client_close(struct imap_client *client)
{
	report_rest(client);
	if (imap_client_is_alive(client) && client->im && client->im->imap_stream) {
		imap_limit(client, PHASE_LEAVE);
		struct err idle = imap_idle_end(client);
		if (!idle.kind && mailimap_send_current_tag(client->im) == MAILIMAP_NO_ERROR &&
		    mailstream_write(client->im->imap_stream, "LOGOUT\r\n", 8) == 8)
			(void)mailstream_flush(client->im->imap_stream);
	}
	imap_drop(client);
	imap_budget_leave(client);
}
