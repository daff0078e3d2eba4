/* SPDX-License-Identifier: MIT */
/* t_imap_families.c - whole POP3 sessions over each kind of IMAP server (group N): what the client
 * sees is the truth, and the same whether the driver knows the server or takes it for any (N-01).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "session/session.h"
#include "tests/fake/canned.h"
#include "tests/fake/imap_server.h"
#include "tests/fake/memory.h"
#include "tests/fake/state_memory.h"
#include "upstream/imap_quirks.h"

enum { MAILS = 7, SESSIONS = 4, POLL_MS = 20 * 60 * 1000 };

static const char *const scripts[SESSIONS] = {
	"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nRETR 2\r\nRETR 3\r\nRETR 4\r\nRETR 5\r\nRETR 6\r\n"
	"TOP 1 0\r\nTOP 3 1\r\nTOP 5 99999\r\nDELE 2\r\nDELE 5\r\nSTAT\r\nQUIT\r\n",
	"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nDELE 1\r\nDELE 2\r\nRSET\r\nQUIT\r\n",
	"UIDL\r\nLIST\r\nRETR 4\r\nRETR 5\r\nDELE 1\r\nQUIT\r\n",
	"STAT\r\nUIDL\r\nQUIT\r\n",
};

/* Deletions that QUIT confirms, as mail ids: 2 and 5 in the first session, 1 in the third. 3 is
 * marked by another before the second. */
static bool is_promised(uint64_t id)
{
	return id == 1 || id == 2 || id == 5;
}

/* What else is set up before the sessions. */
struct scene {
	void (*prepare)(struct imap_server *); /* may be NULL */
	bool has_state;                        /* popgate remembers */
	bool is_renumbered; /* UIDVALIDITY and all UIDs change before the third session */
};

struct outcome {
	char *heard[SESSIONS]; /* owned: what the client was told */
	char kept[64];         /* ids left in INBOX, \Deleted ones in parentheses */
	char profile[32];
};

static char *mail_of(unsigned n)
{
	return text_printf_dup("Message-ID: <%u@example.com>\r\n"
			       "From: \"J\xc3\xb6rg %u\" <joerg@example.com>\r\n"
			       "Date: Mon, 5 Jan 2026 10:00:0%u +0100\r\n"
			       "Subject: mail %u\r\n\r\n"
			       ".a line with a dot\r\nand %*s the rest\r\n",
			       n, n, n, n, (int)(n * 40), "");
}

static bool may_remove(void *arg, uint64_t id)
{
	(void)arg;
	return is_promised(id);
}

static void fill(struct imap_server *server, size_t from, size_t to)
{
	for (size_t n = from; n <= to; n++) {
		char *mail = mail_of((unsigned)n);
		imap_server_deliver(server, "INBOX", mail, strlen(mail));
		free(mail);
	}
}

static char *run_session(struct imap_server *server, struct state_store *state, const char *script,
			 const char *profile)
{
	static const struct fake_user users[] = {{.name = "joe"}};
	struct fake_accounts accounts;
	struct session_conf conf;
	struct canned client;
	struct session session = {0};
	char *says = text_printf_dup("USER joe\r\nPASS secret\r\n%s", script);

	canned_init(&client, ERR_CLIENT, says, strlen(says));
	session_conf_init(&conf);
	conf.failure_ms = 0;
	fake_accounts_init(&accounts, users, 1, &imap_ops);
	accounts.conf.host = "imap.example.com";
	accounts.conf.port = 143;
	accounts.conf.folder = "INBOX";
	accounts.conf.seen_policy = SEEN_ON_QUIT;
	accounts.conf.name = "joe";
	accounts.conf.state = state;
	accounts.conf.delete_after_s = DELETE_AFTER_NEVER;
	if (profile)
		accounts.conf.quirks = imap_quirks_named(profile);
	session.env = &server->world.env;
	session.conf = &conf;
	session.accounts = &accounts.accounts;
	session.locks = lock_table_new();
	session.is_cleartext_allowed = true;
	session_run(&session, &client.stream);
	char *heard = text_dup(canned_output(&client));
	lock_table_free(session.locks);
	canned_fini(&client);
	free(says);
	return heard;
}

