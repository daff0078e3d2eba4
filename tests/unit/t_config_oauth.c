/* SPDX-License-Identifier: MIT */
/* t_config_oauth.c - [oauth NAME] sections and the key for tokens: what they say, what can be wrong, and
 * who may read a file that holds a client secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/config.h"
#include "proxy/server.h"

/* Eight lines. */
#define GOOD                                                                                       \
	"[popgate]\nmap = /m\ncert = /c\nkey = /k\nstate = /s\ntoken_key = /t\n"                   \
	"[listener lan]\naddress = 127.0.0.1:110\n"
#define OAUTH "[oauth g]\ntoken_url = https://h/t\ndevice_url = https://h/d\nclient_id = i\n"

static struct config *parse(const char *text, struct faults *faults)
{
	return config_parse("f.conf", text, strlen(text), faults);
}

static void test_everything(void **state)
{
	static const char text[] = GOOD
		"[oauth google.com]\n"
		"grant = refresh\n"
		"token_url = https://id.example:8443/token\n"
		"device_url = https://id.example/device?a=b\n"
		"authorize_url = https://id.example/auth\n"
		"client_id = me\nclient_secret = \"a#b ;c\"\nscope = mail offline_access # both\n"
		"ca_file = /ca\n"
		"[oauth app]\ngrant = client-credentials\ntoken_url = https://h/t\n"
		"client_id = me\nclient_secret_file = /secret\naudience = them\n"
		"[OAUTH robot]\ngrant = service-account\ntoken_url = https://h/t\n"
		"key_file = /key.json\nissuer = robot@h\nscope = mail\n";
	struct faults faults = {0};
	struct config *config = parse(text, &faults);

	(void)state;
	faults_print(&faults, stderr);
	assert_non_null(config);
	assert_string_equal(config->token_key, "/t");
	assert_int_equal(config->token_key_line, 6);
	assert_int_equal(oauth_profiles_count(config->profiles), 3);
	const struct oauth_section *google = oauth_profiles_find(config->profiles, "google.com");
	assert_int_equal(google->line, 9);
	assert_int_equal(google->profile.grant, OAUTH_REFRESH);
	assert_string_equal(google->profile.token_url, "https://id.example:8443/token");
	assert_string_equal(google->profile.device_url, "https://id.example/device?a=b");
	assert_string_equal(google->profile.authorize_url, "https://id.example/auth");
	assert_string_equal(google->profile.client_id, "me");
	assert_string_equal(google->profile.client_secret, "a#b ;c");
	assert_string_equal(google->profile.scope, "mail offline_access");
	assert_string_equal(google->profile.ca_file, "/ca");
	const struct oauth_profile *app = &oauth_profiles_nth(config->profiles, 1)->profile;
	assert_int_equal(app->grant, OAUTH_CLIENT_CREDENTIALS);
	assert_string_equal(app->client_secret_file, "/secret");
	assert_string_equal(app->audience, "them");
	const struct oauth_profile *robot = &oauth_profiles_nth(config->profiles, 2)->profile;
	assert_int_equal(robot->grant, OAUTH_SERVICE_ACCOUNT);
	assert_string_equal(robot->key_file, "/key.json");
	assert_string_equal(robot->issuer, "robot@h");
	assert_null(oauth_profiles_find(config->profiles, "Google.com"));
	/* who holds them keeps them */
	struct oauth_profiles *held = oauth_profiles_hold(config->profiles);
	config_free(config);
	assert_string_equal(oauth_profiles_find(held, "app")->profile.name, "app");
	oauth_profiles_release(held);
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{GOOD "[oauth]\n", "f.conf:9: [oauth NAME]: the name is"},
		{GOOD "[oauth a/b]\n", "f.conf:9: [oauth NAME]: the name is"},
		{GOOD OAUTH OAUTH, "f.conf:13: [oauth g] is given twice, first in line 9"},
		{GOOD OAUTH "client_id = j\n", "f.conf:13: client_id is given twice"},
		{GOOD OAUTH "clientid = j\n",
		 "f.conf:13: unknown key \"clientid\": did you mean \"client_id\"?"},
		{GOOD OAUTH "address = 1.2.3.4:5\n", "f.conf:13: unknown key \"address\""},
		{GOOD OAUTH "grant = password\n", "f.conf:13: grant: not one of refresh"},
		{GOOD "[oauth g]\ndevice_url = https://h/d\nclient_id = i\n",
		 "f.conf:9: [oauth g]: token_url is missing"},
		{GOOD "[oauth g]\ntoken_url = https://h/t\ndevice_url = https://h/d\n",
		 "f.conf:9: [oauth g]: client_id is missing"},
		{GOOD "[oauth g]\ntoken_url = https://h/t\nclient_id = i\n",
		 "f.conf:9: [oauth g]: device_url or authorize_url is needed"},
		{GOOD "[oauth g]\ntoken_url = http://h/t\nclient_id = i\n",
		 "f.conf:9: [oauth g]: token_url, device_url and authorize_url are https://"},
		{GOOD OAUTH "authorize_url = https:///x\n",
		 "f.conf:9: [oauth g]: token_url, device"},
		{GOOD OAUTH "authorize_url = \"https://h/a b\"\n",
		 "f.conf:9: [oauth g]: token_url, "},
		{GOOD OAUTH "client_secret = a\nclient_secret_file = /b\n",
		 "f.conf:9: [oauth g]: client_secret and client_secret_file"},
		{GOOD OAUTH "key_file = /b\n", "f.conf:9: [oauth g]: key_file and issuer are for"},
		{GOOD OAUTH "grant = client-credentials\n",
		 "f.conf:9: [oauth g]: grant = client-credentials needs client_secret"},
		{GOOD OAUTH "grant = service-account\n",
		 "f.conf:9: [oauth g]: grant = service-account needs key_file"},
		{GOOD "[popgat]\n", "f.conf:9: unknown section [popgat]"},
		{"[popgate]\nmap = /m\ncert = /c\nkey = /k\ntoken_key = /a\ntoken_key_cred = b\n"
		 "[listener lan]\naddress = 127.0.0.1:110\n",
		 "f.conf:6: token_key and token_key_cred: which one is it?"},
		{"[popgate]\nmap = /m\ncert = /c\nkey = /k\ntoken_key_cred = ../b\n"
		 "[listener lan]\naddress = 127.0.0.1:110\n",
		 "f.conf:5: token_key_cred: not the name of a credential"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		assert_null(parse(cases[i].text, &faults));
		if (faults.count != 1 || !strstr(faults.lines[0], cases[i].want))
			fail_msg("%s: %zu: %s", cases[i].want, faults.count,
				 faults.count ? faults.lines[0] : "");
		faults_fini(&faults);
	}
}

