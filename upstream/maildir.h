/* SPDX-License-Identifier: MIT */
/* maildir.h - one open Maildir, as the files maildir*.c share it. The world sees only maildir_ops
 * (upstream.h).
 *
 * A message is known by the base name of its file, which no mail program changes: what stands
 * before ":2,". The rest of the name (flags) and the folder (new/ or cur/) may change at any
 * moment, so a name that is not there is looked for again before anything is said about it.
 *
 * What says so below may block: it is called on the pool (env->offload) only.
 * One descriptor is held while a Maildir is open, two more while something is done.
 */
#ifndef POPGATE_MAILDIR_H
#define POPGATE_MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "upstream/ledger.h"
#include "upstream/upstream.h"

enum {
	MAILDIR_TRIES = 5,       /* searches that may miss a file before it is gone (K-06) */
	MAILDIR_RACES = 100,     /* renames just before we came that we put up with */
	MAILDIR_CHUNK = 65536,   /* octets a read */
	MAILDIR_NAMES = 1 << 30, /* octets of names in memory at most */
	MAILDIR_NAME_MAX = 255,  /* octets of one file name */
	MAILDIR_GUESS = 1024,    /* octets: a size that cannot be learned (C-06) */
};

enum maildir_folder { MAILDIR_NEW, MAILDIR_CUR, MAILDIR_FOLDERS };

enum maildir_state {
	MAILDIR_FOUND = 1,       /* seen by the newest search */
	MAILDIR_TWIN = 2,        /* another file with the same base name lay beside it */
	MAILDIR_SIZED = 4,       /* `octets` is known */
	MAILDIR_INEXACT = 8,     /* but it is a guess */
	MAILDIR_GONE = 16,       /* it vanished before the snapshot was whole */
	MAILDIR_SEEN_AGAIN = 32, /* by any search while listing */
	MAILDIR_TRASHED = 64,    /* it bore the flag T: not shown (C-04) */
	MAILDIR_HIDDEN = 128,    /* by the ledger: not shown */
	MAILDIR_PENDING = 256,   /* and to be removed once it is not among the newest */
	MAILDIR_DUE = 512,       /* by the ledger: to be deleted at QUIT (delete_after=) */
	MAILDIR_RECALLED = 1024, /* `octets` and `raw` are the ledger's: to be checked */
	MAILDIR_EXACT = 2048,    /* `octets` were counted, now or once */
	MAILDIR_COUNTED = 4096,  /* now: the ledger does not know it yet */
	MAILDIR_UNSHOWN = MAILDIR_GONE | MAILDIR_TRASHED | MAILDIR_HIDDEN | MAILDIR_PENDING,
};

struct maildir_file {
	uint64_t time;     /* the digits that begin its name, as a number; 0: none */
	uint64_t octets;   /* with CRLF line ends */
	uint64_t raw;      /* as stored, where that was looked at; else 0 */
	uint32_t name;     /* offset in `names` */
	uint32_t number;   /* in order of arrival, the UID of its row in the ledger; 0: none */
	uint16_t room;     /* octets reserved there */
	uint16_t base_len; /* octets of the base name */
	uint16_t state;    /* enum maildir_state */
	uint8_t folder;    /* enum maildir_folder */
	uint8_t scan;      /* number of the scan that saw it, while listing */
};

struct maildir {
	struct upstream upstream;   /* first */
	const struct env *env;      /* borrowed */
	const struct log *log;      /* borrowed */
	struct upstream_conf conf;  /* its strings are borrowed: the account's */
	int root;                   /* descriptor of the Maildir itself */
	uid_t owner;                /* of the Maildir */
	struct buf names;           /* NUL ended file names */
	struct maildir_file *files; /* owned; ascending by (time, base name); message uid n is
				       files[n - 1] */
	size_t count, room;
	bool has_ledger; /* rows of `epoch` may be changed */
	uint32_t epoch;
	bool is_quit; /* update() ran */
};

/* A file name taken apart. Pointers go into the name. */
struct maildir_name {
	uint64_t time;
	size_t base_len;
	char separator;    /* ":", ";" or "!"; ":" if there are no flags yet */
	const char *flags; /* NUL ended; "" if there are none */
	bool is_trashed;   /* flag T: \Deleted */
	bool has_octets;   /* ,W= says the size with CRLF */
	uint64_t octets;
	bool has_raw; /* ,S= says the size as stored */
	uint64_t raw;
};

void maildir_name_parse(const char *name, struct maildir_name *out);

/* The name with a flag ('S', 'T') set and its flags sorted, as it shall stand in cur/. False if it does
 * not fit in a file name. */
bool maildir_name_flagged(const char *name, char flag, char out[MAILDIR_NAME_MAX + 1]);

static inline const char *maildir_file_name(const struct maildir *md,
					    const struct maildir_file *file)
{
	return buf_data(&md->names) + file->name;
}

