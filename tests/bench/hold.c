/* SPDX-License-Identifier: MIT */
/* hold.c - holds many POP3 sessions open and asks how the server bears it.
 *
 *	hold [-k SESSIONS] [-l LISTERS] [-m MESSAGES] [-r RATE] [-t SECONDS] PORT PID
 *
 * 1. Opens SESSIONS (5000) sessions on 127.0.0.1:PORT, each as a user of its own, 50 at a time, and
 *    weighs the process PID before and after: its proportional set size, per session.
 * 2. Polls each of them once: UIDL in one session after the other, all within half of SECONDS (20).
 * 3. Sends RATE (500) NOOPs a second over the held sessions, round robin, for half of SECONDS.
 * 4. The same for SECONDS while LISTERS (3) clients log in to maildrops of MESSAGES (100,000) and
 *    do STAT, LIST, UIDL, QUIT over and over.
 * 5. Sends QUIT in all that are held.
 *
 * NOOPs leave by the clock and do not wait for the answers to earlier ones, so a server that stands
 * still for 100 ms is seen by every NOOP of that time. `lag` is how late this program itself was:
 * it tells a busy machine from a slow server. Prints `name key=value...` lines; a refused or
 * dropped session ends it with status 1.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { OPENING_MAX = 50, READ_MAX = 1 << 18 };
enum step { GREETING, USER, PASS, HELD, NOOP, STAT, LIST, UIDL, QUIT, CLOSED };

struct client {
	int fd;
	unsigned number;
	bool lister;
	enum step step;   /* the answer that is awaited */
	uint64_t sent_ns; /* of a lister: when it connected */
	bool fresh;       /* no octet of the answer has come */
	uint32_t lines;   /* of the answer */
	char tail[5];     /* its last octets */
};

struct samples {
	uint32_t *us;
	size_t count, max;
};

struct bench {
	unsigned sessions, listers, messages, rate, seconds;
	int port, pid, epoll;
	struct client *clients; /* the held ones, then the listers */
	unsigned opened, held;
	bool listing; /* listers start over after QUIT */
	struct samples *noops, lists, logins, polls;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *zeroed(size_t count, size_t size)
{
	void *p = calloc(count, size);
	if (p == NULL)
		abort();
	return p;
}

static void sample(struct samples *s, uint64_t ns)
{
	if (s->count < s->max)
		s->us[s->count++] = (uint32_t)(ns / 1000);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static double percentile_ms(const struct samples *s, double part)
{
	return s->count == 0 ? 0 : s->us[(size_t)(part * (double)(s->count - 1) + 0.5)] / 1000.0;
}

static void report(const char *name, struct samples *s)
{
	qsort(s->us, s->count, sizeof *s->us, by_size);
	printf("%s n=%zu p50_ms=%.3f p95_ms=%.3f p99_ms=%.3f max_ms=%.3f\n", name, s->count,
	       percentile_ms(s, .5), percentile_ms(s, .95), percentile_ms(s, .99),
	       percentile_ms(s, 1));
	fflush(stdout);
}

static long pss_kib(int pid)
{
	char path[64], line[256];
	long kib = -1;
	FILE *f;
	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, "Pss:", 4) == 0)
			kib = atol(line + 4);
	if (f != NULL)
		fclose(f);
	return kib;
}

static void give_up(const struct client *c, const char *why, const char *text)
{
	static const char *const steps[] = {"greeting", "USER", "PASS", "nothing", "NOOP",
					    "STAT",     "LIST", "UIDL", "QUIT"};
	printf("FAILED %s %u, waiting for %s: %s %s\n", c->lister ? "lister" : "session", c->number,
	       steps[c->step], why, text);
	exit(1);
}

static void ask(struct client *c, enum step step, const char *line)
{
	size_t len = strlen(line);
	c->step = step;
	c->fresh = true;
	c->lines = 0;
	memset(c->tail, 0, sizeof c->tail);
	if (len > 0 && send(c->fd, line, len, MSG_NOSIGNAL) != (ssize_t)len)
		give_up(c, "cannot send", strerror(errno));
}

static void client_open(struct bench *b, struct client *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b->port)};
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	int one = 1;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->sent_ns = now_ns();
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
		give_up(c, "cannot connect", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->fd, &ev);
	ask(c, GREETING, "");
}

