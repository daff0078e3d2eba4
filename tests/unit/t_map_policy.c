/* SPDX-License-Identifier: MIT */
/* t_map_policy.c - the attributes that say what becomes of mail: what they mean, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/map.h"
#include "proxy/map_policy.h"
#include "upstream/imap_quirks.h"

#define IMAP "a upstream=imaps://h "
#define HASH "{plain}x"

static struct map *parse(const char *text, struct faults *faults)
{
	return map_parse("f.map", text, strlen(text), faults);
}

/* What the session of name "a" gets. */
static void target(const char *text, struct map **map, struct map_target *out)
{
	struct faults faults = {0};
	struct notice why = {""};

	*map = parse(text, &faults);
	if (!*map)
		fail_msg("%s: %s", text, faults.lines[0]);
	struct err err = map_target(*map, map_find(*map, "a"), "a", &why, out);
	assert_int_equal(err.kind, ERR_NONE);
	faults_fini(&faults);
}

static void test_defaults(void **state)
{
	struct map_target out;
	struct map *map;

	(void)state;
	target("a upstream=imaps://h", &map, &out);
	assert_int_equal(out.upstream.delete_policy, DELETE_DEFAULT);
	assert_int_equal(out.upstream.seen_policy, SEEN_ON_QUIT);
	assert_int_equal(out.upstream.poison_policy, POISON_PLACEHOLDER);
	assert_int_equal(out.upstream.uidvalidity_policy, UIDVALIDITY_MATCH);
	assert_true(out.upstream.delete_after_s == DELETE_AFTER_NEVER);
	assert_null(out.upstream.archive);
	assert_null(out.upstream.uidl);
	assert_null(out.upstream.quirks);
	assert_int_equal(out.upstream.keep_newest + out.upstream.newest, 0);
	assert_false(out.upstream.newest_first || out.upstream.measure_sizes ||
		     out.upstream.is_shared || out.upstream.may_create);
	map_target_fini(&out);
	map_release(map);
}

