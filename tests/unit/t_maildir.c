/* SPDX-License-Identifier: MIT */
/* t_maildir.c - the Maildir store: names, what is opened, what is listed. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/mem.h"
#include "tests/fake/box.h"
#include "upstream/maildir.h"

static void assert_uidl(const struct box *box, uint64_t number, const char *uidl)
{
	char got[UIDL_MAX + 1];

	assert_non_null(maildrop_get(&box->drop, number));
	maildrop_uidl(&box->drop, maildrop_get(&box->drop, number), got);
	assert_string_equal(got, uidl);
}

static void takes_names_apart(void **state)
{
	static const struct {
		const char *name;
		size_t base_len;
		uint64_t time;
		const char *flags;
		bool is_trashed;
		int64_t octets, raw; /* -1: not said */
		const char *seen;
	} cases[] = {
		{"17.a.b", 6, 17, "", false, -1, -1, "17.a.b:2,S"},
		{"17.a.b:2,", 6, 17, "", false, -1, -1, "17.a.b:2,S"},
		{"17.a.b:2,RF", 6, 17, "RF", false, -1, -1, "17.a.b:2,FRS"},
		{"17.a.b:2,ST", 6, 17, "ST", true, -1, -1, "17.a.b:2,ST"},
		{"17.a.b;2,F", 6, 17, "F", false, -1, -1, "17.a.b;2,FS"},
		{"17.a.b!2,ba", 6, 17, "ba", false, -1, -1, "17.a.b!2,Sab"},
		{"17.a.b:1,x", 10, 17, "", false, -1, -1, "17.a.b:1,x:2,S"},
		{"17.T,S=12,W=14:2,", 14, 17, "", false, 14, 12, "17.T,S=12,W=14:2,S"},
		{"17.T,W=14,S=12", 14, 17, "", false, 14, 12, "17.T,W=14,S=12:2,S"},
		{"17.x,W=", 7, 17, "", false, -1, -1, "17.x,W=:2,S"},
		{"17.x,W=-4", 9, 17, "", false, -1, -1, "17.x,W=-4:2,S"},
		{"17.x,W=9999999999999999", 23, 17, "", false, -1, -1,
		 "17.x,W=9999999999999999:2,S"},
		{"17.x:2,,W=5", 4, 17, ",W=5", false, -1, -1, "17.x:2,,5=SW"},
		{"odd", 3, 0, "", false, -1, -1, "odd:2,S"},
		{"99999999999999999999999.x", 25, UINT64_MAX, "", false, -1, -1,
		 "99999999999999999999999.x:2,S"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct maildir_name got;
		char seen[MAILDIR_NAME_MAX + 1];

		maildir_name_parse(cases[i].name, &got);
		assert_int_equal(got.base_len, cases[i].base_len);
		assert_true(got.time == cases[i].time);
		assert_string_equal(got.flags, cases[i].flags);
		assert_int_equal(got.is_trashed, cases[i].is_trashed);
		assert_int_equal(got.has_octets ? (int64_t)got.octets : -1, cases[i].octets);
		assert_int_equal(got.has_raw ? (int64_t)got.raw : -1, cases[i].raw);
		assert_true(maildir_name_flagged(cases[i].name, 'S', seen));
		assert_string_equal(seen, cases[i].seen);
	}
}

static void refuses_names_that_would_not_fit(void **state)
{
	char name[MAILDIR_NAME_MAX + 1], seen[MAILDIR_NAME_MAX + 1];

	(void)state;
	memset(name, '1', MAILDIR_NAME_MAX);
	for (size_t len = MAILDIR_NAME_MAX; len > MAILDIR_NAME_MAX - 8; len--) {
		name[len] = '\0';
		assert_int_equal(maildir_name_flagged(name, 'S', seen),
				 len <= MAILDIR_NAME_MAX - 4);
	}
}

