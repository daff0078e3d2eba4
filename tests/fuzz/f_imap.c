/* SPDX-License-Identifier: MIT */
/* f_imap.c - hostile octets through the doorman into libetpan, in a session as the driver leads it.
 *
 * The first octet says how the rest arrives: its low four bits are the longest read (0: all at once),
 * the others the longest body that is asked for. What follows is what the server says, all
 * beforehand. Items, headers, numbers found and facts of the folder are all asked for. Besides crashes
 * and leaks it looks for libetpan and the doorman disagreeing: when the wire lives, no reply may have
 * been unreadable for libetpan; and for words of the doorman that its contract excludes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <libetpan/libetpan.h>

#include "tests/fake/canned.h"
#include "tests/fake/talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct canned canned;
	static const uint64_t bodies[] = {UINT64_MAX, 0, 1, 100};

	if (!len)
		return 0;
	struct talk *talk = malloc(sizeof *talk);
	if (!talk)
		return 0;
	canned_init(&canned, ERR_UPSTREAM, octets + 1, len - 1);
	canned.chunk = octets[0] & 15;
	talk_run(talk, &canned.stream, bodies[octets[0] >> 4 & 3]);
	for (int i = 0; i < TALK_STEPS; i++)
		if (talk->results[i] == MAILIMAP_ERROR_PARSE) {
			fprintf(stderr,
				"step %d: libetpan could not read what the doorman let in\n", i);
			abort();
		}
	if (!canned.is_closed || talk->has_lied)
		abort();
	canned_fini(&canned);
	free(talk);
	return 0;
}