/* The answer that was awaited has come whole. */
static void client_go_on(struct bench *b, struct client *c)
{
	char line[64];
	switch (c->step) {
	case GREETING:
		if (c->lister)
			snprintf(line, sizeof line, "USER n%u-%u\r\n", b->messages, c->number);
		else
			snprintf(line, sizeof line, "USER held%05u\r\n", c->number);
		ask(c, USER, line);
		break;
	case USER:
		ask(c, PASS, "PASS secret\r\n");
		break;
	case PASS:
		if (c->lister) {
			ask(c, STAT, "STAT\r\n");
			break;
		}
		b->held++;
		sample(&b->logins, now_ns() - c->sent_ns);
		c->step = HELD;
		break;
	case NOOP:
		sample(b->noops, now_ns() - c->sent_ns);
		c->step = HELD;
		break;
	case STAT:
		ask(c, LIST, "LIST\r\n");
		break;
	case LIST:
	case UIDL:
		if (!c->lister) {
			sample(&b->polls, now_ns() - c->sent_ns);
			c->step = HELD;
			break;
		}
		if (c->lines != b->messages + 2)
			give_up(c, "a listing", "of the wrong length");
		if (c->step == LIST)
			ask(c, UIDL, "UIDL\r\n");
		else
			ask(c, QUIT, "QUIT\r\n");
		break;
	case QUIT:
		if (!c->lister) {
			b->held--;
			close(c->fd);
			c->step = CLOSED;
			break;
		}
		sample(&b->lists, now_ns() - c->sent_ns);
		close(c->fd);
		c->step = CLOSED;
		if (b->listing)
			client_open(b, c);
		break;
	case HELD:
	case CLOSED:
		break;
	}
}

static void client_read(struct bench *b, struct client *c, char *buf)
{
	ssize_t n = recv(c->fd, buf, READ_MAX, MSG_DONTWAIT);
	bool multi = c->step == LIST || c->step == UIDL;
	size_t kept, len;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		give_up(c, "hung up", "");
	len = (size_t)n;
	if (c->step == HELD || (c->fresh && buf[0] != '+')) {
		buf[len < 200 ? len : 200] = '\0';
		give_up(c, "unasked words or a refusal:", buf);
	}
	c->fresh = false;
	for (const char *at = buf; (at = memchr(at, '\n', (size_t)(buf + len - at))) != NULL; at++)
		c->lines++;
	kept = len < sizeof c->tail ? sizeof c->tail - len : 0;
	memmove(c->tail, c->tail + sizeof c->tail - kept, kept);
	memcpy(c->tail + kept, buf + len - (sizeof c->tail - kept), sizeof c->tail - kept);
	if (multi ? memcmp(c->tail, "\r\n.\r\n", 5) == 0 : c->tail[4] == '\n')
		client_go_on(b, c);
}

/* Handles what comes until the time is there. */
static void wait_until(struct bench *b, uint64_t ns)
{
	static char buf[READ_MAX + 1];
	struct epoll_event events[64];
	do {
		uint64_t now = now_ns(), left = ns > now ? ns - now : 0;
		struct timespec t = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
		int n = epoll_pwait2(b->epoll, events, 64, &t, NULL);
		for (int i = 0; i < n; i++)
			client_read(b, events[i].data.ptr, buf);
	} while (now_ns() < ns);
}

static void open_all(struct bench *b)
{
	uint64_t start = now_ns(), limit = start + 120 * 1000000000ull;
	long before = pss_kib(b->pid), after;
	while (b->held < b->sessions) {
		while (b->opened < b->sessions && b->opened - b->held < OPENING_MAX)
			client_open(b, &b->clients[b->opened++]);
		wait_until(b, now_ns() + 1000000);
		if (now_ns() > limit)
			give_up(&b->clients[b->held], "too slow", "");
	}
	printf("open sessions=%u seconds=%.2f\n", b->held, (double)(now_ns() - start) / 1e9);
	wait_until(b, now_ns() + 2000000000u);
	after = pss_kib(b->pid);
	printf("memory before_kib=%ld after_kib=%ld kib_per_session=%.2f\n", before, after,
	       (double)(after - before) / b->sessions);
	fflush(stdout);
}

/* A listing in each session, one after the other. */
static void poll_all(struct bench *b, unsigned seconds)
{
	uint64_t start = now_ns(), limit = start + 60 * 1000000000ull + seconds * 1000000000ull;

	for (unsigned i = 0; i < b->sessions; i++) {
		struct client *c = &b->clients[i];
		wait_until(b, start + (uint64_t)i * seconds * 1000000000u / b->sessions);
		c->sent_ns = now_ns();
		ask(c, UIDL, "UIDL\r\n");
	}
	while (b->polls.count < b->sessions) {
		wait_until(b, now_ns() + 10000000);
		if (now_ns() > limit)
			give_up(&b->clients[0], "polls too slow", "");
	}
	report("poll", &b->polls);
}

