/* SPDX-License-Identifier: MIT */
/* imapd.c - a small IMAP server to measure against: it stands behind popgate where Dovecot stops at
 * its process limit, or where what is weighed must not be Dovecot.
 *
 *	imapd [PORT [MESSAGES [OCTETS]]]      (0: a free port; 20; 8192)
 *
 * It listens on 127.0.0.1, in clear, takes any name and password, and prints "port N" when ready.
 * Mailboxes are arithmetic: nothing is stored, a message has UID = sequence number, and its octets
 * are computed while they are sent. The name says how many messages there are, and how large they
 * are: n100000 has 100,000, n1000s20480-x has 1,000 of 20,480 octets; others have the defaults.
 * STORE and EXPUNGE answer as they should and change nothing, so a run can be repeated.
 *
 * A command is answered whole before the next line is looked at. A long answer is a job: `pump` has
 * it fill the buffer each time the socket took what was there, so 100,000 lines cost one buffer. A
 * connection that waits for its client holds no buffer.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_MAX = 4096, OUT_MAX = 32768, ITEM_MAX = 256, TURN_MAX = 4 };
enum { HEAD = 256, LINE = 64 }; /* octets of a message's header, and of each line below it */
enum job_kind { JOB_NONE, JOB_FETCH, JOB_EXPUNGE };
#define CAPABILITIES "IMAP4rev1 SASL-IR UIDPLUS"

struct job {
	enum job_kind kind;
	const char *set;           /* what is left of the UID set; points into conn.in */
	uint32_t uid, last;        /* the range in work; uid > last: take the next one from set */
	uint32_t expunged;         /* so far: they shift the sequence numbers */
	bool flags, body, partial; /* asked for FLAGS, BODY[], BODY[]<from.len> */
	bool in_body;              /* a literal is being sent: octets at to end are left */
	uint32_t from, len, at, end;
};

struct conn {
	int fd;
	uint32_t events, count, octets; /* registered with epoll; of the mailbox */
	bool closing;
	struct job job;
	char tag[32], done[64]; /* of the command in work; its tagged answer */
	char *out;              /* OUT_MAX octets while there is something to say, else NULL */
	size_t out_at, out_len;
	size_t in_len, line_len; /* octets read; of them, those of the command in work */
	char in[IN_MAX];
};

struct server {
	int epoll, listener;
	uint32_t count, octets; /* for names that do not say */
};

static void say(struct conn *c, const char *text)
{
	size_t len = strlen(text);
	memcpy(c->out + c->out_len, text, len);
	c->out_len += len;
}

static void say_number(struct conn *c, uint32_t n)
{
	char digits[10];
	int len = 0;
	do
		digits[len++] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	while (len > 0)
		c->out[c->out_len++] = digits[--len];
}

/* --- mailboxes that are arithmetic ------------------------------------------------------------ */

static uint32_t whole_lines(unsigned long octets)
{
	if (octets < HEAD + LINE)
		octets = HEAD + LINE;
	if (octets > 1u << 30)
		octets = 1u << 30;
	return (uint32_t)((octets + LINE - 1) / LINE * LINE);
}

static void mailbox_by_name(struct conn *c, const struct server *s, const char *name)
{
	char *end;
	unsigned long count, octets = s->octets;
	c->count = s->count;
	c->octets = s->octets;
	if (name[0] != 'n' || name[1] < '0' || name[1] > '9')
		return;
	count = strtoul(name + 1, &end, 10);
	if (*end == 's')
		octets = strtoul(end + 1, NULL, 10);
	c->count = count > 10000000 ? 10000000 : (uint32_t)count;
	c->octets = whole_lines(octets);
}

/* The octets [at, at+len) of a message: a header of HEAD octets, then lines of LINE. */
static void message_octets(uint32_t uid, uint32_t at, char *to, size_t len)
{
	static const char line[LINE + 1] =
		"every line of this message is sixty-two letters and its CR LF.\r\n";
	char head[HEAD + 1];
	int n = snprintf(head, sizeof head,
			 "From: bench@example.net\r\nTo: user@example.org\r\n"
			 "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
			 "Message-ID: <%010u@example.net>\r\nSubject: message %010u\r\nX-Fill: ",
			 uid, uid);
	memset(head + n, 'x', (size_t)(HEAD - 4 - n));
	memcpy(head + HEAD - 4, "\r\n\r\n", 4);
	while (len > 0) {
		const char *from = at < HEAD ? head + at : line + at % LINE;
		size_t have = at < HEAD ? HEAD - at : LINE - at % LINE;
		size_t now = have < len ? have : len;
		memcpy(to, from, now);
		to += now;
		at += (uint32_t)now;
		len -= now;
	}
}

/* --- jobs: answers that may be longer than the buffer ----------------------------------------- */

