/* SPDX-License-Identifier: MIT */
/* uidl.c - UIDLs in the form that another server gave them.
 *
 * Every format is a pattern in one small language, of which Dovecot's is the model: octets stand for
 * themselves, "%%" is "%", and "%", an optional "0" and width, an optional "X", and a letter stand
 * for a number: u the UID, v UIDVALIDITY, g Gmail's message number. X writes it in lower-case
 * hexadecimal digits, 0 and a width fill it up from the left. "%e" is an EMAILID and stands alone.
 *
 * Where the forms are from: Dovecot's pop3_uidl_format (2.3's %08Xu and 2.4's %{uid | hex(8)}), the
 * uidl_format of Cyrus' imapd.conf (uidonly, cyrus, dovecot, courier), Courier's pop3dserver
 * (UID2-200 is UID 2 of UIDVALIDITY 200), the ipop3d of the University of Washington
 * (%08lx%08lx, UIDVALIDITY first), and what Gmail's POP3 server says: GmailId and X-GM-MSGID as 16
 * hexadecimal digits. What Exchange says is made of nothing that it tells by IMAP.
 */
#include "upstream/uidl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/text.h"
#include "upstream/identity.h"

enum {
	WIDTH_MAX = 20, /* digits of the longest number */
	DEC_UID = 10,   /* digits at most */
	HEX_UID = 8,
	DEC_64 = 20,
	HEX_64 = 16,
};

static const struct {
	const char *value, *pattern;
} fixed[] = {
	{"stable", ""},
	{"dovecot", "%08Xu%08Xv"},
	{"cyrus", "%v.%u"},
	{"cyrus:cyrus", "%v.%u"},
	{"cyrus:val.uid", "%v.%u"},
	{"cyrus:uidonly", "%u"},
	{"cyrus:uid", "%u"},
	{"cyrus:dovecot", "%08Xu%08Xv"},
	{"cyrus:courier", "%v-%u"},
	{"courier", "UID%u-%v"},
	{"uw", "%08Xv%08Xu"},
	{"gmail", "GmailId%016Xg"},
	{"emailid", "%e"},
};

/* --- fields ------------------------------------------------------------------------------- */

/* One step through a pattern: an octet for itself, or a field. */
struct field {
	char kind; /* 'u', 'v', 'g', 'e'; 0: the octet `literal` */
	char literal;
	unsigned width; /* filled up to so many digits; 0: not */
	bool is_hex;
};

/* The next step of a pattern of our own making; false at its end. */
static bool next_field(const char **at, struct field *field)
{
	*field = (struct field){0};
	if (!**at)
		return false;
	field->literal = *(*at)++;
	if (field->literal != '%')
		return true;
	if (**at == '%') {
		(*at)++;
		return true;
	}
	while (**at >= '0' && **at <= '9')
		field->width = field->width * 10 + (unsigned)(*(*at)++ - '0');
	if (**at == 'X') {
		field->is_hex = true;
		(*at)++;
	}
	field->kind = *(*at)++;
	return true;
}

/* --- parsing ------------------------------------------------------------------------------ */

/* What is read of one "%..." of Dovecot's. */
struct variable {
	char kind;
	unsigned width;
	bool is_filled, is_hex;
};

static const char *refusal_of(char letter)
{
	switch (letter) {
	case 'm':
		return "%m (the MD5 of a header) cannot be had over IMAP";
	case 'f':
		return "%f (a file's name) cannot be had over IMAP";
	case 'g':
		return "%g (a GUID) cannot be had over IMAP";
	default:
		return "only %u (UID) and %v (UIDVALIDITY) are known, as in %08Xu%08Xv";
	}
}

static unsigned read_width(const char **at)
{
	unsigned width = 0;

	for (; **at >= '0' && **at <= '9'; (*at)++)
		if (width <= WIDTH_MAX)
			width = width * 10 + (unsigned)(**at - '0');
	return width;
}

