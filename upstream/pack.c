/* SPDX-License-Identifier: MIT */
/* pack.c - varints and counted texts.
 *
 * There is exactly one encoding of each value, so what was changed by accident is more likely to be
 * noticed, and equal values are equal octets.
 */
#include "upstream/pack.h"

#include <string.h>

enum { VARINT_MAX = 10 }; /* octets of the longest number */

bool pack_octet(struct buf *buf, unsigned octet)
{
	unsigned char one = (unsigned char)octet;

	return buf_put(buf, &one, 1);
}

bool pack_number(struct buf *buf, uint64_t number)
{
	unsigned char octets[VARINT_MAX];
	size_t len = 0;

	while (number > 0x7f) {
		octets[len++] = (unsigned char)(number | 0x80);
		number >>= 7;
	}
	octets[len++] = (unsigned char)number;
	return buf_put(buf, octets, len);
}

bool pack_text(struct buf *buf, const char *text)
{
	size_t len = strlen(text);

	return pack_number(buf, len) && buf_put(buf, text, len);
}

struct unpack unpack_begin(const void *octets, size_t len)
{
	const unsigned char *at = octets;

	return (struct unpack){at, len ? at + len : at, false};
}

unsigned unpack_octet(struct unpack *in)
{
	if (in->is_bad || in->at == in->end) {
		in->is_bad = true;
		return 0;
	}
	return *in->at++;
}

uint64_t unpack_number(struct unpack *in, uint64_t max)
{
	uint64_t number = 0;
	unsigned octet = 0x80;

	/* Most numbers are small, and a large mailbox has some hundred thousand of them. */
	if (!in->is_bad && in->at != in->end && *in->at <= 0x7f && *in->at <= max)
		return *in->at++;
	for (unsigned shift = 0; octet & 0x80 && !in->is_bad; shift += 7) {
		octet = unpack_octet(in);
		/* The tenth octet has room for one bit; a last octet of 0 is not the shortest form.
		 */
		if ((shift == 63 && octet > 1) || (shift && !octet))
			in->is_bad = true;
		else
			number |= (uint64_t)(octet & 0x7f) << shift;
	}
	if (number > max)
		in->is_bad = true;
	return in->is_bad ? 0 : number;
}

const char *unpack_text(struct unpack *in, size_t min, size_t max, size_t *len)
{
	*len = (size_t)unpack_number(in, max);
	if (in->is_bad || *len < min || *len > (size_t)(in->end - in->at) ||
	    (*len && memchr(in->at, '\0', *len))) {
		in->is_bad = true;
		*len = 0;
		return NULL;
	}
	const char *text = (const char *)in->at;
	in->at += *len;
	return text;
}

bool unpack_is_whole(const struct unpack *in)
{
	return !in->is_bad && in->at == in->end;
}
