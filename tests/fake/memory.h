/* SPDX-License-Identifier: MIT */
/* memory.h - a store over an array, and accounts over a table: all that a session needs of the
 * world behind it, without network or files.
 *
 *	struct memory_message messages[] = {{.octets = "Subject: x\r\n\r\nhello\r\n", .uid = 41}};
 *	struct fake_user users[] = {{.name = "joe", .password = "secret"}};
 *	struct memory store;
 *	struct fake_accounts accounts;
 *	memory_init(&store, messages, 1);
 *	fake_accounts_init(&accounts, users, 1, &store.ops);
 */
#ifndef POPGATE_FAKE_MEMORY_H
#define POPGATE_FAKE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "session/account.h"
#include "upstream/upstream.h"

struct memory_message {
	const char *octets; /* borrowed; what is fetched, as it stands */
	size_t len;         /* 0: strlen(octets) */
	uint32_t uid;
	const char *name;     /* its own UIDL, or NULL: memory_prefix "." uid */
	uint64_t listed;      /* the size that list() tells; 0: the true one, with CRLF line ends */
	bool is_hidden;       /* another client marked it: not listed, never removed (C-04) */
	enum err_kind refuse; /* fetching it fails so; ERR_MESSAGE: it is gone */
	/* what the session did */
	bool is_removed, is_seen;
	uint64_t measured; /* octets, as close() was told; 0: it was not */
};

struct memory {
	/* First: hand out &memory.ops as upstream_conf.ops. open() finds the store by it. */
	struct upstream_ops ops;
	struct memory_message *messages; /* borrowed, in any order */
	size_t count;
	const char *password;  /* that open() accepts, refusing others by ERR_LOGIN; NULL: any */
	const char *identity;  /* "memory" */
	const char *alert;     /* what `why` holds after a failed open(), or NULL */
	struct err open_err;   /* what open() answers before it looks at the password */
	struct err update_err; /* what update() answers, having removed every other message */
	bool is_read_only;
	size_t chunk; /* most octets a put; 0: a message in one */
	/* what happened */
	char user[256]; /* of the last open() */
	unsigned opens, lists, fetches, updates,
		closes, /* calls; opens only those that went well */
		nudges;
	bool was_wanted; /* what close() was told */
	size_t puts;
};

extern const char memory_prefix[]; /* "memory.1" */

void memory_init(struct memory *, struct memory_message *messages, size_t count);

/* Octets with every bare LF counted as CRLF and CRLF at the end if it lacks one (F-07). */
uint64_t memory_size(const char *octets, size_t len);

struct fake_user {
	const char *name;
	const char
		*password; /* with is_local the only one; else prove() accepts any: pass-through */
	bool is_local;     /* proved here; `stored` is then what the store is opened with */
	const char *stored;
	const char *reject; /* the map's reject= */
	enum err_kind fail; /* prove() fails so, whatever the password */
};

struct fake_accounts {
	struct accounts accounts;      /* first: hand out &fake.accounts */
	const struct fake_user *users; /* borrowed */
	size_t count;
	struct upstream_conf conf; /* what every account gets; all of it may be changed */
	unsigned ways;             /* of enum login_way; 0: WAY_PLAIN | WAY_LOGIN */
	uint64_t delay_ms;         /* what settle() answers to a refusal */
	uint64_t proof_ms; /* how long prove() takes, on the clock of its env: a fake_world */
	/* what happened */
	unsigned asked, given, freed; /* prove(); accounts handed out and given back */
	unsigned settled, refused;    /* settle(), by what it was told */
	char mechanism[32];           /* of the last claim */
	char timestamp[80];           /* of the last APOP or CRAM-MD5 */
};

/* A fake user proves himself by his password, whatever kind of claim it is: in place of a digest or of a
 * token. An exchange is led so: "who are you" is answered by the password, "you are in" by nothing. */

void fake_accounts_init(struct fake_accounts *, const struct fake_user *users, size_t count,
			const struct upstream_ops *store);

#endif
