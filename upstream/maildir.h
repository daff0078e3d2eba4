/* SPDX-License-Identifier: MIT */
/* maildir.h - one open Maildir, as the files maildir*.c share it. The world sees only maildir_ops
 * (upstream.h).
 *
 * A message is known by the base name of its file, which no mail program changes: what stands
 * before ":2,". The rest of the name (flags) and the folder (new/ or cur/) may change at any
 * moment, so a name that is not there is looked for again before anything is said about it.
 *
 * All but the last two functions here may block: they are called on the pool (env->offload) only.
 * One descriptor is held while a Maildir is open, two more while something is done.
 */
#ifndef POPGATE_MAILDIR_H
#define POPGATE_MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

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
};

struct maildir_file {
	uint64_t time;     /* the digits that begin its name, as a number; 0: none */
	uint64_t octets;   /* with CRLF line ends */
	uint32_t name;     /* offset in `names` */
	uint16_t room;     /* octets reserved there */
	uint16_t base_len; /* octets of the base name */
	uint8_t folder;    /* enum maildir_folder */
	uint8_t state;     /* enum maildir_state */
	uint8_t scan;      /* number of the scan that saw it, while listing */
};

struct maildir {
	struct upstream upstream; /* first */
	const struct env *env;    /* borrowed */
	const struct log *log;    /* borrowed */
	int root;                 /* descriptor of the Maildir itself */
	uid_t owner;              /* of the Maildir */
	enum delete_policy delete_policy;
	enum seen_policy seen_policy;
	char *archive;     /* owned: the folder for DELETE_ARCHIVE as in the map; NULL: none */
	bool may_create;   /* a missing folder is made (D-13) */
	bool newest_first; /* message 1 is the newest */
	struct buf names;  /* NUL ended file names */
	struct maildir_file *files; /* owned; ascending by (time, base name); message uid n is
				       files[n - 1] */
	size_t count, room;
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

/* Fills `files`, without sizes that are not in the names. Gives 0 or an errno. */
int maildir_collect(struct maildir *);

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

/* The contract's list() and update(): not on the pool, they go there themselves. */
struct err maildir_list(struct upstream *, struct maildrop *) MUST_USE;
struct err maildir_update(struct upstream *, const struct maildrop *) MUST_USE;
/* \Seen for one message at once (C-19). */
void maildir_retrieved(struct upstream *, const struct message *);

#endif
