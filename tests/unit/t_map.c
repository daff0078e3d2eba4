/* SPDX-License-Identifier: MIT */
/* t_map.c - the map: grammar, lookup, what is refused and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/map.h"

#define HASH "{yescrypt}$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC"

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
	assert_value(map, "%odd name", MAP_UPSTREAM, "imaps://h/My Folder", 12);
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
		{"%odd", "%odd"},
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
		{"a upstream=imaps://h auth=ntlm\n", "f.map:1: auth=ntlm: not a list of external"},
		{"a upstream=imaps://h auth=plain,%u\n", "f.map:1: auth=plain,%u: no % here"},
		{"a upstream=imaps://h cert=x.pem\n", "f.map:1: cert=x.pem: does not begin"},
		{"a upstream=imaps://h key=/%n\n", "f.map:1: key=/%n: no % here"},
		{"a upstream=imaps://h master=%d\n", "f.map:1: master=%d: no % here"},
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
		{"a upstream=imaps://h local=" HASH " oauth=../x\n",
		 "f.map:1: oauth=../x: not the name of an [oauth] section"},
		{"a upstream=imaps://h local=" HASH " oauth=%d\n", "f.map:1: oauth=%d: no % here"},
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
		"via=socks5://h:1080",
		"via=http://h:3128",
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		char text[256], want[256];
		bool is_upstream = !strncmp(cases[i], "upstream", 8);
		snprintf(text, sizeof text, "a %s %s\n",
			 is_upstream ? "local=" HASH : "upstream=imaps://h", cases[i]);
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
		{"a upstream=imaps://h oauth=g", "without local=: anyone"},
		{"a upstream=imaps://h local=" HASH " oauth=g password_file=/x",
		 "which one is it?"},
		{"a upstream=imaps://h password_file=/x", "without local=: anyone"},
		{"a upstream=imaps://h password={plain}x", "without local=: anyone"},
		{"a upstream=imaps://h password_cmd=/x", "without local=: anyone"},
		{"a upstream=imaps://h password_cred=x", "without local=: anyone"},
		{"a upstream=imaps://h local=" HASH, "without a secret for the upstream"},
		{"a upstream=imaps://h local=" HASH " password_cred=x", NULL},
		{"a upstream=imaps://h local=" HASH " password_cred=x password_file=/x",
		 "which one is it?"},
		{"a upstream=maildir:/x", "a local store without local="},
		{"a upstream=maildir:/x local=" HASH " oauth=g", "oauth= is for IMAP upstreams"},
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

/* J-08, J-11: with what popgate proves itself upstream. */
static void test_auth(void **state)
{
#define STORED "a upstream=imaps://h local=" HASH " password_file=/x "
#define BARE "a upstream=imaps://h local=" HASH " "
	static const struct {
		const char *entry, *want; /* NULL: good */
	} cases[] = {
		{"a upstream=imaps://h auth=plain,scram-sha-256", NULL},
		{STORED "auth=SCRAM-SHA-256", NULL},
		{STORED "auth=xoauth2", "no mechanism that takes a password"},
		{STORED "auth=external,plain", "auth=external needs cert="},
		{STORED "cert=/c", "cert= without key="},
		{STORED "key=/k", "key= without cert="},
		{STORED "cert=/c key=/k", NULL},
		{STORED "cert=/c key=/k auth=external,plain", NULL},
		{BARE "cert=/c key=/k", "without a secret for the upstream"},
		{BARE "cert=/c key=/k auth=external", NULL},
		{BARE "auth=external", "auth=external needs cert="},
		{"a upstream=imap://localhost local=" HASH " cert=/c key=/k auth=external",
		 "auth=external needs cert=, key= and TLS"},
		{"a upstream=imaps://h cert=/c key=/k", NULL}, /* and the client's password */
		{"a upstream=imaps://h cert=/c key=/k auth=external", "without local=: popgate"},
		{STORED "master=boss", NULL},
		{STORED "master=boss auth=plain", NULL},
		{STORED "master=boss auth=login", "master= needs plain or"},
		{BARE "master=boss cert=/c key=/k auth=external", "master= needs local= and"},
		{BARE "master=boss oauth=g", "master= needs local= and"},
		{"a upstream=imaps://h master=boss", "master= needs local= and"},
		{BARE "oauth=g auth=oauthbearer", NULL},
		{BARE "oauth=g auth=plain", "oauth= needs xoauth2 or"},
		{"%defaults auth=login master=x\na upstream=maildir:/m local=" HASH, NULL},
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar),   cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_canonical), cmocka_unit_test(test_lines),
		cmocka_unit_test(test_values),    cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_proof),     cmocka_unit_test(test_auth),
	};

	return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
