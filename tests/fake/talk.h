/* SPDX-License-Identifier: MIT */
/* talk.h - a whole IMAP session as the driver leads it, through the doorman and libetpan, over
 * any stream. For tests and fuzz targets of the doorman: it stops at the first call that fails. */
#ifndef POPGATE_TALK_H
#define POPGATE_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/stream.h"
#include "upstream/imap_wire.h"

enum { TALK_MESSAGES = 64, TALK_BODY = 4096 };

enum talk_step {
	TALK_CONNECT,
	TALK_LOGIN,
	TALK_CAPABILITY,
	TALK_SELECT,
	TALK_LIST,
	TALK_FOLDERS,
	TALK_SEARCH,
	TALK_BODY_ONE,
	TALK_STORE,
	TALK_EXPUNGE,
	TALK_LOGOUT,
	TALK_STEPS
};

struct talk {
	int results[TALK_STEPS]; /* what libetpan said; -1: not tried */
	unsigned done;           /* steps that went well */
	unsigned capabilities;   /* number of them */
	unsigned messages;       /* FETCH replies in all */
	struct wire_item message[TALK_MESSAGES];
	unsigned folders, found;     /* ranges told by SEARCH or ESEARCH */
	bool has_found;              /* as the wire had it then */
	bool has_lied;               /* the doorman told what its contract excludes */
	uint64_t header_sum;         /* of all octets of headers */
	size_t words;                /* octets of all that is kept of the server's names */
	struct wire_folder selected; /* as the wire had it after SELECT */
	char folder[64];             /* the last one's name */
	uint64_t body_octets;        /* given to the body handler */
	char body[TALK_BODY];        /* the first of them */
	unsigned body_calls;         /* of the handler */
	unsigned bodies;             /* announced by on_body */
	struct wire_body last;       /* the newest of these */
	/* As the wire had them at the end, before it was killed. */
	struct err err;
	struct wire_status status, bye;
	char alert[256];
	uint32_t wire_exists, expunges;
	bool has_vanished;
	unsigned round_trips;
};

/* Takes `stream` over and closes it. The commands bear the tags 1, 2 ... in the order of the steps.
 * A reply of NO goes on with the next step, as does BAD to CAPABILITY. */
void talk_run(struct talk *, struct stream *, uint64_t max_body);

#endif
