/* SPDX-License-Identifier: MIT */
/* text.c - strict numbers, comparison, printable text, base64. */
#include "proxy/base/text.h"

#include <string.h>

bool text_number(const char *digits, size_t len, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (!len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return false;
		unsigned digit = (unsigned)(digits[i] - '0');
		if (digit > max || value > max / 10 || value * 10 > max - digit)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

static size_t count_digits(uint64_t number)
{
	size_t count = 1;

	for (; number >= 10000; number /= 10000)
		count += 4;
	return count + (number >= 10) + (number >= 100) + (number >= 1000);
}

size_t text_decimal(char out[TEXT_DIGITS], uint64_t number)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	size_t len = count_digits(number), at = len;

	for (; number >= 100; number /= 100)
		memcpy(out + (at -= 2), pairs + 2 * (number % 100), 2);
	if (number >= 10)
		memcpy(out, pairs + 2 * number, 2);
	else
		out[0] = (char)('0' + number);
	return len;
}

bool text_duration(const char *text, size_t len, uint64_t max_s, uint64_t *seconds)
{
	static const struct {
		char letter;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	uint64_t unit = 1, count;

	for (size_t i = 0; len && i < sizeof units / sizeof *units; i++)
		if (text[len - 1] == units[i].letter) {
			unit = units[i].seconds;
			len--;
			break;
		}
	if (!text_number(text, len, max_s / unit, &count))
		return false;
	*seconds = count * unit;
	return true;
}

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool text_same_n(const char *a, size_t a_len, const char *b, size_t b_len)
{
	if (a_len != b_len)
		return false;
	for (size_t i = 0; i < a_len; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

bool text_same(const char *a, const char *b)
{
	return text_same_n(a, strlen(a), b, strlen(b));
}

void text_lower(char *text)
{
	for (; *text; text++)
		*text = (char)lower(*text);
}

bool text_same_secret(const void *a, size_t a_len, const void *b, size_t b_len)
{
	const unsigned char *p = a, *q = b;
	unsigned differ = a_len != b_len;

	/* An empty b has no octet to compare with; the loop then reads a against itself. */
	for (size_t i = 0; i < a_len; i++)
		differ |= (unsigned)(p[i] ^ (b_len ? q[i % b_len] : p[i]));
	return !differ;
}

size_t text_printable(char *out, size_t size, const char *raw, size_t len, bool brackets)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++) {
		char c = raw[i];
		if (c == '\r' || c == '\n' || c == '\t')
			c = ' ';
		else if (c < 0x20 || c > 0x7e)
			c = '?';
		else if (!brackets && c == '[')
			c = '(';
		else if (!brackets && c == ']')
			c = ')';
		out[n++] = c;
	}
	if (size)
		out[n] = '\0';
	return n;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t text_base64_len(size_t len)
{
	return (len + 2) / 3 * 4;
}

void text_base64(char *out, const void *octets, size_t len)
{
	const unsigned char *in = octets;

	for (size_t i = 0; i < len; i += 3) {
		unsigned bits = (unsigned)in[i] << 16;
		if (i + 1 < len)
			bits |= (unsigned)in[i + 1] << 8;
		if (i + 2 < len)
			bits |= in[i + 2];
		*out++ = base64_digits[bits >> 18];
		*out++ = base64_digits[bits >> 12 & 63];
		*out++ = i + 1 < len ? base64_digits[bits >> 6 & 63] : '=';
		*out++ = i + 2 < len ? base64_digits[bits & 63] : '=';
	}
	*out = '\0';
}

static int base64_value(char c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;

	return at ? (int)(at - base64_digits) : -1;
}

bool text_unbase64(void *out, size_t *out_len, const char *text, size_t len)
{
	unsigned char *to = out;

	if (len % 4)
		return false;
	for (size_t i = 0; i < len; i += 4) {
		unsigned pad = 0;
		if (i + 4 == len)
			pad = text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
		unsigned bits = 0;
		for (size_t k = 0; k < 4; k++) {
			int value = k < 4 - pad ? base64_value(text[i + k]) : 0;
			if (value < 0)
				return false;
			bits = bits << 6 | (unsigned)value;
		}
		/* Canonical: the bits that padding leaves unused are zero (RFC 4648 section 3.5).
		 */
		if ((pad == 1 && bits & 0xff) || (pad == 2 && bits & 0xffff))
			return false;
		*to++ = (unsigned char)(bits >> 16);
		if (pad < 2)
			*to++ = (unsigned char)(bits >> 8);
		if (pad < 1)
			*to++ = (unsigned char)bits;
	}
	*out_len = (size_t)(to - (unsigned char *)out);
	return true;
}

unsigned text_distance(const char *a, const char *b)
{
	unsigned row[32];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len >= sizeof row / sizeof *row || b_len >= sizeof row / sizeof *row)
		return 3;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned corner = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned above = row[j],
				 best = corner + (lower(a[i - 1]) != lower(b[j - 1]));
			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			corner = above;
			row[j] = best;
		}
	}
	return row[b_len] < 3 ? row[b_len] : 3;
}