static void test_permissions(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		bool is_good;
	} cases[] = {
		{GOOD OAUTH, 0644, true},
		{GOOD OAUTH "client_secret = x\n", 0600, true},
		{GOOD OAUTH "client_secret = x\n", 0640, true},
		{GOOD OAUTH "client_secret = x\n", 0644, false},
		{GOOD OAUTH "client_secret = x\n", 0660, false},
		{GOOD OAUTH "client_secret_file = /x\n", 0644, true},
	};
	char path[] = "/tmp/popgate-t_config-XXXXXX";

	(void)state;
	close(mkstemp(path));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		int fd = open(path, O_WRONLY | O_TRUNC);
		size_t len = strlen(cases[i].text);
		assert_int_equal(write(fd, cases[i].text, len), len);
		assert_int_equal(fchmod(fd, cases[i].mode), 0);
		close(fd);
		struct config *config = config_load(path, &faults);
		assert_int_equal(config != NULL, cases[i].is_good);
		if (!cases[i].is_good)
			assert_non_null(strstr(faults.lines[0], "holds a client_secret"));
		config_free(config);
		faults_fini(&faults);
	}
	unlink(path);
}

/* What only map and configuration together can show. */
static void test_map(void **state)
{
	static const struct {
		const char *config, *map, *want; /* NULL: it is good */
	} cases[] = {
		{GOOD OAUTH, "a upstream=imaps://h local={plain}x oauth=g\n", NULL},
		{GOOD OAUTH, "%profile p upstream=imaps://h oauth=g\na use=p local={plain}x\n",
		 NULL},
		{GOOD OAUTH, "a upstream=imaps://h local={plain}x oauth=h\n",
		 "m:1: oauth=h: there is no [oauth h] in f.conf"},
		{"[popgate]\nmap = /m\ncert = /c\nkey = /k\nstate = /s\n"
		 "[listener lan]\naddress = 127.0.0.1:110\n" OAUTH,
		 "# c\na upstream=imaps://h local={plain}x oauth=g\n",
		 "m:2: oauth=g needs a place for tokens: set state and token_key in f.conf"},
		{"[popgate]\nmap = /m\ncert = /c\nkey = /k\ntoken_key_cred = k\n"
		 "[listener lan]\naddress = 127.0.0.1:110\n" OAUTH,
		 "a upstream=imaps://h local={plain}x oauth=g\n", "m:1: oauth=g needs a place"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct faults faults = {0};
		struct config *config = parse(cases[i].config, &faults);
		struct map *map = map_parse("m", cases[i].map, strlen(cases[i].map), &faults);
		faults_print(&faults, stderr);
		assert_non_null(config);
		assert_non_null(map);
		server_check_oauth(config, config->profiles, map, &faults);
		assert_int_equal(faults.count, cases[i].want ? 1 : 0);
		if (cases[i].want)
			assert_non_null(strstr(faults.lines[0], cases[i].want));
		map_release(map);
		config_free(config);
		faults_fini(&faults);
	}
}

static void test_key(void **state)
{
	char text[512], path[] = "/tmp/popgate-t_config-XXXXXX";
	struct faults faults = {0};
	struct token_key *key;

	(void)state;
	int fd = mkstemp(path);
	assert_int_equal(write(fd, "0123456789abcdef0123456789abcdef", 32), 32);
	snprintf(text, sizeof text,
		 "[popgate]\nmap = /m\ncert = /c\nkey = /k\nstate = /s\ntoken_key = %s\n"
		 "[listener lan]\naddress = 127.0.0.1:110\n",
		 path);
	struct config *config = parse(text, &faults);
	assert_non_null(config);
	config_oauth_key(config, &faults, &key);
	assert_int_equal(faults.count, 0);
	assert_non_null(key);
	token_key_free(key);
	assert_int_equal(fchmod(fd, 0644), 0);
	config_oauth_key(config, &faults, &key);
	assert_null(key);
	assert_int_equal(faults.count, 1);
	assert_non_null(strstr(faults.lines[0], "f.conf:6: the key for tokens cannot be used"));
	config_free(config);
	faults_fini(&faults);
	close(fd);
	unlink(path);
	config = parse("[popgate]\nmap = /m\ncert = /c\nkey = /k\ntoken_key_cred = popgate-key\n"
		       "[listener lan]\naddress = 127.0.0.1:110\n",
		       &faults);
	unsetenv("CREDENTIALS_DIRECTORY");
	config_oauth_key(config, &faults, &key);
	assert_null(key);
	assert_non_null(strstr(faults.lines[0], "f.conf:5: token_key_cred = popgate-key: CRED"));
	config_free(config);
	faults_fini(&faults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),  cmocka_unit_test(test_errors),
		cmocka_unit_test(test_permissions), cmocka_unit_test(test_map),
		cmocka_unit_test(test_key),
	};

	return cmocka_run_group_tests_name("config_oauth", tests, NULL, NULL);
}
