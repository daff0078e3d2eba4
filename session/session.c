/* SPDX-License-Identifier: MIT */
/* session.c - the loop: wait for a line, do what it says, turn an error into a reply or a farewell.
 *
 * The next line is waited for only when everything said has been sent, and all times that a client
 * may take are set here, but for those of an exchange inside a command (SASL, TLS). They are
 * moments, not lengths of single waits, so that an octet now and then wins nobody any time.
 */
#include "session/session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "session/authorization.h"
#include "session/command.h"
#include "session/parked.h"
#include "session/reply.h"

enum { STRIKES_BEFORE = 10, STRIKES_AFTER = 20 }; /* bad commands in a row (L-04) */

void session_conf_init(struct session_conf *conf)
{
	*conf = (struct session_conf){
		.banner = "POP3 ready",
		.idle_ms = 600000,
		.stall_ms = 120000,
		.line_ms = 60000,
		.handshake_ms = 30000,
		.authorization_ms = 180000,
		.failure_ms = 2000,
		.failures = 3,
		.lock_ms = 2000,
		.lock_update_ms = 30000,
		.takeover_ms = 120000,
		.nudge_ms = 240000,
	};
}

void session_check(const struct session *session)
{
	const struct maildrop *drop = &session->drop;

	switch (session->state) {
	case AUTHORIZATION:
		assert(session->client && !session->parked);
		assert(!session->account && !session->upstream && !session->lock);
		assert(!drop->total && !drop->marked);
		break;
	case TRANSACTION:
		assert(session->client && !session->name);
		assert(session->account && session->upstream && session->lock);
		assert(drop->count + drop->marked == drop->total);
		break;
	default:
		/* UPDATE begins and ends inside QUIT. */
		assert(session->state == CLOSED);
	}
}

/* The moment at which a wait for the client's next line ends; 0: never. */
static uint64_t deadline(const struct session *session)
{
	const struct session_conf *conf = session->conf;
	uint64_t now = session->env->ops->now(session->env), until = 0;

	if (session->state == AUTHORIZATION && conf->authorization_ms)
		until = session->since_ms + conf->authorization_ms;
	if (session->state == TRANSACTION && conf->idle_ms)
		until = now + conf->idle_ms;
	return until;
}

/* The same for the rest of a line that has begun now, when all else ends at `until`. */
static uint64_t line_deadline(const struct session *session, uint64_t until)
{
	uint64_t line_ms = session->conf->line_ms;
	uint64_t end = session->env->ops->now(session->env) + line_ms;

	return line_ms && (!until || end < until) ? end : until;
}

/* Waits until `until` for the first octet of a line. While the client thinks the upstream is kept
 * alive (H-11). */
static struct err await_begin(struct session *session, uint64_t until)
{
	const struct env *env = session->env;
	struct upstream *upstream = session->upstream;
	uint64_t nudge_ms = upstream && upstream->ops->nudge ? session->conf->nudge_ms : 0;

	for (uint64_t turn = env->ops->now(env) + nudge_ms;; turn += nudge_ms) {
		bool is_last = !nudge_ms || (until && turn >= until);
		stream_limit(session->client, 0, is_last ? until : turn);
		struct err err = stream_await(session->client);
		if (is_last || err.code != ETIMEDOUT || session->client->is_aborted)
			return err;
		upstream->ops->nudge(upstream);
	}
}

/* Waits until `until`, but for a line that has begun no longer than line_ms. */
static struct err await_line(struct session *session, uint64_t until, const char **line,
			     size_t *len)
{
	struct stream *client = session->client;

	if (stream_has_line(client))
		return stream_line(client, line, len);
	session->waits_since_ms = session->env->ops->now(session->env);
	struct err err = await_begin(session, until);
	session->waits_since_ms = 0;
	TRY(err);
	/* The hello of TLS, where none was expected, comes to its first LF late or never. */
	if (session->state == AUTHORIZATION && command_is_foreign(buf_data(&client->in), 1)) {
		*line = buf_data(&client->in);
		*len = 1;
		return OK;
	}
	stream_limit(client, 0, line_deadline(session, until));
	return stream_line(client, line, len);
}

/* Sends what was said, then waits for a line; behind it come the limits for writing. */
static struct err next_line(struct session *session, const char **line, size_t *len)
{
	const struct session_conf *conf = session->conf;
	struct stream *client = session->client;
	uint64_t until = deadline(session);

