/* SPDX-License-Identifier: MIT */
/* map_target.c - what a value may be, and what it becomes for one name.
 *
 * The first half judges values as they stand in the map, at load. The second half expands %u, %n
 * and %d for a name that a client gave; such a name is hostile until shown otherwise, so each piece
 * that comes from it is looked at before it becomes part of a path or a folder (B-03, B-18). When
 * an entry with a local secret was found by the part before "@", what stands behind the "@" was
 * neither written by the operator nor proved: it may not choose a path, folder or login.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/map_parts.h"
#include "proxy/map_policy.h"
#include "upstream/imap_auth_list.h"

enum { EXPANDED_MAX = 4096 }; /* octets of a value after its expansion */

const char map_unsupported[] = "is not supported by this build";

/* --- values in the map -------------------------------------------------------------------- */

/* Well-formed UTF-8 (RFC 3629 section 4): no overlong forms, no surrogates. */
bool map_is_utf8(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at) {
		unsigned more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
		unsigned least = more == 2 ? 0x800 : more == 3 ? 0x10000 : 0x80;
		unsigned code = more ? *at & (0x3fU >> more) : *at;
		if ((*at >= 0x80 && *at < 0xc2) || *at > 0xf4)
			return false;
		at++;
		for (unsigned i = 0; i < more; i++, at++) {
			if ((*at & 0xc0) != 0x80)
				return false;
			code = code << 6 | (*at & 0x3f);
		}
		if (more && (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
			return false;
	}
	return true;
}

static const char *expansion_refusal(enum map_expansion expansion, const char *value)
{
	const char *percent = strchr(value, '%');

	for (; percent; percent = strchr(percent + 1, '%')) {
		bool is_known = percent[1] && strchr("und", percent[1]);
		if (expansion == MAP_REFUSED)
			return "no % here: it names a secret, a command, a file or a part of the "
			       "configuration, which no client may choose";
		if (expansion == MAP_SECRET && is_known)
			return "%u, %n and %d are not expanded in a secret";
		if (expansion == MAP_EXPANDED && !is_known && percent[1] != '%')
			return "behind % stands one of u n d %";
		if (expansion == MAP_EXPANDED && percent[1] == '%')
			percent++;
	}
	return NULL;
}

static const char *upstream_refusal(const char *value)
{
	struct map_url url;
	const char *wrong = map_url_parse(value, &url);

	if (wrong)
		return wrong;
	if (url.store == MAP_STORE_IMAP && !map_is_utf8(url.rest))
		return "FOLDER is not UTF-8";
	wrong = expansion_refusal(MAP_EXPANDED, url.rest);
	if (wrong)
		return wrong;
	return url.store == MAP_STORE_MBOX ? map_unsupported : NULL;
}

static const char *pin_refusal(const char *value)
{
	unsigned char digest[64];
	size_t len = strlen(value);

	if (len == 7 + 44 && !strncmp(value, "sha256:", 7) &&
	    text_unbase64(digest, &len, value + 7, 44) && len == 32)
		return NULL;
	return "not sha256: and the base64 of 32 octets";
}

static const char *allow_refusal(const char *value)
{
	struct network_list list = {0};
	bool is_good = network_list_add(&list, value, strlen(value));

	network_list_fini(&list);
	return is_good ? NULL : "not a list of networks like 10.20.0.0/16,2001:db8::/32";
}

static const char *source_refusal(const char *value)
{
	unsigned char address[16];

	return inet_pton(AF_INET, value, address) == 1 || inet_pton(AF_INET6, value, address) == 1
		       ? NULL
		       : "not an address";
}

static const char *cred_refusal(const char *value)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._@:-";

	return *value != '.' && strspn(value, good) == strlen(value)
		       ? NULL
		       : "not the name of a credential";
}

static const char *profile_refusal(const char *value)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-";
	size_t len = strspn(value, good);

	return len && len <= 32 && !value[len] ? NULL : "not the name of an [oauth] section";
}

static const char *via_refusal(const char *value)
{
	return !strncmp(value, "socks5://", 9) || !strncmp(value, "http://", 7)
		       ? map_unsupported
		       : "neither socks5://HOST:PORT nor http://HOST:PORT";
}

static const char *password_refusal(const char *value)
{
	return text_same_n(value, strnlen(value, 7), "{plain}", 7) && value[7]
		       ? NULL
		       : "not {plain} and the password";
}

