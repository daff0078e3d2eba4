/* SPDX-License-Identifier: MIT */
/* update.c - the client has said QUIT: what it marked is removed now, and the reply tells the
 * truth.
 *
 * Nothing here depends on the client any more: it may hang up as soon as it has spoken.
 */
#include "session/update.h"

#include "session/reply.h"

struct err update_run(struct session *session)
{
	struct err err;

	lock_in_update(session->lock);
	err = session->upstream->ops->update(session->upstream, &session->drop);
	if (!err.kind) {
		session->removed = session->drop.marked;
		return OK;
	}
	log_err(&session->log, LEVEL_WARN, "update-failed", err);
	return (struct err){err.kind == ERR_POLICY ? ERR_POLICY : ERR_UPSTREAM, err.code,
			    "some deleted messages not removed"};
}

struct err cmd_quit(struct session *session, const struct args *args)
{
	(void)args;
	session->state = UPDATE;
	/* What was said before leaves now; that the client may be gone does not matter (D-02). */
	struct err gone = reply_flush(session);
	struct err err = update_run(session);
	session->state = CLOSED;
	if (gone.kind)
		return gone;
	TRY(err);
	if (!session->removed)
		return reply_ok(session, "bye");
	return reply_ok(session, "%zu message%s removed", session->removed,
			session->removed == 1 ? "" : "s");
}