	/* Lines that are already here never wait, and would never meet the limit. */
	bool is_late = until && session->env->ops->now(session->env) >= until;
	if (is_late || !stream_has_line(client))
		TRY(reply_flush(session));
	if (is_late)
		return ERR(ERR_CLIENT, ETIMEDOUT, "time is up");
	struct err err = await_line(session, until, line, len);
	stream_limit(client, conf->stall_ms, 0);
	return err;
}

/* What became of a line: its reply, if that is an error. Any error that comes back ends the session. */
static struct err conclude(struct session *session, struct err err)
{
	bool is_strike = err.kind == ERR_REFUSED && (err.code == EINVAL || err.code == E2BIG);

	if (is_strike)
		session->strikes++;
	else if (!err.kind)
		session->strikes = 0;
	if (err.kind)
		TRY(reply_err(session, err));
	session->why.text[0] = '\0';
	return OK;
}

/* One line and its reply, unless the session is parked for it. Errors as above. */
static struct err serve_line(struct session *session)
{
	const char *line;
	size_t len;

	struct err err = next_line(session, &line, &len);
	if (err.kind && err.kind != ERR_REFUSED)
		return err;
	if (err.kind)
		command_forget(session);
	bool is_foreign =
		!err.kind && session->state == AUTHORIZATION && command_is_foreign(line, len);
	if (is_foreign)
		err = ERR(ERR_REFUSED, EPROTO, "this is a POP3 server");
	else if (!err.kind)
		err = command_dispatch(session, line, len);
	if (session->parked)
		return OK;
	TRY(conclude(session, err));
	if (is_foreign) {
		LOG(&session->log, LEVEL_WARN, "foreign-protocol");
		session->state = CLOSED;
	}
	return OK;
}

/* Whether the client has used up its patience with us, or ours with it. */
static const char *worn_out(const struct session *session)
{
	if (session->state == AUTHORIZATION && session->conf->failures &&
	    session->failures >= session->conf->failures)
		return "too many refused logins";
	if (session->strikes >= (session->state == AUTHORIZATION ? STRIKES_BEFORE : STRIKES_AFTER))
		return "too many bad commands";
	return NULL;
}

/* Gives everything back. What the store still has to learn, it learns behind the client's back:
 * another login waits for that as it does for an UPDATE, and hurries it (G-08). */
static void finish(struct session *session, struct err err, const char *patience)
{
	const char *why = session->is_evicted ? "evicted by a new login"
			  : err.kind          ? err.what
			  : patience          ? patience
					      : "quit";

	LOG(&session->log, LEVEL_NOTE, "end", log_text("why", why),
	    log_number("retrieved", session->retrieved), log_number("removed", session->removed),
	    log_number("ms", session->env->ops->now(session->env) - session->since_ms));
	session->state = CLOSED;
	if (session->lock)
		lock_in_update(session->lock);
	/* A client that takes no farewell gets none. */
	if (!err.kind)
		err = reply_flush(session);
	stream_close(session->client);
	session->client = NULL;
	authorization_leave(session);
	maildrop_fini(&session->drop);
	parked_free(session->parked);
	session->parked = NULL;
	free(session->name);
	session->name = NULL;
}

/* From any moment between two lines to the end, or until the session is parked: whether it is. */
static bool run(struct session *session, struct err err)
{
	const char *patience = NULL;

	while (!err.kind && session->state != CLOSED && !(patience = worn_out(session))) {
		session_check(session);
		err = serve_line(session);
		if (session->parked)
			return true;
	}
	finish(session, err, patience);
	return false;
}

bool session_run(struct session *session, struct stream *client)
{
	session->client = client;
	session->state = AUTHORIZATION;
	session->since_ms = session->env->ops->now(session->env);
	maildrop_init(&session->drop);
	stream_limit(client, session->conf->stall_ms, 0);
	authorization_stamp(session);
	struct err err = reply_ok(session, "%.400s%s%s", session->conf->banner,
				  *session->timestamp ? " " : "", session->timestamp);
	return run(session, err);
}

bool session_go_on(struct session *session)
{
	return run(session, conclude(session, authorization_go_on(session)));
}

void session_abandon(struct session *session)
{
	finish(session, ERR(ERR_CLIENT, ENOMEM, "the connection could not be moved"), NULL);
}
