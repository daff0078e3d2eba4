/* SPDX-License-Identifier: MIT */
/* t_map.c - the map: grammar, lookup, what is refused and why, and what a hostile name can do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "proxy/base/mem.h"
#include "proxy/map.h"

#define HASH "{yescrypt}$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC"
#define PIN "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

static struct map *parse(const char *text, struct faults *faults)
{
	return map_parse("f.map", text, strlen(text), faults);
}

static struct map *parse_good(const char *text)
{
	struct faults faults = {0};
	struct map *map = parse(text, &faults);

	faults_print(&faults, stderr);
	assert_non_null(map);
	return map;
}

/* --- grammar ------------------------------------------------------------------------------ */

static void assert_value(const struct map *map, const char *name, enum map_attribute attribute,
			 const char *want, int want_line)
{
	const struct map_entry *entry = map_find(map, name);
	const char *file = NULL;
	int line = 0;

	if (!entry)
		fail_msg("%s is not found", name);
	const char *value = map_value(map, entry, attribute, &file, &line);
	if (!value != !want || (want && strcmp(value, want) != 0))
		fail_msg("%s: %s=%s and not %s", name, map_attribute_name(attribute),
			 value ? value : "(unset)", want ? want : "(unset)");
	if (want) {
		assert_string_equal(file, "f.map");
		assert_int_equal(line, want_line);
	}
}

static void test_grammar(void **state)
{
	struct map *map = parse_good("\xef\xbb\xbf# comment\n"
				     "\n"
				     "%defaults delete=never seen=never\n"
				     "alice upstream=imaps://h # comment \"\n"
				     "  \n"
				     "# comment\n"
				     "\tlogin=\"a b\\\"c\\\\d\\e#f\"\r\n"
				     "   # comment\n"
				     "      ca=/x\\y delete=expunge\n"
				     "\n"
				     "%profile P listener=lan seen=on-quit delete=expunge\n"
				     "\"%odd name\"  upstream=\"imaps://h/My Folder\"\n"
				     "\"@home\" upstream=imaps://at-home\n"
				     "\"*\" upstream=imaps://star\n"
				     "Bob\tuse=p upstream=imaps://h\n"
				     "last upstream=imaps://h");

	(void)state;
	assert_int_equal(map_count(map), 6);
	assert_value(map, "alice", MAP_UPSTREAM, "imaps://h", 4);
	assert_value(map, "ALICE", MAP_LOGIN, "a b\"c\\d\\e#f", 7);
	assert_value(map, "alice", MAP_CA, "/x\\y", 9);
	assert_value(map, "alice", MAP_DELETE, "expunge", 9);
	assert_value(map, "alice", MAP_SEEN, "never", 3);
	assert_value(map, "alice", MAP_LISTENER, NULL, 0);
	assert_value(map, "@odd name", MAP_UPSTREAM, "imaps://h/My Folder", 12);
	assert_value(map, "@home", MAP_UPSTREAM, "imaps://at-home", 13);
	assert_null(map_find(map, "bob2@home")); /* quoted, it is a name and no domain */
	assert_value(map, "*", MAP_UPSTREAM, "imaps://star", 14);
	assert_null(map_find(map, "anyone")); /* likewise */
	assert_value(map, "bob", MAP_LISTENER, "lan", 11);
	assert_value(map, "bob", MAP_SEEN, "on-quit", 11);
	assert_value(map, "bob", MAP_UPSTREAM, "imaps://h", 15);
	assert_value(map, "last", MAP_UPSTREAM, "imaps://h", 16);
	map_release(map);
	map = parse_good("");
	assert_int_equal(map_count(map), 0);
	assert_null(map_find(map, "a@b"));
	map_release(map);
}

static void test_lookup(void **state)
{
	static const struct {
		const char *name, *host;
	} cases[] = {
		{"a@x.org", "exact"},   {"A@X.ORG", "exact"},    {"a", "part"},
		{"a@y.org", "part"},    {"a@z.org", "part"},     {"b@x.org", "domain"},
		{"b@X.Org", "domain"},  {"b@c@x.org", "domain"}, {"b@w.org", "any"},
		{"b", "any"},           {"x.org", "any"},        {"@x.org", "any"},
		{"b@sub.x.org", "any"},
	};
	struct map *map = parse_good("@X.org upstream=imaps://domain\n"
				     "* upstream=imaps://any\n"
				     "a upstream=imaps://part\n"
				     "a@x.org upstream=imaps://exact\n");

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct map_target target;
		struct notice why = {""};
		const struct map_entry *entry = map_find(map, cases[i].name);
		assert_non_null(entry);
		struct err err = map_target(map, entry, cases[i].name, &why, &target);
		assert_int_equal(err.kind, ERR_NONE);
		if (strcmp(target.upstream.host, cases[i].host) != 0)
			fail_msg("%s: %s", cases[i].name, target.upstream.host);
		map_target_fini(&target);
	}
	assert_true(map_entry_is_exact(map_find(map, "a@y.org")));
	assert_false(map_entry_is_exact(map_find(map, "b@x.org")));
	assert_string_equal(map_entry_key(map_find(map, "b@x.org")), "@x.org");
	map_release(map);
}

