/* SPDX-License-Identifier: MIT */
/* t_exchange.c - SCRAM as a server, against a client that is GNU SASL's other half. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <gsasl.h>

#include "proxy/base/text.h"
#include "proxy/exchange.h"
#include "proxy/verify.h"
#include "tests/fake/world.h"

/* RFC 7677 section 3: "pencil" */
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define KEYS                                                                                       \
	"{scram-sha-256}4096," SALT ",WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"               \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
/* "password" */
#define CRYPT "{sha256-crypt}$5$saltsalt$gOjOtoMpVhru2uyjeJSEc/JaLQWOXMNmlOnj6T4AtC."

struct talk {
	struct fake_world world;
	struct stream stream; /* for its binding alone */
	enum stream_binding kind;
	const char *ours; /* the binding as the server sees it; NULL: none */
	Gsasl *gsasl;
	Gsasl_session *client;
	unsigned asked;
	char first[512]; /* what the server said first */
	/* How the client is strange. */
	const char *answers[2]; /* said in place of what SCRAM would */
	bool is_foreign;        /* GNU SASL did not begin, and need not understand */
	struct err err;         /* of the second question */
	struct notice why;
	int which;
};

static bool bind(const struct stream *stream, enum stream_binding kind, struct buf *out)
{
	const struct talk *talk =
		(const struct talk *)((const char *)stream - offsetof(struct talk, stream));

	return talk->ours && kind == talk->kind && buf_put(out, talk->ours, strlen(talk->ours));
}

static struct err ask(void *arg, const void *challenge, size_t len, struct buf *answer)
{
	struct talk *talk = arg;
	const char *other = talk->asked < 2 ? talk->answers[talk->asked] : NULL;
	char *said = NULL;
	size_t said_len = 0;

	buf_drop(answer, buf_len(answer));
	assert_true(talk->asked < 2);
	if (!talk->asked++)
		snprintf(talk->first, sizeof talk->first, "%.*s", (int)len,
			 (const char *)challenge);
	else if (talk->err.kind)
		return talk->err;
	int outcome = gsasl_step(talk->client, challenge, len, &said, &said_len);
	if (!other && !talk->is_foreign)
		assert_int_equal(outcome, talk->asked == 1 ? GSASL_NEEDS_MORE : GSASL_OK);
	if (other)
		assert_true(buf_put(answer, other, strlen(other)));
	else if (said_len)
		assert_true(buf_put(answer, said, said_len));
	gsasl_free(said);
	return OK;
}

static void talk_init(struct talk *talk)
{
	*talk = (struct talk){.kind = BINDING_TLS_EXPORTER, .which = -7};
	fake_world_init(&talk->world);
	talk->stream.binding = bind;
	assert_int_equal(gsasl_init(&talk->gsasl), GSASL_OK);
}

static void talk_fini(struct talk *talk)
{
	gsasl_done(talk->gsasl);
}

struct exchange_case {
	const char *mechanism, *password;
	struct local_list locals;
	bool is_unknown; /* no list at all */
	int rounds;      /* 0: VERIFY_ROUNDS */
	bool is_plus_offered;
	const char *ours, *theirs; /* channel binding */
	enum stream_binding kind;
	const char *initial; /* in place of what SCRAM would */
	enum err_kind want;
	int which;
	unsigned asked;
};

