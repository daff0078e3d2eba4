/* SPDX-License-Identifier: MIT */
/* status.c - what the server tells its operator. */
#include "proxy/status.h"

static const char *state_name(const struct session *session)
{
	switch (session->state) {
	case AUTHORIZATION:
		return "authorization";
	case TRANSACTION:
		return "transaction";
	case UPDATE:
		return "update";
	case CLOSED:
		return "closed";
	}
	return "connected"; /* TLS handshake, before the session begins */
}

static void log_session(struct fiber *fiber, void *owner, void *arg)
{
	const struct connection *connection = owner;
	const struct worker *worker = arg;

	if (!connection)
		return; /* a fiber without a session: a reload */
	const struct session *session = &connection->session;
	LOG(&session->log, LEVEL_NOTE, "session",
	    log_text("user", session->account ? session->account->name : session->name),
	    log_text("state", state_name(session)),
	    log_text("upstream", session->upstream ? session->upstream->identity : ""),
	    log_text("waits", fiber_label(fiber)),
	    log_number("ms", uv_now(&worker->loop) - fiber_since(fiber)));
}

void status_log(const struct server *server)
{
	struct worker *worker = server->worker;

	fiber_each(&worker->fibers, log_session, worker);
	LOG(&worker->log, LEVEL_NOTE, "sessions", log_number("active", server->active),
	    log_number("served", server->served), log_number("fibers", worker->fibers.alive));
}