static void note_kept(struct imap_server *server, struct outcome *outcome)
{
	const struct server_folder *inbox = imap_server_folder(server, "INBOX");

	for (size_t i = 0; i < inbox->count; i++) {
		const struct server_message *msg = &inbox->messages[i];
		char id[24];
		snprintf(id, sizeof id, msg->flags & FLAG_DELETED ? "(%u)" : "%u ",
			 (unsigned)msg->mail->id);
		strcat(outcome->kept, id);
	}
}

/* What happens in the mailbox before session i. */
static void change_mailbox(struct imap_server *server, const struct scene *scene, int i)
{
	struct server_folder *inbox = imap_server_folder(server, "INBOX");

	if (i == 1) {
		imap_server_flag(server, inbox, 3, FLAG_DELETED, true);
		fill(server, MAILS, MAILS);
	}
	if (i == 2 && scene->is_renumbered)
		imap_server_renumber(server, inbox, inbox->uidvalidity + 1, 2);
	server->world.now_ms += POLL_MS;
}

/* All sessions over one server. */
static struct outcome run(const struct imap_family *family, const char *profile,
			  const struct scene *scene)
{
	struct outcome outcome = {.kept = ""};
	struct state_memory state;
	struct imap_server server;

	imap_server_init(&server, family);
	state_memory_init(&state);
	server.may_remove = may_remove;
	fill(&server, 1, MAILS - 1);
	if (scene->prepare)
		scene->prepare(&server);
	for (int i = 0; i < SESSIONS; i++) {
		change_mailbox(&server, scene, i);
		outcome.heard[i] = run_session(&server, scene->has_state ? &state.store : NULL,
					       scripts[i], profile);
	}
	if (server.crimes)
		fail_msg("%s as %s: %s", family->name, profile ? profile : "itself", server.crime);
	note_kept(&server, &outcome);
	imap_server_fini(&server);
	state_memory_fini(&state);
	return outcome;
}

static void outcome_fini(struct outcome *outcome)
{
	for (int i = 0; i < SESSIONS; i++)
		free(outcome->heard[i]);
}

/* The UIDL of message `number` in a transcript, in `out`; "" if it is not listed. */
static void uidl_of(const char *heard, unsigned number, char out[80])
{
	char line[32];
	const char *at = strstr(heard, "+OK\r\n1 ");

	snprintf(line, sizeof line, "\r\n%u ", number);
	*out = '\0';
	at = at ? strstr(at, line) : NULL;
	if (at)
		snprintf(out, 80, "%.*s", (int)strcspn(at + strlen(line), "\r"), at + strlen(line));
}

static void same_uidl(const struct outcome *outcome, int session, unsigned number, int other,
		      unsigned other_number)
{
	char one[80], two[80];

	uidl_of(outcome->heard[session], number, one);
	uidl_of(outcome->heard[other], other_number, two);
	assert_string_not_equal(one, "");
	assert_string_equal(one, two);
}

/* A whole message of the transcript: the octets between its +OK line and its dot, unstuffed. */
static void has_mail(const char *heard, unsigned n)
{
	char *mail = mail_of(n), *dot = strstr(mail, "\r\n.a"), *seen;

	seen = text_printf_dup("%.*s.%s.\r\n", (int)(dot + 2 - mail), mail, dot + 2);
	if (!strstr(heard, seen))
		fail_msg("mail %u is not in:\n%s", n, heard);
	free(seen);
	free(mail);
}

