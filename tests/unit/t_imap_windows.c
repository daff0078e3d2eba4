/* SPDX-License-Identifier: MIT */
/* t_imap_windows.c - long listings: windows under way together, mixed answers, a listing that is cut off
 * (M-05, M-15, C-05). Before a server that computes what it says: message n has UID n. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/mem.h"
#include "tests/fake/state_memory.h"
#include "tests/fake/world.h"
#include "upstream/imap_quirks.h"
#include "upstream/upstream.h"

enum { AT_ONCE = 4 };

#define CAPABILITIES "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS ESEARCH"

/* A UID FETCH that waits for its turn. */
struct job {
	char tag[16];
	uint32_t from, to;
};

struct server {
	struct fake_world world; /* first */
	/* The test's to set. */
	uint32_t count; /* messages */
	uint32_t step;  /* UID = number * step */
	bool tells_uidnext;
	uint32_t uidnext;    /* 0: that of `count` */
	bool mixes;          /* answers to all that is under way go out in turns */
	bool reverses;       /* and end in reverse order */
	uint32_t omits;      /* this message is never told; 0: none */
	uint32_t limit;      /* most messages in an answer (RFC 9738); 0: none */
	uint32_t refuses_at; /* a FETCH that begins here is refused; 0: none */
	bool refuses_ids;
	size_t cut; /* octets until the connection is lost */
	/* What came of it. */
	unsigned flights; /* writes to a server that had nothing left to say */
	unsigned fetches, most_waiting, searches;
	uint64_t asked; /* messages */
	char failure[200];
	struct stream *live;
	struct buf in, out;
};

struct server_stream {
	struct stream stream; /* first */
	struct server *server;
};

static void say(struct server *server, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	assert_true(buf_vprintf(&server->out, format, ap));
	va_end(ap);
}

static void tell(struct server *server, uint32_t number, bool has_ids)
{
	if (number == server->omits)
		return;
	say(server, "* %u FETCH (UID %u RFC822.SIZE %u FLAGS ()", number, number * server->step,
	    number % 1000 + 1);
	if (has_ids)
		say(server, " EMAILID (M%u)", number);
	say(server, ")\r\n");
}

/* Takes the FETCHes that have come; how many. */
static size_t take_jobs(struct server *server, struct job *jobs, size_t most, bool *has_ids)
{
	size_t count = 0;

	while (count < most && buf_len(&server->in)) {
		const char *line = buf_data(&server->in);
		const char *end = memmem(line, buf_len(&server->in), "\r\n", 2);
		char text[512], last[16];
		assert_non_null(end);
		snprintf(text, sizeof text, "%.*s", (int)(end - line), line);
		if (sscanf(text, "%15s UID FETCH %u:%15[0-9*]", jobs[count].tag, &jobs[count].from,
			   last) != 3)
			break;
		uint32_t top = server->count * server->step;
		jobs[count].to = *last == '*' ? UINT32_MAX : (uint32_t)strtoul(last, NULL, 10);
		if (*last == '*' && jobs[count].from > top)
			jobs[count].from = top;
		*has_ids = strstr(text, "EMAILID") != NULL;
		server->fetches++;
		buf_drop(&server->in, (size_t)(end - line) + 2);
		count++;
	}
	return count;
}

static void end_job(struct server *server, const struct job *job, bool has_ids, uint32_t lowest)
{
	if (has_ids && server->refuses_ids)
		say(server, "%s BAD EMAILID?\r\n", job->tag);
	else if (server->refuses_at && job->from == server->refuses_at)
		say(server, "%s NO not now\r\n", job->tag);
	else if (lowest)
		say(server, "%s OK [MESSAGELIMIT %u %u] partial\r\n", job->tag, server->limit,
		    lowest * server->step);
	else
		say(server, "%s OK done\r\n", job->tag);
}

