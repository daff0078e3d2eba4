/* SPDX-License-Identifier: MIT */
/* fault.h - what is wrong with a file, all of it: "FILE:LINE: what is wrong" lines, collected. */
#ifndef POPGATE_FAULT_H
#define POPGATE_FAULT_H

#include <stddef.h>
#include <stdio.h>

struct faults {
	char **lines; /* owned, in the order they were found; at most FAULTS_MAX are kept, all are
			 counted */
	size_t count;
};
enum { FAULTS_MAX = 100 };

void faults_add(struct faults *, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* "popgate: FILE:LINE: what" for each; if there were more than FAULTS_MAX, how many more. */
void faults_print(const struct faults *, FILE *);
void faults_fini(struct faults *); /* a zeroed struct is fine */

#endif