static void lists_in_order_of_time(void **state)
{
	struct box *box = *state;

	box_write_text(box, "new/10.b", "x\n");
	box_write_text(box, "cur/9.z:2,S", "x\r\n");
	box_write_text(box, "cur/10.a:2,", "\n\r\n\n");
	box_write_text(box, "cur/10.c:2,", "a\nb");
	box_write_text(box, "new/nodigits", "");
	box_write_text(box, "cur/100.T:2,ST", "hidden");
	box_write_text(box, "new/.11.dot", "hidden");
	box_write_text(box, "cur/12.w,W=77:2,", "whatever");
	box_list(box);
	assert_int_equal(box->drop.total, 6);
	assert_uidl(box, 1, "nodigits");
	assert_uidl(box, 2, "9.z");
	assert_uidl(box, 3, "10.a");
	assert_uidl(box, 4, "10.b");
	assert_uidl(box, 5, "10.c");
	assert_uidl(box, 6, "12.w,W=77");
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, 0);
	assert_int_equal(maildrop_get(&box->drop, 2)->octets, 3);
	assert_int_equal(maildrop_get(&box->drop, 3)->octets, 6);
	assert_int_equal(maildrop_get(&box->drop, 4)->octets, 3);
	assert_int_equal(maildrop_get(&box->drop, 5)->octets, 6);
	assert_int_equal(maildrop_get(&box->drop, 6)->octets, 77);
	assert_true(box_has(box, "new/10.b")); /* K-03: not moved at login */
	assert_false(box->up->is_read_only);
}

static void counts_line_ends_across_chunks(void **state)
{
	struct box *box = *state;
	size_t len = MAILDIR_CHUNK * 2;
	char *text = mem_alloc(len);

	memset(text, 'x', len);
	text[MAILDIR_CHUNK - 1] = '\r';
	text[MAILDIR_CHUNK] = '\n'; /* CRLF over the border: nothing to add */
	text[len - 1] = '\n';
	box_write(box, "new/1.a", text, len);
	text[MAILDIR_CHUNK - 1] = 'x';
	box_write(box, "new/2.b", text, len);
	free(text);
	box_list(box);
	assert_int_equal(maildrop_get(&box->drop, 1)->octets, len + 1);
	assert_int_equal(maildrop_get(&box->drop, 2)->octets, len + 2);
}

static void hashes_names_that_are_no_uidl(void **state)
{
	struct box *box = *state;
	char name[128], uidl[4][UIDL_MAX + 1];

	box_write_text(box, "new/1.a b", "x");
	box_write_text(box, "new/2.\xc3\xa4", "x");
	snprintf(name, sizeof name, "new/3.%068d", 7);
	box_write_text(box, name, "x");
	snprintf(name, sizeof name, "new/4.%069d", 7);
	box_write_text(box, name, "x");
	box_list(box);
	for (unsigned i = 0; i < 4; i++)
		maildrop_uidl(&box->drop, maildrop_get(&box->drop, i + 1), uidl[i]);
	assert_int_equal(strlen(uidl[0]), 34);
	assert_memory_equal(uidl[0], "h.", 2);
	assert_memory_equal(uidl[1], "h.", 2);
	assert_string_not_equal(uidl[0], uidl[1]);
	assert_int_equal(strlen(uidl[2]), UIDL_MAX);
	assert_memory_equal(uidl[2], "3.", 2);
	assert_int_equal(strlen(uidl[3]), 34);
}

static void opens_only_what_is_a_maildir(void **state)
{
	struct box *box = *state;
	char *path = text_dup(box->path);

	box->conf.path = box_path(box, "nowhere");
	assert_int_equal(box_open(box).kind, ERR_POLICY);
	assert_null(box->up);

	box->conf.path = box_path(box, "link");
	assert_int_equal(symlink(path, box->conf.path), 0);
	assert_int_equal(box_open(box).kind, ERR_POLICY);
	assert_null(box->up);

	box->conf.path = path;
	assert_int_equal(rename(box_path(box, "cur"), box_path(box, "old")), 0);
	assert_int_equal(box_open(box).kind, ERR_POLICY);
	assert_int_equal(symlink("old", box_path(box, "cur")), 0);
	assert_int_equal(box_open(box).kind, ERR_POLICY);
	assert_int_equal(unlink(box_path(box, "cur")), 0);
	assert_int_equal(rename(box_path(box, "old"), box_path(box, "cur")), 0);
	assert_int_equal(box_open(box).kind, ERR_NONE);
	free(path);
}

