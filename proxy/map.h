/* SPDX-License-Identifier: MIT */
/* map.h - the map: which mailbox stands behind a POP3 name. See popgate.map(5).
 *
 * A map is read whole, checked whole, and never changes: a reload makes a new one, and who holds
 * the old one keeps it. A million lines are a supported size: an entry costs its own text and some
 * 40 octets, found by hash.
 */
#ifndef POPGATE_MAP_H
#define POPGATE_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/err.h"
#include "proxy/fault.h"
#include "proxy/local.h"
#include "proxy/network.h"
#include "upstream/uidl.h"
#include "upstream/upstream.h"

/* Every attribute there is, one row each in map.c's table: its name, whether it is a secret,
 * whether %u %n %d are expanded, whether this build can do it. */
enum map_attribute {
	MAP_UPSTREAM,
	MAP_LOGIN,
	MAP_LOCAL,
	MAP_PASSWORD,
	MAP_PASSWORD_FILE,
	MAP_PASSWORD_CRED,
	MAP_PASSWORD_CMD,
	MAP_OAUTH,
	MAP_DELETE,
	MAP_SEEN,
	MAP_ORDER,
	MAP_NEWEST,
	MAP_UIDL,
	MAP_DELETE_AFTER,
	MAP_KEEP_NEWEST,
	MAP_SIZES,
	MAP_LOCK,
	MAP_UIDVALIDITY,
	MAP_POISON,
	MAP_QUIRKS,
	MAP_CONNECTIONS,
	MAP_CREATE,
	MAP_NO_UIDPLUS,
	MAP_ALLOW,
	MAP_LISTENER,
	MAP_REJECT,
	MAP_CA,
	MAP_PIN,
	MAP_AUTH,
	MAP_CERT,
	MAP_KEY,
	MAP_MASTER,
	MAP_SOURCE,
	MAP_VIA,
	MAP_INSECURE,
	MAP_USE,
	MAP_ATTRIBUTES
};

struct map; /* immutable, counted */

/* Reads a map and what it includes, and checks every line. Every error found is added to `faults`;
 * on any the result is NULL. Permissions are part of the check (product: secrets, writable files).
 * `has_client_ca`: clients may prove themselves by a certificate, so that an entry with a secret for its
 * upstream needs no local=. */
struct map *map_load(const char *file, bool has_client_ca, struct faults *);
/* The same over text in memory, without includes and permission checks, and without certificates of
 * clients. For tests and fuzzing. */
struct map *map_parse(const char *file, const char *text, size_t len, struct faults *);
/* A map of one entry, "*", in pass-through to one URL; errors are of the file "URL". For
 * `popgate URL`. */
struct map *map_from_url(const char *url, struct faults *);
struct map *map_hold(struct map *);
void map_release(struct map *); /* NULL is fine */
size_t map_count(const struct map *);

/* What the entries of a map can answer, of any of them (J-03). */
enum map_ability {
	MAP_HAS_PLAIN = 1,         /* a {plain} secret */
	MAP_HAS_SCRAM_SHA_256 = 2, /* a {scram-sha-256} secret */
	MAP_HAS_PASS_THROUGH = 4,  /* an upstream that judges the client's credential */
	MAP_RELAYS_SCRAM_SHA_256 =
		8, /* one of these whose auth= says that it knows this mechanism */
	MAP_RELAYS_SCRAM_SHA_1 = 16,
	MAP_HAS_OWN = 32, /* a mailbox for which popgate itself proves who comes */
};
unsigned map_abilities(const struct map *);

/* The rounds of the first {scram-sha-256} secret; VERIFY_ROUNDS if there is none. What names that nobody
 * has are told, so that they look like others. */
int map_scram_rounds(const struct map *);

/* What a name gets: exact key, else the part before "@" (the last one), else "@domain", else "*";
 * case-blind. Attributes of the entry, then of its use= profile, then of %defaults; the first that
 * has one wins. */
struct map_entry; /* borrowed from the map */
const struct map_entry *map_find(const struct map *, const char *name);
/* Whether the key is a name, and neither "@domain" nor "*". */
bool map_entry_is_exact(const struct map_entry *);
const char *map_entry_key(const struct map_entry *); /* borrowed from the map */
void map_entry_place(const struct map *, const struct map_entry *, const char **file, int *line);

/* The raw value of an attribute, of several the first, NULL if it is not set anywhere; *file and *line
 * (may be NULL) say where it stands. */
const char *map_value(const struct map *, const struct map_entry *, enum map_attribute,
		      const char **file, int *line);
/* All local= of an entry in their order: its own, else those of its profile, else of %defaults. */
void map_each_local(const struct map *, const struct map_entry *,
		    void (*visit)(void *arg, const char *value, const char *file, int line),
		    void *arg);
/* Every place where an attribute is set, in entries, profiles and defaults. */
void map_each(const struct map *, enum map_attribute,
	      void (*visit)(void *arg, const char *value, const char *file, int line), void *arg);
size_t map_file_count(const struct map *); /* that were read */
const char *map_attribute_name(enum map_attribute);
bool map_attribute_is_secret(enum map_attribute);

/* Everything an entry says about one POP3 name, expanded and parsed. Valid as long as the map. */
struct map_target {
	struct upstream_conf upstream; /* its strings are of `strings` or of the map; .ops is NULL
					  if the entry only has a reject= */
	char *login;              /* the name upstream, one of `strings`; NULL for a local store */
	struct local_list locals; /* what a client proves itself by; empty: by the upstream, or by a
				     certificate */
	bool is_passed_through;   /* the client's credential is for the upstream to judge */
	/* The secret for the upstream, at most one is set; borrowed from the map. */
	const char *password;                                     /* itself, without its {plain} */
	const char *password_file, *password_cred, *password_cmd; /* see secret.h */
	const char *master;        /* borrowed from the map, or NULL: see struct login */
	const char *oauth;         /* the [oauth] section whose token it is, or NULL */
	const char *key;           /* of the entry, under which its grant is kept; of the map */
	const char *listener;      /* borrowed from the map, or NULL */
	const char *reject;        /* one of `strings`, or NULL */
	struct network_list allow; /* empty: everybody */
	char *strings[4];          /* owned, unused ones NULL */
	struct uidl_format uidl;   /* what upstream.uidl points to, if it does */
};

/* Expands and parses. `name` is the canonical POP3 name. ERR_LOGIN, with the reason in `why` for
 * the log alone, if the name does not expand to a clean path, folder or login (B-03, B-17, B-18).
 */
struct err map_target(const struct map *, const struct map_entry *, const char *name,
		      struct notice *why, struct map_target *out) MUST_USE;
void map_target_fini(struct map_target *); /* a zeroed struct is fine */

/* The one canonical form of a POP3 name (B-03): lower case, `user%domain` as `user@domain`. Owned
 * by the caller. NULL if the name is not acceptable: empty, over 255 octets, control octets. */
char *map_canonical_dup(const char *name);

#endif