static void test_canonical(void **state)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{"Joe", "joe"},
		{"A@B", "a@b"},
		{"joe%Example.org", "joe@example.org"},
		{"a%b%c", "a%b@c"},
		{"a%b@c", "a%b@c"},
		{"", NULL},
		{"a\nb", NULL},
		{"a\x7f", NULL},
		{"\xc3\x84", "\xc3\x84"},
		{"../../etc/x", "../../etc/x"},
	};
	char name[257];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *got = map_canonical_dup(cases[i].name);
		if (!got != !cases[i].want || (got && strcmp(got, cases[i].want) != 0))
			fail_msg("%s: %s", cases[i].name, got ? got : "(refused)");
		free(got);
	}
	memset(name, 'a', sizeof name);
	name[256] = '\0';
	assert_null(map_canonical_dup(name));
	name[255] = '\0';
	free(map_canonical_dup(name));
	/* A key goes the same way. */
	struct map *map = parse_good("joe%example.org upstream=imaps://h\n");
	assert_non_null(map_find(map, "joe@example.org"));
	map_release(map);
}

/* --- errors ------------------------------------------------------------------------------- */

struct error_case {
	const char *text, *want;
};

static void assert_errors(const struct error_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct faults faults = {0};
		struct map *map = parse(cases[i].text, &faults);
		if (map || faults.count != 1 ||
		    strncmp(faults.lines[0], cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("%s: %zu faults, \"%s\" and not \"%s\"", cases[i].text,
				 faults.count, faults.count ? faults.lines[0] : "", cases[i].want);
		assert_null(strstr(faults.lines[0], "secret@"));
		faults_fini(&faults);
	}
}

static void test_lines(void **state)
{
	static const struct error_case cases[] = {
		{"  a=b\n", "f.map:1: begins with a blank"},
		{"# x\n\n \t upstream=x\n", "f.map:3: begins with a blank"},
		{"a upstream=imaps://h\nA upstream=imaps://h\n",
		 "f.map:2: a is given twice, first in f.map:1"},
		{"@d upstream=imaps://h\n@D upstream=imaps://h\n",
		 "f.map:2: @d is given twice, first in f.map:1"},
		{"* upstream=imaps://h\n* upstream=imaps://h\n",
		 "f.map:2: * is given twice, first in f.map:1"},
		{"%defaults seen=never\n%defaults seen=never\n",
		 "f.map:2: %defaults is given twice, first in f.map:1"},
		{"%profile p\n%profile P\n",
		 "f.map:2: %profile p is given twice, first in f.map:1"},
		{"%profile\n", "f.map:1: %profile: needs a word"},
		{"%profiles a\n", "f.map:1: unknown %profiles"},
		{"%include\n", "f.map:1: %include: needs a word"},
		{"%include /x\n", "f.map:1: %include: there are no files here"},
		{"a upstream=imaps://h lgin=x\n",
		 "f.map:1: unknown attribute \"lgin\": did you mean \"login\"?"},
		{"a upstream=imaps://h\n frobnicate=x\n",
		 "f.map:2: unknown attribute \"frobnicate\""},
		{"a upstream=imaps://h Login=x\n",
		 "f.map:1: unknown attribute \"Login\": did you mean \"login\"?"},
		{"a upstream=imaps://h login = x\n", "f.map:1: \"login\" is not attribute=value"},
		{"a upstream=imaps://h =x\n", "f.map:1: unknown attribute \"\""},
		{"a upstream=imaps://h login=x login=y\n", "f.map:1: login=: given twice"},
		{"a upstream=imaps://h login=\n", "f.map:1: login=: the value is empty"},
		{"a upstream=imaps://h login=a\"b\n", "f.map:1: login=: what holds a \""},
		{"a upstream=imaps://h login=a#b\n", "f.map:1: login=: what holds a \""},
		{"a upstream=imaps://h login=\"a\n", "f.map:1: login=: the closing quote"},
		{"a upstream=imaps://h login=\"a\\\"\n", "f.map:1: login=: the closing quote"},
		{"a upstream=imaps://h login=\"a\"b\n", "f.map:1: login=: something stands"},
		{"a upstream=imaps://h login=a\x01\n", "f.map:1: login=: a control character"},
		{"a upstream=imaps://h login=\"a\tb\"\n", "f.map:1: login=: a control character"},
		{"a\"b upstream=imaps://h\n", "f.map:1: the key: what holds"},
		{"\"\" upstream=imaps://h\n", "f.map:1: a key is 1 to 255"},
		{"@ upstream=imaps://h\n", "f.map:1: a key @domain has no domain"},
		{"a\n", "f.map:1: no upstream="},
		{"a use=q upstream=imaps://h\n%profile qq\n",
		 "f.map:1: use=q: there is no such %profile: did you mean \"qq\"?"},
		{"%profile p use=p\n", "f.map:1: use=p: belongs to a name"},
	};
	struct faults faults = {0};

	(void)state;
	assert_errors(cases, sizeof cases / sizeof *cases);
	/* A NUL ends nothing. */
	assert_null(map_parse("f.map", "a ca\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=/x\n", 42, &faults));
	assert_non_null(strstr(faults.lines[0], "f.map:1: unknown attribute \"ca?"));
	faults_fini(&faults);
	assert_null(map_parse("f.map", "a upstream=imaps://h login=a\0b\n", 31, &faults));
	assert_non_null(strstr(faults.lines[0], "f.map:1: login=: a control character"));
	faults_fini(&faults);
	/* All are told, and each only once. */
	assert_null(parse("a\nupstream=imaps://h\nb frob=1 seen=x\n login=\"\nc use=zz\n@d\n",
			  &faults));
	assert_int_equal(faults.count, 7);
	faults_fini(&faults);
}

static void test_values(void **state)
{
	static const struct error_case cases[] = {
		{"a upstream=pop3://h\n", "f.map:1: upstream=pop3://h: none of imaps://HOST"},
		{"a upstream=imaps://\n", "f.map:1: upstream=imaps://: HOST is missing"},
		{"a upstream=imaps:///x\n", "f.map:1: upstream=imaps:///x: HOST is missing"},
		{"a upstream=imaps://h:0\n", "f.map:1: upstream=imaps://h:0: PORT"},
		{"a upstream=imaps://h:65536\n", "f.map:1: upstream=imaps://h:65536: PORT"},
		{"a upstream=imaps://h:\n", "f.map:1: upstream=imaps://h:: PORT"},
		{"a upstream=imaps://[::1\n", "f.map:1: upstream=imaps://[::1: the ]"},
		{"a upstream=imaps://[::g]\n",
		 "f.map:1: upstream=imaps://[::g]: HOST is not an IPv6"},
		{"a upstream=imaps://[::1]x\n", "f.map:1: upstream=imaps://[::1]x: PORT"},
		{"a upstream=imaps://a_b$\n", "f.map:1: upstream=imaps://a_b$: HOST is not"},
		{"a upstream=imaps://joe:secret@h\n", "f.map:1: upstream=: a name in the URL"},
		{"* upstream=imaps://%d\n", "f.map:1: upstream=imaps://%d: no expansions in HOST"},
		{"* upstream=imaps://h.%d:993/x\n",
		 "f.map:1: upstream=imaps://h.%d:993/x: no expansions in HOST"},
		{"* upstream=imaps://h:%n\n",
		 "f.map:1: upstream=imaps://h:%n: no expansions in HOST"},
		{"a upstream=imaps://h/a%20b\n", "f.map:1: upstream=imaps://h/a%20b: behind %"},
		{"a upstream=imaps://h/a%\n", "f.map:1: upstream=imaps://h/a%: behind %"},
		{"a upstream=imaps://h/a//b\n",
		 "f.map:1: upstream=imaps://h/a//b: FOLDER has an empty"},
		{"a upstream=imaps://h/a/\n",
		 "f.map:1: upstream=imaps://h/a/: FOLDER has an empty"},
		{"a upstream=imaps://h//a\n",
		 "f.map:1: upstream=imaps://h//a: FOLDER has an empty"},
		{"a upstream=imaps://h/\xff\n",
		 "f.map:1: upstream=imaps://h/?: FOLDER is not UTF-8"},
		{"a upstream=imaps://h/\xc0\xaf\n",
		 "f.map:1: upstream=imaps://h/??: FOLDER is not UTF-8"},
		{"a upstream=imaps://h/\xed\xa0\x80\n",
		 "f.map:1: upstream=imaps://h/???: FOLDER is not UTF-8"},
		{"a upstream=maildir:x local=" HASH "\n", "f.map:1: upstream=maildir:x: PATH"},
		{"a upstream=imaps://h login=%x\n", "f.map:1: login=%x: behind %"},
		{"a upstream=imaps://h delete=NEVER\n", "f.map:1: delete=NEVER: none of"},
		{"a upstream=imaps://h delete=archive:\n", "f.map:1: delete=archive:: none of"},
		{"a upstream=imaps://h seen=yes\n", "f.map:1: seen=yes: none of"},
		{"a upstream=imaps://h order=up\n", "f.map:1: order=up: neither"},
		{"a upstream=imaps://h newest=0\n", "f.map:1: newest=0: not a number"},
		{"a upstream=imaps://h allow=10.1.1.1/8\n",
		 "f.map:1: allow=10.1.1.1/8: not a list"},
		{"a upstream=imaps://h source=lo\n", "f.map:1: source=lo: not an address"},
		{"a upstream=imaps://h pin=sha256:AAAA\n", "f.map:1: pin=sha256:AAAA: not sha256:"},
		{"a upstream=imaps://h ca=x.pem\n", "f.map:1: ca=x.pem: does not begin"},
		{"a upstream=imaps://h ca=/%u.pem\n", "f.map:1: ca=/%u.pem: no % here"},
		{"a upstream=imaps://h listener=%n\n", "f.map:1: listener=%n: no % here"},
		{"a upstream=imaps://h insecure=maybe\n", "f.map:1: insecure=maybe: neither"},
		{"a upstream=imaps://h via=ftp://x\n", "f.map:1: via=ftp://x: neither"},
		{"a upstream=imaps://h local={foo}x\n", "f.map:1: local=: not {yescrypt}"},
		{"a upstream=imaps://h local=secret\n", "f.map:1: local=: not {yescrypt}"},
		{"a upstream=imaps://h local={sha512-crypt}$y$x\n",
		 "f.map:1: local=: the value is not of"},
		{"a upstream=imaps://h local=" HASH " password=x\n",
		 "f.map:1: password=: not {plain}"},
		{"a upstream=imaps://h local=" HASH " password={plain}%u\n",
		 "f.map:1: password=: %u, %n and %d"},
		{"a upstream=imaps://h local=" HASH " password_file=/s/%u\n",
		 "f.map:1: password_file=/s/%u: no % here"},
		{"a upstream=imaps://h local=" HASH " password_cmd=\"/bin/get %n\"\n",
		 "f.map:1: password_cmd=/bin/get %n: no % here"},
		{"a upstream=imaps://h local=" HASH " password_cred=%d\n",
		 "f.map:1: password_cred=%d: no % here"},
		{"a upstream=imaps://h local=" HASH " password_cred=../x\n",
		 "f.map:1: password_cred=../x: not the name"},
	};

	(void)state;
	assert_errors(cases, sizeof cases / sizeof *cases);
}

static void test_unsupported(void **state)
{
	static const char *const cases[] = {
		"upstream=mbox:/var/mail/%n",
		"oauth=google",
		"delete=trash",
		"delete=flag",
		"delete=hide",
		"delete=archive:Old/%n",
		"seen=on-retr",
		"order=newest",
		"newest=100",
		"uidl=dovecot:%08Xu%08Xv",
		"uidl=gmail",
		"via=socks5://h:1080",
		"via=http://h:3128",
		"local={argon2id}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		char text[256], want[256];
		bool is_upstream = !strncmp(cases[i], "upstream", 8);
		snprintf(text, sizeof text, "a %s %s%s\n",
			 is_upstream ? "local=" HASH : "upstream=imaps://h", cases[i],
			 strchr(cases[i], '{') ? "$argon2id$v=19$hidden" : "");
		snprintf(want, sizeof want, "f.map:1: %s is not supported by this build", cases[i]);
		assert_null(parse(text, &faults));
		assert_int_equal(faults.count, 1);
		assert_string_equal(faults.lines[0], want);
		faults_fini(&faults);
	}
}

static void test_proof(void **state)
{
	static const struct {
		const char *entry, *want; /* NULL: good */
	} cases[] = {
		{"a upstream=imaps://h", NULL},
		{"a upstream=imaps://h password_file=/x", "without local=: anyone"},
		{"a upstream=imaps://h password={plain}x", "without local=: anyone"},
		{"a upstream=imaps://h password_cmd=/x", "without local=: anyone"},
		{"a upstream=imaps://h password_cred=x", "without local=: anyone"},
		{"a upstream=imaps://h local=" HASH, "without a secret for the upstream"},
		{"a upstream=imaps://h local=" HASH " password_cred=x", NULL},
		{"a upstream=imaps://h local=" HASH " password_cred=x password_file=/x",
		 "which one is it?"},
		{"a upstream=maildir:/x", "a local store without local="},
		{"a upstream=maildir:/x local=" HASH, NULL},
		{"a upstream=imap://h", "in clear"},
		{"a upstream=imap://h insecure=no", "in clear"},
		{"a upstream=imap://h insecure=yes", NULL},
		{"a upstream=imap://localhost", NULL},
		{"a upstream=imap://127.3.2.1:1143", NULL},
		{"a upstream=imap://[::1]", NULL},
		{"a upstream=imap://localhost.example", "in clear"},
		{"a upstream=imap://127.0.0.1.example", "in clear"},
		{"a upstream=imap+starttls://h", NULL},
		{"a reject=\"moved away\"", NULL},
		{"@a reject=x", "exact keys only"},
		{"* upstream=imaps://h reject=x", "exact keys only"},
		/* What stands in a profile or in the defaults counts alike. */
		{"%profile p password_file=/x\na upstream=imaps://h use=p",
		 "without local=: anyone"},
		{"%defaults local=" HASH "\na upstream=imaps://h", "without a secret"},
		{"%defaults upstream=maildir:/x/%n\n* seen=never", "a local store without local="},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		struct map *map = parse(cases[i].entry, &faults);
		const char *got = faults.count ? faults.lines[0] : "";
		if (!map != (cases[i].want != NULL) ||
		    (cases[i].want && !strstr(got, cases[i].want)))
			fail_msg("%s: %s", cases[i].entry, got);
		map_release(map);
		faults_fini(&faults);
	}
}

/* --- targets ------------------------------------------------------------------------------ */

static void test_target(void **state)
{
	struct map *map = parse_good(
		"%defaults delete=never seen=never\n"
		"* upstream=\"imap+starttls://mail.example.org/My Scans/\\Weg\" login=%n+%d%%\n"
		"joe@x upstream=imaps://[2001:db8::1]:1993 local=" HASH " password={plain}p%w "
		"allow=10.0.0.0/8 listener=lan ca=/ca.pem pin=" PIN " source=192.0.2.1 "
		"delete=expunge seen=on-quit\n"
		"gone reject=\"%u has 100%% moved\"\n"
		"m upstream=maildir:/var/mail/%d/%n/Maildir local=" HASH "\n"
		"m@y upstream=maildir:/var/mail/%d/%n/Maildir local=" HASH "\n");
	struct map_target target;
	struct notice why = {""};

	(void)state;
	assert_int_equal(map_target(map, map_find(map, "a@b@c"), "a@b@c", &why, &target).kind, 0);
	assert_ptr_equal(target.upstream.ops, &imap_ops);
	assert_string_equal(target.upstream.host, "mail.example.org");
	assert_int_equal(target.upstream.port, 143);
	assert_int_equal(target.upstream.tls, UPSTREAM_STARTTLS);
	assert_string_equal(target.upstream.tls_policy.host, "mail.example.org");
	assert_string_equal(target.upstream.folder, "My Scans/\\Weg");
	assert_string_equal(target.login, "a@b+c%");
	assert_int_equal(target.upstream.delete_policy, DELETE_NEVER);
	assert_int_equal(target.upstream.seen_policy, SEEN_NEVER);
	assert_null(target.local);
	assert_int_equal(target.allow.count, 0);
	map_target_fini(&target);

	assert_int_equal(map_target(map, map_find(map, "joe@x"), "joe@x", &why, &target).kind, 0);
	assert_string_equal(target.upstream.host, "2001:db8::1");
	assert_int_equal(target.upstream.port, 1993);
	assert_int_equal(target.upstream.tls, UPSTREAM_TLS);
	assert_string_equal(target.upstream.folder, "INBOX");
	assert_string_equal(target.login, "joe@x");
	assert_string_equal(target.password, "p%w");
	assert_string_equal(target.local, HASH);
	assert_string_equal(target.listener, "lan");
	assert_string_equal(target.upstream.tls_policy.ca_file, "/ca.pem");
	assert_string_equal(target.upstream.tls_policy.pin, PIN);
	assert_string_equal(target.upstream.source, "192.0.2.1");
	assert_int_equal(target.upstream.delete_policy, DELETE_EXPUNGE);
	assert_int_equal(target.upstream.seen_policy, SEEN_ON_QUIT);
	assert_int_equal(target.allow.count, 1);
	map_target_fini(&target);

	assert_int_equal(map_target(map, map_find(map, "gone"), "gone", &why, &target).kind, 0);
	assert_string_equal(target.reject, "gone has 100% moved");
	assert_null(target.upstream.ops);
	map_target_fini(&target);

	assert_int_equal(map_target(map, map_find(map, "m@y"), "m@y", &why, &target).kind, 0);
	assert_ptr_equal(target.upstream.ops, &maildir_ops);
	assert_string_equal(target.upstream.path, "/var/mail/y/m/Maildir");
	assert_null(target.login);
	map_target_fini(&target);
	map_release(map);
}

/* The defaults where the map says nothing. */
static void test_target_defaults(void **state)
{
	struct map *map = parse_good("a upstream=imaps://h/\n");
	struct map_target target;
	struct notice why = {""};

	(void)state;
	assert_int_equal(map_target(map, map_find(map, "a"), "a", &why, &target).kind, 0);
	assert_int_equal(target.upstream.port, 993);
	assert_string_equal(target.upstream.folder, "INBOX");
	assert_string_equal(target.login, "a");
	assert_int_equal(target.upstream.delete_policy, DELETE_EXPUNGE);
	assert_int_equal(target.upstream.seen_policy, SEEN_ON_QUIT);
	map_target_fini(&target);
	map_release(map);
}

static void test_hostile_names(void **state)
{
	static const struct {
		const char *entry, *name, *want; /* the path or folder; NULL: refused */
	} cases[] = {
		{"* upstream=maildir:/m/%n local=" HASH, "joe", "/m/joe"},
		{"* upstream=maildir:/m/%n local=" HASH, "../joe", NULL},
		{"* upstream=maildir:/m/%n local=" HASH, "a/b", NULL},
		{"* upstream=maildir:/m/%n local=" HASH, "a\\b", NULL},
		{"* upstream=maildir:/m/%n local=" HASH, "..", NULL},
		{"* upstream=maildir:/m/%n local=" HASH, ".hidden", NULL},
		{"* upstream=maildir:/m/%n local=" HASH, "@x", NULL},
		{"* upstream=maildir:/m/%d local=" HASH, "joe", NULL},
		{"* upstream=maildir:/m/%d/%n local=" HASH, "joe@../..", NULL},
		{"* upstream=maildir:/m/%d/%n local=" HASH, "joe@..", NULL},
		{"* upstream=maildir:/m/%u local=" HASH, "joe@x.org", "/m/joe@x.org"},
		{"* upstream=maildir:/m/.%n local=" HASH, ".", NULL},
		{"* upstream=maildir:/m/%n.%n local=" HASH, "j.r", "/m/j.r.j.r"},
		{"* upstream=imaps://h/Shared/%n", "j.r", "Shared/j.r"},
		{"* upstream=imaps://h/Shared/%u", "j@x.org", "Shared/j@x.org"},
		{"* upstream=imaps://h/Shared/%n", "a/b", NULL},
		{"* upstream=imaps://h/Shared/%n", "a..b", NULL},
		{"* upstream=imaps://h/Shared/%n", "b.", NULL},
		{"* upstream=imaps://h/Shared/%n", ".b", NULL},
		{"* upstream=imaps://h/Shared/%n", "*", NULL},
		{"* upstream=imaps://h/Shared/%n", "a%@x", NULL},
		{"* upstream=imaps://h/%n", "\\Trash", NULL},
		{"* upstream=imaps://h/%n", "\xff", NULL},
		/* bob proved that he is bob, not that he is of x. */
		{"bob upstream=maildir:/m/%n local=" HASH, "bob@x", "/m/bob"},
		{"bob upstream=maildir:/m/%u local=" HASH, "bob", "/m/bob"},
		{"bob upstream=maildir:/m/%u local=" HASH, "bob@x", NULL},
		{"bob upstream=maildir:/m/%d/%n local=" HASH, "bob@x", NULL},
		{"bob upstream=imaps://h/%d local=" HASH " login=b password_cred=c", "bob@x", NULL},
		{"bob upstream=imaps://h local=" HASH " login=b password_cred=c", "bob@x", "INBOX"},
		{"bob upstream=imaps://h local=" HASH " login=%u password_cred=c", "bob@x", NULL},
		{"bob upstream=imaps://h local=" HASH " password_cred=c", "bob@x", NULL},
		{"bob upstream=imaps://h/%d", "bob@x", "x"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct map *map = parse_good(cases[i].entry);
		struct map_target target;
		struct notice why = {""};
		struct err err =
			map_target(map, map_find(map, cases[i].name), cases[i].name, &why, &target);
		const char *got = err.kind               ? NULL
				  : target.upstream.path ? target.upstream.path
							 : target.upstream.folder;
		if (!got != !cases[i].want || (got && strcmp(got, cases[i].want) != 0))
			fail_msg("%s, %s: %s", cases[i].entry, cases[i].name, got ? got : why.text);
		if (err.kind) {
			assert_int_equal(err.kind, ERR_LOGIN);
			assert_true(*why.text);
		} else {
			map_target_fini(&target);
		}
		map_release(map);
	}
}

static void test_long(void **state)
{
	char name[256], text[8300];
	struct map_target target;
	struct notice why = {""};

	(void)state;
	/* An expansion has a ceiling: 40 times 255 octets are too many. */
	strcpy(text, "* upstream=imaps://h login=");
	for (int i = 0; i < 40; i++)
		strcat(text, "%u");
	struct map *map = parse_good(text);
	memset(name, 'a', 255);
	name[255] = '\0';
	assert_int_equal(map_target(map, map_find(map, name), name, &why, &target).kind, ERR_LOGIN);
	map_release(map);
	/* So has a component of a path. */
	map = parse_good("* upstream=maildir:/m/%n%n local=" HASH);
	assert_int_equal(map_target(map, map_find(map, name), name, &why, &target).kind, ERR_LOGIN);
	map_release(map);
}

static void test_url(void **state)
{
	struct faults faults = {0};
	struct map_target target;
	struct notice why = {""};
	struct map *map = map_from_url("imaps://h/a \"b\\c", &faults);

	(void)state;
	assert_non_null(map);
	assert_int_equal(map_target(map, map_find(map, "x@y"), "x@y", &why, &target).kind, 0);
	assert_string_equal(target.upstream.folder, "a \"b\\c");
	assert_string_equal(target.login, "x@y");
	assert_null(target.local);
	map_target_fini(&target);
	map_release(map);
	assert_null(map_from_url("imap://mail.example.org", &faults));
	assert_null(map_from_url("maildir:/x", &faults));
	assert_null(map_from_url("imaps://h\nb upstream=x", &faults));
	assert_null(map_from_url("", &faults));
	for (size_t i = 0; i < faults.count; i++)
		assert_int_equal(strncmp(faults.lines[i], "URL: ", 5), 0);
	assert_true(faults.count >= 4);
	faults_fini(&faults);
}

static void visit(void *arg, const char *value, const char *file, int line)
{
	char *seen = arg;

	(void)file;
	sprintf(seen + strlen(seen), "%s:%d ", value, line);
}

static void test_each(void **state)
{
	char seen[64] = "";
	struct map *map = parse_good("%defaults listener=a\n%profile p listener=b\n"
				     "x upstream=imaps://h listener=c\ny upstream=imaps://h\n");

	(void)state;
	map_each(map, MAP_LISTENER, visit, seen);
	assert_string_equal(seen, "a:1 b:2 c:3 ");
	assert_int_equal(map_file_count(map), 1);
	assert_ptr_equal(map_hold(map), map);
	map_release(map);
	assert_int_equal(map_count(map), 2); /* one holder is left */
	map_release(map);
	map_release(NULL);
}

/* --- files -------------------------------------------------------------------------------- */

static void put(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *to = fopen(path, "w");
	assert_non_null(to);
	fputs(text, to);
	fclose(to);
	assert_int_equal(chmod(path, mode), 0);
}

static struct map *load(const char *dir, struct faults *faults)
{
	char path[256];

	snprintf(path, sizeof path, "%s/map", dir);
	return map_load(path, faults);
}

static void assert_load(const char *dir, const char *want)
{
	struct faults faults = {0};
	struct map *map = load(dir, &faults);

	if (!map != (want != NULL) ||
	    (want && (faults.count != 1 || !strstr(faults.lines[0], want))))
		fail_msg("\"%s\" and not \"%s\"", faults.count ? faults.lines[0] : "", want);
	map_release(map);
	faults_fini(&faults);
}

static void test_permissions(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		const char *want;
	} cases[] = {
		{"a upstream=imaps://h\n", 0644, NULL},
		{"a upstream=imaps://h\n", 0664, "group or others may write"},
		{"a upstream=imaps://h\n", 0602, "group or others may write"},
		{"a upstream=maildir:/m local=" HASH "\n", 0644, NULL},
		{"a upstream=maildir:/m local={plain}x\n", 0644, "holds a secret"},
		{"a upstream=maildir:/m local={PLAIN}x\n", 0604, "holds a secret"},
		{"a upstream=maildir:/m local={plain}x\n", 0640, NULL},
		{"a upstream=imaps://h local=" HASH " password={plain}x\n", 0644, "holds a secret"},
		{"a upstream=imaps://h local=" HASH " password={plain}x\n", 0600, NULL},
	};
	char dir[] = "/tmp/t_map.XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		put(dir, "map", cases[i].text, cases[i].mode);
		assert_load(dir, cases[i].want);
	}
	/* An include is a map like any other. */
	put(dir, "map", "%include \"more\"\n", 0644);
	put(dir, "more", "a upstream=maildir:/m local={plain}x\n", 0644);
	assert_load(dir, "/more: holds a secret");
	put(dir, "more", "a upstream=maildir:/m local={plain}x\n", 0640);
	assert_load(dir, NULL);
	snprintf(path, sizeof path, "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

static void test_includes(void **state)
{
	char dir[] = "/tmp/t_map.XXXXXX", path[64], text[128];
	struct faults faults = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/map.d", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	put(dir, "map", "%include map.d/*.map\na use=p\n%include none.d/*.map\n", 0644);
	put(dir, "map.d/2.map", "b use=p\n", 0644);
	put(dir, "map.d/1.map", "%profile p upstream=imaps://h\n%include ../other\n", 0644);
	put(dir, "map.d/3.not", "x\n", 0644);
	put(dir, "other", "c use=p\n", 0644);
	struct map *map = load(dir, &faults);
	faults_print(&faults, stderr);
	assert_non_null(map);
	assert_int_equal(map_count(map), 3);
	assert_int_equal(map_file_count(map), 4);
	const char *file;
	int line;
	map_entry_place(map, map_find(map, "b"), &file, &line);
	assert_non_null(strstr(file, "map.d/2.map"));
	assert_int_equal(line, 1);
	map_release(map);

	/* A key given twice names both places, also across files. */
	put(dir, "other", "\nb use=p\n", 0644);
	assert_null(load(dir, &faults));
	snprintf(text, sizeof text, "map.d/2.map:1: b is given twice, first in %s/map.d/../other:2",
		 dir);
	assert_non_null(strstr(faults.lines[0], text));
	faults_fini(&faults);

	put(dir, "other", "%include map\n", 0644);
	assert_load(dir, "map includes itself");
	put(dir, "other", "%include nowhere\n", 0644);
	assert_load(dir, "nowhere: no such file");
	put(dir, "other", "%include map.d\n", 0644);
	assert_load(dir, "not a regular file");
	put(dir, "other", "%include a b\n", 0644);
	assert_null(load(dir, &faults));
	faults_fini(&faults);
	/* A chain that is too long. */
	for (int i = 0; i < 12; i++) {
		snprintf(path, sizeof path, "c%d", i);
		snprintf(text, sizeof text, "%%include c%d\n", i + 1);
		put(dir, path, text, 0644);
	}
	put(dir, "other", "%include c0\n", 0644);
	put(dir, "map", "%include other\n", 0644);
	assert_load(dir, "is included too deeply");
	snprintf(path, sizeof path, "rm -r %s", dir);
	assert_int_equal(system(path), 0);
	assert_null(load(dir, &faults));
	assert_non_null(strstr(faults.lines[0], "/map: No such file"));
	faults_fini(&faults);
}

/* Enough entries that the table grows, and one more than a line of 64 KiB. */
static void test_many(void **state)
{
	enum { MANY = 5000 };
	char *text = mem_alloc(MANY * 64 + 70000), name[32];
	size_t len = 0;

	(void)state;
	for (int i = 0; i < MANY; i++)
		len += (size_t)sprintf(text + len, "user%d upstream=imaps://h%d\n", i, i);
	len += (size_t)sprintf(text + len, "long upstream=imaps://h login=");
	memset(text + len, 'x', 66000);
	struct faults faults = {0};
	struct map *map = map_parse("f.map", text, len + 66000, &faults);
	assert_non_null(map);
	assert_int_equal(map_count(map), MANY + 1);
	for (int i = 0; i < MANY; i++) {
		sprintf(name, "USER%d", i);
		const struct map_entry *entry = map_find(map, name);
		assert_non_null(entry);
		sprintf(name, "imaps://h%d", i);
		assert_string_equal(map_value(map, entry, MAP_UPSTREAM, NULL, NULL), name);
	}
	assert_null(map_find(map, "user5000"));
	assert_int_equal(strlen(map_value(map, map_find(map, "long"), MAP_LOGIN, NULL, NULL)),
			 66000);
	map_release(map);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_proof),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_target_defaults),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_permissions),
		cmocka_unit_test(test_includes),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