static void answer(struct server *server, struct job *jobs, size_t count, bool has_ids)
{
	uint32_t next[AT_ONCE * 2], end[AT_ONCE * 2], lowest[AT_ONCE * 2] = {0};
	bool is_left = !(has_ids && server->refuses_ids);

	for (size_t i = 0; i < count; i++) {
		next[i] = (jobs[i].from + server->step - 1) / server->step;
		end[i] = jobs[i].to / server->step;
		end[i] = end[i] < server->count ? end[i] : server->count;
		server->asked += end[i] >= next[i] ? end[i] - next[i] + 1 : 0;
		if (server->limit && end[i] >= next[i] + server->limit)
			lowest[i] = next[i] = end[i] - server->limit + 1;
	}
	while (is_left) {
		is_left = false;
		for (size_t i = 0; i < count; i++)
			if (next[i] <= end[i]) {
				tell(server, next[i]++, has_ids);
				is_left = true;
			}
	}
	for (size_t i = 0; i < count; i++) {
		size_t at = server->reverses ? count - 1 - i : i;
		end_job(server, &jobs[at], has_ids, lowest[at]);
	}
}

/* UID SEARCH RETURN (ALL) [UID from:to] ALL. */
static void find(struct server *server, const char *line, int tag)
{
	const char *set = strstr(line, ") UID ");
	uint32_t from = 1, to = server->count * server->step, told = 0;

	if (set) {
		char *end;
		from = (uint32_t)strtoul(set + 6, &end, 10);
		to = end[1] == '*' ? to : (uint32_t)strtoul(end + 1, NULL, 10);
	}
	server->searches++;
	say(server, "* ESEARCH (TAG \"%.*s\") UID", tag, line);
	if (server->step == 1)
		say(server, " ALL %u:%u", from, to);
	for (uint32_t n = 1; server->step > 1 && n <= server->count; n++)
		if (n * server->step >= from && n * server->step <= to)
			say(server, told++ ? ",%u" : " ALL %u", n * server->step);
	say(server, "\r\n");
}

static void other(struct server *server, const char *line)
{
	const char *rest = strchr(line, ' ');
	int tag = (int)(rest - line);

	if (!strncmp(rest, " CAPABILITY", 11)) {
		say(server, "* CAPABILITY " CAPABILITIES "%s\r\n",
		    server->refuses_ids ? " OBJECTID" : "");
	} else if (!strncmp(rest, " SELECT", 7)) {
		say(server, "* %u EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n", server->count);
		if (server->tells_uidnext)
			say(server, "* OK [UIDNEXT %u] n\r\n",
			    server->uidnext ? server->uidnext : server->count * server->step + 1);
	} else if (strstr(line, "DELETED")) {
		say(server, "* ESEARCH (TAG \"%.*s\") UID\r\n", tag, line);
	} else if (strstr(line, "SEARCH")) {
		find(server, line, tag);
	}
	say(server, "%.*s OK done\r\n", tag, line);
}

/* Answers what has come: one command, or several FETCHes at once. */
static void work(struct server *server)
{
	struct job jobs[AT_ONCE * 2];
	bool has_ids = false;
	unsigned waiting = 0;
	const char *at = buf_data(&server->in), *end = at + buf_len(&server->in);

	for (; (at = memmem(at, (size_t)(end - at), "UID FETCH", 9)); at++)
		waiting++;
	if (waiting > server->most_waiting)
		server->most_waiting = waiting;
	size_t count = take_jobs(server, jobs, server->mixes ? AT_ONCE * 2 : 1, &has_ids);
	if (count) {
		answer(server, jobs, count, has_ids);
		return;
	}
	const char *line = buf_data(&server->in);
	char *text = mem_dup(line, buf_len(&server->in));
	size_t len = strcspn(text, "\r");
	text[len] = '\0';
	other(server, text);
	buf_drop(&server->in, len + 2);
	free(text);
}

static struct err server_read(struct stream *base, void *into, size_t max, size_t *got)
{
	struct server *server = ((struct server_stream *)base)->server;

	if (!buf_len(&server->out) && buf_len(&server->in))
		work(server);
	*got = buf_len(&server->out) < max ? buf_len(&server->out) : max;
	if (*got > server->cut)
		*got = server->cut;
	if (!*got)
		return ERR(ERR_UPSTREAM, ECONNRESET, "connection lost");
	memcpy(into, buf_data(&server->out), *got);
	buf_drop(&server->out, *got);
	server->cut -= server->cut == SIZE_MAX ? 0 : *got;
	return OK;
}

static struct err server_write(struct stream *base, const void *octets, size_t len)
{
	struct server *server = ((struct server_stream *)base)->server;

	server->flights += !buf_len(&server->in) && !buf_len(&server->out);
	assert_true(buf_put(&server->in, octets, len));
	return OK;
}