static bool skip(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

static void skip_blanks(const char **at)
{
	*at += strspn(*at, " ");
}

/* Of 2.4: behind "%{", as in "%{uid | hex(8)}". */
static const char *read_long(const char **at, struct variable *out)
{
	static const char unknown[] =
		"only %{uid} and %{uidvalidity} are known, alone or with | hex(8)";

	skip_blanks(at);
	if (skip(at, "uidvalidity"))
		out->kind = 'v';
	else if (skip(at, "uid"))
		out->kind = 'u';
	else
		return strncmp(*at, "md5", 3) == 0        ? refusal_of('m')
		       : strncmp(*at, "filename", 8) == 0 ? refusal_of('f')
		       : strncmp(*at, "guid", 4) == 0     ? refusal_of('g')
							  : unknown;
	skip_blanks(at);
	if (skip(at, "|")) {
		skip_blanks(at);
		if (!skip(at, "hex"))
			return unknown;
		out->is_hex = true;
		if (skip(at, "(")) {
			out->width = read_width(at);
			out->is_filled = true;
			if (!skip(at, ")"))
				return unknown;
		}
		skip_blanks(at);
	}
	return skip(at, "}") ? NULL : unknown;
}

/* Of 2.3: behind "%", as in "%08Xu". */
static const char *read_variable(const char **at, struct variable *out)
{
	*out = (struct variable){0};
	if (skip(at, "{"))
		return read_long(at, out);
	out->is_filled = skip(at, "0");
	out->width = read_width(at);
	out->is_hex = skip(at, "X");
	if (skip(at, "{"))
		return read_long(at, out);
	out->kind = **at;
	if (out->kind != 'u' && out->kind != 'v')
		return refusal_of(out->kind);
	(*at)++;
	if (out->width && !out->is_filled) {
		/* Dovecot cuts what is longer than such a width, and fills nothing up. */
		if (out->width < (out->is_hex ? HEX_UID : DEC_UID))
			return "a width without a 0 before it cuts numbers short";
		out->width = 0;
	}
	return NULL;
}

static unsigned longest(const struct field *field)
{
	unsigned digits = 1;

	if (field->kind == 'u')
		digits = field->is_hex ? HEX_UID : DEC_UID;
	else if (field->kind)
		digits = field->is_hex ? HEX_64 : DEC_64;
	return digits > field->width ? digits : field->width;
}

/* What a pattern needs, and whether it always makes a UIDL. */
static const char *survey(struct uidl_format *format)
{
	const char *at = format->pattern;
	struct field field;
	unsigned octets = 0;
	bool is_unique = false;

	while (next_field(&at, &field)) {
		octets += longest(&field);
		format->needs_uidvalidity = format->needs_uidvalidity || field.kind == 'v';
		format->needs_gm_msgid = format->needs_gm_msgid || field.kind == 'g';
		format->needs_email_id = format->needs_email_id || field.kind == 'e';
		is_unique = is_unique || (field.kind && field.kind != 'v');
		if (!field.kind && (field.literal < 0x21 || field.literal > 0x7e))
			return "only printable ASCII without blanks can stand in a UIDL";
	}
	if (!is_unique)
		return "without %u all messages would have the same UIDL";
	return octets > UIDL_MAX ? "makes UIDLs of more than 70 octets" : NULL;
}

enum { PIECE = 24 }; /* room for one step of a pattern */

/* The next step of Dovecot's pattern, in our own language. */
static const char *read_piece(const char **at, char piece[PIECE])
{
	struct variable variable;

	if (!skip(at, "%")) {
		snprintf(piece, PIECE, "%c", *(*at)++);
		return NULL;
	}
	if (skip(at, "%")) {
		snprintf(piece, PIECE, "%%%%");
		return NULL;
	}
	const char *wrong = read_variable(at, &variable);
	const char *hex = variable.is_hex ? "X" : "";
	if (wrong)
		return wrong;
	if (variable.width > WIDTH_MAX)
		return "a width of more than 20";
	if (variable.width)
		snprintf(piece, PIECE, "%%%02u%s%c", variable.width, hex, variable.kind);
	else
		snprintf(piece, PIECE, "%%%s%c", hex, variable.kind);
	return NULL;
}

static const char *parse_dovecot(const char *value, struct uidl_format *out)
{
	size_t len = 0;

	while (*value) {
		char piece[PIECE];
		const char *wrong = read_piece(&value, piece);
		if (wrong)
			return wrong;
		size_t more = strlen(piece);
		if (len + more > UIDL_PATTERN)
			return "too long a pattern";
		memcpy(out->pattern + len, piece, more + 1);
		len += more;
	}
	return survey(out);
}

const char *uidl_format_parse(const char *value, struct uidl_format *out)
{
	static const char dovecot[] = "dovecot:";

	*out = (struct uidl_format){0};
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		if (strcmp(value, fixed[i].value) == 0) {
			snprintf(out->pattern, sizeof out->pattern, "%s", fixed[i].pattern);
			return *out->pattern ? survey(out) : NULL;
		}
	struct uidl_format format = {0};
	const char *wrong = "not stable, dovecot, dovecot:PATTERN, cyrus, cyrus:uidonly, courier, "
			    "uw, gmail or emailid";
	if (strcmp(value, "exchange") == 0)
		wrong = "the UIDLs of Exchange's POP3 cannot be made from anything that its IMAP "
			"tells: popgate import-uidl brings them over";
	else if (strncmp(value, dovecot, sizeof dovecot - 1) == 0)
		wrong = parse_dovecot(value + sizeof dovecot - 1, &format);
	if (!wrong)
		*out = format;
	return wrong;
}

bool uidl_is_stable(const struct uidl_format *format)
{
	return !*format->pattern;
}

/* --- writing ------------------------------------------------------------------------------ */

static bool is_verbatim(const char *name)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789._=,:+-";
	size_t len = strlen(name);

	return len && len <= UIDL_MAX && strspn(name, good) == len;
}