/* What is true of every server that tells the truth slowly or oddly. */
static void check_outcome(const struct outcome *outcome)
{
	static const unsigned seconds[] = {1, 4, 6, 7}; /* mails in the second listing */

	for (unsigned n = 1; n < MAILS; n++)
		has_mail(outcome->heard[0], n);
	assert_non_null(strstr(outcome->heard[0], "+OK 2 messages removed\r\n"));
	for (unsigned i = 0; i < 3; i++)
		same_uidl(outcome, 1, i + 1, 0, seconds[i]);
	for (unsigned i = 0; i < 4; i++)
		same_uidl(outcome, 2, i + 1, 1, i + 1);
	for (unsigned i = 0; i < 3; i++)
		same_uidl(outcome, 3, i + 1, 2, i + 2);
	has_mail(outcome->heard[1], 1);
	has_mail(outcome->heard[2], 7);
	assert_non_null(strstr(outcome->heard[2], "+OK 1 message removed\r\n"));
	assert_non_null(strstr(outcome->heard[3], "maildrop has 3 messages"));
}

static void compare(const struct imap_family *family, struct outcome *own, struct outcome *generic)
{
	for (int i = 0; i < SESSIONS; i++)
		if (strcmp(own->heard[i], generic->heard[i]) != 0)
			fail_msg("%s, session %d:\n%s\nas generic:\n%s", family->name, i + 1,
				 own->heard[i], generic->heard[i]);
}

static void both(const struct imap_family *family, const struct scene *scene, struct outcome *own,
		 struct outcome *generic)
{
	*own = run(family, NULL, scene);
	*generic = run(family, "generic", scene);
	compare(family, own, generic);
}

static void check_family(const struct imap_family *family, const struct scene *scene)
{
	struct outcome own, generic;

	both(family, scene, &own, &generic);
	check_outcome(&own);
	/* Where a server removes nothing but all that anybody marked, ours stay marked. */
	bool is_exact = strstr(family->after, "UIDPLUS") != NULL;
	assert_string_equal(own.kept, is_exact ? "(3)4 6 7 " : "(1)(3)4 6 7 ");
	assert_string_equal(generic.kept, own.kept);
	outcome_fini(&own);
	outcome_fini(&generic);
}

static void test_each_family(void **state)
{
	const struct imap_family *family;

	(void)state;
	for (size_t i = 0; (family = imap_family_at(i)); i++)
		check_family(family, &(struct scene){.has_state = false});
}

static void test_each_family_with_state(void **state)
{
	const struct imap_family *family;

	(void)state;
	for (size_t i = 0; (family = imap_family_at(i)); i++)
		check_family(family, &(struct scene){.has_state = true});
}

static void test_new_uidvalidity(void **state)
{
	const struct imap_family *family;

	(void)state;
	for (size_t i = 0; (family = imap_family_at(i)); i++)
		check_family(family, &(struct scene){.has_state = true, .is_renumbered = true});
}

static void early(struct imap_server *server)
{
	server->tells_early = true;
	server->says_issued = true;
}

static void test_early_news(void **state)
{
	const struct imap_family *family;

	(void)state;
	for (size_t i = 0; (family = imap_family_at(i)); i++)
		check_family(family, &(struct scene){.prepare = early});
}

/* --- Gmail ------------------------------------------------------------------------------------ */

static void archives(struct imap_server *server)
{
	server->labels = LABELS_ARCHIVE;
}

static void trashes(struct imap_server *server)
{
	server->labels = LABELS_TRASH;
}

static void deletes(struct imap_server *server)
{
	server->labels = LABELS_DELETE;
}

static void archives_at_once(struct imap_server *server)
{
	server->labels = LABELS_ARCHIVE;
	server->is_auto_expunge = true;
}

static void test_gmail_settings(void **state)
{
	static void (*const settings[])(struct imap_server *) = {archives, trashes, deletes,
								 archives_at_once};
	const struct imap_family *family = imap_family_named("gmail");
	struct outcome own, generic;

	(void)state;
	for (int i = 0; i < 4; i++) {
		both(family, &(struct scene){.prepare = settings[i]}, &own, &generic);
		check_outcome(&own);
		/* With auto-expunge what another marks is gone before we look. */
		assert_string_equal(own.kept, i < 3 ? "(3)4 6 7 " : "4 6 7 ");
		outcome_fini(&own);
		outcome_fini(&generic);
	}
}