static void server_limit(struct stream *base, uint64_t wait_ms, uint64_t until_ms)
{
	(void)base;
	(void)wait_ms;
	(void)until_ms;
}

static void server_abort(struct stream *base)
{
	(void)base;
}

static void server_close(struct stream *base)
{
	stream_fini(base);
	free(base);
}

static const struct stream_ops server_ops = {server_read, server_write, server_limit, server_abort,
					     server_close};

static struct err server_dial(void *arg, const char *host, unsigned port, struct stream **out)
{
	struct server *server = arg;
	struct server_stream *stream = mem_alloc(sizeof *stream);

	(void)host;
	(void)port;
	stream_init(&stream->stream, &server_ops, ERR_UPSTREAM, 65536, 16384);
	stream->server = server;
	buf_drop(&server->in, buf_len(&server->in));
	buf_drop(&server->out, buf_len(&server->out));
	say(server, "* OK [CAPABILITY " CAPABILITIES "] ready\r\n");
	*out = &stream->stream;
	return OK;
}

struct listing_run {
	struct server server;
	struct state_memory state;
	struct upstream_conf conf;
	struct log log;
	struct maildrop drop;
};

static void set_up(struct listing_run *run, uint32_t count)
{
	memset(run, 0, sizeof *run);
	fake_world_init(&run->server.world);
	run->server.world.dial = server_dial;
	run->server.world.arg = &run->server;
	run->server.count = count;
	run->server.step = 1;
	run->server.tells_uidnext = true;
	run->server.cut = SIZE_MAX;
	buf_init(&run->server.in, 1 << 20);
	buf_init(&run->server.out, 256 << 20);
	state_memory_init(&run->state);
	run->conf = (struct upstream_conf){.ops = &imap_ops,
					   .host = "imap.example.com",
					   .port = 143,
					   .folder = "INBOX",
					   .name = "joe",
					   .quirks = imap_quirks_named("generic"),
					   .delete_after_s = DELETE_AFTER_NEVER};
	maildrop_init(&run->drop);
}

static void tear_down(struct listing_run *run)
{
	maildrop_fini(&run->drop);
	state_memory_fini(&run->state);
	buf_fini(&run->server.in);
	buf_fini(&run->server.out);
}

/* One login; what was counted is of its listing alone. */
static enum err_kind list(struct listing_run *run)
{
	static char user[] = "joe", password[] = "secret";
	struct login login = {.user = user, .password = password};
	struct server *server = &run->server;
	struct upstream *up = NULL;
	size_t cut = server->cut;
	struct notice why;

	server->cut = SIZE_MAX;
	struct err err =
		imap_ops.open(&server->world.env, &run->log, &run->conf, &login, &why, &up);
	assert_int_equal(err.kind, ERR_NONE);
	server->cut = cut;
	server->flights = server->fetches = server->most_waiting = 0;
	server->asked = 0;
	maildrop_fini(&run->drop);
	err = imap_ops.list(up, &run->drop);
	unsigned flights = server->flights;
	imap_ops.close(up, NULL, NULL, NULL); /* sends LOGOUT */
	server->flights = flights;
	return err.kind;
}

static void check_all(const struct listing_run *run)
{
	assert_int_equal(run->drop.total, run->server.count);
	for (uint32_t n = 1; n <= run->server.count; n++) {
		const struct message *msg = &run->drop.messages[n - 1];
		if (msg->uid != n * run->server.step || msg->octets != n % 1000 + 1)
			fail_msg("message %u: UID %u", n, msg->uid);
	}
}

