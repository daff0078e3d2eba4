/* SPDX-License-Identifier: MIT */
/* scram_server.h - an IMAP server that knows one user and one password and lets in by SCRAM, by the
 * server's half of GNU SASL; honest, or not. As a stream without threads: hand out &server.world.env. */
#ifndef POPGATE_SCRAM_SERVER_H
#define POPGATE_SCRAM_SERVER_H

#include <gsasl.h>

#include "proxy/base/buf.h"
#include "tests/fake/world.h"

enum scram_lie {
	SCRAM_HONEST,
	SCRAM_OTHER_PROOF, /* server-final is of another password */
	SCRAM_NO_PROOF,    /* OK as soon as the client has proved itself */
	SCRAM_MORE,        /* one challenge more, after its proof */
};

struct scram_stream;

struct scram_server {
	struct fake_world world;
	const char *capabilities; /* behind IMAP4rev1, before the login */
	const char *user, *acting, *password, *rounds;
	const char *ours,
		*theirs; /* channel binding data as the server, the client sees it; NULL: none */
	enum stream_binding kind;
	enum scram_lie lie;
	Gsasl *gsasl;
	Gsasl_session *session;
	struct buf pending, heard;
	struct buf said; /* all the lines of the client, as they came */
	char tag[24];
	bool is_proved, is_in;
	struct scram_stream *stream;
};

void scram_server_init(struct scram_server *);
void scram_server_fini(struct scram_server *);

#endif
