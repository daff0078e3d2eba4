/* SPDX-License-Identifier: MIT */
/* forgetful.c - a client that forgets every UIDL that is missing from one listing, as Thunderbird does,
 * goes through upstream faults (H-02): it never fetches a message twice.
 *
 * It leaves mail on the server. Each session is USER, PASS, STAT, UIDL, a RETR for whatever it does not
 * know, now and then a DELE of what it has, QUIT. What is in no listing is forgotten at once, and a STAT
 * that says 0 empties its memory; a refused login or a lost connection changes nothing. Speaks TAP.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/fake/imap_server.h"
#include "tests/fake/state_memory.h"
#include "tests/soak/stand.h"

enum {
	FAULTS = 200,
	MAILS = 60,
	FIRST_MAILS = 8,
	KNOWN = 2000,
	NAMES = 100,
	FAULT_ODDS = 7,
	SESSIONS = 5000,
	POLL_MS = 20 * 60 * 1000,
};

/* What it has fetched, for as long as it remembers. */
struct known {
	char uidl[80];
	bool is_listed;
};

struct forgetful {
	struct imap_server server;
	struct state_memory state;
	struct stand stand;
	struct known known[KNOWN];
	size_t count;
	char step;              /* what was said last: G(reeting) U P S L R D Q */
	char listed[NAMES][80]; /* UIDLs by number */
	size_t total, at;
	unsigned fetched[MAILS + 1]; /* whole, by the number in the Subject */
	unsigned faults, logins, refusals, mails, whole;
	uint64_t chance;
	char failure[256];
};

static uint32_t chance(struct forgetful *client, uint32_t below)
{
	client->chance = client->chance * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(client->chance >> 33) % below;
}

static struct known *find(struct forgetful *client, const char *uidl)
{
	for (size_t i = 0; i < client->count; i++)
		if (!strcmp(client->known[i].uidl, uidl))
			return &client->known[i];
	return NULL;
}

static void remember(struct forgetful *client, const char *uidl)
{
	struct known *known = &client->known[client->count];

	if (find(client, uidl) || client->count == KNOWN)
		return;
	client->count++;
	*known = (struct known){.is_listed = true};
	memcpy(known->uidl, uidl, strnlen(uidl, sizeof known->uidl - 1));
}

/* The heart of it: what is not listed now was never there. */
static void take_listing(struct forgetful *client, const char *reply)
{
	size_t kept = 0, n;
	char uidl[80];

	client->total = client->at = 0;
	for (size_t i = 0; i < client->count; i++)
		client->known[i].is_listed = false;
	for (const char *at = strchr(reply, '\n'); at; at = strchr(at + 1, '\n')) {
		if (sscanf(at + 1, "%zu %79s", &n, uidl) != 2 || n >= NAMES)
			continue;
		struct known *known = find(client, uidl);
		if (known)
			known->is_listed = true;
		snprintf(client->listed[n], sizeof client->listed[n], "%s", uidl);
		client->total = n;
	}
	for (size_t i = 0; i < client->count; i++)
		if (client->known[i].is_listed)
			client->known[kept++] = client->known[i];
	client->count = kept;
}

static void take_mail(struct forgetful *client, const char *reply, size_t len)
{
	const char *subject = strstr(reply, "Subject: mail ");
	unsigned n;

	bool is_whole = len > 5 && !memcmp(reply + len - 5, "\r\n.\r\n", 5);
	if (strncmp(reply, "+OK", 3) != 0 || !is_whole)
		return;
	remember(client, client->listed[client->at]);
	client->whole++;
	if (!subject || sscanf(subject + 14, "%u", &n) != 1 || n > MAILS)
		snprintf(client->failure, sizeof client->failure, "not a mail: %.100s", reply);
	else if (client->fetched[n]++)
		snprintf(client->failure, sizeof client->failure, "mail %u was fetched twice", n);
}

static void take_reply(struct forgetful *client, const char *reply, size_t len)
{
	size_t count;

	if (client->step == 'S' && sscanf(reply, "+OK %zu", &count) == 1 && !count)
		client->count = 0;
	if (client->step == 'L' && !strncmp(reply, "+OK", 3))
		take_listing(client, reply);
	if (client->step == 'R')
		take_mail(client, reply, len);
	client->logins += client->step == 'P' && !strncmp(reply, "+OK", 3);
}