/* M-15, M-05: some windows are always under way, so that a listing is one flight; answers may come mixed. */
static void test_flight(void **state)
{
	static const struct {
		uint32_t count, step;
		bool mixes, tells_uidnext;
		unsigned fetches;
	} cases[] = {
		{20000, 1, false, true, 1},  {30000, 1, false, true, 6},
		{30000, 1, true, true, 6},   {100000, 1, false, true, 20},
		{100000, 1, true, true, 20}, {60000, 7, true, true, 12},
		{60000, 1, false, false, 0}, {60000, 7, true, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct listing_run run;
		set_up(&run, cases[i].count);
		run.server.step = cases[i].step;
		run.server.mixes = cases[i].mixes;
		run.server.reverses = i % 2;
		run.server.tells_uidnext = cases[i].tells_uidnext;
		assert_int_equal(list(&run), ERR_NONE);
		check_all(&run);
		if (cases[i].fetches)
			assert_int_equal(run.server.fetches, cases[i].fetches);
		if (cases[i].fetches > 1)
			assert_int_equal(run.server.most_waiting, AT_ONCE);
		/* One that takes all at once is done when all have left. */
		if (!cases[i].mixes && cases[i].tells_uidnext)
			assert_int_equal(run.server.flights, 1);
		tear_down(&run);
	}
}

/* C-05: whatever is missing, wherever: an error, never a shorter list. */
static void test_omitted(void **state)
{
	static const uint32_t omitted[] = {1, 4999, 5000, 5001, 12345, 25000};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof omitted / sizeof *omitted; i++) {
		struct listing_run run;
		set_up(&run, 25000);
		run.server.mixes = i % 2;
		run.server.omits = omitted[i / 2];
		run.server.reverses = i % 4 > 1;
		assert_int_equal(list(&run), ERR_UPSTREAM);
		tear_down(&run);
	}
}

/* RFC 9738: an answer that is cut is asked for further, and so are those that were under way behind it. */
static void test_limited(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct listing_run run;
		set_up(&run, 25000);
		run.server.mixes = i;
		run.server.limit = 1900;
		run.server.reverses = i;
		assert_int_equal(list(&run), ERR_NONE);
		check_all(&run);
		tear_down(&run);
	}
}

/* A refusal in the middle is an error, and leaves nothing under way; one of the ids is none (N-13). */
static void test_refused(void **state)
{
	(void)state;
	struct listing_run run;
	set_up(&run, 40000);
	run.server.refuses_at = 10001;
	assert_int_equal(list(&run), ERR_UPSTREAM);
	run.server.refuses_at = 0;
	assert_int_equal(list(&run), ERR_NONE);
	check_all(&run);
	tear_down(&run);

	set_up(&run, 40000);
	run.conf.state = &run.state.store; /* without one nobody needs ids */
	run.server.refuses_ids = true;
	assert_int_equal(list(&run), ERR_NONE);
	assert_int_equal(run.server.fetches, 4 + 1 + 1 + 8);
	check_all(&run);
	tear_down(&run);
}

/* M-15: 500,000 messages, lost at 60 % of what the server has to say: the next login asks for what is
 * missing, some windows more at most. */
static void test_cut(void **state)
{
	enum { COUNT = 500000, WINDOWS = 30000 };
	struct listing_run run;

	(void)state;
	set_up(&run, COUNT);
	assert_int_equal(list(&run), ERR_NONE); /* without a state: how much it says in all */
	assert_int_equal(run.server.asked, COUNT);
	tear_down(&run);

	for (unsigned i = 0; i < 2; i++) {
		set_up(&run, COUNT);
		run.conf.state = &run.state.store;
		run.server.mixes = i;
		run.server.cut = (size_t)COUNT * 51 / 10 * 6;
		assert_int_equal(list(&run), ERR_UPSTREAM);
		run.server.cut = SIZE_MAX;
		assert_int_equal(list(&run), ERR_NONE);
		check_all(&run);
		assert_in_range(run.server.asked, COUNT / 10 * 3, COUNT / 10 * 4 + WINDOWS);
		tear_down(&run);
	}
}

/* A reply to SEARCH is one line, and where UIDs are no neighbours ranges do not shorten it (M-07, H-10). */
static void test_sparse(void **state)
{
	static const struct {
		uint32_t count, step;
		unsigned searches;
	} cases[] = {{100000, 7, 1}, {200000, 7, 2}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct listing_run run;
		set_up(&run, cases[i].count);
		run.conf.state = &run.state.store;
		run.server.step = cases[i].step;
		run.server.uidnext = cases[i].count * cases[i].step + 1;
		assert_int_equal(list(&run), ERR_NONE);
		check_all(&run);
		run.server.count--; /* one has gone */
		assert_int_equal(list(&run), ERR_NONE);
		check_all(&run);
		assert_int_equal(run.server.fetches, 0);
		assert_int_equal(run.server.searches, cases[i].searches);
		tear_down(&run);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flight),  cmocka_unit_test(test_omitted),
		cmocka_unit_test(test_limited), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cut),     cmocka_unit_test(test_sparse),
	};

	return cmocka_run_group_tests_name("imap_windows", tests, NULL, NULL);
}
