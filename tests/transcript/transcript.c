/* SPDX-License-Identifier: MIT */
/* transcript.c - runs every golden conversation of $srcdir/tests/transcript, or those named as
 * arguments, three ways: as written, one octet at a time, all in one packet. Prints TAP. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/transcript/stage.h"

static const char *const ways[WAYS] = {"as written", "one octet at a time", "in one packet"};

static int run(const char *path, unsigned *number)
{
	struct script *script = script_read(path);
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	int failed = 0;

	if (!script) {
		printf("not ok %u - %s\n", ++*number, name);
		return 1;
	}
	for (int way = 0; way < WAYS; way++) {
		if (!script->ways[way])
			continue;
		struct stage *stage = malloc(sizeof *stage);
		if (!stage)
			abort();
		stage_init(stage, script, (enum script_way)way);
		stage_run(stage);
		bool good = stage_compare(stage) && stage_check(stage);
		printf("%sok %u - %s, %s\n", good ? "" : "not ", ++*number, name, ways[way]);
		if (!good)
			printf("# %s\n", stage->wrong);
		failed += !good;
		stage_fini(stage);
		free(stage);
	}
	script_free(script);
	return failed;
}

int main(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir");
	unsigned number = 0;
	char pattern[4096];
	glob_t found = {.gl_pathc = 0};
	int failed = 0;

	snprintf(pattern, sizeof pattern, "%s/tests/transcript/*.pop3", srcdir ? srcdir : ".");
	if (argc < 2 && glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			failed += run(found.gl_pathv[i], &number);
	for (int i = 1; i < argc; i++)
		failed += run(argv[i], &number);
	globfree(&found);
	/* No conversation at all is no success. */
	if (!number)
		printf("not ok %u - %s: no conversations\n", ++number, pattern);
	printf("1..%u\n", number);
	return failed || !number;
}