/* The next UID of the job's set that exists, in uid; false at the end of the set. */
static bool job_next(struct conn *c)
{
	struct job *j = &c->job;
	while (j->uid > j->last) {
		char *end;
		if (*j->set < '0' || *j->set > '9')
			return false;
		j->uid = (uint32_t)strtoul(j->set, &end, 10);
		j->last = j->uid;
		if (end[0] == ':' && end[1] == '*') {
			j->last = c->count;
			end += 2;
		} else if (end[0] == ':') {
			j->last = (uint32_t)strtoul(end + 1, &end, 10);
		}
		if (j->last > c->count)
			j->last = c->count;
		j->set = end + (*end == ',');
	}
	return j->uid != 0;
}

static void fetch_item(struct conn *c)
{
	struct job *j = &c->job;
	if (!j->body) { /* by hand: this is the line of the large listings */
		say(c, "* ");
		say_number(c, j->uid);
		say(c, " FETCH (UID ");
		say_number(c, j->uid++);
		say(c, " RFC822.SIZE ");
		say_number(c, c->octets);
		say(c, j->flags ? " FLAGS ())\r\n" : ")\r\n");
		return;
	}
	j->at = j->from < c->octets ? j->from : c->octets;
	j->end = j->len < c->octets - j->at ? j->at + j->len : c->octets;
	c->out_len +=
		(size_t)sprintf(c->out + c->out_len, "* %u FETCH (UID %u BODY[]", j->uid, j->uid);
	if (j->partial)
		c->out_len += (size_t)sprintf(c->out + c->out_len, "<%u>", j->from);
	c->out_len += (size_t)sprintf(c->out + c->out_len, " {%u}\r\n", j->end - j->at);
	j->in_body = true;
}

static void fetch_body(struct conn *c)
{
	struct job *j = &c->job;
	size_t left = j->end - j->at, room = OUT_MAX - ITEM_MAX - c->out_len;
	size_t now = left < room ? left : room;
	message_octets(j->uid, j->at, c->out + c->out_len, now);
	c->out_len += now;
	j->at += (uint32_t)now;
	if (now == left) {
		say(c, ")\r\n");
		j->in_body = false;
		j->uid++;
	}
}

static void job_fill(struct conn *c)
{
	struct job *j = &c->job;
	while (c->out_len < OUT_MAX - ITEM_MAX) {
		if (j->in_body) {
			fetch_body(c);
		} else if (!job_next(c)) {
			j->kind = JOB_NONE;
			say(c, c->done);
			return;
		} else if (j->kind == JOB_EXPUNGE) {
			say(c, "* ");
			say_number(c, j->uid++ - j->expunged++);
			say(c, " EXPUNGE\r\n");
		} else {
			fetch_item(c);
		}
	}
}

/* --- commands --------------------------------------------------------------------------------- */

static void job_start(struct conn *c, enum job_kind kind, const char *args, const char *done)
{
	const char *items = strchr(args, ' '), *range = NULL;
	struct job *j = &c->job;
	char *end;
	memset(j, 0, sizeof *j);
	j->kind = kind;
	j->set = args;
	j->uid = 1; /* over last: nothing taken from the set yet */
	j->len = UINT32_MAX;
	if (items != NULL) {
		j->flags = strstr(items, "FLAGS") != NULL;
		j->body = strstr(items, "BODY") != NULL;
		range = strchr(items, '<');
	}
	if (range != NULL) {
		j->partial = true;
		j->from = (uint32_t)strtoul(range + 1, &end, 10);
		j->len = (uint32_t)strtoul(end + (*end == '.'), NULL, 10);
	}
	snprintf(c->done, sizeof c->done, "%s %s\r\n", c->tag, done);
}

static void say_mailbox(struct conn *c)
{
	c->out_len += (size_t)sprintf(
		c->out + c->out_len,
		"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
		"* OK [PERMANENTFLAGS (\\Deleted \\Seen)] limited\r\n* %u EXISTS\r\n* 0 RECENT\r\n"
		"* OK [UIDVALIDITY 1700000000] valid\r\n* OK [UIDNEXT %u] next\r\n",
		c->count, c->count + 1);
}

/* The first row whose verb begins the line tells what to do; `say` comes before the tagged line. */
enum verb { FETCH, EXPUNGE, LOGIN, SELECT, EXAMINE, LOGOUT, PLAIN };
static const struct command {
	const char *verb;
	enum verb what;
	const char *say, *answer;
} commands[] = {
	{"UID FETCH ", FETCH, "", "OK fetched"},
	{"FETCH ", FETCH, "", "OK fetched"},
	{"UID STORE ", PLAIN, "", "OK stored"},
	{"UID EXPUNGE ", EXPUNGE, "", "OK expunged"},
	{"LOGIN ", LOGIN, "", "OK logged in"},
	{"SELECT ", SELECT, "", "OK [READ-WRITE] selected"},
	{"EXAMINE ", EXAMINE, "", "OK [READ-ONLY] selected"},
	{"CAPABILITY", PLAIN, "* CAPABILITY " CAPABILITIES "\r\n", "OK capable"},
	{"LIST ", PLAIN, "* LIST () \"/\" INBOX\r\n", "OK listed"},
	{"LOGOUT", LOGOUT, "* BYE\r\n", "OK bye"},
	{"NOOP", PLAIN, "", "OK done"},
	{"CHECK", PLAIN, "", "OK done"},
	{"CLOSE", PLAIN, "", "OK done"},
	{"UNSELECT", PLAIN, "", "OK done"},
	{"", PLAIN, "", "BAD not known here"},
};

