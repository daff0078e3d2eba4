/* SPDX-License-Identifier: MIT */
/* map_file.c - the files of a map: permissions, includes, and no file that includes itself.
 *
 * Permissions are those of the file that was opened, not of a name that may be changed in between.
 */
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "proxy/file.h"
#include "proxy/map_parts.h"

enum { DEPTH_MAX = 8 };

/* The files that are being read, each included by the one before: to see a loop. */
struct map_chain {
	const struct map_chain *above;
	dev_t device;
	ino_t inode;
	int depth;
};

static const char *chain_refusal(const struct map *map, const struct map_chain *chain)
{
	for (const struct map_chain *other = chain->above; other; other = other->above)
		if (other->device == chain->device && other->inode == chain->inode)
			return "includes itself";
	if (chain->depth > DEPTH_MAX)
		return "is included too deeply";
	return map->file_count >= MAP_FILES_MAX ? "is one file too many" : NULL;
}

/* `from` and `from_line`: who includes it, or NULL. */
static void read_file(struct map *map, const struct map_chain *above, const char *file,
		      const char *from, int from_line, struct faults *faults)
{
	struct stat status;
	size_t len;
	const char *reason = NULL;
	char *text = file_read_dup(file, UINT32_MAX, &status, &len, &reason);

	if (!text) {
		faults_add(faults, from ? from : file, from_line, "%s%s%s", from ? file : "",
			   from ? ": " : "", reason);
		return;
	}
	struct map_chain chain = {above, status.st_dev, status.st_ino,
				  above ? above->depth + 1 : 0};
	reason = chain_refusal(map, &chain);
	if (reason) {
		faults_add(faults, from, from_line, "%s %s", file, reason);
		mem_wipe(text, len);
		free(text);
		return;
	}
	if (status.st_mode & (S_IWGRP | S_IWOTH))
		faults_add(faults, file, 0,
			   "group or others may write to it (mode %04o): 0640 is good",
			   (unsigned)status.st_mode & 07777);
	bool has_secret = map_read_owned(map, &chain, file, text, len, faults);
	if (has_secret && status.st_mode & S_IROTH)
		faults_add(faults, file, 0,
			   "holds a secret, and others may read it (mode %04o): 0640 is good",
			   (unsigned)status.st_mode & 07777);
}

/* A directory that is not there holds nothing; one that cannot be read would hide entries. */
static int is_grave(const char *path, int code)
{
	(void)path;
	return code != ENOENT && code != ENOTDIR;
}

void map_include(struct map *map, const struct map_chain *chain, const char *pattern,
		 const char *file, int line, struct faults *faults)
{
	const char *slash = strrchr(file, '/');
	int dir_len = slash && *pattern != '/' ? (int)(slash + 1 - file) : 0;
	glob_t found;

	if (!chain) {
		faults_add(faults, file, line, "%%include: there are no files here");
		return;
	}
	char *path = text_printf_dup("%.*s%s", dir_len, file, pattern);
	int failed = glob(path, 0, is_grave, &found);
	if (failed && (failed != GLOB_NOMATCH || !strpbrk(pattern, "*?[")))
		faults_add(faults, file, line, "%%include %s: %s", path,
			   failed == GLOB_NOMATCH ? "no such file" : "cannot be searched");
	for (size_t i = 0; !failed && i < found.gl_pathc; i++)
		read_file(map, chain, found.gl_pathv[i], file, line, faults);
	if (!failed || failed == GLOB_NOMATCH)
		globfree(&found);
	free(path);
}

void map_read_file(struct map *map, const char *file, struct faults *faults)
{
	read_file(map, NULL, file, NULL, 0, faults);
}

void map_read_text(struct map *map, const char *file, const char *text, size_t len,
		   struct faults *faults)
{
	map_read_owned(map, NULL, file, mem_dup(text, len), len, faults);
}