static struct err run(struct talk *talk, const struct exchange_case *c, const char *name,
		      const unsigned char key[EXCHANGE_KEY])
{
	char coded[64];
	char *initial = NULL;
	size_t len;

	talk->asked = 0;
	talk->ours = c->ours;
	talk->kind = c->kind;
	talk->is_foreign = c->initial != NULL;
	assert_int_equal(gsasl_client_start(talk->gsasl, c->mechanism, &talk->client), GSASL_OK);
	assert_int_equal(gsasl_property_set(talk->client, GSASL_AUTHID, name), GSASL_OK);
	assert_int_equal(gsasl_property_set(talk->client, GSASL_PASSWORD, c->password), GSASL_OK);
	if (c->theirs) {
		text_base64(coded, c->theirs, strlen(c->theirs));
		assert_int_equal(gsasl_property_set(talk->client,
						    c->kind == BINDING_TLS_EXPORTER
							    ? GSASL_CB_TLS_EXPORTER
							    : GSASL_CB_TLS_UNIQUE,
						    coded),
				 GSASL_OK);
	}
	assert_int_equal(gsasl_step(talk->client, "", 0, &initial, &len), GSASL_NEEDS_MORE);
	struct credential claim = {
		.name = name,
		.password = "",
		.kind = CREDENTIAL_EXCHANGE,
		.mechanism = c->mechanism,
		.client = &talk->stream,
		.initial = c->initial ? c->initial : initial,
		.ask = ask,
		.arg = talk,
	};
	struct err err =
		exchange_scram(&talk->world.env, &claim, name, c->is_unknown ? NULL : &c->locals,
			       key, c->rounds ? c->rounds : VERIFY_ROUNDS, c->is_plus_offered,
			       &talk->why, &talk->which);
	gsasl_free(initial);
	gsasl_finish(talk->client);
	return err;
}

static const unsigned char key[EXCHANGE_KEY] = "a key of the process";

#define S1 "SCRAM-SHA-1"
#define S256 "SCRAM-SHA-256"
#define PLAIN                                                                                      \
	{                                                                                          \
		{"{plain}pencil"}, 1                                                               \
	}
