/* SPDX-License-Identifier: MIT */
/* map_parts.h - how a map lies in memory. For map.c, map_read.c, map_check.c and map_target.c alone.
 *
 * The text of each file is read into one allocation and then rewritten in place, since what is kept
 * of a line is never longer than the line: the key and a NUL, then for each attribute one octet that
 * says which (enum map_attribute), two octets that say how many lines below the entry's own it
 * stands, its value without quotes, and a NUL. The shortest name and its "=" are three octets, so
 * that always fits.
 */
#ifndef POPGATE_MAP_PARTS_H
#define POPGATE_MAP_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/map.h"

enum map_kind {
	MAP_NAME,    /* a POP3 name */
	MAP_DOMAIN,  /* "@domain" */
	MAP_ANY,     /* "*" */
	MAP_PROFILE, /* the key is the profile's name */
	MAP_DEFAULTS
};

enum {
	MAP_HEAD = 3,           /* octets before a value */
	MAP_NAME_MAX = 255,     /* octets of a POP3 name (B-03) */
	MAP_LINES_MAX = 0xffff, /* of one entry */
	MAP_FILES_MAX = 0xffff,
};

struct map_entry {
	const char *key;  /* in the text, lower case; attributes follow its NUL */
	uint32_t line;    /* of the key */
	uint32_t profile; /* 1 + index of its use= entry, 0: none */
	uint16_t file;
	uint8_t kind;       /* enum map_kind */
	uint8_t attributes; /* how many */
	bool is_broken;     /* an error in it has been told: no second one because of the first */
};

struct map_file {
	char *name; /* owned */
	char *text; /* owned, rewritten in place; wiped before it is freed */
	size_t len;
};

struct map_slot {
	uint32_t index; /* 1 + index of an entry, 0: free */
	uint32_t hash;  /* the upper half: most other keys are told apart without a look at them */
};

struct map {
	atomic_uint holders;
	struct map_file *files; /* owned array */
	size_t file_count;
	struct map_entry *entries; /* owned array, in the order of the files */
	size_t entry_count, entry_room;
	struct map_slot *slots; /* owned: open addressing */
	size_t slot_count;
	size_t name_count;  /* entries that are neither profile nor defaults */
	uint32_t defaults;  /* 1 + index, 0: none */
	unsigned abilities; /* enum map_ability */
	int scram_rounds;   /* 0: no secret has any */
	bool has_client_ca;
};

/* One attribute of an entry while they are walked over. */
struct map_pair {
	enum map_attribute attribute;
	int line;
	const char *value;
	const char *next; /* where the following one begins */
};
const char *map_pairs(const struct map_entry *);
struct map_pair map_pair_at(const struct map_entry *, const char *at);

/* The values that count for an entry, from itself, its profile and the defaults; NULL where unset. */
struct map_values {
	const char *of[MAP_ATTRIBUTES];
};
void map_values_of(const struct map *, const struct map_entry *, struct map_values *);

/* All local= that count for an entry: its own, else those of its profile, else of the defaults. */
void map_locals_of(const struct map *, const struct map_entry *, struct local_list *);

/* Whether an entry leaves it to an IMAP upstream to judge the client's credential. */
bool map_is_passed_through(const struct map_values *);

/* Map.c's table. */
enum map_expansion {
	MAP_VERBATIM, /* "%" means itself */
	MAP_EXPANDED, /* %u %n %d %% */
	MAP_REFUSED,  /* no "%" at all */
	MAP_SECRET,   /* "%" means itself, but %u %n %d are refused lest someone expects more */
};
/* Which attribute is called so; -1: none. */
int map_attribute_find(const char *name, size_t len);
enum map_expansion map_attribute_expansion(enum map_attribute);

/* NULL if a value is well-formed and this build can do it, else what is wrong (a literal);
 * map_unsupported, compared by address, for what a later build may do. In map_target.c. */
const char *map_value_refusal(enum map_attribute, const char *value);
extern const char map_unsupported[];

/* Well-formed UTF-8 (RFC 3629 section 4). In map_target.c. */
bool map_is_utf8(const char *text);

/* B-03 in place; false if the name is not acceptable. A key of the map goes the same way. */
bool map_canonical(char *name);

/* Finds a key of a kind; 1 + index, 0: none. */
uint32_t map_lookup(const struct map *, enum map_kind, const char *key, size_t len);

struct map *map_new(void);

/* The two ways in, in map_file.c: both append the entries of a text, and of what it includes. */
void map_read_file(struct map *, const char *file, struct faults *);
void map_read_text(struct map *, const char *file, const char *text, size_t len, struct faults *);

/* Reads a text of `len` octets and one more, which the map takes over. Whether it holds a secret.
 * In map_read.c; `chain` is handed on to map_include(). */
struct map_chain;
bool map_read_owned(struct map *, const struct map_chain *, const char *file, char *text,
		    size_t len, struct faults *);
/* %include in line `line` of `file`. In map_file.c. */
void map_include(struct map *, const struct map_chain *, const char *pattern, const char *file,
		 int line, struct faults *);

/* Map.c: makes the hash; tells keys given twice. Map_check.c: joins use= with its profile; tells
 * what no single value can show, above all who proves what. */
void map_index(struct map *, struct faults *);
void map_check(struct map *, struct faults *);

/* A parsed upstream=. The pieces point into the value, unexpanded, not NUL ended. */
enum map_store { MAP_STORE_IMAP, MAP_STORE_MAILDIR, MAP_STORE_MBOX };
struct map_url {
	enum map_store store;
	enum upstream_tls tls;
	const char *host; /* without the brackets of an IPv6 address */
	size_t host_len;
	unsigned port;
	const char *rest; /* FOLDER or PATH; NUL ended; "" is the default folder */
};
/* NULL if well-formed, else what is wrong (a literal). In map_url.c. */
const char *map_url_parse(const char *value, struct map_url *out);
bool map_url_is_loopback(const struct map_url *);

#endif