static void command(struct conn *c, const struct server *s, const char *line)
{
	const struct command *row = commands;
	size_t len = strcspn(line, " ");
	const char *args;
	snprintf(c->tag, sizeof c->tag, "%.*s", (int)len, line);
	line += len + (line[len] == ' ');
	while (strncasecmp(line, row->verb, strlen(row->verb)) != 0)
		row++;
	args = line + strlen(row->verb);
	if (row->what == FETCH || row->what == EXPUNGE) {
		job_start(c, row->what == FETCH ? JOB_FETCH : JOB_EXPUNGE, args, row->answer);
		return;
	}
	if (row->what == LOGIN)
		mailbox_by_name(c, s, args + (*args == '"'));
	if (row->what == SELECT || row->what == EXAMINE)
		say_mailbox(c);
	c->closing = row->what == LOGOUT;
	say(c, row->say);
	c->out_len += (size_t)sprintf(c->out + c->out_len, "%s %s\r\n", c->tag, row->answer);
}

/* --- connections ------------------------------------------------------------------------------ */

static void conn_close(struct conn *c)
{
	close(c->fd);
	free(c->out);
	free(c);
}

static void conn_want(const struct server *s, struct conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};
	if (c->events != events)
		epoll_ctl(s->epoll, c->events != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev);
	c->events = events;
}

/* 1: all sent, 0: the socket is full, -1: dead. */
static int conn_flush(struct conn *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		c->out_at += (size_t)n;
	}
	c->out_at = c->out_len = 0;
	return 1;
}

/* Takes up the first line of the input, if it is whole. */
static bool conn_line(struct conn *c, const struct server *s)
{
	char *nl = memchr(c->in, '\n', c->in_len);
	if (nl == NULL)
		return false;
	if (c->out == NULL && (c->out = malloc(OUT_MAX)) == NULL)
		abort();
	c->line_len = (size_t)(nl + 1 - c->in);
	nl[nl > c->in && nl[-1] == '\r' ? -1 : 0] = '\0';
	command(c, s, c->in);
	return true;
}

/* Says what there is to say and takes up commands, until the socket is full, there is nothing left,
 * or the turn is over: one long listing must not keep the others waiting. */
static void conn_pump(const struct server *s, struct conn *c)
{
	for (int turn = 0; turn < TURN_MAX;) {
		int sent = conn_flush(c);
		if (sent < 0 || (sent > 0 && c->closing)) {
			conn_close(c);
			return;
		}
		if (sent == 0)
			break;
		if (c->job.kind != JOB_NONE) {
			job_fill(c);
			turn++;
			continue;
		}
		memmove(c->in, c->in + c->line_len, c->in_len - c->line_len);
		c->in_len -= c->line_len;
		c->line_len = 0;
		if (!conn_line(c, s)) {
			free(c->out);
			c->out = NULL;
			conn_want(s, c, EPOLLIN);
			return;
		}
	}
	conn_want(s, c, EPOLLOUT);
}

static void conn_read(const struct server *s, struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) { /* also a line that fills the buffer */
		conn_close(c);
		return;
	}
	c->in_len += (size_t)n;
	conn_pump(s, c);
}

static void server_accept(const struct server *s)
{
	int fd, one = 1;
	while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = calloc(1, sizeof *c);
		if (c == NULL || (c->out = malloc(OUT_MAX)) == NULL)
			abort();
		c->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		say(c, "* OK [CAPABILITY " CAPABILITIES "] ready\r\n");
		conn_pump(s, c);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		perror("imapd: accept");
}

static void server_run(const struct server *s)
{
	struct epoll_event events[256];
	for (;;) {
		int n = epoll_wait(s->epoll, events, 256, -1);
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			if (c == NULL)
				server_accept(s);
			else if (c->events == EPOLLOUT)
				conn_pump(s, c);
			else
				conn_read(s, c);
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	struct epoll_event ev = {.events = EPOLLIN};
	struct rlimit files;
	struct server s;
	int one = 1;

	address.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s.count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 20;
	s.octets = whole_lines(argc > 3 ? strtoul(argv[3], NULL, 10) : 8192);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	s.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(s.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(s.listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(s.listener, 4096) < 0 ||
	    getsockname(s.listener, (struct sockaddr *)&address, &len) < 0 ||
	    epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.listener, &ev) < 0) {
		perror("imapd");
		return 1;
	}
	printf("port %d\n", ntohs(address.sin_port));
	fflush(stdout);
	server_run(&s);
}
