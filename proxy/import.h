/* SPDX-License-Identifier: MIT */
/* import.h - UIDLs of another server brought over to a mailbox that moved (E-07).
 *
 * What is known of the old side is a list of UIDLs: with sizes and header hashes if the old server
 * still answers, bare if it is only what a client has noted. What is known of the new side is one
 * row a message. Matching says which row each UIDL belongs to, or why it belongs to none; applying
 * writes it into the ledger as the row's name.
 */
#ifndef POPGATE_IMPORT_H
#define POPGATE_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/env.h"
#include "proxy/base/err.h"
#include "upstream/identity.h"
#include "upstream/ledger.h"
#include "upstream/uidl.h"
#include "upstream/upstream.h"

/* `popgate import-uidl NAME ...`: see popgate(8). */
int command_import_uidl(const char *config_file, int argc, char **argv);

enum import_fate {
	IMPORT_NOT_FOUND, /* no row fits */
	IMPORT_MATCHED,   /* `uid` gets it */
	IMPORT_AMBIGUOUS, /* rows fit, but which of them is whose cannot be told */
	IMPORT_ALREADY,   /* a row has it already */
	IMPORT_UNFIT,     /* no UIDL that may be shown (E-01), or one that is there twice */
	IMPORT_FATES
};

/* A message of the old side. */
struct import_old {
	char *uidl;                   /* owned */
	uint64_t octets;              /* as LIST says; 0: not known */
	char hash[IDENTITY_HASH + 1]; /* identity_of_header(); "": not known, or it has none */
	uint32_t number;              /* POP3's; 0: not known */
	enum import_fate fate;
	uint32_t uid; /* of the row that it belongs to, if matched or already so */
};

struct import_list {
	struct import_old *all; /* owned */
	size_t count, room;
};

/* Copies the UIDL. False, with nothing added, beyond MAILDROP_MESSAGES. */
bool import_add(struct import_list *, const char *uidl, size_t len);
void import_fini(struct import_list *); /* a zeroed struct is fine */

/* A message of the new side. */
struct import_row {
	uint32_t uid;
	uint64_t octets;
	char hash[IDENTITY_HASH + 1];
	char shown[UIDL_MAX + 1]; /* its UIDL of today */
};

/* --- what clients note (import_client.c) -------------------------------------------------- */

enum import_file {
	IMPORT_FETCHIDS, /* fetchmail's .fetchids: "user@host UIDL" lines */
	IMPORT_GETMAIL,  /* getmail's oldmail-...: "UIDL NUL time" lines */
	IMPORT_POPSTATE, /* Thunderbird's popstate.dat: "*host user", then "k UIDL time" lines */
};

/* Reads the UIDLs of one account. `account`: "user@host"; NULL: the only one in the file. False if
 * the file is none of that kind, or the account is not in it, or, with NULL, there are several:
 * `why` then says so, and their names. */
bool import_read_file(enum import_file, const char *text, size_t len, const char *account,
		      struct import_list *out, struct notice *why);

/* --- the old server (import_pop3.c) ------------------------------------------------------- */

struct import_url {
	enum upstream_tls tls;
	char user[256];
	char host[256];
	unsigned port;
	bool is_loopback; /* a password may go there in clear */
};

/* pop3s://USER@HOST[:PORT], pop3+starttls://, pop3://; "%40" is "@" in USER. NULL, or what is wrong
 * (a literal). */
const char *import_url_parse(const char *value, struct import_url *out);

struct import_source {
	struct import_url url;
	const char *password; /* borrowed, both */
	const char *ca_file;  /* NULL: OpenSSL's default store */
};

/* Logs in, asks for UIDL and LIST, sieves by the rows, asks for the header of each message that is
 * not found yet, logs out. Deletes nothing. `why` may get the server's own words. The list is the
 * caller's to end in any case. */
struct err import_pop3(const struct env *, const struct import_source *, const struct import_row *,
		       size_t count, struct import_list *out, struct notice *why) MUST_USE;

/* --- the new mailbox (import_new.c) ------------------------------------------------------- */

struct import_new {
	/* set by the caller, borrowed */
	const struct env *env;
	const struct log *log;
	const struct upstream_conf *conf; /* an IMAP mailbox, with state */
	const struct login *login;
	/* what import_open() finds */
	struct upstream *upstream;
	struct maildrop maildrop;
	struct import_row *rows; /* owned; ascending by UID */
	size_t count;
	uint32_t epoch;
	uint64_t uidvalidity;
};

/* Opens and lists, so that the state has a ledger, and makes a row of each message that is shown. */
struct err import_open(struct import_new *, struct notice *why) MUST_USE;
/* Gives a hash to each row that has none yet, by a look at its header. A message that is gone, or
 * cannot be fetched by itself, stays without. */
struct err import_headers(struct import_new *) MUST_USE;
/* Leaves the mailbox; rows stay. */
void import_close(struct import_new *);
void import_new_fini(struct import_new *); /* a zeroed struct is fine; closes if need be */
/* Writes what was matched into the ledger, and again if a running daemon was faster. Only what is
 * still of the same epoch is written: else ERR_UPSTREAM. *left_out as of import_apply(). */
struct err import_write(const struct import_new *, const struct import_list *,
			size_t *left_out) MUST_USE;

/* --- which is which (import_match.c) ------------------------------------------------------ */

/* Fates IMPORT_ALREADY and IMPORT_UNFIT, for all the others are not to be looked at: what a row
 * shows today, what cannot be shown, what is there twice. */
void import_sieve(struct import_list *, const struct import_row *, size_t count);

/* Matches by header hash and size those that are not found yet. Equal hash and size in equal number
 * on both sides: paired in order. Of what is left, equal hashes in equal number: paired in order if
 * the sizes of each pair are near, that is, differ by no more than 2 KiB and an eighth, for servers
 * count line ends in two ways and add fields. All others with a fellow are ambiguous. */
void import_match(struct import_list *, const struct import_row *, size_t count);

/* Matches by what a format makes of each row with that UIDVALIDITY; rows without what it needs make
 * nothing. Returns how many. With is_dry nothing is changed. */
size_t import_explain(struct import_list *, const struct import_row *, size_t count,
		      const struct uidl_format *, uint64_t uidvalidity, bool is_dry);

/* The UIDVALIDITY that most of the UIDLs not found yet have, read by a format; 0 if the format has
 * none. *count says how many; 0: none is of that format. */
uint64_t import_guess(const struct import_list *, const struct uidl_format *, size_t *count);

/* Gives the rows of a ledger the UIDLs that were matched. A UIDL that another row has, which does
 * not get another one now, is not given, nor one of the ledger's default form, with `tag`.
 * *left_out: how many were not: rows that are gone, UIDLs that are taken. */
struct err import_apply(const struct import_list *, struct ledger *, const char *tag,
			size_t *left_out) MUST_USE;

#endif