static const struct exchange_case cases[] = {
	{.mechanism = S1, .password = "pencil", .locals = PLAIN, .asked = 2},
	{.mechanism = S256, .password = "pencil", .locals = PLAIN, .asked = 2},
	{.mechanism = S256, .password = "pencil", .locals = {{KEYS}, 1}, .asked = 2},
	{.mechanism = S256, .password = "pencil", .locals = {{"old-phone:" KEYS}, 1}, .asked = 2},
	{.mechanism = S256,
	 .password = "pencil",
	 .locals = {{CRYPT, "b:" KEYS, "c:{plain}x"}, 3},
	 .which = 1,
	 .asked = 2},
	/* the keys of one hash say nothing of another */
	{.mechanism = S1,
	 .password = "x",
	 .locals = {{CRYPT, "b:" KEYS, "c:{plain}x"}, 3},
	 .which = 2,
	 .asked = 2},
	{.mechanism = S1,
	 .password = "pencil",
	 .locals = {{KEYS}, 1},
	 .want = ERR_LOGIN,
	 .which = -1,
	 .asked = 1},
	{.mechanism = S256,
	 .password = "password",
	 .locals = {{CRYPT}, 1},
	 .want = ERR_LOGIN,
	 .which = -1,
	 .asked = 1},
	{.mechanism = S256, .password = "pencils", .locals = PLAIN, .want = ERR_LOGIN, .asked = 1},
	{.mechanism = S256,
	 .password = "pencils",
	 .locals = {{KEYS}, 1},
	 .want = ERR_LOGIN,
	 .asked = 1},
	{.mechanism = S256,
	 .password = "pencil",
	 .is_unknown = true,
	 .want = ERR_LOGIN,
	 .which = -1,
	 .asked = 1},
	/* Prepared by RFC 4013 on both sides: I, SOFT HYPHEN, X; FEMININE ORDINAL INDICATOR. */
	{.mechanism = S256, .password = "I\302\255X", .locals = {{"{plain}IX"}, 1}, .asked = 2},
	{.mechanism = S1, .password = "a", .locals = {{"{plain}\302\252"}, 1}, .asked = 2},
	/* bound to the connection, and to another one */
	{.mechanism = S256 "-PLUS",
	 .password = "pencil",
	 .locals = PLAIN,
	 .is_plus_offered = true,
	 .ours = "here",
	 .theirs = "here",
	 .kind = BINDING_TLS_EXPORTER,
	 .asked = 2},
	{.mechanism = S1 "-PLUS",
	 .password = "pencil",
	 .locals = PLAIN,
	 .is_plus_offered = true,
	 .ours = "here",
	 .theirs = "here",
	 .kind = BINDING_TLS_UNIQUE,
	 .asked = 2},
	{.mechanism = S256 "-PLUS",
	 .password = "pencil",
	 .locals = {{KEYS}, 1},
	 .is_plus_offered = true,
	 .ours = "here",
	 .theirs = "there",
	 .kind = BINDING_TLS_EXPORTER,
	 .want = ERR_LOGIN,
	 .asked = 1},
	{.mechanism = S256 "-PLUS",
	 .password = "pencil",
	 .locals = PLAIN,
	 .theirs = "here",
	 .kind = BINDING_TLS_EXPORTER,
	 .want = ERR_LOGIN,
	 .which = 0},
	/* n and y with -PLUS, p without it, a binding that nobody knows (RFC 5802 section 6) */
	{.mechanism = S256 "-PLUS",
	 .password = "pencil",
	 .locals = PLAIN,
	 .is_plus_offered = true,
	 .ours = "here",
	 .theirs = "here",
	 .kind = BINDING_TLS_EXPORTER,
	 .initial = "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
	 .want = ERR_LOGIN,
	 .which = -1},
	{.mechanism = S256,
	 .password = "pencil",
	 .locals = PLAIN,
	 .is_plus_offered = true,
	 .ours = "here",
	 .kind = BINDING_TLS_EXPORTER,
	 .initial = "p=tls-exporter,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
	 .want = ERR_LOGIN,
	 .which = -1},
	{.mechanism = S256 "-PLUS",
	 .password = "pencil",
	 .locals = PLAIN,
	 .is_plus_offered = true,
	 .ours = "here",
	 .theirs = "here",
	 .kind = BINDING_TLS_EXPORTER,
	 .initial = "p=tls-server-end-point,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
	 .want = ERR_LOGIN},
	/* A client that could bind, and was not told that we can: somebody is in between (J-05). */
	{.mechanism = S256,
	 .password = "pencil",
	 .locals = PLAIN,
	 .is_plus_offered = true,
	 .ours = "here",
	 .kind = BINDING_TLS_EXPORTER,
	 .initial = "y,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
	 .want = ERR_LOGIN,
	 .which = -1},
	{.mechanism = S256, .password = "x", .locals = PLAIN, .initial = "n,,", .want = ERR_LOGIN},
	{.mechanism = S256,
	 .password = "x",
	 .locals = PLAIN,
	 .initial = "n,,m=ext,n=user,r=abcdefgh",
	 .want = ERR_LOGIN},
};

static void test_exchanges(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk talk;
		talk_init(&talk);
		struct err err = run(&talk, &cases[i], "user", key);
		if (err.kind != cases[i].want || talk.which != cases[i].which ||
		    talk.asked != cases[i].asked)
			fail_msg("%zu: kind %d, which %d, asked %u: %s", i, (int)err.kind,
				 talk.which, talk.asked, talk.why.text);
		if (err.kind)
			assert_string_not_equal(talk.why.text, "");
		talk_fini(&talk);
	}
}

/* What the client sees of the keys, and how much chance is in the nonce: 144 bits (J-05). */
static void test_first_message(void **state)
{
	const struct exchange_case c = {
		.mechanism = S256, .password = "pencil", .locals = {{KEYS}, 1}};
	char seen[2][512];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct talk talk;
		talk_init(&talk);
		assert_int_equal(run(&talk, &c, "user", key).kind, ERR_NONE);
		assert_non_null(strstr(talk.first, ",s=" SALT ",i=4096"));
		memcpy(seen[i], talk.first, sizeof talk.first);
		/* The client's half in front is as long (GNU SASL's own). */
		assert_true(strcspn(talk.first, ",") >= 2 + 24 + 24);
		talk_fini(&talk);
	}
	assert_string_not_equal(seen[0], seen[1]);
}

