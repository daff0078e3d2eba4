/* SPDX-License-Identifier: MIT */
/* t_config.c - popgate.conf: what it says, and each thing that can be wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <sys/stat.h>

#include "proxy/config.h"
#include "session/account.h"

#define GOOD "[popgate]\nmap = /m\ncert = /c\nkey = /k\n[listener lan]\naddress = 127.0.0.1:110\n"

static struct config *parse(const char *text, struct faults *faults)
{
	return config_parse("f.conf", text, strlen(text), faults);
}

static void test_everything(void **state)
{
	static const char text[] =
		"\xef\xbb\xbf# a comment\r\n"
		"[popgate]\r\n"
		"map   = /etc/popgate/popgate.map ; why not\n"
		"state=/var/lib/pop#gate\n"
		"  log = syslog\n"
		"user = popgate\n"
		"cert = \"/etc/my certs/\\\"c\\\\.pem\" # quoted\n"
		"key = /etc/popgate/key.pem\n"
		"control = /run/popgate/control\n"
		"trusted = 10.0.0.0/8\n"
		"max_sessions = 77\nthreads = 3\nidle = 10m\nstall = 90\nauthorization = 2h\n"
		"failure_delay = 5s\nfailures = 9\ndrain = 0\n"
		"; another\n"
		"[ listener lan ]   # comment\n"
		"address = 0.0.0.0:110, [::]:110\n"
		"tls = none\ncleartext = allow-loopback\ntls_min = 1.0\n"
		"[listener secure]\n"
		"address=[2001:db8::1]:995\n"
		"tls = implicit\ncert = /own.pem\nkey = /own.key\ncleartext = 10.1.0.0/16 ::1\n";
	struct faults faults = {0};
	struct config *config = parse(text, &faults);

	(void)state;
	faults_print(&faults, stderr);
	assert_non_null(config);
	assert_string_equal(config->map, "/etc/popgate/popgate.map");
	assert_string_equal(config->state, "/var/lib/pop#gate");
	assert_true(config->log_syslog);
	assert_string_equal(config->user, "popgate");
	assert_string_equal(config->cert.all[0], "/etc/my certs/\"c\\.pem");
	assert_string_equal(config->control, "/run/popgate/control");
	assert_int_equal(config->trusted.count, 1);
	assert_int_equal(config->max_sessions, 77);
	assert_int_equal(config->threads, 3);
	assert_int_equal(config->idle_ms, 600000);
	assert_int_equal(config->stall_ms, 90000);
	assert_int_equal(config->authorization_ms, 7200000);
	assert_int_equal(config->failure_ms, 5000);
	assert_int_equal(config->failures, 9);
	assert_int_equal(config->drain_ms, 0);
	assert_int_equal(config->listener_count, 2);
	const struct listener_conf *lan = &config->listeners[0], *secure = &config->listeners[1];
	assert_string_equal(lan->name, "lan");
	assert_int_equal(lan->line, 20);
	assert_int_equal(lan->address_count, 2);
	assert_int_equal(lan->addresses[0].ss_family, AF_INET);
	assert_int_equal(lan->addresses[1].ss_family, AF_INET6);
	assert_int_equal(ntohs(((struct sockaddr_in6 *)&lan->addresses[1])->sin6_port), 110);
	assert_int_equal(lan->tls, LISTENER_NONE);
	assert_int_equal(lan->cleartext, CLEARTEXT_ALLOW_LOOPBACK);
	assert_int_equal(lan->tls_min, 10);
	assert_int_equal(lan->cert.count, 0);
	assert_int_equal(secure->tls, LISTENER_IMPLICIT);
	assert_int_equal(secure->cleartext, CLEARTEXT_NETWORKS);
	assert_int_equal(secure->networks.count, 2);
	assert_int_equal(secure->tls_min, 12);
	assert_string_equal(secure->key.all[0], "/own.key");
	config_free(config);
}

static void test_defaults(void **state)
{
	struct faults faults = {0};
	struct config *config = parse(GOOD, &faults);

	(void)state;
	assert_non_null(config);
	assert_false(config->log_syslog);
	assert_null(config->user);
	assert_null(config->control);
	assert_int_equal(config->trusted.count, 2);
	assert_int_equal(config->max_sessions, 10000);
	assert_int_equal(config->threads, 16);
	assert_int_equal(config->workers, 0);
	assert_int_equal(config->idle_ms, 600000);
	assert_int_equal(config->stall_ms, 120000);
	assert_int_equal(config->authorization_ms, 180000);
	assert_int_equal(config->failure_ms, 2000);
	assert_int_equal(config->failures, 3);
	assert_int_equal(config->drain_ms, 30000);
	assert_int_equal(config->block_after, 20);
	assert_int_equal(config->block_window_ms, 600000);
	assert_int_equal(config->block_ms, 600000);
	assert_int_equal(config->refused_ms, 60000);
	assert_int_equal(config->upstream_refusals, 60);
	assert_int_equal(config->listeners[0].tls, LISTENER_STARTTLS);
	assert_int_equal(config->listeners[0].cleartext, CLEARTEXT_REQUIRE_TLS);
	assert_int_equal(config->listeners[0].tls_min, 12);
	config_free(config);
}

/* One error each, with its line and words that say what it is. */
static void test_errors(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{GOOD "adress = 1.2.3.4:5\n",
		 "f.conf:7: unknown key \"adress\": did you mean \"address\"?"},
		{GOOD "metrics = x\n", "f.conf:7: unknown key \"metrics\""},
		{GOOD "map = /x\n", "f.conf:7: unknown key \"map\""},
		{GOOD "tls = none\nclient_ca = /x\n",
		 "f.conf:8: [listener lan]: client_ca needs TLS, and there is tls = none"},
		{GOOD "auth = plain, ntlm\n", "f.conf:7: auth: not a list of plain, login, apop"},
		{GOOD "auth = ,\n", "f.conf:7: auth: no way to log in"},
		{GOOD "[listener b]\naddress = 1.2.3.4:995\ncert = /a, /b\nkey = /a\n",
		 "f.conf:10: [listener b]: cert names 2 files, key 1"},
		{GOOD "[listener b]\naddress = 1.2.3.4:995\nkey = /a\n",
		 "f.conf:9: [listener b] has cert or key, but not both"},
		{GOOD "[listener b]\naddress = 1.2.3.4:995\ncert = /a,,/b\nkey = /a\n",
		 "f.conf:9: cert: a file name is missing"},
		{"[popgate]\nmap = /m\ncert = /c\n[listener a]\naddress=1.2.3.4:5\ntls=none\n",
		 "f.conf:3: [popgate] has cert or key, but not both"},
		{GOOD "tls = maybe\n", "f.conf:7: tls: none of starttls"},
		{GOOD "tls_min = 1.4\n", "f.conf:7: tls_min: none of"},
		{GOOD "cleartext = sure\n", "f.conf:7: cleartext: none of"},
		{GOOD "address = 1.2.3.4:5\n", "f.conf:7: address is given twice, first in line 6"},
		{GOOD "cert = \"x\n", "f.conf:7: cert: the closing quote"},
		{GOOD "cert = \"x\" y\n", "f.conf:7: cert: something stands behind"},
		{GOOD "cert = # nothing\n", "f.conf:7: cert: the value is missing"},
		{GOOD "cert = \"\"\n", "f.conf:7: cert: the value is empty"},
		{GOOD "nonsense\n", "f.conf:7: neither"},
		{GOOD "= x\n", "f.conf:7: neither"},
		{GOOD "cert = a\x01\n", "f.conf:7: a control character"},
		{GOOD "[popgate]\n", "f.conf:7: [popgate] is given twice, first in line 1"},
		{GOOD "[listener lan]\n",
		 "f.conf:7: [listener lan] is given twice, first in line 5"},
		{GOOD "[listner b]\nfoo = bar\n", "f.conf:7: unknown section [listner b]"},
		{GOOD "[listener a b]\n", "f.conf:7: [listener NAME]"},
		{GOOD "[listener]\n", "f.conf:7: [listener NAME]"},
		{GOOD "[listener b\n", "f.conf:7: a heading is"},
		{GOOD "[listener b] c\n", "f.conf:7: a heading is"},
		{GOOD "cert = /only\n", "f.conf:7: [listener lan] has cert or key, but not both"},
		{GOOD "[listener b]\ntls = none\n", "f.conf:7: [listener b] has no address"},
		{GOOD "[listener b]\ntls = none\naddress = 127.0.0.1:110\n",
		 "f.conf:7: [listener b]: address 1 is also in [listener lan]"},
		{GOOD "[listener b]\ntls = none\naddress = 1.2.3.4:5 1.2.3.4:5\n",
		 "f.conf:7: [listener b]: address 2 is also in [listener b]"},
		{"map = /x\n" GOOD, "f.conf:1: \"map\" stands before any [section]"},
		{"[popgate]\nmap=/m\n", "f.conf: there is no [listener NAME]"},
		{"[popgate]\ncert=/c\nkey=/k\n[listener a]\naddress=1.2.3.4:5\n",
		 "f.conf: [popgate] has no map"},
		{"[popgate]\nmap=/m\n[listener a]\naddress=1.2.3.4:5\n",
		 "f.conf:3: [listener a] has no cert and key"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		assert_null(parse(cases[i].text, &faults));
		if (faults.count != 1 || !strstr(faults.lines[0], cases[i].want) ||
		    strncmp(faults.lines[0], cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("case %zu: %zu faults, \"%s\" and not \"%s\"", i, faults.count,
				 faults.count ? faults.lines[0] : "", cases[i].want);
		faults_fini(&faults);
	}
}

static void test_values(void **state)
{
	static const struct {
		const char *line;
		bool is_good;
	} cases[] = {
		{"idle = 600", true},
		{"idle = 599", false},
		{"idle = 10h", true},
		{"idle = 25h", false},
		{"idle = 1d", true},
		{"idle = -600", false},
		{"idle = s", false},
		{"idle = 99999999999999999999", false},
		{"stall = 59s", false},
		{"stall = 1m", true},
		{"authorization = 9", false},
		{"failure_delay = 16", false},
		{"failure_delay = 0", true},
		{"failures = 0", false},
		{"failures = 1", true},
		{"max_sessions = 1000001", false},
		{"block_after = 0", true},
		{"block_after = x", false},
		{"block_window = 59", false},
		{"block_window = 1h", true},
		{"block = 0", false},
		{"block = 7d", true},
		{"refused_memory = 0", true},
		{"refused_memory = 2h", false},
		{"upstream_refusals = 0", true},
		{"upstream_refusals = -1", false},
		{"workers = 0", false},
		{"workers = 64", true},
		{"workers = 65", false},
		{"workers = auto", true},
		{"workers = AUTO", true},
		{"workers = all", false},
		{"threads = 0", false},
		{"threads = 1024", true},
		{"log = file", false},
		{"trusted = 10.0.0.1/8", false},
		{"trusted = ::1", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		char text[256];
		snprintf(text, sizeof text,
			 "[popgate]\nmap=/m\n%s\n[listener a]\naddress=1.2.3.4:5\ntls=none\n",
			 cases[i].line);
		struct config *config = parse(text, &faults);
		if (!config == cases[i].is_good)
			fail_msg("%s", cases[i].line);
		config_free(config);
		faults_fini(&faults);
	}
}

static void test_addresses(void **state)
{
	static const struct {
		const char *value;
		bool is_good;
	} cases[] = {
		{"1.2.3.4:5", true},
		{"[::1]:65535", true},
		{"1.2.3.4", false},
		{"1.2.3.4:0", false},
		{"1.2.3.4:65536", false},
		{"::1:110", false},
		{"[::1]", false},
		{"[1.2.3.4]:5", false},
		{"localhost:110", false},
		{":110", false},
		{"[]:110", false},
		{",", false},
		{"[::1%lo]:110", false},
		{"[:110", false},
		{"1.2.3.4:5,[::]:5 , 1.2.3.5:5", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		char text[256];
		snprintf(text, sizeof text,
			 "[popgate]\nmap=/m\n[listener a]\naddress=%s\ntls=none\n", cases[i].value);
		struct config *config = parse(text, &faults);
		if (!config == cases[i].is_good)
			fail_msg("%s", cases[i].value);
		config_free(config);
		faults_fini(&faults);
	}
}

/* Every error is told, and those beyond the hundredth are counted. */
static void test_all_errors(void **state)
{
	struct faults faults = {0};
	char text[4096] = "", *shown;
	size_t size;

	(void)state;
	for (int i = 0; i < 150; i++)
		strcat(text, "x\n");
	assert_null(parse(text, &faults));
	assert_int_equal(faults.count, 152); /* and: no map, no listener */
	FILE *to = open_memstream(&shown, &size);
	faults_print(&faults, to);
	fclose(to);
	assert_non_null(strstr(shown, "popgate: f.conf:100: neither"));
	assert_null(strstr(shown, "f.conf:101:"));
	assert_non_null(strstr(shown, "popgate: and 52 more errors\n"));
	free(shown);
	faults_fini(&faults);
}

static void test_load(void **state)
{
	char path[] = "/tmp/t_config.XXXXXX";
	struct faults faults = {0};
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, GOOD, strlen(GOOD)), strlen(GOOD));
	struct config *config = config_load(path, &faults);
	assert_non_null(config);
	assert_string_equal(config->file, path);
	config_free(config);
	assert_int_equal(write(fd, "x\n", 2), 2);
	close(fd);
	assert_null(config_load(path, &faults));
	config = config_load_partly(path, &faults);
	assert_non_null(config);
	assert_string_equal(config->map, "/m");
	config_free(config);
	assert_int_equal(faults.count, 2);
	unlink(path);
	assert_null(config_load(path, &faults));
	assert_null(config_load("/", &faults));
	assert_non_null(strstr(faults.lines[3], "not a regular file"));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(config_load(path, &faults)); /* and does not wait */
	unlink(path);
	faults_fini(&faults);
	config = config_from_text("[listener url]\naddress = 127.0.0.1:1110\n", &faults);
	assert_non_null(config);
	assert_null(config->map);
	config_free(config);
}

/* Several certificates; what clients may show and say, for each listener. */
static void test_listeners(void **state)
{
	static const struct {
		const char *auth;
		unsigned ways;
	} cases[] = {
		{"plain", WAY_PLAIN},
		{"PLAIN, login", WAY_PLAIN | WAY_LOGIN},
		{"scram-sha-256 external",
		 WAY_SCRAM_SHA_256 | WAY_SCRAM_SHA_256_PLUS | WAY_EXTERNAL},
		{"scram-sha-1-plus,apop,cram-md5", WAY_SCRAM_SHA_1_PLUS | WAY_APOP | WAY_CRAM_MD5},
		{"xoauth2,oauthbearer", WAY_XOAUTH2 | WAY_OAUTHBEARER},
	};
	const struct file_list *cert, *key;
	struct faults faults = {0};
	int line;

	(void)state;
	struct config *config = parse("[popgate]\nmap = /m\ncert = /c\nkey = /k\n"
				      "[listener a]\naddress = 1.2.3.4:5\n"
				      "[listener b]\naddress = 1.2.3.4:6\n"
				      "cert = /a b.pem ,\t/b.pem\nkey = /a.key,/b.key\n"
				      "client_ca = /ca.pem\nauth = external\n",
				      &faults);
	assert_non_null(config);
	assert_true(config_has_client_ca(config));
	assert_true(config->listeners[0].ways & WAY_PLAIN);
	assert_int_equal(config->listeners[1].ways, WAY_EXTERNAL);
	config_certificates(config, &config->listeners[0], &cert, &key, &line);
	assert_int_equal(line, 3);
	assert_int_equal(cert->count, 1);
	assert_string_equal(cert->all[0], "/c");
	config_certificates(config, &config->listeners[1], &cert, &key, &line);
	assert_int_equal(line, 9);
	assert_int_equal(cert->count, 2);
	assert_string_equal(cert->all[0], "/a b.pem");
	assert_string_equal(cert->all[1], "/b.pem");
	assert_string_equal(key->all[1], "/b.key");
	assert_int_equal(config->listeners[1].client_ca_line, 11);
	config_free(config);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[256];
		snprintf(text, sizeof text, "%sauth = %s\n", GOOD, cases[i].auth);
		config = parse(text, &faults);
		assert_non_null(config);
		assert_false(config_has_client_ca(config));
		assert_int_equal(config->listeners[0].ways, cases[i].ways);
		config_free(config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything), cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_errors),     cmocka_unit_test(test_values),
		cmocka_unit_test(test_listeners),  cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_all_errors), cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
