/* SPDX-License-Identifier: MIT */
/* t_place.c - one mailbox, one worker, by whatever name; many mailboxes, many workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/place.h"

static const char text[] = "joe upstream=imaps://mail.example.org login=joe@x\n"
			   "joseph upstream=imaps://MAIL.example.ORG login=joe@x\n"
			   "joey upstream=imaps://mail.example.org/inBox login=joe@x\n"
			   "anne upstream=maildir:/var//mail/./ann/ local={plain}x\n"
			   "work upstream=imaps://mail.example.org/Work login=joe@x\n"
			   "ann upstream=maildir:/var/mail/ann local={plain}x\n"
			   "anna upstream=maildir:/var/mail/ann local={plain}y\n"
			   "gone reject=no\n"
			   "@many.example upstream=imaps://mail.example.org login=%n@x\n"
			   "* upstream=imaps://other.example.org login=%u\n";

static struct map *read_map(void)
{
	struct faults faults = {0};
	struct map *map = map_parse("map", text, strlen(text), &faults);

	assert_non_null(map);
	faults_fini(&faults);
	return map;
}

static void t_one_mailbox_one_place(void **unused)
{
	static const char *const pairs[][2] = {
		{"joe", "joseph"},
		{"joe", "joey"},
		{"joe", "JOE@anywhere.example"},
		{"joe", "joe@many.example"},
		{"joe%many.example", "joe@many.example"},
		{"ann", "anna"},
		{"ann", "anne"},
		{"bob@many.example", "BOB@Many.Example"},
		{"who@ever.example", "who%ever.example"},
		{"", ""},
		{"gone", "Gone"},
	};
	struct map *map = read_map();

	(void)unused;
	for (unsigned turn = 0; turn < 100; turn++) {
		struct places places = {.count = 64};
		memset(places.key, (int)turn, sizeof places.key);
		for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
			unsigned place = place_of(&places, map, pairs[i][0]);
			assert_true(place < places.count);
			assert_int_equal(place, place_of(&places, map, pairs[i][1]));
		}
	}
	map_release(map);
}

/* Whether two names are kept apart by at least one of many keys. */
static bool are_apart(const struct map *map, const char *a, const char *b)
{
	for (unsigned turn = 0; turn < 100; turn++) {
		struct places places = {.count = 64};
		memset(places.key, (int)turn, sizeof places.key);
		if (place_of(&places, map, a) != place_of(&places, map, b))
			return true;
	}
	return false;
}

static void t_two_mailboxes_two_places(void **unused)
{
	struct map *map = read_map();

	(void)unused;
	assert_true(are_apart(map, "joe", "work"));
	assert_true(are_apart(map, "joe", "ann"));
	assert_true(are_apart(map, "a@many.example", "b@many.example"));
	assert_true(are_apart(map, "nobody1", "nobody2"));
	map_release(map);
}

static void t_spread(void **unused)
{
	struct map *map = read_map();
	struct places places = {.count = 4};
	unsigned counts[4] = {0};
	char name[32];

	(void)unused;
	for (unsigned i = 0; i < 4000; i++) {
		snprintf(name, sizeof name, "user%u", i);
		counts[place_of(&places, map, name)]++;
	}
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(counts[i], 850, 1150);
	map_release(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t_one_mailbox_one_place),
		cmocka_unit_test(t_two_mailboxes_two_places),
		cmocka_unit_test(t_spread),
	};

	return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
