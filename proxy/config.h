/* SPDX-License-Identifier: MIT */
/* config.h - popgate.conf: what it says, checked. See popgate.conf(5). */
#ifndef POPGATE_CONFIG_H
#define POPGATE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proxy/base/err.h"
#include "proxy/config_oauth.h"
#include "proxy/fault.h"
#include "proxy/network.h"

enum { WORKERS_MAX = 64 };

enum listener_tls { LISTENER_STARTTLS, LISTENER_IMPLICIT, LISTENER_NONE };
enum cleartext {
	CLEARTEXT_REQUIRE_TLS,
	CLEARTEXT_ALLOW_LOOPBACK,
	CLEARTEXT_ALLOW,
	CLEARTEXT_NETWORKS
};

/* Files in the order they were named. */
enum { FILE_LIST_MAX = 64 };
struct file_list {
	char *all[FILE_LIST_MAX]; /* owned */
	size_t count;             /* 0: not set */
};

struct listener_conf {
	char *name;                         /* of the section */
	struct sockaddr_storage *addresses; /* owned array */
	size_t address_count;
	enum listener_tls tls;
	struct file_list cert,
		key;     /* pairs, the first is the default; none: the [popgate] section's */
	char *client_ca; /* NULL: clients are not asked for a certificate */
	unsigned ways;   /* of enum login_way: those that may be used here */
	enum cleartext cleartext;
	struct network_list networks;            /* for CLEARTEXT_NETWORKS */
	int tls_min;                             /* 10, 11, 12, 13 */
	int line;                                /* of the heading, for messages */
	int cert_line, key_line, client_ca_line; /* 0: not set */
};

struct config {
	char *file;
	char *map, *state, *user, *control; /* NULL: not set */
	char *token_key, *token_key_cred;   /* see config_oauth_key(); NULL: not set */
	struct oauth_profiles *profiles;    /* held */
	struct file_list cert, key;         /* of listeners that name none of their own */
	bool log_syslog;
	struct network_list trusted; /* default: loopback */
	unsigned max_sessions;       /* default 10,000 */
	uint64_t keep_ms;  /* a mailbox stays open behind its session; 0: none; default 10 min */
	uint64_t fresh_ms; /* see struct imap_warm_conf; default 1 min */
	uint64_t warm_proof_ms; /* likewise; default 15 min */
	unsigned warm;          /* mailboxes that stay open at once; default 10,000 */
	unsigned workers;       /* loops; 0, the default: one a CPU that we may use */
	unsigned threads;       /* of the pool for blocking work, default 16 */
	uint64_t idle_ms, stall_ms, authorization_ms, failure_ms,
		drain_ms;     /* timers, see popgate.conf(5) */
	uint64_t replay_ms;   /* between two looks for promised deletions; 0: none */
	unsigned block_after; /* these are explained in guard.h */
	uint64_t block_window_ms, block_ms, refused_ms;
	unsigned upstream_refusals;
	int state_line, user_line, cert_line, key_line; /* for messages; 0: not set */
	int token_key_line;
	unsigned failures;
	struct listener_conf *listeners; /* owned array */
	size_t listener_count;
};

/* Reads and checks a file. Every error found is added to `faults` as FILE:LINE: what; on any *out
 * is NULL. Touches no network and opens no file but this one. */
struct config *config_load(const char *file, struct faults *);
/* As config_load(), but gives what could be read although there were errors; NULL only if the file
 * cannot be read at all. For `popgate check`, which goes on to the map. */
struct config *config_load_partly(const char *file, struct faults *);
/* The same over text in memory; `file` is only its name in messages. For tests and fuzzing. */
struct config *config_parse(const char *file, const char *text, size_t len, struct faults *);
/* Over a text of the program's own, which needs neither a map nor certificates. For `popgate URL`.
 */
struct config *config_from_text(const char *text, struct faults *);
void config_free(struct config *); /* NULL is fine */

/* Whether clients of some listener can prove who they are by certificate: then an entry of the map
 * needs no local= for that. */
bool config_has_client_ca(const struct config *);

/* The certificates that a listener shows, with their keys; its own or [popgate]'s. *line is where
 * they are named, for messages. */
void config_certificates(const struct config *, const struct listener_conf *,
			 const struct file_list **cert, const struct file_list **key, int *line);

#endif