/* The number that a field stands for; false if it is not known. */
static bool number_of(const struct field *field, const struct uidl_parts *parts, uint64_t *out)
{
	const char *gm = parts->gm_msgid ? parts->gm_msgid : "";

	if (field->kind == 'g')
		return text_number(gm, strlen(gm), UINT64_MAX, out);
	*out = field->kind == 'u' ? parts->uid : parts->uidvalidity;
	return *out != 0;
}

static bool write_email_id(const struct uidl_parts *parts, char *out)
{
	const char *id = parts->email_id ? parts->email_id : "";

	if (is_verbatim(id))
		memcpy(out, id, strlen(id) + 1);
	else if (*id)
		identity_of_name(out, id);
	return *id != '\0';
}

bool uidl_format_write(const struct uidl_format *format, const struct uidl_parts *parts,
		       char out[UIDL_MAX + 1])
{
	const char *at = format->pattern;
	struct field field;
	size_t len = 0;

	*out = '\0';
	if (format->needs_email_id)
		return write_email_id(parts, out);
	while (next_field(&at, &field)) {
		char piece[WIDTH_MAX + 1] = {field.literal, '\0'};
		uint64_t number;
		if (field.kind && !number_of(&field, parts, &number)) {
			*out = '\0';
			return false;
		}
		if (field.kind)
			snprintf(piece, sizeof piece, field.is_hex ? "%0*llx" : "%0*llu",
				 field.width ? (int)field.width : 1, (unsigned long long)number);
		size_t more = strlen(piece);
		if (len + more > UIDL_MAX)
			return false;
		memcpy(out + len, piece, more + 1);
		len += more;
	}
	return len > 0;
}

void uidl_suffixed(char out[UIDL_MAX + 1], const char *uidl, const struct uidl_parts *parts)
{
	char all[2 * UIDL_MAX + 1];
	int len = snprintf(all, sizeof all, "%.*s-%llu.%u", UIDL_MAX, uidl,
			   (unsigned long long)parts->uidvalidity, parts->uid);

	if (len <= UIDL_MAX)
		memcpy(out, all, (size_t)len + 1);
	else
		identity_of_name(out, all);
}

/* --- reading ------------------------------------------------------------------------------ */

static int digit_of(char digit, bool is_hex)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	return is_hex && digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Reads the digits of a field. A number with another one right behind it ends where its width says.
 */
static bool read_number(const struct field *field, bool is_before_field, const char **at,
			uint64_t *out)
{
	uint64_t number = 0, base = field->is_hex ? 16 : 10;
	unsigned digits = 0, most = is_before_field ? field->width : longest(field);

	for (; digits < most && digit_of(**at, field->is_hex) >= 0; digits++, (*at)++) {
		uint64_t digit = (uint64_t)digit_of(**at, field->is_hex);
		if (number > (UINT64_MAX - digit) / base)
			return false;
		number = number * base + digit;
	}
	*out = number;
	return number && digits >= field->width;
}

bool uidl_format_read(const struct uidl_format *format, const char *uidl, struct uidl_parts *out)
{
	const char *pattern = format->pattern, *at = uidl;
	char again[UIDL_MAX + 1];
	struct field field;

	*out = (struct uidl_parts){.gm_msgid = "", .email_id = ""};
	if (uidl_is_stable(format) || format->needs_gm_msgid || format->needs_email_id)
		return false;
	while (next_field(&pattern, &field)) {
		uint64_t number;
		bool is_before_field = *pattern == '%' && pattern[1] != '%';
		if (!field.kind && *at++ != field.literal)
			return false;
		if (!field.kind)
			continue;
		if (!read_number(&field, is_before_field, &at, &number) ||
		    (field.kind == 'u' && number > UINT32_MAX))
			return false;
		if (field.kind == 'u')
			out->uid = (uint32_t)number;
		else
			out->uidvalidity = number;
	}
	/* Superfluous zeros, or a number that stands twice and differs, are not of the format. */
	return !*at && uidl_format_write(format, out, again) && strcmp(again, uidl) == 0;
}