static const char *syntax_refusal(enum map_attribute attribute, const char *value)
{
	struct upstream_conf conf = {.ops = NULL};
	struct uidl_format uidl;

	switch (attribute) {
	case MAP_UPSTREAM:
		return upstream_refusal(value);
	case MAP_LOCAL:
		return local_value_refusal(value);
	case MAP_PASSWORD:
		return password_refusal(value);
	case MAP_PASSWORD_FILE:
	case MAP_PASSWORD_CMD:
	case MAP_CA:
	case MAP_CERT:
	case MAP_KEY:
		return *value == '/' ? NULL : "does not begin with /";
	case MAP_PASSWORD_CRED:
		return cred_refusal(value);
	case MAP_OAUTH:
		return profile_refusal(value);
	case MAP_ALLOW:
		return allow_refusal(value);
	case MAP_PIN:
		return pin_refusal(value);
	case MAP_AUTH:
		return imap_auth_refusal(value);
	case MAP_SOURCE:
		return source_refusal(value);
	case MAP_VIA:
		return via_refusal(value);
	case MAP_INSECURE:
		return strcmp(value, "yes") && strcmp(value, "no") ? "neither yes nor no" : NULL;
	default:
		return map_is_policy(attribute) ? map_policy_set(attribute, value, &conf, &uidl)
						: NULL;
	}
}

const char *map_value_refusal(enum map_attribute attribute, const char *value)
{
	enum map_expansion expansion = map_attribute_expansion(attribute);
	const char *wrong = *value ? NULL : "the value is empty";

	if (!wrong && attribute != MAP_UPSTREAM) /* which knows where they may stand */
		wrong = expansion_refusal(expansion, value);
	return wrong ? wrong : syntax_refusal(attribute, value);
}

/* --- for one name ------------------------------------------------------------------------- */

enum place { PLACE_TEXT, PLACE_LOGIN, PLACE_FOLDER, PLACE_PATH };

/* A POP3 name as expansions see it. */
struct subject {
	const char *name;
	size_t name_len, user_len; /* %u; %n */
	const char *domain;        /* %d */
	bool is_domain_free;       /* the client chose %d, and nothing proves it */
};

static const char *piece_refusal(const struct subject *subject, enum place place, char which,
				 const char *piece, size_t len)
{
	if (place == PLACE_TEXT)
		return NULL;
	if (which != 'n' && subject->is_domain_free)
		return "%u or %d, but the entry was found by the part before @: the domain is not "
		       "proved";
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)piece[i] < 0x20 || piece[i] == 0x7f)
			return "a control character in the name";
	if (place == PLACE_LOGIN)
		return NULL;
	if (!len)
		return "the name leaves a component empty";
	if (*piece == '.')
		return "a component would begin with a dot";
	if (memchr(piece, '/', len) || memchr(piece, '\\', len))
		return "a slash in the name";
	if (place == PLACE_FOLDER && (piece[len - 1] == '.' || memmem(piece, len, "..", 2)))
		return "dots in the name would change the hierarchy of folders";
	if (place == PLACE_FOLDER && (memchr(piece, '*', len) || memchr(piece, '%', len)))
		return "a wildcard in the name";
	return NULL;
}

/* Fills `out` with the expanded `template`; NULL, or why not (a literal). */
static const char *expand(const struct subject *subject, enum place place, const char *template,
			  struct buf *out)
{
	for (const char *at = template; *at;) {
		size_t len = strcspn(at, "%");
		const char *piece = at;
		at += len;
		if (!len) {
			char which = at[1];
			piece = which == 'd' ? subject->domain : which == '%' ? at : subject->name;
			len = which == 'd'   ? strlen(subject->domain)
			      : which == 'n' ? subject->user_len
			      : which == 'u' ? subject->name_len
					     : 1;
			const char *wrong =
				which == '%' ? NULL
					     : piece_refusal(subject, place, which, piece, len);
			if (wrong)
				return wrong;
			at += 2;
		}
		if (len && !buf_put(out, piece, len))
			return "longer than 4096 octets after expansion";
	}
	return buf_len(out) || place == PLACE_TEXT ? NULL : "empty after expansion";
}

/* A path's components are at most 255 octets, and none of them is "..": the latter for the case
 * that a dot of the map meets a dot of the name. */
static const char *path_refusal(const char *path)
{
	for (const char *at = path; *at; at += strcspn(at, "/")) {
		at += strspn(at, "/");
		size_t len = strcspn(at, "/");
		if (len > 255)
			return "a path component is longer than 255 octets";
		if (len == 2 && !memcmp(at, "..", 2))
			return "a path component would be \"..\"";
	}
	return NULL;
}

static const char *expand_dup(const struct subject *subject, enum place place, const char *template,
			      char **out)
{
	struct buf buf;

	buf_init(&buf, EXPANDED_MAX);
	const char *wrong = expand(subject, place, template, &buf);
	if (!wrong)
		*out = mem_dup(buf_data(&buf), buf_len(&buf));
	buf_fini(&buf);
	if (!wrong && place == PLACE_PATH)
		wrong = path_refusal(*out);
	if (!wrong && place == PLACE_FOLDER && !map_is_utf8(*out))
		wrong = "the folder is not UTF-8";
	return wrong;
}

