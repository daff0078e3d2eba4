/* SPDX-License-Identifier: MIT */
/* identity.c - names made of digests: short, printable, and the same after every restart. */
#include "upstream/identity.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"

enum { NAME_TAG = 32 }; /* characters: 160 bits, so that no two names meet (E-07) */

/* The first `count` base32 characters of a digest, NUL ended; 5 * count bits, whole octets or not.
 */
static void base32(char *out, size_t count, const unsigned char digest[SHA256_DIGEST_LENGTH])
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

	for (size_t i = 0; i < count; i++) {
		size_t bit = i * 5;
		unsigned two = (unsigned)digest[bit / 8] << 8 | digest[bit / 8 + 1];
		out[i] = digits[two >> (11 - bit % 8) & 31];
	}
	out[count] = '\0';
}

void identity_tag(char out[IDENTITY_TAG + 1], const char *host, const char *login,
		  const char *folder, uint32_t generation)
{
	char digits[12] = "";
	unsigned char digest[SHA256_DIGEST_LENGTH];
	size_t host_size = strlen(host) + 1, login_size = strlen(login) + 1;
	size_t folder_size = strlen(folder) + 1;

	if (generation)
		snprintf(digits, sizeof digits, "%u", generation);
	size_t digits_size = generation ? strlen(digits) + 1 : 0;
	size_t size = host_size + login_size + folder_size + digits_size;
	char *all = mem_alloc(size);

	memcpy(all, host, host_size);
	text_lower(all);
	memcpy(all + host_size, login, login_size);
	memcpy(all + host_size + login_size, folder, folder_size);
	memcpy(all + size - digits_size, digits, digits_size);
	SHA256((const unsigned char *)all, size, digest);
	free(all);
	base32(out, IDENTITY_TAG, digest);
}

void identity_of_name(char *out, const char *name)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)name, strlen(name), digest);
	out[0] = 'h';
	out[1] = '.';
	base32(out + 2, NAME_TAG, digest);
}

void identity_place(char out[IDENTITY_PLACE + 1], const char *host, unsigned port,
		    const char *login, const char *folder)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	char *lowered = text_dup(host);

	text_lower(lowered);
	/* A NUL after each part, so that it matters where one ends; %c writes them. */
	char *all = text_printf_dup("%s%c%u%c%s%c%s%c", lowered, 0, port, 0, login, 0, folder, 0);
	char digits[12];
	size_t size = strlen(lowered) + (size_t)snprintf(digits, sizeof digits, "%u", port) +
		      strlen(login) + strlen(folder) + 4;
	SHA256((const unsigned char *)all, size, digest);
	free(all);
	free(lowered);
	base32(out, IDENTITY_PLACE, digest);
}

/* --- headers ------------------------------------------------------------------------------ */

enum { FIELDS_MAX = 64 /* fields of a message that are looked at */ };

/* The fields that every server hands on as they came. */
static const char *const telling[] = {"message-id", "date", "from", "subject"};
enum { TELLING = sizeof telling / sizeof *telling, DATE = 1 /* its index */ };

/* Where one field stands in a header: its body, folded as it came. */
struct place {
	size_t which; /* index in `telling` */
	const char *body, *end;
};

/* The end of the line at `at`: its LF, a CR that no LF follows, or `end`. */
static const char *line_end(const char *at, const char *end)
{
	while (at < end && *at != '\n' && *at != '\r')
		at++;
	return at;
}

/* CR CR LF is one end of a line: some gateways make it of CR LF. */
static const char *next_line(const char *at, const char *end)
{
	const char *lf = at;

	while (lf < end && *lf == '\r')
		lf++;
	if (lf < end && *lf == '\n')
		return lf + 1;
	return at < end ? at + 1 : end;
}

/* Which of the telling fields a line begins, TELLING if none; *body is behind its colon. */
static size_t which_field(const char *line, const char *end, const char **body)
{
	const char *colon = memchr(line, ':', (size_t)(end - line));
	const char *name_end = colon;

	while (colon && name_end > line && (name_end[-1] == ' ' || name_end[-1] == '\t'))
		name_end--;
	for (size_t i = 0; colon && i < TELLING; i++)
		if (text_same_n(line, (size_t)(name_end - line), telling[i], strlen(telling[i]))) {
			*body = colon + 1;
			return i;
		}
	return TELLING;
}

/* Finds the telling fields of a header, in its order. Returns how many. */
static size_t find_fields(const char *at, const char *end, struct place places[FIELDS_MAX])
{
	struct place *open = NULL; /* the field whose body goes on */
	size_t count = 0;

	while (at < end && count < FIELDS_MAX) {
		const char *stop = line_end(at, end);
		bool is_folded = *at == ' ' || *at == '\t';
		const char *body = NULL;
		if (stop == at)
			break; /* the blank line */
		if (is_folded && open)
			open->end = stop;
		size_t which = is_folded ? TELLING : which_field(at, stop, &body);
		if (!is_folded)
			open = NULL;
		if (which < TELLING) {
			open = &places[count++];
			*open = (struct place){which, body, stop};
		}
		at = next_line(stop, end);
	}
	return count;
}

/* Unfolds and squeezes a body. */
static bool put_squeezed(struct buf *all, const struct place *place)
{
	bool is_blank = false, is_begun = false, done = true;

	for (const char *at = place->body; done && at < place->end; at++) {
		char octet = (unsigned char)*at > 0x7e ? '?' : *at;
		if (octet == ' ' || octet == '\t' || octet == '\r' || octet == '\n') {
			is_blank = is_begun;
			continue;
		}
		if (is_blank)
			done = buf_put(all, " ", 1);
		is_blank = false;
		is_begun = true;
		done = done && buf_put(all, &octet, 1);
	}
	return done;
}

bool identity_of_header(char out[IDENTITY_HASH + 1], const char *header, size_t len)
{
	struct place places[FIELDS_MAX];
	unsigned char digest[SHA256_DIGEST_LENGTH];
	struct buf all;
	bool is_known = false, done = true;

	size_t count = len ? find_fields(header, header + len, places) : 0;
	/* No longer than the header: a line end has become an LF, a blank at most replaces one. */
	buf_init(&all, len + FIELDS_MAX * 2);
	/* In an order of our own: servers asked for four fields answer in theirs. */
	for (size_t which = 0; which < TELLING; which++)
		for (size_t i = 0; i < count; i++) {
			if (places[i].which != which)
				continue;
			done = done && buf_printf(&all, "%s:", telling[which]);
			size_t before = buf_len(&all);
			done = done && put_squeezed(&all, &places[i]);
			is_known = is_known || (which <= DATE && buf_len(&all) > before);
			done = done && buf_put(&all, "\n", 1);
		}
	*out = '\0';
	is_known = is_known && done;
	if (is_known) {
		SHA256((const unsigned char *)buf_data(&all), buf_len(&all), digest);
		base32(out, IDENTITY_HASH, digest);
	}
	buf_fini(&all);
	return is_known;
}