/* The file with the base name of `name`, NULL if the snapshot has none. */
struct maildir_file *maildir_find(struct maildir *, const char *name);

/* The file with that base name. */
struct maildir_file *maildir_find_base(struct maildir *, const char *base);

/* A descriptor of new/ or cur/, which may not be a symbolic link; -1 with errno. */
int maildir_folder_open(const struct maildir *, enum maildir_folder);

/* What an errno of a file operation means for the session. */
struct err maildir_err(int error);

/* Calls visit() for each name in new/, then cur/, that may be a message: no leading dot, a regular
 * file. `dir` is the folder's descriptor. It ends at the first non-zero result and gives that, or
 * an errno, or 0. *is_quiet: nobody can have changed the folders meanwhile, so that what was not
 * seen is not there. */
int maildir_walk(struct maildir *, bool *is_quiet,
		 int (*visit)(void *arg, enum maildir_folder, int dir, const char *name),
		 void *arg);

/* Fills `files`, without sizes that are not in the names. *is_quiet: as of the last search. Gives 0 or
 * an errno. */
int maildir_collect(struct maildir *, bool *is_quiet);

/* Looks for every file of the snapshot and notes where it is now; sets or clears MAILDIR_FOUND.
 * Gives 0 or an errno. */
int maildir_refresh(struct maildir *, bool *is_quiet);

/* Opens a file where it was last seen; -1 with errno. *is_folder: it is the folder that failed. */
int maildir_open_once(struct maildir *, const struct maildir_file *, bool *is_folder);

/* ERR_MESSAGE if it is no regular file, ERR_POLICY if it is a hard link to a file of another
 * owner than the Maildir's: K-02. Gives what fstat(2) says. */
struct err maildir_check_file(const struct maildir *, int fd, struct stat *st) MUST_USE;

/* Opens a message to read it, wherever it is now. ERR_MESSAGE: it is gone or it is no mail. */
struct err maildir_open_file(struct maildir *, struct maildir_file *, int *fd,
			     struct stat *st) MUST_USE;

/* maildir_target.c. Opens cur/ of the folder that deleted messages go to: .Trash, or that of the map,
 * below the same root (Maildir++), made if it may be. ".Old.2020" is "Old/2020". Gives a descriptor, or
 * -1 with errno: EINVAL if the name is none for a folder, or is the mailbox itself; ENOENT; ELOOP,
 * ENOTDIR: a symbolic link, or no folder. */
int maildir_target_open(const struct maildir *);

/* --- The rest goes to the pool itself and is not called there. --- */

/* maildir_keep.c. What the state knows of a Maildir: one row a base name. */
struct maildir_memory {
	struct ledger ledger;
	bool is_used;    /* there is a state; else nothing here does anything */
	bool is_whole;   /* what the search did not see is not there */
	bool is_changed; /* the ledger is to be saved */
	bool is_at_risk; /* and what is shown depends on that */
};
void maildir_memory_init(struct maildir_memory *, const struct maildir *, bool is_quiet);
void maildir_memory_fini(struct maildir_memory *);
/* Reads it, and sets in `files` what is known of each: number, marks, sizes. May be called again. An
 * error is one of the state: what is hidden is not known then, and nothing may be shown. */
struct err maildir_recall(struct maildir *, struct maildir_memory *) MUST_USE;
/* Writes rows for what is new, sizes that were counted, and the edge of newest=; recalls and writes
 * again if another was faster. An error: what would be shown might not be so tomorrow. */
struct err maildir_keep(struct maildir *, struct maildir_memory *) MUST_USE;
/* Sets marks (enum ledger_mark) in the rows of `numbers` (ascending). OK: all of them are on disk. */
struct err maildir_mark(struct maildir *, const uint32_t *numbers, size_t count,
			unsigned marks) MUST_USE;
/* At the end of a session: sizes that were wrong, and when messages were retrieved. */
void maildir_learn(struct maildir *, const struct maildrop *);

/* maildir_plan.c. What becomes of each file at QUIT, by the policies of the map. */
struct maildir_plan {
	bool *is_removed; /* owned: for each file, whether it is to go */
	size_t removed;   /* how many */
	uint32_t *hide,
		*postpone; /* owned: numbers, ascending: LEDGER_HIDDEN; and LEDGER_PENDING */
	size_t hide_len, postpone_len;
};
/* False: memory is out. */
bool maildir_plan(struct maildir_plan *, const struct maildir *, const struct maildrop *);
void maildir_plan_fini(struct maildir_plan *);
/* Whether the message leaves the maildrop at QUIT (D-16). */
bool maildir_goes(const struct maildir *, const struct message *);

/* The contract's list() and update(). */
struct err maildir_list(struct upstream *, struct maildrop *) MUST_USE;
struct err maildir_update(struct upstream *, const struct maildrop *) MUST_USE;
/* \Seen for one message at once (C-19). */
void maildir_retrieved(struct upstream *, const struct message *);

#endif
