/* SPDX-License-Identifier: MIT */
/* replay.c - a main() for fuzz targets where there is no fuzzer: feeds them the files named as
 * arguments, and all files of directories that are named, one level deep.
 *
 * Without arguments it takes $srcdir/tests/fuzz/corpus/NAME, where the program is called f_NAME: so
 * `make check` replays each target's corpus. Prints TAP.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

enum { FILE_MAX = 16 << 20 }; /* octets */

/* Exactly as many octets as the file has, so that a read beyond them is found. */
static int feed_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	int result = -1;

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	uint8_t *all = malloc(FILE_MAX);
	size_t len = all ? fread(all, 1, FILE_MAX, file) : 0;
	if (all && !ferror(file)) {
		uint8_t *octets = malloc(len ? len : 1);
		if (octets) {
			memcpy(octets, all, len);
			LLVMFuzzerTestOneInput(octets, len);
			free(octets);
			result = 0;
		}
	}
	free(all);
	fclose(file);
	return result;
}

/* How many files were fed; -1: one could not be read. */
static int feed_directory(const char *path)
{
	DIR *directory = opendir(path);
	int fed = 0;

	if (!directory) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	for (struct dirent *entry; fed >= 0 && (entry = readdir(directory));) {
		char name[4096];
		if (*entry->d_name == '.')
			continue;
		snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
		fed = feed_file(name) ? -1 : fed + 1;
	}
	closedir(directory);
	return fed;
}

static int feed(const char *path)
{
	struct stat about;

	if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
		return feed_directory(path);
	return feed_file(path) ? -1 : 1;
}

int main(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir");
	const char *name = strrchr(argv[0], '/');
	char corpus[4096];
	char *corpora[] = {argv[0], corpus};
	char **paths = argv;
	int count = argc, failed = 0;

	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	if (argc < 2) {
		const char *underscore = strstr(name ? name : argv[0], "f_");
		snprintf(corpus, sizeof corpus, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".",
			 underscore ? underscore + 2 : "");
		paths = corpora;
		count = 2;
	}
	printf("1..%d\n", count - 1);
	for (int i = 1; i < count; i++) {
		int fed = feed(paths[i]);
		/* An empty corpus would show nothing. */
		printf("%sok %d - %s: %d inputs\n", fed > 0 ? "" : "not ", i, paths[i], fed);
		failed += fed <= 0;
	}
	return failed != 0;
}