/* The next number that it does not know yet, or, seldom, one that it knows and deletes. */
static void say_next(struct forgetful *client, struct buf *out)
{
	while (++client->at <= client->total) {
		bool is_known = find(client, client->listed[client->at]) != NULL;
		if (is_known && chance(client, 40))
			continue;
		client->step = is_known ? 'D' : 'R';
		if (!buf_printf(out, "%s %zu\r\n", is_known ? "DELE" : "RETR", client->at))
			abort();
		return;
	}
	client->step = 'Q';
	if (!buf_printf(out, "QUIT\r\n"))
		abort();
}

static void next(void *arg, struct buf *out, const char *heard, size_t len)
{
	static const char order[] = "GUPSL";
	static const char *const words[] = {"USER joe\r\n", "PASS secret\r\n", "STAT\r\n",
					    "UIDL\r\n"};
	struct forgetful *client = arg;
	char *reply = mem_dup(heard ? heard : "", len);
	const char *place = strchr(order, client->step);

	take_reply(client, reply, len);
	if (client->step == 'P' && strncmp(reply, "+OK", 3) != 0) {
		client->refusals++;
		client->step = 'Q';
	} else if (place && place[1]) {
		client->step = place[1];
		if (!buf_printf(out, "%s", words[place - order]))
			abort();
	} else {
		say_next(client, out);
	}
	free(reply);
}

static void deliver(struct forgetful *client)
{
	unsigned n = (unsigned)client->server.mail_count + 1;
	char *mail = text_printf_dup("Message-ID: <%u@example.com>\r\nSubject: mail %u\r\n\r\n"
				     "%*s\r\n",
				     n, n, (int)chance(client, 3000), "x");

	imap_server_deliver(&client->server, "INBOX", mail, strlen(mail));
	free(mail);
}

static enum server_fault on_command(void *arg, struct imap_server *server, const char *command)
{
	struct forgetful *client = arg;
	enum server_fault fault = 1 + chance(client, FAULT_COUNT - 1);
	bool is_dial = *command == '(';

	if (!chance(client, 30) && server->mail_count < MAILS)
		deliver(client);
	if (chance(client, FAULT_ODDS) || client->faults == FAULTS)
		return FAULT_NONE;
	if (is_dial && (fault == FAULT_LIE || fault == FAULT_HALF || fault > FAULT_STALL))
		fault = FAULT_CUT;
	client->faults++;
	return fault;
}

static void session(struct forgetful *client)
{
	struct session session = {0};
	struct pop_client stream;

	client->step = 'G';
	pop_client_init(&stream);
	stream.next = next;
	stream.arg = client;
	stand_run(&client->stand, &session, &stream);
	pop_client_fini(&stream);
	client->server.world.now_ms += chance(client, POLL_MS);
}

static void start(struct forgetful *client, const struct imap_family *family, uint64_t seed)
{
	*client = (struct forgetful){.chance = seed};
	imap_server_init(&client->server, family);
	client->server.on_command = on_command;
	client->server.arg = client;
	client->server.seed = seed;
	state_memory_init(&client->state);
	stand_init(&client->stand, &client->server.world.env, NULL);
	client->stand.conf.state = &client->state.store;
	for (int i = 0; i < FIRST_MAILS; i++)
		deliver(client);
}

static void run(struct forgetful *client, const struct imap_family *family, uint64_t seed)
{
	start(client, family, seed);
	for (int i = 0; i < SESSIONS && client->faults < FAULTS && !*client->failure; i++)
		session(client);
	if (client->faults < FAULTS && !*client->failure)
		snprintf(client->failure, sizeof client->failure, "only %u faults in %d sessions",
			 client->faults, SESSIONS);
	if (client->server.crimes && !*client->failure)
		snprintf(client->failure, sizeof client->failure, "%s", client->server.crime);
	client->mails = (unsigned)client->server.mail_count;
	if (!client->logins && !*client->failure)
		snprintf(client->failure, sizeof client->failure, "it never got in");
	imap_server_fini(&client->server);
	state_memory_fini(&client->state);
	stand_fini(&client->stand);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	struct forgetful *client = mem_alloc(sizeof *client);
	const struct imap_family *family;
	size_t count = 0;
	int failures = 0;

	while (imap_family_at(count))
		count++;
	printf("1..%zu\n", count);
	for (size_t i = 0; (family = imap_family_at(i)); i++) {
		run(client, family, seed + i);
		printf("%sok %zu - forgetful client of %s: %u mails, %u fetched, %u faults, %u "
		       "logins, %u refused\n",
		       *client->failure ? "not " : "", i + 1, family->name, client->mails,
		       client->whole, client->faults, client->logins, client->refusals);
		if (*client->failure)
			printf("# seed %llu: %s\n", (unsigned long long)seed, client->failure);
		failures += *client->failure != '\0';
	}
	free(client);
	return failures > 0;
}
