/* SPDX-License-Identifier: MIT */
/* client.h - a POP3 client as a stream without threads: whenever the session waits for it, it is shown
 * what it was told since its last word, and says its next one. */
#ifndef POPGATE_SOAK_CLIENT_H
#define POPGATE_SOAK_CLIENT_H

#include "proxy/base/buf.h"
#include "proxy/base/stream.h"

struct pop_client {
	struct stream stream; /* first: hand out &client.stream */
	/* `heard` is all that was told since the last call, not NUL ended. Appends what is said, CRLF
	 * included; nothing: the client closes its side. */
	void (*next)(void *arg, struct buf *say, const char *heard, size_t len);
	void *arg;
	struct buf heard, said;
	size_t cut;   /* octets that it will yet hear until its connection is lost; SIZE_MAX: all */
	bool is_lost; /* it hears and says nothing more */
	bool is_closed;     /* by the session */
	bool has_overheard; /* told something although it was lost: the session could not know */
};

void pop_client_init(struct pop_client *);
void pop_client_fini(struct pop_client *);

#endif