static void names_a_maildir_by_its_inode(void **state)
{
	struct box *box = *state;
	struct upstream *first;
	struct stat st;
	char want[128], *around = text_printf_dup("%s/cur/..", box->path);

	assert_int_equal(box_open(box).kind, ERR_NONE);
	first = box->up;
	box->conf.path = around;
	assert_int_equal(box_open(box).kind, ERR_NONE);
	assert_string_equal(first->identity, box->up->identity);
	assert_int_equal(stat(box->path, &st), 0);
	snprintf(want, sizeof want, "maildir:%jx:%jx", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	assert_string_equal(first->identity, want);
	first->ops->close(first, NULL, NULL, NULL);
	free(around);
}

static void says_when_nothing_may_be_deleted(void **state)
{
	struct box *box = *state;

	box->conf.delete_policy = DELETE_NEVER;
	assert_int_equal(box_open(box).kind, ERR_NONE);
	assert_true(box->up->is_read_only);
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void holds_one_descriptor(void **state)
{
	struct box *box = *state;
	unsigned before = open_descriptors();
	struct keeper keeper;

	box_write_text(box, "cur/1.a:2,", "a\n");
	box_list(box);
	keeper_init(&keeper);
	assert_int_equal(box_fetch(box, 1, (struct part){0, 0}, &keeper).kind, ERR_NONE);
	buf_fini(&keeper.got);
	assert_int_equal(box_delete(box, 1).kind, ERR_NONE);
	assert_int_equal(open_descriptors(), before + 1);
	box_close(box);
	assert_int_equal(open_descriptors(), before);
}

struct deliverer {
	const struct box *box;
	atomic_bool is_done;
};

static void *deliver_on(void *arg)
{
	struct deliverer *deliverer = arg;

	for (int i = 0; !atomic_load(&deliverer->is_done); i++) {
		char from[128], to[128];
		FILE *file;

		snprintf(from, sizeof from, "%s/tmp/x", deliverer->box->path);
		snprintf(to, sizeof to, "%s/new/9000.%d", deliverer->box->path, i);
		file = fopen(from, "w");
		fputs("new\n", file);
		fclose(file);
		rename(from, to);
	}
	return NULL;
}

static void lists_thousands_while_mail_comes_in(void **state)
{
	struct box *box = *state;
	struct deliverer deliverer = {.box = box};
	pthread_t thread;
	char name[64];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "%s/%d.m:2,", i % 3 ? "cur" : "new", 1000 + i);
		box_write_text(box, name, "text\n");
	}
	assert_int_equal(pthread_create(&thread, NULL, deliver_on, &deliverer), 0);
	for (int i = 0; i < 3; i++) {
		box_list(box);
		assert_true(box->drop.total >= 3000);
		for (unsigned n = 1; n <= 3000; n++) {
			snprintf(name, sizeof name, "%u.m", 999 + n);
			assert_uidl(box, n, name);
			assert_int_equal(maildrop_get(&box->drop, n)->octets, 6);
		}
		box_close(box);
		maildrop_fini(&box->drop);
	}
	atomic_store(&deliverer.is_done, true);
	pthread_join(thread, NULL);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, box_set_up, box_tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_names_apart),
		cmocka_unit_test(refuses_names_that_would_not_fit),
		TEST(lists_in_order_of_time),
		TEST(counts_line_ends_across_chunks),
		TEST(hashes_names_that_are_no_uidl),
		TEST(opens_only_what_is_a_maildir),
		TEST(names_a_maildir_by_its_inode),
		TEST(says_when_nothing_may_be_deleted),
		TEST(holds_one_descriptor),
		TEST(lists_thousands_while_mail_comes_in),
	};

	return cmocka_run_group_tests_name("maildir", tests, NULL, NULL);
}