/* --- messages that do not come (N-05, N-09) --------------------------------------------------- */

static void put_oddity(struct imap_server *server, enum server_oddity oddity)
{
	imap_server_mail(server, 4)->oddity = oddity;
}

static void no_data(struct imap_server *server)
{
	put_oddity(server, ODD_NO_DATA);
}

static void nil(struct imap_server *server)
{
	put_oddity(server, ODD_NIL);
}

static void empty(struct imap_server *server)
{
	put_oddity(server, ODD_EMPTY);
}

static void refused(struct imap_server *server)
{
	put_oddity(server, ODD_REFUSED);
}

static void unavailable(struct imap_server *server)
{
	put_oddity(server, ODD_UNAVAILABLE);
}

static unsigned count_of(const char *text, const char *what)
{
	unsigned count = 0;

	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		count++;
	return count;
}

static void test_messages_that_do_not_come(void **state)
{
	static void (*const oddities[])(struct imap_server *) = {no_data, nil, empty, refused,
								 unavailable};
	static const char *const names[] = {"generic", "exchange", "o365", "yahoo", "icloud"};
	struct outcome own, generic;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		for (size_t k = 0; k < sizeof oddities / sizeof *oddities; k++) {
			both(imap_family_named(names[i]), &(struct scene){.prepare = oddities[k]},
			     &own, &generic);
			/* It stays listed, is refused alone, and is not taken for gone. */
			assert_non_null(strstr(own.heard[0], "maildrop has 6 messages"));
			assert_int_equal(count_of(own.heard[0], "-ERR [SYS/TEMP]") +
						 count_of(own.heard[0], "-ERR [SYS/PERM]"),
					 1);
			assert_int_equal(count_of(own.heard[0], "no such message"), 0);
			has_mail(own.heard[0], 5);
			assert_string_equal(own.kept, "(3)4 6 7 ");
			outcome_fini(&own);
			outcome_fini(&generic);
		}
	}
}

/* --- servers that show a part, or answer in parts (N-08) -------------------------------------- */

static void limit_to_two(struct imap_server *server)
{
	server->window = 2;
}

static void test_answers_in_parts(void **state)
{
	struct imap_family family = *imap_family_named("yahoo");

	(void)state;
	family.traits |= SERVER_LIMIT;
	check_family(&family, &(struct scene){.prepare = limit_to_two});
	check_family(&family, &(struct scene){.prepare = limit_to_two, .has_state = true});
}

/* N-08: who names messages by UID sees the whole folder; who does not know that sees its end, under the
 * same UIDLs. */
static void test_window(void **state)
{
	const struct imap_family *yahoo = imap_family_named("yahoo");
	struct imap_server server;
	struct outcome own, window;

	(void)state;
	own = run(yahoo, NULL, &(struct scene){.prepare = limit_to_two});
	check_outcome(&own);
	imap_server_init(&server, yahoo);
	fill(&server, 1, MAILS - 1);
	limit_to_two(&server);
	window = (struct outcome){
		.heard = {run_session(&server, NULL, "STAT\r\nUIDL\r\nQUIT\r\n", "generic")}};
	assert_non_null(strstr(window.heard[0], "maildrop has 2 messages"));
	for (unsigned i = 1; i <= 2; i++) {
		char one[80], two[80];
		uidl_of(own.heard[0], i + 4, one);
		uidl_of(window.heard[0], i, two);
		assert_string_not_equal(one, "");
		assert_string_equal(one, two);
	}
	imap_server_fini(&server);
	outcome_fini(&window);
	outcome_fini(&own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_each_family),
		cmocka_unit_test(test_each_family_with_state),
		cmocka_unit_test(test_new_uidvalidity),
		cmocka_unit_test(test_early_news),
		cmocka_unit_test(test_gmail_settings),
		cmocka_unit_test(test_messages_that_do_not_come),
		cmocka_unit_test(test_answers_in_parts),
	};

	return cmocka_run_group_tests_name("imap_families", tests, NULL, NULL);
}
