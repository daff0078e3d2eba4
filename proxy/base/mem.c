/* SPDX-License-Identifier: MIT */
/* mem.c - allocate or die.
 *
 * A session that cannot have 200 octets cannot do anything sensible either; checking each such call
 * would only add paths that nobody tests. What peers can make large goes through buf.c, which has a
 * ceiling and returns an error.
 */
#include "proxy/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *memory)
{
	if (!memory) {
		fputs("popgate: out of memory\n", stderr);
		abort();
	}
	return memory;
}

void *mem_alloc(size_t size)
{
	return or_die(calloc(1, size ? size : 1));
}

void *mem_resize(void *old, size_t count, size_t size)
{
	return or_die(reallocarray(old, count ? count : 1, size ? size : 1));
}

char *mem_dup(const void *octets, size_t len)
{
	char *copy = or_die(malloc(len + 1));

	if (len)
		memcpy(copy, octets, len);
	copy[len] = '\0';
	return copy;
}

char *text_dup(const char *text)
{
	return text ? mem_dup(text, strlen(text)) : NULL;
}

char *text_printf_dup(const char *format, ...)
{
	va_list ap;
	char *text = NULL;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	return or_die(text);
}

void mem_wipe(void *octets, size_t size)
{
	if (octets)
		explicit_bzero(octets, size);
}

void text_wipe_free(char *secret)
{
	if (secret)
		mem_wipe(secret, strlen(secret));
	free(secret);
}