static void first_of(const struct exchange_case *c, const char *name, const unsigned char *of,
		     char out[512])
{
	struct talk talk;

	talk_init(&talk);
	struct err err = run(&talk, c, name, of);
	assert_int_equal(err.kind, ERR_LOGIN);
	assert_int_equal(talk.asked, 1);
	const char *salt = strstr(talk.first, ",s=");
	assert_non_null(salt);
	strcpy(out, salt);
	talk_fini(&talk);
}

/* A name that nobody has looks like any other: the same salt each time, and another one elsewhere. */
static void test_unknown_names_have_salt(void **state)
{
	static const unsigned char other[EXCHANGE_KEY] = "another key";
	const struct exchange_case c = {.mechanism = S256, .password = "x", .is_unknown = true};
	const struct exchange_case one = {.mechanism = S1, .password = "x", .is_unknown = true};
	const struct exchange_case few = {
		.mechanism = S256, .password = "x", .is_unknown = true, .rounds = 4096};
	const struct exchange_case known = {
		.mechanism = S256, .password = "x", .locals = {{CRYPT}, 1}};
	char first[512], again[512], ann[512], elsewhere[512], sha_1[512], locked[512];

	(void)state;
	first_of(&c, "joe", key, first);
	first_of(&c, "joe", key, again);
	first_of(&c, "ann", key, ann);
	first_of(&c, "joe", other, elsewhere);
	first_of(&one, "joe", key, sha_1);
	first_of(&known, "joe", key, locked);
	assert_string_equal(first, again);
	assert_string_equal(first, locked); /* nor which of the names has no secret for SCRAM */
	assert_string_not_equal(first, ann);
	assert_string_not_equal(first, elsewhere);
	assert_int_equal(strlen(first), strlen(",s=,i=15000") + 24);
	assert_non_null(strstr(first, ",i=15000"));
	assert_non_null(strstr(sha_1, ",i=4096"));
	first_of(&few, "joe", key, again);
	assert_non_null(strstr(again, ",i=4096"));
}

/* {plain} has no salt of its own: it is made as for a name without any. */
static void test_plain_has_the_same_salt(void **state)
{
	const struct exchange_case unknown = {
		.mechanism = S256, .password = "x", .is_unknown = true};
	const struct exchange_case plain = {.mechanism = S256, .password = "x", .locals = PLAIN};
	char a[512], b[512];

	(void)state;
	first_of(&unknown, "joe", key, a);
	first_of(&plain, "joe", key, b);
	assert_string_equal(a, b);
}

static void test_client_that_breaks_off(void **state)
{
	const struct exchange_case c = {.mechanism = S1, .password = "pencil", .locals = PLAIN};
	struct talk talk;

	(void)state;
	talk_init(&talk);
	talk.err = ERR(ERR_REFUSED, ECANCELED, "authentication cancelled");
	struct err err = run(&talk, &c, "user", key);
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_int_equal(err.code, ECANCELED);
	talk_fini(&talk);
}

static void test_strange_answers(void **state)
{
	static const struct {
		const char *answers[2];
	} strange[] = {
		{{"", NULL}},
		{{"x", NULL}},
		{{"c=biws,r=other,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", NULL}},
		{{"c=biws", NULL}},
		{{NULL, "more"}}, /* behind the server's last word */
	};
	const struct exchange_case c = {.mechanism = S1, .password = "pencil", .locals = PLAIN};

	(void)state;
	for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
		struct talk talk;
		talk_init(&talk);
		memcpy(talk.answers, strange[i].answers, sizeof talk.answers);
		struct err err = run(&talk, &c, "user", key);
		if (err.kind != ERR_LOGIN)
			fail_msg("%zu: %d", i, (int)err.kind);
		talk_fini(&talk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchanges),
		cmocka_unit_test(test_first_message),
		cmocka_unit_test(test_unknown_names_have_salt),
		cmocka_unit_test(test_plain_has_the_same_salt),
		cmocka_unit_test(test_client_that_breaks_off),
		cmocka_unit_test(test_strange_answers),
	};
	return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
