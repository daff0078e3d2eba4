/* SPDX-License-Identifier: MIT */
/* referee.h - reads what a client said and what it heard, and knows the laws that hold whatever
 * went wrong in between:
 *
 *  - one reply a command, in order, as long as the connection lives, each first line well-formed
 *    (A-01, A-05, A-07);
 *  - a multi-line reply that ends in its dot is whole and right, and one that is not whole is the
 *    last thing that was said (F-09);
 *  - STAT and LIST tell the messages without those that DELE was confirmed for (C-05 to C-08);
 *  - nothing is removed but what was marked, and nothing without an executed QUIT (D-01); +OK to
 *    QUIT means that all of it is gone (D-03).
 */
#ifndef POPGATE_REFEREE_H
#define POPGATE_REFEREE_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/fake/memory.h"

struct game {
	const char *input; /* what the session has read; only whole lines of it count */
	size_t input_len;
	const char *output;
	size_t output_len;
	const struct memory_message *messages; /* after the session */
	size_t message_count;
	/* The client's stream was made to fail: the output may stop anywhere. */
	bool is_broken;
};

/* NULL if all laws hold, else the one that was broken, in words. */
const char *referee(const struct game *);

#endif
