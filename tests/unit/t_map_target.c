/* SPDX-License-Identifier: MIT */
/* t_map_target.c - what a map gives for a name, what a hostile name can do, and files: permissions
 * and includes. */
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

/* --- targets ------------------------------------------------------------------------------ */

static void test_target(void **state)
{
	struct map *map = parse_good(
		"%defaults delete=never seen=never\n"
		"* upstream=\"imap+starttls://mail.example.org/My Scans/\\Weg\" login=%n+%d%%\n"
		"joe@x upstream=imaps://[2001:db8::1]:1993 local=" HASH " password={plain}p%w "
		"allow=10.0.0.0/8 listener=lan ca=/ca.pem pin=" PIN " source=192.0.2.1 "
		"delete=expunge seen=on-quit auth=plain cert=/c.pem key=/k.pem master=boss\n"
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
	assert_int_equal(target.locals.count, 0);
	assert_int_equal(target.allow.count, 0);
	map_target_fini(&target);

	assert_int_equal(map_target(map, map_find(map, "joe@x"), "joe@x", &why, &target).kind, 0);
	assert_string_equal(target.upstream.host, "2001:db8::1");
	assert_int_equal(target.upstream.port, 1993);
	assert_int_equal(target.upstream.tls, UPSTREAM_TLS);
	assert_string_equal(target.upstream.folder, "INBOX");
	assert_string_equal(target.login, "joe@x");
	assert_string_equal(target.password, "p%w");
	assert_string_equal(target.locals.value[0], HASH);
	assert_string_equal(target.listener, "lan");
	assert_string_equal(target.upstream.tls_policy.ca_file, "/ca.pem");
	assert_string_equal(target.upstream.tls_policy.cert_file, "/c.pem");
	assert_string_equal(target.upstream.tls_policy.key_file, "/k.pem");
	assert_string_equal(target.upstream.auth, "plain");
	assert_string_equal(target.master, "boss");
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
	assert_int_equal(target.upstream.delete_policy, DELETE_DEFAULT);
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
		/* that one has no case */
		{"bob upstream=imaps://h/iNbox local=" HASH " login=b password_cred=c", "bob",
		 "INBOX"},
		{"* upstream=imaps://h/%n local=" HASH " login=b password_cred=c", "inbox",
		 "INBOX"},
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
	assert_int_equal(target.locals.count, 0);
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
	return map_load(path, false, faults);
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
		cmocka_unit_test(test_target),        cmocka_unit_test(test_target_defaults),
		cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_long),
		cmocka_unit_test(test_url),           cmocka_unit_test(test_each),
		cmocka_unit_test(test_permissions),   cmocka_unit_test(test_includes),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests_name("map_target", tests, NULL, NULL);
}
