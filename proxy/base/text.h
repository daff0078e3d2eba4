/* SPDX-License-Identifier: MIT */
/* text.h - strict numbers, case-blind and constant-time comparison, printable text, base64. ASCII
 * only: no locale. */
#ifndef POPGATE_TEXT_H
#define POPGATE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads 1*DIGIT that fills all `len` octets and is at most `max`. No sign, blank or prefix.
 * On false *out is not touched. */
bool text_number(const char *digits, size_t len, uint64_t max, uint64_t *out);

/* Writes the digits of a number, no NUL behind them. Returns how many. A listing of 100,000 lines has
 * as many numbers: printf() was half of its time. */
enum { TEXT_DIGITS = 20 };
size_t text_decimal(char out[TEXT_DIGITS], uint64_t);

/* Reads a length of time: digits with s, m, h, d or w behind them, seconds if nothing is. False if it is
 * none, or above `max_s`; *seconds is then not touched. */
bool text_duration(const char *text, size_t len, uint64_t max_s, uint64_t *seconds);

/* Case-blind (ASCII) equality of two strings; the second of two octet ranges. */
bool text_same(const char *a, const char *b);
bool text_same_n(const char *a, size_t a_len, const char *b, size_t b_len);

/* Lowers A-Z in place. */
void text_lower(char *text);

/* Equality in a time that depends on the lengths alone (B-22). */
bool text_same_secret(const void *a, size_t a_len, const void *b, size_t b_len);

/* Writes `len` octets of `raw` as printable ASCII into `out` (`size` octets, NUL ended, cut if need
 * be): CR, LF, TAB become blanks; other controls, 8-bit octets become "?". With `brackets` false
 * "[" and "]" become "(" and ")", so that no foreign text can pass for a response code (A-05, RFC
 * 2449 section 6.4). Returns the length written. */
size_t text_printable(char *out, size_t size, const char *raw, size_t len, bool brackets);

/* Base64 (RFC 4648 section 4) without line breaks. `out` holds at least text_base64_len(len) + 1
 * octets, gets a NUL. */
size_t text_base64_len(size_t len);
void text_base64(char *out, const void *octets, size_t len);

/* The strict inverse (J-01): canonical only, padding only at the end, no blanks. `out` holds at
 * least len / 4 * 3 octets. Returns false, with `out` undefined, if the text is not canonical
 * base64. The empty text is good and gives 0 octets. */
bool text_unbase64(void *out, size_t *out_len, const char *text, size_t len);

/* The edit distance of two short strings, counted up to 3: what "did you mean" needs. */
unsigned text_distance(const char *a, const char *b);

#endif
