/* SPDX-License-Identifier: MIT */
/* status.c - what the server tells its operator. */
#include "proxy/status.h"

#include <stdlib.h>

#include "proxy/base/mem.h"

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

/* Of all stations, while some of them have not been asked. */
struct report {
	struct server *server;
	atomic_uint left;
	atomic_size_t fibers, warm;
};

struct asked {
	struct report *report;
	struct station *station;
};

static void log_session(struct fiber *fiber, void *owner, void *arg)
{
	const struct connection *connection = owner;
	const struct station *station = arg;

	if (!connection)
		return; /* a fiber without a session: a reload */
	const struct session *session = &connection->session;
	LOG(&session->log, LEVEL_NOTE, "session",
	    log_text("user", session->account ? session->account->name : session->name),
	    log_text("state", state_name(session)),
	    log_text("upstream", session->upstream ? session->upstream->identity : ""),
	    log_text("waits", fiber_label(fiber)),
	    log_number("ms", uv_now(&station->worker->loop) - fiber_since(fiber)),
	    log_number("worker", station->number));
}

static void on_asked(void *arg)
{
	struct asked *asked = arg;
	struct report *report = asked->report;
	struct worker *worker = asked->station->worker;

	fiber_each(&worker->fibers, log_session, asked->station);
	atomic_fetch_add(&report->fibers, worker->fibers.alive);
	atomic_fetch_add(&report->warm, imap_warm_count(worker->warm));
	free(asked);
	if (atomic_fetch_sub(&report->left, 1) > 1)
		return;
	LOG(&worker->log, LEVEL_NOTE, "sessions",
	    log_number("active", atomic_load(&report->server->active)),
	    log_number("served", atomic_load(&report->server->served)),
	    log_number("fibers", atomic_load(&report->fibers)),
	    log_number("warm", atomic_load(&report->warm)),
	    log_number("workers", report->server->places.count));
	free(report);
}

void status_log(struct server *server)
{
	struct report *report = mem_alloc(sizeof *report);

	report->server = server;
	atomic_store(&report->left, server->places.count);
	for (unsigned i = 0; i < server->places.count; i++) {
		struct asked *asked = mem_alloc(sizeof *asked);
		*asked = (struct asked){report, &server->stations[i]};
		post_send(&asked->station->post, on_asked, asked);
	}
}
