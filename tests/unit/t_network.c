/* SPDX-License-Identifier: MIT */
/* t_network.c - lists of networks: what is read, what is refused, who is in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "proxy/network.h"

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage out = {0};
	struct sockaddr_in *four = (struct sockaddr_in *)&out;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&out;

	if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
		out.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
		out.ss_family = AF_INET6;
	else
		fail_msg("no address: %s", text);
	return out;
}

static void test_membership(void **state)
{
	static const struct {
		const char *list, *peer;
		bool is_in;
	} cases[] = {
		{"10.20.0.0/16", "10.20.255.255", true},
		{"10.20.0.0/16", "10.21.0.0", false},
		{"10.20.0.0/16", "::ffff:10.20.1.2", true},
		{"10.20.0.0/16", "::10.20.1.2", false},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.6", false},
		{"192.0.2.4/30", "192.0.2.7", true},
		{"192.0.2.4/30", "192.0.2.8", false},
		{"192.0.2.4/31,192.0.2.8/32", "192.0.2.8", true},
		{"2001:db8::/32", "2001:db8:ffff::1", true},
		{"2001:db8::/32", "2001:db9::1", false},
		{"2001:db8::1", "2001:db8::1", true},
		{"2001:db8::8/125", "2001:db8::f", true},
		{"2001:db8::8/125", "2001:db8::10", false},
		{"0.0.0.0/0", "203.0.113.1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "2001:db8::1", true},
		{" 10.0.0.0/8 ,\t192.0.2.0/24, ", "192.0.2.1", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct network_list list = {0};
		struct sockaddr_storage peer = address(cases[i].peer);
		assert_true(network_list_add(&list, cases[i].list, strlen(cases[i].list)));
		if (network_list_has(&list, &peer) != cases[i].is_in)
			fail_msg("%s in %s", cases[i].peer, cases[i].list);
		network_list_fini(&list);
	}
}

static void test_malformed(void **state)
{
	static const char *const cases[] = {
		"",
		"  ,, ",
		"10.20.0.0/33",
		"10.20.0.1/16",
		"10.20/16",
		"2001:db8::/129",
		"2001:db8::1/64",
		"10.0.0.0/",
		"10.0.0.0/+8",
		"/8",
		"10.0.0.0/8/8",
		"localhost",
		"10.0.0.256",
		"10.0.0.0/8;::1",
		"1.2.3.4x",
	};
	struct network_list list = {0};

	(void)state;
	assert_true(network_list_add(&list, "10.0.0.0/8", 10));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (network_list_add(&list, cases[i], strlen(cases[i])))
			fail_msg("taken: \"%s\"", cases[i]);
		assert_int_equal(list.count, 1);
	}
	/* A bad one behind a good one leaves the list as it was. */
	assert_false(network_list_add(&list, "192.0.2.1 bad", 13));
	assert_int_equal(list.count, 1);
	/* A NUL is an octet like others. */
	assert_false(network_list_add(&list, "192.0.2.1\0", 10));
	network_list_fini(&list);
}

static void test_loopback(void **state)
{
	static const struct {
		const char *peer;
		bool is_loopback;
	} cases[] = {
		{"127.0.0.1", true}, {"127.255.0.9", true},      {"128.0.0.1", false},
		{"::1", true},       {"::ffff:127.0.0.1", true}, {"::2", false},
		{"::", false},       {"0.0.0.0", false},         {"::7f00:1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sockaddr_storage peer = address(cases[i].peer);
		if (network_is_loopback(&peer) != cases[i].is_loopback)
			fail_msg("%s", cases[i].peer);
	}
	struct sockaddr_storage local = {.ss_family = AF_UNIX};
	assert_false(network_is_loopback(&local));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_membership),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_loopback),
	};

	return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
