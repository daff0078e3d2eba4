/* SPDX-License-Identifier: MIT */
/* fault.c - collects what is wrong with a file.
 *
 * A map of a million lines may have a million errors; the first hundred are enough to see what
 * happened, so memory is bounded and only the count goes on.
 */
#include "proxy/fault.h"

#include <stdarg.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

void faults_add(struct faults *faults, const char *file, int line, const char *format, ...)
{
	va_list ap;
	char what[1024];

	if (faults->count++ >= FAULTS_MAX)
		return;
	if (!faults->lines)
		faults->lines = mem_alloc(FAULTS_MAX * sizeof *faults->lines);
	va_start(ap, format);
	vsnprintf(what, sizeof what, format, ap);
	va_end(ap);
	faults->lines[faults->count - 1] = line > 0 ? text_printf_dup("%s:%d: %s", file, line, what)
						    : text_printf_dup("%s: %s", file, what);
}

void faults_print(const struct faults *faults, FILE *to)
{
	for (size_t i = 0; i < faults->count && i < FAULTS_MAX; i++)
		fprintf(to, "popgate: %s\n", faults->lines[i]);
	if (faults->count > FAULTS_MAX)
		fprintf(to, "popgate: and %zu more errors\n", faults->count - FAULTS_MAX);
}

void faults_fini(struct faults *faults)
{
	for (size_t i = 0; i < faults->count && i < FAULTS_MAX; i++)
		free(faults->lines[i]);
	free(faults->lines);
	*faults = (struct faults){0};
}
