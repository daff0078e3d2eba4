/* SPDX-License-Identifier: MIT */
/* mem.h - allocate or die, for small things of known size. Whatever a peer can size belongs into a
 * buf. */
#ifndef POPGATE_MEM_H
#define POPGATE_MEM_H

#include <stddef.h>

/* `size` octets, zeroed; the caller frees them with free(). Dies with a line on stderr when memory
 * is out. */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));

/* `count` elements of `size` octets at `old` (or NULL), contents kept, growth not zeroed. Dies when
 * memory is out or the product overflows. */
void *mem_resize(void *old, size_t count, size_t size) __attribute__((returns_nonnull));

/* A copy of `len` octets with a NUL behind them; the caller frees it. */
char *mem_dup(const void *octets, size_t len) __attribute__((malloc, returns_nonnull));

/* A copy of a string; NULL stays NULL. The caller frees it. */
char *text_dup(const char *text) __attribute__((malloc));

/* A string made as printf(3) would; the caller frees it. */
char *text_printf_dup(const char *format, ...)
	__attribute__((format(printf, 1, 2), returns_nonnull));

/* Overwrites `size` octets so that no compiler leaves it out (B-22). */
void mem_wipe(void *octets, size_t size);

/* Wipes a string and frees it; NULL is fine. */
void text_wipe_free(char *secret);

#endif