static void test_words(void **state)
{
	static const struct {
		const char *value;
		enum delete_policy policy;
	} deletes[] = {
		{"expunge", DELETE_EXPUNGE},
		{"trash", DELETE_TRASH},
		{"archive:Old/Üb", DELETE_ARCHIVE},
		{"flag", DELETE_FLAG},
		{"hide", DELETE_HIDE},
		{"never", DELETE_NEVER},
	};
	struct map_target out;
	struct map *map;
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof deletes / sizeof *deletes; i++) {
		snprintf(text, sizeof text, IMAP "delete=%s", deletes[i].value);
		target(text, &map, &out);
		assert_int_equal(out.upstream.delete_policy, deletes[i].policy);
		if (deletes[i].policy == DELETE_ARCHIVE)
			assert_string_equal(out.upstream.archive, "Old/Üb");
		map_target_fini(&out);
		map_release(map);
	}
	target("%profile p seen=never order=newest lock=shared\n"
	       "%defaults seen=on-retr newest=7 delete_after=2w\n" IMAP
	       "use=p keep_newest=3 sizes=exact create=yes uidvalidity=refuse poison=error "
	       "quirks=gmail uidl=gmail connections=7",
	       &map, &out);
	assert_int_equal(out.upstream.seen_policy, SEEN_NEVER);
	assert_true(out.upstream.newest_first && out.upstream.is_shared);
	assert_int_equal(out.upstream.newest, 7);
	assert_int_equal(out.upstream.delete_after_s, 14 * 86400);
	assert_int_equal(out.upstream.keep_newest, 3);
	assert_true(out.upstream.measure_sizes && out.upstream.may_create);
	assert_int_equal(out.upstream.uidvalidity_policy, UIDVALIDITY_REFUSE);
	assert_int_equal(out.upstream.poison_policy, POISON_ERROR);
	assert_string_equal(out.upstream.quirks->name, "gmail");
	assert_int_equal(out.upstream.connections, 7);
	assert_ptr_equal(out.upstream.uidl, &out.uidl);
	assert_true(out.uidl.needs_gm_msgid);
	map_target_fini(&out);
	map_release(map);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *entry, *want; /* NULL: good */
	} cases[] = {
		{IMAP "delete=gone", "none of expunge, trash, archive:FOLDER, flag, hide, never"},
		{IMAP "delete=archive", "none of expunge"},
		{IMAP "delete=archive:", "none of expunge"},
		{IMAP "delete=archive:\xff", "FOLDER is not UTF-8"},
		{IMAP "seen=always", "none of never, on-retr, on-quit"},
		{IMAP "order=random", "neither oldest nor newest"},
		{IMAP "newest=0", "not a number of messages"},
		{IMAP "newest=-1", "not a number of messages"},
		{IMAP "keep_newest=x", "not a number of messages"},
		{IMAP "keep_newest=10000001", "not a number of messages"},
		{IMAP "delete_after=14days", "not a time"},
		{IMAP "delete_after=d", "not a time"},
		{IMAP "delete_after=3651d", "not a time"},
		{IMAP "delete_after=3650d", NULL},
		{IMAP "sizes=guess", "neither hint nor exact"},
		{IMAP "lock=none", "neither exclusive nor shared"},
		{IMAP "create=maybe", "neither yes nor no"},
		{IMAP "no_uidplus=expunge", "neither flag-only nor unflag-restore"},
		{"a upstream=maildir:/x local=" HASH " no_uidplus=flag-only", "is for IMAP"},
		{IMAP "uidvalidity=x", "none of match, new-ids, refuse"},
		{IMAP "poison=x", "none of placeholder, hide, error"},
		{IMAP "quirks=frob", "no such row of quirks"},
		{IMAP "connections=0", "not a number of connections"},
		{IMAP "connections=100001", "not a number of connections"},
		{IMAP "connections=many", "not a number of connections"},
		{IMAP "uidl=frob", ""},
		{IMAP "delete=never delete_after=0", "beside delete=never"},
		{IMAP "delete=never keep_newest=1", "beside delete=never"},
		/* The source is the target (D-13). */
		{IMAP "delete=archive:inbox", "the folder that they are in"},
		{"a upstream=imaps://h/Old delete=archive:Old", "the folder that they are in"},
		{"a upstream=imaps://h/Old delete=archive:old", NULL},
		{"a upstream=imaps://h/\\Trash delete=trash", "the folder that they are in"},
		{"a upstream=imaps://h/\\Trash delete=expunge", NULL},
		/* What only an IMAP server has. */
		{"a upstream=maildir:/x local=" HASH " sizes=exact", "are always exact"},
		{"a upstream=maildir:/x local=" HASH " poison=hide", "poison= is for IMAP"},
		{"a upstream=maildir:/x local=" HASH " quirks=uw", "quirks= is for IMAP"},
		{"a upstream=maildir:/x local=" HASH " connections=3", "connections= is for IMAP"},
		{"a upstream=maildir:/x local=" HASH " uidvalidity=match", "is for IMAP"},
		{"a upstream=maildir:/x local=" HASH " delete=never delete_after=1d",
		 "beside delete=never"},
		{"a upstream=maildir:/x local=" HASH
		 " newest=5 keep_newest=2 delete_after=1d delete=hide",
		 NULL},
		{"a upstream=maildir:/x local=" HASH " uidl=courier", "uidl= is for IMAP"},
		{"a upstream=maildir:/x local=" HASH " delete=flag order=newest seen=on-retr",
		 NULL},
		{"a upstream=maildir:/x local=" HASH " delete=archive:Old create=yes", NULL},
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

static void test_needs_state(void **state)
{
	static const struct {
		enum map_attribute attribute;
		const char *value;
		bool needs;
	} cases[] = {
		{MAP_DELETE, "hide", true},        {MAP_DELETE, "expunge", false},
		{MAP_DELETE, "archive:x", false},  {MAP_NEWEST, "5", true},
		{MAP_KEEP_NEWEST, "5", true},      {MAP_DELETE_AFTER, "0", false},
		{MAP_DELETE_AFTER, "14d", true},   {MAP_UIDVALIDITY, "refuse", true},
		{MAP_UIDL, "cyrus:uidonly", true}, {MAP_UIDL, "dovecot:%u", true},
		{MAP_UIDL, "cyrus", false},        {MAP_UIDL, "gmail", false},
		{MAP_UIDL, "emailid", false},      {MAP_UIDL, "stable", false},
		{MAP_UIDVALIDITY, "match", false}, {MAP_SEEN, "never", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(map_policy_needs_state(cases[i].attribute, cases[i].value) != NULL,
				 cases[i].needs);
}

/* The sample that is shipped: whoever copies it finds no error. */
static void test_sample(void **state)
{
	const char *srcdir = getenv("srcdir");
	struct faults faults = {0};
	static char text[65536];
	char path[4096];

	(void)state;
	snprintf(path, sizeof path, "%s/docs/popgate.map.sample", srcdir ? srcdir : ".");
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	size_t len = fread(text, 1, sizeof text, file);
	fclose(file);
	assert_in_range(len, 1, sizeof text - 1);
	struct map *map = map_parse("sample", text, len, &faults);
	if (!map)
		fail_msg("%s", faults.lines[0]);
	assert_non_null(map_find(map, "scanner7"));
	map_release(map);
	faults_fini(&faults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_words),
		cmocka_unit_test(test_refusals), cmocka_unit_test(test_needs_state),
		cmocka_unit_test(test_sample),
	};

	return cmocka_run_group_tests_name("map-policy", tests, NULL, NULL);
}