static void quit_all(struct bench *b)
{
	uint64_t limit = now_ns() + 60 * 1000000000ull;

	for (unsigned i = 0; i < b->sessions; i++) {
		if (b->clients[i].step != HELD)
			give_up(&b->clients[i], "no answer", "");
		ask(&b->clients[i], QUIT, "QUIT\r\n");
		wait_until(b, now_ns() + 100000);
	}
	while (b->held > 0) {
		wait_until(b, now_ns() + 10000000);
		if (now_ns() > limit)
			give_up(&b->clients[0], "QUIT too slow", "");
	}
	printf("quit sessions=%u\n", b->sessions);
}

static void noops(struct bench *b, const char *name, unsigned seconds)
{
	size_t count = (size_t)b->rate * seconds, skipped = 0;
	struct samples answers = {zeroed(count, sizeof(uint32_t)), 0, count};
	struct samples lag = {zeroed(count, sizeof(uint32_t)), 0, count};
	uint64_t start = now_ns();
	char lag_name[64];
	b->noops = &answers;
	for (size_t i = 0; i < count; i++) {
		struct client *c = &b->clients[i % b->sessions];
		uint64_t due = start + i * 1000000000u / b->rate;
		wait_until(b, due);
		if (c->step != HELD) { /* its last NOOP has no answer yet */
			skipped++;
			continue;
		}
		c->sent_ns = now_ns();
		sample(&lag, c->sent_ns - due);
		ask(c, NOOP, "NOOP\r\n");
	}
	wait_until(b, now_ns() + 1000000000u);
	report(name, &answers);
	snprintf(lag_name, sizeof lag_name, "%s_lag", name);
	report(lag_name, &lag);
	if (answers.count < count)
		printf("%s_missing n=%zu skipped=%zu\n", name, count - answers.count, skipped);
	free(answers.us);
	free(lag.us);
}

static unsigned number(const char *text)
{
	long n = atol(text);
	return n < 0 ? 0 : n > 10000000 ? 10000000 : (unsigned)n;
}

int main(int argc, char **argv)
{
	struct bench b = {5000, 3, 100000, 500, 20, 0, 0, 0, NULL, 0, 0, true, NULL, {0}, {0}, {0}};
	struct rlimit files;
	int option;

	while ((option = getopt(argc, argv, "k:l:m:r:t:")) != -1) {
		unsigned *to = option == 'k'   ? &b.sessions
			       : option == 'l' ? &b.listers
			       : option == 'm' ? &b.messages
			       : option == 'r' ? &b.rate
					       : &b.seconds;
		if (option == '?')
			return 2;
		*to = number(optarg);
	}
	if (argc - optind != 2 || b.sessions == 0 || b.rate == 0) {
		fprintf(stderr, "usage: hold [-k SESSIONS] [-l LISTERS] [-m MESSAGES] [-r RATE] "
				"[-t SECONDS] PORT PID\n");
		return 2;
	}
	b.port = (int)number(argv[optind]);
	b.pid = (int)number(argv[optind + 1]);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	b.epoll = epoll_create1(EPOLL_CLOEXEC);
	b.clients = zeroed(b.sessions + b.listers, sizeof *b.clients);
	b.lists.us = zeroed(100000, sizeof *b.lists.us);
	b.lists.max = 100000;
	b.logins = (struct samples){zeroed(b.sessions, sizeof(uint32_t)), 0, b.sessions};
	b.polls = (struct samples){zeroed(b.sessions, sizeof(uint32_t)), 0, b.sessions};
	for (unsigned i = 0; i < b.sessions + b.listers; i++) {
		b.clients[i].lister = i >= b.sessions;
		b.clients[i].number = i < b.sessions ? i : i - b.sessions;
	}
	open_all(&b);
	report("login", &b.logins);
	poll_all(&b, (b.seconds + 1) / 2);
	noops(&b, "noop_alone", (b.seconds + 1) / 2);
	for (unsigned i = 0; i < b.listers; i++)
		client_open(&b, &b.clients[b.sessions + i]);
	noops(&b, "noop_beside_listers", b.seconds);
	b.listing = false;
	report("listing", &b.lists);
	printf("memory_peak after_kib=%ld\n", pss_kib(b.pid));
	quit_all(&b);
	return 0;
}