/* Fills target->upstream; its strings go into strings[0..2]. */
static const char *target_upstream(const struct map_values *values, const struct subject *subject,
				   struct map_target *target)
{
	struct upstream_conf *conf = &target->upstream;
	const char *wrong;
	const char *login = values->of[MAP_LOGIN] ? values->of[MAP_LOGIN] : "%u";
	struct map_url url;

	wrong = map_url_parse(values->of[MAP_UPSTREAM], &url);
	if (wrong)
		return wrong;
	map_policy_init(conf);
	for (int i = 0; i < MAP_ATTRIBUTES && !wrong; i++)
		if (values->of[i] && map_is_policy((enum map_attribute)i))
			wrong = map_policy_set((enum map_attribute)i, values->of[i], conf,
					       &target->uidl);
	if (wrong)
		return wrong;
	if (url.store != MAP_STORE_IMAP) {
		conf->ops = &maildir_ops;
		wrong = expand_dup(subject, PLACE_PATH, url.rest, &target->strings[0]);
		conf->path = target->strings[0];
		return wrong;
	}
	conf->ops = &imap_ops;
	conf->host = target->strings[0] = mem_dup(url.host, url.host_len);
	conf->port = url.port;
	conf->tls = url.tls;
	conf->tls_policy = (struct tls_policy){
		.host = conf->host,
		.ca_file = values->of[MAP_CA],
		.pin = values->of[MAP_PIN],
		.cert_file = values->of[MAP_CERT],
		.key_file = values->of[MAP_KEY],
	};
	conf->auth = values->of[MAP_AUTH];
	conf->source = values->of[MAP_SOURCE];
	wrong = expand_dup(subject, PLACE_FOLDER, *url.rest ? url.rest : "INBOX",
			   &target->strings[1]);
	conf->folder = target->strings[1];
	/* One mailbox, one name (RFC 3501 section 5.1): locks, the choice of a worker and what stays
	 * open go by it. */
	if (!wrong && text_same(conf->folder, "INBOX"))
		conf->folder = "INBOX";
	if (!wrong)
		wrong = expand_dup(subject, PLACE_LOGIN, login, &target->strings[2]);
	target->login = target->strings[2];
	return wrong;
}

static void target_secrets(const struct map_values *values, struct map_target *target)
{
	const char *password = values->of[MAP_PASSWORD];

	target->is_passed_through = map_is_passed_through(values);
	target->password = password ? password + strlen("{plain}") : NULL;
	target->password_file = values->of[MAP_PASSWORD_FILE];
	target->password_cred = values->of[MAP_PASSWORD_CRED];
	target->password_cmd = values->of[MAP_PASSWORD_CMD];
	target->oauth = values->of[MAP_OAUTH];
	target->master = values->of[MAP_MASTER];
}

struct err map_target(const struct map *map, const struct map_entry *entry, const char *name,
		      struct notice *why, struct map_target *out)
{
	const char *at = strrchr(name, '@');
	size_t len = strlen(name);
	struct subject subject = {
		.name = name,
		.name_len = len,
		.user_len = at ? (size_t)(at - name) : len,
		.domain = at ? at + 1 : "",
	};
	struct map_values values;
	const char *wrong = NULL;

	*out = (struct map_target){0};
	map_values_of(map, entry, &values);
	target_secrets(&values, out);
	map_locals_of(map, entry, &out->locals);
	subject.is_domain_free = !out->is_passed_through && map_entry_is_exact(entry) &&
				 !text_same(entry->key, name);
	out->key = entry->key;
	out->listener = values.of[MAP_LISTENER];
	if (values.of[MAP_UPSTREAM])
		wrong = target_upstream(&values, &subject, out);
	if (!wrong && values.of[MAP_REJECT])
		wrong = expand_dup(&subject, PLACE_TEXT, values.of[MAP_REJECT], &out->strings[3]);
	out->reject = out->strings[3];
	const char *allow = values.of[MAP_ALLOW];
	if (!wrong && allow && !network_list_add(&out->allow, allow, strlen(allow)))
		wrong = "allow= is malformed";
	if (!wrong)
		return OK;
	snprintf(why->text, sizeof why->text, "%s", wrong);
	map_target_fini(out);
	return ERR(ERR_LOGIN, 0, "the name does not fit its map entry");
}

void map_target_fini(struct map_target *target)
{
	for (size_t i = 0; i < sizeof target->strings / sizeof *target->strings; i++)
		free(target->strings[i]);
	network_list_fini(&target->allow);
	*target = (struct map_target){0};
}
