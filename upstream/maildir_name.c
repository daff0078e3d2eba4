/* SPDX-License-Identifier: MIT */
/* maildir_name.c - what a file name in a Maildir says.
 *
 *	1700000000.M1P2.host,S=1234,W=1250:2,FRS
 *	time                 raw    CRLF    flags
 *
 * Up to ":2," reaches the base name, which names the message for ever. File systems that forbid a
 * colon made others write ";2," or "!2,". Sizes are part of the base name.
 */
#include "upstream/maildir.h"

#include <string.h>

#include "proxy/base/text.h"

static const uint64_t largest_message = (uint64_t)1 << 40; /* octets; above it a size is a lie */

static const char *find_info(const char *name)
{
	static const char *const marks[] = {":2,", ";2,", "!2,"};

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		const char *at = strstr(name, marks[i]);

		if (at)
			return at;
	}
	return NULL;
}

/* The number behind `key` (",S=" or ",W="), if it fills its field. */
static bool find_size(const char *name, size_t base_len, const char *key, uint64_t *octets)
{
	const char *end = name + base_len;
	const char *at = memmem(name, base_len, key, 3);
	const char *stop;

	if (!at)
		return false;
	at += 3;
	stop = memchr(at, ',', (size_t)(end - at));
	return text_number(at, (size_t)((stop ? stop : end) - at), largest_message, octets);
}

static uint64_t leading_number(const char *name)
{
	uint64_t number = 0;

	for (; *name >= '0' && *name <= '9'; name++) {
		if (number > (UINT64_MAX - 9) / 10)
			return UINT64_MAX;
		number = number * 10 + (uint64_t)(*name - '0');
	}
	return number;
}

void maildir_name_parse(const char *name, struct maildir_name *out)
{
	const char *info = find_info(name);

	*out = (struct maildir_name){.time = leading_number(name)};
	out->base_len = info ? (size_t)(info - name) : strlen(name);
	out->separator = info ? *info : ':';
	out->flags = info ? info + 3 : name + out->base_len;
	out->is_trashed = strchr(out->flags, 'T') != NULL;
	out->has_octets = find_size(name, out->base_len, ",W=", &out->octets);
	out->has_raw = find_size(name, out->base_len, ",S=", &out->raw);
}

bool maildir_name_flagged(const char *name, char flag, char out[MAILDIR_NAME_MAX + 1])
{
	struct maildir_name parts;
	bool has[256] = {false};
	size_t len;

	has[(unsigned char)flag] = true;
	maildir_name_parse(name, &parts);
	for (const char *at = parts.flags; *at; at++)
		has[(unsigned char)*at] = true;
	len = parts.base_len;
	if (len + 4 > MAILDIR_NAME_MAX)
		return false;
	memcpy(out, name, len);
	out[len++] = parts.separator;
	out[len++] = '2';
	out[len++] = ',';
	for (int c = 1; c < 256; c++) {
		if (!has[c])
			continue;
		if (len == MAILDIR_NAME_MAX)
			return false;
		out[len++] = (char)c;
	}
	out[len] = '\0';
	return true;
}
